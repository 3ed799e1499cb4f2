//! The local copy of all subscribers and bindings. Workers look up in it (through [`crate::effect::View`]) without a
//! lock; one [`Writer`], owned by the location stream's client, changes it.
//!
//! 4,096 buckets, each a small sorted array behind an atomic pointer: a change copies one bucket and swaps it. A reload
//! builds a whole new copy beside the old one and swaps that, so look-ups never see half a database.

use arc_swap::ArcSwap;
use common::ids::{HistoryId, Level};
use common::keys::Keys;
use common::location::{Aor, Bindings, Change, Entry, LogTime, Record, RecordKey, RecordSum, Subscriber};
use common::time::Time;
use siphasher::sip::SipHasher13;
use std::collections::BTreeMap;
use std::hash::Hasher;
use std::sync::Arc;

const BUCKETS: usize = 4096;

#[derive(Clone, Debug, Default)]
struct Row {
    subscriber: Option<Arc<Subscriber>>,
    bindings: Option<Arc<Bindings>>,
}

/// Sorted by AOR.
type Bucket = Vec<(Aor, Row)>;

type Buckets = Box<[ArcSwap<Bucket>]>;

/// How the replica stands; a copy for status, metrics and heartbeats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Which log this is a copy of; 0 before the first.
    pub history: HistoryId,
    /// The last level applied.
    pub level: Level,
    /// Sum of all records held: equal to the server's at an equal level.
    pub sum: u128,
    pub subscribers: u64,
    /// Contacts, not AORs.
    pub bindings: u64,
    /// Stamps and reloads whose sum differed from ours.
    pub mismatches: u64,
}

/// The log's clock as far as this node has heard it.
#[derive(Clone, Copy, Debug, Default)]
struct LogClock {
    time: LogTime,
    heard_at: Time,
    /// Stops while the log is silent: then no binding may be taken for overdue.
    stopped_at: Option<Time>,
}

/// What workers read. Every method may be called from any thread.
pub struct Replica {
    hash_key: [u8; 16],
    copy: ArcSwap<Buckets>,
    status: ArcSwap<ReplicaStatus>,
    clock: ArcSwap<LogClock>,
}

impl Replica {
    pub fn bindings(&self, aor: &Aor) -> Option<Arc<Bindings>> {
        self.row(aor, |row| row.bindings.clone())
    }

    pub fn subscriber(&self, aor: &Aor) -> Option<Arc<Subscriber>> {
        self.row(aor, |row| row.subscriber.clone())
    }

    /// The log's time now, by what was heard last and local duration since; it stands still while the log is silent.
    pub fn log_time(&self, now: Time) -> LogTime {
        let clock = self.clock.load();
        let until = clock.stopped_at.map_or(now, |stopped| stopped.min(now));
        LogTime(clock.time.0 + until.since(clock.heard_at).as_millis() as u64)
    }

    pub fn status(&self) -> Arc<ReplicaStatus> {
        self.status.load_full()
    }

    /// Registered AORs a domain, for the metrics; walks the whole replica.
    pub fn registrations_by_domain(&self) -> BTreeMap<String, u64> {
        let mut by_domain = BTreeMap::new();
        self.each_row(|aor, row| {
            if row.bindings.is_some() {
                *by_domain.entry(aor.domain().to_owned()).or_insert(0) += 1;
            }
        });
        by_domain
    }

    /// The sum computed again from the records held (the scrub, and the checkers of the simulated rack).
    pub fn scrub(&self, record_sum_key: &[u8; 16]) -> u128 {
        let mut sum = RecordSum::new(record_sum_key);
        self.each_row(|_, row| each_record(row, |record| sum.add(&record)));
        sum.value()
    }

    fn row<T>(&self, aor: &Aor, of: impl Fn(&Row) -> Option<T>) -> Option<T> {
        let copy = self.copy.load();
        let bucket = copy[bucket_of(&self.hash_key, aor)].load();
        let at = bucket.binary_search_by(|(a, _)| a.cmp(aor)).ok()?;
        of(&bucket[at].1)
    }

    fn each_row(&self, mut f: impl FnMut(&Aor, &Row)) {
        for bucket in self.copy.load().iter() {
            bucket.load().iter().for_each(|(aor, row)| f(aor, row));
        }
    }
}

/// Entries must come one level after the other.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplicaError {
    #[error("the location stream jumped from level {have} to {got}: levels between are missing")]
    Gap { have: Level, got: Level },
    #[error("the replica's sum at level {level} is {ours:032x}, the server's {theirs:032x}")]
    Sum { level: Level, ours: u128, theirs: u128 },
    #[error("a part of a reload came without the reload being announced")]
    NotLoading,
}

/// The one who changes a [`Replica`]. Keeps the running sum and a reload in the making.
pub struct Writer {
    replica: Arc<Replica>,
    sum_key: [u8; 16],
    sum: RecordSum,
    status: ReplicaStatus,
    loading: Option<Loading>,
}

struct Loading {
    history: HistoryId,
    buckets: Vec<Bucket>,
    sum: RecordSum,
    subscribers: u64,
    bindings: u64,
}

impl Writer {
    /// An empty replica at level 0 of no history.
    pub fn new(keys: &Keys) -> Writer {
        let replica = Replica {
            // Hashing by a derived key: nobody outside can fill one bucket with chosen names.
            hash_key: keys.record_sum,
            copy: ArcSwap::from_pointee((0..BUCKETS).map(|_| ArcSwap::default()).collect()),
            status: ArcSwap::default(),
            clock: ArcSwap::from_pointee(LogClock { stopped_at: Some(Time(0)), ..LogClock::default() }),
        };
        Writer {
            replica: Arc::new(replica),
            sum_key: keys.record_sum,
            sum: RecordSum::new(&keys.record_sum),
            status: ReplicaStatus::default(),
            loading: None,
        }
    }

    pub fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    pub fn status(&self) -> &ReplicaStatus {
        &self.status
    }

    /// A reload was begun and has not ended.
    pub fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// Applies the next level. One that is already in is passed over; `Ok(false)` says so.
    pub fn apply(&mut self, now: Time, entry: &Entry) -> Result<bool, ReplicaError> {
        if entry.level <= self.status.level {
            return Ok(false);
        }
        if entry.level.0 != self.status.level.0 + 1 {
            return Err(ReplicaError::Gap { have: self.status.level, got: entry.level });
        }
        for change in &entry.changes {
            self.change(change);
        }
        self.status.level = entry.level;
        self.heard(now, entry.time);
        self.publish();
        Ok(true)
    }

    /// The server starts to send its whole database; the old copy goes on serving until [`Writer::finish_reload`].
    pub fn begin_reload(&mut self, history: HistoryId) {
        self.loading = Some(Loading {
            history,
            buckets: vec![Bucket::new(); BUCKETS],
            sum: RecordSum::new(&self.sum_key),
            subscribers: 0,
            bindings: 0,
        });
    }

    pub fn load(&mut self, records: Vec<Record>) -> Result<(), ReplicaError> {
        let loading = self.loading.as_mut().ok_or(ReplicaError::NotLoading)?;
        for record in records {
            let aor = record_aor(&record).clone();
            let bucket = &mut loading.buckets[bucket_of(&self.replica.hash_key, &aor)];
            let row = row_mut(bucket, &aor);
            // A record that comes twice counts once.
            each_same_kind(row, &record, |old| loading.sum.remove(&old));
            loading.sum.add(&record);
            put(row, record);
        }
        Ok(())
    }

    /// Swaps the new copy in if its sum is the server's; else drops it and keeps the old one.
    pub fn finish_reload(&mut self, level: Level, sum: u128) -> Result<(), ReplicaError> {
        let mut loading = self.loading.take().ok_or(ReplicaError::NotLoading)?;
        if loading.sum.value() != sum {
            self.status.mismatches += 1;
            self.publish();
            return Err(ReplicaError::Sum { level, ours: loading.sum.value(), theirs: sum });
        }
        for (_, row) in loading.buckets.iter().flatten() {
            loading.subscribers += u64::from(row.subscriber.is_some());
            loading.bindings += contacts(row);
        }
        self.replica.copy.store(Arc::new(loading.buckets.into_iter().map(ArcSwap::from_pointee).collect()));
        self.sum = loading.sum;
        self.status.history = loading.history;
        self.status.level = level;
        self.status.subscribers = loading.subscribers;
        self.status.bindings = loading.bindings;
        self.publish();
        Ok(())
    }

    /// "Sum after level L": compared only when this replica is exactly there. Sets the log's clock.
    pub fn stamp(&mut self, now: Time, level: Level, sum: u128, time: LogTime) -> Result<(), ReplicaError> {
        self.heard(now, time);
        if level > self.status.level {
            return Err(ReplicaError::Gap { have: self.status.level, got: level });
        }
        if level == self.status.level && sum != self.sum.value() {
            self.status.mismatches += 1;
            self.publish();
            return Err(ReplicaError::Sum { level, ours: self.sum.value(), theirs: sum });
        }
        Ok(())
    }

    /// The log fell silent: its clock stands still from now on until it is heard again.
    pub fn silent(&mut self, now: Time) {
        self.loading = None;
        let clock = **self.replica.clock.load();
        self.replica.clock.store(Arc::new(LogClock { stopped_at: clock.stopped_at.or(Some(now)), ..clock }));
    }

    fn heard(&mut self, now: Time, time: LogTime) {
        let time = time.max(self.replica.log_time(now));
        self.replica.clock.store(Arc::new(LogClock { time, heard_at: now, stopped_at: None }));
    }

    fn change(&mut self, change: &Change) {
        let aor = match change {
            Change::Put(record) => record_aor(record),
            Change::Remove(RecordKey::Subscriber(aor) | RecordKey::Bindings(aor)) => aor,
        };
        let copy = self.replica.copy.load();
        let cell = &copy[bucket_of(&self.replica.hash_key, aor)];
        let mut bucket = Bucket::clone(&cell.load());
        let row = row_mut(&mut bucket, aor);
        self.status.subscribers -= u64::from(row.subscriber.is_some());
        self.status.bindings -= contacts(row);
        each_record(row, |record| self.sum.remove(&record));
        match change {
            Change::Put(record) => put(row, record.clone()),
            Change::Remove(RecordKey::Subscriber(_)) => row.subscriber = None,
            Change::Remove(RecordKey::Bindings(_)) => row.bindings = None,
        }
        each_record(row, |record| self.sum.add(&record));
        self.status.subscribers += u64::from(row.subscriber.is_some());
        self.status.bindings += contacts(row);
        bucket.retain(|(_, row)| row.subscriber.is_some() || row.bindings.is_some());
        cell.store(Arc::new(bucket));
    }

    fn publish(&mut self) {
        self.status.sum = self.sum.value();
        self.replica.status.store(Arc::new(self.status.clone()));
    }
}

fn bucket_of(key: &[u8; 16], aor: &Aor) -> usize {
    let mut hasher = SipHasher13::new_with_key(key);
    hasher.write(aor.as_str().as_bytes());
    hasher.finish() as usize % BUCKETS
}

fn record_aor(record: &Record) -> &Aor {
    match record {
        Record::Subscriber(s) => &s.aor,
        Record::Bindings(b) => &b.aor,
    }
}

fn row_mut<'b>(bucket: &'b mut Bucket, aor: &Aor) -> &'b mut Row {
    let at = match bucket.binary_search_by(|(a, _)| a.cmp(aor)) {
        Ok(at) => at,
        Err(at) => {
            bucket.insert(at, (aor.clone(), Row::default()));
            at
        }
    };
    &mut bucket[at].1
}

fn put(row: &mut Row, record: Record) {
    match record {
        Record::Subscriber(s) => row.subscriber = Some(Arc::new(s)),
        Record::Bindings(b) => row.bindings = Some(Arc::new(b)),
    }
}

fn contacts(row: &Row) -> u64 {
    row.bindings.as_ref().map_or(0, |b| b.bindings.len() as u64)
}

fn each_record(row: &Row, mut f: impl FnMut(Record)) {
    if let Some(s) = &row.subscriber {
        f(Record::Subscriber(Subscriber::clone(s)));
    }
    if let Some(b) = &row.bindings {
        f(Record::Bindings(Bindings::clone(b)));
    }
}

fn each_same_kind(row: &Row, like: &Record, mut f: impl FnMut(Record)) {
    each_record(row, |record| {
        if std::mem::discriminant(&record) == std::mem::discriminant(like) {
            f(record);
        }
    });
}

#[cfg(test)]
#[path = "replica_tests.rs"]
mod tests;
