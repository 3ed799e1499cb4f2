//! What one sender may take of a worker's room.

use super::*;
use common::sip::Fault;

#[test]
fn one_source_cannot_take_the_room_of_all() {
    let mut b = changed_bench("limits: { transactions: 100, calls: 20 }", "limits: { transactions_per_source: 3 }");
    for call in ["c1", "c2", "c3"] {
        assert_eq!(b.hear(ALICE, &invite(call)).len(), 2);
    }
    let full = b.hear(ALICE, &invite("c4"));
    assert_eq!(ladder(&full), ["503 → 10.0.0.1:5060"]);
    assert_eq!(full[0].header("Retry-After"), "5");
    assert_eq!(b.node.stats().rejected[crate::stats::Rejection::SourceLimit as usize], 1);
    assert_eq!(b.hear("10.0.0.8:5060", &invite("c5").replace("10.0.0.1", "10.0.0.8")).len(), 2, "others are served");
    let from_trunk = |call: &str| invite(call).replace("10.0.0.1", "10.9.0.1");
    for call in ["t1", "t2", "t3", "t4"] {
        assert_eq!(b.hear(CARRIER, &from_trunk(call)).len(), 2, "a trunk is many callers");
    }
    b.pass(Duration::from_secs(80));
    assert_eq!(b.hear(ALICE, &invite("c6")).len(), 2, "what has ended does not count");
}

/// A repeat of what was refused for want of room is refused so again: its nonce was not used up.
#[test]
fn room_is_looked_for_before_the_digest_is() {
    let mut b = changed_bench("limits: { transactions: 100, calls: 20 }", "limits: { transactions: 2 }");
    assert_eq!(b.hear(ALICE, &invite("c1")).len(), 2);
    let safe = invite("c2").replace("rack.test", "safe.test");
    for _ in 0..2 {
        assert_eq!(ladder(&b.hear(ALICE, &safe)), ["503 → 10.0.0.1:5060"], "no challenge either");
    }
}

const NARROW: &str = "limits: { message_bytes: 1300, headers: 16, header_value_bytes: 256, header_values: 16, uri_bytes: 128, \
    params: 8, param_bytes: 128, display_name_bytes: 32 }";

fn narrow() -> Bench {
    changed_bench("limits: { transactions: 100, calls: 20 }", NARROW)
}

/// What is said to each request that breaks one limit or cannot be read, and how it is counted.
#[test]
fn what_breaks_a_limit_or_cannot_be_read_is_answered_and_counted_by_what_was_wrong() {
    let mut b = narrow();
    let x = "x".repeat(1300);
    let options = |line: &str| request("OPTIONS", "sip:bob@rack.test", "o", 1, &format!("{line}\n"));
    let plain = options("X-Odd: y");
    let body = format!("{plain}{x}");
    let to_uri = |uri: &str| plain.replace("OPTIONS sip:bob@rack.test SIP", &format!("OPTIONS {uri} SIP"));
    for (text, line, fault) in [
        (body, "513 Message Too Large", Fault::MessageSize),
        (options(&"X-Odd: y\n".repeat(16)), "400 Too Many Headers", Fault::Headers),
        (options(&format!("X-Odd: {}", &x[..300])), "400 Header Too Long", Fault::HeaderSize),
        (options(&format!("Subject: {}", &x[..300])), "400 Subject Too Long", Fault::HeaderSize),
        (options(&format!("Require: a{}", ",a".repeat(20))), "400 Too Many Values Of Require", Fault::Values),
        (to_uri(&format!("sip:{}@rack.test", &x[..128])), "414 Request-URI Too Long", Fault::RequestUriSize),
        (to_uri(&format!("sip:rack.test{}", ";a".repeat(9))), "400 Too Many Parameters In Request-URI", Fault::Params),
        (options(&format!("Refer-To: <sip:{}>", &x[..150])), "400 URI In Refer-To Too Long", Fault::UriSize),
        (options("Refer-To: <sip:a;a;a;a;a;a;a;a;a;a>"), "400 Too Many Parameters In Refer-To", Fault::Params),
        (options(&format!("Refer-To: <sip:a>;{}", &x[..150])), "400 Parameter In Refer-To Too Long", Fault::ParamSize),
        (
            options(&format!("Refer-To: {} <sip:a>", &x[..40])),
            "400 Display Name In Refer-To Too Long",
            Fault::DisplayNameSize,
        ),
        (options("this line has no colon and no meaning"), "400 A Line Of The Head Is No Header", Fault::HeaderLine),
        (plain.replace("CSeq", "CSeq: 1 OPTIONS\nCSeq"), "400 More Than One CSeq", Fault::Syntax),
    ] {
        let before = b.node.stats().unfit[fault as usize];
        let said = b.hear(ALICE, &text);
        assert_eq!(ladder(&said), [format!("{} → {ALICE}", &line[..3])], "{text}");
        assert!(said[0].text.starts_with(&format!("SIP/2.0 {line}\r\n")), "{}", said[0].text);
        assert!(said[0].text.len() <= text.replace('\n', "\r\n").len());
        assert_eq!(b.node.stats().unfit[fault as usize], [before[0], before[1] + 1]);
        assert!(b.hear(ALICE, &text.replace("OPTIONS", "ACK")).is_empty(), "an ACK is never answered");
        assert_eq!(b.node.stats().unfit[fault as usize], [before[0] + 1, before[1] + 1]);
    }
    assert_eq!(b.node.stats().transactions, Default::default());
    let sampled = b.node.take_problems();
    assert_eq!(sampled.len(), 11, "one of each kind in a second");
    assert!(sampled.iter().all(|p| p.source.to_string() == ALICE && p.call_id == b"o@alice" && p.answered));
}

#[test]
fn what_cannot_be_read_is_not_answered_where_it_is_a_response_or_small_or_lacks_what_an_answer_needs() {
    let mut b = narrow();
    let broken = request("OPTIONS", "sip:bob@rack.test", "o", 1, "no colon\n");
    assert_eq!(b.hear(ALICE, &broken).len(), 1);
    assert_eq!(b.hear(ALICE, &broken.replace("Call-ID: o@alice\n", "")).len(), 0);
    assert_eq!(b.hear(ALICE, &broken.replace("Via: SIP/2.0/UDP 10.0.0.1:5060", "Via: x")).len(), 0);
    let small =
        "OPTIONS sip:a SIP/2.0\nv: SIP/2.0/UDP 10.0.0.9;rport\nf: sip:a\nt: sip:b\ni: c\nCSeq: 1 OPTIONS\nx\n\n";
    assert_eq!(b.hear(ALICE, small).len(), 0, "the answer would be the larger one");
    let forwarded = b.hear(ALICE, &invite("c")).remove(1);
    assert_eq!(b.hear(BOB, &response(&forwarded, "200 OK", "b", "no colon\n")).len(), 0);
    assert_eq!(b.hear(BOB, &response(&forwarded, "200 OK", "b", &format!("Subject: {}\n", "x".repeat(300)))).len(), 0);
    assert_eq!(b.node.stats().unfit[Fault::HeaderLine as usize], [4, 1]);
    assert_eq!(b.node.stats().dropped[DropReason::Malformed as usize], 5);
    assert_eq!(b.hear(BOB, &response(&forwarded, "200 OK", "b", BOB_CONTACT)).len(), 1, "nothing has been disturbed");
}

/// Of an INVITE that broke a limit, the ACK to our answer ends here.
#[test]
fn the_ack_to_such_an_answer_is_swallowed() {
    let mut b = narrow();
    let long = request("INVITE", "sip:bob@rack.test", "i", 1, &format!("Subject: {}\n", "x".repeat(300)));
    let to = b.hear(ALICE, &long).remove(0).header("To").to_owned();
    let ack = request("ACK", "sip:bob@rack.test", "i", 1, "").replace("To: <sip:bob@rack.test>", &format!("To: {to}"));
    assert!(b.hear(ALICE, &ack).is_empty());
    assert_eq!(b.node.stats().dropped[DropReason::AckOfOurs as usize], 1);
}
