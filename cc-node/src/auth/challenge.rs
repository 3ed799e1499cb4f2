//! The challenges of a 401 or 407 (RFC 7616 §3.3, RFC 8760 §2.4). Called by [`super::Authenticator`].

use common::sip::HeaderId;

/// Who asks: the registrar or another UAS (401), or the proxy (407). RFC 3261 §22.2, §22.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Www,
    Proxy,
}

impl Which {
    pub fn status(self) -> u16 {
        match self {
            Which::Www => 401,
            Which::Proxy => 407,
        }
    }

    pub fn credentials_header(self) -> HeaderId {
        match self {
            Which::Www => HeaderId::Authorization,
            Which::Proxy => HeaderId::ProxyAuthorization,
        }
    }

    pub fn challenge_name(self) -> &'static str {
        match self {
            Which::Www => "WWW-Authenticate",
            Which::Proxy => "Proxy-Authenticate",
        }
    }
}

/// Drops challenges from the strongest down until `budget` octets hold the rest: a short request is an old phone's, and
/// the weakest is what that knows. Empty if not even one has room.
/// A reply must not be more than twice its request (reflection over UDP).
pub fn fit(mut headers: Vec<(&'static str, String)>, budget: usize) -> Vec<(&'static str, String)> {
    let octets = |headers: &[(&str, String)]| -> usize { headers.iter().map(|(n, v)| n.len() + v.len() + 4).sum() };
    while octets(&headers) > budget {
        headers.remove(0);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_budget_keeps_the_weakest_and_a_smaller_one_none() {
        let all = || ["L", "S", "M"].map(|letter| ("WWW-Authenticate", letter.repeat(80))).to_vec();
        assert_eq!(fit(all(), 300), all());
        assert_eq!(fit(all(), 299), all()[1..]);
        assert_eq!(fit(all(), 199), all()[2..]);
        assert_eq!(fit(all(), 100), all()[2..]);
        assert_eq!(fit(all(), 99), []);
    }
}
