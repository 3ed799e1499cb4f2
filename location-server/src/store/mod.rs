//! The database at a level: a pure state machine over the log. `server` feeds it every entry in log order, at start and
//! in service; the same entries give the same state, outcomes and sum on every server.

mod expiry;
mod register;
mod seen;
mod tombstones;

#[cfg(test)]
mod tests;

use common::ids::Level;
use common::location::{
    Aor, Binding, Bindings, Change, Command, IdempotenceKey, LogTime, Outcome, Record, RecordKey, RecordSum, Refusal,
    RegisterCommand, Subscriber,
};
use expiry::ExpiryQueue;
use register::{Held, Verdict};
use seen::{Seen, Verdict as SeenVerdict};
use std::collections::BTreeMap;
use std::ops::Bound;
use tombstones::Tombstones;

/// Log time for which tombstones and idempotence keys are kept: twice the 32 s that a SIP transaction may take.
pub const MEMORY_MS: u64 = 64_000;

/// What stood under a key before the last [`Store::apply`], `None` where nothing did.
pub type Replaced = Vec<(RecordKey, Option<Record>)>;

pub struct Store {
    level: Level,
    time: LogTime,
    subscribers: BTreeMap<Aor, Subscriber>,
    bindings: BTreeMap<Aor, Vec<Held>>,
    tombstones: Tombstones,
    expiry: ExpiryQueue,
    seen: Seen,
    sum: RecordSum,
    replaced: Replaced,
    contacts: usize,
}

impl Store {
    /// An empty database at level 0. `sum_key` is the rack's key of the record sum (`Keys::record_sum`).
    pub fn new(sum_key: [u8; 16]) -> Store {
        Store {
            level: Level(0),
            time: LogTime(0),
            subscribers: BTreeMap::new(),
            bindings: BTreeMap::new(),
            tombstones: Tombstones::default(),
            expiry: ExpiryQueue::default(),
            seen: Seen::default(),
            sum: RecordSum::new(&sum_key),
            replaced: Vec::new(),
            contacts: 0,
        }
    }

    /// Applies the entry of `level`. The changes are what replicas do; the outcome is what the asker is told.
    /// A refused or repeated command changes nothing but still is a level.
    pub fn apply(
        &mut self,
        level: Level,
        time: LogTime,
        key: IdempotenceKey,
        command: &Command,
    ) -> (Vec<Change>, Outcome) {
        self.level = level;
        self.time = self.time.max(time);
        self.replaced.clear();
        self.tombstones.forget(self.time);
        self.seen.forget(self.time);
        // An expiry names the binding's version: repeating it has no effect anyway, and it has no asker.
        if let Command::Expire { aor, contact, version } = command {
            let changes = self.expire(aor, contact, *version);
            return (changes, Outcome::Done { level });
        }
        if let Some(verdict) = self.seen.get(key) {
            let verdict = verdict.clone();
            return (Vec::new(), self.again(verdict, command));
        }
        let (changes, outcome) = match command {
            Command::Register(register) => self.register(register),
            Command::PutSubscriber { subscriber, only_new } => self.put_subscriber(subscriber, *only_new),
            Command::RemoveSubscriber { aor } => self.remove_subscriber(aor),
            Command::Expire { .. } => (Vec::new(), Outcome::Done { level }),
        };
        self.seen.put(key, self.time, SeenVerdict::of(&outcome));
        (changes, outcome)
    }

    /// A repeat: a REGISTER is answered from the bindings as they are now, anything else as it was the first time.
    fn again(&self, verdict: SeenVerdict, command: &Command) -> Outcome {
        match (verdict, command) {
            (SeenVerdict::Refused(level, refusal), _) => Outcome::Refused { level, refusal },
            (SeenVerdict::Accepted(_), Command::Register(register)) => self.registered(&register.aor),
            (SeenVerdict::Accepted(level), _) => Outcome::Done { level },
        }
    }

    fn registered(&self, aor: &Aor) -> Outcome {
        let bindings = self.bindings(aor).map_or_else(Vec::new, |b| b.bindings);
        Outcome::Registered { level: self.level, time: self.time, bindings }
    }

    fn register(&mut self, command: &RegisterCommand) -> (Vec<Change>, Outcome) {
        let level = self.level;
        let aor = &command.aor;
        if self.tombstones.subscriber_removed(aor) && !self.subscribers.contains_key(aor) {
            return (Vec::new(), Outcome::Refused { level, refusal: Refusal::NoSuchSubscriber });
        }
        let held = self.bindings.get(aor).map_or(&[][..], Vec::as_slice);
        match register::decide(held, self.tombstones.of(aor), level, self.time, command) {
            Verdict::Repeat => (Vec::new(), self.registered(aor)),
            Verdict::Refused(refusal) => (Vec::new(), Outcome::Refused { level, refusal }),
            Verdict::Set { held, buried } => {
                for (contact, ask) in buried {
                    self.tombstones.bury(aor, contact, ask, self.time);
                }
                let changes = self.set_bindings(aor, held);
                (changes, self.registered(aor))
            }
        }
    }

    fn put_subscriber(&mut self, subscriber: &Subscriber, only_new: bool) -> (Vec<Change>, Outcome) {
        let level = self.level;
        let old = self.subscribers.get(&subscriber.aor).cloned();
        if only_new && old.is_some() {
            return (Vec::new(), Outcome::Refused { level, refusal: Refusal::Exists });
        }
        self.tombstones.subscriber_added(&subscriber.aor);
        if old.as_ref() == Some(subscriber) {
            return (Vec::new(), Outcome::Done { level });
        }
        self.subscribers.insert(subscriber.aor.clone(), subscriber.clone());
        let key = RecordKey::Subscriber(subscriber.aor.clone());
        let change = self.replace(key, old.map(Record::Subscriber), Some(Record::Subscriber(subscriber.clone())));
        (change.into_iter().collect(), Outcome::Done { level })
    }

    fn remove_subscriber(&mut self, aor: &Aor) -> (Vec<Change>, Outcome) {
        let level = self.level;
        let Some(old) = self.subscribers.remove(aor) else {
            return (Vec::new(), Outcome::Refused { level, refusal: Refusal::NoSuchSubscriber });
        };
        self.tombstones.subscriber_gone(aor, self.time);
        let key = RecordKey::Subscriber(aor.clone());
        let mut changes: Vec<Change> = self.replace(key, Some(Record::Subscriber(old)), None).into_iter().collect();
        changes.extend(self.set_bindings(aor, Vec::new()));
        (changes, Outcome::Done { level })
    }

    fn expire(&mut self, aor: &Aor, contact: &str, version: Level) -> Vec<Change> {
        let Some(held) = self.bindings.get(aor) else { return Vec::new() };
        let is_it = |h: &Held| h.binding.contact == contact && h.binding.version == version;
        let Some(gone) = held.iter().find(|h| is_it(h)) else { return Vec::new() };
        // Remembered like a removal: an older REGISTER of this Call-ID that comes late must not bring it back.
        let ask = gone.ask.clone();
        let rest = held.iter().filter(|h| !is_it(h)).cloned().collect();
        self.tombstones.bury(aor, Some(contact.to_owned()), ask, self.time);
        self.set_bindings(aor, rest)
    }

    /// Puts the AOR's whole set and keeps expiry queue, counts and sum in step.
    fn set_bindings(&mut self, aor: &Aor, held: Vec<Held>) -> Vec<Change> {
        let old = self.bindings(aor);
        for binding in old.iter().flat_map(|b| &b.bindings) {
            self.expiry.remove(aor, binding);
            self.contacts -= 1;
        }
        for h in &held {
            self.expiry.add(aor, &h.binding);
            self.contacts += 1;
        }
        let new = bindings_of(aor, &held);
        if held.is_empty() {
            self.bindings.remove(aor);
        } else {
            self.bindings.insert(aor.clone(), held);
        }
        let key = RecordKey::Bindings(aor.clone());
        self.replace(key, old.map(Record::Bindings), new.map(Record::Bindings)).into_iter().collect()
    }

    /// Accounts for one record that became another; says what replicas must do.
    fn replace(&mut self, key: RecordKey, old: Option<Record>, new: Option<Record>) -> Option<Change> {
        if old == new {
            return None;
        }
        if let Some(old) = &old {
            self.sum.remove(old);
        }
        if let Some(new) = &new {
            self.sum.add(new);
        }
        self.replaced.push((key.clone(), old));
        Some(new.map_or(Change::Remove(key), Change::Put))
    }

    /// Expiries that are due at `now`, oldest first, at most `limit`.
    pub fn due(&self, now: LogTime, limit: usize) -> Vec<Command> {
        self.expiry.due(now, limit)
    }

    /// When the next binding ends.
    pub fn next_expiry(&self) -> Option<LogTime> {
        self.expiry.next()
    }

    pub fn level(&self) -> Level {
        self.level
    }

    /// Log time of the entry that was applied last.
    pub fn time(&self) -> LogTime {
        self.time
    }

    /// Sum modulo 2^128 over the keyed hashes of all records.
    pub fn sum(&self) -> u128 {
        self.sum.value()
    }

    /// What the last [`Store::apply`] replaced; a reload under way keeps it (see `replicate::reload`).
    pub fn replaced(&self) -> &Replaced {
        &self.replaced
    }

    pub fn subscriber(&self, aor: &Aor) -> Option<&Subscriber> {
        self.subscribers.get(aor)
    }

    pub fn bindings(&self, aor: &Aor) -> Option<Bindings> {
        bindings_of(aor, self.bindings.get(aor)?)
    }

    pub fn subscriber_count(&self) -> usize {
        self.subscribers.len()
    }

    /// How many AORs have a binding, and how many bindings there are.
    pub fn registration_counts(&self) -> (usize, usize) {
        (self.bindings.len(), self.contacts)
    }

    /// Registered AORs of each domain, for the metric of that name. Walks all of them.
    pub fn registrations_by_domain(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for aor in self.bindings.keys() {
            match counts.get_mut(aor.domain()) {
                Some(count) => *count += 1,
                None => drop(counts.insert(aor.domain().to_owned(), 1)),
            }
        }
        counts
    }

    /// Subscribers in the order of their AORs, from behind `after`.
    pub fn subscribers_after(&self, after: Option<&Aor>) -> impl Iterator<Item = &Subscriber> {
        self.subscribers.range((behind(after), Bound::Unbounded)).map(|(_, s)| s)
    }

    /// Registered AORs with their bindings in the order of the AORs, from behind `after`.
    pub fn registrations_after(&self, after: Option<&Aor>) -> impl Iterator<Item = Bindings> {
        self.bindings.range((behind(after), Bound::Unbounded)).filter_map(|(aor, held)| bindings_of(aor, held))
    }

    /// All records in the order of their keys, from behind `after`: subscribers first, then bindings.
    pub fn records_after(&self, after: Option<&RecordKey>) -> impl Iterator<Item = Record> {
        let (subscribers, bindings) = match after {
            None => (Some(None), None),
            Some(RecordKey::Subscriber(aor)) => (Some(Some(aor)), None),
            Some(RecordKey::Bindings(aor)) => (None, Some(aor)),
        };
        let first = subscribers.map(|a| self.subscribers_after(a).cloned().map(Record::Subscriber));
        first.into_iter().flatten().chain(self.registrations_after(bindings).map(Record::Bindings))
    }
}

fn behind(after: Option<&Aor>) -> Bound<&Aor> {
    after.map_or(Bound::Unbounded, Bound::Excluded)
}

fn bindings_of(aor: &Aor, held: &[Held]) -> Option<Bindings> {
    let bindings: Vec<Binding> = held.iter().map(|h| h.binding.clone()).collect();
    (!bindings.is_empty()).then(|| Bindings { aor: aor.clone(), bindings })
}
