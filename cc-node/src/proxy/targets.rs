//! The target set of a request (RFC 3261 §16.5, §16.6): choices become branches, names become addresses (RFC 3263), and
//! the record of all of them is written before any of them is tried. Redirections add to it (§16.7 step 4).

use super::best::Failure;
use super::checks;
use super::context::{Cancel, Context, Leg, LegState, Search};
use super::engine::{Proxy, Wait};
use super::forward;
use crate::call::{Call, CallRef, Side};
use crate::dns::{DnsAnswer, DnsAsk};
use crate::record::{Accepted, Target, What};
use crate::resolve::{Hop, Located, Progress, Unresolved};
use crate::service::{Choice, NextHop};
use crate::station::Station;
use crate::transaction::{Address, ClientKey, LegRef, Outgoing, Owner, Subject};
use crate::turn::Turn;
use common::flow::{Flow, Peer};
use common::ids::{ListenerId, Transport};
use common::sip::{MethodKind, SipMessage};
use common::time::Duration;
use std::ops::Range;

/// For so long an INVITE waits for names without a 100 (RFC 3261 §17.2.1 gives 200 ms).
const PATIENCE: Duration = Duration::from_millis(100);

impl Proxy {
    /// Adds targets to a context, whose names may have to be looked up first.
    pub(super) fn choose(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        owner: Owner,
        mut context: Box<Context>,
        choices: Vec<Choice>,
    ) {
        for choice in choices {
            let progress = match &choice.next_hop {
                NextHop::At(flow) => Progress::Done(vec![Hop { address: flow.remote, transport: Transport::Udp }]),
                NextHop::Named { destination, .. } => {
                    let seed = station.call_hash(context.original.request.call_id()).0;
                    self.resolver.locate(turn.now, destination, seed, turn.out)
                }
            };
            match progress {
                Progress::Waiting(lookup) => {
                    self.lookups.insert(lookup, owner);
                    context.searching.push(Search { lookup, choice });
                }
                Progress::Done(hops) => located(station, &mut context, choice, Ok(hops)),
                Progress::Failed(unresolved) => located(station, &mut context, choice, Err(unresolved)),
            }
        }
        if !context.searching.is_empty() && context.is_invite() && context.after.is_none() && context.patience.is_none()
        {
            context.patience = Some(self.timers.insert(turn.now + PATIENCE, Wait::Names(owner)));
        }
        self.chosen(turn, station, owner, context);
    }

    /// Where a choice is, if that is known now: for an ACK, which waits for nothing. What is not known is asked for, so the
    /// ACK to the repeated 2xx finds it.
    pub fn whereabouts(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        call_id: &[u8],
        hop: &NextHop,
    ) -> Option<Flow> {
        let (destination, listener) = match hop {
            NextHop::At(flow) => return Some(*flow),
            NextHop::Named { destination, listener } => (destination, *listener),
        };
        match self.resolver.locate(turn.now, destination, station.call_hash(call_id).0, turn.out) {
            Progress::Done(hops) => {
                hops.first().map(|hop| Flow { listener: speaking(station, listener, hop), remote: hop.address })
            }
            Progress::Waiting(lookup) => {
                self.resolver.forget(lookup);
                None
            }
            Progress::Failed(_) => None,
        }
    }

    /// What came of an `Effect::Dns`.
    pub fn dns(&mut self, turn: &mut Turn<'_>, station: &Station, ask: DnsAsk, answer: DnsAnswer) {
        let found = self.resolver.answer(turn.now, ask, answer, turn.out);
        self.found(turn, station, found);
    }

    /// Names have been looked up, or could not be.
    pub(super) fn found(&mut self, turn: &mut Turn<'_>, station: &Station, found: Vec<Located>) {
        for (lookup, result) in found {
            let Some(owner) = self.lookups.remove(&lookup) else { continue };
            let Some(mut context) = self.contexts.remove(&owner.0) else { continue };
            if let Some(at) = context.searching.iter().position(|search| search.lookup == lookup) {
                let choice = context.searching.swap_remove(at).choice;
                located(station, &mut context, choice, result);
            }
            self.chosen(turn, station, owner, context);
        }
    }

    /// Once every name is known: the record, the 100, and on with it.
    fn chosen(&mut self, turn: &mut Turn<'_>, station: &Station, owner: Owner, mut context: Box<Context>) {
        if context.searching.is_empty() {
            if context.is_invite()
                && let Some(handle) = context.patience.take()
            {
                self.timers.cancel(handle);
            }
            let legs = std::mem::take(&mut context.chosen);
            self.write_targets(turn, station, &mut context, &legs);
            context.add_legs(legs);
        }
        self.settle(turn, station, owner, context);
    }

    /// What a node needs to go on with this INVITE is with a backup before anything is said or tried.
    fn write_targets(&mut self, turn: &mut Turn<'_>, station: &Station, context: &mut Context, legs: &[Leg]) {
        let Some(key) = context.key.clone() else { return };
        let targets = legs.iter().flat_map(Leg::targets).cloned().collect();
        if context.after.is_some() {
            let instead_of = context.instead_of.take();
            context.after = Some(self.journal.write(turn, &key, What::Targets { instead_of, targets }));
            return;
        }
        let call = context.call.and_then(|call| self.calls.get(call));
        let named = |(call, side): &(CallRef, Side)| Some((self.calls.get(*call)?.key.clone(), *side));
        let accepted = Accepted {
            request: context.original.request.trimmed_bytes(),
            source: context.original.source,
            transport: self.table.address(context.server).map_or(Transport::Udp, |back| back.transport),
            // Names, and limits that others count, may have taken a while: whoever goes on must come to the same CDR.
            at: call.map_or(turn.wall, Call::came),
            caller: context.caller.clone(),
            call: call.map(|call| call.opened.clone()),
            dialogs: context.dialogs.iter().filter_map(named).collect(),
            decisions: std::mem::take(&mut context.decisions),
            pending: !context.searching.is_empty(),
            targets,
        };
        let no = self.journal.write(turn, &key, What::Accepted(Box::new(accepted)));
        let trying = station.reply(&context.original.request, &context.original.source, 100, None, Vec::new());
        self.table.respond(turn, context.server, 100, Outgoing::new(Some(no), trying));
        context.after = Some(no);
    }

    /// The names take their time: the caller hears 100 after a record that says so. The targets follow in another.
    pub(super) fn still_searching(&mut self, turn: &mut Turn<'_>, station: &Station, owner: Owner) {
        let Some(mut context) = self.contexts.remove(&owner.0) else { return };
        context.patience = None;
        self.write_targets(turn, station, &mut context, &[]);
        self.contexts.insert(owner.0, context);
    }

    /// RFC 4320 §4.1: who has asked for something other than a session hears 100 once it would repeat itself each T2, and
    /// not before.
    pub(super) fn still_unanswered(&mut self, turn: &mut Turn<'_>, station: &Station, owner: Owner) {
        let Some(context) = self.contexts.get_mut(&owner.0) else { return };
        context.patience = None;
        let trying = station.reply(&context.original.request, &context.original.source, 100, None, Vec::new());
        self.table.respond(turn, context.server, 100, Outgoing::new(None, trying));
    }

    pub(super) fn stop_searching(&mut self, context: &mut Context) {
        for search in context.searching.drain(..) {
            self.lookups.remove(&search.lookup);
            self.resolver.forget(search.lookup);
        }
        context.chosen.clear();
        for asking in context.asking.drain(..) {
            self.asked.remove(&asking.ask);
        }
    }

    /// Starts the next group; false where none may start now.
    pub(super) fn start_group(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        owner: Owner,
        context: &mut Context,
    ) -> bool {
        let (group, breadth) = context.next_group(checks::max_breadth(&context.original.request));
        if group.is_empty() {
            return false;
        }
        context.started = group.end;
        self.write_started(turn, context, group.clone());
        for at in group {
            context.legs[at].breadth = breadth;
            self.start_leg(turn, station, owner, context, at);
        }
        true
    }

    /// Who takes over must know which branches may ring.
    fn write_started(&mut self, turn: &mut Turn<'_>, context: &mut Context, legs: Range<usize>) {
        let Some(key) = &context.key else { return };
        let branches = context.legs[legs].iter().map(|leg| leg.target.branch.as_str().into()).collect();
        context.after = Some(self.journal.write(turn, key, What::Started { branches }));
    }

    fn start_leg(&mut self, turn: &mut Turn<'_>, station: &Station, owner: Owner, context: &mut Context, at: usize) {
        let leg = &mut context.legs[at];
        let bytes = forward::write(station, &context.original, &leg.target, leg.breadth);
        let key = ClientKey::new(&station.keys.branch, &leg.target.branch, &context.original.request.method());
        let session = context.original.session.and_then(|asked| asked.offer());
        let user = LegRef { owner, leg: at, upstream: Some(context.server), call: context.call, session };
        let subject = subject(station, context.method, &leg.target, &context.original.request);
        leg.client = self.table.open_client(turn, key, subject, Outgoing::new(context.after, bytes), user);
        if leg.client.is_none() {
            leg.state = LegState::Failed(Failure { status: 408, response: None });
            return self.write_silence(turn, context, at);
        }
        leg.state = LegState::Pending { provisional: false, cancel: Cancel::No };
        if context.method == MethodKind::Invite {
            leg.timer = Some(self.timers.insert(turn.now + station.timing.c, Wait::Leg(user)));
        }
    }

    /// Another address of a target that could not serve (RFC 3263 §4.3); false where there is none.
    pub(super) fn start_alternative(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        owner: Owner,
        context: &mut Context,
        at: usize,
    ) -> bool {
        if context.final_sent || context.cancelled || context.declined {
            return false;
        }
        let Some(next) = context.legs[at].alternatives.pop_front() else { return false };
        let leg = &mut context.legs[at];
        leg.target = next;
        leg.rang_out = false;
        self.write_started(turn, context, at..at + 1);
        self.start_leg(turn, station, owner, context, at);
        true
    }
}

/// The server that a branch goes to.
pub(super) fn hop(target: &Target) -> Hop {
    Hop { address: target.next_hop.remote, transport: Transport::Udp }
}

/// The addresses of a choice become one leg; a name that leads nowhere, a failure.
fn located(station: &Station, context: &mut Context, choice: Choice, result: Result<Vec<Hop>, Unresolved>) {
    let hops = match result {
        Ok(hops) => hops,
        Err(unresolved) => {
            // A trunk's own name is nothing that the caller got wrong.
            let status = if matches!(choice.peer, Some(Peer::Trunk(_))) { 503 } else { unresolved.status() };
            context.unreachable.push(Failure { status, response: None });
            return;
        }
    };
    let target = |choice: Choice, attempt, hop: &Hop| {
        let flow = match &choice.next_hop {
            NextHop::At(flow) => *flow,
            NextHop::Named { listener, .. } => {
                Flow { listener: speaking(station, *listener, hop), remote: hop.address }
            }
        };
        forward::target(station, &context.original, choice, flow, attempt)
    };
    let Some((first, others)) = hops.split_first() else { return };
    let alternatives = (1..).zip(others).map(|(attempt, hop)| target(choice.clone(), attempt, hop)).collect();
    let leg = Leg::of(target(choice, 0, first), alternatives);
    context.chosen.push(leg);
}

/// The listener that is wanted if it speaks the hop's IP version, else the first that does.
fn speaking(station: &Station, wanted: ListenerId, hop: &Hop) -> ListenerId {
    let speaks = |id: &ListenerId| {
        station
            .rack
            .listener(*id)
            .is_some_and(|l| l.address.is_ipv4() == hop.address.is_ipv4() && l.transport == hop.transport)
    };
    let all = station.rack.listeners().map(|(id, _)| id);
    [wanted].into_iter().chain(all).find(speaks).unwrap_or(wanted)
}

pub(super) fn subject(station: &Station, method: MethodKind, target: &Target, request: &SipMessage) -> Subject {
    let hop = target.next_hop;
    let address = Address { listener: hop.listener, to: hop.remote, transport: Transport::Udp };
    Subject { method, address, call: station.call_hash(request.call_id()) }
}
