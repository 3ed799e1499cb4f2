//! The rows: flows, each up to the moment at which a node may die, and what must come of it all the same. A moment is told
//! by what the wire has carried. Nobody in a story repeats what the real one would not.

use super::play::{BOB, CAROL, Outcome, Play};
use crate::stage::holds;
use common::time::Duration;
use simulated_rack::hosts::actor::dialog::{Answer, Dialog, Draft};

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

pub const ROWS: [Row; 20] = [
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
    long("it rings too long: Timer C", timer_c),
    long("session timer", session),
    row("MESSAGE", message),
    row("SUBSCRIBE and NOTIFY", subscribe),
    row("REGISTER", register),
];

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

/// Bob's phone rings for three minutes; the fault comes a moment before it is told to stop, and it stops all the same. What
/// rings is asked again when its node dies, and that begins the three minutes anew.
fn timer_c(play: &mut Play) -> Outcome {
    let (attempt, _) = play.rings()?;
    play.s.run_for(Duration::from_millis(179_900));
    play.strikes(&attempt.call_id)?;
    play.s.expect_within(play.bob, "CANCEL", Duration::from_secs(200))?;
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

/// The fault comes somewhere between the SUBSCRIBE and the answer to its first NOTIFY.
fn subscribe(play: &mut Play) -> Outcome {
    let mut attempt = play.s.the_mut(play.alice).attempt(BOB);
    let draft = Draft { to_address: None, ..attempt.request("SUBSCRIBE") };
    play.s.send(play.alice, draft.with("Event: presence").with("Expires: 600"));
    let early = play.seed.is_multiple_of(2);
    if early {
        play.some_moment_before(play.alice, "200 SUBSCRIBE");
        play.strikes(&attempt.call_id)?;
    }
    let subscribe = play.s.expect(play.bob, "SUBSCRIBE")?;
    play.s.answer(play.bob, &subscribe, 200, "b");
    play.s.expect(play.alice, "200 SUBSCRIBE")?;
    let notify = Dialog::of_request(&subscribe, "b").request("NOTIFY");
    play.s.send(play.bob, notify.with("Event: presence").with("Subscription-State: active;expires=600"));
    if !early {
        play.some_moment_before(play.bob, "200 NOTIFY");
        play.strikes(&attempt.call_id)?;
    }
    let notified = play.s.expect(play.alice, "NOTIFY")?;
    play.s.answer(play.alice, &notified, 200, "a");
    play.s.expect(play.bob, "200 NOTIFY")?;
    play.asked_once(play.bob, "SUBSCRIBE")?;
    play.asked_once(play.alice, "NOTIFY")
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
