//! How much of the new calls an incarnation has taken of late. The table says it beside what it takes now: an INVITE that was
//! admitted then may be repeated now, and a repeat is never refused. `Incarnation` has one, `Server` keeps it.

use common::time::{Duration, Time};
use std::collections::VecDeque;

/// An INVITE may be repeated for so long (Timer B).
const LATELY: Duration = Duration::from_secs(32);
/// Former shares are rounded up to 64ths: no more are kept, and forgetting them makes no more tables.
const GRAIN: u16 = (1 << 10) - 1;

/// See the module. Shares are in 1/65,535.
#[derive(Clone, Debug, Default)]
pub struct Admitted {
    /// By the table in use.
    now: u16,
    /// Larger ones with the time at which each ended, each smaller than all before it.
    former: VecDeque<(Time, u16)>,
}

impl Admitted {
    /// The table says this share from now on.
    pub fn stands(&mut self, now: Time, share: u16) {
        let ended = (share < self.now).then_some(self.now | GRAIN);
        let least = ended.unwrap_or(share);
        while self.former.back().is_some_and(|(_, former)| *former <= least) {
            self.former.pop_back();
        }
        self.former.extend(ended.map(|ended| (now, ended)));
        self.now = share;
    }

    /// Another load manager has let in until now what it would.
    pub fn unknown_until(&mut self, now: Time) {
        self.former = VecDeque::from([(now, u16::MAX)]);
    }

    /// Whether the highest is another one now, since what was it is too old.
    pub fn forgets(&mut self, now: Time) -> bool {
        let before = self.former.len();
        while self.former.front().is_some_and(|(ended, _)| now.since(*ended) > LATELY) {
            self.former.pop_front();
        }
        self.former.len() < before
    }

    pub fn highest(&self) -> u16 {
        self.former.front().map_or(self.now, |(_, share)| *share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u16 = u16::MAX;

    fn s(seconds: u64) -> Time {
        Time(seconds * 1_000_000)
    }

    #[test]
    fn a_share_counts_for_32_s_from_its_end() {
        let mut a = Admitted::default();
        a.stands(s(0), ALL);
        a.stands(s(100), 20_000);
        assert!(!a.forgets(s(132)) && a.highest() == ALL);
        assert!(a.forgets(s(133)) && a.highest() == 20_000);
        assert!(!a.forgets(s(134)));
    }

    #[test]
    fn a_rise_hides_what_was_smaller_and_ends_as_late_as_it_does() {
        let mut a = Admitted::default();
        a.stands(s(0), 30_000);
        a.stands(s(1), 10_000);
        a.stands(s(2), 40_000);
        assert_eq!((a.highest(), a.former.len()), (40_000, 0));
        a.stands(s(3), 5_000);
        assert_eq!(a.highest(), 40_959, "rounded up, for nobody is refused by it");
        assert!(a.forgets(s(36)) && a.highest() == 5_000);
    }

    #[test]
    fn a_long_way_down_is_remembered_in_few_steps() {
        let mut a = Admitted::default();
        a.stands(s(0), ALL);
        (0..ALL).rev().for_each(|share| a.stands(s(1), share));
        assert!(a.former.len() <= 64 && a.highest() == ALL);
    }

    #[test]
    fn nobody_knows_what_another_load_manager_let_in() {
        let mut a = Admitted::default();
        a.unknown_until(s(0));
        a.stands(s(0), 20_000);
        assert_eq!(a.highest(), ALL);
        assert!(a.forgets(s(33)) && a.highest() == 20_000);
    }
}
