//! Deadlines as data: what is due, and when. A core keeps one and hands out the earliest as its `next_due`.
//!
//! Deterministic: what is due at the same moment comes out in the order of insertion. Inserting and expiring cost
//! O(log n); cancelling is O(1) and the entry's place in the heap is dropped when it surfaces.

use crate::time::Time;
use slab::Slab;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Names one deadline until it expires or is cancelled; a stale one names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    index: usize,
    sequence: u64,
}

pub struct Deadlines<K> {
    heap: BinaryHeap<Reverse<(Time, u64, usize)>>,
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
        Deadlines { heap: BinaryHeap::new(), entries: Slab::new(), sequence: 0 }
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
        self.heap.push(Reverse((at, self.sequence, index)));
        Handle { index, sequence: self.sequence }
    }

    /// What it was for, if it had not expired.
    pub fn cancel(&mut self, handle: Handle) -> Option<K> {
        if self.entries.get(handle.index).is_none_or(|(sequence, _)| *sequence != handle.sequence) {
            return None;
        }
        let (_, key) = self.entries.remove(handle.index);
        // Cancelled places must not outgrow the live ones, nor hide the earliest deadline.
        if self.heap.len() > 64 && self.heap.len() > 4 * self.entries.len() {
            let entries = &self.entries;
            self.heap.retain(|Reverse((_, sequence, index))| entries.get(*index).is_some_and(|(s, _)| s == sequence));
        }
        self.drop_cancelled();
        Some(key)
    }

    pub fn next_due(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Takes one deadline that has come by `now`; call it until there is none.
    pub fn expire(&mut self, now: Time) -> Option<K> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse((_, _, index)) = self.heap.pop()?;
        let (_, key) = self.entries.remove(index);
        self.drop_cancelled();
        Some(key)
    }

    /// Keeps the invariant that the top of the heap is live.
    fn drop_cancelled(&mut self) {
        while let Some(Reverse((_, sequence, index))) = self.heap.peek() {
            if self.entries.get(*index).is_some_and(|(s, _)| s == sequence) {
                return;
            }
            self.heap.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut d = Deadlines::new();
        for round in 0..10_000u64 {
            let handle = d.insert(Time(1_000_000 + round), round);
            d.cancel(handle);
        }
        assert!(d.is_empty() && d.heap.len() <= 64);
    }
}
