//! One subscriber's reload: the whole database as it was at one level, sent by key range while the log goes on. What an
//! entry replaces in the range that is still to come is kept here, so that the parts together are exactly that level.

use super::LeftBehind;
use crate::store::{Replaced, Store};
use common::ids::Level;
use common::location::{Record, RecordKey};
use std::collections::BTreeMap;

/// Records that a reload may have to remember; with more changes than this during one reload the subscriber starts anew.
const MOST_KEPT: usize = 262_144;

pub struct Reload {
    level: Level,
    sum: u128,
    /// Last key that was sent.
    after: Option<RecordKey>,
    /// Keys behind `after` that have changed since `level`, with the record they had then.
    kept: BTreeMap<RecordKey, Option<Record>>,
    /// Every key of the database was passed.
    done: bool,
}

pub(super) enum Part {
    Records(Vec<Record>),
    End,
}

impl Reload {
    pub(super) fn new(level: Level, sum: u128) -> Reload {
        Reload { level, sum, after: None, kept: BTreeMap::new(), done: false }
    }

    pub(super) fn level(&self) -> Level {
        self.level
    }

    pub(super) fn sum(&self) -> u128 {
        self.sum
    }

    pub(super) fn keep(&mut self, replaced: &Replaced) -> Result<(), LeftBehind> {
        for (key, old) in replaced {
            let to_come = !self.done && self.after.as_ref().is_none_or(|after| key > after);
            if to_come && !self.kept.contains_key(key) {
                self.kept.insert(key.clone(), old.clone());
            }
        }
        if self.kept.len() > MOST_KEPT { Err(LeftBehind) } else { Ok(()) }
    }

    /// The next key range: at most `most` records, and only one beyond `most_bytes` of the live database.
    pub(super) fn next(&mut self, store: &Store, most: usize, most_bytes: usize) -> Part {
        if self.done {
            return Part::End;
        }
        let mut range = BTreeMap::new();
        let mut bytes = 0;
        let mut live = store.records_after(self.after.as_ref());
        let mut until: Option<RecordKey> = None;
        for record in live.by_ref().take(most) {
            bytes += postcard::experimental::serialized_size(&record).unwrap_or(0);
            until = Some(record.key());
            range.insert(record.key(), Some(record));
            if bytes >= most_bytes {
                break;
            }
        }
        if live.next().is_none() {
            until = None;
        }
        drop(live);
        // What was kept belongs into the same range; much of it ends the range sooner.
        let (mut kept, mut cut, mut bytes) = (Vec::new(), false, 0);
        for (key, record) in &self.kept {
            kept.push(key.clone());
            bytes += postcard::experimental::serialized_size(record).unwrap_or(0);
            if kept.len() >= most || bytes >= most_bytes {
                cut = true;
                break;
            }
        }
        if cut {
            until = until.into_iter().chain(kept.last().cloned()).min();
        }
        let within = |key: &RecordKey| until.as_ref().is_none_or(|until| key <= until);
        range.retain(|key, _| within(key));
        for key in kept.into_iter().filter(within) {
            let record = self.kept.remove(&key).flatten();
            range.insert(key, record);
        }
        self.done = until.is_none();
        self.after = until.or(self.after.take());
        Part::Records(range.into_values().flatten().collect())
    }
}
