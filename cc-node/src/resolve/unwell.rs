//! Servers that timed out or said 503 (RFC 3263 §4.3, RFC 3261 §21.5.4): for a time they are tried last. They are never
//! left out altogether: a call that has no other server may as well find this one recovered.

use super::Hop;
use common::time::{Duration, Time};
use std::collections::BTreeMap;

/// The first failure counts this long, doubling with each that follows before it has answered again …
const FIRST: Duration = Duration::from_secs(30);
/// … up to this. A Retry-After is believed up to this, too: one wrong header must not empty a trunk for a day.
const LONGEST: Duration = Duration::from_secs(600);

pub struct Unwell {
    most: usize,
    hops: BTreeMap<Hop, Spell>,
}

struct Spell {
    until: Time,
    pause: Duration,
}

impl Unwell {
    pub fn new(most: usize) -> Unwell {
        Unwell { most, hops: BTreeMap::new() }
    }

    /// It timed out, could not be reached, or said 503 (`retry_after`: with that header).
    pub fn failed(&mut self, now: Time, hop: Hop, retry_after: Option<Duration>) {
        if !self.hops.contains_key(&hop) && self.hops.len() >= self.most {
            // The one that is soonest well again makes room.
            if let Some(soonest) = self.hops.iter().min_by_key(|(hop, spell)| (spell.until, **hop)).map(|(hop, _)| *hop)
            {
                self.hops.remove(&soonest);
            }
        }
        // Long ago is another story.
        let before = self.hops.get(&hop).filter(|spell| now < spell.until + LONGEST);
        // Calls that were under way together fail together: that is one failure.
        if let Some(spell) = before.filter(|spell| spell.until > now && retry_after.is_none()) {
            let until = spell.until;
            self.hops.entry(hop).and_modify(|spell| spell.until = until.max(now + FIRST));
            return;
        }
        let pause = before.map_or(FIRST, |spell| (spell.pause * 2).min(LONGEST));
        let lasts = retry_after.unwrap_or(pause).min(LONGEST);
        let until = before.map_or(now, |spell| spell.until).max(now + lasts);
        self.hops.insert(hop, Spell { until, pause });
    }

    /// It answered (anything but 503).
    pub fn succeeded(&mut self, hop: &Hop) {
        self.hops.remove(hop);
    }

    pub fn is_unwell(&self, now: Time, hop: &Hop) -> bool {
        self.hops.get(hop).is_some_and(|spell| spell.until > now)
    }

    /// Those that are well first, each part in its order.
    pub fn put_last(&self, now: Time, hops: &mut [Hop]) {
        if !self.hops.is_empty() {
            hops.sort_by_key(|hop| self.is_unwell(now, hop));
        }
    }

    pub fn len(&self) -> usize {
        self.hops.len()
    }
}
