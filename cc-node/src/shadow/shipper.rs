//! The holder's side of shadowing: one a worker. The shell and the simulator push every effect of the engine through
//! it, in order, and carry its mail to the backups and their words back.
//!
//! A record is applied to our own image of its call and goes to the call's backups at once; what may not leave before
//! it is with one of them waits in `held`. A `link` sees to it that a backup gets what it has not heard. Another
//! placement moves calls from backup to backup: a walk over all of them, some at each tick.

use super::held::Held;
use super::link::{About, Bag, Links, Written};
use super::own::{Backups, Own, OwnCalls};
use super::words::{Body, Parcel, Post, Word, encode_body};
use crate::effect::{Effect, Record, RecordNo};
use crate::image::Image;
use crate::record::What;
use bytes::Bytes;
use common::call_hash::CallHash;
use common::ids::NodeId;
use common::placement::Placement;
use common::time::{Duration, Time};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Backups of a call, while so many live.
const BACKUPS: usize = 2;
/// Calls that one tick of the walk looks at.
const PORTION: usize = 1_024;

/// Counters since the start, then what is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub records: u64,
    /// Sent the first time; and again.
    pub letters: u64,
    pub resends: u64,
    /// Calls told whole.
    pub wholes: u64,
    /// Messages that left though no backup had acknowledged: none did in 100 ms, or none could.
    pub unprotected: u64,
    /// Likewise, because too many waited.
    pub overfull: u64,
    pub calls: usize,
    /// Messages that wait.
    pub held: usize,
    /// Workers of backups that we write to, and those of them that are slow.
    pub links: usize,
    pub slow: usize,
}

pub struct Shipper {
    us: Post,
    /// Of each node.
    workers: BTreeMap<NodeId, u16>,
    placement: Arc<Placement>,
    /// Counts the placements that we have heard of.
    change: u64,
    /// Which call the walk has come to, and when it was to go on.
    walk: Option<(CallHash, Time)>,
    /// Where the count of copies has come to, and what it came to last.
    census: (CallHash, Copies),
    copies: Copies,
    own: OwnCalls,
    links: Links,
    held: Held,
    bag: Bag,
    records: u64,
}

/// How many calls no backup holds, one does, and two do.
pub type Copies = [u64; BACKUPS + 1];

impl Shipper {
    /// `workers`: of each node by the rack file; 1 if it does not say.
    pub fn new(us: Post, workers: BTreeMap<NodeId, u16>) -> Shipper {
        Shipper {
            us,
            workers,
            placement: Arc::new(Placement::empty()),
            change: 0,
            walk: None,
            census: (CallHash(0), Copies::default()),
            copies: Copies::default(),
            own: OwnCalls::default(),
            links: Links::default(),
            held: Held::default(),
            bag: Bag::default(),
            records: 0,
        }
    }

    /// Takes one effect of the engine; what may be carried out now comes out at `released`. Records do not: they are
    /// mail.
    pub fn take(&mut self, now: Time, effect: Effect, released: &mut Vec<Effect>) {
        match effect {
            Effect::Journal(record) => self.journal(now, record),
            Effect::Forgotten => self.forget(),
            effect => self.held.take(effect, released),
        }
    }

    fn journal(&mut self, now: Time, record: Record) {
        let Record { no, hash, call: key, what } = record;
        self.records += 1;
        // Its CDR was durable only after the call had become another's: that one tells of it, and what this node says could
        // take the copy of it away.
        if matches!(what, What::Written) && self.own.get(hash).is_none() {
            return;
        }
        self.reassign(now, hash);
        let backups = match self.own.get(hash) {
            Some(own) => own.backups.clone(),
            None => self.backups(hash),
        };
        let previous = self.own.open(hash, &backups, self.change);
        let lazy = !what.is_waited_for();
        let body = Body::Record { no, previous, hash, key, what };
        let octets = if backups.is_empty() { Bytes::new() } else { encode_body(&body) };
        let Body::Record { key, what, .. } = body else { return };
        let left = self.own.apply(now, no, hash, &key, what);
        let written = Written { hash, no, begins: previous == RecordNo(0), lazy, octets };
        let mut owing = Backups::new();
        for post in &backups {
            let link = self.links.at(now, self.change, *post);
            if link.record(now, &written, &mut self.bag) {
                owing.push(*post);
            }
            if !left {
                link.gone(hash);
            }
            link.pump(now, &self.own, &mut self.bag);
        }
        if !backups.is_empty() {
            self.held.written(now, no, hash, owing);
        }
    }

    /// A word of a backup: what it has got, or what it misses. Others are for the shelf.
    pub fn hear(&mut self, now: Time, from: Post, word: &Word, released: &mut Vec<Effect>) {
        let Some(link) = self.links.get_mut(from) else { return };
        match word {
            Word::Acks { numbers } => {
                for about in numbers.iter().filter_map(|number| link.acknowledged(now, *number)) {
                    match about {
                        // Who has a record has those before it. If they were waited for one by one, and an ack was
                        // lost, a CANCEL could leave before its INVITE.
                        About::Record { hash, no } => self.held.covered(hash, no, released),
                        // A repeat may have told a former backup to let go of the call.
                        About::Whole { hash, no } if self.own.is_backup(from, hash) => {
                            self.held.covered(hash, no, released);
                        }
                        About::Whole { .. } | About::Release { .. } | About::Check | About::Probe => {}
                    }
                }
            }
            Word::Want { hash } => link.wants(*hash, self.own.get(*hash).map(|own| own.newest)),
            _ => return,
        }
        link.pump(now, &self.own, &mut self.bag);
    }

    /// Another placement stands.
    pub fn placed(&mut self, now: Time, placement: &Arc<Placement>, released: &mut Vec<Effect>) {
        self.placement = placement.clone();
        self.change += 1;
        self.walk = Some((CallHash(0), now));
        let dead = self.links.bury(|post| placement.live(post.node) == Some(post.boot));
        // What only they owed waits for the call's new backups, if there are any.
        for hash in self.held.owed_by(&dead) {
            self.reassign(now, hash);
        }
        self.held.lost(&dead, released);
    }

    /// The engine goes on with a call of a dead holder from now on: it is told to the backups whole, as of this number
    /// of the engine's, for which messages may wait. Its moments are by our clock.
    pub fn adopt(&mut self, now: Time, no: RecordNo, hash: CallHash, image: Image) {
        self.reassign(now, hash);
        let backups = self.backups(hash);
        let own = Own { image, newest: no, backups: backups.clone(), change: self.change };
        self.own.put(hash, own);
        let mut owing = Backups::new();
        for post in &backups {
            let link = self.links.at(now, self.change, *post);
            link.falls_behind(hash, true);
            if !link.is_slow() {
                owing.push(*post);
            }
            link.pump(now, &self.own, &mut self.bag);
        }
        if !backups.is_empty() {
            self.held.written(now, no, hash, owing);
        }
    }

    /// A call of this worker's as its records tell it.
    pub fn image(&self, hash: CallHash) -> Option<Image> {
        self.own.get(hash).map(|own| own.image.clone())
    }

    /// The engine has lost this call: its backups hear that nothing is left of it.
    pub fn abandon(&mut self, now: Time, hash: CallHash) {
        let Some(own) = self.own.remove(hash) else { return };
        for post in own.backups {
            let link = self.links.at(now, self.change, post);
            link.falls_behind(hash, true);
            link.pump(now, &self.own, &mut self.bag);
        }
    }

    /// Its own calls are others' now: whatever was to be told or waited for it is nothing any more. Numbers of letters go on.
    pub fn forget(&mut self) {
        self.own.forget();
        self.held.forget();
        self.links.bury(|_| false);
        self.walk = None;
    }

    /// Repeats letters, gives backups up, lets go what has waited for too long, and walks.
    pub fn tick(&mut self, now: Time, released: &mut Vec<Effect>) {
        self.walk(now);
        for (post, link) in self.links.iter_mut() {
            if link.tick(now, &self.own, &mut self.bag) {
                self.held.lost(&[post], released);
            }
        }
        self.held.expire(now, released);
    }

    pub fn next_due(&self) -> Option<Time> {
        let links = self.links.iter().map(|link| link.next_due());
        links.chain(self.held.next_due()).chain(self.walk.map(|(_, due)| due)).min()
    }

    /// What has been written since the last call, for the shell to seal and send.
    pub fn mail(&mut self) -> Vec<Parcel> {
        self.bag.mail.take()
    }

    pub fn status(&self) -> Status {
        Status {
            records: self.records,
            letters: self.bag.letters,
            resends: self.bag.resends,
            wholes: self.bag.wholes,
            unprotected: self.held.unprotected(),
            overfull: self.held.overfull(),
            calls: self.own.count(),
            held: self.held.messages(),
            links: self.links.iter().count(),
            slow: self.links.iter().filter(|link| link.is_slow()).count(),
        }
    }

    /// How old the oldest record is that no backup has acknowledged and for which messages still may wait.
    pub fn lag(&self, now: Time) -> Option<Duration> {
        self.held.oldest().map(|since| now.since(since))
    }

    /// Counts so many more calls by how many backups hold them; what the last count of all of them came to: none, one, two.
    pub fn count_copies(&mut self, most: usize) -> Copies {
        let (from, mut so_far) = self.census;
        let portion = self.own.hashes(from, most);
        for hash in &portion {
            let Some(own) = self.own.get(*hash) else { continue };
            let holds = |post: &&Post| self.links.get(**post).is_some_and(|link| link.is_in_step(*hash));
            so_far[own.backups.iter().filter(holds).count().min(BACKUPS)] += 1;
        }
        let next = portion.last().filter(|_| portion.len() == most).and_then(|last| last.0.checked_add(1));
        match next {
            Some(next) => self.census = (CallHash(next), so_far),
            None => (self.census, self.copies) = ((CallHash(0), Copies::default()), so_far),
        }
        self.copies
    }

    /// The first two live nodes of its list that are not this one.
    fn backups(&self, hash: CallHash) -> Backups {
        let others = self.placement.list(hash.slot()).filter(|node| *node != self.us.node);
        let post = |node: NodeId| {
            let boot = self.placement.live(node)?;
            let workers = self.workers.get(&node).copied().unwrap_or(1);
            Some(Post { node, boot, worker: hash.worker(workers) })
        };
        others.filter_map(post).take(BACKUPS).collect()
    }

    fn walk(&mut self, now: Time) {
        let Some((from, _)) = self.walk else { return };
        let portion = self.own.hashes(from, PORTION);
        let next = portion.last().filter(|_| portion.len() == PORTION).and_then(|last| last.0.checked_add(1));
        self.walk = next.map(|next| (CallHash(next), now));
        for hash in portion {
            self.reassign(now, hash);
        }
    }

    /// Gives a call the backups that it has by the placement that stands, if that has not been done yet: a new one is
    /// to be told all of it, a former one that it is none any more.
    fn reassign(&mut self, now: Time, hash: CallHash) {
        let Some(own) = self.own.get(hash).filter(|own| own.change != self.change) else { return };
        let (old, new, since) = (own.backups.clone(), self.backups(hash), own.change);
        self.own.assign(hash, new.clone(), self.change);
        for post in old.iter().filter(|post| !new.contains(post)) {
            let Some(link) = self.links.get_mut(*post) else { continue };
            link.part(hash);
            link.pump(now, &self.own, &mut self.bag);
        }
        let waits = self.held.waits(hash);
        for post in &new {
            let link = self.links.at(now, self.change, *post);
            // A link may have been removed and made again meanwhile.
            if old.contains(post) && link.made <= since {
                continue;
            }
            link.falls_behind(hash, true);
            if waits && !link.is_slow() {
                link.hurry(hash);
                self.held.owed(hash, *post);
            }
            link.pump(now, &self.own, &mut self.bag);
        }
    }
}

#[cfg(test)]
#[path = "shipper_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "shipper_bounds_tests.rs"]
mod bounds;

#[cfg(test)]
#[path = "shipper_storm_tests.rs"]
mod storm;
