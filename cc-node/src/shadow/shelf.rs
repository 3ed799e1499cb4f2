//! The backup's side of shadows: images of calls that other nodes' workers hold, built from their letters. A worker
//! owns one; it hears what the worker's datagrams bring, and is asked when a holder has died.
//!
//! A letter is acknowledged only when what it says is here, or is old news. A holder's letters are numbered as they are
//! written, and so are its records: of two letters about a call the later one is believed, whichever comes first. So a
//! copy that comes late neither brings a call back that has ended nor removes one that has begun since.
//!
//! Letters of an incarnation that the placement does not hold live are dropped unread: its calls are others' by then.
//! What it has told remains, its orphans, for who acts for them now.

mod memory;

use super::succession::{Incarnation, Succession};
use super::words::{Body, Mail, Post, Word, encode};
use crate::effect::Over;
use crate::image::Image;
use crate::record::{CallKey, RecordNo, What};
use ahash::RandomState;
use common::call_hash::CallHash;
use common::placement::Placement;
use common::time::{Duration, Time};
use hashbrown::HashMap;
use memory::{Gone, Heard, Last, Wants};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// A call beyond these is not taken, and not acknowledged.
const MOST: usize = 1_000_000;
/// Orphans that another node acts for are kept for so long if that one says nothing of them.
const ORPHANED: Duration = Duration::from_secs(120);
/// Numbers in one word, so that it fits in a datagram.
const ACKS: usize = 200;

/// What is here of one Call-ID.
#[derive(Clone, Debug, PartialEq)]
pub struct Shelved {
    pub holder: Post,
    /// The newest record that is in it.
    pub no: RecordNo,
    pub image: Image,
    /// The latest of the holder's letters that told of it.
    letter: u64,
}

impl Shelved {
    fn is_of(&self, dead: Incarnation) -> bool {
        (self.holder.node, self.holder.boot) == dead
    }
}

/// What is on the shelf, and what became of letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub images: usize,
    /// Those whose holder lives no more.
    pub orphans: usize,
    /// Workers that hold any of them.
    pub holders: usize,
    /// Records.
    pub applied: u64,
    /// Images that came whole.
    pub wholes: u64,
    /// Calls that were asked for.
    pub wants: u64,
    /// Letters of who does not live by the placement.
    pub of_the_dead: u64,
    /// Letters that found no room.
    pub full: u64,
    /// Images that their holder did not name when it checked.
    pub surplus: u64,
    /// Orphans of which nobody said anything more.
    pub orphans_dropped: u64,
}

/// Which letter is read.
#[derive(Clone, Copy)]
struct Letter {
    now: Time,
    from: Post,
    number: u64,
}

/// What a record is to what is here.
enum Verdict {
    Old,
    Next,
    /// The call begins with it.
    First,
    /// Something before it is missing.
    Gap,
    Full,
}

#[derive(Default)]
struct Holder {
    heard: Heard,
    calls: BTreeSet<CallHash>,
    /// Since when no placement holds it live.
    dead: Option<Time>,
}

pub struct Shelf {
    us: Post,
    succession: Succession,
    placed: Time,
    images: HashMap<CallHash, Shelved, RandomState>,
    /// Live ones that have written, and dead ones for as long as orphans are kept.
    holders: BTreeMap<Post, Holder>,
    gone: Gone,
    wants: Wants,
    /// For the end of the batch.
    acks: BTreeMap<Post, Vec<u64>>,
    due: Option<Time>,
    most: usize,
    counters: Status,
}

impl Shelf {
    pub fn new(us: Post) -> Shelf {
        Shelf {
            us,
            succession: Succession::default(),
            placed: Time::default(),
            images: HashMap::with_hasher(RandomState::with_seeds(41, 42, 43, 44)),
            holders: BTreeMap::new(),
            gone: Gone::default(),
            wants: Wants::default(),
            acks: BTreeMap::new(),
            due: None,
            most: MOST,
            counters: Status::default(),
        }
    }

    /// A word of a holder: letters; others are ignored. What is missing is asked for at once; acks wait for
    /// [`Shelf::flush`].
    pub fn hear(&mut self, now: Time, from: Post, word: Word, mail: &mut Mail) {
        let Word::Letter { number, floor, body } = word else { return };
        if !self.is_live(from) {
            self.counters.of_the_dead += 1;
            return;
        }
        let heard = &mut self.holders.entry(from).or_default().heard;
        heard.settle(floor);
        if !heard.knows(number) {
            if !heard.has_room(number) {
                self.counters.full += 1;
                return;
            }
            if !self.read(Letter { now, from, number }, body, mail) {
                return;
            }
        }
        if let Some(holder) = self.holders.get_mut(&from) {
            holder.heard.done(number);
        }
        self.acks.entry(from).or_default().push(number);
    }

    /// At the end of a batch of datagrams: what was gathered is acknowledged, over every plane, since a lost ack delays
    /// messages.
    pub fn flush(&mut self, mail: &mut Mail) {
        for (to, mut numbers) in std::mem::take(&mut self.acks) {
            if !self.is_live(to) {
                continue;
            }
            numbers.sort_unstable();
            numbers.dedup();
            for numbers in numbers.chunks(ACKS) {
                mail.put(to, Over::EveryPlane, &encode(&Word::Acks { numbers: numbers.to_vec() }));
            }
        }
    }

    /// Another placement stands. Before the first nobody is live.
    pub fn placed(&mut self, now: Time, placement: &Placement) {
        self.succession.placed(placement);
        self.placed = now;
        for (post, holder) in &mut self.holders {
            let lives = placement.live(post.node) == Some(post.boot);
            // It comes back without its calls: they are others' since it was removed, and those tell of them.
            if lives && holder.dead.is_some() {
                for hash in std::mem::take(&mut holder.calls) {
                    self.images.remove(&hash);
                }
            }
            holder.dead = if lives { None } else { holder.dead.or(Some(now)) };
        }
        self.look_ahead();
    }

    /// Drops orphans that nobody has told more of for too long. Those that we are to act for stay.
    pub fn tick(&mut self, now: Time) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        let is_over = |holder: &Holder| holder.dead.is_some_and(|since| now.since(since) >= ORPHANED);
        let over: Vec<Post> = self.holders.iter().filter(|(_, h)| is_over(h)).map(|(post, _)| *post).collect();
        for post in over {
            let calls = self.holders.remove(&post).map(|holder| holder.calls).unwrap_or_default();
            let (ours, others): (BTreeSet<CallHash>, BTreeSet<CallHash>) =
                calls.into_iter().partition(|hash| self.is_heir(self.us, *hash, post));
            self.counters.orphans_dropped += others.len() as u64;
            for hash in &others {
                self.images.remove(hash);
            }
            if !ours.is_empty() {
                self.holders.insert(post, Holder { calls: ours, dead: Some(now), ..Holder::default() });
            }
        }
        self.look_ahead();
    }

    pub fn next_due(&self) -> Option<Time> {
        self.due
    }

    pub fn get(&self, hash: CallHash) -> Option<&Shelved> {
        self.images.get(&hash)
    }

    /// Whether an INVITE of it waits for its final response.
    pub fn has_pending(&self, hash: CallHash) -> bool {
        self.get(hash).is_some_and(|shelved| shelved.image.is_pending())
    }

    /// For promotion: from now on it is ours.
    pub fn take(&mut self, hash: CallHash) -> Option<Shelved> {
        let shelved = self.images.remove(&hash)?;
        if let Some(holder) = self.holders.get_mut(&shelved.holder) {
            holder.calls.remove(&hash);
        }
        Some(shelved)
    }

    /// Calls whose holder lives no more and that we are to act for.
    pub fn orphans_of_ours(&self) -> impl Iterator<Item = (CallHash, Post)> {
        let dead = self.holders.iter().filter(|(_, holder)| holder.dead.is_some());
        let calls = dead.flat_map(|(post, holder)| holder.calls.iter().map(move |hash| (*hash, *post)));
        calls.filter(move |(hash, holder)| self.is_heir(self.us, *hash, *holder))
    }

    /// Whose images there are.
    pub fn incarnations(&self) -> BTreeSet<Incarnation> {
        let holding = self.holders.iter().filter(|(_, holder)| !holder.calls.is_empty());
        holding.map(|(post, _)| (post.node, post.boot)).collect()
    }

    /// How many there are of each worker.
    pub fn by_holder(&self) -> impl Iterator<Item = (Post, usize)> {
        let counts = self.holders.iter().map(|(post, holder)| (*post, holder.calls.len()));
        counts.filter(|(_, count)| *count > 0)
    }

    /// Of an incarnation each call with its newest record here.
    pub fn held_by(&self, holder: Incarnation) -> impl Iterator<Item = (CallHash, RecordNo)> {
        let calls = self.holders.range(workers_of(holder)).flat_map(|(_, holder)| holder.calls.iter());
        calls.filter_map(move |hash| Some((*hash, self.images.get(hash)?.no)))
    }

    /// Of an incarnation each call of which it has lately told the end, with the record that was the end.
    pub fn ended_by(&self, holder: Incarnation) -> impl Iterator<Item = (CallHash, RecordNo)> {
        self.gone.all_over(holder)
    }

    /// What is left here of a call of this incarnation, as of which record: 0 if nothing is known of it.
    pub fn left_of(&self, hash: CallHash, holder: Incarnation) -> (RecordNo, Option<&Image>) {
        match self.images.get(&hash).filter(|shelved| shelved.is_of(holder)) {
            Some(shelved) => (shelved.no, Some(&shelved.image)),
            None => (self.gone.over(hash, holder).unwrap_or_default(), None),
        }
    }

    /// Whether who knows this record of a dead holder's knows more of the call than what is here.
    pub fn lacks(&self, hash: CallHash, dead: Incarnation, no: RecordNo) -> bool {
        match self.images.get(&hash) {
            Some(standing) if standing.is_of(dead) => standing.no < no,
            // Who has died later had taken it over from who died before.
            Some(standing) => {
                let before = self.died((standing.holder.node, standing.holder.boot));
                before.is_some_and(|before| self.died(dead).is_some_and(|then| before < then))
            }
            None => self.gone.over(hash, dead).is_none_or(|over| over < no),
        }
    }

    /// What another backup has told of a dead holder's call, if it is newer than what is here. Empty: nothing was left
    /// of it as of this record.
    pub fn put_newer(&mut self, hash: CallHash, holder: Post, no: RecordNo, image: Image) {
        let dead = (holder.node, holder.boot);
        if no == RecordNo(0) || self.is_live(holder) || !self.lacks(hash, dead, no) {
            return;
        }
        if image.is_empty() {
            self.take(hash);
            self.gone.keep(hash, Last { from: holder, letter: 0, no, over: Some(no) });
        } else if self.is_full_for(hash) {
            self.counters.full += 1;
        } else {
            self.put(hash, Shelved { holder, no, image, letter: 0 });
            self.look_ahead();
        }
    }

    pub fn status(&self) -> Status {
        let dead = self.holders.values().filter(|holder| holder.dead.is_some());
        Status {
            images: self.images.len(),
            orphans: dead.map(|holder| holder.calls.len()).sum(),
            holders: self.by_holder().count(),
            ..self.counters
        }
    }

    /// Whether the letter is done with.
    fn read(&mut self, letter: Letter, body: Body, mail: &mut Mail) -> bool {
        match body {
            Body::Record { no, previous, hash, key, what } => match self.judge(letter, no, previous, hash) {
                Verdict::Old => self.heard_again(letter, hash),
                Verdict::Next => self.apply(letter, no, hash, &key, what),
                Verdict::First => {
                    let image = Image::default();
                    self.put(hash, Shelved { holder: letter.from, no, image, letter: letter.number });
                    self.apply(letter, no, hash, &key, what);
                }
                Verdict::Gap => {
                    self.want(letter, hash, mail);
                    return false;
                }
                Verdict::Full => {
                    self.counters.full += 1;
                    return false;
                }
            },
            Body::Whole { no, hash, clock, image } => return self.whole(letter, no, hash, clock, *image),
            Body::Release { no, hash } => {
                let standing = self.images.get(&hash);
                if standing.is_none_or(|standing| standing.holder == letter.from && standing.no <= no) {
                    self.end(letter, hash, no, false);
                }
            }
            Body::Check { first, last, calls } => self.check(letter, first, last, calls, mail),
            Body::Probe => {}
        }
        true
    }

    fn judge(&self, letter: Letter, no: RecordNo, previous: RecordNo, hash: CallHash) -> Verdict {
        let gone = self.gone.last(hash, letter.from);
        if gone.is_some_and(|last| last.letter > letter.number || last.no >= no) {
            return Verdict::Old;
        }
        match self.images.get(&hash) {
            Some(standing) if standing.holder == letter.from && standing.no >= no => Verdict::Old,
            Some(standing) if standing.holder == letter.from && standing.no == previous => Verdict::Next,
            Some(standing) if standing.holder != letter.from && self.is_live(standing.holder) => Verdict::Gap,
            _ if previous != RecordNo(0) => Verdict::Gap,
            None if self.images.len() >= self.most => Verdict::Full,
            // Nothing was left of what is here.
            _ => Verdict::First,
        }
    }

    fn apply(&mut self, letter: Letter, no: RecordNo, hash: CallHash, key: &Arc<CallKey>, what: What) {
        let Some(shelved) = self.images.get_mut(&hash) else { return };
        shelved.image.apply(letter.now, key, what);
        shelved.no = no;
        shelved.letter = shelved.letter.max(letter.number);
        self.counters.applied += 1;
        if shelved.image.is_empty() {
            self.end(letter, hash, no, true);
        }
    }

    /// This letter, too, tells of what is here: no earlier one takes it away.
    fn heard_again(&mut self, letter: Letter, hash: CallHash) {
        if let Some(shelved) = self.images.get_mut(&hash).filter(|shelved| shelved.holder == letter.from) {
            shelved.letter = shelved.letter.max(letter.number);
        }
    }

    fn whole(&mut self, letter: Letter, no: RecordNo, hash: CallHash, clock: Time, mut image: Image) -> bool {
        if self.is_gone(letter, hash, no) {
            return true;
        }
        let standing = self.images.get(&hash).map(|standing| (standing.holder, standing.no));
        if image.is_empty() {
            let told = standing.is_none_or(|(holder, newest)| match holder == letter.from {
                true => newest <= no,
                // The new holder knows what became of an orphan.
                false => !self.is_live(holder) && self.is_heir(letter.from, hash, holder),
            });
            if told {
                self.end(letter, hash, no, true);
            }
            return true;
        }
        if standing.is_some_and(|(holder, newest)| holder == letter.from && newest >= no) {
            self.heard_again(letter, hash);
            return true;
        }
        if self.is_full_for(hash) {
            self.counters.full += 1;
            return false;
        }
        image.shift(clock, letter.now);
        self.put(hash, Shelved { holder: letter.from, no, image, letter: letter.number });
        self.counters.wholes += 1;
        true
    }

    /// Only what no later letter has told is taken away: a call may have begun since the check was written.
    fn check(
        &mut self,
        letter: Letter,
        first: CallHash,
        last: CallHash,
        calls: Vec<(CallHash, RecordNo)>,
        mail: &mut Mail,
    ) {
        let listed: BTreeMap<CallHash, RecordNo> = calls.into_iter().collect();
        let here = self.holders.get(&letter.from).filter(|_| first <= last);
        let here = here.into_iter().flat_map(|holder| holder.calls.range(first..=last)).copied();
        let is_older = |hash: &CallHash| self.images.get(hash).is_none_or(|shelved| shelved.letter < letter.number);
        let surplus: Vec<CallHash> = here.filter(|hash| !listed.contains_key(hash) && is_older(hash)).collect();
        for hash in surplus {
            self.counters.surplus += 1;
            self.end(letter, hash, RecordNo(0), false);
        }
        for (hash, no) in listed {
            let missing = match self.images.get(&hash).filter(|standing| standing.holder == letter.from) {
                Some(standing) => standing.no < no,
                None => !self.is_gone(letter, hash, no),
            };
            if missing {
                self.want(letter, hash, mail);
            }
        }
    }

    fn want(&mut self, letter: Letter, hash: CallHash, mail: &mut Mail) {
        if self.wants.ask(letter.now, hash) {
            self.counters.wants += 1;
            mail.put(letter.from, Over::EveryPlane, &encode(&Word::Want { hash }));
        }
    }

    /// Whether a later letter than this one, or one as of a later record, has told that it is not for us to keep.
    fn is_gone(&self, letter: Letter, hash: CallHash, no: RecordNo) -> bool {
        let gone = self.gone.last(hash, letter.from);
        gone.is_some_and(|last| last.letter > letter.number || last.no > no)
    }

    /// `over`: nothing was left of it after this record. Else it goes on elsewhere, for all we know.
    fn end(&mut self, letter: Letter, hash: CallHash, no: RecordNo, over: bool) {
        self.take(hash);
        self.gone.keep(hash, Last { from: letter.from, letter: letter.number, no, over: over.then_some(no) });
    }

    fn put(&mut self, hash: CallHash, mut shelved: Shelved) {
        let holder = shelved.holder;
        let former = self.take(hash).filter(|former| former.holder == holder);
        shelved.letter = shelved.letter.max(former.map_or(0, |former| former.letter));
        self.images.insert(hash, shelved);
        let dead = if self.is_live(holder) { None } else { Some(self.placed) };
        let new = || Holder { dead, ..Holder::default() };
        self.holders.entry(holder).or_insert_with(new).calls.insert(hash);
    }

    fn is_full_for(&self, hash: CallHash) -> bool {
        self.images.len() >= self.most && !self.images.contains_key(&hash)
    }

    fn is_live(&self, post: Post) -> bool {
        self.succession.lives((post.node, post.boot))
    }

    /// Whether this one acts for the call of a dead holder.
    fn is_heir(&self, who: Post, hash: CallHash, holder: Post) -> bool {
        self.succession.heir(hash, (holder.node, holder.boot)) == Some((who.node, who.boot))
    }

    /// Who acts for whom.
    pub fn succession(&self) -> &Succession {
        &self.succession
    }

    /// Since when it is dead, as far as we know.
    fn died(&self, of: Incarnation) -> Option<Time> {
        if self.succession.lives(of) {
            return None;
        }
        self.holders.range(workers_of(of)).find_map(|(_, holder)| holder.dead).or(Some(self.placed))
    }

    fn look_ahead(&mut self) {
        self.due = self.holders.values().filter_map(|holder| holder.dead).min().map(|since| since + ORPHANED);
    }
}

fn workers_of((node, boot): Incarnation) -> RangeInclusive<Post> {
    Post { node, boot, worker: 0 }..=Post { node, boot, worker: u16::MAX }
}

#[cfg(test)]
#[path = "shelf_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "shelf_storm_tests.rs"]
mod storm;
