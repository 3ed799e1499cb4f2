//! Lost and repeated messages at each step: nothing is forwarded twice under another branch, every answer is repeated.

use super::*;

#[test]
fn a_repeated_invite_is_not_forwarded_again_but_answered_again() {
    let mut b = bench();
    let forwarded = b.hear(ALICE, &invite("c")).remove(1);
    assert_eq!(ladder(&b.hear(ALICE, &invite("c"))), ["100 → 10.0.0.1:5060"]);
    b.hear(BOB, &response(&forwarded, "180 Ringing", "b", ""));
    assert_eq!(ladder(&b.hear(ALICE, &invite("c"))), ["180 → 10.0.0.1:5060"]);
    assert_eq!(b.node.stats().repeats, 2);
    assert_eq!(b.records.len(), 3, "accepted, started, early: a repeat is told to nobody");
}

#[test]
fn a_silent_callee_gets_the_same_invite_again_and_the_caller_408() {
    let mut b = bench();
    let forwarded = b.hear(ALICE, &invite("c")).remove(1);
    let said = b.pass(Duration::from_secs(33));
    let repeats: Vec<&Said> = said.iter().filter(|s| s.what() == "INVITE").collect();
    assert_eq!(repeats.len(), 6, "0.5, 1.5, 3.5, 7.5, 15.5, 31.5 s");
    assert!(repeats.iter().all(|s| s.text == forwarded.text && s.after == forwarded.after));
    assert!(said.iter().any(|s| s.what() == "408" && s.to == ALICE));
}

#[test]
fn another_node_writes_the_same_branch_for_the_same_invite() {
    let first = bench().hear(ALICE, &invite("c")).remove(1);
    let mut other = bench();
    let second = other.hear(ALICE, &invite("c")).remove(1);
    assert_eq!(first.branch(), second.branch());
}

#[test]
fn a_repeated_200_goes_up_each_time_long_after_the_transactions_too() {
    let mut b = bench();
    let forwarded = b.hear(ALICE, &invite("c")).remove(1);
    let ok = response(&forwarded, "200 OK", "b", BOB_CONTACT);
    let first = b.hear(BOB, &ok);
    for _ in 0..2 {
        let again = b.hear(BOB, &ok);
        assert_eq!((ladder(&again), &again[0].text), (ladder(&first), &first[0].text));
        b.pass(Duration::from_secs(70));
    }
    assert_eq!(b.node.stats().calls_answered, 1);
}

/// RFC 4028 §8.2: what was written into the 200 stands in its repeats too, or the caller whose 200 was lost never refreshes.
#[test]
fn a_repeated_200_tells_of_the_session_timer_again() {
    let mut b = bench();
    let with_timer = request("INVITE", "sip:bob@rack.test", "c", 1, "Supported: timer\nSession-Expires: 1800\n");
    let forwarded = b.hear(ALICE, &with_timer).remove(1);
    let ok = response(&forwarded, "200 OK", "b", BOB_CONTACT);
    for wait in [0, 500, 31_000] {
        b.pass(Duration::from_millis(wait));
        let said = b.hear(BOB, &ok);
        assert_eq!(ladder(&said), ["200 → 10.0.0.1:5060"]);
        assert_eq!((said[0].header("Session-Expires"), said[0].header("Require")), ("1800;refresher=uac", "timer"));
    }
}

#[test]
fn a_repeated_refusal_is_acked_again_and_the_final_repeated_until_its_ack() {
    let mut b = bench();
    let forwarded = b.hear(ALICE, &invite("c")).remove(1);
    let busy = response(&forwarded, "486 Busy Here", "b", "");
    b.hear(BOB, &busy);
    assert_eq!(ladder(&b.hear(BOB, &busy)), ["ACK → 10.0.0.2:5060"]);
    assert_eq!(ladder(&b.pass(Duration::from_millis(1600))), ["486 → 10.0.0.1:5060", "486 → 10.0.0.1:5060"]);
    b.hear(ALICE, &invite("c").replace("INVITE", "ACK").replace("rack.test>\nCall", "rack.test>;tag=b\nCall"));
    assert!(b.pass(Duration::from_secs(40)).is_empty());
}

#[test]
fn a_repeated_bye_gets_its_200_again_and_no_second_cdr() {
    let mut b = bench();
    let ok = established(&mut b, "c");
    let text = in_dialog("BYE", "c", 2, ok.route(), "sip:bob@10.0.0.2:5060");
    let bye = b.hear(ALICE, &text);
    assert!(b.hear(ALICE, &text).is_empty(), "not forwarded again");
    let done = response(&bye[0], "200 OK", "b", "");
    b.hear(BOB, &done);
    assert!(b.hear(BOB, &done).is_empty());
    assert_eq!(ladder(&b.hear(ALICE, &text)), ["200 → 10.0.0.1:5060"]);
    assert_eq!(b.cdrs.len(), 1);
}

#[test]
fn an_ack_is_forwarded_each_time_with_the_same_branch() {
    let mut b = bench();
    let ok = established(&mut b, "c");
    let ack = in_dialog("ACK", "c", 1, ok.route(), "sip:bob@10.0.0.2:5060");
    let (one, two) = (b.hear(ALICE, &ack), b.hear(ALICE, &ack));
    assert_eq!(one[0].text, two[0].text);
}

#[test]
fn timer_c_cancels_what_rings_too_long() {
    let mut b = bench();
    let forwarded = b.hear(ALICE, &invite("c")).remove(1);
    b.hear(BOB, &response(&forwarded, "180 Ringing", "b", ""));
    b.pass(Duration::from_secs(100));
    b.hear(BOB, &response(&forwarded, "180 Ringing", "b", ""));
    assert!(b.pass(Duration::from_secs(170)).is_empty(), "each 180 sets it anew");
    let said = b.pass(Duration::from_secs(12));
    assert_eq!(said[0].what(), "CANCEL");
    let end = b.hear(BOB, &response(&forwarded, "487 Request Terminated", "b", ""));
    assert_eq!(ladder(&end), ["ACK → 10.0.0.2:5060", "408 → 10.0.0.1:5060"], "it was our clock, not the caller");
}

#[test]
fn a_response_without_transaction_goes_on_by_its_token_only() {
    let forwarded = bench().hear(ALICE, &invite("c")).remove(1);
    let mut other = bench();
    let ok = response(&forwarded, "200 OK", "b", BOB_CONTACT);
    assert_eq!(ladder(&other.hear(BOB, &ok)), ["200 → 10.0.0.1:5060"]);
    let forged = ok.replace("c@alice", "d@alice");
    assert!(other.hear(BOB, &forged).is_empty());
    assert_eq!(other.node.stats().dropped[DropReason::StrayResponse as usize], 1);
}

#[test]
fn a_call_whose_handling_panicked_is_forgotten_whole() {
    let mut b = bench();
    b.hear(ALICE, &invite("c"));
    established(&mut b, "d");
    b.node.forget_call(b"c@alice");
    assert!(b.pass(Duration::from_secs(64)).is_empty());
    assert_eq!((b.node.calls().len(), b.node.calls().established()), (1, 1));
}
