//! RFC 3665 §3.1 to §3.3 and §3.7 to §3.11: sessions through one and two proxies. The proxies are two racks of ours, each
//! with its own key, nodes and location server.

use super::{ALICE, BOB, atlanta, bob_at_biloxi, invite_with_credentials, registered, two_proxies};
use crate::stage::{ATLANTA, WARY_BILOXI, holds, is, play};
use common::time::Duration;
use simulated_rack::hosts::actor::dialog::{Answer, Dialog, Draft};
use simulated_rack::hosts::actor::message::Message;
use simulated_rack::script::ActorId;
use simulated_rack::simulation::Simulation;

const URI: &str = "sip:bob@biloxi.example.com";

/// Alice's INVITE has come to Bob through both proxies; it rings, and Alice knows. INVITE, 180 and Alice's dialog.
fn rings(s: &mut Simulation, alice: ActorId, bob: ActorId) -> Result<(Message, Message, Dialog), String> {
    let attempt = invite_with_credentials(s, alice, URI)?;
    let invite = s.expect(bob, "INVITE")?;
    s.answer(bob, &invite, 180, "bob-tag");
    let ringing = s.expect(alice, "180")?;
    Ok((invite, ringing, attempt))
}

/// F1 to the 180, the same in every flow through two proxies.
const TO_THE_180: &str = "
    alice -> atlanta: INVITE
    atlanta -> alice: 407 Proxy Authentication Required
    alice -> atlanta: ACK
    alice -> atlanta: INVITE
    atlanta -> alice: 100 Trying
    atlanta -> biloxi: INVITE
    biloxi -> atlanta: 100 Trying
    biloxi -> bob: INVITE
    bob -> biloxi: 180 Ringing
    biloxi -> atlanta: 180 Ringing
    atlanta -> alice: 180 Ringing
";

fn two_proxy_ladder(rest: &str) -> String {
    format!("{TO_THE_180}{rest}")
}

/// The direct call of the RFC has no server in it; here the server is in the way, and each end sees the RFC's ladder.
#[test]
fn s3_1_successful_session_establishment() {
    play(|| {
        let (mut s, alice) = atlanta(301);
        s.provision(0, "bob", "atlanta.example.com", BOB);
        let bob = s.actor("bob", "atlanta.example.com");
        let contact = format!("<{}>", s.the(bob).contact());
        registered(&mut s, bob, BOB, &contact)?;
        s.begin_ladder();
        let attempt = invite_with_credentials(&mut s, alice, "sip:bob@atlanta.example.com")?;
        let invite = s.expect(bob, "INVITE")?;
        is("F1 reaches Bob's contact", invite.uri().to_string(), "sip:bob@198.51.100.102:5060")?;
        s.answer(bob, &invite, 180, "314159");
        s.expect(alice, "180")?;
        s.answer(bob, &invite, 200, "314159");
        let ok = s.expect(alice, "200 INVITE")?;
        holds("F3 makes Alice's dialog with Bob's tag", attempt.of_response(&ok).remote.ends_with("tag=314159"))?;
        s.expect(bob, "ACK")?;
        let mut dialog = Dialog::of_request(&invite, "314159");
        s.bye(bob, &mut dialog);
        s.expect(alice, "BYE")?;
        s.expect(bob, "200 BYE")?;
        s.compare(
            "
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
            bob -> siprack: BYE
            siprack -> alice: BYE
            alice -> siprack: 200 OK
            siprack -> bob: 200 OK
            ",
        )
    });
}

#[test]
fn s3_2_session_establishment_through_two_proxies() {
    play(|| {
        let (mut s, alice, bob) = two_proxies(302)?;
        let (invite, ringing, attempt) = rings(&mut s, alice, bob)?;
        the_invite_tells_its_way(&s, &invite)?;
        holds(
            "F11 tells Alice both proxies, topmost the last",
            ringing.values("Record-Route") == invite.values("Record-Route"),
        )?;
        holds("F11 has only Alice's Via", ringing.values("Via").len() == 1)?;
        s.answer(bob, &invite, 200, "bob-tag");
        let ok = s.expect(alice, "200 INVITE")?;
        let mut dialog = attempt.of_response(&ok);
        holds("F14's routes are the RFC's, nearest first", dialog.routes[0].contains("192.0.2.1:5060;lr"))?;
        let ack = s.expect(bob, "ACK")?;
        is("F17 CSeq", ack.header("CSeq"), "2 ACK")?;
        holds("F17 has no Route left and Bob's contact as Request-URI", ack.header("Route").is_empty())?;
        is("F17 Request-URI", ack.uri().to_string(), "sip:bob@198.51.100.102:5060")?;
        let mut bobs = Dialog::of_request(&invite, "bob-tag");
        s.bye(bob, &mut bobs);
        let bye = s.expect(alice, "BYE")?;
        holds("F20 has no Route left", bye.header("Route").is_empty())?;
        s.expect(bob, "200 BYE")?;
        dialog.cseq += 1;
        s.compare(&two_proxy_ladder(
            "
            bob -> biloxi: 200 OK
            biloxi -> atlanta: 200 OK
            atlanta -> alice: 200 OK
            alice -> atlanta: ACK
            atlanta -> biloxi: ACK
            biloxi -> bob: ACK
            bob -> biloxi: BYE
            biloxi -> atlanta: BYE
            atlanta -> alice: BYE
            alice -> atlanta: 200 OK
            atlanta -> biloxi: 200 OK
            biloxi -> bob: 200 OK
            ",
        ))?;
        holds("each rack has its own record of the call", s.cdrs().len() == 2)
    });
}

/// F8 of §3.2 as Bob has it.
fn the_invite_tells_its_way(s: &Simulation, invite: &Message) -> Result<(), String> {
    let vias = invite.values("Via");
    holds(
        "three Vias, the newest on top",
        vias.len() == 3 && vias[0].contains("192.0.2.2") && vias[1].contains("192.0.2.1"),
    )?;
    holds("proxies say where the one before was", vias[2].contains("198.51.100.101"))?;
    let routes = invite.values("Record-Route");
    holds(
        "both proxies stay in the way",
        routes.len() == 2 && routes[0].contains("192.0.2.2") && routes[1].contains("192.0.2.1"),
    )?;
    is("two hops", invite.header("Max-Forwards").to_string(), "68")?;
    holds("Alice's password is not for Bob", invite.header("Proxy-Authorization").is_empty())?;
    holds("the offer is untouched", invite.body.starts_with("v=0") && invite.body.contains("198.51.100.101"))?;
    is("Request-URI: where Bob is", invite.uri().to_string(), "sip:bob@198.51.100.102:5060")?;
    holds("nobody but the three", s.sites().len() == 2)
}

/// Alice has an account at each proxy, and each asks for itself: her From stays that of her own domain.
#[test]
fn s3_3_session_with_multiple_proxy_authentication() {
    play(|| {
        let mut s = Simulation::steady(&[&ATLANTA, &WARY_BILOXI], 303);
        s.provision(0, "alice", "atlanta.example.com", ALICE);
        // Biloxi asks as its own realm; Alice has an account there.
        s.provision(1, "alice", "biloxi.example.com", ALICE);
        let alice = s.actor("alice", "atlanta.example.com");
        let bob = bob_at_biloxi(&mut s)?;
        let mut attempt = s.invite(alice, URI);
        let first = s.expect(alice, "407")?;
        let one = s.credentials(alice, &first, URI, ALICE).ok_or("no credentials")?;
        s.send(alice, Draft { to_address: None, ..attempt.request("INVITE") }.with(&one));
        let second = s.expect(alice, "407")?;
        holds(
            "the second challenge is biloxi's",
            second.header("Proxy-Authenticate").contains("realm=\"biloxi.example.com\""),
        )?;
        let one = s.credentials_again(alice, &first, URI, ALICE, 2).ok_or("no credentials")?;
        let two = s.credentials(alice, &second, URI, ALICE).ok_or("no credentials")?;
        s.send(alice, Draft { to_address: None, ..attempt.request("INVITE") }.with(&one).with(&two));
        let invite = s.expect(bob, "INVITE")?;
        s.answer(bob, &invite, 200, "bob-tag");
        let ok = s.expect(alice, "200 INVITE")?;
        s.expect(bob, "ACK")?;
        s.compare(
            "
            alice -> atlanta: INVITE
            atlanta -> alice: 407 Proxy Authentication Required
            alice -> atlanta: ACK
            alice -> atlanta: INVITE
            atlanta -> alice: 100 Trying
            atlanta -> biloxi: INVITE
            biloxi -> atlanta: 407 Proxy Authentication Required
            atlanta -> biloxi: ACK
            atlanta -> alice: 407 Proxy Authentication Required
            alice -> atlanta: ACK
            alice -> atlanta: INVITE
            atlanta -> alice: 100 Trying
            atlanta -> biloxi: INVITE
            biloxi -> atlanta: 100 Trying
            biloxi -> bob: INVITE
            bob -> biloxi: 200 OK
            biloxi -> atlanta: 200 OK
            atlanta -> alice: 200 OK
            alice -> atlanta: ACK
            atlanta -> biloxi: ACK
            biloxi -> bob: ACK
            ",
        )?;
        let mut dialog = attempt.of_response(&ok);
        s.bye(alice, &mut dialog);
        s.expect(alice, "200 BYE")?;
        let charged: Vec<&str> = s.cdrs().iter().map(|(_, _, cdr)| cdr.caller.as_str()).collect();
        holds(
            &format!("each proxy charges its own user: {charged:?}"),
            charged.contains(&"sip:alice@atlanta.example.com") && charged.contains(&"sip:alice@biloxi.example.com"),
        )
    });
}

/// Bob moves the session to another address; the proxies are in the way of it all.
#[test]
fn s3_7_session_with_re_invite() {
    play(|| {
        let (mut s, alice, bob) = two_proxies(307)?;
        let (invite, _, _) = rings(&mut s, alice, bob)?;
        s.answer(bob, &invite, 200, "bob-tag");
        s.expect(alice, "200 INVITE")?;
        s.expect(bob, "ACK")?;
        s.begin_ladder();
        let mut bobs = Dialog::of_request(&invite, "bob-tag");
        let again = bobs.request("INVITE").body(s.the(bob).sdp(2));
        s.send(bob, again);
        let re_invite = s.expect(alice, "INVITE")?;
        holds("F13 is in the dialog", !re_invite.to_tag().is_empty() && re_invite.body.contains(" 2 IN IP4"))?;
        is("F13 CSeq is Bob's own", re_invite.header("CSeq"), "1 INVITE")?;
        s.answer(alice, &re_invite, 200, "");
        s.expect(bob, "200 INVITE")?;
        s.expect(alice, "ACK")?;
        s.bye(bob, &mut bobs);
        s.expect(bob, "200 BYE")?;
        s.compare(
            "
            bob -> biloxi: INVITE
            biloxi -> bob: 100 Trying
            biloxi -> atlanta: INVITE
            atlanta -> biloxi: 100 Trying
            atlanta -> alice: INVITE
            alice -> atlanta: 200 OK
            atlanta -> biloxi: 200 OK
            biloxi -> bob: 200 OK
            bob -> biloxi: ACK
            biloxi -> atlanta: ACK
            atlanta -> alice: ACK
            bob -> biloxi: BYE
            biloxi -> atlanta: BYE
            atlanta -> alice: BYE
            alice -> atlanta: 200 OK
            atlanta -> biloxi: 200 OK
            biloxi -> bob: 200 OK
            ",
        )
    });
}

/// Alice gives up while it rings.
#[test]
fn s3_8_unsuccessful_no_answer() {
    play(|| {
        let (mut s, alice, bob) = two_proxies(308)?;
        let (_, _, attempt) = rings(&mut s, alice, bob)?;
        s.run_for(Duration::from_secs(9));
        s.cancel(alice, &attempt);
        s.expect(alice, "200 CANCEL")?;
        let cancel = s.expect(bob, "CANCEL")?;
        holds("F16 has one Via: a CANCEL is hop by hop", cancel.values("Via").len() == 1)?;
        let ended = s.expect(alice, "487")?;
        is("F22 is the INVITE's", ended.header("CSeq"), "2 INVITE")?;
        s.run_for(Duration::from_secs(1));
        s.compare(&two_proxy_ladder(
            "
            alice -> atlanta: CANCEL
            atlanta -> alice: 200 OK
            atlanta -> biloxi: CANCEL
            biloxi -> atlanta: 200 OK
            biloxi -> bob: CANCEL
            bob -> biloxi: 200 OK
            bob -> biloxi: 487 Request Terminated
            biloxi -> bob: ACK
            biloxi -> atlanta: 487 Request Terminated
            atlanta -> biloxi: ACK
            atlanta -> alice: 487 Request Terminated
            alice -> atlanta: ACK
            ",
        ))?;
        holds("nobody pays", s.cdrs().is_empty())
    });
}

/// F8 on: a refusal from Bob, acknowledged hop by hop.
fn refused_by_bob(seed: u64, status: u16, line: &str) -> Result<(), String> {
    let (mut s, alice, bob) = two_proxies(seed)?;
    let attempt = invite_with_credentials(&mut s, alice, URI)?;
    let invite = s.expect(bob, "INVITE")?;
    s.respond(bob, &invite, Answer::new(status, "bob-tag"));
    let refused = s.expect(alice, &status.to_string())?;
    holds("Bob's tag comes to Alice", refused.to_tag() == "bob-tag" && attempt.cseq == refused.cseq())?;
    s.run_for(Duration::from_secs(1));
    let before: Vec<&str> = TO_THE_180.lines().filter(|l| !l.contains("180")).collect();
    s.compare(&format!(
        "{}
        bob -> biloxi: {line}
        biloxi -> bob: ACK
        biloxi -> atlanta: {line}
        atlanta -> biloxi: ACK
        atlanta -> alice: {line}
        alice -> atlanta: ACK
        ",
        before.join("\n")
    ))
}

#[test]
fn s3_9_unsuccessful_busy() {
    play(|| refused_by_bob(309, 486, "486 Busy Here"));
}

#[test]
fn s3_11_unsuccessful_temporarily_unavailable() {
    play(|| refused_by_bob(311, 480, "480 Temporarily Unavailable"));
}

/// Bob's machine is off: proxy 2 asks seven times in 32 s and then tells Alice.
#[test]
fn s3_10_unsuccessful_no_response_from_user_agent() {
    play(|| {
        let (mut s, alice, bob) = two_proxies(310)?;
        s.habits(bob).silent = true;
        invite_with_credentials(&mut s, alice, URI)?;
        let refused = s.expect(alice, "408")?;
        holds("the answer is a proxy's own", !refused.to_tag().is_empty() && refused.values("Via").len() == 1)?;
        s.run_for(Duration::from_secs(1));
        let before: Vec<&str> = TO_THE_180.lines().filter(|l| !l.contains("180")).collect();
        s.compare(&format!(
            "{}{}
            biloxi -> atlanta: 408 Request Timeout
            atlanta -> biloxi: ACK
            atlanta -> alice: 408 Request Timeout
            alice -> atlanta: ACK
            ",
            before.join("\n"),
            "\nbiloxi -> bob: INVITE".repeat(6)
        ))
    });
}
