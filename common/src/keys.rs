//! The rack key and what is derived from it. One secret a rack; every use has a key of its own.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// The rack's one secret.
#[derive(Clone, PartialEq, Eq)]
pub struct RackKey(pub [u8; 32]);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rack key is 64 hex digits (32 octets); this has {length} characters{}", if *.other { ", some of them no hex digits" } else { "" })]
pub struct KeyError {
    length: usize,
    other: bool,
}

impl RackKey {
    /// From 64 hex digits, white space around them allowed.
    pub fn parse(text: &str) -> Result<RackKey, KeyError> {
        let text = text.trim();
        let error = KeyError { length: text.len(), other: !text.bytes().all(|b| b.is_ascii_hexdigit()) };
        if text.len() != 64 || error.other {
            return Err(error);
        }
        let mut key = [0; 32];
        for (i, octet) in key.iter_mut().enumerate() {
            *octet = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| error.clone())?;
        }
        Ok(RackKey(key))
    }

    pub fn to_hex(&self) -> String {
        self.0.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Eight hex digits that tell one key from another and nothing else.
    pub fn fingerprint(&self) -> String {
        derive(self, "fingerprint", 0)[..4].iter().map(|b| format!("{b:02x}")).collect()
    }
}

impl fmt::Debug for RackKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RackKey({})", self.fingerprint())
    }
}

/// Keys of one use that rotate: the current one writes, all of them verify.
#[derive(Clone)]
pub struct KeyRing<K> {
    current: u8,
    keys: Vec<(u8, K)>,
}

impl<K> KeyRing<K> {
    pub fn new(id: u8, key: K) -> KeyRing<K> {
        KeyRing { current: id, keys: vec![(id, key)] }
    }

    /// A further key that verifies; with a newer one as the current key, the old one still does.
    pub fn with(mut self, id: u8, key: K) -> KeyRing<K> {
        self.keys.retain(|(i, _)| *i != id);
        self.keys.push((id, key));
        self
    }

    /// Writes with this id from now on, if there is such a key.
    pub fn turn_to(mut self, id: u8) -> KeyRing<K> {
        if self.get(id).is_some() {
            self.current = id;
        }
        self
    }

    pub fn current(&self) -> (u8, &K) {
        let at = self.keys.iter().position(|(id, _)| *id == self.current).unwrap_or(0);
        (self.keys[at].0, &self.keys[at].1)
    }

    pub fn get(&self, id: u8) -> Option<&K> {
        self.keys.iter().find(|(i, _)| *i == id).map(|(_, key)| key)
    }
}

impl<K> fmt::Debug for KeyRing<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing(current {}, {} keys)", self.current, self.keys.len())
    }
}

/// All keys of a rack.
#[derive(Clone, Debug)]
pub struct Keys {
    /// SipHash key of the Call-ID hash and of the placement; never rotates in service.
    pub placement: [u8; 16],
    /// SipHash key of the branch; never rotates in service.
    pub branch: [u8; 16],
    /// SipHash key of the To tags that we write.
    pub tag: [u8; 16],
    pub token: KeyRing<[u8; 16]>,
    pub nonce: KeyRing<[u8; 32]>,
    pub plane: KeyRing<[u8; 32]>,
    /// SipHash key of the record sums.
    pub record_sum: [u8; 16],
}

impl Keys {
    pub fn derive(rack: &RackKey) -> Keys {
        Keys {
            placement: short(rack, "placement", 0),
            branch: short(rack, "branch", 0),
            tag: short(rack, "tag", 0),
            token: KeyRing::new(1, short(rack, "token", 1)),
            nonce: KeyRing::new(1, derive(rack, "nonce", 1)),
            plane: KeyRing::new(1, derive(rack, "plane", 1)),
            record_sum: short(rack, "record-sum", 0),
        }
    }
}

/// HMAC-SHA256(rack key, "siprack 1 " name " " id).
fn derive(rack: &RackKey, name: &str, id: u8) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&rack.0).expect("HMAC takes keys of any length");
    mac.update(format!("siprack 1 {name} {id}").as_bytes());
    mac.finalize().into_bytes().into()
}

fn short(rack: &RackKey, name: &str, id: u8) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(&derive(rack, name, id)[..16]);
    key
}
