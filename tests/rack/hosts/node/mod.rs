//! A simulated call-control node: all of its pure cores, wired as its `io` wires them. A restart makes new ones: nothing
//! but the configuration survives, and that an operator wants it drained.

mod misled;
mod planted;
mod trap;
mod watched;
mod ways;

use crate::hosts::location::{LocationHost, StreamEvent};
use crate::hosts::timed::Due;
use crate::network::Datagram;
use crate::plants::Plant;
use bytes::Bytes;
use cc_node::core::Core;
use cc_node::dns::{DnsAnswer, DnsAsk, Question};
use cc_node::doorman::{Doorman, Refused};
use cc_node::effect::{CallKey, Cdr, Effect, Input, Start};
use cc_node::heartbeat::{Facts, Heart, HeartSetup, LmClock, on_plane};
use cc_node::location::{Client, ClientEffect, ClientSetup, LocalView, Replica, Writer};
use cc_node::node::Node;
use cc_node::overload::Announced;
use cc_node::ownership::Ownership;
use cc_node::ownership::lease::{Gate, Passage};
use cc_node::shadow::courier::Courier;
use cc_node::shadow::words::Post;
use cc_node::station::NodeSetup;
use common::config::{CcNode, Rack};
use common::ids::{BootId, Epoch, NodeId, Plane};
use common::keys::{Generations, Keys, Span, Use};
use common::placement::{Placement, Placements, Placer};
use common::time::{Duration, Time, WallMillis};
use common::wire::frame::{self, Message};
use common::wire::heartbeat::{self, Heartbeat};
use common::wire::proxy::Sent;
use misled::Misled;
use planted::Planted;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use trap::Trap;
use ways::{Outwards, Ways};

/// How long a node waits before it opens its stream again.
const RECONNECT_AFTER: Duration = Duration::from_millis(200);

/// From when a CDR is handed to the file until it is durable there: what comes within 5 ms is synced together.
pub const DISK: Duration = Duration::from_millis(7);

/// What leaves a node.
pub enum Out {
    /// A datagram for the load manager's egress port: a PROXY header and SIP for the outside.
    Egress {
        plane: Plane,
        bytes: Bytes,
    },
    /// A datagram for the load manager's control port.
    Control {
        plane: Plane,
        bytes: Bytes,
    },
    /// A datagram for another node's worker.
    Inside {
        plane: Plane,
        to: SocketAddr,
        bytes: Bytes,
    },
    /// A sealed datagram for another node's worker.
    Shadow {
        plane: Plane,
        to: SocketAddr,
        bytes: Bytes,
    },
    Cdr(Box<Cdr>),
    Start(Box<Start>),
    /// A question to the name server.
    Dns {
        ask: DnsAsk,
        question: Question,
    },
}

/// What reaches a process that does not run.
enum Held {
    Datagram(Datagram),
    Stream(StreamEvent),
    Dns(DnsAsk, DnsAnswer),
}

pub struct NodeHost {
    /// As the rack's own begin.
    born: Arc<Keys>,
    /// Which keys stood when its last process heard of it.
    file: Option<Generations>,
    ways: Ways,
    placer: Placer,
    doorman: Doorman,
    /// What its operator wants.
    draining: bool,
    /// None while it is dead.
    alive: Option<Alive>,
    /// While it is stopped (SIGSTOP): what waits for it.
    held: Option<Vec<Held>>,
    /// While its worker stands still, and its heart beats: what waits for the worker.
    stuck: Option<Vec<Datagram>>,
    plant: Option<Plant>,
    /// Beacons that said nothing any more, and control datagrams that were none.
    stale: u64,
    refused: u64,
    /// Datagrams of other nodes' workers that said nothing.
    unread: u64,
    /// Inputs over which it has panicked.
    panics: u64,
    /// By how much its wall clock has jumped.
    jumped_ms: i64,
}

/// One incarnation.
struct Alive {
    boot: BootId,
    core: Core,
    /// Calls whose CDRs are not durable yet, and when they are.
    spool: VecDeque<(Time, Arc<CallKey>)>,
    /// Starts of calls, which nobody knows to be durable: a death loses those that are not yet.
    starts: VecDeque<(Time, Box<Start>)>,
    courier: Courier,
    misled: Misled,
    /// None in a rack that stands: nobody asks who is alive.
    membership: Option<Membership>,
    gate: Gate,
    /// At the last look there was no lease: timers are held.
    shut: bool,
    /// Datagrams that came while it might not serve, and messages that it might not send.
    refused: u64,
    view: LocalView,
    client: Client,
    reconnect_at: Option<Time>,
}

struct Membership {
    heart: Heart,
    ownership: Ownership,
    /// As the worker has seen it last.
    adopted: Arc<Placements>,
    ticks: u64,
    /// The share of new calls that it takes, and what it has said of it.
    admit: u16,
    announced: Announced,
    planted: Planted,
}

impl Membership {
    fn lease(&self) -> Time {
        self.planted.lease(self.heart.lease())
    }
}

impl Alive {
    /// May it serve? The worker's round begins so; one at least with each heartbeat.
    fn look(&mut self, now: Time) -> Passage {
        let Some(membership) = &self.membership else { return Passage::Open };
        let passage = self.gate.pass(now, membership.lease());
        self.shut = passage == Passage::Shut;
        passage
    }

    fn has_lease(&self, now: Time) -> bool {
        self.membership.as_ref().is_none_or(|membership| now < membership.lease())
    }

    /// The heartbeat that is due. An idle worker ticks before each.
    fn beat(&mut self, now: Time, draining: bool, stuck: bool) -> Option<Heartbeat> {
        let membership = self.membership.as_mut().filter(|m| m.heart.next_due() <= now)?;
        membership.ticks += u64::from(!stuck);
        membership.announced.say(now, membership.admit);
        self.view.most_admitted = membership.announced.most();
        let status = self.client.status();
        let facts = Facts {
            level_once: self.client.was_level(),
            draining,
            epoch: membership.ownership.placement().epoch(),
            history: status.history,
            level: status.level,
            location_sum: status.sum,
            admit: membership.admit,
            strays: self.core.node.strays() as u32,
            ..Facts::default()
        };
        let beat = membership.heart.beat(now, &[membership.ticks], &facts);
        membership.planted.beat(&beat);
        Some(beat)
    }
}

impl Due for NodeHost {
    fn due(&self) -> Option<Time> {
        let alive = self.alive.as_ref().filter(|_| self.held.is_none())?;
        let client = alive.client.next_due();
        let heart = alive.membership.as_ref().map(|m| m.heart.next_due());
        let timers = alive.core.next_due().filter(|_| !alive.shut && self.stuck.is_none());
        let durable = alive.spool.front().map(|(at, _)| *at).into_iter().chain(alive.starts.front().map(|(at, _)| *at));
        let durable = durable.min().filter(|_| self.stuck.is_none());
        let planted = alive.membership.as_ref().and_then(|m| m.planted.next_due());
        let planted = planted.into_iter().chain(alive.misled.next_due()).min();
        [heart, timers, durable, planted, client, alive.reconnect_at].into_iter().flatten().min()
    }
}

impl NodeHost {
    pub fn new(rack: Arc<Rack>, keys: Arc<Keys>, placer: Placer, config: CcNode) -> NodeHost {
        let doorman = Doorman::new(&rack);
        NodeHost {
            born: keys.clone(),
            file: None,
            ways: Ways { rack, keys, config },
            placer,
            doorman,
            draining: false,
            alive: None,
            held: None,
            stuck: None,
            plant: None,
            stale: 0,
            refused: 0,
            unread: 0,
            panics: 0,
            jumped_ms: 0,
        }
    }

    pub fn id(&self) -> NodeId {
        self.ways.config.id
    }

    /// What this node knows of the load manager's clock; in a rack that stands there is one for all.
    fn lm_clock(&self) -> LmClock {
        let membership = self.alive.as_ref().and_then(|alive| alive.membership.as_ref());
        membership.map_or(LmClock::default(), |membership| membership.heart.lm_clock())
    }

    /// Beacons that were stale, and what else came to its control port in vain.
    pub fn beacons_in_vain(&self) -> (u64, u64) {
        (self.stale, self.refused)
    }

    /// Datagrams at its shadow port that said nothing.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    pub fn panics(&self) -> u64 {
        self.panics
    }

    /// Which keys stand for this process.
    pub fn generations(&self) -> Generations {
        self.ways.keys.generations()
    }

    pub fn is_up(&self) -> bool {
        self.alive.is_some()
    }

    pub fn boot(&self) -> Option<BootId> {
        self.alive.as_ref().map(|a| a.boot)
    }

    /// Its worker's address on a plane that it has.
    pub fn sip_address(&self, plane: Plane) -> SocketAddr {
        SocketAddr::new(self.address(plane), self.ways.config.sip_port)
    }

    pub fn control_address(&self, plane: Plane) -> SocketAddr {
        SocketAddr::new(self.address(plane), self.ways.config.control_port)
    }

    /// Where other nodes' workers tell its worker of their calls.
    pub fn shadow_address(&self, plane: Plane) -> SocketAddr {
        SocketAddr::new(self.address(plane), self.ways.config.shadow_port)
    }

    fn address(&self, plane: Plane) -> IpAddr {
        self.ways.config.planes.address(plane).unwrap_or(self.ways.config.planes.a)
    }

    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.ways.config.planes.iter().map(|(_, ip)| ip)
    }

    pub fn replica(&self) -> Option<&Arc<Replica>> {
        self.alive.as_ref().map(|a| &a.view.replica)
    }

    /// The plane of this address of ours.
    fn plane_of(&self, address: SocketAddr) -> Option<Plane> {
        self.ways.config.planes.iter().find(|(_, ip)| *ip == address.ip()).map(|(plane, _)| plane)
    }

    pub fn owns(&self, address: SocketAddr) -> bool {
        let Some(plane) = self.plane_of(address) else { return false };
        [self.sip_address(plane), self.control_address(plane), self.shadow_address(plane)].contains(&address)
    }

    pub fn is_control(&self, address: SocketAddr) -> bool {
        self.plane_of(address).is_some_and(|plane| address == self.control_address(plane))
    }

    pub fn is_shadow(&self, address: SocketAddr) -> bool {
        self.plane_of(address).is_some_and(|plane| address == self.shadow_address(plane))
    }

    pub fn is_stopped(&self) -> bool {
        self.held.is_some()
    }

    pub fn is_stuck(&self) -> bool {
        self.stuck.is_some()
    }

    /// From its next start on.
    pub fn plant(&mut self, plant: Option<Plant>) {
        self.plant = plant;
        let membership = self.alive.iter_mut().filter_map(|alive| alive.membership.as_mut());
        membership.for_each(|membership| membership.planted = Planted::new(plant));
        let id = self.ways.config.id;
        self.alive.iter_mut().for_each(|alive| {
            alive.misled = Misled::new(Post { node: id, boot: alive.boot, worker: 0 }, plant);
        });
    }

    pub fn jump_wall(&mut self, by_ms: i64) {
        self.jumped_ms += by_ms;
    }

    /// Its worker stands still.
    pub fn stick(&mut self) {
        self.stuck.get_or_insert_default();
    }

    /// It goes on, with what has waited.
    pub fn unstick(&mut self, now: Time, wall: WallMillis, location: &mut LocationHost) -> Vec<Out> {
        let waiting = self.stuck.take().unwrap_or_default();
        self.look_at_what_waited(now, wall, &waiting, location)
    }

    /// The worker's first round after a pause: what waited is served, or all of it is dropped unread.
    fn look_at_what_waited(
        &mut self,
        now: Time,
        wall: WallMillis,
        waiting: &[Datagram],
        location: &mut LocationHost,
    ) -> Vec<Out> {
        let (passage, mut out) = self.round(now, wall, location);
        if passage != Passage::Open {
            self.alive.iter_mut().for_each(|alive| alive.refused += waiting.len() as u64);
            return out;
        }
        out.extend(waiting.iter().flat_map(|datagram| self.receive(now, wall, datagram, location)));
        out
    }

    /// The operator's word.
    pub fn drain(&mut self, draining: bool) {
        self.draining = draining;
    }

    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// As if its workers could take only this share of the new calls.
    pub fn admit(&mut self, admit: u16) {
        let Some(alive) = &mut self.alive else { return };
        alive.view.least_admitted = alive.view.least_admitted.min(admit);
        alive.membership.iter_mut().for_each(|membership| membership.admit = admit);
    }

    /// The epoch that it stands under.
    pub fn epoch(&self) -> Option<Epoch> {
        self.alive.as_ref().map(|alive| alive.view.placements.current.epoch())
    }

    /// The worker's engine: for checkers of what is left in it.
    pub fn engine(&self) -> Option<&Node> {
        self.alive.as_ref().map(|a| &a.core.node)
    }

    /// Other nodes' calls of which it keeps something.
    pub fn shadows(&self) -> usize {
        self.alive.as_ref().map_or(0, |a| a.core.shadows.shelf.status().images)
    }

    pub fn start(&mut self, now: Time, boot: BootId) {
        // A process of its own, with keys of its own; which of them stand, beacons tell it.
        self.ways.keys = Arc::new(Keys::clone(&self.born));
        self.file.iter().for_each(|said| self.ways.keys.turn(said));
        let config = &self.ways.config;
        let heart = HeartSetup {
            node: config.id,
            boot,
            sip_port: config.sip_port,
            workers: 1,
            class: config.class,
            domain: config.failure_domain(),
            period: Duration::from_millis(50),
            direct: false,
        };
        let ownership = Ownership::new(config.id, boot, self.placer.clone(), self.ways.keys.clone());
        let placements = ownership.placements().clone();
        let adopted = placements.clone();
        let membership = Membership {
            heart: Heart::new(heart, now),
            ownership,
            adopted,
            ticks: 0,
            admit: u16::MAX,
            announced: Announced::new(Duration::from_millis(u64::from(self.ways.rack.heartbeat.down_after_ms))),
            planted: Planted::new(self.plant),
        };
        self.begin(now, boot, placements, Some(membership));
    }

    /// It stands in a placement that never changes: no heartbeats, no beacons.
    pub fn start_steady(&mut self, now: Time, boot: BootId, placement: Arc<Placement>) {
        self.begin(now, boot, Arc::new(Placements::first(placement)), None);
    }

    fn begin(&mut self, now: Time, boot: BootId, placements: Arc<Placements>, membership: Option<Membership>) {
        let id = self.ways.config.id;
        let setup = NodeSetup { id, boot, worker: 0, rack: self.ways.rack.clone(), keys: self.ways.keys.clone() };
        let writer = Writer::new(&self.ways.keys);
        let replica = writer.replica().clone();
        let us = Post { node: id, boot, worker: 0 };
        self.alive = Some(Alive {
            boot,
            core: Core::new(setup),
            spool: VecDeque::new(),
            starts: VecDeque::new(),
            courier: Courier::new(us, &self.ways.rack),
            misled: Misled::new(us, self.plant),
            shut: membership.is_some(),
            membership,
            gate: Gate::new(now),
            refused: 0,
            view: LocalView::new(replica, placements),
            client: Client::new(ClientSetup::new(id, boot), writer),
            reconnect_at: Some(now),
        });
    }

    pub fn kill(&mut self) {
        self.alive = None;
        self.held = None;
        self.stuck = None;
    }

    /// SIGSTOP: it does nothing, and what comes waits in its sockets.
    pub fn stop(&mut self) {
        self.held.get_or_insert_default();
    }

    /// SIGCONT.
    pub fn resume(&mut self, now: Time, wall: WallMillis, location: &mut LocationHost) -> Vec<Out> {
        let (mut out, mut waiting) = (Vec::new(), Vec::new());
        for held in self.held.take().unwrap_or_default() {
            out.extend(match held {
                Held::Datagram(datagram) if !self.is_control(datagram.to) => {
                    waiting.push(datagram);
                    Vec::new()
                }
                Held::Datagram(datagram) => self.receive(now, wall, &datagram, location),
                Held::Stream(event) => self.stream(now, wall, event, location),
                Held::Dns(ask, answer) => self.dns(now, wall, ask, answer, location),
            });
        }
        out.extend(self.look_at_what_waited(now, wall, &waiting, location));
        out
    }

    /// Datagrams that came while it might not serve, and messages that it might not send.
    pub fn refused(&self) -> u64 {
        self.alive.as_ref().map_or(0, |alive| alive.refused)
    }

    /// A datagram came in on the plane.
    pub fn receive(
        &mut self,
        now: Time,
        wall: WallMillis,
        datagram: &Datagram,
        location: &mut LocationHost,
    ) -> Vec<Out> {
        if let Some(held) = &mut self.held {
            held.push(Held::Datagram(datagram.clone()));
            return Vec::new();
        }
        if let Some(plane) = self.plane_of(datagram.to).filter(|_| self.is_control(datagram.to)) {
            return self.control(now, wall, plane, &datagram.bytes, location);
        }
        if let Some(stuck) = &mut self.stuck {
            stuck.push(datagram.clone());
            return Vec::new();
        }
        let (passage, mut out) = self.round(now, wall, location);
        if let Some(plane) = self.plane_of(datagram.to).filter(|plane| datagram.to == self.shadow_address(*plane)) {
            out.extend(self.packet(now, wall, (plane, datagram.from), &datagram.bytes, location));
            return out;
        }
        if passage != Passage::Open {
            self.alive.iter_mut().for_each(|alive| alive.refused += 1);
            return out;
        }
        let admitted = self.doorman.admit(&self.ways.keys, self.lm_clock().at(now), &datagram.bytes, datagram.from);
        let Ok((header, offset)) = admitted.inspect_err(|why| self.stale += u64::from(*why == Refused::Stale)) else {
            return out;
        };
        let message = datagram.bytes.slice(offset..);
        out.extend(self.drive(now, wall, Some(Input::Datagram { header, message }), location));
        out
    }

    /// What another node's worker tells of its calls, or of ours: heard without a lease, too.
    fn packet(
        &mut self,
        now: Time,
        wall: WallMillis,
        from: (Plane, SocketAddr),
        bytes: &[u8],
        location: &mut LocationHost,
    ) -> Vec<Out> {
        let clock = self.lm_clock();
        let Some(alive) = &mut self.alive else { return Vec::new() };
        let mut released = Vec::new();
        let opened = alive.courier.open(&self.ways.keys, clock.at(now), from, bytes);
        let heard = opened.map(|(post, mut plain)| {
            alive.misled.hears(&alive.core.shadows.shelf, &mut plain);
            alive.core.packet(now, post, &plain, &mut released).is_ok()
        });
        self.unread += u64::from(heard != Ok(true));
        self.carry_out(now, wall, released, location)
    }

    /// A round of the worker begins: it looks at the newest placement, and whether it may serve.
    fn round(&mut self, now: Time, wall: WallMillis, location: &mut LocationHost) -> (Passage, Vec<Out>) {
        let Some(alive) = &mut self.alive else { return (Passage::Shut, Vec::new()) };
        let us = (self.ways.config.id, alive.boot);
        let mut told = false;
        if let Some(membership) = &mut alive.membership
            && !Arc::ptr_eq(&membership.adopted, membership.ownership.placements())
        {
            membership.adopted = membership.ownership.placements().clone();
            alive.view.placements = membership.planted.placements(us, &membership.adopted);
            told = membership.planted.looks_at(us, &membership.adopted);
        }
        let passage = alive.look(now);
        let mut out = if told { self.drive(now, wall, Some(Input::Placement), location) } else { Vec::new() };
        let taken = match &mut self.alive {
            Some(alive) if told => alive.misled.takes(&mut alive.core.shadows.shelf, &alive.view.placements.current),
            _ => Vec::new(),
        };
        for (hash, image) in taken {
            out.extend(self.drive(now, wall, Some(Input::Inherit { hash, image }), location));
        }
        (passage, out)
    }

    /// A beacon came in. If it brings the lease back, what is overdue is done now.
    fn control(
        &mut self,
        now: Time,
        wall: WallMillis,
        plane: Plane,
        bytes: &[u8],
        location: &mut LocationHost,
    ) -> Vec<Out> {
        let Some(alive) = &mut self.alive else { return Vec::new() };
        let beacon = match frame::decode(bytes, &self.ways.keys.plane) {
            Ok(Message::Beacon(beacon)) if frame::is_of(plane, bytes) => Some(beacon),
            _ => None,
        };
        let Some(mut beacon) = beacon else {
            self.refused += 1;
            return Vec::new();
        };
        let Some(membership) = &mut alive.membership else { return Vec::new() };
        membership.planted.beacon((self.ways.config.id, alive.boot), &mut beacon);
        let before = membership.heart.lease();
        if !membership.heart.beacon(now, plane, &beacon) {
            self.stale += 1;
            return Vec::new();
        }
        self.ways.keys.plane.proved(frame::key_id(bytes));
        if beacon.learning {
            membership.announced.unknown(now);
            alive.view.most_admitted = membership.announced.most();
        }
        membership.planted.leased(now, before, membership.heart.lease());
        if membership.planted.adopts((self.ways.config.id, alive.boot), &beacon) {
            membership.ownership.hear(now, &beacon);
            self.file = self.ways.keys.told();
            if self.plant == Some(Plant::ForgetsOldKeys) {
                forget_old(&self.ways.keys);
            }
        }
        let report = beacon.learning.then(|| Message::Report(membership.ownership.report(now, &beacon)));
        let mut out = Vec::new();
        if alive.shut && alive.has_lease(now) && self.stuck.is_none() {
            // Without a lease a worker looks often.
            out.extend(self.round(now, wall, location).1);
            out.extend(self.drive(now, wall, None, location));
        }
        if let Some(report) = report {
            let encoded = |plane| frame::encode(&report, &self.ways.keys.plane, plane).into();
            let one = |(plane, _)| Out::Control { plane, bytes: encoded(plane) };
            out.extend(self.ways.config.planes.iter().map(one));
        }
        out
    }

    pub fn stream(&mut self, now: Time, wall: WallMillis, event: StreamEvent, location: &mut LocationHost) -> Vec<Out> {
        if let Some(held) = &mut self.held {
            held.push(Held::Stream(event));
            return Vec::new();
        }
        let Some(alive) = &mut self.alive else { return Vec::new() };
        let mut effects = Vec::new();
        match event {
            StreamEvent::Frame(frame) => alive.client.handle(now, frame, &mut effects),
            StreamEvent::Broken => {
                alive.client.disconnected(now);
                alive.reconnect_at = Some(now + RECONNECT_AFTER);
            }
        }
        self.client_effects(now, wall, effects, location)
    }

    /// What the name server said.
    pub fn dns(
        &mut self,
        now: Time,
        wall: WallMillis,
        ask: DnsAsk,
        answer: DnsAnswer,
        location: &mut LocationHost,
    ) -> Vec<Out> {
        if let Some(held) = &mut self.held {
            held.push(Held::Dns(ask, answer));
            return Vec::new();
        }
        self.drive(now, wall, Some(Input::Dns { ask, answer }), location)
    }

    pub fn tick(&mut self, now: Time, wall: WallMillis, location: &mut LocationHost) -> Vec<Out> {
        let mut out = Vec::new();
        if self.stuck.is_none() {
            out = self.round(now, wall, location).1;
            out.extend(self.drive(now, wall, None, location));
            out.extend(self.written(now, wall, location));
            out.extend(self.denied(now, wall, location));
            let said = self.alive.as_mut().map(|alive| alive.misled.due(now)).unwrap_or_default();
            out.extend(self.forged(now, wall, said, location));
        }
        let Some(alive) = &mut self.alive else { return out };
        if let Some(beat) =
            alive.beat(now, self.draining, self.stuck.is_some() && self.plant != Some(Plant::FalseProgress))
        {
            let keys = &self.ways.keys.plane;
            out.extend(self.ways.config.planes.iter().map(|(plane, _)| {
                let bytes = heartbeat::encode(&on_plane(beat.clone(), plane), keys).into();
                Out::Control { plane, bytes }
            }));
        }
        alive.membership.iter_mut().for_each(|m| m.ownership.tick(now));
        let mut effects = Vec::new();
        if alive.reconnect_at.is_some_and(|at| at <= now) {
            alive.reconnect_at = (!location.connect(self.ways.config.id)).then_some(now + RECONNECT_AFTER);
            if alive.reconnect_at.is_none() {
                alive.client.connected(now, &mut effects);
            }
        }
        alive.client.tick(now, &mut effects);
        out.extend(self.client_effects(now, wall, effects, location));
        out
    }

    fn client_effects(
        &mut self,
        now: Time,
        wall: WallMillis,
        effects: Vec<ClientEffect>,
        location: &mut LocationHost,
    ) -> Vec<Out> {
        let mut out = Vec::new();
        for effect in effects {
            match effect {
                ClientEffect::Send(frame) => location.send(now, self.ways.config.id, frame),
                ClientEffect::Answer { ask, outcome, .. } => {
                    out.extend(self.drive(now, wall, Some(Input::Location { ask, outcome }), location));
                }
                ClientEffect::Reconnect { .. } => {
                    location.disconnect(self.ways.config.id);
                    if let Some(alive) = &mut self.alive {
                        alive.client.disconnected(now);
                        alive.reconnect_at = Some(now + RECONNECT_AFTER);
                    }
                }
            }
        }
        out
    }

    /// Silences that a planted bug takes for an answer.
    fn denied(&mut self, now: Time, wall: WallMillis, location: &mut LocationHost) -> Vec<Out> {
        let membership = self.alive.as_mut().and_then(|alive| alive.membership.as_mut());
        let denials = membership.map(|membership| membership.planted.denials(now)).unwrap_or_default();
        let input = |(header, message)| Some(Input::Datagram { header, message });
        denials.into_iter().flat_map(|denial| self.drive(now, wall, input(denial), location)).collect()
    }

    /// Starts and CDRs that are durable by now.
    fn written(&mut self, now: Time, wall: WallMillis, location: &mut LocationHost) -> Vec<Out> {
        let mut out = Vec::new();
        while let Some(alive) = &mut self.alive
            && alive.starts.front().is_some_and(|(at, _)| *at <= now)
        {
            out.extend(alive.starts.pop_front().map(|(_, start)| Out::Start(start)));
        }
        while let Some(alive) = &mut self.alive
            && alive.spool.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, call)) = alive.spool.pop_front()
        {
            out.extend(self.drive(now, wall, Some(Input::Written { call }), location));
        }
        out
    }

    /// Hands the core an input (or its due timers) and carries out what it wants.
    fn drive(&mut self, now: Time, wall: WallMillis, input: Option<Input>, location: &mut LocationHost) -> Vec<Out> {
        let wall = WallMillis(wall.0.saturating_add_signed(self.jumped_ms));
        let Some(alive) = &mut self.alive else { return Vec::new() };
        let input = input.map(|input| alive.misled.comes(input));
        let mut released = Vec::new();
        match input {
            Some(input) => {
                let done = alive.core.contained(now, wall, &Trap(&alive.view), input, &mut released);
                self.panics += u64::from(done.is_err());
            }
            None if alive.shut => {}
            None => alive.core.tick(now, wall, &alive.view, &mut released),
        }
        self.carry_out(now, wall, released, location)
    }

    fn carry_out(
        &mut self,
        now: Time,
        wall: WallMillis,
        released: Vec<Effect>,
        location: &mut LocationHost,
    ) -> Vec<Out> {
        let clock = self.lm_clock();
        let Some(alive) = &mut self.alive else { return Vec::new() };
        let plane = alive.membership.as_mut().map_or(Plane::A, |membership| membership.heart.lm_plane(now));
        let (boot, epoch, leased) = (alive.boot, alive.view.placements.current.epoch(), alive.has_lease(now));
        let (mut out, mut asks, mut forged) = (Vec::new(), Vec::new(), Vec::new());
        for effect in released.into_iter().filter_map(|effect| alive.misled.goes(effect)) {
            match effect {
                Effect::Send { .. } | Effect::Inside { .. } if !leased => alive.refused += 1,
                Effect::Send { listener, to, transport, bytes, .. } => {
                    let way = Outwards { boot, epoch, plane, listener, to, transport, now: clock.at(now) };
                    out.extend(self.ways.outwards(&way, &bytes));
                }
                Effect::Inside { to, over, mut header, message } => {
                    if let Some(membership) = &mut alive.membership {
                        membership.planted.inside(now, to, over, &mut header, &message, &alive.view.placements);
                    }
                    header.sent = Sent::at(clock.at(now));
                    out.extend(self.ways.inside(to, over, &header, &message));
                }
                Effect::Location { ask, key, command } => alive.client.ask(now, 0, ask, key, command, &mut asks),
                Effect::Cdr { call, cdr } => {
                    out.push(Out::Cdr(cdr));
                    alive.spool.push_back((now + DISK, call));
                }
                Effect::Dns { ask, question } => out.push(Out::Dns { ask, question }),
                Effect::Started { start, .. } => alive.starts.push_back((now + DISK, start)),
                Effect::Journal(_) | Effect::Inherited { .. } | Effect::Forgotten | Effect::Missed(_) => {}
                Effect::Admit { .. } | Effect::Counts { .. } | Effect::CallOver { .. } => {}
            }
        }
        for mut parcel in alive.core.parcels() {
            forged.extend(alive.misled.tells(now, &mut parcel));
            alive.courier.pack(&self.ways.keys, Sent::at(clock.at(now)), &parcel, |plane, to, octets| {
                out.push(Out::Shadow { plane, to, bytes: Bytes::copy_from_slice(octets) });
            });
        }
        out.extend(self.forged(now, wall, forged, location));
        out.extend(self.client_effects(now, wall, asks, location));
        out
    }

    /// What nobody has said, and a planted bug takes for said.
    fn forged(
        &mut self,
        now: Time,
        wall: WallMillis,
        said: Vec<(Post, Vec<u8>)>,
        location: &mut LocationHost,
    ) -> Vec<Out> {
        let mut out = Vec::new();
        for (by, plain) in said {
            let Some(alive) = &mut self.alive else { return out };
            let mut released = Vec::new();
            self.unread += u64::from(alive.core.packet(now, by, &plain, &mut released).is_err());
            out.extend(self.carry_out(now, wall, released, location));
        }
        out
    }
}

/// A bug: what an old key wrote is worth nothing as soon as a new one writes.
fn forget_old(keys: &Keys) {
    let mut to = keys.generations();
    for what in Use::ALL {
        to.set(what, Span { oldest: to.of(what).newest, ..to.of(what) });
    }
    keys.turn(&to);
}
