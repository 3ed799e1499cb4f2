//! A simulated load manager: membership core and packet path, wired as its `io` wires them. The agent keeps its sockets
//! open, so datagrams wait while it is dead.

use crate::network::Datagram;
use bytes::Bytes;
use common::config::Rack;
use common::ids::{BootId, Epoch, ListenerId, NodeId, Plane, Slot};
use common::keys::Keys;
use common::time::Time;
use common::wire::control::Stopped;
use common::wire::frame::{self, Message};
use lm_server::forward::{Gate, Scratch, Verdict, egress, ingress, too_large, unavailable};
use lm_server::membership::{Core, Effect, Input, Setup};
use lm_server::table::Table;
use std::net::SocketAddr;
use std::sync::Arc;

/// What a socket holds while nobody reads it.
const SOCKET_HOLDS: usize = 10_000;

/// What leaves a load manager.
pub enum LmOut {
    Outside {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Bytes,
    },
    /// On a plane; `sip`: a forwarded message, not control.
    Inside {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Bytes,
        sip: bool,
    },
}

pub struct LoadManagerHost {
    rack: Arc<Rack>,
    keys: Arc<Keys>,
    vip: SocketAddr,
    control: SocketAddr,
    egress: SocketAddr,
    /// None while it is dead.
    alive: Option<Alive>,
    /// What waits in the sockets that the agent holds.
    waiting: Vec<Datagram>,
}

struct Alive {
    /// None in a rack that stands: nobody judges who is alive.
    core: Option<Core>,
    gate: Gate,
    table: Arc<Table>,
    /// The packet path starts with the first published table.
    reads: bool,
}

impl LoadManagerHost {
    pub fn new(rack: Arc<Rack>, keys: Arc<Keys>) -> LoadManagerHost {
        let lm = &rack.load_managers[0];
        LoadManagerHost {
            vip: rack.listeners[0].socket_address(),
            control: SocketAddr::new(lm.planes.a, lm.control_port),
            egress: SocketAddr::new(lm.planes.a, lm.egress_port),
            rack,
            keys,
            alive: None,
            waiting: Vec::new(),
        }
    }

    pub fn control_address(&self) -> SocketAddr {
        self.control
    }

    pub fn egress_address(&self) -> SocketAddr {
        self.egress
    }

    pub fn is_address(&self, address: SocketAddr) -> bool {
        [self.vip, self.control, self.egress].contains(&address)
    }

    pub fn start(&mut self, now: Time, boot: BootId, nonce_seed: u64) {
        let setup = Setup { id: 1, boot, rack: self.rack.clone(), keys: self.keys.clone(), nonce_seed };
        let gate = Gate::new(&self.rack, self.keys.clone(), boot);
        let core = Some(Core::new(now, setup));
        self.alive = Some(Alive { core, gate, table: Arc::new(Table::empty()), reads: false });
    }

    /// It forwards by a table that never changes.
    pub fn start_steady(&mut self, table: Arc<Table>) {
        let gate = Gate::new(&self.rack, self.keys.clone(), BootId(1));
        self.alive = Some(Alive { core: None, gate, table, reads: true });
    }

    pub fn kill(&mut self) {
        self.alive = None;
    }

    /// The nodes in the placement.
    pub fn live(&self) -> Vec<NodeId> {
        let placement = self.alive.as_ref().map(|a| a.table.placement());
        placement.into_iter().flat_map(|p| p.inputs().live().map(|(node, _)| node).collect::<Vec<_>>()).collect()
    }

    pub fn owner(&self, slot: Slot) -> Option<NodeId> {
        self.alive.as_ref()?.table.placement().owner(slot)
    }

    pub fn epoch(&self) -> Epoch {
        self.alive.as_ref().map_or(Epoch(0), |a| a.table.epoch())
    }

    pub fn next_due(&self) -> Option<Time> {
        self.alive.as_ref()?.core.as_ref()?.next_due()
    }

    pub fn tick(&mut self, now: Time) -> Vec<LmOut> {
        let Some(alive) = &mut self.alive else { return Vec::new() };
        let Some(core) = &mut alive.core else { return Vec::new() };
        let mut effects = Vec::new();
        core.tick(now, &mut effects);
        self.carry_out(now, effects)
    }

    /// The agent's word that a node's process is gone.
    pub fn stopped(&mut self, now: Time, node: NodeId, boot: BootId) -> Vec<LmOut> {
        let bytes = frame::encode(&Message::Stopped(Stopped { node, boot }), &self.keys.plane, Plane::A);
        let from = self.control;
        self.receive(now, &Datagram { from, to: self.control, bytes: bytes.into() })
    }

    /// A datagram arrived at one of its sockets.
    pub fn receive(&mut self, now: Time, datagram: &Datagram) -> Vec<LmOut> {
        let reads = self.alive.as_ref().is_some_and(|a| a.reads || datagram.to == self.control);
        let Some(alive) = self.alive.as_mut().filter(|_| reads) else {
            if self.waiting.len() < SOCKET_HOLDS {
                self.waiting.push(datagram.clone());
            }
            return Vec::new();
        };
        if datagram.to == self.control {
            let Some(core) = &mut alive.core else { return Vec::new() };
            let mut effects = Vec::new();
            core.handle(now, Input::Datagram { from: datagram.from, bytes: &datagram.bytes }, &mut effects);
            return self.carry_out(now, effects);
        }
        let out = if datagram.to == self.egress {
            outward(alive, datagram)
        } else {
            inward(alive, datagram, self.vip, self.egress)
        };
        out.into_iter().collect()
    }

    fn carry_out(&mut self, now: Time, effects: Vec<Effect>) -> Vec<LmOut> {
        let mut out = Vec::new();
        let Some(alive) = &mut self.alive else { return out };
        let mut opened = false;
        for effect in effects {
            match effect {
                Effect::Publish(table) => {
                    opened |= !alive.reads;
                    alive.reads = true;
                    alive.table = table;
                }
                Effect::Send { to, bytes, .. } => out.push(LmOut::Inside { from: self.control, to, bytes, sip: false }),
                // What waits on the control socket while it is dead or asleep is from before.
                Effect::DiscardQueued => self.waiting.retain(|d| d.to != self.control),
                Effect::Happened(_) => {}
            }
        }
        if opened {
            for datagram in std::mem::take(&mut self.waiting) {
                if datagram.to != self.control {
                    out.extend(self.receive(now, &datagram));
                }
            }
        }
        out
    }
}

/// From outside to a node.
fn inward(alive: &Alive, datagram: &Datagram, vip: SocketAddr, inside: SocketAddr) -> Option<LmOut> {
    let mut scratch = Scratch::default();
    match ingress(&alive.gate, &alive.table, &datagram.bytes, datagram.from, ListenerId(0), &mut scratch) {
        Verdict::ToNode { to, .. } => {
            let bytes = [scratch.written(), &datagram.bytes].concat().into();
            Some(LmOut::Inside { from: inside, to, bytes, sip: true })
        }
        Verdict::Reply => {
            Some(LmOut::Outside { from: vip, to: datagram.from, bytes: Bytes::copy_from_slice(scratch.written()) })
        }
        Verdict::Unavailable => {
            let bytes = unavailable(&alive.gate, &datagram.bytes, datagram.from)?;
            Some(LmOut::Outside { from: vip, to: datagram.from, bytes })
        }
        Verdict::TooLarge(_) => {
            let bytes = too_large(&alive.gate, &datagram.bytes, datagram.from)?;
            Some(LmOut::Outside { from: vip, to: datagram.from, bytes })
        }
        Verdict::KeepAlive | Verdict::Drop(_) => None,
    }
}

/// From a node to the outside.
fn outward(alive: &Alive, datagram: &Datagram) -> Option<LmOut> {
    let outgoing = egress(&alive.gate, &alive.table, &datagram.bytes).ok()?;
    let from = *alive.gate.listeners.get(usize::from(outgoing.listener.0))?;
    Some(LmOut::Outside { from, to: outgoing.to, bytes: Bytes::copy_from_slice(outgoing.message) })
}
