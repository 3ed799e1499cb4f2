//! What shadows are for, where one of two backups alone knows: a holder that dies when one of them has missed something, and
//! backups that are none any more. Each is played as it is, and with every planted bug.

use crate::ownership::changes::{AT, BOB, Outcome, Story, alice, bob, ms, ringing, stage, talks};
use crate::ownership::settles;
use common::call_hash::CallHash;
use common::ids::NodeId;
use simulated_rack::hosts::actor::dialog::Dialog;
use simulated_rack::invariants::{i04_accounting as accounting, i08_leftovers as leftovers};
use simulated_rack::simulation::Simulation;

pub const STORIES: [(&str, Story); 6] = [
    ("the heir has missed it", |s| heir_has_missed_it(s, 0)),
    ("the heir has missed it, and is answered late", |s| heir_has_missed_it(s, 60)),
    ("a letter comes late", letter_comes_late),
    ("two die in turn", two_die),
    ("backups come and go", backups_come_and_go),
    ("a message that kills", message_that_kills),
];

/// The backups of a call, in the order in which they would go on with it.
fn backups(s: &Simulation, call_id: &str) -> Result<[usize; 2], String> {
    let slot = CallHash::of(&s.keys().placement, call_id.as_bytes()).slot();
    let position = |id: NodeId| s.nodes().iter().position(|node| node.id() == id);
    let placement = s.lm().placement().ok_or("no placement")?;
    let others: Vec<usize> = placement.list(slot).filter_map(position).filter(|n| *n != AT).collect();
    others.first_chunk().copied().ok_or_else(|| "too few nodes".to_string())
}

/// Bob answers, they talk, and Alice hangs up: one CDR.
fn goes_on(s: &mut Simulation, attempt: &Dialog, invite: &simulated_rack::hosts::actor::message::Message) -> Outcome {
    talks(s, attempt, invite)?;
    ms(s, 500);
    accounting::check(s, std::slice::from_ref(&attempt.call_id))
}

/// Its first backup does not hear of the call; the other one does, and tells it when it is asked: `late_ms` after.
fn heir_has_missed_it(s: &mut Simulation, late_ms: u64) -> Outcome {
    // A call of the same slot's owner has the same list more often than not: this one is found before it is placed.
    let attempt = s.invite_at(alice(), BOB, NodeId(AT as u16 + 1));
    let [heir, other] = backups(s, &attempt.call_id)?;
    s.part(AT, heir, true);
    let invite = s.expect(bob(), "INVITE")?;
    ms(s, 20);
    s.part(heir, other, late_ms > 0);
    s.kill_node(AT, true);
    ms(s, late_ms);
    s.part(heir, other, false);
    s.part(AT, heir, false);
    ms(s, 800);
    // Only a heir that knows of the INVITE can have asked him again.
    let asked = s.the(bob()).heard.iter().filter(|heard| heard.message.is("INVITE")).count();
    crate::stage::holds("Bob is asked again", asked > 1)?;
    goes_on(s, &attempt, &invite)
}

/// The first letter of a call is lost on its way to the first backup, and comes again behind the next ones.
fn letter_comes_late(s: &mut Simulation) -> Outcome {
    let attempt = s.invite_at(alice(), BOB, NodeId(AT as u16 + 1));
    let [heir, _] = backups(s, &attempt.call_id)?;
    s.part(AT, heir, true);
    let invite = s.expect(bob(), "INVITE")?;
    s.part(AT, heir, false);
    s.answer(bob(), &invite, 200, "b");
    let ok = s.expect(alice(), "200 INVITE")?;
    s.expect(bob(), "ACK")?;
    ms(s, 100);
    s.kill_node(AT, true);
    ms(s, 500);
    let mut dialog = attempt.of_response(&ok);
    s.bye(alice(), &mut dialog);
    s.expect(alice(), "200 BYE")?;
    ms(s, 500);
    accounting::check(s, std::slice::from_ref(&attempt.call_id))
}

/// A node panics over an INVITE, and dies of something else. Its caller repeats it, to the next owner of its slot: that one
/// has been told, and the rest goes on.
fn message_that_kills(s: &mut Simulation) -> Outcome {
    s.invite_at(alice(), "sip:poison@rack.test", NodeId(AT as u16 + 1));
    ms(s, 300);
    s.kill_node(AT, true);
    ms(s, 8_000);
    let repeats = s.wire().iter().filter(|carried| carried.bytes.starts_with(b"INVITE sip:poison@")).count();
    crate::stage::holds("its caller repeats it", repeats > 3)?;
    let panics: u64 = s.nodes().iter().map(|node| node.panics()).sum();
    crate::stage::holds(&format!("one panic, and there were {panics}"), panics == 1)?;
    let attempt = s.invite_at(alice(), BOB, NodeId(3));
    let invite = s.expect(bob(), "INVITE")?;
    goes_on(s, &attempt, &invite)
}

/// The holder, and a while later who has gone on for it.
fn two_die(s: &mut Simulation) -> Outcome {
    let (attempt, invite) = ringing(s)?;
    let [heir, _] = backups(s, &attempt.call_id)?;
    s.kill_node(AT, true);
    ms(s, 900);
    s.kill_node(heir, true);
    ms(s, 900);
    goes_on(s, &attempt, &invite)
}

/// Backups die and come back while somebody rings; when it is over nobody keeps anything of it.
fn backups_come_and_go(s: &mut Simulation) -> Outcome {
    let (attempt, invite) = ringing(s)?;
    for n in backups(s, &attempt.call_id)? {
        s.kill_node(n, true);
        ms(s, 500);
        s.start_node(n);
        settles(s)?;
    }
    goes_on(s, &attempt, &invite)?;
    leftovers::check(s)
}

#[test]
fn what_one_backup_has_heard_is_not_lost() {
    for (name, story) in STORIES {
        for seed in 1..=10 {
            let run = || {
                let mut s = stage(seed)?;
                story(&mut s).map_err(|why| format!("{why}\n{}", s.whole_trail()))?;
                s.verdict()
            };
            run().unwrap_or_else(|why| panic!("{name}, seed {seed}: {why}"));
        }
    }
}
