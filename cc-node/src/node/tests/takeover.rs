//! A node dies, and another one goes on with what its records have told: each row of the ways in which a call-control node
//! may die, for one worker. The heir has never seen a message of these calls.

use super::*;

impl Bench {
    /// Another node, which holds what a backup of this one would, in the form in which it was told. What it says at once.
    pub(super) fn heir(&self) -> (Bench, Vec<Said>) {
        let keys = Arc::new(Keys::derive(&RackKey([5; 32])));
        let setup = NodeSetup { id: NodeId(2), boot: BootId(9), worker: 0, rack: self.rack.clone(), keys };
        let view = FakeView {
            bindings: self.view.bindings.clone(),
            subscribers: self.view.subscribers.clone(),
            placements: Placements::none(),
            trunks: BTreeMap::new(),
            least: u16::MAX,
            most: u16::MAX,
        };
        let mut heir = Bench {
            node: Node::new(setup),
            rack: self.rack.clone(),
            view,
            now: self.now,
            records: vec![],
            images: BTreeMap::new(),
            cdrs: vec![],
            starts: vec![],
            missed: vec![],
            asks: vec![],
            newest: vec![],
            lossy: true,
        };
        let mut said = Vec::new();
        for (hash, image) in &self.images {
            let told = postcard::to_allocvec(image).unwrap();
            let image: Image = postcard::from_bytes(&told).unwrap();
            said.extend(heir.input(Input::Inherit { hash: *hash, image: Box::new(image) }));
        }
        (heir, said)
    }
}

fn ringing(b: &mut Bench, call: &str) -> Said {
    let forwarded = b.hear(ALICE, &invite(call)).pop().unwrap();
    b.hear(BOB, &response(&forwarded, "180 Ringing", "b", BOB_CONTACT));
    forwarded
}

fn cancel(call: &str) -> String {
    let of_invite = request("CANCEL", "sip:bob@rack.test", call, 1, "");
    of_invite.replace("Contact: <sip:alice@10.0.0.1:5060>\n", "")
}

fn ack_of_refusal(call: &str, tag: &str) -> String {
    request("ACK", "sip:bob@rack.test", call, 1, "")
        .replace("To: <sip:bob@rack.test>", &format!("To: <sip:bob@rack.test>;tag={tag}"))
}

#[test]
fn forwarded_without_an_answer_it_is_sent_again_with_its_branch() {
    let mut b = bench();
    let forwarded = b.hear(ALICE, &invite("c")).pop().unwrap();
    let (mut heir, said) = b.heir();
    assert_eq!(ladder(&said), ["100 → 10.0.0.1:5060", "INVITE → 10.0.0.2:5060"]);
    assert_eq!(said[1].branch(), forwarded.branch(), "one ring");
    assert_ne!(said[1].text, forwarded.text, "the token names who holds it now");
    assert_eq!(ladder(&heir.hear(ALICE, &invite("c"))), ["100 → 10.0.0.1:5060"], "its repeat is one");
    let ok = heir.hear(BOB, &response(&said[1], "200 OK", "b", BOB_CONTACT));
    assert_eq!(ladder(&ok), ["200 → 10.0.0.1:5060"]);
    let bye = heir.hear(ALICE, &in_dialog("BYE", "c", 2, ok[0].route(), "sip:bob@10.0.0.2:5060"));
    heir.hear(BOB, &response(bye.last().unwrap(), "200 OK", "b", ""));
    assert_eq!(heir.cdrs.len(), 1);
}

#[test]
fn ringing_the_probe_is_answered_and_the_call_goes_on() {
    let mut b = bench();
    let forwarded = ringing(&mut b, "c");
    b.pass(Duration::from_secs(20));
    let (mut heir, said) = b.heir();
    let again = heir.hear(BOB, &response(&said[1], "180 Ringing", "b", BOB_CONTACT));
    assert_eq!(ladder(&again), ["180 → 10.0.0.1:5060"]);
    heir.pass(Duration::from_secs(30));
    let ok = heir.hear(BOB, &response(&forwarded, "200 OK", "b", BOB_CONTACT));
    assert_eq!(ladder(&ok), ["200 → 10.0.0.1:5060"], "by what the dead one had sent");
    heir.pass(Duration::from_secs(10));
    let bye = heir.hear(BOB, &from_bob("BYE", "c", 7, ok[0].route(), "sip:alice@10.0.0.1:5060"));
    heir.hear(ALICE, &response(bye.last().unwrap(), "200 OK", "b", ""));
    assert_eq!((heir.cdrs.len(), heir.cdrs[0].duration, heir.cdrs[0].setup_time), (1, 10, 50.0));
}

#[test]
fn a_cancel_behind_the_death_stops_the_phone() {
    let mut b = bench();
    ringing(&mut b, "c");
    let (mut heir, said) = b.heir();
    let done = heir.hear(ALICE, &cancel("c"));
    assert_eq!(ladder(&done), ["200 → 10.0.0.1:5060", "CANCEL → 10.0.0.2:5060"]);
    heir.hear(BOB, &response(&done[1], "200 OK", "b", ""));
    let end = heir.hear(BOB, &response(&said[1], "487 Request Terminated", "b", ""));
    assert_eq!(ladder(&end), ["ACK → 10.0.0.2:5060", "487 → 10.0.0.1:5060"]);
    heir.hear(ALICE, &ack_of_refusal("c", "b"));
    assert!(heir.pass(Duration::from_secs(40)).is_empty() && heir.images.is_empty());
}

#[test]
fn a_cancel_that_was_acknowledged_is_not_forgotten() {
    let mut b = bench();
    let forwarded = ringing(&mut b, "c");
    let done = b.hear(ALICE, &cancel("c"));
    assert!(matches!(b.record(done[0].after), What::Cancelled), "the 200 waits for it");
    let again = b.hear(ALICE, &cancel("c"));
    assert_eq!(again[0].after, done[0].after, "and its repeat, too");
    let (mut heir, said) = b.heir();
    assert_eq!(ladder(&said), ["100 → 10.0.0.1:5060", "CANCEL → 10.0.0.2:5060"], "nobody is rung again");
    assert_eq!(said[1].branch(), forwarded.branch());
    let end = heir.hear(BOB, &response(&forwarded, "487 Request Terminated", "b", ""));
    assert_eq!(ladder(&end), ["ACK → 10.0.0.2:5060", "487 → 10.0.0.1:5060"]);
}

#[test]
fn cancelled_before_anything_was_heard_it_is_asked_once_more_and_told() {
    let mut b = bench();
    b.hear(ALICE, &invite("c"));
    b.hear(ALICE, &cancel("c"));
    let (mut heir, said) = b.heir();
    assert_eq!(ladder(&said), ["100 → 10.0.0.1:5060", "INVITE → 10.0.0.2:5060"], "no CANCEL before a 1xx (§9.1)");
    let rung = heir.hear(BOB, &response(&said[1], "180 Ringing", "b", BOB_CONTACT));
    assert_eq!(ladder(&rung), ["CANCEL → 10.0.0.2:5060", "180 → 10.0.0.1:5060"]);
}

#[test]
fn what_branches_have_said_counts_for_the_best_response() {
    let mut b = bench();
    b.register("bob@rack.test", &[("sip:bob@10.0.0.2:5060", BOB, 1000), ("sip:bob@10.0.0.3:5060", BOB_TOO, 1000)]);
    let said = b.hear(ALICE, &invite("c"));
    b.hear(BOB, &response(&said[1], "486 Busy Here", "b1", ""));
    let (mut heir, probed) = b.heir();
    assert_eq!(
        ladder(&probed),
        ["100 → 10.0.0.1:5060", "INVITE → 10.0.0.3:5060"],
        "who has refused is not asked again"
    );
    let end = heir.hear(BOB_TOO, &response(&probed[1], "404 Not Found", "b2", ""));
    assert_eq!(ladder(&end), ["ACK → 10.0.0.3:5060", "486 → 10.0.0.1:5060"]);
}

#[test]
fn who_waits_for_a_turn_gets_it() {
    let mut b = bench();
    b.register("bob@rack.test", &[("sip:bob@10.0.0.2:5060", BOB, 1000), ("sip:bob@10.0.0.3:5060", BOB_TOO, 500)]);
    let said = b.hear(ALICE, &invite("c"));
    let (mut heir, probed) = b.heir();
    assert_eq!(ladder(&probed), ["100 → 10.0.0.1:5060", "INVITE → 10.0.0.2:5060"]);
    let next = heir.hear(BOB, &response(&said[1], "480 Gone", "b1", ""));
    assert_eq!(ladder(&next), ["ACK → 10.0.0.2:5060", "INVITE → 10.0.0.3:5060"]);
    let (_, second) = heir.heir();
    assert_eq!(ladder(&second), ["100 → 10.0.0.1:5060", "INVITE → 10.0.0.3:5060"], "a second death during the first");
    assert_eq!(second[1].branch(), next[1].branch());
}

#[test]
fn a_refusal_whose_ack_is_missing_is_repeated() {
    let mut b = bench();
    let forwarded = b.hear(ALICE, &invite("c")).pop().unwrap();
    b.hear(BOB, &response(&forwarded, "486 Busy Here", "b", ""));
    let (mut heir, said) = b.heir();
    assert_eq!(ladder(&said), ["486 → 10.0.0.1:5060"]);
    assert_eq!(ladder(&heir.pass(Duration::from_millis(500))), ["486 → 10.0.0.1:5060"], "timer G");
    heir.hear(ALICE, &ack_of_refusal("c", "b"));
    assert!(heir.pass(Duration::from_secs(60)).is_empty() && heir.images.is_empty());
}

#[test]
fn a_refusal_whose_ack_was_lost_is_acknowledged_again_and_told_once() {
    let mut b = bench();
    let forwarded = ringing(&mut b, "c");
    let busy = response(&forwarded, "486 Busy Here", "b", "");
    b.hear(BOB, &busy);
    let (mut heir, _) = b.heir();
    for _ in 0..3 {
        let said = heir.hear(BOB, &busy);
        assert_eq!(ladder(&said), ["ACK → 10.0.0.2:5060"], "to the phone, and nothing to the caller");
        assert_eq!(said[0].branch(), forwarded.branch());
    }
}

#[test]
fn an_answered_call_is_charged_from_its_answer() {
    let mut b = bench();
    let ok = established(&mut b, "c");
    b.pass(Duration::from_secs(100));
    let (mut heir, said) = b.heir();
    assert!(said.is_empty(), "{said:?}");
    heir.pass(Duration::from_secs(20));
    let bye = heir.hear(ALICE, &in_dialog("BYE", "c", 2, ok.route(), "sip:bob@10.0.0.2:5060"));
    let end = heir.hear(BOB, &response(bye.last().unwrap(), "200 OK", "b", ""));
    assert!(matches!(heir.record(end[0].after), What::Ended { .. }), "the 200 to BYE waits for the CDR's record");
    assert_eq!((heir.cdrs.len(), heir.cdrs[0].duration), (1, 120));
}

#[test]
fn a_cdr_that_nobody_has_seen_written_is_written_under_the_same_id() {
    let mut b = bench();
    let ok = established(&mut b, "c");
    let bye = b.hear(ALICE, &in_dialog("BYE", "c", 2, ok.route(), "sip:bob@10.0.0.2:5060"));
    b.hear(BOB, &response(bye.last().unwrap(), "200 OK", "b", ""));
    let (heir, _) = b.heir();
    assert_eq!(heir.cdrs, b.cdrs);
    let call = b.records.last().unwrap().call.clone();
    b.input(Input::Written { call });
    b.pass(Duration::from_secs(40));
    assert!(b.images.is_empty() && b.heir().0.cdrs.is_empty());
}

#[test]
fn an_invite_that_was_answered_is_no_new_call_when_it_comes_again() {
    let mut b = bench();
    established(&mut b, "c");
    let (mut heir, _) = b.heir();
    assert!(heir.hear(ALICE, &invite("c")).is_empty(), "the callee repeats its 200");
    b.pass(Duration::from_secs(33));
    assert!(b.images.values().all(|image| image.parts().iter().all(|part| part.invite.is_none())));
}

#[test]
fn a_call_within_a_call_stays_what_it_is() {
    let mut b = bench();
    let ok = established(&mut b, "c");
    let again = in_dialog("INVITE", "c", 5, ok.route(), "sip:bob@10.0.0.2:5060");
    let said = b.hear(ALICE, &again);
    let (mut heir, probed) = b.heir();
    assert_eq!(ladder(&probed), ["100 → 10.0.0.1:5060", "INVITE → 10.0.0.2:5060"]);
    assert_eq!(probed[1].branch(), said[1].branch());
    let done = heir.hear(BOB, &response(&probed[1], "200 OK", "b", BOB_CONTACT));
    assert_eq!(ladder(&done), ["200 → 10.0.0.1:5060"]);
    assert_eq!(heir.node.stats().calls_established, 1);
}

#[test]
fn names_that_were_being_looked_up_are_looked_up_anew() {
    let mut b = changed_bench(
        "addresses: [\"10.9.0.1\", \"10.9.0.2\"]",
        "addresses: [\"10.9.0.1\"], destination: carrier.example:5060",
    );
    b.hear(ALICE, &request("INVITE", "sip:00123@rack.test", "c", 1, ""));
    b.pass(Duration::from_millis(150));
    let (mut heir, said) = b.heir();
    assert_eq!(ladder(&said), ["100 → 10.0.0.1:5060"]);
    let found = heir.answer_dns([10, 9, 0, 1].into());
    assert_eq!(ladder(&found), ["INVITE → 10.9.0.1:5060"]);
}

#[test]
fn a_start_is_written_again_under_its_id_whether_the_call_goes_on_or_has_ended() {
    let mut b = bench();
    ringing(&mut b, "r");
    let ok = established(&mut b, "c");
    b.pass(Duration::from_secs(2));
    let (mut heir, _) = b.heir();
    let said = |bench: &Bench| bench.starts.iter().map(|s| (s.id.clone(), s.start_time.clone())).collect::<Vec<_>>();
    assert_eq!((b.starts.len(), said(&heir)), (1, said(&b)), "of the one that rings there is none");
    let bye = heir.hear(ALICE, &in_dialog("BYE", "c", 2, ok.route(), "sip:bob@10.0.0.2:5060"));
    heir.hear(BOB, &response(bye.last().unwrap(), "200 OK", "b", ""));
    assert_eq!(heir.cdrs[0].id, b.starts[0].id);
    // And once more: its CDR was not durable yet.
    let (last, _) = heir.heir();
    assert_eq!((said(&last), &last.cdrs), (said(&b), &heir.cdrs));
}
