//! The small pieces, each by itself: nanoseconds and allocations of one.

use super::counting_allocator::made;
use cc_node::quarantine::Fingerprint;
use common::branch::{self, LoopPart, TransactionPart, Upstream};
use common::call_hash::CallHash;
use common::flow::{Flow, Peer};
use common::ids::{BootId, Epoch, ListenerId, NodeId, Transport};
use common::keys::{Keys, RackKey};
use common::sip::{Edit, HeaderId, Limits, ListenerName, Listeners, Reply, SipMessage, scan};
use common::token::{self, dialog::DialogToken};
use common::wire::proxy::{MAX, ProxyHeader, Sent};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// A phone's INVITE of 845 octets or so, with the Vias of two hops.
pub const INVITE: &str = "INVITE sip:bob@rack.test SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5061;branch=z9hG4bK776asdhds;rport\r\n\
    Via: SIP/2.0/UDP 10.1.1.9:5060;branch=z9hG4bKnashds8;received=10.1.1.9\r\nMax-Forwards: 70\r\n\
    From: \"Alice\" <sip:alice@rack.test>;tag=1928301774\r\nTo: <sip:bob@rack.test>\r\nCall-ID: a84b4c76e66710@pc33.rack.test\r\n\
    CSeq: 314159 INVITE\r\nUser-Agent: phone/1.0\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO\r\n\
    Supported: replaces, timer\r\nX-Account: 4711\r\nContact: <sip:alice@198.51.100.7:5061>\r\n\
    Content-Type: application/sdp\r\nContent-Length: 248\r\n\r\nv=0\r\no=load 3890842807 3890842807 IN IP4 192.0.2.1\r\ns=-\r\n\
    c=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\nb=AS:64\r\nx=y\r\n";

/// One piece: its name, nanoseconds and allocations of one.
pub struct Piece {
    pub name: &'static str,
    pub nanoseconds: f64,
    pub allocations: f64,
}

/// The best of seven: noise only ever adds.
fn piece<T>(name: &'static str, mut one: impl FnMut() -> T) -> Piece {
    const EACH: u32 = 20_000;
    let mut best = Duration::MAX;
    let before = made();
    for _ in 0..7 {
        let began = Instant::now();
        for _ in 0..EACH {
            black_box(one());
        }
        best = best.min(began.elapsed());
    }
    let allocations = (made() - before) as f64 / f64::from(7 * EACH);
    Piece { name, nanoseconds: best.as_secs_f64() * 1e9 / f64::from(EACH), allocations }
}

pub fn pieces() -> Vec<Piece> {
    let keys = Keys::derive(&RackKey([5; 32]));
    let mut all = messages();
    all.extend(marks(&keys));
    all.push(headers(&keys));
    all
}

fn messages() -> Vec<Piece> {
    let octets = bytes::Bytes::from_static(INVITE.as_bytes());
    let limits = Limits::default();
    let vip = Listeners::new(&[ListenerName { host: "192.0.2.1".into(), port: 5060, transport: Transport::Udp }]);
    let Ok(message) = SipMessage::parse(octets.clone(), &limits) else { return Vec::new() };
    let source = std::net::SocketAddr::from(([198, 51, 100, 7], 5061));
    vec![
        piece("scan (what the load manager reads)", || {
            matches!(scan(black_box(INVITE.as_bytes()), &vip), common::sip::Scan::Sip(_))
        }),
        piece("gist (what the recorder reads)", || common::sip::gist(black_box(INVITE.as_bytes())).is_some()),
        piece("fingerprint", || Fingerprint::of(&[7; 16], black_box(INVITE.as_bytes()))),
        piece("parse (index)", || SipMessage::parse(black_box(octets.clone()), &limits).is_ok()),
        piece("parse, validate, six typed views", || {
            let message = SipMessage::parse(black_box(octets.clone()), &limits).ok()?;
            message.validate().ok()?;
            Some(
                usize::from(message.top_via().ok()?.branch()?.len() > 1)
                    + message.from_tag()?.len()
                    + message.to().ok()?.uri_text.len()
                    + message.contacts().ok()?.len()
                    + usize::from(message.max_forwards().ok()?? > 1)
                    + message.request_uri().len(),
            )
        }),
        piece("validate", || black_box(&message).validate().is_ok()),
        piece("top Via", || black_box(&message).top_via().is_ok()),
        piece("From tag", || black_box(&message).from_tag().map(str::len)),
        piece("proxy edit (URI, hops, Via, Record-Route)", || {
            let mut edit = Edit::new(black_box(&message));
            edit.set_request_uri("sip:bob@203.0.113.9:5070").set(HeaderId::MaxForwards, "69");
            edit.push_front(HeaderId::RecordRoute, "<sip:192.0.2.1:5060;lr;sr=EgEAA3yWqM1uG6ddFNDJ-AQA7zLGM2QHAQAC>");
            edit.push_front(
                HeaderId::Via,
                "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1abcdefghijklmnopqrs;sr=EQEAB8T66LU",
            );
            edit.finish()
        }),
        piece("edit without our Via", || Edit::new(black_box(&message)).remove_first_value(HeaderId::Via).finish()),
        piece("reply (100)", || Reply::to(black_box(&message), 100, None).source(source).finish()),
    ]
}

fn marks(keys: &Keys) -> Vec<Piece> {
    let call_id = b"a84b4c76e66710@pc33.rack.test";
    let flow = Flow { listener: ListenerId(0), remote: std::net::SocketAddr::from(([198, 51, 100, 7], 5061)) };
    let dialog = DialogToken { node: NodeId(1), caller: Peer::Direct(flow), callee: Peer::Direct(flow) };
    let transaction = TransactionPart {
        call_id,
        from_tag: b"1928301774",
        cseq: 314_159,
        upstream: Upstream::Via(b"SIP/2.0/UDP 198.51.100.7:5061;branch=z9hG4bK776asdhds;rport"),
        uri: b"sip:bob@203.0.113.9:5070",
        route: b"",
        next_hop: flow,
        attempt: 0,
    };
    let loops = LoopPart {
        uri: b"sip:bob@rack.test",
        routes: b"",
        source: b"123456789",
        call_id,
        from_tag: b"1928301774",
        to_tag: b"",
        cseq: 314_159,
    };
    let mut written = Vec::new();
    token::dialog::write(&keys.token, &dialog, call_id, b"1928301774", &mut written);
    vec![
        piece("Via token", || {
            let mut out = Vec::with_capacity(16);
            token::via::write(&keys.token, NodeId(1), black_box(call_id), &mut out);
            out
        }),
        piece("dialog token, written", || {
            let mut out = Vec::with_capacity(96);
            token::dialog::write(&keys.token, &dialog, black_box(call_id), b"1928301774", &mut out);
            out
        }),
        piece("dialog token, checked", || {
            token::dialog::check(&keys.token, black_box(&written), call_id, b"1928301774", b"9").is_some()
        }),
        piece("hash of the Call-ID", || CallHash::of(&keys.placement, black_box(call_id))),
        piece("branch", || branch::write(&keys.branch, black_box(&transaction), &loops)),
    ]
}

fn headers(keys: &Keys) -> Piece {
    let header = ProxyHeader::ingress(
        std::net::SocketAddr::from(([198, 51, 100, 7], 5061)),
        std::net::SocketAddr::from(([192, 0, 2, 1], 5060)),
        ListenerId(0),
        BootId(1),
        Epoch(1),
        Sent::default(),
    );
    let (id, key) = keys.plane.current();
    let mut out = [0; MAX];
    piece("PROXY header, written and read", || {
        let length = header.write(key, id, b"a84b4c76e66710@pc33.rack.test", &mut out);
        ProxyHeader::read(&out[..length], &keys.plane, |_| Some(b"a84b4c76e66710@pc33.rack.test")).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_invite_is_a_good_one() {
        let message = SipMessage::parse(INVITE.as_bytes().into(), &Limits::default()).expect("it can be read");
        assert_eq!(message.validate(), Ok(()));
        assert_eq!(message.body().len(), message.content_length().expect("a number").expect("there"));
    }
}
