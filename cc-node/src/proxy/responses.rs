//! What a response does (RFC 3261 §16.7): to its transaction, to its context, to the call, and on its way upstream.

use super::best::Failure;
use super::context::{Cancel, Context, LegState};
use super::engine::{Proxy, Wait};
use super::targets::hop;
use super::{contact_address, session_timer, stateless};
use crate::call::{Answer, Side};
use crate::effect::RecordNo;
use crate::identity;
use crate::record::What;
use crate::station::Station;
use crate::stats::DropReason;
use crate::trace::Event;
use crate::transaction::{ClientId, ClientKey, LegRef, Outgoing, Owner};
use crate::turn::Turn;
use bytes::Bytes;
use common::flow::Flow;
use common::sip::{Edit, HeaderId, Method, MethodKind, SipMessage};
use common::time::Duration;

impl Proxy {
    /// A response from outside, validated. `source`: where it came from and the listener that it came in at. Gives it back
    /// if it went on by its token alone, since no transaction here knows it.
    pub fn response(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        source: &Flow,
        response: SipMessage,
    ) -> Option<SipMessage> {
        let via = match response.top_via() {
            Ok(via) if station.vip.names_via(&via) => via,
            Ok(_) => {
                turn.drop(DropReason::StrayResponse);
                return None;
            }
            Err(_) => {
                turn.drop(DropReason::Malformed);
                return None;
            }
        };
        let method = response.method();
        let key = ClientKey::of(&station.keys.branch, &via, &method);
        let Some(client) = key.and_then(|key| self.table.find_client(key)) else {
            // The BYE was another node's, which has died, and the call is ours: who says BYE again is heard here.
            if method == Method::Bye && self.calls.has_dialog(&response) {
                turn.drop(DropReason::Inheriting);
                return None;
            }
            return stateless::response(turn, station, source, &response).then_some(response);
        };
        self.of_transaction(turn, station, source, client, response);
        None
    }

    /// A response to a request that this node has sent.
    fn of_transaction(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        source: &Flow,
        client: ClientId,
        response: SipMessage,
    ) {
        let method = response.method();
        let status = response.status();
        if method.kind() == MethodKind::Cancel {
            // To a CANCEL of ours: it ends here.
            self.table.response(turn, client, status, None);
            return;
        }
        if response.values(HeaderId::Via).count() < 2 {
            return turn.drop(DropReason::NotForwarded);
        }
        let Some(leg) = self.table.leg(client) else { return };
        let is_2xx = (200..300).contains(&status);
        if self.table.has_given_up(client) && !(is_2xx && self.waits_for_an_answer(leg.owner)) {
            return self.late(turn, station, source, client, &response);
        }
        let Some(context) = self.contexts.remove(&leg.owner.0) else {
            // The context is done: repeats of a 2xx go on their way, all else is absorbed.
            match self.table.response(turn, client, status, None) && is_2xx {
                true => self.repeated_2xx(turn, station, source, leg, &response),
                false => turn.note(Event::Repeat),
            }
            return;
        };
        self.in_context(turn, station, leg, client, context, response);
    }

    fn waits_for_an_answer(&self, owner: Owner) -> bool {
        self.contexts.get(&owner.0).is_some_and(|context| !context.final_sent)
    }

    /// From where the INVITE came in, as long as its transaction is there (RFC 6026 §8.5).
    fn repeated_2xx(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        source: &Flow,
        leg: LegRef,
        response: &SipMessage,
    ) {
        // A fork further down answers too: one more dialog of the call.
        let known = leg.call.and_then(|call| self.calls.get(call)).and_then(|call| call.answer().cloned());
        let mut after = None;
        if let (Some(call), Some(answer), Some(tag)) = (leg.call, known, response.to_tag()) {
            let (peer, callee_contact) = (answer.peer, contact_address(response));
            let answer = Answer { at: turn.wall, callee_tag: tag.into(), callee_contact, ..answer };
            self.calls.dialog(call, tag, peer);
            after = self.calls.answered(turn, station, &mut self.journal, call, answer);
            let settled = session_timer::settles(leg.session, response);
            self.calls.session(turn, &mut self.journal, call, tag, settled);
        }
        let message = Outgoing::new(after, stateless::late_2xx(station, source, response, leg.session));
        if !leg.upstream.is_some_and(|server| self.table.pass_late_2xx(turn, server, message)) {
            stateless::response(turn, station, source, response);
        }
    }

    fn in_context(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        leg: LegRef,
        client: ClientId,
        mut context: Box<Context>,
        response: SipMessage,
    ) {
        let status = response.status();
        let ack = if status >= 300 && self.table.awaits_final(client) {
            // The branch's result is with a backup before the ACK stops the callee's repeats.
            let after = self.branch_failed(turn, &context, leg.leg, &response);
            self.ack_of(client, &response).map(|bytes| Outgoing::new(after, bytes))
        } else {
            None
        };
        if self.table.response(turn, client, status, ack) {
            match status {
                100..=199 => self.provisional(turn, station, leg, &mut context, &response),
                200..=299 => self.success(turn, station, leg, client, &mut context, &response),
                _ => self.failure(turn, station, leg, &mut context, response),
            }
        } else {
            turn.note(Event::Repeat);
        }
        match std::mem::take(&mut context.redirected) {
            targets if targets.is_empty() => self.settle(turn, station, leg.owner, context),
            targets => self.admit(turn, station, leg.owner, context, targets),
        }
    }

    fn branch_failed(
        &mut self,
        turn: &mut Turn<'_>,
        context: &Context,
        at: usize,
        response: &SipMessage,
    ) -> Option<RecordNo> {
        let (key, leg) = (context.key.as_ref()?, &context.legs[at]);
        let (status, response) = match leg.rang_out && response.status() == 487 {
            true => (408, Bytes::new()),
            false => (response.status(), response.trimmed_bytes()),
        };
        let branch = leg.target.branch.as_str().into();
        Some(self.journal.write(turn, key, What::BranchFailed { branch, status, response }))
    }

    fn provisional(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        at: LegRef,
        context: &mut Context,
        response: &SipMessage,
    ) {
        let leg = &mut context.legs[at.leg];
        let LegState::Pending { provisional, cancel } = &mut leg.state else { return };
        let first = !std::mem::replace(provisional, true);
        if *cancel == Cancel::Wanted {
            self.cancel_leg(turn, station, at.owner, context, at.leg);
        } else if *cancel == Cancel::No && response.status() > 100 && context.method == MethodKind::Invite {
            // Each 101-199 sets Timer C anew (§16.7 step 2).
            if let Some(handle) = leg.timer.take() {
                self.timers.cancel(handle);
            }
            leg.timer = Some(self.timers.insert(turn.now + station.timing.c, Wait::Leg(at)));
        }
        // 100 is hop by hop; after a final nothing provisional goes on (§16.7 step 5).
        if response.status() == 100 || context.final_sent {
            return;
        }
        if let Some(call) = context.call {
            self.calls.ringing(turn, call);
            let news = self.early(context, at.leg, response);
            if (news || first)
                && let Some(key) = &context.key
            {
                let branch = context.legs[at.leg].target.branch.as_str().into();
                let callee_tag = response.to_tag().unwrap_or_default().into();
                let contact = contact_address(response);
                self.journal.write(turn, key, What::Early { branch, callee_tag, contact });
            }
        }
        let edge = context.edge(station, &context.legs[at.leg]);
        let bytes = stateless::upstream(station, response, edge);
        self.table.respond(turn, context.server, response.status(), Outgoing::new(None, bytes));
    }

    fn success(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        at: LegRef,
        client: ClientId,
        context: &mut Context,
        response: &SipMessage,
    ) {
        let leg = &mut context.legs[at.leg];
        // Else it is the late answer of an address that was given up, and the next one is still being asked: that is
        // cancelled with all others.
        if leg.client == Some(client) {
            if let Some(handle) = leg.timer.take() {
                self.timers.cancel(handle);
            }
            leg.state = LegState::Succeeded;
            self.resolver.succeeded(&hop(&leg.target));
        }
        let mut after = None;
        if context.is_invite() {
            self.early(context, at.leg, response);
            after = self.answered(turn, station, context, at.leg, response);
            // Every 2xx to an INVITE goes upstream, at once (§16.7 step 5).
        } else if context.final_sent {
            return;
        }
        if !context.dialogs.is_empty()
            && let Some(address) = contact_address(response)
        {
            for (call, side) in &context.dialogs {
                let far = if *side == Side::Caller { Side::Callee } else { Side::Caller };
                self.calls.moved(turn, &mut self.journal, *call, far, address);
            }
        }
        let ended = self.ends(turn, station, context, response.status());
        let bytes = self.settle_session(turn, station, context, at.leg, response);
        context.final_sent = true;
        self.table.respond(turn, context.server, response.status(), Outgoing::new(after.or(ended), bytes));
        self.cancel_pending(turn, station, at.owner, context);
    }

    fn failure(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        at: LegRef,
        context: &mut Context,
        response: SipMessage,
    ) {
        let status = response.status();
        if (300..400).contains(&status) && self.follow(turn, station, context, at.leg, &response) {
            return;
        }
        let failure = match context.legs[at.leg].rang_out && status == 487 {
            true => Failure { status: 408, response: None },
            false => Failure { status, response: Some(Box::new(response)) },
        };
        let server = hop(&context.legs[at.leg].target);
        match (status, &failure.response) {
            (503, Some(response)) => {
                let after = response.retry_after().map(|s| Duration::from_secs(u64::from(s)));
                self.resolver.failed(turn.now, server, after);
            }
            _ => self.resolver.succeeded(&server),
        }
        self.fail(turn, station, at.owner, context, at.leg, failure);
        if status >= 600 && !context.final_sent {
            // Nobody else is asked, and who is being asked is told so; the 6xx waits for them (§16.7 step 5).
            context.declined = true;
            self.cancel_pending(turn, station, at.owner, context);
        }
    }

    /// A dialog exists, early or confirmed: it can be found, and the callee's Contact is a way into it. Whether that is news.
    fn early(&mut self, context: &Context, at: usize, response: &SipMessage) -> bool {
        let (Some(call), Some(tag)) = (context.call, response.to_tag()) else { return false };
        let dialog = self.calls.dialog(call, tag, context.legs[at].target.peer);
        let contact = contact_address(response);
        let moved = contact.is_some_and(|address| self.calls.saw_contact(call, Side::Callee, address));
        dialog || moved
    }

    fn answered(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        context: &mut Context,
        at: usize,
        response: &SipMessage,
    ) -> Option<RecordNo> {
        let first = !std::mem::replace(&mut context.answered, true);
        if let (Some(key), true) = (&context.key, first) {
            self.over.push_back((turn.now + station.timing.whole(), key.clone()));
        }
        // Each dialog that a call is answered with is known; of a re-INVITE there is one.
        if !first && context.call.is_none() {
            return None;
        }
        let target = &context.legs[at].target;
        let answer = Answer {
            status: response.status(),
            reason: String::from_utf8_lossy(response.reason()).into_owned(),
            at: turn.wall,
            callee_tag: response.to_tag().unwrap_or_default().into(),
            callee_contact: contact_address(response),
            branch: response.top_via().ok().and_then(|via| via.branch()).unwrap_or(&target.branch).into(),
            peer: target.peer,
        };
        match context.call {
            Some(call) => self.calls.answered(turn, station, &mut self.journal, call, answer),
            None => context.key.as_ref().map(|key| self.journal.write(turn, key, What::Answered(Box::new(answer)))),
        }
    }
}

impl Proxy {
    /// Our Via off a 2xx, and what it says of the session's timer written and kept (RFC 4028 §8.2).
    fn settle_session(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        context: &Context,
        leg: usize,
        response: &SipMessage,
    ) -> Bytes {
        let mut edit = Edit::new(response);
        edit.remove_first_value(HeaderId::Via);
        let settled = context.original.session.map(|asked| asked.settled(response, &mut edit));
        if let Some(expires_s) = settled {
            let request = &context.original.request;
            let tag = |side| if side == Side::Caller { request.to_tag() } else { request.from_tag() };
            let begun = context.call.into_iter().map(|call| (call, response.to_tag()));
            for (call, callee_tag) in begun.chain(context.dialogs.iter().map(|(call, side)| (*call, tag(*side)))) {
                self.calls.session(turn, &mut self.journal, call, callee_tag.unwrap_or_default(), expires_s);
            }
        }
        identity::response(&station.rack, response, context.edge(station, &context.legs[leg]), &mut edit);
        edit.finish()
    }
}
