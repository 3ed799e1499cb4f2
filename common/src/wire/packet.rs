//! One datagram of a plane, sealed: ChaCha20-Poly1305 under a key of the worker that sends it. Pure: the shells of those who
//! talk so send and receive.
//!
//! | at | octets | field |
//! |---|---|---|
//! | 0 | 4 | `SRS1` |
//! | 4 | 1 | kind: 1 shadow |
//! | 5 | 1 | version 1 |
//! | 6 | 1 | key id |
//! | 7 | 1 | plane |
//! | 8 | 2 | sender: node |
//! | 10 | 2 | sender: worker |
//! | 12 | 8 | sender: boot id |
//! | 20 | 4 | sent: ms by the load manager's monotonic clock; it goes round |
//! | 24 | 8 | counter: the sender's datagrams, from 0 |
//! | 32 | … | ciphertext, then 16 octets of tag |
//!
//! All before the ciphertext stands under the tag. The key is HMAC-SHA256(plane key, "packet " kind u8 node u16 boot id u64
//! worker u16): no two incarnations have the same one, so that a counter that begins at 0 makes no AEAD nonce twice.

use super::proxy::Sent;
use super::sealed::nonce;
use crate::ids::{BootId, NodeId, Plane};
use crate::keys::KeyRing;
use chacha20poly1305::aead::{Aead, AeadInPlace, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::collections::{BTreeMap, VecDeque};

/// Octets before the ciphertext.
pub const HEAD: usize = 4 + 4 + 2 + 2 + 8 + 4 + 8;
/// By how much a datagram is longer than what was sealed in it.
pub const OVERHEAD: usize = HEAD + TAG;
const TAG: usize = 16;
const MAGIC: [u8; 4] = *b"SRS1";
const VERSION: u8 = 1;
/// So many senders' ciphers are remembered. One that was forgotten costs an HMAC when it is heard again.
const MOST: usize = 4096;

/// What a datagram is about. One kind's never passes for another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Between the holder of a call and its backups.
    Shadow = 1,
}

/// One worker of one incarnation of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sender {
    pub node: NodeId,
    pub boot: BootId,
    pub worker: u16,
}

/// A datagram as its sender made it. It may be a repeat, and it may be old: that is for the receiver to judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    pub from: Sender,
    pub sent: Sent,
    /// Over which plane it was sent.
    pub plane: Plane,
    /// The id of the plane key that the sender has proved to hold.
    pub key: u8,
    pub plain: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    #[error("not a sealed datagram")]
    NotOne,
    #[error("version {0} of sealed datagrams, not {known}", known = VERSION)]
    UnknownVersion(u8),
    #[error("unknown kind {0}")]
    UnknownKind(u8),
    #[error("the datagram is cut short")]
    Length,
    #[error("unknown key id {0}")]
    UnknownKey(u8),
    #[error("the datagram is not by this rack's key, or it was changed on its way")]
    Forged,
}

/// Whether a datagram says that it is one of these.
pub fn is_packet(datagram: &[u8]) -> bool {
    datagram.starts_with(&MAGIC)
}

/// What stands before the ciphertext, but for what is the same in all datagrams of a kind.
struct Head {
    key: u8,
    plane: Plane,
    from: Sender,
    sent: Sent,
    counter: u64,
}

impl Head {
    fn write(&self, kind: Kind, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[kind as u8, VERSION, self.key, self.plane as u8]);
        out.extend_from_slice(&self.from.node.0.to_be_bytes());
        out.extend_from_slice(&self.from.worker.to_be_bytes());
        out.extend_from_slice(&self.from.boot.0.to_be_bytes());
        out.extend_from_slice(&self.sent.0.to_be_bytes());
        out.extend_from_slice(&self.counter.to_be_bytes());
    }

    fn read(head: &[u8; HEAD], kind: Kind) -> Result<Head, PacketError> {
        let [_, _, _, _, said, version, key, plane, ..] = *head;
        if version != VERSION {
            return Err(PacketError::UnknownVersion(version));
        }
        if said != kind as u8 {
            return Err(PacketError::UnknownKind(said));
        }
        // Nobody who holds a key writes a third one.
        let plane = [Plane::A, Plane::B].into_iter().find(|known| *known as u8 == plane).ok_or(PacketError::Forged)?;
        let node = NodeId(u16::from_be_bytes(field(head, 8)));
        let worker = u16::from_be_bytes(field(head, 10));
        let boot = BootId(u64::from_be_bytes(field(head, 12)));
        let sent = Sent(u32::from_be_bytes(field(head, 20)));
        Ok(Head { key, plane, from: Sender { node, boot, worker }, sent, counter: u64::from_be_bytes(field(head, 24)) })
    }
}

fn field<const N: usize>(head: &[u8; HEAD], at: usize) -> [u8; N] {
    std::array::from_fn(|i| head[at + i])
}

fn cipher_of(sender: Sender, kind: Kind, key: &[u8; 32]) -> ChaCha20Poly1305 {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(b"packet ");
    mac.update(&[kind as u8]);
    mac.update(&sender.node.0.to_be_bytes());
    mac.update(&sender.boot.0.to_be_bytes());
    mac.update(&sender.worker.to_be_bytes());
    let sum: [u8; 32] = mac.finalize().into_bytes().into();
    ChaCha20Poly1305::new(Key::from_slice(&sum))
}

/// Seals what one worker of one incarnation sends. There must be no second one of the same kind and sender: it would use
/// the same nonces.
pub struct Sealer {
    kind: Kind,
    sender: Sender,
    /// Under the key that wrote last, with its id.
    cipher: Option<(u8, ChaCha20Poly1305)>,
    /// Goes on when the key turns: ids go round, so a key may come back.
    counter: u64,
}

impl Sealer {
    pub fn new(kind: Kind, sender: Sender) -> Sealer {
        Sealer { kind, sender, cipher: None, counter: 0 }
    }

    /// Appends the datagram, under the key that writes now. `plane` is the one it will be sent over.
    pub fn seal(&mut self, ring: &KeyRing<[u8; 32]>, plane: Plane, sent: Sent, plain: &[u8], out: &mut Vec<u8>) {
        let (id, key) = ring.current();
        if self.cipher.as_ref().is_some_and(|(of, _)| *of != id) {
            self.cipher = None;
        }
        let (_, cipher) = self.cipher.get_or_insert_with(|| (id, cipher_of(self.sender, self.kind, key)));
        let start = out.len();
        out.reserve(OVERHEAD + plain.len());
        let head = Head { key: id, plane, from: self.sender, sent, counter: self.counter };
        head.write(self.kind, out);
        out.extend_from_slice(plain);
        let (head, text) = out[start..].split_at_mut(HEAD);
        let tag = cipher.encrypt_in_place_detached(&nonce(self.counter), head, text);
        let tag = tag.expect("ChaCha20 takes all that is shorter than 256 GiB");
        out.extend_from_slice(&tag);
        self.counter += 1;
    }
}

/// A sender under the plane key with this id.
type Whose = (u8, Sender);

/// Opens what others send. Only who has proved to hold a key is remembered: nobody else can make it forget a sender.
pub struct Opener {
    kind: Kind,
    ciphers: BTreeMap<Whose, ChaCha20Poly1305>,
    /// Whose they are, those that were heard first in front.
    order: VecDeque<Whose>,
}

impl Opener {
    pub fn new(kind: Kind) -> Opener {
        Opener { kind, ciphers: BTreeMap::new(), order: VecDeque::new() }
    }

    pub fn open(&mut self, ring: &KeyRing<[u8; 32]>, datagram: &[u8]) -> Result<Opened, PacketError> {
        if !is_packet(datagram) {
            return Err(PacketError::NotOne);
        }
        let parts = datagram.split_first_chunk::<HEAD>().filter(|(_, sealed)| sealed.len() >= TAG);
        let (octets, sealed) = parts.ok_or(PacketError::Length)?;
        let head = Head::read(octets, self.kind)?;
        // A cipher may be remembered for longer than its key stands.
        let key = ring.get(head.key).ok_or(PacketError::UnknownKey(head.key))?;
        let open = |cipher: &ChaCha20Poly1305| {
            let payload = Payload { msg: sealed, aad: octets };
            cipher.decrypt(&nonce(head.counter), payload).map_err(|_| PacketError::Forged)
        };
        let whose = (head.key, head.from);
        let plain = match self.ciphers.get(&whose) {
            Some(cipher) => open(cipher)?,
            None => {
                let cipher = cipher_of(head.from, self.kind, key);
                let plain = open(&cipher)?;
                self.remember(whose, cipher);
                plain
            }
        };
        Ok(Opened { from: head.from, sent: head.sent, plane: head.plane, key: head.key, plain })
    }

    fn remember(&mut self, whose: Whose, cipher: ChaCha20Poly1305) {
        if self.order.len() >= MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.ciphers.remove(&oldest);
        }
        self.order.push_back(whose);
        self.ciphers.insert(whose, cipher);
    }
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;
