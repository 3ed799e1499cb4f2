//! Digest challenges and credentials (RFC 3261 §22, RFC 7616, RFC 8760): reading and writing; who may pass is decided elsewhere.

use crate::sip::{HeaderId, ParseError, lex};
use std::borrow::Cow;
use std::fmt;

/// A digest algorithm that we compute, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    Md5,
    Sha256,
    /// SHA-512 with other start values, cut to 256 bits (FIPS 180-4); not SHA-512's first half.
    Sha512_256,
}

impl Algorithm {
    pub const ALL: [Algorithm; 3] = [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256];

    /// As in the `algorithm` parameter, in any case; `None` for one that we do not compute.
    pub fn of(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|a| name.eq_ignore_ascii_case(a.as_str()))
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512_256 => "SHA-512-256",
        }
    }
}

/// Value of an Authorization or Proxy-Authorization header with the scheme `Digest`. Quotes and escapes are undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials<'a> {
    pub username: Cow<'a, str>,
    pub realm: Cow<'a, str>,
    pub nonce: Cow<'a, str>,
    /// The digest URI as sent; it goes into the hash octet by octet.
    pub uri: Cow<'a, str>,
    /// Hex digits as sent.
    pub response: Cow<'a, str>,
    /// As sent; [`Credentials::algorithm`] reads it.
    pub algorithm: Option<Cow<'a, str>>,
    pub cnonce: Option<Cow<'a, str>>,
    pub opaque: Option<Cow<'a, str>>,
    pub qop: Option<Cow<'a, str>>,
    /// Nonce count as sent (eight hex digits); it goes into the hash octet by octet.
    pub nc: Option<Cow<'a, str>>,
}

impl<'a> Credentials<'a> {
    /// `header` only names the error. A parameter that stands twice is refused: two readers could take different ones.
    pub fn parse(header: HeaderId, value: &'a str) -> Result<Credentials<'a>, ParseError> {
        let wrong = |why| ParseError::Malformed { header, why };
        let mut found = Fields::read(value).map_err(wrong)?;
        let mut need = |name, why| found.take(name).ok_or(wrong(why));
        Ok(Credentials {
            username: need("username", "no username")?,
            realm: need("realm", "no realm")?,
            nonce: need("nonce", "no nonce")?,
            uri: need("uri", "no uri")?,
            response: need("response", "no response")?,
            algorithm: found.take("algorithm"),
            cnonce: found.take("cnonce"),
            opaque: found.take("opaque"),
            qop: found.take("qop"),
            nc: found.take("nc"),
        })
    }

    /// The realm of a value with the scheme `Digest`, whatever else is missing in it: says whose credentials they are.
    pub fn realm(value: &str) -> Option<Cow<'_, str>> {
        Fields::read(value).ok()?.take("realm")
    }

    /// MD5 where none is named (RFC 3261 §22.4); `None` for one that we do not compute.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm.as_ref().map_or(Some(Algorithm::Md5), |name| Algorithm::of(name))
    }

    /// The nonce count as a number: exactly eight hex digits (RFC 7616 §3.4).
    pub fn nonce_count(&self) -> Option<u32> {
        let nc = self.nc.as_ref().filter(|nc| nc.len() == 8 && nc.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u32::from_str_radix(nc, 16).ok()
    }
}

impl fmt::Display for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest username={}, realm={}", lex::quoted(&self.username), lex::quoted(&self.realm))?;
        write!(f, ", nonce={}, uri={}", lex::quoted(&self.nonce), lex::quoted(&self.uri))?;
        write!(f, ", response={}", lex::quoted(&self.response))?;
        write_word(f, "algorithm", self.algorithm.as_deref())?;
        write_quoted(f, "cnonce", self.cnonce.as_deref())?;
        write_quoted(f, "opaque", self.opaque.as_deref())?;
        write_word(f, "qop", self.qop.as_deref())?;
        write_word(f, "nc", self.nc.as_deref())
    }
}

/// Value of a WWW-Authenticate or Proxy-Authenticate header with the scheme `Digest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge<'a> {
    pub realm: Cow<'a, str>,
    pub nonce: Cow<'a, str>,
    pub opaque: Option<Cow<'a, str>>,
    pub stale: bool,
    /// As sent; [`Challenge::algorithm`] reads it.
    pub algorithm: Option<Cow<'a, str>>,
    /// A comma list such as `auth,auth-int`; `None` for a challenge of RFC 2069.
    pub qop: Option<Cow<'a, str>>,
}

impl<'a> Challenge<'a> {
    /// `header` only names the error.
    pub fn parse(header: HeaderId, value: &'a str) -> Result<Challenge<'a>, ParseError> {
        let wrong = |why| ParseError::Malformed { header, why };
        let mut found = Fields::read(value).map_err(wrong)?;
        Ok(Challenge {
            realm: found.take("realm").ok_or(wrong("no realm"))?,
            nonce: found.take("nonce").ok_or(wrong("no nonce"))?,
            opaque: found.take("opaque"),
            stale: found.take("stale").is_some_and(|s| s.eq_ignore_ascii_case("true")),
            algorithm: found.take("algorithm"),
            qop: found.take("qop"),
        })
    }

    /// MD5 where none is named; `None` for one that we do not compute.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm.as_ref().map_or(Some(Algorithm::Md5), |name| Algorithm::of(name))
    }

    pub fn offers_qop(&self, wanted: &str) -> bool {
        self.qop.as_ref().is_some_and(|q| q.split(',').any(|w| lex::trim_text(w).eq_ignore_ascii_case(wanted)))
    }
}

impl fmt::Display for Challenge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest realm={}, nonce={}", lex::quoted(&self.realm), lex::quoted(&self.nonce))?;
        write_quoted(f, "opaque", self.opaque.as_deref())?;
        if self.stale {
            f.write_str(", stale=true")?;
        }
        write_word(f, "algorithm", self.algorithm.as_deref())?;
        write_quoted(f, "qop", self.qop.as_deref())
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, name: &str, value: Option<&str>) -> fmt::Result {
    value.map_or(Ok(()), |v| write!(f, ", {name}={}", lex::quoted(v)))
}

fn write_word(f: &mut fmt::Formatter<'_>, name: &str, value: Option<&str>) -> fmt::Result {
    // Text that came from a peer and is no token could end the value: it is quoted.
    value.map_or(Ok(()), |v| {
        if lex::is_token(v.as_bytes()) { write!(f, ", {name}={v}") } else { write!(f, ", {name}={}", lex::quoted(v)) }
    })
}

/// More than any algorithm names; what is beyond is refused.
const MOST_FIELDS: usize = 24;

struct Fields<'a> {
    all: Vec<(&'a str, &'a str)>,
}

impl<'a> Fields<'a> {
    fn read(value: &'a str) -> Result<Fields<'a>, &'static str> {
        let value = lex::trim_text(value);
        let (scheme, rest) = value.split_once([' ', '\t', '\r', '\n']).ok_or("no parameters")?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return Err("the scheme is not Digest");
        }
        let mut all: Vec<(&str, &str)> = Vec::with_capacity(12);
        for span in lex::Values::of(rest.as_bytes()) {
            let (name, field) = rest.get(span).and_then(|s| s.split_once('=')).ok_or("a parameter without value")?;
            let (name, field) = (lex::trim_text(name), lex::trim_text(field));
            if field.contains('"') && !lex::is_quoted_string(field) {
                return Err("a quoted string does not end");
            }
            if all.iter().any(|(n, _)| n.eq_ignore_ascii_case(name)) {
                return Err("a parameter stands twice");
            }
            if all.len() == MOST_FIELDS {
                return Err("too many parameters");
            }
            all.push((name, field));
        }
        Ok(Fields { all })
    }

    fn take(&mut self, name: &str) -> Option<Cow<'a, str>> {
        self.all.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| lex::unquoted(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sip_credentials_read_and_written() {
        let text = "Digest username=\"bob\",realm=\"bi,loxi\",\r\n nonce=\"dcd98b\", uri=\"sip:bob@biloxi.com;x=\\\"1\\\"\", qop=auth, nc=0000000a, cnonce=\"0a4f\", response=\"6629fa\", Algorithm=sha-256";
        let c = Credentials::parse(HeaderId::Authorization, text).unwrap();
        assert_eq!((&*c.username, &*c.realm, &*c.uri), ("bob", "bi,loxi", "sip:bob@biloxi.com;x=\"1\""));
        assert_eq!(
            (c.algorithm(), c.nonce_count(), c.qop.as_deref()),
            (Some(Algorithm::Sha256), Some(10), Some("auth"))
        );
        let again = c.to_string();
        assert_eq!(Credentials::parse(HeaderId::Authorization, &again), Ok(c.clone()));
    }

    #[test]
    fn sip_credentials_malformed() {
        for bad in [
            "",
            "Digest",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "Digest username=\"a\", realm=\"r\", nonce=\"n\", uri=\"u\"",
            "Digest username=\"a\", username=\"b\", realm=\"r\", nonce=\"n\", uri=\"u\", response=\"x\"",
            "Digest username=\"a, realm=r, nonce=n, uri=u, response=x",
            "Digest a",
        ] {
            assert!(Credentials::parse(HeaderId::Authorization, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sip_challenges_read_and_written() {
        let text = "Digest realm=\"rack.test\", nonce=\"x/y==\", stale=true, algorithm=SHA-256, qop=\"auth,auth-int\"";
        let c = Challenge::parse(HeaderId::WwwAuthenticate, text).unwrap();
        assert!(c.stale && c.offers_qop("auth") && !c.offers_qop("aut"));
        assert_eq!((c.to_string().as_str(), c.algorithm()), (text, Some(Algorithm::Sha256)));
    }
}
