//! Questions to the DNS and what came back, as the shell (`io::dns`) and the simulated DNS hand them to a worker.
//! `resolve` asks and judges; nothing here is believed yet.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Names one question among those of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsAsk(pub u64);

/// The record types that RFC 3263 asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    Naptr,
    Srv,
    A,
    Aaaa,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Naptr, Kind::Srv, Kind::A, Kind::Aaaa];

    /// Metric label.
    pub fn label(self) -> &'static str {
        match self {
            Kind::Naptr => "naptr",
            Kind::Srv => "srv",
            Kind::A => "a",
            Kind::Aaaa => "aaaa",
        }
    }
}

/// A name, in lower case and without trailing dot, and what is asked about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    pub name: Arc<str>,
    pub kind: Kind,
}

/// What came of a question. CNAMEs have been followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsAnswer {
    Records {
        /// What stands at the end of the CNAMEs; no TTL is longer than that of a CNAME on the way.
        answers: Vec<DnsRecord>,
        /// The additional section: addresses of SRV targets, if the server sent them along.
        additional: Vec<DnsRecord>,
    },
    /// NXDOMAIN. `ttl_s` is that of a negative answer (RFC 2308 §5); `None` if the answer brought no SOA.
    NoSuchName {
        ttl_s: Option<u32>,
    },
    /// The name is there, but has no record of this kind.
    NoRecords {
        ttl_s: Option<u32>,
    },
    Failed(DnsFailure),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum DnsFailure {
    #[error("no name server answered in time")]
    Timeout,
    /// SERVFAIL, REFUSED, or an answer that cannot be read.
    #[error("the name server could not answer")]
    ServerFailure,
    #[error("too many questions are open")]
    Full,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsRecord {
    /// Whose record it is, with or without trailing dot.
    pub name: String,
    pub ttl_s: u32,
    pub data: DnsData,
}

/// Character strings and names as they came; octets that are no UTF-8 have been replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsData {
    /// RFC 3403 §4.1.
    Naptr {
        order: u16,
        preference: u16,
        flags: String,
        services: String,
        regexp: String,
        replacement: String,
    },
    /// RFC 2782. A target of `.` says that the service is decidedly not there.
    Srv {
        priority: u16,
        weight: u16,
        port: u16,
        target: String,
    },
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
}
