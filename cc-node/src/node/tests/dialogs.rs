//! Requests within dialogs: by token, to the peer, from whichever node.

use super::*;

/// The far side is behind a NAT: registered from 203.0.113.9:40000 with a private Contact.
const BOB_OUTSIDE: &str = "203.0.113.9:40000";

fn behind_nat() -> Bench {
    let mut b = bench();
    b.register("bob@rack.test", &[("sip:bob@192.168.1.2:5060", BOB_OUTSIDE, 1000)]);
    b
}

#[test]
fn a_phone_behind_a_nat_is_reached_by_its_flow() {
    let mut b = behind_nat();
    let forwarded = b.hear(ALICE, &invite("c")).remove(1);
    assert_eq!((forwarded.to.as_str(), forwarded.uri()), (BOB_OUTSIDE, "sip:bob@192.168.1.2:5060"));
    let ok =
        b.hear(BOB_OUTSIDE, &response(&forwarded, "200 OK", "b", "Contact: <sip:bob@192.168.1.2:5060>\n")).remove(0);
    for method in ["ACK", "INVITE", "BYE"] {
        let said = b.hear(ALICE, &in_dialog(method, "c", 2, ok.route(), "sip:bob@192.168.1.2:5060"));
        let sent = said.iter().find(|s| s.what() == method).unwrap();
        assert_eq!((sent.to.as_str(), sent.uri()), (BOB_OUTSIDE, "sip:bob@192.168.1.2:5060"));
    }
}

/// RFC 3327 §5.4: the Path becomes the Route, topmost first, and the Request-URI stays the contact.
#[test]
fn a_path_is_the_route_to_its_contact() {
    let mut b = bench();
    let path = ["<sip:edge.test;lr>", "<sip:10.0.7.1;lr;x=1>"];
    b.register_by("bob@rack.test", &[("sip:bob@192.168.1.2:5060", BOB_OUTSIDE, 1000)], &path);
    let mut forwarded = b.hear(ALICE, &invite("c")).remove(1);
    assert_eq!((forwarded.to.as_str(), forwarded.uri()), (BOB_OUTSIDE, "sip:bob@192.168.1.2:5060"));
    assert_eq!(forwarded.all("Route").collect::<Vec<_>>(), path);
    // A phone of the same host behind the same edge is no direct one either.
    b.register_by("bob@rack.test", &[("sip:bob@203.0.113.9:5090", BOB_OUTSIDE, 1000)], &path[..1]);
    forwarded = b.hear(ALICE, &invite("d")).remove(1);
    assert_eq!((forwarded.to.as_str(), forwarded.uri()), (BOB_OUTSIDE, "sip:bob@203.0.113.9:5090"));
    assert_eq!(forwarded.all("Route").collect::<Vec<_>>(), &path[..1]);
}

#[test]
fn a_caller_behind_a_nat_is_answered_and_reached_by_its_flow() {
    let mut b = bench();
    let outside = "198.51.100.7:31000";
    let behind = invite("c").replace("10.0.0.1:5060", "192.168.0.9:5060").replace("branch=", "rport;branch=");
    let said = b.hear(outside, &behind);
    assert_eq!(said[0].to, outside, "rport");
    assert!(
        said[0].header("Via").contains(";rport=31000;") && said[0].header("Via").contains(";received=198.51.100.7")
    );
    let vias: Vec<&str> = said[1].all("Via").collect();
    assert!(vias[1].contains("received=198.51.100.7"), "{vias:?}");
    let ok = b.hear(BOB, &response(&said[1], "200 OK", "b", BOB_CONTACT)).remove(0);
    assert_eq!(ok.to, outside);
    let bye = b.hear(BOB, &from_bob("BYE", "c", 1, ok.route(), "sip:alice@192.168.0.9:5060"));
    assert_eq!(ladder(&bye), [format!("BYE → {outside}")]);
}

#[test]
fn without_rport_the_answer_goes_to_the_port_of_the_via() {
    let mut b = bench();
    let said = b.hear("10.0.0.1:7777", &invite("c"));
    assert_eq!(said[0].to, "10.0.0.1:5060");
}

/// A peer that does not echo Record-Route: its ACK and BYE go to the Request-URI, through us all the same.
#[test]
fn a_trunk_that_forgets_the_route_ends_its_call_all_the_same() {
    let mut b = bench();
    let from_trunk = |method: &str, cseq| {
        let text = request(method, "sip:bob@rack.test", "c", cseq, "").replace("10.0.0.1", "10.9.0.1");
        if method == "INVITE" { text } else { text.replace("To: <sip:bob@rack.test>", "To: <sip:bob@rack.test>;tag=b") }
    };
    let forwarded = b.hear(CARRIER, &from_trunk("INVITE", 1)).remove(1);
    b.hear(BOB, &response(&forwarded, "200 OK", "b", BOB_CONTACT));
    let ack = from_trunk("ACK", 1).replace("z9hG4bKc1", "z9hG4bKack");
    assert_eq!(ladder(&b.hear(CARRIER, &ack)), ["ACK → 10.0.0.2:5060"]);
    assert!(b.hear("203.0.113.66:5060", &ack).is_empty(), "from nowhere that we know");
    let bye = b.hear(CARRIER, &from_trunk("BYE", 2)).remove(0);
    assert_eq!((bye.what(), bye.to.as_str()), ("BYE", BOB));
    b.hear(BOB, &response(&bye, "200 OK", "b", ""));
    assert_eq!(b.cdrs.len(), 1);
}

/// Alice calls a number that a carrier brings back to us as a call for Bob: two calls, each with its CDR.
#[test]
fn a_call_that_comes_back_through_a_trunk_is_two_calls() {
    let mut b = bench();
    let out = b.hear(ALICE, &request("INVITE", "sip:0049301@rack.test", "c", 1, "")).remove(1);
    assert_eq!(out.to, CARRIER);
    let back = format!("INVITE sip:bob@rack.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.9.0.1;branch=z9hG4bKback\r\n{}", {
        let (_, rest) = out.text.split_once("\r\n").unwrap();
        rest
    });
    let into = b.hear(CARRIER, &back).remove(1);
    assert_eq!((into.what(), into.to.as_str()), ("INVITE", BOB));
    let ok = b.hear(BOB, &response(&into, "200 OK", "b", BOB_CONTACT)).remove(0);
    assert_eq!(ok.to, "10.9.0.1:5060");
    let relayed = ok.text.replacen("Via: SIP/2.0/UDP 10.9.0.1;branch=z9hG4bKback;received=10.9.0.1\r\n", "", 1);
    let relayed = relayed.replacen("Via: SIP/2.0/UDP 10.9.0.1;branch=z9hG4bKback\r\n", "", 1);
    let ok = b.hear(CARRIER, &relayed).remove(0);
    assert_eq!((ok.what(), ok.to.as_str(), b.node.calls().established()), ("200", "10.0.0.1:5060", 2));
    let routes: Vec<String> = ok.all("Record-Route").map(str::to_owned).collect();
    assert_eq!(routes.len(), 2);
    // Alice's route set: ours for the first call, then ours for the second; both are on top, so both come off at once.
    let route = format!("{}\nRoute: {}", routes[1], routes[0]);
    let bye = b.hear(ALICE, &in_dialog("BYE", "c", 2, &route, "sip:bob@10.0.0.2:5060"));
    assert_eq!(ladder(&bye), ["BYE → 10.0.0.2:5060"]);
    b.hear(BOB, &response(&bye[0], "200 OK", "b", ""));
    assert_eq!((b.cdrs.len(), b.node.calls().len()), (2, 0));
    assert_ne!(b.cdrs[0].id, b.cdrs[1].id);
}

#[test]
fn a_node_that_knows_nothing_of_the_call_forwards_by_the_token() {
    let ok = established(&mut bench(), "c");
    let mut other = bench();
    let ack = other.hear(ALICE, &in_dialog("ACK", "c", 1, ok.route(), "sip:bob@10.0.0.2:5060"));
    assert_eq!(ladder(&ack), ["ACK → 10.0.0.2:5060"]);
    let bye = other.hear(BOB, &from_bob("BYE", "c", 1, ok.route(), "sip:alice@10.0.0.1:5060"));
    assert_eq!(ladder(&bye), ["BYE → 10.0.0.1:5060"]);
    let done = other.hear(ALICE, &response(&bye[0], "200 OK", "x", ""));
    assert_eq!(ladder(&done), ["200 → 10.0.0.2:5060"]);
    assert!(other.cdrs.is_empty(), "only who knows when it was answered writes the CDR");
}

#[test]
fn a_re_invite_carries_the_same_token_on_and_is_journalled() {
    let mut b = bench();
    let ok = established(&mut b, "c");
    let said = b.hear(BOB, &from_bob("INVITE", "c", 5, ok.route(), "sip:alice@10.0.0.1:5060"));
    assert_eq!(ladder(&said), ["100 → 10.0.0.2:5060", "INVITE → 10.0.0.1:5060"]);
    assert_eq!(said[1].route(), ok.route());
    assert!(matches!(b.record(said[1].after), What::Accepted(_)));
    let answered = b.hear(ALICE, &response(&said[1], "200 OK", "x", "Contact: <sip:alice@10.0.0.1:5060>\n"));
    assert_eq!(ladder(&answered), ["200 → 10.0.0.2:5060"]);
    assert!(matches!(b.record(answered[0].after), What::Answered { .. }));
    assert_eq!(b.node.calls().len(), 1, "it is no second call");
}

#[test]
fn a_next_hop_outside_the_peer_is_refused_and_an_ack_dropped() {
    let mut b = bench();
    let ok = established(&mut b, "c");
    let stolen = "sip:premium@203.0.113.66:5060";
    assert_eq!(ladder(&b.hear(ALICE, &in_dialog("BYE", "c", 2, ok.route(), stolen))), ["403 → 10.0.0.1:5060"]);
    assert!(b.hear(ALICE, &in_dialog("ACK", "c", 3, ok.route(), stolen)).is_empty());
    assert_eq!(b.node.stats().dropped[DropReason::AckOutsidePeer as usize], 1);
    let more = format!("{}\nRoute: <sip:203.0.113.66;lr>", ok.route());
    assert_eq!(
        ladder(&b.hear(ALICE, &in_dialog("BYE", "c", 4, &more, "sip:bob@10.0.0.2:5060"))),
        ["403 → 10.0.0.1:5060"]
    );
}

#[test]
fn a_token_of_another_call_makes_nothing_in_dialog() {
    let mut b = bench();
    let ok = established(&mut b, "c");
    // Another Call-ID, a made-up To tag, the token of the first call: a new request, so the foreign domain is refused.
    let dressed = in_dialog("INVITE", "d", 1, ok.route(), "sip:premium@203.0.113.66:5060");
    assert_eq!(ladder(&b.hear(ALICE, &dressed)), ["403 → 10.0.0.1:5060"]);
    let mut broken = ok.route().to_owned();
    let at = broken.find("sr=").unwrap() + 30;
    broken.replace_range(at..at + 1, if &broken[at..at + 1] == "A" { "B" } else { "A" });
    assert_eq!(
        ladder(&b.hear(ALICE, &in_dialog("BYE", "c", 9, &broken, "sip:x@203.0.113.66"))),
        ["403 → 10.0.0.1:5060"]
    );
    assert!(b.hear(ALICE, &in_dialog("ACK", "c", 9, &broken, "sip:x@203.0.113.66")).is_empty());
    assert_eq!(b.node.stats().forged_tokens, 2);
}

#[test]
fn a_trunks_contact_elsewhere_is_reached_only_if_the_dialog_has_named_it() {
    let mut b = bench();
    let said = b.hear(ALICE, &request("INVITE", "sip:00441234@rack.test", "c", 1, ""));
    let ok = b.hear(CARRIER, &response(&said[1], "200 OK", "b", "Contact: <sip:media@10.9.7.7:5070>\n")).remove(0);
    let bye = b.hear(ALICE, &in_dialog("BYE", "c", 2, ok.route(), "sip:media@10.9.7.7:5070"));
    assert_eq!(ladder(&bye), ["BYE → 10.9.7.7:5070"]);
    let other = b.hear(ALICE, &in_dialog("INFO", "c", 3, ok.route(), "sip:media@10.9.7.8:5070"));
    assert_eq!(ladder(&other), ["403 → 10.0.0.1:5060"]);
}

#[test]
fn a_strict_router_puts_our_record_route_into_the_request_uri() {
    let mut b = bench();
    let ok = established(&mut b, "c");
    let uri = ok.route().trim_matches(['<', '>']).to_owned();
    let bye = b.hear(ALICE, &in_dialog("BYE", "c", 2, "<sip:bob@10.0.0.2:5060>", &uri));
    assert_eq!(ladder(&bye), ["BYE → 10.0.0.2:5060"]);
    assert_eq!((bye[0].uri(), bye[0].all("Route").count()), ("sip:bob@10.0.0.2:5060", 0));
}

#[test]
fn other_methods_within_and_without_a_dialog() {
    let mut b = bench();
    let ok = established(&mut b, "c");
    let info = b.hear(ALICE, &in_dialog("INFO", "c", 2, ok.route(), "sip:bob@10.0.0.2:5060"));
    assert_eq!(ladder(&info), ["INFO → 10.0.0.2:5060"]);
    let message = b.hear(ALICE, &request("MESSAGE", "sip:bob@rack.test", "m", 1, ""));
    assert_eq!(ladder(&message), ["MESSAGE → 10.0.0.2:5060"]);
    assert_eq!(message[0].all("Record-Route").count(), 0);
    let done = b.hear(BOB, &response(&message[0], "202 Accepted", "b", ""));
    assert_eq!(ladder(&done), ["202 → 10.0.0.1:5060"]);
    let subscribe = b.hear(ALICE, &request("SUBSCRIBE", "sip:bob@rack.test", "s", 1, "Event: presence\n"));
    assert_eq!(subscribe[0].all("Record-Route").count(), 1);
}

/// Each side knows the other's tag, so tag and token alone do not say who asks.
#[test]
fn a_caller_that_poses_as_the_callee_ends_nothing() {
    let mut b = bench();
    let ok = established(&mut b, "c");
    let posed = from_bob("BYE", "c", 1, ok.route(), "sip:alice@10.0.0.1:5060");
    let bye = b.hear(ALICE, &posed);
    for said in bye.iter().filter(|said| said.what() == "BYE") {
        b.hear(ALICE, &response(said, "200 OK", "", ""));
    }
    assert!(b.cdrs.is_empty(), "{:?}", b.cdrs);
    assert_eq!(b.node.calls().len(), 1);
}

/// Whoever pays for the call could provoke such an answer, and talk on.
#[test]
fn a_bye_that_is_refused_for_what_stands_in_it_ends_nothing() {
    let mut b = bench();
    let ok = established(&mut b, "c");
    let bye = b.hear(ALICE, &in_dialog("BYE", "c", 2, ok.route(), "sip:bob@10.0.0.2:5060"));
    b.hear(BOB, &response(&bye[0], "420 Bad Extension", "", ""));
    assert!(b.cdrs.is_empty());
    let bye = b.hear(ALICE, &in_dialog("BYE", "c", 3, ok.route(), "sip:bob@10.0.0.2:5060"));
    b.hear(BOB, &response(&bye[0], "200 OK", "", ""));
    assert_eq!(b.cdrs.len(), 1);
}
