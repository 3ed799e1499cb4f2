//! Heartbeats of version 1: who hears them, and that nothing follows from them.

use super::*;
use common::config::ForeignNode;
use common::wire::heartbeat::PROTOCOL_ID;

const FOREIGN: u16 = 101;
const HOME: &str = "10.0.1.7:40000";

/// Nodes 1 to 3 in the placement, and a foreign node of which nothing was heard.
fn up_beside_a_foreign_node(accept_v1: bool) -> Stage {
    let mut stage = Stage::new(3, 1);
    let mut rack = (*stage.rack).clone();
    rack.heartbeat.accept_v1 = accept_v1;
    rack.nodes = vec![ForeignNode { id: NodeId(FOREIGN), address: IpAddr::from([10, 0, 1, 7]) }];
    stage.rack = Arc::new(rack);
    stage.core = Core::new(Time(0), setup(&stage.rack, &stage.keys, 1));
    stage.nodes.iter_mut().for_each(|n| n.state = NodeState::Started);
    stage.run(600);
    assert_eq!(stage.live(), [1, 2, 3]);
    stage.events.clear();
    stage.tables.clear();
    stage
}

/// As a sender writes it whose words begin with their high octet.
fn v1(node: u16, state: NodeState) -> Vec<u8> {
    let (id, state) = (u32::from(node), state as u32);
    [&PROTOCOL_ID.to_be_bytes()[..], &id.to_be_bytes(), &5060_u16.to_be_bytes(), &[0, 0], &state.to_be_bytes()].concat()
}

/// As one writes it whose words begin with their low octet.
fn v1_swapped(node: u16, state: NodeState) -> Vec<u8> {
    let (id, state) = (u32::from(node), state as u32);
    [&PROTOCOL_ID.to_le_bytes()[..], &id.to_le_bytes(), &5060_u16.to_le_bytes(), &[0, 0], &state.to_le_bytes()].concat()
}

impl Stage {
    fn hear(&mut self, from: &str, bytes: &[u8]) {
        self.datagram(from.parse().unwrap(), bytes);
    }

    fn foreign(&self) -> ForeignStatus {
        self.core.status(self.time()).foreign.remove(0)
    }

    fn refused(&self, why: Refusal) -> u64 {
        self.core.status(self.time()).refused[why as usize]
    }
}

#[test]
fn unless_it_is_asked_for_version_1_is_refused_and_counted() {
    let mut s = up_beside_a_foreign_node(false);
    let epoch = s.epoch();
    s.hear(HOME, &v1(FOREIGN, NodeState::Started));
    s.hear(HOME, &v1_swapped(FOREIGN, NodeState::Started));
    s.hear("10.0.1.2:1", &v1(2, NodeState::Stopped));
    assert_eq!((s.refusals(), s.refused(Refusal::Foreign)), (vec![Refusal::Foreign; 3], 3));
    assert_eq!((s.foreign().state, s.epoch(), s.live()), ("absent", epoch, vec![1, 2, 3]));
}

#[test]
fn a_foreign_node_of_either_byte_order_is_shown_and_nothing_else_changes() {
    let mut s = up_beside_a_foreign_node(true);
    let (epoch, inputs, owners) = (s.epoch(), s.table().placement().inputs().clone(), s.owners());
    for write in [v1, v1_swapped] {
        for state in NodeState::ALL {
            s.hear(HOME, &write(FOREIGN, state));
            let line = s.foreign();
            assert_eq!((line.state, line.sip_port, line.heartbeat_age_us), (state.label(), Some(5060), Some(0)));
            s.run(50);
        }
    }
    s.hear(HOME, &v1(FOREIGN, NodeState::Started));
    s.run(340);
    assert_eq!(s.foreign().state, "started");
    s.run(10);
    assert_eq!((s.foreign().state, s.foreign().is_up()), ("down", false));
    assert_eq!((s.epoch(), s.tables.len()), (epoch, 0));
    assert_eq!(s.events, []);
    assert_eq!(s.table().placement().inputs(), &inputs);
    assert!(s.owners() == owners);
}

/// Nobody proves them, so there may be a flood of them.
#[test]
fn one_that_is_accepted_causes_nothing_at_all() {
    let mut s = up_beside_a_foreign_node(true);
    let mut out = vec![];
    let bytes = v1(FOREIGN, NodeState::Started);
    let from = HOME.parse().unwrap();
    for _ in 0..10_000 {
        s.core.handle(s.time(), Input::Datagram { from, bytes: &bytes }, &mut out);
    }
    assert!(out.is_empty(), "{} effects", out.len());
    // Not even what is due is judged on their account: the clock does that, in the same moment.
    let mut other = up_beside_a_foreign_node(true);
    other.kill(2);
    let took = other.until_live(&[1, 3]);
    s.kill(2);
    s.run(took - 10);
    s.now += 10;
    s.core.handle(s.time(), Input::Datagram { from, bytes: &bytes }, &mut out);
    assert!(out.is_empty(), "{} effects", out.len());
    s.step();
    assert_eq!(s.live(), [1, 3]);
}

#[test]
fn nobody_speaks_for_a_cc_node_without_its_key() {
    let mut quiet = up_beside_a_foreign_node(true);
    quiet.kill(2);
    let took = quiet.until_live(&[1, 3]);
    let mut s = up_beside_a_foreign_node(true);
    s.kill(2);
    let begin = s.now;
    while s.live() != [1, 3] {
        s.hear("10.0.1.2:15022", &v1(2, NodeState::Started));
        s.hear(HOME, &v1(FOREIGN, NodeState::Started));
        s.run(10);
        assert!(s.now - begin <= took, "the dead node is kept alive");
    }
    assert_eq!((s.now - begin, s.left()), (took, vec![(2, Departure::Silent)]));
    assert_eq!(s.core.status(s.time()).nodes[1].state, "down");
    // Nor is a node that lives sent away.
    let epoch = s.epoch();
    for state in [NodeState::Draining, NodeState::Stopping, NodeState::Stopped] {
        s.hear("10.0.1.1:15021", &v1(1, state));
        s.run(100);
    }
    assert_eq!((s.live(), s.epoch(), s.core.status(s.time()).nodes[0].state), (vec![1, 3], epoch, "started"));
    assert!(s.refusals().iter().all(|why| *why == Refusal::Foreign));
}

#[test]
fn only_a_listed_node_from_its_address_is_heard() {
    let mut s = up_beside_a_foreign_node(true);
    s.hear("10.0.1.8:40000", &v1(FOREIGN, NodeState::Started));
    s.hear(HOME, &v1(102, NodeState::Started));
    let two = s.nodes.remove(1);
    let keys = s.keys.clone();
    s.hear(HOME, &beat(&Fake { id: FOREIGN, ..two }, Plane::A, &keys));
    assert_eq!(s.refusals(), [Refusal::WrongSource, Refusal::UnknownNode, Refusal::UnknownNode]);
    assert_eq!((s.foreign().state, s.live()), ("absent", vec![1, 2, 3]));
}
