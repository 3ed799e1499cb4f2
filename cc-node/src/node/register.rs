//! The way of a REGISTER: authenticated, made a command, asked of the location server, answered with what came of it.
//! The server transaction waits meanwhile and absorbs repeats.

use super::Engine;
use super::request::{Asked, refuse};
use crate::auth::Which;
use crate::effect::{AskId, Effect, LocationFailure};
use crate::registrar::{RegisterReply, RegisterStep};
use crate::service::Refusal;
use crate::service::identify::authenticate;
use crate::stats::Rejection;
use crate::transaction::{Outgoing, Owner, ServerId};
use crate::turn::Turn;
use common::deadlines::{Deadlines, Handle};
use common::flow::Flow;
use common::location::Outcome;
use common::sip::SipMessage;
use common::time::Time;
use std::collections::BTreeMap;

/// REGISTERs that wait for the location server. As many as there are transactions at most.
#[derive(Default)]
pub(super) struct Asks {
    waiting: BTreeMap<AskId, Waiting>,
    deadlines: Deadlines<AskId>,
    /// When a client that still waits hears 100 (RFC 4320 §4.1).
    patience: Deadlines<AskId>,
    newest: u64,
}

struct Waiting {
    request: SipMessage,
    source: Flow,
    server: ServerId,
    until: Handle,
    patience: Handle,
}

impl Asks {
    pub(super) fn next_due(&self) -> Option<Time> {
        [self.deadlines.next_due(), self.patience.next_due()].into_iter().flatten().min()
    }

    pub(super) fn forget_all(&mut self) {
        *self = Asks { newest: self.newest, ..Asks::default() };
    }

    pub(super) fn forget_call(&mut self, call_id: &[u8]) {
        let Asks { waiting, deadlines, patience, .. } = self;
        waiting.retain(|_, waiting| {
            let kept = waiting.request.call_id() != call_id;
            if !kept {
                deadlines.cancel(waiting.until);
                patience.cancel(waiting.patience);
            }
            kept
        });
    }
}

impl Engine {
    pub(super) fn register(&mut self, turn: &mut Turn<'_>, asked: Asked) {
        let station = &self.station;
        let refusal = self.has_room(&asked).err();
        if let Some(refusal) = refusal {
            return refuse(turn, station, &asked.request, &asked.source, asked.back, refusal);
        }
        let aor = match self.registrar.aor(&asked.request) {
            Ok(aor) => aor,
            Err(reply) => {
                let refusal = Refusal {
                    status: reply.status,
                    reason: reply.reason,
                    headers: reply.headers,
                    counted: Rejection::NotFound,
                };
                return refuse(turn, station, &asked.request, &asked.source, asked.back, refusal);
            }
        };
        if let Some(domain) = station.rack.domain(aor.domain()) {
            let (request, source) = (&asked.request, &asked.source);
            let who = authenticate(station, &mut self.auth, turn.wall, turn.view, request, source, domain, Which::Www);
            if let Err(refusal) = who {
                return refuse(turn, station, &asked.request, &asked.source, asked.back, refusal);
            }
        }
        let step = self.registrar.request(turn.now, turn.view, &asked.request, &aor, &asked.header);
        let server = self.proxy.table.open_server(asked.key, asked.subject(), Owner(0));
        match step {
            RegisterStep::Reply(reply) => self.answer_register(turn, &asked.request, &asked.source, server, reply),
            RegisterStep::Ask { key, command } => {
                self.asks.newest += 1;
                let ask = AskId(self.asks.newest);
                let until = self.asks.deadlines.insert(turn.now + station.timing.whole(), ask);
                let patience = self.asks.patience.insert(turn.now + station.timing.until_each_t2(), ask);
                let waiting = Waiting { request: asked.request, source: asked.source, server, until, patience };
                self.asks.waiting.insert(ask, waiting);
                turn.out.push(Effect::Location { ask, key, command });
            }
        }
    }

    /// What came of a question; of one that is not waiting any more nothing more comes.
    pub(super) fn outcome(&mut self, turn: &mut Turn<'_>, ask: AskId, outcome: &Result<Outcome, LocationFailure>) {
        let Some(waiting) = self.asks.waiting.remove(&ask) else { return };
        self.asks.deadlines.cancel(waiting.until);
        self.asks.patience.cancel(waiting.patience);
        let reply = self.registrar.response(&waiting.request, outcome);
        self.answer_register(turn, &waiting.request, &waiting.source, waiting.server, reply);
    }

    pub(super) fn unanswered_asks(&mut self, turn: &mut Turn<'_>) {
        while let Some(ask) = self.asks.patience.expire(turn.now) {
            let Some(waiting) = self.asks.waiting.get(&ask) else { continue };
            let trying = self.station.reply(&waiting.request, &waiting.source, 100, None, Vec::new());
            self.proxy.table.respond(turn, waiting.server, 100, Outgoing::new(None, trying));
        }
        while let Some(ask) = self.asks.deadlines.expire(turn.now) {
            self.outcome(turn, ask, &Err(LocationFailure::Timeout));
        }
    }

    fn answer_register(
        &mut self,
        turn: &mut Turn<'_>,
        request: &SipMessage,
        source: &Flow,
        server: ServerId,
        reply: RegisterReply,
    ) {
        let RegisterReply { status, reason, headers } = reply;
        let bytes = self.station.reply(request, source, status, reason, headers);
        self.proxy.table.respond(turn, server, status, Outgoing::new(None, bytes));
    }
}
