//! The CC Server Table: for each node of the rack file what is configured, which incarnation is heard, and whether it
//! stands in the placement. `Core` owns it; nothing here knows epochs' numbers or sends anything.

use super::flapping::Flapping;
use super::incarnation::{Incarnation, Judged};
use super::refusal::Refusal;
use crate::table::{Reach, Standing};
use common::config::{CcNode, Rack};
use common::ids::{BootId, Epoch, NodeId, Plane, PlaneSet};
use common::keys::Generations;
use common::placement::{Inputs, Member, Policy};
use common::time::Time;
use common::wire::heartbeat::{NodeState, V2};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Incarnations remembered as dead, in the placement's inputs too.
const RETIRED: usize = 8;

/// Why a node left the placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Departure {
    /// Nothing that counts was heard for too long.
    Silent,
    /// The agent reaped the process.
    Stopped,
    /// Another incarnation of it was heard.
    NewIncarnation,
    /// It says itself that it stops.
    Itself,
}

impl Departure {
    pub const ALL: [Departure; 4] =
        [Departure::Silent, Departure::Stopped, Departure::NewIncarnation, Departure::Itself];

    /// Label of `siprack_failovers_total`.
    pub fn label(self) -> &'static str {
        match self {
            Departure::Silent => "silent",
            Departure::Stopped => "stopped",
            Departure::NewIncarnation => "new_incarnation",
            Departure::Itself => "itself",
        }
    }
}

/// What the next epoch should change about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Nothing,
    Enter(BootId),
    Leave(BootId, Departure),
    /// Takes no new calls from now on, or takes them again.
    Drain(bool),
}

pub struct Server {
    pub node: NodeId,
    /// Address on each plane that both it and this load manager have.
    addresses: [Option<IpAddr>; 2],
    control_port: u16,
    sip_port: u16,
    workers: u16,
    class: u8,
    domain: u16,
    weight: u16,
    /// The incarnation that was heard last, unless the agent has said that it is gone.
    pub incarnation: Option<Incarnation>,
    /// The incarnation that stands in the placement.
    pub placed: Option<BootId>,
    /// It is draining in the placement.
    pub drains: bool,
    /// The incarnation that stood there last: if it drains, its calls are waiting for it to come back.
    stood: Option<BootId>,
    pub flapping: Flapping,
    /// The epoch at which it was last out: it may enter, and send, only once it has adopted that. The same for a new
    /// process, which thus gets nothing before it has heard of the death of its predecessor, and for one that was never
    /// in: it must have heard how the others stand.
    pub floor: Epoch,
    /// Which plane the packet path uses for it.
    pub plane: Plane,
    /// When anything with its MAC was received.
    pub last_sign: Option<Time>,
    retired: VecDeque<BootId>,
}

impl Server {
    fn new(node: &CcNode, own: [bool; 2]) -> Server {
        let on = |plane: Plane| node.planes.address(plane).filter(|_| own[plane as usize]);
        Server {
            node: node.id,
            addresses: [on(Plane::A), on(Plane::B)],
            control_port: node.control_port,
            sip_port: node.sip_port,
            workers: node.workers,
            class: node.class,
            domain: node.failure_domain(),
            weight: node.weight,
            incarnation: None,
            placed: None,
            drains: false,
            stood: None,
            flapping: Flapping::default(),
            floor: Epoch(1),
            plane: Plane::A,
            last_sign: None,
            retired: VecDeque::new(),
        }
    }

    /// Where its beacons go.
    pub fn control(&self, plane: Plane) -> Option<SocketAddr> {
        self.addresses[plane as usize].map(|ip| SocketAddr::new(ip, self.control_port))
    }

    /// A heartbeat with a valid MAC that names this node.
    pub fn hear(
        &mut self,
        now: Time,
        from: SocketAddr,
        state: NodeState,
        beat: &V2,
        nonce_age: Option<Duration>,
    ) -> Judged {
        if self.addresses[beat.plane as usize] != Some(from.ip()) {
            return Judged::Refused(Refusal::WrongSource);
        }
        if self.is_retired(beat.boot) {
            return Judged::Refused(Refusal::RetiredBoot);
        }
        self.last_sign = Some(now);
        match &mut self.incarnation {
            Some(incarnation) if incarnation.boot == beat.boot => incarnation.judge(now, state, beat, nonce_age),
            _ => {
                let mut newcomer = Incarnation::new(beat.boot, now);
                let judged = newcomer.judge(now, state, beat, nonce_age);
                if judged == Judged::Counts {
                    self.succeed(newcomer);
                }
                judged
            }
        }
    }

    /// A report of an incarnation that has sent no heartbeat yet: whoever was there before it is gone.
    pub fn introduce(&mut self, now: Time, boot: BootId) {
        if self.incarnation.as_ref().is_none_or(|i| i.boot < boot) {
            self.succeed(Incarnation::new(boot, now));
        }
    }

    fn succeed(&mut self, newcomer: Incarnation) {
        if let Some(old) = self.incarnation.replace(newcomer) {
            self.retire(old.boot);
        }
    }

    /// The agent says that this incarnation's process is gone. False if a later one is known to be gone, too: boot ids grow,
    /// and an agent speaks of the last.
    pub fn stopped(&mut self, boot: BootId) -> bool {
        if self.retired.iter().any(|known| *known > boot) {
            return false;
        }
        self.flapping.explained(boot);
        if self.incarnation.as_ref().is_some_and(|i| i.boot > boot) {
            return true;
        }
        self.retire(boot);
        if self.incarnation.as_ref().is_some_and(|i| i.boot == boot) {
            self.incarnation = None;
        }
        true
    }

    pub fn is_retired(&self, boot: BootId) -> bool {
        self.retired.contains(&boot)
    }

    pub fn retire(&mut self, boot: BootId) {
        if self.is_retired(boot) {
            return;
        }
        if self.retired.len() == RETIRED {
            self.retired.pop_front();
        }
        self.retired.push_back(boot);
    }

    /// What liveness, the node's own word and hold-down ask for.
    pub fn wish(&self, now: Time, down_after: Duration) -> Wish {
        match (self.placed, &self.incarnation) {
            (Some(boot), Some(i)) if i.boot == boot => match i.state {
                _ if !i.is_alive(now, down_after) => Wish::Leave(boot, Departure::Silent),
                NodeState::Started if self.drains => Wish::Drain(false),
                NodeState::Draining if !self.drains => Wish::Drain(true),
                NodeState::Started | NodeState::Draining => Wish::Nothing,
                NodeState::Starting | NodeState::Stopping | NodeState::Stopped => Wish::Leave(boot, Departure::Itself),
            },
            (Some(boot), Some(_)) => Wish::Leave(boot, Departure::NewIncarnation),
            (Some(boot), None) => Wish::Leave(boot, Departure::Stopped),
            (None, Some(i))
                if self.may_enter(i)
                    && i.is_alive(now, down_after)
                    && i.epoch >= self.floor
                    && self.flapping.held_until(now).is_none() =>
            {
                Wish::Enter(i.boot)
            }
            (None, _) => Wish::Nothing,
        }
    }

    /// One that drains comes in only for the calls that it has.
    fn may_enter(&self, incarnation: &Incarnation) -> bool {
        match incarnation.state {
            NodeState::Started => true,
            NodeState::Draining => self.stood == Some(incarnation.boot),
            NodeState::Starting | NodeState::Stopping | NodeState::Stopped => false,
        }
    }

    /// It stands in the placement from the next epoch on.
    pub fn enter(&mut self, boot: BootId) {
        self.placed = Some(boot);
        self.stood = self.placed;
        self.drains = self.incarnation.as_ref().is_some_and(|i| i.state == NodeState::Draining);
    }

    /// When silence alone would make it leave.
    pub fn down_at(&self, down_after: Duration) -> Option<Time> {
        let incarnation = self.incarnation.as_ref().filter(|i| self.placed == Some(i.boot))?;
        incarnation.heard.map(|heard| heard + down_after)
    }

    /// Uses the better plane of those that lead to it. True if that is another than before.
    pub fn choose_plane(&mut self, now: Time) -> bool {
        let Some(incarnation) = &self.incarnation else { return false };
        let there = PlaneSet::of(Plane::ALL.into_iter().filter(|plane| self.addresses[*plane as usize].is_some()));
        let better = self.plane.or_better(incarnation.hears.and(there), incarnation.heard_on(now).and(there));
        std::mem::replace(&mut self.plane, better) != better
    }

    /// A table is being made of what [`Server::reach`] says.
    pub fn stands(&mut self, now: Time) {
        let (placed, drains) = (self.placed, self.drains);
        if let Some(incarnation) = &mut self.incarnation {
            let takes = placed == Some(incarnation.boot) && !drains;
            incarnation.admitted.stands(now, if takes { incarnation.admit } else { 0 });
        }
    }

    /// Another load manager has given it calls until now.
    pub fn was_anothers(&mut self, now: Time) {
        self.incarnation.iter_mut().for_each(|incarnation| incarnation.admitted.unknown_until(now));
    }

    /// Whether something that it had admitted is too old to be repeated since.
    pub fn forgets(&mut self, now: Time) -> bool {
        self.incarnation.as_mut().is_some_and(|incarnation| incarnation.admitted.forgets(now))
    }

    pub fn reach(&self) -> Reach {
        let current = self.incarnation.as_ref().filter(|i| self.placed == Some(i.boot));
        // As it stands in the placement; the state that it says of itself moves it there by the next epoch.
        let standing = match current {
            Some(_) if self.drains => Standing::Draining,
            Some(_) => Standing::Started,
            None => Standing::Out,
        };
        let admit = current.map_or(0, |i| i.admit);
        let admitted = current.map_or(0, |i| i.admitted.highest());
        let address = self.addresses[self.plane as usize].or(self.addresses[0]).or(self.addresses[1]);
        let ports = (0..self.workers).map(|worker| self.sip_port.saturating_add(worker));
        let workers = address.map(|ip| ports.map(|port| SocketAddr::new(ip, port)).collect()).unwrap_or_default();
        let (node, boot, floor, plane) = (self.node, self.placed, self.floor, self.plane);
        Reach { node, boot, standing, admit, admitted, floor, plane, workers }
    }

    fn member(&self) -> Member {
        Member {
            node: self.node,
            weight: self.weight,
            class: self.class,
            domain: self.domain,
            live: self.placed,
            draining: self.placed.is_some() && self.drains,
            retired: self.retired.iter().copied().collect(),
        }
    }
}

pub struct ServerTable {
    pub policy: Policy,
    /// By node id.
    servers: Vec<Server>,
}

impl ServerTable {
    /// `own`: which planes this load manager is on.
    pub fn new(rack: &Rack, own: [bool; 2]) -> ServerTable {
        let mut servers: Vec<Server> = rack.cc_nodes.iter().map(|node| Server::new(node, own)).collect();
        servers.sort_by_key(|s| s.node);
        servers.dedup_by_key(|s| s.node);
        ServerTable { policy: rack.placement, servers }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Server> {
        self.servers.iter_mut()
    }

    /// Nodes of the rack file.
    pub fn count(&self) -> usize {
        self.servers.len()
    }

    pub fn get_mut(&mut self, node: NodeId) -> Option<&mut Server> {
        let at = self.servers.binary_search_by_key(&node, |s| s.node).ok()?;
        self.servers.get_mut(at)
    }

    /// The inputs of a placement in which exactly the placed are live.
    pub fn inputs(&self, keys: Generations) -> Inputs {
        Inputs { policy: self.policy, members: self.servers.iter().map(Server::member).collect(), keys }
    }

    /// Takes over a placement that was learned from the nodes: who is live in it counts as heard now, unless it is known
    /// to be dead. Nodes that are no longer in the rack file are gone. `before`: who was live a short while before.
    pub fn adopt(&mut self, now: Time, epoch: Epoch, inputs: &Inputs, before: impl Fn(NodeId) -> Option<BootId>) {
        for server in &mut self.servers {
            let Some(member) = inputs.members.iter().find(|m| m.node == server.node) else { continue };
            for boot in &member.retired {
                server.retire(*boot);
            }
            server.placed = member.live;
            server.stood = member.live.or_else(|| before(server.node));
            server.drains = member.draining;
            if server.incarnation.as_ref().is_some_and(|i| server.retired.contains(&i.boot)) {
                server.incarnation = None;
            }
            match (member.live, &mut server.incarnation) {
                (Some(live), Some(i)) if i.boot == live && i.counted > 0 => i.heard = Some(now),
                // Nothing was heard of it, or its report alone, which does not say how it is.
                (Some(live), i) if i.as_ref().map_or(!server.retired.contains(&live), |i| i.boot == live) => {
                    *i = Some(Incarnation::learned(live, now, member.draining));
                }
                // It died or was replaced meanwhile: placed, but not what is heard; the first settling removes it.
                (Some(_), _) => {}
                // Out of that placement: it comes in once it knows so.
                (None, _) => server.floor = epoch,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_word_of_a_death_moves_nothing() {
        let rack = Rack::one_machine_default(1).expand();
        let mut table = ServerTable::new(&rack, [true, false]);
        let Some(server) = table.get_mut(NodeId(1)) else { panic!("node 1 is of the rack") };
        assert!((1..=12).all(|boot| server.stopped(BootId(boot))), "each is news");
        let retired = server.retired.clone();
        assert!(server.stopped(BootId(12)), "the agent says it more than once");
        assert!((1..12).all(|boot| !server.stopped(BootId(boot))), "somebody has kept these");
        assert_eq!(server.retired, retired, "and the last ones are remembered still");
    }
}
