//! When a service that died is started again: at once the first time, then after 100 ms, doubling to 5 s; one that has
//! lived for 10 s starts afresh. Used by `supervisor`.

use common::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
const LIVED: Duration = Duration::from_secs(10);

/// Deaths in a row, each sooner than 10 s after its start.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    early_deaths: u32,
}

impl Backoff {
    /// How long to wait after a death of a process that had lived for `lived`.
    pub fn died(&mut self, lived: Duration) -> Duration {
        if lived >= LIVED {
            self.early_deaths = 0;
        }
        self.early_deaths = self.early_deaths.saturating_add(1);
        match self.early_deaths {
            1 => Duration::ZERO,
            n => FIRST.saturating_mul(1 << (n - 2).min(16)).min(LONGEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_once_then_doubling_to_five_seconds_and_afresh_after_ten() {
        let mut backoff = Backoff::default();
        let mut waits = |lived_s: &[u64]| -> Vec<u64> {
            lived_s.iter().map(|s| backoff.died(Duration::from_secs(*s)).as_millis() as u64).collect()
        };
        assert_eq!(waits(&[0, 0, 0, 0, 0, 0, 0, 0, 9]), [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(waits(&[10, 0, 0]), [0, 100, 200]);
    }
}
