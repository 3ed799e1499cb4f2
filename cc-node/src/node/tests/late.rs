//! What comes when nobody waits for it any more: nobody goes on ringing, every refusal is acknowledged, and a 2xx reaches
//! the caller, who alone can end what it answers.

use super::*;

/// An INVITE that nobody answered in time: what Bob's phone got, late.
fn unheard() -> (Bench, Said) {
    let mut b = bench();
    let forwarded = b.hear(ALICE, &invite("c")).remove(1);
    let said = b.pass(Duration::from_secs(32));
    assert_eq!(ladder(&said).last().unwrap(), "408 → 10.0.0.1:5060");
    b.hear(ALICE, &ack_of(said.last().unwrap()));
    (b, forwarded)
}

/// The ACK of Alice's transaction to a refusal.
fn ack_of(refusal: &Said) -> String {
    let to = refusal.header("To");
    invite("c").replace("INVITE", "ACK").replace("To: <sip:bob@rack.test>", &format!("To: {to}"))
}

#[test]
fn a_phone_that_rings_late_is_told_to_stop() {
    let (mut b, forwarded) = unheard();
    let said = b.hear(BOB, &response(&forwarded, "180 Ringing", "b", ""));
    assert_eq!(ladder(&said), ["CANCEL → 10.0.0.2:5060"]);
    assert_eq!(said[0].branch(), forwarded.branch());
    assert!(b.hear(BOB, &response(&forwarded, "180 Ringing", "b", "")).is_empty(), "once is enough");
    b.hear(BOB, &response(&said[0], "200 OK", "b", ""));
    assert_eq!(ladder(&b.hear(BOB, &response(&forwarded, "487 Request Terminated", "b", ""))), ["ACK → 10.0.0.2:5060"]);
    b.pass(Duration::from_secs(64));
    assert_eq!(b.node.stats().transactions, Default::default());
}

#[test]
fn a_late_refusal_is_acknowledged_each_time_it_comes() {
    let (mut b, forwarded) = unheard();
    let busy = response(&forwarded, "486 Busy Here", "b", "");
    for _ in 0..3 {
        assert_eq!(ladder(&b.hear(BOB, &busy)), ["ACK → 10.0.0.2:5060"]);
    }
}

#[test]
fn a_late_answer_reaches_the_caller_from_where_its_invite_came_in() {
    let (mut b, forwarded) = unheard();
    let ok = b.hear(BOB, &response(&forwarded, "200 OK", "b", BOB_CONTACT));
    assert_eq!(ladder(&ok), ["200 → 10.0.0.1:5060"]);
    let ack = b.hear(ALICE, &in_dialog("ACK", "c", 1, ok[0].route(), "sip:bob@10.0.0.2:5060"));
    assert_eq!(ladder(&ack), ["ACK → 10.0.0.2:5060"]);
    let bye = b.hear(ALICE, &in_dialog("BYE", "c", 2, ok[0].route(), "sip:bob@10.0.0.2:5060"));
    assert_eq!(ladder(&bye), ["BYE → 10.0.0.2:5060"]);
}

#[test]
fn a_phone_that_does_not_heed_cancel_is_given_up_and_still_heard() {
    let mut b = bench();
    let forwarded = b.hear(ALICE, &invite("c")).remove(1);
    b.hear(BOB, &response(&forwarded, "180 Ringing", "b", ""));
    b.hear(ALICE, &invite("c").replace("INVITE", "CANCEL"));
    let said = b.pass(Duration::from_secs(33));
    assert!(ladder(&said).contains(&"487 → 10.0.0.1:5060".to_owned()), "{:?}", ladder(&said));
    assert_eq!(ladder(&b.hear(BOB, &response(&forwarded, "486 Busy Here", "b", ""))), ["ACK → 10.0.0.2:5060"]);
}

#[test]
fn a_repeated_answer_leaves_from_the_listener_of_its_invite() {
    let two = "listeners: [ { address: 192.0.2.1, port: 5060, transport: udp }, { address: 192.0.2.2, port: 5060, transport: udp } ]";
    let mut b = changed_bench("listeners: [ { address: 192.0.2.1, port: 5060, transport: udp } ]", two);
    let bindings = b.view.bindings.get_mut(&Aor::new("bob", "rack.test")).unwrap();
    Arc::make_mut(bindings).bindings[0].listener = ListenerId(1);
    let forwarded = b.hear(ALICE, &invite("c")).remove(1);
    assert_eq!(forwarded.listener, ListenerId(1));
    assert_eq!(forwarded.all("Record-Route").count(), 2, "each side keeps its own");
    let ok = response(&forwarded, "200 OK", "b", BOB_CONTACT);
    let (first, again) = (b.hear(BOB, &ok).remove(0), b.hear(BOB, &ok).remove(0));
    assert_eq!((first.listener, again.listener), (ListenerId(0), ListenerId(0)));
    assert_eq!(first.text, again.text);
}
