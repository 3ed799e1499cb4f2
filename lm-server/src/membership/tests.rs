//! Transcripts: a load manager and a few nodes on one clock, step by step of 10 ms.
#![allow(clippy::unwrap_used)]

mod deaf;
mod foreign;
mod polling;
mod shares;

use super::*;
use crate::table::{NotSender, Standing};
use common::config::{Planes, Rack};
use common::ids::{HistoryId, Level, PlaneSet};
use common::keys::{Keys, RackKey};
use common::placement::{Inputs, Placer};
use common::wire::beacon::Beacon;
use common::wire::control::{Report, Stopped};
use common::wire::frame::{self, Message};
use common::wire::heartbeat::{self, Heartbeat, NodeState, V2};
use std::net::IpAddr;

/// A node as far as a load manager can see it.
struct Fake {
    id: u16,
    boot: u64,
    state: NodeState,
    /// Runs, and beats.
    runs: bool,
    stuck: bool,
    /// Its heartbeats are lost, its reports are not.
    mute: bool,
    /// Hears beacons, but is too slow to adopt what they say.
    slow: bool,
    /// Beacons to it on plane A, whether it runs or not.
    polls: usize,
    sequence: u64,
    progress: u64,
    nonce: u64,
    /// The share of new calls that it takes.
    admit: u16,
    adopted: Option<(Epoch, Inputs)>,
    next: u64,
}

struct Stage {
    core: Core,
    keys: Arc<Keys>,
    rack: Arc<Rack>,
    now: u64,
    nodes: Vec<Fake>,
    events: Vec<Event>,
    tables: Vec<Arc<Table>>,
    discards: usize,
    /// Heartbeats and beacons over these planes are lost.
    cut: [bool; 2],
    /// Per mille of datagrams lost, and the state of the dice.
    loss: u64,
    dice: u64,
    lm_runs: bool,
    boots: u64,
}

fn rack(nodes: u16, planes: usize) -> Rack {
    let mut rack = Rack::one_machine_default(nodes).expand();
    let of = |a: u8| Planes { a: IpAddr::from([10, 0, 1, a]), b: (planes == 2).then(|| IpAddr::from([10, 0, 2, a])) };
    rack.load_managers[0].planes = of(100);
    for node in &mut rack.cc_nodes {
        node.planes = of(node.id.0 as u8);
    }
    rack
}

impl Stage {
    fn new(nodes: u16, planes: usize) -> Stage {
        let keys = Arc::new(Keys::derive(&RackKey([7; 32])));
        let rack = Arc::new(rack(nodes, planes));
        let core = Core::new(Time(0), setup(&rack, &keys, 1));
        let nodes = (1..=nodes).map(|id| Fake {
            id,
            boot: 100,
            state: NodeState::Starting,
            runs: true,
            stuck: false,
            mute: false,
            slow: false,
            polls: 0,
            sequence: 0,
            progress: 0,
            nonce: 0,
            admit: u16::MAX,
            adopted: None,
            next: u64::from(id) * 7,
        });
        Stage {
            core,
            keys,
            rack,
            now: 0,
            nodes: nodes.collect(),
            events: vec![],
            tables: vec![],
            discards: 0,
            cut: [false; 2],
            loss: 0,
            dice: 1,
            lm_runs: true,
            boots: 1,
        }
    }

    /// All nodes started and in the placement.
    fn up(nodes: u16, planes: usize) -> Stage {
        let mut stage = Stage::new(nodes, planes);
        stage.nodes.iter_mut().for_each(|n| n.state = NodeState::Started);
        stage.run(600);
        assert_eq!(stage.live(), (1..=nodes).collect::<Vec<_>>());
        stage.events.clear();
        stage.tables.clear();
        stage
    }

    fn time(&self) -> Time {
        Time(self.now * 1000)
    }

    fn table(&self) -> &Table {
        self.core.table()
    }

    fn epoch(&self) -> u64 {
        self.table().epoch().0
    }

    fn live(&self) -> Vec<u16> {
        self.table().nodes().iter().filter(|n| n.standing != Standing::Out).map(|n| n.node.0).collect()
    }

    fn owners(&self) -> Vec<Option<NodeId>> {
        (0..=u16::MAX).map(|slot| self.table().placement().owner(common::ids::Slot(slot))).collect()
    }

    fn node(&mut self, id: u16) -> &mut Fake {
        &mut self.nodes[usize::from(id) - 1]
    }

    fn kill(&mut self, id: u16) {
        self.node(id).runs = false;
    }

    /// A new process of the node, under a new boot id, that knows nothing.
    fn boot(&mut self, id: u16) {
        let node = self.node(id);
        *node = Fake {
            boot: node.boot + 1,
            runs: true,
            stuck: false,
            sequence: 0,
            progress: 0,
            nonce: 0,
            adopted: None,
            ..*node
        };
        node.state = NodeState::Starting;
    }

    fn restart_load_manager(&mut self) {
        self.boots += 1;
        self.core = Core::new(self.time(), setup(&self.rack, &self.keys, self.boots));
    }

    fn left(&self) -> Vec<(u16, Departure)> {
        let left = |e: &Event| match e {
            Event::Left { node, why, .. } => Some((node.0, *why)),
            _ => None,
        };
        self.events.iter().filter_map(left).collect()
    }

    fn refusals(&self) -> Vec<Refusal> {
        let refused = |e: &Event| match e {
            Event::Refused { why, .. } => Some(*why),
            _ => None,
        };
        self.events.iter().filter_map(refused).collect()
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            self.now += 10;
            self.step();
        }
    }

    /// Runs until the live set is this; the milliseconds it took.
    fn until_live(&mut self, live: &[u16]) -> u64 {
        let begin = self.now;
        while self.live() != live {
            self.run(10);
            assert!(self.now - begin < 5000, "{:?} never came, it is {:?}", live, self.live());
        }
        self.now - begin
    }

    fn step(&mut self) {
        if self.lm_runs && self.core.next_due().is_some_and(|due| self.time() >= due) {
            let mut out = vec![];
            self.core.tick(self.time(), &mut out);
            self.effects(out);
        }
        for at in 0..self.nodes.len() {
            let node = &mut self.nodes[at];
            if !node.runs || node.mute || self.now < node.next {
                continue;
            }
            node.next = self.now + 50;
            node.sequence += 1;
            node.progress += u64::from(!node.stuck);
            let planes = self.rack.load_managers[0].planes;
            for (plane, _) in planes.iter() {
                let bytes = beat(&self.nodes[at], plane, &self.keys);
                self.deliver(self.nodes[at].id, plane, &bytes);
            }
        }
    }

    fn lost(&mut self, plane: Plane) -> bool {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.cut[plane as usize] || (self.dice >> 33) % 1000 < self.loss
    }

    /// From the node's address on the plane to the load manager.
    fn deliver(&mut self, id: u16, plane: Plane, bytes: &[u8]) {
        if !self.lm_runs || self.lost(plane) {
            return;
        }
        let node = self.rack.node(NodeId(id)).unwrap();
        let from = SocketAddr::new(node.planes.address(plane).unwrap(), node.control_port);
        self.datagram(from, bytes);
    }

    fn datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        let mut out = vec![];
        self.core.handle(self.time(), Input::Datagram { from, bytes }, &mut out);
        self.effects(out);
    }

    fn effects(&mut self, out: Vec<Effect>) {
        for effect in out {
            match effect {
                Effect::Publish(table) => self.tables.push(table),
                Effect::Happened(event) => self.events.push(event),
                Effect::DiscardQueued => self.discards += 1,
                Effect::Send { plane, to, bytes } => {
                    if !self.lost(plane) {
                        self.beacon(plane, to, &bytes);
                    }
                }
            }
        }
    }

    /// A node hears a beacon, adopts its placement, and reports if it is asked.
    fn beacon(&mut self, plane: Plane, to: SocketAddr, bytes: &[u8]) {
        let Ok(Message::Beacon(beacon)) = frame::decode(bytes, &self.keys.plane) else { panic!("no beacon") };
        let is_it =
            |n: &common::config::CcNode| n.control_port == to.port() && n.planes.address(plane) == Some(to.ip());
        let id = self.rack.cc_nodes.iter().find(|n| is_it(n)).unwrap().id.0;
        let node = self.node(id);
        node.polls += usize::from(plane == Plane::A);
        if !node.runs {
            return;
        }
        node.nonce = beacon.nonce;
        let Beacon { nonce, epoch, inputs, learning, .. } = beacon;
        if !learning && !node.slow && node.adopted.as_ref().is_none_or(|(old, _)| epoch > *old) {
            node.adopted = Some((epoch, inputs));
        } else if learning && let Some((epoch, inputs)) = node.adopted.clone() {
            let report =
                Report { node: NodeId(id), boot: BootId(node.boot), nonce, epoch, inputs, formers: vec![], keys: None };
            let report = Message::Report(report);
            let bytes = frame::encode(&report, &self.keys.plane, plane);
            self.deliver(id, plane, &bytes);
        }
    }
}

fn setup(rack: &Arc<Rack>, keys: &Arc<Keys>, boot: u64) -> Setup {
    let placer = Placer::new(keys.placement);
    Setup { id: 1, boot: BootId(boot), rack: rack.clone(), keys: keys.clone(), placer, nonce_seed: boot << 32 }
}

fn beat(node: &Fake, plane: Plane, keys: &Keys) -> Vec<u8> {
    let v2 = V2 {
        boot: BootId(node.boot),
        sequence: node.sequence,
        sent_us: 0,
        beacon_nonce: node.nonce,
        epoch: node.adopted.as_ref().map_or(Epoch(0), |(epoch, _)| *epoch),
        progress: node.progress,
        workers: 1,
        load: 0,
        admit: node.admit,
        class: 1,
        domain: node.id,
        plane,
        history: HistoryId(0),
        level: Level(0),
        location_sum: 0,
        backups: vec![],
        strays: 0,
        hears: PlaneSet::BOTH,
    };
    heartbeat::encode(&Heartbeat { node: NodeId(node.id), sip_port: 0, state: node.state, v2: Some(v2) }, &keys.plane)
}

#[test]
fn cold_start_the_started_come_in_the_starting_do_not() {
    let mut s = Stage::new(3, 1);
    s.node(1).state = NodeState::Started;
    s.node(2).state = NodeState::Started;
    s.run(200);
    assert_eq!(s.events[0], Event::Learned { from: None });
    s.run(200);
    assert_eq!(s.live(), [1, 2]);
    let epoch = s.epoch();
    s.node(3).state = NodeState::Started;
    s.run(100);
    assert_eq!(s.live(), [1, 2, 3]);
    assert_eq!(s.epoch(), epoch + 1, "one change, one epoch");
    s.run(1000);
    assert_eq!(s.epoch(), epoch + 1);
    assert!(s.nodes.iter().all(|n| n.adopted.as_ref().unwrap().0 == Epoch(epoch + 1)));
}

#[test]
fn a_load_manager_without_nodes_begins_after_200_ms() {
    let mut s = Stage::new(2, 1);
    s.nodes.iter_mut().for_each(|n| n.runs = false);
    s.run(190);
    assert!(s.tables.is_empty());
    s.run(20);
    assert!(s.tables.len() == 1 && s.table().is_empty());
}

#[test]
fn a_killed_node_is_down_350_ms_after_its_last_heartbeat_and_only_its_slots_move() {
    let mut s = Stage::up(3, 1);
    let (before, epoch) = (s.owners(), s.epoch());
    s.kill(2);
    let took = s.until_live(&[1, 3]);
    assert!((300..=350).contains(&took), "{took}");
    assert_eq!((s.epoch(), s.left()), (epoch + 1, vec![(2, Departure::Silent)]));
    let after = s.owners();
    assert!(before.iter().zip(&after).all(|(b, a)| b == a || *b == Some(NodeId(2))));
    s.boot(2);
    s.node(2).state = NodeState::Started;
    s.until_live(&[1, 2, 3]);
    assert_eq!(s.owners(), before, "its return restores it exactly");
}

#[test]
fn the_agents_word_is_enough() {
    let mut s = Stage::up(3, 1);
    s.kill(2);
    let stopped = Message::Stopped(Stopped { node: NodeId(2), boot: BootId(100) });
    let bytes = frame::encode(&stopped, &s.keys.clone().plane, Plane::A);
    s.datagram("10.0.1.2:9".parse().unwrap(), &bytes);
    assert_eq!((s.live(), s.left()), (vec![1, 3], vec![(2, Departure::Stopped)]));
    s.datagram("10.0.1.2:9".parse().unwrap(), &bytes);
    assert_eq!(s.tables.len(), 1, "said again it changes nothing");
    s.node(2).runs = true;
    s.run(100);
    assert!(s.refusals().contains(&Refusal::RetiredBoot), "what it had sent before it died");
    assert_eq!(s.live(), [1, 3]);
}

#[test]
fn a_new_boot_id_is_the_death_of_the_old_incarnation() {
    let mut s = Stage::up(3, 1);
    let epoch = s.epoch();
    s.boot(2);
    s.run(150);
    assert_eq!((s.live(), s.left()), (vec![1, 3], vec![(2, Departure::NewIncarnation)]));
    assert_eq!(s.table().check_sender(NodeId(2), BootId(101), Epoch(epoch + 1)), Err(NotSender::Dead));
    s.run(500);
    assert_eq!(s.live(), [1, 3], "it is still starting");
    s.node(2).state = NodeState::Started;
    s.run(60);
    assert_eq!(s.live(), [1, 2, 3]);
    let members = &s.table().placement().inputs().members;
    assert_eq!((members[1].live, members[1].retired.as_slice()), (Some(BootId(101)), &[BootId(100)][..]));
}

#[test]
fn even_if_it_says_started_at_once_the_old_one_goes_first() {
    let mut s = Stage::up(2, 1);
    s.boot(2);
    s.node(2).state = NodeState::Started;
    s.run(400);
    assert_eq!(s.live(), [1, 2]);
    let live: Vec<_> = s.tables.iter().map(|t| t.placement().inputs().members[1].live).collect();
    assert_eq!(live, [None, Some(BootId(101))]);
}

#[test]
fn a_frozen_node_is_removed_and_must_adopt_that_before_it_may_send() {
    let mut s = Stage::up(3, 1);
    let epoch = s.epoch();
    s.kill(3);
    s.until_live(&[1, 2]);
    s.run(600);
    s.node(3).runs = true;
    s.until_live(&[1, 2, 3]);
    assert_eq!(s.epoch(), epoch + 2);
    assert_eq!(s.table().check_sender(NodeId(3), BootId(100), Epoch(epoch)), Err(NotSender::Behind));
    assert_eq!(s.table().check_sender(NodeId(3), BootId(100), Epoch(epoch + 1)), Ok(()));
    let mut short = Stage::up(3, 1);
    short.kill(3);
    short.run(200);
    short.node(3).runs = true;
    short.run(1000);
    assert_eq!(short.left(), [], "0.2 s is no death");
}

#[test]
fn it_does_not_come_in_again_before_it_has_adopted_its_removal() {
    for restart in [false, true] {
        let mut s = Stage::up(3, 1);
        s.kill(3);
        s.until_live(&[1, 2]);
        if restart {
            s.restart_load_manager();
            s.run(300);
        }
        s.node(3).runs = true;
        s.node(3).slow = true;
        s.run(1000);
        assert_eq!(s.live(), [1, 2], "alive and started, under the epoch in which it still was an owner");
        s.node(3).slow = false;
        s.until_live(&[1, 2, 3]);
    }
}

#[test]
fn one_that_never_came_in_is_dead_too_once_the_next_is_heard() {
    let mut s = Stage::up(2, 1);
    s.boot(2);
    s.run(200);
    let late = beat(&s.nodes[1], Plane::A, &s.keys);
    s.boot(2);
    s.run(200);
    s.datagram("10.0.1.2:1".parse().unwrap(), &late);
    assert_eq!(s.refusals(), [Refusal::RetiredBoot]);
}

#[test]
fn a_node_whose_worker_stands_still_is_out_within_a_second() {
    let mut s = Stage::up(2, 1);
    s.node(1).stuck = true;
    let took = s.until_live(&[2]);
    assert!(took <= 1000, "{took}");
    s.node(1).stuck = false;
    s.until_live(&[1, 2]);
}

#[test]
fn a_restarted_load_manager_takes_the_placement_from_the_nodes() {
    let mut s = Stage::up(3, 1);
    let (before, epoch) = (s.owners(), s.epoch());
    s.kill(2);
    s.run(100);
    s.restart_load_manager();
    s.events.clear();
    s.run(200);
    assert_eq!(s.events, [Event::Learned { from: Some(Epoch(epoch)) }], "2 cannot answer; nobody is waited for longer");
    assert_eq!((s.live(), s.epoch()), (vec![1, 2, 3], epoch + 1), "nobody is promoted by its restart");
    assert_eq!(s.owners(), before);
    let took = s.until_live(&[1, 3]);
    assert!((340..=360).contains(&took), "who was live counts as heard at the end of the learning: {took}");
    let mut quick = Stage::up(3, 1);
    quick.restart_load_manager();
    quick.tables.clear();
    quick.run(50);
    assert_eq!(quick.tables.len(), 1, "all have answered: no reason to wait");
}

/// The others tell the placement in which its predecessor lives, and its own report is all that is heard of it.
#[test]
fn whoever_died_and_came_back_while_nobody_looked_is_learned_as_a_death() {
    let mut s = Stage::up(3, 1);
    s.lm_runs = false;
    s.boot(2);
    s.node(2).adopted = s.node(1).adopted.clone();
    s.node(2).mute = true;
    s.restart_load_manager();
    s.lm_runs = true;
    while !s.events.iter().any(|e| matches!(e, Event::Learned { .. })) {
        s.run(10);
        assert!(s.now < 2_000, "it never ends to learn");
    }
    assert_eq!((s.left(), s.live()), (vec![(2, Departure::NewIncarnation)], vec![1, 3]));
    let is_out = |t: &Arc<Table>| t.nodes().iter().all(|n| n.node != NodeId(2) || n.standing == Standing::Out);
    assert!(s.tables.iter().all(is_out), "what its predecessor had queued is never let out");
    s.node(2).mute = false;
    s.node(2).state = NodeState::Started;
    s.until_live(&[1, 2, 3]);
}

#[test]
fn a_load_manager_that_slept_drops_what_waits_and_blames_nobody() {
    let mut s = Stage::up(3, 1);
    let before = s.owners();
    s.lm_runs = false;
    let waits = beat(&s.nodes[0], Plane::A, &s.keys);
    s.run(1000);
    s.lm_runs = true;
    s.datagram("10.0.1.1:1".parse().unwrap(), &waits);
    assert_eq!((s.discards, s.live().len()), (1, 3), "even if a datagram comes before the clock");
    s.run(300);
    assert_eq!((s.discards, s.left()), (1, vec![]));
    assert!(matches!(s.events[0], Event::Slept { late } if late > Duration::from_millis(900)));
    s.run(1000);
    assert_eq!((s.live(), s.owners()), (vec![1, 2, 3], before));
}

#[test]
fn a_stop_that_is_said_while_learning_is_not_forgotten() {
    let mut s = Stage::up(3, 1);
    s.kill(3);
    s.restart_load_manager();
    let stopped = Message::Stopped(Stopped { node: NodeId(3), boot: BootId(100) });
    let bytes = frame::encode(&stopped, &s.keys.clone().plane, Plane::A);
    s.datagram("10.0.1.3:9".parse().unwrap(), &bytes);
    s.run(210);
    assert_eq!((s.live(), s.left()), (vec![1, 2], vec![(3, Departure::Stopped)]));
}

#[test]
fn epochs_stay_above_every_epoch_heard() {
    let mut s = Stage::up(2, 1);
    let inputs = s.table().placement().inputs().clone();
    s.node(2).adopted = Some((Epoch(500), inputs));
    s.run(100);
    assert_eq!((s.epoch(), s.live()), (501, vec![1, 2]));
    assert!(s.nodes.iter().all(|n| n.adopted.as_ref().unwrap().0 == Epoch(501)));
}

#[test]
fn a_draining_node_that_was_removed_comes_back_for_its_calls() {
    let mut s = Stage::up(2, 1);
    s.node(1).state = NodeState::Draining;
    s.run(60);
    s.node(1).runs = false;
    s.until_live(&[2]);
    s.node(1).runs = true;
    s.until_live(&[1, 2]);
    assert_eq!(s.table().nodes()[0].standing, Standing::Draining);
    // Another process of it has none.
    s.boot(1);
    s.node(1).state = NodeState::Draining;
    s.run(2000);
    assert_eq!(s.live(), [2]);
}

/// Each change sends its beacon at once; the next regular one is not put off by that.
#[test]
fn a_burst_of_changes_leaves_no_gap_between_beacons() {
    let mut s = Stage::up(4, 1);
    for id in 1..=3 {
        s.node(id).state = NodeState::Draining;
    }
    s.run(60);
    for id in 1..=3 {
        s.node(id).state = NodeState::Started;
    }
    s.run(60);
    assert!(s.core.next_due().is_some_and(|due| due.since(s.time()) <= Duration::from_millis(50)));
}

#[test]
fn draining_and_stopping_are_new_epochs() {
    let mut s = Stage::up(2, 1);
    let epoch = s.epoch();
    s.node(1).state = NodeState::Draining;
    s.run(60);
    assert_eq!((s.epoch(), s.tables.len()), (epoch + 1, 1));
    assert_eq!(s.table().nodes()[0].standing, Standing::Draining);
    assert!(s.table().placement().inputs().members[0].draining);
    // A restarted load manager finds it so.
    s.restart_load_manager();
    s.run(300);
    assert_eq!((s.table().nodes()[0].standing, s.live()), (Standing::Draining, vec![1, 2]));
    let epoch = s.epoch();
    s.node(1).state = NodeState::Started;
    s.run(60);
    assert_eq!((s.epoch(), s.table().nodes()[0].standing), (epoch + 1, Standing::Started));
    s.node(1).state = NodeState::Stopping;
    s.run(60);
    assert_eq!((s.epoch(), s.left()), (epoch + 2, vec![(1, Departure::Itself)]));
}

#[test]
fn a_node_that_keeps_dying_is_held_down() {
    let mut s = Stage::up(2, 1);
    for round in 1..=4 {
        s.boot(2);
        s.node(2).state = NodeState::Started;
        s.until_live(&[1]);
        if round < 4 {
            s.until_live(&[1, 2]);
        }
    }
    let until = s.events.iter().find_map(|e| match e {
        Event::HeldDown { node: NodeId(2), until } => Some(*until),
        _ => None,
    });
    assert!(until.unwrap() > s.time() + Duration::from_millis(4900));
    s.run(4900);
    assert_eq!(s.live(), [1]);
    s.until_live(&[1, 2]);
}

#[test]
fn with_a_dead_plane_the_other_is_used_and_nobody_is_taken_over() {
    let mut s = Stage::up(2, 2);
    assert!(s.table().nodes().iter().all(|n| n.workers[0].ip().to_string().starts_with("10.0.1.")));
    s.cut[0] = true;
    s.run(220);
    assert!(s.table().nodes().iter().all(|n| n.workers[0].ip().to_string().starts_with("10.0.2.")));
    s.run(2000);
    assert_eq!(s.left(), []);
}

#[test]
fn five_minutes_of_loss_take_nobody_over() {
    for (planes, loss) in [(1, 10), (2, 50)] {
        let mut s = Stage::up(3, planes);
        s.loss = loss;
        s.run(300_000);
        assert_eq!(s.left(), [], "{planes} planes");
    }
}

#[test]
fn what_is_not_from_a_node_of_this_rack_changes_nothing() {
    let mut s = Stage::up(2, 1);
    let other = Keys::derive(&RackKey([8; 32]));
    let mut node = Fake { boot: 200, adopted: None, ..s.nodes.remove(1) };
    node.nonce = s.nodes[0].nonce;
    let two: SocketAddr = "10.0.1.2:1".parse().unwrap();
    let keys = s.keys.clone();
    s.datagram(two, &beat(&node, Plane::A, &other));
    s.datagram("10.0.1.9:1".parse().unwrap(), &beat(&node, Plane::A, &keys));
    s.datagram(two, &beat(&node, Plane::B, &keys));
    s.datagram(two, b"\xde\xad\xfa\xce");
    s.datagram(two, b"INVITE sip:a@b SIP/2.0\r\n\r\n");
    s.datagram(two, &[]);
    node.id = 9;
    s.datagram(two, &beat(&node, Plane::A, &keys));
    use Refusal::{Mac, Malformed, UnknownNode, WrongSource};
    assert_eq!(s.refusals(), [Mac, WrongSource, WrongSource, Malformed, Malformed, Malformed, UnknownNode]);
    assert_eq!(s.live(), [1, 2]);
}
