//! Deadlines as data: what is due, and when. A core keeps one and hands out the earliest as its `next_due`.
//!
//! Deterministic: what is due at the same moment comes out in the order of insertion. Most deadlines of a SIP node are
//! far (a transaction lingers for 32 s) or cancelled soon (an answer comes), and there are many: so they wait unsorted by
//! [`SPAN`]s of time, and only what has come near is in order. Inserting costs O(1), expiring O(log n) in the n deadlines
//! of a span; cancelling is O(1), and the place is dropped when its span comes.

use crate::time::Time;
use slab::Slab;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Length of a span: 2^17 µs, 131 ms.
const SPAN: u32 = 17;
/// In a span with so few places the earliest is looked for before the span comes.
const FEW: usize = 4;

/// Names one deadline until it expires or is cancelled; a stale one names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    index: usize,
    sequence: u64,
}

/// When, in which order of insertion, and where the entry is.
type Place = Reverse<(Time, u64, usize)>;

pub struct Deadlines<K> {
    /// All of the spans up to `at`. Its top is live.
    near: BinaryHeap<Place>,
    at: u64,
    /// Those of later spans, in no order.
    far: BTreeMap<u64, Vec<Place>>,
    /// Places in `far`, cancelled ones too.
    waiting: usize,
    entries: Slab<(u64, K)>,
    sequence: u64,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Deadlines::new()
    }
}

impl<K> Deadlines<K> {
    pub fn new() -> Deadlines<K> {
        Deadlines {
            near: BinaryHeap::new(),
            at: 0,
            far: BTreeMap::new(),
            waiting: 0,
            entries: Slab::new(),
            sequence: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn insert(&mut self, at: Time, key: K) -> Handle {
        self.sequence += 1;
        let index = self.entries.insert((self.sequence, key));
        let (place, span) = (Reverse((at, self.sequence, index)), at.0 >> SPAN);
        if span <= self.at {
            self.near.push(place);
        } else {
            self.far.entry(span).or_default().push(place);
            self.waiting += 1;
        }
        Handle { index, sequence: self.sequence }
    }

    /// What it was for, if it had not expired.
    pub fn cancel(&mut self, handle: Handle) -> Option<K> {
        if self.entries.get(handle.index).is_none_or(|(sequence, _)| *sequence != handle.sequence) {
            return None;
        }
        let (_, key) = self.entries.remove(handle.index);
        // Cancelled places must not outgrow the live ones.
        let places = self.near.len() + self.waiting;
        if places > 64 && places > 4 * self.entries.len() {
            self.sweep();
        }
        self.drop_cancelled();
        Some(key)
    }

    /// No deadline comes before it: the earliest one, or, where the next span has many places or only cancelled ones, where
    /// that begins.
    pub fn next_due(&self) -> Option<Time> {
        if let Some(Reverse((at, _, _))) = self.near.peek() {
            return Some(*at);
        }
        if self.is_empty() {
            return None;
        }
        let (span, places) = self.far.iter().next()?;
        let live = places.iter().filter(|place| is_live(&self.entries, place)).map(|place| place.0.0);
        let first = if places.len() <= FEW { live.min() } else { None };
        first.or(Some(Time(span << SPAN)))
    }

    /// Takes one deadline that has come by `now`; call it until there is none.
    pub fn expire(&mut self, now: Time) -> Option<K> {
        while self.near.is_empty() && self.next_span_has_come(now) {
            self.draw_near();
        }
        if self.near.peek()?.0.0 > now {
            return None;
        }
        let Reverse((_, _, index)) = self.near.pop()?;
        let (_, key) = self.entries.remove(index);
        self.drop_cancelled();
        Some(key)
    }

    fn next_span_has_come(&self, now: Time) -> bool {
        self.far.keys().next().is_some_and(|span| *span <= now.0 >> SPAN)
    }

    fn draw_near(&mut self) {
        let Some((span, mut places)) = self.far.pop_first() else { return };
        self.waiting -= places.len();
        places.retain(|place| is_live(&self.entries, place));
        self.at = span;
        self.near = places.into();
    }

    /// Keeps the top of the heap live.
    fn drop_cancelled(&mut self) {
        while self.near.peek().is_some_and(|place| !is_live(&self.entries, place)) {
            self.near.pop();
        }
    }

    fn sweep(&mut self) {
        let entries = &self.entries;
        self.near.retain(|place| is_live(entries, place));
        self.far.retain(|_, places| {
            places.retain(|place| is_live(entries, place));
            places.shrink_to(2 * places.len());
            !places.is_empty()
        });
        self.waiting = self.far.values().map(Vec::len).sum();
    }
}

fn is_live<K>(entries: &Slab<(u64, K)>, Reverse((_, sequence, index)): &Place) -> bool {
    entries.get(*index).is_some_and(|(live, _)| live == sequence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_moments_come_out_in_the_order_of_insertion() {
        let mut d = Deadlines::new();
        d.insert(Time(20), "late");
        d.insert(Time(10), "first");
        d.insert(Time(10), "second");
        assert_eq!(d.next_due(), Some(Time(10)));
        assert_eq!(d.expire(Time(9)), None);
        let out: Vec<_> = std::iter::from_fn(|| d.expire(Time(30))).collect();
        assert_eq!(out, ["first", "second", "late"]);
        assert_eq!(d.next_due(), None);
    }

    #[test]
    fn a_cancelled_deadline_never_comes_and_never_hides_the_next() {
        let mut d = Deadlines::new();
        let early = d.insert(Time(1), 'a');
        d.insert(Time(5), 'b');
        assert_eq!(d.cancel(early), Some('a'));
        assert_eq!(d.cancel(early), None);
        assert_eq!(d.next_due(), Some(Time(5)));
        let again = d.insert(Time(2), 'c');
        assert_eq!(d.cancel(early), None, "a stale handle names nothing, though its place is used again");
        assert_eq!(d.expire(Time(2)), Some('c'));
        assert_eq!(d.cancel(again), None);
        assert_eq!(d.len(), 1);
    }

    #[test]
    fn cancelled_places_are_given_back() {
        for step in [1, 1 << SPAN] {
            let mut d = Deadlines::new();
            for round in 0..10_000u64 {
                let handle = d.insert(Time(1_000_000 + round * step), round);
                d.cancel(handle);
            }
            assert!(d.is_empty() && d.near.len() + d.waiting <= 64 && d.far.len() <= 64);
        }
    }

    #[derive(Clone, Debug)]
    enum Deed {
        Insert(u64),
        Cancel(prop::sample::Index),
        Expire(u64),
    }

    fn deed() -> impl Strategy<Value = Deed> {
        // Moments within one span, over some, and far away, so that the earliest span changes both ways.
        let moment = prop_oneof![0u64..50, (0u64..40).prop_map(|n| n << (SPAN - 2)), (0u64..9).prop_map(|n| n << 36)];
        prop_oneof![
            4 => moment.clone().prop_map(Deed::Insert),
            2 => any::<prop::sample::Index>().prop_map(Deed::Cancel),
            2 => moment.prop_map(Deed::Expire),
        ]
    }

    proptest! {
        #[test]
        fn they_come_as_from_a_sorted_list(deeds in prop::collection::vec(deed(), 0..200)) {
            let mut d = Deadlines::new();
            let mut sorted = BTreeMap::new();
            let mut handles = Vec::new();
            for (n, deed) in deeds.iter().enumerate() {
                match deed {
                    Deed::Insert(at) => {
                        handles.push((d.insert(Time(*at), n), (Time(*at), n)));
                        sorted.insert((Time(*at), n), ());
                    }
                    Deed::Cancel(which) if !handles.is_empty() => {
                        let (handle, place) = *which.get(&handles);
                        prop_assert_eq!(d.cancel(handle), sorted.remove(&place).map(|()| place.1));
                    }
                    Deed::Cancel(_) => {}
                    Deed::Expire(now) => {
                        while let Some(n) = d.expire(Time(*now)) {
                            let ((at, first), ()) = sorted.pop_first().ok_or(TestCaseError::fail("too many"))?;
                            prop_assert!(first == n && at <= Time(*now));
                        }
                        prop_assert!(sorted.keys().next().is_none_or(|(at, _)| *at > Time(*now)));
                    }
                }
                let (due, first) = (d.next_due(), sorted.keys().next().map(|(at, _)| *at));
                prop_assert!(due <= first && due.is_some() == first.is_some(), "{due:?}, not {first:?}");
                prop_assert_eq!(d.len(), sorted.len());
            }
        }
    }
}
