//! What a holder has told, and has to tell, one owner: which calls are its own under the owner's keys. What is new goes in
//! numbered letters that are repeated until they are acknowledged; now and then, a part at a time, the whole is said again,
//! so that nothing stays wrong for ever.

use super::{CallNo, Item, Key, Word};
use crate::effect::Over;
use common::call_hash::CallHash;
use common::time::{Duration, Time};
use std::collections::{BTreeMap, BTreeSet};

/// A letter goes out again so long after each time; then it is given up.
const AGAIN_MS: [u64; 7] = [10, 20, 40, 80, 160, 320, 640];
/// Letters that may be on their way to one owner.
const LETTERS: usize = 16;
/// Calls in a letter: it fits into a datagram.
const IN_A_LETTER: usize = 64;
/// Parts of the whole are so far apart, and rounds begin so far apart.
const PART: Duration = Duration::from_millis(50);
const ROUND: Duration = Duration::from_secs(1);
/// Rounds in which an empty book is still said to be empty.
const EMPTY_ROUNDS: u8 = 3;

const FIRST: Item = (Key(CallHash(0)), CallNo(0));
const LAST: Item = (Key(CallHash(u64::MAX)), CallNo(u64::MAX));

struct Letter {
    mine: Vec<Item>,
    over: Vec<Item>,
    sent: u8,
    due: Time,
}

impl Letter {
    fn word(&self, n: u64) -> Word {
        Word::Told { n, mine: self.mine.clone(), over: self.over.clone() }
    }
}

pub struct Book {
    calls: BTreeSet<Item>,
    /// Not told yet: whether it is ours, or over.
    news: BTreeMap<Item, bool>,
    letters: BTreeMap<u64, Letter>,
    /// Where the next part of the whole begins, and when it is said.
    part_from: Item,
    part_due: Time,
    round_began: Time,
    empty_rounds: u8,
    /// They take the planes in turn.
    parts: u8,
}

impl Book {
    pub fn new(now: Time) -> Book {
        Book {
            calls: BTreeSet::new(),
            news: BTreeMap::new(),
            letters: BTreeMap::new(),
            part_from: FIRST,
            part_due: now + ROUND,
            round_began: now,
            empty_rounds: 0,
            parts: 0,
        }
    }

    /// It is ours; `known`: the owner has counted it.
    pub fn begins(&mut self, item: Item, known: bool) {
        self.calls.insert(item);
        match known {
            true => self.news.remove(&item),
            false => self.news.insert(item, true),
        };
    }

    /// It is not, or not any more.
    pub fn ends(&mut self, item: Item) {
        self.calls.remove(&item);
        self.news.insert(item, false);
    }

    pub fn noted(&mut self, n: u64) {
        self.letters.remove(&n);
    }

    /// What has not been told. `next`: gives numbers.
    pub fn write(&mut self, now: Time, next: &mut u64, out: &mut Vec<(Over, Word)>) {
        while !self.news.is_empty() && self.letters.len() < LETTERS {
            let mut letter = Letter { mine: Vec::new(), over: Vec::new(), sent: 0, due: now };
            while letter.mine.len() + letter.over.len() < IN_A_LETTER {
                let Some((item, ours)) = self.news.pop_first() else { break };
                if ours { letter.mine.push(item) } else { letter.over.push(item) }
            }
            *next += 1;
            self.letters.insert(*next, letter);
            self.send(now, *next, out);
        }
    }

    fn send(&mut self, now: Time, n: u64, out: &mut Vec<(Over, Word)>) {
        let Some(letter) = self.letters.get_mut(&n) else { return };
        let Some(again) = AGAIN_MS.get(usize::from(letter.sent)) else {
            self.letters.remove(&n);
            return;
        };
        letter.due = now + Duration::from_millis(*again);
        out.push((Over::InTurn(letter.sent), letter.word(n)));
        letter.sent += 1;
    }

    /// Repeats what is due. `upto`: the newest word that the owner may have heard about calls that are decided. False: there
    /// is nothing in this book any more.
    pub fn tick(&mut self, now: Time, upto: u64, out: &mut Vec<(Over, Word)>) -> bool {
        if now < self.next_due() {
            return true;
        }
        let due: Vec<u64> = self.letters.iter().filter(|(_, letter)| letter.due <= now).map(|(n, _)| *n).collect();
        due.into_iter().for_each(|n| self.send(now, n, out));
        if self.part_due <= now {
            self.say_part(now, upto, out);
        }
        self.empty_rounds < EMPTY_ROUNDS
    }

    fn say_part(&mut self, now: Time, n: u64, out: &mut Vec<(Over, Word)>) {
        let first = self.part_from;
        let mut rest = self.calls.range(first..);
        let calls: Vec<Item> = rest.by_ref().take(IN_A_LETTER).copied().collect();
        let more = rest.next().is_some();
        if first == FIRST {
            self.round_began = now;
        }
        // The next part begins with the last of this one, so that nothing between the two is left out.
        let last = calls.last().copied().filter(|_| more).unwrap_or(LAST);
        let empty = self.calls.is_empty() && self.news.is_empty() && self.letters.is_empty();
        self.empty_rounds = if empty { self.empty_rounds + 1 } else { 0 };
        self.part_from = if more { last } else { FIRST };
        self.part_due = if more { now + PART } else { (self.round_began + ROUND).max(now + PART) };
        self.parts = self.parts.wrapping_add(1);
        out.push((Over::InTurn(self.parts), Word::Check { n, first, last, calls }));
    }

    pub fn next_due(&self) -> Time {
        self.letters.values().map(|letter| letter.due).fold(self.part_due, Time::min)
    }

    /// Takes out what is another owner's.
    pub fn part_with(&mut self, item: Item) {
        self.calls.remove(&item);
        self.news.remove(&item);
    }
}
