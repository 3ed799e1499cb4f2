//! The PROXY protocol version 2 (haproxy.org, proxy-protocol.txt §2.2) in front of every SIP message inside: where it
//! came from, where it was sent to, and, in TLVs of the custom range, what the rack must know. A MAC over all of it and
//! the Call-ID comes last; a header without a valid one is dropped.
//!
//! | TLV | octets | value |
//! |---|---|---|
//! | 0xE0 sender | 11 | direction u8, node u16 (0 = load manager), boot id u64 |
//! | 0xE1 epoch | 8 | |
//! | 0xE2 listener | 2 | listener u8, transport u8 |
//! | 0xE3 connection | 8 | only where there is one |
//! | 0xE4 visited | 2 each | nodes that have seen this message, at most 4; only if any |
//! | 0xE5 inquiry | 5 | kind u8 (1 yours?, 2 mine, 3 not mine), number u32; only between nodes |
//! | 0xE6 sent | 4 | in ms by the load manager's monotonic clock, which beacons tell; it goes round |
//! | 0x04 NOOP | any | zeros, left alone: makes headers longer, so that datagrams have one length |
//! | 0xEF MAC | 17 | key id u8, SipHash-2-4-128 |

use crate::ids::{BootId, Epoch, ListenerId, NodeId, Transport};
use crate::keys::KeyRing;
use crate::time::{Duration, Time};
use siphasher::sip128::{Hasher128, SipHasher24};
use smallvec::SmallVec;
use std::hash::Hasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use subtle::ConstantTimeEq;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const HEAD: usize = 16;
const VERSION_PROXY: u8 = 0x21;
const MAX_VISITED: usize = 4;

/// HAProxy's own.
const NOOP_TLV: u8 = 0x04;
const SENDER: u8 = 0xE0;
const EPOCH: u8 = 0xE1;
const LISTENER: u8 = 0xE2;
const CONNECTION: u8 = 0xE3;
const VISITED: u8 = 0xE4;
const INQUIRY: u8 = 0xE5;
const SENT: u8 = 0xE6;
const MAC: u8 = 0xEF;
const MAC_VALUE: usize = 17;

/// Octets of the shortest TLV: what a header is padded by at least.
pub const NOOP: usize = 3;

/// Octets of the longest header that was not padded: IPv6, every TLV.
pub const MAX: usize =
    HEAD + 36 + (3 + 11) + (3 + 8) + (3 + 2) + (3 + 8) + (3 + 2 * MAX_VISITED) + (3 + 5) + (3 + 4) + (3 + MAC_VALUE);

/// For how long a network keeps a message at most (RFC 3261 §17.1.2.2, T4). Who was handed one before knows its repeats at
/// least as long; what is older was kept by somebody.
pub const FRESH: Duration = Duration::from_secs(5);

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From outside to a node.
    Ingress = 1,
    /// From a node to the outside.
    Egress = 2,
    /// From a node to a node.
    Inside = 3,
}

/// What nodes ask and tell each other of a message that one of them does not know. An answer stands before the Call-ID
/// alone; see [`answer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inquiry {
    /// Do you hold what this message belongs to? Then take it.
    Yours = 1,
    /// Taken.
    Mine = 2,
    NotMine = 3,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Ingress: the outside address it came from. Egress: the listener's address.
    pub source: SocketAddr,
    /// Ingress: the VIP's address. Egress: the outside address it goes to.
    pub destination: SocketAddr,
    /// 0 = a load manager.
    pub sender: NodeId,
    pub boot: BootId,
    /// Under which the sender stands.
    pub epoch: Epoch,
    pub listener: ListenerId,
    pub transport: Transport,
    /// Of a stream; 0 = none.
    pub connection: u64,
    pub visited: SmallVec<[NodeId; MAX_VISITED]>,
    /// What is asked or told about this message, and the question's number.
    pub inquiry: Option<(Inquiry, u32)>,
    /// When it was handed over, by the load manager's clock.
    pub sent: Sent,
    pub direction: Direction,
}

/// A moment of the load manager's clock, in milliseconds; after 49 days they go round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent(pub u32);

impl Sent {
    pub fn at(now: Time) -> Sent {
        Sent(now.millis() as u32)
    }

    /// Not further from `now` than [`FRESH`]. Either way: what somebody knows of another's clock is a little off.
    pub fn is_fresh(self, now: Time) -> bool {
        let age = Sent::at(now).0.wrapping_sub(self.0) as i32;
        Duration::from_millis(u64::from(age.unsigned_abs())) <= FRESH
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    #[error("no PROXY protocol version 2 header")]
    NotOne,
    #[error("version and command {0:#04x} of the PROXY protocol, not 0x21 (version 2, PROXY)")]
    UnknownVersion(u8),
    #[error("the header is cut short or its lengths disagree")]
    Length,
    #[error("address family and protocol {0:#04x} are none of IPv4 or IPv6 with DGRAM or STREAM")]
    Family(u8),
    #[error("TLV {0:#04x} is missing")]
    Missing(u8),
    #[error("TLV {0:#04x} cannot be read")]
    Tlv(u8),
    #[error("the message behind it has no Call-ID")]
    NoCallId,
    #[error("unknown key id {0}")]
    UnknownKey(u8),
    #[error("the MAC is not by this rack's key")]
    Mac,
}

impl ProxyHeader {
    /// What an incarnation of a load manager writes before a datagram that came in at a listener.
    pub fn ingress(
        source: SocketAddr,
        destination: SocketAddr,
        listener: ListenerId,
        boot: BootId,
        epoch: Epoch,
        sent: Sent,
    ) -> ProxyHeader {
        ProxyHeader {
            source,
            destination,
            sender: NodeId(0),
            boot,
            epoch,
            listener,
            transport: Transport::Udp,
            connection: 0,
            visited: SmallVec::new(),
            inquiry: None,
            sent,
            direction: Direction::Ingress,
        }
    }

    /// Writes the header for a message with this Call-ID; its length. No allocation. `key` is the plane key with this id.
    /// Addresses of different families become IPv6 (IPv4-mapped).
    pub fn write(&self, key: &[u8; 32], key_id: u8, call_id: &[u8], out: &mut [u8; MAX]) -> usize {
        let mut w = Writer { out, at: 0 };
        w.put(&SIGNATURE);
        let stream = u8::from(self.transport == Transport::Udp) + 1;
        // 0x11 / 0x21 = STREAM over IPv4 / IPv6, 0x12 / 0x22 = DGRAM.
        let both_four = self.source.is_ipv4() && self.destination.is_ipv4();
        w.put(&[VERSION_PROXY, if both_four { 0x10 } else { 0x20 } | stream, 0, 0]);
        for address in [self.source.ip(), self.destination.ip()] {
            match (address, both_four) {
                (IpAddr::V4(ip), true) => w.put(&ip.octets()),
                (IpAddr::V4(ip), false) => w.put(&ip.to_ipv6_mapped().octets()),
                (IpAddr::V6(ip), _) => w.put(&ip.octets()),
            }
        }
        w.put(&self.source.port().to_be_bytes());
        w.put(&self.destination.port().to_be_bytes());
        w.tlv(SENDER, &[&[self.direction as u8], &self.sender.0.to_be_bytes(), &self.boot.0.to_be_bytes()]);
        w.tlv(EPOCH, &[&self.epoch.0.to_be_bytes()]);
        w.tlv(LISTENER, &[&[self.listener.0, self.transport as u8]]);
        if self.connection != 0 {
            w.tlv(CONNECTION, &[&self.connection.to_be_bytes()]);
        }
        if !self.visited.is_empty() {
            let mut nodes = [0u8; 2 * MAX_VISITED];
            let count = self.visited.len().min(MAX_VISITED);
            for (pair, node) in nodes.chunks_exact_mut(2).zip(&self.visited) {
                pair.copy_from_slice(&node.0.to_be_bytes());
            }
            w.tlv(VISITED, &[&nodes[..2 * count]]);
        }
        if let Some((kind, number)) = self.inquiry {
            w.tlv(INQUIRY, &[&[kind as u8], &number.to_be_bytes()]);
        }
        w.tlv(SENT, &[&self.sent.0.to_be_bytes()]);
        let length = (w.at + 3 + MAC_VALUE - HEAD) as u16;
        w.out[14..16].copy_from_slice(&length.to_be_bytes());
        let sum = mac(key, &w.out[..w.at], call_id);
        w.tlv(MAC, &[&[key_id], &sum]);
        w.at
    }

    /// Reads and verifies the header in front of a message; where the message begins. `call_id_of` finds the message's
    /// Call-ID.
    pub fn read<'m>(
        datagram: &'m [u8],
        ring: &KeyRing<[u8; 32]>,
        call_id_of: impl Fn(&'m [u8]) -> Option<&'m [u8]>,
    ) -> Result<(ProxyHeader, usize), ProxyError> {
        if datagram.len() < HEAD || datagram[..12] != SIGNATURE {
            return Err(ProxyError::NotOne);
        }
        if datagram[12] != VERSION_PROXY {
            return Err(ProxyError::UnknownVersion(datagram[12]));
        }
        let end = HEAD + usize::from(u16::from_be_bytes([datagram[14], datagram[15]]));
        let header = datagram.get(..end).ok_or(ProxyError::Length)?;
        let (source, destination, tlvs_at) = addresses(header)?;
        let mac_at = end.checked_sub(3 + MAC_VALUE).filter(|at| *at >= tlvs_at).ok_or(ProxyError::Missing(MAC))?;
        let last = &header[mac_at..];
        if last[..3] != [MAC, 0, MAC_VALUE as u8] {
            return Err(ProxyError::Missing(MAC));
        }
        let key = ring.get(last[3]).ok_or(ProxyError::UnknownKey(last[3]))?;
        let call_id = call_id_of(&datagram[end..]).ok_or(ProxyError::NoCallId)?;
        let fits: bool = mac(key, &header[..mac_at], call_id).ct_eq(&last[4..]).into();
        if !fits {
            return Err(ProxyError::Mac);
        }
        let parsed = Tlvs::read(&header[tlvs_at..mac_at])?;
        Ok((parsed.header(source, destination)?, end))
    }
}

/// Writes `head` ([`ProxyHeader::write`]'s for the same Call-ID) behind `out`, `extra` octets longer: at least [`NOOP`].
pub fn pad(head: &[u8], extra: usize, key: &[u8; 32], key_id: u8, call_id: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&head[..head.len() - (3 + MAC_VALUE)]);
    let length = (head.len() + extra - HEAD) as u16;
    out[start + 14..start + 16].copy_from_slice(&length.to_be_bytes());
    out.push(NOOP_TLV);
    out.extend_from_slice(&((extra - NOOP) as u16).to_be_bytes());
    out.resize(out.len() + extra - NOOP, 0);
    let sum = mac(key, &out[start..], call_id);
    out.extend_from_slice(&[MAC, 0, MAC_VALUE as u8, key_id]);
    out.extend_from_slice(&sum);
}

/// What stands behind the header of an answer to a question: a message of nothing but the Call-ID, so that the MAC and
/// the way to the worker are those of every other.
pub fn answer(call_id: &[u8]) -> Vec<u8> {
    [&b"SIP/2.0 100 Yours\r\nCall-ID: "[..], call_id, b"\r\n\r\n"].concat()
}

/// Over the header up to the MAC's TLV, and the Call-ID.
fn mac(key: &[u8; 32], header: &[u8], call_id: &[u8]) -> [u8; 16] {
    let mut short = [0u8; 16];
    short.copy_from_slice(&key[..16]);
    let mut hasher = SipHasher24::new_with_key(&short);
    hasher.write(header);
    hasher.write(call_id);
    hasher.finish128().as_bytes()
}

fn addresses(header: &[u8]) -> Result<(SocketAddr, SocketAddr, usize), ProxyError> {
    let family = header[13];
    let size = match family {
        0x11 | 0x12 => 4,
        0x21 | 0x22 => 16,
        _ => return Err(ProxyError::Family(family)),
    };
    let block = header.get(HEAD..HEAD + 2 * size + 4).ok_or(ProxyError::Length)?;
    let ip = |bytes: &[u8]| -> Result<IpAddr, ProxyError> {
        match <[u8; 4]>::try_from(bytes) {
            Ok(four) => Ok(IpAddr::V4(Ipv4Addr::from(four))),
            Err(_) => {
                let six = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).map_err(|_| ProxyError::Length)?);
                Ok(six.to_ipv4_mapped().map_or(IpAddr::V6(six), IpAddr::V4))
            }
        }
    };
    let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
    let source = SocketAddr::new(ip(&block[..size])?, port(2 * size));
    let destination = SocketAddr::new(ip(&block[size..2 * size])?, port(2 * size + 2));
    Ok((source, destination, HEAD + block.len()))
}

/// The TLVs that were there.
#[derive(Default)]
struct Tlvs {
    sender: Option<(Direction, NodeId, BootId)>,
    epoch: Option<Epoch>,
    listener: Option<(ListenerId, Transport)>,
    connection: u64,
    visited: SmallVec<[NodeId; MAX_VISITED]>,
    inquiry: Option<(Inquiry, u32)>,
    sent: Option<Sent>,
}

impl Tlvs {
    /// Unknown ones are skipped.
    fn read(mut bytes: &[u8]) -> Result<Tlvs, ProxyError> {
        let mut tlvs = Tlvs::default();
        while let Some((head, rest)) = bytes.split_at_checked(3) {
            let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
            let (value, rest) = rest.split_at_checked(length).ok_or(ProxyError::Length)?;
            tlvs.take(head[0], value).ok_or(ProxyError::Tlv(head[0]))?;
            bytes = rest;
        }
        if bytes.is_empty() { Ok(tlvs) } else { Err(ProxyError::Length) }
    }

    fn take(&mut self, kind: u8, value: &[u8]) -> Option<()> {
        match kind {
            SENDER => {
                let value: [u8; 11] = value.try_into().ok()?;
                let direction = [Direction::Ingress, Direction::Egress, Direction::Inside];
                let direction = direction.into_iter().find(|d| *d as u8 == value[0])?;
                let node = NodeId(u16::from_be_bytes([value[1], value[2]]));
                self.sender = Some((direction, node, BootId(u64::from_be_bytes(value[3..].try_into().ok()?))));
            }
            EPOCH => self.epoch = Some(Epoch(u64::from_be_bytes(value.try_into().ok()?))),
            LISTENER => {
                let [listener, transport] = <[u8; 2]>::try_from(value).ok()?;
                self.listener = Some((ListenerId(listener), Transport::from_u8(transport)?));
            }
            CONNECTION => self.connection = u64::from_be_bytes(value.try_into().ok()?),
            VISITED => {
                if value.len() > 2 * MAX_VISITED || !value.len().is_multiple_of(2) {
                    return None;
                }
                self.visited = value.chunks_exact(2).map(|n| NodeId(u16::from_be_bytes([n[0], n[1]]))).collect();
            }
            INQUIRY => {
                let value: [u8; 5] = value.try_into().ok()?;
                let kind = [Inquiry::Yours, Inquiry::Mine, Inquiry::NotMine];
                let kind = kind.into_iter().find(|kind| *kind as u8 == value[0])?;
                self.inquiry = Some((kind, u32::from_be_bytes([value[1], value[2], value[3], value[4]])));
            }
            SENT => self.sent = Some(Sent(u32::from_be_bytes(value.try_into().ok()?))),
            _ => {}
        }
        Some(())
    }

    fn header(self, source: SocketAddr, destination: SocketAddr) -> Result<ProxyHeader, ProxyError> {
        let (direction, sender, boot) = self.sender.ok_or(ProxyError::Missing(SENDER))?;
        let (listener, transport) = self.listener.ok_or(ProxyError::Missing(LISTENER))?;
        Ok(ProxyHeader {
            source,
            destination,
            sender,
            boot,
            epoch: self.epoch.ok_or(ProxyError::Missing(EPOCH))?,
            listener,
            transport,
            connection: self.connection,
            visited: self.visited,
            inquiry: self.inquiry,
            sent: self.sent.ok_or(ProxyError::Missing(SENT))?,
            direction,
        })
    }
}

struct Writer<'o> {
    out: &'o mut [u8; MAX],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn tlv(&mut self, kind: u8, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|p| p.len()).sum();
        self.put(&[kind]);
        self.put(&(length as u16).to_be_bytes());
        parts.iter().for_each(|part| self.put(part));
    }
}
