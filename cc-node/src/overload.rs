//! How much of the new calls a node takes: the admit fraction that its heartbeats carry. Measured by how far its workers
//! are behind: for how long one has not seen its sockets empty. The fraction falls and rises in small steps, for each step
//! sends repeats of a few calls another way than their first. Pure; the heartbeat's thread owns it.

use common::time::{Duration, Time};
use std::collections::VecDeque;

/// All new calls.
pub const ALL: u16 = u16::MAX;
/// Never less than this: what is taken shows whether it goes better.
const LEAST: u16 = ALL / 16;
/// A worker that was behind for so long cannot keep up. Well below the time after which a question of another node is given
/// up: whoever gets what is diverted asks here first.
const BEHIND: Duration = Duration::from_millis(50);
/// One that is no further behind than this can.
const CALM: Duration = Duration::from_millis(5);
/// Looks at the workers are at least this far apart, whatever the heartbeat's period.
const STEP: Duration = Duration::from_millis(40);
/// An INVITE may be repeated for so long.
const LATELY: Duration = Duration::from_secs(32);

#[derive(Debug)]
pub struct Overload {
    admit: u16,
    looked: Time,
    /// Fractions of late, each smaller than all behind it: the first is the smallest.
    lately: VecDeque<(Time, u16)>,
}

impl Overload {
    pub fn new(now: Time) -> Overload {
        Overload { admit: ALL, looked: now, lately: VecDeque::new() }
    }

    /// `behind`: of the worker that is furthest behind.
    pub fn look(&mut self, now: Time, behind: Duration) {
        if now.since(self.looked) < STEP {
            return;
        }
        self.looked = now;
        if behind > BEHIND {
            self.admit = (self.admit - self.admit / 16).max(LEAST);
        } else if behind <= CALM {
            self.admit = self.admit.saturating_add(ALL / 64);
        }
        while self.lately.back().is_some_and(|(_, admit)| *admit >= self.admit) {
            self.lately.pop_back();
        }
        self.lately.push_back((now, self.admit));
        while self.lately.front().is_some_and(|(at, _)| now.since(*at) > LATELY) {
            self.lately.pop_front();
        }
    }

    /// The share of new calls that is taken, in 1/65,535.
    pub fn admit(&self) -> u16 {
        self.admit
    }

    /// The smallest of the last 32 s.
    pub fn least(&self) -> u16 {
        self.lately.front().map_or(self.admit, |(_, admit)| *admit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(overload: &mut Overload, from_ms: u64, looks: u64, behind_ms: u64) -> u64 {
        for n in 1..=looks {
            overload.look(Time((from_ms + 50 * n) * 1000), Duration::from_millis(behind_ms));
        }
        from_ms + 50 * looks
    }

    #[test]
    fn it_takes_less_in_small_steps_and_all_again() {
        let mut o = Overload::new(Time(0));
        let now = after(&mut o, 0, 10, 0);
        assert_eq!((o.admit(), o.least()), (ALL, ALL));
        let now = after(&mut o, now, 1, 150);
        assert!(o.admit() > ALL / 10 * 9, "one step: {}", o.admit());
        let now = after(&mut o, now, 100, 150);
        assert_eq!((o.admit(), o.least()), (LEAST, LEAST));
        let now = after(&mut o, now, 20, 30);
        assert_eq!(o.admit(), LEAST, "between the two it stays");
        let now = after(&mut o, now, 61, 0);
        assert_eq!((o.admit(), o.least()), (ALL, LEAST), "what was refused lately may still be repeated");
        after(&mut o, now, 32 * 20, 0);
        assert_eq!(o.least(), ALL);
        assert!(o.lately.len() < 700);
    }

    #[test]
    fn more_heartbeats_are_not_more_steps() {
        let mut o = Overload::new(Time(0));
        (1..=10).for_each(|ms| o.look(Time(50_000 + ms * 1000), Duration::from_secs(1)));
        assert_eq!(o.admit(), ALL - ALL / 16);
    }
}
