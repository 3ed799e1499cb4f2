//! Where a side of a dialog, or a binding, is reached from the outside, and its binary form in tokens.

use crate::ids::{ListenerId, TrunkId};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A way through a NAT or to a host: from this listener of the VIP to this outside address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Flow {
    pub listener: ListenerId,
    /// The far end as the load manager saw it.
    pub remote: SocketAddr,
}

/// One side of a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Peer {
    /// The next hop must be an address of this trunk, or a Contact that the dialog's state has seen.
    Trunk(TrunkId),
    /// Its source differs from its Contact: requests to it always take the flow.
    Flow(Flow),
    /// Its source is its Contact's host: the next hop is RFC 3261's, and must be that host.
    Direct(Flow),
}

/// Octets of the longest encoding (a flow with an IPv6 address).
pub const MAX_PEER: usize = 20;

const TRUNK: u8 = 1;
const FLOW: u8 = 2;
const DIRECT: u8 = 4;
/// Added to the kind where the address is IPv6.
const SIX: u8 = 1;

impl Flow {
    /// listener u8, port u16, 4 or 16 octets of address.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.listener.0);
        out.extend_from_slice(&self.remote.port().to_be_bytes());
        match self.remote.ip() {
            IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
        }
    }

    /// The flow and what stands behind it.
    pub fn decode(bytes: &[u8], six: bool) -> Option<(Flow, &[u8])> {
        let (head, rest) = bytes.split_at_checked(3)?;
        let (address, rest) = rest.split_at_checked(if six { 16 } else { 4 })?;
        let ip = match six {
            false => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?)),
            true => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?)),
        };
        let port = u16::from_be_bytes([head[1], head[2]]);
        Some((Flow { listener: ListenerId(head[0]), remote: SocketAddr::new(ip, port) }, rest))
    }
}

impl Peer {
    /// kind u8, then a trunk number u16 or a flow.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Peer::Trunk(trunk) => {
                out.push(TRUNK);
                out.extend_from_slice(&trunk.0.to_be_bytes());
            }
            Peer::Flow(flow) => {
                out.push(FLOW + if flow.remote.is_ipv6() { SIX } else { 0 });
                flow.encode(out);
            }
            Peer::Direct(flow) => {
                out.push(DIRECT + if flow.remote.is_ipv6() { SIX } else { 0 });
                flow.encode(out);
            }
        }
    }

    pub fn decode(bytes: &[u8]) -> Option<(Peer, &[u8])> {
        let (kind, rest) = bytes.split_first()?;
        match *kind {
            TRUNK => {
                let (number, rest) = rest.split_at_checked(2)?;
                Some((Peer::Trunk(TrunkId(u16::from_be_bytes([number[0], number[1]]))), rest))
            }
            FLOW | 3 => Flow::decode(rest, kind & SIX == SIX).map(|(flow, rest)| (Peer::Flow(flow), rest)),
            DIRECT | 5 => Flow::decode(rest, kind & SIX == SIX).map(|(flow, rest)| (Peer::Direct(flow), rest)),
            _ => None,
        }
    }
}
