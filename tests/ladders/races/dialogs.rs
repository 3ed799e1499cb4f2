//! Within dialogs: requests that meet, and routers of the old kind in the route set.

use super::{bobs_phones, ends, established};
use crate::stage::{holds, is, open, play};
use simulated_rack::hosts::actor::dialog::Dialog;
use simulated_rack::network::Conditions;

/// RFC 3261 §14.1: both re-INVITEs are refused with 491, each ACKed hop by hop; the session stays.
#[test]
fn re_invites_meet() {
    play(|| {
        let mut s = open(441);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let (mut alices, mut bobs_side, _) = established(&mut s, alice, bobs[0])?;
        s.begin_ladder();
        let (one, two) = (alices.request("INVITE"), bobs_side.request("INVITE"));
        s.send(alice, one);
        s.send(bobs[0], two);
        let at_bob = s.expect(bobs[0], "INVITE")?;
        let at_alice = s.expect(alice, "INVITE")?;
        s.answer(bobs[0], &at_bob, 491, "");
        s.answer(alice, &at_alice, 491, "");
        s.expect(alice, "491")?;
        s.expect(bobs[0], "491")?;
        ends(&mut s, alice, &mut alices)?;
        s.compare(
            "
            alice -> siprack: INVITE
            bob1 -> siprack: INVITE
            siprack -> alice: 100 Trying
            siprack -> bob1: INVITE
            siprack -> bob1: 100 Trying
            siprack -> alice: INVITE
            bob1 -> siprack: 491 Request Pending
            alice -> siprack: 491 Request Pending
            siprack -> bob1: ACK
            siprack -> alice: 491 Request Pending
            siprack -> alice: ACK
            siprack -> bob1: 491 Request Pending
            alice -> siprack: ACK
            bob1 -> siprack: ACK
            alice -> siprack: BYE
            siprack -> bob1: BYE
            bob1 -> siprack: 200 OK
            siprack -> alice: 200 OK
            ",
        )
    });
}

/// The carrier's border is a strict router (RFC 2543): requests to it have its URI as Request-URI and the target last in
/// Route (RFC 3261 §16.6 step 6); what comes from it has our own URI there (§16.4).
#[test]
fn a_strict_router_in_the_route_set() {
    play(|| {
        let mut s = open(442);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let bob = bobs[0];
        let vip = s.vip();
        let border = s.relay("border", "203.0.113.50:5060".parse().map_err(|_| "an address")?, vip);
        let to_bob = s.the(bob).contact();
        let relay = s.the_relay(border);
        (relay.records, relay.strict) = (true, true);
        relay.rewrites.push(("00123".to_string(), to_bob.clone()));
        let attempt = s.invite(alice, "sip:00123@open.test");
        let invite = s.expect(bob, "INVITE")?;
        holds("the border recorded itself, without lr", invite.values("Record-Route")[0] == "<sip:203.0.113.50:5060>")?;
        s.answer(bob, &invite, 200, "tag-bob1");
        let ok = s.expect(alice, "200 INVITE")?;
        let ack = s.expect(bob, "ACK")?;
        is("the ACK's Request-URI is Bob's contact again", ack.uri().to_string(), "sip:bob1@198.51.100.102:5060")?;
        let mut bobs_side = Dialog::of_request(&invite, "tag-bob1");
        let again = bobs_side.request("INVITE");
        s.send(bob, again);
        let at_alice = s.expect(alice, "INVITE")?;
        is("Alice is asked by her contact", at_alice.uri().to_string(), "sip:alice@198.51.100.101:5060")?;
        holds("and no Route is left", at_alice.header("Route").is_empty())?;
        s.answer(alice, &at_alice, 200, "");
        s.expect(bob, "200 INVITE")?;
        s.expect(alice, "ACK")?;
        let mut alices = attempt.of_response(&ok);
        ends(&mut s, alice, &mut alices)?;
        holds("Bob has hung up", s.has_heard(bob, "BYE"))
    });
}
