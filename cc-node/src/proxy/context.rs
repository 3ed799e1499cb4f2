//! The response context (RFC 3261 §16.6 step 10, §16.7): one forwarded request, its branches, and what each came to.
//! State only; `engine` and `responses` act on it.

use super::best::Failure;
use super::forward::Original;
use crate::call::{CallRef, Side};
use crate::effect::RecordNo;
use crate::record::{CallKey, Hunt, Target};
use crate::transaction::{ClientId, ServerId};
use bytes::Bytes;
use common::deadlines::Handle;
use common::sip::MethodKind;

pub struct Context {
    pub original: Original,
    pub method: MethodKind,
    pub server: ServerId,
    /// In the order in which they are tried.
    pub legs: Vec<Leg>,
    /// Legs from here on wait for their turn.
    pub started: usize,
    /// The record of an INVITE's targets: no branch starts before it is acknowledged.
    pub after: Option<RecordNo>,
    /// Of an INVITE: the name that its records stand under.
    pub key: Option<CallKey>,
    /// The call that this INVITE begins.
    pub call: Option<CallRef>,
    /// The call that this request belongs to, and which side sent it.
    pub dialog: Option<(CallRef, Side)>,
    pub answered: bool,
    /// A final response has gone upstream.
    pub final_sent: bool,
    pub cancelled: bool,
    /// A branch said 6xx: nobody else is tried.
    pub declined: bool,
}

pub struct Leg {
    pub target: Target,
    pub state: LegState,
    pub client: Option<ClientId>,
    /// As it left; for its CANCEL and ACK.
    pub sent: Bytes,
    /// Timer C; once a CANCEL is out, the wait for its effect.
    pub timer: Option<Handle>,
}

#[derive(Clone, Debug)]
pub enum LegState {
    Waiting,
    Pending {
        provisional: bool,
        cancel: Cancel,
    },
    Failed(Failure),
    /// It answered with 2xx.
    Succeeded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    No,
    /// To be sent when a provisional response has come (§9.1).
    Wanted,
    Sent,
}

impl Leg {
    pub fn new(target: Target) -> Leg {
        Leg { target, state: LegState::Waiting, client: None, sent: Bytes::new(), timer: None }
    }

    pub fn is_pending(&self) -> bool {
        matches!(self.state, LegState::Pending { .. })
    }

    pub fn fail(&mut self, failure: Failure) {
        self.state = LegState::Failed(failure);
    }
}

impl Context {
    pub fn has_pending(&self) -> bool {
        self.legs[..self.started].iter().any(Leg::is_pending)
    }

    /// Whether another group of targets is tried now that nothing is pending.
    pub fn goes_on(&self) -> bool {
        !self.final_sent && !self.cancelled && !self.declined && self.started < self.legs.len() && self.hunts()
    }

    /// What the last group's failures say about trying another (lists of codes: `Hunt`).
    fn hunts(&self) -> bool {
        let Some(last) = self.legs[..self.started].last().map(|leg| leg.target.order) else { return true };
        let group = self.legs[..self.started].iter().filter(|leg| leg.target.order == last);
        let stops = |leg: &Leg| match (&leg.state, leg.target.hunt) {
            (LegState::Failed(failure), Hunt::IfUnavailable) => !matches!(failure.status, 408 | 500 | 502 | 503 | 504),
            _ => false,
        };
        !group.into_iter().any(stops)
    }

    /// The next group: legs of one order, at most `breadth` at a time.
    pub fn next_group(&self, breadth: usize) -> std::ops::Range<usize> {
        let from = self.started;
        let order = self.legs.get(from).map(|leg| leg.target.order);
        let same = self.legs[from..].iter().take_while(|leg| Some(leg.target.order) == order).count();
        from..from + same.min(breadth.max(1))
    }

    pub fn failures(&self) -> Vec<&Failure> {
        let failed = |leg: &'_ Leg| matches!(leg.state, LegState::Failed(_));
        self.legs
            .iter()
            .filter(|leg| failed(leg))
            .filter_map(|leg| match &leg.state {
                LegState::Failed(failure) => Some(failure),
                _ => None,
            })
            .collect()
    }

    pub fn is_invite(&self) -> bool {
        self.method == MethodKind::Invite
    }
}
