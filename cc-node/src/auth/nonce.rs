//! Nonces that need no memory: made when a challenge is written, checked by recomputing a MAC.
//! Called by [`super::Authenticator`] only.
//!
//! A nonce is base64url (27 characters) of: version, key id, wall time in ms (48 bits), HMAC-SHA256 truncated to
//! 12 octets over those, the issuer, the Call-ID and the realm. The issuer is this worker of this incarnation: every
//! use of a nonce is then seen by one replay window, and after a takeover a UA gets exactly one `stale=true`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::ids::{BootId, NodeId};
use common::keys::KeyRing;
use common::time::WallMillis;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// For how long a nonce may be used.
pub const LIFETIME_MS: u64 = 300_000;

const VERSION: u8 = 1;
const OCTETS: usize = 20;
const MAC_OCTETS: usize = 12;

/// Whose nonces these are: one worker of one incarnation of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issuer {
    pub node: NodeId,
    pub boot: BootId,
    pub worker: u16,
}

/// What a nonce is bound to besides its time and its issuer.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    pub call_id: &'a [u8],
    pub realm: &'a str,
}

/// A nonce of ours that is still good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// The MAC: names this nonce in the replay window.
    pub id: [u8; MAC_OCTETS],
    /// When it was made.
    pub made_ms: u64,
}

pub fn write(ring: &KeyRing<[u8; 32]>, issuer: Issuer, wall: WallMillis, bound: Bound<'_>) -> String {
    let (key_id, key) = ring.current();
    let mut octets = [0u8; OCTETS];
    octets[0] = VERSION;
    octets[1] = key_id;
    octets[2..8].copy_from_slice(&wall.0.to_be_bytes()[2..]);
    let mac = mac(key, &octets[..8], issuer, bound);
    octets[8..].copy_from_slice(&mac);
    URL_SAFE_NO_PAD.encode(octets)
}

/// `None`: not made by this issuer for this Call-ID and realm, or too old, or from the future.
pub fn check(
    ring: &KeyRing<[u8; 32]>,
    issuer: Issuer,
    wall: WallMillis,
    bound: Bound<'_>,
    nonce: &str,
) -> Option<Fresh> {
    let mut octets = [0u8; OCTETS];
    // A nonce of another length is not decoded at all: work is bounded whatever is sent.
    if nonce.len() != OCTETS.div_ceil(3) * 4 - 1 {
        return None;
    }
    if URL_SAFE_NO_PAD.decode_slice(nonce, &mut octets).ok()? != OCTETS || octets[0] != VERSION {
        return None;
    }
    let key = ring.get(octets[1])?;
    let expected = mac(key, &octets[..8], issuer, bound);
    if !bool::from(expected.ct_eq(&octets[8..])) {
        return None;
    }
    let mut made = [0u8; 8];
    made[2..].copy_from_slice(&octets[2..8]);
    let made_ms = u64::from_be_bytes(made);
    // Made by this very process: a wall clock that was set back makes its nonces stale instead of everlasting.
    let age = wall.0.checked_sub(made_ms)?;
    (age <= LIFETIME_MS).then_some(Fresh { id: expected, made_ms })
}

fn mac(key: &[u8; 32], head: &[u8], issuer: Issuer, bound: Bound<'_>) -> [u8; MAC_OCTETS] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(head);
    mac.update(&issuer.node.0.to_be_bytes());
    mac.update(&issuer.boot.0.to_be_bytes());
    mac.update(&issuer.worker.to_be_bytes());
    // The length keeps (Call-ID, realm) from running into each other.
    mac.update(&(bound.call_id.len() as u64).to_be_bytes());
    mac.update(bound.call_id);
    mac.update(bound.realm.as_bytes());
    let mut out = [0u8; MAC_OCTETS];
    out.copy_from_slice(&mac.finalize().into_bytes()[..MAC_OCTETS]);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::keys::{Keys, RackKey};
    use proptest::prelude::*;

    const ISSUER: Issuer = Issuer { node: NodeId(2), boot: BootId(7), worker: 1 };
    const NOW: WallMillis = WallMillis(1_700_000_000_000);

    fn keys() -> Keys {
        Keys::derive(&RackKey([9; 32]))
    }

    fn bound<'a>(call_id: &'a str, realm: &'a str) -> Bound<'a> {
        Bound { call_id: call_id.as_bytes(), realm }
    }

    #[test]
    fn good_for_its_call_and_realm_for_300_s() {
        let keys = keys();
        let n = write(&keys.nonce, ISSUER, NOW, bound("a@b", "rack.test"));
        let at = |ms, who, b| check(&keys.nonce, who, WallMillis(NOW.0 + ms), b, &n).is_some();
        assert!(at(0, ISSUER, bound("a@b", "rack.test")));
        assert!(at(LIFETIME_MS, ISSUER, bound("a@b", "rack.test")));
        assert!(!at(LIFETIME_MS + 1, ISSUER, bound("a@b", "rack.test")), "expired");
        assert!(!at(0, ISSUER, bound("a@c", "rack.test")), "another Call-ID");
        assert!(!at(0, ISSUER, bound("a@b", "other.test")), "another realm");
        assert!(!at(0, ISSUER, bound("a@br", "ack.test")), "the border between the two is under the MAC");
        assert!(!at(0, Issuer { boot: BootId(8), ..ISSUER }, bound("a@b", "rack.test")), "another incarnation");
        assert!(!at(0, Issuer { worker: 2, ..ISSUER }, bound("a@b", "rack.test")), "another worker");
        assert!(check(&keys.nonce, ISSUER, WallMillis(NOW.0 - 1), bound("a@b", "rack.test"), &n).is_none(), "future");
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_refused(octet in 0usize..OCTETS, bit in 0u8..8, call_id in "[a-z0-9@.]{1,40}") {
            let keys = keys();
            let b = bound(&call_id, "rack.test");
            let mut raw = URL_SAFE_NO_PAD.decode(write(&keys.nonce, ISSUER, NOW, b)).unwrap();
            raw[octet] ^= 1 << bit;
            prop_assert_eq!(check(&keys.nonce, ISSUER, NOW, b, &URL_SAFE_NO_PAD.encode(raw)), None);
        }

        #[test]
        fn anything_else_is_refused(text in ".{0,80}") {
            prop_assert_eq!(check(&keys().nonce, ISSUER, NOW, bound("a", "b"), &text), None);
        }
    }
}
