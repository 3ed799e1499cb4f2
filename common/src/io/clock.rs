//! Where time comes from: the monotonic clock for everything, the wall clock for log time, CDRs and nonces.
#![allow(clippy::disallowed_methods)] // this is the one place that reads the clocks

use crate::time::{Time, WallMillis};
use rustix::time::{ClockId, clock_gettime};
use std::time::{SystemTime, UNIX_EPOCH};

/// The machine's clock: a process that starts again goes on where the one before it was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock(());

impl Clock {
    pub fn new() -> Clock {
        Clock(())
    }

    /// Since the machine's start, and a second, so that "long ago" can be said.
    pub fn now(&self) -> Time {
        let now = clock_gettime(ClockId::Monotonic);
        Time(1_000_000 + now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000)
    }

    /// Microseconds since 1970, to show a moment of the monotonic clock to people.
    pub fn wall_micros(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64)
    }

    pub fn wall(&self) -> WallMillis {
        WallMillis(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64))
    }
}
