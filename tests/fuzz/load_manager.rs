//! The load manager: datagrams from outside and from nodes, heartbeats, reports, farewells and forgeries in any order,
//! while time passes. A datagram leads to one at most; nothing unsigned counts; an epoch never goes back; whatever is
//! published can be used.

use super::choices::{Choices, at_length};
use super::{fuzz, mangle, planes, seeds};
use common::config::{Planes, Rack};
use common::ids::{BootId, Epoch, HistoryId, Level, ListenerId, NodeId, Plane, PlaneSet, Transport};
use common::keys::{Keys, RackKey};
use common::sip::{Scan, scan};
use common::time::{Duration, Time};
use common::wire::control::{Report, Stopped};
use common::wire::frame::{self, Message};
use common::wire::heartbeat::{self, Heartbeat, NodeState, V2};
use common::wire::proxy::{Direction, MAX, ProxyHeader, Sent};
use lm_server::forward::{Gate, Scratch, Verdict, egress, ingress, too_large, unavailable};
use lm_server::membership::{Core, Effect, Input, Setup};
use lm_server::table::Standing;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};

const OUTSIDE: &str = "198.51.100.7:40000";
const NODES: u16 = 3;

static KEYS: LazyLock<Arc<Keys>> = LazyLock::new(|| Arc::new(Keys::derive(&RackKey([7; 32]))));
static RACK: LazyLock<Arc<Rack>> = LazyLock::new(|| {
    let mut rack = Rack::one_machine_default(NODES).expand();
    let of = |a: u8| Planes { a: IpAddr::from([10, 0, 1, a]), b: Some(IpAddr::from([10, 0, 2, a])) };
    rack.load_managers[0].planes = of(100);
    rack.cc_nodes.iter_mut().for_each(|node| node.planes = of(node.id.0 as u8));
    Arc::new(rack)
});

struct Stage {
    core: Core,
    gate: Gate,
    now: Time,
    /// Of the beacons that were sent: the newest nonce and what was adopted.
    nonce: u64,
    epoch: Epoch,
    inputs: common::placement::Inputs,
    sequence: u64,
}

impl Stage {
    fn new() -> Stage {
        let placer = common::placement::Placer::new(KEYS.placement);
        let setup = Setup { id: 1, boot: BootId(5), rack: RACK.clone(), keys: KEYS.clone(), placer, nonce_seed: 9 };
        let gate = Gate::new(&RACK, KEYS.clone(), BootId(5));
        let core = Core::new(Time(0), setup);
        Stage { core, gate, now: Time(0), nonce: 0, epoch: Epoch(0), inputs: Default::default(), sequence: 0 }
    }

    fn effects(&mut self, out: Vec<Effect>) {
        assert!(out.len() <= 40 * usize::from(NODES), "{} effects of one input", out.len());
        for effect in out {
            match effect {
                Effect::Publish(table) => {
                    assert!(table.epoch() >= self.epoch || self.epoch == Epoch(0), "an epoch went back");
                    assert!(Arc::ptr_eq(&table, self.core.table()) || table.epoch() <= self.core.table().epoch());
                }
                Effect::Send { bytes, .. } => {
                    let Ok(Message::Beacon(beacon)) = frame::decode(&bytes, &KEYS.plane) else {
                        panic!("what a load manager sends is a beacon")
                    };
                    self.nonce = beacon.nonce;
                    if !beacon.learning {
                        assert!(beacon.epoch >= self.epoch, "an epoch went back");
                        (self.epoch, self.inputs) = (beacon.epoch, beacon.inputs);
                    }
                }
                Effect::DiscardQueued | Effect::Happened(_) => {}
            }
        }
    }

    fn control(&mut self, choices: &mut Choices<'_>, bytes: &[u8]) {
        let node = 1 + choices.below(usize::from(NODES)) as u8;
        let from = SocketAddr::from(([10, 0, 1 + choices.octet() % 2, node], 5900));
        let mut out = Vec::new();
        self.core.handle(self.now, Input::Datagram { from, bytes }, &mut out);
        self.effects(out);
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut turns = 0;
        while let Some(due) = self.core.next_due().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            let mut out = Vec::new();
            self.core.tick(self.now, &mut out);
            self.effects(out);
            turns += 1;
            assert!(turns < 10_000, "the load manager is due again and again");
        }
        self.now = until;
    }

    /// A heartbeat as a node would send it, or nearly so.
    fn heartbeat(&mut self, choices: &mut Choices<'_>) -> Vec<u8> {
        self.sequence += 1;
        let near = choices.one_of_256(220);
        let v2 = V2 {
            boot: BootId(if near { 100 } else { choices.long() }),
            sequence: if near { self.sequence } else { u64::from(choices.octet()) },
            sent_us: self.now.0,
            beacon_nonce: if choices.one_of_256(230) { self.nonce } else { choices.long() },
            epoch: if choices.one_of_256(230) { self.epoch } else { Epoch(choices.long()) },
            progress: self.sequence,
            workers: if near { 2 } else { choices.octet() },
            load: choices.word(),
            admit: choices.word(),
            class: choices.octet(),
            domain: choices.word(),
            plane: choices.pick(&[Plane::A, Plane::B]),
            history: HistoryId(1),
            level: Level(1),
            location_sum: 0,
            backups: vec![],
            strays: 0,
            hears: PlaneSet::BOTH,
        };
        let state = if near { NodeState::Started } else { choices.pick(&NodeState::ALL) };
        let beat = Heartbeat { node: NodeId(1 + choices.below(4) as u16), sip_port: 5070, state, v2: Some(v2) };
        heartbeat::encode(&beat, &KEYS.plane)
    }

    fn said_inside(&mut self, choices: &mut Choices<'_>) {
        let (node, boot) = (NodeId(1 + choices.below(4) as u16), BootId(choices.pick(&[100, 101, u64::MAX])));
        let epoch = Epoch(choices.pick(&[0, self.epoch.0, self.epoch.0 + 1, 1 << 40]));
        let nonce = choices.pick(&[0, self.nonce, self.nonce + 1]);
        let message = match choices.below(4) {
            0 => Message::Stopped(Stopped { node, boot }),
            1 => Message::Report(Report {
                node,
                boot,
                nonce,
                epoch,
                inputs: self.inputs.clone(),
                formers: vec![],
                keys: None,
            }),
            2 => Message::Report(Report {
                node,
                boot,
                nonce,
                epoch,
                inputs: planes::inputs(choices),
                formers: vec![],
                keys: None,
            }),
            _ => planes::message(choices),
        };
        let bytes = frame::encode(&message, &KEYS.plane, Plane::A);
        self.control(choices, &bytes);
    }

    fn hear_outside(&self, octets: &[u8]) {
        let mut scratch = Scratch::default();
        let source: SocketAddr = OUTSIDE.parse().unwrap();
        let table = self.core.table();
        match ingress(&self.gate, table, self.now, octets, source, ListenerId(0), &mut scratch) {
            Verdict::ToNode { node, to, .. } => {
                let reach = table.nodes().iter().find(|reach| reach.node == node).unwrap();
                assert!(reach.workers.contains(&to));
                let whole = [scratch.written(), octets].concat();
                let call_id = |message| match common::sip::scan(message, &self.gate.names) {
                    common::sip::Scan::Sip(scanned) => Some(scanned.call_id),
                    _ => None,
                };
                let (header, at) = ProxyHeader::read(&whole, &KEYS.plane, call_id).unwrap();
                assert_eq!((header.source, &whole[at..]), (source, octets));
            }
            // STUN: exempt from the factor of two, and fixed in size.
            Verdict::Reply => assert!(scratch.written().len() <= 44),
            Verdict::Unavailable => assert!(table.is_empty()),
            Verdict::Full => {
                assert!(table.nodes().iter().any(|n| n.standing == Standing::Started && n.admit < u16::MAX))
            }
            Verdict::TooLarge(_) => assert!(octets.len() > 60_000),
            Verdict::KeepAlive | Verdict::Drop(_) => {}
        }
        if let Some(answer) = too_large(&self.gate, octets, source) {
            assert!(answer.starts_with(b"SIP/2.0 513") && answer.len() <= octets.len());
            assert!(matches!(scan(&answer, &self.gate.names), Scan::Sip(_)), "an answer without Call-ID");
        }
        if let Some(answer) = unavailable(&self.gate, octets, source) {
            assert!(answer.starts_with(b"SIP/2.0 503"));
            assert!(answer.len() <= 2 * octets.len(), "{} octets for {}", answer.len(), octets.len());
        }
    }

    /// From a node: signed by it, or not, or with an octet changed on its way.
    fn hear_inside(&self, choices: &mut Choices<'_>) {
        let header = ProxyHeader {
            sender: NodeId(1 + choices.below(4) as u16),
            transport: choices.pick(&[Transport::Udp, Transport::Tls]),
            direction: choices.pick(&[Direction::Egress, Direction::Egress, Direction::Ingress]),
            ..ProxyHeader::ingress(
                "127.0.0.1:5060".parse().unwrap(),
                choices.pick(&[OUTSIDE, "0.0.0.0:1", "10.0.0.1:0", "[::1]:5060"]).parse().unwrap(),
                ListenerId(choices.pick(&[0, 1, 255])),
                BootId(choices.pick(&[100, 101])),
                Epoch(choices.pick(&[0, self.epoch.0, u64::MAX])),
                choices.pick(&[Sent::at(self.now), Sent::at(self.now), Sent(1 << 31)]),
            )
        };
        let (id, key) = KEYS.plane.current();
        let mut written = [0; MAX];
        let length = header.write(key, id, b"a84b4c76e66710@10.0.0.1", &mut written);
        let mut datagram = [&written[..length], seeds::INVITE].concat();
        let changed = choices.one_of_256(100);
        if changed {
            let at = choices.below(length);
            datagram[at] ^= 1 << choices.below(8);
        }
        if let Ok(out) = egress(&self.gate, self.core.table(), self.now, &datagram) {
            assert!(!changed && out.message == seeds::INVITE && out.to == header.destination);
            assert_eq!((header.direction, header.transport), (Direction::Egress, Transport::Udp));
            let live = self.core.table().placement().inputs().live().any(|live| live == (header.sender, header.boot));
            assert!(live, "a dead incarnation spoke to the outside");
        }
    }
}

fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let mut stage = Stage::new();
    stage.pass(Duration::from_millis(1));
    let messages = seeds::messages();
    for _ in 0..150 {
        if choices.are_over() {
            break;
        }
        match choices.below(12) {
            0..=3 => {
                let beat = stage.heartbeat(&mut choices);
                stage.control(&mut choices, &beat);
            }
            4 => stage.said_inside(&mut choices),
            5 => {
                let mut beat = stage.heartbeat(&mut choices);
                let at = choices.below(beat.len());
                beat[at] ^= 1 << choices.below(8);
                let before = stage.core.table().epoch();
                stage.control(&mut choices, &beat);
                assert_eq!(stage.core.table().epoch(), before, "a forgery changed the placement");
            }
            6 => {
                let noise = choices.some(80).to_vec();
                stage.control(&mut choices, &noise);
            }
            7..=8 => stage.hear_outside(&mangle::changed(&mut choices, &messages)),
            9 => stage.hear_inside(&mut choices),
            10 => stage.pass(Duration::from_millis(choices.pick(&[1, 10, 50, 50, 120]))),
            _ => {
                // This process was not run for a while: it was not asked in time.
                stage.now = stage.now + Duration::from_millis(choices.pick(&[10, 160, 400, 10_000]));
                stage.pass(Duration::from_millis(1));
            }
        }
    }
    stage.pass(Duration::from_secs(10));
}

#[test]
fn fuzz() {
    fuzz!("load_manager", 300, |octets: &[u8]| at_length(octets, 1200, check));
}
