//! A worker thread: one engine, its sockets, its way to the location server. Each round: wait, take what came in, fire
//! what is due, send what that led to. Workers share nothing but what [`super::shared`] swaps whole.

mod poison;
mod questions;
mod report;

use self::questions::{Handed, hand};
use super::cdr::CdrSink;
use super::dns;
use super::egress::{Egress, Outwards};
use super::location::{ASKS_A_WORKER, Answer, Ask};
use super::shadows::ShadowPort;
use super::shared::{IoCounters, Shared};
use super::trace;
use crate::core::Core;
use crate::dns::{DnsAnswer, DnsAsk, DnsFailure};
use crate::doorman::{Doorman, Refused};
use crate::effect::{AskId, CallKey, Effect, Input, LocationFailure};
use crate::location::LocalView;
use crate::ownership::lease::{Gate, Passage};
use crate::quarantine::Fingerprint;
use crate::resolve::OPEN_QUESTIONS;
use bytes::Bytes;
use common::ids::Plane;
use common::io::clock::Clock;
use common::io::in_hand::InHand;
use common::io::poll::{self, Wakeable};
use common::io::udp::{BATCH, Received, Receiver};
use common::time::{Duration, Time};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver as Queue;
use tokio::sync::mpsc::Sender;

/// An idle worker goes round this often, so that its progress shows.
const IDLE: Duration = Duration::from_millis(50);
/// A worker without a lease looks so often for a new one.
const WITHOUT_LEASE: Duration = Duration::from_millis(5);
/// Batches taken from one socket before timers are looked at again.
const BATCHES_A_ROUND: usize = 4;

/// What a worker is made of; `io::run` opens it all before any thread starts.
pub struct Parts {
    pub index: u16,
    pub shared: Arc<Shared>,
    pub clock: Clock,
    pub core: Core,
    pub shadows: ShadowPort,
    pub sockets: Vec<(Plane, UdpSocket)>,
    pub egress: Egress,
    pub asks: Sender<Ask>,
    pub answers: Queue<Answer>,
    pub questions: Sender<dns::Asked>,
    pub dns_answers: Queue<dns::Answered>,
    pub wakeable: Wakeable,
    pub traces: Queue<trace::Ask>,
    pub cdrs: CdrSink,
    pub in_hand: Arc<InHand>,
    /// Over which the process before this one died: this worker tells other nodes.
    pub suspects: Vec<Fingerprint>,
}

pub struct Worker {
    receiver: Receiver,
    ready: Vec<bool>,
    /// More waited than one round takes.
    more: bool,
    gate: Gate,
    /// Of this round.
    passage: Passage,
    desk: Desk,
}

/// All but the receive buffers, which lend a datagram while it is handled.
struct Desk {
    parts: Parts,
    doorman: Doorman,
    view: LocalView,
    /// On their way to be carried out.
    released: Vec<Effect>,
    /// Calls whose CDRs are durable, or given up: told in this round.
    written: Vec<Arc<CallKey>>,
    /// Asks that could not be handed over: answered in this round.
    refused: Vec<AskId>,
    /// Asks without an answer yet.
    asked: usize,
    /// Questions to the DNS that could not be handed over, and how many have no answer yet.
    dns_refused: Vec<DnsAsk>,
    dns_asked: usize,
    counters: IoCounters,
    /// Of [`Shared::shut_out`].
    heeded: Arc<Vec<(Fingerprint, Time)>>,
    /// When the sockets were seen empty last.
    emptied: Time,
    busy: Duration,
    load_since: Time,
    /// When this round did: near enough to tell the age of what comes and goes in it.
    began: Time,
    report_at: Time,
}

impl Worker {
    pub fn new(mut parts: Parts) -> Worker {
        let (shared, now) = (parts.shared.clone(), parts.clock.now());
        parts.suspects.iter().for_each(|message| parts.core.shut_out(now, *message));
        let placements = shared.placements.load_full();
        let view = LocalView::new(shared.replica.clone(), placements);
        let desk = Desk {
            doorman: Doorman::new(&shared.rack),
            view,
            released: Vec::with_capacity(64),
            written: Vec::new(),
            refused: Vec::new(),
            asked: 0,
            dns_refused: Vec::new(),
            dns_asked: 0,
            counters: IoCounters::default(),
            heeded: Arc::default(),
            emptied: now,
            busy: Duration::ZERO,
            load_since: now,
            began: now,
            report_at: now,
            parts,
        };
        let gate = Gate::new(now);
        Worker { receiver: Receiver::new(), ready: Vec::new(), more: false, gate, passage: Passage::Shut, desk }
    }

    /// Until the process is told to end.
    pub fn run(mut self) {
        while !self.desk.parts.shared.is_stopping() {
            if let Err(error) = self.wait() {
                tracing::error!(%error, "a worker cannot wait on its sockets");
                return;
            }
            let began = self.desk.parts.clock.now();
            self.desk.began = began;
            // The lease first: with a new one comes at least the placement under which it was given.
            let lease = self.desk.parts.shared.lease();
            self.desk.look_at_placement();
            self.desk.heed();
            self.passage = self.gate.pass(began, lease);
            self.shadows();
            match self.passage {
                Passage::Open => self.datagrams(),
                Passage::Stale | Passage::Shut => self.drop_what_waits(),
            }
            // The last one waited on is the waker.
            if self.ready.last().is_none_or(|woken| *woken) {
                self.desk.answers();
            }
            if self.passage != Passage::Shut {
                self.desk.timers();
            }
            self.desk.flush();
            self.desk.parcels();
            self.desk.account(began, self.more);
        }
    }

    fn wait(&mut self) -> std::io::Result<()> {
        let parts = &self.desk.parts;
        let due = || parts.core.next_due().map_or(IDLE, |due| due.since(parts.clock.now()).min(IDLE));
        let patience = match self.passage {
            // Timers are held, and what arrives wakes it all the same.
            Passage::Shut => WITHOUT_LEASE,
            _ if self.more => Duration::ZERO,
            _ => due(),
        };
        let fds: smallvec::SmallVec<[_; 4]> = parts
            .sockets
            .iter()
            .map(|(_, s)| s.as_fd())
            .chain(parts.shadows.fds())
            .chain([parts.wakeable.as_fd()])
            .collect();
        poll::readable(&fds, patience, &mut self.ready)
    }

    /// With a lease or without: what is acknowledged depends on memory alone.
    fn shadows(&mut self) {
        let Worker { receiver, ready, desk, .. } = self;
        let Desk { parts, released, counters, began, .. } = desk;
        for at in 0..parts.shadows.count() {
            if ready.get(parts.sockets.len() + at).is_some_and(|ready| *ready) {
                parts.shadows.hear(at, *began, receiver, &mut parts.core, released, counters);
            }
        }
        desk.carry_out();
    }

    /// Unread: peers send again what matters.
    fn drop_what_waits(&mut self) {
        self.more = false;
        let counters = &mut self.desk.counters;
        let dropped = match self.passage {
            Passage::Shut => &mut counters.drop_no_lease,
            _ => &mut counters.drop_stale,
        };
        for (_, socket) in &self.desk.parts.sockets {
            while let Ok(count @ 1..) = self.receiver.recv(socket) {
                *dropped += self.receiver.iter().count() as u64;
                if count < BATCH {
                    break;
                }
            }
        }
    }

    fn datagrams(&mut self) {
        self.more = false;
        for at in 0..self.desk.parts.sockets.len() {
            if !self.ready.get(at).is_some_and(|ready| *ready) {
                continue;
            }
            for batch in 0..BATCHES_A_ROUND {
                // A second handle on the socket is not needed: the receiver holds the octets, the desk the rest.
                let count = match self.receiver.recv(&self.desk.parts.sockets[at].1) {
                    Ok(count) => count,
                    Err(error) => {
                        tracing::warn!(%error, "receiving failed");
                        break;
                    }
                };
                self.receiver.iter().for_each(|datagram| self.desk.datagram(&datagram));
                // Less than a batch: nothing waits, which another call would only confirm.
                if count < BATCH {
                    break;
                }
                self.more |= batch + 1 == BATCHES_A_ROUND;
            }
        }
    }
}

impl Desk {
    fn datagram(&mut self, datagram: &Received<'_>) {
        self.counters.received += 1;
        if datagram.truncated {
            self.counters.drop_truncated += 1;
            return;
        }
        let shared = &self.parts.shared;
        let now = shared.lm_clock().at(self.began);
        let (header, offset) = match self.doorman.admit(&shared.keys, now, datagram.bytes, datagram.from) {
            Ok(admitted) => admitted,
            Err(Refused::Header) => return self.counters.drop_header += 1,
            Err(Refused::Sender) => return self.counters.drop_sender += 1,
            Err(Refused::Stale) => return self.counters.drop_proxy_stale += 1,
        };
        let message = Bytes::copy_from_slice(&datagram.bytes[offset..]);
        let us = usize::from(self.parts.index);
        self.parts.in_hand.take(us, &message);
        self.input(Input::Datagram { header, message });
        self.parts.in_hand.put_down(us);
    }

    fn look_at_placement(&mut self) {
        let shared = self.parts.shared.clone();
        self.view.least_admitted = shared.least_admitted.load(Ordering::Relaxed);
        self.view.most_admitted = shared.most_admitted.load(Ordering::Relaxed);
        let placements = shared.placements.load();
        if !Arc::ptr_eq(&placements, &self.view.placements) {
            self.view.placements = placements.clone();
            self.input(Input::Placement);
        }
    }

    fn answers(&mut self) {
        self.parts.wakeable.clear();
        while let Ok(Answer { ask, outcome }) = self.parts.answers.try_recv() {
            self.asked -= 1;
            self.input(Input::Location { ask, outcome });
        }
        while let Ok(dns::Answered { ask, answer }) = self.parts.dns_answers.try_recv() {
            self.dns_asked -= 1;
            self.input(Input::Dns { ask, answer });
        }
        while let Ok(ask) = self.parts.traces.try_recv() {
            ask.answer(self.parts.core.node.trace());
        }
    }

    fn timers(&mut self) {
        let now = self.parts.clock.now();
        if self.parts.core.next_due().is_none_or(|due| due > now) {
            return;
        }
        let wall = self.parts.clock.wall();
        let Desk { parts, view, released, .. } = self;
        let ticked = catch_unwind(AssertUnwindSafe(|| parts.core.tick(now, wall, view, released)));
        if ticked.is_err() {
            self.counters.drop_panic += 1;
            tracing::error!("ALARM: a timer's work panicked; its call is left to its peers' retransmissions");
        }
        self.carry_out();
    }

    /// One input through the engine. A panic costs the message that was handled, not the worker.
    fn input(&mut self, input: Input) {
        let (now, wall) = (self.parts.clock.now(), self.parts.clock.wall());
        let Desk { parts, view, released, .. } = self;
        if let Err(panicked) = parts.core.contained(now, wall, view, input, released) {
            self.panicked(now, &panicked);
        }
        self.carry_out();
        while let Some(ask) = self.refused.pop() {
            self.input(Input::Location { ask, outcome: Err(LocationFailure::Full) });
        }
        while let Some(ask) = self.dns_refused.pop() {
            self.input(Input::Dns { ask, answer: DnsAnswer::Failed(DnsFailure::Full) });
        }
    }

    /// Carries effects out, in order.
    fn carry_out(&mut self) {
        let mut released = std::mem::take(&mut self.released);
        for effect in released.drain(..) {
            match effect {
                // They have gone to the shadows.
                Effect::Journal(_)
                | Effect::Inherited { .. }
                | Effect::Forgotten
                | Effect::Admit { .. }
                | Effect::Counts { .. }
                | Effect::CallOver { .. } => {}
                Effect::Send { listener, to, transport, bytes, .. } => {
                    let epoch = self.view.placements.current.epoch();
                    let way = Outwards { epoch, listener, to, transport, now: self.began };
                    self.parts.egress.push(&way, &bytes, &mut self.counters);
                    if self.parts.egress.is_full() {
                        self.flush();
                    }
                }
                Effect::Inside { to, over, header, message } => {
                    self.parts.egress.inside(self.began, (to, over), *header, &message, &mut self.counters);
                    if self.parts.egress.is_full() {
                        self.flush();
                    }
                }
                Effect::Location { ask, key, command } => {
                    let ask_out = Ask { worker: self.parts.index, ask, key, command };
                    match hand(self.asked < ASKS_A_WORKER, &self.parts.asks, ask_out) {
                        Handed::Over => self.asked += 1,
                        Handed::Full => {
                            self.counters.location_full += 1;
                            self.refused.push(ask);
                        }
                        Handed::Ends => {}
                    }
                }
                Effect::Dns { ask, question } => {
                    let question = dns::Asked { worker: self.parts.index, ask, question };
                    match hand(self.dns_asked < OPEN_QUESTIONS, &self.parts.questions, question) {
                        Handed::Over => self.dns_asked += 1,
                        Handed::Full => self.dns_refused.push(ask),
                        Handed::Ends => {}
                    }
                }
                Effect::Started { start, .. } => self.parts.cdrs.started(start),
                Effect::Missed(cdr) => self.parts.cdrs.missed(cdr),
                Effect::Cdr { call, cdr } => self.written.extend(self.parts.cdrs.write(call, cdr).err()),
            }
        }
        // Its room is used again.
        self.released = released;
    }

    fn flush(&mut self) {
        let Parts { egress, sockets, clock, .. } = &mut self.parts;
        egress.flush(|| clock.now(), sockets, &mut self.counters);
    }

    /// At the end of a round: the words for other nodes, behind the messages that waited for theirs.
    fn parcels(&mut self) {
        self.parts.cdrs.written(&mut self.written);
        while let Some(call) = self.written.pop() {
            self.input(Input::Written { call });
        }
        self.words();
    }

    fn words(&mut self) {
        let parcels = self.parts.core.parcels();
        if !parcels.is_empty() {
            self.parts.shadows.send(self.began, &parcels, &mut self.counters);
        }
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
