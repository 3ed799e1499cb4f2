//! INVITEs of a dead holder go on here: what its records say is made into a response context, and what it had sent and
//! nobody has answered is sent again with the branch that it had, so that every phone rings once.

use super::best::Failure;
use super::context::{Cancel, Context, Leg, LegState};
use super::engine::{OWN, Proxy, Wait};
use super::{checks, forward, targets};
use crate::call::CallRef;
use crate::effect::RecordNo;
use crate::image;
use crate::record::{CallKey, Side, Target};
use crate::service::Choice;
use crate::station::Station;
use crate::trace::{About, Event};
use crate::transaction::{ClientKey, LegRef, Outgoing, Owner, ServerId};
use crate::turn::Turn;
use common::sip::SipMessage;
use smallvec::SmallVec;
use std::sync::Arc;

/// An INVITE as `node` has read it again.
pub struct Heir {
    pub owner: Owner,
    pub server: ServerId,
    pub original: forward::Original,
    pub invite: image::Invite,
    pub key: Arc<CallKey>,
    pub call: Option<CallRef>,
    pub dialogs: Vec<(CallRef, Side)>,
    /// Where it goes, if its holder had not come to know that.
    pub choices: Vec<Choice>,
}

impl Proxy {
    pub fn inherit(&mut self, turn: &mut Turn<'_>, station: &Station, heir: Heir) {
        let Heir { owner, server, original, invite, key, call, dialogs, choices } = heir;
        if !invite.is_pending() {
            self.over.push_back((turn.now + station.timing.whole(), key.clone()));
        }
        for (at, leg) in invite.legs.iter().enumerate() {
            let failed = leg.targets.front().filter(|_| matches!(leg.state, image::LegState::Failed { .. }));
            let user = LegRef { owner, leg: at, upstream: Some(server), call, session: None };
            failed.into_iter().for_each(|target| self.linger(turn, station, &original, target, user));
        }
        if let Some((status, response)) = invite.refused {
            // Its ACK may be missing.
            return self.table.respond(turn, server, status, Outgoing::new(None, response));
        }
        if invite.answered {
            self.table.accept(turn, server);
        } else {
            let trying = station.reply(&original.request, &original.source, 100, None, Vec::new());
            self.table.respond(turn, server, 100, Outgoing::new(None, trying));
        }
        self.note_stray(turn, station, owner, server);
        let declined = |leg: &image::Leg| matches!(leg.state, image::LegState::Failed { status: 600.., .. });
        let mut context = Box::new(Context {
            method: original.request.method().kind(),
            original,
            server,
            caller: invite.accepted.caller.clone(),
            legs: Vec::new(),
            started: 0,
            searching: Vec::new(),
            chosen: Vec::new(),
            unreachable: Vec::new(),
            patience: None,
            decisions: Vec::new(),
            // It is told already.
            after: Some(RecordNo(0)),
            key: Some(key),
            call,
            dialogs,
            redirections: 0,
            redirected: Vec::new(),
            instead_of: None,
            asking: Vec::new(),
            counted: SmallVec::new(),
            answered: invite.answered,
            final_sent: invite.answered,
            cancelled: invite.cancelled,
            cancelled_by: invite.cancelled.then_some(RecordNo(0)),
            declined: invite.legs.iter().any(declined),
        });
        context.legs = invite.legs.into_iter().filter_map(leg).collect();
        context.started = context.legs.iter().filter(|leg| !matches!(leg.state, LegState::Waiting)).count();
        self.probe(turn, station, owner, &mut context);
        match choices.is_empty() || context.cancelled {
            true => self.settle(turn, station, owner, context),
            false => self.choose(turn, station, owner, context, choices),
        }
    }

    /// Who has refused repeats that until it hears an ACK: the first one may be lost with the node that was to send it.
    fn linger(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        original: &forward::Original,
        target: &Target,
        user: LegRef,
    ) {
        let method = original.request.method();
        let key = ClientKey::new(&station.keys.branch, &target.branch, &method);
        let invite = Outgoing::new(None, forward::write(station, original, target, 1));
        let subject = targets::subject(station, method.kind(), target, &original.request);
        if let Some(client) = self.table.resume_client(turn, key, subject, invite, user) {
            self.table.give_up(turn, client);
        }
    }

    /// Asks again whoever was asked, or tells them that nobody waits for them any more (§16.10).
    fn probe(&mut self, turn: &mut Turn<'_>, station: &Station, owner: Owner, context: &mut Context) {
        let ends = context.final_sent || context.cancelled || context.declined;
        let pending = context.legs.iter().filter(|leg| leg.is_pending()).count();
        let breadth = checks::max_breadth(&context.original.request) / pending.max(1);
        for at in 0..context.started {
            let LegState::Pending { provisional, .. } = context.legs[at].state else { continue };
            context.legs[at].breadth = breadth.max(1);
            self.ask_again(turn, station, owner, context, at, ends && provisional);
            if ends {
                self.cancel_leg(turn, station, owner, context, at);
            }
        }
    }

    /// `silently`: only to be cancelled.
    fn ask_again(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        owner: Owner,
        context: &mut Context,
        at: usize,
        silently: bool,
    ) {
        let leg = &mut context.legs[at];
        let invite = Outgoing::new(None, forward::write(station, &context.original, &leg.target, leg.breadth));
        let key = ClientKey::new(&station.keys.branch, &leg.target.branch, &context.original.request.method());
        let session = context.original.session.and_then(|asked| asked.offer());
        let user = LegRef { owner, leg: at, upstream: Some(context.server), call: context.call, session };
        let subject = targets::subject(station, context.method, &leg.target, &context.original.request);
        if !silently {
            let about = About { peer: Some(subject.address.to), ..About::call(subject.call) };
            turn.trace.note(turn.now, about, Event::Probes);
        }
        leg.client = match silently {
            true => self.table.resume_client(turn, key, subject, invite, user),
            false => self.table.open_client(turn, key, subject, invite, user),
        };
        match leg.client {
            Some(_) => leg.timer = Some(self.timers.insert(turn.now + station.timing.c, Wait::Leg(user))),
            None => leg.state = LegState::Failed(Failure { status: 408, response: None }),
        }
    }
}

/// As the context has it; none without a target, which nobody writes.
fn leg(image: image::Leg) -> Option<Leg> {
    let mut targets = image.targets;
    let mut leg = Leg::of(targets.pop_front()?, targets);
    leg.state = match image.state {
        image::LegState::Waiting => LegState::Waiting,
        image::LegState::Started { early } => LegState::Pending { provisional: early, cancel: Cancel::No },
        image::LegState::Failed { status, response } => {
            let response = SipMessage::parse(response, &OWN).ok().map(Box::new);
            LegState::Failed(Failure { status, response })
        }
        image::LegState::Redirected => LegState::Redirected,
        image::LegState::Succeeded => LegState::Succeeded,
    };
    Some(leg)
}
