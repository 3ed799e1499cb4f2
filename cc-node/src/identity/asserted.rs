//! The P-Asserted-Identity of an authenticated user (RFC 3325 §5, §9.1): its AOR as a SIP URI, and where that is a number
//! the same number as a tel URI. Called by [`super::request`] towards trusted peers.

use crate::auth::{is_anonymous, local_aor};
use common::config::Rack;
use common::location::Aor;
use common::sip::{HeaderId, NameAddr, SipMessage, SipUri};

/// E.164: a global number has at most 15 digits.
const MOST_DIGITS: usize = 15;

/// Values, one a header line as in RFC 3325 §10.1: the SIP URI first.
pub fn identities(rack: &Rack, request: &SipMessage, aor: &Aor) -> Vec<String> {
    let display = preferred(rack, request, aor).or_else(|| from(request));
    let name = display.map(|display| format!("{display} ")).unwrap_or_default();
    let mut values = vec![format!("{name}<sip:{}@{}>", escaped(aor.user()), aor.domain())];
    values.extend(tel(aor).map(|tel| format!("{name}<{tel}>")));
    values
}

/// The display name of a P-Preferred-Identity that names this user. One that names anybody else is a hint for nobody: it
/// is not heeded, and removed like any (RFC 3325 §6).
fn preferred(rack: &Rack, request: &SipMessage, aor: &Aor) -> Option<String> {
    request.texts(HeaderId::PPreferredIdentity).find_map(|value| {
        let preferred = NameAddr::parse(HeaderId::PPreferredIdentity, value).ok()?;
        let uri = SipUri::parse(preferred.uri_text).ok()?;
        if local_aor(rack, &uri).as_ref() != Some(aor) {
            return None;
        }
        written(&preferred)
    })
}

/// The display name of From, unless From is nobody's.
fn from(request: &SipMessage) -> Option<String> {
    let from = request.from().ok()?;
    let uri = SipUri::parse(from.uri_text).ok()?;
    if is_anonymous(&uri) { None } else { written(&from) }
}

/// A display name as a quoted string. Folded ones lose their line ends when they are written.
fn written(address: &NameAddr<'_>) -> Option<String> {
    let display = address.display?;
    if display.starts_with('"') {
        return Some(display.to_owned());
    }
    // Words without quotes: a backslash among them is no escape, and would become one.
    (!display.contains('\\')).then(|| format!("\"{display}\""))
}

/// RFC 3966: a number with `+` is global, any other means something in its domain only.
fn tel(aor: &Aor) -> Option<String> {
    let user = aor.user();
    let digits = user.strip_prefix('+').unwrap_or(user);
    if digits.is_empty() || digits.len() > MOST_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(if user.starts_with('+') {
        format!("tel:{user}")
    } else {
        format!("tel:{user};phone-context={}", aor.domain())
    })
}

/// The user part of a SIP URI (RFC 3261 §25.1). In an AOR only what must stay escaped is.
fn escaped(user: &str) -> String {
    let octets = user.as_bytes();
    let mut out = String::with_capacity(user.len());
    for (at, b) in octets.iter().copied().enumerate() {
        let is_escape =
            b == b'%' && octets.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        if is_escape || b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_tel_uris_and_names_do_not() {
        let tel = |user: &str| tel(&Aor::new(user, "rack.test"));
        assert_eq!(tel("+4930123").as_deref(), Some("tel:+4930123"));
        assert_eq!(tel("1001").as_deref(), Some("tel:1001;phone-context=rack.test"));
        for name in ["alice", "+", "", "1001a", "+49-30", "1234567890123456", "٣"] {
            assert_eq!(tel(name), None, "{name}");
        }
    }

    #[test]
    fn a_user_part_is_escaped_once() {
        assert_eq!(escaped("alice+1;x=y"), "alice+1;x=y");
        assert_eq!(escaped("a b>:@\""), "a%20b%3E%3A%40%22");
        assert_eq!(escaped("Jörg%00"), "J%C3%B6rg%00");
        assert_eq!(escaped("100%"), "100%25");
    }
}
