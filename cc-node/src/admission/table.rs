//! The owner's side: which calls are counted under each key of its slots, and who holds each. What it hears from a holder is
//! ordered by the holder's own numbers, for each call under each key.
//!
//! Calls whose holder has died stay counted until whoever goes on with them says so, or for 2 s. An owner that has just
//! become one knows nothing for 500 ms: so long holders take at most to tell it.

use super::{CallNo, Item, Key, Verdict, Want, Word};
use ahash::RandomState;
use common::placement::Placement;
use common::time::{Duration, Time};
use common::wire::packet::Sender as Post;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// An owner knows of all calls so long after it has become one.
pub const LEARNS: Duration = Duration::from_millis(500);
/// A call of a dead holder goes on elsewhere within this, or nowhere.
pub const ORPHANED: Duration = Duration::from_secs(2);
/// What is over is remembered for so long: no datagram that is older is heard (`common::wire::proxy::FRESH`).
const REMEMBERED: Duration = Duration::from_secs(6);
/// So many at most, the oldest go first.
const MOST_REMEMBERED: usize = 65_536;

/// Who holds a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Holder(Post),
    /// The one that has died has a number among the deaths.
    Dead(u64),
}

struct Death {
    at: Time,
    number: u64,
    calls: Vec<Item>,
}

pub struct Table {
    us: Post,
    /// Calls under keys, at most.
    room: usize,
    count: usize,
    keys: HashMap<Key, BTreeMap<CallNo, Of>, RandomState>,
    /// The same by holder, each as of which word of it.
    holders: BTreeMap<Post, BTreeMap<Item, u64>>,
    /// The newest word by which a call was over, and whose that was.
    over: HashMap<Item, (Post, u64), RandomState>,
    over_since: VecDeque<(Time, Item, u64)>,
    deaths: VecDeque<Death>,
    died: u64,
    placement: Arc<Placement>,
    /// Those before it that were replaced a short while ago, and when.
    replaced: VecDeque<(Time, Arc<Placement>)>,
}

impl Table {
    pub fn new(us: Post, room: usize) -> Table {
        Table {
            us,
            room,
            count: 0,
            keys: HashMap::with_hasher(RandomState::with_seeds(41, 42, 43, 44)),
            holders: BTreeMap::new(),
            over: HashMap::with_hasher(RandomState::with_seeds(45, 46, 47, 48)),
            over_since: VecDeque::new(),
            deaths: VecDeque::new(),
            died: 0,
            placement: Arc::new(Placement::empty()),
            replaced: VecDeque::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn count(&self, key: Key) -> usize {
        self.keys.get(&key).map_or(0, BTreeMap::len)
    }

    /// What a holder says, and the answer to it.
    pub fn hear(&mut self, now: Time, from: Post, word: Word) -> Option<Word> {
        // Of one that does not live by our placement, or does not yet, nothing is counted: it says it again.
        let lives = self.placement.live(from.node) == Some(from.boot);
        match word {
            Word::May { n, call, wants } => {
                let verdict = |want: &Want| if lives { self.may(now, from, n, call, *want) } else { Verdict::Unknown };
                Some(Word::Says { n, verdicts: wants.iter().map(verdict).collect() })
            }
            Word::Told { n, mine, over } if lives => {
                // Its placement may be ahead of ours: what we do not count yet is to be told again.
                let ours = mine.iter().all(|(key, _)| self.owns(&self.placement, *key));
                mine.into_iter().for_each(|item| self.put(from, n, item));
                over.into_iter().for_each(|item| self.ends(now, from, n, item));
                ours.then(|| Word::Noted { n: vec![n] })
            }
            Word::Check { n, first, last, calls } if lives => {
                self.check(from, n, (first, last), &calls);
                None
            }
            _ => None,
        }
    }

    fn may(&mut self, now: Time, from: Post, n: u64, call: CallNo, want: Want) -> Verdict {
        let Want { key, limit } = want;
        if !self.knows(now, key) || self.count >= self.room {
            return Verdict::Unknown;
        }
        let counted = self.keys.get(&key).is_some_and(|calls| calls.contains_key(&call));
        if !counted && self.count(key) >= limit as usize {
            return Verdict::Full;
        }
        self.put(from, n, (key, call));
        Verdict::Room
    }

    /// Whether everybody has had the time to tell us of this key's calls.
    fn knows(&self, now: Time, key: Key) -> bool {
        let lately = self.replaced.iter().filter(|(at, _)| now.since(*at) < LEARNS);
        self.owns(&self.placement, key) && lately.into_iter().all(|(_, placement)| self.owns(placement, key))
    }

    fn owns(&self, placement: &Placement, key: Key) -> bool {
        placement.owner(key.0.slot()) == Some(self.us.node) && placement.live(self.us.node) == Some(self.us.boot)
    }

    /// It is this holder's, as of this word of it.
    fn put(&mut self, holder: Post, n: u64, item: Item) {
        let newer = |(whose, over): &(Post, u64)| *whose == holder && *over > n;
        if !self.owns(&self.placement, item.0) || self.over.get(&item).is_some_and(newer) {
            return;
        }
        let known = self.keys.get(&item.0).and_then(|calls| calls.get(&item.1)).copied();
        match known {
            None if self.count >= self.room => return,
            None => self.count += 1,
            Some(Of::Holder(before)) if before != holder => self.forget_of(before, item),
            Some(_) => {}
        }
        self.keys.entry(item.0).or_default().insert(item.1, Of::Holder(holder));
        let newest = self.holders.entry(holder).or_default().entry(item).or_insert(n);
        *newest = n.max(*newest);
    }

    fn ends(&mut self, now: Time, holder: Post, n: u64, item: Item) {
        if self.as_of(holder, item).is_some_and(|as_of| as_of <= n) {
            self.forget_of(holder, item);
            self.remove(item);
        }
        let (whose, newest) = self.over.entry(item).or_insert((holder, n));
        if *whose != holder || *newest < n {
            (*whose, *newest) = (holder, n);
        }
        self.over_since.push_back((now, item, n));
        if self.over_since.len() > MOST_REMEMBERED {
            self.forget_oldest();
        }
    }

    /// A holder's calls in a range, as of a word of it: what it has not named, and what is no newer, is over.
    fn check(&mut self, holder: Post, n: u64, (first, last): (Item, Item), calls: &[Item]) {
        if first > last {
            return;
        }
        let named: BTreeSet<Item> = calls.iter().copied().collect();
        let its = self.holders.get(&holder);
        let range = its.into_iter().flat_map(|its| its.range(first..=last));
        let gone = range.filter(|(item, as_of)| **as_of <= n && !named.contains(item)).map(|(item, _)| *item);
        for item in gone.collect::<Vec<Item>>() {
            self.forget_of(holder, item);
            self.remove(item);
        }
        named.into_iter().for_each(|item| self.put(holder, n, item));
    }

    fn as_of(&self, holder: Post, item: Item) -> Option<u64> {
        self.holders.get(&holder)?.get(&item).copied()
    }

    fn forget_of(&mut self, holder: Post, item: Item) {
        if let Some(its) = self.holders.get_mut(&holder) {
            its.remove(&item);
            if its.is_empty() {
                self.holders.remove(&holder);
            }
        }
    }

    fn remove(&mut self, (key, call): Item) {
        let Some(calls) = self.keys.get_mut(&key) else { return };
        self.count -= usize::from(calls.remove(&call).is_some());
        if calls.is_empty() {
            self.keys.remove(&key);
        }
    }

    /// Another placement stands: keys of other owners are theirs, and what dead holders had waits to be told by others.
    pub fn placed(&mut self, now: Time, placement: &Arc<Placement>) {
        let before = std::mem::replace(&mut self.placement, placement.clone());
        self.replaced.push_back((now, before));
        self.replaced.retain(|(at, _)| now.since(*at) < LEARNS);
        let lost: Vec<Key> = self.keys.keys().filter(|key| !self.owns(placement, **key)).copied().collect();
        for key in lost {
            for (call, of) in self.keys.remove(&key).unwrap_or_default() {
                self.count -= 1;
                if let Of::Holder(holder) = of {
                    self.forget_of(holder, (key, call));
                }
            }
        }
        let dead = |post: &Post| placement.live(post.node) != Some(post.boot);
        let dead: Vec<Post> = self.holders.keys().copied().filter(dead).collect();
        for post in dead {
            self.died += 1;
            let calls: Vec<Item> = self.holders.remove(&post).unwrap_or_default().into_keys().collect();
            for (key, call) in &calls {
                if let Some(of) = self.keys.get_mut(key).and_then(|calls| calls.get_mut(call)) {
                    *of = Of::Dead(self.died);
                }
            }
            self.deaths.push_back(Death { at: now, number: self.died, calls });
        }
    }

    pub fn tick(&mut self, now: Time) {
        while self.deaths.front().is_some_and(|death| death.at + ORPHANED <= now) {
            let Some(death) = self.deaths.pop_front() else { break };
            for item in death.calls {
                let of = self.keys.get(&item.0).and_then(|calls| calls.get(&item.1));
                if of == Some(&Of::Dead(death.number)) {
                    self.remove(item);
                }
            }
        }
        while self.over_since.front().is_some_and(|(since, ..)| *since + REMEMBERED <= now) {
            self.forget_oldest();
        }
    }

    pub fn next_due(&self) -> Option<Time> {
        let orphans = self.deaths.front().map(|death| death.at + ORPHANED);
        let over = self.over_since.front().map(|(since, ..)| *since + REMEMBERED);
        [orphans, over].into_iter().flatten().min()
    }

    fn forget_oldest(&mut self) {
        let Some((_, item, n)) = self.over_since.pop_front() else { return };
        if self.over.get(&item).is_some_and(|(_, newest)| *newest == n) {
            self.over.remove(&item);
        }
    }
}
