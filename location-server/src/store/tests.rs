//! Transcripts of REGISTERs against the store.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::testing::{Desk, alice, put, register, say};

const A: &str = "sip:alice@192.0.2.7:5060";
const B: &str = "sip:alice@192.0.2.8";

fn expires_at(desk: &Desk) -> Vec<u64> {
    desk.store.bindings(&alice()).map_or_else(Vec::new, |b| b.bindings.iter().map(|b| b.expires_at.0 / 1000).collect())
}

#[test]
fn register_refresh_second_phone_remove() {
    let mut desk = Desk::new();
    assert_eq!(desk.register("a", 1, &[A]), format!("ok {A}"));
    assert_eq!(expires_at(&desk), [3600]);
    desk.seconds = 100;
    assert_eq!(desk.register("a", 2, &[A]), format!("ok {A}"));
    assert_eq!(expires_at(&desk), [3700]);
    assert_eq!(desk.register("b", 1, &[B]), format!("ok {A} {B}"));
    assert_eq!(desk.register("a", 3, &["sip:alice@192.0.2.7:5060;expires=0"]), format!("ok {B}"));
    assert_eq!(desk.register("b", 2, &["*"]), "ok");
    assert_eq!(desk.store.bindings(&alice()), None);
    assert_eq!(desk.store.sum(), 0, "nothing is held");
}

#[test]
fn a_repeat_is_answered_from_the_bindings_and_changes_nothing() {
    let mut desk = Desk::new();
    desk.register("a", 1, &[A]);
    desk.seconds = 10;
    let sum = desk.store.sum();
    assert_eq!(desk.register("a", 1, &[A]), format!("ok {A}"));
    assert_eq!((expires_at(&desk), desk.store.sum()), (vec![3600], sum));
    assert_eq!(desk.register("a", 2, &["*"]), "ok");
    assert_eq!(desk.register("a", 2, &["*"]), "ok");
}

#[test]
fn the_same_idempotence_key_is_a_repeat_whatever_the_command_has_become() {
    let mut desk = Desk::new();
    let first = desk.apply(5, &put("bob"));
    assert_eq!(desk.apply(5, &put("bob")), first);
    // A late repeat of one Call-ID after another took the contact over would update it without the key.
    desk.apply(6, &Command::Register(register("a", 1, &[A])));
    desk.register("b", 1, &["sip:alice@192.0.2.7:5060;expires=60"]);
    assert_eq!(say(&desk.apply(6, &Command::Register(register("a", 1, &[A])))), format!("ok {A}"));
    assert_eq!(expires_at(&desk), [60]);
}

#[test]
fn keys_are_forgotten_after_64_seconds_of_log_time() {
    let mut desk = Desk::new();
    let first = desk.apply(5, &put("bob"));
    desk.seconds = 63;
    assert_eq!(desk.apply(5, &put("bob")), first);
    desk.seconds = 64;
    assert_ne!(desk.apply(5, &put("bob")), first);
}

#[test]
fn out_of_order_is_refused_as_a_whole() {
    let mut desk = Desk::new();
    desk.register("a", 5, &[A]);
    assert_eq!(desk.register("a", 4, &[A]), "OutOfOrder");
    assert_eq!(
        desk.register("a", 5, &["sip:alice@192.0.2.7:5060;expires=60"]),
        "OutOfOrder",
        "equal CSeq, other content"
    );
    assert_eq!(desk.register("a", 4, &[B, A]), "OutOfOrder");
    assert_eq!(desk.register("a", 4, &["*"]), "OutOfOrder");
    assert_eq!(desk.store.bindings(&alice()).unwrap().bindings.len(), 1, "B was not added");
    assert_eq!(desk.register("another", 1, &[A]), format!("ok {A}"), "another Call-ID may have a lower CSeq");
}

#[test]
fn star_removes_what_other_phones_registered() {
    let mut desk = Desk::new();
    desk.register("a", 1, &[A]);
    desk.register("b", 7, &[B]);
    assert_eq!(desk.register("a", 2, &["*"]), "ok");
    assert_eq!(desk.register("b", 6, &[B]), "OutOfOrder", "older than what was removed");
    assert_eq!(desk.register("b", 8, &[B]), format!("ok {B}"));
}

#[test]
fn an_older_register_that_comes_late_does_not_resurrect() {
    let mut desk = Desk::new();
    desk.register("a", 1, &[A]);
    desk.register("a", 3, &["sip:alice@192.0.2.7:5060;expires=0"]);
    assert_eq!(desk.register("a", 2, &[A]), "OutOfOrder");
    // The de-registration itself may have overtaken the registration.
    desk.register("c", 2, &["sip:carol@192.0.2.9;expires=0"]);
    assert_eq!(desk.register("c", 1, &["sip:carol@192.0.2.9"]), "OutOfOrder");
    desk.register("d", 2, &["*"]);
    assert_eq!(desk.register("d", 1, &[B]), "OutOfOrder");
    assert_eq!(desk.register("d", 3, &[B]), format!("ok {B}"));
    desk.seconds = 65;
    assert_eq!(desk.register("c", 1, &["sip:carol@192.0.2.9"]), format!("ok {B} sip:carol@192.0.2.9"));
}

#[test]
fn contacts_are_equal_by_the_rules_of_rfc_3261_19_1_4() {
    let mut desk = Desk::new();
    desk.register("a", 1, &["sip:alice@Phone.Example.COM;transport=udp"]);
    let line = desk.register("a", 2, &["sip:%61lice@phone.example.com;Transport=UDP"]);
    assert_eq!(line, "ok sip:%61lice@phone.example.com;Transport=UDP");
    assert_eq!(desk.register("a", 3, &["sip:ALICE@phone.example.com;transport=udp"]).split(' ').count(), 3);
}

#[test]
fn max_contacts_bounds_the_result_not_a_refresh() {
    let mut desk = Desk::new();
    assert_eq!(desk.register("a", 1, &["sip:1@h", "sip:2@h", "sip:3@h"]), "ok sip:1@h sip:2@h sip:3@h");
    assert_eq!(desk.register("b", 1, &["sip:4@h"]), "TooManyContacts { limit: 3 }");
    assert_eq!(desk.register("a", 2, &["sip:2@h"]), "ok sip:1@h sip:2@h sip:3@h");
    assert_eq!(desk.register("a", 3, &["sip:4@h", "sip:1@h;expires=0"]), "ok sip:2@h sip:3@h sip:4@h");
    assert_eq!(desk.register("a", 4, &["sip:2@h;expires=60", "sip:2@h;expires=0"]), "ok sip:3@h sip:4@h", "last word");
}

#[test]
fn expire_removes_only_what_was_not_refreshed() {
    let mut desk = Desk::new();
    desk.register("a", 1, &["sip:alice@192.0.2.7:5060;expires=60", "sip:alice@192.0.2.8;expires=90"]);
    desk.seconds = 59;
    assert_eq!(desk.expire(), 0);
    desk.seconds = 60;
    let due = desk.store.due(LogTime(60_000), 10);
    assert_eq!(due.len(), 1);
    desk.register("a", 2, &["sip:alice@192.0.2.7:5060;expires=60"]);
    desk.apply(0, &due[0]);
    assert_eq!(expires_at(&desk), [120, 90], "the refresh came first in the log");
    desk.seconds = 120;
    assert_eq!((desk.expire(), expires_at(&desk)), (2, vec![]));
    assert_eq!(desk.store.next_expiry(), None);
    assert_eq!(desk.register("a", 1, &[A]), "OutOfOrder");
}

#[test]
fn a_subscriber_is_added_changed_removed_with_its_bindings() {
    let mut desk = Desk::new();
    let Command::PutSubscriber { subscriber, .. } = put("alice") else { panic!() };
    let only_new = Command::PutSubscriber { subscriber, only_new: true };
    assert_eq!(say(&desk.apply(1, &only_new)), "done");
    assert_eq!(say(&desk.apply(2, &only_new)), "Exists");
    assert_eq!(say(&desk.apply(3, &put("alice"))), "done");
    desk.register("a", 1, &[A]);
    let remove = Command::RemoveSubscriber { aor: alice() };
    let level = Level(desk.store.level().0 + 1);
    let (changes, _) = desk.store.apply(level, LogTime(0), IdempotenceKey(4), &remove);
    let gone = |key| Change::Remove(key);
    assert_eq!(changes, [gone(RecordKey::Subscriber(alice())), gone(RecordKey::Bindings(alice()))]);
    assert_eq!(say(&desk.apply(5, &remove)), "NoSuchSubscriber");
    assert_eq!(desk.register("a", 2, &[A]), "NoSuchSubscriber", "it was on its way when the subscriber went");
    desk.apply(6, &put("alice"));
    assert_eq!(desk.register("a", 3, &[A]), format!("ok {A}"));
}

#[test]
fn the_sum_is_that_of_the_records_and_counts_are_right() {
    let mut desk = Desk::new();
    for (n, user) in ["alice", "bob", "carol"].iter().enumerate() {
        desk.apply(n as u128, &put(user));
    }
    desk.register("a", 1, &[A, B]);
    desk.apply(9, &Command::RemoveSubscriber { aor: Aor::new("bob", "rack.test") });
    let mut sum = RecordSum::new(&crate::testing::SUM_KEY);
    desk.store.records_after(None).for_each(|r| sum.add(&r));
    assert_eq!(
        (desk.store.sum(), desk.store.subscriber_count(), desk.store.registration_counts()),
        (sum.value(), 2, (1, 2))
    );
    let keys: Vec<RecordKey> = desk.store.records_after(None).map(|r| r.key()).collect();
    for (i, key) in keys.iter().enumerate() {
        assert!(desk.store.records_after(Some(key)).map(|r| r.key()).eq(keys[i + 1..].iter().cloned()));
    }
}

mod any_log {
    use super::*;
    use crate::testing::{SUM_KEY, register_of};
    use common::location::command::RequestedContact;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn command() -> impl Strategy<Value = Command> {
        let user = prop::sample::select(vec!["ann", "ben", "cleo"]);
        let contact = (0..4u8, prop::sample::select(vec![0u32, 30, 90]));
        let contacts = prop::collection::vec(contact, 0..3);
        (user, 0..3u8, 1..6u32, contacts, 0..8u8).prop_map(|(user, call, cseq, contacts, kind)| match kind {
            0 => put(user),
            1 => Command::RemoveSubscriber { aor: Aor::new(user, "rack.test") },
            2 => Command::Register(register_of(Aor::new(user, "rack.test"), &format!("call{call}"), cseq, &["*"])),
            _ => {
                let mut register = register_of(Aor::new(user, "rack.test"), &format!("call{call}"), cseq, &[]);
                let contact = |(n, expires_s)| RequestedContact {
                    contact: format!("sip:{n}@192.0.2.7"),
                    expires_s,
                    q_thousandths: 500,
                    instance: String::new(),
                };
                register.what =
                    common::location::RequestedBinding::Contacts(contacts.into_iter().map(contact).collect());
                Command::Register(register)
            }
        })
    }

    proptest! {
        /// Whatever the log holds: a replica that follows the changes has the records and the sum, a second store has the
        /// same outcomes, and what is not bound any more is not waited for.
        #[test]
        fn replicas_and_second_stores_agree(log in prop::collection::vec((command(), 0..40u64, 0..60u128), 1..60)) {
            let (mut one, mut two) = (Store::new(SUM_KEY), Store::new(SUM_KEY));
            let mut replica = BTreeMap::new();
            let mut seconds = 0;
            for (command, pause, key) in log {
                seconds += pause;
                let time = LogTime(seconds * 1000);
                let mut entries = one.due(time, 10);
                entries.push(command);
                for command in entries {
                    let level = Level(one.level().0 + 1);
                    let (changes, outcome) = one.apply(level, time, IdempotenceKey(key), &command);
                    prop_assert_eq!(two.apply(level, time, IdempotenceKey(key), &command), (changes.clone(), outcome));
                    for change in changes {
                        match change {
                            Change::Put(record) => drop(replica.insert(record.key(), record)),
                            Change::Remove(key) => drop(replica.remove(&key)),
                        }
                    }
                }
                prop_assert!(replica.values().cloned().eq(one.records_after(None)));
                let mut sum = RecordSum::new(&SUM_KEY);
                replica.values().for_each(|r| sum.add(r));
                prop_assert_eq!(one.sum(), sum.value());
                let (_, contacts) = one.registration_counts();
                prop_assert_eq!(one.due(LogTime(u64::MAX), 1_000).len(), contacts);
            }
        }
    }
}
