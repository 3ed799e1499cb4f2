//! The load manager's one pass over a datagram: what it is, which call it belongs to, which node it names.
//! Called for every packet by the forwarder: no allocation, work linear in the octets, nothing is refused that a node
//! could still answer.

use super::listeners::{Listeners, TokenSearch};
use super::start_line::{self, StartLine};
use super::stun::{self, Stun, StunRequest};
use super::{CSeq, HeaderId, MethodKind, NameAddr, lex};

/// What arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan<'a> {
    /// Nothing but CR, LF, NUL and blanks (RFC 5626 §4.4.1), or a STUN indication: no answer, no forwarding.
    KeepAlive,
    /// Answer with [`StunRequest::binding_success`].
    Stun(StunRequest<'a>),
    Sip(Scanned<'a>),
    Bad(ScanError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Request(MethodKind),
    /// The status code, 100 to 699.
    Response(u16),
}

/// What the load manager forwards by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned<'a> {
    pub start: Start,
    /// Empty only in a request that has none, which a node answers with 400.
    pub call_id: &'a [u8],
    /// The value of `;sr=`, unverified.
    pub token: Option<&'a [u8]>,
    /// Whether the To header has a tag; true also where it cannot be read. Meaningful in requests only.
    pub to_tag: bool,
    /// INVITE, SUBSCRIBE or REFER without To tag.
    pub creates_dialog: bool,
}

/// Why a datagram goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    #[error("the first line is neither `METHOD URI SIP/2.0` nor `SIP/2.0 CODE REASON`")]
    NotSip,
    #[error("STUN, but no Binding request")]
    Stun,
    #[error("a response, or a request that was cut off, without Call-ID")]
    NoCallId,
}

pub fn scan<'a>(datagram: &'a [u8], vip: &Listeners) -> Scan<'a> {
    match stun::read(datagram) {
        Some(Stun::Request(request)) => return Scan::Stun(request),
        Some(Stun::Indication) => return Scan::KeepAlive,
        Some(Stun::Other) => return Scan::Bad(ScanError::Stun),
        None => {}
    }
    // RFC 3261 §7.5: empty lines before the first line are ignored.
    let begin = datagram.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(datagram.len());
    let message = &datagram[begin..];
    if message.iter().all(|b| matches!(b, b'\r' | b'\n' | 0 | b' ')) {
        return Scan::KeepAlive;
    }
    let Some((line, next)) = lex::first_line(message) else { return Scan::Bad(ScanError::NotSip) };
    let mut search = TokenSearch::new(vip);
    let start = match start_line::read(line) {
        Some(StartLine::Request { method, uri, .. }) => {
            search.request_uri(&message[uri]);
            Start::Request(MethodKind::of(&message[method]))
        }
        Some(StartLine::Response { status, .. }) => Start::Response(status),
        None => return Scan::Bad(ScanError::NotSip),
    };
    headers(message, next, start, search)
}

/// The Call-ID alone, the same that [`scan`] finds: what the inside's MAC covers. `None` if there is none before the end
/// of the headers; whether all else is a message is not looked at.
pub fn call_id(datagram: &[u8]) -> Option<&[u8]> {
    let begin = datagram.iter().position(|b| !matches!(b, b'\r' | b'\n'))?;
    let message = &datagram[begin..];
    let (_, mut at) = lex::first_line(message)?;
    while let lex::Line::Header { content, next } = lex::line_at(message, at) {
        at = next;
        // `Call-ID` or `i`; most names begin otherwise.
        if !matches!(message[content.start] | 0x20, b'c' | b'i') {
            continue;
        }
        let Some((id, _, value)) = lex::name_and_value(message, content) else { continue };
        if id == HeaderId::CallId {
            return Some(&message[value]).filter(|id| !id.is_empty());
        }
    }
    None
}

/// What a trace tells of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gist<'a> {
    pub call_id: &'a [u8],
    /// The request's, or that of the response's CSeq.
    pub method: MethodKind,
    /// 0 = a request.
    pub status: u16,
    /// CSeq's number; 0 where it cannot be read.
    pub cseq: u32,
}

/// Of a message that was checked or made here: its first line, Call-ID and CSeq, in one pass that ends at the later one.
pub fn gist(message: &[u8]) -> Option<Gist<'_>> {
    let (line, mut at) = lex::first_line(message)?;
    let (of_request, status) = match start_line::read(line)? {
        StartLine::Request { method, .. } => (Some(MethodKind::of(&message[method])), 0),
        StartLine::Response { status, .. } => (None, status),
    };
    let (mut call_id, mut cseq) = (None, None);
    while let lex::Line::Header { content, next } = lex::line_at(message, at) {
        at = next;
        if !matches!(message[content.start] | 0x20, b'c' | b'i') {
            continue;
        }
        match lex::name_and_value(message, content) {
            Some((HeaderId::CallId, _, value)) => call_id = call_id.or(Some(&message[value])),
            Some((HeaderId::CSeq, _, value)) => cseq = cseq.or(CSeq::split(lex::trim(&message[value]))),
            _ => continue,
        }
        if call_id.is_some() && cseq.is_some() {
            break;
        }
    }
    let method = of_request.or(cseq.map(|(_, method)| MethodKind::of(method))).unwrap_or(MethodKind::Other);
    Some(Gist { call_id: call_id?, method, status, cseq: cseq.map_or(0, |(number, _)| number) })
}

fn headers<'a>(message: &'a [u8], first: usize, start: Start, mut search: TokenSearch<'a, '_>) -> Scan<'a> {
    let request = matches!(start, Start::Request(_));
    let (mut call_id, mut to, mut via_seen, mut at) = (None, None, false, first);
    while let lex::Line::Header { content, next } = lex::line_at(message, at) {
        at = next;
        // Four headers matter; their first letters spare the rest a comparison.
        if !matches!(message[content.start] | 0x20, b'c' | b'i' | b't' | b'v' | b'r') {
            continue;
        }
        let Some((id, _, value)) = lex::name_and_value(message, content) else { continue };
        let value = &message[value];
        match id {
            HeaderId::CallId if call_id.is_none() => call_id = Some(value),
            HeaderId::To if to.is_none() => to = Some(value),
            HeaderId::Route if request => search.route(value),
            HeaderId::Via if !request && !via_seen => {
                via_seen = true;
                search.top_via(value);
            }
            _ => continue,
        }
        let done = if request { search.token.is_some() && to.is_some() } else { via_seen };
        if done && call_id.is_some() {
            break;
        }
    }
    let call_id = match call_id.filter(|id| !id.is_empty()) {
        Some(call_id) => call_id,
        None if request && matches!(lex::line_at(message, at), lex::Line::End { .. }) => &[],
        None => return Scan::Bad(ScanError::NoCallId),
    };
    let to_tag = to.is_none_or(has_tag);
    let creates_dialog = matches!(start, Start::Request(method) if method.creates_dialog()) && !to_tag;
    Scan::Sip(Scanned { start, call_id, token: search.token, to_tag, creates_dialog })
}

fn has_tag(to: &[u8]) -> bool {
    let addr = std::str::from_utf8(to).ok().and_then(|to| NameAddr::parse(HeaderId::To, to).ok());
    addr.is_none_or(|addr| addr.tag().is_some())
}

#[cfg(test)]
mod tests {
    use super::super::ListenerName;
    use super::*;
    use crate::ids::Transport;

    fn vip() -> Listeners {
        let name = |host: &str| ListenerName { host: host.into(), port: 5060, transport: Transport::Udp };
        Listeners::new(&[name("192.0.2.1"), name("2001:db8::1")])
    }

    #[test]
    fn sip_scan_and_call_id_agree() {
        for text in [
            "INVITE sip:b@h SIP/2.0\r\nCSeq: 1 INVITE\r\nContact: <sip:a@h>\r\nCall-ID:  a b \r\nCall-ID: second\r\n\r\n",
            "\r\n\r\nSIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x\r\nI :\r\n folded\r\n\r\nCall-ID: in the body\r\n",
        ] {
            assert_eq!(call_id(text.as_bytes()), Some(sip(text).call_id));
        }
        for none in
            ["", "\r\n", "x", "INVITE sip:b@h SIP/2.0\r\nCall-ID:\r\n\r\n", "SIP/2.0 200 OK\r\n\r\nCall-ID: x\r\n"]
        {
            assert_eq!(call_id(none.as_bytes()), None, "{none:?}");
        }
    }

    #[test]
    fn sip_gist_of_requests_and_responses() {
        let of = |text: &'static str| gist(text.as_bytes()).map(|g| (g.call_id, g.method, g.status, g.cseq));
        let request = "BYE sip:b@h SIP/2.0\r\ncseq : 7 BYE\r\nContact: x\r\ni: c1\r\nCSeq: 8 INVITE\r\n\r\n";
        assert_eq!(of(request), Some((&b"c1"[..], MethodKind::Bye, 0, 7)));
        let response = "SIP/2.0 180 Ringing\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n\r\n";
        assert_eq!(of(response), Some((&b"c1"[..], MethodKind::Invite, 180, 1)));
        assert_eq!(of("SIP/2.0 200 OK\r\nCall-ID: c1\r\n\r\n"), Some((&b"c1"[..], MethodKind::Other, 200, 0)));
        assert_eq!((of("SIP/2.0 200 OK\r\nCSeq: 1 BYE\r\n\r\n"), of("x")), (None, None));
    }

    fn sip(text: &str) -> Scanned<'_> {
        match scan(text.as_bytes(), &vip()) {
            Scan::Sip(scanned) => scanned,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn sip_scan_new_invite() {
        let s = sip(
            "INVITE sip:bob@rack.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx\r\nTo: <sip:bob@rack.test>\r\ni:\r\n a84b4c76e66710\r\n\r\n",
        );
        assert_eq!((s.start, s.call_id), (Start::Request(MethodKind::Invite), &b"a84b4c76e66710"[..]));
        assert_eq!((s.token, s.to_tag, s.creates_dialog), (None, false, true));
        let s = sip("\r\n\r\nINVITE sip:b@c SIP/2.0\r\nCALL-ID \t: x\r\nt: <sip:b@c>;tag=1\r\n\r\n");
        assert_eq!((s.call_id, s.to_tag, s.creates_dialog), (&b"x"[..], true, false));
        assert!(sip("INVITE sip:b@c SIP/2.0\nCall-ID: x\nTo: \"open\n\n").to_tag);
    }

    #[test]
    fn sip_scan_leaves_a_request_without_call_id_to_a_node() {
        assert_eq!(sip("INVITE sip:a@b SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nCall-ID: x\r\n").call_id, b"");
        assert_eq!(sip("INVITE sip:a@b SIP/2.0\r\nCall-ID:\r\n\r\n").call_id, b"");
    }

    #[test]
    fn sip_scan_finds_the_token() {
        let token = |first: &str, headers: &str| {
            let text = format!("{first}\r\n{headers}\r\nCall-ID: x\r\nTo: <sip:a@b>;tag=1\r\n\r\n");
            sip(&text).token.map(|t| String::from_utf8(t.to_vec()).unwrap())
        };
        let own = Some("AbC".to_owned());
        assert_eq!(token("BYE sip:a@b SIP/2.0", "Route: <sip:192.0.2.1;lr;sr=AbC>"), own);
        assert_eq!(
            token("BYE sip:a@b SIP/2.0", "ROUTE: <sip:192.0.2.1;lr> ,\r\n <sip:[2001:DB8::1]:5060;sr=AbC;lr>"),
            own
        );
        assert_eq!(token("BYE sip:a@b SIP/2.0", "Route: <sip:192.0.2.1;lr>\r\nRoute: <sip:192.0.2.1;lr;sr=AbC>"), own);
        assert_eq!(token("BYE sip:a@b SIP/2.0", "Route: <sip:198.51.100.1;lr>,<sip:192.0.2.1;lr;sr=AbC>"), None);
        assert_eq!(token("BYE sip:a@b SIP/2.0", "Route: <sip:192.0.2.1:5062;lr;sr=AbC>"), None);
        assert_eq!(token("BYE sip:a@b SIP/2.0", "Subject: <sip:192.0.2.1;lr;sr=AbC>"), None);
        assert_eq!(token("BYE sip:192.0.2.1:5060;lr;sr=AbC SIP/2.0", "Route: <sip:a@b>"), own);
        assert_eq!(token("BYE sip:a@b;sr=AbC SIP/2.0", "X: y"), None);
        assert_eq!(
            token("SIP/2.0 200 OK", "Via: SIP/2.0/UDP 192.0.2.1;branch=b;sr=AbC, SIP/2.0/UDP 192.0.2.1;sr=no"),
            own
        );
        assert_eq!(token("SIP/2.0 200 OK", "v: SIP/2.0/UDP 10.0.0.1\r\nVia: SIP/2.0/UDP 192.0.2.1;sr=no"), None);
    }

    #[test]
    fn sip_scan_keep_alives_and_rubbish() {
        for quiet in [&b""[..], b"\r\n\r\n", b"\r\n", b"\0\0\0\0", b"\0\x11\0\0\x21\x12\xa4\x42123456789012"] {
            assert_eq!(scan(quiet, &vip()), Scan::KeepAlive, "{quiet:?}");
        }
        assert!(matches!(scan(b"\0\x01\0\0\x21\x12\xa4\x42123456789012", &vip()), Scan::Stun(_)));
        for (bad, why) in [
            (&b"hello"[..], ScanError::NotSip),
            (b"GET / HTTP/1.1\r\nCall-ID: x\r\n\r\n", ScanError::NotSip),
            (b"SIP/2.0 200 OK\r\n\r\nCall-ID: x\r\n", ScanError::NoCallId),
            (b"INVITE sip:a@b SIP/2.0\r\nCall-ID:\r\nTo: x", ScanError::NoCallId),
            (b"INVITE sip:a@b SIP/2.0", ScanError::NotSip),
            (b"\0\x02\0\0\x21\x12\xa4\x42123456789012", ScanError::Stun),
        ] {
            assert_eq!(scan(bad, &vip()), Scan::Bad(why));
        }
    }
}
