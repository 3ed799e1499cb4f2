//! The rack key and what is derived from it. One secret a rack; every use has a key of its own, and those of [`Use`] rotate
//! in service: [`Generations`] says which of them stand, and goes with the placement.

mod ring;

pub use ring::{KeyRing, Span, later};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
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

/// What a key that rotates is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// `;sr=`: the far ends carry it for as long as a call or a registration lives.
    Token,
    /// Digest challenges.
    Nonce,
    /// Everything that is said between the services.
    Plane,
}

impl Use {
    pub const ALL: [Use; 3] = [Use::Token, Use::Nonce, Use::Plane];

    pub fn label(self) -> &'static str {
        match self {
            Use::Token => "token",
            Use::Nonce => "nonce",
            Use::Plane => "plane",
        }
    }
}

/// Which keys stand, of each use. Part of a placement's inputs: they change by an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generations {
    pub token: Span,
    pub nonce: Span,
    pub plane: Span,
}

impl Generations {
    pub fn of(&self, what: Use) -> Span {
        match what {
            Use::Token => self.token,
            Use::Nonce => self.nonce,
            Use::Plane => self.plane,
        }
    }

    /// Of each use the later ends.
    pub fn or_later(&self, other: &Generations) -> Generations {
        let later = |what| self.of(what).or_later(other.of(what));
        Generations { token: later(Use::Token), nonce: later(Use::Nonce), plane: later(Use::Plane) }
    }

    pub fn set(&mut self, what: Use, span: Span) {
        match what {
            Use::Token => self.token = span,
            Use::Nonce => self.nonce = span,
            Use::Plane => self.plane = span,
        }
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
    /// SipHash key of the fingerprints of messages that must not be handled again; never rotates in service.
    pub quarantine: [u8; 16],
}

impl Keys {
    /// As a new rack begins: the first of each.
    pub fn derive(rack: &RackKey) -> Keys {
        Keys {
            placement: short(rack, "placement", 0),
            branch: short(rack, "branch", 0),
            tag: short(rack, "tag", 0),
            token: KeyRing::new(|id| short(rack, "token", id)),
            nonce: KeyRing::new(|id| derive(rack, "nonce", id)),
            plane: KeyRing::new(|id| derive(rack, "plane", id)),
            record_sum: short(rack, "record-sum", 0),
            quarantine: short(rack, "quarantine", 0),
        }
    }

    pub fn generations(&self) -> Generations {
        Generations { token: self.token.span(), nonce: self.nonce.span(), plane: self.plane.span() }
    }

    /// The same, if somebody has said so who knows.
    pub fn told(&self) -> Option<Generations> {
        Some(Generations { token: self.token.told()?, nonce: self.nonce.told()?, plane: self.plane.told()? })
    }

    /// What is newer of these holds from now on, in every thread; what is older changes nothing.
    pub fn turn(&self, to: &Generations) {
        self.token.turn(to.token);
        self.nonce.turn(to.nonce);
        self.plane.turn(to.plane);
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
