//! Why there is no server to send to, and what the caller of RFC 3263 answers then.

use crate::dns::DnsFailure;

/// Each names what failed. RFC 3263 itself names no status: [`Unresolved::status`] says which and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// Longer than the DNS allows, or with octets that no host name has.
    #[error("`{0}` is no host name")]
    NotAName(String),
    #[error("the name {0} does not exist")]
    NoSuchName(String),
    /// Without an A or AAAA record of a family that a listener speaks.
    #[error("{0} has no address that a listener of ours can reach")]
    NoAddress(String),
    /// The only SRV target is `.` (RFC 2782).
    #[error("{0} says that it has no SIP service")]
    NoService(String),
    /// What the URI or the domain asks for, and what our listeners serve, have nothing in common.
    #[error("no listener of ours serves a transport by which {0} can be reached")]
    NoTransport(String),
    #[error("no name server told where {0} leads in time")]
    Timeout(String),
    #[error("the name servers could not tell where {0} leads")]
    ServerFailure(String),
    /// Open questions or waiting look-ups are at their limit.
    #[error("too many names are being looked up to ask for {0}")]
    TooBusy(String),
}

impl Unresolved {
    /// The status for a Request-URI (or Route) that leads nowhere.
    ///
    /// - 404: the DNS said definitively that nobody is there, so asking again is of no use. RFC 3261 §21.4.5 gives 404
    ///   for a domain that the user does not exist at; 480 would promise that the callee is known.
    /// - 503: a fault on the way, or a transport that this rack lacks. RFC 3261 §8.1.3.1 and §16.9 treat a failure to
    ///   reach the next hop as if it had answered 503, and §16.7 step 6 makes 500 of it for the caller, unless another
    ///   branch does better. So one bad name is one failed branch.
    ///
    /// For a trunk's own destination every one of them is a failed branch (503): what the operator configured is nothing
    /// that the caller got wrong.
    pub fn status(&self) -> u16 {
        match self {
            Unresolved::NotAName(_)
            | Unresolved::NoSuchName(_)
            | Unresolved::NoAddress(_)
            | Unresolved::NoService(_) => 404,
            Unresolved::NoTransport(_)
            | Unresolved::Timeout(_)
            | Unresolved::ServerFailure(_)
            | Unresolved::TooBusy(_) => 503,
        }
    }

    /// Metric label.
    pub fn label(&self) -> &'static str {
        match self {
            Unresolved::NotAName(_) => "not_a_name",
            Unresolved::NoSuchName(_) => "no_such_name",
            Unresolved::NoAddress(_) => "no_address",
            Unresolved::NoService(_) => "no_service",
            Unresolved::NoTransport(_) => "no_transport",
            Unresolved::Timeout(_) => "timeout",
            Unresolved::ServerFailure(_) => "server_failure",
            Unresolved::TooBusy(_) => "too_busy",
        }
    }

    /// A question about `name` has failed.
    pub(super) fn of(failure: DnsFailure, name: &str) -> Unresolved {
        match failure {
            DnsFailure::Timeout => Unresolved::Timeout(name.into()),
            DnsFailure::ServerFailure => Unresolved::ServerFailure(name.into()),
            DnsFailure::Full => Unresolved::TooBusy(name.into()),
        }
    }
}
