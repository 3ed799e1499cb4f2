//! RFC 3665 §3.4 to §3.6: a dead proxy, an ALG, a redirect server between.

use super::{ALICE, atlanta, bob_at_biloxi, invite_with_credentials};
use crate::stage::{ATLANTA_WITH_BACKUP, BILOXI, holds, play};
use common::time::Duration;
use simulated_rack::hosts::actor::dialog::Answer;
use simulated_rack::simulation::Simulation;

const URI: &str = "sip:bob@biloxi.example.com";

/// The RFC has Alice find the second proxy; here atlanta does, for everybody. The dead one gets the INVITE seven times.
#[test]
fn s3_4_successful_session_with_proxy_failure() {
    play(|| {
        let mut s = Simulation::steady(&[&ATLANTA_WITH_BACKUP, &BILOXI], 304);
        s.provision(0, "alice", "atlanta.example.com", ALICE);
        let alice = s.actor("alice", "atlanta.example.com");
        let bob = bob_at_biloxi(&mut s)?;
        invite_with_credentials(&mut s, alice, URI)?;
        let invite = s.expect(bob, "INVITE")?;
        s.answer(bob, &invite, 200, "bob-tag");
        s.expect(alice, "200 INVITE")?;
        s.expect(bob, "ACK")?;
        let dead = "\natlanta -> 192.0.2.9:5060: INVITE".repeat(7);
        s.compare(&format!(
            "
            alice -> atlanta: INVITE
            atlanta -> alice: 407 Proxy Authentication Required
            alice -> atlanta: ACK
            alice -> atlanta: INVITE
            atlanta -> alice: 100 Trying {dead}
            atlanta -> biloxi: INVITE
            biloxi -> atlanta: 100 Trying
            biloxi -> bob: INVITE
            bob -> biloxi: 200 OK
            biloxi -> atlanta: 200 OK
            atlanta -> alice: 200 OK
            alice -> atlanta: ACK
            atlanta -> biloxi: ACK
            biloxi -> bob: ACK
            "
        ))
    });
}

/// The ALG is a proxy of somebody else's before the rack, that stays in the way of the dialog.
#[test]
fn s3_5_session_through_a_sip_alg() {
    play(|| {
        let (mut s, alice) = atlanta(305);
        let bob = s.actor("bob", "atlanta.example.com");
        s.provision(0, "bob", "atlanta.example.com", super::BOB);
        let contact = format!("<{}>", s.the(bob).contact());
        super::registered(&mut s, bob, super::BOB, &contact)?;
        let vip = s.vip();
        let alg = s.relay("alg", "203.0.113.5:5060".parse().map_err(|_| "an address")?, vip);
        s.the_relay(alg).records = true;
        let at = s.the_relay(alg).address;
        s.the_mut(alice).proxy = at;
        s.begin_ladder();
        let attempt = invite_with_credentials(&mut s, alice, "sip:bob@atlanta.example.com")?;
        let invite = s.expect(bob, "INVITE")?;
        holds("the ALG is in the route set, behind the rack", {
            let routes = invite.values("Record-Route");
            routes.len() == 2 && routes[0].contains("192.0.2.1") && routes[1].contains("203.0.113.5")
        })?;
        s.answer(bob, &invite, 200, "bob-tag");
        let ok = s.expect(alice, "200 INVITE")?;
        s.expect(bob, "ACK")?;
        let mut dialog = attempt.of_response(&ok);
        dialog.cseq = attempt.cseq;
        s.bye(alice, &mut dialog);
        s.expect(alice, "200 BYE")?;
        s.compare(
            "
            alice -> alg: INVITE
            alg -> siprack: INVITE
            siprack -> alg: 407 Proxy Authentication Required
            alg -> alice: 407 Proxy Authentication Required
            alice -> alg: ACK
            alice -> alg: INVITE
            alg -> siprack: ACK
            alg -> siprack: INVITE
            siprack -> alg: 100 Trying
            siprack -> bob: INVITE
            alg -> alice: 100 Trying
            bob -> siprack: 200 OK
            siprack -> alg: 200 OK
            alg -> alice: 200 OK
            alice -> alg: ACK
            alg -> siprack: ACK
            siprack -> bob: ACK
            alice -> alg: BYE
            alg -> siprack: BYE
            siprack -> bob: BYE
            bob -> siprack: 200 OK
            siprack -> alg: 200 OK
            alg -> alice: 200 OK
            ",
        )
    });
}

/// Alice asks a redirect server, which names where Bob is now; then a proxy. The offer comes in the 200, the answer in
/// the ACK. The redirect server is an actor; the proxy is the rack.
#[test]
fn s3_6_session_via_redirect_and_proxy_servers_with_sdp_in_ack() {
    play(|| {
        let (mut s, alice) = atlanta(306);
        let server =
            s.actor_at("redirect", "biloxi.example.com", "203.0.113.8:5060".parse().map_err(|_| "an address")?);
        s.provision(0, "bob", "atlanta.example.com", super::BOB);
        let bob = s.actor("bob", "atlanta.example.com");
        let contact = format!("<{}>", s.the(bob).contact());
        super::registered(&mut s, bob, super::BOB, &contact)?;
        s.begin_ladder();
        let mut attempt = s.the_mut(alice).attempt(URI);
        let mut first = attempt.request("INVITE");
        first.to_address = Some(s.the(server).address);
        s.send(alice, first);
        let asked = s.expect(server, "INVITE")?;
        s.respond(server, &asked, Answer::new(302, "rd").with("Contact: <sip:bob@atlanta.example.com>"));
        let moved = s.expect(alice, "302")?;
        holds("F2 names where Bob is", moved.header("Contact").contains("sip:bob@atlanta.example.com"))?;
        s.habits(alice).acknowledges = false;
        let mut to_bob = s.the_mut(alice).attempt("sip:bob@atlanta.example.com");
        let uri = to_bob.target.clone();
        let bare = simulated_rack::hosts::actor::dialog::Draft { to_address: None, ..to_bob.request("INVITE") };
        s.send(alice, bare);
        let challenge = s.expect(alice, "407")?;
        let line = s.credentials(alice, &challenge, &uri, ALICE).ok_or("no credentials")?;
        let again = simulated_rack::hosts::actor::dialog::Draft { to_address: None, ..to_bob.request("INVITE") };
        s.send(alice, again.with(line));
        let invite = s.expect(bob, "INVITE")?;
        holds("F8 has no body", invite.body.is_empty())?;
        s.answer(bob, &invite, 180, "bob-tag");
        s.expect(alice, "180")?;
        s.answer(bob, &invite, 200, "bob-tag");
        let ok = s.expect(alice, "200 INVITE")?;
        holds("the offer is in F12", ok.body.starts_with("v=0"))?;
        let mut dialog = to_bob.of_response(&ok);
        let answer = s.the(alice).sdp(1);
        let ack = dialog.request("ACK").body(&answer);
        s.send(alice, ack);
        let ack = s.expect(bob, "ACK")?;
        holds("the answer is in F13", ack.body == answer)?;
        s.run_for(Duration::from_secs(1));
        s.compare(
            "
            alice -> redirect: INVITE
            redirect -> alice: 302 Moved Temporarily
            alice -> redirect: ACK
            alice -> siprack: INVITE
            siprack -> alice: 407 Proxy Authentication Required
            alice -> siprack: ACK
            alice -> siprack: INVITE
            siprack -> alice: 100 Trying
            siprack -> bob: INVITE
            bob -> siprack: 180 Ringing
            siprack -> alice: 180 Ringing
            bob -> siprack: 200 OK
            siprack -> alice: 200 OK
            alice -> siprack: ACK
            siprack -> bob: ACK
            ",
        )
    });
}
