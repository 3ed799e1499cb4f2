//! The lease: until when this node may send towards the outside. It runs for [`LEASE`] from the *send* time of the newest
//! of our heartbeats that a beacon has echoed. The load manager gives our slots to others no sooner than 350 ms after it has
//! received that heartbeat, so a lease is over before anybody else acts; no two clocks are compared.
//!
//! [`Grants`] belongs to the heartbeat: it knows send times and hears echoes. [`Gate`] belongs to a worker: what it may do
//! in a round. The send itself asks the clock once more, for a process can be stopped between the two.

use common::ids::Epoch;
use common::time::{Duration, Time};
use std::collections::VecDeque;

/// How long a lease holds, counted from the heartbeat's sending.
pub const LEASE: Duration = Duration::from_millis(300);
/// After so long without serving, what waits to be received is too old: its senders have sent it again, or given up.
const STALE_AFTER: Duration = LEASE;
/// Heartbeats whose send times are known. At 50 ms each they reach back further than a lease.
const KNOWN: usize = 16;

/// What the echoes of our heartbeats have given.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Sequence, send time and the epoch that it named, oldest first.
    sent: VecDeque<(u64, Time, Epoch)>,
    until: Time,
}

impl Grants {
    /// `epoch`: of the placement that this node stands under.
    pub fn sent(&mut self, sequence: u64, now: Time, epoch: Epoch) {
        if self.sent.len() == KNOWN {
            self.sent.pop_front();
        }
        self.sent.push_back((sequence, now, epoch));
    }

    /// A beacon names this as our newest heartbeat that counted. It gives a lease if this node stood under `least` by then:
    /// an epoch that does without it, or any where the beacon holds it. So a node that was removed has none before it
    /// knows, as the load manager drops what such a one sends.
    pub fn echoed(&mut self, sequence: u64, least: Epoch) {
        let known = |(sent, _, epoch): &&(u64, Time, Epoch)| *sent == sequence && *epoch >= least;
        if let Some((_, at, _)) = self.sent.iter().find(known) {
            self.until = self.until.max(*at + LEASE);
        }
    }

    /// When the lease ends; a time that is over if there is none.
    pub fn until(&self) -> Time {
        self.until
    }
}

/// What a worker may do in this round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// Serve.
    Open,
    /// Empty the receive queue unread, then serve: it has not been served for too long.
    Stale,
    /// Drop what arrives before it touches any state, and hold the timers: there is no lease.
    Shut,
}

/// A worker's memory of when it served last.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    served: Time,
}

impl Gate {
    pub fn new(now: Time) -> Gate {
        Gate { served: now }
    }

    /// At the begin of a round. `until`: [`Grants::until`] as the heartbeat has published it.
    pub fn pass(&mut self, now: Time, until: Time) -> Passage {
        if now >= until {
            return Passage::Shut;
        }
        let stale = now.since(self.served) > STALE_AFTER;
        self.served = now;
        if stale { Passage::Stale } else { Passage::Open }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Time {
        Time(0) + Duration::from_millis(ms)
    }

    #[test]
    fn a_lease_counts_from_the_sending_of_what_was_echoed() {
        let mut grants = Grants::default();
        assert_eq!(grants.until(), Time(0));
        (1..=4).for_each(|n| grants.sent(n, ms(1000 + 50 * n), Epoch(7)));
        // However late the echo comes.
        grants.echoed(2, Epoch(0));
        assert_eq!(grants.until(), ms(1400));
        // The other plane's copy, an older beacon, a heartbeat that is not ours.
        [2, 1, 99].into_iter().for_each(|n| grants.echoed(n, Epoch(0)));
        assert_eq!(grants.until(), ms(1400));
        grants.echoed(4, Epoch(0));
        assert_eq!(grants.until(), ms(1500));
    }

    #[test]
    fn what_was_sent_too_long_ago_gives_nothing() {
        let mut grants = Grants::default();
        (1..=100).for_each(|n| grants.sent(n, ms(50 * n), Epoch(7)));
        grants.echoed(1, Epoch(0));
        assert_eq!(grants.until(), Time(0));
        // All that could still give a lease is known.
        assert!(KNOWN as u64 * 50 > LEASE.as_millis() as u64);
    }

    #[test]
    fn a_removed_node_gets_no_lease_before_it_knows() {
        let mut grants = Grants::default();
        grants.sent(1, ms(50), Epoch(6));
        grants.echoed(1, Epoch(7));
        assert_eq!(grants.until(), Time(0));
        grants.sent(2, ms(100), Epoch(7));
        grants.echoed(2, Epoch(7));
        assert_eq!(grants.until(), ms(400));
    }

    #[test]
    fn a_worker_serves_with_a_lease_and_starts_with_an_empty_queue_after_a_gap() {
        let mut gate = Gate::new(ms(0));
        assert_eq!(gate.pass(ms(10), ms(300)), Passage::Open);
        assert_eq!(gate.pass(ms(299), ms(300)), Passage::Open);
        assert_eq!(gate.pass(ms(300), ms(300)), Passage::Shut);
        // Back within the time of a lease: what waits is fresh.
        assert_eq!(gate.pass(ms(400), ms(600)), Passage::Open);
        assert_eq!(gate.pass(ms(600), ms(600)), Passage::Shut);
        assert_eq!(gate.pass(ms(701), ms(900)), Passage::Stale);
        assert_eq!(gate.pass(ms(702), ms(900)), Passage::Open);
        // The thread itself was stopped; the heartbeat's went on.
        assert_eq!(gate.pass(ms(1100), ms(1300)), Passage::Stale);
    }
}
