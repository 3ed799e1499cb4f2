//! The heartbeat: a node says that it lives, which incarnation it is, what it stands under and how busy it is.
//!
//! Network byte order. Version 1 is 16 octets: Protocol ID 0xDEADFACE u32, CC Server ID u32, SIP port u16, reserved u16,
//! CC State u32. A sender of the other byte order is known by the Protocol ID; each word is swapped then. Version 2 goes
//! on with a u16 length of all that follows, version u8 (2), key id u8, the fields of [`V2`] in their order, perhaps more
//! that this version does not know, and 16 octets of HMAC-SHA256 over everything before them.

use super::mac::{self, MAC};
use crate::ids::{BootId, Epoch, HistoryId, Level, NodeId, Plane, PlaneSet};
use crate::keys::KeyRing;

pub const PROTOCOL_ID: u32 = 0xDEAD_FACE;
const V1: usize = 16;
const VERSION: u8 = 2;
/// Octets of the fields of version 2 without backups: what stands between key id and MAC at least.
const FIELDS: usize = 8 * 6 + 1 + 2 + 2 + 1 + 2 + 1 + 8 + 8 + 16 + 1;
const MAX_BACKUPS: usize = 16;
/// `strays` and `hears`.
const NEWER: usize = 4 + 1;
const DOMAIN: &str = "heartbeat";

/// CC State.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    Stopped = 0,
    Starting = 1,
    Started = 2,
    Draining = 3,
    Stopping = 4,
}

impl NodeState {
    pub const ALL: [NodeState; 5] =
        [NodeState::Stopped, NodeState::Starting, NodeState::Started, NodeState::Draining, NodeState::Stopping];

    pub fn label(self) -> &'static str {
        match self {
            NodeState::Stopped => "stopped",
            NodeState::Starting => "starting",
            NodeState::Started => "started",
            NodeState::Draining => "draining",
            NodeState::Stopping => "stopping",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    pub node: NodeId,
    /// Worker 0's port.
    pub sip_port: u16,
    pub state: NodeState,
    /// None: a version 1 heartbeat, of a foreign node.
    pub v2: Option<V2>,
}

/// What version 2 adds, in the order of the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V2 {
    pub boot: BootId,
    /// Strictly growing within an incarnation; the same on every plane.
    pub sequence: u64,
    /// The sender's own monotonic clock, in µs; only the sender understands it.
    pub sent_us: u64,
    /// Newest beacon nonce heard.
    pub beacon_nonce: u64,
    /// Of the placement adopted.
    pub epoch: Epoch,
    /// Grows only when every worker has moved since.
    pub progress: u64,
    pub workers: u8,
    /// Busy share, in 1/65,535.
    pub load: u16,
    /// Share of new dialogs that are admitted, in 1/65,535.
    pub admit: u16,
    pub class: u8,
    /// Failure domain.
    pub domain: u16,
    pub plane: Plane,
    pub history: HistoryId,
    pub level: Level,
    pub location_sum: u128,
    /// Backups that did not answer lately.
    pub backups: Vec<NodeId>,
    /// INVITEs that wait here for their final response although others would be given them now.
    pub strays: u32,
    /// Planes on which a beacon came lately: there the load manager's datagrams arrive.
    pub hears: PlaneSet,
}

/// Why octets are no heartbeat that may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeartbeatError {
    #[error("not a heartbeat: {0} octets, or another Protocol ID")]
    NotOne(usize),
    #[error("CC State {0} is none of 0 to 4")]
    State(u32),
    #[error("CC Server ID {0} is none of 1 to 65,535")]
    Node(u32),
    #[error("version 1, which `heartbeat.accept_v1` refuses")]
    V1Refused,
    #[error("its length field says {said}, {there} octets are there")]
    Length { said: usize, there: usize },
    #[error("unknown version {0}")]
    UnknownVersion(u8),
    #[error("unknown key id {0}")]
    UnknownKey(u8),
    #[error("the MAC is not by this rack's key")]
    Mac,
    #[error("a field is out of its range")]
    Field,
}

/// Whether these octets claim to be a heartbeat, in either byte order.
pub fn is_heartbeat(bytes: &[u8]) -> bool {
    bytes.len() >= V1 && matches!(be32(bytes, 0), Some(id) if id == PROTOCOL_ID || id == PROTOCOL_ID.swap_bytes())
}

pub fn encode(heartbeat: &Heartbeat, ring: &KeyRing<[u8; 32]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(V1 + 4 + FIELDS + MAC);
    out.extend_from_slice(&PROTOCOL_ID.to_be_bytes());
    out.extend_from_slice(&u32::from(heartbeat.node.0).to_be_bytes());
    out.extend_from_slice(&heartbeat.sip_port.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&(heartbeat.state as u32).to_be_bytes());
    if let Some(v2) = &heartbeat.v2 {
        encode_v2(v2, ring, &mut out);
    }
    out
}

fn encode_v2(v2: &V2, ring: &KeyRing<[u8; 32]>, out: &mut Vec<u8>) {
    let backups = &v2.backups[..v2.backups.len().min(MAX_BACKUPS)];
    let length = (2 + FIELDS + 2 * backups.len() + NEWER + MAC) as u16;
    let (id, key) = ring.current();
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&[VERSION, id]);
    for word in [v2.boot.0, v2.sequence, v2.sent_us, v2.beacon_nonce, v2.epoch.0, v2.progress] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.push(v2.workers);
    out.extend_from_slice(&v2.load.to_be_bytes());
    out.extend_from_slice(&v2.admit.to_be_bytes());
    out.push(v2.class);
    out.extend_from_slice(&v2.domain.to_be_bytes());
    out.push(v2.plane as u8);
    out.extend_from_slice(&v2.history.0.to_be_bytes());
    out.extend_from_slice(&v2.level.0.to_be_bytes());
    out.extend_from_slice(&v2.location_sum.to_be_bytes());
    out.push(backups.len() as u8);
    for node in backups {
        out.extend_from_slice(&node.0.to_be_bytes());
    }
    out.extend_from_slice(&v2.strays.to_be_bytes());
    out.push(v2.hears.0);
    let sum = mac::sign(key, DOMAIN, out);
    out.extend_from_slice(&sum);
}

/// The id of the plane key that a heartbeat of version 2 names; [`decode`] says whether it is by that key.
pub fn key_id(heartbeat: &[u8]) -> Option<u8> {
    heartbeat.get(V1 + 3).copied()
}

/// `accept_v1`: whether 16 octets without a MAC are taken for a foreign node.
pub fn decode(bytes: &[u8], ring: &KeyRing<[u8; 32]>, accept_v1: bool) -> Result<Heartbeat, HeartbeatError> {
    if !is_heartbeat(bytes) {
        return Err(HeartbeatError::NotOne(bytes.len()));
    }
    let mut head = [0u8; V1];
    head.copy_from_slice(&bytes[..V1]);
    if be32(&head, 0) != Some(PROTOCOL_ID) {
        swap_words(&mut head);
    }
    let field = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let node = u16::try_from(field(4)).ok().filter(|n| *n != 0).ok_or(HeartbeatError::Node(field(4)))?;
    let state = NodeState::ALL.into_iter().find(|s| *s as u32 == field(12)).ok_or(HeartbeatError::State(field(12)))?;
    let v2 = match bytes.len() {
        V1 if accept_v1 => None,
        V1 => return Err(HeartbeatError::V1Refused),
        _ => Some(decode_v2(bytes, ring)?),
    };
    Ok(Heartbeat { node: NodeId(node), sip_port: u16::from_be_bytes([head[8], head[9]]), state, v2 })
}

/// A little-endian sender's words: u32, u32, u16, u16, u32.
fn swap_words(head: &mut [u8; V1]) {
    for range in [0..4, 4..8, 8..10, 10..12, 12..16] {
        head[range].reverse();
    }
}

fn decode_v2(bytes: &[u8], ring: &KeyRing<[u8; 32]>) -> Result<V2, HeartbeatError> {
    let there = bytes.len() - V1;
    let said = bytes.get(V1..V1 + 2).map_or(0, |l| usize::from(u16::from_be_bytes([l[0], l[1]])));
    if said + 2 != there || said < 2 + MAC {
        return Err(HeartbeatError::Length { said, there });
    }
    if bytes[V1 + 2] != VERSION {
        return Err(HeartbeatError::UnknownVersion(bytes[V1 + 2]));
    }
    let id = bytes[V1 + 3];
    let key = ring.get(id).ok_or(HeartbeatError::UnknownKey(id))?;
    let (signed, sum) = bytes.split_at(bytes.len() - MAC);
    if !mac::verify(key, DOMAIN, signed, sum) {
        return Err(HeartbeatError::Mac);
    }
    fields(&signed[V1 + 4..]).ok_or(HeartbeatError::Field)
}

/// What follows the fields is of a later version and left alone.
fn fields(bytes: &[u8]) -> Option<V2> {
    let mut at = 0;
    let mut take = |count: usize| {
        let field = bytes.get(at..at + count)?;
        at += count;
        Some(field)
    };
    let mut words = [0u64; 6];
    for word in &mut words {
        *word = u64::from_be_bytes(take(8)?.try_into().ok()?);
    }
    let workers = take(1)?[0];
    let load = u16::from_be_bytes(take(2)?.try_into().ok()?);
    let admit = u16::from_be_bytes(take(2)?.try_into().ok()?);
    let class = take(1)?[0];
    let domain = u16::from_be_bytes(take(2)?.try_into().ok()?);
    let plane = match take(1)?[0] {
        0 => Plane::A,
        1 => Plane::B,
        _ => return None,
    };
    let history = u64::from_be_bytes(take(8)?.try_into().ok()?);
    let level = u64::from_be_bytes(take(8)?.try_into().ok()?);
    let location_sum = u128::from_be_bytes(take(16)?.try_into().ok()?);
    let count = usize::from(take(1)?[0]);
    if count > MAX_BACKUPS {
        return None;
    }
    let mut backups = Vec::with_capacity(count);
    for _ in 0..count {
        backups.push(NodeId(u16::from_be_bytes(take(2)?.try_into().ok()?)));
    }
    // Newer than version 2 itself: an older sender ends here.
    let strays = take(4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_be_bytes);
    let hears = take(1).map_or(PlaneSet::BOTH, |octet| PlaneSet(octet[0]));
    Some(V2 {
        boot: BootId(words[0]),
        sequence: words[1],
        sent_us: words[2],
        beacon_nonce: words[3],
        epoch: Epoch(words[4]),
        progress: words[5],
        workers,
        load,
        admit,
        class,
        domain,
        plane,
        history: HistoryId(history),
        level: Level(level),
        location_sum,
        backups,
        strays,
        hears,
    })
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
