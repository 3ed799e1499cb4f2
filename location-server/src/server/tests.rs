//! The core with a simulated disk: what is acknowledged, and what is not.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::log::Log;
use crate::testing::{Bench, HISTORY, alice, put, register, say};

const PHONE: &str = "sip:alice@192.0.2.7";

fn bench() -> Bench {
    Bench::new(RingLimits::default())
}

fn ok(answer: Option<Result<Outcome, Failure>>) -> String {
    say(&answer.unwrap().unwrap())
}

#[test]
fn a_register_from_a_node_is_answered_when_it_is_durable_and_its_replica_has_it_first() {
    let mut bench = bench();
    bench.hello(1, 1, (HISTORY, Level(0)));
    bench.disk_hangs = true;
    let command = Command::Register(register("a", 1, &[PHONE]));
    let frame = ToServer::Command { ask: 5, key: IdempotenceKey(1), command };
    bench.input(Input::Frame { link: LinkId(1), frame });
    bench.seconds(2);
    assert!(bench.node(1).outcomes.is_empty());
    bench.disk_hangs = false;
    bench.run();
    assert_eq!(bench.node(1).outcomes, [(5, format!("ok {PHONE}"))]);
    assert_eq!(bench.node(1).level, Level(1));
}

#[test]
fn everything_that_waits_goes_in_one_batch() {
    let mut bench = bench();
    bench.disk_hangs = true;
    (0..50).for_each(|n| drop(bench.ask(put(&n.to_string()))));
    bench.disk_hangs = false;
    bench.run();
    assert_eq!((bench.answers.len(), bench.server.stats().batches), (50, 2));
}

#[test]
fn a_full_disk_fails_commands_with_its_reason_and_space_heals_it() {
    let mut bench = bench();
    ok(bench.ask(put("bob")));
    bench.log.full = true;
    let Err(failure) = bench.ask(put("carol")).unwrap() else { panic!("acknowledged on a full disk") };
    assert!(failure.to_string().contains("no space left"), "{failure}");
    assert_eq!(bench.server.broken(), None);
    bench.log.full = false;
    ok(bench.ask(put("carol")));
    assert_eq!((bench.server.store().level(), bench.log.last()), (Level(2), Level(2)));
}

#[test]
fn a_full_disk_does_not_make_expiries_spin_and_loses_none() {
    let mut bench = bench();
    ok(bench.ask(Command::Register(register("a", 1, &["sip:alice@192.0.2.7;expires=60"]))));
    bench.log.full = true;
    bench.seconds(65);
    assert!(bench.server.store().bindings(&alice()).is_some(), "only a durable entry removes it");
    assert!(bench.server.next_due().unwrap() > bench.now);
    bench.log.full = false;
    bench.seconds(2);
    assert_eq!(bench.server.store().bindings(&alice()), None);
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_any_more() {
    let mut bench = bench();
    ok(bench.ask(put("bob")));
    bench.log.sync_fails = true;
    assert!(bench.ask(put("carol")).unwrap().is_err());
    assert!(bench.halted.as_ref().is_some_and(|why| why.contains("nothing is acknowledged")));
    bench.log.sync_fails = false;
    assert!(bench.ask(put("dave")).unwrap().is_err());
    assert_eq!(bench.server.store().level(), Level(1));
    bench.restart(RingLimits::default(), 0);
    assert_eq!(bench.server.store().subscriber_count(), 1);
    ok(bench.ask(put("carol")));
}

#[test]
fn what_was_acknowledged_is_there_after_a_crash_with_the_same_sum() {
    let mut bench = bench();
    (0..20).for_each(|n| drop(ok(bench.ask(put(&n.to_string())))));
    ok(bench.ask(Command::Register(register("a", 1, &[PHONE]))));
    let sum = bench.server.store().sum();
    for written in [0, 1] {
        bench.disk_hangs = true;
        assert!(bench.ask(put("late")).is_none());
        bench.disk_hangs = false;
        bench.restart(RingLimits::default(), written);
        // An entry that was written but not acknowledged may be there; nothing else may have changed.
        assert_eq!(bench.server.store().level(), Level(21 + written as u64));
        assert_eq!(bench.server.store().sum() == sum, written == 0);
    }
}

#[test]
fn bindings_end_by_log_time_also_over_a_restart() {
    let mut bench = bench();
    ok(bench.ask(Command::Register(register("a", 1, &["sip:alice@192.0.2.7;expires=60"]))));
    assert_eq!(bench.server.next_due(), Some(Time(1_000_000)), "the stamp");
    bench.seconds(40);
    bench.restart(RingLimits::default(), 0);
    bench.seconds(19);
    assert!(bench.server.store().bindings(&alice()).is_some());
    bench.seconds(1);
    assert_eq!(bench.server.store().bindings(&alice()), None);
    assert_eq!(bench.server.stats().expired, 1);
}

#[test]
fn nodes_send_registers_only_and_nothing_oversized() {
    let mut bench = bench();
    bench.hello(1, 1, (HISTORY, Level(0)));
    let frame = ToServer::Command { ask: 5, key: IdempotenceKey(1), command: put("mallory") };
    bench.input(Input::Frame { link: LinkId(1), frame });
    let mut big = register("a", 1, &[PHONE]);
    big.user_agent = "x".repeat(MOST_COMMAND);
    let frame = ToServer::Command { ask: 6, key: IdempotenceKey(2), command: Command::Register(big) };
    bench.input(Input::Frame { link: LinkId(1), frame });
    let reasons: Vec<_> = bench.node(1).outcomes.iter().map(|(_, why)| why.as_str()).collect();
    assert!(reasons[0].contains("REGISTER") && reasons[1].contains("65536"), "{reasons:?}");
    assert_eq!(bench.server.store().level(), Level(0));
}

#[test]
fn a_queue_that_is_full_refuses_at_once() {
    let mut bench = bench();
    bench.disk_hangs = true;
    bench.ask(put("first"));
    (0..MOST_WAITING).for_each(|n| assert!(bench.ask(put(&n.to_string())).is_none()));
    assert_eq!(bench.ask(put("one more")), Some(Err(Failure::Busy)));
}

#[test]
fn the_same_inputs_give_the_same_effects() {
    let run = || {
        let mut bench = bench();
        bench.hello(1, 1, (HistoryId(0), Level(0)));
        (0..30).for_each(|n| drop(bench.ask(Command::Register(register(&format!("call{n}"), 1, &[PHONE])))));
        bench.seconds(70);
        (bench.server.store().sum(), bench.node(1).level, bench.node(1).stamps)
    };
    assert_eq!(run(), run());
}
