//! The addresses of a trunk are asked whether they serve, and calls pass by those that do not.

use super::*;
use crate::probe::Health;
use common::placement::{Inputs, Member, Placement};

fn probing() -> Bench {
    let mut b = changed_bench(
        "addresses: [\"10.9.0.1\", \"10.9.0.2\"]",
        "addresses: [\"10.9.0.1\", \"10.9.0.2\"], probe: { every_s: 10 }",
    );
    b.view.placements = placed(Some(BootId(1)));
    assert!(b.input(Input::Placement).is_empty());
    b
}

/// This node alone, or another one alone.
fn placed(ours: Option<BootId>) -> Placements {
    let other = ours.is_none().then_some(BootId(9));
    let members = vec![Member::new(NodeId(1), ours), Member::new(NodeId(2), other)];
    let epoch = if ours.is_some() { Epoch(1) } else { Epoch(2) };
    let inputs = Inputs { members, ..Inputs::default() };
    Placements::first(Arc::new(Placement::compute(&Keys::derive(&RackKey([5; 32])).placement, epoch, inputs)))
}

/// What is told goes into the view, as the shadows would have it; how many.
fn tells(b: &mut Bench) -> usize {
    let told = b.node.take_told();
    let count = told.len();
    b.view.trunks.extend(told.into_iter().map(|report| (report.address, report)));
    count
}

fn health(b: &Bench, address: &str) -> Health {
    b.view.trunks[&address.parse().unwrap()].health
}

fn probes(said: &[Said], to: &str) -> Vec<Said> {
    said.iter().filter(|said| said.to == to && said.what() == "OPTIONS").cloned().collect()
}

#[test]
fn a_probe_is_a_request_of_our_own_and_its_answer_comes_back_to_this_worker() {
    let mut b = probing();
    let said = b.pass(Duration::from_millis(1_100));
    let [probe, ..] = &probes(&said, CARRIER)[..] else { panic!("{said:?}") };
    assert_eq!((probe.uri(), probe.all("Via").count(), probe.header("CSeq")), ("sip:10.9.0.1:5060", 1, "1 OPTIONS"));
    let octets = Bytes::copy_from_slice(probe.text.as_bytes());
    let message = SipMessage::parse(octets, &common::sip::Limits::default()).unwrap();
    assert_eq!(message.validate(), Ok(()));
    let token = message.top_via().unwrap().params.value("sr").unwrap().to_owned();
    let keys = Keys::derive(&RackKey([5; 32]));
    assert_eq!(common::token::route(&keys.token, token.as_bytes(), message.call_id()), Some(NodeId(1)));
    assert_eq!(tells(&mut b), 0);
    b.now = b.now + Duration::from_millis(30);
    let answer = response(probe, "404 Not Found", "t", "");
    assert!(b.hear(CARRIER, &answer).is_empty());
    assert_eq!(tells(&mut b), 1);
    let known = health(&b, CARRIER);
    assert!(known.up && known.status == 404 && known.latency_us >= 30_000, "{known:?}");
    b.hear(CARRIER, &answer);
    assert_eq!(tells(&mut b), 0, "a repeat says nothing");
}

#[test]
fn who_does_not_answer_is_asked_again_by_timer_e_and_then_passed_by_until_he_does() {
    let mut b = probing();
    let said = b.pass(Duration::from_secs(9));
    let asked = probes(&said, CARRIER);
    assert!(asked.len() > 3 && asked.iter().all(|probe| probe.text == asked[0].text), "repeats of one");
    tells(&mut b);
    b.pass(Duration::from_secs(23));
    tells(&mut b);
    assert!(!health(&b, CARRIER).up && !health(&b, CARRIER_TOO).up, "three of each");
    // Both down: in their order, as if nobody knew.
    let call = |b: &mut Bench, name: &str| {
        ladder(&b.hear(ALICE, &request("INVITE", "sip:00441234@rack.test", name, 1, "")))[1].clone()
    };
    assert_eq!(call(&mut b, "c"), format!("INVITE → {CARRIER}"));
    for _ in 0..2 {
        let said = b.pass(Duration::from_secs(10));
        let newest = probes(&said, CARRIER_TOO).pop().unwrap();
        tells(&mut b);
        b.hear(CARRIER_TOO, &response(&newest, "200 OK", "t", ""));
        tells(&mut b);
    }
    assert!(health(&b, CARRIER_TOO).up && !health(&b, CARRIER).up);
    assert_eq!(call(&mut b, "d"), format!("INVITE → {CARRIER_TOO}"));
}

#[test]
fn who_owns_the_slot_no_longer_asks_no_longer_and_who_does_goes_on_from_what_is_known() {
    let mut b = probing();
    b.pass(Duration::from_secs(1));
    b.view.placements = placed(None);
    b.input(Input::Placement);
    assert!(probes(&b.pass(Duration::from_secs(60)), CARRIER).is_empty());
    assert_eq!(tells(&mut b), 0, "what it had asked is another's now");
    let mut heir = probing();
    let health_before = Health { up: false, since_ms: 5_000, contrary: 1, status: 0, latency_us: 7 };
    let address: SocketAddr = CARRIER.parse().unwrap();
    let report = Report { trunk: TrunkId(7), address, epoch: Epoch(0), no: 41, health: health_before };
    heir.view.trunks.insert(address, report);
    let said = heir.pass(Duration::from_millis(1_100));
    heir.hear(CARRIER, &response(&probes(&said, CARRIER)[0], "200 OK", "t", ""));
    tells(&mut heir);
    let known = &heir.view.trunks[&address];
    assert_eq!(
        (known.health.up, known.no, known.epoch),
        (true, 42, Epoch(1)),
        "the second in a row, whoever heard the first"
    );
}
