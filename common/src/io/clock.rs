//! Where time comes from: the monotonic clock for everything, the wall clock for log time, CDRs and nonces.
#![allow(clippy::disallowed_methods)] // this is the one place that reads the clocks

use crate::time::{Time, WallMillis};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The process's clock. Clones agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Clock::new()
    }
}

impl Clock {
    pub fn new() -> Clock {
        Clock { origin: Instant::now() }
    }

    /// Starts at one second, so that "long ago" can be said.
    pub fn now(&self) -> Time {
        Time(1_000_000 + self.origin.elapsed().as_micros() as u64)
    }

    pub fn wall(&self) -> WallMillis {
        WallMillis(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64))
    }
}
