//! Redirections that the rack follows itself (RFC 3261 §16.7 step 4): of phones and of trunks, by the caller's rights.

use crate::races::{BOB, all_ring, bobs_phones, ends, tag};
use crate::seeds::on_this_rack;
use crate::stage::{RECURSING, holds, play};
use common::time::Duration;
use simulated_rack::hosts::actor::dialog::Answer;
use simulated_rack::hosts::actor::message::Message;
use simulated_rack::invariants::{i04_accounting as accounting, i08_leftovers as leftovers};
use simulated_rack::network::Conditions;
use simulated_rack::script::ActorId;
use simulated_rack::simulation::Simulation;

fn rack(seed: u64) -> Simulation {
    Simulation::steady(&[&RECURSING], seed)
}

/// More users with one phone each.
fn users<const N: usize>(s: &mut Simulation, names: [&str; N]) -> Result<[ActorId; N], String> {
    let phones = names.map(|name| s.actor(name, "open.test"));
    for (phone, name) in phones.iter().zip(names) {
        let contact = format!("<{}>", s.the(*phone).contact());
        s.bind(*phone, &format!("{name}@open.test"), &contact)?;
    }
    s.run_for(Duration::from_millis(10));
    s.begin_ladder();
    Ok(phones)
}

fn at(s: &mut Simulation, name: &str, address: &str) -> Result<ActorId, String> {
    Ok(s.actor_at(name, "carrier.test", address.parse().map_err(|_| "an address")?))
}

fn moved(s: &mut Simulation, who: ActorId, invite: &Message, contacts: &str) {
    let its = tag(s, who);
    s.respond(who, invite, Answer::new(302, &its).with(format!("Contact: {contacts}")));
}

/// Bob's phone names two users: the better one is asked first, the other when that one is busy.
#[test]
fn bobs_phone_names_dave_and_carol() {
    play(|| {
        let mut s = rack(521);
        let [carol, dave] = users(&mut s, ["carol", "dave"])?;
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let attempt = s.invite(alice, BOB);
        let invite = s.expect(bobs[0], "INVITE")?;
        moved(&mut s, bobs[0], &invite, "<sip:carol@open.test>;q=0.2, <sip:dave@open.test>;q=0.9");
        let invite = s.expect(dave, "INVITE")?;
        s.answer(dave, &invite, 486, "tag-dave");
        let invite = s.expect(carol, "INVITE")?;
        s.answer(carol, &invite, 200, "tag-carol");
        let ok = s.expect(alice, "200 INVITE")?;
        s.run_for(Duration::from_secs(1));
        ends(&mut s, alice, &mut attempt.of_response(&ok))?;
        s.compare(
            "
            alice -> siprack: INVITE
            siprack -> alice: 100 Trying
            siprack -> bob1: INVITE
            bob1 -> siprack: 302 Moved Temporarily
            siprack -> bob1: ACK
            siprack -> dave: INVITE
            dave -> siprack: 486 Busy Here
            siprack -> dave: ACK
            siprack -> carol: INVITE
            carol -> siprack: 200 OK
            siprack -> alice: 200 OK
            alice -> siprack: ACK
            siprack -> carol: ACK
            alice -> siprack: BYE
            siprack -> carol: BYE
            carol -> siprack: 200 OK
            siprack -> alice: 200 OK
            ",
        )?;
        leftovers::check(&mut s)?;
        accounting::lasted(&s, &attempt.call_id, "tag-carol")
    });
}

/// Five redirections of one call are followed, the sixth is the caller's.
#[test]
fn redirections_without_end() {
    play(|| {
        let mut s = rack(522);
        let [jester] = users(&mut s, ["jester"])?;
        let contact = s.the(jester).contact();
        for n in 0..8 {
            s.bind(jester, &format!("u{n}@open.test"), &format!("<{contact};n={n}>"))?;
        }
        let alice = s.actor("alice", "open.test");
        s.run_for(Duration::from_millis(10));
        s.invite(alice, "sip:u0@open.test");
        for n in 1..7 {
            let invite = s.expect(jester, "INVITE")?;
            moved(&mut s, jester, &invite, &format!("<sip:u{n}@open.test>"));
        }
        let told = s.expect(alice, "302")?;
        holds("the last of them", told.header("Contact") == "<sip:u6@open.test>")?;
        leftovers::check(&mut s)?;
        accounting::check(&s, &[])
    });
}

/// What Alice could not call herself is not called for her: a domain without a route, one that asks for a password, the
/// phone that has just said no. She hears the redirection and may try.
#[test]
fn a_redirection_gives_no_rights() {
    play(|| {
        let mut s = rack(523);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        for outside in
            ["<sip:eve@elsewhere.test>", "<sip:bob@safe.test>", "<sip:bob@open.test>", "<mailto:b@open.test>"]
        {
            s.invite(alice, BOB);
            let invite = s.expect(bobs[0], "INVITE")?;
            moved(&mut s, bobs[0], &invite, outside);
            let told = s.expect(alice, "302")?;
            holds(outside, told.header("Contact") == outside)?;
        }
        leftovers::check(&mut s)
    });
}

/// The carrier answers 301 with another number. Its trunk has two gateways: one after another, as for any call.
#[test]
fn a_trunk_says_301() {
    play(|| {
        let mut s = rack(524);
        let carrier = at(&mut s, "carrier", "203.0.113.50:5060")?;
        let (one, two) = (at(&mut s, "one", "203.0.113.51:5060")?, at(&mut s, "two", "203.0.113.52:5060")?);
        let alice = s.actor("alice", "open.test");
        s.begin_ladder();
        let attempt = s.invite(alice, "sip:00123@open.test");
        let invite = s.expect(carrier, "INVITE")?;
        s.respond(carrier, &invite, Answer::new(301, "tag-carrier").with("Contact: <sip:01555@open.test>"));
        let invite = s.expect(one, "INVITE")?;
        s.run_for(Duration::from_millis(100));
        holds("one after another", !s.has_heard(two, "INVITE"))?;
        s.answer(one, &invite, 503, "tag-one");
        let invite = s.expect(two, "INVITE")?;
        s.answer(two, &invite, 200, "tag-two");
        let ok = s.expect(alice, "200 INVITE")?;
        s.run_for(Duration::from_secs(1));
        ends(&mut s, alice, &mut attempt.of_response(&ok))?;
        s.compare(
            "
            alice -> siprack: INVITE
            siprack -> alice: 100 Trying
            siprack -> carrier: INVITE
            carrier -> siprack: 301 Moved Permanently
            siprack -> carrier: ACK
            siprack -> one: INVITE
            one -> siprack: 503 Service Unavailable
            siprack -> one: ACK
            siprack -> two: INVITE
            two -> siprack: 200 OK
            siprack -> alice: 200 OK
            alice -> siprack: ACK
            siprack -> two: ACK
            alice -> siprack: BYE
            siprack -> two: BYE
            two -> siprack: 200 OK
            siprack -> alice: 200 OK
            ",
        )?;
        leftovers::check(&mut s)?;
        holds("out by the pair", s.cdrs().iter().all(|(_, _, cdr)| cdr.trunk_out.as_deref() == Some("pair")))?;
        accounting::lasted(&s, &attempt.call_id, "tag-two")
    });
}

/// A user that is named has two phones, and a number stands behind it: its phones by their q, the number last.
#[test]
fn each_place_keeps_its_own_order() {
    play(|| {
        let mut s = rack(525);
        let [jester, carol, mobile] = users(&mut s, ["jester", "carol", "mobile"])?;
        let contact = format!("<{}>;q=0.5", s.the(mobile).contact());
        s.bind(mobile, "carol@open.test", &contact)?;
        let one = at(&mut s, "one", "203.0.113.51:5060")?;
        let alice = s.actor("alice", "open.test");
        s.run_for(Duration::from_millis(10));
        s.invite(alice, "sip:jester@open.test");
        let invite = s.expect(jester, "INVITE")?;
        moved(&mut s, jester, &invite, "<sip:01555@open.test>;q=0.3, <sip:carol@open.test>;q=0.8");
        for (who, next) in [(carol, mobile), (mobile, one)] {
            let invite = s.expect(who, "INVITE")?;
            s.run_for(Duration::from_millis(100));
            holds("one after another", !s.has_heard(next, "INVITE"))?;
            let its = tag(&s, who);
            s.answer(who, &invite, 480, &its);
        }
        let invite = s.expect(one, "INVITE")?;
        s.answer(one, &invite, 486, "tag-one");
        // The first of the best class (§16.7 step 6).
        s.expect(alice, "480")?;
        leftovers::check(&mut s)
    });
}

/// On bad networks: Bob's phone names two users in a random order, the first is busy, the second answers.
#[test]
fn a_call_that_is_moved_twice() {
    on_this_rack(&RECURSING, "a_call_that_is_moved_twice", |s, storm| {
        let [carol, dave] = users(s, ["carol", "dave"])?;
        let (alice, bobs) = bobs_phones(s, storm, &["1.0"])?;
        let attempt = s.invite(alice, BOB);
        let invite = s.expect(bobs[0], "INVITE")?;
        let (first, last, named) = match s.chance().happens(0.5) {
            true => (carol, dave, "<sip:carol@open.test>, <sip:dave@open.test>;q=0.5"),
            false => (dave, carol, "<sip:carol@open.test>;q=0.1, <sip:dave@open.test>;q=0.11"),
        };
        moved(s, bobs[0], &invite, named);
        let invite = s.expect(first, "INVITE")?;
        let its = tag(s, first);
        s.answer(first, &invite, 180, &its);
        s.answer(first, &invite, 486, &its);
        let invite = s.expect(last, "INVITE")?;
        let its = tag(s, last);
        s.answer(last, &invite, 200, &its);
        let ok = s.expect(alice, "200 INVITE")?;
        s.run_for(Duration::from_secs(1));
        ends(s, alice, &mut attempt.of_response(&ok))?;
        accounting::lasted(s, &attempt.call_id, &its)
    });
}

/// One of two phones names another user while the other one rings; then the caller gives up, whatever rings.
#[test]
fn a_caller_gives_up_a_moved_call() {
    on_this_rack(&RECURSING, "a_caller_gives_up_a_moved_call", |s, storm| {
        let [carol] = users(s, ["carol"])?;
        let (alice, bobs) = bobs_phones(s, storm, &["1.0", "1.0"])?;
        let attempt = s.invite(alice, BOB);
        let invites = [s.expect(bobs[0], "INVITE")?, s.expect(bobs[1], "INVITE")?];
        let its = tag(s, bobs[1]);
        s.answer(bobs[1], &invites[1], 180, &its);
        moved(s, bobs[0], &invites[0], "<sip:carol@open.test>");
        all_ring(s, &[carol])?;
        s.run_until(Duration::from_secs(40), |s| s.has_heard(alice, "180"));
        let wait = Duration::from_micros(s.chance().between(0, 20_000));
        s.run_for(wait);
        s.cancel(alice, &attempt);
        s.expect(alice, "487")?;
        accounting::check(s, &[])
    });
}
