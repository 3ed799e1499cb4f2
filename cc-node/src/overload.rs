//! How much of the new calls a node takes: the admit fraction that its heartbeats carry. Measured by how far its workers
//! are behind: for how long one has not seen its sockets empty. The fraction falls and rises in small steps, for each step
//! sends repeats of a few calls another way than their first. Beside it, what the load manager may think that it takes. Pure;
//! the heartbeat's thread owns both.

use common::time::{Duration, Time};
use std::cmp::Reverse;
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
/// What is under way by a table that has just been replaced.
const UNDER_WAY: Duration = Duration::from_millis(150);

/// The highest of what was said within a span of time.
#[derive(Debug)]
struct Highest<V> {
    span: Duration,
    /// Each smaller than all before it.
    said: VecDeque<(Time, V)>,
}

impl<V: Ord + Copy> Highest<V> {
    fn within(span: Duration) -> Highest<V> {
        Highest { span, said: VecDeque::new() }
    }

    fn say(&mut self, now: Time, value: V) {
        while self.said.back().is_some_and(|(_, said)| *said <= value) {
            self.said.pop_back();
        }
        self.said.push_back((now, value));
        while self.said.front().is_some_and(|(at, _)| now.since(*at) > self.span) {
            self.said.pop_front();
        }
    }

    fn get(&self) -> Option<V> {
        self.said.front().map(|(_, said)| *said)
    }
}

#[derive(Debug)]
pub struct Overload {
    admit: u16,
    looked: Time,
    /// The smallest fraction of late is the highest of these.
    lately: Highest<Reverse<u16>>,
}

impl Overload {
    pub fn new(now: Time) -> Overload {
        Overload { admit: ALL, looked: now, lately: Highest::within(LATELY) }
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
        self.lately.say(now, Reverse(self.admit));
    }

    /// The share of new calls that is taken, in 1/65,535.
    pub fn admit(&self) -> u16 {
        self.admit
    }

    /// The smallest of the last 32 s.
    pub fn least(&self) -> u16 {
        self.lately.get().map_or(self.admit, |Reverse(admit)| admit)
    }
}

/// The highest share of new calls that the load manager may take for ours: what it sends beyond that, it sends because all
/// nodes refuse it by now and it may be a repeat.
#[derive(Debug)]
pub struct Announced {
    /// What heartbeats have said of late: an older one has been followed by one that was heard, or we are removed.
    believed: Highest<u16>,
}

impl Announced {
    /// `down_after`: for so long a node that is not heard is live for the load manager.
    pub fn new(down_after: Duration) -> Announced {
        Announced { believed: Highest::within(down_after + UNDER_WAY) }
    }

    /// A heartbeat is about to say this.
    pub fn say(&mut self, now: Time, admit: u16) {
        self.believed.say(now, admit);
    }

    /// The load manager learns: it has just started, and takes us for a node that admits all until it hears otherwise, or it
    /// has slept, and its packet path goes by an old table.
    pub fn unknown(&mut self, now: Time) {
        self.say(now, ALL);
    }

    pub fn most(&self) -> u16 {
        self.believed.get().unwrap_or(ALL)
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
        assert!(o.lately.said.len() < 700);
    }

    #[test]
    fn a_smaller_share_is_not_known_at_once_and_a_larger_one_may_be() {
        let ms = |ms: u64| Time(ms * 1000);
        let mut a = Announced::new(Duration::from_millis(350));
        assert_eq!(a.most(), ALL);
        a.say(ms(0), 50_000);
        a.say(ms(50), 40_000);
        (2..=10).for_each(|n| a.say(ms(50 * n), 30_000));
        assert_eq!(a.most(), 50_000);
        a.say(ms(550), 30_000);
        assert_eq!(a.most(), 40_000);
        a.say(ms(600), 45_000);
        assert_eq!((a.most(), a.believed.said.len()), (45_000, 1));
        a.say(ms(2_000), 30_000);
        assert_eq!(a.most(), 30_000, "even if nothing was said for long");
    }

    #[test]
    fn a_load_manager_that_learns_knows_nothing() {
        let ms = |ms: u64| Time(ms * 1000);
        let mut a = Announced::new(Duration::from_millis(350));
        (1..=20).for_each(|n| a.say(ms(50 * n), 30_000));
        assert_eq!(a.most(), 30_000);
        a.unknown(ms(1010));
        a.say(ms(1050), 30_000);
        assert_eq!(a.most(), ALL);
        (22..=31).for_each(|n| a.say(ms(50 * n), 30_000));
        assert_eq!(a.most(), 30_000);
    }

    #[test]
    fn more_heartbeats_are_not_more_steps() {
        let mut o = Overload::new(Time(0));
        (1..=10).for_each(|ms| o.look(Time(50_000 + ms * 1000), Duration::from_secs(1)));
        assert_eq!(o.admit(), ALL - ALL / 16);
    }
}
