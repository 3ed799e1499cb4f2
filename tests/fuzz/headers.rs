//! Every typed header, from one value: what can be read can be written again and means the same.

use super::{fuzz, mangle, seeds};
use common::sip::headers::numbers;
use common::sip::{CSeq, Challenge, Contact, Credentials, HeaderId, NameAddr, Via};
use std::net::{IpAddr, SocketAddr};

const SOURCES: [&str; 3] = ["10.0.0.1:5060", "[2001:db8::7]:9", "[::ffff:192.0.2.9]:1024"];

fn via(text: &str) {
    let Ok(via) = Via::parse(text) else { return };
    let _ = (via.branch(), via.received(), via.rport(), via.port_or_default(), via.response_address(), via.param("x"));
    assert!(via.same_sent_by(&via));
    assert_eq!(via.branch(), via.params.value("branch"));
    for source in SOURCES {
        let source: SocketAddr = source.parse().unwrap();
        let ip = source.ip().to_canonical();
        let Some(stored) = via.with_source(source) else {
            assert_eq!(via.host.trim_matches(['[', ']']).parse().map(|ip: IpAddr| ip.to_canonical()), Ok(ip));
            assert!(via.rport().is_none() && via.received().is_none());
            continue;
        };
        let again = Via::parse(&stored).expect("a Via that we completed can be read");
        assert_eq!((again.transport, again.host, again.port), (via.transport, via.host, via.port));
        assert_eq!(again.branch(), via.branch());
        // The response goes where the request came from, whatever the sender claimed.
        assert_eq!(again.response_address().map(|a| a.ip().to_canonical()), Some(ip));
        assert_eq!(again.rport().is_some(), via.rport().is_some());
        assert!(again.rport().is_none_or(|port| port == Some(source.port())));
        let twice = again.with_source(source);
        assert!(twice.is_none_or(|twice| Via::parse(&twice).unwrap().response_address() == again.response_address()));
    }
}

fn addr(text: &str) {
    if let Ok(addr) = NameAddr::parse(HeaderId::To, text) {
        let written = match addr.display {
            Some(display) => format!("{display} <{}>;{}", addr.uri_text, addr.params.as_str()),
            None => format!("<{}>;{}", addr.uri_text, addr.params.as_str()),
        };
        let again = NameAddr::parse(HeaderId::To, &written).unwrap_or_else(|e| panic!("{written:?}: {e}"));
        assert_eq!((again.uri_text, again.display, again.tag()), (addr.uri_text, addr.display, addr.tag()));
        assert!(!addr.uri_text.contains([' ', '\r', '\n', '\t']));
        let _ = (addr.display_name(), addr.uri(), addr.instance(), addr.reg_id(), addr.expires_s());
        assert!(addr.q_thousandths().is_ok_and(|q| q.is_none_or(|q| q <= 1000)) || addr.param("q").is_some());
    }
    let star = text.trim_matches([' ', '\t', '\r', '\n']) == "*";
    assert_eq!(Contact::parse(text) == Ok(Contact::Star), star);
}

/// Control characters do not survive our quotes, on purpose; without them nothing may change.
fn digest(text: &str) {
    let plain = !text.contains(|c: char| c.is_control());
    if let Ok(credentials) = Credentials::parse(HeaderId::Authorization, text) {
        let _ = (credentials.algorithm(), credentials.nonce_count());
        let written = credentials.to_string();
        let again =
            Credentials::parse(HeaderId::Authorization, &written).unwrap_or_else(|e| panic!("{written:?}: {e}"));
        assert!(!plain || again == credentials, "{written:?}");
    }
    if let Ok(challenge) = Challenge::parse(HeaderId::WwwAuthenticate, text) {
        let _ = (challenge.algorithm(), challenge.offers_qop("auth"));
        let written = challenge.to_string();
        let again =
            Challenge::parse(HeaderId::WwwAuthenticate, &written).unwrap_or_else(|e| panic!("{written:?}: {e}"));
        assert!(!plain || again == challenge, "{written:?}");
    }
}

fn check(octets: &[u8]) {
    if let Ok(cseq) = CSeq::parse(octets) {
        assert!(cseq.number < 1 << 31);
        let written = format!("{} {}", cseq.number, cseq.method.as_str());
        assert_eq!(CSeq::parse(written.as_bytes()), Ok(cseq));
    }
    let seconds = numbers::delta_seconds(octets);
    let _ = (numbers::max_forwards(octets), numbers::content_length(octets));
    assert!(seconds.is_none() || numbers::leading_seconds(octets) == seconds);
    let Ok(text) = std::str::from_utf8(octets) else { return };
    via(text);
    addr(text);
    digest(text);
}

#[test]
fn fuzz() {
    seeds::VALUES.iter().for_each(|seed| check(seed));
    fuzz!("headers", 10_000, |octets: &[u8]| check(&mangle::text(octets, seeds::VALUES)));
}
