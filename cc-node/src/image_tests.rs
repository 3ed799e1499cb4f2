//! Records told, and what is left of a call by them.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::record::Hunt;
use common::flow::Flow;
use common::ids::{ListenerId, Transport};

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn flow(address: &str) -> Flow {
    Flow { listener: ListenerId(0), remote: at(address) }
}

fn key(cseq: u32) -> Arc<CallKey> {
    let (call_id, from_tag, upstream_branch) = (b"c"[..].into(), "a".into(), "z9hG4bK1".into());
    Arc::new(CallKey { call_id, from_tag, upstream_branch, cseq })
}

/// `branch`; those of an attempt are `branch.1` and so on.
fn target(branch: &str, order: u16, attempt: u32) -> Target {
    let hop = flow("192.0.2.2:5060");
    Target {
        uri: "sip:b@192.0.2.2".into(),
        route: vec![],
        next_hop: hop,
        peer: Peer::Direct(hop),
        order,
        attempt,
        hunt: Hunt::AfterAnyFailure,
        recurse: true,
        branch: branch.into(),
    }
}

fn accepted(targets: Vec<Target>) -> What {
    let opened = Opened {
        caller: "sip:a@h".into(),
        callee: "sip:b@h".into(),
        peer: Peer::Direct(flow("192.0.2.1:5060")),
        trunk_in: None,
        contact: Some(at("192.0.2.1:5060")),
    };
    What::Accepted(Box::new(Accepted {
        request: Bytes::from_static(b"INVITE"),
        source: flow("192.0.2.1:5060"),
        transport: Transport::Udp,
        at: WallMillis(1_000),
        caller: None,
        call: Some(opened),
        dialogs: vec![],
        decisions: vec![],
        pending: targets.is_empty(),
        targets,
    }))
}

fn answer(branch: &str, tag: &str) -> What {
    What::Answered(Box::new(Answer {
        status: 200,
        reason: "OK".into(),
        at: WallMillis(2_000),
        callee_tag: tag.into(),
        callee_contact: Some(at("192.0.2.9:5060")),
        branch: branch.into(),
        peer: Peer::Direct(flow("192.0.2.2:5060")),
    }))
}

fn told(records: Vec<What>) -> Image {
    let mut image = Image::default();
    for (second, what) in (1..).zip(records) {
        image.apply(Time(second * 1_000_000), &key(1), what);
    }
    image
}

fn invite(image: &Image) -> &Invite {
    image.parts()[0].invite.as_ref().unwrap()
}

fn call(image: &Image) -> &Call {
    image.parts()[0].call.as_ref().unwrap()
}

/// Each leg by its address of now, and how it stands.
fn legs(image: &Image) -> Vec<String> {
    let state = |leg: &Leg| match &leg.state {
        LegState::Waiting => "waits".to_string(),
        LegState::Started { early: false } => "asked".into(),
        LegState::Started { early: true } => "rings".into(),
        LegState::Failed { status, .. } => status.to_string(),
        LegState::Redirected => "redirected".into(),
        LegState::Succeeded => "answered".into(),
    };
    invite(image).legs.iter().map(|leg| format!("{} {}", leg.targets[0].branch, state(leg))).collect()
}

fn started(branches: &[&str]) -> What {
    What::Started { branches: branches.iter().map(|b| (*b).into()).collect() }
}

fn failed(branch: &str, status: u16) -> What {
    What::BranchFailed { branch: branch.into(), status, response: Bytes::new() }
}

#[test]
fn branches_stand_as_they_were_tried() {
    let targets = || vec![target("a", 0, 0), target("a1", 0, 1), target("b", 0, 0), target("c", 1, 0)];
    let mut records = vec![accepted(targets()), started(&["a", "b"])];
    assert_eq!(legs(&told(records.clone())), ["a asked", "b asked", "c waits"]);
    records.push(What::Early { branch: "b".into(), callee_tag: "t".into(), contact: None });
    records.extend([failed("a", 503), started(&["a1"])]);
    assert_eq!(legs(&told(records.clone())), ["a1 asked", "b rings", "c waits"], "the next address of the first");
    records.extend([failed("a1", 486), answer("b", "t")]);
    let image = told(records);
    assert_eq!(legs(&image), ["a1 486", "b answered", "c waits"]);
    assert!(!image.is_pending());
}

#[test]
fn a_redirection_puts_others_in_its_place() {
    let instead_of = Some(Redirected { branch: "a".into(), ranks: 2 });
    let records = vec![
        accepted(vec![target("a", 0, 0), target("z", 1, 0)]),
        started(&["a"]),
        failed("a", 302),
        What::Targets { instead_of, targets: vec![target("x", 0, 0), target("y", 2, 0)] },
    ];
    let image = told(records);
    assert_eq!(legs(&image), ["a redirected", "x waits", "y waits", "z waits"]);
    assert_eq!(invite(&image).legs[3].targets[0].order, 3, "behind all that it led to");
}

#[test]
fn targets_that_come_later_are_no_longer_pending() {
    let later = What::Targets { instead_of: None, targets: vec![target("a", 0, 0)] };
    assert!(invite(&told(vec![accepted(vec![])])).accepted.pending);
    assert!(!invite(&told(vec![accepted(vec![]), later])).accepted.pending);
}

#[test]
fn an_answered_call_lives_until_its_cdr_is_written() {
    let mut records = vec![accepted(vec![target("a", 0, 0)]), started(&["a"]), answer("a", "t")];
    records.push(What::Session { callee_tag: "t".into(), expires_s: Some(90) });
    let image = told(records.clone());
    assert_eq!(
        (call(&image).answers[0].at, call(&image).answers[0].session),
        (Time(3_000_000), Some(Time(94_000_000)))
    );
    assert_eq!(call(&image).contacts[Side::Callee as usize], [at("192.0.2.9:5060")]);
    records.extend([
        answer("a", "t"),
        answer("a", "u"),
        What::DialogEnded { callee_tag: "u".into() },
        answer("a", "u"),
    ]);
    let image = told(records.clone());
    assert_eq!(call(&image).answers.len(), 1, "said again it is the same; once over it does not begin anew");
    records.push(What::Over);
    assert!(told(records.clone()).parts()[0].invite.is_none());
    let cdr: Cdr = serde_json::from_value(serde_json::json!({
        "id": "1", "method": "INVITE", "from_tag": "a", "to_tag": "t", "callid": "c", "sip_code": 200, "sip_reason": "OK",
        "created": "", "setup_time": 0.0, "start_time": "", "end_time": "", "duration": 1, "ms_duration": 1, "caller": "",
        "callee": "", "trunk_in": null, "trunk_out": null, "node": 1, "site": "", "ended_by": "caller"
    }))
    .unwrap();
    records.push(What::Ended { cdr: Box::new(cdr) });
    let image = told(records.clone());
    assert!(image.parts()[0].call.is_none() && image.parts()[0].cdr.is_some());
    records.push(What::Written);
    assert!(told(records).is_empty());
}

#[test]
fn a_refused_call_is_over_with_its_invite() {
    let refused = What::Refused { status: 486, response: Bytes::from_static(b"SIP/2.0 486 X") };
    let records = vec![accepted(vec![target("a", 0, 0)]), started(&["a"]), What::Cancelled, failed("a", 487), refused];
    let image = told(records.clone());
    assert!(image.parts()[0].call.is_none() && invite(&image).cancelled && !image.is_pending());
    assert!(told([records, vec![What::Over]].concat()).is_empty());
}

#[test]
fn invites_within_a_call_stand_beside_it() {
    let mut image = told(vec![accepted(vec![target("a", 0, 0)]), started(&["a"]), answer("a", "t"), What::Over]);
    image.apply(Time(9), &key(2), accepted(vec![target("b", 0, 0)]));
    assert_eq!(image.parts().len(), 2);
    image.apply(Time(9), &key(2), What::Refused { status: 491, response: Bytes::new() });
    image.apply(Time(9), &key(2), What::Over);
    assert!(image.parts().len() == 1 && call(&image).is_answered());
    image.apply(Time(9), &key(3), What::Cancelled);
    assert_eq!(image.parts().len(), 1, "of what is not there nothing is said");
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut records = vec![accepted(vec![target("a", 0, 0)]), started(&["a"])];
    records.extend((0..200).map(|n| What::Early {
        branch: "a".into(),
        callee_tag: format!("t{n}").into(),
        contact: Some(SocketAddr::new([192, 0, 2, n].into(), 5060)),
    }));
    let mut image = told(records);
    assert_eq!((call(&image).dialogs.len(), call(&image).contacts[1].len()), (MAX_DIALOGS, CONTACTS));
    (2..200).for_each(|cseq| image.apply(Time(9), &key(cseq), accepted(vec![])));
    assert_eq!(image.parts().len(), MAX_PARTS);
}

#[test]
fn told_on_another_machine_it_is_as_old_as_here() {
    let mut image = told(vec![
        accepted(vec![target("a", 0, 0)]),
        answer("a", "t"),
        What::Session { callee_tag: "t".into(), expires_s: Some(90) },
    ]);
    let octets = postcard::to_allocvec(&image).unwrap();
    assert_eq!(postcard::from_bytes::<Image>(&octets).unwrap(), image);
    image.shift(Time(10_000_000), Time(500_000_000));
    assert_eq!((invite(&image).at, call(&image).at), (Time(491_000_000), Time(491_000_000)));
    let answered = &call(&image).answers[0];
    assert_eq!((answered.at, answered.session), (Time(492_000_000), Some(Time(583_000_000))));
}
