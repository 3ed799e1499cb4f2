//! Calls as RFC 3665 draws them.

use super::*;
use crate::cdr::EndedBy;

#[test]
fn invite_200_ack_bye_with_one_cdr() {
    let mut b = bench();
    let said = b.hear(ALICE, &invite("c"));
    assert_eq!(ladder(&said), ["100 → 10.0.0.1:5060", "INVITE → 10.0.0.2:5060"]);
    let What::Accepted(accepted) = b.record(said[0].after) else { panic!("not accepted: {:?}", b.records) };
    assert!(said[0].after < said[1].after, "and which of them is tried is told before it leaves");
    assert_eq!(accepted.targets[0].branch, said[1].branch(), "the branch is in the record");
    let steps: Vec<&str> = accepted.decisions.iter().map(|d| d.step().name()).collect();
    assert_eq!(steps, ["identify", "admit", "locate", "fork"]);

    let forwarded = said[1].clone();
    assert_eq!(forwarded.uri(), "sip:bob@10.0.0.2:5060");
    assert_eq!(forwarded.header("Max-Forwards"), "69");
    assert_eq!(forwarded.all("Via").count(), 2);
    assert!(forwarded.header("Via").starts_with("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1"), "{}", forwarded.text);
    assert!(forwarded.route().starts_with("<sip:192.0.2.1:5060;lr;sr="));

    b.now = b.now + Duration::from_millis(200);
    let ringing = b.hear(BOB, &response(&forwarded, "180 Ringing", "b", BOB_CONTACT));
    assert_eq!(ladder(&ringing), ["180 → 10.0.0.1:5060"]);
    b.now = b.now + Duration::from_millis(300);
    let ok = b.hear(BOB, &response(&forwarded, "200 OK", "b", BOB_CONTACT)).remove(0);
    assert_eq!((ok.what(), ok.all("Via").count()), ("200", 1));
    assert!(matches!(b.record(ok.after), What::Answered(answer) if &*answer.callee_tag == "b"));

    let ack = b.hear(ALICE, &in_dialog("ACK", "c", 1, ok.route(), "sip:bob@10.0.0.2:5060"));
    assert_eq!(ladder(&ack), ["ACK → 10.0.0.2:5060"]);
    assert_eq!(ack[0].all("Route").count(), 0, "our Route value is off it");
    assert!(ack[0].branch() != forwarded.branch());

    b.now = b.now + Duration::from_millis(2100);
    let bye = b.hear(ALICE, &in_dialog("BYE", "c", 2, ok.route(), "sip:bob@10.0.0.2:5060"));
    assert_eq!(ladder(&bye), ["BYE → 10.0.0.2:5060"]);
    assert!(b.cdrs.is_empty());
    let done = b.hear(BOB, &response(&bye[0], "200 OK", "b", ""));
    assert_eq!(ladder(&done), ["200 → 10.0.0.1:5060"]);
    assert!(matches!(b.record(done[0].after), What::Ended { .. }));

    let cdr = b.cdrs.pop().unwrap();
    assert_eq!((cdr.ms_duration, cdr.duration, cdr.setup_time), (2100, 3, 0.5));
    assert_eq!(
        (cdr.from_tag.as_str(), cdr.to_tag.as_str(), cdr.callid.as_str(), cdr.sip_code),
        ("ac", "b", "c@alice", 200)
    );
    assert_eq!((cdr.caller.as_str(), cdr.callee.as_str()), ("sip:alice@rack.test", "sip:bob@rack.test"));
    assert_eq!(cdr.ended_by, EndedBy::Caller);
    b.pass(Duration::from_secs(64));
    assert!(b.cdrs.is_empty() && b.node.calls().is_empty());
    assert_eq!(b.node.stats().transactions, Default::default(), "nothing is left over");
}

#[test]
fn the_callee_hangs_up() {
    let mut b = bench();
    let ok = established(&mut b, "c");
    let bye = b.hear(BOB, &from_bob("BYE", "c", 1, ok.route(), "sip:alice@10.0.0.1:5060"));
    assert_eq!(ladder(&bye), ["BYE → 10.0.0.1:5060"]);
    b.hear(ALICE, &response(&bye[0], "200 OK", "x", ""));
    assert_eq!(b.cdrs[0].ended_by, EndedBy::Callee);
}

#[test]
fn a_bye_that_nobody_answers_ends_the_call_all_the_same() {
    let mut b = bench();
    let ok = established(&mut b, "c");
    b.hear(ALICE, &in_dialog("BYE", "c", 2, ok.route(), "sip:bob@10.0.0.2:5060"));
    let said = b.pass(Duration::from_secs(40));
    let answers: Vec<&str> = said.iter().map(Said::what).filter(|what| *what != "BYE").collect();
    assert_eq!(answers, ["100"], "no 408 to a BYE");
    assert_eq!(b.cdrs.len(), 1);
}

/// RFC 4320 §4.1: not before the caller repeats itself each T2 (0.5 s and 1 s and 2 s), and then once.
#[test]
fn what_is_no_invite_hears_100_when_it_would_repeat_itself_slowly() {
    let mut b = bench();
    b.hear(ALICE, &request("MESSAGE", "sip:bob@rack.test", "c", 1, ""));
    let early = b.pass(Duration::from_millis(3_499));
    assert!(early.iter().all(|s| s.what() == "MESSAGE"), "{:?}", ladder(&early));
    let then = b.pass(Duration::from_millis(1));
    assert_eq!(then.iter().map(Said::what).filter(|what| *what == "100").count(), 1, "{:?}", ladder(&then));
    let again = b.hear(ALICE, &request("MESSAGE", "sip:bob@rack.test", "c", 1, ""));
    assert_eq!(ladder(&again), ["100 → 10.0.0.1:5060"], "to a repeat too");
}

#[test]
fn both_hang_up_at_once_and_there_is_one_cdr() {
    let mut b = bench();
    let ok = established(&mut b, "c");
    let one = b.hear(ALICE, &in_dialog("BYE", "c", 2, ok.route(), "sip:bob@10.0.0.2:5060"));
    let two = b.hear(BOB, &from_bob("BYE", "c", 1, ok.route(), "sip:alice@10.0.0.1:5060"));
    b.hear(BOB, &response(&one[0], "200 OK", "b", ""));
    b.hear(ALICE, &response(&two[0], "200 OK", "x", ""));
    assert_eq!(b.cdrs.len(), 1);
}

#[test]
fn busy_is_acked_here_and_there_and_leaves_no_cdr() {
    let mut b = bench();
    let forwarded = b.hear(ALICE, &invite("c")).remove(1);
    let said = b.hear(BOB, &response(&forwarded, "486 Busy Here", "b", ""));
    assert_eq!(ladder(&said), ["ACK → 10.0.0.2:5060", "486 → 10.0.0.1:5060"]);
    assert_eq!(said[0].branch(), forwarded.branch());
    assert!(matches!(b.record(said[0].after), What::BranchFailed { status: 486, .. }));
    assert!(matches!(b.record(said[1].after), What::Refused { .. }));
    let ack = invite("c").replace("INVITE", "ACK").replace("To: <sip:bob@rack.test>", "To: <sip:bob@rack.test>;tag=b");
    assert!(b.hear(ALICE, &ack).is_empty(), "the ACK ends here");
    assert!(b.pass(Duration::from_secs(60)).is_empty() && b.cdrs.is_empty());
    assert_eq!(b.node.stats().calls_failed, 1);
    let [missed] = &b.missed[..] else { panic!("{:?}", b.missed) };
    assert_eq!((missed.sip_code, missed.sip_reason.as_str(), missed.to_tag.as_str()), (486, "Busy Here", "b"));
    assert_eq!((missed.ended_by, missed.duration, missed.start_time.as_str()), (EndedBy::Refused, 0, ""));
    assert_eq!((missed.caller.as_str(), missed.callee.as_str()), ("sip:alice@rack.test", "sip:bob@rack.test"));
}

#[test]
fn the_caller_cancels_a_ringing_call() {
    let mut b = bench();
    let forwarded = b.hear(ALICE, &invite("c")).remove(1);
    b.hear(BOB, &response(&forwarded, "180 Ringing", "b", ""));
    let said = b.hear(ALICE, &invite("c").replace("INVITE", "CANCEL"));
    assert_eq!(ladder(&said), ["200 → 10.0.0.1:5060", "CANCEL → 10.0.0.2:5060"]);
    assert_eq!(said[1].branch(), forwarded.branch());
    assert_eq!(said[1].header("CSeq"), "1 CANCEL");
    assert_eq!(ladder(&b.hear(ALICE, &invite("c").replace("INVITE", "CANCEL"))), ["200 → 10.0.0.1:5060"], "asked once");
    assert!(b.hear(BOB, &response(&said[1], "200 OK", "b", "")).is_empty());
    let end = b.hear(BOB, &response(&forwarded, "487 Request Terminated", "b", ""));
    assert_eq!(ladder(&end), ["ACK → 10.0.0.2:5060", "487 → 10.0.0.1:5060"]);
    assert!(b.cdrs.is_empty());
    assert_eq!(b.missed.iter().map(|m| (m.sip_code, m.ended_by)).collect::<Vec<_>>(), [(487, EndedBy::Cancelled)]);
}

#[test]
fn a_call_that_nobody_heard_of_is_missed_and_one_that_asks_for_a_password_is_not() {
    let mut b = bench();
    b.hear(ALICE, &invite("c"));
    b.pass(Duration::from_secs(40));
    let told: Vec<_> = b.missed.iter().map(|m| (m.callid.as_str(), m.sip_code, m.ended_by, m.setup_time)).collect();
    assert_eq!(told, [("c@alice", 408, EndedBy::NoAnswer, 32.0)]);
    let ids: Vec<String> = b.missed.drain(..).map(|missed| missed.id).collect();
    let forwarded = b.hear(ALICE, &invite("d")).remove(1);
    b.hear(BOB, &response(&forwarded, "407 Proxy Authentication Required", "b", ""));
    assert!(b.missed.is_empty(), "Alice calls again with it");
    let forwarded = b.hear(ALICE, &invite("e")).remove(1);
    b.hear(BOB, &response(&forwarded, "603 Decline", "b", ""));
    assert!(b.missed.len() == 1 && b.missed[0].id != ids[0]);
    assert!(b.starts.is_empty(), "nobody has answered");
}

#[test]
fn a_call_that_nobody_is_asked_for_is_missed_if_its_caller_is_known() {
    let mut b = bench();
    let from_carrier = |call: &str, uri: &str| request("INVITE", uri, call, 1, "").replace("10.0.0.1", "10.9.0.1");
    let refused = b.hear(CARRIER, &from_carrier("c", "sip:nobody@rack.test"));
    assert_eq!(refused.iter().map(Said::what).collect::<Vec<_>>(), ["404"]);
    assert_eq!(b.hear(CARRIER, &from_carrier("c", "sip:nobody@rack.test")).len(), 1, "heard again, missed once");
    let [missed] = &b.missed[..] else { panic!("{:?}", b.missed) };
    assert_eq!((missed.sip_code, missed.sip_reason.as_str(), missed.ended_by), (404, "Not Found", EndedBy::Refused));
    assert_eq!((missed.trunk_in.as_deref(), missed.callee.as_str()), (Some("carrier"), "sip:nobody@rack.test"));
    assert_eq!((missed.setup_time, missed.to_tag.as_str()), (0.0, refused[0].header("To").rsplit('=').next().unwrap()));
    let id = missed.id.clone();
    b.missed.clear();
    b.hear(CARRIER, &from_carrier("d", "sip:somebody@elsewhere.example"));
    assert!(b.missed[0].sip_code == 403 && b.missed[0].id != id, "{:?}", b.missed);
    // Whoever hears it again after the death of this node says the same of the same call.
    let mut other = bench();
    other.pass(Duration::from_secs(3));
    other.hear(CARRIER, &from_carrier("c", "sip:nobody@rack.test"));
    assert_eq!(other.missed[0].id, id);
}

#[test]
fn strangers_challenges_and_what_is_no_new_call_leave_no_record() {
    let mut b = bench();
    b.hear(ALICE, &request("INVITE", "sip:nobody@rack.test", "c", 1, ""));
    b.hear(ALICE, &request("INVITE", "sip:bob@safe.test", "d", 1, "").replace("alice@rack.test", "alice@safe.test"));
    let from_carrier = |text: String| text.replace("10.0.0.1", "10.9.0.1");
    b.hear(CARRIER, &from_carrier(request("MESSAGE", "sip:nobody@rack.test", "e", 1, "")));
    b.hear(
        CARRIER,
        &from_carrier(request("INVITE", "sip:bob@rack.test", "f", 1, "Session-Expires: 5\nSupported: timer\n")),
    );
    let late = request("INVITE", "sip:nobody@rack.test", "g", 2, "")
        .replace("To: <sip:bob@rack.test>", "To: <sip:bob@rack.test>;tag=b");
    let late = b.hear(CARRIER, &from_carrier(late));
    assert!(late[0].what().starts_with('4'), "{late:?}");
    assert!(b.missed.is_empty(), "{:?}", b.missed);
}

#[test]
fn a_call_begins_once_under_the_id_that_it_ends_by() {
    let mut b = bench();
    let forwarded = b.hear(ALICE, &invite("c")).pop().unwrap();
    b.hear(BOB, &response(&forwarded, "180 Ringing", "b", BOB_CONTACT));
    b.pass(Duration::from_secs(3));
    assert!(b.starts.is_empty());
    let ok = b.hear(BOB, &response(&forwarded, "200 OK", "b", BOB_CONTACT)).pop().unwrap();
    assert_eq!(b.starts.len(), 1, "told with the answer, not later");
    // Again, and by a fork further down.
    b.hear(BOB, &response(&forwarded, "200 OK", "b", BOB_CONTACT));
    b.hear(BOB, &response(&forwarded, "200 OK", "b2", BOB_CONTACT));
    let [start] = &b.starts[..] else { panic!("{:?}", b.starts) };
    assert_eq!((start.setup_time, start.sip_code, start.to_tag.as_str()), (3.0, 200, "b"));
    let start = start.clone();
    b.hear(ALICE, &in_dialog("BYE", "c", 2, ok.route(), "sip:bob@10.0.0.2:5060"));
    let bye = b.hear(ALICE, &in_dialog("BYE", "c", 3, ok.route(), "sip:bob@10.0.0.2:5060").replace("tag=b", "tag=b2"));
    assert!(!bye.is_empty());
    b.pass(Duration::from_secs(40));
    for cdr in &b.cdrs {
        assert_eq!((cdr.id.as_str(), cdr.start_time.as_str()), (start.id.as_str(), start.start_time.as_str()));
    }
    assert_eq!(b.starts.len(), 1);
}

#[test]
fn a_cancel_before_any_answer_waits_for_one() {
    let mut b = bench();
    let forwarded = b.hear(ALICE, &invite("c")).remove(1);
    assert_eq!(ladder(&b.hear(ALICE, &invite("c").replace("INVITE", "CANCEL"))), ["200 → 10.0.0.1:5060"]);
    let said = b.hear(BOB, &response(&forwarded, "100 Trying", "b", ""));
    assert_eq!(ladder(&said), ["CANCEL → 10.0.0.2:5060"]);
    // Bob never answers the INVITE: 64 x T1 later it is over.
    let end = b.pass(Duration::from_secs(33));
    assert_eq!(end.last().unwrap().what(), "487");
}

#[test]
fn an_answer_crosses_a_cancel_and_the_call_stands() {
    let mut b = bench();
    let forwarded = b.hear(ALICE, &invite("c")).remove(1);
    b.hear(BOB, &response(&forwarded, "180 Ringing", "b", ""));
    b.hear(ALICE, &invite("c").replace("INVITE", "CANCEL"));
    let said = b.hear(BOB, &response(&forwarded, "200 OK", "b", BOB_CONTACT));
    assert_eq!(ladder(&said), ["200 → 10.0.0.1:5060"]);
    assert_eq!(b.node.calls().established(), 1);
}

#[test]
fn a_cancel_for_nothing_is_481() {
    let mut b = bench();
    assert_eq!(ladder(&b.hear(ALICE, &invite("c").replace("INVITE", "CANCEL"))), ["481 → 10.0.0.1:5060"]);
}

#[test]
fn a_number_goes_to_the_carrier_and_to_its_second_address_if_the_first_is_silent() {
    let mut b = bench();
    let said = b.hear(ALICE, &request("INVITE", "sip:00441234@rack.test", "c", 1, ""));
    assert_eq!(ladder(&said[1..]), [format!("INVITE → {CARRIER}")]);
    assert_eq!(said[1].uri(), "sip:+441234@10.9.0.1:5060");
    let said = b.hear(CARRIER, &response(&said[1], "503 Service Unavailable", "t", ""));
    assert_eq!(ladder(&said), [format!("ACK → {CARRIER}"), format!("INVITE → {CARRIER_TOO}")]);
    let ok = b.hear(CARRIER_TOO, &response(&said[1], "200 OK", "t", "Contact: <sip:gw@10.9.0.2>\n"));
    assert_eq!(ladder(&ok), [format!("200 → {ALICE}")]);
    let bye = in_dialog("BYE", "c", 2, ok[0].route(), "sip:gw@10.9.0.2").replace(";tag=b", ";tag=t");
    let bye = b.hear(ALICE, &bye);
    assert_eq!(ladder(&bye), [format!("BYE → {CARRIER_TOO}")]);
    b.hear(CARRIER_TOO, &response(&bye[0], "200 OK", "t", ""));
    assert_eq!(b.cdrs[0].trunk_out.as_deref(), Some("carrier"));
}

#[test]
fn a_carrier_that_declines_is_not_asked_twice() {
    let mut b = bench();
    let said = b.hear(ALICE, &request("INVITE", "sip:00441234@rack.test", "c", 1, ""));
    let said = b.hear(CARRIER, &response(&said[1], "486 Busy Here", "t", ""));
    assert_eq!(ladder(&said), [format!("ACK → {CARRIER}"), format!("486 → {ALICE}")]);
}

#[test]
fn a_call_that_never_ends_leaves_its_cdr_after_the_longest_time() {
    let mut b = bench();
    established(&mut b, "c");
    b.pass(crate::call::MAX_DURATION + Duration::from_secs(1));
    assert_eq!(b.cdrs.len(), 1);
    assert_eq!(b.cdrs[0].ended_by, EndedBy::MaxDuration);
}
