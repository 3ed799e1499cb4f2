//! Idempotence keys that were applied not long ago, with what came of them. Bounded by log time and by number, both
//! decided by the log alone, so that every server forgets the same key at the same level.

use super::MEMORY_MS;
use common::ids::Level;
use common::location::{IdempotenceKey, LogTime, Outcome, Refusal};
use std::collections::{BTreeMap, VecDeque};

/// At most so many keys; with more commands than this in 64 s the oldest are forgotten sooner.
const MOST: usize = 262_144;

#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Accepted(Level),
    Refused(Level, Refusal),
}

impl Verdict {
    pub fn of(outcome: &Outcome) -> Verdict {
        match outcome {
            Outcome::Registered { level, .. } | Outcome::Done { level } => Verdict::Accepted(*level),
            Outcome::Refused { level, refusal } => Verdict::Refused(*level, refusal.clone()),
        }
    }
}

#[derive(Default)]
pub(super) struct Seen {
    verdicts: BTreeMap<IdempotenceKey, Verdict>,
    order: VecDeque<(LogTime, IdempotenceKey)>,
}

impl Seen {
    pub fn get(&self, key: IdempotenceKey) -> Option<&Verdict> {
        self.verdicts.get(&key)
    }

    pub fn put(&mut self, key: IdempotenceKey, time: LogTime, verdict: Verdict) {
        self.verdicts.insert(key, verdict);
        self.order.push_back((time, key));
        if self.order.len() > MOST {
            self.drop_oldest();
        }
    }

    pub fn forget(&mut self, now: LogTime) {
        while self.order.front().is_some_and(|(at, _)| at.0 + MEMORY_MS <= now.0) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.verdicts.remove(&key);
        }
    }
}
