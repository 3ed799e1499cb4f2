//! A simulated call-control node: all of its pure cores, wired as its `io` wires them. A restart makes new ones: nothing
//! but the configuration survives.

use crate::hosts::location::{LocationHost, StreamEvent};
use crate::network::Datagram;
use bytes::Bytes;
use cc_node::dns::{DnsAnswer, DnsAsk, Question};
use cc_node::effect::{Cdr, Effect, Input};
use cc_node::heartbeat::{Facts, Heart, HeartSetup};
use cc_node::location::{Client, ClientEffect, ClientSetup, LocalView, Replica, Writer};
use cc_node::node::Node;
use cc_node::outbox::Outbox;
use cc_node::ownership::Ownership;
use cc_node::ownership::lease::{Gate, Passage};
use cc_node::station::NodeSetup;
use common::config::{CcNode, Rack};
use common::ids::{BootId, ListenerId, NodeId, Plane, Transport};
use common::keys::Keys;
use common::placement::Placement;
use common::sip::{Listeners, Scan, scan};
use common::time::{Duration, Time, WallMillis};
use common::wire::frame::{self, Message};
use common::wire::heartbeat;
use common::wire::proxy::{self, Direction, ProxyHeader};
use std::net::SocketAddr;
use std::sync::Arc;

/// How long a node waits before it opens its stream again.
const RECONNECT_AFTER: Duration = Duration::from_millis(200);

/// What leaves a node.
pub enum Out {
    /// A datagram for the load manager's egress port: a PROXY header and SIP for the outside.
    Egress(Bytes),
    /// A datagram for the load manager's control port.
    Control(Bytes),
    Cdr(Box<Cdr>),
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
    rack: Arc<Rack>,
    keys: Arc<Keys>,
    config: CcNode,
    vip: Listeners,
    /// None while it is dead.
    alive: Option<Alive>,
    /// While it is stopped (SIGSTOP): what waits for it.
    held: Option<Vec<Held>>,
}

/// One incarnation.
struct Alive {
    boot: BootId,
    node: Node,
    outbox: Outbox,
    /// None in a rack that stands: nobody asks who is alive.
    membership: Option<Membership>,
    gate: Gate,
    /// At the last look there was no lease: timers are held.
    shut: bool,
    /// Datagrams that came while it might not serve, and messages that it might not send.
    refused: u64,
    placement: Arc<Placement>,
    client: Client,
    replica: Arc<Replica>,
    reconnect_at: Option<Time>,
}

struct Membership {
    heart: Heart,
    ownership: Ownership,
    ticks: u64,
}

impl Alive {
    /// May it serve? The worker's round begins so; one at least with each heartbeat.
    fn look(&mut self, now: Time) -> Passage {
        let Some(membership) = &self.membership else { return Passage::Open };
        let passage = self.gate.pass(now, membership.heart.lease());
        self.shut = passage == Passage::Shut;
        passage
    }

    fn has_lease(&self, now: Time) -> bool {
        self.membership.as_ref().is_none_or(|membership| now < membership.heart.lease())
    }

    /// The heartbeat that is due. An idle worker ticks before each.
    fn beat(&mut self, now: Time, keys: &Keys) -> Option<Bytes> {
        let membership = self.membership.as_mut().filter(|m| m.heart.next_due() <= now)?;
        membership.ticks += 1;
        let status = self.client.status();
        let facts = Facts {
            level_once: self.client.was_level(),
            epoch: self.placement.epoch(),
            history: status.history,
            level: status.level,
            location_sum: status.sum,
            admit: u16::MAX,
            ..Facts::default()
        };
        let heartbeat = membership.heart.beat(now, &[membership.ticks], &facts);
        Some(heartbeat::encode(&heartbeat, &keys.plane).into())
    }
}

impl NodeHost {
    pub fn new(rack: Arc<Rack>, keys: Arc<Keys>, config: CcNode) -> NodeHost {
        let vip = lm_server::forward::Gate::new(&rack, keys.clone(), BootId(0)).names;
        NodeHost { rack, keys, config, vip, alive: None, held: None }
    }

    pub fn id(&self) -> NodeId {
        self.config.id
    }

    pub fn is_up(&self) -> bool {
        self.alive.is_some()
    }

    pub fn boot(&self) -> Option<BootId> {
        self.alive.as_ref().map(|a| a.boot)
    }

    pub fn sip_address(&self) -> SocketAddr {
        SocketAddr::new(self.config.planes.a, self.config.sip_port)
    }

    pub fn control_address(&self) -> SocketAddr {
        SocketAddr::new(self.config.planes.a, self.config.control_port)
    }

    pub fn replica(&self) -> Option<&Arc<Replica>> {
        self.alive.as_ref().map(|a| &a.replica)
    }

    pub fn owns(&self, address: SocketAddr) -> bool {
        address == self.sip_address() || address == self.control_address()
    }

    /// The worker's engine: for checkers of what is left in it.
    pub fn engine(&self) -> Option<&Node> {
        self.alive.as_ref().map(|a| &a.node)
    }

    pub fn start(&mut self, now: Time, boot: BootId) {
        let config = &self.config;
        let heart = HeartSetup {
            node: config.id,
            boot,
            sip_port: config.sip_port,
            workers: 1,
            class: config.class,
            domain: config.failure_domain(),
            period: Duration::from_millis(50),
        };
        let ownership = Ownership::new(config.id, boot, self.keys.placement);
        let placement = ownership.placement().clone();
        let membership = Membership { heart: Heart::new(heart, now), ownership, ticks: 0 };
        self.begin(now, boot, placement, Some(membership));
    }

    /// It stands in a placement that never changes: no heartbeats, no beacons.
    pub fn start_steady(&mut self, now: Time, boot: BootId, placement: Arc<Placement>) {
        self.begin(now, boot, placement, None);
    }

    fn begin(&mut self, now: Time, boot: BootId, placement: Arc<Placement>, membership: Option<Membership>) {
        let id = self.config.id;
        let setup = NodeSetup { id, boot, worker: 0, rack: self.rack.clone(), keys: self.keys.clone() };
        let writer = Writer::new(&self.keys);
        let replica = writer.replica().clone();
        self.alive = Some(Alive {
            boot,
            node: Node::new(setup),
            outbox: Outbox::unprotected(),
            shut: membership.is_some(),
            membership,
            gate: Gate::new(now),
            refused: 0,
            placement,
            client: Client::new(ClientSetup::new(id, boot), writer),
            replica,
            reconnect_at: Some(now),
        });
    }

    pub fn kill(&mut self) {
        self.alive = None;
        self.held = None;
    }

    /// SIGSTOP: it does nothing, and what comes waits in its sockets.
    pub fn stop(&mut self) {
        self.held.get_or_insert_default();
    }

    /// SIGCONT.
    pub fn resume(&mut self, now: Time, wall: WallMillis, location: &mut LocationHost) -> Vec<Out> {
        let mut out = Vec::new();
        for held in self.held.take().unwrap_or_default() {
            out.extend(match held {
                Held::Datagram(datagram) => self.receive(now, wall, &datagram, location),
                Held::Stream(event) => self.stream(now, wall, event, location),
                Held::Dns(ask, answer) => self.dns(now, wall, ask, answer, location),
            });
        }
        out
    }

    /// Datagrams that came while it might not serve, and messages that it might not send.
    pub fn refused(&self) -> u64 {
        self.alive.as_ref().map_or(0, |alive| alive.refused)
    }

    pub fn next_due(&self) -> Option<Time> {
        let alive = self.alive.as_ref().filter(|_| self.held.is_none())?;
        let client = alive.client.next_due();
        let heart = alive.membership.as_ref().map(|m| m.heart.next_due());
        let timers = alive.node.next_due().filter(|_| !alive.shut);
        [heart, timers, client, alive.reconnect_at].into_iter().flatten().min()
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
        if datagram.to == self.control_address() {
            return self.control(now, wall, &datagram.bytes, location);
        }
        let Some(alive) = &mut self.alive else { return Vec::new() };
        if alive.look(now) != Passage::Open {
            alive.refused += 1;
            return Vec::new();
        }
        // What `io` does before a worker's core sees it: the MAC, the direction, the strip.
        let read = ProxyHeader::read(&datagram.bytes, &self.keys.plane, |message| call_id(&self.vip, message));
        let Ok((header, offset)) = read else { return Vec::new() };
        if header.direction != Direction::Ingress {
            return Vec::new();
        }
        let message = datagram.bytes.slice(offset..);
        self.drive(now, wall, Some(Input::Datagram { header, message }), location)
    }

    /// A beacon came in. If it brings the lease back, what is overdue is done now.
    fn control(&mut self, now: Time, wall: WallMillis, bytes: &[u8], location: &mut LocationHost) -> Vec<Out> {
        let Some(alive) = &mut self.alive else { return Vec::new() };
        let Ok(Message::Beacon(beacon)) = frame::decode(bytes, &self.keys.plane) else { return Vec::new() };
        let Some(membership) = &mut alive.membership else { return Vec::new() };
        membership.heart.beacon(&beacon);
        membership.ownership.hear(&beacon);
        alive.placement = membership.ownership.placement().clone();
        let report = beacon.learning.then(|| Message::Report(membership.ownership.report()));
        let was_shut = alive.shut;
        alive.look(now);
        let mut out = if was_shut { self.drive(now, wall, None, location) } else { Vec::new() };
        out.extend(report.map(|report| Out::Control(frame::encode(&report, &self.keys.plane, Plane::A).into())));
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
        if let Some(alive) = &mut self.alive {
            alive.look(now);
        }
        let mut out = self.drive(now, wall, None, location);
        let Some(alive) = &mut self.alive else { return out };
        out.extend(alive.beat(now, &self.keys).map(Out::Control));
        let mut effects = Vec::new();
        if alive.reconnect_at.is_some_and(|at| at <= now) {
            alive.reconnect_at = (!location.connect(self.config.id)).then_some(now + RECONNECT_AFTER);
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
                ClientEffect::Send(frame) => location.send(now, self.config.id, frame),
                ClientEffect::Answer { ask, outcome, .. } => {
                    out.extend(self.drive(now, wall, Some(Input::Location { ask, outcome }), location));
                }
                ClientEffect::Reconnect { .. } => {
                    location.disconnect(self.config.id);
                    if let Some(alive) = &mut self.alive {
                        alive.client.disconnected(now);
                        alive.reconnect_at = Some(now + RECONNECT_AFTER);
                    }
                }
            }
        }
        out
    }

    /// Hands the core an input (or its due timers) and carries out what it wants.
    fn drive(&mut self, now: Time, wall: WallMillis, input: Option<Input>, location: &mut LocationHost) -> Vec<Out> {
        let Some(alive) = &mut self.alive else { return Vec::new() };
        let (boot, placement) = (alive.boot, alive.placement.clone());
        let view = LocalView { replica: alive.replica.clone(), placement: placement.clone() };
        let mut effects = Vec::new();
        match input {
            Some(input) => alive.node.handle(now, wall, &view, input, &mut effects),
            None if alive.shut => {}
            None => alive.node.tick(now, wall, &view, &mut effects),
        }
        let mut released = Vec::new();
        for effect in effects {
            alive.outbox.take(effect, &mut released);
        }
        let (mut out, mut asks) = (Vec::new(), Vec::new());
        for effect in released {
            match effect {
                Effect::Send { .. } if !self.alive.as_ref().is_some_and(|alive| alive.has_lease(now)) => {
                    self.alive.iter_mut().for_each(|alive| alive.refused += 1);
                }
                Effect::Send { listener, to, transport, bytes, .. } => {
                    let way = Way { boot, placement: &placement, listener, to, transport };
                    out.extend(self.egress(way, &bytes).map(Out::Egress));
                }
                Effect::Location { ask, key, command } => {
                    if let Some(alive) = &mut self.alive {
                        alive.client.ask(now, 0, ask, key, command, &mut asks);
                    }
                }
                Effect::Cdr(cdr) => out.push(Out::Cdr(cdr)),
                Effect::Dns { ask, question } => out.push(Out::Dns { ask, question }),
                Effect::Journal(_) => {}
            }
        }
        out.extend(self.client_effects(now, wall, asks, location));
        out
    }

    /// The PROXY header and the message, as `io` sends them to the load manager.
    fn egress(&self, way: Way<'_>, message: &Bytes) -> Option<Bytes> {
        let source = self.rack.listeners.get(usize::from(way.listener.0))?.socket_address();
        let header = ProxyHeader {
            sender: self.config.id,
            transport: way.transport,
            direction: Direction::Egress,
            ..ProxyHeader::ingress(source, way.to, way.listener, way.boot, way.placement.epoch())
        };
        let mut head = [0; proxy::MAX];
        let (id, key) = self.keys.plane.current();
        let length = header.write(key, id, call_id(&self.vip, message)?, &mut head);
        Some([&head[..length], message].concat().into())
    }
}

/// How a message leaves.
struct Way<'a> {
    boot: BootId,
    placement: &'a Placement,
    listener: ListenerId,
    to: SocketAddr,
    transport: Transport,
}

fn call_id<'m>(vip: &Listeners, message: &'m [u8]) -> Option<&'m [u8]> {
    match scan(message, vip) {
        Scan::Sip(scanned) => Some(scanned.call_id),
        _ => None,
    }
}
