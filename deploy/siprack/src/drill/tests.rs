//! What a call's phones saw, made up, and what that says of the call; and whole drills against a model of a rack.

mod model;

use super::charges::Charges;
use super::plan::Phase;
use super::report::{Findings, Found};
use super::seen::{Act, Seen, Side, What};
use super::verdict::{Need, Standing, judge, moved};
use crate::phone::Event;
use common::time::{Duration, Time};
use serde_json::json;

fn id() -> String {
    "a".into()
}

/// Events a millisecond apart, at these phones.
fn story(events: &[(Side, Event)]) -> Vec<Seen> {
    let seen = |(at, (side, event)): (u64, &(Side, Event))| Seen {
        at: Time(at * 1000),
        side: *side,
        what: What::Event(event.clone()),
    };
    (1..).zip(events).map(seen).collect()
}

fn answered() -> (Side, Event) {
    (Side::Caller, Event::Answered { call_id: id() })
}

fn confirmed(side: Side) -> (Side, Event) {
    (side, Event::Confirmed { call_id: id() })
}

fn cancelled(side: Side) -> (Side, Event) {
    (side, Event::CancelledHere { call_id: id() })
}

fn reinvited(status: u16) -> (Side, Event) {
    (Side::Caller, Event::Reinvited { call_id: id(), status })
}

fn ended(status: u16) -> (Side, Event) {
    (Side::Caller, Event::Ended { call_id: id(), status })
}

fn ended_by_peer() -> (Side, Event) {
    (Side::First, Event::EndedByPeer { call_id: id() })
}

fn refused(status: u16) -> (Side, Event) {
    (Side::Caller, Event::Refused { call_id: id(), status })
}

fn timed_out(side: Side, method: &str) -> (Side, Event) {
    (side, Event::TimedOut { method: method.into(), call_id: id() })
}

fn lost(phase: Phase, events: &[(Side, Event)]) -> String {
    match judge(phase, &story(events)) {
        Standing::Lost(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_that_is_answered_changed_and_ended_is_kept() {
    let whole = [answered(), confirmed(Side::First), reinvited(200), ended(200), ended_by_peer()];
    for phase in [Phase::SetUp, Phase::Ringing, Phase::Held] {
        assert_eq!(judge(phase, &story(&whole)), Standing::Kept, "{phase:?}");
        let waits = [Need::Answer, Need::Ack, Need::Reinvite, Need::Bye, Need::ByeAtPeer];
        for (n, need) in waits.into_iter().enumerate() {
            assert_eq!(judge(phase, &story(&whole[..n])), Standing::Open(need), "{phase:?}");
        }
    }
    let ending = [answered(), confirmed(Side::First), ended(200), ended_by_peer()];
    assert_eq!(judge(Phase::Ending, &story(&ending)), Standing::Kept);
    assert_eq!(judge(Phase::Ending, &story(&ending[..3])), Standing::Open(Need::ByeAtPeer));
}

#[test]
fn what_is_not_answered_within_32_s_is_lost() {
    let rings = [(Side::First, Event::Incoming { call_id: id(), from: String::new() })];
    let mut seen = story(&rings);
    assert_eq!(judge(Phase::Ringing, &seen), Standing::Open(Need::Answer));
    seen.push(Seen { at: Time(32_500_000), side: Side::Caller, what: What::GaveUp });
    // Too late.
    seen.extend(story(&[answered(), confirmed(Side::First), reinvited(200), ended(200), ended_by_peer()]));
    assert_eq!(judge(Phase::Ringing, &seen), Standing::Lost("the caller heard no answer within 32 s".into()));
    assert_eq!(lost(Phase::SetUp, &[timed_out(Side::Caller, "INVITE")]), "INVITE was not answered for 32 s");
    let talks = [answered(), confirmed(Side::First)];
    let and = |event| [&talks[..], &[event]].concat();
    assert_eq!(lost(Phase::Held, &and(timed_out(Side::Caller, "INVITE"))), "INVITE was not answered for 32 s");
    assert_eq!(lost(Phase::Ending, &and(timed_out(Side::First, "BYE"))), "BYE was not answered for 32 s");
    let unacknowledged = [answered(), timed_out(Side::First, "ACK")];
    assert_eq!(lost(Phase::Ringing, &unacknowledged), "the answer was not acknowledged for 32 s");
}

#[test]
fn a_call_that_nobody_knows_any_more_is_lost() {
    let talks = [answered(), confirmed(Side::First)];
    let and = |event| [&talks[..], &[event]].concat();
    assert_eq!(lost(Phase::Ending, &and(ended(481))), "the BYE was refused with 481");
    assert_eq!(lost(Phase::Held, &and(reinvited(481))), "the re-INVITE was refused with 481");
    assert_eq!(lost(Phase::SetUp, &[refused(503)]), "the INVITE was refused with 503");
    assert_eq!(lost(Phase::Ringing, &[cancelled(Side::First)]), "it was cancelled though the caller waited");
    let twice = (Side::First, Event::RangTwice { call_id: id() });
    assert_eq!(lost(Phase::Ringing, &[twice]), "it rang twice");
}

#[test]
fn of_a_fork_one_branch_is_answered_and_the_other_stops() {
    let one =
        [answered(), confirmed(Side::Second), cancelled(Side::First), reinvited(200), ended(200), ended_by_peer()];
    assert_eq!(judge(Phase::Forked, &story(&one)), Standing::Kept);
    assert_eq!(judge(Phase::Forked, &story(&one[..2])), Standing::Open(Need::OtherBranch));
    let both = [answered(), confirmed(Side::First), confirmed(Side::Second)];
    assert_eq!(lost(Phase::Forked, &both), "both branches were answered");
}

#[test]
fn a_cancelled_call_stops_ringing_and_its_caller_hears_487() {
    let right = [cancelled(Side::First), refused(487)];
    assert_eq!(judge(Phase::Cancelling, &story(&right)), Standing::Kept);
    assert_eq!(judge(Phase::Cancelling, &story(&right[1..])), Standing::Open(Need::Silence));
    assert_eq!(lost(Phase::Cancelling, &[cancelled(Side::First), refused(408)]), "the INVITE was refused with 408");
    assert_eq!(lost(Phase::Cancelling, &[answered()]), "it was answered though it had been cancelled");
    assert_eq!(lost(Phase::Cancelling, &[timed_out(Side::Caller, "CANCEL")]), "CANCEL was not answered for 32 s");
}

#[test]
fn a_call_moves_with_the_first_message_that_the_dead_node_cannot_have_sent() {
    let heard = |ms: u64| Seen { at: Time(ms * 1000), side: Side::First, what: What::Heard("INVITE".into()) };
    let asked = Seen { at: Time(105_000), side: Side::Caller, what: What::Asked(Act::Reinvite) };
    let died = Time(100_000);
    assert_eq!(moved(died, &[heard(90), heard(101), asked.clone(), heard(140), heard(200)]), Some(Time(140_000)));
    assert_eq!(moved(died, &[heard(90), heard(101), asked]), None);
}

#[test]
fn each_answered_call_leaves_one_cdr_however_often_it_is_written() {
    let mut charges = Charges::default();
    charges.read(
        "{\"id\":\"1\",\"callid\":\"a\",\"node\":1}\n{\"id\":\"1\",\"callid\":\"a\",\"node\":2}\n{\"id\":\"3\",\"ca",
    );
    charges.read("{\"id\":\"5\",\"callid\":\"b\"}\n{\"id\":\"6\",\"callid\":\"b\"}\n");
    assert_eq!(charges.fault(Phase::Held, "a"), None, "the same record in two files");
    assert_eq!(charges.fault(Phase::Ringing, "b").as_deref(), Some("it left 2 CDRs"));
    assert_eq!(charges.fault(Phase::Ending, "c").as_deref(), Some("it left no CDR"));
    assert!(charges.is_whole(Phase::Cancelling, "c") && !charges.is_whole(Phase::Held, "c"));
    assert_eq!(charges.fault(Phase::Cancelling, "c"), None);
    assert!(charges.fault(Phase::Cancelling, "a").is_some_and(|why| why.contains("nobody answered")));
}

fn found(phase: Phase, moved_ms: Option<u64>, lost: Option<&str>) -> Found {
    let moved = moved_ms.map(Duration::from_millis);
    Found { call_id: format!("drill-{}", phase.label()), phase, lost: lost.map(str::to_string), moved, seen: vec![] }
}

#[test]
fn scripts_read_five_numbers_and_people_a_table_and_a_sentence() {
    let calls = vec![
        found(Phase::SetUp, Some(505), None),
        found(Phase::Ringing, Some(40), None),
        found(Phase::Cancelling, Some(41), None),
        found(Phase::Held, None, Some("BYE was not answered for 32 s")),
        found(Phase::Ending, Some(507), None),
    ];
    let detected = Some(Duration::from_micros(6_200));
    let mut findings = Findings { node: 2, died: Time(9), detected, calls, charged: true };
    let json = findings.json();
    let numbers = ["held", "setup", "lost", "detected_ms", "takeover_ms"].map(|key| json[key].as_u64());
    assert_eq!(numbers, [Some(2), Some(3), Some(1), Some(7), Some(507)]);
    assert_eq!(json["phases"][4]["lost"], json!([{ "call_id": "drill-held", "why": "BYE was not answered for 32 s" }]));
    assert_eq!((&json["phases"][1]["first_ms"], &json["phases"][4]["last_ms"]), (&json!(40), &json!(null)));
    let text = findings.text();
    assert!(text.contains("\nheld        1      0     1     -            -\n"), "{text}");
    assert!(text.contains("\nlost: drill-held (held): BYE was not answered for 32 s\n"), "{text}");
    assert!(text.contains("1 of 5 were lost; it was out of the table after 7 ms"), "{text}");
    findings.calls[3].lost = None;
    assert!(findings.text().contains(
        "\ncc-node 2 died with 2 answered calls and 3 in set-up: none was lost, and each answered one left one CDR; it was \
         out of the table after 7 ms, the last call moved again after 507 ms.\n"
    ));
}
