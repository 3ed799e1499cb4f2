//! The push to the nodes: a ring of recent entries, and for each subscriber its place in the log.
//! A subscriber that is in the ring follows entry by entry; any other reloads the whole database by key range and then
//! follows. Nothing waits for a subscriber: one that the ring has left behind is dropped and must resume. Used by `server`.

mod reload;
mod ring;

#[cfg(test)]
mod tests;

pub use ring::{Ring, RingLimits};

use crate::store::{Replaced, Store};
use common::ids::{HistoryId, Level};
use common::location::LogTime;
use common::wire::location::FromServer;
use reload::{Part, Reload};

/// Entries of one frame at most, by number and by encoded bytes.
const FRAME_ENTRIES: usize = 256;
const FRAME_BYTES: usize = 48 * 1024;
/// Records of one part at most. A record is an AOR's bindings with all their paths at worst.
const PART_RECORDS: usize = 64;

/// Dropped because the ring has left it behind or its reload had to remember too much; it says hello again.
#[derive(Debug, PartialEq, Eq)]
pub struct LeftBehind;

pub enum Subscriber {
    /// Has everything up to this level on its way.
    Follows(Level),
    Reloads(Box<Reload>),
}

impl Subscriber {
    /// Where one that has `theirs` goes on: behind it if that is our history and in the ring, else from the beginning.
    pub fn at(history: HistoryId, store: &Store, ring: &Ring, theirs: (HistoryId, Level)) -> Subscriber {
        let level = store.level();
        if theirs.0 == history && theirs.1 <= level && ring.covers(theirs.1, level) {
            Subscriber::Follows(theirs.1)
        } else {
            Subscriber::Reloads(Box::new(Reload::new(level, store.sum())))
        }
    }

    /// What `Store::apply` has just replaced: a reload under way still owes the old records.
    ///
    /// # Errors
    /// [`LeftBehind`] where that is more than a reload may remember.
    pub fn replaced(&mut self, replaced: &Replaced) -> Result<(), LeftBehind> {
        match self {
            Subscriber::Follows(_) => Ok(()),
            Subscriber::Reloads(reload) => reload.keep(replaced),
        }
    }

    /// The next frame for it, `None` when it has everything.
    ///
    /// # Errors
    /// [`LeftBehind`] if the ring no longer holds what comes next.
    pub fn next(&mut self, store: &Store, ring: &Ring) -> Result<Option<FromServer>, LeftBehind> {
        match self {
            Subscriber::Follows(level) if *level >= store.level() => Ok(None),
            Subscriber::Follows(level) => {
                let entries = ring.after(*level, FRAME_ENTRIES, FRAME_BYTES).ok_or(LeftBehind)?;
                *level = entries.last().ok_or(LeftBehind)?.level;
                Ok(Some(FromServer::Entries(entries)))
            }
            Subscriber::Reloads(reload) => match reload.next(store, PART_RECORDS, FRAME_BYTES) {
                Part::Records(records) => Ok(Some(FromServer::Part { records })),
                Part::End => {
                    let end = FromServer::PartEnd { level: reload.level(), sum: reload.sum() };
                    *self = Subscriber::Follows(reload.level());
                    Ok(Some(end))
                }
            },
        }
    }

    /// "Sum after level L": only for one to which everything up to L has been sent, so that it stands in the stream there.
    pub fn stamp(&self, store: &Store, time: LogTime) -> Option<FromServer> {
        match self {
            Subscriber::Follows(level) if *level == store.level() => {
                Some(FromServer::Stamp { level: *level, sum: store.sum(), time })
            }
            _ => None,
        }
    }
}
