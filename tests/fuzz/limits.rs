//! Bounds of a message, from both sides: what passes under them has no more of anything than they say, counted by the views
//! of the message itself; what they refuse is refused for them alone. And what remains of a broken request: its answer.

use super::choices::Choices;
use super::scan::{WIDE, vip};
use super::{fuzz, mangle, seeds};
use common::sip::{Fault, HeaderId, Invalid, Limits, Params, Reply, Scan, SipMessage, Uri, scan};

fn fault(octets: &[u8], limits: &Limits) -> Option<Fault> {
    match SipMessage::parse(octets.to_vec().into(), limits) {
        Err(e) => Some(Invalid::from(e).fault),
        Ok(m) => m.validate().err().map(|invalid| invalid.fault),
    }
}

fn is_of_limits(fault: Fault) -> bool {
    fault < Fault::StartLine
}

fn some_limits(choices: &mut Choices<'_>) -> Limits {
    let mut one = |most: usize| if choices.one_of_256(100) { choices.below(most) } else { usize::MAX };
    Limits {
        message: one(2000).min(1 << 20),
        headers: one(16),
        header_value: one(80),
        values: one(6),
        uri: one(40),
        params: one(5),
        param: one(30),
        display_name: one(12),
    }
}

fn within(params: &Params<'_>, limits: &Limits) {
    let (mut count, mut longest) = (0, 0);
    for (name, value) in params.iter() {
        count += 1;
        longest = longest.max(name.len() + value.map_or(0, |v| v.len() + 1));
    }
    assert!(count <= limits.params && longest <= limits.param, "{:?} under {limits:?}", params.as_str());
}

fn uri_within(text: &str, limits: &Limits) {
    assert!(text.len() <= limits.uri, "{text} under {limits:?}");
    if let Ok(Uri::Sip(uri)) = Uri::parse(text) {
        within(&uri.params, limits);
    }
}

/// What passed, by its views.
fn passed(m: &SipMessage, limits: &Limits) {
    assert!(m.bytes().len() <= limits.message && m.headers().count() <= limits.headers);
    assert!(m.headers().all(|(_, _, value)| value.len() <= limits.header_value));
    if m.is_request() {
        uri_within(m.request_uri(), limits);
    }
    for id in HeaderId::KNOWN.iter().filter(|id| id.is_list()) {
        assert!(m.values(*id).count() <= limits.values, "{} under {limits:?}", id.name());
    }
    m.vias().into_iter().flatten().for_each(|via| within(&via.params, limits));
    let lists = [HeaderId::Route, HeaderId::RecordRoute, HeaderId::Path, HeaderId::PAssertedIdentity];
    let listed = lists.into_iter().filter_map(|id| m.addrs(id).ok()).flatten();
    let contacts = m.contacts().into_iter().flatten().filter_map(|contact| contact.addr());
    for addr in listed.chain(contacts).chain(m.from()).chain(m.to()) {
        uri_within(addr.uri_text, limits);
        within(&addr.params, limits);
        assert!(addr.display.unwrap_or_default().len() <= limits.display_name, "{} under {limits:?}", addr.raw);
    }
}

fn bounds(octets: &[u8], limits: &Limits) {
    let without = fault(octets, &Limits::NONE);
    assert!(!without.is_some_and(is_of_limits), "{without:?} without any limit");
    // Whatever is in it is no more than all of it.
    let n = octets.len();
    let all =
        Limits { message: n, headers: n, header_value: n, values: n, uri: n, params: n, param: n, display_name: n };
    assert_eq!(fault(octets, &all), without);
    match fault(octets, limits) {
        Some(fault) if is_of_limits(fault) => {}
        // What only has to be counted is counted before it is judged.
        other => assert_eq!(other, without, "under {limits:?}"),
    }
    if let Ok(m) = SipMessage::parse(octets.to_vec().into(), limits)
        && m.validate().is_ok()
    {
        passed(&m, limits);
    }
}

/// The answer to what remains of a request is the one that the whole request would get.
fn remains(octets: &[u8]) {
    let whole = SipMessage::parse(octets.to_vec().into(), &WIDE).ok().filter(|m| m.validate().is_ok());
    let answer = |m: &SipMessage| Reply::to(m, 400, Some("mine")).source("10.0.0.1:9".parse().unwrap()).finish();
    let Some(left) = SipMessage::remains(octets.to_vec().into()) else {
        // It looks at 256 lines.
        let many = whole.as_ref().is_some_and(|m| m.all(HeaderId::Via).count() > 250);
        assert!(
            whole.is_none_or(|m| !m.is_request() || many),
            "a good request of which nothing remains: {}",
            octets.escape_ascii()
        );
        return;
    };
    let said = answer(&left);
    if let Some(whole) = whole {
        assert_eq!(said, answer(&whole));
    }
    let read = SipMessage::parse(said.clone(), &WIDE).unwrap_or_else(|e| panic!("{e} in {said:?}"));
    assert_eq!((read.is_request(), read.status(), read.validate()), (false, 400, Ok(())), "{said:?}");
    assert_eq!((read.call_id(), read.cseq()), (left.call_id(), left.cseq()));
    // It leaves by the load manager, which must find the same Call-ID in question and answer.
    match (scan(octets, &vip()), scan(&said, &vip())) {
        (Scan::Sip(asked), Scan::Sip(told)) => assert_eq!(asked.call_id, told.call_id),
        (asked, told) => panic!("{asked:?}, {told:?}"),
    }
}

fn check(octets: &[u8], seeds: &[&[u8]]) {
    let mut choices = Choices::new(octets);
    let limits = some_limits(&mut choices);
    let text = mangle::text(choices.rest(), seeds);
    bounds(&text, &limits);
    remains(&text);
}

#[test]
fn fuzz() {
    let seeds = seeds::messages();
    for seed in &seeds {
        bounds(seed, &Limits::default());
        remains(seed);
    }
    fuzz!("limits", 4000, |octets: &[u8]| check(octets, &seeds));
}
