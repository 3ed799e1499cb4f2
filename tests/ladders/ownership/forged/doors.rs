//! Those who read datagrams on the planes, without a rack around them: whom a load manager's control port believes,
//! what leaves by its egress port, what a node lets in and which beacons it reads. Four nodes stand in the placement.

use super::super::FOUR;
use super::forgery::Layout;
use super::ports::PLANES;
use cc_node::doorman::{Doorman, Refused};
use common::config::Rack;
use common::ids::{BootId, Epoch, HistoryId, Level, ListenerId, NodeId, Plane, PlaneSet};
use common::keys::{Keys, RackKey};
use common::placement::Placer;
use common::time::{Duration, Time};
use common::wire::control::{Report, Stopped};
use common::wire::frame::{self, Message};
use common::wire::heartbeat::{self, Heartbeat, NodeState, V2};
use common::wire::proxy::{Direction, Inquiry, MAX, ProxyHeader, Sent};
use lm_server::forward::{DropReason, Gate, egress};
use lm_server::membership::{Core, Effect, Event, Input, Refusal, Setup, Status};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub const NODES: [u16; 4] = [1, 2, 3, 4];
const LM_BOOT: BootId = BootId(7);
const PERIOD: Duration = Duration::from_millis(50);
/// Half a period behind the last heartbeat.
const LATER: Duration = Duration::from_millis(25);
const CALL_ID: &[u8] = b"a84b4c76e66710@pc33.rack.test";
const MESSAGE: &[u8] = b"INVITE sip:bob@rack.test SIP/2.0\r\n\
    Via: SIP/2.0/UDP 198.51.100.9:5060;branch=z9hG4bK776asdhds\r\nMax-Forwards: 70\r\n\
    From: <sip:alice@rack.test>;tag=1928301774\r\nTo: <sip:bob@rack.test>\r\n\
    Call-ID: a84b4c76e66710@pc33.rack.test\r\nCSeq: 314159 INVITE\r\nContent-Length: 0\r\n\r\n";

/// A datagram that would be believed, and where it comes from.
pub struct Genuine {
    pub from: SocketAddr,
    pub bytes: Vec<u8>,
    pub layout: Layout,
}

pub struct Doors {
    pub keys: Arc<Keys>,
    pub now: Time,
    rack: Rack,
    core: Core,
    gate: Gate,
    doorman: Doorman,
    effects: Vec<Effect>,
    /// The newest beacon, as it was sent.
    beacon: Vec<u8>,
    nonce: u64,
    epoch: Epoch,
    /// Of the newest heartbeats.
    sequence: u64,
}

impl Doors {
    pub fn new() -> Doors {
        let rack = Rack::from_yaml("four.yaml", FOUR).unwrap_or_else(|e| panic!("{e}")).expand();
        let keys = Arc::new(Keys::derive(&RackKey([7; 32])));
        let (placer, now) = (Placer::new(keys.placement), Time(1_000_000));
        let shared = Arc::new(rack.clone());
        let setup = Setup { id: 1, boot: LM_BOOT, rack: shared, keys: keys.clone(), placer, nonce_seed: 77 };
        let mut doors = Doors {
            core: Core::new(now, setup),
            gate: Gate::new(&rack, keys.clone(), LM_BOOT),
            doorman: Doorman::new(&rack),
            keys,
            now,
            rack,
            effects: Vec::new(),
            beacon: Vec::new(),
            nonce: 0,
            epoch: Epoch(0),
            sequence: 0,
        };
        (0..40).for_each(|_| doors.beat());
        assert_eq!(doors.live(), NODES, "all stand in the placement");
        doors
    }

    /// A period: a beacon, and a heartbeat of each node on each plane.
    pub fn beat(&mut self) {
        self.now = Time(self.now.0 / 50_000 * 50_000) + PERIOD;
        self.core.tick(self.now, &mut self.effects);
        self.listen();
        for node in NODES {
            for plane in PLANES {
                let beat = self.heartbeat(node, plane);
                // The first ones quote nothing yet.
                let _ = self.believes(beat.from, &beat.bytes);
                self.listen();
            }
        }
        self.sequence += 1;
        self.now = self.now + LATER;
    }

    /// What the load manager has sent.
    fn listen(&mut self) {
        for effect in self.effects.drain(..) {
            let Effect::Send { bytes, .. } = effect else { continue };
            let Ok(Message::Beacon(beacon)) = frame::decode(&bytes, &self.keys.plane) else { continue };
            self.nonce = beacon.nonce;
            self.epoch = if beacon.learning { self.epoch } else { beacon.epoch };
            self.beacon = bytes.to_vec();
        }
    }

    fn address(&self, node: u16, plane: Plane) -> IpAddr {
        let node = self.rack.node(NodeId(node)).unwrap_or_else(|| panic!("node {node} is in the rack file"));
        node.planes.address(plane).unwrap_or(node.planes.a)
    }

    pub fn live(&self) -> Vec<u16> {
        self.core.table().placement().inputs().live().map(|(node, _)| node.0).collect()
    }

    pub fn status(&self) -> Status {
        self.core.status(self.now)
    }

    /// Age of each node's newest heartbeat on each plane.
    pub fn ages(&self) -> Vec<[Option<u64>; 2]> {
        self.status().nodes.iter().map(|node| node.heartbeat_age_us).collect()
    }

    /// The next heartbeat of a node.
    pub fn heartbeat(&self, node: u16, plane: Plane) -> Genuine {
        let v2 = V2 {
            boot: boot(node),
            sequence: self.sequence + 1,
            sent_us: self.now.0,
            beacon_nonce: self.nonce,
            epoch: self.epoch,
            progress: self.sequence + 1,
            workers: 1,
            load: 0,
            admit: u16::MAX,
            class: 1,
            domain: node,
            plane,
            history: HistoryId(42),
            level: Level(0),
            location_sum: 0,
            backups: Vec::new(),
            strays: 0,
            hears: PlaneSet::BOTH,
        };
        let beat = Heartbeat { node: NodeId(node), sip_port: 15_200, state: NodeState::Started, v2: Some(v2) };
        let bytes = heartbeat::encode(&beat, &self.keys.plane);
        let from = SocketAddr::new(self.address(node, plane), 15_020);
        Genuine { from, layout: Layout::of_heartbeat(&bytes), bytes }
    }

    /// What a node would say to a load manager that asks.
    pub fn report(&self, node: u16) -> Genuine {
        let (inputs, nonce) = (self.core.table().placement().inputs().clone(), self.nonce);
        let (id, boot, epoch, formers) = (NodeId(node), boot(node), self.epoch, Vec::new());
        self.framed(node, &Message::Report(Report { node: id, boot, nonce, epoch, inputs, formers, keys: None }))
    }

    /// An agent's word that a node is gone.
    pub fn stopped(&self, node: u16) -> Genuine {
        self.framed(node, &Message::Stopped(Stopped { node: NodeId(node), boot: boot(node) }))
    }

    fn framed(&self, node: u16, message: &Message) -> Genuine {
        let bytes = frame::encode(message, &self.keys.plane, Plane::A);
        let from = SocketAddr::new(self.address(node, Plane::A), 15_020);
        Genuine { from, layout: Layout::of_frame(&bytes), bytes }
    }

    /// The load manager's newest beacon.
    pub fn beacon(&self) -> Genuine {
        let bytes = self.beacon.clone();
        Genuine { from: self.load_manager(), layout: Layout::of_frame(&bytes), bytes }
    }

    fn load_manager(&self) -> SocketAddr {
        SocketAddr::new(self.rack.load_managers[0].planes.a, 15_010)
    }

    /// From the load manager to a node.
    pub fn inwards(&self) -> Genuine {
        self.behind(self.load_manager(), &self.ingress())
    }

    /// From a node to another: does it hold this?
    pub fn between(&self, node: u16) -> Genuine {
        let (sender, direction) = (NodeId(node), Direction::Inside);
        let inquiry = Some((Inquiry::Yours, 9));
        let mut header = ProxyHeader { sender, boot: boot(node), direction, inquiry, ..self.ingress() };
        header.visited.push(sender);
        self.behind(SocketAddr::new(self.address(node, Plane::A), 15_200), &header)
    }

    /// From a node to the outside.
    pub fn outwards(&self, node: u16) -> Genuine {
        let (sender, direction) = (NodeId(node), Direction::Egress);
        let ProxyHeader { source, destination, .. } = self.ingress();
        let turned = ProxyHeader { source: destination, destination: source, ..self.ingress() };
        let header = ProxyHeader { sender, boot: boot(node), direction, ..turned };
        self.behind(SocketAddr::new(self.address(node, Plane::A), 15_200), &header)
    }

    fn ingress(&self) -> ProxyHeader {
        let phone = SocketAddr::from(([198, 51, 100, 9], 5060));
        let vip = self.rack.listeners[0].socket_address();
        ProxyHeader::ingress(phone, vip, ListenerId(0), LM_BOOT, self.epoch, Sent::at(self.now))
    }

    fn behind(&self, from: SocketAddr, header: &ProxyHeader) -> Genuine {
        let mut head = [0; MAX];
        let (id, key) = self.keys.plane.current();
        let length = header.write(key, id, CALL_ID, &mut head);
        let bytes = [&head[..length], MESSAGE].concat();
        Genuine { from, layout: Layout::of_message(&bytes), bytes }
    }

    /// Whether the load manager believes this, but for what it is silent about: the late and the stale.
    pub fn believes(&mut self, from: SocketAddr, bytes: &[u8]) -> Result<(), Refusal> {
        self.core.handle(self.now, Input::Datagram { from, bytes }, &mut self.effects);
        match self.effects.last() {
            Some(Effect::Happened(Event::Refused { why, .. })) => Err(*why),
            _ => Ok(()),
        }
    }

    /// The same, and forgets what followed.
    pub fn believes_only(&mut self, from: SocketAddr, bytes: &[u8]) -> Result<(), Refusal> {
        self.effects.clear();
        self.believes(from, bytes)
    }

    /// Whether a node reads this at its control port.
    pub fn reads_beacon(&self, bytes: &[u8]) -> bool {
        matches!(frame::decode(bytes, &self.keys.plane), Ok(Message::Beacon(_)))
    }

    pub fn lets_in(&self, from: SocketAddr, bytes: &[u8]) -> Result<(), Refused> {
        self.doorman.admit(&self.keys, self.now, bytes, from).map(drop)
    }

    pub fn lets_out(&self, bytes: &[u8]) -> Result<(), DropReason> {
        egress(&self.gate, self.core.table(), self.now, bytes).map(drop)
    }
}

fn boot(node: u16) -> BootId {
    BootId(100 + u64::from(node))
}
