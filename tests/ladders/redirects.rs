//! The rack as a redirect server (RFC 3261 §8.3): by its domain, by the trunk that a call comes from, or as the caller asks.

use crate::races::{BOB, bobs_phones, ends, established, tag};
use crate::seeds::on_this_rack;
use crate::stage::{BOTH, REDIRECTING, REDIRECTING_TRUNK, SMALL, holds, is, play};
use common::time::Duration;
use simulated_rack::hosts::actor::dialog::{Dialog, Draft};
use simulated_rack::hosts::actor::message::{Message, address_of, host_port};
use simulated_rack::invariants::{i04_accounting as accounting, i08_leftovers as leftovers};
use simulated_rack::network::{Conditions, Strike};
use simulated_rack::prepared::Prepared;
use simulated_rack::script::ActorId;
use simulated_rack::simulation::Simulation;

fn on(rack: &Prepared, seed: u64) -> Simulation {
    Simulation::steady(&[rack], seed)
}

/// An INVITE to one of the Contacts, straight to where it is (§8.1.3.4): a new call.
fn follows(s: &mut Simulation, who: ActorId, redirection: &Message, nth: usize) -> Result<Dialog, String> {
    let uri = address_of(redirection.values("Contact").get(nth).ok_or("a Contact to follow")?);
    let mut attempt = s.the_mut(who).attempt(&uri);
    let offer = s.the(who).sdp(1);
    let draft = Draft { to_address: host_port(&uri), ..attempt.request("INVITE") };
    s.send(who, draft.body(offer));
    Ok(attempt)
}

/// 300 with every phone by its q; the ACK ends here, nothing is left, nothing is charged.
#[test]
fn the_caller_is_told_where_bob_is() {
    play(|| {
        let mut s = on(&REDIRECTING, 501);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["0.3", "1.0", "0.7"])?;
        s.invite(alice, BOB);
        let told = s.expect(alice, "300")?;
        let by_q = [(1, "1"), (2, "0.700"), (0, "0.300")].map(|(n, q)| format!("<{}>;q={q}", s.the(bobs[n]).contact()));
        holds(&format!("best first: {:?}", told.values("Contact")), told.values("Contact") == by_q)?;
        s.run_for(Duration::from_secs(40));
        s.compare(
            "
            alice -> siprack: INVITE
            siprack -> alice: 300 Multiple Choices
            alice -> siprack: ACK
            ",
        )?;
        let attempt = follows(&mut s, alice, &told, 0)?;
        let invite = s.expect(bobs[1], "INVITE")?;
        s.answer(bobs[1], &invite, 200, "tag-bob2");
        let ok = s.expect(alice, "200 INVITE")?;
        s.expect(bobs[1], "ACK")?;
        ends(&mut s, alice, &mut attempt.of_response(&ok))?;
        leftovers::check(&mut s)?;
        accounting::check(&s, &[])
    });
}

/// The ACK is lost: the 302 comes again, as any refusal does (§17.2.1), and the second ACK ends that.
#[test]
fn the_ack_to_a_302_is_lost() {
    play(|| {
        let mut s = on(&REDIRECTING, 502);
        let (alice, _) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        // Two datagrams bring the INVITE in, two the answer out; the fifth is the ACK.
        s.set_strike(Strike::Lose(4));
        s.invite(alice, BOB);
        let told = s.expect(alice, "302")?;
        is("one place needs no q", told.header("Contact").to_string(), "<sip:bob1@198.51.100.102:5060>")?;
        s.run_for(Duration::from_secs(40));
        s.compare(
            "
            alice -> siprack: INVITE
            siprack -> alice: 302 Moved Temporarily
            alice -> siprack: ACK
            siprack -> alice: 302 Moved Temporarily
            alice -> siprack: ACK
            ",
        )?;
        leftovers::check(&mut s)
    });
}

/// A CANCEL that crosses the answer is answered, and changes nothing (§9.2).
#[test]
fn a_cancel_crosses_the_302() {
    play(|| {
        let mut s = on(&REDIRECTING, 503);
        let (alice, _) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let attempt = s.invite(alice, BOB);
        s.cancel(alice, &attempt);
        s.expect(alice, "302")?;
        s.expect(alice, "200 CANCEL")?;
        holds("one outcome", !s.has_heard(alice, "487"))?;
        leftovers::check(&mut s)
    });
}

/// A number is where its trunk is; a name that nobody has is nowhere; every method is told.
#[test]
fn numbers_nobodies_and_other_methods() {
    play(|| {
        let mut s = on(&REDIRECTING, 504);
        let (alice, _) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        s.invite(alice, "sip:01555@open.test");
        let told = s.expect(alice, "300")?;
        let gateways = ["<sip:01555@203.0.113.51:5060>;q=1", "<sip:01555@203.0.113.52:5060>;q=0.001"];
        holds(&format!("{:?}", told.values("Contact")), told.values("Contact") == gateways)?;
        s.invite(alice, "sip:nobody@open.test");
        s.expect(alice, "404")?;
        for method in ["MESSAGE", "SUBSCRIBE", "OPTIONS", "FROBNICATE"] {
            let mut attempt = s.the_mut(alice).attempt(BOB);
            let draft = Draft { to_address: None, ..attempt.request(method) };
            s.send(alice, draft);
            s.expect(alice, &format!("302 {method}"))?;
        }
        leftovers::check(&mut s)
    });
}

/// Any URI may be registered (§10.2.1). A redirect server tells it; a proxy steps over it, and if it is all there is, Bob
/// is not to be reached now.
#[test]
fn bob_is_at_a_mail_address() {
    play(|| {
        let mut s = on(&REDIRECTING, 505);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["0.5"])?;
        s.bind(bobs[0], "bob@open.test", "<mailto:bob@example.com>;q=0.9")?;
        s.invite(alice, BOB);
        let told = s.expect(alice, "300")?;
        let both = ["<mailto:bob@example.com>;q=0.900", "<sip:bob1@198.51.100.102:5060>;q=0.500"];
        holds(&format!("{:?}", told.values("Contact")), told.values("Contact") == both)?;

        let mut s = on(&SMALL, 506);
        s.provision(0, "bob", "open.test", "secret");
        let alice = s.actor("alice", "open.test");
        let bob = s.actor("bob1", "open.test");
        s.bind(bob, "bob@open.test", "<mailto:bob@example.com>")?;
        s.run_for(Duration::from_millis(10));
        s.invite(alice, BOB);
        s.expect(alice, "480")?;
        let contact = format!("<{}>;q=0.1", s.the(bob).contact());
        s.bind(bob, "bob@open.test", &contact)?;
        s.run_for(Duration::from_millis(10));
        let (mut alices, _, _) = established(&mut s, alice, bob)?;
        ends(&mut s, alice, &mut alices)?;
        leftovers::check(&mut s)
    });
}

/// The carrier is told where to go, whatever the domain does; others are put through.
#[test]
fn a_trunk_is_told_and_others_are_put_through() {
    play(|| {
        let mut s = on(&REDIRECTING_TRUNK, 507);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let at = "203.0.113.50:5060".parse().map_err(|_| "an address")?;
        let carrier = s.actor_at("carrier", "carrier.test", at);
        s.invite(carrier, BOB);
        let told = s.expect(carrier, "302")?;
        is("where Bob is", told.header("Contact").to_string(), "<sip:bob1@198.51.100.102:5060>")?;
        holds("Bob's phone is quiet", !s.has_heard(bobs[0], "INVITE"))?;
        let (mut alices, _, _) = established(&mut s, alice, bobs[0])?;
        ends(&mut s, alice, &mut alices)?;
        leftovers::check(&mut s)?;
        accounting::lasted(&s, &alices.call_id, "tag-bob1")
    });
}

/// RFC 3841 §9.1: who asks for it is redirected, who does not is put through.
#[test]
fn in_both_modes_the_caller_chooses() {
    play(|| {
        let mut s = on(&BOTH, 508);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let mut attempt = s.the_mut(alice).attempt(BOB);
        let draft = Draft { to_address: None, ..attempt.request("INVITE") };
        s.send(alice, draft.with("Request-Disposition: no-fork, redirect"));
        s.expect(alice, "302")?;
        let mut attempt = s.the_mut(alice).attempt(BOB);
        let draft = Draft { to_address: None, ..attempt.request("INVITE") };
        s.send(alice, draft.with("Request-Disposition: proxy"));
        let invite = s.expect(bobs[0], "INVITE")?;
        s.answer(bobs[0], &invite, 486, "tag-bob1");
        s.expect(alice, "486")?;
        let (mut alices, _, _) = established(&mut s, alice, bobs[0])?;
        ends(&mut s, alice, &mut alices)?;
        leftovers::check(&mut s)
    });
}

/// On bad networks: told, and then the call goes straight to the phone, with no rack in it.
#[test]
fn a_redirected_call() {
    on_this_rack(&REDIRECTING, "a_redirected_call", |s, storm| {
        let (alice, bobs) = bobs_phones(s, storm, &["1.0", "0.5"])?;
        s.invite(alice, BOB);
        let told = s.expect(alice, "300")?;
        let nth = s.chance().between(0, 1) as usize;
        let attempt = follows(s, alice, &told, nth)?;
        let invite = s.expect(bobs[nth], "INVITE")?;
        let its = tag(s, bobs[nth]);
        s.answer(bobs[nth], &invite, 200, &its);
        let ok = s.expect(alice, "200 INVITE")?;
        ends(s, alice, &mut attempt.of_response(&ok))?;
        accounting::check(s, &[])
    });
}

/// The same domain in both modes, under load of either kind: what was asked for is what happens.
#[test]
fn redirected_or_put_through_as_asked() {
    on_this_rack(&BOTH, "redirected_or_put_through_as_asked", |s, storm| {
        let (alice, bobs) = bobs_phones(s, storm, &["1.0"])?;
        let mut answered = Vec::new();
        for _ in 0..3 {
            if s.chance().happens(0.5) {
                let mut attempt = s.the_mut(alice).attempt(BOB);
                let draft = Draft { to_address: None, ..attempt.request("INVITE") };
                s.send(alice, draft.with("d: redirect"));
                s.expect(alice, "302")?;
                continue;
            }
            let (mut alices, _, _) = established(s, alice, bobs[0])?;
            ends(s, alice, &mut alices)?;
            answered.push(alices.call_id);
        }
        accounting::check(s, &answered)
    });
}
