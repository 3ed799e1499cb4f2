//! The newest entries of the log in memory, bounded by number and by bytes: what a subscriber that was away for a moment
//! resumes from.

use common::ids::Level;
use common::location::Entry;
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug)]
pub struct RingLimits {
    pub entries: usize,
    pub bytes: usize,
}

impl Default for RingLimits {
    fn default() -> Self {
        RingLimits { entries: 65_536, bytes: 64 * 1024 * 1024 }
    }
}

pub struct Ring {
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
    limits: RingLimits,
}

impl Ring {
    pub fn new(limits: RingLimits) -> Ring {
        Ring { entries: VecDeque::new(), bytes: 0, limits }
    }

    /// Adds the entry of the next level; the oldest make room.
    pub fn push(&mut self, entry: Entry) {
        let bytes = postcard::experimental::serialized_size(&entry).unwrap_or(0) + std::mem::size_of::<Entry>();
        self.bytes += bytes;
        self.entries.push_back((entry, bytes));
        while self.entries.len() > self.limits.entries || self.bytes > self.limits.bytes {
            let Some((_, bytes)) = self.entries.pop_front() else { return };
            self.bytes -= bytes;
        }
    }

    /// Whether a subscriber at `level` can go on from here, the log being at `newest`.
    pub fn covers(&self, level: Level, newest: Level) -> bool {
        level == newest || self.entries.front().is_some_and(|(e, _)| e.level.0 <= level.0.saturating_add(1))
    }

    /// Entries behind `level`, at least one and otherwise at most so many and so many bytes; `None` where the next one is
    /// not here (any more).
    pub fn after(&self, level: Level, most: usize, most_bytes: usize) -> Option<Vec<Entry>> {
        let first = self.entries.front()?.0.level.0;
        let start = usize::try_from(level.0.checked_add(1)?.checked_sub(first)?).ok()?;
        let mut bytes = 0;
        let mut entries = Vec::new();
        for (entry, size) in self.entries.iter().skip(start).take(most) {
            bytes += size;
            if bytes > most_bytes && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        (!entries.is_empty()).then_some(entries)
    }
}
