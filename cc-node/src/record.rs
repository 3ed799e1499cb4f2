//! What the journal holds about a call. The holder numbers its records and hands them out before the message that depends
//! on them ([`crate::effect::Effect::Journal`]); the shadows at the backups are built from nothing else.
//!
//! A record stands at a transaction boundary (ARCHITECTURE §6, FAILURES §2): an INVITE accepted with its targets, a
//! branch's result, the answer, the final response, the end.

use bytes::Bytes;
use common::flow::{Flow, Peer};
use common::ids::Slot;
use common::time::WallMillis;

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
    pub call: CallKey,
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

/// One step of the pipeline and what came out of it, in words for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub step: Step,
    pub found: String,
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
