//! A log on a simulated disk: what was appended is lost in a crash unless it was synced; it can be full, and its sync can
//! fail. For the core's tests and the simulated rack.

use super::{Log, LogEntry, LogError};
use common::ids::{HistoryId, Level};

pub struct SimulatedLog {
    history: HistoryId,
    entries: Vec<LogEntry>,
    durable: usize,
    /// No space left: appends fail.
    pub full: bool,
    /// The next sync fails, and with it the log.
    pub sync_fails: bool,
    broken: bool,
}

impl SimulatedLog {
    pub fn new(history: HistoryId) -> SimulatedLog {
        SimulatedLog { history, entries: Vec::new(), durable: 0, full: false, sync_fails: false, broken: false }
    }

    /// Power off and on: of what was not synced, only the first `written` entries are there.
    pub fn crash(&mut self, written: usize) {
        self.entries.truncate(self.durable + written.min(self.entries.len() - self.durable));
        self.durable = self.entries.len();
        self.broken = false;
        self.sync_fails = false;
    }

    fn error(&self, what: &'static str) -> LogError {
        LogError::Sync { file: "simulated".into(), what, source: std::io::ErrorKind::Other.into() }
    }
}

impl Log for SimulatedLog {
    fn history(&self) -> HistoryId {
        self.history
    }

    fn last(&self) -> Level {
        self.entries.last().map_or(Level(0), |e| e.level)
    }

    fn append(&mut self, batch: &[LogEntry]) -> Result<(), LogError> {
        if self.broken {
            return Err(self.error("an earlier sync"));
        }
        if self.full {
            return Err(LogError::Full { file: "simulated".into(), bytes: batch.len() });
        }
        self.entries.extend_from_slice(batch);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        if self.sync_fails || self.broken {
            self.broken = true;
            self.entries.truncate(self.durable);
            return Err(self.error("sync"));
        }
        self.durable = self.entries.len();
        Ok(())
    }

    fn replay(&mut self, from: Level, each: &mut dyn FnMut(LogEntry)) -> Result<(), LogError> {
        self.entries[..self.durable].iter().filter(|e| e.level >= from).cloned().for_each(each);
        Ok(())
    }
}
