//! The answer of phones and of the load generator to a digest challenge (RFC 3261 §22, RFC 8760). The hashes are rsip's,
//! so that it is a second opinion on the registrar's own digest code; rsip has no SHA-512-256, so that one is written
//! out here.

use common::sip::{HeaderId, SipMessage};
use rsip::headers::auth::{Algorithm, AuthQop};
use rsip::services::DigestGenerator;
use sha2::{Digest, Sha512_256};

/// The `Authorization` or `Proxy-Authorization` line for the first challenge with a known algorithm: the server has put
/// the strongest first (RFC 8760 §2.4).
pub(crate) fn answer(
    login: (&str, &str),
    response: &SipMessage,
    method: &str,
    uri: &str,
    cnonce: &str,
) -> Option<String> {
    answer_again(login, response, method, uri, cnonce, 1)
}

/// Whether a challenge says that only the nonce was wrong.
pub(crate) fn is_stale(response: &SipMessage) -> bool {
    let id = if response.status() == 401 { HeaderId::WwwAuthenticate } else { HeaderId::ProxyAuthenticate };
    let says =
        |value: &[u8]| field(&String::from_utf8_lossy(value), "stale").is_some_and(|s| s.eq_ignore_ascii_case("true"));
    response.all(id).any(says)
}

/// The same for the `nc`-th use of the challenge's nonce.
pub fn answer_again(
    (user, password): (&str, &str),
    response: &SipMessage,
    method: &str,
    uri: &str,
    cnonce: &str,
    nc: u8,
) -> Option<String> {
    let (challenge, name) = match response.status() {
        401 => (HeaderId::WwwAuthenticate, "Authorization"),
        _ => (HeaderId::ProxyAuthenticate, "Proxy-Authorization"),
    };
    let (offer, label, algorithm) = response.all(challenge).find_map(|value| {
        let text = String::from_utf8_lossy(value).into_owned();
        match field(&text, "algorithm").unwrap_or_else(|| "MD5".to_string()).to_ascii_uppercase().as_str() {
            "MD5" => Some((text, "MD5", Some(Algorithm::Md5))),
            "SHA-256" => Some((text, "SHA-256", Some(Algorithm::Sha256))),
            "SHA-512-256" => Some((text, "SHA-512-256", None)),
            _ => None,
        }
    })?;
    let (realm, nonce) = (field(&offer, "realm")?, field(&offer, "nonce")?);
    let with_qop = field(&offer, "qop").is_some_and(|q| q.split(',').any(|q| q.trim() == "auth"));
    let qop = with_qop.then(|| AuthQop::Auth { cnonce: cnonce.to_string(), nc });
    let method: rsip::Method = method.parse().ok()?;
    let parsed: rsip::Uri = rsip::Uri::try_from(uri).ok()?;
    let (username, count) = (user, format!("{nc:08x}"));
    let response = match algorithm {
        Some(algorithm) => {
            let qop = qop.as_ref();
            let uri = &parsed;
            DigestGenerator { username, password, nonce: &nonce, uri, realm: &realm, method: &method, qop, algorithm }
                .compute()
        }
        None => {
            let a1 = sha_512_256(&format!("{username}:{realm}:{password}"));
            let a2 = sha_512_256(&format!("{method}:{parsed}"));
            let middle = if with_qop { format!("{nonce}:{count}:{cnonce}:auth") } else { nonce.clone() };
            sha_512_256(&format!("{a1}:{middle}:{a2}"))
        }
    };
    let qop = if with_qop { format!(", qop=auth, nc={count}, cnonce=\"{cnonce}\"") } else { String::new() };
    let opaque = field(&offer, "opaque").map(|o| format!(", opaque=\"{o}\"")).unwrap_or_default();
    Some(format!(
        "{name}: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{parsed}\", response=\"{response}\", algorithm={label}{qop}{opaque}"
    ))
}

fn sha_512_256(text: &str) -> String {
    Sha512_256::digest(text.as_bytes()).iter().map(|octet| format!("{octet:02x}")).collect()
}

/// One field of a challenge, without its quotes.
fn field(challenge: &str, name: &str) -> Option<String> {
    let list = challenge.trim().split_once(char::is_whitespace).map_or(challenge, |(_, rest)| rest);
    let mut rest = list;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([',', ' ', '\t', '\r', '\n']);
        let after = after.trim_start();
        let (value, tail) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if key.eq_ignore_ascii_case(name) {
            return Some(value.trim().to_string());
        }
        rest = tail;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::sip::Limits;

    /// What the phone says to these challenges in a 407: the algorithm and the response.
    fn answered(challenges: &[&str]) -> Option<(String, String)> {
        let lines: String = challenges
            .iter()
            .map(|c| {
                format!("Proxy-Authenticate: Digest realm=\"biloxi.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", {c}\r\n")
            })
            .collect();
        let text = format!("SIP/2.0 407 X\r\nVia: SIP/2.0/UDP a\r\n{lines}\r\n");
        let message = SipMessage::parse(text.into(), &Limits::default()).expect("a response");
        let line = answer(("bob", "zanzibar"), &message, "INVITE", "sip:bob@biloxi.com", "0a4f113b")?;
        let of = |name| field(&line, name).expect("a field");
        assert!(line.starts_with("Proxy-Authorization: Digest username=\"bob\""), "{line}");
        Some((of("algorithm"), of("response")))
    }

    /// The vectors that the registrar is tested with.
    #[test]
    fn the_first_challenge_that_it_understands() {
        let (md5, sha) = ("algorithm=MD5, qop=\"auth\"", "algorithm=SHA-512-256, qop=\"auth\"");
        let with = |label: &str, response: &str| Some((label.to_string(), response.to_string()));
        let strong = with("SHA-512-256", "7f1a09de0f19af0a1eac2b28d33e3f2fb89cca1ad8fb01bba5e1883b288bac14");
        assert_eq!(answered(&[sha, "algorithm=SHA-256, qop=\"auth\"", md5]), strong);
        assert_eq!(answered(&["algorithm=SHA-3, qop=\"auth\"", sha, md5]), strong);
        assert_eq!(
            answered(&[md5, sha]),
            with("MD5", "89eb0059246c02b2f6ee02c7961d5ea3"),
            "the server knows the order"
        );
        assert_eq!(answered(&["qop=\"auth\""]), with("MD5", "89eb0059246c02b2f6ee02c7961d5ea3"));
        let legacy = "9e960b3a01beb63f1ea5d45d43bd8a2178879d3c9ddbbdb0624187ca823c6eca";
        assert_eq!(answered(&["algorithm=SHA-512-256"]), with("SHA-512-256", legacy));
        assert_eq!(answered(&["algorithm=SHA-256, qop=\"auth\"", md5]).map(|(label, _)| label), Some("SHA-256".into()));
        assert_eq!(answered(&["algorithm=AKAv1-MD5"]), None);
    }

    #[test]
    fn fields_of_a_challenge_with_commas_in_quotes() {
        let text = r#"Digest realm="rack.test", nonce="a,b=c", qop="auth,auth-int", algorithm=SHA-256, stale=true"#;
        assert_eq!(field(text, "realm").as_deref(), Some("rack.test"));
        assert_eq!(field(text, "nonce").as_deref(), Some("a,b=c"));
        assert_eq!(field(text, "QOP").as_deref(), Some("auth,auth-int"));
        assert_eq!(field(text, "algorithm").as_deref(), Some("SHA-256"));
        assert_eq!(field(text, "opaque"), None);
        assert_eq!(field(text, "stale").as_deref(), Some("true"));
    }
}
