//! How a branch ends that nobody answers: CANCEL (RFC 3261 §9.1, §16.10), Timers B, C and F (§16.8), and what is still to
//! be done for one that we have given up when its phone speaks after all.

use super::best::Failure;
use super::context::{Cancel, Context, LegState};
use super::derived;
use super::engine::{OWN, Proxy, Wait};
use super::stateless;
use super::targets::hop;
use crate::record::What;
use crate::station::Station;
use crate::transaction::{ClientId, ClientKey, LegRef, Outgoing, Owner};
use crate::turn::Turn;
use bytes::Bytes;
use common::flow::Flow;
use common::sip::{Method, MethodKind, SipMessage};

impl Proxy {
    pub(super) fn cancel_pending(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        owner: Owner,
        context: &mut Context,
    ) {
        for at in 0..context.started {
            self.cancel_leg(turn, station, owner, context, at);
        }
    }

    /// CANCEL once a provisional response has come; until then it is only wanted (§9.1).
    pub(super) fn cancel_leg(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        owner: Owner,
        context: &mut Context,
        at: usize,
    ) {
        let is_invite = context.is_invite();
        let leg = &mut context.legs[at];
        let LegState::Pending { provisional, cancel } = &mut leg.state else { return };
        if !is_invite || *cancel == Cancel::Sent {
            return;
        }
        *cancel = Cancel::Wanted;
        if !*provisional {
            return;
        }
        *cancel = Cancel::Sent;
        if let Some(handle) = leg.timer.take() {
            self.timers.cancel(handle);
        }
        let user = LegRef { owner, leg: at, upstream: Some(context.server), call: context.call, session: None };
        leg.timer = Some(self.timers.insert(turn.now + station.timing.whole(), Wait::Leg(user)));
        if let Some(client) = leg.client {
            self.send_cancel(turn, station, client);
        }
    }

    /// A transaction of its own, that nobody waits for. A second one while the first runs is the same.
    fn send_cancel(&mut self, turn: &mut Turn<'_>, station: &Station, client: ClientId) {
        let Some((invite, mut subject)) = self.table.sent_invite(client) else { return };
        let Ok(invite) = SipMessage::parse(invite.bytes.clone(), &OWN) else { return };
        let branch = invite.top_via().ok().and_then(|via| via.branch().map(str::to_owned)).unwrap_or_default();
        subject.method = MethodKind::Cancel;
        let key = ClientKey::new(&station.keys.branch, &branch, &Method::Cancel);
        let nobody = LegRef { owner: Owner(0), leg: 0, upstream: None, call: None, session: None };
        self.table.open_client(turn, key, subject, Outgoing::new(None, derived::cancel(&invite)), nobody);
    }

    /// The ACK to a 3xx-6xx of this INVITE transaction.
    pub(super) fn ack_of(&self, client: ClientId, response: &SipMessage) -> Option<bytes::Bytes> {
        let (invite, _) = self.table.sent_invite(client)?;
        let invite = SipMessage::parse(invite.bytes.clone(), &OWN).ok()?;
        Some(derived::ack(&invite, response))
    }

    /// Timer B or F: the branch counts as answered with 408 (§16.8).
    pub(super) fn timed_out(&mut self, turn: &mut Turn<'_>, station: &Station, leg: LegRef) {
        let Some(mut context) = self.contexts.remove(&leg.owner.0) else { return };
        turn.stats.timeouts += 1;
        self.resolver.failed(turn.now, hop(&context.legs[leg.leg].target), None);
        self.write_silence(turn, &context, leg.leg);
        self.fail(turn, station, leg.owner, &mut context, leg.leg, Failure { status: 408, response: None });
        self.settle(turn, station, leg.owner, context);
    }

    /// Timer C (§16.8), or no final response came after a CANCEL (§9.1).
    pub(super) fn leg_timer(&mut self, turn: &mut Turn<'_>, station: &Station, at: LegRef) {
        let Some(mut context) = self.contexts.remove(&at.owner.0) else { return };
        let leg = &mut context.legs[at.leg];
        leg.timer = None;
        turn.stats.timeouts += 1;
        match leg.state {
            LegState::Pending { cancel: Cancel::Sent, .. } => {
                if let Some(client) = leg.client {
                    self.table.give_up(turn, client);
                }
                leg.alternatives.clear();
                self.write_silence(turn, &context, at.leg);
                self.fail(turn, station, at.owner, &mut context, at.leg, Failure { status: 408, response: None });
            }
            LegState::Pending { .. } => {
                leg.rang_out = true;
                leg.alternatives.clear();
                self.cancel_leg(turn, station, at.owner, &mut context, at.leg);
            }
            _ => {}
        }
        self.settle(turn, station, at.owner, context);
    }

    /// A branch has failed, and nobody has said so.
    pub(super) fn write_silence(&mut self, turn: &mut Turn<'_>, context: &Context, at: usize) {
        let Some(key) = &context.key else { return };
        let branch = context.legs[at].target.branch.as_str().into();
        self.journal.write(turn, key, What::BranchFailed { branch, status: 408, response: Bytes::new() });
    }

    /// A branch has failed. If its server could not serve, another address of the same target may.
    pub(super) fn fail(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        owner: Owner,
        context: &mut Context,
        at: usize,
        failure: Failure,
    ) {
        let leg = &mut context.legs[at];
        if let Some(handle) = leg.timer.take() {
            self.timers.cancel(handle);
        }
        let unavailable = failure.status == 503 || failure.response.is_none();
        if unavailable && self.start_alternative(turn, station, owner, context, at) {
            return;
        }
        context.legs[at].state = LegState::Failed(failure);
    }

    /// A response to an INVITE that was given up. A phone that rings late is told to stop, a refusal is acknowledged, and a
    /// 2xx goes upstream: only the caller can end what it answers.
    pub(super) fn late(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        source: &Flow,
        client: ClientId,
        response: &SipMessage,
    ) {
        let status = response.status();
        let ack = (status >= 300).then(|| self.ack_of(client, response)).flatten();
        let leg = self.table.leg(client);
        let (upstream, session) = (leg.and_then(|leg| leg.upstream), leg.and_then(|leg| leg.session));
        if !self.table.response(turn, client, status, ack.map(|bytes| Outgoing::new(None, bytes))) {
            return;
        }
        if status < 200 {
            return self.send_cancel(turn, station, client);
        }
        let message = Outgoing::new(None, stateless::late_2xx(station, source, response, session));
        if !upstream.is_some_and(|server| self.table.pass_late_2xx(turn, server, message)) {
            stateless::response(turn, station, source, response);
        }
    }
}
