//! The replica as a transcript: entries in, look-ups and sums out.
#![allow(clippy::unwrap_used)]

use super::*;
use common::ids::ListenerId;
use common::keys::RackKey;
use common::location::Binding;
use std::time::Duration;

fn keys() -> Keys {
    Keys::derive(&RackKey([3; 32]))
}

fn aor(user: &str) -> Aor {
    Aor::new(user, "rack.test")
}

fn subscriber(user: &str) -> Record {
    Record::Subscriber(Subscriber { aor: aor(user), ha1_md5: [1; 16], ha1_sha256: [2; 32], ha1_sha512_256: None })
}

fn bound(user: &str, contacts: &[&str], level: u64) -> Record {
    let binding = |contact: &&str| Binding {
        contact: (*contact).to_owned(),
        q_thousandths: 1000,
        expires_at: LogTime(60_000),
        received: "192.0.2.1:5060".parse().unwrap(),
        listener: ListenerId(0),
        path: vec![],
        instance: String::new(),
        user_agent: String::new(),
        version: Level(level),
    };
    Record::Bindings(Bindings { aor: aor(user), bindings: contacts.iter().map(binding).collect() })
}

fn entry(level: u64, changes: Vec<Change>) -> Entry {
    Entry { level: Level(level), time: LogTime(1000 * level), changes }
}

#[test]
fn entries_are_seen_at_once_and_leave_no_trace_when_removed() {
    let mut w = Writer::new(&keys());
    let r = w.replica().clone();
    w.apply(Time(0), &entry(1, vec![Change::Put(subscriber("1001"))])).unwrap();
    w.apply(Time(0), &entry(2, vec![Change::Put(bound("1001", &["sip:a", "sip:b"], 2))])).unwrap();
    assert!(r.subscriber(&aor("1001")).is_some());
    assert_eq!(r.bindings(&aor("1001")).unwrap().bindings.len(), 2);
    assert!(r.bindings(&aor("1002")).is_none());
    let status = r.status();
    assert_eq!((status.level, status.subscribers, status.bindings), (Level(2), 1, 2));
    assert_eq!(status.sum, r.scrub(&keys().record_sum), "the running sum is the sum of what is held");
    assert_eq!(r.registrations_by_domain(), BTreeMap::from([("rack.test".to_owned(), 1)]));

    w.apply(Time(0), &entry(3, vec![Change::Put(bound("1001", &["sip:a"], 3))])).unwrap();
    assert_eq!(r.status().bindings, 1);
    let gone =
        vec![Change::Remove(RecordKey::Bindings(aor("1001"))), Change::Remove(RecordKey::Subscriber(aor("1001")))];
    w.apply(Time(0), &entry(4, gone)).unwrap();
    assert!(r.subscriber(&aor("1001")).is_none());
    assert_eq!((r.status().sum, r.status().subscribers, r.status().bindings), (0, 0, 0));
}

#[test]
fn a_repeated_level_changes_nothing_and_a_gap_is_refused() {
    let mut w = Writer::new(&keys());
    let first = entry(1, vec![Change::Put(subscriber("1001"))]);
    assert_eq!(w.apply(Time(0), &first), Ok(true));
    let sum = w.status().sum;
    assert_eq!(w.apply(Time(0), &first), Ok(false));
    assert_eq!(w.status().sum, sum);
    assert_eq!(w.apply(Time(0), &entry(3, vec![])), Err(ReplicaError::Gap { have: Level(1), got: Level(3) }));
}

#[test]
fn a_reload_is_built_beside_the_old_copy() {
    let mut w = Writer::new(&keys());
    let r = w.replica().clone();
    w.apply(Time(0), &entry(1, vec![Change::Put(subscriber("1001"))])).unwrap();

    let mut other = RecordSum::new(&keys().record_sum);
    other.add(&subscriber("2001"));
    other.add(&bound("2001", &["sip:x"], 5));
    w.begin_reload(HistoryId(9));
    w.load(vec![subscriber("2001"), subscriber("2001")]).unwrap();
    assert!(r.subscriber(&aor("2001")).is_none() && r.subscriber(&aor("1001")).is_some(), "still the old copy");
    w.load(vec![bound("2001", &["sip:x"], 5)]).unwrap();
    w.finish_reload(Level(5), other.value()).unwrap();
    assert!(r.subscriber(&aor("2001")).is_some() && r.subscriber(&aor("1001")).is_none(), "now the new one");
    assert_eq!((r.status().history, r.status().level, r.status().bindings), (HistoryId(9), Level(5), 1));
    assert_eq!(r.status().sum, r.scrub(&keys().record_sum));

    w.begin_reload(HistoryId(9));
    assert!(matches!(w.finish_reload(Level(6), other.value()), Err(ReplicaError::Sum { .. })), "an empty one differs");
    assert!(r.subscriber(&aor("2001")).is_some(), "and is not taken");
    assert_eq!(r.status().mismatches, 1);
    assert_eq!(w.load(vec![]), Err(ReplicaError::NotLoading));
}

#[test]
fn stamps_prove_equality_at_an_equal_level() {
    let mut w = Writer::new(&keys());
    w.apply(Time(0), &entry(1, vec![Change::Put(subscriber("1001"))])).unwrap();
    let sum = w.status().sum;
    assert_eq!(w.stamp(Time(0), Level(1), sum, LogTime(1500)), Ok(()));
    assert!(matches!(w.stamp(Time(0), Level(1), sum ^ 1, LogTime(1500)), Err(ReplicaError::Sum { .. })));
    assert!(matches!(w.stamp(Time(0), Level(2), sum, LogTime(1500)), Err(ReplicaError::Gap { .. })));
}

#[test]
fn the_logs_clock_runs_while_the_log_is_heard_and_never_goes_back() {
    let mut w = Writer::new(&keys());
    let r = w.replica().clone();
    let s = |n| Time(0) + Duration::from_secs(n);
    w.stamp(s(10), Level(0), 0, LogTime(5000)).unwrap();
    assert_eq!(r.log_time(s(12)), LogTime(7000));
    w.stamp(s(12), Level(0), 0, LogTime(6000)).unwrap();
    assert_eq!(r.log_time(s(12)), LogTime(7000), "a late stamp does not turn it back");
    w.silent(s(13));
    w.silent(s(20));
    assert_eq!(r.log_time(s(60)), LogTime(8000), "silent: it stands");
    w.stamp(s(61), Level(0), 0, LogTime(9000)).unwrap();
    assert_eq!(r.log_time(s(62)), LogTime(10_000));
}
