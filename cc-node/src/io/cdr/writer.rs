//! The thread that writes the records: what comes within a few milliseconds together, starts before ends.

use super::{CdrCounters, Name, Order, Receipts};
use crate::spool::{Disk, Spool, Trouble};
use common::io::clock::Clock;
use common::time::{Duration, Time};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

/// Octets that wait for the disk: some 90,000 CDRs. And starts, and missed calls.
const WAITING: usize = 64 << 20;
const STARTS_WAITING: usize = 16 << 20;
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
    fn push(&mut self, record: &impl Serialize, name: T) -> bool {
        match serde_json::to_vec(record) {
            Ok(line) => {
                self.spool.push(&line, name);
                true
            }
            Err(error) => {
                tracing::error!(%error, file = self.name, "ALARM: a CDR is no JSON");
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
    starts: Lane<D, ()>,
    missed: Lane<D, ()>,
    /// When missed calls are written next.
    missed_at: Time,
    /// One a worker.
    receipts: Vec<Arc<Receipts>>,
    counters: Arc<CdrCounters>,
    clock: Clock,
}

impl<D: Disk> Writer<D> {
    pub(super) fn new(
        orders: Receiver<Order>,
        [answered, starts, missed]: [D; 3],
        receipts: Vec<Arc<Receipts>>,
        counters: Arc<CdrCounters>,
        clock: Clock,
    ) -> Writer<D> {
        Writer {
            orders,
            answered: Lane::new("cdr.jsonl", answered, WAITING),
            starts: Lane::new("starts.jsonl", starts, STARTS_WAITING),
            missed: Lane::new("missed.jsonl", missed, MISSED_WAITING),
            missed_at: Time::default(),
            receipts,
            counters,
            clock,
        }
    }

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
        [self.answered.spool.next_due(), self.starts.spool.next_due(), missed].into_iter().flatten().min()
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
            Order::Started(_) if self.starts.spool.is_full() => {
                self.counters.starts_overflowed.fetch_add(1, Ordering::Relaxed);
            }
            Order::Started(start) => {
                self.starts.push(&start, ());
            }
            Order::Missed(_) if self.missed.spool.is_full() => {
                self.counters.missed_overflowed.fetch_add(1, Ordering::Relaxed);
            }
            Order::Missed(cdr) => {
                self.missed.push(&cdr, ());
            }
            Order::Reopen => {
                self.answered.spool.reopen();
                self.starts.spool.reopen();
                self.missed.spool.reopen();
                self.hurry();
            }
        }
    }

    fn hurry(&mut self) {
        self.answered.spool.hurry();
        self.starts.spool.hurry();
        self.missed.spool.hurry();
        self.missed_at = Time::default();
    }

    fn work(&mut self) {
        let now = self.clock.now();
        // First, so that no shadow forgets a call of which the end is durable and the start is not.
        let started = self.starts.work(now, &self.counters).len() as u64;
        self.counters.started.fetch_add(started, Ordering::Relaxed);
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
        self.answered.spool.waiting() + self.starts.spool.waiting() + self.missed.spool.waiting()
    }
}
