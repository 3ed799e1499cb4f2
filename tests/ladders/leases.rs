//! What a node does without a lease: a process that was stopped and goes on, or that nobody hears. That nobody sends
//! without one is checked in every ladder whose nodes beat (`invariants::leases`).

use crate::{call, hang_up, must, two_phones};
use common::time::Duration;
use simulated_rack::simulation::Simulation;
use siprack::phone::Order;

/// Any node may hold the call: all are stopped alike.
fn stop_all(s: &mut Simulation, for_ms: u64) {
    (0..s.nodes().len()).for_each(|n| s.stop_node(n));
    s.run_for(Duration::from_millis(for_ms));
    (0..s.nodes().len()).for_each(|n| s.resume_node(n));
}

/// ```text
/// caller            rack (all nodes stopped, their sockets hold what comes)
///   |── BYE ────────►| …
///   |                | go on: the lease is over, the BYE is dropped unread
///   |                | heartbeat, echo: a lease
///   |── BYE (T1) ───►|── BYE ──► callee
///   |◄───────── 200 ─|◄── 200 ──|
/// ```
#[test]
fn what_waited_for_a_stopped_node_is_left_to_its_repeat() {
    let mut refused = 0;
    // Longer than the rest of a lease, shorter than what the load manager calls a death.
    for (seed, stopped_ms) in (200..220).flat_map(|seed| [230, 260, 290].map(|ms| (seed, ms))) {
        let mut s = Simulation::new(seed);
        let run = |s: &mut Simulation| {
            let (a, b) = two_phones(s)?;
            let id = call(s, a, b, "1002")?;
            s.order(a, Order::Hangup { call_id: id });
            stop_all(s, stopped_ms);
            must(s, 40, "the call is over", |s| s.established(a).is_empty() && s.established(b).is_empty())
        };
        run(&mut s).unwrap_or_else(|e| panic!("seed {seed}, stopped for {stopped_ms} ms: {e}\n{}", s.story()));
        assert_eq!(s.cdrs().len(), 1, "seed {seed}, stopped for {stopped_ms} ms\n{}", s.story());
        refused += s.nodes().iter().map(|node| node.refused()).sum::<u64>();
    }
    assert!(refused > 0, "nothing that waited was dropped");
}

/// Within a lease nobody has noticed, and nothing is lost.
#[test]
fn a_node_that_was_stopped_for_a_moment_serves_what_waited() {
    let mut s = Simulation::new(210);
    let run = |s: &mut Simulation| {
        let (a, b) = two_phones(s)?;
        let id = call(s, a, b, "1002")?;
        s.order(a, Order::Hangup { call_id: id });
        stop_all(s, 120);
        must(s, 1, "the call is over", |s| s.established(a).is_empty() && s.established(b).is_empty())
    };
    run(&mut s).unwrap_or_else(|e| panic!("{e}\n{}", s.story()));
    assert_eq!(s.nodes().iter().map(|node| node.refused()).sum::<u64>(), 0, "{}", s.story());
}

/// A load manager that is gone gives no leases: nothing leaves any more, and when it is back, everything does.
#[test]
fn without_a_load_manager_a_node_falls_silent_and_comes_back() {
    let mut s = Simulation::new(211);
    let run = |s: &mut Simulation| {
        let (a, b) = two_phones(s)?;
        let id = call(s, a, b, "1002")?;
        s.kill_lm();
        s.run_for(Duration::from_secs(3));
        s.start_lm();
        must(s, 2, "three live nodes again", |s| s.lm().live().len() == 3)?;
        hang_up(s, a, b, &id)
    };
    run(&mut s).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(s.cdrs().len(), 1, "{}", s.story());
}
