//! Calls come and go at three nodes, over a network that loses, doubles and reorders what they say, while nodes die: against
//! a model that knows which calls there are.

use super::tests::{key_of, placement, post, worker};
use super::*;
use common::time::Duration;

const MS: u64 = 1000;
const LIMIT: u32 = 12;

/// An LCG; the same storm for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.below(n) == 0
    }
}

struct Storm {
    now: Time,
    chance: Chance,
    /// One of so many words is lost, and of so many comes twice; each takes up to so long.
    lost: u64,
    doubled: u64,
    slowest_us: u64,
    live: Vec<u16>,
    workers: BTreeMap<u16, Admission>,
    under_way: BTreeMap<(Time, u64), (u16, u16, Word)>,
    sent: u64,
    keys: [Key; 3],
    /// Those that are asked about and those that go on: at which node, under which keys.
    asked: BTreeMap<CallNo, (u16, Vec<Key>)>,
    calls: BTreeMap<CallNo, (u16, Vec<Key>)>,
    begun: u64,
    refused: u64,
    /// Everybody hears everybody: no key has ever more calls than its limit.
    strict: bool,
}

impl Storm {
    fn new(seed: u64, lost: u64, doubled: u64, slowest_us: u64) -> Storm {
        let mut storm = Storm {
            now: Time(0),
            chance: Chance(seed),
            lost,
            doubled,
            slowest_us,
            live: vec![1, 2, 3],
            workers: (1..=3).map(|node| (node, worker(node))).collect(),
            under_way: BTreeMap::new(),
            sent: 0,
            keys: [key_of(1, 2), key_of(2, 3), key_of(3, 1)],
            asked: BTreeMap::new(),
            calls: BTreeMap::new(),
            begun: 0,
            refused: 0,
            strict: lost == 0 && slowest_us < 2 * MS,
        };
        storm.placed();
        storm.runs(600);
        storm
    }

    fn placed(&mut self) {
        let (now, placement) = (self.now, placement(&self.live));
        self.live.clone().iter().for_each(|node| self.at(*node).placed(now, &placement));
    }

    fn at(&mut self, node: u16) -> &mut Admission {
        self.workers.entry(node).or_insert_with(|| worker(node))
    }

    fn runs(&mut self, ms: u64) {
        for _ in 0..ms * 4 {
            self.now = self.now + Duration::from_micros(250);
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 <= now) {
            let (from, to, word) = entry.remove();
            if self.live.contains(&to) {
                self.at(to).hear(now, post(from), word);
            }
        }
        for node in self.live.clone() {
            if self.at(node).next_due().is_some_and(|due| due <= now) {
                self.at(node).tick(now);
            }
            for Answer { ask, refused } in self.at(node).answers() {
                let Some((_, keys)) = self.asked.remove(&CallNo(ask)) else { continue };
                if refused.is_empty() {
                    self.calls.insert(CallNo(ask), (node, keys));
                } else {
                    self.refused += 1;
                    self.at(node).over(now, CallNo(ask));
                }
            }
            for (to, _, word) in self.at(node).said() {
                self.goes(node, to.node.0, word);
            }
        }
        if self.strict {
            for key in self.keys {
                assert!(self.there_are(key) <= LIMIT as usize, "{} of {LIMIT}", self.there_are(key));
            }
        }
    }

    fn goes(&mut self, from: u16, to: u16, word: Word) {
        let copies = if self.chance.one_in(self.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            if self.chance.one_in(self.lost) {
                continue;
            }
            self.sent += 1;
            let at = self.now + Duration::from_micros(100 + self.chance.below(self.slowest_us));
            self.under_way.insert((at, self.sent), (from, to, word.clone()));
        }
    }

    fn there_are(&self, key: Key) -> usize {
        self.calls.values().filter(|(_, keys)| keys.contains(&key)).count()
    }

    /// Calls begin and end for so long.
    fn rages(&mut self, ms: u64) {
        for _ in 0..ms {
            if self.chance.one_in(3) {
                self.begins();
            }
            if self.chance.one_in(4) {
                self.ends();
            }
            self.runs(1);
        }
    }

    fn begins(&mut self) {
        self.begun += 1;
        let (now, call) = (self.now, CallNo(self.begun));
        let node = self.live[self.chance.below(self.live.len() as u64) as usize];
        let first = self.chance.below(3) as usize;
        let keys = self.keys[first..].to_vec();
        let wants: Vec<Want> = keys.iter().map(|key| Want { key: *key, limit: LIMIT }).collect();
        self.asked.insert(call, (node, keys));
        self.at(node).ask(now, call.0, call, &wants);
    }

    fn ends(&mut self) {
        let now = self.now;
        // One of those that are asked about may be cancelled.
        let all: Vec<(CallNo, u16)> =
            self.calls.iter().chain(&self.asked).map(|(call, (node, _))| (*call, *node)).collect();
        if all.is_empty() {
            return;
        }
        let (call, node) = all[self.chance.below(all.len() as u64) as usize];
        self.calls.remove(&call);
        self.asked.remove(&call);
        self.at(node).over(now, call);
    }

    /// A node dies; others go on with most of its calls a little later.
    fn dies(&mut self, node: u16) {
        self.live.retain(|live| *live != node);
        self.workers.remove(&node);
        self.placed();
        self.asked.retain(|_, (at, _)| *at != node);
        let orphans: Vec<CallNo> =
            self.calls.iter().filter(|(_, (at, _))| *at == node).map(|(call, _)| *call).collect();
        for call in orphans {
            let Some((_, keys)) = self.calls.remove(&call) else { continue };
            if self.chance.one_in(5) {
                continue;
            }
            self.runs(1);
            let (now, heir) = (self.now, self.live[self.chance.below(self.live.len() as u64) as usize]);
            self.at(heir).holds(now, call, &keys);
            self.calls.insert(call, (heir, keys));
        }
    }

    /// Who counts a key now counts the calls that there are.
    fn is_right(&mut self) {
        let placement = placement(&self.live);
        for key in self.keys {
            let owner = placement.owner(key.0.slot()).map_or(0, |node| node.0);
            let there_are = self.there_are(key);
            assert_eq!(self.at(owner).counted_under(key), there_are, "of {key:?} at {owner}, {} begun", self.begun);
        }
    }

    fn all_end(&mut self) {
        while !(self.calls.is_empty() && self.asked.is_empty()) {
            self.ends();
        }
        self.runs(12_000);
        for node in self.live.clone() {
            let at = self.at(node);
            assert_eq!((at.counted(), at.held(), at.next_due()), (0, 0, None), "node {node}");
        }
    }
}

#[test]
fn while_all_hear_each_other_no_limit_is_passed_and_nothing_is_left_over() {
    for seed in 1..=20 {
        let mut storm = Storm::new(seed, 0, 10, MS - 200);
        storm.rages(3_000);
        storm.runs(50);
        storm.is_right();
        assert!(storm.refused > 10, "{}", storm.refused);
        storm.all_end();
    }
}

#[test]
fn a_network_that_loses_doubles_and_reorders_leaves_the_count_right_in_the_end() {
    for seed in 1..=20 {
        let mut storm = Storm::new(seed, 5, 5, 8 * MS);
        storm.rages(3_000);
        storm.runs(5_000);
        storm.is_right();
        storm.all_end();
    }
}

#[test]
fn two_seconds_after_a_death_the_count_is_right() {
    for seed in 1..=30 {
        let mut storm = Storm::new(seed, 20, 20, 3 * MS);
        storm.rages(1_000);
        storm.dies(1 + seed as u16 % 3);
        storm.runs(2_000);
        storm.is_right();
        storm.rages(1_000);
        storm.runs(2_000);
        storm.is_right();
        storm.all_end();
    }
}
