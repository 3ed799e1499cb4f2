//! The response context (RFC 3261 §16.6 step 10, §16.7): one forwarded request, its branches, and what each came to.
//! State only; `engine`, `targets`, `legs` and `responses` act on it.

use super::best::Failure;
use super::forward::Original;
use crate::call::{CallRef, Side};
use crate::counted::Key;
use crate::effect::RecordNo;
use crate::identity::Edge;
use crate::record::{CallKey, Decision, Hunt, Redirected, Target};
use crate::resolve::LookupId;
use crate::service::limits::Wants;
use crate::service::{Caller, Choice};
use crate::station::Station;
use crate::transaction::{ClientId, ServerId};
use common::deadlines::Handle;
use common::sip::MethodKind;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::Arc;

pub struct Context {
    pub original: Original,
    pub method: MethodKind,
    pub server: ServerId,
    /// Who asked, where its targets were chosen by us: a redirection is followed by the same rights.
    pub caller: Option<Caller>,
    /// In the order in which they are tried.
    pub legs: Vec<Leg>,
    /// Legs from here on wait for their turn.
    pub started: usize,
    /// Targets that wait until all their names are looked up.
    pub searching: Vec<Search>,
    /// Chosen together with what is looked up.
    pub chosen: Vec<Leg>,
    /// Names that led nowhere.
    pub unreachable: Vec<Failure>,
    /// When who asked must hear something: an INVITE's caller although names are still looked up, any other at all.
    pub patience: Option<Handle>,
    pub decisions: Vec<Decision>,
    /// The newest record of an INVITE's targets: no branch starts before it is acknowledged.
    pub after: Option<RecordNo>,
    /// Of an INVITE: the name that its records stand under.
    pub key: Option<Arc<CallKey>>,
    /// The call that this INVITE begins.
    pub call: Option<CallRef>,
    /// The calls that this request belongs to, and which side sent it: more than one where the dialog passes through
    /// this rack more than once.
    pub dialogs: Vec<(CallRef, Side)>,
    /// Redirections that were followed.
    pub redirections: u8,
    /// What the newest of them named, until it is chosen; and the branch whose place that takes.
    pub redirected: Vec<Choice>,
    pub instead_of: Option<Redirected>,
    /// Targets that wait until it is known whether the call may begin, or go there.
    pub asking: Vec<Asking>,
    /// Under which keys the call is counted.
    pub counted: SmallVec<[Key; 4]>,
    pub answered: bool,
    /// A final response has gone upstream.
    pub final_sent: bool,
    pub cancelled: bool,
    /// The record that says so.
    pub cancelled_by: Option<RecordNo>,
    /// A branch said 6xx: nobody else is tried.
    pub declined: bool,
}

/// A target whose name is being looked up.
pub struct Search {
    pub lookup: LookupId,
    pub choice: Choice,
}

/// Targets of a call whose limits are asked about.
pub struct Asking {
    pub ask: u64,
    pub wants: Wants,
    pub choices: Vec<Choice>,
    /// The branch whose place they take.
    pub instead_of: Option<Redirected>,
}

pub struct Leg {
    pub target: Target,
    /// Further addresses of the same target, tried when this one cannot serve (RFC 3263 §4.3).
    pub alternatives: VecDeque<Target>,
    pub state: LegState,
    pub client: Option<ClientId>,
    /// What it may fork into (RFC 5393 §5.3.3).
    pub breadth: usize,
    /// Timer C; once a CANCEL is out, the wait for its effect.
    pub timer: Option<Handle>,
    /// Timer C has fired: what the CANCEL brings is a timeout.
    pub rang_out: bool,
}

#[derive(Clone, Debug)]
pub enum LegState {
    Waiting,
    Pending {
        provisional: bool,
        cancel: Cancel,
    },
    Failed(Failure),
    /// It answered 3xx, and the targets that it named were taken up instead.
    Redirected,
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
    /// Of the addresses of one target, best first.
    pub fn of(target: Target, alternatives: VecDeque<Target>) -> Leg {
        let state = LegState::Waiting;
        Leg { target, alternatives, state, client: None, breadth: 0, timer: None, rang_out: false }
    }

    pub fn is_pending(&self) -> bool {
        matches!(self.state, LegState::Pending { .. })
    }

    /// This address and those that may follow it.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        std::iter::once(&self.target).chain(&self.alternatives)
    }
}

impl Context {
    pub fn has_pending(&self) -> bool {
        self.legs[..self.started].iter().any(Leg::is_pending)
    }

    /// Something more is to come of it: a branch, a name, whether there is room.
    pub fn waits(&self) -> bool {
        self.has_pending() || !self.searching.is_empty() || !self.asking.is_empty()
    }

    /// Whether another target may be tried at all.
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

    /// The legs to start now, and the breadth of each: of one order; together with those that are pending only if these
    /// have the same order and leave room. What a redirected or failed branch had is free again (RFC 5393 §5.3.3).
    pub fn next_group(&self, breadth: usize) -> (std::ops::Range<usize>, usize) {
        let from = self.started;
        let none = (from..from, 0);
        let Some(order) = self.legs.get(from).map(|leg| leg.target.order) else { return none };
        let pending = || self.legs[..from].iter().filter(|leg| leg.is_pending());
        if pending().any(|leg| leg.target.order != order) {
            return none;
        }
        let left = breadth.saturating_sub(pending().map(|leg| leg.breadth).sum());
        let same = self.legs[from..].iter().take_while(|leg| leg.target.order == order).count();
        match same.min(left) {
            0 => none,
            size => (from..from + size, left / size),
        }
    }

    /// Puts legs where their order says, among those that wait.
    pub fn add_legs(&mut self, legs: Vec<Leg>) {
        self.legs.extend(legs);
        self.legs[self.started..].sort_by_key(|leg| leg.target.order);
    }

    pub fn failures(&self) -> Vec<&Failure> {
        let failed = self.legs.iter().filter_map(|leg| match &leg.state {
            LegState::Failed(failure) => Some(failure),
            _ => None,
        });
        failed.chain(&self.unreachable).collect()
    }

    /// The edge that a leg's response crosses on its way to who asked.
    pub fn edge(&self, station: &Station, leg: &Leg) -> Edge {
        Edge::back(&station.rack, &leg.target.peer, &self.original.sender)
    }

    /// The same for one of [`Context::failures`].
    pub fn edge_of(&self, station: &Station, failure: &Failure) -> Edge {
        let is_its = |leg: &&Leg| matches!(&leg.state, LegState::Failed(own) if std::ptr::eq(own, failure));
        self.legs.iter().find(is_its).map_or(Edge { from: false, to: false }, |leg| self.edge(station, leg))
    }

    pub fn is_invite(&self) -> bool {
        self.method == MethodKind::Invite
    }
}
