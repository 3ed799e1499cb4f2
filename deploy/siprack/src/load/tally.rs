//! What a load came to: how many ended well, why others did not, and how long answers took. `engine` counts, the report
//! and `benches/` read.

use common::time::Duration;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// Why a call, registration or request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// A final response that is no 2xx, with the method that it answers.
    Refused { method: &'static str, status: u16 },
    /// No final response in 64 × T1.
    Silence { method: &'static str },
    /// A challenge, and no password to answer it (or a second challenge).
    Challenge { method: &'static str },
    /// A 2xx from which no request can be sent: no Contact.
    NoContact,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused { method, status } => write!(f, "{method} {status}"),
            Failure::Silence { method } => write!(f, "{method} without answer"),
            Failure::Challenge { method } => write!(f, "{method} challenged"),
            Failure::NoContact => f.write_str("200 without Contact"),
        }
    }
}

/// Response times in microseconds, to three digits, up to two minutes.
#[derive(Clone, Debug)]
pub struct Latency(Option<Histogram<u64>>);

impl Default for Latency {
    fn default() -> Self {
        Latency(Histogram::new_with_bounds(1, 120_000_000, 3).ok())
    }
}

impl Latency {
    pub fn took(&mut self, time: Duration) {
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(time.as_micros() as u64);
        }
    }

    /// The time within which this share of answers came, in microseconds; 0 where there were none.
    pub fn within(&self, share: f64) -> u64 {
        self.0.as_ref().map_or(0, |h| h.value_at_quantile(share))
    }

    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    fn json(&self) -> Value {
        json!({"count": self.count(), "p50": self.within(0.5), "p90": self.within(0.9), "p99": self.within(0.99),
            "p999": self.within(0.999), "max": self.within(1.0)})
    }
}

#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub started: u64,
    pub finished: u64,
    pub failures: BTreeMap<Failure, u64>,
    /// Datagrams, repeats too, of both sides.
    pub sent: u64,
    pub received: u64,
    /// Requests and 200s that were sent again, by our timers.
    pub repeats: u64,
    /// Messages that belong to nothing of ours, or cannot be read.
    pub strays: u64,
    /// Calls that our UAS answered, and those of them whose ACK never came.
    pub answered: u64,
    pub unacknowledged: u64,
    /// Request to first provisional response.
    pub first: Latency,
    /// INVITE (or the one request) to 2xx.
    pub answer: Latency,
    /// BYE to 2xx.
    pub bye: Latency,
}

impl Tally {
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Neither finished nor failed yet.
    pub fn open(&self) -> u64 {
        self.started - self.finished - self.failed()
    }

    pub fn fail(&mut self, why: Failure) {
        *self.failures.entry(why).or_default() += 1;
    }

    /// `seconds` from the first request to the last answer.
    pub fn json(&self, seconds: f64) -> Value {
        let failures: BTreeMap<String, u64> = self.failures.iter().map(|(why, n)| (why.to_string(), *n)).collect();
        json!({
            "started": self.started, "finished": self.finished, "failed": self.failed(), "failures": failures,
            "seconds": seconds, "per_s": per_second(self.finished, seconds),
            "sent": self.sent, "received": self.received, "repeats": self.repeats, "strays": self.strays,
            "answered": self.answered, "unacknowledged": self.unacknowledged,
            "latency_us": {"first": self.first.json(), "answer": self.answer.json(), "bye": self.bye.json()},
        })
    }

    /// A few lines for people.
    pub fn lines(&self, what: &str, seconds: f64) -> Vec<String> {
        let (finished, failed) = (self.finished, self.failed());
        let mut lines = vec![format!(
            "{finished} {what} in {seconds:.1} s ({:.0}/s), {failed} failed; {} sent again, {} strays",
            per_second(finished, seconds),
            self.repeats,
            self.strays
        )];
        lines.extend(self.failures.iter().map(|(why, n)| format!("  failed: {n} × {why}")));
        if self.unacknowledged > 0 {
            lines.push(format!("  {} of {} answered calls got no ACK", self.unacknowledged, self.answered));
        }
        for (name, latency) in [("first 1xx", &self.first), ("answer", &self.answer), ("BYE", &self.bye)] {
            if latency.count() > 0 {
                let ms = |share| latency.within(share) as f64 / 1000.0;
                let (p50, p99, p999, max) = (ms(0.5), ms(0.99), ms(0.999), ms(1.0));
                lines.push(format!(
                    "  {name:<10} p50 {p50:.2} ms  p99 {p99:.2} ms  p99.9 {p999:.2} ms  max {max:.2} ms"
                ));
            }
        }
        lines
    }
}

fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}
