//! From a node to the outside: whatever leaves by the VIP was signed by the living incarnation of a node of this rack.

use super::{DropReason, Gate};
use crate::table::{NotSender, Table};
use common::ids::{ListenerId, NodeId, Transport};
use common::sip::{Scan, Start, scan};
use common::time::Time;
use common::wire::proxy::{Direction, ProxyError, ProxyHeader};
use std::cell::Cell;
use std::net::SocketAddr;

/// Send `message` from this listener's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing<'a> {
    pub node: NodeId,
    pub listener: ListenerId,
    pub to: SocketAddr,
    /// The datagram without its PROXY header.
    pub message: &'a [u8],
    pub start: Start,
}

/// Judges one datagram that came in on an egress socket.
pub fn egress<'a>(gate: &Gate, table: &Table, now: Time, datagram: &'a [u8]) -> Result<Outgoing<'a>, DropReason> {
    let start = Cell::new(None);
    let call_id_of = |message: &'a [u8]| match scan(message, &gate.names) {
        Scan::Sip(scanned) => {
            start.set(Some(scanned.start));
            Some(scanned.call_id)
        }
        Scan::KeepAlive | Scan::Stun(_) | Scan::Bad(_) => None,
    };
    let (header, offset) = ProxyHeader::read(datagram, &gate.keys.plane, call_id_of).map_err(|e| match e {
        ProxyError::Mac => DropReason::ProxyMac,
        ProxyError::UnknownKey(_) => DropReason::ProxyOldKey,
        _ => DropReason::ProxyMalformed,
    })?;
    let (Some(message), Some(start)) = (datagram.get(offset..), start.get()) else {
        return Err(DropReason::ProxyMalformed);
    };
    if header.direction != Direction::Egress || header.transport != Transport::Udp {
        return Err(DropReason::ProxyDirection);
    }
    if !header.sent.is_fresh(now) {
        return Err(DropReason::ProxyStale);
    }
    table.check_sender(header.sender, header.boot, header.epoch).map_err(|e| match e {
        NotSender::Unknown => DropReason::SenderUnknown,
        NotSender::Dead => DropReason::SenderDead,
        NotSender::Behind => DropReason::SenderBehind,
    })?;
    let own = gate.listeners.get(usize::from(header.listener.0)).ok_or(DropReason::ListenerUnknown)?;
    let to = header.destination;
    if to.is_ipv4() != own.is_ipv4() || to.port() == 0 || to.ip().is_unspecified() {
        return Err(DropReason::Destination);
    }
    Ok(Outgoing { node: header.sender, listener: header.listener, to, message, start })
}
