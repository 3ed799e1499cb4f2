//! The way of a request: refused, a repeat, an ACK or CANCEL, within a dialog by its token, or new. Everything that is
//! answered before the sender is identified is answered without state.

use super::Engine;
use super::begin::session_interval;
use crate::auth::local_aor;
use crate::identity::Sender;
use crate::in_dialog::{self, InDialog};
use crate::problems::Blind;
use crate::proxy::{Job, Original, RecordRoute, Routed, checks, contact_address, preprocess, stateless};
use crate::record::{CallKey, Decision};
use crate::service::{self, Caller, Choice, Refusal};
use crate::station::Station;
use crate::stats::{DropReason, Rejection};
use crate::trace::Event;
use crate::transaction::{Address, Outgoing, ServerKey, ServerSaw, Subject};
use crate::turn::Turn;
use common::call_hash::CallHash;
use common::flow::Flow;
use common::location::Aor;
use common::sip::{MethodKind, SipMessage, SipUri, Uri};
use common::tag;
use common::wire::proxy::ProxyHeader;
use std::sync::Arc;

/// A request with what is known of it from the outside.
pub(super) struct Asked {
    pub request: SipMessage,
    pub method: MethodKind,
    pub source: Flow,
    /// Where its responses go (RFC 3261 §18.2.2, RFC 3581 §4).
    pub back: Address,
    pub key: ServerKey,
    pub call: CallHash,
    /// As the load manager wrote it.
    pub header: ProxyHeader,
    /// Another node may hold what it belongs to, and nobody has said anything for too long.
    pub silent: bool,
}

impl Asked {
    pub(super) fn subject(&self) -> Subject {
        Subject { method: self.method, address: self.back, call: self.call }
    }
}

impl Engine {
    pub(super) fn request(&mut self, turn: &mut Turn<'_>, header: ProxyHeader, request: SipMessage) {
        if let Err(invalid) = request.validate() {
            return self.unfit(turn, &header, &request, invalid);
        }
        match self.asked(request, header) {
            Some(asked) => self.known_or_asked_about(turn, asked),
            None => turn.drop(DropReason::Malformed),
        }
    }

    /// `None`: its Via or CSeq cannot be read.
    pub(super) fn asked(&self, request: SipMessage, header: ProxyHeader) -> Option<Asked> {
        let source = Flow { listener: header.listener, remote: header.source };
        let back = Address { listener: header.listener, to: reply_to(&request, &source), transport: header.transport };
        let key = ServerKey::of(&self.station.keys.branch, &request)?;
        let call = self.station.call_hash(request.call_id());
        let method = request.method().kind();
        Some(Asked { method, request, source, back, key, call, header, silent: false })
    }

    /// Nobody else holds what it belongs to.
    pub(super) fn take(&mut self, turn: &mut Turn<'_>, asked: Asked) {
        match asked.method {
            MethodKind::Ack => self.ack(turn, asked),
            MethodKind::Cancel => self.cancel(turn, asked),
            _ => match self.proxy.table.find_server(asked.key) {
                Some(server) => {
                    turn.stats.repeats += 1;
                    turn.note(Event::Repeat);
                    self.proxy.table.request(turn, server, false);
                }
                None => self.fresh(turn, asked),
            },
        }
    }

    /// To a response of ours: for its transaction. To a 2xx: on by the token. Never answered.
    fn ack(&mut self, turn: &mut Turn<'_>, asked: Asked) {
        let Asked { request, source, key, .. } = asked;
        if let Some(server) = self.proxy.table.find_server(key)
            && self.proxy.table.request(turn, server, true) == ServerSaw::Repeat
        {
            return;
        }
        let station = &self.station;
        if request.to_tag().is_some_and(|tag| tag::is_ours(&station.keys.tag, tag.as_bytes(), request.call_id())) {
            return turn.drop(DropReason::AckOfOurs);
        }
        let Ok(routed) = preprocess(station, &request, &source) else { return turn.drop(DropReason::Malformed) };
        let dialog = in_dialog::of(station, &request, &routed);
        if checks::hops(&request).and_then(|()| checks::check(station, &request, &routed.loop_hash)).is_err() {
            return turn.drop(DropReason::AckInvalid);
        }
        let (choice, sender) = match &dialog {
            Some(dialog) => {
                let calls = dialog.calls(&self.proxy.calls, &request);
                let choice = dialog.choice(station, &self.proxy.calls, &calls, &routed);
                (choice.ok(), Sender::at(&station.rack, &dialog.near()))
            }
            None => (self.choice_without_token(turn, &request, &source, &routed), Sender::Untrusted),
        };
        let Some(choice) = choice else {
            let reason = if dialog.is_some() { DropReason::AckOutsidePeer } else { DropReason::AckWithoutToken };
            return turn.drop(reason);
        };
        let hop = self.proxy.whereabouts(turn, &self.station, request.call_id(), &choice.next_hop);
        let Some(hop) = hop else { return turn.drop(DropReason::AckOutsidePeer) };
        let record_route = RecordRoute::No;
        let original = Original { request, source, routed, record_route, sender, session: None };
        stateless::ack(turn, &self.station, &original, choice, hop);
    }

    /// Peers that do not echo Record-Route: an ACK from a trunk, or from where its sender is registered, goes where its
    /// Request-URI leads, if that is one place.
    fn choice_without_token(
        &self,
        turn: &Turn<'_>,
        request: &SipMessage,
        source: &Flow,
        routed: &Routed,
    ) -> Option<Choice> {
        let rack = &*self.station.rack;
        let registered = |aor: Aor| {
            let bindings = turn.view.bindings(&aor)?;
            bindings.bindings.iter().any(|binding| binding.received == source.remote).then_some(Caller::User(aor))
        };
        let caller = match rack.trunk_of_source(source.remote) {
            Some(trunk) => Caller::Trunk(trunk.id),
            None => registered(local_aor(rack, &SipUri::parse(request.from().ok()?.uri_text).ok()?)?)?,
        };
        request.to_tag().filter(|_| routed.routes.is_empty())?;
        let uri = Uri::parse(&routed.uri).ok()?;
        let plan = service::decide(&self.station, turn.view, turn.now, &caller, &uri, Vec::new()).ok()?;
        <[Choice; 1]>::try_from(plan.choices).ok().map(|[choice]| choice)
    }

    /// RFC 3261 §16.10. The 200 needs no transaction of its own: a repeat finds the INVITE's and gets the same answer.
    fn cancel(&mut self, turn: &mut Turn<'_>, asked: Asked) {
        let invite = ServerKey::cancelled_by(&self.station.keys.branch, &asked.request);
        let Some(server) = invite.and_then(|key| self.proxy.table.find_server(key)) else {
            let refusal = Refusal::new(481, Rejection::NoTransaction);
            return refuse(turn, &self.station, &asked.request, &asked.source, asked.back, refusal);
        };
        let ok = self.station.reply(&asked.request, &asked.source, 200, None, Vec::new());
        let after = self.proxy.cancelled(turn, server);
        turn.send(MethodKind::Cancel, asked.back, Outgoing::new(after, ok));
        self.proxy.cancel(turn, &self.station, server);
    }

    /// No repeat: checked, then in a dialog or new.
    fn fresh(&mut self, turn: &mut Turn<'_>, asked: Asked) {
        let station = &self.station;
        let routed = match preprocess(station, &asked.request, &asked.source) {
            Ok(routed) => routed,
            Err(e) => {
                let refusal = Refusal::because(400, Rejection::Invalid, e.to_string());
                return refuse(turn, station, &asked.request, &asked.source, asked.back, refusal);
            }
        };
        let dialog = in_dialog::of(station, &asked.request, &routed);
        // What belongs to no dialog may be for us, and then has come far enough.
        let hops = if dialog.is_some() { checks::hops(&asked.request) } else { Ok(()) };
        match hops.and_then(|()| checks::check(station, &asked.request, &routed.loop_hash)) {
            Ok(()) => {}
            // The ACK to this has the far end's tag and our token: a transaction must take it in.
            Err(refusal) if dialog.is_some() && asked.method == MethodKind::Invite => {
                self.refuse_for_good(turn, asked, refusal);
                return;
            }
            Err(refusal) => return refuse(turn, station, &asked.request, &asked.source, asked.back, refusal),
        }
        let opens = asked.method.creates_dialog() && asked.request.to_tag().is_none();
        match dialog {
            Some(dialog) => self.within(turn, asked, routed, &dialog),
            None if opens && turn.view.placements().current.inputs().all_drain() => {
                refuse(turn, station, &asked.request, &asked.source, asked.back, Refusal::draining());
            }
            None if opens && self.is_surplus(turn, &asked) => {
                refuse(turn, station, &asked.request, &asked.source, asked.back, Refusal::full("New Calls"));
            }
            None => {
                if !routed.tokens.is_empty() && asked.request.to_tag().is_some() {
                    turn.stats.forged_tokens += 1;
                }
                self.begin(turn, asked, routed);
            }
        }
    }

    /// Within a dialog: never challenged, and refused only when there is no room at all.
    fn within(&mut self, turn: &mut Turn<'_>, asked: Asked, routed: Routed, dialog: &InDialog) {
        let calls = dialog.calls(&self.proxy.calls, &asked.request);
        let unknown = calls.is_empty();
        let choice = match self.proxy.table.len() < 2 * self.room() {
            true => session_interval(&self.station, &asked.request)
                .and_then(|session| Ok((dialog.choice(&self.station, &self.proxy.calls, &calls, &routed)?, session))),
            false => Err(Refusal::full("Transactions")),
        };
        let (choice, session) = match choice {
            Ok(choice) => choice,
            Err(refusal) if asked.method == MethodKind::Invite => {
                self.refuse_for_good(turn, asked, refusal);
                return;
            }
            Err(refusal) => return refuse(turn, &self.station, &asked.request, &asked.source, asked.back, refusal),
        };
        let calls = match dialog.is_from_its_side(&self.station, &self.proxy.calls, &calls, &asked.source) {
            true => calls,
            false => Vec::new(),
        };
        if in_dialog::records_again(asked.method)
            && let Some(address) = contact_address(&asked.request)
        {
            let proxy = &mut self.proxy;
            calls.iter().for_each(|call| proxy.calls.moved(turn, &mut proxy.journal, *call, dialog.sender, address));
        }
        turn.stats.in_dialog += 1;
        // What is said within a session, and no session is known: its node has died, or was away.
        let of_session = matches!(asked.method, MethodKind::Invite | MethodKind::Bye | MethodKind::Update);
        if of_session && unknown {
            self.blindly(turn, Blind::Request, asked.request.call_id());
        }
        let record_route = match in_dialog::records_again(asked.method) {
            true => RecordRoute::Copy { tokens: routed.tokens.clone() },
            false => RecordRoute::No,
        };
        let key = (asked.method == MethodKind::Invite).then(|| call_key(&asked.request));
        let decisions = vec![Decision::InDialog { sender: dialog.sender, node: dialog.node() }];
        let owner = self.proxy.next_owner();
        let server = self.proxy.table.open_server(asked.key, asked.subject(), owner);
        let sender = Sender::at(&self.station.rack, &dialog.near());
        let (request, source) = (asked.request, asked.source);
        let original = Original { request, source, routed, record_route, sender, session };
        let dialogs = calls.into_iter().map(|call| (call, dialog.sender)).collect();
        let choices = vec![choice];
        let job = Job { original, server, owner, caller: None, choices, decisions, key, call: None, dialogs };
        self.proxy.open(turn, &self.station, job);
    }
}

/// One answer without any state; a repeat gets the same.
pub(super) fn refuse(
    turn: &mut Turn<'_>,
    station: &Station,
    request: &SipMessage,
    source: &Flow,
    back: Address,
    refusal: Refusal,
) {
    turn.reject(refusal.counted);
    let Refusal { status, reason, headers, .. } = refusal;
    let bytes = station.reply(request, source, status, reason, headers);
    turn.send(request.method().kind(), back, Outgoing::new(None, bytes));
}

/// The source's address; its port if `rport` asks for that, else the Via's.
pub(super) fn reply_to(request: &SipMessage, source: &Flow) -> std::net::SocketAddr {
    match request.top_via() {
        Ok(via) if via.rport().is_none() => std::net::SocketAddr::new(source.remote.ip(), via.port_or_default()),
        _ => source.remote,
    }
}

pub(super) fn call_key(request: &SipMessage) -> Arc<CallKey> {
    Arc::new(CallKey {
        call_id: request.call_id().into(),
        from_tag: request.from_tag().unwrap_or_default().into(),
        upstream_branch: request.top_via().ok().and_then(|via| via.branch()).unwrap_or_default().into(),
        cseq: request.cseq().map_or(0, |cseq| cseq.number),
    })
}
