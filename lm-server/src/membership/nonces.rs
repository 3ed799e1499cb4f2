//! The nonces of our beacons and when each was sent: what a heartbeat quotes says how fresh its knowledge of us is.

use common::time::Time;
use std::collections::VecDeque;
use std::time::Duration;

/// Beacons older than the oldest nonce that may still count need not be remembered.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// More than this within a second are changes in a burst; the oldest of them stop counting early.
const KEPT: usize = 128;

/// Nonces of one incarnation grow by one; where they begin is drawn by `io`, so that another incarnation's are unknown
/// here.
#[derive(Debug)]
pub struct Nonces {
    next: u64,
    sent: VecDeque<(u64, Time)>,
}

impl Nonces {
    /// `seed`: any 64 random bits.
    pub fn new(seed: u64) -> Nonces {
        // Room to count upwards for ever, and never 0, which a node quotes that has heard nothing.
        Nonces { next: (seed >> 1) | 1, sent: VecDeque::new() }
    }

    pub fn issue(&mut self, now: Time) -> u64 {
        let nonce = self.next;
        self.next += 1;
        while self.sent.len() >= KEPT || self.sent.front().is_some_and(|(_, at)| now.since(*at) > KEPT_FOR) {
            self.sent.pop_front();
        }
        self.sent.push_back((nonce, now));
        nonce
    }

    /// Age of a nonce; `None` if it is not one of ours, or older than a second.
    pub fn age(&self, nonce: u64, now: Time) -> Option<Duration> {
        let at = self.sent.binary_search_by_key(&nonce, |(n, _)| *n).ok()?;
        self.sent.get(at).map(|(_, sent)| now.since(*sent)).filter(|age| *age <= KEPT_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_has_an_age_and_another_incarnations_has_none() {
        let mut n = Nonces::new(1_000_000);
        let first = n.issue(Time(0));
        let second = n.issue(Time(50_000));
        assert_eq!(n.age(first, Time(120_000)), Some(Duration::from_millis(120)));
        assert_eq!(n.age(second, Time(120_000)), Some(Duration::from_millis(70)));
        assert_eq!(n.age(second + 1, Time(120_000)), None);
        assert_eq!(n.age(0, Time(120_000)), None);
        assert_eq!(n.age(first, Time(1_000_001)), None);
        for _ in 0..1000 {
            n.issue(Time(200_000));
        }
        assert!(n.sent.len() <= KEPT);
    }
}
