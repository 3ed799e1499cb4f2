//! What the checker keeps of a SIP message: read by code of its own, so that a mistake in the rack's reader is not the
//! checker's, too.

use common::time::Time;
use std::net::SocketAddrV4;
use std::sync::Arc;

/// A message between a phone and the VIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub at: Time,
    /// The other end than the VIP.
    pub phone: SocketAddrV4,
    /// From the phone.
    pub is_inward: bool,
    pub start: Start,
    pub cseq: u32,
    /// CSeq's: of a response, what it answers.
    pub method: Arc<str>,
    /// Of the topmost Via.
    pub branch: Arc<str>,
    pub from_tag: Arc<str>,
    pub to_tag: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Request,
    Response(u16),
}

impl Message {
    pub fn is_request(&self, method: &str) -> bool {
        self.start == Start::Request && &*self.method == method
    }

    /// The status, if this answers such a request.
    pub fn status_of(&self, method: &str) -> Option<u16> {
        match self.start {
            Start::Response(status) if &*self.method == method => Some(status),
            _ => None,
        }
    }

    /// `INVITE 1`, `200 INVITE 1`
    pub fn words(&self) -> String {
        match self.start {
            Start::Request => format!("{} {}", self.method, self.cseq),
            Start::Response(status) => format!("{status} {} {}", self.method, self.cseq),
        }
    }
}

/// What every SIP message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    pub start: Start,
    pub call_id: &'a str,
    pub cseq: u32,
    pub method: &'a str,
    pub branch: &'a str,
    pub from_tag: &'a str,
    pub to_tag: &'a str,
}

/// None if it is no SIP message: a keep-alive, for one.
pub fn head(payload: &[u8]) -> Option<Head<'_>> {
    let end = payload.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(payload.len());
    let text = std::str::from_utf8(&payload[..end]).ok()?;
    let mut lines = text.split("\r\n");
    let first = lines.next()?;
    let start = match first.strip_prefix("SIP/2.0 ") {
        Some(rest) => Start::Response(rest.get(..3)?.parse().ok()?),
        None => first.ends_with(" SIP/2.0").then_some(Start::Request)?,
    };
    let (mut call_id, mut cseq, mut via, mut from, mut to) = (None, None, None, None, None);
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        let place = match name.trim().to_ascii_lowercase().as_str() {
            "call-id" | "i" => &mut call_id,
            "cseq" => &mut cseq,
            "via" | "v" => &mut via,
            "from" | "f" => &mut from,
            "to" | "t" => &mut to,
            _ => continue,
        };
        place.get_or_insert(value.trim());
    }
    let (number, method) = cseq?.split_once(' ')?;
    // Of several values in one line the first is the topmost.
    let topmost = via?.split(',').next()?;
    Some(Head {
        start,
        call_id: call_id?,
        cseq: number.parse().ok()?,
        method: method.trim(),
        branch: parameter(topmost, "branch").unwrap_or_default(),
        from_tag: parameter(behind_the_uri(from?), "tag").unwrap_or_default(),
        to_tag: parameter(behind_the_uri(to?), "tag").unwrap_or_default(),
    })
}

fn behind_the_uri(value: &str) -> &str {
    value.rsplit_once('>').map_or(value, |(_, behind)| behind)
}

fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(';').skip(1).find_map(|one| {
        let (key, value) = one.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// What stands before every SIP message on the planes (PROXY protocol version 2), and its length in its last two octets.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const PROXY_HEAD: usize = 16;

/// The SIP message behind a PROXY header.
pub fn behind_proxy_header(payload: &[u8]) -> Option<&[u8]> {
    let length = payload.get(PROXY_HEAD - 2..PROXY_HEAD)?;
    let rest = usize::from(u16::from_be_bytes([length[0], length[1]]));
    payload.starts_with(&SIGNATURE).then(|| payload.get(PROXY_HEAD + rest..)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_and_a_response_are_read() {
        let request = "INVITE sip:b@rack.test;tag=no SIP/2.0\r\nv: SIP/2.0/UDP h:5080;rport;branch=z9hG4bK-1 , SIP/2.0/UDP g;branch=2\r\n\
                       Via: SIP/2.0/UDP i;branch=3\r\nFrom: \"a;tag=no\" <sip:a@rack.test;tag=no>;tag=a1\r\nto: <sip:b@rack.test>\r\n\
                       Call-ID: one@h\r\nCSeq:  7   INVITE\r\n\r\nv=0\r\nCall-ID: other\r\n";
        let read = head(request.as_bytes()).expect("a request");
        assert_eq!((read.start, read.call_id, read.cseq, read.method), (Start::Request, "one@h", 7, "INVITE"));
        assert_eq!((read.branch, read.from_tag, read.to_tag), ("z9hG4bK-1", "a1", ""));
        let response = request.replacen("INVITE sip:b@rack.test;tag=no SIP/2.0", "SIP/2.0 180 Ringing", 1);
        let response = response.replace("to: <sip:b@rack.test>", "to: sip:b@rack.test;tag=b1");
        let read = head(response.as_bytes()).expect("a response");
        assert_eq!((read.start, read.to_tag), (Start::Response(180), "b1"));
    }

    #[test]
    fn what_is_none_is_not_read() {
        for payload in
            ["", "\r\n\r\n", "\0\0", "HTTP/1.1 200 OK\r\n\r\n", "INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\n"]
        {
            assert_eq!(head(payload.as_bytes()), None, "{payload:?}");
        }
    }

    #[test]
    fn a_proxy_header_is_stepped_over() {
        let inside = [&SIGNATURE[..], &[0x21, 0x12, 0, 3], b"abc", b"BYE"].concat();
        assert_eq!(behind_proxy_header(&inside), Some(&b"BYE"[..]));
        for end in 0..19 {
            assert_eq!(behind_proxy_header(&inside[..end]), None);
        }
        assert_eq!(behind_proxy_header(b"INVITE sip:b SIP/2.0\r\nVia: x\r\n"), None);
    }
}
