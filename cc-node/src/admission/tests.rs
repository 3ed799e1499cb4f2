//! Both sides of a limit, each question and answer by hand.
#![allow(clippy::unwrap_used)]

use super::table::{LEARNS, ORPHANED};
use super::*;
use crate::shadow::testing;
use common::call_hash::CallHash;
use common::ids::BootId;
use common::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn at(ms: u64) -> Time {
    Time(ms * 1000)
}

pub fn post(node: u16) -> Post {
    Post { node: NodeId(node), boot: BootId(7), worker: 0 }
}

pub fn placement(live: &[u16]) -> Arc<Placement> {
    let live: Vec<(u16, u64)> = live.iter().map(|node| (*node, 7)).collect();
    Arc::new(testing::placement(3, &live))
}

pub fn worker(node: u16) -> Admission {
    Admission::new(post(node), &Rack::one_machine_default(3).expand())
}

/// A key that this node counts, and that one would if it were dead.
pub fn key_of(owner: u16, heir: u16) -> Key {
    let all = placement(&[1, 2, 3]);
    let list = |n: u64| all.list(CallHash(n << 48).slot()).map(|node| node.0).take(2).collect::<Vec<u16>>();
    Key(CallHash((0..65_536).find(|n| list(*n) == [owner, heir]).unwrap() << 48))
}

/// Workers of three nodes, and what they say to each other, which arrives at once unless somebody does not hear.
struct Rack3 {
    now: Time,
    workers: Vec<Admission>,
    deaf: Vec<u16>,
    /// Words that went.
    words: Vec<(u16, u16, Word)>,
}

impl Rack3 {
    fn new() -> Rack3 {
        let mut rack =
            Rack3 { now: at(0), workers: (1..=3).map(worker).collect(), deaf: Vec::new(), words: Vec::new() };
        rack.placed(&[1, 2, 3]);
        rack.passes(LEARNS);
        rack
    }

    fn at(&mut self, node: u16) -> &mut Admission {
        &mut self.workers[usize::from(node) - 1]
    }

    fn placed(&mut self, live: &[u16]) {
        let (now, placement) = (self.now, placement(live));
        live.iter().for_each(|node| self.at(*node).placed(now, &placement));
        self.carry();
    }

    fn carry(&mut self) {
        loop {
            let mut said = Vec::new();
            for node in 1..=3 {
                said.extend(self.at(node).said().into_iter().map(|(to, _, word)| (node, to, word)));
            }
            if said.is_empty() {
                return;
            }
            for (from, to, word) in said {
                self.words.push((from, to.node.0, word.clone()));
                if ![from, to.node.0].iter().any(|node| self.deaf.contains(node)) {
                    let now = self.now;
                    self.at(to.node.0).hear(now, post(from), word);
                }
            }
        }
    }

    fn passes(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now = self.now + MS;
            let now = self.now;
            for node in 1..=3 {
                if self.at(node).next_due().is_some_and(|due| due <= now) {
                    self.at(node).tick(now);
                }
            }
            self.carry();
        }
    }

    /// What a node asks, and is answered within 5 ms: whether there is room.
    fn begins(&mut self, node: u16, call: u64, key: Key, limit: u32) -> bool {
        let now = self.now;
        self.at(node).ask(now, call, CallNo(call), &[Want { key, limit }]);
        for _ in 0..=5 {
            self.carry();
            if let Some(answer) = self.at(node).answers().pop() {
                assert_eq!(answer.ask, call);
                if !answer.refused.is_empty() {
                    assert_eq!(answer.refused[..], [key]);
                    self.at(node).over(now, CallNo(call));
                }
                return answer.refused.is_empty();
            }
            self.passes(MS);
        }
        panic!("no answer within 5 ms");
    }

    fn ends(&mut self, node: u16, call: u64) {
        let now = self.now;
        self.at(node).over(now, CallNo(call));
        self.carry();
    }
}

#[test]
fn a_limit_counts_the_calls_of_all_nodes() {
    let (mut rack, key) = (Rack3::new(), key_of(1, 2));
    assert!(rack.begins(1, 10, key, 2) && rack.begins(2, 20, key, 2));
    assert!(!rack.begins(3, 30, key, 2) && !rack.begins(1, 11, key, 2));
    rack.ends(2, 20);
    assert!(rack.begins(3, 31, key, 2));
    assert_eq!(rack.at(1).counted_under(key), 2);
    rack.ends(1, 10);
    rack.ends(3, 31);
    rack.passes(Duration::from_secs(10));
    assert_eq!((rack.at(1).counted(), rack.at(1).held(), rack.at(3).held()), (0, 0, 0));
    assert!((1..=3).all(|node| rack.at(node).next_due().is_none()), "nothing is left to be said");
}

#[test]
fn keys_of_one_owner_are_asked_together_and_each_is_answered_for_itself() {
    let mut rack = Rack3::new();
    let (full, other, third) = (key_of(1, 2), key_of(1, 3), key_of(2, 3));
    assert!(rack.begins(1, 1, full, 1));
    let now = rack.now;
    rack.words.clear();
    let wants = [full, other, third].map(|key| Want { key, limit: 1 });
    rack.at(3).ask(now, 9, CallNo(9), &wants);
    rack.carry();
    let questions = rack.words.iter().filter(|(.., word)| matches!(word, Word::May { .. })).count();
    assert_eq!(questions, 2, "one an owner: {:?}", rack.words);
    let answers = rack.at(3).answers();
    assert_eq!(answers, [Answer { ask: 9, refused: [full].into_iter().collect() }]);
    assert_eq!((rack.at(1).counted_under(other), rack.at(2).counted_under(third)), (1, 1));
    rack.at(3).over(now, CallNo(9));
    rack.carry();
    assert_eq!((rack.at(1).counted_under(other), rack.at(2).counted_under(third)), (0, 0), "it is not begun");
}

#[test]
fn a_silent_owner_leaves_each_node_its_share() {
    let (mut rack, key) = (Rack3::new(), key_of(1, 2));
    rack.deaf.push(1);
    assert_eq!((0..4).map(|call| rack.begins(2, call, key, 6)).collect::<Vec<bool>>(), [true, true, false, false]);
    assert!(rack.begins(3, 10, key, 1) && !rack.begins(3, 11, key, 1), "one at least");
    assert_eq!(rack.at(2).counters(), Counters { asked: 4, silent: 4, unknown: 0 });
    rack.deaf.clear();
    rack.passes(Duration::from_secs(2));
    assert_eq!(rack.at(1).counted_under(key), 3, "it is told when it hears again");
    assert!(rack.begins(3, 12, key, 4) && !rack.begins(3, 13, key, 4));
}

#[test]
fn the_next_owner_knows_the_calls_of_a_dead_one() {
    let (mut rack, key) = (Rack3::new(), key_of(1, 2));
    assert!(rack.begins(2, 20, key, 3) && rack.begins(3, 30, key, 3));
    rack.deaf.push(1);
    rack.placed(&[2, 3]);
    rack.passes(5 * MS);
    assert_eq!(rack.at(2).counted_under(key), 2);
    assert!(!rack.begins(3, 31, key, 3), "not known yet: its share is one");
    rack.passes(LEARNS);
    assert!(rack.begins(3, 31, key, 3) && !rack.begins(3, 32, key, 3) && !rack.begins(2, 22, key, 3));
}

#[test]
fn what_an_owner_is_told_before_it_knows_that_it_is_one_is_told_again() {
    let (mut rack, key) = (Rack3::new(), key_of(1, 2));
    assert!(rack.begins(3, 30, key, 1));
    rack.deaf.push(1);
    let (now, others) = (rack.now, placement(&[2, 3]));
    rack.at(3).placed(now, &others);
    rack.carry();
    rack.passes(5 * MS);
    let now = rack.now;
    rack.at(2).placed(now, &others);
    rack.passes(50 * MS);
    assert_eq!(rack.at(2).counted_under(key), 1);
}

#[test]
fn a_dead_holders_calls_count_until_it_is_known_who_goes_on_with_them() {
    let (mut rack, key) = (Rack3::new(), key_of(1, 2));
    assert!(rack.begins(2, 20, key, 2) && rack.begins(2, 21, key, 2));
    rack.deaf.push(2);
    rack.placed(&[1, 3]);
    assert!(!rack.begins(3, 30, key, 2));
    // One of them goes on.
    let now = rack.now;
    rack.at(3).holds(now, CallNo(20), &[key]);
    rack.carry();
    rack.passes(ORPHANED - 10 * MS);
    assert!(!rack.begins(3, 31, key, 2));
    rack.passes(10 * MS);
    assert!(rack.begins(3, 32, key, 2) && !rack.begins(3, 33, key, 2));
    rack.ends(3, 20);
    assert_eq!(rack.at(1).counted_under(key), 1);
}

#[test]
fn a_call_that_is_cancelled_while_it_is_asked_about_is_not_counted() {
    let (mut rack, key) = (Rack3::new(), key_of(1, 2));
    let now = rack.now;
    rack.at(2).ask(now, 5, CallNo(5), &[Want { key, limit: 1 }]);
    rack.at(2).over(now, CallNo(5));
    rack.carry();
    assert!(rack.at(2).answers().is_empty());
    assert_eq!(rack.at(1).counted_under(key), 0);
    // The question comes once more, late.
    let late = rack.words.iter().find(|(.., word)| matches!(word, Word::May { .. })).unwrap().2.clone();
    rack.at(1).hear(now + MS, post(2), late);
    assert_eq!(rack.at(1).counted_under(key), 0);
}

#[test]
fn what_nobody_has_heard_to_be_over_is_heard_some_day() {
    let (mut rack, key) = (Rack3::new(), key_of(1, 2));
    assert!((0..200).all(|call| rack.begins(2, call, key, 1000)));
    rack.deaf.push(1);
    (50..150).for_each(|call| rack.ends(2, call));
    rack.passes(Duration::from_secs(3));
    rack.deaf.clear();
    assert_eq!(rack.at(1).counted_under(key), 200);
    rack.passes(Duration::from_secs(2));
    assert_eq!(rack.at(1).counted_under(key), 100);
}

#[test]
fn a_node_that_was_removed_has_nothing_and_what_it_says_is_not_counted() {
    let (mut rack, key) = (Rack3::new(), key_of(1, 2));
    assert!(rack.begins(3, 30, key, 9));
    rack.placed(&[1, 2]);
    rack.at(3).forget_all();
    let now = rack.now;
    rack.at(1).hear(now, post(3), Word::Told { n: 99, mine: vec![(key, CallNo(77))], over: Vec::new() });
    rack.carry();
    rack.passes(ORPHANED);
    assert_eq!((rack.at(1).counted_under(key), rack.at(3).held()), (0, 0));
}

#[test]
fn a_full_table_leaves_the_rest_to_each_nodes_own_count() {
    let mut small = Rack::one_machine_default(3).expand();
    small.limits.calls = 1;
    let (mut one, key) = (Admission::new(post(1), &small), key_of(1, 2));
    one.placed(at(0), &placement(&[1, 2, 3]));
    let room = 9;
    let item = |n: u64| (key, CallNo(n));
    one.hear(at(600), post(2), Word::Told { n: 1, mine: (0..20).map(item).collect(), over: Vec::new() });
    assert_eq!(one.counted(), room);
    one.hear(at(600), post(2), Word::May { n: 2, call: CallNo(30), wants: vec![Want { key, limit: 1000 }] });
    let said: Vec<Word> = one.said().into_iter().map(|(.., word)| word).collect();
    assert!(said.contains(&Word::Says { n: 2, verdicts: vec![Verdict::Unknown] }), "{said:?}");
}
