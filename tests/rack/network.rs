//! The simulated network: it delays, loses, doubles and reorders datagrams by one seed, and it can strike a chosen
//! datagram. Streams (the location push) are ordered and lossless, as TCP is, but they are delayed and they break.

use crate::chance::Chance;
use bytes::Bytes;
use common::ids::Plane;
use common::time::{Duration, Time};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// How datagrams fare. Applies to every datagram, heartbeats included.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// One-way delay, drawn between these.
    pub delay: (Duration, Duration),
    /// Probabilities, 0 to 1.
    pub loss: f64,
    pub duplication: f64,
    /// A reordered datagram waits up to 20 ms longer.
    pub reordering: f64,
    /// Of datagrams on the planes a bit is flipped, where a MAC or a tag stands over it: what UDP's checksum has not noticed.
    pub corruption: f64,
}

impl Conditions {
    /// Everything takes equally long, so that what is sent first arrives first: for ladders.
    pub const STRAIGHT: Conditions =
        Conditions { delay: (Duration::from_micros(250), Duration::from_micros(250)), ..Conditions::CLEAN };

    /// A LAN that loses: of a message with its way through the rack and the answer every sixth is lost.
    pub const LOSING: Conditions = Conditions { loss: 0.03, ..Conditions::CLEAN };
    /// Every third datagram arrives twice.
    pub const DOUBLING: Conditions = Conditions { duplication: 0.3, ..Conditions::CLEAN };
    /// Every third datagram is late by up to 20 ms, which is far more than the way takes.
    pub const REORDERING: Conditions = Conditions { reordering: 0.3, ..Conditions::CLEAN };

    /// A quiet LAN.
    pub const CLEAN: Conditions = Conditions {
        delay: (Duration::from_micros(200), Duration::from_micros(400)),
        loss: 0.0,
        duplication: 0.0,
        reordering: 0.0,
        corruption: 0.0,
    };
}

/// Strikes the n-th SIP datagram of the run, counted from 0 over everything that carries SIP, outside and inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    Lose(u64),
    Double(u64),
}

/// Datagrams from here to there vanish; none = from or to anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub from: Option<IpAddr>,
    pub to: Option<IpAddr>,
    /// Only what is for this port.
    pub port: Option<u16>,
}

/// What has cut: it is mended with all of its cuts, and no other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// This node is cut off.
    Node(usize),
    /// This switch is dead.
    Plane(Plane),
    /// These two nodes do not reach each other.
    Parted(usize, usize),
    /// Between the load manager and this node, one way over one plane.
    Way(usize, Plane),
    /// Heartbeats of this node, or beacons for it.
    Control(usize),
}

impl Cut {
    fn severs(&self, datagram: &Datagram) -> bool {
        let is = |wanted: Option<IpAddr>, address: SocketAddr| wanted.is_none_or(|ip| ip == address.ip());
        let port = self.port.is_none_or(|port| port == datagram.to.port());
        port && is(self.from, datagram.from) && is(self.to, datagram.to)
    }
}

#[derive(Clone, Debug)]
pub struct Datagram {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub bytes: Bytes,
}

/// What is under way, in the order of arrival.
pub struct Network {
    conditions: Conditions,
    strike: Option<Strike>,
    sip_datagrams: u64,
    under_way: BTreeMap<(Time, u64), Datagram>,
    sequence: u64,
    /// What vanishes on its way.
    cuts: Vec<(Cause, Cut)>,
    /// When SIP was lost.
    losses: Vec<Time>,
    /// Hosts' addresses on a plane that loses, and how much.
    lossy: (Vec<IpAddr>, f64),
}

impl Network {
    pub fn new(conditions: Conditions) -> Network {
        Network {
            conditions,
            strike: None,
            sip_datagrams: 0,
            under_way: BTreeMap::new(),
            sequence: 0,
            cuts: Vec::new(),
            losses: Vec::new(),
            lossy: (Vec::new(), 0.0),
        }
    }

    pub fn set_conditions(&mut self, conditions: Conditions) {
        self.conditions = conditions;
    }

    /// Strikes are counted from now on.
    pub fn set_strike(&mut self, strike: Strike) {
        self.sip_datagrams = 0;
        self.strike = Some(strike);
    }

    /// How many datagrams with SIP were sent since the strike was set (or since the start).
    pub fn sip_datagrams(&self) -> u64 {
        self.sip_datagrams
    }

    /// How many datagrams with SIP were lost between these moments, inside and outside.
    pub fn losses(&self, from: Time, to: Time) -> usize {
        self.losses.iter().filter(|at| (from..=to).contains(*at)).count()
    }

    /// Of what these addresses send so much is lost, beside what all lose.
    pub fn set_lossy(&mut self, addresses: Vec<IpAddr>, loss: f64) {
        self.lossy = (addresses, loss);
    }

    /// As it would arrive where a bit was flipped on the way.
    pub fn spoil(&self, chance: &mut Chance, mut datagram: Datagram) -> Datagram {
        if !chance.happens(self.conditions.corruption) {
            return datagram;
        }
        let mut bytes = datagram.bytes.to_vec();
        // Of a message behind a PROXY header only that is under a MAC.
        let header = match bytes.get(..16) {
            Some([13, 10, 13, 10, 0, 13, 10, b'Q', .., high, low]) => {
                16 + usize::from(u16::from_be_bytes([*high, *low]))
            }
            _ => bytes.len(),
        };
        let bit = chance.between(0, header.min(bytes.len()) as u64 * 8 - 1) as usize;
        bytes[bit / 8] ^= 1 << (bit % 8);
        datagram.bytes = bytes.into();
        datagram
    }

    pub fn cut(&mut self, cause: Cause, cuts: impl IntoIterator<Item = Cut>) {
        self.cuts.extend(cuts.into_iter().map(|cut| (cause, cut)));
    }

    pub fn mend(&mut self, cause: Cause) {
        self.cuts.retain(|(of, _)| *of != cause);
    }

    /// Whether this host is on no wire: all that it sends vanishes, or all that is sent to it.
    pub fn is_cut_off(&self, host: IpAddr) -> bool {
        let ends = |(_, cut): &(Cause, Cut)| [(cut.from, cut.to), (cut.to, cut.from)];
        self.cuts.iter().filter(|(_, cut)| cut.port.is_none()).flat_map(ends).any(|ends| ends == (Some(host), None))
    }

    /// Sends one datagram. `carries_sip` tells heartbeats from SIP, for strikes. False if it was lost at once.
    pub fn send(&mut self, now: Time, chance: &mut Chance, datagram: Datagram, carries_sip: bool) -> bool {
        let mut copies = if chance.happens(self.conditions.loss) { 0 } else { 1 };
        if copies == 1 && chance.happens(self.conditions.duplication) {
            copies = 2;
        }
        if carries_sip {
            match self.strike {
                Some(Strike::Lose(n)) if n == self.sip_datagrams => copies = 0,
                Some(Strike::Double(n)) if n == self.sip_datagrams => copies = 2,
                _ => {}
            }
            self.sip_datagrams += 1;
        }
        if self.lossy.1 > 0.0 && self.lossy.0.contains(&datagram.from.ip()) && chance.happens(self.lossy.1) {
            copies = 0;
        }
        if self.cuts.iter().any(|(_, cut)| cut.severs(&datagram)) {
            copies = 0;
        }
        if copies == 0 && carries_sip {
            self.losses.push(now);
        }
        for _ in 0..copies {
            let (low, high) = self.conditions.delay;
            let mut delay = chance.between(low.as_micros() as u64, high.as_micros() as u64);
            if chance.happens(self.conditions.reordering) {
                delay += chance.between(0, 20_000);
            }
            self.sequence += 1;
            self.under_way.insert((now + Duration::from_micros(delay), self.sequence), datagram.clone());
        }
        copies > 0
    }

    pub fn next_arrival(&self) -> Option<Time> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next datagram that has arrived by `now`.
    pub fn arrive(&mut self, now: Time) -> Option<Datagram> {
        if self.next_arrival()? > now {
            return None;
        }
        self.under_way.pop_first().map(|(_, datagram)| datagram)
    }
}

/// Frames of one direction of a stream: ordered, lossless, delayed.
pub struct Pipe<T> {
    delay: Duration,
    frames: std::collections::VecDeque<(Time, T)>,
}

impl<T> Pipe<T> {
    pub fn new(delay: Duration) -> Pipe<T> {
        Pipe { delay, frames: std::collections::VecDeque::new() }
    }

    pub fn send(&mut self, now: Time, frame: T) {
        self.frames.push_back((now + self.delay, frame));
    }

    pub fn next_arrival(&self) -> Option<Time> {
        self.frames.front().map(|(at, _)| *at)
    }

    pub fn arrive(&mut self, now: Time) -> Option<T> {
        if self.next_arrival()? > now {
            return None;
        }
        self.frames.pop_front().map(|(_, frame)| frame)
    }

    /// The connection broke: what was under way is gone.
    pub fn reset(&mut self) {
        self.frames.clear();
    }
}
