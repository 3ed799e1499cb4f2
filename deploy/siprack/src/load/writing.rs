//! The messages of both sides, written into buffers that are kept. `caller` and `callee` use it.

use super::reading::{Line, address, lines, uri, values};
use common::sip::HeaderId;
use std::io::Write;
use std::net::SocketAddr;

/// What phones send: two codecs and telephone events.
const SDP: &str = "v=0\r\no=load 3890842807 3890842807 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
    a=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n";
const ALLOW: &str = "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO\r\n";
const AGENT: &str = "User-Agent: siprack-load\r\n";

/// Names one request.
#[derive(Clone, Copy, Debug)]
pub struct Tags {
    pub run: u64,
    pub slot: usize,
    pub serial: u64,
    pub number: u32,
}

impl Tags {
    pub fn call_id(&self, out: &mut Vec<u8>) {
        put(out, format_args!("L{:x}.{}.{}", self.run, self.slot, self.serial));
    }

    fn via(&self, out: &mut Vec<u8>, method: &str, local: SocketAddr) {
        let Tags { run, serial, number, .. } = self;
        let letter = &method[..1];
        put(out, format_args!("Via: SIP/2.0/UDP {local};branch=z9hG4bKL{run:x}.{serial}.{number}{letter}\r\n"));
    }

    /// Slot and serial of a Call-ID of this run.
    pub fn read(run: u64, call_id: &[u8]) -> Option<(usize, u64)> {
        let mut parts = std::str::from_utf8(call_id).ok()?.strip_prefix('L')?.split('.');
        if u64::from_str_radix(parts.next()?, 16).ok()? != run {
            return None;
        }
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

/// Writing to memory cannot fail.
fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// Who asks whom.
pub struct Between<'a> {
    pub local: SocketAddr,
    /// `user@domain`, or a domain alone.
    pub from: &'a str,
    pub to: &'a str,
}

/// A request outside of dialogs; `extra` are whole header lines.
pub fn request(out: &mut Vec<u8>, method: &str, target: &str, between: &Between<'_>, tags: &Tags, extra: &str) {
    let Between { local, from, to } = between;
    out.clear();
    put(out, format_args!("{method} sip:{target} SIP/2.0\r\n"));
    tags.via(out, method, *local);
    put(
        out,
        format_args!("Max-Forwards: 70\r\nFrom: <sip:{from}>;tag=f{}\r\nTo: <sip:{to}>\r\nCall-ID: ", tags.serial),
    );
    tags.call_id(out);
    put(out, format_args!("\r\nCSeq: {} {method}\r\n{AGENT}{extra}", tags.number));
    match method {
        "INVITE" => put(
            out,
            format_args!(
                "{ALLOW}Supported: replaces, timer\r\nContact: <sip:{}@{local}>\r\n\
                 Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
                from.split('@').next().unwrap_or("load"),
                SDP.len()
            ),
        ),
        _ => out.extend_from_slice(b"Content-Length: 0\r\n\r\n"),
    }
}

/// Where the requests of a dialog go: Request-URI, Route lines, and the next hop if it is an address (RFC 3261 §12.2.1.1).
#[derive(Default)]
pub struct RouteSet {
    pub target: Vec<u8>,
    pub routes: Vec<u8>,
    pub hop: Option<SocketAddr>,
}

impl RouteSet {
    /// Of the caller, by the 2xx. `None`: it has no Contact.
    pub fn of(answer: &[u8]) -> Option<RouteSet> {
        let contact = lines(answer).find(|l| l.id == HeaderId::Contact)?;
        let target = uri(values(contact.value).next()?).to_vec();
        let recorded: Vec<&[u8]> =
            lines(answer).filter(|l| l.id == HeaderId::RecordRoute).flat_map(|l| values(l.value)).collect();
        let mut set = RouteSet { hop: address(&target), target, routes: Vec::new() };
        let mut route: Vec<Vec<u8>> = recorded.iter().rev().map(|r| r.to_vec()).collect();
        if let Some(first) = recorded.last() {
            let first = uri(first);
            set.hop = address(first);
            if !first.windows(3).any(|w| w.eq_ignore_ascii_case(b";lr")) {
                // A strict router: its URI is the Request-URI, and the target goes last.
                route.remove(0);
                route.push([b"<", &set.target[..], b">"].concat());
                set.target = first.to_vec();
            }
        }
        for value in route {
            set.routes.extend_from_slice(b"Route: ");
            set.routes.extend_from_slice(&value);
            set.routes.extend_from_slice(b"\r\n");
        }
        Some(set)
    }
}

/// ACK to a 2xx, or BYE. `from` is the From line of the INVITE, `to` the To line of the 2xx.
pub fn in_dialog(
    out: &mut Vec<u8>,
    method: &str,
    route: &RouteSet,
    local: SocketAddr,
    tags: &Tags,
    [from, to]: [&[u8]; 2],
) {
    out.clear();
    put(out, format_args!("{method} "));
    out.extend_from_slice(&route.target);
    out.extend_from_slice(b" SIP/2.0\r\n");
    tags.via(out, method, local);
    out.extend_from_slice(&route.routes);
    out.extend_from_slice(b"Max-Forwards: 70\r\n");
    out.extend_from_slice(from);
    out.extend_from_slice(to);
    out.extend_from_slice(b"Call-ID: ");
    tags.call_id(out);
    put(out, format_args!("\r\nCSeq: {} {method}\r\n{AGENT}Content-Length: 0\r\n\r\n", tags.number));
}

/// The line of that name with its line end; empty if there is none.
pub fn line(message: &[u8], id: HeaderId) -> &[u8] {
    lines(message).find(|l| l.id == id).map_or(&[], |l| l.whole)
}

/// ACK to a final response that is no 2xx: the INVITE's Request-URI, Via and Route (RFC 3261 §17.1.1.3).
pub fn ack_of_refusal(out: &mut Vec<u8>, invite: &[u8], response: &[u8], number: u32) {
    out.clear();
    let first = invite.split(|b| *b == b'\n').next().unwrap_or_default();
    out.extend_from_slice(b"ACK");
    out.extend_from_slice(first.strip_prefix(b"INVITE").unwrap_or(first));
    out.push(b'\n');
    for Line { id, whole, .. } in lines(invite) {
        match id {
            HeaderId::To => out.extend_from_slice(line(response, HeaderId::To)),
            HeaderId::Via | HeaderId::Route | HeaderId::From | HeaderId::CallId | HeaderId::MaxForwards => {
                out.extend_from_slice(whole);
            }
            _ => {}
        }
    }
    put(out, format_args!("CSeq: {number} ACK\r\nContent-Length: 0\r\n\r\n"));
}

/// The same request as a new one, with credentials (RFC 3261 §22.2): another branch, the next CSeq.
pub fn again(request: &[u8], method: &str, local: SocketAddr, tags: &Tags, credentials: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(request.len() + credentials.len() + 8);
    let head = memchr::memchr(b'\n', request).map_or(0, |at| at + 1);
    out.extend_from_slice(&request[..head]);
    let mut end = head;
    for Line { id, whole, .. } in lines(request) {
        end += whole.len();
        match id {
            HeaderId::Via => tags.via(&mut out, method, local),
            HeaderId::CSeq => put(&mut out, format_args!("CSeq: {} {method}\r\n{credentials}\r\n", tags.number)),
            _ => out.extend_from_slice(whole),
        }
    }
    out.extend_from_slice(&request[end..]);
    out
}

/// A response of the called side: Via, Record-Route, From, To, Call-ID and CSeq as in the request.
pub fn response(out: &mut Vec<u8>, request: &[u8], status: &str, to_tag: u64, contact: Option<SocketAddr>) {
    out.clear();
    put(out, format_args!("SIP/2.0 {status}\r\n"));
    for Line { id, whole, value } in lines(request) {
        match id {
            HeaderId::To if !super::reading::has_tag(value) => {
                out.extend_from_slice(whole.trim_ascii_end());
                put(out, format_args!(";tag={to_tag:x}\r\n"));
            }
            HeaderId::Via | HeaderId::From | HeaderId::To | HeaderId::CallId | HeaderId::CSeq => {
                out.extend_from_slice(whole);
            }
            HeaderId::RecordRoute if contact.is_some() => out.extend_from_slice(whole),
            _ => {}
        }
    }
    if let Some(contact) = contact {
        put(out, format_args!("Contact: <sip:load@{contact}>\r\n"));
    }
    match contact.filter(|_| status.starts_with('2')) {
        Some(_) => put(
            out,
            format_args!("{AGENT}{ALLOW}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}", SDP.len()),
        ),
        None => put(out, format_args!("{AGENT}Content-Length: 0\r\n\r\n")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(octets: &[u8]) -> String {
        String::from_utf8(octets.to_vec()).unwrap()
    }

    #[test]
    fn a_route_set_is_reversed_and_a_strict_router_gets_the_request_uri() {
        let ok = |route: &str| format!("SIP/2.0 200 OK\r\n{route}Contact: <sip:b@192.0.2.7:5070>\r\n\r\n");
        let loose = RouteSet::of(
            ok("Record-Route: <sip:p2;lr>, <sip:q;lr>\r\nRecord-Route: <sip:192.0.2.1:5060;lr;sr=x>\r\n").as_bytes(),
        );
        let loose = loose.unwrap();
        assert_eq!(
            text(&loose.routes),
            "Route: <sip:192.0.2.1:5060;lr;sr=x>\r\nRoute: <sip:q;lr>\r\nRoute: <sip:p2;lr>\r\n"
        );
        assert_eq!(
            (text(&loose.target).as_str(), loose.hop),
            ("sip:b@192.0.2.7:5070", Some("192.0.2.1:5060".parse().unwrap()))
        );
        let strict =
            RouteSet::of(ok("Record-Route: <sip:p2;lr>\r\nRecord-Route: <sip:192.0.2.1>\r\n").as_bytes()).unwrap();
        assert_eq!(text(&strict.target), "sip:192.0.2.1");
        assert_eq!(text(&strict.routes), "Route: <sip:p2;lr>\r\nRoute: <sip:b@192.0.2.7:5070>\r\n");
        let none = RouteSet::of(ok("").as_bytes()).unwrap();
        assert_eq!((none.routes.len(), none.hop), (0, Some("192.0.2.7:5070".parse().unwrap())));
        assert!(RouteSet::of(b"SIP/2.0 200 OK\r\n\r\n").is_none());
    }

    #[test]
    fn call_ids_are_read_back_and_those_of_others_are_not() {
        let mut id = Vec::new();
        Tags { run: 0xab, slot: 3, serial: 77, number: 1 }.call_id(&mut id);
        assert_eq!(Tags::read(0xab, &id), Some((3, 77)));
        assert_eq!((Tags::read(0xac, &id), Tags::read(0xab, b"Lab.3"), Tags::read(0xab, b"x")), (None, None, None));
    }

    #[test]
    fn with_credentials_it_is_another_request() {
        let local = "192.0.2.9:5060".parse().unwrap();
        let between = Between { local, from: "a@h", to: "b@h" };
        let (mut out, mut tags) = (Vec::new(), Tags { run: 1, slot: 0, serial: 2, number: 1 });
        request(&mut out, "INVITE", "b@h", &between, &tags, "");
        tags.number = 2;
        let second = text(&again(&out, "INVITE", local, &tags, "Authorization: Digest x"));
        let first = text(&out);
        assert_eq!(
            second,
            first.replace("1.2.1I", "1.2.2I").replace("1 INVITE\r\n", "2 INVITE\r\nAuthorization: Digest x\r\n")
        );
    }
}
