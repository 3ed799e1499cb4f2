//! Forking (RFC 3261 §16.6, §16.7): rings, answers, refusals and challenges of several branches; late answers.

use super::{BOB, all_ring, bobs_phones, ends, hears_of_it, tag};
use crate::stage::{holds, open, play};
use common::time::Duration;
use simulated_rack::hosts::actor::dialog::Answer;
use simulated_rack::invariants::{i04_accounting as accounting, i08_leftovers as leftovers};
use simulated_rack::network::Conditions;

/// Both phones' tags come to the caller, the one that answers is kept, the other one is cancelled.
#[test]
fn both_phones_ring_and_one_answers() {
    play(|| {
        let mut s = open(401);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0", "1.0"])?;
        let attempt = s.invite(alice, BOB);
        let invites = all_ring(&mut s, &bobs)?;
        let tags = [s.expect(alice, "180")?.to_tag(), s.expect(alice, "180")?.to_tag()];
        holds("two early dialogs", tags == ["tag-bob1", "tag-bob2"])?;
        s.answer(bobs[1], &invites[1], 200, "tag-bob2");
        let ok = s.expect(alice, "200 INVITE")?;
        s.run_for(Duration::from_secs(1));
        ends(&mut s, alice, &mut attempt.of_response(&ok))?;
        s.compare(
            "
            alice -> siprack: INVITE
            siprack -> alice: 100 Trying
            siprack -> bob1: INVITE
            siprack -> bob2: INVITE
            bob1 -> siprack: 180 Ringing
            bob2 -> siprack: 180 Ringing
            siprack -> alice: 180 Ringing
            siprack -> alice: 180 Ringing
            bob2 -> siprack: 200 OK
            siprack -> alice: 200 OK
            siprack -> bob1: CANCEL
            alice -> siprack: ACK
            bob1 -> siprack: 200 OK
            bob1 -> siprack: 487 Request Terminated
            siprack -> bob2: ACK
            siprack -> bob1: ACK
            alice -> siprack: BYE
            siprack -> bob2: BYE
            bob2 -> siprack: 200 OK
            siprack -> alice: 200 OK
            ",
        )
    });
}

/// Both answers go upstream at once (§16.7 step 5); the caller acknowledges both and hangs one up (§13.2.2.4).
#[test]
fn both_phones_answer() {
    play(|| {
        let mut s = open(402);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0", "1.0"])?;
        let attempt = s.invite(alice, BOB);
        let invites = all_ring(&mut s, &bobs)?;
        s.run_for(Duration::from_millis(10));
        s.begin_ladder();
        s.answer(bobs[0], &invites[0], 200, "tag-bob1");
        s.answer(bobs[1], &invites[1], 200, "tag-bob2");
        let kept = s.expect(alice, "200 INVITE")?;
        let other = s.expect(alice, "200 INVITE")?;
        s.expect(bobs[0], "ACK")?;
        s.expect(bobs[1], "ACK")?;
        ends(&mut s, alice, &mut attempt.of_response(&other))?;
        s.run_for(Duration::from_secs(10));
        ends(&mut s, alice, &mut attempt.of_response(&kept))?;
        s.compare(
            "
            bob1 -> siprack: 200 OK
            bob2 -> siprack: 200 OK
            siprack -> alice: 200 OK
            siprack -> bob2: CANCEL
            siprack -> alice: 200 OK
            alice -> siprack: ACK
            bob2 -> siprack: 200 OK
            alice -> siprack: ACK
            siprack -> bob1: ACK
            siprack -> bob2: ACK
            alice -> siprack: BYE
            siprack -> bob2: BYE
            bob2 -> siprack: 200 OK
            siprack -> alice: 200 OK
            alice -> siprack: BYE
            siprack -> bob1: BYE
            bob1 -> siprack: 200 OK
            siprack -> alice: 200 OK
            ",
        )?;
        accounting::lasted(&s, &attempt.call_id, "tag-bob1")
    });
}

/// Alice hangs up on bob1 before her ACK has come to him: he repeats his 200 even after the BYE (§13.3.1.4). That is no new
/// dialog: the call ends with bob2's, and is charged for that one.
#[test]
fn a_phone_that_was_hung_up_repeats_its_answer() {
    play(|| {
        let mut s = open(409);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0", "1.0"])?;
        s.habits(alice).acknowledges = false;
        let attempt = s.invite(alice, BOB);
        let invites = all_ring(&mut s, &bobs)?;
        s.answer(bobs[0], &invites[0], 200, "tag-bob1");
        s.answer(bobs[1], &invites[1], 200, "tag-bob2");
        let other = s.expect(alice, "200 INVITE")?;
        let mut kept = attempt.of_response(&s.expect(alice, "200 INVITE")?);
        let ack = kept.request("ACK");
        s.send(alice, ack);
        s.expect(bobs[1], "ACK")?;
        ends(&mut s, alice, &mut attempt.of_response(&other))?;
        s.run_for(Duration::from_secs(1));
        let repeats = s.the(alice).heard.iter().filter(|h| h.repeat && h.message.is("200 INVITE")).count();
        holds("bob1 repeats his 200, and it comes through", repeats == 1)?;
        let ack = attempt.of_response(&other).request("ACK");
        s.send(alice, ack);
        s.expect(bobs[0], "ACK")?;
        s.run_for(Duration::from_secs(10));
        ends(&mut s, alice, &mut kept)?;
        leftovers::check(&mut s)?;
        accounting::lasted(&s, &attempt.call_id, "tag-bob2")
    });
}

/// The 6xx waits until the others have stopped (§16.7 step 5).
#[test]
fn one_declines_for_all() {
    play(|| {
        let mut s = open(403);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0", "1.0", "0.5"])?;
        s.invite(alice, BOB);
        let invites = all_ring(&mut s, &bobs[..2])?;
        s.run_for(Duration::from_millis(10));
        s.begin_ladder();
        s.answer(bobs[0], &invites[0], 603, "tag-bob1");
        s.expect(alice, "603")?;
        s.run_for(Duration::from_secs(1));
        holds("bob3, whose turn would have come, is left alone", !s.has_heard(bobs[2], "INVITE"))?;
        s.compare(
            "
            bob1 -> siprack: 603 Decline
            siprack -> bob1: ACK
            siprack -> bob2: CANCEL
            bob2 -> siprack: 200 OK
            bob2 -> siprack: 487 Request Terminated
            siprack -> bob2: ACK
            siprack -> alice: 603 Decline
            alice -> siprack: ACK
            ",
        )
    });
}

/// One group of equal q after another (§16.6), and an answer of a class that helps (§16.7 step 6).
#[test]
fn one_after_another_by_q() {
    play(|| {
        let mut s = open(404);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["0.3", "0.9", "0.6"])?;
        s.invite(alice, BOB);
        for (phone, status) in [(1, 486), (2, 404), (0, 480)] {
            let invite = s.expect(bobs[phone], "INVITE")?;
            let its = tag(&s, bobs[phone]);
            s.answer(bobs[phone], &invite, status, &its);
        }
        s.run_for(Duration::from_secs(1));
        let heard: Vec<u16> = s.the(alice).heard.iter().map(|h| h.message.status()).collect();
        holds("100 and one refusal, the first of the best class", heard == [100, 486])?;
        s.compare(
            "
            alice -> siprack: INVITE
            siprack -> alice: 100 Trying
            siprack -> bob2: INVITE
            bob2 -> siprack: 486 Busy Here
            siprack -> bob2: ACK
            siprack -> bob3: INVITE
            bob3 -> siprack: 404 Not Found
            siprack -> bob3: ACK
            siprack -> bob1: INVITE
            bob1 -> siprack: 480 Temporarily Unavailable
            siprack -> bob1: ACK
            siprack -> alice: 486 Busy Here
            alice -> siprack: ACK
            ",
        )
    });
}

/// §16.7 step 7: the caller gets the challenges of all branches in one response.
#[test]
fn challenges_of_both_branches_come_together() {
    play(|| {
        let mut s = open(405);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0", "1.0"])?;
        s.invite(alice, BOB);
        let one = s.expect(bobs[0], "INVITE")?;
        let two = s.expect(bobs[1], "INVITE")?;
        let offer = |realm: &str| format!("Digest realm=\"{realm}\", nonce=\"n\"");
        s.respond(bobs[0], &one, Answer::new(401, "b1").with(format!("WWW-Authenticate: {}", offer("desk"))));
        s.respond(bobs[1], &two, Answer::new(407, "b2").with(format!("Proxy-Authenticate: {}", offer("mobile"))));
        let asked = s.expect(alice, "401")?;
        holds("desk's", asked.lines("WWW-Authenticate") == [offer("desk")])?;
        holds("mobile's", asked.lines("Proxy-Authenticate") == [offer("mobile")])
    });
}

/// Timer C (§16.8): a phone that rings for ever is cancelled after 181 s, and the caller hears 408.
#[test]
fn it_rings_for_ever() {
    play(|| {
        let mut s = open(406);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        s.invite(alice, BOB);
        all_ring(&mut s, &bobs)?;
        s.run_for(Duration::from_secs(180));
        holds("not yet", !s.has_heard(bobs[0], "CANCEL"))?;
        s.run_for(Duration::from_secs(2));
        holds("now", s.has_heard(bobs[0], "CANCEL"))?;
        let refused = s.the(alice).heard.iter().find(|h| h.message.status() >= 300);
        holds("the caller hears it", refused.is_some_and(|h| matches!(h.message.status(), 408 | 487)))?;
        leftovers::check(&mut s)
    });
}

/// The phone is picked up in the moment in which Timer C fires: its 200 is the outcome (RFC 6026).
#[test]
fn a_200_crosses_timer_c() {
    play(|| {
        let mut s = open(407);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let attempt = s.invite(alice, BOB);
        let invites = all_ring(&mut s, &bobs)?;
        let on_its_way =
            s.run_until(Duration::from_secs(190), |s| s.rungs().last().is_some_and(|r| r.ends_with("CANCEL")));
        holds("Timer C", on_its_way)?;
        s.answer(bobs[0], &invites[0], 200, "tag-bob1");
        let ok = s.expect(alice, "200 INVITE")?;
        ends(&mut s, alice, &mut attempt.of_response(&ok))?;
        leftovers::check(&mut s)?;
        accounting::lasted(&s, &attempt.call_id, "tag-bob1")
    });
}

/// The caller has given up, the phone hears no CANCEL (it answers it and rings on), and is picked up when the rack has
/// long given the caller its answer: the late 200 still comes to the caller, who can hang up.
#[test]
fn a_200_after_the_caller_was_told_no() {
    play(|| {
        let mut s = open(408);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        s.habits(bobs[0]).stops_when_cancelled = false;
        let attempt = s.invite(alice, BOB);
        hears_of_it(&mut s, alice)?;
        let invites = all_ring(&mut s, &bobs)?;
        s.run_for(Duration::from_secs(1));
        s.cancel(alice, &attempt);
        let cancel = s.expect(bobs[0], "CANCEL")?;
        s.answer(bobs[0], &cancel, 200, "tag-bob1");
        let told = s.run_until(Duration::from_secs(40), |s| s.has_heard(alice, "487") || s.has_heard(alice, "408"));
        holds("after 32 s the caller is told", told)?;
        s.run_for(Duration::from_secs(3));
        s.answer(bobs[0], &invites[0], 200, "tag-bob1");
        let ok = s.expect(alice, "200 INVITE")?;
        s.expect(bobs[0], "ACK")?;
        ends(&mut s, alice, &mut attempt.of_response(&ok))?;
        holds("Bob's phone is on hook", s.has_heard(bobs[0], "BYE"))?;
        leftovers::check(&mut s)
    });
}
