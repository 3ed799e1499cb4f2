//! What a forwarder counts. One of these a worker: it alone writes (plain loads and stores, no bus lock), the admin port
//! reads and adds up.

use crate::forward::DropReason;
use common::sip::{MethodKind, Start};
use std::sync::atomic::{AtomicU64, Ordering};

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    In = 0,
    Out = 1,
}

impl Way {
    pub const ALL: [Way; 2] = [Way::In, Way::Out];

    pub fn label(self) -> &'static str {
        match self {
            Way::In => "in",
            Way::Out => "out",
        }
    }
}

/// Status codes by their first digit.
pub const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "6xx"];

#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Only by the thread that owns it.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Aligned, so that two workers never write to the same cache line.
#[derive(Default)]
#[repr(align(128))]
pub struct Counters {
    requests: [[Counter; MethodKind::ALL.len()]; 2],
    responses: [[Counter; CLASSES.len()]; 2],
    dropped: [Counter; DropReason::COUNT],
    pub keep_alives: Counter,
    /// Binding requests answered.
    pub stun: Counter,
    /// Requests answered 503 because no node was live.
    pub no_node: Counter,
    /// Answered 503 because every node refused it.
    pub full: Counter,
    /// Requests answered 513.
    pub too_large: Counter,
}

impl Counters {
    pub fn message(&self, way: Way, start: Start) {
        match start {
            Start::Request(method) => self.requests[way as usize][method as usize].add(1),
            Start::Response(status) => {
                let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
                self.responses[way as usize][class].add(1);
            }
        }
    }

    pub fn dropped(&self, why: DropReason, count: usize) {
        self.dropped[why as usize].add(count as u64);
    }

    pub fn requests(&self, way: Way, method: MethodKind) -> u64 {
        self.requests[way as usize][method as usize].get()
    }

    /// `class`: index into [`CLASSES`].
    pub fn responses(&self, way: Way, class: usize) -> u64 {
        self.responses[way as usize][class].get()
    }

    pub fn drops(&self, why: DropReason) -> u64 {
        self.dropped[why as usize].get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_class() {
        let counters = Counters::default();
        for status in [100, 199, 200, 404, 503, 603, 699, 0, 999] {
            counters.message(Way::Out, Start::Response(status));
        }
        let by_class: Vec<u64> = (0..6).map(|class| counters.responses(Way::Out, class)).collect();
        assert_eq!(by_class, [3, 1, 0, 1, 1, 3]);
    }

    #[test]
    fn reasons_are_in_their_order() {
        for (at, why) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, at);
        }
    }
}
