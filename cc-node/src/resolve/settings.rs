//! What may be reached, how long answers count, and how much is kept.

use common::config::Rack;
use common::ids::Transport;
use common::time::Duration;

/// A way that a listener of ours can send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    pub transport: Transport,
    /// Its address is an IPv6 one.
    pub ipv6: bool,
}

#[derive(Clone, Debug)]
pub struct Settings {
    /// In the order of the rack file's listeners, which is the order of preference.
    pub served: Vec<Served>,
    /// No positive answer counts longer.
    pub ttl_max: Duration,
    /// No negative answer counts longer.
    pub negative_ttl_max: Duration,
    /// How long an expired answer is kept for when no name server answers.
    pub stale: Duration,
    /// A question without an answer is given up then. A little more than the shell's own patience.
    pub question_patience: Duration,
    /// A look-up takes expired answers and what is known so far after this …
    pub impatient_after: Duration,
    /// … and fails after this.
    pub lookup_patience: Duration,
    /// Questions of which something is kept.
    pub entries: usize,
    /// Fewer than `entries`.
    pub open_questions: usize,
    /// Look-ups that wait.
    pub lookups: usize,
    /// Targets of one look-up whose addresses are asked for.
    pub targets: usize,
    pub addresses_a_name: usize,
    /// Hops of one look-up.
    pub hops: usize,
    /// Servers that are remembered as unwell.
    pub unwell: usize,
}

impl Settings {
    /// Those of a worker of this rack.
    pub fn of(rack: &Rack) -> Settings {
        let served = rack.listeners.iter().map(|l| Served { transport: l.transport, ipv6: l.address.is_ipv6() });
        let dns = &rack.dns;
        let seconds = |s: u32| Duration::from_secs(u64::from(s));
        let patience = dns.patience() + Duration::from_millis(500);
        Settings {
            served: served.collect(),
            ttl_max: seconds(dns.ttl_max_s),
            negative_ttl_max: seconds(dns.negative_ttl_max_s),
            stale: seconds(dns.stale_s),
            question_patience: patience,
            impatient_after: Duration::from_millis(500),
            lookup_patience: patience * 3,
            entries: 4096,
            open_questions: OPEN_QUESTIONS,
            lookups: 4096,
            targets: 16,
            addresses_a_name: 8,
            hops: 16,
            unwell: 1024,
        }
    }
}

/// What one worker may have asked without an answer.
pub const OPEN_QUESTIONS: usize = 1024;
