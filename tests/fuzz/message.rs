//! The indexed message with all its views, beside a second parser that is as plain as can be: both must see the same
//! headers. `validate` may only pass what its views can read.

use super::scan::{WIDE, vip};
use super::{fuzz, mangle, seeds};
use common::sip::{CSeq, HeaderId, HeaderSet, Limits, NameAddr, SipMessage, Via};

/// Name and value.
type Line = (Vec<u8>, Vec<u8>);

/// RFC 3261 §7.3 read word for word: name and value of each header, folding undone, and where the body begins.
/// `None`: the head does not end, or a line has no name.
fn plainly(text: &[u8]) -> Option<(Vec<Line>, usize)> {
    let mut at = text.iter().position(|b| *b == b'\n')? + 1;
    let mut headers: Vec<Line> = Vec::new();
    loop {
        // The last line of a datagram is the end, too.
        if at == text.len() {
            return Some((headers, at));
        }
        let end = at + text[at..].iter().position(|b| *b == b'\n')?;
        let line = text[at..end].strip_suffix(b"\r").unwrap_or(&text[at..end]);
        at = end + 1;
        match line {
            [] => return Some((headers, at)),
            [b' ' | b'\t', ..] if !headers.is_empty() => {
                let value = &mut headers.last_mut()?.1;
                value.push(b' ');
                value.extend_from_slice(line);
            }
            _ => {
                let colon = line.iter().position(|b| *b == b':')?;
                let name = line[..colon].trim_ascii_end().to_vec();
                headers.push((name, line[colon + 1..].to_vec()));
            }
        }
    }
}

fn words(value: &[u8]) -> Vec<&[u8]> {
    value.split(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')).filter(|w| !w.is_empty()).collect()
}

fn check(octets: &[u8]) {
    let _ = SipMessage::parse(octets.to_vec().into(), &Limits::default()).map(|m| m.validate());
    let Ok(m) = SipMessage::parse(octets.to_vec().into(), &WIDE) else { return };
    let (plain, body) = plainly(m.bytes()).expect("what was indexed has a head that ends");
    let indexed: Vec<(&[u8], Vec<&[u8]>)> = m.headers().map(|(_, name, value)| (name, words(value))).collect();
    let plain: Vec<(&[u8], Vec<&[u8]>)> = plain.iter().map(|(n, v)| (n.as_slice(), words(v))).collect();
    assert_eq!(indexed, plain);
    assert!(m.bytes()[body..].starts_with(m.body()));
    assert!(m.bytes().starts_with(&m.trimmed_bytes()));
    views(&m);
    if m.validate().is_ok() {
        assert!(!m.call_id().is_empty() && m.cseq().is_ok() && m.from().is_ok() && m.to().is_ok());
        assert!(m.top_via().is_ok() && m.content_length().is_ok_and(|l| l.is_none_or(|l| l == m.body().len())));
        assert!(!m.is_request() || (m.vias().is_ok() && m.uri().is_ok() && m.max_forwards().is_ok()));
        assert!(m.is_request() || (100..700).contains(&m.status()));
    }
    // What is forwarded unchanged means the same to the next one.
    let again = SipMessage::parse(m.trimmed_bytes(), &WIDE).expect("what was read can be read again");
    assert_eq!(again.validate(), m.validate());
    assert_eq!((again.body(), again.call_id(), again.status()), (m.body(), m.call_id(), m.status()));
}

/// Every view once; nothing of it may panic, and what is text stands in the message.
fn views(m: &SipMessage) {
    let inside = |text: &str| m.bytes().windows(text.len().max(1)).any(|w| w == text.as_bytes()) || text.is_empty();
    let all = |id: HeaderId| m.headers().filter(move |(other, ..)| *other == id).map(|(_, _, value)| value);
    for id in HeaderId::KNOWN {
        // What is found by the index is what stands in the lines.
        assert!(m.header(*id) == all(*id).next() && m.all(*id).eq(all(*id)), "{}", id.name());
        assert_eq!(m.has_any(HeaderSet::NONE.with(*id)), all(*id).next().is_some(), "{}", id.name());
        assert!(m.texts(*id).eq(m.values(*id).filter_map(|value| std::str::from_utf8(value).ok())), "{}", id.name());
        let second = m.values(*id).nth(1).and_then(|value| std::str::from_utf8(value).ok());
        assert_eq!(m.text_at(*id, 1), second, "{}", id.name());
        let _ = (m.text(*id), m.addrs(*id).map(|all| all.len()));
        for value in m.values(*id) {
            let ends = [value.first(), value.last()].into_iter().flatten();
            let blank = ends.filter(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')).count();
            assert!(!id.is_list() || (!value.is_empty() && blank == 0), "{value:?}");
        }
    }
    let tag = |id| all(id).next().and_then(|v| NameAddr::parse(id, std::str::from_utf8(v).ok()?).ok()?.tag());
    assert_eq!((m.from_tag(), m.to_tag()), (tag(HeaderId::From), tag(HeaderId::To)));
    assert_eq!(m.cseq().ok(), all(HeaderId::CSeq).next().and_then(|value| CSeq::parse(value).ok()));
    assert_eq!(m.top_via_octets(), m.values(HeaderId::Via).next());
    let top = m.texts(HeaderId::Via).next().filter(|top| Some(top.as_bytes()) == m.top_via_octets());
    assert_eq!(m.top_via().ok(), top.and_then(|top| Via::parse(top).ok()));
    for addr in [m.from(), m.to()].into_iter().flatten() {
        assert!(inside(addr.raw) && addr.raw.contains(addr.uri_text) && addr.raw.contains(addr.tag().unwrap_or("")));
        let _ = (addr.display_name(), addr.uri().map(|u| u.to_string()));
    }
    let _ = (m.uri(), m.cseq(), m.contacts().map(|all| all.len()), m.routes(), m.record_routes(), m.method());
    let _ = (m.max_forwards(), m.expires(), m.content_length(), m.retry_after(), m.reason(), m.token(&vip()));
    assert_eq!(m.header_named("vIA"), m.header(HeaderId::Via));
    let _ = m.header_named("X-Odd");
}

#[test]
fn fuzz() {
    let seeds = seeds::messages();
    seeds.iter().for_each(|seed| check(seed));
    fuzz!("message", 4000, |octets: &[u8]| check(&mangle::text(octets, &seeds)));
}
