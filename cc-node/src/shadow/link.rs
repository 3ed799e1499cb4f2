//! A holder's letters to one backup: numbered, repeated at 5, 15 and 40 ms on one plane after the other until they are
//! acknowledged; later by as much as the backup's answers take longer than that. A record for which nothing waits goes with
//! the next for which something does, at most 20 ms later: half of a call's records cost no datagram of their own. After 100 ms without an answer the backup is *slow*: it is told nothing but probes, once a second,
//! until one is acknowledged. A link remembers which calls its backup does not hold all of, and tells those whole, a
//! few at a time; [`super::shipper`] owns the links.
//!
//! Only one letter that tells all of a call is on its way at a time, so that no old one can be taken for a newer.

use super::own::OwnCalls;
use super::words::{self, Body, LONGEST, Mail, Post, encode_body};
use crate::effect::{Over, RecordNo};
use bytes::Bytes;
use common::call_hash::CallHash;
use common::deadlines::{Deadlines, Handle};
use common::time::{Duration, Time};
use std::collections::{BTreeMap, BTreeSet};

/// When a letter is due again, counted from the first time; after the last it is given up.
const DUE: [Duration; 4] =
    [Duration::from_millis(5), Duration::from_millis(15), Duration::from_millis(40), Duration::from_millis(100)];
/// An answer that usually takes so long puts repeats off by no more.
const LATE: Duration = Duration::from_millis(25);
/// How long a record for which nothing waits may wait for company, and how many may.
const LAZY: Duration = Duration::from_millis(20);
const LAZIES: usize = 128;
/// How often a backup is checked, or probed.
const EACH: Duration = Duration::from_secs(1);
/// Letters on their way; calls beyond that are told whole, later.
const LETTERS: usize = 4_096;
/// Calls on their way whole.
const WHOLES: usize = 64;
/// Calls that a backup may want; a sane one wants only what is ours or was.
const WANTED: usize = 1 << 20;
/// Octets of a body that fits a datagram with its letter's numbers and the sheet's head.
const LONGEST_BODY: usize = LONGEST - 64;

/// What letters are put in, of all links, and how many there were.
#[derive(Default)]
pub struct Bag {
    pub mail: Mail,
    pub letters: u64,
    pub resends: u64,
    pub wholes: u64,
}

/// What a letter is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    Record {
        hash: CallHash,
        no: RecordNo,
    },
    /// `no`: as it was sent first. A repeat tells what is newest then, but the first copy may be the one that arrives.
    Whole {
        hash: CallHash,
        no: RecordNo,
    },
    /// The call goes on; this node is no backup of it.
    Release {
        hash: CallHash,
        no: RecordNo,
    },
    Check,
    Probe,
}

/// A record as it goes to every backup of its call.
pub struct Written {
    pub hash: CallHash,
    pub no: RecordNo,
    /// Nothing of the call was there before it.
    pub begins: bool,
    /// No message waits for it.
    pub lazy: bool,
    /// Its [`Body::Record`].
    pub octets: Bytes,
}

struct Letter {
    about: About,
    /// None of a whole, which is told anew each time.
    octets: Bytes,
    since: Time,
    sent: u8,
    /// When it is repeated; probes are by the second.
    due: Option<Handle>,
}

pub struct Link {
    to: Post,
    /// As of which change of the placement it was made.
    pub made: u64,
    /// Number of the next letter.
    next: u64,
    /// On their way.
    letters: BTreeMap<u64, Letter>,
    /// Those of them that are about records, and those that tell all of a call.
    records: BTreeMap<(CallHash, RecordNo), u64>,
    telling: BTreeMap<CallHash, u64>,
    /// Calls that the backup is not in step with, and whether it may hold something of them. What it cannot know need
    /// not be taken back: otherwise a slow backup's list would grow with every call that comes and goes.
    behind: BTreeMap<CallHash, bool>,
    /// Those of them for which a message waits: they come first.
    hurry: BTreeSet<CallHash>,
    /// Calls that no datagram can tell; tried again when they change.
    too_long: BTreeSet<CallHash>,
    /// The letter that probes, while the backup is slow.
    probe: Option<u64>,
    due: Deadlines<u64>,
    /// Records that wait for company, and since when.
    lazy: Vec<(CallHash, RecordNo, Bytes)>,
    lazy_since: Time,
    /// How long its answers take of late, counted from the first copy.
    answers_in: Duration,
    /// When the next check or probe goes out.
    beat: Time,
    /// From where the next check lists calls.
    check_from: CallHash,
}

impl Link {
    fn new(now: Time, made: u64, to: Post, next: u64) -> Link {
        Link {
            to,
            made,
            next,
            letters: BTreeMap::new(),
            records: BTreeMap::new(),
            telling: BTreeMap::new(),
            behind: BTreeMap::new(),
            hurry: BTreeSet::new(),
            too_long: BTreeSet::new(),
            probe: None,
            due: Deadlines::new(),
            lazy: Vec::new(),
            lazy_since: now,
            answers_in: Duration::ZERO,
            beat: now + EACH,
            check_from: CallHash(0),
        }
    }

    pub fn is_slow(&self) -> bool {
        self.probe.is_some()
    }

    /// Whether the backup is told everything of this call; the newest may be on its way.
    pub fn is_in_step(&self, hash: CallHash) -> bool {
        !self.is_slow() && !self.behind.contains_key(&hash) && !self.too_long.contains(&hash)
    }

    /// Sends a record, if the backup can make use of it. Whether an acknowledgement may be waited for.
    pub fn record(&mut self, now: Time, written: &Written, bag: &mut Bag) -> bool {
        let Written { hash, no, begins, lazy, octets } = written;
        let unfit = octets.len() > LONGEST_BODY || self.too_long.contains(hash);
        if self.is_slow() || unfit || self.letters.len() >= LETTERS {
            self.falls_behind(*hash, !begins);
            return false;
        }
        if self.behind.contains_key(hash) {
            self.hurry.insert(*hash);
            return true;
        }
        if self.lazy.is_empty() {
            self.lazy_since = now;
        }
        self.lazy.push((*hash, *no, octets.clone()));
        if !lazy || self.lazy.len() >= LAZIES {
            self.send_lazy(now, bag);
        }
        true
    }

    /// What waits for company goes.
    fn send_lazy(&mut self, now: Time, bag: &mut Bag) {
        for (hash, no, octets) in std::mem::take(&mut self.lazy) {
            self.send(now, About::Record { hash, no }, octets, bag);
        }
    }

    /// The backup does not hold all of this call. `knows`: it may hold something of it.
    pub fn falls_behind(&mut self, hash: CallHash, knows: bool) {
        let knows = self.too_long.remove(&hash) || knows;
        self.behind.entry(hash).or_insert(knows);
    }

    /// A message waits for this call, which is behind.
    pub fn hurry(&mut self, hash: CallHash) {
        if self.behind.contains_key(&hash) {
            self.hurry.insert(hash);
        }
    }

    /// This node is no backup of the call any more.
    pub fn part(&mut self, hash: CallHash) {
        self.too_long.remove(&hash);
        if self.behind.get(&hash) == Some(&false) && !self.telling.contains_key(&hash) {
            self.behind.remove(&hash);
            self.hurry.remove(&hash);
        } else {
            self.behind.insert(hash, true);
        }
    }

    /// Nothing is left of the call.
    pub fn gone(&mut self, hash: CallHash) {
        if self.is_slow() && self.behind.get(&hash) == Some(&false) {
            self.behind.remove(&hash);
            self.hurry.remove(&hash);
        }
    }

    /// The backup misses something of this call; `newest`: what it should hold, if there is such a call.
    pub fn wants(&mut self, hash: CallHash, newest: Option<RecordNo>) {
        let on_its_way = self.telling.get(&hash).and_then(|number| self.letters.get(number));
        let comes = on_its_way.is_some_and(|letter| match letter.about {
            About::Whole { no, .. } => newest.is_none_or(|newest| no >= newest),
            _ => false,
        });
        if !comes && !self.too_long.contains(&hash) && self.behind.len() < WANTED {
            self.behind.insert(hash, true);
        }
    }

    /// What the letter was about, unless that is settled already.
    pub fn acknowledged(&mut self, now: Time, number: u64) -> Option<About> {
        let took = now.since(self.letters.get(&number)?.since).min(LATE);
        self.answers_in = (self.answers_in * 7 + took) / 8;
        let about = self.remove(number)?;
        match about {
            About::Whole { hash, no } | About::Release { hash, no } => self.settle(hash, no),
            About::Probe => {
                self.probe = None;
                self.beat = now + EACH;
            }
            About::Record { .. } | About::Check => {}
        }
        Some(about)
    }

    /// Tells calls that are behind, as many as may be on their way.
    pub fn pump(&mut self, now: Time, own: &OwnCalls, bag: &mut Bag) {
        while !self.is_slow() && self.telling.len() < WHOLES && self.letters.len() < LETTERS {
            let free = |hash: &&CallHash| !self.telling.contains_key(*hash);
            let Some(hash) = self.hurry.iter().chain(self.behind.keys()).find(free).copied() else { return };
            self.send_lazy(now, bag);
            self.hurry.remove(&hash);
            self.behind.remove(&hash);
            let body = own.account(now, self.to, hash);
            let octets = encode_body(&body);
            match body {
                Body::Whole { .. } if octets.len() > LONGEST_BODY => {
                    self.too_long.insert(hash);
                }
                Body::Whole { no, image, .. } => {
                    bag.wholes += u64::from(!image.is_empty());
                    self.send(now, About::Whole { hash, no }, octets, bag);
                }
                Body::Release { no, .. } => {
                    self.send(now, About::Release { hash, no }, octets, bag);
                }
                Body::Record { .. } | Body::Check { .. } | Body::Probe => {}
            }
        }
    }

    /// Repeats what is due, checks and probes. True: the backup has turned slow, and what it owed is not to be waited
    /// for.
    pub fn tick(&mut self, now: Time, own: &OwnCalls, bag: &mut Bag) -> bool {
        while let Some(number) = self.due.expire(now) {
            if self.letters.get(&number).is_some_and(|letter| usize::from(letter.sent) >= DUE.len()) {
                self.turn_slow(now, bag);
                return true;
            }
            self.repeat(now, number, own, bag);
        }
        if !self.lazy.is_empty() && now.since(self.lazy_since) >= LAZY {
            self.send_lazy(now, bag);
        }
        if now < self.beat {
            return false;
        }
        self.beat = now + EACH;
        match self.probe {
            Some(number) => self.repeat(now, number, own, bag),
            None if self.letters.len() < LETTERS => {
                let (body, next) = own.check(self.to, self.check_from);
                self.check_from = next;
                self.send(now, About::Check, encode_body(&body), bag);
            }
            None => {}
        }
        false
    }

    pub fn next_due(&self) -> Time {
        let lazy = (!self.lazy.is_empty()).then(|| self.lazy_since + LAZY);
        [self.due.next_due(), lazy].into_iter().flatten().fold(self.beat, Time::min)
    }

    /// Every letter is dropped, and what it told is told again some day. A first probe at once: it waits in the socket
    /// of a process that stands still, and is answered when that goes on.
    fn turn_slow(&mut self, now: Time, bag: &mut Bag) {
        let lazy = std::mem::take(&mut self.lazy).into_iter().map(|(hash, ..)| hash);
        let dropped = self.records.keys().map(|(hash, _)| *hash).chain(self.telling.keys().copied());
        self.behind.extend(dropped.chain(lazy).map(|hash| (hash, true)));
        self.letters.clear();
        self.records.clear();
        self.telling.clear();
        self.hurry.clear();
        self.due = Deadlines::new();
        self.probe = Some(self.send(now, About::Probe, encode_body(&Body::Probe), bag));
        self.beat = now + EACH;
    }

    fn send(&mut self, now: Time, about: About, octets: Bytes, bag: &mut Bag) -> u64 {
        let number = self.next;
        self.next += 1;
        match about {
            About::Record { hash, no } => {
                self.records.insert((hash, no), number);
            }
            About::Whole { hash, .. } | About::Release { hash, .. } => {
                self.telling.insert(hash, number);
            }
            About::Check | About::Probe => {}
        }
        let due = (about != About::Probe).then(|| self.due.insert(now + DUE[0] + self.late(), number));
        let kept = if matches!(about, About::Whole { .. }) { Bytes::new() } else { octets.clone() };
        self.letters.insert(number, Letter { about, octets: kept, since: now, sent: 1, due });
        bag.letters += 1;
        self.put(number, 0, &octets, bag);
        number
    }

    fn repeat(&mut self, now: Time, number: u64, own: &OwnCalls, bag: &mut Bag) {
        let late = self.late();
        let Some(letter) = self.letters.get_mut(&number) else { return };
        let octets = match letter.about {
            About::Whole { hash, .. } => encode_body(&own.account(now, self.to, hash)),
            _ => letter.octets.clone(),
        };
        if let About::Whole { hash, .. } = letter.about
            && octets.len() > LONGEST_BODY
        {
            self.remove(number);
            self.too_long.insert(hash);
            return;
        }
        let turn = letter.sent;
        letter.sent = turn.wrapping_add(1);
        if letter.about != About::Probe {
            // A tick that comes late leaves time for an answer all the same.
            let next = match DUE.get(usize::from(turn)) {
                Some(last) if usize::from(turn) + 1 == DUE.len() => letter.since + *last,
                Some(after) => letter.since + *after + late,
                None => now,
            };
            letter.due = Some(self.due.insert(next.max(now + DUE[0]), number));
        }
        bag.resends += 1;
        self.put(number, turn, &octets, bag);
    }

    /// How much later than by [`DUE`] a letter is repeated: twice as long as answers take is patience enough.
    fn late(&self) -> Duration {
        (self.answers_in * 2).saturating_sub(DUE[0]).min(LATE)
    }

    fn put(&self, number: u64, turn: u8, octets: &[u8], bag: &mut Bag) {
        let floor = self.letters.keys().next().copied().unwrap_or(self.next);
        bag.mail.put(self.to, Over::InTurn(turn), &words::letter(number, floor, octets));
    }

    fn remove(&mut self, number: u64) -> Option<About> {
        let letter = self.letters.remove(&number)?;
        if let Some(due) = letter.due {
            self.due.cancel(due);
        }
        match letter.about {
            About::Record { hash, no } => {
                self.records.remove(&(hash, no));
            }
            About::Whole { hash, .. } | About::Release { hash, .. } => {
                self.telling.remove(&hash);
            }
            About::Check | About::Probe => {}
        }
        Some(letter.about)
    }

    /// The backup has heard all of the call up to this record: letters about older ones are of no use any more, and
    /// some it could never apply.
    fn settle(&mut self, hash: CallHash, upto: RecordNo) {
        let of_call = (hash, RecordNo(0))..=(hash, upto);
        while let Some((&key, &number)) = self.records.range(of_call.clone()).next() {
            self.records.remove(&key);
            self.remove(number);
        }
    }
}

#[derive(Default)]
pub struct Links {
    links: BTreeMap<Post, Link>,
    /// The next letter's number of those that were removed: should the same incarnation stand again, its numbers go on.
    numbers: BTreeMap<Post, u64>,
}

impl Links {
    /// The link to this backup, a new one if there is none.
    pub fn at(&mut self, now: Time, change: u64, to: Post) -> &mut Link {
        let numbers = &mut self.numbers;
        self.links.entry(to).or_insert_with(|| Link::new(now, change, to, numbers.remove(&to).unwrap_or(1)))
    }

    pub fn get(&self, to: Post) -> Option<&Link> {
        self.links.get(&to)
    }

    pub fn get_mut(&mut self, to: Post) -> Option<&mut Link> {
        self.links.get_mut(&to)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Post, &mut Link)> {
        self.links.iter_mut().map(|(to, link)| (*to, link))
    }

    /// Removes those to backups that do not live; which they were.
    pub fn bury(&mut self, lives: impl Fn(Post) -> bool) -> Vec<Post> {
        let dead: Vec<Post> = self.links.keys().copied().filter(|to| !lives(*to)).collect();
        for to in &dead {
            let Some(link) = self.links.remove(to) else { continue };
            self.numbers.retain(|other, _| other.node != to.node || other.boot == to.boot);
            self.numbers.insert(*to, link.next);
        }
        dead
    }
}
