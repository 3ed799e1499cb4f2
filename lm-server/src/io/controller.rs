//! The thread of the control sockets: feeds `membership::Core` and carries out its effects in their order.

use super::shared::Shared;
use crate::membership::{Core, Effect, Event, Input};
use common::ids::Plane;
use common::io::clock::Clock;
use common::io::poll::{Wakeable, readable};
use common::io::udp::{Receiver, SendBatch};
use common::keys::Generations;
use common::time::{Duration, Time};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How old the shown status may be.
const STATUS_AGE: Duration = Duration::from_millis(100);
/// Batches that are thrown away after a sleep; a flood must not keep the controller at it for ever.
const DISCARDED: usize = 256;

pub struct Controller {
    core: Core,
    clock: Clock,
    sockets: Vec<(Plane, UdpSocket)>,
    /// One for each of `sockets`.
    batches: Vec<SendBatch>,
    /// Where the agent is told of beacons, and how many it has been told of.
    agent: Option<UnixDatagram>,
    told_beacons: u64,
    receiver: Receiver,
    shared: Arc<Shared>,
    wakeable: Wakeable,
    effects: Vec<Effect>,
    shown: Time,
    told_keys: Generations,
}

impl Controller {
    pub fn new(
        core: Core,
        clock: Clock,
        sockets: Vec<(Plane, UdpSocket)>,
        agent: Option<UnixDatagram>,
        shared: Arc<Shared>,
        wakeable: Wakeable,
    ) -> Controller {
        Controller {
            core,
            clock,
            batches: sockets.iter().map(|_| SendBatch::new()).collect(),
            sockets,
            agent,
            told_beacons: 0,
            receiver: Receiver::new(),
            told_keys: **shared.wanted_keys.load(),
            shared,
            wakeable,
            effects: Vec::new(),
            shown: Time(0),
        }
    }

    /// Until the process ends.
    pub fn run(&mut self) {
        let mut ready = Vec::new();
        while !self.shared.is_ending() {
            let now = self.clock.now();
            if self.core.next_due().is_some_and(|due| now >= due) {
                self.core.tick(now, &mut self.effects);
                self.carry_out();
            }
            self.turn_keys();
            self.show(now);
            let patience = self.core.next_due().map_or(STATUS_AGE, |due| due.since(self.clock.now()).min(STATUS_AGE));
            let fds: Vec<_> = self.sockets.iter().map(|(_, s)| s.as_fd()).chain([self.wakeable.as_fd()]).collect();
            if let Err(error) = readable(&fds, patience, &mut ready) {
                tracing::error!(%error, "the controller cannot wait for its sockets");
                return;
            }
            for at in 0..self.sockets.len() {
                // A deadline comes before what waits: after a sleep, what waits is old.
                let now = self.clock.now();
                let due = self.core.next_due().is_some_and(|due| now >= due);
                if ready.get(at).copied().unwrap_or(false) && !due {
                    self.receive(at);
                }
            }
        }
    }

    /// If the operator wants other keys than were told to the core last.
    fn turn_keys(&mut self) {
        let wanted = **self.shared.wanted_keys.load();
        if wanted != self.told_keys {
            self.told_keys = wanted;
            self.core.handle(self.clock.now(), Input::Keys(&wanted), &mut self.effects);
            self.carry_out();
        }
    }

    /// One batch of one socket.
    fn receive(&mut self, at: usize) {
        if let Err(error) = self.receiver.recv(&self.sockets[at].1) {
            tracing::warn!(%error, "receiving on the control port failed");
            return;
        }
        for datagram in self.receiver.iter().filter(|d| !d.truncated) {
            let input = Input::Datagram { from: datagram.from, bytes: datagram.bytes };
            self.core.handle(self.clock.now(), input, &mut self.effects);
            if self.effects.iter().any(|e| matches!(e, Effect::DiscardQueued)) {
                break;
            }
        }
        self.carry_out();
    }

    fn carry_out(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::DiscardQueued => self.discard_queued(),
                Effect::Publish(table) => {
                    self.shared.table.store(Some(table));
                    self.shown = Time(0);
                }
                Effect::Send { plane, to, bytes } => {
                    if let Some(at) = self.sockets.iter().position(|(p, _)| *p == plane) {
                        self.batches[at].push(to, &bytes, &[]);
                    }
                }
                Effect::Happened(event) => say(&event),
            }
        }
        for ((_, socket), batch) in self.sockets.iter().zip(&mut self.batches) {
            if !batch.is_empty() {
                // A node that is not there yet is no failure worth a line; its silence is seen anyway.
                batch.flush(socket);
            }
        }
        self.effects = effects;
        self.tell_the_agent();
    }

    /// One octet, if beacons have left. From the first table on: a start may have to compute many placements, and who has
    /// told of no beacon yet is not missed.
    fn tell_the_agent(&mut self) {
        let made = self.core.beacons();
        if made == self.told_beacons || self.shared.table.load().is_none() {
            return;
        }
        self.told_beacons = made;
        if let Some(agent) = &self.agent {
            // Full: an agent that does not run misses nothing. Gone: this process goes with it.
            let _ = agent.send(&[0]);
        }
    }

    fn discard_queued(&mut self) {
        for (_, socket) in &self.sockets {
            for _ in 0..DISCARDED {
                if !matches!(self.receiver.recv(socket), Ok(count) if count > 0) {
                    break;
                }
            }
        }
    }

    fn show(&mut self, now: Time) {
        if now.since(self.shown) >= STATUS_AGE && !self.shared.ending.load(Ordering::Relaxed) {
            self.shared.status.store(Arc::new(self.core.status(now)));
            self.shown = now;
        }
    }
}

fn say(event: &Event) {
    match event {
        Event::Learned { from: Some(epoch) } => tracing::info!(%epoch, "took the placement over from the nodes"),
        Event::Learned { from: None } => tracing::info!("no node names an epoch: a cold start"),
        Event::Slept { late } => tracing::warn!(?late, "this process did not run for a while; asking the nodes anew"),
        Event::Deaf => tracing::error!(
            "ALARM: no node is heard: this load manager is cut off its planes, or all nodes are gone; none is held dead until one is heard"
        ),
        Event::Entered { node, boot, epoch } => tracing::info!(%node, %boot, %epoch, "a node is in the placement"),
        Event::Left { node, boot, epoch, why } => {
            tracing::warn!(%node, %boot, %epoch, why = why.label(), "a node is out of the placement");
        }
        Event::Draining { node, draining, epoch } => tracing::info!(%node, draining, %epoch, "a node's draining"),
        Event::Turned { what, to, epoch } => {
            tracing::info!(key = what.label(), newest = to.newest, oldest = to.oldest, %epoch, "a key has turned");
        }
        Event::HeldDown { node, .. } => tracing::warn!(%node, "a node went down too often and is held down"),
        Event::PlaneChanged { node, plane } => tracing::warn!(%node, ?plane, "a node is now reached over this plane"),
        Event::InputsDiffer { node, epoch } => {
            tracing::error!(%node, %epoch, "a node stands under other inputs of the same epoch");
        }
        // Anybody can cause these; the counter is enough unless somebody looks closer.
        Event::Refused { from, why } => tracing::debug!(%from, why = why.label(), "refused on the control port"),
    }
}
