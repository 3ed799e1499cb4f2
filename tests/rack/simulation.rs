//! The rack under one virtual clock. The next thing that is due, wherever it is, happens next; hosts that are due at the
//! same moment act in a fixed order.

use crate::chance::Chance;
use crate::hosts::dns::DnsHost;
use crate::hosts::load_manager::{LmOut, LoadManagerHost};
use crate::hosts::location::{LocationHost, StreamEvent};
use crate::hosts::node::{NodeHost, Out};
use crate::hosts::phone::PhoneHost;
use crate::nat::Nat;
use crate::network::{Conditions, Datagram, Network, Strike};
use bytes::Bytes;
use cc_node::effect::Cdr;
use common::config::Rack;
use common::ids::{BootId, HistoryId, NodeId};
use common::keys::{Keys, RackKey};
use common::location::{Aor, Command, Subscriber};
use common::time::{Duration, Time, WallMillis};
use siprack::ladder::{Ladder, label};
use siprack::phone::{Event, Order, Phone, Pickup, Settings};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

const RACK: &str = include_str!("rack.yaml");
/// The wall clock at the start of a run.
const WALL: u64 = 1_800_000_000_000;

/// A phone of the simulation, in the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PhoneId(pub usize);

pub struct Simulation {
    now: Time,
    chance: Chance,
    network: Network,
    rack: Arc<Rack>,
    keys: Arc<Keys>,
    lm: LoadManagerHost,
    nodes: Vec<NodeHost>,
    location: LocationHost,
    dns: DnsHost,
    phones: Vec<PhoneHost>,
    boots: u64,
    cdrs: Vec<(Time, NodeId, Cdr)>,
    ladder: Ladder,
    /// Every SIP datagram between a phone and the VIP, as the wire carried it.
    wire: Vec<(Time, SocketAddr, SocketAddr, Bytes)>,
}

impl Simulation {
    /// Three nodes, one load manager, one location server with the phones 1001 to 1020, started and level.
    pub fn new(seed: u64) -> Simulation {
        let rack = Rack::from_yaml("rack.yaml", RACK).unwrap_or_else(|e| panic!("{e}"));
        let rack = Arc::new(rack.expand());
        let keys = Arc::new(Keys::derive(&RackKey([7; 32])));
        let nodes: Vec<NodeHost> =
            rack.cc_nodes.iter().map(|c| NodeHost::new(rack.clone(), keys.clone(), c.clone())).collect();
        let ids = nodes.iter().map(NodeHost::id).collect();
        let mut simulation = Simulation {
            now: Time(1_000_000),
            chance: Chance::new(seed),
            network: Network::new(Conditions::CLEAN),
            lm: LoadManagerHost::new(rack.clone(), keys.clone()),
            location: LocationHost::new((*keys).clone(), ids, HistoryId(42)),
            dns: DnsHost::new(),
            rack,
            keys,
            nodes,
            phones: Vec::new(),
            boots: 1,
            cdrs: Vec::new(),
            ladder: Ladder::new(&[]),
            wire: Vec::new(),
        };
        simulation.bring_up();
        simulation
    }

    fn bring_up(&mut self) {
        let (now, wall) = (self.now, self.wall());
        self.location.start(now, wall);
        for user in 1001..=1020 {
            let subscriber = subscriber(&user.to_string(), "rack.test", "secret");
            self.location.command(now, wall, Command::PutSubscriber { subscriber, only_new: true });
        }
        self.start_lm();
        for n in 0..self.nodes.len() {
            self.start_node(n);
        }
        let started = self.run_until(Duration::from_secs(10), |s| s.lm.live().len() == s.nodes.len());
        assert!(started, "the rack did not start:\n{}", self.ladder);
    }

    pub fn now(&self) -> Time {
        self.now
    }

    fn wall(&self) -> WallMillis {
        WallMillis(WALL + self.now.millis())
    }

    pub fn set_conditions(&mut self, conditions: Conditions) {
        self.network.set_conditions(conditions);
    }

    pub fn set_strike(&mut self, strike: Strike) {
        self.network.set_strike(strike);
    }

    pub fn sip_datagrams(&self) -> u64 {
        self.network.sip_datagrams()
    }

    fn boot(&mut self) -> BootId {
        self.boots += 1;
        BootId(self.boots)
    }

    pub fn start_node(&mut self, n: usize) {
        let (boot, now) = (self.boot(), self.now);
        self.nodes[n].start(now, boot);
        self.note(format!("node {} starts", self.nodes[n].id()));
    }

    /// kill -9; the agent, if it is there, says `stopped` at once.
    pub fn kill_node(&mut self, n: usize, agent: bool) {
        let id = self.nodes[n].id();
        let boot = self.nodes[n].boot();
        self.nodes[n].kill();
        self.location.disconnect(id);
        self.dns.forget(id);
        self.note(format!("node {id} is killed"));
        if let (true, Some(boot)) = (agent, boot) {
            let now = self.now;
            let out = self.lm.stopped(now, id, boot);
            self.lm_out(out);
        }
    }

    pub fn start_lm(&mut self) {
        let (boot, now, nonce) = (self.boot(), self.now, self.chance.number());
        self.lm.start(now, boot, nonce);
        self.note("the load manager starts".to_string());
    }

    pub fn kill_lm(&mut self) {
        self.lm.kill();
        self.note("the load manager is killed".to_string());
    }

    pub fn start_location(&mut self) {
        let (now, wall) = (self.now, self.wall());
        self.location.start(now, wall);
        self.note("the location server starts".to_string());
    }

    pub fn kill_location(&mut self) {
        let (now, wall) = (self.now, self.wall());
        let nodes = self.location.kill();
        self.note("the location server is killed".to_string());
        for node in nodes {
            self.stream(now, wall, node, StreamEvent::Broken);
        }
    }

    /// A phone at a public address of its own.
    pub fn phone(&mut self, user: &str, pickup: Pickup) -> PhoneId {
        let host = Ipv4Addr::new(198, 51, 100, 10 + self.phones.len() as u8);
        self.add_phone(user, pickup, SocketAddr::new(IpAddr::V4(host), 5060), None)
    }

    /// The same with a password of its own, right or wrong.
    pub fn phone_with_password(&mut self, user: &str, password: &str, pickup: Pickup) -> PhoneId {
        let id = self.phone(user, pickup);
        let settings = Settings { password: password.to_string(), ..self.phones[id.0].phone.settings().clone() };
        self.phones[id.0].phone = Phone::new(settings);
        id
    }

    /// A phone at 192.168.1.10 behind a router of its own.
    pub fn phone_behind_nat(&mut self, user: &str, pickup: Pickup) -> PhoneId {
        let public = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10 + self.phones.len() as u8));
        self.add_phone(user, pickup, SocketAddr::from(([192, 168, 1, 10], 5060)), Some(Nat::new(public)))
    }

    fn add_phone(&mut self, user: &str, pickup: Pickup, local: SocketAddr, nat: Option<Nat>) -> PhoneId {
        let settings = Settings {
            user: user.to_string(),
            domain: "rack.test".to_string(),
            password: "secret".to_string(),
            local,
            proxy: self.vip(),
            pickup,
            seed: self.chance.number(),
        };
        self.phones.push(PhoneHost { phone: Phone::new(settings), nat, events: Vec::new() });
        PhoneId(self.phones.len() - 1)
    }

    /// Gives a phone an order; a call's Call-ID comes back.
    pub fn order(&mut self, phone: PhoneId, order: Order) -> Option<String> {
        let mut effects = Vec::new();
        let now = self.now;
        let call_id = self.phones[phone.0].phone.order(now, order, &mut effects);
        self.phone_effects(phone, effects);
        call_id
    }

    pub fn events(&self, phone: PhoneId) -> impl Iterator<Item = &Event> {
        self.phones[phone.0].events.iter().map(|(_, event)| event)
    }

    pub fn saw(&self, phone: PhoneId, wanted: impl Fn(&Event) -> bool) -> bool {
        self.events(phone).any(wanted)
    }

    pub fn established(&self, phone: PhoneId) -> Vec<String> {
        self.phones[phone.0].phone.established()
    }

    pub fn cdrs(&self) -> &[(Time, NodeId, Cdr)] {
        &self.cdrs
    }

    pub fn wire(&self) -> &[(Time, SocketAddr, SocketAddr, Bytes)] {
        &self.wire
    }

    pub fn vip(&self) -> SocketAddr {
        self.rack.listeners[0].socket_address()
    }

    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    pub fn nodes(&self) -> &[NodeHost] {
        &self.nodes
    }

    pub fn lm(&self) -> &LoadManagerHost {
        &self.lm
    }

    /// The name server: its zone and its faults.
    pub fn dns(&mut self) -> &mut DnsHost {
        &mut self.dns
    }

    pub fn location(&self) -> &LocationHost {
        &self.location
    }

    pub fn note(&mut self, text: String) {
        self.ladder.note(self.now.0 as f64 / 1000.0, text);
    }

    /// Runs until `done` or for `patience`; whether it was done.
    pub fn run_until(&mut self, patience: Duration, done: impl Fn(&Simulation) -> bool) -> bool {
        let end = self.now + patience;
        while !done(self) {
            let Some(next) = self.next_due().filter(|at| *at <= end) else {
                self.now = end;
                return done(self);
            };
            self.now = self.now.max(next);
            self.turn();
        }
        true
    }

    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(duration, |_| false);
    }

    fn next_due(&self) -> Option<Time> {
        let nodes = self.nodes.iter().filter_map(NodeHost::next_due);
        let phones = self.phones.iter().filter_map(|p| p.phone.next_due());
        let others = [self.network.next_arrival(), self.lm.next_due(), self.location.next_due(), self.dns.next_due()];
        nodes.chain(phones).chain(others.into_iter().flatten()).min()
    }

    /// Everything that is due now, each host in its turn.
    fn turn(&mut self) {
        let (now, wall) = (self.now, self.wall());
        while let Some(datagram) = self.network.arrive(now) {
            self.deliver(datagram);
        }
        for (node, event) in self.location.tick(now, wall) {
            self.stream(now, wall, node, event);
        }
        for (node, ask, answer) in self.dns.tick(now) {
            if let Some(n) = self.nodes.iter().position(|host| host.id() == node) {
                let out = self.nodes[n].dns(now, wall, ask, answer, &mut self.location);
                self.node_out(n, out);
            }
        }
        if self.lm.next_due().is_some_and(|at| at <= now) {
            let out = self.lm.tick(now);
            self.lm_out(out);
        }
        for n in 0..self.nodes.len() {
            if self.nodes[n].next_due().is_some_and(|at| at <= now) {
                let out = self.nodes[n].tick(now, wall, &mut self.location);
                self.node_out(n, out);
            }
        }
        for p in 0..self.phones.len() {
            if self.phones[p].phone.next_due().is_some_and(|at| at <= now) {
                let mut effects = Vec::new();
                self.phones[p].phone.tick(now, &mut effects);
                self.phone_effects(PhoneId(p), effects);
            }
        }
    }

    fn stream(&mut self, now: Time, wall: WallMillis, node: NodeId, event: StreamEvent) {
        if let Some(n) = self.nodes.iter().position(|host| host.id() == node) {
            let out = self.nodes[n].stream(now, wall, event, &mut self.location);
            self.node_out(n, out);
        }
    }

    fn deliver(&mut self, datagram: Datagram) {
        let (now, wall) = (self.now, self.wall());
        if self.lm.is_address(datagram.to) {
            let out = self.lm.receive(now, &datagram);
            return self.lm_out(out);
        }
        for n in 0..self.nodes.len() {
            if datagram.to == self.nodes[n].sip_address() || datagram.to == self.nodes[n].control_address() {
                let out = self.nodes[n].receive(now, wall, &datagram, &mut self.location);
                return self.node_out(n, out);
            }
        }
        for p in 0..self.phones.len() {
            if self.phones[p].takes(datagram.to, datagram.from) {
                let mut effects = Vec::new();
                self.phones[p].phone.handle(now, datagram.from, datagram.bytes, &mut effects);
                return self.phone_effects(PhoneId(p), effects);
            }
        }
    }

    fn phone_effects(&mut self, phone: PhoneId, effects: Vec<siprack::phone::Effect>) {
        let now = self.now;
        for (to, bytes) in self.phones[phone.0].keep(now, effects) {
            let from = self.phones[phone.0].outbound(to);
            self.outside(from, to, bytes);
        }
    }

    fn lm_out(&mut self, out: Vec<LmOut>) {
        for out in out {
            match out {
                LmOut::Outside { from, to, bytes } => self.outside(from, to, bytes),
                LmOut::Inside { from, to, bytes, sip } => {
                    self.network.send(self.now, &mut self.chance, Datagram { from, to, bytes }, sip);
                }
            }
        }
    }

    fn node_out(&mut self, n: usize, out: Vec<Out>) {
        let control = self.nodes[n].control_address();
        let from = self.nodes[n].sip_address();
        for out in out {
            match out {
                Out::Egress(bytes) => {
                    let to = self.lm.egress_address();
                    self.network.send(self.now, &mut self.chance, Datagram { from, to, bytes }, true);
                }
                Out::Control(bytes) => {
                    let to = self.lm.control_address();
                    self.network.send(self.now, &mut self.chance, Datagram { from: control, to, bytes }, false);
                }
                Out::Dns { ask, question } => self.dns.ask(self.now, self.nodes[n].id(), ask, question),
                Out::Cdr(cdr) => self.cdrs.push((self.now, self.nodes[n].id(), *cdr)),
            }
        }
    }

    /// A SIP datagram between the VIP and a phone.
    fn outside(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        let (a, b) = (self.name_of(from), self.name_of(to));
        let survived = self.network.send(self.now, &mut self.chance, Datagram { from, to, bytes: bytes.clone() }, true);
        let fate = if survived { "" } else { " (lost)" };
        self.ladder.message(self.now.0 as f64 / 1000.0, &a, &b, format!("{}{fate}", label(&bytes)));
        self.wire.push((self.now, from, to, bytes));
    }

    fn name_of(&self, address: SocketAddr) -> String {
        if self.lm.is_address(address) {
            return "siprack".to_string();
        }
        let phone = self
            .phones
            .iter()
            .find(|p| p.nat.as_ref().map_or(p.phone.settings().local.ip(), Nat::public) == address.ip());
        phone.map_or_else(|| address.to_string(), |p| p.phone.settings().user.clone())
    }

    /// The keys of this rack, for tests that forge or check what carries a MAC.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// How many phones there are, by user, with what they reported: for a failing run's words.
    pub fn story(&self) -> String {
        let events: BTreeMap<&str, &Vec<(Time, Event)>> =
            self.phones.iter().map(|p| (p.phone.settings().user.as_str(), &p.events)).collect();
        format!("{}\n{events:#?}", self.ladder)
    }
}

/// A subscriber as the provisioning API makes it.
fn subscriber(user: &str, domain: &str, password: &str) -> Subscriber {
    location_server::provisioning::digests::subscriber(Aor::new(user, domain), password)
}
