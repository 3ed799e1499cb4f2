//! The digests of a password that the log holds instead of it (HA1 of RFC 3261 §22 and RFC 8760). Used by the API and for
//! the rack file's seeds.

use common::location::{Aor, Subscriber};
use md5::{Digest, Md5};
use sha2::{Sha256, Sha512_256};

/// The realm is the AOR's domain.
pub fn subscriber(aor: Aor, password: &str) -> Subscriber {
    let a1 = format!("{}:{}:{password}", aor.user(), aor.domain());
    Subscriber {
        ha1_md5: Md5::digest(a1.as_bytes()).into(),
        ha1_sha256: Sha256::digest(a1.as_bytes()).into(),
        ha1_sha512_256: Some(Sha512_256::digest(a1.as_bytes()).into()),
        aor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ha1_as_other_implementations_compute_it() {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let s = subscriber(Aor::new("1001", "rack.test"), "secret");
        assert_eq!(hex(&s.ha1_md5), MD5_OF_1001);
        assert_eq!(hex(&s.ha1_sha256), SHA256_OF_1001);
        assert_eq!(s.ha1_sha512_256.map(|ha1| hex(&ha1)).as_deref(), Some(SHA512_256_OF_1001));
    }

    // printf 1001:rack.test:secret | md5sum, | sha256sum, and | openssl dgst -sha512-256
    const MD5_OF_1001: &str = "81daca739787a4f7a5523b9ae9086eea";
    const SHA256_OF_1001: &str = "4e758f3b0fd07f93f71771e2f23c3070554f9e775178c2348ff661012cf366f1";
    const SHA512_256_OF_1001: &str = "4046f0dc2b37edc2203a6550ea7f568ea758fa880200da2f06b50d1e12d91397";
}
