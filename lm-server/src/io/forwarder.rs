//! One worker of the packet path: polls its sockets, takes a batch, asks `forward` about each datagram, sends a batch.

use super::counters::{Counters, Way};
use super::shared::Shared;
use super::sockets::WorkerSockets;
use crate::forward::{DropReason, Gate, Scratch, Verdict, egress, ingress, too_large, unavailable};
use crate::table::Table;
use common::ids::{ListenerId, Plane};
use common::io::clock::Clock;
use common::io::inside::InsideBatch;
use common::io::poll::{Wakeable, readable};
use common::io::udp::{DATAGRAM, Flushed, Received, Receiver, SendBatch};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// Buffers lie this far apart: room for any datagram, and 17 cache lines more than a power of two, so that the
/// beginnings of a batch's buffers do not all fall into the same few cache sets.
const BUFFER: usize = DATAGRAM + 1 + 17 * 64;
/// Between two looks at whether the first table is there, should the wake-up be missed.
const PATIENCE: Duration = Duration::from_millis(20);
/// Nothing depends on this wake-up.
const IDLE: Duration = Duration::from_secs(1);

pub struct Forwarder {
    worker: WorkerSockets,
    wakeable: Wakeable,
    shared: Arc<Shared>,
    path: Path,
}

/// What a datagram passes through; apart from the sockets, so that both can be borrowed.
struct Path {
    gate: Arc<Gate>,
    clock: Clock,
    counters: Arc<Counters>,
    receiver: Receiver,
    scratch: Scratch,
    /// Towards the nodes, by plane.
    inwards: [InsideBatch; 2],
    /// From the listeners, by `ListenerId`.
    outwards: Vec<SendBatch>,
}

impl Forwarder {
    pub fn new(
        gate: Arc<Gate>,
        worker: WorkerSockets,
        shared: Arc<Shared>,
        counters: Arc<Counters>,
        wakeable: Wakeable,
    ) -> Forwarder {
        let path = Path {
            gate,
            clock: Clock::new(),
            counters,
            receiver: Receiver::with_size(BUFFER),
            scratch: Scratch::default(),
            inwards: [InsideBatch::new(), InsideBatch::new()],
            outwards: worker.vip.iter().map(|_| SendBatch::new()).collect(),
        };
        Forwarder { worker, wakeable, shared, path }
    }

    /// Until the process ends.
    pub fn run(&mut self) {
        let mut ready = Vec::new();
        while self.shared.table.load().is_none() && !self.shared.is_ending() {
            if let Err(error) = readable(&[self.wakeable.as_fd()], PATIENCE, &mut ready) {
                tracing::error!(%error, "the forwarder cannot wait");
                return;
            }
            self.wakeable.clear();
        }
        let WorkerSockets { vip, egress } = &self.worker;
        let sockets = vip.iter().map(|(_, s)| s.as_fd()).chain(egress.iter().map(|(_, s)| s.as_fd()));
        let fds: Vec<_> = sockets.chain([self.wakeable.as_fd()]).collect();
        while !self.shared.is_ending() {
            if let Err(error) = readable(&fds, IDLE, &mut ready) {
                tracing::error!(%error, "the forwarder cannot wait for its sockets");
                return;
            }
            let guard = self.shared.table.load();
            let Some(table) = guard.as_deref() else { continue };
            // From the nodes first: it is further on its way.
            for ((_, socket), _) in egress.iter().zip(&ready[vip.len()..]).filter(|(_, ready)| **ready) {
                self.path.batch_from_nodes(table, socket, vip);
            }
            for ((listener, socket), _) in vip.iter().zip(&ready).filter(|(_, ready)| **ready) {
                self.path.batch_from_outside(table, *listener, socket, egress);
            }
        }
    }
}

impl Path {
    /// One batch that waits at a listener.
    fn batch_from_outside(
        &mut self,
        table: &Table,
        listener: ListenerId,
        socket: &UdpSocket,
        egress: &[(Plane, UdpSocket)],
    ) {
        if !receive(&mut self.receiver, socket) {
            return;
        }
        let (replies, now) = (usize::from(listener.0), self.clock.now());
        for Received { bytes, from, truncated } in self.receiver.iter() {
            if truncated {
                self.counters.dropped(DropReason::TooLong, 1);
                continue;
            }
            match ingress(&self.gate, table, now, bytes, from, listener, &mut self.scratch) {
                Verdict::ToNode { plane, to, start, .. } => {
                    let call_id = self.scratch.call_id(bytes);
                    self.inwards[plane as usize].push(to, self.scratch.written(), call_id, bytes);
                    self.counters.message(Way::In, start);
                }
                Verdict::Reply => {
                    self.outwards[replies].push(from, self.scratch.written(), &[]);
                    self.counters.stun.add(1);
                }
                Verdict::KeepAlive => self.counters.keep_alives.add(1),
                Verdict::Drop(why) => self.counters.dropped(why, 1),
                Verdict::TooLarge(why) => match too_large(&self.gate, bytes, from) {
                    Some(answer) => {
                        self.outwards[replies].push(from, &answer, &[]);
                        self.counters.too_large.add(1);
                    }
                    None => self.counters.dropped(why, 1),
                },
                verdict @ (Verdict::Unavailable | Verdict::Full) => match unavailable(&self.gate, bytes, from) {
                    Some(answer) => {
                        self.outwards[replies].push(from, &answer, &[]);
                        let full = verdict == Verdict::Full;
                        if full { &self.counters.full } else { &self.counters.no_node }.add(1);
                    }
                    None => self.counters.dropped(DropReason::NoNode, 1),
                },
            }
        }
        for (plane, out) in egress {
            let batch = &mut self.inwards[*plane as usize];
            if !batch.is_empty() {
                account(batch.flush(out, &self.gate.keys.plane), &self.counters);
            }
        }
        flush(&mut self.outwards[replies], socket, &self.counters);
    }

    /// One batch that nodes want to send.
    fn batch_from_nodes(&mut self, table: &Table, socket: &UdpSocket, vip: &[(ListenerId, UdpSocket)]) {
        if !receive(&mut self.receiver, socket) {
            return;
        }
        let now = self.clock.now();
        for Received { bytes, .. } in self.receiver.iter() {
            match egress(&self.gate, table, now, bytes) {
                Ok(out) => {
                    let listener = usize::from(out.listener.0);
                    let batch = &mut self.outwards[listener];
                    batch.push(out.to, out.message, &[]);
                    // One receive can bring far more than a batch.
                    if batch.is_full() {
                        flush(batch, &vip[listener].1, &self.counters);
                    }
                    self.counters.message(Way::Out, out.start);
                }
                Err(why) => self.counters.dropped(why, 1),
            }
        }
        for ((_, socket), batch) in vip.iter().zip(&mut self.outwards) {
            flush(batch, socket, &self.counters);
        }
    }
}

fn receive(receiver: &mut Receiver, socket: &UdpSocket) -> bool {
    match receiver.recv(socket) {
        Ok(count) => count > 0,
        Err(error) => {
            // The next poll tells whether it passes; a dead socket would be told here again and again.
            tracing::warn!(%error, "receiving failed");
            false
        }
    }
}

fn flush(batch: &mut SendBatch, socket: &UdpSocket, counters: &Counters) {
    if batch.is_empty() {
        return;
    }
    account(batch.flush(socket), counters);
}

fn account(flushed: Flushed, counters: &Counters) {
    if flushed.failed > 0 {
        counters.dropped(DropReason::SendFailed, flushed.failed);
    }
}
