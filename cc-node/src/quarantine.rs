//! Messages that must not be handled again: whoever handled them panicked, or died. A peer repeats what was not answered, to
//! us or to who goes on with our calls, octet by octet the same: so a message is known by a keyed hash of its octets.

use common::time::{Duration, Time};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use std::collections::BTreeMap;
use std::fmt;

/// How long a message is shut out: twice as long as a peer repeats it (64 × T1).
pub const STAYS: Duration = Duration::from_secs(64);
/// The oldest goes when there are more.
pub const MOST: usize = 1_024;

/// The same on every node of the rack; never 0. Nobody without the rack's key can make a message that has another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// Of a SIP message as it was received.
    #[inline]
    pub fn of(key: &[u8; 16], message: &[u8]) -> Fingerprint {
        Fingerprint(SipHasher13::new_with_key(key).hash(message).max(1))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[derive(Clone, Copy)]
struct Entry {
    until: Time,
    /// It was found here; others were told of it, and told us of the rest.
    ours: bool,
    /// It has come again since.
    met: bool,
}

#[derive(Default)]
pub struct Quarantine {
    entries: BTreeMap<Fingerprint, Entry>,
    /// When the first of them is over.
    due: Option<Time>,
}

impl Quarantine {
    /// Shuts a message out for so long, at most [`STAYS`].
    pub fn add(&mut self, now: Time, message: Fingerprint, left: Duration, ours: bool) {
        let until = now + left.min(STAYS);
        if until <= now {
            return;
        }
        if self.entries.len() >= MOST && !self.entries.contains_key(&message) {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.until).map(|(message, _)| *message);
            oldest.and_then(|oldest| self.entries.remove(&oldest));
        }
        let entry = self.entries.entry(message).or_insert(Entry { until, ours, met: false });
        entry.until = entry.until.max(until);
        entry.ours |= ours;
        self.look_ahead();
    }

    /// While it is, no message need be hashed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// A message came in. None: it may be handled. Else it may not, and this is the first time since it was shut out that it
    /// came (true), or not.
    pub fn meet(&mut self, now: Time, message: Fingerprint) -> Option<bool> {
        let entry = self.entries.get_mut(&message).filter(|entry| entry.until > now)?;
        Some(!std::mem::replace(&mut entry.met, true))
    }

    /// Those that were found here, each with how long it stays, the newest first.
    pub fn ours(&self, now: Time) -> Vec<(Fingerprint, Duration)> {
        let ours = self.entries.iter().filter(|(_, entry)| entry.ours && entry.until > now);
        let mut ours: Vec<_> = ours.map(|(message, entry)| (*message, entry.until.since(now))).collect();
        ours.sort_by_key(|(_, left)| std::cmp::Reverse(*left));
        ours
    }

    pub fn has_ours(&self) -> bool {
        self.entries.values().any(|entry| entry.ours)
    }

    /// Lets those go whose time is over.
    pub fn tick(&mut self, now: Time) {
        if self.due.is_some_and(|due| due <= now) {
            self.entries.retain(|_, entry| entry.until > now);
            self.look_ahead();
        }
    }

    pub fn next_due(&self) -> Option<Time> {
        self.due
    }

    fn look_ahead(&mut self) {
        self.due = self.entries.values().map(|entry| entry.until).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time(ms * 1000)
    }

    #[test]
    fn a_message_is_known_by_all_of_its_octets_and_the_key() {
        let of = |key: u8, text: &str| Fingerprint::of(&[key; 16], text.as_bytes());
        assert_eq!(of(1, "INVITE"), of(1, "INVITE"));
        assert!(of(1, "INVITE") != of(1, "INVITE ") && of(1, "INVITE") != of(2, "INVITE"));
        assert_eq!(Fingerprint(0xab).to_string(), "00000000000000ab");
    }

    #[test]
    fn it_is_shut_out_for_64_seconds_and_the_first_time_that_it_comes_is_told() {
        let mut q = Quarantine::default();
        assert_eq!((q.is_empty(), q.next_due(), q.meet(at(0), Fingerprint(7))), (true, None, None));
        q.add(at(0), Fingerprint(7), STAYS * 9, true);
        assert_eq!(q.meet(at(500), Fingerprint(8)), None);
        assert_eq!(
            [500, 1_500, 63_999].map(|ms| q.meet(at(ms), Fingerprint(7))),
            [Some(true), Some(false), Some(false)]
        );
        assert_eq!((q.meet(at(64_000), Fingerprint(7)), q.next_due()), (None, Some(at(64_000))));
        q.tick(at(63_999));
        assert_eq!(q.len(), 1);
        q.tick(at(64_000));
        assert_eq!((q.is_empty(), q.next_due()), (true, None), "and nothing is hashed any more");
    }

    #[test]
    fn what_others_tell_is_kept_for_what_is_left_and_not_told_on() {
        let mut q = Quarantine::default();
        q.add(at(0), Fingerprint(1), Duration::from_secs(10), false);
        q.add(at(0), Fingerprint(2), STAYS, true);
        q.add(at(1_000), Fingerprint(3), STAYS, true);
        q.add(at(1_000), Fingerprint(4), Duration::ZERO, false);
        let left = Duration::from_secs;
        assert_eq!(q.ours(at(2_000)), [(Fingerprint(3), left(63)), (Fingerprint(2), left(62))]);
        assert_eq!((q.len(), q.next_due()), (3, Some(at(10_000))));
        q.add(at(9_000), Fingerprint(1), Duration::from_secs(5), false);
        q.add(at(9_000), Fingerprint(2), Duration::from_secs(5), false);
        assert_eq!(q.next_due(), Some(at(14_000)), "what is said later may last longer, never shorter");
        assert_eq!(q.ours(at(9_000)).len(), 2);
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let mut q = Quarantine::default();
        (0..=MOST as u64).for_each(|n| q.add(at(n), Fingerprint(n + 1), STAYS, true));
        assert_eq!((q.len(), q.meet(at(2_000), Fingerprint(1))), (MOST, None));
        assert_eq!(q.meet(at(2_000), Fingerprint(2)), Some(true));
        q.add(at(3_000), Fingerprint(2), STAYS, true);
        assert_eq!(q.len(), MOST, "one that is there already takes nobody's place");
    }
}
