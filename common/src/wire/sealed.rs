//! Sealed records over a TCP stream between holders of the plane key: ChaCha20-Poly1305 under keys of this connection
//! alone. Pure: `io::stream` reads and writes.
//!
//! Each side first sends a hello of 37 octets: `SRL`, version `1`, key id u8, 32 octets of nonce. Keys: HMAC-SHA256(plane key,
//! "sealed" direction, the connecting side's nonce, the listening side's nonce). A record is a u32 length and so many
//! octets of ciphertext and tag; its AEAD nonce is a counter, so that a lost, repeated or moved record is refused.

use crate::keys::{KeyRing, later};
use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;

pub const HELLO: usize = 4 + 1 + 32;
const MAGIC: [u8; 3] = *b"SRL";
const VERSION: u8 = b'1';
const TAG: usize = 16;
/// Octets of the longest record's plaintext.
pub const MAX_PLAIN: usize = 4 << 20;

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Connecting,
    Listening,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealedError {
    #[error("the far end does not speak this protocol (no hello)")]
    NotOne,
    #[error("the far end speaks version {:?} of this protocol, not {:?}", char::from(*.0), char::from(VERSION))]
    UnknownVersion(u8),
    #[error(
        "plane key {0} does not stand here: one of the two ends was away for many turns; remove its keys.json and start it again"
    )]
    UnknownKey(u8),
    #[error("a record of {0} octets is over the limit or under a tag's length")]
    Length(usize),
    #[error("a record that is not by this connection's key: another rack's key, or it was changed on its way")]
    Forged,
}

pub fn hello(ring: &KeyRing<[u8; 32]>, nonce: [u8; 32]) -> [u8; HELLO] {
    let mut hello = [0; HELLO];
    hello[..3].copy_from_slice(&MAGIC);
    hello[3] = VERSION;
    hello[4] = ring.current().0;
    hello[5..].copy_from_slice(&nonce);
    hello
}

/// Both hellos are known: the keys of the connection. The later of the two key ids counts; whoever sends a record that
/// opens has proved it ([`Opener::key`]).
pub fn session(
    ring: &KeyRing<[u8; 32]>,
    side: Side,
    own: &[u8; HELLO],
    peer: &[u8; HELLO],
) -> Result<(Sealer, Opener), SealedError> {
    if peer[..3] != MAGIC {
        return Err(SealedError::NotOne);
    }
    if peer[3] != VERSION {
        return Err(SealedError::UnknownVersion(peer[3]));
    }
    let (connecting, listening) = match side {
        Side::Connecting => (own, peer),
        Side::Listening => (peer, own),
    };
    let id = later(connecting[4], listening[4]);
    let key = ring.get(id).ok_or(SealedError::UnknownKey(id))?;
    let derive = |direction: &str| {
        let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(b"sealed ");
        mac.update(direction.as_bytes());
        mac.update(&connecting[5..]);
        mac.update(&listening[5..]);
        let sum: [u8; 32] = mac.finalize().into_bytes().into();
        ChaCha20Poly1305::new(Key::from_slice(&sum))
    };
    let (out, inward) = match side {
        Side::Connecting => ("up", "down"),
        Side::Listening => ("down", "up"),
    };
    Ok((Sealer { cipher: derive(out), counter: 0 }, Opener { cipher: derive(inward), counter: 0, key: id }))
}

pub struct Sealer {
    cipher: ChaCha20Poly1305,
    counter: u64,
}

impl Sealer {
    /// Appends the record: length and ciphertext.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealedError> {
        if plain.len() > MAX_PLAIN {
            return Err(SealedError::Length(plain.len()));
        }
        let sealed = self.cipher.encrypt(&nonce(self.counter), plain).map_err(|_| SealedError::Length(plain.len()))?;
        self.counter += 1;
        out.extend_from_slice(&(sealed.len() as u32).to_be_bytes());
        out.extend_from_slice(&sealed);
        Ok(())
    }
}

pub struct Opener {
    cipher: ChaCha20Poly1305,
    counter: u64,
    key: u8,
}

impl Opener {
    /// The id of the plane key that this connection stands on.
    pub fn key(&self) -> u8 {
        self.key
    }

    /// How many octets follow a record's length field.
    pub fn length(field: [u8; 4]) -> Result<usize, SealedError> {
        let length = u32::from_be_bytes(field) as usize;
        if (TAG..=MAX_PLAIN + TAG).contains(&length) { Ok(length) } else { Err(SealedError::Length(length)) }
    }

    /// The plaintext of the next record. After an error the connection is of no use.
    pub fn open(&mut self, sealed: &[u8]) -> Result<Vec<u8>, SealedError> {
        let plain = self.cipher.decrypt(&nonce(self.counter), sealed).map_err(|_| SealedError::Forged)?;
        self.counter += 1;
        Ok(plain)
    }
}

/// Four zero octets and the counter.
pub(super) fn nonce(counter: u64) -> Nonce {
    let mut nonce = Nonce::default();
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    nonce
}
