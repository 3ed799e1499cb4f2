//! INVITE, CANCEL, ACK and responses to INVITEs that this node does not know, while another may: after a change of the
//! placement a call stays with its holder, and what belongs to it may come here. Then the others are asked first, and
//! whoever holds it takes the message. The other side of that, too: what this node is asked.

use super::Engine;
use super::request::Asked;
use crate::ownership::inquiries::{About, Asker, Held};
use crate::problems::Blind;
use crate::stats::DropReason;
use crate::trace::{About as Noted, Event};
use crate::transaction::{ClientKey, ServerKey};
use crate::turn::Turn;
use bytes::Bytes;
use common::call_hash::CallHash;
use common::flow::Flow;
use common::ids::NodeId;
use common::placement::{Placement, Way};
use common::sip::{Gist, MethodKind, SipMessage};
use common::time::Duration;
use common::token;
use common::wire::proxy::{Direction, Inquiry, ProxyHeader};
use smallvec::SmallVec;

/// A node that has entered the placement asks others about calls that it does not know for so long: until then it is told of
/// those that it is to shadow, and what is under way is repeated for as long (64 × T1).
const NEW_FOR: Duration = Duration::from_secs(32);
/// The first of a slot's list that live: its owner, who goes on when that dies, and who goes on then.
const MAY_HOLD: usize = 3;

impl Engine {
    pub(super) fn asker(&self, turn: &Turn<'_>) -> Asker {
        Asker { node: self.station.id, boot: self.station.boot, epoch: turn.view.placements().current.epoch() }
    }

    /// Takes the request, unless another node may hold what it belongs to: then that is asked.
    pub(super) fn known_or_asked_about(&mut self, turn: &mut Turn<'_>, asked: Asked) {
        if !matches!(asked.method, MethodKind::Cancel | MethodKind::Ack)
            && self.proxy.table.find_server(asked.key).is_none()
        {
            let others = self.in_a_call_elsewhere(turn, &asked.request, asked.call);
            if !others.is_empty() {
                let about = About { transaction: asked.key.number(), method: asked.method, status: 0 };
                return self.ask(turn, about, asked.header, &asked.request, &others);
            }
        }
        if !matches!(asked.method, MethodKind::Invite | MethodKind::Cancel | MethodKind::Ack) {
            return self.take(turn, asked);
        }
        if self.is_settled(turn, &asked.header, &asked.request, asked.call) {
            return self.take(turn, asked);
        }
        let transaction = transaction(self, &asked);
        if self.proxy.table.find_server(transaction).is_some() {
            return self.take(turn, asked);
        }
        let opens = match asked.method {
            // Its To tag says nothing of its INVITE's.
            MethodKind::Ack => None,
            _ => Some(asked.request.to_tag().is_none()),
        };
        let way = Way {
            slot: asked.call.slot(),
            token: self.token_of(&asked.request),
            opens,
            diverted: self.is_elsewhere(turn, asked.call, opens),
            late: asked.method != MethodKind::Invite,
            response: false,
        };
        let others = self.others(turn, way, transaction.number());
        if others.is_empty() {
            return self.take(turn, asked);
        }
        let about = About { transaction: transaction.number(), method: asked.method, status: 0 };
        self.ask(turn, about, asked.header, &asked.request, &others);
    }

    /// Within a dialog that is not known here: its token names this node, and while that was dead another has gone on with the
    /// call. It must hear of the call's end. Who it is says the call's shadow; a node that has just come back has no shadows
    /// yet, and asks who might be.
    fn in_a_call_elsewhere(&self, turn: &Turn<'_>, message: &SipMessage, call: CallHash) -> SmallVec<[NodeId; 4]> {
        if message.to_tag().is_none() || self.proxy.calls.has_dialog(message) {
            return SmallVec::new();
        }
        if let Some(holder) = turn.view.holder(call) {
            return SmallVec::from_slice(&[holder]);
        }
        if self.entered.is_none_or(|at| turn.now.since(at) >= NEW_FOR) {
            return SmallVec::new();
        }
        let current = &turn.view.placements().current;
        let lives = |node: &NodeId| *node != self.station.id && current.live(*node).is_some();
        current.list(call.slot()).filter(lives).take(MAY_HOLD).collect()
    }

    /// The same for a response.
    pub(super) fn response_known_or_asked_about(
        &mut self,
        turn: &mut Turn<'_>,
        header: ProxyHeader,
        response: SipMessage,
    ) {
        let (method, call) = (response.method().kind(), self.station.call_hash(response.call_id()));
        if method == MethodKind::Invite
            && !self.is_settled(turn, &header, &response, call)
            && let Some(key) = self.client_key(&response)
            && self.proxy.table.find_client(key).is_none()
        {
            let (slot, token) = (call.slot(), self.token_of(&response));
            let way = Way { slot, token, opens: Some(true), diverted: false, late: true, response: true };
            let others = self.others(turn, way, key.number());
            if !others.is_empty() {
                let about = About { transaction: key.number(), method, status: response.status() };
                return self.ask(turn, about, header, &response, &others);
            }
        }
        if !matches!(method, MethodKind::Invite | MethodKind::Cancel)
            && let Some(key) = self.client_key(&response)
            && self.proxy.table.find_client(key).is_none()
        {
            // Whoever has gone on with the call may have sent the request again, and waits for this.
            let others = self.in_a_call_elsewhere(turn, &response, call);
            if !others.is_empty() {
                let about = About { transaction: key.number(), method, status: response.status() };
                return self.ask(turn, about, header, &response, &others);
            }
        }
        self.take_response(turn, &header, response);
    }

    /// Nearly always: it came under the placement that we know, which has stood for long, and to its taker.
    fn is_settled(&self, turn: &Turn<'_>, header: &ProxyHeader, message: &SipMessage, call: CallHash) -> bool {
        let placements = turn.view.placements();
        if !placements.former.is_empty() || header.epoch != placements.current.epoch() || self.inquiries.has_left() {
            return false;
        }
        let ours = |opens| placements.current.taker(call.slot(), opens) == Some(self.station.id);
        let is_invite = || message.is_request() && message.method().kind() == MethodKind::Invite;
        let no_strays = || placements.holders.is_empty() || is_invite();
        ours(true) && ours(false) && !has_refused(turn, call) && no_strays()
    }

    fn take_response(&mut self, turn: &mut Turn<'_>, header: &ProxyHeader, response: SipMessage) {
        let source = Flow { listener: header.listener, remote: header.source };
        if let Some(blind) = self.proxy.response(turn, &self.station, &source, response) {
            self.blindly(turn, Blind::Response, blind.call_id());
        }
    }

    fn client_key(&self, response: &SipMessage) -> Option<ClientKey> {
        let via = response.top_via().ok().filter(|via| self.station.vip.names_via(via))?;
        ClientKey::of(&self.station.keys.branch, &via, &response.method())
    }

    fn ask(&mut self, turn: &mut Turn<'_>, about: About, header: ProxyHeader, message: &SipMessage, others: &[NodeId]) {
        let held = Held { about, header, message: message.bytes().clone(), silent: false };
        let us = self.asker(turn);
        if let Some(held) = self.inquiries.ask(turn.now, us, held, others, turn.out) {
            self.resume(turn, held);
        }
    }

    /// What opens a call and is not ours by the placement was diverted, and may have been to others before; so may what we
    /// have lately refused a share of.
    fn is_elsewhere(&self, turn: &Turn<'_>, call: CallHash, opens: Option<bool>) -> bool {
        let taker = || turn.view.placements().current.taker(call.slot(), true);
        has_refused(turn, call) || (opens == Some(true) && taker() != Some(self.station.id))
    }

    /// Who may hold a transaction that we do not know, of a message that goes this way.
    fn others(&mut self, turn: &Turn<'_>, way: Way, transaction: u128) -> SmallVec<[NodeId; 4]> {
        let placements = turn.view.placements();
        let mut others = placements.may_hold(self.station.id, way);
        let left_to = self.inquiries.left_to(turn.now, transaction);
        let lives = |node: &NodeId| placements.current.live(*node).is_some();
        if let Some(node) = left_to.filter(|node| !others.contains(node)).filter(lives) {
            others.push(node);
        }
        others
    }

    /// The node that the load manager reads from this request.
    fn token_of(&self, request: &SipMessage) -> Option<NodeId> {
        match common::sip::scan(request.bytes(), &self.station.vip) {
            common::sip::Scan::Sip(scanned) => token::route(&self.station.keys.token, scanned.token?, scanned.call_id),
            _ => None,
        }
    }

    /// For the flight recorder: what follows is about a message that has waited.
    fn is_about(&self, turn: &mut Turn<'_>, header: &ProxyHeader, message: &[u8]) {
        let about = |gist: Gist<'_>| Noted::message(self.station.call_hash(gist.call_id), Some(header.source), &gist);
        turn.about = common::sip::gist(message).map(about);
    }

    /// Repeats questions to other nodes; what nobody has answered is dropped.
    pub(super) fn unanswered_questions(&mut self, turn: &mut Turn<'_>) {
        let us = self.asker(turn);
        for held in self.inquiries.tick(turn.now, us, turn.out) {
            self.is_about(turn, &held.header, &held.message);
            turn.note(Event::Unanswered);
        }
    }

    /// Nobody else holds it, or nobody says so.
    fn resume(&mut self, turn: &mut Turn<'_>, held: Held) {
        let Held { about, header, message, silent } = held;
        self.is_about(turn, &header, &message);
        if silent && about.method == MethodKind::Ack {
            return turn.drop(DropReason::AckUnanswered);
        }
        if silent {
            self.blindly(turn, Blind::Unanswered, common::sip::call_id(&message).unwrap_or_default());
        }
        let Ok(message) = SipMessage::parse(message, &self.station.limits) else { return };
        if self.must_wait(turn, &message) {
            return turn.drop(DropReason::Inheriting);
        }
        if !message.is_request() {
            return self.take_response(turn, &header, message);
        }
        if let Some(mut asked) = self.asked(message, header) {
            asked.silent = silent;
            self.take(turn, asked);
        }
    }

    /// Beyond all that the load manager may think we take: all nodes refuse it, and it came here because it might have been a
    /// repeat of one that somebody had admitted. Nobody has. What names us, and what a draining node is given where no other
    /// is left, goes by no share; and silence is no proof that nobody has it.
    pub(super) fn is_surplus(&self, turn: &Turn<'_>, asked: &Asked) -> bool {
        let most = turn.view.most_admitted();
        if most == u16::MAX || asked.call.admission() < most || asked.silent {
            return false;
        }
        let members = &turn.view.placements().current.inputs().members;
        let drains = members.iter().any(|member| member.node == self.station.id && member.draining);
        !drains && self.token_of(&asked.request).is_none()
    }

    /// Something from another node.
    pub(super) fn inside(&mut self, turn: &mut Turn<'_>, header: ProxyHeader, message: Bytes) {
        let (from, us) = (header.sender, self.station.id);
        if header.visited.contains(&us) || from == us {
            return turn.drop(DropReason::Inside);
        }
        match header.inquiry {
            Some((Inquiry::Yours, _)) => self.is_it_ours(turn, header, message),
            Some((kind, number)) => {
                // What a former incarnation said is nothing.
                if turn.view.placements().current.live(from) != Some(header.boot) {
                    return turn.drop(DropReason::Inside);
                }
                let call_id = common::sip::call_id(&message).unwrap_or_default();
                if self.inquiries.is_asked(number, from) {
                    turn.about = Some(Noted::call(self.station.call_hash(call_id)));
                    turn.note(Event::Heard { from, mine: kind == Inquiry::Mine });
                }
                if let Some(held) = self.inquiries.told(number, from, kind == Inquiry::Mine, call_id) {
                    self.resume(turn, held);
                }
            }
            None => turn.drop(DropReason::Inside),
        }
    }

    /// `yours?`: what we hold we take, and say so.
    fn is_it_ours(&mut self, turn: &mut Turn<'_>, question: ProxyHeader, message: Bytes) {
        if turn.view.placements().current.is_retired(question.sender, question.boot) {
            return turn.drop(DropReason::Inside);
        }
        let header = ProxyHeader { direction: Direction::Ingress, inquiry: None, ..question.clone() };
        let message = SipMessage::parse(message, &self.station.limits).ok().filter(|m| m.validate().is_ok());
        let Some(message) = message else { return turn.drop(DropReason::Malformed) };
        let call_id = Bytes::copy_from_slice(message.call_id());
        turn.about = Some(self.about(&header, &message));
        if self.must_wait(turn, &message) {
            // Nobody can say yet; it will come again.
            return turn.drop(DropReason::Inheriting);
        }
        if !message.is_request() {
            let key = self.client_key(&message);
            let held = key.is_some_and(|key| self.proxy.table.find_client(key).is_some());
            self.answer(turn, &question, held, key.map(ClientKey::number), &call_id);
            if held {
                self.take_response(turn, &header, message);
            }
            return;
        }
        let Some(asked) = self.asked(message, header) else { return turn.drop(DropReason::Malformed) };
        let transaction = transaction(self, &asked);
        let in_a_call = || {
            let by_transaction = matches!(asked.method, MethodKind::Cancel | MethodKind::Ack);
            !by_transaction && self.proxy.calls.has_dialog(&asked.request)
        };
        let held = self.proxy.table.find_server(transaction).is_some() || in_a_call();
        self.answer(turn, &question, held, Some(transaction.number()), &call_id);
        if held {
            self.take(turn, asked);
        }
    }

    fn answer(
        &mut self,
        turn: &mut Turn<'_>,
        question: &ProxyHeader,
        held: bool,
        transaction: Option<u128>,
        call_id: &[u8],
    ) {
        let us = self.asker(turn);
        let mut asked = |transaction| self.inquiries.asked(turn.now, us.node, question.sender, transaction);
        let mine = held || transaction.is_some_and(&mut asked);
        turn.note(Event::Says { to: question.sender, mine });
        us.answer(question, mine, call_id, turn.out);
    }

    /// Another placement stands.
    pub(super) fn placed(&mut self, turn: &mut Turn<'_>) {
        let placements = turn.view.placements();
        let (current, station) = (&placements.current, &self.station);
        let has_us = |placement: &Placement| placement.live(station.id) == Some(station.boot);
        // Where nobody is, nobody has taken anything over.
        let is_others = |placement: &Placement| !has_us(placement) && placement.inputs().live().next().is_some();
        let member = has_us(current);
        // Two epochs may pass between two looks: one without us, and one with us again.
        let between = placements.former.iter().any(|then| then.epoch() > self.seen && is_others(then));
        let moved = self.seen != current.epoch();
        self.seen = current.epoch();
        if self.member && (is_others(current) || between) {
            self.proxy.forget_all(turn);
            turn.trace.note(turn.now, Noted::call(CallHash(0)), Event::Forgot);
            self.asks.forget_all();
            self.inquiries.clear();
        }
        if member && (!self.member || between) {
            self.entered = Some(turn.now);
        }
        self.member = member || self.member && !is_others(current);
        if moved {
            self.proxy.placed(turn, &self.station);
            self.prober.placed(turn, &self.station);
        }
        for held in self.inquiries.placed(|node| current.live(node).is_some()) {
            self.resume(turn, held);
        }
    }
}

/// This node has lately refused a share of the new calls in which this one is.
fn has_refused(turn: &Turn<'_>, call: CallHash) -> bool {
    let least = turn.view.least_admitted();
    least < u16::MAX && call.admission() >= least
}

/// The key of the transaction that this request belongs to: of a CANCEL, the INVITE's.
fn transaction(engine: &Engine, asked: &Asked) -> ServerKey {
    let of_invite = || ServerKey::cancelled_by(&engine.station.keys.branch, &asked.request);
    let cancelled = (asked.method == MethodKind::Cancel).then(of_invite).flatten();
    cancelled.unwrap_or(asked.key)
}
