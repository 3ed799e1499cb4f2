//! A worker's port for what nodes tell each other of their calls, on each plane. Read before anything else in each round:
//! a message elsewhere waits for what is acknowledged here.

use super::shared::{IoCounters, Shared};
use crate::core::Core;
use crate::effect::Effect;
use crate::shadow::courier::{Courier, Refused};
use crate::shadow::words::{Parcel, Post};
use common::ids::Plane;
use common::io::start::StartError;
use common::io::udp::{self, BATCH, Receiver, SendBatch};
use common::time::Time;
use common::wire::proxy::Sent;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// Batches that are taken from one socket in a round.
const BATCHES_A_ROUND: usize = 8;

pub struct ShadowPort {
    shared: Arc<Shared>,
    courier: Courier,
    sockets: Vec<(Plane, UdpSocket)>,
    batches: [SendBatch; 2],
}

impl ShadowPort {
    /// # Errors
    /// An address that this host does not have, or that is taken.
    pub fn open(shared: &Arc<Shared>, worker: u16) -> Result<ShadowPort, StartError> {
        let config = &shared.config;
        let open = |(plane, ip)| {
            let address = SocketAddr::new(ip, config.shadow_port.saturating_add(worker));
            let what = || format!("shadow port of worker {worker}");
            udp::bind(address, false).map(|socket| (plane, socket)).map_err(|e| StartError::socket(what(), address, e))
        };
        let us = Post { node: shared.id, boot: shared.boot, worker };
        let sockets = config.planes.iter().map(open).collect::<Result<_, _>>()?;
        let batches = [SendBatch::new(), SendBatch::new()];
        Ok(ShadowPort { shared: shared.clone(), courier: Courier::new(us, &shared.rack), sockets, batches })
    }

    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(|(_, socket)| socket.as_fd())
    }

    pub fn count(&self) -> usize {
        self.sockets.len()
    }

    /// Takes in what the socket at this place holds.
    pub fn hear(
        &mut self,
        at: usize,
        now: Time,
        receiver: &mut Receiver,
        core: &mut Core,
        out: &mut Vec<Effect>,
        counters: &mut IoCounters,
    ) {
        let ShadowPort { shared, courier, sockets, .. } = self;
        let Some((plane, socket)) = sockets.get(at) else { return };
        let lm_now = shared.lm_clock().at(now);
        for _ in 0..BATCHES_A_ROUND {
            let Ok(count @ 1..) = receiver.recv(socket) else { return };
            for datagram in receiver.iter() {
                counters.shadows_received += 1;
                match courier.open(&shared.keys, lm_now, (*plane, datagram.from), datagram.bytes) {
                    Ok((from, plain)) if core.packet(now, from, &plain, out).is_ok() => {}
                    Ok(_) | Err(Refused::Packet(_) | Refused::Sender) => counters.drop_shadow += 1,
                    Err(Refused::Stale) => counters.drop_shadow_stale += 1,
                }
            }
            if count < BATCH {
                return;
            }
        }
    }

    pub fn send(&mut self, now: Time, parcels: &[Parcel], counters: &mut IoCounters) {
        let ShadowPort { shared, courier, sockets, batches } = self;
        let sent = Sent::at(shared.lm_clock().at(now));
        for parcel in parcels {
            courier.pack(&shared.keys, sent, parcel, |plane, to, octets| {
                let batch = &mut batches[plane as usize];
                batch.push(to, &[], octets);
                if batch.is_full() {
                    flush(plane, batch, sockets, counters);
                }
            });
        }
        for (plane, batch) in [Plane::A, Plane::B].into_iter().zip(batches) {
            flush(plane, batch, sockets, counters);
        }
    }
}

fn flush(plane: Plane, batch: &mut SendBatch, sockets: &[(Plane, UdpSocket)], counters: &mut IoCounters) {
    let Some((_, socket)) = sockets.iter().find(|(of, _)| *of == plane).filter(|_| !batch.is_empty()) else { return };
    let flushed = batch.flush(socket);
    counters.shadows_sent += flushed.sent as u64;
    counters.drop_send_failed += flushed.failed as u64;
}
