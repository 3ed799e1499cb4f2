//! Questions to the nodes that may hold what a message belongs to: `yours?` goes out with the message at 0, 20, 60 and
//! 140 ms, on one plane after the other; who holds it takes the message and says `mine`. Only when everybody has said `not
//! mine`, or has left the placement, does the message become ours. Silence is never `not mine`: at 200 ms the message is
//! dropped, and its sender's next one asks again. Only when nobody has said anything for 1.5 s do we go on without.
//!
//! Two nodes may ask each other about copies of one message: the lower id takes it. Who has said `not mine` remembers to
//! whom, and asks there if a late copy comes.
//!
//! Pure; a worker's engine owns one, for the calls of its own.

use crate::effect::{Effect, Over};
use ahash::RandomState;
use bytes::Bytes;
use common::deadlines::Deadlines;
use common::ids::{BootId, Epoch, NodeId};
use common::sip::MethodKind;
use common::time::{Duration, Time};
use common::wire::proxy::{Direction, Inquiry, ProxyHeader, answer};
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::collections::{BTreeMap, VecDeque};

/// When a question goes out again, counted from the first time.
const REPEATS_MS: [u64; 3] = [20, 60, 140];
/// Then the message is dropped.
const DROPPED_AFTER: Duration = Duration::from_millis(200);
/// Silence of so long is answered by ourselves.
const SILENT_FOR: Duration = Duration::from_millis(1500);
/// A peer whose message was dropped asks again within T2.
const REMEMBERED: Duration = Duration::from_secs(5);
/// Odd: takes numbers of incarnations that follow each other far apart.
const SCATTER: u32 = 0x9E37_79B1;
/// Questions open at a time, and what is remembered of each kind.
const OPEN: usize = 1024;
const KEPT: usize = 4096;

/// What a question is about: the transaction, by its key's number, and which of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct About {
    pub transaction: u128,
    pub method: MethodKind,
    /// Of a response; 0 = a request.
    pub status: u16,
}

/// A message that waits for an answer, or is given back.
#[derive(Clone, Debug)]
pub struct Held {
    pub about: About,
    /// As it came from the load manager.
    pub header: ProxyHeader,
    pub message: Bytes,
    /// Nobody has said anything for too long.
    pub silent: bool,
}

/// Who asks, and under which placement.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    pub node: NodeId,
    pub boot: BootId,
    pub epoch: Epoch,
}

impl Asker {
    /// The header of what this node says to another about a message that came with `of`.
    fn header(&self, of: &ProxyHeader, kind: Inquiry, number: u32) -> ProxyHeader {
        ProxyHeader {
            sender: self.node,
            boot: self.boot,
            epoch: self.epoch,
            direction: Direction::Inside,
            inquiry: Some((kind, number)),
            ..of.clone()
        }
    }

    /// To whoever asked with this header about the call with this Call-ID.
    pub fn answer(&self, question: &ProxyHeader, mine: bool, call_id: &[u8], out: &mut Vec<Effect>) {
        let Some((_, number)) = question.inquiry else { return };
        let mut header = Box::new(self.header(question, if mine { Inquiry::Mine } else { Inquiry::NotMine }, number));
        // It goes back to who has seen the message.
        header.visited.clear();
        out.push(Effect::Inside {
            to: question.sender,
            over: Over::EveryPlane,
            header,
            message: answer(call_id).into(),
        });
    }
}

/// What became of the questions of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub asked: u64,
    /// Somebody else held it and has taken it.
    pub theirs: u64,
    /// Everybody asked has said `not mine`, or is gone.
    pub nobodys: u64,
    /// Dropped after 200 ms of silence.
    pub silent: u64,
    /// Gone on with after 1.5 s of silence.
    pub without: u64,
    /// Left to the other node that had a copy.
    pub left: u64,
    /// Dropped because too many questions were open.
    pub full: u64,
}

struct Open {
    held: Held,
    /// Who has not answered yet.
    of: SmallVec<[NodeId; 4]>,
    /// Repeats that have gone out.
    repeats: usize,
    since: Time,
}

pub struct Inquiries {
    open: BTreeMap<u32, Open>,
    by_subject: HashMap<About, u32, RandomState>,
    deadlines: Deadlines<u32>,
    newest: u32,
    /// When a message that nobody has answered yet was asked about first.
    silences: Memory<About, Time>,
    /// To whom we have said `not mine` of a transaction.
    left_to: Memory<u128, NodeId>,
    pub counters: Counters,
}

impl Default for Inquiries {
    fn default() -> Self {
        let by_subject = HashMap::with_hasher(RandomState::with_seeds(31, 32, 33, 34));
        Inquiries {
            open: BTreeMap::new(),
            by_subject,
            deadlines: Deadlines::new(),
            newest: 0,
            silences: Memory::default(),
            left_to: Memory::default(),
            counters: Counters::default(),
        }
    }
}

impl Inquiries {
    /// The numbers of another incarnation's questions are others: an answer that somebody has kept is to none of ours.
    pub fn of(boot: BootId) -> Inquiries {
        Inquiries { newest: (boot.0 as u32).wrapping_mul(SCATTER), ..Inquiries::default() }
    }

    /// Asks the nodes `of`; keeps the message until they have answered. Gives it back at once if they were silent for too
    /// long.
    pub fn ask(&mut self, now: Time, us: Asker, held: Held, of: &[NodeId], out: &mut Vec<Effect>) -> Option<Held> {
        let about = held.about;
        // A repeat, or a CANCEL that overtakes: what is asked about its transaction comes first.
        let invite = About { method: MethodKind::Invite, status: 0, ..about };
        if self.by_subject.contains_key(&about) || self.by_subject.contains_key(&invite) {
            return None;
        }
        if self.silences.get(now, &about).is_some_and(|first| now.since(first) >= SILENT_FOR) {
            self.silences.forget(&about);
            self.counters.without += 1;
            return Some(Held { silent: true, ..held });
        }
        if self.open.len() >= OPEN {
            self.counters.full += 1;
            return None;
        }
        if self.silences.get(now, &about).is_none() {
            self.silences.keep(now, about, now);
        }
        self.newest = self.newest.wrapping_add(1);
        self.counters.asked += 1;
        let open = Open { held, of: of.iter().copied().collect(), repeats: 0, since: now };
        open.send(us, self.newest, out);
        self.by_subject.insert(about, self.newest);
        self.deadlines.insert(now + Duration::from_millis(REPEATS_MS[0]), self.newest);
        self.open.insert(self.newest, open);
        None
    }

    /// An answer about the call with this Call-ID. Gives the message back if nobody holds what it belongs to.
    pub fn told(&mut self, number: u32, by: NodeId, mine: bool, call_id: &[u8]) -> Option<Held> {
        let open =
            self.open.get_mut(&number).filter(|open| common::sip::call_id(&open.held.message) == Some(call_id))?;
        let at = open.of.iter().position(|node| *node == by)?;
        if mine {
            self.counters.theirs += 1;
            self.close(number);
            return None;
        }
        open.of.swap_remove(at);
        open.of.is_empty().then(|| self.nobodys(number)).flatten()
    }

    /// Somebody else asks about a transaction that we do not know. True: we have a copy of the message ourselves, and take
    /// it. False: it is theirs, whatever comes later.
    pub fn asked(&mut self, now: Time, us: NodeId, by: NodeId, transaction: u128) -> bool {
        let ours = |about: &About| about.transaction == transaction;
        let copies: SmallVec<[u32; 2]> =
            self.open.iter().filter(|(_, o)| ours(&o.held.about)).map(|(n, _)| *n).collect();
        if !copies.is_empty() && us < by {
            return true;
        }
        for number in copies {
            self.counters.left += 1;
            self.close(number);
        }
        self.left_to.keep(now, transaction, by);
        false
    }

    /// To whom we have said `not mine` of this transaction a short while ago.
    pub fn left_to(&mut self, now: Time, transaction: u128) -> Option<NodeId> {
        self.left_to.get(now, &transaction)
    }

    /// Whether anything was left to anybody; what is too old counts until it is looked for.
    pub fn has_left(&self) -> bool {
        !self.left_to.values.is_empty()
    }

    /// Another placement stands: who is not in it any more has nothing. Gives back what nobody else can hold.
    pub fn placed(&mut self, stands: impl Fn(NodeId) -> bool) -> Vec<Held> {
        // Whoever was silent may have died since, and another goes on with what it held: that one is asked before anybody
        // goes on without.
        self.silences = Memory::default();
        for open in self.open.values_mut() {
            open.of.retain(|node| stands(*node));
        }
        let done: Vec<u32> = self.open.iter().filter(|(_, o)| o.of.is_empty()).map(|(number, _)| *number).collect();
        done.into_iter().filter_map(|number| self.nobodys(number)).collect()
    }

    /// Nothing that waits is ours to decide any more.
    pub fn clear(&mut self) {
        let counters = self.counters;
        *self = Inquiries { newest: self.newest, counters, ..Inquiries::default() };
    }

    pub fn next_due(&self) -> Option<Time> {
        self.deadlines.next_due()
    }

    /// Whether this question to that node is open.
    pub fn is_asked(&self, number: u32, node: NodeId) -> bool {
        self.open.get(&number).is_some_and(|open| open.of.contains(&node))
    }

    /// Repeats questions, and drops what nobody has answered: that is given back.
    pub fn tick(&mut self, now: Time, us: Asker, out: &mut Vec<Effect>) -> Vec<Held> {
        let mut dropped = Vec::new();
        while let Some(number) = self.deadlines.expire(now) {
            let Some(open) = self.open.get_mut(&number) else { continue };
            if open.repeats == REPEATS_MS.len() {
                self.counters.silent += 1;
                dropped.extend(self.drop_open(number));
                continue;
            }
            open.repeats += 1;
            open.send(us, number, out);
            let next = REPEATS_MS.get(open.repeats).map_or(DROPPED_AFTER, |ms| Duration::from_millis(*ms));
            self.deadlines.insert(open.since + next, number);
        }
        dropped
    }

    fn nobodys(&mut self, number: u32) -> Option<Held> {
        self.counters.nobodys += 1;
        self.close(number)
    }

    /// Answered: the silence is over, too.
    fn close(&mut self, number: u32) -> Option<Held> {
        let held = self.drop_open(number)?;
        self.silences.forget(&held.about);
        Some(held)
    }

    fn drop_open(&mut self, number: u32) -> Option<Held> {
        let held = self.open.remove(&number)?.held;
        self.by_subject.remove(&held.about);
        Some(held)
    }
}

impl Open {
    fn send(&self, us: Asker, number: u32, out: &mut Vec<Effect>) {
        let mut header = us.header(&self.held.header, Inquiry::Yours, number);
        header.visited.push(us.node);
        let over = Over::InTurn(self.repeats as u8);
        let (header, message) = (Box::new(header), &self.held.message);
        let one = |to: &NodeId| Effect::Inside { to: *to, over, header: header.clone(), message: message.clone() };
        out.extend(self.of.iter().map(one));
    }
}

/// What is remembered for [`REMEMBERED`], the newest [`KEPT`].
struct Memory<K, V> {
    values: HashMap<K, V, RandomState>,
    order: VecDeque<(Time, K)>,
}

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Memory { values: HashMap::with_hasher(RandomState::with_seeds(35, 36, 37, 38)), order: VecDeque::new() }
    }
}

impl<K: std::hash::Hash + Eq + Copy, V: Copy> Memory<K, V> {
    fn keep(&mut self, now: Time, key: K, value: V) {
        self.expire(now);
        if self.order.len() >= KEPT
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.values.remove(&oldest);
        }
        if self.values.insert(key, value).is_none() {
            self.order.push_back((now, key));
        }
    }

    fn get(&mut self, now: Time, key: &K) -> Option<V> {
        self.expire(now);
        self.values.get(key).copied()
    }

    fn forget(&mut self, key: &K) {
        if self.values.remove(key).is_some() {
            self.order.retain(|(_, other)| other != key);
        }
    }

    fn expire(&mut self, now: Time) {
        while let Some((_, key)) = self.order.front().filter(|(at, _)| now.since(*at) > REMEMBERED) {
            self.values.remove(key);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
#[path = "inquiries_tests.rs"]
mod tests;
