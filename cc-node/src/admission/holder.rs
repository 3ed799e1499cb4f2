//! The holder's side: questions before a call begins, and for each owner a book of the calls that are ours under its keys.
//! An owner that says nothing for 5 ms, or does not know, leaves us to our own count against our share of the limit.

use super::book::Book;
use super::{Answer, CallNo, Counters, Item, Key, Verdict, Want, Word};
use crate::effect::Over;
use ahash::RandomState;
use common::deadlines::Deadlines;
use common::ids::NodeId;
use common::placement::Placement;
use common::time::{Duration, Time};
use common::wire::packet::Sender as Post;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A question goes out again over another plane after so long.
const AGAIN: Duration = Duration::from_millis(2);
/// Longer than this no call waits.
pub const SILENT: Duration = Duration::from_millis(5);

/// What one owner is asked about one call.
struct Question {
    ask: u64,
    call: CallNo,
    to: Post,
    wants: SmallVec<[Want; 4]>,
    since: Time,
    again: bool,
}

/// A call that waits for its answers.
struct Asking {
    call: CallNo,
    /// Questions without an answer.
    open: usize,
    refused: SmallVec<[Key; 2]>,
}

pub struct Holder {
    /// Of each node.
    workers: BTreeMap<NodeId, u16>,
    placement: Arc<Placement>,
    /// Of the newest word.
    newest: u64,
    /// Calls that are counted, and how many of each key.
    calls: HashMap<CallNo, SmallVec<[Key; 4]>, RandomState>,
    own: HashMap<Key, u32, RandomState>,
    asking: BTreeMap<u64, Asking>,
    /// By their numbers.
    questions: BTreeMap<u64, Question>,
    due: Deadlines<u64>,
    books: BTreeMap<Post, Book>,
    pub answers: Vec<Answer>,
    pub said: Vec<(Post, Over, Word)>,
    pub counters: Counters,
}

impl Holder {
    pub fn new(workers: BTreeMap<NodeId, u16>) -> Holder {
        Holder {
            workers,
            placement: Arc::new(Placement::empty()),
            newest: 0,
            calls: HashMap::with_hasher(RandomState::with_seeds(51, 52, 53, 54)),
            own: HashMap::with_hasher(RandomState::with_seeds(55, 56, 57, 58)),
            asking: BTreeMap::new(),
            questions: BTreeMap::new(),
            due: Deadlines::new(),
            books: BTreeMap::new(),
            answers: Vec::new(),
            said: Vec::new(),
            counters: Counters::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.calls.len()
    }

    pub fn own(&self, key: Key) -> u32 {
        self.own.get(&key).copied().unwrap_or(0)
    }

    /// Who counts the calls of a key.
    fn owner(&self, placement: &Placement, key: Key) -> Option<Post> {
        let node = placement.owner(key.0.slot())?;
        let workers = self.workers.get(&node).copied().unwrap_or(1);
        Some(Post { node, boot: placement.live(node)?, worker: key.0.worker(workers) })
    }

    pub fn ask(&mut self, now: Time, ask: u64, call: CallNo, wants: &[Want]) {
        self.counters.asked += 1;
        let mut of: BTreeMap<Post, SmallVec<[Want; 4]>> = BTreeMap::new();
        let mut nobodys: SmallVec<[Want; 4]> = SmallVec::new();
        for want in wants {
            match self.owner(&self.placement, want.key) {
                _ if self.is_held(call, want.key) => {}
                Some(owner) => of.entry(owner).or_default().push(*want),
                None => nobodys.push(*want),
            }
        }
        self.asking.insert(ask, Asking { call, open: of.len(), refused: SmallVec::new() });
        for (to, wants) in of {
            self.newest += 1;
            self.said.push((to, Over::InTurn(0), Word::May { n: self.newest, call, wants: wants.to_vec() }));
            self.questions.insert(self.newest, Question { ask, call, to, wants, since: now, again: false });
            self.due.insert(now + AGAIN, self.newest);
        }
        for want in nobodys {
            self.by_own_count(now, ask, call, want, false);
        }
        self.settle(ask);
    }

    /// An owner's answer; one that comes too late says nothing any more.
    pub fn says(&mut self, now: Time, from: Post, n: u64, verdicts: &[Verdict]) {
        let asked = |question: &Question| question.to == from && question.wants.len() == verdicts.len();
        if !self.questions.get(&n).is_some_and(asked) {
            return;
        }
        let Some(Question { ask, call, wants, .. }) = self.questions.remove(&n) else { return };
        for (want, verdict) in wants.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Room => self.counted(now, call, want.key, Some(from)),
                Verdict::Full => self.refuse(ask, want.key),
                Verdict::Unknown => {
                    self.counters.unknown += 1;
                    self.by_own_count(now, ask, call, want, false);
                }
            }
        }
        self.closed(ask);
    }

    /// The rack's limit, shared out among all workers that live. `asked`: the owner may have counted it nevertheless.
    fn by_own_count(&mut self, now: Time, ask: u64, call: CallNo, want: Want, asked: bool) {
        let live = self.placement.inputs().live();
        let workers: u32 = live.map(|(node, _)| u32::from(self.workers.get(&node).copied().unwrap_or(1))).sum();
        let share = (want.limit / workers.max(1)).max(1);
        if self.own(want.key) < share {
            return self.counted(now, call, want.key, None);
        }
        self.refuse(ask, want.key);
        if asked {
            self.tell_over(now, (want.key, call));
        }
    }

    fn refuse(&mut self, ask: u64, key: Key) {
        if let Some(asking) = self.asking.get_mut(&ask) {
            asking.refused.push(key);
        }
    }

    fn closed(&mut self, ask: u64) {
        if let Some(asking) = self.asking.get_mut(&ask) {
            asking.open -= 1;
        }
        self.settle(ask);
    }

    fn settle(&mut self, ask: u64) {
        if self.asking.get(&ask).is_some_and(|asking| asking.open == 0)
            && let Some(Asking { refused, .. }) = self.asking.remove(&ask)
        {
            self.answers.push(Answer { ask, refused });
        }
    }

    fn is_held(&self, call: CallNo, key: Key) -> bool {
        self.calls.get(&call).is_some_and(|keys| keys.contains(&key))
    }

    pub fn holds(&mut self, now: Time, call: CallNo, key: Key) {
        self.counted(now, call, key, None);
    }

    /// The call is ours under this key. `by`: who has counted it already.
    fn counted(&mut self, now: Time, call: CallNo, key: Key, by: Option<Post>) {
        if self.is_held(call, key) {
            return;
        }
        self.calls.entry(call).or_default().push(key);
        *self.own.entry(key).or_insert(0) += 1;
        if let Some(owner) = self.owner(&self.placement, key) {
            self.book(now, owner).begins((key, call), by == Some(owner));
        }
    }

    fn book(&mut self, now: Time, owner: Post) -> &mut Book {
        self.books.entry(owner).or_insert_with(|| Book::new(now))
    }

    fn tell_over(&mut self, now: Time, item: Item) {
        if let Some(owner) = self.owner(&self.placement, item.0) {
            self.book(now, owner).ends(item);
        }
    }

    pub fn over(&mut self, now: Time, call: CallNo) {
        // Nobody waits for its answers, and who has been asked may have counted it.
        let asks: Vec<u64> =
            self.asking.iter().filter(|(_, asking)| asking.call == call).map(|(ask, _)| *ask).collect();
        for ask in asks {
            self.asking.remove(&ask);
            let numbers = self.questions.iter().filter(|(_, question)| question.ask == ask).map(|(n, _)| *n);
            for n in numbers.collect::<Vec<u64>>() {
                let wants = self.questions.remove(&n).map(|question| question.wants).unwrap_or_default();
                wants.iter().for_each(|want| self.tell_over(now, (want.key, call)));
            }
        }
        for key in self.calls.remove(&call).unwrap_or_default() {
            if let Some(count) = self.own.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.own.remove(&key);
                }
            }
            self.tell_over(now, (key, call));
        }
    }

    pub fn forget_all(&mut self) {
        self.calls.clear();
        self.own.clear();
        self.asking.clear();
        self.questions.clear();
        self.books.clear();
    }

    pub fn noted(&mut self, from: Post, numbers: &[u64]) {
        if let Some(book) = self.books.get_mut(&from) {
            numbers.iter().for_each(|n| book.noted(*n));
        }
    }

    /// Another placement stands: the calls of a key that has another owner are told to that one.
    pub fn placed(&mut self, now: Time, placement: &Arc<Placement>) {
        let before = std::mem::replace(&mut self.placement, placement.clone());
        let of = |(call, keys): (&CallNo, &SmallVec<[Key; 4]>)| {
            let call = *call;
            keys.iter().map(move |key| (*key, call)).collect::<SmallVec<[Item; 4]>>()
        };
        let items = self.calls.iter().flat_map(of);
        let moved = items.map(|item| (item, self.owner(&before, item.0), self.owner(placement, item.0)));
        let moved: Vec<(Item, Option<Post>, Option<Post>)> = moved.filter(|(_, was, is)| was != is).collect();
        self.books.retain(|post, _| placement.live(post.node) == Some(post.boot));
        for (item, was, is) in moved {
            if let Some(book) = was.and_then(|was| self.books.get_mut(&was)) {
                book.part_with(item);
            }
            if let Some(owner) = is {
                self.book(now, owner).begins(item, false);
            }
        }
    }

    pub fn tick(&mut self, now: Time) {
        while let Some(n) = self.due.expire(now) {
            let Some(question) = self.questions.get_mut(&n) else { continue };
            if now < question.since + SILENT {
                question.again = true;
                let word = Word::May { n, call: question.call, wants: question.wants.to_vec() };
                self.said.push((question.to, Over::InTurn(1), word));
                self.due.insert(question.since + SILENT, n);
                continue;
            }
            let Some(Question { ask, call, wants, .. }) = self.questions.remove(&n) else { continue };
            for want in wants {
                self.counters.silent += 1;
                self.by_own_count(now, ask, call, want, true);
            }
            self.closed(ask);
        }
        let mut out = Vec::new();
        let Holder { books, questions, said, newest, .. } = self;
        books.retain(|post, book| {
            let undecided = questions.iter().find(|(_, question)| question.to == *post);
            let upto = undecided.map_or(*newest, |(n, _)| n - 1);
            let kept = book.tick(now, upto, &mut out);
            said.extend(out.drain(..).map(|(over, word)| (*post, over, word)));
            kept
        });
    }

    /// What is new goes out to all owners.
    pub fn write_all(&mut self, now: Time) {
        let owners: Vec<Post> = self.books.keys().copied().collect();
        owners.into_iter().for_each(|owner| self.write(now, owner));
    }

    /// What is new to this one.
    pub fn write(&mut self, now: Time, owner: Post) {
        let Some(book) = self.books.get_mut(&owner) else { return };
        let mut out = Vec::new();
        book.write(now, &mut self.newest, &mut out);
        self.said.extend(out.into_iter().map(|(over, word)| (owner, over, word)));
    }

    pub fn next_due(&self) -> Option<Time> {
        self.books.values().map(Book::next_due).chain(self.due.next_due()).min()
    }
}
