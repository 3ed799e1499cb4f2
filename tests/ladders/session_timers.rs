//! Session timers (RFC 4028) with the rack as the proxy between: it refuses what is too short, asks where nobody does,
//! counts along, and ends the call in its books when nobody has refreshed it. Sessions here last 120 s, no less than 90.

use crate::races::{BOB, bobs_phones, ends, tag};
use crate::seeds::on_this_rack;
use crate::stage::{TIMED, holds, is, play};
use cc_node::cdr::EndedBy;
use common::time::Duration;
use simulated_rack::hosts::actor::dialog::{Answer, Dialog, Draft};
use simulated_rack::hosts::actor::message::Message;
use simulated_rack::invariants::{i04_accounting as accounting, i08_leftovers as leftovers};
use simulated_rack::network::Conditions;
use simulated_rack::script::ActorId;
use simulated_rack::simulation::Simulation;

const TIMER: &str = "Supported: timer";
const REFRESHED: &str = "Session-Expires: 120;refresher=uac";
/// How long after the last refresh the call is over in the books: the interval, and time for a last BYE.
const OVER: u64 = 120 + 32;

fn rack(seed: u64) -> Simulation {
    Simulation::steady(&[&TIMED], seed)
}

/// An INVITE to Bob with these header lines.
fn invites(s: &mut Simulation, alice: ActorId, attempt: &mut Dialog, lines: &[&str]) {
    let draft = Draft { to_address: None, ..attempt.request("INVITE") };
    let offer = s.the(alice).sdp(1);
    s.send(alice, lines.iter().fold(draft, |draft, line| draft.with(*line)).body(offer));
}

/// Bob's 200 with these header lines.
fn accepts(s: &mut Simulation, bob: ActorId, invite: &Message, lines: &[&str]) {
    let (its, sdp) = (tag(s, bob), s.the(bob).sdp(1));
    let answer = lines.iter().fold(Answer::new(200, &its), |answer, line| answer.with(*line));
    s.respond(bob, invite, answer.body(sdp));
}

/// A call with a timer of 120 s that both know: both sides of it.
fn timed_call(s: &mut Simulation, alice: ActorId, bob: ActorId) -> Result<(Dialog, Dialog), String> {
    let mut attempt = s.the_mut(alice).attempt(BOB);
    invites(s, alice, &mut attempt, &[TIMER, "Session-Expires: 1800"]);
    let invite = s.expect(bob, "INVITE")?;
    is("the interval is cut", invite.header("Session-Expires").to_string(), "120")?;
    accepts(s, bob, &invite, &["Require: timer", REFRESHED]);
    let ok = s.expect(alice, "200 INVITE")?;
    s.expect(bob, "ACK")?;
    let its = tag(s, bob);
    Ok((attempt.of_response(&ok), Dialog::of_request(&invite, &its)))
}

/// A refresh from this side to the other one, accepted.
fn refreshes(
    s: &mut Simulation,
    (from, dialog): (ActorId, &mut Dialog),
    to: ActorId,
    method: &str,
) -> Result<(), String> {
    let draft = dialog.request(method).with(TIMER).with(REFRESHED);
    s.send(from, draft);
    let asked = s.expect(to, method)?;
    let answer = Answer::new(200, "").with("Require: timer").with(REFRESHED);
    s.respond(to, &asked, answer);
    let ok = s.expect(from, &format!("200 {method}"))?;
    is("the interval stands in the answer", ok.header("Session-Expires").to_string(), "120;refresher=uac")?;
    if method == "INVITE" {
        s.expect(to, "ACK")?;
    }
    Ok(())
}

/// §7.4, §8.1: the caller tries again with the Min-SE that it was told.
#[test]
fn too_short_an_interval_is_refused_and_the_next_try_goes_through() {
    play(|| {
        let mut s = rack(541);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let mut attempt = s.the_mut(alice).attempt(BOB);
        invites(&mut s, alice, &mut attempt, &[TIMER, "Session-Expires: 60"]);
        let refused = s.expect(alice, "422")?;
        is("the least that is taken", refused.header("Min-SE").to_string(), "90")?;
        invites(&mut s, alice, &mut attempt, &[TIMER, "Session-Expires: 90", "Min-SE: 90"]);
        let invite = s.expect(bobs[0], "INVITE")?;
        is("it goes on", invite.header("Session-Expires").to_string(), "90")?;
        accepts(&mut s, bobs[0], &invite, &["Require: timer", "Session-Expires: 90;refresher=uas"]);
        let ok = s.expect(alice, "200 INVITE")?;
        s.expect(bobs[0], "ACK")?;
        is("as Bob has said", ok.header("Session-Expires").to_string(), "90;refresher=uas")?;
        ends(&mut s, alice, &mut attempt.of_response(&ok))?;
        s.compare(
            "
            alice -> siprack: INVITE
            siprack -> alice: 422 Session Interval Too Small
            alice -> siprack: ACK
            alice -> siprack: INVITE
            siprack -> alice: 100 Trying
            siprack -> bob1: INVITE
            bob1 -> siprack: 200 OK
            siprack -> alice: 200 OK
            alice -> siprack: ACK
            siprack -> bob1: ACK
            alice -> siprack: BYE
            siprack -> bob1: BYE
            bob1 -> siprack: 200 OK
            siprack -> alice: 200 OK
            ",
        )?;
        leftovers::check(&mut s)
    });
}

/// §8.1: an interval is asked for where nobody does, cut where it is too long, raised for a caller who knows no 422, and
/// never below what a hop before has said is the least.
#[test]
fn what_the_callee_is_asked() {
    play(|| {
        let mut s = rack(542);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        for (lines, expires, min) in [
            (vec![TIMER], "120", ""),
            (vec![], "120", ""),
            (vec![TIMER, "Session-Expires: 3600;refresher=uas"], "120;refresher=uas", ""),
            (vec!["Session-Expires: 30"], "90", "90"),
            (vec![TIMER, "x: 100"], "100", ""),
            (vec![TIMER, "Session-Expires: 3600", "Min-SE: 1000"], "1000", "1000"),
        ] {
            let mut attempt = s.the_mut(alice).attempt(BOB);
            invites(&mut s, alice, &mut attempt, &lines);
            let invite = s.expect(bobs[0], "INVITE")?;
            let interval =
                if invite.header("x").is_empty() { invite.header("Session-Expires") } else { invite.header("x") };
            let seen = (interval, invite.header("Min-SE"));
            holds(&format!("{lines:?} → {seen:?}"), seen == (expires, min))?;
            s.answer(bobs[0], &invite, 486, "tag-bob1");
            s.expect(alice, "486")?;
        }
        leftovers::check(&mut s)
    });
}

/// §8.2: Bob's phone knows no timers, so the rack tells Alice that she is to refresh.
#[test]
fn the_callee_knows_no_timers() {
    play(|| {
        let mut s = rack(543);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let mut attempt = s.the_mut(alice).attempt(BOB);
        invites(&mut s, alice, &mut attempt, &[TIMER]);
        let invite = s.expect(bobs[0], "INVITE")?;
        accepts(&mut s, bobs[0], &invite, &[]);
        let ok = s.expect(alice, "200 INVITE")?;
        is("she is the refresher", ok.header("Session-Expires").to_string(), "120;refresher=uac")?;
        is("and must be", ok.header("Require").to_string(), "timer")?;
        s.run_for(Duration::from_secs(OVER + 1));
        holds("nobody did", s.cdrs().iter().map(|(_, _, cdr)| cdr.ended_by).eq([EndedBy::SessionExpired]))
    });
}

/// Neither knows timers: the call may last.
#[test]
fn nobody_knows_timers() {
    play(|| {
        let mut s = rack(544);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let mut attempt = s.the_mut(alice).attempt(BOB);
        invites(&mut s, alice, &mut attempt, &[]);
        let invite = s.expect(bobs[0], "INVITE")?;
        accepts(&mut s, bobs[0], &invite, &[]);
        let ok = s.expect(alice, "200 INVITE")?;
        holds("nothing is put upon her", ok.header("Session-Expires").is_empty() && ok.header("Require").is_empty())?;
        s.run_for(Duration::from_secs(3 * OVER));
        ends(&mut s, alice, &mut attempt.of_response(&ok))?;
        leftovers::check(&mut s)?;
        accounting::lasted(&s, &attempt.call_id, "tag-bob1")
    });
}

/// §8.3: nobody refreshes. A proxy sends no BYE; the call is over in its books, and what comes after is forwarded all the
/// same, and not charged again.
#[test]
fn a_session_that_nobody_refreshes() {
    play(|| {
        let mut s = rack(545);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let (mut alices, _) = timed_call(&mut s, alice, bobs[0])?;
        s.begin_ladder();
        s.run_for(Duration::from_secs(OVER - 1));
        holds("not yet", s.cdrs().is_empty())?;
        s.run_for(Duration::from_secs(2));
        let told: Vec<(EndedBy, u64)> = s.cdrs().iter().map(|(_, _, c)| (c.ended_by, c.ms_duration / 1000)).collect();
        holds(&format!("{told:?}"), told == [(EndedBy::SessionExpired, OVER)])?;
        holds("without a word", s.rungs().is_empty())?;
        ends(&mut s, alice, &mut alices)?;
        holds("Bob's phone is on hook", s.has_heard(bobs[0], "BYE"))?;
        holds("one record", s.cdrs().len() == 1)?;
        leftovers::check(&mut s)
    });
}

/// UPDATE and re-INVITE, from either side: each begins the interval anew. A refusal does not.
#[test]
fn refreshes_from_either_side() {
    play(|| {
        let mut s = rack(546);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let bob = bobs[0];
        let (mut alices, mut bobs_side) = timed_call(&mut s, alice, bob)?;
        for method in ["UPDATE", "INVITE"] {
            s.run_for(Duration::from_secs(110));
            refreshes(&mut s, (alice, &mut alices), bob, method)?;
            s.run_for(Duration::from_secs(110));
            refreshes(&mut s, (bob, &mut bobs_side), alice, method)?;
        }
        holds("it goes on", s.cdrs().is_empty())?;
        s.run_for(Duration::from_secs(110));
        let late = alices.request("UPDATE").with(TIMER).with(REFRESHED);
        s.send(alice, late);
        let asked = s.expect(bob, "UPDATE")?;
        s.answer(bob, &asked, 500, "");
        s.expect(alice, "500")?;
        s.run_for(Duration::from_secs(OVER - 110 + 1));
        let told: Vec<(EndedBy, u64)> = s.cdrs().iter().map(|(_, _, c)| (c.ended_by, c.ms_duration / 1000)).collect();
        holds(&format!("{told:?}"), told == [(EndedBy::SessionExpired, 4 * 110 + OVER)])?;
        leftovers::check(&mut s)
    });
}

/// A refresh that asks for too little is refused like an INVITE, by the rack itself, and the session goes on.
#[test]
fn a_refresh_that_is_too_short() {
    play(|| {
        let mut s = rack(547);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let (mut alices, _) = timed_call(&mut s, alice, bobs[0])?;
        for method in ["INVITE", "UPDATE"] {
            let short = alices.request(method).with(TIMER).with("Session-Expires: 30");
            s.send(alice, short);
            let refused = s.expect(alice, &format!("422 {method}"))?;
            is("the least that is taken", refused.header("Min-SE").to_string(), "90")?;
        }
        refreshes(&mut s, (alice, &mut alices), bobs[0], "INVITE")?;
        ends(&mut s, alice, &mut alices)?;
        leftovers::check(&mut s)?;
        accounting::lasted(&s, &alices.call_id, "tag-bob1")
    });
}

/// On bad networks: refreshed a few times by whoever and however, then hung up.
#[test]
fn a_refreshed_session_lasts() {
    on_this_rack(&TIMED, "a_refreshed_session_lasts", |s, storm| {
        let (alice, bobs) = bobs_phones(s, storm, &["1.0"])?;
        let bob = bobs[0];
        let (mut alices, mut bobs_side) = timed_call(s, alice, bob)?;
        for _ in 0..3 {
            let wait = s.chance().between(1, 110);
            s.run_for(Duration::from_secs(wait));
            let method = if s.chance().happens(0.5) { "UPDATE" } else { "INVITE" };
            match s.chance().happens(0.5) {
                true => refreshes(s, (alice, &mut alices), bob, method)?,
                false => refreshes(s, (bob, &mut bobs_side), alice, method)?,
            }
        }
        ends(s, alice, &mut alices)?;
        let its = tag(s, bob);
        accounting::lasted(s, &alices.call_id, &its)
    });
}

/// The same, but then both ends die: one record that says so, of the time until the session was over.
#[test]
fn a_session_whose_ends_die() {
    on_this_rack(&TIMED, "a_session_whose_ends_die", |s, storm| {
        let (alice, bobs) = bobs_phones(s, storm, &["1.0"])?;
        let began = s.now();
        let (_, mut bobs_side) = timed_call(s, alice, bobs[0])?;
        let wait = s.chance().between(1, 100);
        s.run_for(Duration::from_secs(wait));
        let method = if s.chance().happens(0.5) { "UPDATE" } else { "INVITE" };
        refreshes(s, (bobs[0], &mut bobs_side), alice, method)?;
        let refreshed = s.now();
        s.run_for(Duration::from_secs(OVER + 40));
        let [(_, _, cdr)] = s.cdrs() else { return Err(format!("{} records", s.cdrs().len())) };
        let over = Duration::from_secs(OVER).as_millis() as u64;
        // From the answer, which came before the wait, to the refresh, which came after it.
        let (least, most) = (over + wait * 1000, over + refreshed.since(began).as_millis() as u64);
        holds("it says why", cdr.ended_by == EndedBy::SessionExpired)?;
        holds(&format!("charged {} ms, {least} to {most}", cdr.ms_duration), (least..=most).contains(&cdr.ms_duration))
    });
}
