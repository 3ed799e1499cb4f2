//! What a user agent under load must know of a message, read in one pass without allocation. `caller` and `callee` use it.
//! Judging messages is not its task: what it cannot read is counted, and the transaction waits for its repeat.

use common::sip::HeaderId;
use std::net::SocketAddr;

/// Header lines of a message, with what stands behind their last octet.
pub struct Lines<'m> {
    rest: &'m [u8],
}

/// One header line, continuation lines included.
#[derive(Clone, Copy, Debug)]
pub struct Line<'m> {
    pub id: HeaderId,
    /// With its line end.
    pub whole: &'m [u8],
    /// Without white space around it.
    pub value: &'m [u8],
}

impl<'m> Iterator for Lines<'m> {
    type Item = Line<'m>;

    fn next(&mut self) -> Option<Line<'m>> {
        loop {
            let end = line_end(self.rest)?;
            let (whole, rest) = self.rest.split_at(end);
            if matches!(whole, b"\r\n" | b"\n") {
                self.rest = &[];
                return None;
            }
            self.rest = rest;
            // A line without a colon is no header: the next one may be.
            let Some(colon) = memchr::memchr(b':', whole) else { continue };
            let id = HeaderId::of(whole[..colon].trim_ascii_end());
            return Some(Line { id, whole, value: whole[colon + 1..].trim_ascii() });
        }
    }
}

fn line_end(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let end = from + memchr::memchr(b'\n', &text[from..])? + 1;
        let first = end <= 2 && text[..end].trim_ascii().is_empty();
        if first || !matches!(text.get(end), Some(b' ' | b'\t')) {
            return Some(end);
        }
        from = end;
    }
}

/// The header lines of a message.
pub fn lines(message: &[u8]) -> Lines<'_> {
    let at = memchr::memchr(b'\n', message).map_or(message.len(), |at| at + 1);
    Lines { rest: &message[at..] }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First<'m> {
    Request { method: &'m [u8] },
    Response { status: u16 },
}

/// What decides where a message belongs.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'m> {
    pub message: &'m [u8],
    pub first: First<'m>,
    pub call_id: &'m [u8],
    /// The CSeq's.
    pub number: u32,
    pub method: &'m [u8],
    /// Of the To header.
    pub to: &'m [u8],
}

/// `None`: no SIP message, or without Call-ID, CSeq or To.
pub fn read(message: &[u8]) -> Option<Heard<'_>> {
    let first = match message.strip_prefix(b"SIP/2.0 ") {
        Some(rest) => First::Response { status: number(rest.get(..3)?)? as u16 },
        None => {
            let line = &message[..memchr::memchr(b'\n', message)?];
            line.trim_ascii_end().strip_suffix(b" SIP/2.0")?;
            First::Request { method: &line[..memchr::memchr(b' ', line)?] }
        }
    };
    let (mut call_id, mut cseq, mut to) = (None, None, None);
    for line in lines(message) {
        match line.id {
            HeaderId::CallId => call_id = Some(line.value),
            HeaderId::CSeq => cseq = Some(line.value),
            HeaderId::To => to = Some(line.value),
            _ => continue,
        }
        if call_id.is_some() && cseq.is_some() && to.is_some() {
            break;
        }
    }
    let cseq = cseq?;
    let blank = cseq.iter().position(u8::is_ascii_whitespace)?;
    let (digits, method) = cseq.split_at(blank);
    Some(Heard { message, first, call_id: call_id?, number: number(digits)?, method: method.trim_ascii(), to: to? })
}

fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 10 {
        return None;
    }
    let value = digits.iter().try_fold(0u64, |n, d| d.is_ascii_digit().then(|| n * 10 + u64::from(d - b'0')))?;
    u32::try_from(value).ok()
}

/// Whether a From or To value carries a tag.
pub fn has_tag(value: &[u8]) -> bool {
    let params = memchr::memrchr(b'>', value).map_or(value, |at| &value[at..]);
    params.windows(5).any(|w| w.eq_ignore_ascii_case(b";tag="))
}

/// The URI of a name-addr or addr-spec value.
pub fn uri(value: &[u8]) -> &[u8] {
    // A display name may hold anything in quotes.
    let from = match value.first() {
        Some(b'"') => closing_quote(value).unwrap_or(0),
        _ => 0,
    };
    match memchr::memchr(b'<', &value[from..]) {
        Some(open) => {
            let inside = &value[from + open + 1..];
            &inside[..memchr::memchr(b'>', inside).unwrap_or(inside.len())]
        }
        None => value[..memchr::memchr(b';', value).unwrap_or(value.len())].trim_ascii(),
    }
}

fn closing_quote(value: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match value.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at),
            _ => at += 1,
        }
    }
}

/// The values of a comma list.
pub fn values(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let (mut quoted, mut angle) = (false, false);
        let whole = std::mem::take(&mut rest);
        if whole.is_empty() {
            return None;
        }
        let end = whole.iter().position(|b| {
            match b {
                b'"' if !angle => quoted = !quoted,
                b'<' if !quoted => angle = true,
                b'>' if !quoted => angle = false,
                _ => {}
            }
            *b == b',' && !quoted && !angle
        });
        match end {
            Some(end) => {
                rest = &whole[end + 1..];
                Some(whole[..end].trim_ascii())
            }
            None => Some(whole.trim_ascii()),
        }
    })
}

/// The address that a SIP URI names, if its host is one.
pub fn address(uri: &[u8]) -> Option<SocketAddr> {
    let rest = uri.get(4..).filter(|_| uri[..4].eq_ignore_ascii_case(b"sip:"))?;
    let host = memchr::memchr(b'@', rest).map_or(rest, |at| &rest[at + 1..]);
    let host = &host[..host.iter().position(|b| matches!(b, b';' | b'?')).unwrap_or(host.len())];
    let text = std::str::from_utf8(host).ok()?;
    text.parse().ok().or_else(|| Some(SocketAddr::new(text.trim_matches(['[', ']']).parse().ok()?, 5060)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const OK: &[u8] = b"SIP/2.0 200 OK\r\nv: SIP/2.0/UDP a\r\nRecord-Route: <sip:p1;lr>,\r\n <sip:p2;lr>\r\ni: c1\r\n\
        To: \"<a>;tag=no\" <sip:b@h>;tag=9\r\nCSeq: 7 INVITE\r\nm: <sip:b@192.0.2.7:5070;x>\r\n\r\nbody: no";

    #[test]
    fn one_pass_finds_what_a_user_agent_needs() {
        let heard = read(OK).unwrap();
        assert_eq!((heard.first, heard.call_id, heard.number), (First::Response { status: 200 }, &b"c1"[..], 7));
        assert!(has_tag(heard.to) && !has_tag(b"\"<a>;tag=no\" <sip:b@h;tag=inner>"));
        let ids: Vec<HeaderId> = lines(OK).map(|l| l.id).collect();
        use HeaderId::{CSeq, CallId, Contact, RecordRoute, To, Via};
        assert_eq!(ids, [Via, RecordRoute, CallId, To, CSeq, Contact]);
        let routes: Vec<&[u8]> = lines(OK).filter(|l| l.id == RecordRoute).flat_map(|l| values(l.value)).collect();
        assert_eq!(routes, [&b"<sip:p1;lr>"[..], b"<sip:p2;lr>"]);
        let contact = lines(OK).find(|l| l.id == Contact).unwrap();
        assert_eq!(address(uri(contact.value)), Some("192.0.2.7:5070".parse().unwrap()));
    }

    #[test]
    fn what_is_no_message_is_none() {
        for bad in
            [&b""[..], b"x", b"SIP/2.0 2", b"OPTIONS sip:a SIP/2.0\r\nCall-ID: c\r\n\r\n", b"INVITE sip:a\r\n\r\n"]
        {
            assert!(read(bad).is_none());
        }
        assert_eq!(address(b"sip:[::1]:5062;lr"), Some("[::1]:5062".parse().unwrap()));
        assert_eq!((address(b"sip:h.test"), address(b"tel:1")), (None, None));
        assert_eq!(uri(b"\"a \\\"<x>\" <sip:a@b>;q=1"), b"sip:a@b");
    }
}
