//! A simulated load manager: membership core and packet path, wired as its `io` wires them. The agent keeps its sockets
//! open, so datagrams wait while it is dead.

mod judged;

use crate::hosts::timed::Due;
use crate::network::Datagram;
use crate::plants::Plant;
use bytes::Bytes;
use common::config::{LoadManager, Rack};
use common::ids::{BootId, Epoch, ListenerId, NodeId, Plane, Slot};
use common::keys::{Generations, Keys, Span, Use};
use common::placement::{Placement, Placer};
use common::time::{Duration, Time};
use common::wire::control::Stopped;
use common::wire::frame::{self, Message};
use common::wire::heartbeat;
use lm_server::forward::{Gate, Scratch, Verdict, egress, ingress, too_large, unavailable};
use lm_server::membership::{Core, Effect, Input, Setup, Status};
use lm_server::table::Table;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Its clock is another machine's: so far ahead of the nodes'.
const AHEAD: Duration = Duration::from_secs(86_400);
/// What a socket holds while nobody reads it.
const SOCKET_HOLDS: usize = 10_000;

/// What leaves a load manager.
pub enum LmOut {
    Outside {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Bytes,
        /// As a node handed it over; none: the load manager's own.
        of: Option<Datagram>,
    },
    /// On a plane; `sip`: a forwarded message, not control.
    Inside { from: SocketAddr, to: SocketAddr, bytes: Bytes, sip: bool },
}

pub struct LoadManagerHost {
    rack: Arc<Rack>,
    /// As the rack's own begin.
    born: Arc<Keys>,
    keys: Arc<Keys>,
    /// Which keys the operator wants to stand: its file, which a new process reads.
    wanted: Option<Generations>,
    placer: Placer,
    vip: SocketAddr,
    /// None while it is dead.
    alive: Option<Alive>,
    /// SIGSTOP: what comes waits in the sockets.
    stopped: bool,
    plant: Option<Plant>,
    /// What a bug remembers: the newest nonce, and each node's first boot id.
    nonce: u64,
    boots: BTreeMap<NodeId, BootId>,
    /// What waits in the sockets that the agent holds.
    waiting: Vec<Datagram>,
    /// How far its clock is ahead.
    ahead: Duration,
}

struct Alive {
    /// None in a rack that stands: nobody judges who is alive.
    core: Option<Core>,
    gate: Gate,
    table: Arc<Table>,
    /// The packet path starts with the first published table.
    reads: bool,
}

impl Due for LoadManagerHost {
    fn due(&self) -> Option<Time> {
        let due = self.alive.as_ref().filter(|_| !self.stopped)?.core.as_ref()?.next_due();
        due.map(|due| due - self.ahead)
    }
}

impl LoadManagerHost {
    pub fn new(rack: Arc<Rack>, keys: Arc<Keys>, placer: Placer) -> LoadManagerHost {
        let vip = rack.listeners[0].socket_address();
        LoadManagerHost {
            vip,
            rack,
            born: keys.clone(),
            keys,
            wanted: None,
            placer,
            alive: None,
            stopped: false,
            plant: None,
            nonce: 0,
            boots: BTreeMap::new(),
            waiting: Vec::new(),
            ahead: Duration::ZERO,
        }
    }

    /// What its clock shows.
    pub fn own(&self, now: Time) -> Time {
        now + self.ahead
    }

    fn lm(&self) -> &LoadManager {
        &self.rack.load_managers[0]
    }

    pub fn planes(&self) -> impl Iterator<Item = (Plane, IpAddr)> {
        self.lm().planes.iter()
    }

    pub fn control_address(&self, plane: Plane) -> SocketAddr {
        let lm = self.lm();
        SocketAddr::new(lm.planes.address(plane).unwrap_or(lm.planes.a), lm.control_port)
    }

    pub fn egress_address(&self, plane: Plane) -> SocketAddr {
        let lm = self.lm();
        SocketAddr::new(lm.planes.address(plane).unwrap_or(lm.planes.a), lm.egress_port)
    }

    pub fn is_control(&self, address: SocketAddr) -> bool {
        self.planes().any(|(plane, _)| address == self.control_address(plane))
    }

    pub fn is_egress(&self, address: SocketAddr) -> bool {
        self.planes().any(|(plane, _)| address == self.egress_address(plane))
    }

    pub fn is_address(&self, address: SocketAddr) -> bool {
        address == self.vip || self.is_control(address) || self.is_egress(address)
    }

    pub fn start(&mut self, now: Time, boot: BootId, nonce_seed: u64) {
        self.keys = Arc::new(Keys::clone(&self.born));
        self.wanted.iter().for_each(|wanted| self.keys.turn(wanted));
        let (rack, keys, placer) = (self.rack.clone(), self.keys.clone(), self.placer.clone());
        let setup = Setup { id: 1, boot, rack, keys, placer, nonce_seed };
        let gate = Gate::new(&self.rack, self.keys.clone(), boot);
        self.ahead = AHEAD;
        let core = Some(Core::new(self.own(now), setup));
        self.alive = Some(Alive { core, gate, table: Arc::new(Table::empty()), reads: false });
    }

    /// It forwards by a table that never changes.
    pub fn start_steady(&mut self, table: Arc<Table>) {
        let gate = Gate::new(&self.rack, self.keys.clone(), BootId(1));
        self.alive = Some(Alive { core: None, gate, table, reads: true });
    }

    pub fn kill(&mut self) {
        self.alive = None;
        self.stopped = false;
    }

    pub fn is_up(&self) -> bool {
        self.alive.is_some() && !self.stopped
    }

    /// SIGSTOP.
    pub fn stop(&mut self) {
        self.stopped = self.alive.is_some();
    }

    /// SIGCONT. Its first look is at the clock.
    pub fn resume(&mut self, now: Time) -> Vec<LmOut> {
        self.stopped = false;
        let mut out = Vec::new();
        if self.plant == Some(Plant::JudgesAsleep) {
            while let Some(due) = self.due().filter(|due| *due < now) {
                out.extend(self.tick(due));
            }
        }
        out.extend(self.tick(now));
        for datagram in std::mem::take(&mut self.waiting) {
            out.extend(self.receive(now, &datagram));
        }
        out
    }

    pub fn reweigh(&mut self, node: NodeId, weight: u16) {
        let rack = Arc::make_mut(&mut self.rack);
        rack.cc_nodes.iter_mut().filter(|n| n.id == node).for_each(|n| n.weight = weight);
    }

    pub fn plant(&mut self, plant: Option<Plant>) {
        self.plant = plant;
    }

    /// The placement in use; none before the first is published.
    pub fn placement(&self) -> Option<&Arc<Placement>> {
        self.alive.as_ref().filter(|alive| alive.reads).map(|alive| alive.table.placement())
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

    pub fn tick(&mut self, now: Time) -> Vec<LmOut> {
        let own = self.own(now);
        let Some(alive) = &mut self.alive else { return Vec::new() };
        let Some(core) = &mut alive.core else { return Vec::new() };
        let mut effects = Vec::new();
        core.tick(own, &mut effects);
        self.carry_out(now, effects)
    }

    /// The operator turns a key; `old`: how many of those before it still verify.
    pub fn turn_key(&mut self, now: Time, what: Use, old: u8) -> Vec<LmOut> {
        // What the nodes know and its file does not is true.
        let mut wanted = self.keys.generations();
        let newest = wanted.of(what).newest.wrapping_add(1);
        wanted.set(what, Span { oldest: newest.wrapping_sub(old), newest });
        self.wanted = Some(wanted);
        let own = self.own(now);
        let Some(core) = self.alive.as_mut().filter(|_| !self.stopped).and_then(|alive| alive.core.as_mut()) else {
            return Vec::new();
        };
        let mut effects = Vec::new();
        core.handle(own, Input::Keys(&wanted), &mut effects);
        self.carry_out(now, effects)
    }

    pub fn generations(&self) -> Generations {
        self.keys.generations()
    }

    pub fn status(&self, now: Time) -> Option<Status> {
        self.alive.as_ref()?.core.as_ref().map(|core| core.status(self.own(now)))
    }

    /// The file is lost: the next process begins where a new rack does.
    pub fn lose_file(&mut self) {
        self.wanted = None;
    }

    /// The agent's word that a node's process is gone.
    pub fn stopped(&mut self, now: Time, node: NodeId, boot: BootId) -> Vec<LmOut> {
        let bytes = frame::encode(&Message::Stopped(Stopped { node, boot }), &self.keys.plane, Plane::A);
        let to = self.control_address(Plane::A);
        self.receive(now, &Datagram { from: to, to, bytes: bytes.into() })
    }

    /// A datagram arrived at one of its sockets.
    pub fn receive(&mut self, now: Time, datagram: &Datagram) -> Vec<LmOut> {
        let (control, egress) = (self.is_control(datagram.to), self.is_egress(datagram.to));
        let own = self.own(now);
        let reads = !self.stopped && self.alive.as_ref().is_some_and(|a| a.reads || control);
        let Some(alive) = self.alive.as_mut().filter(|_| reads) else {
            if self.waiting.len() < SOCKET_HOLDS {
                self.waiting.push(datagram.clone());
            }
            return Vec::new();
        };
        if control {
            let Some(core) = &mut alive.core else { return Vec::new() };
            let mut effects = Vec::new();
            let epoch = alive.table.epoch();
            let Some(bytes) = Tampering { plant: self.plant, keys: &self.keys, nonce: self.nonce, epoch }
                .of(&datagram.bytes, &mut self.boots)
            else {
                return Vec::new();
            };
            core.handle(own, Input::Datagram { from: datagram.from, bytes: &bytes }, &mut effects);
            return self.carry_out(now, effects);
        }
        if egress {
            return outward(alive, own, datagram).into_iter().collect();
        }
        let lm = &self.rack.load_managers[0];
        let from = |plane| SocketAddr::new(lm.planes.address(plane).unwrap_or(lm.planes.a), lm.egress_port);
        inward(alive, own, datagram, self.vip, from).into_iter().collect()
    }

    fn carry_out(&mut self, now: Time, effects: Vec<Effect>) -> Vec<LmOut> {
        let mut out = Vec::new();
        let mut opened = false;
        for effect in effects {
            match effect {
                Effect::Publish(table) => {
                    let Some(alive) = &mut self.alive else { continue };
                    opened |= !alive.reads;
                    alive.reads = true;
                    alive.table = table;
                }
                Effect::Send { plane, to, bytes } => {
                    if self.plant.is_some()
                        && let Ok(Message::Beacon(beacon)) = frame::decode(&bytes, &self.keys.plane)
                    {
                        self.nonce = beacon.nonce;
                    }
                    out.push(LmOut::Inside { from: self.control_address(plane), to, bytes, sip: false });
                }
                // What waits on the control socket while it is dead or asleep is from before.
                Effect::DiscardQueued => {
                    let waiting = std::mem::take(&mut self.waiting);
                    self.waiting = waiting.into_iter().filter(|d| !self.is_control(d.to)).collect();
                }
                Effect::Happened(_) => {}
            }
        }
        if opened {
            for datagram in std::mem::take(&mut self.waiting) {
                if !self.is_control(datagram.to) {
                    out.extend(self.receive(now, &datagram));
                }
            }
        }
        out
    }
}

/// Bugs planted in what the load manager's core hears; without one, everything passes as it is.
struct Tampering<'a> {
    plant: Option<Plant>,
    keys: &'a Keys,
    /// Of the newest beacon.
    nonce: u64,
    epoch: Epoch,
}

impl Tampering<'_> {
    /// `None`: it is not heard at all.
    fn of(&self, bytes: &Bytes, boots: &mut BTreeMap<NodeId, BootId>) -> Option<Bytes> {
        let Some(plant) = self.plant else { return Some(bytes.clone()) };
        if !heartbeat::is_heartbeat(bytes) {
            let report = matches!(frame::decode(bytes, &self.keys.plane), Ok(Message::Report(_)));
            return (plant != Plant::LearnsNothing || !report).then(|| bytes.clone());
        }
        let mut beat = heartbeat::decode(bytes, &self.keys.plane, false).ok()?;
        let (node, v2) = (beat.node, beat.v2.as_mut()?);
        match plant {
            Plant::ReturnOutsideAnEpoch => v2.epoch = v2.epoch.max(self.epoch),
            Plant::AnyNonce => v2.beacon_nonce = self.nonce,
            Plant::NewBootIsNoDeath => {
                let first = *boots.entry(node).or_insert(v2.boot);
                v2.sequence += (v2.boot.0 - first.0) << 32;
                v2.boot = first;
            }
            _ => return Some(bytes.clone()),
        }
        Some(heartbeat::encode(&beat, &self.keys.plane).into())
    }
}

/// From outside to a node.
fn inward(
    alive: &Alive,
    now: Time,
    datagram: &Datagram,
    vip: SocketAddr,
    inside: impl Fn(Plane) -> SocketAddr,
) -> Option<LmOut> {
    let mut scratch = Scratch::default();
    match ingress(&alive.gate, &alive.table, now, &datagram.bytes, datagram.from, ListenerId(0), &mut scratch) {
        Verdict::ToNode { plane, to, .. } => {
            let bytes = [scratch.written(), &datagram.bytes].concat().into();
            Some(LmOut::Inside { from: inside(plane), to, bytes, sip: true })
        }
        Verdict::Reply => Some(LmOut::Outside {
            from: vip,
            to: datagram.from,
            bytes: Bytes::copy_from_slice(scratch.written()),
            of: None,
        }),
        Verdict::Unavailable | Verdict::Full => {
            let bytes = unavailable(&alive.gate, &datagram.bytes, datagram.from)?;
            Some(LmOut::Outside { from: vip, to: datagram.from, bytes, of: None })
        }
        Verdict::TooLarge(_) => {
            let bytes = too_large(&alive.gate, &datagram.bytes, datagram.from)?;
            Some(LmOut::Outside { from: vip, to: datagram.from, bytes, of: None })
        }
        Verdict::KeepAlive | Verdict::Drop(_) => None,
    }
}

/// From a node to the outside.
fn outward(alive: &Alive, now: Time, datagram: &Datagram) -> Option<LmOut> {
    let outgoing = egress(&alive.gate, &alive.table, now, &datagram.bytes).ok()?;
    let from = *alive.gate.listeners.get(usize::from(outgoing.listener.0))?;
    Some(LmOut::Outside {
        from,
        to: outgoing.to,
        bytes: Bytes::copy_from_slice(outgoing.message),
        of: Some(datagram.clone()),
    })
}
