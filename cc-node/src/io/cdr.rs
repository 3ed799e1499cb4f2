//! Writes call detail records as JSON lines to `<data>/cc-node-<id>/cdr.jsonl`, on a thread of its own behind a bounded
//! queue: a slow, full or failing disk costs no worker any time. A worker hears which CDRs are durable and tells the
//! shadows only then; until then they hold them, too. `crate::spool` decides what is written when; this is the queue, the
//! thread and (`file`) the disk.

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
/// Octets that wait for the disk: some 90,000 CDRs.
const WAITING: usize = 64 << 20;
/// What comes within this time is written and synced together. Nor is the thread woken for each: at a thousand calls a
/// second that costs the worker more than making the CDR.
const GATHER: Duration = Duration::from_millis(5);
/// Trouble with the disk is logged at most this often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
/// At the end of the process what still waits is tried so often, this far apart.
const LAST_TRIES: usize = 5;
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// Counters of the CDR stream.
#[derive(Debug, Default)]
pub struct CdrCounters {
    /// Durable in the file.
    pub written: AtomicU64,
    /// Handed over and not durable yet.
    pub waiting: AtomicU64,
    /// Lost: too many waited.
    pub overflowed: AtomicU64,
    /// What the disk did not do, indexed by `At as usize`.
    pub failures: [AtomicU64; At::ALL.len()],
}

enum Order {
    Write(Handed),
    Reopen,
}

struct Handed {
    name: Name,
    cdr: Box<Cdr>,
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
        self.kept.push_back(Order::Write(Handed { name: Name { worker: self.worker, call }, cdr }));
        self.hand_over();
        Ok(())
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
    let mut file = LineFile::new(directory.join("cdr.jsonl"), clock);
    file.open()?;
    Ok(stream(file, workers, clock))
}

fn stream<D: Disk>(disk: D, workers: u16, clock: Clock) -> CdrStream<D> {
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
        spool: Spool::new(WAITING),
        disk,
        receipts,
        counters: counters.clone(),
        clock,
        complained: None,
    };
    CdrStream { sinks, reopener: Reopener(queue), counters, writer }
}

pub struct Writer<D> {
    orders: Receiver<Order>,
    spool: Spool<Name>,
    disk: D,
    /// One a worker.
    receipts: Vec<Arc<Receipts>>,
    counters: Arc<CdrCounters>,
    clock: Clock,
    /// While there is trouble: when the log said so last.
    complained: Option<Time>,
}

impl<D: Disk> Writer<D> {
    /// Until every sink is dropped; all is durable then that the disk takes.
    pub fn run(mut self, is_stopping: impl Fn() -> bool) {
        loop {
            let due = self.spool.next_due().map(|due| due.since(self.clock.now()));
            if self.spool.is_full() {
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

    fn take_all(&mut self) {
        while !self.spool.is_full()
            && let Ok(order) = self.orders.try_recv()
        {
            self.take(order);
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Write(Handed { name, cdr }) => match serde_json::to_vec(&cdr) {
                Ok(line) => self.spool.push(&line, name),
                Err(error) => {
                    self.counters.waiting.fetch_sub(1, Ordering::Relaxed);
                    tracing::error!(%error, id = cdr.id, "ALARM: a CDR is no JSON");
                }
            },
            Order::Reopen => {
                self.spool.reopen();
                self.spool.hurry();
            }
        }
    }

    fn work(&mut self) {
        let mut durable = Vec::new();
        let done = self.spool.work(self.clock.now(), &mut self.disk, &mut durable);
        self.counters.written.fetch_add(durable.len() as u64, Ordering::Relaxed);
        self.counters.waiting.fetch_sub(durable.len() as u64, Ordering::Relaxed);
        let any = !durable.is_empty();
        let mut by_worker = vec![Vec::new(); self.receipts.len()];
        for Name { worker, call } in durable {
            by_worker[usize::from(worker)].push(call);
        }
        for (calls, receipts) in by_worker.iter_mut().zip(&self.receipts).filter(|(calls, _)| !calls.is_empty()) {
            receipts.put(calls);
        }
        match done {
            Err(trouble) => self.complain(&trouble),
            Ok(()) if any && self.complained.take().is_some() => {
                tracing::info!("CDRs are written again");
            }
            Ok(()) => {}
        }
    }

    fn complain(&mut self, trouble: &Trouble) {
        self.counters.failures[trouble.at as usize].fetch_add(1, Ordering::Relaxed);
        let now = self.clock.now();
        if self.complained.is_none_or(|at| now.since(at) >= COMPLAIN_EVERY) {
            self.complained = Some(now);
            let waiting = self.spool.waiting();
            tracing::error!(waiting, "ALARM: CDRs cannot be written to cdr.jsonl; they wait in memory: {trouble}");
        }
    }

    /// Nobody hands anything over any more.
    fn end(&mut self) {
        for _ in 0..LAST_TRIES {
            self.spool.hurry();
            self.work();
            self.take_all();
            if self.spool.waiting() == 0 {
                return;
            }
            std::thread::park_timeout(LAST_PAUSE);
        }
        let waiting = self.spool.waiting();
        tracing::error!(
            waiting,
            "ALARM: the node ends and these CDRs are not in its file: only other nodes' shadows have them"
        );
    }
}

#[cfg(test)]
#[path = "cdr_tests.rs"]
pub mod tests;
