//! Response contexts at work: opened, driven by time, cancelled from upstream, answered. Owns the transactions, the calls
//! and the journal, since they change together; `targets` chooses and starts branches, `legs` ends them, `responses`
//! holds what a response does.

use super::best::{self, Failure};
use super::context::Context;
use super::forward::Original;
use crate::call::{CallRef, Calls, Journal, Side};
use crate::cdr::EndedBy;
use crate::effect::RecordNo;
use crate::identity;
use crate::record::{CallKey, Decision, What};
use crate::resolve::{LookupId, Resolver, Settings};
use crate::service::{Caller, Choice};
use crate::station::Station;
use crate::stats::Stats;
use crate::transaction::{Due, LegRef, Outgoing, Owner, ServerId, Table};
use crate::turn::Turn;
use ahash::RandomState;
use common::deadlines::Deadlines;
use common::sip::{Edit, Limits, MethodKind};
use common::time::Time;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::Arc;

/// For messages that we made ourselves.
pub(super) const OWN: Limits = Limits::NONE;

pub struct Proxy {
    pub table: Table,
    pub calls: Calls,
    pub journal: Journal,
    pub resolver: Resolver,
    pub(super) contexts: HashMap<u64, Box<Context>, RandomState>,
    /// Which context waits for a name.
    pub(super) lookups: HashMap<LookupId, Owner, RandomState>,
    /// Which context waits for room, by the question's number; and the newest.
    pub(super) asked: HashMap<u64, Owner, RandomState>,
    pub(super) newest_ask: u64,
    pub(super) timers: Deadlines<Wait>,
    newest: u64,
    /// INVITEs in slots that this node would not be given now; some of them are over.
    pub(super) strays: Vec<Owner>,
    /// INVITEs that have their final response, and when their transactions are over.
    pub(super) over: VecDeque<(Time, Arc<CallKey>)>,
}

/// What a context waits for, besides its transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Timer C (§16.8), or the effect of a CANCEL (§9.1).
    Leg(LegRef),
    /// Names are looked up for so long that the caller must hear a 100.
    Names(Owner),
    /// So must who has asked for something other than a session (RFC 4320 §4.1).
    Answer(Owner),
}

/// A request to be forwarded.
pub struct Job {
    pub original: Original,
    pub server: ServerId,
    pub owner: Owner,
    /// Whose rights a redirection is followed by; none within a dialog, where none is followed.
    pub caller: Option<Caller>,
    /// Not empty.
    pub choices: Vec<Choice>,
    pub decisions: Vec<Decision>,
    pub key: Option<Arc<CallKey>>,
    pub call: Option<CallRef>,
    /// The calls that this request belongs to, and which side sent it.
    pub dialogs: Vec<(CallRef, Side)>,
}

impl Proxy {
    pub fn new(station: &Station) -> Proxy {
        Proxy {
            table: Table::new(station.timing),
            calls: Calls::new(),
            journal: Journal::new(station.keys.placement),
            resolver: Resolver::new(Settings::of(&station.rack)),
            contexts: HashMap::with_hasher(RandomState::with_seeds(13, 14, 15, 16)),
            lookups: HashMap::with_hasher(RandomState::with_seeds(21, 22, 23, 24)),
            asked: HashMap::with_hasher(RandomState::with_seeds(25, 26, 27, 28)),
            newest_ask: 0,
            timers: Deadlines::new(),
            newest: 0,
            strays: Vec::new(),
            over: VecDeque::new(),
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
        let over = self.over.front().map(|(at, _)| *at);
        let due =
            [self.table.next_due(), self.timers.next_due(), self.calls.next_due(), self.resolver.next_due(), over];
        due.into_iter().flatten().min()
    }

    /// Takes charge of a request: its targets are looked up, for an INVITE their record is written and 100 goes upstream,
    /// and the first group is tried.
    pub fn open(&mut self, turn: &mut Turn<'_>, station: &Station, job: Job) {
        let Job { original, server, owner, caller, choices, decisions, key, call, dialogs } = job;
        let method = original.request.method().kind();
        if method == MethodKind::Invite {
            self.note_stray(turn, station, owner, server);
        }
        let unanswered = || self.timers.insert(turn.now + station.timing.until_each_t2(), Wait::Answer(owner));
        let patience = (method != MethodKind::Invite).then(unanswered);
        let context = Box::new(Context {
            method,
            original,
            server,
            caller,
            legs: Vec::with_capacity(choices.len()),
            started: 0,
            searching: Vec::new(),
            chosen: Vec::new(),
            unreachable: Vec::new(),
            patience,
            decisions,
            after: None,
            key,
            call,
            dialogs,
            redirections: 0,
            redirected: Vec::new(),
            instead_of: None,
            asking: Vec::new(),
            counted: SmallVec::new(),
            answered: false,
            final_sent: false,
            cancelled: false,
            cancelled_by: None,
            declined: false,
        });
        self.admit(turn, station, owner, context, choices);
    }

    /// The caller cancels the INVITE of this server transaction: the record before the 200.
    pub fn cancelled(&mut self, turn: &mut Turn<'_>, server: ServerId) -> Option<RecordNo> {
        let owner = self.table.owner(server)?;
        let context = self.contexts.get_mut(&owner.0).filter(|context| !context.final_sent)?;
        let key = context.key.as_ref()?;
        let journal = &mut self.journal;
        Some(*context.cancelled_by.get_or_insert_with(|| journal.write(turn, key, What::Cancelled)))
    }

    /// What follows from that (§16.10).
    pub fn cancel(&mut self, turn: &mut Turn<'_>, station: &Station, server: ServerId) {
        let Some(owner) = self.table.owner(server) else { return };
        let Some(mut context) = self.contexts.remove(&owner.0) else { return };
        if !context.final_sent {
            context.cancelled = true;
            self.stop_searching(&mut context);
            self.cancel_pending(turn, station, owner, &mut context);
        }
        self.settle(turn, station, owner, context);
    }

    /// Forgets all that belongs to a Call-ID, without a word: handling it panicked.
    pub fn forget_call(&mut self, stats: &mut Stats, station: &Station, call_id: &[u8]) {
        self.table.forget_call(station.call_hash(call_id));
        let is_of_call = |context: &Context| context.original.request.call_id() == call_id;
        let owners = self.contexts.iter().filter(|(_, context)| is_of_call(context)).map(|(owner, _)| *owner);
        let owners: Vec<u64> = owners.collect();
        for owner in owners {
            let Some(mut context) = self.contexts.remove(&owner) else { continue };
            self.stop_searching(&mut context);
            self.stop_timers(&mut context);
        }
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
        while let Some(wait) = self.timers.expire(turn.now) {
            match wait {
                Wait::Leg(leg) => self.leg_timer(turn, station, leg),
                Wait::Names(owner) => self.still_searching(turn, station, owner),
                Wait::Answer(owner) => self.still_unanswered(turn, station, owner),
            }
        }
        let found = self.resolver.tick(turn.now, turn.out);
        self.found(turn, station, found);
        self.calls.expire(turn, station, &mut self.journal);
        while self.over.front().is_some_and(|(at, _)| *at <= turn.now) {
            let Some((_, key)) = self.over.pop_front() else { break };
            self.journal.write(turn, &key, What::Over);
        }
    }

    /// The CDR of this call is where it is safe.
    pub fn written(&mut self, turn: &mut Turn<'_>, call: &Arc<CallKey>) {
        self.journal.write(turn, call, What::Written);
    }

    /// Goes on with a context until it waits for somebody, and keeps it if it does.
    pub(super) fn settle(&mut self, turn: &mut Turn<'_>, station: &Station, owner: Owner, mut context: Box<Context>) {
        let knows = |context: &Context| context.searching.is_empty() && context.asking.is_empty();
        while knows(&context) && context.goes_on() && self.start_group(turn, station, owner, &mut context) {}
        if context.waits() {
            self.contexts.insert(owner.0, context);
            return;
        }
        if !context.final_sent {
            self.answer_with_best(turn, station, &mut context);
        }
        self.stop_timers(&mut context);
    }

    pub(super) fn stop_timers(&mut self, context: &mut Context) {
        let legs = context.legs.iter_mut().filter_map(|leg| leg.timer.take());
        for handle in legs.chain(context.patience.take()) {
            self.timers.cancel(handle);
        }
    }

    /// Every branch has failed: what the caller hears (§16.7 steps 6 to 9).
    fn answer_with_best(&mut self, turn: &mut Turn<'_>, station: &Station, context: &mut Context) {
        let (status, bytes, heard) = chosen_answer(station, context);
        context.final_sent = true;
        let mut after = self.ends(turn, station, context, status);
        if let Some(key) = &context.key {
            after = Some(self.journal.write(turn, key, What::Refused { status, response: bytes.clone() }));
            self.over.push_back((turn.now + station.timing.whole(), key.clone()));
        }
        if let Some(call) = context.call {
            let by = match status {
                _ if context.cancelled => EndedBy::Cancelled,
                408 => EndedBy::NoAnswer,
                _ => EndedBy::Refused,
            };
            self.calls.failed(turn, station, call, (status, &bytes), by);
        }
        // RFC 4320 §4.2: a request other than INVITE that nobody answered is left without an answer.
        if status == 408 && !context.is_invite() && !heard {
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
        if context.method != MethodKind::Bye || refuses_the_request(status) {
            return None;
        }
        let request = &context.original.request;
        let mut newest = None;
        for (call, side) in &context.dialogs {
            let (by, callee_tag) = match side {
                Side::Caller => (EndedBy::Caller, request.to_tag()),
                Side::Callee => (EndedBy::Callee, request.from_tag()),
            };
            newest = self.calls.ended(turn, station, &mut self.journal, *call, Some(callee_tag?), by).or(newest);
        }
        newest
    }
}

/// Status and message; whether anybody has said it (else it is ours).
fn chosen_answer(station: &Station, context: &Context) -> (u16, bytes::Bytes, bool) {
    let failures = context.failures();
    let mut chosen = best::best(&failures);
    if context.cancelled && chosen.is_none_or(|i| failures[i].status < 600) {
        chosen = failures.iter().position(|f| f.status == 487 && f.response.is_some());
    }
    let own = |status| {
        let bytes = station.reply(&context.original.request, &context.original.source, status, None, Vec::new());
        (status, bytes, false)
    };
    match chosen.map(|i| failures[i]) {
        // What is true of one branch is not true of this proxy (§16.7 step 6).
        Some(Failure { status: 503, .. }) => own(500),
        Some(failure) => match &failure.response {
            Some(response) => {
                let others: Vec<&Failure> = failures.iter().copied().filter(|f| !std::ptr::eq(*f, failure)).collect();
                let edge = context.edge_of(station, failure);
                let cross = |edit: &mut Edit<'_>| identity::response(&station.rack, response, edge, edit);
                (failure.status, best::upstream(response, &others, cross), true)
            }
            None => own(failure.status),
        },
        None if context.cancelled => own(487),
        None => own(500),
    }
}

/// Statuses by which a UAS refuses a request for what stands in it, and keeps the dialog (RFC 5057 §5.1).
fn refuses_the_request(status: u16) -> bool {
    matches!(
        status,
        400 | 401 | 403 | 405 | 407 | 413..=416 | 420 | 421 | 483 | 488 | 491 | 493 | 494 | 500 | 505 | 513
    )
}
