//! A worker's plain counters. Its engine counts, its shell publishes a copy a few times a second; label sets are closed.

use crate::problems::Blind;
use common::sip::{Fault, MethodKind};
use common::time::Duration;
use std::collections::BTreeMap;

const METHODS: usize = MethodKind::ALL.len();

/// Why a message that reached the engine came to nothing, without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DropReason {
    /// Not a SIP message, or one that cannot be answered.
    Malformed,
    /// A response that matches no transaction and has no valid token of ours.
    StrayResponse,
    /// An ACK to a response of ours, for which no transaction waits (stateless answers).
    AckOfOurs,
    /// An ACK without a valid token.
    AckWithoutToken,
    /// An ACK whose next hop lies outside its peer.
    AckOutsidePeer,
    /// An ACK that asks for an unknown extension, or has no hops left.
    AckInvalid,
    /// From and for strangers, in a rack that asks for authentication: scanners get no answer.
    UnknownDomain,
    /// A response to a request that this rack did not send (no Via behind ours).
    NotForwarded,
    /// From another node: it has been here before, or asks or answers nothing.
    Inside,
    /// An ACK that another node may hold, and all were silent.
    AckUnanswered,
    /// Of a dead node's call, which goes on here in a moment: it will come again.
    Inheriting,
    /// Whoever handled this message panicked, or died: it is shut out for 64 s.
    Quarantined,
}

impl DropReason {
    pub const ALL: [DropReason; 12] = [
        DropReason::Malformed,
        DropReason::StrayResponse,
        DropReason::AckOfOurs,
        DropReason::AckWithoutToken,
        DropReason::AckOutsidePeer,
        DropReason::AckInvalid,
        DropReason::UnknownDomain,
        DropReason::NotForwarded,
        DropReason::Inside,
        DropReason::AckUnanswered,
        DropReason::Inheriting,
        DropReason::Quarantined,
    ];

    /// Metric label.
    pub fn label(self) -> &'static str {
        match self {
            DropReason::Malformed => "malformed",
            DropReason::StrayResponse => "stray_response",
            DropReason::AckOfOurs => "ack_of_ours",
            DropReason::AckWithoutToken => "ack_without_token",
            DropReason::AckOutsidePeer => "ack_outside_peer",
            DropReason::AckInvalid => "ack_invalid",
            DropReason::UnknownDomain => "unknown_domain",
            DropReason::NotForwarded => "not_forwarded",
            DropReason::Inside => "inside",
            DropReason::AckUnanswered => "ack_unanswered",
            DropReason::Inheriting => "inheriting",
            DropReason::Quarantined => "quarantined",
        }
    }
}

/// Why a request was refused with an answer of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Rejection {
    /// 400, 414, 416, 420, 422, 505, 513, 482, 483, 440; `Stats::unfit` has most of them by what was wrong.
    Invalid,
    /// 401, 407.
    Challenged,
    /// 403 of authentication.
    Forbidden,
    /// 403: relaying, or a next hop outside the peer.
    Relaying,
    /// 404, 480, 484.
    NotFound,
    /// 481 to a CANCEL.
    NoTransaction,
    /// 503: transactions or calls at their limit; all nodes drain; every node refuses a share of the new calls, in which this
    /// one is.
    Full,
    /// 503: one source has too many transactions open.
    SourceLimit,
    /// 503 and others: no target that can be reached.
    NoTarget,
    /// 403: the account has as many calls as it may have in the rack.
    AccountCalls,
    /// 403: so has the source.
    SourceCalls,
    /// 503: so has a trunk, from which it comes or to which it would go.
    TrunkCalls,
}

impl Rejection {
    pub const ALL: [Rejection; 12] = [
        Rejection::Invalid,
        Rejection::Challenged,
        Rejection::Forbidden,
        Rejection::Relaying,
        Rejection::NotFound,
        Rejection::NoTransaction,
        Rejection::Full,
        Rejection::SourceLimit,
        Rejection::NoTarget,
        Rejection::AccountCalls,
        Rejection::SourceCalls,
        Rejection::TrunkCalls,
    ];

    /// Metric label.
    pub fn label(self) -> &'static str {
        match self {
            Rejection::Invalid => "invalid",
            Rejection::Challenged => "challenged",
            Rejection::Forbidden => "forbidden",
            Rejection::Relaying => "relaying",
            Rejection::NotFound => "not_found",
            Rejection::NoTransaction => "no_transaction",
            Rejection::Full => "full",
            Rejection::SourceLimit => "source_limit",
            Rejection::NoTarget => "no_target",
            Rejection::AccountCalls => "account_calls",
            Rejection::SourceCalls => "source_calls",
            Rejection::TrunkCalls => "trunk_calls",
        }
    }
}

/// Seconds from INVITE to ringing or answer; upper bounds in ms.
pub const SETUP_BOUNDS_MS: [u64; 12] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Observations up to each bound, not cumulative; the last is for those above all.
    pub buckets: [u64; SETUP_BOUNDS_MS.len() + 1],
    pub sum_ms: u64,
    pub count: u64,
}

impl Histogram {
    pub fn observe(&mut self, value: Duration) {
        let ms = value.as_millis() as u64;
        let at = SETUP_BOUNDS_MS.iter().position(|bound| ms <= *bound).unwrap_or(SETUP_BOUNDS_MS.len());
        self.buckets[at] += 1;
        self.sum_ms += ms;
        self.count += 1;
    }
}

/// How many transactions there are now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transactions {
    pub invite_server: u64,
    pub server: u64,
    pub invite_client: u64,
    pub client: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Indexed by `MethodKind as usize`. Every datagram counts, repeats too.
    pub requests_in: [u64; METHODS],
    pub requests_out: [u64; METHODS],
    /// By status and method.
    pub responses_in: BTreeMap<(u16, MethodKind), u64>,
    pub responses_out: BTreeMap<(u16, MethodKind), u64>,
    /// Indexed by `DropReason as usize`.
    pub dropped: [u64; DropReason::ALL.len()],
    /// Indexed by `Rejection as usize`.
    pub rejected: [u64; Rejection::ALL.len()],
    /// Messages beyond a limit, unreadable or against the grammar, by `Fault as usize`: dropped, answered.
    pub unfit: [[u64; 2]; Fault::ALL.len()],
    /// Requests that a server transaction knew already.
    pub repeats: u64,
    /// Responses forwarded by their token, without a transaction.
    pub responses_by_token: u64,
    /// In-dialog requests forwarded.
    pub in_dialog: u64,
    /// Answered with their targets instead of being forwarded.
    pub redirected: u64,
    /// With a To tag and a token that does not fit.
    pub forged_tokens: u64,
    /// Transactions without an answer (Timers B, F, H and C).
    pub timeouts: u64,
    /// Journal records written.
    pub records: u64,
    pub cdrs: u64,
    /// Forwarded without knowledge of its call, indexed by `Blind as usize`.
    pub blind: [u64; Blind::ALL.len()],
    /// Transactions forgotten when this node had been removed from the placement: others may have taken them up.
    pub forgotten: u64,
    pub calls_answered: u64,
    /// Refused, cancelled or unanswered.
    pub calls_failed: u64,
    /// Calls that others go on with, since this node was removed from the placement.
    pub forgotten_calls: u64,
    /// Calls of dead holders that go on here.
    pub inherited: u64,
    /// Gauges, as of the end of the last input.
    pub transactions: Transactions,
    pub calls_in_setup: u64,
    pub calls_established: u64,
    /// INVITE to first 101-199.
    pub to_ringing: Histogram,
    /// INVITE to 2xx.
    pub to_answer: Histogram,
}

impl Stats {
    pub fn drop(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }

    pub fn reject(&mut self, rejection: Rejection) {
        self.rejected[rejection as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_at_their_numbers_and_buckets_take_the_bound_itself() {
        assert!(DropReason::ALL.iter().enumerate().all(|(i, r)| *r as usize == i));
        assert!(Rejection::ALL.iter().enumerate().all(|(i, r)| *r as usize == i));
        let mut h = Histogram::default();
        [5, 6, 99_999].into_iter().for_each(|ms| h.observe(Duration::from_millis(ms)));
        assert_eq!((h.buckets[0], h.buckets[1], h.buckets[12], h.count), (1, 1, 1, 3));
    }
}
