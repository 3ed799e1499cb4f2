//! One datagram and the table in, one verdict out. Pure: `io::forwarder` and the simulated rack call it. Neither
//! [`ingress`] nor [`egress`] allocates, locks or parses a message beyond the scan.
//!
//! - [`ingress`]: from outside to a node: STUN is answered, SIP gets a PROXY header for the worker that has its call.
//! - [`egress`]: from a node to the outside: the header is verified, the message leaves from the listener it names.
//! - [`unavailable`], [`too_large`]: off the hot path, what a request is told that is not handed on.

mod egress;
mod reason;
mod stateless;
#[cfg(test)]
mod tests;

pub use egress::{Outgoing, egress};
pub use reason::DropReason;
pub use stateless::{too_large, unavailable};

use crate::table::{Reach, Table, Taker};
use common::call_hash::CallHash;
use common::config::Rack;
use common::ids::{BootId, ListenerId, NodeId, Plane};
use common::keys::Keys;
use common::sip::stun::RESPONSE_MAX;
use common::sip::{ListenerName, Listeners, MethodKind, Scan, ScanError, Scanned, Start, scan};
use common::time::Time;
use common::token;
use common::wire::proxy::{self, ProxyHeader, Sent};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

/// The payload of the largest IPv4 datagram; header and message together must fit.
const DATAGRAM: usize = 65_507;

/// What the packet path knows beside the table; it does not change while the process lives.
#[derive(Clone)]
pub struct Gate {
    pub keys: Arc<Keys>,
    /// Which names mean the VIP.
    pub names: Listeners,
    /// The listeners' own addresses, by `ListenerId`.
    pub listeners: Vec<SocketAddr>,
    /// This load manager's incarnation.
    pub boot: BootId,
    /// Octets of a datagram from outside (`limits.message_bytes`).
    pub most: usize,
}

impl Gate {
    /// `rack` is expanded. A listener is known by its address and by what it advertises.
    pub fn new(rack: &Rack, keys: Arc<Keys>, boot: BootId) -> Gate {
        let mut names = Vec::new();
        for (_, listener) in rack.listeners() {
            let own = [Some(listener.address.to_string()), listener.advertise.clone()];
            names.extend(own.into_iter().flatten().map(|host| ListenerName {
                host,
                port: listener.port,
                transport: listener.transport,
            }));
        }
        let listeners = rack.listeners().map(|(_, listener)| listener.socket_address()).collect();
        let most = rack.limits.message_bytes as usize;
        Gate { keys, names: Listeners::new(&names), listeners, boot, most }
    }
}

/// What goes in front of a datagram, or the answer to it: a buffer that the caller keeps and every verdict overwrites.
pub struct Scratch {
    bytes: [u8; proxy::MAX],
    length: usize,
    /// Where the Call-ID stands in the datagram.
    call_id: Range<usize>,
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch { bytes: [0; proxy::MAX], length: 0, call_id: 0..0 }
    }
}

impl Scratch {
    pub fn written(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Behind [`Verdict::ToNode`]: the Call-ID of the datagram that it was said of.
    pub fn call_id<'d>(&self, datagram: &'d [u8]) -> &'d [u8] {
        datagram.get(self.call_id.clone()).unwrap_or_default()
    }
}

/// What is to be done with a datagram from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send [`Scratch::written`] and the datagram, as one datagram, to this worker of this node, from this
    /// plane's egress socket.
    ToNode {
        node: NodeId,
        plane: Plane,
        to: SocketAddr,
        start: Start,
    },
    /// Send [`Scratch::written`] back to the source, from the listener.
    Reply,
    /// A request while no node is live: answer with [`unavailable`], off the hot path.
    Unavailable,
    /// A request that would open a call and that every node refuses, and has refused for as long as it may be a repeat:
    /// answer with [`unavailable`], off the hot path.
    Full,
    /// Longer than is handed on: answer with [`too_large`], off the hot path, or count this.
    TooLarge(DropReason),
    /// Asks for nothing.
    KeepAlive,
    Drop(DropReason),
}

/// Judges one datagram from outside, which came in on `listener`.
pub fn ingress(
    gate: &Gate,
    table: &Table,
    now: Time,
    datagram: &[u8],
    source: SocketAddr,
    listener: ListenerId,
    scratch: &mut Scratch,
) -> Verdict {
    if datagram.len() > gate.most {
        return Verdict::TooLarge(DropReason::TooLong);
    }
    let scanned = match scan(datagram, &gate.names) {
        Scan::Sip(scanned) => scanned,
        Scan::KeepAlive => return Verdict::KeepAlive,
        Scan::Stun(request) => {
            let mut answer = [0; RESPONSE_MAX];
            scratch.length = request.binding_success(source, &mut answer);
            scratch.bytes[..scratch.length].copy_from_slice(&answer[..scratch.length]);
            return Verdict::Reply;
        }
        Scan::Bad(ScanError::NotSip) => return Verdict::Drop(DropReason::NotSip),
        Scan::Bad(ScanError::Stun) => return Verdict::Drop(DropReason::Stun),
        Scan::Bad(ScanError::NoCallId) => return Verdict::Drop(DropReason::NoCallId),
    };
    let Some(&destination) = gate.listeners.get(usize::from(listener.0)) else {
        return Verdict::Drop(DropReason::ListenerUnknown);
    };
    let call = CallHash::of(&gate.keys.placement, scanned.call_id);
    let reach = match choose(gate, table, &scanned, call) {
        Taker::Node(reach) | Taker::Repeat(reach) => Some(reach),
        Taker::Full(_) => return Verdict::Full,
        Taker::Nobody => None,
    };
    let to_worker = |reach: &Reach| Some((reach.node, reach.plane, reach.worker(call)?));
    let Some((node, plane, to)) = reach.and_then(to_worker) else {
        return match scanned.start {
            Start::Request(MethodKind::Ack) | Start::Response(_) => Verdict::Drop(DropReason::NoNode),
            Start::Request(_) => Verdict::Unavailable,
        };
    };
    let header = ProxyHeader::ingress(source, destination, listener, gate.boot, table.epoch(), Sent::at(now));
    let (key_id, key) = gate.keys.plane.current();
    scratch.call_id = match scanned.call_id {
        // A request without one, which its node answers 400.
        [] => 0..0,
        // The scan has found it within the datagram.
        found => {
            let at = found.as_ptr() as usize - datagram.as_ptr() as usize;
            at..at + found.len()
        }
    };
    scratch.length = header.write(key, key_id, scanned.call_id, &mut scratch.bytes);
    if scratch.length + datagram.len() > DATAGRAM {
        return Verdict::TooLarge(DropReason::TooBig);
    }
    Verdict::ToNode { node, plane, to, start: scanned.start }
}

/// The node that a valid token names, if it may still be given anything; else by the Call-ID: to the slot's owner, or, with
/// what may open a call, to who takes new ones. A CANCEL and an ACK go the way of their INVITE.
fn choose<'t>(gate: &Gate, table: &'t Table, scanned: &Scanned<'_>, call: CallHash) -> Taker<'t> {
    let named = scanned
        .token
        .and_then(|sr| token::route(&gate.keys.token, sr, scanned.call_id))
        .and_then(|node| table.named(node));
    if let Some(named) = named {
        return Taker::Node(named);
    }
    let follows = match scanned.start {
        Start::Request(MethodKind::Ack) => true,
        Start::Request(MethodKind::Cancel) => !scanned.to_tag,
        _ => false,
    };
    if !scanned.creates_dialog && !follows {
        return table.owner(call.slot()).map_or(Taker::Nobody, Taker::Node);
    }
    match table.taker(call) {
        Taker::Full(node) if follows => Taker::Node(node),
        taker => taker,
    }
}
