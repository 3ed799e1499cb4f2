//! A dead holder's call goes on here: its INVITEs are read again as they came in, and everything that follows from them
//! and the rack file is worked out as its holder did.

use super::Engine;
use super::begin::session_interval;
use super::request::reply_to;
use crate::call::CallRef;
use crate::counted::Key;
use crate::effect::{Effect, Start};
use crate::identity::Sender;
use crate::image::{Image, Invite, Part};
use crate::in_dialog;
use crate::proxy::inherit::Heir;
use crate::proxy::{Original, RecordRoute, Routed, preprocess};
use crate::record::{CallKey, Caller};
use crate::service::{self, Choice, limits};
use crate::transaction::{Address, ServerKey, Subject};
use crate::turn::Turn;
use common::call_hash::CallHash;
use common::sip::{MethodKind, SipMessage, Uri};
use smallvec::SmallVec;
use std::sync::Arc;

impl Engine {
    /// Whether this is of a dead node's call that goes on here in a moment, and could change it: it will come again.
    pub(super) fn must_wait(&self, turn: &Turn<'_>, message: &SipMessage) -> bool {
        let method = message.method().kind();
        let changes = match message.is_request() {
            true => match method {
                MethodKind::Invite | MethodKind::Cancel => true,
                // To a 2xx it goes on by its token; of another nobody waits for it.
                MethodKind::Ack => false,
                _ => message.to_tag().is_some(),
            },
            false => matches!(method, MethodKind::Invite | MethodKind::Bye),
        };
        changes && turn.view.is_inheriting(self.station.call_hash(message.call_id()))
    }

    /// The record number before anything that is done for it, so that the backups take it from us.
    pub(super) fn inherit(&mut self, turn: &mut Turn<'_>, hash: CallHash, image: Box<Image>) {
        let no = self.proxy.journal.number();
        turn.out.push(Effect::Inherited { no, hash, image: image.clone() });
        turn.stats.inherited += 1;
        let mut known: Vec<(Arc<CallKey>, CallRef)> = Vec::new();
        let mut invites = Vec::new();
        for Part { key, invite, call, cdr } in image.into_parts() {
            if let Some(cdr) = cdr {
                turn.stats.cdrs += 1;
                turn.out.push(Effect::Started { after: no, start: Box::new(Start::of(&cdr)) });
                turn.out.push(Effect::Cdr { call: key.clone(), cdr });
            }
            if let Some(call) = call {
                let keys = limits::of_image(&self.station, &call, invite.as_deref());
                let call = self.proxy.calls.inherit(turn, &self.station, (key.clone(), no), *call);
                self.counts(turn, call, keys);
                known.push((key.clone(), call));
            }
            invites.extend(invite.map(|invite| (key, invite)));
        }
        // Those within a dialog belong to a call that began under another key.
        for (key, invite) in invites {
            self.inherit_invite(turn, hash, key, *invite, &known);
        }
    }

    /// Whoever counts a call's keys is told that it goes on here.
    fn counts(&mut self, turn: &mut Turn<'_>, call: CallRef, keys: SmallVec<[Key; 4]>) {
        if !keys.is_empty()
            && let Some(call) = self.proxy.calls.count(call, &self.station.keys.placement)
        {
            turn.out.push(Effect::Counts { call, keys });
        }
    }

    fn inherit_invite(
        &mut self,
        turn: &mut Turn<'_>,
        hash: CallHash,
        key: Arc<CallKey>,
        invite: Invite,
        known: &[(Arc<CallKey>, CallRef)],
    ) {
        let station = &self.station;
        let accepted = &invite.accepted;
        let Ok(request) = SipMessage::parse(accepted.request.clone(), &station.limits) else { return };
        let Some(server) = ServerKey::of(&station.keys.branch, &request) else { return };
        let Ok(routed) = preprocess(station, &request, &accepted.source) else { return };
        if self.proxy.table.find_server(server).is_some() {
            return;
        }
        let source = accepted.source;
        let back =
            Address { listener: source.listener, to: reply_to(&request, &source), transport: accepted.transport };
        let call_of = |key: &Arc<CallKey>| known.iter().find(|(other, _)| other == key).map(|(_, call)| *call);
        let dialogs = accepted.dialogs.iter().filter_map(|(key, side)| Some((call_of(key)?, *side))).collect();
        let choices = match accepted.pending && invite.legs.is_empty() {
            true => self.choices_again(turn, accepted.caller.as_ref(), &request, &routed),
            false => Vec::new(),
        };
        if let Some(call) = call_of(&key) {
            let trunks = limits::of_trunks(&self.station, choices.iter().filter_map(|choice| choice.peer));
            self.counts(turn, call, trunks.into_iter().map(|(_, want)| want.key).collect());
        }
        let station = &self.station;
        let session = session_interval(station, &request).ok().flatten();
        let (record_route, sender) = match (&accepted.caller, &accepted.call) {
            (Some(caller), Some(call)) => (RecordRoute::Fresh { caller: call.peer }, Sender::of(&station.rack, caller)),
            _ => {
                let near = in_dialog::of(station, &request, &routed).map(|dialog| dialog.near());
                let sender = near.map_or(Sender::Untrusted, |near| Sender::at(&station.rack, &near));
                (RecordRoute::Copy { tokens: routed.tokens.clone() }, sender)
            }
        };
        let subject = Subject { method: request.method().kind(), address: back, call: hash };
        let owner = self.proxy.next_owner();
        let server = self.proxy.table.open_server(server, subject, owner);
        let original = Original { request, source, routed, record_route, sender, session };
        let call = call_of(&key);
        let heir = Heir { owner, server, original, invite, key, call, dialogs, choices };
        self.proxy.inherit(turn, &self.station, heir);
    }

    /// Its holder died while it looked up names: where it goes is decided anew.
    fn choices_again(
        &self,
        turn: &Turn<'_>,
        caller: Option<&Caller>,
        request: &SipMessage,
        routed: &Routed,
    ) -> Vec<Choice> {
        let Some(caller) = caller else {
            let dialog = in_dialog::of(&self.station, request, routed);
            let choice = |dialog: in_dialog::InDialog| {
                let calls = dialog.calls(&self.proxy.calls, request);
                dialog.choice(&self.station, &self.proxy.calls, &calls, routed).ok()
            };
            return dialog.and_then(choice).into_iter().collect();
        };
        let Ok(uri) = Uri::parse(&routed.uri) else { return Vec::new() };
        let plan = match routed.routes.is_empty() {
            true => service::decide(&self.station, turn.view, turn.now, caller, &uri, Vec::new()),
            false => super::begin::by_route(&self.station, routed, Vec::new()),
        };
        plan.map(|plan| plan.choices).unwrap_or_default()
    }
}
