//! The log's thread: takes a batch, writes it, syncs it, says so. The only place that writes the log, so the core's task
//! never waits for a disk.

use super::board::LogMetrics;
use crate::inbox::Inbox;
use crate::log::{Log, LogEntry, LogError};
use crate::server::Input;
use common::io::clock::Clock;
use common::time::{Duration, Time};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

const COMPLAIN_EVERY: Duration = Duration::from_secs(5);

/// Starts the thread; it ends when the sender is dropped. The core has one batch under way at a time, so one place in the
/// queue is enough.
///
/// # Errors
/// The system has no thread to give.
pub fn start(
    log: impl Log + Send + 'static,
    inbox: Inbox,
    metrics: LogMetrics,
) -> std::io::Result<(SyncSender<Vec<LogEntry>>, JoinHandle<()>)> {
    let (batches, queue) = sync_channel(1);
    let thread = std::thread::Builder::new().name("log".into()).spawn(move || write(log, &queue, &inbox, &metrics))?;
    Ok((batches, thread))
}

fn write(mut log: impl Log, batches: &Receiver<Vec<LogEntry>>, inbox: &Inbox, metrics: &LogMetrics) {
    let clock = Clock::new();
    let mut quiet_until = Time(0);
    while let Ok(batch) = batches.recv() {
        let timer = metrics.sync_seconds.start_timer();
        let done = log.append(&batch).and_then(|()| log.sync());
        timer.observe_duration();
        metrics.batch_entries.observe(batch.len() as f64);
        let input = match done {
            Ok(()) => Input::Durable,
            Err(error) => {
                metrics.failures.inc();
                // A disk that stays full must not fill with complaints about it.
                if error.is_final() || clock.now() >= quiet_until {
                    quiet_until = clock.now() + COMPLAIN_EVERY;
                    tracing::error!("the provisioning log was not written: {error}");
                }
                failed(&error)
            }
        };
        if inbox.input_from_thread(input).is_err() {
            return;
        }
    }
}

fn failed(error: &LogError) -> Input {
    let reason = error.to_string();
    if error.is_final() { Input::Broken { reason } } else { Input::NotWritten { reason } }
}
