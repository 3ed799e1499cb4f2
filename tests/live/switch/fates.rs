//! What becomes of a frame: a learning switch that loses, doubles, holds back, delays and corrupts by a seed, and cuts
//! hosts off. Frames and time come in, frames for ports come out; the same seed gives the same fates.

use super::Became;
use crate::wire::{behind_proxy_header, datagram};
use common::time::{Duration, Time};
use simulated_rack::chance::Chance;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Where a host is plugged in.
pub type Port = usize;
type Mac = [u8; 6];
/// When it leaves, the how manieth it came, to which port, the frame: the earliest is the largest.
type Waiting = Reverse<(Time, u64, Port, Vec<u8>)>;

/// Source and destination stand in the first twelve octets.
const MACS: usize = 12;
/// Flips leave the addresses of the frame alone, so that a flip costs the frame that it hits and no table.
const HEAD: usize = 14;
const UDP_HEAD: usize = 8;
const UDP_CHECKSUM: usize = 6;
/// Who is held back for the next frame does not wait longer for one.
const HELD_AT_MOST: Duration = Duration::from_millis(5);
/// Of a delayed frame, in µs.
const DELAYED: (u64, u64) = (5_000, 20_000);

/// Which share of the frames meets with what (0 to 1).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    pub loss: f64,
    pub duplicate: f64,
    /// Goes after the next frame to the same port.
    pub reorder: f64,
    /// Comes 5 to 20 ms later than it would.
    pub delay: f64,
    /// One bit behind the Ethernet header is flipped.
    pub corrupt: f64,
    /// One bit of a datagram's payload is flipped, and the datagram says that it has no checksum: whoever reads it must notice by
    /// itself. SIP messages are left alone: they have a MAC over the little that the rack adds to them.
    pub unnoticed: f64,
    /// What every frame takes: the way is long, and the order stays.
    pub latency: Duration,
}

/// What of a host's traffic is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Both,
    /// Nothing comes to it.
    Inward,
    /// Nothing comes from it.
    Outward,
    /// No datagram for this UDP port comes to it.
    InwardTo(u16),
    /// No datagram for this UDP port comes from it.
    OutwardTo(u16),
}

impl Cut {
    fn keeps_in(self, frame: &[u8]) -> bool {
        match self {
            Cut::Both | Cut::Outward => true,
            Cut::OutwardTo(port) => is_for(port, frame),
            Cut::Inward | Cut::InwardTo(_) => false,
        }
    }

    fn keeps_out(self, frame: &[u8]) -> bool {
        match self {
            Cut::Both | Cut::Inward => true,
            Cut::InwardTo(port) => is_for(port, frame),
            Cut::Outward | Cut::OutwardTo(_) => false,
        }
    }
}

fn is_for(port: u16, frame: &[u8]) -> bool {
    datagram(frame).is_some_and(|datagram| datagram.to.port() == port)
}

/// What has become of the frames so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub seen: u64,
    pub lost: u64,
    pub doubled: u64,
    pub held_back: u64,
    pub delayed: u64,
    pub flipped: u64,
    pub unnoticed: u64,
    pub cut: u64,
}

pub struct Fates {
    chance: Chance,
    faults: Faults,
    ports: usize,
    cut: BTreeMap<Port, Cut>,
    table: BTreeMap<Mac, Port>,
    /// What leaves when: by moment and then in the order of its coming.
    waiting: BinaryHeap<Waiting>,
    /// By port: what lets the next frame pass, and until when it waits for one.
    held: BTreeMap<Port, (Time, Vec<u8>)>,
    coming: u64,
    counts: Counts,
}

impl Fates {
    pub fn new(seed: u64, faults: Faults) -> Fates {
        Fates {
            chance: Chance::new(seed),
            faults,
            ports: 0,
            cut: BTreeMap::new(),
            table: BTreeMap::new(),
            waiting: BinaryHeap::new(),
            held: BTreeMap::new(),
            coming: 0,
            counts: Counts::default(),
        }
    }

    pub fn plug(&mut self) -> Port {
        self.ports += 1;
        self.ports - 1
    }

    pub fn set(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Cuts a host off; none: it is whole again.
    pub fn cut(&mut self, port: Port, how: Option<Cut>) {
        match how {
            Some(how) => self.cut.insert(port, how),
            None => self.cut.remove(&port),
        };
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// A frame comes in: what leaves at once.
    pub fn receive(&mut self, now: Time, from: Port, frame: &[u8], out: &mut Vec<(Port, Vec<u8>)>) -> Became {
        if frame.len() < HEAD {
            return Became::Passed;
        }
        let mac = |at: usize| -> Mac { std::array::from_fn(|i| frame[at + i]) };
        let (to, source) = (mac(0), mac(MACS / 2));
        self.counts.seen += 1;
        if self.cut.get(&from).is_some_and(|cut| cut.keeps_in(frame)) {
            self.counts.cut += 1;
            return Became::Passed;
        }
        self.table.insert(source, from);
        if self.chance.happens(self.faults.loss) {
            self.counts.lost += 1;
            return Became::Lost;
        }
        let mut frame = frame.to_vec();
        if self.chance.happens(self.faults.corrupt) && frame.len() > HEAD {
            let bit = self.chance.between(8 * HEAD as u64, 8 * frame.len() as u64 - 1);
            frame[bit as usize / 8] ^= 1 << (bit % 8);
            self.counts.flipped += 1;
        }
        if self.chance.happens(self.faults.unnoticed) && self.flip_unnoticed(&mut frame) {
            self.counts.unnoticed += 1;
        }
        let is_group = to[0] & 1 == 1;
        let ports: Vec<Port> = match self.table.get(&to) {
            Some(port) if !is_group => vec![*port],
            _ => (0..self.ports).collect(),
        };
        let twice = self.chance.happens(self.faults.duplicate);
        self.counts.doubled += u64::from(twice);
        for _ in 0..=u64::from(twice) {
            // Each copy has a fate of its own.
            let is_held = self.chance.happens(self.faults.reorder);
            let is_late = !is_held && self.chance.happens(self.faults.delay);
            let late = if is_late { self.chance.between(DELAYED.0, DELAYED.1) } else { 0 };
            self.counts.held_back += u64::from(is_held);
            self.counts.delayed += u64::from(is_late);
            for port in ports.iter().copied().filter(|port| *port != from) {
                self.copy_to(now, port, is_held, Duration::from_micros(late), frame.clone(), out);
            }
        }
        Became::Passed
    }

    /// False if there is nothing in it that this is meant for.
    fn flip_unnoticed(&mut self, frame: &mut [u8]) -> bool {
        let Some(read) = datagram(frame).filter(|d| !d.payload.is_empty() && behind_proxy_header(d.payload).is_none())
        else {
            return false;
        };
        let octets = read.payload.len();
        // Ethernet may have padded it.
        let ip = HEAD + usize::from(frame[HEAD] & 0x0F) * 4;
        let begin = ip + UDP_HEAD;
        let bit = self.chance.between(8 * begin as u64, 8 * (begin + octets) as u64 - 1);
        frame[bit as usize / 8] ^= 1 << (bit % 8);
        frame[ip + UDP_CHECKSUM..begin].fill(0);
        true
    }

    fn copy_to(
        &mut self,
        now: Time,
        port: Port,
        is_held: bool,
        late: Duration,
        frame: Vec<u8>,
        out: &mut Vec<(Port, Vec<u8>)>,
    ) {
        let due = now + self.faults.latency + late;
        if is_held && !self.held.contains_key(&port) {
            self.held.insert(port, (due + HELD_AT_MOST, frame));
            return;
        }
        if due > now {
            self.coming += 1;
            self.waiting.push(Reverse((due, self.coming, port, frame)));
            return;
        }
        self.leave(port, frame, out);
    }

    /// A frame leaves, and behind it the one that let it pass.
    fn leave(&mut self, port: Port, frame: Vec<u8>, out: &mut Vec<(Port, Vec<u8>)>) {
        let held = self.held.remove(&port).map(|(_, held)| held);
        for frame in [Some(frame), held].into_iter().flatten() {
            if self.cut.get(&port).is_some_and(|cut| cut.keeps_out(&frame)) {
                self.counts.cut += 1;
            } else {
                out.push((port, frame));
            }
        }
    }

    /// What has waited until now.
    pub fn due(&mut self, now: Time, out: &mut Vec<(Port, Vec<u8>)>) {
        while self.waiting.peek().is_some_and(|Reverse((due, ..))| *due <= now) {
            let Some(Reverse((_, _, port, frame))) = self.waiting.pop() else { return };
            self.leave(port, frame, out);
        }
        let over: Vec<Port> = self.held.iter().filter(|(_, (due, _))| *due <= now).map(|(port, _)| *port).collect();
        for port in over {
            if let Some((_, frame)) = self.held.remove(&port) {
                self.leave(port, frame, out);
            }
        }
    }

    pub fn next_due(&self) -> Option<Time> {
        let waiting = self.waiting.peek().map(|Reverse((due, ..))| *due);
        waiting.into_iter().chain(self.held.values().map(|(due, _)| *due)).min()
    }
}

#[cfg(test)]
#[path = "fates_tests.rs"]
mod tests;
