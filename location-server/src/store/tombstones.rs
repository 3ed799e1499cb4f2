//! What was removed not long ago. A REGISTER that is older than a de-registration but arrives after it must not bring
//! the binding back; one that is in flight while its subscriber is deleted must not register anybody.

use super::MEMORY_MS;
use super::register::Ask;
use common::location::{Aor, LogTime};
use std::collections::{BTreeMap, BTreeSet};

/// At most so many for one AOR, the youngest are kept.
const MOST_OF_ONE: usize = 32;

pub(super) struct Tombstone {
    /// `None`: all contacts (`Contact: *`).
    pub contact: Option<String>,
    /// The REGISTER that removed it, or that it was last written by.
    pub ask: Ask,
    until: LogTime,
}

#[derive(Default)]
struct OfOne {
    contacts: Vec<Tombstone>,
    subscriber_until: Option<LogTime>,
}

#[derive(Default)]
pub(super) struct Tombstones {
    of: BTreeMap<Aor, OfOne>,
    due: BTreeSet<(LogTime, Aor)>,
}

impl Tombstones {
    pub fn of(&self, aor: &Aor) -> &[Tombstone] {
        self.of.get(aor).map_or(&[], |one| &one.contacts)
    }

    pub fn bury(&mut self, aor: &Aor, contact: Option<String>, ask: Ask, now: LogTime) {
        let until = LogTime(now.0 + MEMORY_MS);
        let one = self.of.entry(aor.clone()).or_default();
        one.contacts.retain(|t| t.contact != contact || t.ask.call_id != ask.call_id);
        if one.contacts.len() == MOST_OF_ONE {
            one.contacts.remove(0);
        }
        one.contacts.push(Tombstone { contact, ask, until });
        self.due.insert((until, aor.clone()));
    }

    pub fn subscriber_removed(&self, aor: &Aor) -> bool {
        self.of.get(aor).is_some_and(|one| one.subscriber_until.is_some())
    }

    pub fn subscriber_gone(&mut self, aor: &Aor, now: LogTime) {
        let until = LogTime(now.0 + MEMORY_MS);
        self.of.entry(aor.clone()).or_default().subscriber_until = Some(until);
        self.due.insert((until, aor.clone()));
    }

    pub fn subscriber_added(&mut self, aor: &Aor) {
        if let Some(one) = self.of.get_mut(aor) {
            one.subscriber_until = None;
        }
    }

    pub fn forget(&mut self, now: LogTime) {
        while self.due.first().is_some_and(|(until, _)| *until <= now) {
            let Some((_, aor)) = self.due.pop_first() else { return };
            let Some(one) = self.of.get_mut(&aor) else { continue };
            one.contacts.retain(|t| t.until > now);
            one.subscriber_until = one.subscriber_until.filter(|until| *until > now);
            if one.contacts.is_empty() && one.subscriber_until.is_none() {
                self.of.remove(&aor);
            }
        }
    }
}
