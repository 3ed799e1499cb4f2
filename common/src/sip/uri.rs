//! URIs (RFC 3261 §19.1, RFC 3966): split without copying, compared as §19.1.4 says, printed as they were.

use super::params::{self, Params};
use super::{ParseError, lex};
use crate::location::Aor;
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Sip,
    Sips,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Sip => "sip",
            Scheme::Sips => "sips",
        }
    }

    /// Where a URI without port points to (RFC 3261 §19.1.2).
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Sip => 5060,
            Scheme::Sips => 5061,
        }
    }
}

/// Any URI; only `sip`, `sips` and `tel` are looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uri<'a> {
    Sip(SipUri<'a>),
    Tel(TelUri<'a>),
    Other { scheme: &'a str, rest: &'a str },
}

impl<'a> Uri<'a> {
    pub fn parse(text: &'a str) -> Result<Uri<'a>, ParseError> {
        check_octets(text)?;
        // By far the most.
        if let Some(rest) = text.strip_prefix("sip:") {
            return SipUri::after_scheme(Scheme::Sip, rest).map(Uri::Sip);
        }
        let (scheme, rest) = lex::split_at(text, b':').ok_or(ParseError::Uri("no scheme"))?;
        let letter = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
        if !letter || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')) {
            return Err(ParseError::Uri("the scheme is not a word"));
        }
        if scheme.eq_ignore_ascii_case("sip") {
            return SipUri::after_scheme(Scheme::Sip, rest).map(Uri::Sip);
        }
        if scheme.eq_ignore_ascii_case("sips") {
            return SipUri::after_scheme(Scheme::Sips, rest).map(Uri::Sip);
        }
        if scheme.eq_ignore_ascii_case("tel") {
            let (number, params) = rest.split_once(';').unwrap_or((rest, ""));
            return match number.is_empty() {
                true => Err(ParseError::Uri("a tel URI without number")),
                false => Ok(Uri::Tel(TelUri { number, params: Params::of(params) })),
            };
        }
        Ok(Uri::Other { scheme, rest })
    }

    /// The URI as `sip:` or `sips:`, if it is one.
    pub fn sip(self) -> Option<SipUri<'a>> {
        match self {
            Uri::Sip(uri) => Some(uri),
            _ => None,
        }
    }
}

impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Uri::Sip(uri) => uri.fmt(f),
            Uri::Tel(tel) => {
                write!(f, "tel:{}", tel.number)?;
                if !tel.params.as_str().is_empty() { write!(f, ";{}", tel.params.as_str()) } else { Ok(()) }
            }
            Uri::Other { scheme, rest } => write!(f, "{scheme}:{rest}"),
        }
    }
}

/// `tel:` (RFC 3966): the number as written, visual separators kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelUri<'a> {
    pub number: &'a str,
    pub params: Params<'a>,
}

impl TelUri<'_> {
    /// Digits, `+`, `*`, `#` and letters only: RFC 3966's visual separators `-.()` left out.
    pub fn digits(&self) -> String {
        self.number.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')')).collect()
    }
}

/// A `sip:` or `sips:` URI; every part as it stands in the buffer, escapes not undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SipUri<'a> {
    pub scheme: Scheme,
    pub user: Option<&'a str>,
    pub password: Option<&'a str>,
    /// Host name or address; IPv6 with its brackets.
    pub host: &'a str,
    pub port: Option<u16>,
    pub params: Params<'a>,
    /// What stands behind `?`, without it.
    pub headers: Option<&'a str>,
}

impl<'a> SipUri<'a> {
    pub fn parse(text: &'a str) -> Result<SipUri<'a>, ParseError> {
        Uri::parse(text)?.sip().ok_or(ParseError::Uri("neither sip nor sips"))
    }

    fn after_scheme(scheme: Scheme, rest: &'a str) -> Result<SipUri<'a>, ParseError> {
        // A user part may hold `;`, `?` and `,`; behind the `@` none may stand unescaped, so there is exactly one.
        let (userinfo, rest) = match lex::split_at(rest, b'@') {
            Some((userinfo, rest)) => (Some(userinfo), rest),
            None => (None, rest),
        };
        if memchr::memchr(b'@', rest.as_bytes()).is_some() {
            return Err(ParseError::Uri("more than one @"));
        }
        let (user, password) = match userinfo.map(|u| (u, lex::split_at(u, b':'))) {
            None => (None, None),
            Some((_, Some((user, password)))) => (Some(user), Some(password)),
            Some((user, None)) => (Some(user), None),
        };
        if user == Some("") {
            return Err(ParseError::Uri("an @ without a user"));
        }
        let (rest, headers) = match lex::split_at(rest, b'?') {
            Some((rest, headers)) => (rest, Some(headers)),
            None => (rest, None),
        };
        let (hostport, params) = lex::split_at(rest, b';').unwrap_or((rest, ""));
        let (host, port) = host_port(hostport)?;
        Ok(SipUri { scheme, user, password, host, port, params: Params::of(params), headers })
    }

    /// The user part with its escapes undone; `None` without user or if the octets are no UTF-8.
    pub fn user_unescaped(&self) -> Option<Cow<'a, str>> {
        let user = self.user?;
        if !user.contains('%') {
            return Some(Cow::Borrowed(user));
        }
        String::from_utf8(unescape(user)).ok().map(Cow::Owned)
    }

    /// The address of record that the URI names (RFC 3261 §10.3 step 5): parameters and port left out, escapes undone.
    /// Control characters, `%` itself and octets that are no UTF-8 stay escaped, so two names never become one.
    /// `None` without a user.
    pub fn aor(&self) -> Option<Aor> {
        Some(Aor::new(&self.user_of_record()?, self.host))
    }

    /// The user part as an address of record has it.
    pub fn user_of_record(&self) -> Option<Cow<'a, str>> {
        self.user.map(canonical_user)
    }

    /// `None`: not there. `Some(None)`: there without a value. Values are as written, escapes not undone.
    pub fn param(&self, name: &str) -> Option<Option<&'a str>> {
        self.params.get(name)
    }

    /// This URI as a Request-URI: its headers are for a new request, not for one that is forwarded (§19.1.5, table 1 of
    /// §19.1.1).
    pub fn without_headers(self) -> SipUri<'a> {
        SipUri { headers: None, ..self }
    }

    /// Whether a route set entry asks for loose routing (RFC 3261 §16.12).
    pub fn is_loose(&self) -> bool {
        self.params.has("lr")
    }

    pub fn host_ip(&self) -> Option<IpAddr> {
        ip(self.host)
    }

    /// The port, or the scheme's default.
    pub fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(self.scheme.default_port())
    }

    /// Equality of RFC 3261 §19.1.4. Work grows as n log n with the URI's length.
    pub fn same_as(&self, other: &SipUri<'_>) -> bool {
        self.scheme == other.scheme
            && self.user.map(canonical_octets) == other.user.map(canonical_octets)
            && self.password.map(canonical_octets) == other.password.map(canonical_octets)
            && same_host(self.host, other.host)
            && self.port == other.port
            && same_params(&self.params, &other.params)
            && same_headers(self.headers, other.headers)
    }
}

impl fmt::Display for SipUri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme.as_str())?;
        if let Some(user) = self.user {
            f.write_str(user)?;
            if let Some(password) = self.password {
                write!(f, ":{password}")?;
            }
            f.write_str("@")?;
        }
        f.write_str(self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        if !self.params.as_str().is_empty() {
            write!(f, ";{}", self.params.as_str())?;
        }
        match self.headers {
            Some(headers) => write!(f, "?{headers}"),
            None => Ok(()),
        }
    }
}

fn check_octets(text: &str) -> Result<(), ParseError> {
    match lex::is_outside_uri(text.as_bytes()) {
        true => Err(ParseError::Uri("white space, a control character, a quote or an angle bracket in it")),
        false => Ok(()),
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`. The host keeps its brackets.
pub(super) fn host_port(text: &str) -> Result<(&str, Option<u16>), ParseError> {
    let end = match text.starts_with('[') {
        true => memchr::memchr(b']', text.as_bytes())
            .map(|at| at + 1)
            .ok_or(ParseError::Uri("no ] ends the IPv6 address"))?,
        false => memchr::memchr(b':', text.as_bytes()).unwrap_or(text.len()),
    };
    let (host, rest) = (&text[..end], &text[end..]);
    let host = lex::trim_text(host);
    if !is_host(host) {
        return Err(ParseError::Uri("the host is neither a name nor an address"));
    }
    let rest = lex::trim_text(rest);
    if rest.is_empty() {
        return Ok((host, None));
    }
    match rest.strip_prefix(':').and_then(|digits| port(lex::trim_text(digits).as_bytes())) {
        Some(port) => Ok((host, Some(port))),
        None => Err(ParseError::Uri("the port is not a number up to 65535")),
    }
}

/// 1*DIGIT, leading zeros too.
fn port(digits: &[u8]) -> Option<u16> {
    let next = |port: u16, digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| u16::from(digit - b'0'))?;
        port.checked_mul(10)?.checked_add(digit)
    };
    digits.iter().try_fold(0, next).filter(|_| !digits.is_empty())
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|v6| ip6(v6).is_some()),
        None => lex::is_host_name(host.as_bytes()),
    }
}

/// An address as text, IPv6 with or without brackets; `None` for a host name.
pub fn ip(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok().or_else(|| ip6(bare).map(IpAddr::V6))
}

/// RFC 3261's grammar has a third colon before an embedded IPv4 address, which peers may send (RFC 5118 §4.10).
fn ip6(text: &str) -> Option<Ipv6Addr> {
    if let Ok(ip) = text.parse() {
        return Some(ip);
    }
    let (front, v4) = text.split_once(":::").filter(|(_, v4)| v4.contains('.'))?;
    v4.parse::<std::net::Ipv4Addr>().ok()?;
    format!("{front}::{v4}").parse().ok()
}

/// Host names without case, addresses by value.
pub(super) fn same_host(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || (a.contains(':') && ip(a).is_some_and(|a| ip(b) == Some(a)))
}

fn hex(b: u8) -> Option<u8> {
    char::from(b).to_digit(16).map(|d| d as u8)
}

/// Undoes `%HH`; what is no escape stays as it is.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let octets = text.as_bytes();
    let mut at = 0;
    while at < octets.len() {
        if octets[at] == b'%'
            && let (Some(high), Some(low)) =
                (octets.get(at + 1).and_then(|b| hex(*b)), octets.get(at + 2).and_then(|b| hex(*b)))
        {
            out.push(high << 4 | low);
            at += 3;
        } else {
            out.push(octets[at]);
            at += 1;
        }
    }
    out
}

fn canonical_user(user: &str) -> Cow<'_, str> {
    if !user.contains('%') && !user.bytes().any(|b| b.is_ascii_control()) {
        return Cow::Borrowed(user);
    }
    let octets = unescape(user);
    let mut out = String::with_capacity(octets.len());
    for chunk in octets.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || c == '%' {
                let mut octets = [0u8; 4];
                c.encode_utf8(&mut octets).bytes().for_each(|b| push_escape(&mut out, b));
            } else {
                out.push(c);
            }
        }
        chunk.invalid().iter().for_each(|b| push_escape(&mut out, *b));
    }
    Cow::Owned(out)
}

fn push_escape(out: &mut String, octet: u8) {
    out.push_str(&format!("%{octet:02X}"));
}

/// For comparison: an escaped octet equals the octet itself unless it is one of the reserved set.
fn canonical_octets(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut out = Vec::with_capacity(text.len());
    let octets = text.as_bytes();
    let mut at = 0;
    while at < octets.len() {
        let escaped = octets.get(at + 1..at + 3).filter(|_| octets[at] == b'%');
        match escaped.and_then(|e| Some(hex(e[0])? << 4 | hex(e[1])?)) {
            Some(octet) if b";/?:@&=+$,%".contains(&octet) => {
                out.extend([b'%', octets[at + 1].to_ascii_uppercase(), octets[at + 2].to_ascii_uppercase()]);
                at += 3;
            }
            Some(octet) => {
                out.push(octet);
                at += 3;
            }
            // A `%` that escapes nothing is the character itself: it must not become an escape with what follows.
            None if octets[at] == b'%' => {
                out.extend_from_slice(b"%25");
                at += 1;
            }
            None => {
                out.push(octets[at]);
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}

/// Parameters that differ when only one URI has them (RFC 3261 §19.1.4).
const NEVER_IGNORED: [&[u8]; 5] = [b"user", b"ttl", b"method", b"maddr", b"transport"];

type Folded = (Vec<u8>, Option<Vec<u8>>);

fn folded(params: &Params<'_>) -> Vec<Folded> {
    let lower = |text: &str| canonical_octets(text).to_ascii_lowercase();
    let mut all: Vec<Folded> = params.iter().map(|(name, value)| (lower(name), value.map(lower))).collect();
    // A parameter must not stand twice; where it does the first counts, as in `Params::get`.
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.dedup_by(|later, first| later.0 == first.0);
    all
}

fn same_params(a: &Params<'_>, b: &Params<'_>) -> bool {
    let (a, b) = (folded(a), folded(b));
    let agrees = |own: &[Folded], other: &[Folded]| {
        own.iter().all(|(name, value)| match other.binary_search_by(|(n, _)| n.cmp(name)) {
            Ok(at) => other[at].1 == *value,
            Err(_) => !NEVER_IGNORED.contains(&name.as_slice()),
        })
    };
    agrees(&a, &b) && agrees(&b, &a)
}

fn same_headers(a: Option<&str>, b: Option<&str>) -> bool {
    let sorted = |headers: Option<&str>| {
        let mut all: Vec<Folded> = headers
            .unwrap_or_default()
            .split('&')
            .map(params::split)
            .map(|(name, value)| (name.to_ascii_lowercase().into(), value.map(|v| canonical_octets(v).into_owned())))
            .collect();
        all.sort();
        all
    };
    sorted(a) == sorted(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sip(text: &str) -> SipUri<'_> {
        SipUri::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn sip_uris_come_apart() {
        let uri = sip("sips:alice:pw@[2001:db8::1]:5071;transport=tls;lr?Subject=x");
        assert_eq!((uri.scheme, uri.user, uri.password), (Scheme::Sips, Some("alice"), Some("pw")));
        assert_eq!((uri.host, uri.port), ("[2001:db8::1]", Some(5071)));
        assert_eq!(uri.host_ip(), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(
            (uri.param("Transport"), uri.param("lr"), uri.headers),
            (Some(Some("tls")), Some(None), Some("Subject=x"))
        );
        assert_eq!(sip("sip:user;par=u%40example.net@example.com").user, Some("user;par=u%40example.net"));
        assert_eq!(sip("sip:example.com").port_or_default(), 5060);
        assert_eq!((sip("sip:h:65535").port, sip("sip:h:00005060").port), (Some(65535), Some(5060)));
        for bad in ["sip:h:", "sip:h:+5", "sip:h:65536", "sip:h:5a"] {
            assert!(SipUri::parse(bad).is_err(), "{bad}");
        }
        for bad in [
            "sip:",
            "alice",
            "sip:a@b@c",
            "sip:@b",
            "sip:b:",
            "sip:b:65536",
            "sip:[::1",
            "sip:a b",
            "<sip:b>",
            "sip:é@ü",
        ] {
            assert!(SipUri::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sip_tel_and_foreign_schemes() {
        let Ok(Uri::Tel(tel)) = Uri::parse("tel:+1-201-555-0123;phone-context=x") else { panic!("tel") };
        assert_eq!((tel.digits().as_str(), tel.params.value("phone-context")), ("+12015550123", Some("x")));
        assert_eq!(
            Uri::parse("soap.beep://192.0.2.103:3002"),
            Ok(Uri::Other { scheme: "soap.beep", rest: "//192.0.2.103:3002" })
        );
        assert_eq!(Uri::parse("mailto:x").map(|u| u.to_string()), Ok("mailto:x".into()));
    }

    #[test]
    fn sip_aors_are_canonical_and_never_collide() {
        let aor = |text| sip(text).aor().map(|a| a.as_str().to_owned());
        assert_eq!(aor("sip:%61lice:pw@Example.COM:5070;x=y"), Some("alice@example.com".into()));
        assert_eq!(aor("sip:sips%3Auser%40example.com@example.net"), Some("sips:user@example.com@example.net".into()));
        assert_eq!(aor("sip:null-%00-null@example.com"), Some("null-%00-null@example.com".into()));
        assert_ne!(aor("sip:a%2500@b"), aor("sip:a%00@b"));
        assert_eq!(aor("sip:a%fF@b"), Some("a%FF@b".into()));
        assert_eq!(aor("sip:example.com"), None);
        assert_eq!(sip("sip:J%c3%b6rg@b").user_unescaped().as_deref(), Some("Jörg"));
    }

    #[test]
    fn sip_uris_are_compared_as_section_19_1_4_lists() {
        for (a, b) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0::1]"),
        ] {
            assert!(sip(a).same_as(&sip(b)) && sip(b).same_as(&sip(a)), "{a} = {b}");
        }
        for (a, b) in [
            ("sip:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:a@b", "sips:a@b"),
        ] {
            assert!(!sip(a).same_as(&sip(b)) && !sip(b).same_as(&sip(a)), "{a} ≠ {b}");
        }
    }
}
