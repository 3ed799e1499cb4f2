//! What the threads of a load manager share: the table, the status, and whether it is over.

use crate::membership::Status;
use crate::table::Table;
use arc_swap::{ArcSwap, ArcSwapOption};
use common::keys::Generations;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub struct Shared {
    /// Swapped in by the controller, read once a batch by the forwarders. `None` until the first is published: what
    /// arrives before that waits in the kernel.
    pub table: ArcSwapOption<Table>,
    /// At most a tenth of a second old.
    pub status: ArcSwap<Status>,
    /// Which keys the operator wants to stand; the controller sees to it.
    pub wanted_keys: ArcSwap<Generations>,
    pub ending: AtomicBool,
}

impl Shared {
    pub fn new(status: Status) -> Shared {
        Shared {
            table: ArcSwapOption::empty(),
            wanted_keys: ArcSwap::new(Arc::new(status.keys)),
            status: ArcSwap::new(Arc::new(status)),
            ending: AtomicBool::new(false),
        }
    }

    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }
}
