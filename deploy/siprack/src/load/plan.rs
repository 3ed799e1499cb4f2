//! What is to be offered: kind of traffic, pace, amount, users. Made by `io::load` from the command line, and by `benches/`.

use common::time::{Duration, Time};
use std::net::SocketAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// INVITE to BYE, between two addresses of ours.
    Calls,
    /// REGISTER, one binding a user.
    Registrations,
    /// OPTIONS to the domain.
    Options,
}

impl Kind {
    /// What one of it is called, in the plural.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Calls => "calls",
            Kind::Registrations => "registrations",
            Kind::Options => "OPTIONS",
        }
    }
}

/// Names counted up from the first: `1001` is followed by `1002`, `load` by `load1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Users {
    stem: String,
    from: u64,
    width: usize,
    pub count: u64,
}

impl Users {
    pub fn new(first: &str, count: u64) -> Users {
        let stem = first.trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = &first[stem.len()..];
        Users { stem: stem.to_string(), from: digits.parse().unwrap_or(0), width: digits.len(), count: count.max(1) }
    }

    /// The `n`th name; after the last comes the first again.
    pub fn name(&self, n: u64) -> String {
        let number = self.from.saturating_add(n % self.count);
        if self.width == 0 && number == 0 {
            return self.stem.clone();
        }
        format!("{}{number:0width$}", self.stem, width = self.width)
    }
}

/// How much, how fast.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// New ones a second, whatever becomes of those before; `None`: as fast as the window permits.
    pub rate: Option<f64>,
    /// Open at a time, at most.
    pub window: u64,
    /// New ones in all.
    pub count: Option<u64>,
    /// New ones are begun for this long.
    pub duration: Option<Duration>,
}

/// With a rate, new ones begin at moments this far apart at least: a wake-up a call would cost more than the call.
const QUANTUM: Duration = Duration::from_millis(1);

impl Pace {
    /// Whether another one begins now; `started` so far, `open` not ended.
    pub fn admits(&self, since: Duration, started: u64, open: u64) -> bool {
        !self.is_over(since, started)
            && open < self.window
            && self.rate.is_none_or(|rate| (started as f64) < since.as_secs_f64() * rate)
    }

    /// No other one will begin.
    pub fn is_over(&self, since: Duration, started: u64) -> bool {
        self.count.is_some_and(|count| started >= count) || self.duration.is_some_and(|length| since >= length)
    }

    /// When the next one may begin by the rate.
    pub fn next(&self, origin: Time, now: Time, started: u64) -> Option<Time> {
        let rate = self.rate.filter(|rate| *rate > 0.0)?;
        let due = origin + Duration::from_secs_f64((started as f64 / rate).min(1e9));
        Some(due.max(now + QUANTUM))
    }
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub kind: Kind,
    /// Where requests go that have no route yet.
    pub target: SocketAddr,
    pub domain: String,
    pub users: Users,
    /// Of every user.
    pub password: Option<String>,
    /// Our own addresses: who calls, and who is called and registered.
    pub caller: SocketAddr,
    pub callee: SocketAddr,
    pub pace: Pace,
    /// From 180 to 200, and from ACK to BYE.
    pub ring: Duration,
    pub hold: Duration,
    /// Tells this run's Call-IDs from every other's.
    pub run: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_up_and_begin_again() {
        let of = |first: &str, count| (0..4).map(|n| Users::new(first, count).name(n)).collect::<Vec<_>>();
        assert_eq!(of("1001", 20), ["1001", "1002", "1003", "1004"]);
        assert_eq!(of("load", 3), ["load", "load1", "load2", "load"]);
        assert_eq!(of("u008", 9), ["u008", "u009", "u010", "u011"]);
    }

    #[test]
    fn a_rate_is_kept_and_a_window_is_never_exceeded() {
        let pace = Pace { rate: Some(100.0), window: 5, count: None, duration: Some(Duration::from_secs(1)) };
        let second = Duration::from_millis;
        assert!(pace.admits(second(11), 1, 1) && !pace.admits(second(9), 1, 1));
        assert!(!pace.admits(second(500), 20, 5), "the window is full");
        assert!(!pace.admits(second(1000), 20, 0) && pace.is_over(second(1000), 20));
        assert_eq!(pace.next(Time(0), Time(0), 50), Some(Time(500_000)));
        assert_eq!(pace.next(Time(0), Time(500_000), 50), Some(Time(501_000)), "at most a thousand moments a second");
    }
}
