//! Answers by question: fresh for their TTL, kept beyond it for when no name server answers (RFC 8767), failures for a
//! short time with back-off (RFC 9520), and who waits for a question that is open. Bounded; what was used longest ago
//! goes first.

use super::known::{Judged, Known};
use super::{LookupId, Settings};
use crate::dns::{DnsAsk, DnsFailure, Question};
use common::time::{Duration, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A name server that says 0 is asked once a second all the same.
const SHORTEST_TTL: Duration = Duration::from_secs(1);
/// For a negative answer without SOA.
const UNSAID_NEGATIVE_TTL: Duration = Duration::from_secs(5);
/// After a failure, nobody asks again for this long (RFC 9520 §3.2: 1 s at least), doubling while it goes on failing …
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is known about a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Read {
    Known(Arc<Known>),
    Failed(DnsFailure),
    /// It is being asked.
    Open,
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Fresh,
    Stale,
    Failure,
}

pub struct Cache {
    settings: Arc<Settings>,
    entries: BTreeMap<Question, Entry>,
    /// Questions in the order of their last use; none that is open.
    by_use: BTreeMap<u64, Question>,
    uses: u64,
    /// With the time of the question. Numbers grow, so the first is the oldest.
    open: BTreeMap<DnsAsk, (Question, Time)>,
    next_ask: u64,
}

#[derive(Default)]
struct Entry {
    known: Option<Kept>,
    failure: Option<Failure>,
    open: Option<Open>,
    /// Its place in `by_use`, if it is not open.
    used: u64,
}

struct Kept {
    known: Arc<Known>,
    fresh_until: Time,
    stale_until: Time,
}

struct Failure {
    why: DnsFailure,
    until: Time,
    pause: Duration,
}

#[derive(Default)]
struct Open {
    waiting: BTreeSet<LookupId>,
}

/// What settled a question.
pub struct Settled {
    pub question: Question,
    pub waiting: BTreeSet<LookupId>,
    pub took: Duration,
}

impl Cache {
    pub fn new(settings: Arc<Settings>) -> Cache {
        Cache {
            settings,
            entries: BTreeMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            open: BTreeMap::new(),
            next_ask: 1,
        }
    }

    /// What is known about `question` now; `None`: it must be asked. `stale`: an expired answer will do, although the
    /// question is open.
    pub fn read(&mut self, now: Time, question: &Question, stale: bool) -> Option<(Read, Source)> {
        let entry = self.entries.get_mut(question)?;
        if entry.open.is_none() {
            self.by_use.remove(&entry.used);
            self.uses += 1;
            entry.used = self.uses;
            self.by_use.insert(self.uses, question.clone());
        }
        let kept = entry.known.as_ref();
        let known = |kept: &Kept| Read::Known(kept.known.clone());
        if let Some(kept) = kept.filter(|k| k.fresh_until > now) {
            return Some((known(kept), Source::Fresh));
        }
        let expired = kept.filter(|k| k.stale_until > now);
        let failure = entry.failure.as_ref().filter(|f| f.until > now);
        match (expired, failure, &entry.open) {
            (Some(kept), Some(_), _) => Some((known(kept), Source::Stale)),
            // It failed last time, so nobody waits to see whether it does again (RFC 8767 §5).
            (Some(kept), None, Some(_)) if stale || entry.failure.is_some() => Some((known(kept), Source::Stale)),
            (_, Some(failure), None) => Some((Read::Failed(failure.why), Source::Failure)),
            (_, _, Some(_)) => Some((Read::Open, Source::Fresh)),
            _ => None,
        }
    }

    /// Opens a question; `None` if too many are open.
    pub fn ask(&mut self, now: Time, question: &Question) -> Option<DnsAsk> {
        if self.open.len() >= self.settings.open_questions {
            return None;
        }
        let ask = DnsAsk(self.next_ask);
        self.next_ask += 1;
        if !self.entries.contains_key(question) {
            self.make_room();
        }
        let entry = self.entries.entry(question.clone()).or_default();
        self.by_use.remove(&entry.used);
        entry.open = Some(Open::default());
        self.open.insert(ask, (question.clone(), now));
        Some(ask)
    }

    /// `lookup` is told when the open question is settled; whether that is new.
    pub fn wait(&mut self, question: &Question, lookup: LookupId) -> bool {
        let open = self.entries.get_mut(question).and_then(|e| e.open.as_mut());
        open.is_some_and(|open| open.waiting.insert(lookup))
    }

    /// The question behind `ask`, while it is open.
    pub fn question(&self, ask: DnsAsk) -> Option<&Question> {
        self.open.get(&ask).map(|(question, _)| question)
    }

    /// The question that has been open longest, and since when.
    pub fn oldest_open(&self) -> Option<(DnsAsk, Time)> {
        self.open.first_key_value().map(|(ask, (_, since))| (*ask, *since))
    }

    /// Closes a question with its answer or its failure. `None`: it was closed before.
    pub fn settle(&mut self, now: Time, ask: DnsAsk, judged: Result<Judged, DnsFailure>) -> Option<Settled> {
        let (question, since) = self.open.remove(&ask)?;
        let settings = &self.settings;
        let entry = self.entries.get_mut(&question)?;
        let open = entry.open.take()?;
        match judged {
            Ok(judged) => {
                let fresh_until = now + lifetime(settings, &judged);
                let known = Arc::new(judged.known);
                entry.known = Some(Kept { known, fresh_until, stale_until: fresh_until + settings.stale });
                entry.failure = None;
            }
            Err(why) => {
                let before = entry.failure.take().map_or(Duration::ZERO, |f| f.pause);
                // A full queue of ours says nothing about the name servers.
                let longer = if why == DnsFailure::Full { FIRST_PAUSE } else { before * 2 };
                let pause = longer.clamp(FIRST_PAUSE, LONGEST_PAUSE);
                entry.failure = Some(Failure { why, until: now + pause, pause });
            }
        }
        self.uses += 1;
        entry.used = self.uses;
        self.by_use.insert(self.uses, question.clone());
        Some(Settled { question, waiting: open.waiting, took: now.since(since) })
    }

    /// Questions kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Questions without an answer yet.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    fn make_room(&mut self) {
        while self.entries.len() >= self.settings.entries {
            // Open ones stay; there are fewer of them than entries.
            let Some((_, question)) = self.by_use.pop_first() else { return };
            self.entries.remove(&question);
        }
    }
}

fn lifetime(settings: &Settings, judged: &Judged) -> Duration {
    let positive = !matches!(judged.known, Known::NoSuchName | Known::NoRecords | Known::NoService);
    let (longest, unsaid) = match positive {
        true => (settings.ttl_max, SHORTEST_TTL),
        false => (settings.negative_ttl_max, UNSAID_NEGATIVE_TTL),
    };
    let ttl = judged.ttl_s.map_or(unsaid, |s| Duration::from_secs(u64::from(s)));
    ttl.min(longest).max(SHORTEST_TTL)
}
