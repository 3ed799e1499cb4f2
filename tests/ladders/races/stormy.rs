//! The stories of this folder under seeds: loss, duplication, reordering.

use super::{BOB, all_ring, bobs_phones, ends, established, hears_of_it, tag};
use crate::seeds::under_three_conditions;
use crate::stage::holds;
use common::time::Duration;
use simulated_rack::hosts::actor::dialog::Answer;
use simulated_rack::invariants::i04_accounting as accounting;
use simulated_rack::network::Conditions;
use simulated_rack::simulation::Simulation;

type Outcome = Result<(), String>;

fn some_ms(s: &mut Simulation, most: u64) -> Duration {
    Duration::from_micros(s.chance().between(0, most * 1000))
}

#[test]
fn a_fork_of_which_one_answers() {
    under_three_conditions("a_fork_of_which_one_answers", |s, storm| {
        let (alice, bobs) = bobs_phones(s, storm, &["1.0", "1.0", "1.0"])?;
        let attempt = s.invite(alice, BOB);
        let invites = all_ring(s, &bobs)?;
        let wait = some_ms(s, 300);
        s.run_for(wait);
        let who = s.chance().between(0, 2) as usize;
        let its = tag(s, bobs[who]);
        s.answer(bobs[who], &invites[who], 200, &its);
        let ok = s.expect(alice, "200 INVITE")?;
        for other in (0..3).filter(|n| *n != who) {
            s.expect(bobs[other], "CANCEL")?;
        }
        s.run_for(Duration::from_secs(2));
        ends(s, alice, &mut attempt.of_response(&ok))?;
        accounting::lasted(s, &attempt.call_id, &its)
    });
}

#[test]
fn the_caller_gives_up_while_three_phones_ring() {
    under_three_conditions("the_caller_gives_up_while_three_phones_ring", |s, storm| {
        let (alice, bobs) = bobs_phones(s, storm, &["1.0", "1.0", "1.0"])?;
        let attempt = s.invite(alice, BOB);
        hears_of_it(s, alice)?;
        all_ring(s, &bobs)?;
        let wait = some_ms(s, 20);
        s.run_for(wait);
        s.cancel(alice, &attempt);
        s.expect(alice, "487")?;
        for bob in bobs {
            s.expect(bob, "CANCEL")?;
        }
        accounting::check(s, &[])
    });
}

/// The 200 and the CANCEL leave within 2 ms of each other, in either order; hops take 1 ms. Whatever comes of it, both
/// ends agree.
#[test]
fn a_200_crosses_a_cancel() {
    under_three_conditions("a_200_crosses_a_cancel", |s, storm| {
        let (alice, bobs) = bobs_phones(s, storm, &["1.0"])?;
        let attempt = s.invite(alice, BOB);
        hears_of_it(s, alice)?;
        let invites = all_ring(s, &bobs)?;
        let (its, gap) = (tag(s, bobs[0]), some_ms(s, 2));
        if s.chance().happens(0.5) {
            s.cancel(alice, &attempt);
            s.run_for(gap);
            s.answer(bobs[0], &invites[0], 200, &its);
        } else {
            s.answer(bobs[0], &invites[0], 200, &its);
            s.run_for(gap);
            s.cancel(alice, &attempt);
        }
        let over =
            s.run_until(Duration::from_secs(70), |s| s.has_heard(alice, "200 INVITE") || s.has_heard(alice, "487"));
        holds("it ends in 200 or 487", over)?;
        if !s.has_heard(alice, "200 INVITE") {
            return accounting::check(s, &[]);
        }
        let ok = s.expect(alice, "200 INVITE")?;
        s.run_for(Duration::from_secs(1));
        ends(s, alice, &mut attempt.of_response(&ok))?;
        accounting::lasted(s, &attempt.call_id, &its)
    });
}

/// Two phones are picked up at once: both answers reach the caller, who keeps either; the CDR is of the one kept.
#[test]
fn two_phones_answer_at_once() {
    under_three_conditions("two_phones_answer_at_once", two_answers);
}

fn two_answers(s: &mut Simulation, storm: Conditions) -> Outcome {
    let (alice, bobs) = bobs_phones(s, storm, &["1.0", "1.0"])?;
    let attempt = s.invite(alice, BOB);
    let invites = all_ring(s, &bobs)?;
    for (bob, invite) in bobs.iter().zip(&invites) {
        let its = tag(s, *bob);
        s.answer(*bob, invite, 200, &its);
    }
    let one = s.expect(alice, "200 INVITE")?;
    let two = s.expect(alice, "200 INVITE")?;
    holds("two dialogs", one.to_tag() != two.to_tag())?;
    let (kept, other) = if s.chance().happens(0.5) { (one, two) } else { (two, one) };
    ends(s, alice, &mut attempt.of_response(&other))?;
    s.run_for(Duration::from_secs(5));
    ends(s, alice, &mut attempt.of_response(&kept))?;
    accounting::lasted(s, &attempt.call_id, &kept.to_tag())
}

#[test]
fn one_of_three_declines_for_all() {
    under_three_conditions("one_of_three_declines_for_all", |s, storm| {
        let (alice, bobs) = bobs_phones(s, storm, &["1.0", "1.0", "1.0"])?;
        s.invite(alice, BOB);
        let invites = all_ring(s, &bobs)?;
        let its = tag(s, bobs[1]);
        s.answer(bobs[1], &invites[1], 603, &its);
        s.expect(alice, "603")?;
        holds("the others are told", [0, 2].iter().all(|n| s.has_heard(bobs[*n], "CANCEL")))?;
        accounting::check(s, &[])
    });
}

#[test]
fn busy_here_then_the_next_by_q() {
    under_three_conditions("busy_here_then_the_next_by_q", |s, storm| {
        let (alice, bobs) = bobs_phones(s, storm, &["1.0", "0.5"])?;
        let attempt = s.invite(alice, BOB);
        let first = s.expect(bobs[0], "INVITE")?;
        holds("one after another", !s.has_heard(bobs[1], "INVITE"))?;
        let its = tag(s, bobs[0]);
        s.answer(bobs[0], &first, 180, &its);
        s.answer(bobs[0], &first, 486, &its);
        let second = s.expect(bobs[1], "INVITE")?;
        let its = tag(s, bobs[1]);
        s.answer(bobs[1], &second, 200, &its);
        let ok = s.expect(alice, "200 INVITE")?;
        s.run_for(Duration::from_secs(1));
        ends(s, alice, &mut attempt.of_response(&ok))?;
        accounting::lasted(s, &attempt.call_id, &its)
    });
}

#[test]
fn two_phones_ask_for_passwords() {
    under_three_conditions("two_phones_ask_for_passwords", |s, storm| {
        let (alice, bobs) = bobs_phones(s, storm, &["1.0", "1.0"])?;
        s.invite(alice, BOB);
        let offers = [(401, "WWW-Authenticate"), (407, "Proxy-Authenticate")];
        for (bob, (status, name)) in bobs.iter().zip(offers) {
            let invite = s.expect(*bob, "INVITE")?;
            let its = tag(s, *bob);
            let line = format!("{name}: Digest realm=\"{its}\", nonce=\"n\"");
            s.respond(*bob, &invite, Answer::new(status, &its).with(line));
        }
        let heard = s.run_until(Duration::from_secs(70), |s| s.has_heard(alice, "401") || s.has_heard(alice, "407"));
        holds("the caller is challenged", heard)?;
        let heard = s.the(alice).heard.iter().find(|h| matches!(h.message.status(), 401 | 407));
        let both = heard.is_some_and(|h| offers.iter().all(|(_, name)| h.message.lines(name).len() == 1));
        holds("by both at once", both)?;
        accounting::check(s, &[])
    });
}

/// A reliable 183 with PRACK (RFC 3262), an UPDATE before the answer (RFC 3311), then the answer.
#[test]
fn prack_and_update_before_the_answer() {
    under_three_conditions("prack_and_update_before_the_answer", |s, storm| {
        let (alice, bobs) = bobs_phones(s, storm, &["1.0"])?;
        let bob = bobs[0];
        let attempt = s.invite(alice, BOB);
        let invite = s.expect(bob, "INVITE")?;
        let its = tag(s, bob);
        let reliable = Answer::new(183, &its).with("Require: 100rel").with("RSeq: 1");
        let mut dialog = loop {
            s.respond(bob, &invite, reliable.clone());
            if let Ok(progress) = s.expect_within(alice, "183", Duration::from_millis(500)) {
                break attempt.of_response(&progress);
            }
            if s.now().millis() > 60_000 {
                return Err(format!("the 183 never came\n{}", s.ladder()));
            }
        };
        let rack = format!("RAck: 1 {} INVITE", attempt.cseq);
        let prack = dialog.request("PRACK").with(rack);
        s.send(alice, prack);
        let prack = s.expect(bob, "PRACK")?;
        s.answer(bob, &prack, 200, "");
        s.expect(alice, "200 PRACK")?;
        let update = dialog.request("UPDATE").body(s.the(alice).sdp(2));
        s.send(alice, update);
        let update = s.expect(bob, "UPDATE")?;
        s.answer(bob, &update, 200, "");
        s.expect(alice, "200 UPDATE")?;
        s.answer(bob, &invite, 200, &its);
        s.expect(alice, "200 INVITE")?;
        s.run_for(Duration::from_secs(1));
        ends(s, alice, &mut dialog)?;
        accounting::lasted(s, &attempt.call_id, &its)
    });
}

/// Both ends re-INVITE at once: both are refused with 491 and one tries again (RFC 3261 §14.1).
#[test]
fn re_invites_meet() {
    under_three_conditions("re_invites_meet", |s, storm| {
        let (alice, bobs) = bobs_phones(s, storm, &["1.0"])?;
        let bob = bobs[0];
        let (mut alices, mut bobs, _) = established(s, alice, bob)?;
        let (one, two) = (alices.request("INVITE"), bobs.request("INVITE"));
        s.send(alice, one);
        s.send(bob, two);
        for who in [alice, bob] {
            let theirs = s.expect(who, "INVITE")?;
            s.answer(who, &theirs, 491, "");
        }
        s.expect(alice, "491")?;
        s.expect(bob, "491")?;
        s.run_for(Duration::from_secs(1));
        let again = bobs.request("INVITE");
        s.send(bob, again);
        let theirs = s.expect(alice, "INVITE")?;
        s.answer(alice, &theirs, 200, "");
        s.expect(bob, "200 INVITE")?;
        s.expect(alice, "ACK")?;
        ends(s, alice, &mut alices)?;
        let its = tag(s, bob);
        accounting::lasted(s, &alices.call_id, &its)
    });
}

/// Alice re-INVITEs while Bob hangs up. The phone that has hung up answers 481, and that is the phone's word, not ours.
#[test]
fn a_bye_crosses_a_re_invite() {
    under_three_conditions("a_bye_crosses_a_re_invite", |s, storm| {
        let (alice, bobs) = bobs_phones(s, storm, &["1.0"])?;
        let bob = bobs[0];
        let (mut alices, mut bobs, _) = established(s, alice, bob)?;
        s.run_for(Duration::from_secs(1));
        let again = alices.request("INVITE");
        s.send(alice, again);
        let gap = some_ms(s, 2);
        s.run_for(gap);
        s.bye(bob, &mut bobs);
        let theirs = s.expect(bob, "INVITE")?;
        s.answer(bob, &theirs, 481, "");
        s.expect(alice, "481")?;
        s.expect(bob, "200 BYE")?;
        let its = tag(s, bob);
        accounting::lasted(s, &alices.call_id, &its)
    });
}

/// The caller takes 3 s to acknowledge: the callee repeats its 200, and each repeat comes through.
#[test]
fn the_ack_is_slow() {
    under_three_conditions("the_ack_is_slow", |s, storm| {
        let (alice, bobs) = bobs_phones(s, storm, &["1.0"])?;
        s.habits(alice).acknowledges = false;
        let attempt = s.invite(alice, BOB);
        let invites = all_ring(s, &bobs)?;
        let its = tag(s, bobs[0]);
        s.answer(bobs[0], &invites[0], 200, &its);
        let ok = s.expect(alice, "200 INVITE")?;
        s.run_for(Duration::from_secs(3));
        let repeats = s.the(alice).heard.iter().filter(|h| h.repeat && h.message.is("200 INVITE")).count();
        let mut dialog = attempt.of_response(&ok);
        let ack = dialog.request("ACK");
        s.send(alice, ack);
        s.expect(bobs[0], "ACK")?;
        holds(
            "repeats came through, unless they were lost",
            repeats > 0 || s.losses(common::time::Time(0), s.now()) > 0,
        )?;
        ends(s, alice, &mut dialog)?;
        accounting::lasted(s, &attempt.call_id, &its)
    });
}

/// One phone is off, the other says busy: the caller hears it after 32 s, and only that.
#[test]
fn a_silent_phone_and_a_busy_one() {
    under_three_conditions("a_silent_phone_and_a_busy_one", |s, storm| {
        let (alice, bobs) = bobs_phones(s, storm, &["1.0", "1.0"])?;
        s.habits(bobs[0]).silent = true;
        s.invite(alice, BOB);
        let invite = s.expect(bobs[1], "INVITE")?;
        let its = tag(s, bobs[1]);
        s.answer(bobs[1], &invite, 486, &its);
        s.expect(alice, "486")?;
        accounting::check(s, &[])
    });
}
