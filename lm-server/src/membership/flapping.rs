//! Hold-down of a node that keeps going down without having been stopped. One of these a node, in `servers`.

use common::ids::BootId;
use common::time::Time;
use std::collections::VecDeque;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(60);
const DOWNS: usize = 4;
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct Flapping {
    /// Unexplained deaths within the window, at most [`DOWNS`].
    downs: VecDeque<(Time, BootId)>,
    hold: Duration,
    until: Option<Time>,
}

impl Flapping {
    /// The node went down and nobody said why. Returns until when it is held down, if it now is.
    pub fn down(&mut self, now: Time, boot: BootId) -> Option<Time> {
        while self.downs.front().is_some_and(|(at, _)| now.since(*at) > WINDOW) {
            self.downs.pop_front();
        }
        if self.downs.is_empty() {
            self.hold = Duration::ZERO;
        }
        if self.downs.len() == DOWNS {
            self.downs.pop_front();
        }
        self.downs.push_back((now, boot));
        if self.downs.len() < DOWNS {
            return None;
        }
        self.hold = (self.hold * 2).clamp(FIRST, LONGEST);
        self.until = Some(now + self.hold);
        self.until
    }

    /// The agent says that this incarnation was stopped: its death, if already noted, is explained.
    pub fn explained(&mut self, boot: BootId) {
        self.downs.retain(|(_, dead)| *dead != boot);
    }

    /// Until when the node stays out; `None` if it may come in.
    pub fn held_until(&self, now: Time) -> Option<Time> {
        self.until.filter(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(n: u64) -> Time {
        Time(n * 1_000_000)
    }

    #[test]
    fn four_downs_in_a_minute_hold_it_for_five_seconds_then_ten() {
        let mut f = Flapping::default();
        assert_eq!(f.down(s(0), BootId(1)), None);
        assert_eq!(f.down(s(10), BootId(2)), None);
        assert_eq!(f.down(s(20), BootId(3)), None);
        assert_eq!(f.down(s(30), BootId(4)), Some(s(35)));
        assert_eq!(f.held_until(s(34)), Some(s(35)));
        assert_eq!(f.held_until(s(35)), None);
        assert_eq!(f.down(s(40), BootId(5)), Some(s(50)));
        assert_eq!(f.down(s(55), BootId(6)), Some(s(75)));
        assert_eq!(f.down(s(80), BootId(7)), Some(s(120)));
        assert_eq!(f.down(s(100), BootId(8)), Some(s(160)), "never more than a minute");
        assert_eq!(f.down(s(300), BootId(9)), None, "a quiet minute forgives");
    }

    #[test]
    fn a_stopped_incarnation_is_no_flap() {
        let mut f = Flapping::default();
        for n in 0..3 {
            f.down(s(n), BootId(n));
        }
        f.explained(BootId(1));
        assert_eq!(f.down(s(4), BootId(4)), None);
    }
}
