//! Load for the relay: datagrams of an INVITE's size to it, and back from it to a socket of ours.

use common::io::poll;
use common::io::udp::{self, BATCH, Receiver, SendBatch};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Octets of a phone's INVITE.
const SIZE: usize = 845;
/// What is not back by then is lost.
const PATIENCE: Duration = Duration::from_secs(2);

pub struct Echoed {
    pub came: u64,
    pub lost: u64,
    pub took: Duration,
}

/// `count` datagrams through `target`, which sends them on to `to`: `window` at a time, or at a `rate`.
pub fn run(target: SocketAddr, to: SocketAddr, count: u64, window: u64, rate: Option<f64>) -> std::io::Result<Echoed> {
    let (out, back) = (UdpSocket::bind(SocketAddr::new(target.ip(), 0))?, udp::bind(to, false)?);
    let (mut receiver, mut batch, mut ready) = (Receiver::with_size(2048), SendBatch::new(), Vec::new());
    let payload = [b'x'; SIZE];
    let (began, mut heard) = (Instant::now(), Instant::now());
    let (mut sent, mut came) = (0, 0);
    while came < count && heard.elapsed() < PATIENCE {
        let admitted = rate.map_or(count, |rate| (began.elapsed().as_secs_f64() * rate) as u64).min(count);
        let room = if rate.is_some() { u64::MAX } else { window - (sent - came) };
        for _ in 0..admitted.saturating_sub(sent).min(room).min(BATCH as u64) {
            batch.push(target, &[], &payload);
            sent += 1;
        }
        batch.flush(&out);
        let more = rate.is_none() && sent - came < window && sent < count;
        let wait = if more { Duration::ZERO } else { Duration::from_millis(1) };
        poll::readable(&[back.as_fd()], wait, &mut ready)?;
        let mut got = if ready[0] { BATCH } else { 0 };
        while got == BATCH {
            got = receiver.recv(&back)?;
            came += got as u64;
            if got > 0 {
                heard = Instant::now();
            }
        }
    }
    Ok(Echoed { came, lost: sent - came, took: began.elapsed() })
}
