//! One ladder for each kind of change of who takes new calls, with a call that its holder keeps. Each is played as it is,
//! and with every planted bug (`chaos`).

use super::{FOUR, settles};
use crate::must;
use common::ids::{NodeId, Plane};
use common::keys::Use;
use common::time::Duration;
use simulated_rack::hosts::actor::dialog::Dialog;
use simulated_rack::hosts::actor::message::Message;
use simulated_rack::invariants::i04_accounting as accounting;
use simulated_rack::script::ActorId;
use simulated_rack::simulation::Simulation;

pub type Outcome = Result<(), String>;
pub type Story = fn(&mut Simulation) -> Outcome;

pub const BOB: &str = "sip:bob@rack.test";
/// What a call of all these stories has for its slot's owner.
pub const OWNER: NodeId = NodeId(2);
pub const AT: usize = 1;

pub const STORIES: [(&str, Story); 15] = [
    ("drain", drain),
    ("return", return_),
    ("return long after", return_long_after),
    ("stop", stop),
    ("answer after a stop", answer_after_a_stop),
    ("cut inwards", cut_inwards),
    ("restart of the load manager", load_manager_restarts),
    ("sleep of the load manager", load_manager_sleeps),
    ("sleep of the load manager of one node", load_manager_of_one_sleeps),
    ("weight", weight),
    ("a full node", full_node),
    ("silence", silence),
    ("keys", keys),
    ("deaf on one plane", |s| one_way(s, true)),
    ("dumb on one plane", |s| one_way(s, false)),
];

/// Bob is registered, and what stood before is forgotten.
pub fn stage(seed: u64) -> Result<Simulation, String> {
    let mut s = Simulation::of_rack(FOUR, seed);
    let bob = s.actor("bob", "rack.test");
    let contact = format!("<{}>", s.the(bob).contact());
    s.bind(bob, "bob@rack.test", &contact)?;
    s.actor("alice", "rack.test");
    s.run_for(Duration::from_secs(33));
    s.begin_ladder();
    Ok(s)
}

/// Each story on stages of its own.
pub fn play(stories: &[(&str, Story)]) {
    for (name, story) in stories {
        for seed in 1..=3 {
            let run = || {
                let mut s = stage(seed)?;
                story(&mut s).map_err(|why| format!("{why}\n{}", s.whole_trail()))?;
                s.verdict()
            };
            run().unwrap_or_else(|why| panic!("{name}, seed {seed}: {why}"));
        }
    }
}

pub fn bob() -> ActorId {
    ActorId(0)
}

pub fn alice() -> ActorId {
    ActorId(1)
}

pub fn ms(s: &mut Simulation, ms: u64) {
    s.run_for(Duration::from_millis(ms));
}

/// Bob rings.
pub fn ringing(s: &mut Simulation) -> Result<(Dialog, Message), String> {
    let attempt = s.invite_at(alice(), BOB, OWNER);
    let invite = s.expect(bob(), "INVITE")?;
    s.answer(bob(), &invite, 180, "b");
    s.expect(alice(), "180")?;
    Ok((attempt, invite))
}

/// The INVITE comes again, and whoever holds it says again what it said.
pub fn repeated(s: &mut Simulation) -> Outcome {
    // Its lease may have lapsed a moment ago, and what comes then is left to the next repeat.
    ms(s, 150);
    s.repeat(alice(), "INVITE");
    s.expect_within(alice(), "180", Duration::from_millis(400)).map(drop)
}

fn cancelled(s: &mut Simulation, attempt: &Dialog) -> Outcome {
    s.cancel(alice(), attempt);
    s.expect(bob(), "CANCEL")?;
    s.expect(alice(), "487")?;
    s.run_for(Duration::from_secs(6));
    accounting::check(s, &[])
}

/// Bob answers, and Alice hangs up: one CDR.
fn answered(s: &mut Simulation, attempt: &Dialog, invite: &Message) -> Outcome {
    talks(s, attempt, invite)?;
    accounting::check(s, std::slice::from_ref(&attempt.call_id))
}

pub fn talks(s: &mut Simulation, attempt: &Dialog, invite: &Message) -> Outcome {
    s.answer(bob(), invite, 200, "b");
    let ok = s.expect(alice(), "200 INVITE")?;
    s.expect(bob(), "ACK")?;
    let mut dialog = attempt.of_response(&ok);
    s.run_for(Duration::from_secs(1));
    s.bye(alice(), &mut dialog);
    s.expect(alice(), "200 BYE").map(drop)
}

fn is_out(s: &Simulation) -> bool {
    s.lm().placement().is_some_and(|placement| placement.live(OWNER).is_none())
}

fn drain(s: &mut Simulation) -> Outcome {
    let (attempt, invite) = ringing(s)?;
    let epoch = s.lm().epoch();
    s.drain_node(AT, true);
    must(s, 1, "an epoch", |s| s.lm().epoch() > epoch)?;
    ms(s, 100);
    repeated(s)?;
    // New calls go to somebody else, and stay there when it takes new ones again.
    let (other, _) = ringing(s)?;
    s.drain_node(AT, false);
    settles(s)?;
    repeated(s)?;
    cancelled(s, &other)?;
    answered(s, &attempt, &invite)
}

/// It is dead; who stands in for it holds a call that rings.
fn stood_in(s: &mut Simulation) -> Result<Dialog, String> {
    s.kill_node(AT, true);
    ms(s, 50);
    ringing(s).map(|(attempt, _)| attempt)
}

fn return_(s: &mut Simulation) -> Outcome {
    let attempt = stood_in(s)?;
    s.start_node(AT);
    settles(s)?;
    repeated(s)?;
    cancelled(s, &attempt)
}

/// Bob rings for longer than anything is repeated: who holds the call is found all the same.
fn return_long_after(s: &mut Simulation) -> Outcome {
    let attempt = stood_in(s)?;
    s.start_node(AT);
    settles(s)?;
    s.run_for(Duration::from_secs(50));
    cancelled(s, &attempt)
}

/// It is stopped while nobody has answered; another takes the call up; when it wakes it has nothing to do with it.
fn stop(s: &mut Simulation) -> Outcome {
    s.habits(bob()).silent = true;
    s.invite_at(alice(), BOB, OWNER);
    ms(s, 20);
    s.stop_node(AT);
    must(s, 1, "it is out", is_out)?;
    s.repeat(alice(), "INVITE");
    ms(s, 300);
    s.resume_node(AT);
    settles(s)?;
    s.run_for(Duration::from_secs(40));
    crate::stage::holds("the caller hears of it", s.has_heard(alice(), "408"))
}

/// The same, and Bob answers the INVITE that the first holder had sent. The token in its Record-Route names that one, so
/// the BYE does not pass the second: only a shadow will write this call's CDR.
fn answer_after_a_stop(s: &mut Simulation) -> Outcome {
    let attempt = s.invite_at(alice(), BOB, OWNER);
    let invite = s.expect(bob(), "INVITE")?;
    s.stop_node(AT);
    must(s, 1, "it is out", is_out)?;
    s.repeat(alice(), "INVITE");
    ms(s, 300);
    s.resume_node(AT);
    settles(s)?;
    s.run_for(Duration::from_secs(2));
    talks(s, &attempt, &invite)
}

/// It hears nobody, and everybody hears it.
fn cut_inwards(s: &mut Simulation) -> Outcome {
    s.habits(bob()).silent = true;
    s.invite_at(alice(), BOB, OWNER);
    ms(s, 20);
    s.cut_node(AT, true, false);
    must(s, 1, "it is out", is_out)?;
    s.repeat(alice(), "INVITE");
    s.run_for(Duration::from_secs(2));
    s.mend_node(AT);
    settles(s)
}

/// One plane fails in one direction, on which nobody who is heard there would know it: what is said goes over the other.
fn one_way(s: &mut Simulation, inwards: bool) -> Outcome {
    let mut calls = Vec::new();
    for plane in Plane::ALL {
        let (attempt, invite) = ringing(s)?;
        s.cut_way(AT, plane, inwards);
        ms(s, 300);
        repeated(s)?;
        if is_out(s) {
            return Err(format!("{OWNER} was removed for one way over plane {plane:?}"));
        }
        talks(s, &attempt, &invite)?;
        calls.push(attempt.call_id);
        // What begins now finds both ways at once.
        let (attempt, _) = ringing(s)?;
        s.cancel(alice(), &attempt);
        s.expect(bob(), "CANCEL")?;
        s.expect(alice(), "487")?;
        s.mend_way(AT, plane);
        ms(s, 300);
    }
    s.run_for(Duration::from_secs(6));
    accounting::check(s, &calls)
}

fn load_manager_restarts(s: &mut Simulation) -> Outcome {
    let (attempt, invite) = ringing(s)?;
    s.kill_lm();
    ms(s, 250);
    s.start_lm();
    settles(s)?;
    repeated(s)?;
    answered(s, &attempt, &invite)
}

fn load_manager_sleeps(s: &mut Simulation) -> Outcome {
    let (attempt, invite) = ringing(s)?;
    s.stop_lm();
    s.run_for(Duration::from_secs(2));
    s.resume_lm();
    crate::stage::holds("it judges nobody by its own sleep", s.lm().live().len() == 4)?;
    settles(s)?;
    answered(s, &attempt, &invite)
}

/// Of several it may think that it is itself cut off from them; of one it cannot.
fn load_manager_of_one_sleeps(s: &mut Simulation) -> Outcome {
    (0..3).for_each(|n| s.kill_node(n, true));
    s.run_for(Duration::from_secs(2));
    s.stop_lm();
    s.run_for(Duration::from_secs(2));
    s.resume_lm();
    crate::stage::holds("it judges nobody by its own sleep", s.lm().live().len() == 1)?;
    (0..3).for_each(|n| s.start_node(n));
    settles(s)
}

/// The rack file says that it weighs next to nothing now.
fn weight(s: &mut Simulation) -> Outcome {
    let (attempt, _) = ringing(s)?;
    s.reweigh(AT, 1);
    s.kill_lm();
    ms(s, 100);
    s.start_lm();
    settles(s)?;
    let slots = s.lm().placement().map_or(0, |p| p.shares()[AT].1);
    crate::stage::holds("it owns next to nothing", slots < 1000)?;
    repeated(s)?;
    cancelled(s, &attempt)
}

/// It takes no new calls: they go to the next, and stay there when it takes all again.
fn full_node(s: &mut Simulation) -> Outcome {
    s.admit(AT, 0);
    ms(s, 200);
    let (attempt, _) = ringing(s)?;
    repeated(s)?;
    s.admit(AT, u16::MAX);
    ms(s, 200);
    repeated(s)?;
    s.run_for(Duration::from_secs(40));
    cancelled(s, &attempt)
}

/// Who came back does not reach who stood in: what nobody answers is dropped, and the third copy goes on without.
fn silence(s: &mut Simulation) -> Outcome {
    s.kill_node(AT, true);
    ms(s, 50);
    s.start_node(AT);
    settles(s)?;
    (0..4).filter(|n| *n != AT).for_each(|n| s.part(AT, n, true));
    s.invite_at(alice(), BOB, OWNER);
    ms(s, 1400);
    crate::stage::holds("nobody goes on before 1.5 s", !s.has_heard(bob(), "INVITE"))?;
    let invite = s.expect_within(bob(), "INVITE", Duration::from_secs(3))?;
    s.answer(bob(), &invite, 486, "b");
    s.expect(alice(), "486").map(drop)
}

/// Each key turns while Bob rings: what the old ones wrote is still worth what it says.
fn keys(s: &mut Simulation) -> Outcome {
    let (attempt, invite) = ringing(s)?;
    Use::ALL.into_iter().for_each(|what| s.turn_key(what, 1));
    settles(s)?;
    repeated(s)?;
    answered(s, &attempt, &invite)
}

#[test]
fn a_call_stays_with_its_holder_through_each_kind_of_change() {
    play(&STORIES);
}

/// All are drained: what is going on goes on, and new calls hear so.
#[test]
fn a_rack_that_drains_refuses_new_calls_only() {
    let run = || {
        let mut s = stage(7)?;
        let (attempt, invite) = ringing(&mut s)?;
        (0..4).for_each(|n| s.drain_node(n, true));
        ms(&mut s, 200);
        repeated(&mut s)?;
        s.invite_at(alice(), BOB, OWNER);
        let refused = s.expect(alice(), "503")?;
        crate::stage::holds("it says when to come again", refused.header("Retry-After") == "30")?;
        answered(&mut s, &attempt, &invite)?;
        s.verdict()
    };
    run().unwrap_or_else(|why| panic!("{why}"));
}
