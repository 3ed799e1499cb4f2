//! A subscriber: an address of record and the digests of its password. Records and commands carry it in one of two
//! encodings, so that what was written before there was a third digest reads as it did.

use super::Aor;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// A provisioned user with the digests of its password (RFC 3261 §22, RFC 8760). The realm is the AOR's domain.
#[derive(Clone, PartialEq, Eq)]
pub struct Subscriber {
    pub aor: Aor,
    /// MD5(user:realm:password), 16 raw octets.
    pub ha1_md5: [u8; 16],
    /// SHA-256(user:realm:password).
    pub ha1_sha256: [u8; 32],
    /// SHA-512/256(user:realm:password); `None` for a password that was set before this digest was kept.
    pub ha1_sha512_256: Option<[u8; 32]>,
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscriber({}, digests hidden)", self.aor)
    }
}

/// Encoding of a subscriber without the third digest; the only one there was.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Subscriber")]
pub(super) struct TwoDigests<'s> {
    aor: Cow<'s, Aor>,
    md5: [u8; 16],
    sha256: [u8; 32],
}

/// Encoding of a subscriber with all three.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Subscriber")]
pub(super) struct ThreeDigests<'s> {
    aor: Cow<'s, Aor>,
    md5: [u8; 16],
    sha256: [u8; 32],
    sha512_256: [u8; 32],
}

impl<'s> TwoDigests<'s> {
    pub(super) fn of(subscriber: &'s Subscriber) -> TwoDigests<'s> {
        let Subscriber { aor, ha1_md5: md5, ha1_sha256: sha256, .. } = subscriber;
        TwoDigests { aor: Cow::Borrowed(aor), md5: *md5, sha256: *sha256 }
    }
}

impl<'s> ThreeDigests<'s> {
    /// `None` without the third digest.
    pub(super) fn of(subscriber: &'s Subscriber) -> Option<ThreeDigests<'s>> {
        let Subscriber { aor, ha1_md5: md5, ha1_sha256: sha256, ha1_sha512_256 } = subscriber;
        let sha512_256 = (*ha1_sha512_256)?;
        Some(ThreeDigests { aor: Cow::Borrowed(aor), md5: *md5, sha256: *sha256, sha512_256 })
    }
}

impl From<TwoDigests<'_>> for Subscriber {
    fn from(two: TwoDigests<'_>) -> Self {
        let TwoDigests { aor, md5: ha1_md5, sha256: ha1_sha256 } = two;
        Subscriber { aor: aor.into_owned(), ha1_md5, ha1_sha256, ha1_sha512_256: None }
    }
}

impl From<ThreeDigests<'_>> for Subscriber {
    fn from(three: ThreeDigests<'_>) -> Self {
        let ThreeDigests { aor, md5: ha1_md5, sha256: ha1_sha256, sha512_256 } = three;
        Subscriber { aor: aor.into_owned(), ha1_md5, ha1_sha256, ha1_sha512_256: Some(sha512_256) }
    }
}
