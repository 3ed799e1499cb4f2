//! Limits of concurrent calls that the whole rack counts once: of an account, of a source, of a trunk. LIMITS.md beside this
//! crate tells the whole with ladders.
//!
//! What is limited is named by a [`Key`], whose hash has a slot: the owner of that slot counts its calls. Whoever is about to
//! hold a call asks it ([`holder`]); the owner answers from the set of calls that it knows of ([`table`]). Nobody keeps a copy
//! of that set: the calls themselves are the truth, they are shadowed already, and whoever holds one says so again to an owner
//! that is new ([`book`]).
//!
//! One [`Admission`] a worker, which is both sides. What it has to say to itself goes the same way as to others.

mod book;
mod holder;
mod table;

pub use crate::counted::{CallNo, Key, Want};

use crate::effect::Over;
use common::config::Rack;
use common::ids::NodeId;
use common::placement::Placement;
use common::time::Time;
use common::wire::packet::Sender as Post;
use holder::Holder;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use table::Table;

/// A call under a key.
type Item = (Key, CallNo);

/// The owner's answer for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It is counted.
    Room,
    Full,
    /// The owner has not heard of all calls yet, or is none by its own placement, or its table is full.
    Unknown,
}

/// What workers say to each other about it. `n` counts what a holder's worker has said, to whomever: whoever hears two words
/// about the same call under the same key knows which one is newer. Each can be lost, doubled or late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// Holder to owner: may I begin this call? Repeated once.
    May { n: u64, call: CallNo, wants: Vec<Want> },
    /// The answer, in the order of the question's keys.
    Says { n: u64, verdicts: Vec<Verdict> },
    /// Holder to owner: these are mine, and these are over. Repeated until it is acknowledged, or given up.
    Told { n: u64, mine: Vec<Item>, over: Vec<Item> },
    /// Owner to holder: these have been heard.
    Noted { n: Vec<u64> },
    /// Holder to owner, now and then: from `first` to `last` just these are mine, as of `n`.
    Check { n: u64, first: Item, last: Item, calls: Vec<Item> },
}

/// What came of a question to the counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub ask: u64,
    /// Keys that are at their limit. Under all others that were asked for the call is counted until it is over.
    pub refused: SmallVec<[Key; 2]>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Questions of calls.
    pub asked: u64,
    /// Keys whose owner did not answer within 5 ms, and those whose owner did not know: this worker went by its own count.
    pub silent: u64,
    pub unknown: u64,
}

/// See the module.
pub struct Admission {
    us: Post,
    table: Table,
    holder: Holder,
    /// To this worker itself.
    inwards: VecDeque<Word>,
    said: Vec<(Post, Over, Word)>,
    /// When something happened last.
    now: Time,
}

impl Admission {
    pub fn new(us: Post, rack: &Rack) -> Admission {
        let workers: BTreeMap<NodeId, u16> = rack.cc_nodes.iter().map(|node| (node.id, node.workers)).collect();
        // Three keys a call, and no more calls than all workers of the rack may keep.
        let room = (rack.limits.calls as usize).saturating_mul(3 * rack.cc_nodes.len().max(1));
        Admission {
            us,
            table: Table::new(us, room),
            holder: Holder::new(workers),
            inwards: VecDeque::new(),
            said: Vec::new(),
            now: Time(0),
        }
    }

    /// A call is about to begin. What comes of it is among [`Admission::answers`], perhaps at once.
    pub fn ask(&mut self, now: Time, ask: u64, call: CallNo, wants: &[Want]) {
        self.holder.ask(now, ask, call, wants);
        self.deliver(now);
    }

    /// A call of this worker that nobody is asked about any more: it goes on here after its holder has died.
    pub fn holds(&mut self, now: Time, call: CallNo, keys: &[Key]) {
        keys.iter().for_each(|key| self.holder.holds(now, call, *key));
        self.deliver(now);
    }

    /// A call of this worker is over, or is not begun after all.
    pub fn over(&mut self, now: Time, call: CallNo) {
        self.holder.over(now, call);
        self.deliver(now);
    }

    /// All calls of this worker are others'.
    pub fn forget_all(&mut self) {
        self.holder.forget_all();
    }

    pub fn hear(&mut self, now: Time, from: Post, word: Word) {
        self.heard(now, from, word);
        self.deliver(now);
    }

    /// Another placement stands.
    pub fn placed(&mut self, now: Time, placement: &Arc<Placement>) {
        self.table.placed(now, placement);
        self.holder.placed(now, placement);
        self.deliver(now);
    }

    pub fn tick(&mut self, now: Time) {
        self.table.tick(now);
        self.holder.tick(now);
        self.deliver(now);
    }

    pub fn next_due(&self) -> Option<Time> {
        let answers = (!self.holder.answers.is_empty()).then_some(Time(0));
        [self.table.next_due(), self.holder.next_due(), answers].into_iter().flatten().min()
    }

    /// Answers that have come since the last call.
    pub fn answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.holder.answers)
    }

    /// What is to be said to other workers since the last call: what is told them of many calls goes together.
    pub fn said(&mut self) -> Vec<(Post, Over, Word)> {
        self.holder.write_all(self.now);
        self.deliver(self.now);
        std::mem::take(&mut self.said)
    }

    pub fn counters(&self) -> Counters {
        self.holder.counters
    }

    /// Calls that are counted here, each as often as it has keys here.
    pub fn counted(&self) -> usize {
        self.table.len()
    }

    /// Calls under one key, as far as this worker counts them.
    pub fn counted_under(&self, key: Key) -> usize {
        self.table.count(key)
    }

    /// Calls of this worker that are counted under a key, wherever.
    pub fn own(&self, key: Key) -> u32 {
        self.holder.own(key)
    }

    /// Calls of this worker that are counted anywhere.
    pub fn held(&self) -> usize {
        self.holder.len()
    }

    fn heard(&mut self, now: Time, from: Post, word: Word) {
        match word {
            Word::Says { n, verdicts } => self.holder.says(now, from, n, &verdicts),
            Word::Noted { n } => self.holder.noted(from, &n),
            word => {
                let Some(answer) = self.table.hear(now, from, word) else { return };
                match from == self.us {
                    true => self.inwards.push_back(answer),
                    // An answer that is lost costs the call its 5 ms.
                    false => self.said.push((from, Over::EveryPlane, answer)),
                }
            }
        }
    }

    /// Carries what is said to ourselves over, until nothing more follows from it.
    fn deliver(&mut self, now: Time) {
        self.now = now;
        loop {
            self.holder.write(now, self.us);
            for (to, over, word) in self.holder.said.drain(..) {
                match to == self.us {
                    true => self.inwards.push_back(word),
                    false => self.said.push((to, over, word)),
                }
            }
            let Some(word) = self.inwards.pop_front() else { return };
            self.heard(now, self.us, word);
        }
    }
}

#[cfg(test)]
mod storm_tests;
#[cfg(test)]
mod tests;
