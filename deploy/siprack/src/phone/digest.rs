//! The answer of phones and of the load generator to a digest challenge (RFC 3261 §22, RFC 8760). The hashes are rsip's,
//! so that it is a second opinion on the registrar's own digest code.

use common::sip::{HeaderId, SipMessage};
use rsip::headers::auth::{Algorithm, AuthQop};
use rsip::services::DigestGenerator;

/// The `Authorization` or `Proxy-Authorization` line for the first challenge with a known algorithm.
pub(crate) fn answer(
    login: (&str, &str),
    response: &SipMessage,
    method: &str,
    uri: &str,
    cnonce: &str,
) -> Option<String> {
    answer_again(login, response, method, uri, cnonce, 1)
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
            "MD5" => Some((text, "MD5", Algorithm::Md5)),
            "SHA-256" => Some((text, "SHA-256", Algorithm::Sha256)),
            _ => None,
        }
    })?;
    let (realm, nonce) = (field(&offer, "realm")?, field(&offer, "nonce")?);
    let with_qop = field(&offer, "qop").is_some_and(|q| q.split(',').any(|q| q.trim() == "auth"));
    let qop = with_qop.then(|| AuthQop::Auth { cnonce: cnonce.to_string(), nc });
    let method: rsip::Method = method.parse().ok()?;
    let parsed: rsip::Uri = rsip::Uri::try_from(uri).ok()?;
    let response = DigestGenerator {
        username: user,
        password,
        nonce: &nonce,
        uri: &parsed,
        realm: &realm,
        method: &method,
        qop: qop.as_ref(),
        algorithm,
    }
    .compute();
    let qop = if with_qop { format!(", qop=auth, nc={nc:08x}, cnonce=\"{cnonce}\"") } else { String::new() };
    let opaque = field(&offer, "opaque").map(|o| format!(", opaque=\"{o}\"")).unwrap_or_default();
    Some(format!(
        "{name}: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{parsed}\", response=\"{response}\", algorithm={label}{qop}{opaque}"
    ))
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
    use super::field;

    #[test]
    fn fields_of_a_challenge_with_commas_in_quotes() {
        let text = r#"Digest realm="rack.test", nonce="a,b=c", qop="auth,auth-int", algorithm=SHA-256, stale=true"#;
        assert_eq!(field(text, "realm").as_deref(), Some("rack.test"));
        assert_eq!(field(text, "nonce").as_deref(), Some("a,b=c"));
        assert_eq!(field(text, "QOP").as_deref(), Some("auth,auth-int"));
        assert_eq!(field(text, "algorithm").as_deref(), Some("SHA-256"));
        assert_eq!(field(text, "opaque"), None);
    }
}
