//! Writes call detail records as JSON lines to `<data>/cc-node-<id>/cdr.jsonl`, and those of missed calls to
//! `missed.jsonl`, on a thread of its own behind a bounded queue: a slow, full or failing disk costs no worker any time.
//! A worker hears which CDRs are durable and tells the shadows only then; until then they hold them, too. Missed calls are
//! in no shadow. `crate::spool` decides what is written when; this is the queue, the thread and (`file`) the disk.

mod file;

use crate::effect::{CallKey, Cdr};
use crate::spool::{At, Disk, Spool, Trouble};
use common::io::clock::Clock;
use common::time::{Duration, Time};
use file::LineFile;
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// CDRs on their way from the workers.
const QUEUE: usize = 8192;
/// Those that found no place in it wait at their worker, so many.
const KEPT: usize = 8192;
/// Octets that wait for the disk: some 90,000 CDRs. And of missed calls.
const WAITING: usize = 64 << 20;
const MISSED_WAITING: usize = 4 << 20;
/// What comes within this time is written and synced together. Nor is the thread woken for each: at a thousand calls a
/// second that costs the worker more than making the CDR.
const GATHER: Duration = Duration::from_millis(5);
/// Nobody waits for a missed call.
const MISSED_GATHER: Duration = Duration::from_secs(1);
/// Trouble with the disk is logged at most this often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
/// At the end of the process what still waits is tried so often, this far apart.
const LAST_TRIES: usize = 5;
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// Counters of the CDR stream.
#[derive(Debug, Default)]
pub struct CdrCounters {
    /// Durable in the file; and of missed calls.
    pub written: AtomicU64,
    pub missed: AtomicU64,
    /// Handed over and not durable yet.
    pub waiting: AtomicU64,
    /// Lost: too many waited; and of missed calls.
    pub overflowed: AtomicU64,
    pub missed_overflowed: AtomicU64,
    /// What the disk did not do, indexed by `At as usize`.
    pub failures: [AtomicU64; At::ALL.len()],
}

enum Order {
    Write { name: Name, cdr: Box<Cdr> },
    Missed(Box<Cdr>),
    Reopen,
}

/// Whose CDR a line is.
struct Name {
    worker: u16,
    call: Arc<CallKey>,
}

/// Calls whose CDRs are durable, on their way back to a worker. It looks once a round, at least each 50 ms: nobody waits
/// for it, so it is not woken.
#[derive(Default)]
struct Receipts {
    any: AtomicBool,
    calls: Mutex<Vec<Arc<CallKey>>>,
}

impl Receipts {
    fn put(&self, calls: &mut Vec<Arc<CallKey>>) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).append(calls);
        self.any.store(true, Ordering::Release);
    }

    fn take(&self, calls: &mut Vec<Arc<CallKey>>) {
        if self.any.load(Ordering::Relaxed) && self.any.swap(false, Ordering::Acquire) {
            calls.append(&mut self.calls.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// A worker's end.
pub struct CdrSink {
    worker: u16,
    queue: SyncSender<Order>,
    /// Found no place in the queue.
    kept: VecDeque<Order>,
    receipts: Arc<Receipts>,
    counters: Arc<CdrCounters>,
}

impl CdrSink {
    /// Never blocks.
    ///
    /// # Errors
    /// Too many wait: it is lost, and counted.
    pub fn write(&mut self, call: Arc<CallKey>, cdr: Box<Cdr>) -> Result<(), Arc<CallKey>> {
        if self.kept.len() == KEPT {
            self.counters.overflowed.fetch_add(1, Ordering::Relaxed);
            return Err(call);
        }
        self.counters.waiting.fetch_add(1, Ordering::Relaxed);
        self.kept.push_back(Order::Write { name: Name { worker: self.worker, call }, cdr });
        self.hand_over();
        Ok(())
    }

    /// Never blocks, and keeps nothing.
    pub fn missed(&mut self, cdr: Box<Cdr>) {
        if self.queue.try_send(Order::Missed(cdr)).is_err() {
            self.counters.missed_overflowed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Once a round: the calls whose CDRs are durable now. What found no place in the queue is tried again.
    pub fn written(&mut self, calls: &mut Vec<Arc<CallKey>>) {
        self.hand_over();
        self.receipts.take(calls);
    }

    /// Oldest first.
    fn hand_over(&mut self) {
        while let Some(order) = self.kept.pop_front() {
            if let Err(TrySendError::Full(order) | TrySendError::Disconnected(order)) = self.queue.try_send(order) {
                self.kept.push_front(order);
                return;
            }
        }
    }
}

impl Drop for CdrSink {
    fn drop(&mut self) {
        self.hand_over();
        let left = self.kept.len();
        if left > 0 {
            tracing::error!(
                left,
                "ALARM: a worker ends, and these CDRs found no place: only other nodes' shadows have them"
            );
        }
    }
}

/// Tells the thread to open the file anew.
pub struct Reopener(SyncSender<Order>);

impl Reopener {
    pub fn reopen(&self) {
        // With a full queue the thread is at work, and sees by itself before each write whether the file was renamed.
        let _ = self.0.try_send(Order::Reopen);
    }
}

/// All ends of the stream; [`Writer::run`] is for a thread of its own.
pub struct CdrStream<D> {
    /// One a worker.
    pub sinks: Vec<CdrSink>,
    pub reopener: Reopener,
    pub counters: Arc<CdrCounters>,
    pub writer: Writer<D>,
}

/// Opens the file, making its directory: a node that cannot write its CDRs does not start.
pub fn open(directory: &Path, workers: u16, clock: Clock) -> io::Result<CdrStream<LineFile>> {
    std::fs::create_dir_all(directory)?;
    let mut files = ["cdr.jsonl", "missed.jsonl"].map(|name| LineFile::new(directory.join(name), clock));
    files.iter_mut().try_for_each(Disk::open)?;
    Ok(stream(files, workers, clock))
}

fn stream<D: Disk>([answered, missed]: [D; 2], workers: u16, clock: Clock) -> CdrStream<D> {
    let (queue, orders) = sync_channel(QUEUE);
    let counters = Arc::new(CdrCounters::default());
    let receipts: Vec<Arc<Receipts>> = (0..workers).map(|_| Arc::default()).collect();
    let sink = |(worker, receipts): (u16, &Arc<Receipts>)| CdrSink {
        worker,
        queue: queue.clone(),
        kept: VecDeque::new(),
        receipts: receipts.clone(),
        counters: counters.clone(),
    };
    let sinks = (0..).zip(&receipts).map(sink).collect();
    let writer = Writer {
        orders,
        answered: Lane::new("cdr.jsonl", answered, WAITING),
        missed: Lane::new("missed.jsonl", missed, MISSED_WAITING),
        missed_at: Time::default(),
        receipts,
        counters: counters.clone(),
        clock,
    };
    CdrStream { sinks, reopener: Reopener(queue), counters, writer }
}

/// A file and what is on its way to it.
struct Lane<D, T> {
    name: &'static str,
    spool: Spool<T>,
    disk: D,
    /// While there is trouble: when the log said so last.
    complained: Option<Time>,
}

impl<D: Disk, T> Lane<D, T> {
    fn new(name: &'static str, disk: D, most: usize) -> Lane<D, T> {
        Lane { name, spool: Spool::new(most), disk, complained: None }
    }

    /// False: it is no JSON.
    fn push(&mut self, cdr: &Cdr, name: T) -> bool {
        match serde_json::to_vec(cdr) {
            Ok(line) => {
                self.spool.push(&line, name);
                true
            }
            Err(error) => {
                tracing::error!(%error, id = cdr.id, "ALARM: a CDR is no JSON");
                false
            }
        }
    }

    /// Those that are durable now.
    fn work(&mut self, now: Time, counters: &CdrCounters) -> Vec<T> {
        let mut durable = Vec::new();
        match self.spool.work(now, &mut self.disk, &mut durable) {
            Err(trouble) => self.complain(now, &trouble, counters),
            Ok(()) if !durable.is_empty() && self.complained.take().is_some() => {
                tracing::info!(file = self.name, "CDRs are written again");
            }
            Ok(()) => {}
        }
        durable
    }

    fn complain(&mut self, now: Time, trouble: &Trouble, counters: &CdrCounters) {
        counters.failures[trouble.at as usize].fetch_add(1, Ordering::Relaxed);
        if self.complained.is_none_or(|at| now.since(at) >= COMPLAIN_EVERY) {
            self.complained = Some(now);
            let (file, waiting) = (self.name, self.spool.waiting());
            tracing::error!(file, waiting, "ALARM: CDRs cannot be written; they wait in memory: {trouble}");
        }
    }
}

pub struct Writer<D> {
    orders: Receiver<Order>,
    answered: Lane<D, Name>,
    missed: Lane<D, ()>,
    /// When missed calls are written next.
    missed_at: Time,
    /// One a worker.
    receipts: Vec<Arc<Receipts>>,
    counters: Arc<CdrCounters>,
    clock: Clock,
}

impl<D: Disk> Writer<D> {
    /// Until every sink is dropped; all is durable then that the disk takes.
    pub fn run(mut self, is_stopping: impl Fn() -> bool) {
        loop {
            let due = self.next_due().map(|due| due.since(self.clock.now()));
            if self.answered.spool.is_full() {
                // Nothing is taken, so the end of the sinks would not be heard.
                if is_stopping() {
                    return self.end();
                }
                std::thread::park_timeout(due.unwrap_or_default().clamp(GATHER, LAST_PAUSE));
            } else {
                match self.orders.recv_timeout(due.unwrap_or(Duration::from_secs(3600))) {
                    Ok(order) => {
                        self.take(order);
                        std::thread::park_timeout(GATHER);
                        self.take_all();
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return self.end(),
                }
            }
            self.work();
        }
    }

    fn next_due(&self) -> Option<Time> {
        let missed = self.missed.spool.next_due().map(|due| due.max(self.missed_at));
        [self.answered.spool.next_due(), missed].into_iter().flatten().min()
    }

    fn take_all(&mut self) {
        while !self.answered.spool.is_full()
            && let Ok(order) = self.orders.try_recv()
        {
            self.take(order);
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Write { name, cdr } => {
                if !self.answered.push(&cdr, name) {
                    self.counters.waiting.fetch_sub(1, Ordering::Relaxed);
                }
            }
            Order::Missed(_) if self.missed.spool.is_full() => {
                self.counters.missed_overflowed.fetch_add(1, Ordering::Relaxed);
            }
            Order::Missed(cdr) => {
                self.missed.push(&cdr, ());
            }
            Order::Reopen => {
                self.answered.spool.reopen();
                self.missed.spool.reopen();
                self.hurry();
            }
        }
    }

    fn hurry(&mut self) {
        self.answered.spool.hurry();
        self.missed.spool.hurry();
        self.missed_at = Time::default();
    }

    fn work(&mut self) {
        let now = self.clock.now();
        let durable = self.answered.work(now, &self.counters);
        self.counters.written.fetch_add(durable.len() as u64, Ordering::Relaxed);
        self.counters.waiting.fetch_sub(durable.len() as u64, Ordering::Relaxed);
        let mut by_worker = vec![Vec::new(); self.receipts.len()];
        for Name { worker, call } in durable {
            by_worker[usize::from(worker)].push(call);
        }
        for (calls, receipts) in by_worker.iter_mut().zip(&self.receipts).filter(|(calls, _)| !calls.is_empty()) {
            receipts.put(calls);
        }
        if now >= self.missed_at {
            let durable = self.missed.work(now, &self.counters).len() as u64;
            self.counters.missed.fetch_add(durable, Ordering::Relaxed);
            if durable > 0 {
                self.missed_at = now + MISSED_GATHER;
            }
        }
    }

    /// Nobody hands anything over any more.
    fn end(&mut self) {
        for _ in 0..LAST_TRIES {
            self.hurry();
            self.work();
            self.take_all();
            if self.waiting() == 0 {
                return;
            }
            std::thread::park_timeout(LAST_PAUSE);
        }
        let waiting = self.waiting();
        tracing::error!(
            waiting,
            "ALARM: the node ends and these CDRs are in no file: only other nodes' shadows have them"
        );
    }

    fn waiting(&self) -> usize {
        self.answered.spool.waiting() + self.missed.spool.waiting()
    }
}

#[cfg(test)]
#[path = "cdr_tests.rs"]
pub mod tests;
