//! Writes call detail records as JSON lines to `<data>/cc-node-<id>/cdr.jsonl`, on a thread of its own behind a bounded
//! queue: a slow or full disk loses CDRs (counted, logged), never a worker's time. Called by `io::worker` through
//! [`CdrSink`].

use crate::effect::Cdr;
use common::io::clock::Clock;
use common::time::{Duration, Time};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// CDRs that may wait for the disk.
const QUEUE: usize = 8192;
/// After a write the thread looks again only so much later: at a thousand calls a second, being woken for each CDR
/// costs the worker more than making it.
const GATHER: Duration = Duration::from_millis(5);
/// An error of the disk is logged at most this often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// Counters of the CDR stream.
#[derive(Debug, Default)]
pub struct CdrCounters {
    pub written: AtomicU64,
    /// The queue was full.
    pub overflowed: AtomicU64,
    /// The file could not be written.
    pub failed: AtomicU64,
}

/// A worker's end of the queue.
#[derive(Clone)]
pub struct CdrSink {
    queue: SyncSender<Cdr>,
    counters: Arc<CdrCounters>,
}

impl CdrSink {
    /// Never blocks.
    pub fn write(&self, cdr: Cdr) {
        if self.queue.try_send(cdr).is_err() {
            self.counters.overflowed.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn counters(&self) -> &Arc<CdrCounters> {
        &self.counters
    }
}

/// Opens the file (making its directory) and starts the writer. It ends, with all written, when every sink is dropped.
pub fn start(directory: &Path, clock: Clock) -> io::Result<(CdrSink, JoinHandle<()>)> {
    std::fs::create_dir_all(directory)?;
    let file = OpenOptions::new().create(true).append(true).open(directory.join("cdr.jsonl"))?;
    let (queue, lines) = sync_channel(QUEUE);
    let counters = Arc::new(CdrCounters::default());
    let for_thread = counters.clone();
    let writer = std::thread::Builder::new().name("cdr".into()).spawn(move || run(file, lines, clock, &for_thread))?;
    Ok((CdrSink { queue, counters }, writer))
}

/// Whole lines that wait for the file; more are lost, so a full disk costs bounded memory.
const PENDING: usize = 1 << 20;

struct Lines<W> {
    file: W,
    pending: Vec<u8>,
    /// Lines in `pending`.
    count: u64,
}

fn run(file: File, queue: Receiver<Cdr>, clock: Clock, counters: &CdrCounters) {
    let mut lines = Lines { file, pending: Vec::with_capacity(64 * 1024), count: 0 };
    let mut complained: Option<Time> = None;
    loop {
        // What is at hand goes in one write; with nothing at hand it is written at once.
        let wait = if lines.pending.is_empty() { Duration::from_secs(3600) } else { Duration::ZERO };
        let received = queue.recv_timeout(wait);
        let result = match &received {
            Ok(cdr) => lines.push(cdr, counters),
            Err(_) => lines.flush(counters),
        };
        if let Err(error) = result {
            let now = clock.now();
            if complained.is_none_or(|at| now.since(at) > COMPLAIN_EVERY) {
                complained = Some(now);
                tracing::error!(%error, "CDRs cannot be written to cdr.jsonl: is the disk full?");
            }
            // The disk is not asked again at once.
            if matches!(received, Err(RecvTimeoutError::Timeout)) {
                std::thread::park_timeout(Duration::from_millis(200));
            }
        }
        if matches!(received, Err(RecvTimeoutError::Disconnected)) {
            return;
        }
        if received.is_err() && lines.pending.is_empty() {
            std::thread::park_timeout(GATHER);
        }
    }
}

impl<W: Write> Lines<W> {
    fn push(&mut self, cdr: &impl Serialize, counters: &CdrCounters) -> io::Result<()> {
        let line = serde_json::to_vec(cdr)?;
        if self.pending.len() + line.len() >= PENDING {
            self.flush(counters).inspect_err(|_| {
                counters.failed.fetch_add(1, Ordering::Relaxed);
            })?;
        }
        self.pending.extend_from_slice(&line);
        self.pending.push(b'\n');
        self.count += 1;
        Ok(())
    }

    /// After an error what was not written stays, from the very octet on: no line is torn or doubled.
    fn flush(&mut self, counters: &CdrCounters) -> io::Result<()> {
        while !self.pending.is_empty() {
            match self.file.write(&self.pending) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => drop(self.pending.drain(..n)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        counters.written.fetch_add(std::mem::take(&mut self.count), Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Takes `room` octets, then is full.
    struct Disk {
        room: usize,
        held: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.room);
            if n == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= n;
            self.held.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_tears_no_line() {
        let counters = CdrCounters::default();
        let mut lines = Lines { file: Disk { room: 10, held: vec![] }, pending: vec![], count: 0 };
        for name in ["first", "second"] {
            lines.push(&name, &counters).unwrap();
        }
        assert!(lines.flush(&counters).is_err());
        assert_eq!(counters.written.load(Ordering::Relaxed), 0);
        lines.file.room = 1000;
        lines.flush(&counters).unwrap();
        assert_eq!(lines.file.held, b"\"first\"\n\"second\"\n");
        assert_eq!(counters.written.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn what_waits_for_a_full_disk_is_bounded_and_counted() {
        let counters = CdrCounters::default();
        let mut lines = Lines { file: Disk { room: 0, held: vec![] }, pending: vec![], count: 0 };
        let long = "x".repeat(100_000);
        let lost = (0..20).filter(|_| lines.push(&long, &counters).is_err()).count();
        assert_eq!(lost as u64, counters.failed.load(Ordering::Relaxed));
        assert!(lost >= 9 && lines.pending.len() <= PENDING, "{lost} lost, {} wait", lines.pending.len());
    }
}
