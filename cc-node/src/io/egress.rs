//! The way out. `egress: via-lm`: each message goes behind a PROXY header that names the listener it must leave from to the
//! load manager's worker for its Call-ID. `egress: direct`: from the listener's address itself.
//! Owned by one worker; flushed at the end of each of its rounds.

use super::shared::{IoCounters, Shared};
use crate::effect::Over;
use common::call_hash::CallHash;
use common::config::{Egress as Way, LoadManager};
use common::ids::{Epoch, ListenerId, NodeId, Plane, Transport};
use common::io::inside::InsideBatch;
use common::io::start::StartError;
use common::io::udp::{self, SendBatch};
use common::sip;
use common::time::Time;
use common::wire::proxy::{Direction, MAX, ProxyHeader, Sent};
use smallvec::SmallVec;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

/// Where a message leaves for, and under what.
#[derive(Clone, Copy, Debug)]
pub struct Outwards {
    pub epoch: Epoch,
    pub listener: ListenerId,
    pub to: SocketAddr,
    pub transport: Transport,
    pub now: Time,
}

pub struct Egress {
    shared: Arc<Shared>,
    load_manager: LoadManager,
    /// The load manager's plane for what is in the batch; chosen anew when it is empty.
    plane: Plane,
    batch: InsideBatch,
    /// Towards other nodes: a batch a plane.
    to_nodes: [InsideBatch; 2],
    /// `direct` only: a socket and a batch a listener.
    direct: Vec<(UdpSocket, SendBatch)>,
}

impl Egress {
    /// # Errors
    /// No load manager, or (`direct`) a listener's address that this host does not have or that the load manager uses.
    pub fn new(shared: Arc<Shared>) -> Result<Egress, StartError> {
        let load_manager = shared.rack.load_managers.first().cloned();
        let load_manager =
            load_manager.ok_or_else(|| StartError::Config("the rack file names no load manager".into()))?;
        let direct = match shared.rack.egress {
            Way::ViaLm => Vec::new(),
            Way::Direct => direct_sockets(&shared)?,
        };
        let to_nodes = [InsideBatch::new(), InsideBatch::new()];
        Ok(Egress { load_manager, plane: Plane::A, batch: InsideBatch::new(), to_nodes, direct, shared })
    }

    /// Adds one message. What has no Call-ID or no listener of ours is dropped and counted.
    pub fn push(&mut self, way: &Outwards, message: &[u8], counters: &mut IoCounters) {
        let &Outwards { epoch, listener, to, transport, now } = way;
        if let Some((_, batch)) = self.direct.get_mut(usize::from(listener.0)) {
            batch.push(to, &[], message);
            return;
        }
        let from = self.shared.rack.listener(listener).map(|l| l.socket_address());
        let (Some(source), Some(call_id)) = (from, sip::call_id(message)) else {
            counters.drop_unsendable += 1;
            return;
        };
        let header = ProxyHeader {
            sender: self.shared.id,
            transport,
            direction: Direction::Egress,
            ..ProxyHeader::ingress(source, to, listener, self.shared.boot, epoch, self.sent(now))
        };
        let (key_id, key) = self.shared.keys.plane.current();
        let mut head = [0u8; MAX];
        let length = header.write(key, key_id, call_id, &mut head);
        if self.batch.is_empty() {
            self.plane = self.shared.lm_plane();
        }
        let hash = CallHash::of(&self.shared.keys.placement, call_id);
        let port = self.load_manager.egress_port + hash.worker(self.load_manager.workers.max(1));
        let ip = self.load_manager.planes.address(self.plane).unwrap_or(self.load_manager.planes.a);
        self.batch.push(SocketAddr::new(ip, port), &head[..length], call_id, message);
    }

    /// Adds a question or an answer for another node's worker of this call.
    pub fn inside(
        &mut self,
        now: Time,
        (to, over): (NodeId, Over),
        mut header: ProxyHeader,
        message: &[u8],
        counters: &mut IoCounters,
    ) {
        let (Some(node), Some(call_id)) = (self.shared.rack.node(to), sip::call_id(message)) else {
            counters.drop_unsendable += 1;
            return;
        };
        let (key_id, key) = self.shared.keys.plane.current();
        let mut head = [0u8; MAX];
        header.sent = self.sent(now);
        let length = header.write(key, key_id, call_id, &mut head);
        let worker = CallHash::of(&self.shared.keys.placement, call_id).worker(node.workers.max(1));
        let both = |(plane, _): &(Plane, _)| self.shared.config.planes.address(*plane).is_some();
        let planes: SmallVec<[(Plane, IpAddr); 2]> = node.planes.iter().filter(both).collect();
        let chosen = match over {
            Over::EveryPlane => &planes[..],
            Over::InTurn(n) => planes.get(usize::from(n) % planes.len().max(1)).map_or(&[][..], std::slice::from_ref),
        };
        for (plane, ip) in chosen {
            let address = SocketAddr::new(*ip, node.sip_port.saturating_add(worker));
            self.to_nodes[*plane as usize].push(address, &head[..length], call_id, message);
        }
    }

    /// By the load manager's clock.
    fn sent(&self, now: Time) -> Sent {
        Sent::at(self.shared.lm_clock().at(now))
    }

    fn is_empty(&self) -> bool {
        self.batch.is_empty()
            && self.to_nodes.iter().all(InsideBatch::is_empty)
            && self.direct.iter().all(|(_, batch)| batch.is_empty())
    }

    /// How many there were.
    fn discard(&mut self) -> usize {
        let to_nodes: usize = self.to_nodes.iter_mut().map(InsideBatch::discard).sum();
        self.batch.discard() + to_nodes + self.direct.iter_mut().map(|(_, batch)| batch.discard()).sum::<usize>()
    }

    pub fn is_full(&self) -> bool {
        self.batch.is_full()
            || self.to_nodes.iter().any(InsideBatch::is_full)
            || self.direct.iter().any(|(_, batch)| batch.is_full())
    }

    /// Sends all, or none: the last look at the clock before the system call says whether this node still has a lease.
    /// `sockets` = the worker's own, a plane each.
    pub fn flush(&mut self, now: impl FnOnce() -> Time, sockets: &[(Plane, UdpSocket)], counters: &mut IoCounters) {
        if self.is_empty() {
            return;
        }
        if now() >= self.shared.lease() {
            counters.drop_no_lease += self.discard() as u64;
            return;
        }
        let own = sockets.iter().find(|(plane, _)| *plane == self.plane).or(sockets.first());
        if let (Some((_, socket)), false) = (own, self.batch.is_empty()) {
            let flushed = self.batch.flush(socket, &self.shared.keys.plane);
            counters.sent += flushed.sent as u64;
            counters.drop_send_failed += flushed.failed as u64;
        }
        for (plane, socket) in sockets {
            let batch = &mut self.to_nodes[*plane as usize];
            if !batch.is_empty() {
                let flushed = batch.flush(socket, &self.shared.keys.plane);
                counters.sent += flushed.sent as u64;
                counters.drop_send_failed += flushed.failed as u64;
            }
        }
        for (socket, batch) in &mut self.direct {
            if !batch.is_empty() {
                let flushed = batch.flush(socket);
                counters.sent += flushed.sent as u64;
                counters.drop_send_failed += flushed.failed as u64;
            }
        }
    }
}

/// Where node and load manager share a host, a second socket on the VIP's port would take the load manager's datagrams.
fn direct_sockets(shared: &Shared) -> Result<Vec<(UdpSocket, SendBatch)>, StartError> {
    let same_host = |ip| shared.config.planes.iter().any(|(_, own)| own == ip);
    if shared.rack.load_managers.iter().any(|lm| lm.planes.iter().any(|(_, ip)| same_host(ip))) {
        let why = "egress: direct needs nodes on other hosts than the load manager; use `egress: via-lm`";
        return Err(StartError::Config(why.into()));
    }
    let open = |listener: &common::config::Listener| {
        let address = listener.socket_address();
        let socket = udp::bind(address, true).map_err(|e| StartError::socket("egress: direct", address, e))?;
        Ok((socket, SendBatch::new()))
    };
    shared.rack.listeners.iter().map(open).collect()
}

#[cfg(test)]
#[path = "egress_tests.rs"]
mod tests;
