//! What can still be read of a request that `message` refuses to index: enough to answer it, never enough to forward it.
//! Called off the usual way only: by a node, and by a load manager for what is too large to be handed on.

use super::message::{Facts, Span, find_bare_carriage_return};
use super::start_line::{self, StartLine};
use super::{HeaderId, SipMessage, lex};
use bytes::Bytes;

/// What a response is made of (RFC 3261 §8.2.6.2).
const COPIED: [HeaderId; 5] = [HeaderId::Via, HeaderId::From, HeaderId::To, HeaderId::CallId, HeaderId::CSeq];
/// Lines of these that are looked at; a request with more, of Vias, is not answered.
const MOST_LINES: usize = 256;

impl SipMessage {
    /// The same walk over the lines as `scan`'s: lines that are no header are passed over, a head that does not end ends
    /// with its last whole line. The message holds Via, From, To, Call-ID and CSeq, and nothing else.
    ///
    /// `None` if one of them is missing, stands twice or cannot be read, or if it is no request.
    pub fn remains(mut buf: Bytes) -> Option<SipMessage> {
        let begin = buf.iter().position(|b| !matches!(b, b'\r' | b'\n'))?;
        if begin > 0 {
            buf = buf.slice(begin..);
        }
        if buf.len() > u32::MAX as usize {
            return None;
        }
        let (line, first_header) = lex::first_line(&buf)?;
        let start = start_line::read(line).filter(|start| matches!(start, StartLine::Request { .. }))?;
        let (mut spans, mut facts): (Vec<Span>, Facts) = (Vec::new(), Facts::new());
        let mut at = first_header;
        while let lex::Line::Header { content, next } = lex::line_at(&buf, at) {
            if let Some(span) = Span::read(&buf, content, next).filter(|span| COPIED.contains(&span.id)) {
                // What goes into the answer must end no line in anybody's eyes.
                let whole = find_bare_carriage_return(&buf[span.line()]).is_none();
                let once = span.id == HeaderId::Via || spans.iter().all(|other| other.id != span.id);
                if !whole || !once || spans.len() == MOST_LINES {
                    return None;
                }
                facts.note(span.id, spans.len());
                spans.push(span);
            }
            at = next;
        }
        let (headers_end, body) = (at, at..at);
        let (text, excess) = (None, None);
        let mut message = SipMessage { buf, text, start, spans, first_header, headers_end, body, excess, facts };
        Facts::read(&mut message);
        message.can_be_answered().then_some(message)
    }

    fn can_be_answered(&self) -> bool {
        let same_method = self.cseq().is_ok_and(|cseq| cseq.method == self.method());
        same_method && !self.call_id().is_empty() && self.vias().is_ok() && self.top_via().is_ok() && {
            self.from().is_ok() && self.to().is_ok()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Limits, Reply};
    use super::*;

    const GOOD: &str = "INVITE sip:bob@rack.test SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=1\r\nv: SIP/2.0/UDP b\r\nno colon\r\n\
        From: <sip:a@b>;tag=1\r\nX: y\r\nt: <sip:bob@b>\r\nCall-ID: c\r\nSubject: a\rb\r\nCSeq: 3 INVITE\r\nCut";

    fn remains(text: &str) -> Option<SipMessage> {
        SipMessage::remains(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn sip_remains_are_enough_for_an_answer() {
        assert!(SipMessage::parse(GOOD.into(), &Limits::default()).is_err());
        let left = remains(GOOD).unwrap();
        assert_eq!(left.headers().count(), 6);
        let answer = Reply::to(&left, 400, Some("mine")).finish();
        let answer = String::from_utf8(answer.to_vec()).unwrap();
        assert_eq!(
            answer,
            "SIP/2.0 400 Bad Request\r\nVia: SIP/2.0/UDP a;branch=1\r\nv: SIP/2.0/UDP b\r\nFrom: <sip:a@b>;tag=1\r\n\
             t: <sip:bob@b>;tag=mine\r\nCall-ID: c\r\nCSeq: 3 INVITE\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn sip_remains_of_what_nobody_may_answer() {
        for (old, new) in [
            ("INVITE sip:bob@rack.test SIP/2.0", "SIP/2.0 200 OK"),
            ("INVITE sip:bob@rack.test SIP/2.0", "hello"),
            ("Via: SIP/2.0/UDP a;branch=1\r\nv: SIP/2.0/UDP b\r\n", ""),
            ("v: SIP/2.0/UDP b", "v: b"),
            ("From: <sip:a@b>;tag=1", "From: \"<sip:a@b>;tag=1"),
            ("From: <sip:a@b>;tag=1", "From: <sip:a@b>\r;tag=1"),
            ("X: y", "f: <sip:x@y>"),
            ("t: <sip:bob@b>", "T"),
            ("Call-ID: c", "Call-ID:"),
            ("3 INVITE", "3 BYE"),
            ("CSeq: 3 INVITE\r\nCut", "CSeq: 3 INVITE"),
        ] {
            assert!(GOOD.contains(old), "{old}");
            assert!(remains(&GOOD.replacen(old, new, 1)).is_none(), "{new}");
        }
        assert!(
            remains(&GOOD.replacen("v: S", &"v: SIP/2.0/UDP h\r\n".repeat(300).replace("\r\n", "\r\nv: S"), 1))
                .is_none()
        );
        assert!(remains("\r\n").is_none() && remains("").is_none());
    }
}
