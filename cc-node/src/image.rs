//! A call as its records tell it: what a backup keeps of it, and what its holder remembers to have told. Applying a record
//! is the only way in which one changes, so that two who have applied the same records hold the same.
//!
//! An [`Image`] is of one Call-ID: each INVITE under its own key, with the call that it began. There are three of each call
//! in a rack and nearly always one of everything in it, so that nothing in it grows by more than it needs.

use crate::cdr::Cdr;
use crate::record::{Accepted, Answer, CONTACTS, CallKey, MAX_DIALOGS, Opened, Redirected, Side, Target, What};
use bytes::Bytes;
use common::flow::Peer;
use common::time::{Duration, Time, WallMillis};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// INVITEs of one Call-ID at once: more are a peer's doing that does not wait for answers.
const MAX_PARTS: usize = 64;

/// Everything under one Call-ID.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Image {
    parts: Vec<Part>,
}

/// What stands under one key. An INVITE that is over leaves the call; a call that is over leaves its CDR until that is
/// written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub key: Arc<CallKey>,
    pub invite: Option<Box<Invite>>,
    pub call: Option<Box<Call>>,
    pub cdr: Option<Box<Cdr>>,
}

/// An INVITE that is being forwarded, or has been a short while ago.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invite {
    pub accepted: Box<Accepted>,
    /// When it was taken.
    pub at: Time,
    /// In the order in which they are tried.
    pub legs: Vec<Leg>,
    pub cancelled: bool,
    pub answered: bool,
    /// The final response that went upstream, if it was no 2xx.
    pub refused: Option<(u16, Bytes)>,
}

/// A branch: the addresses of one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// The one that is tried now, or would be first, then those that may follow it.
    pub targets: VecDeque<Target>,
    pub state: LegState,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LegState {
    Waiting,
    /// `early`: it has said something.
    Started {
        early: bool,
    },
    Failed {
        status: u16,
        response: Bytes,
    },
    Redirected,
    Succeeded,
}

/// A call, from its INVITE to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    pub opened: Opened,
    pub at: Time,
    pub wall: WallMillis,
    /// Each with the callee's side as its token says.
    pub dialogs: Vec<(Box<str>, Peer)>,
    /// The dialogs that were answered and have not ended.
    pub answers: Vec<Answered>,
    /// Their tags, once they have.
    pub ended: Vec<Box<str>>,
    pub contacts: [VecDeque<SocketAddr>; 2],
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    pub answer: Answer,
    pub at: Time,
    /// By when its session must be refreshed.
    pub session: Option<Time>,
}

impl Image {
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub fn into_parts(self) -> Vec<Part> {
        self.parts
    }

    /// Nothing is left of it.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether an INVITE waits for its final response.
    pub fn is_pending(&self) -> bool {
        self.parts.iter().filter_map(|part| part.invite.as_ref()).any(|invite| invite.is_pending())
    }

    /// When the youngest part of it began.
    pub fn youngest(&self) -> Time {
        let of = |part: &Part| part.invite.as_ref().map(|i| i.at).max(part.call.as_ref().map(|c| c.at));
        self.parts.iter().filter_map(of).max().unwrap_or_default()
    }

    /// Of another machine, whose clock says `theirs` while ours says `ours`.
    pub fn shift(&mut self, theirs: Time, ours: Time) {
        let shift = |at: &mut Time| *at = Time(at.0.saturating_add(ours.0).saturating_sub(theirs.0));
        for part in &mut self.parts {
            part.invite.iter_mut().for_each(|invite| shift(&mut invite.at));
            if let Some(call) = &mut part.call {
                shift(&mut call.at);
                for answered in &mut call.answers {
                    shift(&mut answered.at);
                    answered.session.iter_mut().for_each(shift);
                }
            }
        }
    }

    /// What a record says. Of what is not there it says nothing.
    pub fn apply(&mut self, now: Time, key: &Arc<CallKey>, what: What) {
        let at = self.parts.iter().position(|part| part.key == *key);
        let at = match (at, &what) {
            (Some(at), _) => at,
            (None, What::Accepted(_)) if self.parts.len() < MAX_PARTS => {
                self.parts.reserve_exact(1);
                self.parts.push(Part { key: key.clone(), invite: None, call: None, cdr: None });
                self.parts.len() - 1
            }
            (None, _) => return,
        };
        let part = &mut self.parts[at];
        part.apply(now, what);
        if part.is_over() {
            self.parts.remove(at);
        }
    }
}

impl Part {
    fn is_over(&self) -> bool {
        self.invite.is_none() && self.call.is_none() && self.cdr.is_none()
    }

    fn apply(&mut self, now: Time, what: What) {
        match what {
            What::Accepted(accepted) => self.accepted(now, accepted),
            What::Targets { instead_of, targets } => self.invite.iter_mut().for_each(|i| i.add(&instead_of, &targets)),
            What::Started { branches } => self.invite.iter_mut().for_each(|i| i.started(&branches)),
            What::BranchFailed { branch, status, response } => {
                self.invite.iter_mut().for_each(|i| i.failed(&branch, status, &response));
            }
            What::Early { branch, callee_tag, contact } => {
                let peer = self.invite.as_mut().and_then(|invite| invite.early(&branch));
                let Some(call) = &mut self.call else { return };
                call.dialog(callee_tag, peer);
                contact.into_iter().for_each(|address| call.saw(Side::Callee, address));
            }
            What::Cancelled => self.invite.iter_mut().for_each(|invite| invite.cancelled = true),
            What::Answered(answer) => {
                self.invite.iter_mut().for_each(|invite| invite.succeeded(&answer.branch));
                self.call.iter_mut().for_each(|call| call.answered(now, &answer));
            }
            What::Refused { status, response } => {
                self.invite.iter_mut().for_each(|invite| invite.refused = Some((status, response.clone())));
                self.call = None;
            }
            What::Over => {
                self.invite = None;
                self.call.take_if(|call| !call.is_answered());
            }
            What::Session { callee_tag, expires_s } => {
                let until = expires_s.map(|s| now + Duration::from_secs(u64::from(s)));
                let call = self.call.iter_mut().flat_map(|call| &mut call.answers);
                call.filter(|a| a.answer.callee_tag == callee_tag).for_each(|a| a.session = until);
            }
            What::Contact { side, address } => self.call.iter_mut().for_each(|call| call.saw(side, address)),
            What::DialogEnded { callee_tag } => {
                let Some(call) = &mut self.call else { return };
                call.answers.retain(|a| a.answer.callee_tag != callee_tag);
                call.ended.push(callee_tag);
            }
            What::Ended { cdr } => {
                self.call = None;
                self.cdr = Some(cdr);
            }
            What::Written => self.cdr = None,
        }
    }

    fn accepted(&mut self, now: Time, mut accepted: Box<Accepted>) {
        // Told again with its targets, it is the same INVITE.
        if self.invite.is_some() {
            return;
        }
        self.call = accepted.call.clone().map(|opened| {
            let contacts = [opened.contact.into_iter().collect(), VecDeque::new()];
            let (at, wall) = (now, accepted.at);
            let call = Call { opened, at, wall, dialogs: Vec::new(), answers: Vec::new(), ended: Vec::new(), contacts };
            Box::new(call)
        });
        let targets = std::mem::take(&mut accepted.targets);
        let mut invite =
            Invite { accepted, at: now, legs: Vec::new(), cancelled: false, answered: false, refused: None };
        invite.add(&None, &targets);
        self.invite = Some(Box::new(invite));
    }
}

impl Invite {
    pub fn is_pending(&self) -> bool {
        !self.answered && self.refused.is_none()
    }

    fn leg(&mut self, branch: &str) -> Option<&mut Leg> {
        self.legs.iter_mut().find(|leg| leg.targets.front().is_some_and(|target| target.branch == branch))
    }

    /// An attempt of 0 begins a leg; those behind it are its other addresses.
    fn add(&mut self, instead_of: &Option<Redirected>, targets: &[Target]) {
        if let Some(Redirected { branch, ranks }) = instead_of {
            let order = self.leg(branch).map(|leg| {
                leg.state = LegState::Redirected;
                leg.targets.truncate(1);
                leg.targets[0].order
            });
            let later = self.legs.iter_mut().filter(|leg| leg.state == LegState::Waiting);
            for target in later.flat_map(|leg| &mut leg.targets).filter(|t| Some(t.order) > order) {
                target.order = target.order.saturating_add(*ranks);
            }
        }
        if !targets.is_empty() {
            self.accepted.pending = false;
        }
        for target in targets {
            match self.legs.last_mut().filter(|_| target.attempt > 0) {
                Some(leg) => leg.targets.push_back(target.clone()),
                None => {
                    self.legs.reserve_exact(1);
                    self.legs.push(Leg { targets: VecDeque::from([target.clone()]), state: LegState::Waiting });
                }
            }
        }
        self.legs.sort_by_key(|leg| (leg.state == LegState::Waiting, leg.waits_in()));
    }

    fn started(&mut self, branches: &[Box<str>]) {
        for branch in branches {
            // Another address of a target whose first could not serve: those before it are done.
            let holds = |leg: &&mut Leg| leg.targets.iter().any(|target| *target.branch == **branch);
            let Some(leg) = self.legs.iter_mut().find(holds) else { continue };
            while leg.targets.front().is_some_and(|target| *target.branch != **branch) {
                leg.targets.pop_front();
            }
            leg.state = LegState::Started { early: false };
        }
    }

    fn failed(&mut self, branch: &str, status: u16, response: &Bytes) {
        if let Some(leg) = self.leg(branch) {
            leg.state = LegState::Failed { status, response: response.clone() };
        }
    }

    /// The callee's side.
    fn early(&mut self, branch: &str) -> Option<Peer> {
        let leg = self.leg(branch)?;
        if leg.state == (LegState::Started { early: false }) {
            leg.state = LegState::Started { early: true };
        }
        leg.targets.front().map(|target| target.peer)
    }

    fn succeeded(&mut self, branch: &str) {
        self.answered = true;
        if let Some(leg) = self.leg(branch) {
            leg.state = LegState::Succeeded;
        }
    }
}

impl Leg {
    /// Legs that wait are sorted by their order; those that were started stay where they are.
    fn waits_in(&self) -> u16 {
        match self.state {
            LegState::Waiting => self.targets.front().map_or(0, |target| target.order),
            _ => 0,
        }
    }
}

impl Call {
    pub fn is_answered(&self) -> bool {
        !self.answers.is_empty()
    }

    fn dialog(&mut self, tag: Box<str>, peer: Option<Peer>) {
        let Some(peer) = peer.filter(|_| !tag.is_empty() && self.dialogs.len() < MAX_DIALOGS) else { return };
        if !self.dialogs.contains(&(tag.clone(), peer)) {
            self.dialogs.reserve_exact(1);
            self.dialogs.push((tag, peer));
        }
    }

    fn saw(&mut self, side: Side, address: SocketAddr) {
        let contacts = &mut self.contacts[side as usize];
        if contacts.contains(&address) {
            return;
        }
        if contacts.len() == CONTACTS {
            contacts.pop_front();
        }
        contacts.reserve_exact(1);
        contacts.push_back(address);
    }

    fn answered(&mut self, now: Time, answer: &Answer) {
        let tag = &answer.callee_tag;
        if self.answers.iter().any(|a| a.answer.callee_tag == *tag) || self.ended.contains(tag) {
            return;
        }
        self.dialog(tag.clone(), Some(answer.peer));
        answer.callee_contact.into_iter().for_each(|address| self.saw(Side::Callee, address));
        self.answers.reserve_exact(1);
        self.answers.push(Answered { answer: answer.clone(), at: now, session: None });
    }
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
