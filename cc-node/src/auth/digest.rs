//! The arithmetic of digest authentication (RFC 7616 §3.4, RFC 8760, RFC 2617 for what has no qop): from a stored HA1
//! to the response a UA must send. Called by [`super::Authenticator`]; knows nothing of messages or nonces.

pub use common::sip::Algorithm as Hash;
use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};

/// An `algorithm` parameter that we can check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithm {
    pub hash: Hash,
    pub sess: bool,
}

impl Algorithm {
    /// Absent means MD5 (RFC 2617 §3.2.1). Case does not matter. `None`: one that we do not compute.
    pub fn parse(name: Option<&str>) -> Option<Algorithm> {
        let name = name.unwrap_or("MD5");
        let (base, sess) = match name.len().checked_sub("-sess".len()).and_then(|at| name.split_at_checked(at)) {
            Some((base, end)) if end.eq_ignore_ascii_case("-sess") => (base, true),
            _ => (name, false),
        };
        Hash::of(base).map(|hash| Algorithm { hash, sess })
    }
}

/// Lower-case hex of the hash over the parts joined by ':'.
fn joined(hash: Hash, parts: &[&[u8]]) -> String {
    fn over<D: Digest>(parts: &[&[u8]]) -> String {
        let mut digest = D::new();
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                digest.update(b":");
            }
            digest.update(part);
        }
        hex(&digest.finalize())
    }
    match hash {
        Hash::Md5 => over::<Md5>(parts),
        Hash::Sha256 => over::<Sha256>(parts),
        Hash::Sha512_256 => over::<Sha512_256>(parts),
    }
}

/// How qop was used: `auth` with its three values, or the legacy form without (RFC 2617 §3.2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qop<'a> {
    Legacy,
    /// `nc` as its eight hex digits were sent.
    Auth {
        nc: &'a str,
        cnonce: &'a str,
    },
}

/// The response that a UA with this HA1 sends. `ha1` = raw hash of `user:realm:password`; `cnonce` serves `-sess` only.
pub fn response(
    algorithm: Algorithm,
    ha1: &[u8],
    nonce: &str,
    cnonce: &str,
    qop: Qop<'_>,
    method: &str,
    uri: &str,
) -> String {
    let hash = algorithm.hash;
    let mut a1 = hex(ha1);
    if algorithm.sess {
        a1 = joined(hash, &[a1.as_bytes(), nonce.as_bytes(), cnonce.as_bytes()]);
    }
    let a2 = joined(hash, &[method.as_bytes(), uri.as_bytes()]);
    match qop {
        Qop::Legacy => joined(hash, &[a1.as_bytes(), nonce.as_bytes(), a2.as_bytes()]),
        Qop::Auth { nc, cnonce } => {
            joined(hash, &[a1.as_bytes(), nonce.as_bytes(), nc.as_bytes(), cnonce.as_bytes(), b"auth", a2.as_bytes()])
        }
    }
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 2);
    for b in bytes {
        out.push(DIGITS[usize::from(b >> 4)] as char);
        out.push(DIGITS[usize::from(b & 15)] as char);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: Algorithm = Algorithm { hash: Hash::Md5, sess: false };
    const SHA: Algorithm = Algorithm { hash: Hash::Sha256, sess: false };
    const SHA512: Algorithm = Algorithm { hash: Hash::Sha512_256, sess: false };

    fn ha1(hash: Hash, user: &str, realm: &str, password: &str) -> Vec<u8> {
        let text = format!("{user}:{realm}:{password}");
        match hash {
            Hash::Md5 => Md5::digest(text).to_vec(),
            Hash::Sha256 => Sha256::digest(text).to_vec(),
            Hash::Sha512_256 => Sha512_256::digest(text).to_vec(),
        }
    }

    #[test]
    fn rfc_2617_section_3_5() {
        let ha1 = ha1(Hash::Md5, "Mufasa", "testrealm@host.com", "Circle Of Life");
        assert_eq!(hex(&ha1), "939e7578ed9e3c518a452acee763bce9");
        let nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093";
        let qop = Qop::Auth { nc: "00000001", cnonce: "0a4f113b" };
        let got = response(MD5, &ha1, nonce, "", qop, "GET", "/dir/index.html");
        assert_eq!(got, "6629fae49393a05397450978507c4ef1");
    }

    #[test]
    fn rfc_7616_section_3_9_1_both_algorithms() {
        let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        let qop = Qop::Auth { nc: "00000001", cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ" };
        let run = |algorithm: Algorithm| {
            let ha1 = ha1(algorithm.hash, "Mufasa", "http-auth@example.org", "Circle of Life");
            response(algorithm, &ha1, nonce, "", qop, "GET", "/dir/index.html")
        };
        assert_eq!(run(MD5), "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(run(SHA), "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
    }

    /// draft-smith-sipping-auth-examples-01 §3.1 and §3.2: the SIP vectors that RFC 3261's authors checked against.
    #[test]
    fn sip_examples_with_and_without_qop() {
        let ha1 = ha1(Hash::Md5, "bob", "biloxi.com", "zanzibar");
        assert_eq!(hex(&ha1), "12af60467a33e8518da5c68bbff12b11");
        let (nonce, uri) = ("dcd98b7102dd2f0e8b11d0f600bfb0c093", "sip:bob@biloxi.com");
        assert_eq!(response(MD5, &ha1, nonce, "", Qop::Legacy, "INVITE", uri), "bf57e4e0d0bffc0fbaedce64d59add5e");
        let qop = Qop::Auth { nc: "00000001", cnonce: "0a4f113b" };
        assert_eq!(response(MD5, &ha1, nonce, "", qop, "INVITE", uri), "89eb0059246c02b2f6ee02c7961d5ea3");
        let sess = Algorithm { sess: true, ..MD5 };
        let got = response(sess, &ha1, nonce, "0a4f113b", qop, "INVITE", uri);
        assert_eq!(got, "e4e4ea61d186d07a92c9e1f6919902e9");
    }

    /// The inputs of RFC 7616 §3.9.2 without its userhash, which SIP does not have. What is printed there was computed with
    /// SHA-512 cut in half (so says its erratum 4897); these values are OpenSSL's SHA-512/256.
    #[test]
    fn rfc_7616_section_3_9_2_with_the_right_hash() {
        let ha1 = ha1(Hash::Sha512_256, "J\u{e4}s\u{f8}n Doe", "api@example.org", "Secret, or not?");
        let nonce = "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK";
        let qop = Qop::Auth { nc: "00000001", cnonce: "NTg6RKcb9boFIAS3KrFK9BGeh+niz/sm" };
        let got = response(SHA512, &ha1, nonce, "", qop, "GET", "/doe.json");
        assert_eq!(got, "7a4e1192babbba02e91182d2895bfdbf7adafc6e48d4e517ca301974843d840c");
    }

    /// The SIP examples above with the digest of RFC 8760, as OpenSSL computes them.
    #[test]
    fn sip_examples_with_sha_512_256() {
        let ha1 = ha1(Hash::Sha512_256, "bob", "biloxi.com", "zanzibar");
        assert_eq!(hex(&ha1), "a969680ab364e333ec5c93ff823d570a79841c8d40270655dd42f37b755dfc38");
        let (nonce, uri) = ("dcd98b7102dd2f0e8b11d0f600bfb0c093", "sip:bob@biloxi.com");
        let qop = Qop::Auth { nc: "00000001", cnonce: "0a4f113b" };
        let got = response(SHA512, &ha1, nonce, "", qop, "INVITE", uri);
        assert_eq!(got, "7f1a09de0f19af0a1eac2b28d33e3f2fb89cca1ad8fb01bba5e1883b288bac14");
        let got = response(SHA512, &ha1, nonce, "", Qop::Legacy, "INVITE", uri);
        assert_eq!(got, "9e960b3a01beb63f1ea5d45d43bd8a2178879d3c9ddbbdb0624187ca823c6eca");
        let sess = Algorithm { sess: true, ..SHA512 };
        let got = response(sess, &ha1, nonce, "0a4f113b", qop, "INVITE", uri);
        assert_eq!(got, "077d9677be83f41f162d1a4453dc163389919f81e5927391d972f477da767633");
    }

    #[test]
    fn names_are_read_without_case_and_unknown_ones_are_refused() {
        assert_eq!(Algorithm::parse(None), Some(MD5));
        assert_eq!(Algorithm::parse(Some("sha-256")), Some(SHA));
        assert_eq!(Algorithm::parse(Some("md5-SESS")).map(|a| a.sess), Some(true));
        assert_eq!(Algorithm::parse(Some("SHA-512-256")), Some(SHA512));
        assert_eq!(Algorithm::parse(Some("SHA-512-256-sess")), Some(Algorithm { sess: true, ..SHA512 }));
        for unknown in ["SHA-512", "SHA-1", "MD5-SESS-sess", "-sess", "", "MD5 "] {
            assert_eq!(Algorithm::parse(Some(unknown)), None, "{unknown}");
        }
    }
}
