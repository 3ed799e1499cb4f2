//! What a shelf remembers beside its images, each within a bound: which letters of a holder are done with, which calls
//! are gone, and what it has asked for a moment ago.

use super::Incarnation;
use crate::record::RecordNo;
use crate::shadow::words::Post;
use ahash::RandomState;
use common::call_hash::CallHash;
use common::time::{Duration, Time};
use hashbrown::{HashMap, HashSet};
use std::collections::{BTreeMap, VecDeque};

/// Separate gaps in the numbers of one holder's letters. With so many none is taken that would make another.
const HOLES: usize = 8_192;
/// Calls that are gone.
const GONE: usize = 8_192;
/// How often one call is asked for, and how many calls within that time.
const WANT_AGAIN: Duration = Duration::from_millis(20);
const WANTS: usize = 4_096;

/// Which letters of one holder are done with. What is not is few: it was lost, or waits for what was.
#[derive(Default)]
pub struct Heard {
    /// Above it none is.
    highest: u64,
    /// Up to there all are but these, by the first of each gap to its last.
    holes: BTreeMap<u64, u64>,
}

impl Heard {
    /// The holder waits for no letter below.
    pub fn settle(&mut self, floor: u64) {
        self.highest = self.highest.max(floor.saturating_sub(1));
        while let Some((&first, &last)) = self.holes.first_key_value() {
            if first >= floor {
                return;
            }
            self.holes.pop_first();
            if last >= floor {
                self.holes.insert(floor, last);
            }
        }
    }

    pub fn knows(&self, number: u64) -> bool {
        number <= self.highest && self.hole_of(number).is_none()
    }

    pub fn has_room(&self, number: u64) -> bool {
        let splits = |(first, last)| first < number && number < last;
        let follows = number <= self.highest.saturating_add(1);
        self.holes.len() < HOLES || (follows && !self.hole_of(number).is_some_and(splits))
    }

    pub fn done(&mut self, number: u64) {
        if number > self.highest {
            let next = self.highest.saturating_add(1);
            if next < number {
                self.holes.insert(next, number - 1);
            }
            self.highest = number;
        } else if let Some((first, last)) = self.hole_of(number) {
            self.holes.remove(&first);
            if first < number {
                self.holes.insert(first, number - 1);
            }
            if number < last {
                self.holes.insert(number + 1, last);
            }
        }
    }

    fn hole_of(&self, number: u64) -> Option<(u64, u64)> {
        let (first, last) = self.holes.range(..=number).next_back()?;
        (*last >= number).then_some((*first, *last))
    }
}

/// Why a call is here no more.
#[derive(Clone, Copy)]
pub struct Last {
    pub from: Post,
    /// The letter that told so, and as of which record.
    pub letter: u64,
    pub no: RecordNo,
    /// The record after which nothing was left of it; none: it goes on elsewhere, for all we know.
    pub over: Option<RecordNo>,
}

/// The calls that went last.
pub struct Gone {
    calls: HashMap<CallHash, Last, RandomState>,
    order: VecDeque<CallHash>,
}

impl Default for Gone {
    fn default() -> Self {
        Gone { calls: HashMap::with_hasher(RandomState::with_seeds(45, 46, 47, 48)), order: VecDeque::new() }
    }
}

impl Gone {
    pub fn keep(&mut self, hash: CallHash, last: Last) {
        match self.calls.get_mut(&hash) {
            Some(known) if known.from == last.from => {
                known.letter = known.letter.max(last.letter);
                known.no = known.no.max(last.no);
                known.over = known.over.max(last.over);
            }
            Some(known) => *known = last,
            None => {
                self.calls.insert(hash, last);
                self.order.push_back(hash);
                if self.order.len() > GONE
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.calls.remove(&oldest);
                }
            }
        }
    }

    /// What this holder told of it last.
    pub fn last(&self, hash: CallHash, from: Post) -> Option<&Last> {
        self.calls.get(&hash).filter(|last| last.from == from)
    }

    /// The last record of a call of this incarnation that has ended.
    pub fn over(&self, hash: CallHash, holder: Incarnation) -> Option<RecordNo> {
        self.calls.get(&hash).filter(|last| (last.from.node, last.from.boot) == holder)?.over
    }

    /// All of this incarnation that have ended.
    pub fn all_over(&self, holder: Incarnation) -> impl Iterator<Item = (CallHash, RecordNo)> {
        self.order.iter().filter_map(move |hash| Some((*hash, self.over(*hash, holder)?)))
    }
}

/// What was asked for a moment ago.
pub struct Wants {
    asked: HashSet<CallHash, RandomState>,
    order: VecDeque<(Time, CallHash)>,
}

impl Default for Wants {
    fn default() -> Self {
        Wants { asked: HashSet::with_hasher(RandomState::with_seeds(49, 50, 51, 52)), order: VecDeque::new() }
    }
}

impl Wants {
    /// Whether it may be asked for now; then it counts as asked for.
    pub fn ask(&mut self, now: Time, hash: CallHash) -> bool {
        while self.order.front().is_some_and(|(at, _)| now.since(*at) >= WANT_AGAIN) {
            if let Some((_, asked)) = self.order.pop_front() {
                self.asked.remove(&asked);
            }
        }
        let may = self.order.len() < WANTS && self.asked.insert(hash);
        if may {
            self.order.push_back((now, hash));
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::{BootId, NodeId};

    const FROM: Post = Post { node: NodeId(2), boot: BootId(7), worker: 0 };

    fn known(heard: &Heard, numbers: std::ops::RangeInclusive<u64>) -> Vec<u64> {
        numbers.filter(|n| heard.knows(*n)).collect()
    }

    #[test]
    fn letters_are_done_with_in_any_order() {
        let mut heard = Heard::default();
        [1, 2, 9, 5].into_iter().for_each(|n| heard.done(n));
        assert_eq!(known(&heard, 1..=12), [1, 2, 5, 9]);
        assert_eq!(heard.holes.len(), 2, "gaps are kept, not numbers");
        [3, 4, 7, 7].into_iter().for_each(|n| heard.done(n));
        assert_eq!(known(&heard, 1..=12), [1, 2, 3, 4, 5, 7, 9]);
        heard.settle(7);
        assert_eq!(known(&heard, 1..=12), [1, 2, 3, 4, 5, 6, 7, 9]);
        heard.settle(4);
        assert_eq!(known(&heard, 1..=12), [1, 2, 3, 4, 5, 6, 7, 9], "an earlier letter's floor");
        heard.settle(12);
        assert_eq!(known(&heard, 1..=14), (1..=11).collect::<Vec<u64>>());
        assert!(heard.holes.is_empty());
    }

    #[test]
    fn a_floor_within_a_gap_shortens_it() {
        let mut heard = Heard::default();
        heard.done(100);
        heard.settle(50);
        assert_eq!((heard.knows(49), heard.knows(50), heard.knows(99), heard.knows(100)), (true, false, false, true));
    }

    #[test]
    fn with_too_many_gaps_no_further_one_is_made() {
        let mut heard = Heard::default();
        (1..=HOLES as u64).for_each(|n| heard.done(4 * n));
        let highest = 4 * HOLES as u64;
        assert!(!heard.has_room(highest + 2) && !heard.has_room(2));
        assert!(heard.has_room(highest + 1) && heard.has_room(1) && heard.has_room(7));
        heard.settle(4);
        assert!(heard.has_room(highest + 2), "the holder has given the first up");
    }

    #[test]
    fn of_the_calls_that_went_the_last_are_remembered() {
        let (mut gone, of) = (Gone::default(), (FROM.node, FROM.boot));
        let last = |letter, no, over| Last { from: FROM, letter, no: RecordNo(no), over };
        gone.keep(CallHash(0), last(5, 3, Some(RecordNo(3))));
        gone.keep(CallHash(0), last(4, 9, None));
        let told = |gone: &Gone| gone.last(CallHash(0), FROM).map(|last| (last.letter, last.no.0));
        assert_eq!(told(&gone), Some((5, 9)));
        assert!(gone.last(CallHash(0), Post { worker: 1, ..FROM }).is_none());
        assert_eq!(
            (gone.over(CallHash(0), of), gone.over(CallHash(0), (FROM.node, BootId(8)))),
            (Some(RecordNo(3)), None)
        );
        assert_eq!(gone.all_over(of).collect::<Vec<_>>(), [(CallHash(0), RecordNo(3))]);
        (1..=GONE as u64).for_each(|n| gone.keep(CallHash(n), last(5, 1, None)));
        assert_eq!((gone.calls.len(), gone.order.len(), told(&gone)), (GONE, GONE, None));
        gone.keep(CallHash(7), Last { from: Post { boot: BootId(8), ..FROM }, ..last(1, 1, None) });
        assert!(gone.last(CallHash(7), FROM).is_none(), "another holder's word is the last then");
    }

    #[test]
    fn a_call_is_asked_for_every_20_ms_at_most() {
        let mut wants = Wants::default();
        let ms = |ms: u64| Time(ms * 1_000);
        assert!(wants.ask(ms(0), CallHash(1)) && wants.ask(ms(5), CallHash(2)));
        assert!(!wants.ask(ms(19), CallHash(1)));
        assert!(wants.ask(ms(20), CallHash(1)) && !wants.ask(ms(20), CallHash(2)));
        let asked = (10..=20 + WANTS as u64).filter(|n| wants.ask(ms(21), CallHash(*n))).count();
        assert_eq!(asked, WANTS - 2);
    }
}
