//! `sip::scan` beside the indexed message: the load manager and the node must never take one datagram for two things.

use super::{fuzz, mangle, seeds};
use common::ids::Transport;
use common::sip::{Limits, ListenerName, Listeners, Scan, SipMessage, Start, call_id, scan};

pub fn vip() -> Listeners {
    let name = |host: &str, port| ListenerName { host: host.into(), port, transport: Transport::Udp };
    Listeners::new(&[name("192.0.2.1", 5060), name("2001:db8::1", 5060), name("sip.rack.test", 5070)])
}

/// Only what is wrong is refused.
pub const WIDE: Limits = Limits::NONE;

fn check(datagram: &[u8]) {
    let vip = vip();
    let scanned = scan(datagram, &vip);
    if let Scan::Sip(scanned) = &scanned {
        assert_eq!(call_id(datagram).unwrap_or_default(), scanned.call_id);
    }
    let Ok(message) = SipMessage::parse(datagram.to_vec().into(), &WIDE) else { return };
    let Scan::Sip(scanned) = scanned else {
        // The node would read it, and the load manager would not give it to any: only for want of a Call-ID.
        assert!(message.call_id().is_empty(), "{scanned:?}");
        return;
    };
    assert_eq!(scanned.call_id, message.call_id());
    // Only a request without one is left to a node, which answers 400.
    assert!(!scanned.call_id.is_empty() || matches!(scanned.start, Start::Request(_)));
    assert_eq!(scanned.token, message.token(&vip));
    match scanned.start {
        Start::Request(kind) => {
            assert!(message.is_request());
            assert_eq!(kind, message.method().kind());
            if message.to().is_ok() {
                assert_eq!(scanned.to_tag, message.to_tag().is_some());
            }
            assert!(!scanned.creates_dialog || (kind.creates_dialog() && !scanned.to_tag));
        }
        Start::Response(status) => assert_eq!((status, scanned.creates_dialog), (message.status(), false)),
    }
}

#[test]
fn fuzz() {
    let seeds = seeds::messages();
    seeds.iter().for_each(|seed| check(seed));
    fuzz!("scan", 6000, |octets: &[u8]| check(&mangle::text(octets, &seeds)));
}
