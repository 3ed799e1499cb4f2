//! The provisioning log: entries with the next level, durable before anything follows from them.
//! `format` is how they stand in a file; `simulated` is a log on a disk that lies, for tests and the simulated rack;
//! the real one is `io::segments`.

pub mod format;
pub mod simulated;

use common::ids::{HistoryId, Level};
use common::location::{Command, IdempotenceKey, LogTime};
use common::time::WallMillis;

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub level: Level,
    pub time: LogTime,
    /// Wall clock of the writer; only a restart reads it, to carry log time over the gap.
    pub wall: WallMillis,
    pub key: IdempotenceKey,
    pub command: Command,
}

/// One log, whatever its engine.
pub trait Log {
    fn history(&self) -> HistoryId;

    /// Level of the last entry, 0 for an empty log.
    fn last(&self) -> Level;

    /// Writes the batch behind the last entry, all of it or nothing. It is not durable before [`Log::sync`].
    ///
    /// # Errors
    /// A failure that is not [`LogError::is_final`] has left the log as it was: later appends may work.
    fn append(&mut self, batch: &[LogEntry]) -> Result<(), LogError>;

    /// Makes everything appended durable.
    ///
    /// # Errors
    /// Always final: after a failed sync nobody knows what is on the disk, so nothing may be acknowledged any more.
    fn sync(&mut self) -> Result<(), LogError>;

    /// Hands over every entry from level `from` on, in order.
    ///
    /// # Errors
    /// A damaged record ends it; nothing from it on is handed over.
    fn replay(&mut self, from: Level, each: &mut dyn FnMut(LogEntry)) -> Result<(), LogError>;
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(
        "{file}: damaged at byte {offset}, in the record of level {level}: {what}. Nothing from that level on was \
         applied. Restore the file from a backup; or, to give up every entry from level {level} on, cut it with \
         `truncate -s {offset} {file}` and remove the segments behind it"
    )]
    Corrupt { file: String, offset: u64, level: Level, what: String },

    #[error("{file}: {what}. Put back the segment files that belong to this log")]
    Segments { file: String, what: String },

    #[error("{file}: no space left for {bytes} bytes. Free space on its file system; commands work again at once")]
    Full { file: String, bytes: usize },

    #[error("{file}: cannot be written: {source}. Nothing of this batch is in the log")]
    Write { file: String, source: std::io::Error },

    #[error(
        "{file}: {what} failed: {source}. What is on the disk is unknown now, so nothing is acknowledged any more. \
         Check the disk, then start the location server again"
    )]
    Sync { file: String, what: &'static str, source: std::io::Error },

    #[error("{file}: {source}")]
    Open { file: String, source: std::io::Error },

    #[error("{file}: another location server has it open. Stop that one, or use another data directory")]
    Locked { file: String },
}

impl LogError {
    /// Whether the log must not be used any more.
    pub fn is_final(&self) -> bool {
        !matches!(self, LogError::Full { .. } | LogError::Write { .. })
    }
}
