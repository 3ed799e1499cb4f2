//! What the journal holds about a call. The holder numbers its records and hands them out before the message that depends
//! on them ([`crate::effect::Effect::Journal`]); the shadows at the backups are built from nothing else.
//!
//! A record stands at a transaction boundary: an INVITE accepted with its targets, a
//! branch's result, the answer, the final response, the end.
//!
//! Moments in it are the wall clock's, for the CDR; how long ago something was, a shadow counts from when it heard of it.

use crate::cdr::Cdr;
use bytes::Bytes;
use common::call_hash::CallHash;
use common::flow::{Flow, Peer};
use common::ids::{NodeId, Transport, TrunkId};
use common::location::Aor;
use common::time::WallMillis;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Dialogs of one call that are remembered, early ones too: each branch makes at most one that matters.
pub const MAX_DIALOGS: usize = 64;
/// Contacts of one side that are remembered; the newest stay.
pub const CONTACTS: usize = 4;

/// Numbers the records of one worker of one incarnation, from 1. Which call a record belongs to stands in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecordNo(pub u64);

/// Names a call everywhere in the rack, in its CDR too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallKey {
    pub call_id: Box<[u8]>,
    /// The caller's tag.
    pub from_tag: Box<str>,
    /// Branch of the Via that the INVITE came with; empty where it had none.
    pub upstream_branch: Box<str>,
    /// Of the INVITE: a peer that uses tag and branch again starts another call.
    pub cseq: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub no: RecordNo,
    /// Of its Call-ID.
    pub hash: CallHash,
    pub call: Arc<CallKey>,
    pub what: What,
}

/// An INVITE under its own key (a re-INVITE too), and the call that it began, under the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum What {
    /// An INVITE is taken, before its 100 and before it is forwarded.
    Accepted(Box<Accepted>),
    /// Further targets, before any of them is tried: names that took long to look up, or those that a 3xx named.
    Targets { instead_of: Option<Redirected>, targets: Vec<Target> },
    /// These branches are tried now, before their INVITEs leave.
    Started { branches: Vec<Box<str>> },
    /// A branch has failed for good, before the ACK downstream. `response` is what a best response is chosen from; empty:
    /// nobody said it.
    BranchFailed { branch: Box<str>, status: u16, response: Bytes },
    /// A branch has said something provisional, and with a To tag a dialog is there. Nothing waits for it.
    Early { branch: Box<str>, callee_tag: Box<str>, contact: Option<SocketAddr> },
    /// The caller wants it no longer: before the 200 to the CANCEL.
    Cancelled,
    /// Before the first 200 of a dialog goes upstream.
    Answered(Box<Answer>),
    /// Before this final response, which is no 2xx, goes upstream.
    Refused { status: u16, response: Bytes },
    /// The INVITE's transactions are over; of an answered call the dialogs go on.
    Over,
    /// The interval that a 2xx has settled for a dialog's session, or that there is none any more.
    Session { callee_tag: Box<str>, expires_s: Option<u32> },
    /// A side is reached here now.
    Contact { side: Side, address: SocketAddr },
    /// One of several dialogs has ended.
    DialogEnded { callee_tag: Box<str> },
    /// The call is over: before the final response to BYE goes back.
    Ended { cdr: Box<Cdr> },
    /// The CDR is where no death of a process loses it.
    Written,
}

impl What {
    /// No message ever waits for it: it may come to a backup a little later.
    pub fn is_waited_for(&self) -> bool {
        !matches!(self, What::Early { .. } | What::Over | What::Written)
    }
}

/// All that a node needs to go on with an INVITE that another has taken. What follows from the request and the rack file
/// alone is not in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// As it came in.
    pub request: Bytes,
    pub source: Flow,
    pub transport: Transport,
    /// When it came; a CDR's id follows from it.
    pub at: WallMillis,
    /// Who asked; none within a dialog.
    pub caller: Option<Caller>,
    /// The call that it begins.
    pub call: Option<Opened>,
    /// The calls that it belongs to, and which side sent it.
    pub dialogs: Vec<(Arc<CallKey>, Side)>,
    pub decisions: Vec<Decision>,
    /// Names are still being looked up: a node that takes over looks them up anew.
    pub pending: bool,
    /// Every target, those of later groups and other addresses of one name too.
    pub targets: Vec<Target>,
}

/// A call as its INVITE opens it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Whose call it is, and the Request-URI as dialled.
    pub caller: String,
    pub callee: String,
    /// The caller's side as the dialog token says.
    pub peer: Peer,
    pub trunk_in: Option<TrunkId>,
    /// Where the caller's Contact is.
    pub contact: Option<SocketAddr>,
}

/// A branch that a 3xx has put others in the place of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirected {
    pub branch: Box<str>,
    /// By how much the orders behind it have moved.
    pub ranks: u16,
}

/// A 2xx: a dialog of the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub status: u16,
    pub reason: String,
    pub at: WallMillis,
    pub callee_tag: Box<str>,
    /// Where the callee's Contact is.
    pub callee_contact: Option<SocketAddr>,
    pub branch: Box<str>,
    /// The callee's side as the dialog token says.
    pub peer: Peer,
}

/// Where an INVITE goes: one branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hunt {
    AfterAnyFailure,
    IfUnavailable,
}

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Caller {
    Trunk(TrunkId),
    /// Proved by digest.
    User(Aor),
    /// Somebody in a domain without authentication.
    Anyone,
}

impl Caller {
    pub fn trunk(&self) -> Option<TrunkId> {
        match self {
            Caller::Trunk(id) => Some(*id),
            _ => None,
        }
    }
}

/// The two sides of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    Caller,
    Callee,
}

/// One step of the pipeline and what came out of it; printed in words for an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
