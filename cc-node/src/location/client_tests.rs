//! Transcripts between a node and a location server that is played by hand.
#![allow(clippy::unwrap_used)]

use super::*;
use common::ids::Level;
use common::keys::{Keys, RackKey};
use common::location::{Aor, Change, Entry, LogTime, Record, RecordSum, Subscriber};

fn keys() -> Keys {
    Keys::derive(&RackKey([3; 32]))
}

fn client() -> Client {
    let setup = ClientSetup { ask_timeout: Duration::from_secs(20), asks: 2, ..ClientSetup::new(NodeId(1), BootId(5)) };
    Client::new(setup, Writer::new(&keys()))
}

fn s(n: u64) -> Time {
    Time(n * 1_000_000)
}

fn record(user: &str) -> Record {
    Record::Subscriber(Subscriber {
        aor: Aor::new(user, "rack.test"),
        ha1_md5: [1; 16],
        ha1_sha256: [2; 32],
        ha1_sha512_256: None,
    })
}

fn sum(users: &[&str]) -> u128 {
    let mut sum = RecordSum::new(&keys().record_sum);
    users.iter().for_each(|u| sum.add(&record(u)));
    sum.value()
}

fn entry(level: u64, user: &str) -> Entry {
    Entry { level: Level(level), time: LogTime(level), changes: vec![Change::Put(record(user))] }
}

fn connected(c: &mut Client, now: Time) -> Vec<ClientEffect> {
    let mut out = vec![];
    c.connected(now, &mut out);
    out
}

fn heard(c: &mut Client, now: Time, m: FromServer) -> Vec<ClientEffect> {
    let mut out = vec![];
    c.handle(now, m, &mut out);
    out
}

fn asked(c: &mut Client, now: Time, ask: u64) -> Vec<ClientEffect> {
    let mut out = vec![];
    c.ask(now, 3, AskId(ask), IdempotenceKey(u128::from(ask)), expire(), &mut out);
    out
}

fn ticked(c: &mut Client, now: Time) -> Vec<ClientEffect> {
    let mut out = vec![];
    c.tick(now, &mut out);
    out
}

fn expire() -> Command {
    Command::Expire { aor: Aor::new("1001", "rack.test"), contact: "sip:a".into(), version: Level(1) }
}

fn hello(history: u64, level: u64) -> ClientEffect {
    let (history, level) = (HistoryId(history), Level(level));
    ClientEffect::Send(ToServer::Hello { node: NodeId(1), boot: BootId(5), history, level, subscribe: true })
}

fn welcome(level: u64, reload: bool) -> FromServer {
    FromServer::Welcome { history: HistoryId(77), level: Level(level), reload }
}

/// Connects and takes a whole database of one record at level 4.
fn level_4(c: &mut Client) {
    assert_eq!(connected(c, s(0)), [hello(0, 0)]);
    assert_eq!(heard(c, s(0), welcome(4, true)), []);
    assert!(!c.was_level(), "a reload is under way");
    assert_eq!(heard(c, s(0), FromServer::Part { records: vec![record("1001")] }), []);
    assert_eq!(heard(c, s(0), FromServer::PartEnd { level: Level(4), sum: sum(&["1001"]) }), []);
    assert!(c.was_level());
}

#[test]
fn first_a_reload_then_entries_then_a_resume_from_the_level_reached() {
    let mut c = client();
    level_4(&mut c);
    assert_eq!(heard(&mut c, s(0), FromServer::Entries(vec![entry(5, "1002"), entry(6, "1003")])), []);
    assert_eq!(c.status().level, Level(6));
    c.disconnected(s(1));
    assert!(!c.is_up() && c.was_level(), "it goes on serving");
    assert_eq!(connected(&mut c, s(2)), [hello(77, 6)]);
    assert_eq!(heard(&mut c, s(2), welcome(7, false)), []);
    assert_eq!(c.lag(), 1);
    assert_eq!(heard(&mut c, s(2), FromServer::Entries(vec![entry(6, "1003"), entry(7, "1004")])), []);
    assert_eq!((c.lag(), c.status().subscribers), (0, 4));
}

#[test]
fn an_ask_survives_the_death_of_the_server() {
    let mut c = client();
    assert_eq!(asked(&mut c, s(0), 11), [], "not connected yet: it waits");
    level_4_with_ask(&mut c);
    c.disconnected(s(1));
    connected(&mut c, s(2));
    let again = heard(&mut c, s(2), welcome(4, false));
    assert!(matches!(&again[..], [ClientEffect::Send(ToServer::Command { ask: 1, key: IdempotenceKey(11), .. })]));
    let done = Outcome::Done { level: Level(5) };
    let got = heard(&mut c, s(2), FromServer::Outcome { ask: 1, outcome: done.clone() });
    assert_eq!(got, [ClientEffect::Answer { worker: 3, ask: AskId(11), outcome: Ok(done.clone()) }]);
    assert_eq!(heard(&mut c, s(2), FromServer::Outcome { ask: 1, outcome: done }), [], "only once");
}

fn level_4_with_ask(c: &mut Client) {
    connected(c, s(0));
    let sent = heard(c, s(0), welcome(4, true));
    assert!(matches!(&sent[..], [ClientEffect::Send(ToServer::Command { ask: 1, .. })]), "at once after the welcome");
    heard(c, s(0), FromServer::Part { records: vec![record("1001")] });
    heard(c, s(0), FromServer::PartEnd { level: Level(4), sum: sum(&["1001"]) });
}

#[test]
fn asks_are_bounded_in_number_and_time() {
    let mut c = client();
    asked(&mut c, s(0), 1);
    asked(&mut c, s(1), 2);
    let full = ClientEffect::Answer { worker: 3, ask: AskId(3), outcome: Err(LocationFailure::Full) };
    assert_eq!(asked(&mut c, s(1), 3), [full]);
    assert_eq!(c.next_due(), Some(s(20)));
    assert_eq!(ticked(&mut c, s(19)), []);
    let late = |ask| ClientEffect::Answer { worker: 3, ask: AskId(ask), outcome: Err(LocationFailure::Timeout) };
    assert_eq!(ticked(&mut c, s(20)), [late(1)]);
    assert_eq!(ticked(&mut c, s(30)), [late(2)]);
    assert_eq!((c.asks(), c.next_due()), (0, None));
}

#[test]
fn a_gap_resumes_and_a_wrong_sum_reloads() {
    let mut c = client();
    level_4(&mut c);
    let gap = heard(&mut c, s(1), FromServer::Entries(vec![entry(6, "1002")]));
    assert!(matches!(&gap[..], [ClientEffect::Reconnect { reason }] if reason.contains("level 4 to 6")));
    c.disconnected(s(1));
    assert_eq!(connected(&mut c, s(1)), [hello(77, 4)]);
    heard(&mut c, s(1), welcome(4, false));
    let wrong = heard(&mut c, s(1), FromServer::Stamp { level: Level(4), sum: 1, time: LogTime(9) });
    assert!(matches!(&wrong[..], [ClientEffect::Reconnect { .. }]));
    c.disconnected(s(1));
    assert_eq!(connected(&mut c, s(1)), [hello(0, 0)], "the whole database, please");
    assert_eq!(c.status().mismatches, 1);
}

#[test]
fn another_history_is_never_mixed_in() {
    let mut c = client();
    level_4(&mut c);
    c.disconnected(s(1));
    connected(&mut c, s(1));
    let other = FromServer::Welcome { history: HistoryId(78), level: Level(9), reload: false };
    assert!(matches!(&heard(&mut c, s(1), other)[..], [ClientEffect::Reconnect { .. }]));
    c.disconnected(s(1));
    assert_eq!(connected(&mut c, s(1)), [hello(0, 0)]);
}

#[test]
fn a_silent_stream_is_pinged_and_then_given_up() {
    let mut c = client();
    level_4(&mut c);
    assert_eq!(c.next_due(), Some(s(1)));
    assert_eq!(ticked(&mut c, s(1)), [ClientEffect::Send(ToServer::Ping)]);
    assert!(matches!(&ticked(&mut c, s(4))[..], [ClientEffect::Reconnect { .. }]));
}

#[test]
fn what_the_server_could_not_do_is_asked_again() {
    let mut c = client();
    level_4(&mut c);
    asked(&mut c, s(1), 11);
    assert_eq!(heard(&mut c, s(1), FromServer::Failed { ask: 1, reason: "no space left".into() }), []);
    c.handle(s(2), FromServer::Stamp { level: Level(4), sum: sum(&["1001"]), time: LogTime(9) }, &mut vec![]);
    let again = ticked(&mut c, s(2));
    assert!(matches!(again[0], ClientEffect::Send(ToServer::Command { ask: 1, key: IdempotenceKey(11), .. })));
    assert_eq!(heard(&mut c, s(2), FromServer::Failed { ask: 99, reason: "unknown".into() }), []);
}
