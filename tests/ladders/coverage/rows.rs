//! The rows: flows, each up to the moment at which a node may die, and what must come of it all the same. A moment is told
//! by what the wire has carried. Nobody in a story repeats what the real one would not.

use super::faults::{Fault, Hit};
use crate::ownership::FOUR;
use crate::stage::holds;
use common::call_hash::CallHash;
use common::ids::NodeId;
use common::time::Duration;
use simulated_rack::hosts::actor::dialog::{Answer, Dialog, Draft};
use simulated_rack::hosts::actor::message::Message;
use simulated_rack::plants::Plant;
use simulated_rack::script::ActorId;
use simulated_rack::simulation::Simulation;
use std::collections::BTreeSet;

pub type Outcome = Result<(), String>;

pub struct Row {
    pub name: &'static str,
    pub story: fn(&mut Play) -> Outcome,
    /// A run of it takes long.
    pub is_long: bool,
}

const fn row(name: &'static str, story: fn(&mut Play) -> Outcome) -> Row {
    Row { name, story, is_long: false }
}

const fn long(name: &'static str, story: fn(&mut Play) -> Outcome) -> Row {
    Row { name, story, is_long: true }
}

pub const ROWS: [Row; 18] = [
    row("INVITE in, no 100", invite_in),
    row("100 sent, not forwarded", not_forwarded),
    row("forwarded, no answer", forwarded),
    row("some branches failed", branch_failed),
    row("ringing, 180 lost", ringing_lost),
    row("CANCEL in flight", cancel_in_flight),
    row("200 in flight", answer_in_flight),
    row("200 sent", answered),
    row("before the ACK", before_the_ack),
    row("refused, ACK missing", refused),
    row("re-INVITE", |play| again(play, "INVITE")),
    row("UPDATE", |play| again(play, "UPDATE")),
    row("BYE in, not forwarded", bye_in),
    row("BYE forwarded, 200 lost", bye_answered),
    long("nobody answers: Timer B", timer_b),
    long("session timer", session),
    row("MESSAGE", message),
    row("REGISTER", register),
];

const BOB: &str = "sip:bob@rack.test";
const CAROL: &str = "sip:carol@rack.test";

/// A stage with a fault to come.
pub struct Play {
    pub s: Simulation,
    /// None: it has struck.
    pub fault: Option<Fault>,
    seed: u64,
    alice: ActorId,
    bob: ActorId,
    /// Two phones of Carol's.
    carols: [ActorId; 2],
    /// Calls that must leave one CDR.
    answered: BTreeSet<String>,
}

impl Play {
    pub fn new(seed: u64, plant: Option<Plant>) -> Result<Play, String> {
        let mut s = Simulation::of_rack(FOUR, seed);
        s.plant(plant);
        let [alice, bob, first, second] = ["alice", "bob", "carol1", "carol2"].map(|name| s.actor(name, "rack.test"));
        for (phone, aor) in [(bob, "bob@rack.test"), (first, "carol@rack.test"), (second, "carol@rack.test")] {
            let contact = format!("<{}>", s.the(phone).contact());
            s.bind(phone, aor, &contact)?;
        }
        s.run_for(Duration::from_secs(1));
        s.begin_ladder();
        Ok(Play { s, fault: None, seed, alice, bob, carols: [first, second], answered: BTreeSet::new() })
    }

    /// The fault, now.
    fn strikes(&mut self, call_id: &str) -> Outcome {
        let fault = self.fault.take().ok_or("it strikes once")?;
        let hit = self.hit(call_id).ok_or("nobody holds the call")?;
        (fault.strike)(&mut self.s, hit);
        Ok(())
    }

    fn hit(&self, call_id: &str) -> Option<Hit> {
        let s = &self.s;
        let slot = CallHash::of(&s.keys().placement, call_id.as_bytes()).slot();
        let position = |id: NodeId| s.nodes().iter().position(|node| node.id() == id);
        let list: Vec<usize> = s.lm().placement()?.list(slot).filter_map(position).collect();
        let [holder, first, second] = list[..] else { return None };
        let other = (0..s.nodes().len()).find(|n| !list.contains(n))?;
        Some(Hit { holder, backups: [first, second], other, seed: self.seed })
    }

    /// Runs until the wire has carried this from the VIP to an actor (`outwards`), or from it to the VIP; or for so long.
    fn until_within(&mut self, patience: Duration, outwards: bool, actor: ActorId, what: &str) -> bool {
        let (from, address) = (self.s.wire().len(), self.s.the(actor).address);
        let is_it = |c: &simulated_rack::simulation::Carried| {
            let end = if outwards { c.to } else { c.from };
            end == address && Message::parse(&c.bytes).is_some_and(|m| m.is(what))
        };
        self.s.run_until(patience, |s| s.wire()[from..].iter().any(is_it))
    }

    fn until(&mut self, outwards: bool, actor: ActorId, what: &str) -> Outcome {
        let way = if outwards { "to" } else { "from" };
        let name = self.s.the(actor).name.clone();
        match self.until_within(Duration::from_secs(5), outwards, actor, what) {
            true => Ok(()),
            false => Err(format!("no {what} {way} {name}")),
        }
    }

    /// Some moment until this goes to somebody.
    fn some_moment_before(&mut self, actor: ActorId, what: &str) {
        let us = self.s.chance().between(0, 1_500);
        self.until_within(Duration::from_micros(us), true, actor, what);
    }

    fn deaf(&mut self, actor: ActorId, silent: bool) {
        self.s.habits(actor).silent = silent;
    }

    fn rings(&mut self) -> Result<(Dialog, Message), String> {
        let attempt = self.s.invite(self.alice, BOB);
        let invite = self.s.expect(self.bob, "INVITE")?;
        self.s.answer(self.bob, &invite, 180, "b");
        self.s.expect(self.alice, "180")?;
        Ok((attempt, invite))
    }

    fn hears_answer(&mut self, attempt: &Dialog) -> Result<Dialog, String> {
        let ok = self.s.expect(self.alice, "200 INVITE")?;
        self.s.expect(self.bob, "ACK")?;
        self.answered.insert(attempt.call_id.clone());
        Ok(attempt.of_response(&ok))
    }

    fn talks(&mut self) -> Result<Dialog, String> {
        let (attempt, invite) = self.rings()?;
        self.s.answer(self.bob, &invite, 200, "b");
        let dialog = self.hears_answer(&attempt)?;
        self.s.run_for(Duration::from_millis(300));
        Ok(dialog)
    }

    /// Bob answers, and some seconds later one of them hangs up.
    fn answers_and_ends(&mut self, attempt: &Dialog, invite: &Message) -> Outcome {
        self.s.answer(self.bob, invite, 200, "b");
        let dialog = self.hears_answer(attempt)?;
        self.ends(dialog, Some(invite))
    }

    fn ends(&mut self, mut dialog: Dialog, invite: Option<&Message>) -> Outcome {
        self.s.run_for(Duration::from_millis(1_200));
        let (from, to) = match invite.filter(|_| self.seed % 2 == 1) {
            Some(invite) => {
                dialog = Dialog::of_request(invite, "b");
                (self.bob, self.alice)
            }
            None => (self.alice, self.bob),
        };
        self.s.bye(from, &mut dialog);
        self.s.expect(to, "BYE")?;
        self.s.expect(from, "200 BYE").map(drop)
    }

    /// Of the calls that were answered there is one CDR each, of others none; whoever takes over may write it again.
    pub fn is_charged(&self) -> Outcome {
        let ids: BTreeSet<(&str, &str)> =
            self.s.cdrs().iter().map(|(_, _, cdr)| (cdr.callid.as_str(), cdr.id.as_str())).collect();
        let calls: Vec<&str> = ids.iter().map(|(call, _)| *call).collect();
        let wanted: Vec<&str> = self.answered.iter().map(String::as_str).collect();
        match calls == wanted {
            true => Ok(()),
            false => Err(format!("{wanted:?} were answered, and {ids:?} are charged\n{}", self.s.whole_trail())),
        }
    }

    fn asked_once(&self, actor: ActorId, method: &str) -> Outcome {
        let new = self.s.the(actor).heard.iter().filter(|h| !h.repeat && h.message.is(method)).count();
        holds(&format!("one new {method}, and there were {new}"), new == 1)
    }
}

fn invite_in(play: &mut Play) -> Outcome {
    let attempt = play.s.invite(play.alice, BOB);
    play.some_moment_before(play.alice, "100");
    play.strikes(&attempt.call_id)?;
    let invite = play.s.expect(play.bob, "INVITE")?;
    play.s.answer(play.bob, &invite, 180, "b");
    play.answers_and_ends(&attempt, &invite)?;
    play.asked_once(play.bob, "INVITE")
}

fn not_forwarded(play: &mut Play) -> Outcome {
    play.deaf(play.bob, true);
    let attempt = play.s.invite(play.alice, BOB);
    play.until(true, play.alice, "100")?;
    play.strikes(&attempt.call_id)?;
    play.s.run_for(Duration::from_millis(2));
    play.deaf(play.bob, false);
    let invite = play.s.expect(play.bob, "INVITE")?;
    play.answers_and_ends(&attempt, &invite)
}

fn forwarded(play: &mut Play) -> Outcome {
    let attempt = play.s.invite(play.alice, BOB);
    let invite = play.s.expect(play.bob, "INVITE")?;
    play.strikes(&attempt.call_id)?;
    play.s.run_for(Duration::from_millis(800));
    play.answers_and_ends(&attempt, &invite)?;
    play.asked_once(play.bob, "INVITE")
}

/// One phone is busy; the other one breaks down later.
fn branch_failed(play: &mut Play) -> Outcome {
    let attempt = play.s.invite(play.alice, CAROL);
    let [first, second] = play.carols;
    let busy = play.s.expect(first, "INVITE")?;
    let broken = play.s.expect(second, "INVITE")?;
    play.s.answer(second, &broken, 180, "c2");
    play.s.expect(play.alice, "180")?;
    play.s.answer(first, &busy, 486, "c1");
    play.until(true, first, "ACK")?;
    play.strikes(&attempt.call_id)?;
    play.s.run_for(Duration::from_millis(800));
    play.s.answer(second, &broken, 500, "c2");
    play.s.expect(play.alice, "486").map(drop)
}

fn ringing_lost(play: &mut Play) -> Outcome {
    let attempt = play.s.invite(play.alice, BOB);
    let invite = play.s.expect(play.bob, "INVITE")?;
    play.deaf(play.alice, true);
    play.s.answer(play.bob, &invite, 180, "b");
    play.until(true, play.alice, "180")?;
    play.strikes(&attempt.call_id)?;
    play.s.run_for(Duration::from_millis(2));
    play.deaf(play.alice, false);
    play.s.run_for(Duration::from_millis(800));
    play.answers_and_ends(&attempt, &invite)
}

fn cancel_in_flight(play: &mut Play) -> Outcome {
    let (attempt, _) = play.rings()?;
    play.s.cancel(play.alice, &attempt);
    play.some_moment_before(play.bob, "CANCEL");
    play.strikes(&attempt.call_id)?;
    play.s.expect(play.bob, "CANCEL")?;
    play.s.expect(play.alice, "487").map(drop)
}

fn answer_in_flight(play: &mut Play) -> Outcome {
    let (attempt, invite) = play.rings()?;
    play.s.answer(play.bob, &invite, 200, "b");
    play.some_moment_before(play.alice, "200 INVITE");
    play.strikes(&attempt.call_id)?;
    let dialog = play.hears_answer(&attempt)?;
    play.ends(dialog, Some(&invite))
}

fn answered(play: &mut Play) -> Outcome {
    let (attempt, invite) = play.rings()?;
    play.s.answer(play.bob, &invite, 200, "b");
    play.until(true, play.alice, "200 INVITE")?;
    play.strikes(&attempt.call_id)?;
    let dialog = play.hears_answer(&attempt)?;
    play.ends(dialog, Some(&invite))
}

fn before_the_ack(play: &mut Play) -> Outcome {
    let (attempt, invite) = play.rings()?;
    play.s.answer(play.bob, &invite, 200, "b");
    play.until(false, play.alice, "ACK")?;
    play.strikes(&attempt.call_id)?;
    let dialog = play.hears_answer(&attempt)?;
    play.ends(dialog, Some(&invite))
}

fn refused(play: &mut Play) -> Outcome {
    let attempt = play.s.invite(play.alice, BOB);
    let invite = play.s.expect(play.bob, "INVITE")?;
    play.s.expect(play.alice, "100")?;
    play.deaf(play.alice, true);
    play.s.answer(play.bob, &invite, 486, "b");
    play.until(true, play.alice, "486")?;
    play.strikes(&attempt.call_id)?;
    play.s.run_for(Duration::from_millis(2));
    play.deaf(play.alice, false);
    play.s.expect(play.alice, "486").map(drop)
}

/// Something of a talk that is negotiated anew.
fn again(play: &mut Play, method: &str) -> Outcome {
    let mut dialog = play.talks()?;
    let offer = play.s.the(play.alice).sdp(2);
    let draft = dialog.request(method).body(offer);
    play.s.send(play.alice, draft);
    play.some_moment_before(play.alice, &format!("200 {method}"));
    play.strikes(&dialog.call_id)?;
    let asked = play.s.expect(play.bob, method)?;
    play.s.answer(play.bob, &asked, 200, "b");
    play.s.expect(play.alice, &format!("200 {method}"))?;
    if method == "INVITE" {
        play.s.expect(play.bob, "ACK")?;
    }
    play.ends(dialog, None)
}

fn bye_in(play: &mut Play) -> Outcome {
    let mut dialog = play.talks()?;
    play.s.bye(play.alice, &mut dialog);
    play.some_moment_before(play.bob, "BYE");
    play.strikes(&dialog.call_id)?;
    play.s.expect(play.bob, "BYE")?;
    play.s.expect(play.alice, "200 BYE").map(drop)
}

fn bye_answered(play: &mut Play) -> Outcome {
    let mut dialog = play.talks()?;
    play.s.bye(play.alice, &mut dialog);
    play.deaf(play.alice, true);
    play.until(true, play.alice, "200 BYE")?;
    play.strikes(&dialog.call_id)?;
    play.s.run_for(Duration::from_millis(2));
    play.deaf(play.alice, false);
    play.s.expect(play.alice, "200 BYE").map(drop)
}

/// Bob's machine is dead; the fault comes a moment before the INVITE is given up.
fn timer_b(play: &mut Play) -> Outcome {
    play.deaf(play.bob, true);
    let attempt = play.s.invite(play.alice, BOB);
    play.s.run_for(Duration::from_millis(31_900));
    play.strikes(&attempt.call_id)?;
    play.s.expect_within(play.alice, "408", Duration::from_secs(80)).map(drop)
}

/// Neither refresh nor BYE comes: the call ends in the books, once.
fn session(play: &mut Play) -> Outcome {
    let mut attempt = play.s.the_mut(play.alice).attempt(BOB);
    let offer = play.s.the(play.alice).sdp(1);
    let lines = ["Supported: timer", "Session-Expires: 90"];
    let draft = Draft { to_address: None, ..attempt.request("INVITE") };
    play.s.send(play.alice, lines.iter().fold(draft, |draft, line| draft.with(*line)).body(offer));
    let invite = play.s.expect(play.bob, "INVITE")?;
    let sdp = play.s.the(play.bob).sdp(1);
    let answer = Answer::new(200, "b").with("Require: timer").with("Session-Expires: 90;refresher=uac").body(sdp);
    play.s.respond(play.bob, &invite, answer);
    let dialog = play.hears_answer(&attempt)?;
    play.s.run_for(Duration::from_secs(85));
    play.strikes(&dialog.call_id)?;
    play.s.run_for(Duration::from_secs(45));
    play.is_charged()
}

fn message(play: &mut Play) -> Outcome {
    let mut attempt = play.s.the_mut(play.alice).attempt(BOB);
    let draft = Draft { to_address: None, ..attempt.request("MESSAGE") };
    play.s.send(play.alice, draft.body("v=0\r\n"));
    play.some_moment_before(play.alice, "200 MESSAGE");
    play.strikes(&attempt.call_id)?;
    let asked = play.s.expect(play.bob, "MESSAGE")?;
    play.s.answer(play.bob, &asked, 200, "b");
    play.s.expect(play.alice, "200 MESSAGE")?;
    play.asked_once(play.bob, "MESSAGE")
}

/// Alice registers; whoever is asked for her afterwards knows where she is.
fn register(play: &mut Play) -> Outcome {
    let mut attempt = play.s.the_mut(play.alice).attempt("sip:alice@rack.test");
    attempt.target = "sip:rack.test".to_string();
    attempt.local = "<sip:alice@rack.test>;tag=reg".to_string();
    let contact = play.s.the(play.alice).contact();
    let draft = Draft { to_address: None, ..attempt.request("REGISTER") };
    play.s.send(play.alice, draft.with(format!("Contact: <{contact}>")).with("Expires: 3600"));
    play.some_moment_before(play.alice, "200 REGISTER");
    play.strikes(&attempt.call_id)?;
    play.s.expect(play.alice, "200 REGISTER")?;
    play.s.run_for(Duration::from_millis(600));
    for _ in 0..4 {
        let attempt = play.s.invite(play.bob, "sip:alice@rack.test");
        let invite = play.s.expect(play.alice, "INVITE")?;
        play.s.answer(play.alice, &invite, 486, "a");
        play.s.expect(play.bob, "486")?;
        holds("her phone is asked", invite.call_id() == attempt.call_id)?;
    }
    Ok(())
}
