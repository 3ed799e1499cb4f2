//! Log time: milliseconds of the log's own clock. It never goes back, runs by the monotonic clock while the server runs,
//! and after a restart adds at most the wall clock's gap, capped. `server` stamps every entry with it.

use common::location::LogTime;
use common::time::{Duration, Time, WallMillis};

/// The most that a restart may add. A wall clock that jumped ahead by a year must not end every registration; a binding
/// that outlives a long outage by its own remaining time does less harm.
pub const MAX_GAP_MS: u64 = 600_000;

#[derive(Clone, Copy, Debug)]
pub struct LogClock {
    base: LogTime,
    origin: Time,
}

impl LogClock {
    /// Goes on from the log's last entry (its log time, and the wall clock when it was written); an empty log starts at 0.
    pub fn start(last: Option<(LogTime, WallMillis)>, now: Time, wall: WallMillis) -> LogClock {
        let base = last.map_or(LogTime(0), |(time, written)| {
            LogTime(time.0.saturating_add(wall.0.saturating_sub(written.0).min(MAX_GAP_MS)))
        });
        LogClock { base, origin: now }
    }

    pub fn now(&self, now: Time) -> LogTime {
        LogTime(self.base.0.saturating_add(now.since(self.origin).as_millis() as u64))
    }

    /// When the clock will show `at`; a moment that is past for anything already due.
    pub fn when(&self, at: LogTime) -> Time {
        self.origin + Duration::from_millis(at.0.saturating_sub(self.base.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn starts_at_zero_and_follows_the_monotonic_clock() {
        let clock = LogClock::start(None, Time(5 * SECOND), WallMillis(1_000));
        assert_eq!(clock.now(Time(5 * SECOND)), LogTime(0));
        assert_eq!(clock.now(Time(7 * SECOND)), LogTime(2_000));
        assert_eq!(clock.now(Time(SECOND)), LogTime(0), "never back");
        assert_eq!(clock.when(LogTime(2_000)), Time(7 * SECOND));
    }

    #[test]
    fn a_restart_adds_the_wall_gap_but_no_more_than_the_cap() {
        let last = Some((LogTime(10_000), WallMillis(50_000)));
        let now = |wall| LogClock::start(last, Time(0), WallMillis(wall)).now(Time(0));
        assert_eq!(now(53_000), LogTime(13_000));
        assert_eq!(now(50_000 + 86_400_000), LogTime(10_000 + MAX_GAP_MS));
        assert_eq!(now(1), LogTime(10_000), "a wall clock that went back adds nothing");
    }
}
