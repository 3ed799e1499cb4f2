//! Response contexts at work: open, try one group of targets after another, cancel, time out, answer. Owns the
//! transactions, the calls and the journal, since they change together; `responses` holds what a response does.

use super::best::{self, Failure};
use super::checks;
use super::context::{Cancel, Context, Leg, LegState};
use super::derived;
use super::forward::{self, Original};
use crate::call::{CallRef, Calls, Journal, Side};
use crate::cdr::EndedBy;
use crate::effect::RecordNo;
use crate::record::{Accepted, CallKey, Decision, What};
use crate::service::Choice;
use crate::station::Station;
use crate::stats::Stats;
use crate::transaction::{Address, ClientKey, Due, LegRef, Outgoing, Owner, ServerId, Subject, Table};
use crate::turn::Turn;
use ahash::RandomState;
use common::deadlines::Deadlines;
use common::ids::Transport;
use common::sip::{Limits, Method, MethodKind, SipMessage};
use common::time::Time;
use hashbrown::HashMap;

/// For messages that we made ourselves.
pub(super) const OWN: Limits = Limits { message: 1 << 20, headers: 4096, header_value: 1 << 20, uri: 1 << 20 };

pub struct Proxy {
    pub table: Table,
    pub calls: Calls,
    pub journal: Journal,
    pub(super) contexts: HashMap<u64, Context, RandomState>,
    pub(super) timers: Deadlines<LegRef>,
    newest: u64,
}

/// A request to be forwarded.
pub struct Job {
    pub original: Original,
    pub server: ServerId,
    pub owner: Owner,
    /// Not empty.
    pub choices: Vec<Choice>,
    pub decisions: Vec<Decision>,
    pub key: Option<CallKey>,
    pub call: Option<CallRef>,
    pub dialog: Option<(CallRef, Side)>,
}

impl Proxy {
    pub fn new(station: &Station) -> Proxy {
        Proxy {
            table: Table::new(station.timing),
            calls: Calls::new(),
            journal: Journal::new(station.keys.placement),
            contexts: HashMap::with_hasher(RandomState::with_seeds(13, 14, 15, 16)),
            timers: Deadlines::new(),
            newest: 0,
        }
    }

    /// A name for a context that is about to be opened.
    pub fn next_owner(&mut self) -> Owner {
        self.newest += 1;
        Owner(self.newest)
    }

    pub fn contexts(&self) -> usize {
        self.contexts.len()
    }

    pub fn next_due(&self) -> Option<Time> {
        [self.table.next_due(), self.timers.next_due(), self.calls.next_due()].into_iter().flatten().min()
    }

    /// Takes charge of a request: for an INVITE the record of all targets first, then 100 upstream, then the first group.
    pub fn open(&mut self, turn: &mut Turn<'_>, station: &Station, job: Job) {
        let Job { original, server, owner, choices, decisions, key, call, dialog } = job;
        let method = original.request.method().kind();
        let mut targets: Vec<_> =
            choices.into_iter().map(|choice| forward::target(station, &original, choice, 0)).collect();
        targets.sort_by_key(|target| target.order);
        let mut after = None;
        if let Some(key) = &key {
            let accepted = Accepted {
                request: original.request.trimmed_bytes(),
                source: original.source,
                at: turn.wall,
                decisions,
                targets: targets.clone(),
            };
            let no = self.journal.write(turn, key, What::Accepted(Box::new(accepted)));
            let trying = station.reply(&original.request, &original.source, 100, None, Vec::new());
            self.table.respond(turn, server, 100, Outgoing::new(Some(no), trying));
            after = Some(no);
        }
        let legs = targets.into_iter().map(Leg::new).collect();
        let context = Context {
            original,
            method,
            server,
            legs,
            started: 0,
            after,
            key,
            call,
            dialog,
            answered: false,
            final_sent: false,
            cancelled: false,
            declined: false,
        };
        self.settle(turn, station, owner, context);
    }

    /// The caller cancels the INVITE of this server transaction (§16.10).
    pub fn cancel(&mut self, turn: &mut Turn<'_>, station: &Station, server: ServerId) {
        let Some(owner) = self.table.owner(server) else { return };
        let Some(mut context) = self.contexts.remove(&owner.0) else { return };
        if !context.final_sent {
            context.cancelled = true;
            self.cancel_pending(turn, station, owner, &mut context);
        }
        self.settle(turn, station, owner, context);
    }

    /// Forgets all that belongs to a Call-ID, without a word: handling it panicked.
    pub fn forget_call(&mut self, stats: &mut Stats, station: &Station, call_id: &[u8]) {
        self.table.forget_call(station.call_hash(call_id));
        let (timers, contexts) = (&mut self.timers, &mut self.contexts);
        contexts.retain(|_, context| {
            let kept = context.original.request.call_id() != call_id;
            for handle in context.legs.iter_mut().filter(|_| !kept).filter_map(|leg| leg.timer.take()) {
                timers.cancel(handle);
            }
            kept
        });
        self.calls.forget(stats, call_id);
    }

    /// Runs everything that is due.
    pub fn tick(&mut self, turn: &mut Turn<'_>, station: &Station) {
        while let Some(due) = self.table.expire(turn) {
            match due {
                Some(Due::ClientTimedOut(leg)) => self.timed_out(turn, station, leg),
                Some(Due::ServerTimedOut) => turn.stats.timeouts += 1,
                None => {}
            }
        }
        while let Some(leg) = self.timers.expire(turn.now) {
            self.leg_timer(turn, station, leg);
        }
        self.calls.expire(turn, station, &mut self.journal);
    }

    /// Timer B or F: the branch counts as answered with 408 (§16.8).
    fn timed_out(&mut self, turn: &mut Turn<'_>, station: &Station, leg: LegRef) {
        let Some(mut context) = self.contexts.remove(&leg.owner.0) else { return };
        turn.stats.timeouts += 1;
        self.fail(&mut context, leg.leg, Failure { status: 408, response: None });
        self.settle(turn, station, leg.owner, context);
    }

    /// Timer C (§16.8), or no final response came after a CANCEL (§9.1).
    fn leg_timer(&mut self, turn: &mut Turn<'_>, station: &Station, leg: LegRef) {
        let Some(mut context) = self.contexts.remove(&leg.owner.0) else { return };
        context.legs[leg.leg].timer = None;
        turn.stats.timeouts += 1;
        match context.legs[leg.leg].state {
            LegState::Pending { cancel: Cancel::Sent, .. } => {
                if let Some(client) = context.legs[leg.leg].client {
                    self.table.forget(client);
                }
                self.fail(&mut context, leg.leg, Failure { status: 408, response: None });
            }
            LegState::Pending { .. } => self.cancel_leg(turn, station, leg.owner, &mut context, leg.leg),
            _ => {}
        }
        self.settle(turn, station, leg.owner, context);
    }

    /// Goes on with a context until it waits for somebody, and keeps it if it does.
    pub(super) fn settle(&mut self, turn: &mut Turn<'_>, station: &Station, owner: Owner, mut context: Context) {
        while !context.has_pending() && context.goes_on() {
            self.start_group(turn, station, owner, &mut context);
        }
        if !context.has_pending() {
            if !context.final_sent {
                self.answer_with_best(turn, station, &mut context);
            }
            for handle in context.legs.iter().filter_map(|leg| leg.timer) {
                self.timers.cancel(handle);
            }
            return;
        }
        self.contexts.insert(owner.0, context);
    }

    fn start_group(&mut self, turn: &mut Turn<'_>, station: &Station, owner: Owner, context: &mut Context) {
        let breadth = checks::max_breadth(&context.original.request);
        let group = context.next_group(breadth);
        context.started = group.end;
        let limited = context.original.request.header(common::sip::HeaderId::MaxBreadth).is_some();
        let share = (group.len() > 1 || limited).then(|| (breadth / group.len().max(1)).max(1));
        for at in group {
            let leg = &mut context.legs[at];
            leg.sent = forward::write(station, &context.original, &leg.target, share);
            let key = ClientKey::new(&station.keys.branch, &leg.target.branch, &context.original.request.method());
            let request = Outgoing::new(context.after, leg.sent.clone());
            let user = LegRef { owner, leg: at };
            let subject = subject(station, context.method, leg, &context.original.request);
            leg.client = self.table.open_client(turn, key, subject, request, user);
            if leg.client.is_none() {
                leg.fail(Failure { status: 408, response: None });
                continue;
            }
            leg.state = LegState::Pending { provisional: false, cancel: Cancel::No };
            if context.method == MethodKind::Invite {
                leg.timer = Some(self.timers.insert(turn.now + station.timing.c, user));
            }
        }
    }

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
        let Ok(invite) = SipMessage::parse(leg.sent.clone(), &OWN) else { return };
        let key = ClientKey::new(&station.keys.branch, &leg.target.branch, &Method::Cancel);
        let request = Outgoing::new(None, derived::cancel(&invite));
        let nobody = LegRef { owner: Owner(0), leg: 0 };
        let subject = subject(station, MethodKind::Cancel, leg, &invite);
        self.table.open_client(turn, key, subject, request, nobody);
        if let Some(handle) = leg.timer.take() {
            self.timers.cancel(handle);
        }
        leg.timer = Some(self.timers.insert(turn.now + station.timing.whole(), LegRef { owner, leg: at }));
    }

    pub(super) fn fail(&mut self, context: &mut Context, at: usize, failure: Failure) {
        let leg = &mut context.legs[at];
        leg.fail(failure);
        if let Some(handle) = leg.timer.take() {
            self.timers.cancel(handle);
        }
    }

    /// Every branch has failed: what the caller hears (§16.7 steps 6 to 9).
    fn answer_with_best(&mut self, turn: &mut Turn<'_>, station: &Station, context: &mut Context) {
        let failures = context.failures();
        let mut chosen = best::best(&failures);
        if context.cancelled && chosen.is_none_or(|i| failures[i].status < 600) {
            chosen = failures.iter().position(|f| f.status == 487 && f.response.is_some());
        }
        let own = |status| station.reply(&context.original.request, &context.original.source, status, None, Vec::new());
        let (status, bytes) = match chosen.map(|i| failures[i]) {
            // What is true of one branch is not true of this proxy (§16.7 step 6).
            Some(Failure { status: 503, .. }) => (500, own(500)),
            Some(failure) => match &failure.response {
                Some(response) => {
                    let others: Vec<&Failure> =
                        failures.iter().copied().filter(|f| !std::ptr::eq(*f, failure)).collect();
                    (failure.status, best::upstream(response, &others))
                }
                None => (failure.status, own(failure.status)),
            },
            None if context.cancelled => (487, own(487)),
            None => (500, own(500)),
        };
        context.final_sent = true;
        let mut after = self.ends(turn, station, context, status);
        if let Some(key) = &context.key {
            after = Some(self.journal.write(turn, key, What::Refused { response: bytes.clone() }));
        }
        if let Some(call) = context.call {
            self.calls.failed(turn, call);
        }
        // RFC 4320 §4.2: a request other than INVITE that nobody answered is left without an answer.
        if status == 408 && !context.is_invite() && chosen.is_none_or(|i| context.failures()[i].response.is_none()) {
            self.table.abandon(context.server);
        } else {
            self.table.respond(turn, context.server, status, Outgoing::new(after, bytes));
        }
    }

    /// A final response to a BYE ends the call (RFC 3261 §15.1.1), unless it refuses this very request: whoever pays for
    /// the call could provoke that, and talk on.
    pub(super) fn ends(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        context: &Context,
        status: u16,
    ) -> Option<RecordNo> {
        let (call, side) =
            context.dialog.filter(|_| context.method == MethodKind::Bye && !refuses_the_request(status))?;
        let request = &context.original.request;
        let (by, callee_tag) = match side {
            Side::Caller => (EndedBy::Caller, request.to_tag()),
            Side::Callee => (EndedBy::Callee, request.from_tag()),
        };
        self.calls.ended(turn, station, &mut self.journal, call, Some(callee_tag?), by)
    }
}

/// Statuses by which a UAS refuses a request for what stands in it, and keeps the dialog (RFC 5057 §5.1).
fn refuses_the_request(status: u16) -> bool {
    matches!(
        status,
        400 | 401 | 403 | 405 | 407 | 413..=416 | 420 | 421 | 483 | 488 | 491 | 493 | 494 | 500 | 505 | 513
    )
}

fn subject(station: &Station, method: MethodKind, leg: &Leg, request: &SipMessage) -> Subject {
    let hop = leg.target.next_hop;
    let address = Address { listener: hop.listener, to: hop.remote, transport: Transport::Udp };
    Subject { method, address, call: station.call_hash(request.call_id()) }
}
