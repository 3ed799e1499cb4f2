//! Parameters and comma lists: quotes and brackets hide what they enclose, and nothing is seen twice or lost.

use super::scan::WIDE;
use super::{fuzz, mangle, seeds};
use common::sip::{HeaderId, Params, SipMessage};

fn parameters(text: &str) {
    let params = Params::of(text);
    assert_eq!(params.as_str(), text);
    // Each is looked for in all: of thousands the first few say the same.
    for (name, value) in params.iter().take(40) {
        assert!(!name.is_empty() && text.contains(name) && text.contains(value.unwrap_or_default()));
        assert!(params.has(name) && params.has(&name.to_ascii_uppercase()));
        let first = params.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        assert_eq!(params.get(name), first.map(|(_, value)| value));
        // A value is one parameter: read alone, it is one again.
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            let alone = format!("{name}={value}");
            assert_eq!(Params::of(&alone).iter().collect::<Vec<_>>(), [(name, Some(value))]);
        }
    }
    assert!(!params.is_empty() || params.iter().count() == 0);
}

/// A list is what its values are: split again, each is one value, and all octets but white space and commas are in one.
fn list(value: &[u8]) {
    let message = |list: &[u8]| {
        let head = [b"OPTIONS sip:a SIP/2.0\r\nRoute: ", list, b"\r\n\r\n"].concat();
        SipMessage::parse(head.into(), &WIDE).ok()
    };
    let lines = value.contains(&b'\n');
    let Some(all) = message(value).filter(|_| !lines) else { return };
    let mut kept = 0;
    for one in all.values(HeaderId::Route) {
        let alone = message(one).expect("a value of a header is a value of a header");
        assert_eq!(alone.values(HeaderId::Route).collect::<Vec<_>>(), [one]);
        kept += one.iter().filter(|b| **b != b',').count();
    }
    let blank = |b: &&u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | b',');
    let all_octets = value.iter().filter(|b| !blank(b)).count();
    assert!(kept >= all_octets, "{kept} of {all_octets}");
}

fn check(octets: &[u8]) {
    list(octets);
    if let Ok(text) = std::str::from_utf8(octets) {
        parameters(text);
    }
}

#[test]
fn fuzz() {
    seeds::VALUES.iter().for_each(|seed| check(seed));
    fuzz!("params", 10_000, |octets: &[u8]| check(&mangle::text(octets, seeds::VALUES)));
}
