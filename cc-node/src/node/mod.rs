//! One worker's engine: `handle(now, input, out)`, `tick(now, out)`, `next_due()`. It only dispatches:
//!
//! - a request: [`request`] (repeat? ACK, CANCEL; in a dialog or new) → [`begin`] → `service` → `proxy`; REGISTER:
//!   [`register`]; one that another node may hold: [`unknown`];
//! - a dead node's call that goes on here: [`inherit`];
//! - a response: `proxy::responses`;
//! - what is no fit message: [`unfit`];
//! - trunks that this worker probes: [`probing`];
//! - time: `proxy::engine`, and questions to the location server that nobody answered.

mod begin;
mod inherit;
mod probing;
mod register;
mod request;
mod unfit;
mod unknown;

pub use crate::effect::View;
pub use crate::station::NodeSetup;
pub use crate::stats::Stats;

use crate::auth::{Authenticator, Issuer};
use crate::call::Calls;
use crate::effect::{Effect, Input};
use crate::image::Image;
use crate::ownership::inquiries::{self, Inquiries};
use crate::probe::Report;
use crate::problems::{Blind, Blindly, Problem, Problems};
use crate::proxy::Proxy;
use crate::registrar::Registrar;
use crate::resolve::Counters;
use crate::station::Station;
use crate::stats::DropReason;
use crate::trace::{About, Event, Recorder};
use crate::turn::Turn;
use bytes::Bytes;
use common::call_hash::CallHash;
use common::ids::Epoch;
use common::sip::{Gist, SipMessage};
use common::time::{Time, WallMillis};
use common::wire::proxy::{Direction, ProxyHeader};
use probing::Prober;
use register::Asks;

pub struct Node {
    engine: Engine,
    /// Apart from the engine, so that a turn can count while the engine works.
    stats: Stats,
    trace: Recorder,
}

struct Engine {
    station: Station,
    proxy: Proxy,
    auth: Authenticator,
    registrar: Registrar,
    asks: Asks,
    inquiries: Inquiries,
    prober: Prober,
    /// The placement looked at last holds this incarnation.
    member: bool,
    /// Its epoch.
    seen: Epoch,
    /// When this incarnation last entered the placement.
    entered: Option<Time>,
    problems: Problems,
}

impl Node {
    pub fn new(setup: NodeSetup) -> Node {
        let boot = setup.boot;
        let trace = Recorder::new(setup.rack.limits.trace_entries);
        let station = Station::new(setup);
        let issuer = Issuer { node: station.id, boot: station.boot, worker: station.worker };
        let engine = Engine {
            proxy: Proxy::new(&station),
            auth: Authenticator::new(station.keys.clone(), station.rack.clone(), issuer),
            registrar: Registrar::new(station.rack.clone()),
            asks: Asks::default(),
            inquiries: Inquiries::of(boot),
            prober: Prober::new(&station),
            member: false,
            entered: None,
            seen: Epoch(0),
            problems: Problems::default(),
            station,
        };
        Node { engine, stats: Stats::default(), trace }
    }

    /// Takes one input. Effects are added to `out` in the order in which they must be carried out.
    pub fn handle(&mut self, now: Time, wall: WallMillis, view: &dyn View, input: Input, out: &mut Vec<Effect>) {
        self.turn(now, wall, view, out, |engine, turn| match input {
            Input::Datagram { header, message } => engine.datagram(turn, header, message),
            Input::Location { ask, outcome } => engine.outcome(turn, ask, &outcome),
            Input::Dns { ask, answer } => engine.proxy.dns(turn, &engine.station, ask, answer),
            Input::Placement => engine.placed(turn),
            Input::Admitted { ask, refused } => engine.proxy.admitted(turn, &engine.station, ask, &refused),
            Input::Inherit { hash, image } => engine.inherit(turn, hash, image),
            Input::Written { call } => engine.proxy.written(turn, &call),
        });
    }

    /// Does everything that is due by `now`.
    pub fn tick(&mut self, now: Time, wall: WallMillis, view: &dyn View, out: &mut Vec<Effect>) {
        self.turn(now, wall, view, out, |engine, turn| {
            engine.proxy.tick(turn, &engine.station);
            engine.unanswered_asks(turn);
            engine.unanswered_questions(turn);
            engine.prober.tick(turn, &engine.station);
        });
    }

    /// When [`Node::tick`] has something to do.
    pub fn next_due(&self) -> Option<Time> {
        let engine = &self.engine;
        let (asks, probes) = (engine.asks.next_due(), engine.prober.next_due());
        [engine.proxy.next_due(), asks, engine.inquiries.next_due(), probes].into_iter().flatten().min()
    }

    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// A sample of what came in and was not fit to be handled, since the last call.
    pub fn take_problems(&mut self) -> Vec<Problem> {
        self.engine.problems.take()
    }

    /// A sample of what went on without knowledge of its call, since the last call.
    pub fn take_blind(&mut self) -> Vec<Blindly> {
        self.engine.problems.take_blind()
    }

    /// What its probes of trunks have come to since the last call: for all workers of all nodes.
    pub fn take_told(&mut self) -> Vec<Report> {
        self.engine.prober.take_told()
    }

    /// What the look-up of names has counted.
    pub fn dns(&self) -> Counters {
        self.engine.proxy.resolver.counters()
    }

    /// Handling a message of this Call-ID panicked: all state of it goes, and nobody is told. Linear in what is kept.
    pub fn forget_call(&mut self, call_id: &[u8]) {
        let Node { engine, stats, .. } = self;
        engine.proxy.forget_call(stats, &engine.station, call_id);
        engine.asks.forget_call(call_id);
    }

    /// Likewise, and then it is taken up as its shadow tells it.
    pub fn reload(
        &mut self,
        now: Time,
        wall: WallMillis,
        view: &dyn View,
        call_id: &[u8],
        (hash, image): (CallHash, Box<Image>),
        out: &mut Vec<Effect>,
    ) {
        // It goes on: it has not failed, and nobody has died.
        let Stats { calls_failed, inherited, .. } = self.stats;
        self.forget_call(call_id);
        self.handle(now, wall, view, Input::Inherit { hash, image }, out);
        self.stats.calls_failed = calls_failed;
        self.stats.inherited = inherited;
    }

    /// A message came to nothing before the engine saw it.
    pub fn drop(&mut self, reason: DropReason) {
        self.stats.drop(reason);
    }

    /// The flight recorder, with what the engine has decided.
    pub fn trace(&self) -> &Recorder {
        &self.trace
    }

    pub fn trace_mut(&mut self) -> &mut Recorder {
        &mut self.trace
    }

    pub fn call_hash(&self, call_id: &[u8]) -> CallHash {
        self.engine.station.call_hash(call_id)
    }

    /// What became of questions to other nodes.
    pub fn inquiries(&self) -> inquiries::Counters {
        self.engine.inquiries.counters
    }

    /// INVITEs that wait here for their final response although others would be given them now.
    pub fn strays(&mut self) -> usize {
        self.engine.proxy.count_strays()
    }

    /// Requests that are being forwarded and wait for somebody.
    pub fn contexts(&self) -> usize {
        self.engine.proxy.contexts()
    }

    /// For the operator: the calls that this worker holds, each with its decisions.
    pub fn calls(&self) -> &Calls {
        &self.engine.proxy.calls
    }

    fn turn(
        &mut self,
        now: Time,
        wall: WallMillis,
        view: &dyn View,
        out: &mut Vec<Effect>,
        run: impl FnOnce(&mut Engine, &mut Turn<'_>),
    ) {
        let Node { engine, stats, trace } = self;
        // Of what was forgotten meanwhile: before it may be taken up again.
        out.extend(engine.proxy.calls.take_over().map(|call| Effect::CallOver { call }));
        run(engine, &mut Turn { now, wall, view, out: &mut *out, stats, trace, about: None });
        out.extend(engine.proxy.calls.take_over().map(|call| Effect::CallOver { call }));
        stats.transactions = engine.proxy.table.gauges();
        stats.calls_established = engine.proxy.calls.established();
        stats.calls_in_setup = (engine.proxy.calls.len() as u64).saturating_sub(stats.calls_established);
    }
}

impl Engine {
    /// Goes on, though this node does not know its call.
    fn blindly(&mut self, turn: &mut Turn<'_>, how: Blind, call_id: &[u8]) {
        turn.stats.blind[how as usize] += 1;
        turn.note(Event::Blindly(how));
        self.problems.note_blind(turn.now, how, call_id);
    }

    fn datagram(&mut self, turn: &mut Turn<'_>, header: ProxyHeader, message: Bytes) {
        if header.direction == Direction::Inside {
            return self.inside(turn, header, message);
        }
        self.message(turn, header, message);
    }

    /// A message from outside, for the flight recorder.
    fn came(&self, turn: &mut Turn<'_>, header: &ProxyHeader, message: &SipMessage) {
        if turn.trace.is_off() {
            return;
        }
        turn.about = Some(self.about(header, message));
        turn.note(Event::In);
    }

    fn about(&self, header: &ProxyHeader, message: &SipMessage) -> About {
        let call_id = message.call_id();
        let (method, cseq) = (message.method().kind(), message.cseq().map_or(0, |cseq| cseq.number));
        let gist = Gist { call_id, method, status: message.status(), cseq };
        About::message(self.station.call_hash(call_id), Some(header.source), &gist)
    }

    fn message(&mut self, turn: &mut Turn<'_>, header: ProxyHeader, message: Bytes) {
        let message = match SipMessage::parse(message.clone(), &self.station.limits) {
            Ok(message) => message,
            Err(error) => return self.unreadable(turn, &header, message, error),
        };
        self.came(turn, &header, &message);
        if self.must_wait(turn, &message) {
            return turn.drop(DropReason::Inheriting);
        }
        if message.is_request() {
            turn.stats.requests_in[message.method().kind() as usize] += 1;
            return self.request(turn, header, message);
        }
        if let Err(invalid) = message.validate() {
            return self.unfit(turn, &header, &message, invalid);
        }
        *turn.stats.responses_in.entry((message.status(), message.method().kind())).or_default() += 1;
        if self.prober.response(turn, &self.station, &message) {
            return;
        }
        self.response_known_or_asked_about(turn, header, message);
    }
}

#[cfg(test)]
pub(crate) mod tests;
