//! Transcripts of nodes that follow the log: resume, gap, reload while entries arrive.

#![allow(clippy::unwrap_used)]

use super::RingLimits;
use crate::server::{CloseReason, Input, LinkId};
use crate::testing::{Bench, HISTORY, Node, alice, put, register};
use common::ids::{HistoryId, Level, NodeId};
use common::location::Command;

const NOTHING: (HistoryId, Level) = (HistoryId(0), Level(0));

fn ring(entries: usize) -> RingLimits {
    RingLimits { entries, bytes: 1 << 20 }
}

fn subscribers(bench: &mut Bench, range: std::ops::Range<u32>) {
    range.for_each(|n| drop(bench.ask(put(&format!("user{n:04}")))));
}

#[test]
fn a_new_node_reloads_and_then_follows() {
    let mut bench = Bench::new(ring(100));
    subscribers(&mut bench, 0..200);
    bench.hello(1, 1, NOTHING);
    subscribers(&mut bench, 200..203);
    bench.seconds(1);
    let sum = bench.server.store().sum();
    let node = bench.node(1);
    assert_eq!((node.reloads, node.level, node.records.len(), node.stamps), (1, Level(203), 203, 1));
    assert_eq!(node.sum(), sum);
}

#[test]
fn a_node_that_was_away_shortly_resumes() {
    let mut bench = Bench::new(ring(100));
    bench.hello(1, 1, NOTHING);
    subscribers(&mut bench, 0..50);
    let away: Node = bench.nodes.remove(&LinkId(1)).unwrap();
    bench.input(Input::Closed { link: LinkId(1) });
    subscribers(&mut bench, 50..120);
    let has = (away.history, away.level);
    bench.nodes.insert(LinkId(2), away);
    bench.hello(2, 1, has);
    let sum = bench.server.store().sum();
    let node = bench.node(2);
    assert_eq!((node.reloads, node.level, node.sum()), (1, Level(120), sum));
}

#[test]
fn a_gap_that_the_ring_does_not_hold_another_history_or_a_level_ahead_of_us_reload() {
    let mut bench = Bench::new(ring(10));
    subscribers(&mut bench, 0..50);
    for (link, has, reloads) in [
        (1, (HISTORY, Level(40)), 0),
        (2, (HISTORY, Level(39)), 1),
        (3, (HistoryId(1), Level(50)), 1),
        (4, (HISTORY, Level(51)), 1),
        (5, (HISTORY, Level(u64::MAX)), 1),
        (6, (HISTORY, Level(50)), 0),
    ] {
        bench.node(link).level = has.1;
        bench.hello(link, 1, has);
        assert_eq!((bench.node(link).reloads, bench.node(link).level), (reloads, Level(50)), "link {link}");
    }
}

#[test]
fn entries_that_arrive_during_a_reload_do_not_blur_it() {
    let mut bench = Bench::new(ring(10_000));
    subscribers(&mut bench, 0..5_000);
    bench.deliver = false;
    bench.hello(1, 1, NOTHING);
    // Its queue is full of parts now. Keys that went out and keys that are still to come change, appear and go.
    for n in [0, 1, 2_500, 4_990, 4_999] {
        let aor = common::location::Aor::new(&format!("user{n:04}"), "rack.test");
        bench.ask(Command::RemoveSubscriber { aor });
    }
    subscribers(&mut bench, 4_999..5_010);
    bench.ask(Command::Register(register("a", 1, &["sip:a@192.0.2.7"])));
    bench.ask(Command::Register(register("a", 2, &["sip:a@192.0.2.7"])));
    bench.deliver = true;
    bench.run();
    bench.seconds(1);
    let (level, sum) = (bench.server.store().level(), bench.server.store().sum());
    let node = bench.node(1);
    // `Node::take` has compared the parts with the sum at the level where the reload began.
    assert_eq!((node.reloads, node.level, node.sum(), node.stamps), (1, level, sum, 1));
}

#[test]
fn many_removals_during_a_reload_come_in_parts_of_their_own() {
    let mut bench = Bench::new(ring(20_000));
    subscribers(&mut bench, 0..6_000);
    bench.deliver = false;
    bench.hello(1, 1, NOTHING);
    for n in 3_000..6_000 {
        let aor = common::location::Aor::new(&format!("user{n:04}"), "rack.test");
        bench.ask(Command::RemoveSubscriber { aor });
    }
    bench.deliver = true;
    bench.run();
    assert_eq!((bench.node(1).reloads, bench.node(1).records.len()), (1, 3_000));
}

#[test]
fn a_subscriber_that_the_ring_leaves_behind_is_dropped_and_nobody_waits_for_it() {
    let mut bench = Bench::new(ring(50));
    bench.hello(1, 1, NOTHING);
    bench.hello(2, 2, NOTHING);
    bench.deliver = false;
    subscribers(&mut bench, 0..200);
    assert_eq!(bench.server.store().level(), Level(200), "the log went on");
    bench.deliver = true;
    bench.run();
    let slow = CloseReason::TooSlow.to_string();
    assert_eq!(bench.closed, [(LinkId(1), slow.clone()), (LinkId(2), slow)]);
    let has = (bench.node(1).history, bench.node(1).level);
    let node = bench.nodes.remove(&LinkId(1)).unwrap();
    bench.nodes.insert(LinkId(3), node);
    bench.hello(3, 1, has);
    assert_eq!(bench.node(3).level, Level(200));
}

#[test]
fn nothing_is_pushed_before_it_is_durable() {
    let mut bench = Bench::new(ring(50));
    bench.hello(1, 1, NOTHING);
    bench.disk_hangs = true;
    assert!(bench.ask(Command::Register(register("a", 1, &["sip:a@192.0.2.7"]))).is_none());
    bench.seconds(3);
    assert_eq!(bench.node(1).level, Level(0));
    bench.disk_hangs = false;
    bench.run();
    assert_eq!(bench.node(1).level, Level(1));
    assert!(bench.server.store().bindings(&alice()).is_some());
}

#[test]
fn a_stranger_is_refused_and_a_second_hello_too() {
    let mut bench = Bench::new(ring(50));
    bench.hello(1, 99, NOTHING);
    assert_eq!(bench.closed, [(LinkId(1), CloseReason::UnknownNode(NodeId(99)).to_string())]);
    bench.hello(2, 1, NOTHING);
    bench.hello(2, 1, NOTHING);
    assert_eq!(bench.closed[1].1, CloseReason::SecondHello.to_string());
    bench.input(Input::Frame { link: LinkId(3), frame: common::wire::location::ToServer::Ping });
    assert_eq!(bench.closed[2].1, CloseReason::NoHello.to_string());
}

#[test]
fn after_a_restart_nodes_resume_from_the_replayed_log() {
    let mut bench = Bench::new(ring(100));
    bench.hello(1, 1, NOTHING);
    subscribers(&mut bench, 0..30);
    let node = bench.nodes.remove(&LinkId(1)).unwrap();
    bench.restart(ring(100), 0);
    subscribers(&mut bench, 30..40);
    let has = (node.history, node.level);
    bench.nodes.insert(LinkId(9), node);
    bench.hello(9, 1, has);
    let sum = bench.server.store().sum();
    assert_eq!((bench.node(9).reloads, bench.node(9).level, bench.node(9).sum()), (1, Level(40), sum));
}
