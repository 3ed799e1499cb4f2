//! The rack under one virtual clock. The next thing that is due, wherever it is, happens next; hosts that are due at the
//! same moment act in a fixed order.

use crate::chance::Chance;
use crate::hosts::actor::Actor;
use crate::hosts::dns::DnsHost;
use crate::hosts::load_manager::LoadManagerHost;
use crate::hosts::location::LocationHost;
use crate::hosts::node::NodeHost;
use crate::hosts::phone::PhoneHost;
use crate::hosts::relay::Relay;
use crate::hosts::timed::Timed;
use crate::invariants;
use crate::invariants::planes::{Planes, Violation};
use crate::nat::Nat;
use crate::network::{Conditions, Datagram, Network, Strike};
use crate::outsider::Outsider;
use crate::prepared::Prepared;
use crate::site::{Site, SiteOut};
use crate::trail::Trail;
use bytes::Bytes;
use cc_node::effect::{Cdr, Start};
use common::config::Rack;
use common::ids::{BootId, NodeId};
use common::keys::{Keys, RackKey};
use common::location::{Aor, Command};
use common::time::{Duration, Time, WallMillis};
use location_server::provisioning::digests::subscriber;
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

/// A SIP datagram between a VIP and the world, as the wire carried it.
#[derive(Clone, Debug)]
pub struct Carried {
    pub at: Time,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub bytes: Bytes,
    /// False: the network lost it.
    pub survived: bool,
}

pub struct Simulation {
    pub(crate) now: Time,
    pub(crate) chance: Chance,
    pub(crate) network: Network,
    pub(crate) sites: Vec<Site>,
    phones: Vec<Timed<PhoneHost>>,
    pub(crate) actors: Vec<Actor>,
    pub(crate) relays: Vec<Relay>,
    boots: u64,
    pub(crate) cdrs: Vec<(Time, NodeId, Cdr)>,
    starts: Vec<Start>,
    ladder: Ladder,
    wire: Vec<Carried>,
    trail: Trail,
    /// None in racks that stand: nobody beats.
    pub(crate) planes: Option<Planes>,
    pub(crate) outsider: Option<Outsider>,
    /// What is done at its time, in the order in which it was asked for.
    plans: BTreeMap<(Time, u64), Plan>,
    planned: u64,
    /// By how much the wall clock of every host has jumped.
    pub(crate) jumped_ms: i64,
    /// More may be dead at a time than the rack promises to outlive.
    pub(crate) storm: bool,
    /// A verdict was not passed: nobody need hear of it again.
    condemned: bool,
}

/// What is to be done to a simulation later.
pub type Plan = Box<dyn FnOnce(&mut Simulation)>;

impl Simulation {
    /// Three nodes, one load manager, one location server with the phones 1001 to 1020, started and level.
    pub fn new(seed: u64) -> Simulation {
        Simulation::of_rack(RACK, seed)
    }

    /// The rack of this file, started and level.
    pub fn of_rack(yaml: &str, seed: u64) -> Simulation {
        let rack = Rack::from_yaml("rack.yaml", yaml).unwrap_or_else(|e| panic!("{e}"));
        let site = Site::new(Arc::new(rack.expand()), Arc::new(Keys::derive(&RackKey([7; 32]))));
        let mut simulation = Simulation::of(vec![site], seed);
        simulation.planes = Some(Planes::default());
        simulation.bring_up();
        simulation
    }

    /// Racks that stand already, in which nobody dies: only SIP and the location log move.
    pub fn steady(racks: &[&Prepared], seed: u64) -> Simulation {
        let mut simulation = Simulation::of(Vec::new(), seed);
        simulation.set_conditions(Conditions::STRAIGHT);
        let (now, wall) = (simulation.now, simulation.wall());
        simulation.sites = racks.iter().map(|prepared| Site::steady(prepared, now, wall)).collect();
        let level = simulation.run_until(Duration::from_secs(10), Simulation::is_level);
        assert!(level, "the replicas did not become level");
        simulation
    }

    fn of(sites: Vec<Site>, seed: u64) -> Simulation {
        Simulation {
            now: Time(1_000_000),
            chance: Chance::new(seed),
            network: Network::new(Conditions::CLEAN),
            sites,
            phones: Vec::new(),
            actors: Vec::new(),
            relays: Vec::new(),
            boots: 1,
            cdrs: Vec::new(),
            starts: Vec::new(),
            ladder: Ladder::new(&[]),
            wire: Vec::new(),
            trail: Trail::default(),
            planes: None,
            outsider: None,
            plans: BTreeMap::new(),
            planned: 0,
            jumped_ms: 0,
            storm: false,
            condemned: false,
        }
    }

    fn bring_up(&mut self) {
        let (now, wall) = (self.now, self.wall());
        self.sites[0].start_location(now, wall);
        self.start_lm();
        for n in 0..self.nodes().len() {
            self.start_node(n);
        }
        let started = self.run_until(Duration::from_secs(10), |s| s.lm().live().len() == s.nodes().len());
        assert!(started, "the rack did not start:\n{}", self.ladder);
    }

    /// Every replica is at its server's level.
    fn is_level(&self) -> bool {
        self.sites.iter().all(|site| {
            let level = site.location.server().map(|server| server.store().level());
            site.nodes.iter().all(|node| node.replica().map(|replica| replica.status().level) == level)
        })
    }

    pub fn now(&self) -> Time {
        self.now
    }

    pub fn chance(&mut self) -> &mut Chance {
        &mut self.chance
    }

    pub(crate) fn wall(&self) -> WallMillis {
        WallMillis((WALL + self.now.millis()).saturating_add_signed(self.jumped_ms))
    }

    pub fn set_conditions(&mut self, conditions: Conditions) {
        self.network.set_conditions(conditions);
    }

    /// Does this after so long, whatever the ladder is waiting for then.
    pub fn later(&mut self, after: Duration, plan: impl FnOnce(&mut Simulation) + 'static) {
        self.planned += 1;
        self.plans.insert((self.now + after, self.planned), Box::new(plan));
    }

    /// When the last of what was planned is done.
    pub fn planned_until(&self) -> Time {
        self.plans.last_key_value().map_or(self.now, |((at, _), _)| *at)
    }

    pub fn set_strike(&mut self, strike: Strike) {
        self.network.set_strike(strike);
    }

    /// How many datagrams with SIP were lost between these moments.
    pub fn losses(&self, from: Time, to: Time) -> usize {
        self.network.losses(from, to)
    }

    pub fn sip_datagrams(&self) -> u64 {
        self.network.sip_datagrams()
    }

    pub(crate) fn boot(&mut self) -> BootId {
        self.boots += 1;
        BootId(self.boots)
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
            password: "wonderland".to_string(),
            local,
            proxy: self.vip(),
            pickup,
            seed: self.chance.number(),
        };
        self.phones.push(Timed::new(PhoneHost { phone: Phone::new(settings), nat, events: Vec::new() }));
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

    /// Start records that became durable.
    pub fn starts(&self) -> &[Start] {
        &self.starts
    }

    pub fn wire(&self) -> &[Carried] {
        &self.wire
    }

    /// A subscriber, as the provisioning API makes one; every replica knows it when this returns.
    pub fn provision(&mut self, site: usize, user: &str, domain: &str, password: &str) {
        let (now, wall) = (self.now, self.wall());
        let subscriber = subscriber(Aor::new(user, domain), password);
        self.sites[site].location.command(now, wall, Command::PutSubscriber { subscriber, only_new: false });
        self.run_for(Duration::from_millis(20));
        assert!(self.is_level(), "the replicas did not become level");
    }

    pub(crate) fn wire_mut(&mut self) -> &mut Vec<Carried> {
        &mut self.wire
    }

    pub fn vip(&self) -> SocketAddr {
        self.sites[0].vip()
    }

    pub fn is_vip(&self, address: SocketAddr) -> bool {
        self.sites.iter().any(|site| site.vip() == address)
    }

    /// The first rack's name server: its zone and its faults.
    pub fn dns(&mut self) -> &mut DnsHost {
        &mut self.sites[0].dns
    }

    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    pub fn nodes(&self) -> &[Timed<NodeHost>] {
        &self.sites[0].nodes
    }

    pub fn lm(&self) -> &LoadManagerHost {
        &self.sites[0].lm
    }

    pub fn location(&self) -> &LocationHost {
        &self.sites[0].location
    }

    pub fn note(&mut self, text: String) {
        self.trail.note(self.now, &text);
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
        let sites = self.sites.iter().filter_map(Site::next_due);
        let phones = self.phones.iter().filter_map(Timed::next_due);
        let actors = self.actors.iter().filter_map(Actor::next_due);
        let outsider = self.outsider.as_ref().and_then(Outsider::next_due);
        let plan = self.plans.first_key_value().map(|((at, _), _)| *at);
        sites.chain(phones).chain(actors).chain(self.network.next_arrival()).chain(outsider).chain(plan).min()
    }

    /// Everything that is due now, each host in its turn.
    fn turn(&mut self) {
        let now = self.now;
        while let Some(plan) = self.plans.first_entry().filter(|first| first.key().0 <= now) {
            plan.remove()(self);
        }
        let wall = self.wall();
        while let Some(datagram) = self.network.arrive(now) {
            self.deliver(datagram);
        }
        while let Some(datagram) = self.outsiders_next() {
            self.deliver(datagram);
        }
        for s in 0..self.sites.len() {
            let out = self.sites[s].turn(now, wall);
            self.carry_out(out);
        }
        if let Some(planes) = &mut self.planes {
            planes.look(&self.sites[0], now);
        }
        for p in 0..self.phones.len() {
            if self.phones[p].next_due().is_some_and(|at| at <= now) {
                let mut effects = Vec::new();
                self.phones[p].phone.tick(now, &mut effects);
                self.phone_effects(PhoneId(p), effects);
            }
        }
        for a in 0..self.actors.len() {
            if self.actors[a].next_due().is_some_and(|at| at <= now) {
                let sent = self.actors[a].tick(now);
                self.say(self.actors[a].address, sent);
            }
        }
    }

    fn deliver(&mut self, datagram: Datagram) {
        let (now, wall) = (self.now, self.wall());
        if let Some(s) = self.sites.iter().position(|site| site.owns(datagram.to)) {
            let out = self.sites[s].deliver(now, wall, &datagram);
            if let Some(planes) = &mut self.planes {
                planes.heard(&self.sites[s], &datagram);
            }
            return self.carry_out(out);
        }
        if let Some(p) = self.phones.iter().position(|p| p.takes(datagram.to, datagram.from)) {
            let mut effects = Vec::new();
            self.phones[p].phone.handle(now, datagram.from, datagram.bytes, &mut effects);
            return self.phone_effects(PhoneId(p), effects);
        }
        if let Some(a) = self.actors.iter().position(|a| a.address == datagram.to) {
            let sent = self.actors[a].receive(now, datagram.from, datagram.bytes);
            return self.say(datagram.to, sent);
        }
        if let Some(r) = self.relays.iter_mut().find(|r| r.address == datagram.to) {
            let sent = r.receive(datagram.from, datagram.bytes);
            self.say(datagram.to, sent);
        }
    }

    fn phone_effects(&mut self, phone: PhoneId, effects: Vec<siprack::phone::Effect>) {
        let now = self.now;
        for (to, bytes) in self.phones[phone.0].keep(now, effects) {
            let from = self.phones[phone.0].outbound(to);
            self.outside(Datagram { from, to, bytes });
        }
    }

    /// Datagrams of one that is no part of a rack.
    pub(crate) fn say(&mut self, from: SocketAddr, sent: Vec<(SocketAddr, Bytes)>) {
        for (to, bytes) in sent {
            self.outside(Datagram { from, to, bytes });
        }
    }

    pub(crate) fn carry_out(&mut self, out: Vec<SiteOut>) {
        for out in out {
            match out {
                SiteOut::Outside { datagram, of } => {
                    if let (Some(planes), Some(of)) = (&mut self.planes, of) {
                        planes.left(&self.sites[0], self.now, &of);
                    }
                    self.outside(datagram);
                }
                SiteOut::Inside { datagram, sip } => {
                    if let Some(planes) = &mut self.planes {
                        planes.sent(&self.sites[0], self.now, &datagram);
                    }
                    let sent = self.network.spoil(&mut self.chance, datagram.clone());
                    let survived = self.network.send(self.now, &mut self.chance, sent, sip);
                    if self.planes.is_some() {
                        self.trail.inside(self.now, &self.sites[0], &datagram, survived);
                    }
                    if survived {
                        self.overheard(&datagram);
                    }
                }
                SiteOut::Cdr(node, cdr) => self.cdrs.push((self.now, node, *cdr)),
                SiteOut::Start(start) => self.starts.push(*start),
            }
        }
    }

    /// A SIP datagram outside the racks.
    fn outside(&mut self, datagram: Datagram) {
        let Datagram { from, to, bytes } = datagram.clone();
        let survived = self.network.send(self.now, &mut self.chance, datagram, true);
        let (a, b, fate) = (self.name_of(from), self.name_of(to), if survived { "" } else { " (lost)" });
        if self.planes.is_some() {
            self.trail.outside(self.now, &a, &b, &bytes, survived);
        }
        self.ladder.message(self.now.0 as f64 / 1000.0, &a, &b, format!("{}{fate}", label(&bytes)));
        self.wire.push(Carried { at: self.now, from, to, bytes, survived });
    }

    /// What stands above the column of this address.
    pub fn name_of(&self, address: SocketAddr) -> String {
        if let Some(site) = self.sites.iter().find(|site| site.lm.is_address(address)) {
            return if self.sites.len() == 1 { "siprack".to_string() } else { site.rack.name.clone() };
        }
        let actors = self.actors.iter().map(|a| (a.address, &a.name));
        let others = actors.chain(self.relays.iter().map(|r| (r.address, &r.name)));
        if let Some((_, name)) = others.into_iter().find(|(at, _)| *at == address) {
            return name.clone();
        }
        let public = |p: &PhoneHost| p.nat.as_ref().map_or(p.phone.settings().local.ip(), Nat::public);
        let phone = self.phones.iter().find(|p| public(p) == address.ip());
        phone.map_or_else(|| address.to_string(), |p| p.phone.settings().user.clone())
    }

    /// The keys of this rack, for tests that forge or check what carries a MAC.
    pub fn keys(&self) -> &Keys {
        &self.sites[0].keys
    }

    /// How many phones there are, by user, with what they reported: for a failing run's words.
    pub fn story(&self) -> String {
        let events: BTreeMap<&str, &Vec<(Time, Event)>> =
            self.phones.iter().map(|p| (p.phone.settings().user.as_str(), &p.events)).collect();
        format!("{}\n{events:#?}", self.ladder)
    }

    /// The way of one call, planes included, and what happened meanwhile.
    pub fn trail(&self, call_id: &str) -> String {
        self.trail.of(call_id)
    }

    /// The ways of all calls.
    pub fn whole_trail(&self) -> String {
        self.trail.whole()
    }

    /// Whether the load manager has removed an incarnation since it held anything of this call.
    pub fn planes_saw_a_death_of(&self, call_id: &str) -> bool {
        self.planes.as_ref().is_some_and(|planes| planes.is_orphaned(call_id))
    }

    /// From now on more may be dead, cut off or lost at a time than the rack promises to outlive: that a CANCEL silences
    /// whom it was for, and that nothing leaves before a backup can be seen to hold it, is not asked any more.
    pub fn weathers_a_storm(&mut self) {
        self.storm = true;
        self.planes.iter_mut().for_each(Planes::weathers_a_storm);
    }

    /// Whether everything was as it must be so far, on the planes and on the wire (see `invariants`).
    pub fn verdict(&mut self) -> Result<(), String> {
        let Some(planes) = &mut self.planes else { return Ok(()) };
        let found = planes.take_violation().map_or_else(|| invariants::of_the_wire(self), Err);
        self.condemned |= found.is_err();
        found.map_err(|Violation { what, call_id }| format!("{what}\n{}", self.trail(&call_id.unwrap_or_default())))
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        if !std::thread::panicking()
            && !self.condemned
            && let Err(what) = self.verdict()
        {
            panic!("{what}");
        }
    }
}
