//! A call begins only if its account, its source and its trunks have room for one more. Whoever counts them is asked before
//! the targets are chosen, of a redirection before it is followed to a trunk; meanwhile the context waits, as it does for names.

use super::best::Failure;
use super::context::{Asking, Context};
use super::engine::Proxy;
use crate::counted::Key;
use crate::effect::Effect;
use crate::service::limits::{self, Limited, Wants};
use crate::service::{Choice, Refusal};
use crate::station::Station;
use crate::trace::About;
use crate::transaction::{Outgoing, Owner};
use crate::turn::Turn;
use common::flow::Peer;
use common::sip::{Gist, SipMessage};

impl Proxy {
    /// Chooses these targets, once it is known that there is room. What begins no call is not limited.
    pub(super) fn admit(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        owner: Owner,
        mut context: Box<Context>,
        choices: Vec<Choice>,
    ) {
        let wants = self.wants(station, &context, &choices);
        let call = context.call.filter(|_| !wants.is_empty());
        let Some(call) = call.and_then(|call| self.calls.count(call, &station.keys.placement)) else {
            return self.choose(turn, station, owner, context, choices);
        };
        self.newest_ask += 1;
        let (ask, instead_of) = (self.newest_ask, context.instead_of.take());
        self.asked.insert(ask, owner);
        turn.out.push(Effect::Admit { ask, call, wants: wants.iter().map(|(_, want)| *want).collect() });
        context.asking.push(Asking { ask, wants, choices, instead_of });
        self.settle(turn, station, owner, context);
    }

    /// What is to be asked about before these targets are tried.
    fn wants(&self, station: &Station, context: &Context, choices: &[Choice]) -> Wants {
        let (Some(_), Some(caller)) = (context.call, &context.caller) else { return Wants::new() };
        let mut wants = limits::of_caller(station, caller, context.original.source.remote.ip());
        wants.extend(limits::of_trunks(station, choices.iter().filter_map(|choice| choice.peer)));
        let mut once = Wants::new();
        for (limited, want) in wants {
            if !context.counted.contains(&want.key) && once.iter().all(|(_, other)| other.key != want.key) {
                once.push((limited, want));
            }
        }
        once
    }

    /// What came of an `Effect::Admit`.
    pub fn admitted(&mut self, turn: &mut Turn<'_>, station: &Station, ask: u64, refused: &[Key]) {
        let Some(owner) = self.asked.remove(&ask) else { return };
        let Some(mut context) = self.contexts.remove(&owner.0) else { return };
        let Some(at) = context.asking.iter().position(|asking| asking.ask == ask) else {
            self.contexts.insert(owner.0, context);
            return;
        };
        let Asking { wants, mut choices, instead_of, .. } = context.asking.remove(at);
        let is_full = |want: &Key| refused.contains(want);
        context.counted.extend(wants.iter().map(|(_, want)| want.key).filter(|key| !is_full(key)));
        let mut full = wants.iter().filter(|(_, want)| is_full(&want.key)).map(|(limited, _)| *limited);
        let trunk_in_or_caller = full.clone().find(|limited| !matches!(limited, Limited::TrunkOut(_)));
        let begins = context.legs.is_empty();
        if let Some(limited) = trunk_in_or_caller {
            return self.turn_away(turn, station, context, limits::refusal(limited));
        }
        // A trunk that is full is passed over, as one that cannot be reached is.
        let lies_there = |choice: &Choice, limited: Limited| match (choice.peer, limited) {
            (Some(Peer::Trunk(id)), Limited::TrunkOut(full)) => id == full,
            _ => false,
        };
        let first_full = full.clone().next();
        choices.retain(|choice| !full.clone().any(|limited| lies_there(choice, limited)));
        if let Some(limited) = first_full.filter(|_| begins && choices.is_empty()) {
            return self.turn_away(turn, station, context, limits::refusal(limited));
        }
        if full.next().is_some() {
            context.unreachable.push(Failure { status: 503, response: None });
        }
        context.instead_of = instead_of;
        self.choose(turn, station, owner, context, choices);
    }

    /// The call does not begin. The sender is known, so the answer is repeated until it is heard.
    fn turn_away(&mut self, turn: &mut Turn<'_>, station: &Station, mut context: Box<Context>, refusal: Refusal) {
        let request = &context.original.request;
        turn.about = Some(about(station, request, &context));
        turn.reject(refusal.counted);
        let Refusal { status, reason, headers, .. } = refusal;
        let bytes = station.reply(request, &context.original.source, status, reason, headers);
        self.table.respond(turn, context.server, status, Outgoing::new(None, bytes));
        if let Some(call) = context.call {
            self.calls.turned_away(call);
        }
        self.stop_searching(&mut context);
        self.stop_timers(&mut context);
    }
}

fn about(station: &Station, request: &SipMessage, context: &Context) -> About {
    let (call_id, cseq) = (request.call_id(), request.cseq().map_or(0, |cseq| cseq.number));
    let gist = Gist { call_id, method: context.method, status: 0, cseq };
    About::message(station.call_hash(call_id), Some(context.original.source.remote), &gist)
}
