//! What a backup asks the other backups before it acts for a dead holder: each may have heard what the others have not,
//! since any one's ack is enough for a message to leave. A worker owns one, beside its [`Shelf`].
//!
//! ```text
//! us   → them  which     of the dead one's calls that are mine now do you have?
//! them → us    these     each with its newest record, those that have ended too
//! us   → them  fetch     those of which I have less
//! them → us    fetched   a call each
//! ```
//!
//! Whoever is silent is asked again every 20 ms. When all have told all, or 200 ms are over, the dead one's calls may
//! be acted for. Nobody answers before its own placement has let the dead one go: from then on it takes no record of
//! it, so that what it tells is the last word.

use super::shelf::Shelf;
use super::succession::{Incarnation, Succession};
use super::words::{Mail, Post, Word, encode};
use crate::effect::Over;
use crate::record::RecordNo;
use common::call_hash::CallHash;
use common::ids::{BootId, NodeId};
use common::time::{Duration, Time};
use std::collections::{BTreeMap, BTreeSet};

/// Who has said nothing for so long is asked again.
const EVERY: Duration = Duration::from_millis(20);
/// Then we act on what we have.
const LIMIT: Duration = Duration::from_millis(200);
/// Calls in one part of an answer, and in one word that fetches.
const PART: usize = 80;
const FETCH: usize = 20;
/// Calls under way from one worker: more would only fill its receiver's queue.
const WINDOW: usize = 100;
/// Questions of others that may be followed by another.
const TOLD: usize = 1_024;
/// Odd: takes numbers of incarnations that follow each other far apart.
const SCATTER: u32 = 0x9E37_79B1;

/// The orphans of this incarnation may be acted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    pub dead: NodeId,
    pub boot: BootId,
    /// Everybody who lives has told everything.
    pub complete: bool,
    pub after: Duration,
}

/// What became of questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Begun, one a dead incarnation.
    pub asked: u64,
    pub complete: u64,
    /// Gone on without an answer after 200 ms.
    pub cut_short: u64,
    /// Calls of which another backup knew more.
    pub fetched: u64,
    /// Questions of others that were answered.
    pub told: u64,
}

/// Whose word it is, and to which question.
#[derive(Clone, Copy)]
struct Said {
    now: Time,
    by: Post,
    question: u32,
}

struct Open {
    question: u32,
    since: Time,
    /// We have acted for what was ours under this one.
    but: Option<Succession>,
    asked: BTreeMap<Post, Asked>,
}

/// One who was asked, and what has come of it.
#[derive(Default)]
struct Asked {
    /// Of its answer; none: it has not answered.
    parts: Option<u16>,
    heard: BTreeSet<u16>,
    /// Calls of which it knows more, to be fetched and being fetched.
    lacking: BTreeSet<CallHash>,
    fetching: BTreeSet<CallHash>,
    /// How often it was asked.
    times: u8,
    due: Time,
}

pub struct Exchange {
    us: Post,
    /// How many each node has.
    workers: BTreeMap<NodeId, u16>,
    succession: Succession,
    open: BTreeMap<Incarnation, Open>,
    finished: Vec<Finished>,
    newest: u32,
    /// About whom others have asked.
    answered: BTreeMap<(Post, u32), Incarnation>,
    pub counters: Counters,
}

impl Exchange {
    pub fn new(us: Post, workers: BTreeMap<NodeId, u16>) -> Exchange {
        Exchange {
            us,
            workers,
            succession: Succession::default(),
            open: BTreeMap::new(),
            finished: Vec::new(),
            // An answer to another incarnation's question is none to ours.
            newest: (us.boot.0 as u32).wrapping_mul(SCATTER),
            answered: BTreeMap::new(),
            counters: Counters::default(),
        }
    }

    /// Another placement stands, and the shelf knows ([`Shelf::placed`]). About each incarnation that has died since
    /// `before` (none: nothing stood), and about those that had died already and of whose calls some have become ours
    /// only now, whoever may be their other backup is asked.
    pub fn placed(&mut self, now: Time, before: Option<&Succession>, shelf: &Shelf, mail: &mut Mail) {
        self.succession = shelf.succession().clone();
        let lives = |incarnation: Incarnation| shelf.succession().lives(incarnation);
        self.answered.retain(|(by, _), _| lives((by.node, by.boot)));
        self.open.retain(|dead, _| !lives(*dead));
        for open in self.open.values_mut() {
            open.asked.retain(|post, _| lives((post.node, post.boot)));
        }
        if let Some(before) = before {
            for dead in self.inherited(before, shelf) {
                let but = match self.open.remove(&dead) {
                    Some(open) => open.but,
                    None => Some(before.clone()),
                };
                self.begin(now, dead, but);
            }
            let us = (self.us.node, self.us.boot);
            for dead in before.current().inputs().live().filter(|dead| *dead != us && !lives(*dead)) {
                self.begin(now, dead, None);
            }
        }
        self.tick(now, mail);
    }

    /// What others ask is answered from the shelf; what they answer is put there.
    pub fn hear(&mut self, now: Time, from: Post, word: Word, shelf: &mut Shelf, mail: &mut Mail) {
        match word {
            Word::Which { question, dead, boot } => {
                self.tell(Said { now, by: from, question }, (dead, boot), shelf, mail);
            }
            Word::Fetch { question, hashes } => self.give(Said { now, by: from, question }, &hashes, shelf, mail),
            Word::These { question, part, parts, calls } => {
                self.told(Said { now, by: from, question }, (part, parts), &calls, shelf, mail);
                self.settle(now);
            }
            Word::Fetched { question, hash, no, clock, image } => {
                let said = Said { now, by: from, question };
                let Some((node, boot)) = self.fetched(said, hash, mail) else { return };
                let mut image = image.map(|image| *image).unwrap_or_default();
                image.shift(clock, now);
                let worker = hash.worker(self.workers_of(node));
                shelf.put_newer(hash, Post { node, boot, worker }, no, image);
                self.settle(now);
            }
            Word::Letter { .. } | Word::Acks { .. } | Word::Want { .. } => {}
            Word::Quarantine { .. } | Word::Admission(_) | Word::Trunks { .. } => {}
        }
    }

    /// Asks again who was silent; gives up after 200 ms.
    pub fn tick(&mut self, now: Time, mail: &mut Mail) {
        self.settle(now);
        for (dead, open) in &mut self.open {
            for (to, asked) in open.asked.iter_mut().filter(|(_, asked)| !asked.is_done() && asked.due <= now) {
                asked.ask(Said { now, by: *to, question: open.question }, *dead, mail);
            }
        }
    }

    pub fn next_due(&self) -> Option<Time> {
        let of = |open: &Open| {
            let asked = open.asked.values().filter(|asked| !asked.is_done()).map(|asked| asked.due);
            asked.chain([open.since + LIMIT]).min()
        };
        self.open.values().filter_map(of).min()
    }

    /// Each once, unless calls of a dead one become ours later.
    pub fn take_finished(&mut self) -> Vec<Finished> {
        std::mem::take(&mut self.finished)
    }

    /// Whether calls of this dead incarnation must not be acted for yet.
    pub fn is_open(&self, dead: NodeId, boot: BootId) -> bool {
        self.open.contains_key(&(dead, boot))
    }

    fn begin(&mut self, now: Time, dead: Incarnation, but: Option<Succession>) {
        self.newest = self.newest.wrapping_add(1);
        self.counters.asked += 1;
        let asked = self.others().into_iter().map(|post| (post, Asked { due: now, ..Asked::default() })).collect();
        self.open.insert(dead, Open { question: self.newest, since: now, but, asked });
    }

    /// Those who had died already, where we may follow only now: somebody has died who was perhaps to act for their calls.
    /// What is on our own shelf does not tell: we may have come back after their death, and have none of it.
    fn inherited(&self, before: &Succession, shelf: &Shelf) -> BTreeSet<Incarnation> {
        if before.current().inputs().live().all(|incarnation| self.succession.lives(incarnation)) {
            return BTreeSet::new();
        }
        let was_dead = |dead: &Incarnation| !before.lives(*dead) && !self.succession.lives(*dead);
        shelf.incarnations().into_iter().chain(before.incarnations()).filter(was_dead).collect()
    }

    /// The workers of other live nodes that may have shadows of calls which are ours: each has those of its share of
    /// the hashes, and every node shares them out in ascending order.
    fn others(&self) -> Vec<Post> {
        if !self.succession.lives((self.us.node, self.us.boot)) {
            return Vec::new();
        }
        let (ours, of) = (u64::from(self.us.worker), u64::from(self.workers_of(self.us.node)));
        let mut posts = Vec::new();
        for (node, boot) in self.succession.current().inputs().live().filter(|(node, _)| *node != self.us.node) {
            let workers = self.workers_of(node);
            let overlaps = |worker: &u16| {
                let (theirs, all) = (u64::from(*worker), u64::from(workers));
                theirs * of < (ours + 1) * all && ours * all < (theirs + 1) * of
            };
            posts.extend((0..workers).filter(overlaps).map(|worker| Post { node, boot, worker }));
        }
        posts
    }

    /// Answers only if our placement says of both what the asker's says.
    fn tell(&mut self, to: Said, dead: Incarnation, shelf: &Shelf, mail: &mut Mail) {
        let (succession, theirs) = (&self.succession, (to.by.node, to.by.boot));
        if succession.lives(dead) || !succession.lives(theirs) {
            return;
        }
        let workers = self.workers_of(to.by.node);
        let is_theirs =
            |hash: CallHash| succession.heir(hash, dead) == Some(theirs) && hash.worker(workers) == to.by.worker;
        let known = shelf.held_by(dead).chain(shelf.ended_by(dead));
        let calls: Vec<(CallHash, RecordNo)> = known.filter(|(hash, _)| is_theirs(*hash)).collect();
        let parts = calls.len().div_ceil(PART).clamp(1, usize::from(u16::MAX)) as u16;
        for part in 0..parts {
            let calls = calls.iter().skip(usize::from(part) * PART).take(PART).copied().collect();
            let word = Word::These { question: to.question, part, parts, calls };
            mail.put(to.by, Over::EveryPlane, &encode(&word));
        }
        if self.answered.len() >= TOLD {
            self.answered.pop_first();
        }
        self.answered.insert((to.by, to.question), dead);
        self.counters.told += 1;
    }

    fn give(&self, to: Said, hashes: &[CallHash], shelf: &Shelf, mail: &mut Mail) {
        let Some(dead) = self.answered.get(&(to.by, to.question)) else { return };
        for hash in hashes {
            let (no, image) = shelf.left_of(*hash, *dead);
            let image = image.map(|image| Box::new(image.clone()));
            let word = Word::Fetched { question: to.question, hash: *hash, no, clock: to.now, image };
            mail.put(to.by, Over::EveryPlane, &encode(&word));
        }
    }

    fn told(&mut self, said: Said, part: (u16, u16), calls: &[(CallHash, RecordNo)], shelf: &Shelf, mail: &mut Mail) {
        let Some((dead, open)) = self.open.iter_mut().find(|(_, open)| open.question == said.question) else { return };
        let Some(asked) = open.asked.get_mut(&said.by).filter(|asked| !asked.has_told()) else { return };
        if !asked.take_part(part) {
            return;
        }
        let us = Some((self.us.node, self.us.boot));
        let is_new = |hash: CallHash| open.but.as_ref().is_none_or(|before| before.heir(hash, *dead) != us);
        let lacking = calls.iter().filter(|(hash, no)| is_new(*hash) && shelf.lacks(*hash, *dead, *no));
        asked.lacking.extend(lacking.map(|(hash, _)| *hash));
        asked.due = said.now + EVERY;
        asked.fetch(said, mail);
    }

    /// Of whom it was, if we wait for it.
    fn fetched(&mut self, said: Said, hash: CallHash, mail: &mut Mail) -> Option<Incarnation> {
        let (dead, open) = self.open.iter_mut().find(|(_, open)| open.question == said.question)?;
        let asked = open.asked.get_mut(&said.by)?;
        if !asked.fetching.remove(&hash) {
            return None;
        }
        asked.due = said.now + EVERY;
        asked.fetch(said, mail);
        self.counters.fetched += 1;
        Some(*dead)
    }

    /// Closes what is complete, or has taken too long.
    fn settle(&mut self, now: Time) {
        let (finished, counters) = (&mut self.finished, &mut self.counters);
        self.open.retain(|(dead, boot), open| {
            let (complete, after) = (open.is_complete(), now.since(open.since));
            let is_over = complete || after >= LIMIT;
            if is_over {
                finished.push(Finished { dead: *dead, boot: *boot, complete, after });
                counters.complete += u64::from(complete);
                counters.cut_short += u64::from(!complete);
            }
            !is_over
        });
    }

    /// A node of which nothing is configured has as many as we.
    fn workers_of(&self, node: NodeId) -> u16 {
        let configured = self.workers.get(&node).or(self.workers.get(&self.us.node));
        configured.copied().unwrap_or(1).max(1)
    }
}

impl Open {
    fn is_complete(&self) -> bool {
        self.asked.values().all(Asked::is_done)
    }
}

impl Asked {
    fn has_told(&self) -> bool {
        self.parts.is_some_and(|parts| self.heard.len() == usize::from(parts))
    }

    fn is_done(&self) -> bool {
        self.has_told() && self.lacking.is_empty() && self.fetching.is_empty()
    }

    /// Whether it is new. An answer in another number of parts is another answer.
    fn take_part(&mut self, (part, parts): (u16, u16)) -> bool {
        if part >= parts {
            return false;
        }
        if self.parts != Some(parts) {
            self.parts = Some(parts);
            self.heard.clear();
        }
        self.heard.insert(part)
    }

    /// For all that has not come: the planes in turn.
    fn ask(&mut self, to: Said, (dead, boot): Incarnation, mail: &mut Mail) {
        let over = Over::InTurn(self.times);
        self.times = self.times.saturating_add(1);
        self.due = to.now + EVERY;
        if !self.has_told() {
            mail.put(to.by, over, &encode(&Word::Which { question: to.question, dead, boot }));
        }
        let hashes: Vec<CallHash> = self.fetching.iter().copied().collect();
        for hashes in hashes.chunks(FETCH) {
            mail.put(to.by, over, &encode(&Word::Fetch { question: to.question, hashes: hashes.to_vec() }));
        }
    }

    /// The next ones, as far as the window is open.
    fn fetch(&mut self, to: Said, mail: &mut Mail) {
        while self.fetching.len() + FETCH <= WINDOW && !self.lacking.is_empty() {
            let hashes: Vec<CallHash> = std::iter::from_fn(|| self.lacking.pop_first()).take(FETCH).collect();
            self.fetching.extend(hashes.iter().copied());
            let over = Over::InTurn(self.times);
            mail.put(to.by, over, &encode(&Word::Fetch { question: to.question, hashes }));
        }
    }
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
