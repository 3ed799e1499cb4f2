//! The beacons: one a period to every node on every plane, several at once on a change. Says what it is told of the
//! placement, echoes the heartbeats that counted, and keeps the nonces by which the answers are judged. `Core` owns it.

use super::Effect;
use super::nonces::Nonces;
use super::servers::{Server, ServerTable};
use bytes::Bytes;
use common::ids::{BootId, Plane};
use common::keys::Keys;
use common::placement::Placement;
use common::placement::recent::Former;
use common::time::{Duration, Time};
use common::wire::beacon::{Beacon, Echo};
use common::wire::frame::{self, Message};
use std::sync::Arc;

/// On a change each node gets the beacon this many times at once.
const COPIES: u32 = 3;
/// A node of which nothing was heard for so long is polled by every tenth beacon only.
const LONG_DEAD: Duration = Duration::from_secs(5);
const SLOW_POLL: u64 = 10;

pub struct Beacons {
    boot: BootId,
    keys: Arc<Keys>,
    planes: Vec<Plane>,
    period: Duration,
    nonces: Nonces,
    next: Time,
    made: u64,
}

/// Why one is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    Period,
    /// All should know, those too of which nothing was heard for long.
    Change,
}

/// What stands while one is made.
pub struct Said<'a> {
    pub placement: &'a Placement,
    pub digest: u64,
    pub formers: Vec<Former>,
    pub learning: bool,
}

impl Beacons {
    /// The first one is due at once.
    pub fn new(now: Time, boot: BootId, keys: Arc<Keys>, planes: Vec<Plane>, period: Duration, seed: u64) -> Beacons {
        Beacons { boot, keys, planes, period, nonces: Nonces::new(seed), next: now, made: 0 }
    }

    pub fn next(&self) -> Time {
        self.next
    }

    pub fn due_at(&mut self, at: Time) {
        self.next = at;
    }

    pub fn made(&self) -> u64 {
        self.made
    }

    /// How long ago the beacon with this nonce was made; none if it is none of ours.
    pub fn age(&self, nonce: u64, now: Time) -> Option<Duration> {
        self.nonces.age(nonce, now)
    }

    pub fn send(&mut self, now: Time, why: Occasion, said: Said<'_>, servers: &ServerTable, out: &mut Vec<Effect>) {
        self.made += 1;
        let (copies, everybody) = match why {
            Occasion::Period => (1, said.learning || self.made.is_multiple_of(SLOW_POLL)),
            Occasion::Change => (COPIES, true),
        };
        let message = Message::Beacon(self.beacon(now, said, servers));
        // A pause is followed by one beacon, not by a burst; and however many changes there are, the next one is no later
        // than a period from now: nodes quote it, or do not count.
        self.next = (self.next + self.period).clamp(now + self.period / 2, now + self.period);
        for _ in 0..copies {
            for plane in &self.planes {
                let bytes = Bytes::from(frame::encode(&message, &self.keys.plane, *plane));
                for server in servers.iter() {
                    let lives = server.last_sign.is_some_and(|at| now.since(at) < LONG_DEAD);
                    if let Some(to) = server.control(*plane).filter(|_| everybody || lives) {
                        out.push(Effect::Send { plane: *plane, to, bytes: bytes.clone() });
                    }
                }
            }
        }
    }

    fn beacon(&mut self, now: Time, said: Said<'_>, servers: &ServerTable) -> Beacon {
        Beacon {
            lm_boot: self.boot,
            nonce: self.nonces.issue(now),
            sent_us: now.0,
            epoch: said.placement.epoch(),
            inputs: said.placement.inputs().clone(),
            formers: said.formers,
            holders: servers.iter().filter(|server| has_strays(server)).map(|server| server.node).collect(),
            digest: said.digest,
            echoes: servers.iter().filter_map(|server| echo(server, now)).collect(),
            learning: said.learning,
        }
    }
}

fn has_strays(server: &Server) -> bool {
    server.incarnation.as_ref().is_some_and(|i| i.strays > 0 && server.placed == Some(i.boot))
}

fn echo(server: &Server, now: Time) -> Option<Echo> {
    let incarnation = server.incarnation.as_ref().filter(|i| i.counted > 0)?;
    let planes = incarnation.heard_on(now);
    Some(Echo { node: server.node, boot: incarnation.boot, sequence: incarnation.counted, planes })
}
