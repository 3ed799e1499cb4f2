//! URIs: printed as they were read, compared alike in both directions, and one name for one address of record.

use super::choices::Choices;
use super::{fuzz, mangle, seeds};
use common::sip::{SipUri, Uri};

fn one(text: &str) {
    let Ok(uri) = Uri::parse(text) else { return };
    let printed = uri.to_string();
    assert_eq!(Uri::parse(&printed), Ok(uri), "{printed:?}");
    assert_eq!(Uri::parse(&printed).map(|u| u.to_string()).as_deref(), Ok(printed.as_str()));
    match uri {
        Uri::Sip(sip) => {
            assert!(sip.same_as(&sip));
            let _ = (sip.user_unescaped(), sip.host_ip(), sip.port_or_default(), sip.is_loose());
            if let Some(aor) = sip.aor() {
                assert!(!aor.as_str().bytes().any(|b| b.is_ascii_control()), "{aor}");
                assert_eq!(aor.domain(), sip.host.to_ascii_lowercase());
            }
        }
        Uri::Tel(tel) => assert!(tel.digits().len() <= tel.number.len()),
        Uri::Other { .. } => {}
    }
}

/// Equality is symmetric, and equal URIs name the same address of record: else one of them could be registered, and
/// the other called.
fn two(a: &str, b: &str) {
    let (Ok(a), Ok(b)) = (SipUri::parse(a), SipUri::parse(b)) else { return };
    assert_eq!(a.same_as(&b), b.same_as(&a), "{a} {b}");
    if a.same_as(&b) && a.host_ip().is_none() {
        assert_eq!(a.aor(), b.aor(), "{a} {b}");
    }
}

fn check(octets: &[u8]) {
    let text = mangle::text(octets, seeds::URIS);
    let Ok(text) = std::str::from_utf8(&text) else { return };
    one(text);
    let mut other = text.as_bytes().to_vec();
    let mut choices = Choices::new(octets.get(octets.len() / 2..).unwrap_or_default());
    mangle::change(&mut choices, &mut other, seeds::URIS);
    if let Ok(other) = std::str::from_utf8(&other) {
        one(other);
        two(text, other);
    }
}

#[test]
fn fuzz() {
    let text = |octets: &'static [u8]| std::str::from_utf8(octets).unwrap();
    for a in seeds::URIS {
        one(text(a));
        seeds::URIS.iter().for_each(|b| two(text(a), text(b)));
    }
    fuzz!("uri", 12_000, check);
}
