//! One worker's core (its engine, what it keeps for backups, its recorder) and the load generator's engine, face to face:
//! each call is the thirteen messages of a real one. There are no backups. Only what happens inside the core is counted.

use super::counting_allocator::{live, made};
use bytes::Bytes;
use cc_node::core::Core;
use cc_node::effect::{Effect, Input};
use cc_node::node::{NodeSetup, View};
use common::config::Rack;
use common::ids::{BootId, Epoch, Level, ListenerId, NodeId};
use common::keys::{Keys, RackKey};
use common::location::{Aor, Binding, Bindings, LogTime, Subscriber};
use common::placement::Placements;
use common::time::{Duration, Time, WallMillis};
use common::wire::proxy::{ProxyHeader, Sent};
use siprack::load::{Engine, Kind, Pace, Plan, Side, Users, Wire};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

const RACK: &str = "name: bench
listeners: [ { address: 192.0.2.1, port: 5060, transport: udp } ]
domains: [ { name: rack.test, auth: none, provisioning: open } ]
limits: { transactions: 10000000, calls: 10000000 }
one_machine: { nodes: 1 }
";
const WALL: WallMillis = WallMillis(1_800_000_000_000);
const VIP: &str = "192.0.2.1:5060";
const CALLER: &str = "198.51.100.7:5061";
const CALLEE: &str = "198.51.100.7:5062";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|_| SocketAddr::from(([192, 0, 2, 1], 5060)))
}

/// Everybody is registered at the called side's address.
struct Everybody {
    placements: Placements,
    bindings: Arc<Bindings>,
}

impl Everybody {
    fn new() -> Everybody {
        let binding = Binding {
            contact: format!("sip:load1@{CALLEE}"),
            q_thousandths: 1000,
            expires_at: LogTime(u64::MAX),
            received: address(CALLEE),
            listener: ListenerId(0),
            path: vec![],
            instance: String::new(),
            user_agent: String::new(),
            version: Level(1),
        };
        let bindings = Bindings { aor: Aor::new("load1", "rack.test"), bindings: vec![binding] };
        Everybody { placements: Placements::none(), bindings: Arc::new(bindings) }
    }
}

impl View for Everybody {
    fn bindings(&self, _: &Aor) -> Option<Arc<Bindings>> {
        Some(self.bindings.clone())
    }

    fn subscriber(&self, _: &Aor) -> Option<Arc<Subscriber>> {
        None
    }

    fn log_time(&self, now: Time) -> LogTime {
        LogTime(now.millis())
    }

    fn placements(&self) -> &Placements {
        &self.placements
    }
}

#[derive(Default)]
struct Air(VecDeque<(SocketAddr, SocketAddr, Vec<u8>)>);

impl Wire for Air {
    fn send(&mut self, from: Side, to: SocketAddr, message: &[u8]) {
        let from = address(if from == Side::Caller { CALLER } else { CALLEE });
        self.0.push_back((from, to, message.to_vec()));
    }
}

/// What happened inside the node.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inside {
    pub messages_in: u64,
    pub messages_out: u64,
    pub allocations: u64,
    /// Allocated inside and not given back inside.
    pub octets: i64,
    pub spent: std::time::Duration,
}

pub struct Stage {
    engine: Engine,
    core: Core,
    view: Everybody,
    air: Air,
    effects: Vec<Effect>,
    now: Time,
    pub inside: Inside,
}

impl Stage {
    pub fn new() -> Result<Stage, String> {
        let rack = Rack::from_yaml("bench.yaml", RACK).map_err(|e| e.to_string())?.expand();
        let keys = Arc::new(Keys::derive(&RackKey([5; 32])));
        let setup = NodeSetup { id: NodeId(1), boot: BootId(1), worker: 0, rack: Arc::new(rack), keys };
        let plan = Plan {
            kind: Kind::Calls,
            target: address(VIP),
            domain: "rack.test".into(),
            users: Users::new("load1", 1),
            password: None,
            caller: address(CALLER),
            callee: address(CALLEE),
            pace: Pace { rate: None, window: 1, count: Some(0), duration: None },
            ring: Duration::ZERO,
            hold: Duration::ZERO,
            run: 7,
        };
        Ok(Stage {
            engine: Engine::new(plan),
            core: Core::new(setup),
            view: Everybody::new(),
            air: Air::default(),
            effects: Vec::new(),
            now: Time(1_000_000),
            inside: Inside::default(),
        })
    }

    /// Calls in a window of their own, at most; how many ended well. Transactions linger as they do in service: between
    /// calls a tenth of a millisecond passes, as at 10,000 calls a second.
    pub fn calls(&mut self, count: u64) -> u64 {
        let pace = Pace { rate: None, window: 1, count: Some(count), duration: None };
        self.engine.turn_to(Kind::Calls, pace);
        while !(self.engine.is_done(self.now) && self.air.0.is_empty()) {
            self.now = self.now + Duration::from_micros(100);
            self.engine.tick(self.now, &mut self.air);
            self.deliver();
            self.tick();
        }
        self.engine.tally().finished
    }

    /// `count` calls, answered and acknowledged and not ended, then so much time that nothing but the calls is left.
    pub fn hold(&mut self, count: u64) -> u64 {
        let pace = Pace { rate: None, window: count, count: Some(count), duration: None };
        self.engine.turn_to(Kind::Calls, pace);
        self.engine.hold(Duration::from_secs(100_000));
        let began = self.engine.tally().answered;
        while self.engine.tally().answered - began < count || !self.air.0.is_empty() {
            self.now = self.now + Duration::from_micros(100);
            self.engine.tick(self.now, &mut self.air);
            self.deliver();
        }
        let until = self.now + Duration::from_secs(70);
        while let Some(due) = self.core.next_due().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.tick();
        }
        self.core.node.stats().calls_established
    }

    fn tick(&mut self) {
        if self.core.next_due().is_some_and(|due| due <= self.now) {
            self.inside(|stage| stage.core.tick(stage.now, WALL, &stage.view, &mut stage.effects));
        }
    }

    fn deliver(&mut self) {
        while let Some((from, to, message)) = self.air.0.pop_front() {
            if to != address(VIP) {
                let side = if to == address(CALLER) { Side::Caller } else { Side::Callee };
                self.engine.handle(self.now, side, from, &message, &mut self.air);
                continue;
            }
            self.inside.messages_in += 1;
            // The copy out of the receive buffer is the node's, too.
            let datagram = || Input::Datagram { header: header(from), message: Bytes::copy_from_slice(&message) };
            self.inside(|stage| stage.core.handle(stage.now, WALL, &stage.view, datagram(), &mut stage.effects));
        }
    }

    /// Counts what this takes, and carries out what comes of it.
    fn inside(&mut self, work: impl FnOnce(&mut Stage)) {
        let (began, allocated, octets) = (Instant::now(), made(), live());
        work(self);
        self.inside.allocations += made() - allocated;
        self.inside.octets += live() as i64 - octets as i64;
        self.inside.spent += began.elapsed();
        self.carry_out();
    }

    /// What carrying effects out gives back is the node's, too.
    fn carry_out(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        let mut written = Vec::new();
        for effect in effects.drain(..) {
            match &effect {
                Effect::Send { to, bytes, .. } => {
                    self.inside.messages_out += 1;
                    self.air.0.push_back((address(VIP), *to, bytes.to_vec()));
                }
                Effect::Cdr { call, .. } => written.push(call.clone()),
                _ => {}
            }
            let octets = live();
            drop(effect);
            self.inside.octets += live() as i64 - octets as i64;
        }
        self.effects = effects;
        for call in written {
            self.inside(|stage| {
                stage.core.handle(stage.now, WALL, &stage.view, Input::Written { call }, &mut stage.effects);
            });
        }
    }

    /// Octets that the node keeps, beside its tables' first rooms.
    pub fn node_octets(&self) -> u64 {
        self.inside.octets.max(0) as u64
    }
}

fn header(source: SocketAddr) -> ProxyHeader {
    ProxyHeader::ingress(source, address(VIP), ListenerId(0), BootId(1), Epoch(1), Sent::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_thirteen_messages_and_held_calls_are_all_there() {
        let mut stage = Stage::new().expect("a stage");
        assert_eq!(stage.calls(20), 20);
        assert_eq!((stage.inside.messages_in, stage.inside.messages_out), (120, 140));
        assert_eq!(stage.hold(50), 50);
    }
}
