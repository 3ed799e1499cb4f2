//! What is not forwarded, and the one right answer to it; REGISTER and OPTIONS, which end here.

use super::*;
use crate::effect::LocationFailure;
use common::location::{Command, Outcome, RequestedBinding};

fn answer(b: &mut Bench, text: &str) -> String {
    let said = b.hear(ALICE, text);
    assert_eq!(said.len(), 1, "{:?}", ladder(&said));
    said[0].text.lines().next().unwrap().to_owned()
}

#[test]
fn a_request_that_cannot_be_forwarded() {
    let mut b = bench();
    let options = |more: &str| request("OPTIONS", "sip:bob@rack.test", "o", 1, more);
    for (text, line) in [
        (options("").replace("Max-Forwards: 70", "Max-Forwards: 0"), "SIP/2.0 483 Too Many Hops"),
        (options("Proxy-Require: magic\n"), "SIP/2.0 420 Bad Extension"),
        (options("").replace("SIP/2.0\nVia", "SIP/7.0\nVia"), "SIP/2.0 505 Version Not Supported"),
        (options("").replace("sip:bob@rack.test", "magic:x"), "SIP/2.0 416 Unsupported URI Scheme"),
        (
            options("").replace("CSeq: 1 OPTIONS", "CSeq: 1 INVITE"),
            "SIP/2.0 400 CSeq Method Differs From Request Method",
        ),
        (request("INVITE", "sip:nobody@rack.test", "n", 1, ""), "SIP/2.0 404 Not Found"),
        (request("INVITE", "sip:rack.test", "m", 1, ""), "SIP/2.0 404 No User In Request-URI"),
        (request("INVITE", "sip:x@elsewhere.example", "f", 1, ""), "SIP/2.0 403 This Domain Asks For Authentication"),
        (
            request("INVITE", "sip:bob@rack.test", "r", 1, "Route: <sip:203.0.113.5;lr>\n"),
            "SIP/2.0 403 Route Leads Outside",
        ),
    ] {
        assert_eq!(answer(&mut b, &text), line, "{text}");
    }
    let said = b.hear(ALICE, &options("Proxy-Require: magic\n"));
    assert_eq!(said[0].header("Unsupported"), "magic");
}

/// §16.3 step 3 is for what goes on; what is for us has come far enough.
#[test]
fn what_ends_here_needs_no_hops() {
    let mut b = bench();
    let to_us = request("OPTIONS", "sip:192.0.2.1", "o", 1, "").replace("Max-Forwards: 70", "Max-Forwards: 0");
    assert_eq!(answer(&mut b, &to_us), "SIP/2.0 200 OK");
    let required = to_us.replace("Contact", "Require: magic, 100rel\nContact");
    let refused = b.hear(ALICE, &required).remove(0);
    assert_eq!((refused.what(), refused.header("Unsupported")), ("420", "magic, 100rel"));
    let register = request("REGISTER", "sip:rack.test", "r", 1, "").replace("Max-Forwards: 70", "Max-Forwards: 0");
    assert!(b.hear(ALICE, &register).is_empty() && !b.asks.is_empty(), "the location server is asked");
}

#[test]
fn provisioned_but_not_registered_is_480() {
    let mut b = bench();
    b.subscriber("carol", "rack.test");
    assert_eq!(answer(&mut b, &request("INVITE", "sip:carol@rack.test", "c", 1, "")), "SIP/2.0 480 Not Registered");
}

#[test]
fn contacts_that_need_tcp_are_503_with_a_reason() {
    let mut b = bench();
    b.register("bob@rack.test", &[("sip:bob@10.0.0.2:5060;transport=tcp", BOB, 1000)]);
    let said = b.hear(ALICE, &invite("c"));
    assert_eq!(said[0].what(), "503");
    assert!(said[0].header("Warning").contains("TCP"));
}

#[test]
fn a_loop_is_482_and_a_spiral_goes_on() {
    let mut b = bench();
    let first = b.hear(CARRIER, &invite("c")).remove(1);
    let back = |uri: &str| {
        let vias = format!("Via: SIP/2.0/UDP 10.9.0.1;branch=z9hG4bKspiral\nVia: {}\n", first.header("Via"));
        invite("c").replace("sip:bob@rack.test SIP", &format!("{uri} SIP")).replacen("Via:", &format!("{vias}Via:"), 1)
    };
    let said = b.hear(CARRIER, &back("sip:bob@rack.test"));
    assert_eq!(said[0].what(), "482", "the same request from the same trunk again");
    b.register("robert@rack.test", &[("sip:r@10.0.0.3:5060", BOB_TOO, 1000)]);
    let said = b.hear(CARRIER, &back("sip:robert@rack.test").replace("spiral", "spiral2"));
    assert_eq!(said[1].what(), "INVITE", "another Request-URI is a spiral");
}

#[test]
fn strangers_who_want_strangers_hear_nothing_of_a_rack_that_asks_who_they_are() {
    let mut b = bench();
    for method in ["REGISTER", "INVITE", "OPTIONS", "MESSAGE"] {
        let scan = request(method, "sip:100@evil.test", "s", 1, "").replace("alice@rack.test", "100@1.1.1.1");
        assert!(b.hear("203.0.113.66:5060", &scan).is_empty(), "{method}");
    }
    assert_eq!(b.node.stats().dropped[DropReason::UnknownDomain as usize], 4);
    let open = open_bench().hear(ALICE, &request("REGISTER", "sip:evil.test", "s", 1, ""));
    assert_eq!(open[0].what(), "403");
    let own = b.hear(ALICE, &request("INVITE", "sip:x@evil.test", "t", 1, "").replace("alice@rack", "alice@safe"));
    assert_eq!(own[0].what(), "407", "our users are asked, wherever they call");
}

#[test]
fn options_to_the_rack_itself_and_to_a_user() {
    let mut b = bench();
    for uri in ["sip:rack.test", "sip:192.0.2.1", "sip:192.0.2.1:5060", "sip:safe.test"] {
        let said = b.hear(ALICE, &request("OPTIONS", uri, "o", 1, ""));
        assert_eq!(ladder(&said), ["200 → 10.0.0.1:5060"]);
        assert!(said[0].header("Allow").contains("INVITE") && said[0].text.contains("Accept:"));
    }
    assert_eq!(
        ladder(&b.hear(ALICE, &request("OPTIONS", "sip:bob@rack.test", "p", 1, ""))),
        ["OPTIONS → 10.0.0.2:5060"]
    );
}

#[test]
fn a_challenge_leaves_nothing_behind_and_its_ack_is_dropped() {
    let mut b = bench();
    b.subscriber("bob", "safe.test");
    let text = invite("c").replace("rack.test", "safe.test");
    let said = b.hear(ALICE, &text);
    assert_eq!(ladder(&said), ["407 → 10.0.0.1:5060"]);
    assert!(said[0].text.len() <= 2 * text.len());
    assert_eq!(b.node.stats().transactions, Default::default());
    let again = b.hear(ALICE, &text);
    assert_eq!(again[0].header("To"), said[0].header("To"), "the same To tag");
    let ack =
        text.replace("INVITE", "ACK").replace("To: <sip:bob@safe.test>", &format!("To: {}", said[0].header("To")));
    assert!(b.hear(ALICE, &ack).is_empty());
    assert_eq!(b.node.stats().dropped[DropReason::AckOfOurs as usize], 1);
    assert!(b.hear(ALICE, &ack.replace("INVITE", "ACK").replace(said[0].header("To"), "<sip:x@y>;tag=z")).is_empty());
    assert_eq!(b.node.stats().dropped[DropReason::AckWithoutToken as usize], 1);
}

#[test]
fn our_refusal_of_a_known_caller_is_repeated_until_its_ack() {
    let mut b = bench();
    let text = request("INVITE", "sip:nobody@rack.test", "n", 1, "");
    let said = b.hear(ALICE, &text);
    assert_eq!(ladder(&b.pass(Duration::from_millis(600))), ["404 → 10.0.0.1:5060"]);
    let to = said[0].header("To").to_owned();
    b.hear(ALICE, &text.replace("INVITE", "ACK").replace("To: <sip:bob@rack.test>", &format!("To: {to}")));
    assert!(b.pass(Duration::from_secs(60)).is_empty());
}

#[test]
fn a_register_waits_for_the_log_and_a_repeat_does_not_ask_twice() {
    let mut b = bench();
    let text = request("REGISTER", "sip:rack.test", "r", 1, "Expires: 300\n");
    assert!(b.hear(ALICE, &text).is_empty() && b.hear(ALICE, &text).is_empty());
    assert_eq!(b.asks.len(), 1);
    assert!(b.pass(Duration::from_millis(3_499)).is_empty());
    assert_eq!(ladder(&b.pass(Duration::from_secs(20))), ["100 → 10.0.0.1:5060"], "RFC 4320 §4.1");
    let Effect::Location { ask, command: Command::Register(command), .. } = b.asks.remove(0) else {
        panic!("no REGISTER")
    };
    assert_eq!((command.aor.as_str(), command.received.to_string().as_str()), ("bob@rack.test", ALICE));
    assert!(matches!(&command.what, RequestedBinding::Contacts(c) if c[0].contact == "sip:alice@10.0.0.1:5060"));
    let outcome = Ok(Outcome::Registered { level: Level(3), time: LogTime(0), bindings: vec![] });
    let said = b.input(Input::Location { ask, outcome: outcome.clone() });
    assert_eq!(ladder(&said), ["200 → 10.0.0.1:5060"]);
    assert!(b.input(Input::Location { ask, outcome }).is_empty(), "answered once");
    assert_eq!(ladder(&b.hear(ALICE, &text)), ["200 → 10.0.0.1:5060"]);
}

#[test]
fn a_register_without_an_outcome_is_503() {
    let mut b = bench();
    b.hear(ALICE, &request("REGISTER", "sip:rack.test", "r", 1, ""));
    let Effect::Location { ask, .. } = b.asks.remove(0) else { panic!("no question") };
    assert_eq!(b.input(Input::Location { ask, outcome: Err(LocationFailure::Timeout) })[0].what(), "503");
    b.hear(ALICE, &request("REGISTER", "sip:rack.test", "r2", 1, ""));
    assert_eq!(
        ladder(&b.pass(Duration::from_secs(33))),
        ["100 → 10.0.0.1:5060", "503 → 10.0.0.1:5060"],
        "a lost one too"
    );
    assert_eq!(
        answer(&mut b, &request("REGISTER", "sip:elsewhere.example", "r3", 1, "")),
        "SIP/2.0 403 This Domain Asks For Authentication"
    );
}

#[test]
fn too_much_is_503_with_retry_after_and_tables_stay_bounded() {
    let mut b = bench();
    for n in 0..300 {
        let said = b.hear(ALICE, &invite(&format!("c{n}")));
        if n >= 20 {
            assert_eq!(said[0].what(), "503");
            assert_eq!(said[0].header("Retry-After"), "5");
        }
    }
    for n in 0..300 {
        b.hear(ALICE, &request("MESSAGE", "sip:bob@rack.test", &format!("m{n}"), 1, ""));
    }
    let t = b.node.stats().transactions;
    assert!(t.server + t.client + t.invite_server + t.invite_client <= 101);
    assert_eq!(b.node.calls().len(), 20);
}

#[test]
fn an_open_domain_does_not_open_the_others() {
    let mut b = bench();
    for uri in ["sip:bob@safe.test", "sip:through@elsewhere.example"] {
        let line = answer(&mut b, &request("INVITE", uri, "o", 1, ""));
        assert_eq!(line, "SIP/2.0 403 This Domain Asks For Authentication", "{uri}");
    }
    let by_route = request("INVITE", "sip:x@rack.test", "r", 1, "Route: <sip:10.9.0.1;lr>\n");
    assert_eq!(answer(&mut b, &by_route), "SIP/2.0 403 Route Leads Outside");
    let foreign = request("INVITE", "sip:x@elsewhere.example", "f", 1, "");
    assert_eq!(answer(&mut open_bench(), &foreign), "SIP/2.0 403 Relaying To This Domain Is Not Allowed");
}

#[test]
fn what_a_user_asserts_about_itself_does_not_reach_a_trunk() {
    let mut b = bench();
    let said = b
        .hear(ALICE, &request("INVITE", "sip:0044@rack.test", "p", 1, "P-Asserted-Identity: <sip:+49110@rack.test>\n"));
    assert_eq!(said[1].to, CARRIER);
    assert!(!said[1].text.contains("P-Asserted-Identity"), "{}", said[1].text);
}

#[test]
fn a_foreign_domain_with_a_route_keeps_its_request_uri() {
    let mut b = open_bench();
    let said = b.hear(ALICE, &request("INVITE", "sip:through@elsewhere.example", "f", 1, ""));
    assert_eq!((said[1].to.as_str(), said[1].uri()), (CARRIER, "sip:through@elsewhere.example"));
}

#[test]
fn a_trunk_calls_a_phone_without_digest() {
    let mut b = bench();
    b.register("bob@safe.test", &[("sip:bob@10.0.0.2:5060", BOB, 1000)]);
    let said =
        b.hear(CARRIER, &invite("c").replace("rack.test", "safe.test").replace("10.0.0.1:5060", "10.9.0.1:5060"));
    assert_eq!(ladder(&said), [format!("100 → {CARRIER}"), format!("INVITE → {BOB}")]);
    assert_eq!(b.node.calls().iter().next().unwrap().opened.trunk_in.map(|t| t.0), Some(7));
}
