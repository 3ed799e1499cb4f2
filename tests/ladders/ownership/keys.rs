//! Keys that turn in service: nothing that the old ones wrote loses its worth before it should, and nothing keeps it after.

use super::changes::{AT, Outcome, alice, bob, ms, ringing, stage};
use super::{has_turned, settles};
use crate::stage::holds;
use crate::under_every_seed;
use common::ids::{BootId, Epoch, HistoryId, Level, NodeId, Plane, PlaneSet};
use common::keys::Use;
use common::time::Duration;
use common::wire::heartbeat::{self, Heartbeat, NodeState, V2};
use lm_server::membership::Refusal;
use simulated_rack::hosts::actor::dialog::Dialog;
use simulated_rack::network::Conditions;
use simulated_rack::simulation::Simulation;

/// Alice and Bob talk.
fn talking(s: &mut Simulation) -> Result<Dialog, String> {
    let (attempt, invite) = ringing(s)?;
    s.answer(bob(), &invite, 200, "b");
    let ok = s.expect(alice(), "200 INVITE")?;
    s.expect(bob(), "ACK")?;
    Ok(attempt.of_response(&ok))
}

fn refused(s: &Simulation, why: Refusal) -> u64 {
    let at = Refusal::ALL.into_iter().position(|each| each == why).unwrap_or_default();
    s.lm().status(s.now()).map_or(0, |status| status.refused[at])
}

/// Of this incarnation, far ahead of all that it has said.
fn says(boot: BootId) -> V2 {
    V2 {
        boot,
        sequence: 1 << 40,
        sent_us: 0,
        beacon_nonce: 0,
        epoch: Epoch(1 << 40),
        progress: 1 << 40,
        workers: 1,
        load: 0,
        admit: u16::MAX,
        class: 1,
        domain: 2,
        plane: Plane::A,
        history: HistoryId(0),
        level: Level(0),
        location_sum: 0,
        backups: Vec::new(),
        strays: 0,
        hears: PlaneSet::BOTH,
    }
}

fn turn_all(s: &mut Simulation, old: u8) {
    Use::ALL.into_iter().for_each(|what| s.turn_key(what, old));
}

/// In a storm on the planes every key turns three times; a call of before ends by its own tokens, and nobody is ever taken
/// for dead or refused for it.
#[test]
fn calls_outlive_the_keys_that_wrote_their_tokens() {
    under_every_seed(|seed| {
        let mut s = stage(seed)?;
        let mut dialog = talking(&mut s)?;
        s.set_conditions(Conditions { loss: 0.03, duplication: 0.02, reordering: 0.05, ..Conditions::CLEAN });
        let dead = |s: &Simulation| s.lm().status(s.now()).map_or(0, |status| status.failovers.iter().sum::<u64>());
        let before = dead(&s);
        for turn in 1..=3 {
            s.turn_key(Use::Token, turn);
            s.turn_key(Use::Nonce, 1);
            s.turn_key(Use::Plane, 1);
            s.run_for(Duration::from_secs(1));
            holds("all have followed", has_turned(&s))?;
        }
        s.set_conditions(Conditions::CLEAN);
        s.bye(alice(), &mut dialog);
        s.expect(bob(), "BYE")?;
        s.expect(alice(), "200 BYE")?;
        holds("nobody died of it", dead(&s) == before)?;
        s.verdict()
    });
}

/// Where a key must go at once, what it wrote is worth nothing: such a BYE reaches nobody.
#[test]
fn a_key_that_is_dropped_at_once_opens_nothing_any_more() {
    let run = || {
        let mut s = stage(3)?;
        let mut dialog = talking(&mut s)?;
        s.turn_key(Use::Token, 0);
        settles(&mut s)?;
        s.bye(alice(), &mut dialog);
        s.run_for(Duration::from_secs(5));
        holds("Bob hears no BYE", !s.has_heard(bob(), "BYE"))?;
        talking(&mut s)?;
        s.verdict()
    };
    run().unwrap_or_else(|why| panic!("{why}"));
}

/// Who was cut off through two turns has none of the keys that stand: it learns them from the next beacon.
#[test]
fn who_missed_two_turns_follows() {
    let run = || -> Outcome {
        let mut s = stage(4)?;
        s.cut_node(AT, true, true);
        s.run_for(Duration::from_secs(1));
        turn_all(&mut s, 1);
        ms(&mut s, 200);
        turn_all(&mut s, 1);
        ms(&mut s, 200);
        // It hears nothing, and what it says is of a key that has gone.
        s.cut_node(AT, true, false);
        s.mend_node(AT);
        s.cut_node(AT, true, false);
        ms(&mut s, 200);
        holds("an old key is refused", refused(&s, Refusal::OldKey) > 0)?;
        s.mend_node(AT);
        settles(&mut s)?;
        holds("it has followed", has_turned(&s))?;
        s.verdict()
    };
    run().unwrap_or_else(|why| panic!("{why}"));
}

/// The load manager's own file is lost: it learns which keys stand from the nodes, with the placement.
#[test]
fn a_load_manager_without_its_file_learns_the_keys() {
    let run = || -> Outcome {
        let mut s = stage(5)?;
        let mut dialog = talking(&mut s)?;
        for _ in 0..3 {
            turn_all(&mut s, 3);
            ms(&mut s, 200);
        }
        let stood = s.lm().generations();
        s.kill_lm();
        s.lose_key_file();
        ms(&mut s, 100);
        s.start_lm();
        settles(&mut s)?;
        holds("the same keys stand", s.lm().generations() == stood && has_turned(&s))?;
        s.turn_key(Use::Plane, 1);
        settles(&mut s)?;
        holds("the next is newer", s.lm().generations().plane.newest == stood.plane.newest + 1)?;
        s.bye(alice(), &mut dialog);
        s.expect(alice(), "200 BYE")?;
        s.verdict()
    };
    run().unwrap_or_else(|why| panic!("{why}"));
}

/// The whole rack starts anew, and only the load manager's file is lost: what the nodes' files say goes on.
#[test]
fn a_rack_that_starts_anew_goes_on_with_its_keys() {
    let run = || -> Outcome {
        let mut s = stage(8)?;
        for _ in 0..3 {
            turn_all(&mut s, 2);
            ms(&mut s, 200);
        }
        let stood = s.lm().generations();
        s.kill_lm();
        (0..4).for_each(|n| s.kill_node(n, false));
        s.lose_key_file();
        ms(&mut s, 100);
        s.start_lm();
        (0..4).for_each(|n| s.start_node(n));
        settles(&mut s)?;
        ms(&mut s, 200);
        holds("the same keys stand", s.lm().generations() == stood && has_turned(&s))?;
        talking(&mut s)?;
        s.verdict()
    };
    run().unwrap_or_else(|why| panic!("{why}"));
}

/// Who has an old plane key can say nothing with it: neither that a node lives, nor anything else.
#[test]
fn an_old_plane_key_says_nothing() {
    let run = || -> Outcome {
        let mut s = stage(6)?;
        s.turn_key(Use::Plane, 1);
        ms(&mut s, 100);
        s.turn_key(Use::Plane, 1);
        settles(&mut s)?;
        let before = refused(&s, Refusal::OldKey);
        let boot = s.nodes()[AT].boot().ok_or("it runs")?;
        let beat = Heartbeat { node: NodeId(2), sip_port: 5070, state: NodeState::Stopping, v2: Some(says(boot)) };
        // The tests' own ring stands where the rack began.
        let bytes = heartbeat::encode(&beat, &s.keys().plane);
        let (from, to) = (s.nodes()[AT].control_address(Plane::A), s.lm().control_address(Plane::A));
        s.slip_in(from, to, bytes);
        ms(&mut s, 100);
        holds("it is refused and counted", refused(&s, Refusal::OldKey) == before + 1)?;
        holds("the node stands", s.lm().live().contains(&NodeId(2)))?;
        s.verdict()
    };
    run().unwrap_or_else(|why| panic!("{why}"));
}
