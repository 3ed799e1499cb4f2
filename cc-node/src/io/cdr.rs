//! Writes call detail records as JSON lines to `<data>/cc-node-<id>/cdr.jsonl`, the starts of calls to `starts.jsonl`, and
//! missed calls to `missed.jsonl`, on a thread of its own behind a bounded queue: a slow, full or failing disk costs no worker
//! any time. A worker hears which CDRs are durable and tells the shadows only then; until then they hold them, too. Missed
//! calls are in no shadow; a start is written again by whoever goes on with its call. `crate::spool` decides what is
//! written when; this is the queue, (`writer`) the thread and (`file`) the disk.

mod file;
mod writer;

use crate::effect::{CallKey, Cdr, Start};
use crate::spool::{At, Disk};
use common::io::clock::Clock;
use file::LineFile;
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use writer::Writer;

/// CDRs on their way from the workers.
const QUEUE: usize = 16_384;
/// Those that found no place in it wait at their worker, so many; starts while there are fewer.
const KEPT: usize = 8192;
const STARTS_KEPT: usize = KEPT / 2;
/// Counters of the CDR stream.
#[derive(Debug, Default)]
pub struct CdrCounters {
    /// Durable in the file; and of starts and missed calls.
    pub written: AtomicU64,
    pub started: AtomicU64,
    pub missed: AtomicU64,
    /// Handed over and not durable yet.
    pub waiting: AtomicU64,
    /// Lost: too many waited; and of starts and missed calls.
    pub overflowed: AtomicU64,
    pub starts_overflowed: AtomicU64,
    pub missed_overflowed: AtomicU64,
    /// What the disk did not do, indexed by `At as usize`.
    pub failures: [AtomicU64; At::ALL.len()],
}

enum Order {
    Write { name: Name, cdr: Box<Cdr> },
    Started(Box<Start>),
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
        if self.kept.len() >= KEPT {
            self.counters.overflowed.fetch_add(1, Ordering::Relaxed);
            return Err(call);
        }
        self.counters.waiting.fetch_add(1, Ordering::Relaxed);
        self.kept.push_back(Order::Write { name: Name { worker: self.worker, call }, cdr });
        self.hand_over();
        Ok(())
    }

    /// Never blocks. It stands before the CDR of its call, whenever that comes.
    pub fn started(&mut self, start: Box<Start>) {
        if self.kept.len() >= STARTS_KEPT {
            self.counters.starts_overflowed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.kept.push_back(Order::Started(start));
        self.hand_over();
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
    let mut files =
        ["cdr.jsonl", "starts.jsonl", "missed.jsonl"].map(|name| LineFile::new(directory.join(name), clock));
    files.iter_mut().try_for_each(Disk::open)?;
    Ok(stream(files, workers, clock))
}

fn stream<D: Disk>(files: [D; 3], workers: u16, clock: Clock) -> CdrStream<D> {
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
    let writer = Writer::new(orders, files, receipts, counters.clone(), clock);
    CdrStream { sinks, reopener: Reopener(queue), counters, writer }
}

#[cfg(test)]
#[path = "cdr_tests.rs"]
pub mod tests;
