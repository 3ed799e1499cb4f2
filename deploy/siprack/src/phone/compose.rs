//! How the phone writes its messages. Plain text: what stands here is what goes over the wire.

use super::Settings;
use bytes::Bytes;
use std::fmt::Write;

/// The parts of a request that differ from one to the next.
pub struct Request<'a> {
    pub method: &'a str,
    pub uri: &'a str,
    pub branch: &'a str,
    /// Whole From and To values, tags included.
    pub from: &'a str,
    pub to: &'a str,
    pub call_id: &'a str,
    pub cseq: u32,
    pub routes: &'a [String],
    /// Whole header lines without CRLF.
    pub extra: &'a [String],
    pub contact: bool,
    pub body: &'a str,
}

impl Request<'_> {
    pub fn write(&self, settings: &Settings) -> Bytes {
        let mut text = format!("{} {} SIP/2.0\r\n", self.method, self.uri);
        let _ =
            write!(text, "Via: SIP/2.0/UDP {};branch={};rport\r\nMax-Forwards: 70\r\n", settings.local, self.branch);
        for route in self.routes {
            let _ = write!(text, "Route: {route}\r\n");
        }
        let _ = write!(text, "From: {}\r\nTo: {}\r\nCall-ID: {}\r\n", self.from, self.to, self.call_id);
        let _ = write!(text, "CSeq: {} {}\r\n", self.cseq, self.method);
        if self.contact {
            let _ = write!(text, "Contact: <{}>\r\n", contact(settings));
        }
        for line in self.extra {
            let _ = write!(text, "{line}\r\n");
        }
        text.push_str("User-Agent: siprack phone\r\n");
        if !self.body.is_empty() {
            text.push_str("Content-Type: application/sdp\r\n");
        }
        let _ = write!(text, "Content-Length: {}\r\n\r\n{}", self.body.len(), self.body);
        Bytes::from(text)
    }
}

/// The phone's own Contact URI.
pub fn contact(settings: &Settings) -> String {
    format!("sip:{}@{}", settings.user, settings.local)
}

/// A small offer or answer, G.711 only; the session version grows with each re-INVITE.
pub fn sdp(settings: &Settings, version: u32) -> String {
    let ip = settings.local.ip();
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    format!(
        "v=0\r\no={} 1 {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8\r\n",
        settings.user
    )
}
