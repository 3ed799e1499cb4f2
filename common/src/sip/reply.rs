//! A response made from its request (RFC 3261 §8.2.6): by the node for everything it answers itself.

use super::message::Span;
use super::{HeaderId, SipMessage, Via, lex};
use bytes::Bytes;
use std::net::SocketAddr;

/// Copies Vias, From, To, Call-ID and CSeq as they stand in the request; Record-Route into 101 to 299 of a request that
/// makes a dialog, Timestamp into a 100.
pub struct Reply<'m> {
    request: &'m SipMessage,
    status: u16,
    to_tag: Option<&'m str>,
    reason: Option<String>,
    source: Option<SocketAddr>,
    headers: Vec<(String, String)>,
    body: Option<(String, Vec<u8>)>,
}

impl<'m> Reply<'m> {
    /// `to_tag` is added if the request's To has none, except to a 100.
    pub fn to(request: &'m SipMessage, status: u16, to_tag: Option<&'m str>) -> Reply<'m> {
        Reply { request, status, to_tag, reason: None, source: None, headers: Vec::new(), body: None }
    }

    /// Another phrase than [`reason_phrase`]'s.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Where the request came from: `received` and `rport` are set in the top Via (RFC 3261 §18.2.1, RFC 3581 §4).
    /// Leave it out where the stored request has them already.
    pub fn source(mut self, source: SocketAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// One more header line. Control characters in name and value become spaces.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn body(mut self, content_type: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some((content_type.into(), body.into()));
        self
    }

    pub fn finish(self) -> Bytes {
        let mut out = Vec::with_capacity(768 + self.body.as_ref().map_or(0, |(_, body)| body.len()));
        out.extend_from_slice(b"SIP/2.0 ");
        push_number(&mut out, u64::from(self.status));
        out.push(b' ');
        lex::push_value(&mut out, self.reason.as_deref().unwrap_or(reason_phrase(self.status)).as_bytes());
        out.extend_from_slice(b"\r\n");
        self.copy_vias(&mut out);
        self.copy_all(&mut out, HeaderId::From);
        self.copy_to(&mut out);
        self.copy_all(&mut out, HeaderId::CallId);
        self.copy_all(&mut out, HeaderId::CSeq);
        if (101..300).contains(&self.status) && self.request.method().kind().creates_dialog() {
            self.copy_all(&mut out, HeaderId::RecordRoute);
        }
        if self.status == 100 {
            self.copy_all(&mut out, HeaderId::Timestamp);
        }
        for (name, value) in &self.headers {
            push_line(&mut out, name, value);
        }
        let body = self.body.as_ref().map_or(&[][..], |(content_type, body)| {
            push_line(&mut out, HeaderId::ContentType.name(), content_type);
            body
        });
        out.extend_from_slice(b"Content-Length: ");
        push_number(&mut out, body.len() as u64);
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(body);
        out.into()
    }

    fn spans(&self, id: HeaderId) -> impl Iterator<Item = &'m Span> {
        self.request.spans_of(id)
    }

    /// Name and value as they stand, with `extra` behind them.
    fn copy(&self, out: &mut Vec<u8>, span: &Span, extra: [&str; 2]) {
        out.extend_from_slice(&self.request.buf[span.start as usize..span.value_end as usize]);
        extra.iter().for_each(|text| lex::push_value(out, text.as_bytes()));
        out.extend_from_slice(b"\r\n");
    }

    fn copy_all(&self, out: &mut Vec<u8>, id: HeaderId) {
        self.spans(id).for_each(|span| self.copy(out, span, [""; 2]));
    }

    fn copy_vias(&self, out: &mut Vec<u8>) {
        let mut top = self.source;
        for span in self.spans(HeaderId::Via) {
            let value = &self.request.buf[span.value()];
            let first = lex::Values::of(value).next();
            // A line without a value is not the topmost Via.
            let changed = first.and_then(|first| Some((top.take()?, first))).and_then(|(source, first)| {
                let via = Via::parse(self.request.as_text(HeaderId::Via, &value[first.clone()]).ok()?).ok()?;
                Some((via.with_source(source)?, first.end))
            });
            match changed {
                None => self.copy(out, span, [""; 2]),
                Some((text, end)) => {
                    out.extend_from_slice(&self.request.buf[span.start as usize..span.value as usize]);
                    out.extend_from_slice(text.as_bytes());
                    out.extend_from_slice(&value[end..]);
                    out.extend_from_slice(b"\r\n");
                }
            }
        }
    }

    fn copy_to(&self, out: &mut Vec<u8>) {
        // An empty tag is one too: behind it ours would be a second that nobody reads.
        let untagged = || self.request.to().is_ok_and(|to| to.param("tag").is_none());
        let tag = self.to_tag.filter(|_| self.status > 100 && self.request.to_tag().is_none() && untagged());
        let extra = tag.map_or([""; 2], |tag| [";tag=", tag]);
        self.spans(HeaderId::To).for_each(|span| self.copy(out, span, extra));
    }
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0u8; 20];
    let (mut at, mut rest) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

fn push_line(out: &mut Vec<u8>, name: &str, value: &str) {
    lex::push_value(out, name.as_bytes());
    out.extend_from_slice(b": ");
    lex::push_value(out, value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The default phrase of RFC 3261 §21 and its extensions; the class's for other codes.
pub fn reason_phrase(status: u16) -> &'static str {
    match PHRASES.binary_search_by_key(&status, |(code, _)| *code) {
        Ok(at) => PHRASES[at].1,
        Err(_) => match status / 100 {
            1 => "Session Progress",
            2 => "OK",
            3 => "Redirection",
            4 => "Bad Request",
            5 => "Server Internal Error",
            _ => "Global Failure",
        },
    }
}

const PHRASES: &[(u16, &str)] = &[
    (100, "Trying"),
    (180, "Ringing"),
    (181, "Call Is Being Forwarded"),
    (182, "Queued"),
    (183, "Session Progress"),
    (199, "Early Dialog Terminated"),
    (200, "OK"),
    (202, "Accepted"),
    (204, "No Notification"),
    (300, "Multiple Choices"),
    (301, "Moved Permanently"),
    (302, "Moved Temporarily"),
    (305, "Use Proxy"),
    (380, "Alternative Service"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (402, "Payment Required"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (405, "Method Not Allowed"),
    (406, "Not Acceptable"),
    (407, "Proxy Authentication Required"),
    (408, "Request Timeout"),
    (410, "Gone"),
    (412, "Conditional Request Failed"),
    (413, "Request Entity Too Large"),
    (414, "Request-URI Too Long"),
    (415, "Unsupported Media Type"),
    (416, "Unsupported URI Scheme"),
    (417, "Unknown Resource-Priority"),
    (420, "Bad Extension"),
    (421, "Extension Required"),
    (422, "Session Interval Too Small"),
    (423, "Interval Too Brief"),
    (424, "Bad Location Information"),
    (428, "Use Identity Header"),
    (429, "Provide Referrer Identity"),
    (430, "Flow Failed"),
    (433, "Anonymity Disallowed"),
    (439, "First Hop Lacks Outbound Support"),
    (440, "Max-Breadth Exceeded"),
    (480, "Temporarily Unavailable"),
    (481, "Call/Transaction Does Not Exist"),
    (482, "Loop Detected"),
    (483, "Too Many Hops"),
    (484, "Address Incomplete"),
    (485, "Ambiguous"),
    (486, "Busy Here"),
    (487, "Request Terminated"),
    (488, "Not Acceptable Here"),
    (489, "Bad Event"),
    (491, "Request Pending"),
    (493, "Undecipherable"),
    (494, "Security Agreement Required"),
    (500, "Server Internal Error"),
    (501, "Not Implemented"),
    (502, "Bad Gateway"),
    (503, "Service Unavailable"),
    (504, "Server Time-out"),
    (505, "Version Not Supported"),
    (513, "Message Too Large"),
    (580, "Precondition Failure"),
    (600, "Busy Everywhere"),
    (603, "Decline"),
    (604, "Does Not Exist Anywhere"),
    (606, "Not Acceptable"),
    (607, "Unwanted"),
];

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::*;

    const INVITE: &str = "INVITE sip:bob@rack.test SIP/2.0\r\nv: SIP/2.0/UDP 10.0.0.1 ; rport;branch=1,\r\n SIP/2.0/UDP b\r\n\
        Via: SIP/2.0/UDP c\r\nRecord-Route: <sip:p;lr>\r\nf: <sip:a@b>;tag=1\r\nTo:\r\n sip:bob@rack.test\r\nTimestamp: 54\r\n\
        Call-ID: c\r\nCSeq: 7 INVITE\r\n\r\n";

    fn request() -> SipMessage {
        SipMessage::parse(INVITE.as_bytes().into(), &Limits::default()).unwrap()
    }

    fn text(reply: Reply<'_>) -> String {
        String::from_utf8(reply.finish().to_vec()).unwrap()
    }

    #[test]
    fn sip_reply_copies_what_the_rfc_says() {
        let request = request();
        let reply = Reply::to(&request, 486, Some("srv"))
            .source("192.0.2.9:1024".parse().unwrap())
            .header("Retry-After", "5\r\nEvil: x");
        assert_eq!(
            text(reply),
            "SIP/2.0 486 Busy Here\r\nv: SIP/2.0/UDP 10.0.0.1 ;rport=1024;branch=1;received=192.0.2.9,\r\n SIP/2.0/UDP b\r\n\
             Via: SIP/2.0/UDP c\r\nf: <sip:a@b>;tag=1\r\nTo:\r\n sip:bob@rack.test;tag=srv\r\nCall-ID: c\r\nCSeq: 7 INVITE\r\n\
             Retry-After: 5  Evil: x\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn sip_reply_100_has_timestamp_and_no_tag() {
        let request = request();
        let trying = text(Reply::to(&request, 100, Some("srv")));
        assert!(trying.starts_with("SIP/2.0 100 Trying\r\nv: SIP/2.0/UDP 10.0.0.1 ; rport;branch=1,"));
        assert!(trying.contains("Timestamp: 54\r\n") && !trying.contains("srv") && !trying.contains("Record-Route"));
    }

    #[test]
    fn sip_reply_200_has_record_route_and_body() {
        let request = request();
        let ok = Reply::to(&request, 200, Some("srv")).reason("Fine").body("application/sdp", "v=0\r\n").finish();
        let ok = SipMessage::parse(ok, &Limits::default()).unwrap();
        assert_eq!((ok.status(), ok.reason(), ok.to_tag()), (200, &b"Fine"[..], Some("srv")));
        assert_eq!((ok.record_routes().unwrap().len(), ok.body()), (1, &b"v=0\r\n"[..]));
        assert_eq!(ok.validate(), Ok(()));
    }

    #[test]
    fn sip_reason_phrases_are_in_order() {
        assert!(PHRASES.windows(2).all(|w| w[0].0 < w[1].0));
        assert_eq!(
            (reason_phrase(404), reason_phrase(499), reason_phrase(699)),
            ("Not Found", "Bad Request", "Global Failure")
        );
    }
}
