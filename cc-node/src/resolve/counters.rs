//! What a worker's resolver counts. Label sets are closed.

use crate::dns::Kind;
use crate::stats::Histogram;

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    Records,
    Nothing,
    Timeout,
    ServerFailure,
    Full,
}

impl Outcome {
    pub const ALL: [Outcome; 5] =
        [Outcome::Records, Outcome::Nothing, Outcome::Timeout, Outcome::ServerFailure, Outcome::Full];

    /// Metric label.
    pub fn label(self) -> &'static str {
        match self {
            Outcome::Records => "records",
            Outcome::Nothing => "nothing",
            Outcome::Timeout => "timeout",
            Outcome::ServerFailure => "server_failure",
            Outcome::Full => "full",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Indexed by `Kind as usize` and `Outcome as usize`.
    pub questions: [[u64; Outcome::ALL.len()]; Kind::ALL.len()],
    /// Questions that the cache answered: by a fresh answer …
    pub hits: u64,
    /// … by an expired one …
    pub stale: u64,
    /// … by a failure of a moment ago.
    pub failures: u64,
    /// Questions that were open already when somebody else asked them.
    pub coalesced: u64,
    /// From question to answer.
    pub took: Histogram,
    /// Look-ups that led somewhere, and those that did not.
    pub located: u64,
    pub unresolved: u64,
    /// Gauges.
    pub waiting: u64,
    pub open: u64,
    pub entries: u64,
    pub unwell: u64,
}
