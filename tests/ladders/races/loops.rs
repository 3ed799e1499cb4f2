//! Loops, spirals, merged requests, and what bounds them (RFC 3261 §16.3, RFC 5393).

use super::{BOB, all_ring, bobs_phones, ends};
use crate::stage::{holds, is, open, play};
use common::time::Duration;
use simulated_rack::hosts::actor::dialog::Draft;
use simulated_rack::invariants::i08_leftovers as leftovers;
use simulated_rack::network::Conditions;
use simulated_rack::script::{ActorId, RelayId};
use simulated_rack::simulation::Simulation;

/// Sends an INVITE to Bob after `change`; the first final answer comes back.
fn refused(s: &mut Simulation, alice: ActorId, uri: &str, change: impl FnOnce(Draft) -> Draft) -> Result<u16, String> {
    let mut attempt = s.the_mut(alice).attempt(uri);
    let draft = Draft { to_address: None, ..attempt.request("INVITE") };
    s.send(alice, change(draft));
    let there =
        |s: &Simulation| s.the(alice).heard.iter().find(|h| h.message.status() >= 300).map(|h| h.message.status());
    s.run_until(Duration::from_secs(60), |s| there(s).is_some());
    there(s).ok_or_else(|| format!("no refusal\n{}", s.ladder()))
}

#[test]
fn no_hop_is_left() {
    play(|| {
        let mut s = open(461);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let status = refused(&mut s, alice, BOB, |d| Draft { max_forwards: 0, ..d })?;
        is("the answer", status.to_string(), "483")?;
        holds("Bob heard nothing", !s.has_heard(bobs[0], "INVITE"))
    });
}

#[test]
fn no_breadth_is_left() {
    play(|| {
        let mut s = open(462);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let status = refused(&mut s, alice, BOB, |d| d.with("Max-Breadth: 0"))?;
        is("the answer", status.to_string(), "440")?;
        holds("Bob heard nothing", !s.has_heard(bobs[0], "INVITE"))
    });
}

/// RFC 5393 §5.3.3: with a breadth of one, phones of equal q are asked one after another.
#[test]
fn a_breadth_of_one_makes_a_fork_serial() {
    play(|| {
        let mut s = open(463);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0", "1.0"])?;
        let mut attempt = s.the_mut(alice).attempt(BOB);
        let draft = Draft { to_address: None, ..attempt.request("INVITE") };
        s.send(alice, draft.with("Max-Breadth: 1"));
        let first = s.expect(bobs[0], "INVITE")?;
        s.run_for(Duration::from_secs(1));
        holds("bob2 waits", !s.has_heard(bobs[1], "INVITE"))?;
        is("the breadth goes on", first.header("Max-Breadth").to_string(), "1")?;
        s.answer(bobs[0], &first, 486, "tag-bob1");
        let second = s.expect(bobs[1], "INVITE")?;
        s.answer(bobs[1], &second, 486, "tag-bob2");
        s.expect(alice, "486").map(drop)
    });
}

/// The carrier at 203.0.113.50, who sends calls to 00123 back to us as calls to `back`.
fn carrier_that_sends_back(s: &mut Simulation, back: &str) -> Result<RelayId, String> {
    let vip = s.vip();
    let carrier = s.relay("carrier", "203.0.113.50:5060".parse().map_err(|_| "an address")?, vip);
    s.the_relay(carrier).rewrites.push(("00123".to_string(), back.to_string()));
    Ok(carrier)
}

/// A request that comes back as another one is no loop: it goes on (RFC 3261 §16.3 step 4).
#[test]
fn a_spiral_is_a_call() {
    play(|| {
        let mut s = open(464);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        carrier_that_sends_back(&mut s, BOB)?;
        let attempt = s.invite(alice, "sip:00123@open.test");
        let invites = all_ring(&mut s, &bobs)?;
        s.answer(bobs[0], &invites[0], 200, "tag-bob1");
        let ok = s.expect(alice, "200 INVITE")?;
        s.run_for(Duration::from_secs(1));
        ends(&mut s, alice, &mut attempt.of_response(&ok))?;
        leftovers::check(&mut s)?;
        holds("out by the carrier and in by the carrier are two calls", s.cdrs().len() == 2)
    });
}

/// One that comes back as it was is a loop: 482.
#[test]
fn a_loop_is_refused() {
    play(|| {
        let mut s = open(465);
        let (alice, _) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let carrier = carrier_that_sends_back(&mut s, "sip:00123@open.test")?;
        let status = refused(&mut s, alice, "sip:00123@open.test", |d| d)?;
        is("the answer", status.to_string(), "482")?;
        let invites = s.rungs().iter().filter(|r| *r == "siprack -> carrier: INVITE").count();
        holds("once as Alice's, once as the carrier's", invites == 2)?;
        leftovers::check(&mut s)?;
        holds("the carrier is not asked again", s.the_relay(carrier).requests < 10)
    });
}

/// RFC 5393 §3: two users whose two contacts each lead to a proxy that sends the call back to both. Without a check of
/// loops 70 hops make 2^70 messages; with it and with Max-Breadth there are no more than twice the breadth.
#[test]
fn two_users_that_fork_to_each_other() {
    play(|| {
        let mut s = open(466);
        let (alice, _) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let at = "203.0.113.60:5060".parse().map_err(|_| "an address")?;
        let mallory = s.actor_at("mallory", "open.test", at);
        for aor in ["ann@open.test", "ben@open.test"] {
            for contact in ["ann", "ben"] {
                s.bind(mallory, aor, &format!("<sip:{contact}@{at}>"))?;
            }
        }
        // From now on a proxy listens where Mallory was.
        s.the_mut(mallory).address = "203.0.113.61:5060".parse().map_err(|_| "an address")?;
        let vip = s.vip();
        let bouncer = s.relay("bouncer", at, vip);
        for user in ["ann", "ben"] {
            s.the_relay(bouncer).rewrites.push((user.to_string(), format!("sip:{user}@open.test")));
        }
        s.begin_ladder();
        let status = refused(&mut s, alice, "sip:ann@open.test", |d| d)?;
        holds(&format!("a refusal, {status}"), (400..500).contains(&status))?;
        leftovers::check(&mut s)?;
        let invites = s.rungs().iter().filter(|r| *r == "siprack -> bouncer: INVITE").count();
        holds(&format!("{invites} INVITEs, at most twice the breadth of 60"), invites <= 120)
    });
}

/// A proxy before us has forked one request to both our names: two branches of one call, which we keep apart; the phone
/// sees that they are one and refuses the second (RFC 3261 §8.2.2.2).
#[test]
fn merged_requests_are_the_phones_to_judge() {
    play(|| {
        let mut s = open(467);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let vip = s.vip();
        let forker = s.relay("forker", "203.0.113.70:5060".parse().map_err(|_| "an address")?, vip);
        for _ in 0..2 {
            s.the_relay(forker).rewrites.push(("bob".to_string(), BOB.to_string()));
        }
        let at = s.the_relay(forker).address;
        s.the_mut(alice).proxy = at;
        let attempt = s.invite(alice, BOB);
        let one = s.expect(bobs[0], "INVITE")?;
        let two = s.expect(bobs[0], "INVITE")?;
        holds("two branches", one.branch() != two.branch() && one.call_id() == two.call_id())?;
        s.answer(bobs[0], &one, 200, "tag-bob1");
        let ok = s.expect(alice, "200 INVITE")?;
        s.answer(bobs[0], &two, 482, "tag-bob1b");
        s.expect(bobs[0], "ACK")?;
        s.run_for(Duration::from_secs(1));
        ends(&mut s, alice, &mut attempt.of_response(&ok))?;
        leftovers::check(&mut s)?;
        holds("one answer, one record", s.cdrs().len() == 1)
    });
}
