//! What the journal holds about a call. The holder numbers its records and hands them out before the message that depends
//! on them ([`crate::effect::Effect::Journal`]); the shadows at the backups are built from nothing else.
//!
//! A record stands at a transaction boundary: an INVITE accepted with its targets, a
//! branch's result, the answer, the final response, the end.

use bytes::Bytes;
use common::flow::{Flow, Peer};
use common::ids::{NodeId, Slot, TrunkId};
use common::location::Aor;
use common::time::WallMillis;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Numbers the records of one slot at one holder's incarnation, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordNo {
    pub slot: Slot,
    pub number: u64,
}

/// Names a call everywhere in the rack, in its CDR too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey {
    pub call_id: Box<[u8]>,
    /// The caller's tag.
    pub from_tag: Box<str>,
    /// Branch of the Via that the INVITE came with; empty where it had none.
    pub upstream_branch: Box<str>,
    /// Of the INVITE: a peer that uses tag and branch again starts another call.
    pub cseq: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub no: RecordNo,
    pub call: Arc<CallKey>,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// An INVITE is taken, before its 100 and before it is forwarded. A re-INVITE too, under its own key.
    Accepted(Box<Accepted>),
    /// Further targets, before any of them is tried: names that took long to look up, or those that a 3xx named.
    Targets { targets: Vec<Target> },
    /// A branch has failed for good, before the ACK downstream. `response` is what a best response is chosen from.
    BranchFailed { branch: Box<str>, status: u16, response: Bytes },
    /// Before the first 200 to the INVITE goes upstream.
    Answered { branch: Box<str>, at: WallMillis, callee_tag: Box<str>, callee_contact: Option<Box<str>> },
    /// Before this final response, which is no 2xx, goes upstream.
    Refused { response: Bytes },
    /// The call is over and its CDR written: before the final response to BYE goes back.
    Ended { at: WallMillis },
}

/// All that a node needs to go on with an INVITE that another has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// As it came in.
    pub request: Bytes,
    pub source: Flow,
    pub at: WallMillis,
    pub decisions: Vec<Decision>,
    /// Names are still being looked up: a node that takes over looks them up anew.
    pub pending: bool,
    /// Every target, those of later groups and other addresses of one name too.
    pub targets: Vec<Target>,
}

/// Where an INVITE goes: one branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Request-URI of the forwarded request.
    pub uri: String,
    /// Route values, topmost first; empty where the URI is the next hop.
    pub route: Vec<String>,
    /// Resolved: the listener that it leaves from and the address that it goes to.
    pub next_hop: Flow,
    /// The callee's side as the dialog token will say.
    pub peer: Peer,
    /// Targets of an equal order are tried together, lower orders first.
    pub order: u16,
    /// Counts the addresses of one target.
    pub attempt: u32,
    /// Whether the next order is tried after any failure, or only if this one could not serve (trunks: 408 and most 5xx).
    pub hunt: Hunt,
    /// Whether a 3xx of it is followed (RFC 3261 §16.7 step 4).
    pub recurse: bool,
    /// Written once, when the target is chosen; never recomputed.
    pub branch: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hunt {
    AfterAnyFailure,
    IfUnavailable,
}

/// The two sides of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Caller,
    Callee,
}

/// One step of the pipeline and what came out of it; printed in words for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    FromTrunk {
        trunk: TrunkId,
        at: SocketAddr,
    },
    /// By digest.
    FromUser {
        user: Aor,
        at: SocketAddr,
    },
    /// The domain asks for no authentication.
    FromAnyone {
        at: SocketAddr,
    },
    /// By the dialog's token, which this node wrote.
    InDialog {
        sender: Side,
        node: NodeId,
    },
    /// What was here before it.
    Admitted {
        transactions: usize,
        calls: usize,
    },
    /// `unreachable` of the bindings are over a transport that is not there.
    Located {
        aor: Aor,
        bindings: usize,
        unreachable: usize,
    },
    NoRoute {
        aor: Aor,
    },
    Routed(String),
    Forked {
        targets: usize,
        groups: usize,
    },
}

impl Decision {
    pub fn step(&self) -> Step {
        match self {
            Decision::FromTrunk { .. }
            | Decision::FromUser { .. }
            | Decision::FromAnyone { .. }
            | Decision::InDialog { .. } => Step::Identify,
            Decision::Admitted { .. } => Step::Admit,
            Decision::Located { .. } => Step::Locate,
            Decision::NoRoute { .. } | Decision::Routed(_) => Step::Route,
            Decision::Forked { .. } => Step::Fork,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::FromTrunk { trunk, at } => write!(f, "trunk {trunk} by its address {at}"),
            Decision::FromUser { user, at } => write!(f, "user {user} by digest, from {at}"),
            Decision::FromAnyone { at } => write!(f, "anyone, since the domain asks for no authentication, from {at}"),
            Decision::InDialog { sender: Side::Caller, node } => write!(f, "the caller, by the token of node {node}"),
            Decision::InDialog { sender: Side::Callee, node } => write!(f, "the callee, by the token of node {node}"),
            Decision::Admitted { transactions, calls } => {
                write!(f, "{transactions} transactions and {calls} calls here before it")
            }
            Decision::Located { aor, bindings, unreachable } => {
                write!(f, "{aor}: {bindings} bindings, {unreachable} of them without a transport")
            }
            Decision::NoRoute { aor } => write!(f, "no route for {aor}"),
            Decision::Routed(words) => f.write_str(words),
            Decision::Forked { targets, groups } => write!(f, "{targets} targets in {groups} groups"),
        }
    }
}

/// The pipeline's steps in their order (see `service`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Identify,
    Admit,
    Locate,
    Route,
    Fork,
}

impl Step {
    pub fn name(self) -> &'static str {
        match self {
            Step::Identify => "identify",
            Step::Admit => "admit",
            Step::Locate => "locate",
            Step::Route => "route",
            Step::Fork => "fork",
        }
    }
}
