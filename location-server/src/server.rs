//! The core of the location server. It joins log, store and push: commands in → one batch to the log → durable → applied
//! → outcomes and pushes. Deterministic: `io` and the simulated rack run it with their own clocks, disks and networks.

mod effect;

#[cfg(test)]
mod tests;

pub use effect::{CloseReason, Effect, Failure, Input, LinkId};

use crate::clock::LogClock;
use crate::log::LogEntry;
use crate::log::format::MOST_COMMAND;
use crate::replicate::{LeftBehind, Ring, RingLimits, Subscriber};
use crate::store::Store;
use common::ids::{BootId, HistoryId, Level, NodeId};
use common::location::{Command, Entry, IdempotenceKey, LogTime, Outcome};
use common::time::{Duration, Time, WallMillis};
use common::wire::location::{FromServer, ToServer};
use std::collections::{BTreeMap, BTreeSet};

/// Commands that may wait for the log; more are refused at once.
const MOST_WAITING: usize = 8_192;
/// Commands of one batch, made durable by one sync.
const MOST_IN_BATCH: usize = 4_096;
/// Frames of the push that may wait in one link's queue. Outcomes may fill it up to the second bound, above what one node can
/// have waiting and in a batch; then it is too slow.
const MOST_PUSHED: u32 = 32;
pub const MOST_QUEUED: u32 = 16_384;
/// Expiries of one batch.
const MOST_EXPIRIES: usize = 1_024;
const STAMP_EVERY: Duration = Duration::from_secs(1);

pub struct Setup {
    pub history: HistoryId,
    /// Nodes of the rack file; a hello of any other is refused.
    pub nodes: BTreeSet<NodeId>,
    /// `Keys::record_sum`.
    pub sum_key: [u8; 16],
    pub ring: RingLimits,
}

enum Asker {
    Link {
        link: LinkId,
        ask: u64,
    },
    Own(u64),
    /// An expiry: nobody waits for it.
    Nobody,
}

struct Waiting {
    asker: Asker,
    key: IdempotenceKey,
    command: Command,
}

struct Link {
    /// Whose it is, from its hello on.
    node: Option<(NodeId, BootId)>,
    subscriber: Option<Subscriber>,
    queued: u32,
}

/// What the server has counted; `io` shows it as metrics.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub applied: u64,
    pub refused: u64,
    pub failed: u64,
    pub expired: u64,
    pub batches: u64,
    pub reloads: u64,
    pub resumes: u64,
}

pub struct Server {
    history: HistoryId,
    nodes: BTreeSet<NodeId>,
    store: Store,
    ring: Ring,
    clock: LogClock,
    last_written: Option<(LogTime, WallMillis)>,
    links: BTreeMap<LinkId, Link>,
    waiting: Vec<Waiting>,
    batch: Vec<(Waiting, LogEntry)>,
    /// Expiries that are on their way through the log; the next are looked up when they are done.
    expiring: usize,
    /// While the disk is full, expiries are not tried again before this.
    expire_after: Time,
    next_stamp: Time,
    broken: Option<String>,
    stats: Stats,
}

impl Server {
    /// An empty server. Feed it the log by [`Server::replay`], then [`Server::start`] it.
    pub fn new(setup: Setup) -> Server {
        Server {
            history: setup.history,
            nodes: setup.nodes,
            store: Store::new(setup.sum_key),
            ring: Ring::new(setup.ring),
            clock: LogClock::start(None, Time(0), WallMillis(0)),
            last_written: None,
            links: BTreeMap::new(),
            waiting: Vec::new(),
            batch: Vec::new(),
            expiring: 0,
            expire_after: Time(0),
            next_stamp: Time(0),
            broken: None,
            stats: Stats::default(),
        }
    }

    /// Applies an entry that the log already held when the server started.
    pub fn replay(&mut self, entry: &LogEntry) {
        self.apply(entry);
        self.last_written = Some((entry.time, entry.wall));
    }

    /// The log is replayed: log time goes on from its last entry.
    pub fn start(&mut self, now: Time, wall: WallMillis) {
        self.clock = LogClock::start(self.last_written, now, wall);
        self.next_stamp = now + STAMP_EVERY;
    }

    pub fn handle(&mut self, now: Time, wall: WallMillis, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Frame { link, frame } => self.frame(link, frame, out),
            Input::Sent { link, frames } => {
                if let Some(link) = self.links.get_mut(&link) {
                    link.queued = link.queued.saturating_sub(frames);
                }
                self.push(out);
            }
            Input::Closed { link } => drop(self.links.remove(&link)),
            Input::Ask { ask, key, command } => self.ask(Waiting { asker: Asker::Own(ask), key, command }, out),
            Input::Durable => self.durable(out),
            Input::NotWritten { reason } => self.not_written(now, &reason, out),
            Input::Broken { reason } => {
                self.broken = Some(reason.clone());
                self.not_written(now, &reason, out);
                out.push(Effect::Halt { reason });
            }
        }
        self.next_batch(now, wall, out);
    }

    /// Stamps and expiries that are due.
    pub fn tick(&mut self, now: Time, wall: WallMillis, out: &mut Vec<Effect>) {
        if now >= self.next_stamp {
            self.next_stamp = now + STAMP_EVERY;
            let time = self.clock.now(now);
            let ids: Vec<LinkId> = self.links.keys().copied().collect();
            for id in ids {
                let stamp = self.links.get(&id).and_then(|l| l.subscriber.as_ref()?.stamp(&self.store, time));
                stamp.into_iter().for_each(|frame| self.send(id, frame, out));
            }
        }
        self.next_batch(now, wall, out);
    }

    pub fn next_due(&self) -> Option<Time> {
        // While a batch is on its way, its end looks for what is due.
        let expiry = self.store.next_expiry().filter(|_| self.batch.is_empty() && self.broken.is_none());
        let expiry = expiry.map(|at| self.clock.when(at).max(self.expire_after));
        [Some(self.next_stamp), expiry].into_iter().flatten().min()
    }

    fn frame(&mut self, id: LinkId, frame: ToServer, out: &mut Vec<Effect>) {
        let known = self.links.get(&id).and_then(|l| l.node);
        match (frame, known) {
            (ToServer::Hello { node, boot, history, level, subscribe }, None) => {
                if !self.nodes.contains(&node) {
                    return out.push(Effect::Close { link: id, why: CloseReason::UnknownNode(node) });
                }
                let subscriber =
                    subscribe.then(|| Subscriber::at(self.history, &self.store, &self.ring, (history, level)));
                let reload = matches!(subscriber, Some(Subscriber::Reloads(_)));
                self.stats.reloads += u64::from(reload);
                self.stats.resumes += u64::from(subscribe && !reload);
                self.links.insert(id, Link { node: Some((node, boot)), subscriber, queued: 0 });
                let (history, level) = (self.history, self.store.level());
                self.send(id, FromServer::Welcome { history, level, reload }, out);
                self.push(out);
            }
            (ToServer::Hello { .. }, Some(_)) => self.close(id, CloseReason::SecondHello, out),
            (_, None) => self.close(id, CloseReason::NoHello, out),
            // The stream has taken note of the keys.
            (ToServer::Ping | ToServer::Keys { .. }, Some(_)) => {}
            (ToServer::Command { ask, key, command }, Some(_)) => {
                let asker = Asker::Link { link: id, ask };
                match command {
                    Command::Register(_) => self.ask(Waiting { asker, key, command }, out),
                    _ => self.answer(asker, Err(Failure::NotForNodes), out),
                }
            }
        }
    }

    fn ask(&mut self, waiting: Waiting, out: &mut Vec<Effect>) {
        let size = postcard::experimental::serialized_size(&waiting.command).unwrap_or(usize::MAX);
        let failure = match &self.broken {
            Some(reason) => Failure::Log(reason.clone()),
            None if size > MOST_COMMAND => Failure::TooBig(size),
            None if self.waiting.len() >= MOST_WAITING => Failure::Busy,
            None => return self.waiting.push(waiting),
        };
        self.answer(waiting.asker, Err(failure), out);
    }

    /// Everything that waits goes to the log at once, as soon as the batch before it is done.
    fn next_batch(&mut self, now: Time, wall: WallMillis, out: &mut Vec<Effect>) {
        if !self.batch.is_empty() || self.broken.is_some() {
            return;
        }
        let time = self.clock.now(now).max(self.store.time());
        if self.expiring == 0 && now >= self.expire_after {
            let due = self.store.due(time, MOST_EXPIRIES);
            self.expiring = due.len();
            let key = IdempotenceKey(0);
            self.waiting.splice(0..0, due.into_iter().map(|command| Waiting { asker: Asker::Nobody, key, command }));
        }
        if self.waiting.is_empty() {
            return;
        }
        let first = self.store.level().0 + 1;
        let most = self.waiting.len().min(MOST_IN_BATCH);
        let entries = self.waiting.drain(..most).enumerate().map(|(i, waiting)| {
            let (key, command) = (waiting.key, waiting.command.clone());
            let entry = LogEntry { level: Level(first + i as u64), time, wall, key, command };
            (waiting, entry)
        });
        self.batch = entries.collect();
        out.push(Effect::Append(self.batch.iter().map(|(_, entry)| entry.clone()).collect()));
    }

    /// The batch is on disk: only now it is applied, pushed, and answered, in this order, so that the asker's own replica
    /// knows the binding when the 200 leaves.
    fn durable(&mut self, out: &mut Vec<Effect>) {
        let batch = std::mem::take(&mut self.batch);
        self.stats.batches += 1;
        let mut outcomes = Vec::with_capacity(batch.len());
        for (waiting, entry) in batch {
            let outcome = self.apply(&entry);
            if let Asker::Nobody = waiting.asker {
                self.expiring = self.expiring.saturating_sub(1);
            } else {
                outcomes.push((waiting.asker, outcome));
            }
        }
        self.push(out);
        for (asker, outcome) in outcomes {
            self.answer(asker, Ok(outcome), out);
        }
    }

    fn apply(&mut self, entry: &LogEntry) -> Outcome {
        let (changes, outcome) = self.store.apply(entry.level, entry.time, entry.key, &entry.command);
        self.stats.applied += 1;
        match (&entry.command, &outcome) {
            (Command::Expire { .. }, _) => self.stats.expired += changes.len() as u64,
            (_, Outcome::Refused { .. }) => self.stats.refused += 1,
            _ => {}
        }
        self.entry(Entry { level: entry.level, time: entry.time, changes });
        outcome
    }

    fn entry(&mut self, entry: Entry) {
        self.ring.push(entry);
        for link in self.links.values_mut() {
            let Some(subscriber) = &mut link.subscriber else { continue };
            if subscriber.replaced(self.store.replaced()) == Err(LeftBehind) {
                // Too slow for its own reload: it is closed when its turn to be pushed comes.
                link.queued = MOST_QUEUED;
            }
        }
    }

    fn not_written(&mut self, now: Time, reason: &str, out: &mut Vec<Effect>) {
        self.expiring = 0;
        self.expire_after = now + STAMP_EVERY;
        let mut failed: Vec<Waiting> =
            std::mem::take(&mut self.batch).into_iter().map(|(waiting, _)| waiting).collect();
        if self.broken.is_some() {
            failed.append(&mut self.waiting);
        }
        for waiting in failed {
            self.answer(waiting.asker, Err(Failure::Log(reason.to_owned())), out);
        }
    }

    fn answer(&mut self, asker: Asker, result: Result<Outcome, Failure>, out: &mut Vec<Effect>) {
        self.stats.failed += u64::from(result.is_err());
        match asker {
            Asker::Nobody => {}
            Asker::Own(ask) => out.push(Effect::Answer { ask, result }),
            Asker::Link { link, ask } => {
                let frame = match result {
                    Ok(outcome) => FromServer::Outcome { ask, outcome },
                    Err(failure) => FromServer::Failed { ask, reason: failure.to_string() },
                };
                self.send(link, frame, out);
            }
        }
    }

    /// Gives every subscriber what it lacks, as far as its queue has room.
    fn push(&mut self, out: &mut Vec<Effect>) {
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            while let Some(link) = self.links.get_mut(&id) {
                let Some(subscriber) = &mut link.subscriber else { break };
                if link.queued >= MOST_QUEUED {
                    self.close(id, CloseReason::TooSlow, out);
                    break;
                }
                if link.queued >= MOST_PUSHED {
                    break;
                }
                match subscriber.next(&self.store, &self.ring) {
                    Ok(Some(frame)) => self.send(id, frame, out),
                    Ok(None) => break,
                    Err(LeftBehind) => self.close(id, CloseReason::TooSlow, out),
                }
            }
        }
    }

    fn send(&mut self, id: LinkId, frame: FromServer, out: &mut Vec<Effect>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.queued >= MOST_QUEUED {
            return self.close(id, CloseReason::TooSlow, out);
        }
        link.queued += 1;
        out.push(Effect::Send { link: id, frame });
    }

    fn close(&mut self, link: LinkId, why: CloseReason, out: &mut Vec<Effect>) {
        self.links.remove(&link);
        out.push(Effect::Close { link, why });
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn history(&self) -> HistoryId {
        self.history
    }

    pub fn log_time(&self, now: Time) -> LogTime {
        self.clock.now(now).max(self.store.time())
    }

    /// Why nothing is acknowledged any more.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Nodes that subscribe, each once.
    pub fn subscribers(&self) -> BTreeSet<NodeId> {
        self.links.values().filter(|l| l.subscriber.is_some()).filter_map(|l| Some(l.node?.0)).collect()
    }

    pub fn stats(&self) -> &Stats {
        &self.stats
    }
}
