//! The pulse of an lm-server, as its agent feels it: a beat for beacons that have left. Where there was a pulse and there is
//! none any more, the process hangs or was stopped; it is killed, so that another one takes what waits at the VIP.
//! Pure: `io/beacons` feels the beats, `io/up` kills.

use common::time::{Duration, Time};

/// Without a beacon for so long it is given up: by then the nodes' leases run out, and the rack is mute anyway.
const PATIENCE: Duration = Duration::from_millis(300);
/// Where the rack file wants beacons seldom, this many periods.
const PERIODS: u32 = 4;
/// The agent feels the pulse every 50 ms. More than 100 ms late, it has not run itself, and its child may not have either:
/// the machine stood still, or is short of time.
const ASLEEP: Duration = Duration::from_millis(150);

#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    patience: Duration,
    /// None before the first: what has not begun cannot stop, however long a start takes.
    newest: Option<Time>,
    felt: Time,
}

impl Pulse {
    /// Of an incarnation that makes a beacon every `period`.
    pub fn new(period: Duration) -> Pulse {
        Pulse { patience: PATIENCE.max(period * PERIODS), newest: None, felt: Time(0) }
    }

    /// How long a silence may last.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Beacons have left since the pulse was felt last.
    pub fn beat(&mut self, now: Time) {
        self.newest = Some(now);
    }

    /// Whether it has stopped. To be asked every 50 ms, after the beats of that time.
    pub fn is_overdue(&mut self, now: Time) -> bool {
        let late = now.since(self.felt) > ASLEEP;
        self.felt = now;
        if late {
            self.newest = self.newest.map(|_| now);
        }
        self.newest.is_some_and(|newest| now.since(newest) >= self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(50);

    fn at(ms: u64) -> Time {
        Time(ms * 1000)
    }

    /// Feels every 50 ms; when it is overdue first.
    fn overdue(pulse: &mut Pulse, from_ms: u64, to_ms: u64) -> Option<u64> {
        (from_ms..=to_ms).step_by(50).find(|ms| pulse.is_overdue(at(*ms)))
    }

    #[test]
    fn it_is_overdue_300_ms_after_the_newest_beat() {
        let mut pulse = Pulse::new(PERIOD);
        for ms in (0..=1000).step_by(50) {
            pulse.beat(at(ms));
            assert!(!pulse.is_overdue(at(ms)));
        }
        assert_eq!(overdue(&mut pulse, 1050, 3000), Some(1300));
    }

    #[test]
    fn who_has_not_begun_is_not_waited_for() {
        let mut pulse = Pulse::new(PERIOD);
        assert_eq!(overdue(&mut pulse, 0, 60_000), None);
        pulse.beat(at(60_050));
        assert_eq!(overdue(&mut pulse, 60_050, 61_000), Some(60_350));
    }

    #[test]
    fn an_agent_that_was_late_itself_waits_anew() {
        let mut pulse = Pulse::new(PERIOD);
        pulse.beat(at(0));
        assert_eq!(overdue(&mut pulse, 0, 250), None);
        let mut in_time = pulse;
        assert!(in_time.is_overdue(at(400)), "100 ms late are every day's business");
        assert_eq!(overdue(&mut pulse, 401, 2000), Some(701));
    }

    #[test]
    fn where_beacons_are_rare_the_wait_is_longer() {
        assert_eq!(
            [50, 75, 200].map(|ms| Pulse::new(Duration::from_millis(ms)).patience().as_millis()),
            [300, 300, 800]
        );
    }
}
