//! Several contacts: together, one after another, and what the caller hears of them.

use super::*;
use crate::cdr::EndedBy;

const BOTH: [(&str, &str, u16); 2] = [("sip:bob@10.0.0.2:5060", BOB, 1000), ("sip:bob@10.0.0.3:5060", BOB_TOO, 1000)];

fn two_phones() -> (Bench, Said, Said) {
    let mut b = bench();
    b.register("bob@rack.test", &BOTH);
    let said = b.hear(ALICE, &invite("c"));
    assert_eq!(ladder(&said), ["100 → 10.0.0.1:5060", "INVITE → 10.0.0.2:5060", "INVITE → 10.0.0.3:5060"]);
    assert_ne!(said[1].branch(), said[2].branch());
    assert_ne!(said[1].route(), said[2].route(), "each branch has its own peer in the token");
    (b, said[1].clone(), said[2].clone())
}

#[test]
fn both_ring_one_answers_the_other_is_cancelled() {
    let (mut b, one, two) = two_phones();
    b.hear(BOB, &response(&one, "180 Ringing", "b", ""));
    b.hear(BOB_TOO, &response(&two, "180 Ringing", "b2", ""));
    let said = b.hear(BOB_TOO, &response(&two, "200 OK", "b2", ""));
    assert_eq!(ladder(&said), ["200 → 10.0.0.1:5060", "CANCEL → 10.0.0.2:5060"]);
    b.hear(BOB, &response(&said[1], "200 OK", "b", ""));
    assert_eq!(ladder(&b.hear(BOB, &response(&one, "487 Request Terminated", "b", ""))), ["ACK → 10.0.0.2:5060"]);
    assert_eq!(b.node.calls().established(), 1);
}

#[test]
fn two_answers_both_reach_the_caller_and_make_one_call() {
    let (mut b, one, two) = two_phones();
    let first = b.hear(BOB, &response(&one, "200 OK", "b", BOB_CONTACT)).remove(0);
    let second = b.hear(BOB_TOO, &response(&two, "200 OK", "b2", "Contact: <sip:bob@10.0.0.3:5060>\n"));
    assert_eq!(ladder(&second), ["200 → 10.0.0.1:5060"]);
    // The caller hangs up on the first; the second goes on and is charged, once it ends.
    let bye = b.hear(ALICE, &in_dialog("BYE", "c", 2, first.route(), "sip:bob@10.0.0.2:5060"));
    b.hear(BOB, &response(&bye[0], "200 OK", "b", ""));
    assert!(b.cdrs.is_empty());
    b.now = b.now + Duration::from_secs(10);
    let bye = in_dialog("BYE", "c", 3, second[0].route(), "sip:bob@10.0.0.3:5060").replace(";tag=b", ";tag=b2");
    let bye = b.hear(ALICE, &bye);
    assert_eq!(ladder(&bye), ["BYE → 10.0.0.3:5060"]);
    b.hear(BOB_TOO, &response(&bye[0], "200 OK", "b2", ""));
    assert_eq!(b.cdrs.len(), 1);
    assert_eq!((b.cdrs[0].to_tag.as_str(), b.cdrs[0].ms_duration), ("b2", 10_000));
}

/// Each dialog has a timer of its own (RFC 4028): that of a fork which was hung up ends nothing of the other, and that
/// of the other ends the call.
#[test]
fn a_fork_that_is_over_takes_its_session_timer_along() {
    let (mut b, one, two) = two_phones();
    b.hear(BOB, &response(&one, "200 OK", "b", &format!("{BOB_CONTACT}Session-Expires: 600\n")));
    let timed = "Contact: <sip:bob@10.0.0.3:5060>\nSession-Expires: 90;refresher=uas\n";
    let second = b.hear(BOB_TOO, &response(&two, "200 OK", "b2", timed)).remove(0);
    let bye = in_dialog("BYE", "c", 2, second.route(), "sip:bob@10.0.0.3:5060").replace(";tag=b", ";tag=b2");
    let bye = b.hear(ALICE, &bye);
    b.hear(BOB_TOO, &response(&bye[0], "200 OK", "b2", ""));
    b.pass(Duration::from_secs(200));
    assert_eq!((b.cdrs.len(), b.node.calls().established()), (0, 1));
    b.pass(Duration::from_secs(500));
    assert_eq!((b.cdrs[0].to_tag.as_str(), b.cdrs[0].ended_by), ("b", EndedBy::SessionExpired));
}

/// A proxy further down forks: two answers of one branch of ours.
#[test]
fn two_answers_of_one_branch_are_one_call_until_both_have_ended() {
    let mut b = bench();
    let forwarded = b.hear(ALICE, &invite("c")).remove(1);
    let first = b.hear(BOB, &response(&forwarded, "200 OK", "b", BOB_CONTACT)).remove(0);
    let second = b.hear(BOB, &response(&forwarded, "200 OK", "b2", BOB_CONTACT)).remove(0);
    assert!(matches!(b.record(second.after), What::Answered(answer) if &*answer.callee_tag == "b2"));
    let bye = b.hear(ALICE, &in_dialog("BYE", "c", 2, first.route(), "sip:bob@10.0.0.2:5060"));
    b.hear(BOB, &response(&bye[0], "200 OK", "b", ""));
    assert_eq!((b.cdrs.len(), b.node.calls().established()), (0, 1));
    let bye = in_dialog("BYE", "c", 3, second.route(), "sip:bob@10.0.0.2:5060").replace(";tag=b", ";tag=b2");
    let bye = b.hear(ALICE, &bye);
    b.hear(BOB, &response(&bye[0], "200 OK", "b2", ""));
    assert_eq!((b.cdrs.len(), b.node.calls().established()), (1, 0));
}

#[test]
fn busy_on_one_waits_for_the_other_and_the_better_answer_is_heard() {
    let (mut b, one, two) = two_phones();
    assert_eq!(ladder(&b.hear(BOB, &response(&one, "503 Service Unavailable", "b", ""))), ["ACK → 10.0.0.2:5060"]);
    let said = b.hear(BOB_TOO, &response(&two, "486 Busy Here", "b2", ""));
    assert_eq!(ladder(&said), ["ACK → 10.0.0.3:5060", "486 → 10.0.0.1:5060"]);
}

#[test]
fn a_503_of_all_is_not_ours_to_say() {
    let (mut b, one, two) = two_phones();
    b.hear(BOB, &response(&one, "503 Service Unavailable", "b", ""));
    let said = b.hear(BOB_TOO, &response(&two, "503 Service Unavailable", "b2", ""));
    assert_eq!(said[1].what(), "500");
}

#[test]
fn a_6xx_cancels_all_and_is_heard_when_they_are_done() {
    let (mut b, one, two) = two_phones();
    b.hear(BOB_TOO, &response(&two, "180 Ringing", "b2", ""));
    let said = b.hear(BOB, &response(&one, "603 Decline", "b", ""));
    assert_eq!(ladder(&said), ["ACK → 10.0.0.2:5060", "CANCEL → 10.0.0.3:5060"]);
    let end = b.hear(BOB_TOO, &response(&two, "487 Request Terminated", "b2", ""));
    assert_eq!(ladder(&end), ["ACK → 10.0.0.3:5060", "603 → 10.0.0.1:5060"]);
}

#[test]
fn challenges_of_two_phones_are_heard_together() {
    let (mut b, one, two) = two_phones();
    b.hear(BOB, &response(&one, "401 Unauthorized", "b", "WWW-Authenticate: Digest realm=\"one\"\n"));
    let said = b.hear(
        BOB_TOO,
        &response(&two, "407 Proxy Authentication Required", "b2", "Proxy-Authenticate: Digest realm=\"two\"\n"),
    );
    assert!(said[1].text.contains("realm=\"one\"") && said[1].text.contains("realm=\"two\""), "{}", said[1].text);
}

#[test]
fn a_lower_q_is_tried_when_the_higher_has_failed() {
    let mut b = bench();
    b.register("bob@rack.test", &[("sip:bob@10.0.0.3:5060", BOB_TOO, 100), ("sip:bob@10.0.0.2:5060", BOB, 900)]);
    let said = b.hear(ALICE, &invite("c"));
    assert_eq!(ladder(&said[1..]), ["INVITE → 10.0.0.2:5060"]);
    let What::Accepted(accepted) = b.record(said[1].after) else { panic!("no record") };
    assert_eq!(accepted.targets.len(), 2, "the later target is in the record too");
    let next = b.hear(BOB, &response(&said[1], "480 Temporarily Unavailable", "b", ""));
    assert_eq!(ladder(&next), ["ACK → 10.0.0.2:5060", "INVITE → 10.0.0.3:5060"]);
    assert!(b.records.iter().any(|r| matches!(&r.what, What::Accepted(a) if a.targets[1].branch == next[1].branch())));
    b.hear(ALICE, &invite("c").replace("INVITE", "CANCEL"));
    let end = b.hear(BOB_TOO, &response(&next[1], "486 Busy Here", "b2", ""));
    assert_eq!(end[1].what(), "487", "cancelled");
}

#[test]
fn the_same_contact_twice_is_one_target() {
    let mut b = bench();
    b.register("bob@rack.test", &[BOTH[0], ("sip:%62ob@10.0.0.2:5060", BOB, 1000)]);
    assert_eq!(b.hear(ALICE, &invite("c")).len(), 2);
}

#[test]
fn breadth_is_shared_out_and_never_exceeded() {
    let mut b = bench();
    b.register("bob@rack.test", &BOTH);
    let said = b.hear(ALICE, &request("INVITE", "sip:bob@rack.test", "c", 1, "Max-Breadth: 10\n"));
    assert_eq!((said.len(), said[1].header("Max-Breadth"), said[2].header("Max-Breadth")), (3, "5", "5"));
    let said = b.hear(ALICE, &request("INVITE", "sip:bob@rack.test", "d", 1, "Max-Breadth: 1\n"));
    assert_eq!(said.len(), 2, "one after another");
    let next = b.hear(BOB, &response(&said[1], "486 Busy Here", "b", ""));
    assert_eq!(ladder(&next), ["ACK → 10.0.0.2:5060", "INVITE → 10.0.0.3:5060"]);
    assert_eq!(next[1].header("Max-Breadth"), "1");
    assert_eq!(b.hear(ALICE, &request("INVITE", "sip:bob@rack.test", "e", 1, "Max-Breadth: 0\n"))[0].what(), "440");
    // One for each request, whatever came (RFC 5393 §5.3.3).
    let mut b = bench();
    for (call, asked, told) in [("f", "", "60"), ("g", "Max-Breadth: 7\n", "7"), ("h", "Max-Breadth: 200\n", "60")] {
        let said = b.hear(ALICE, &request("INVITE", "sip:bob@rack.test", call, 1, asked));
        assert_eq!(said[1].all("Max-Breadth").collect::<Vec<_>>(), [told]);
    }
}
