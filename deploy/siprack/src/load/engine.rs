//! Both sides of the load as one state machine: datagrams and time in, datagrams and a tally out. `io::load` drives it by
//! sockets, its tests by a simulated node.

use super::callee::Callees;
use super::caller::Callers;
use super::plan::{Kind, Plan};
use super::reading::{First, read};
use super::tally::Tally;
use common::time::{Duration, Time};
use std::net::SocketAddr;

/// Which of our two addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Caller,
    Callee,
}

/// Takes what is to be sent.
pub trait Wire {
    fn send(&mut self, from: Side, to: SocketAddr, message: &[u8]);
}

/// One input's worth of work.
pub(super) struct Turn<'a> {
    pub now: Time,
    pub plan: &'a Plan,
    pub tally: &'a mut Tally,
    pub wire: &'a mut dyn Wire,
}

impl Turn<'_> {
    pub fn send(&mut self, from: Side, to: SocketAddr, message: &[u8]) {
        self.tally.sent += 1;
        self.wire.send(from, to, message);
    }
}

/// New ones begun in one turn: what came in is looked at in between.
const BURST: usize = 64;

pub struct Engine {
    plan: Plan,
    callers: Callers,
    callees: Callees,
    tally: Tally,
    origin: Option<Time>,
    stopped: bool,
}

impl Engine {
    pub fn new(plan: Plan) -> Engine {
        let callees = Callees::new(plan.callee, plan.ring, plan.run);
        Engine { plan, callers: Callers::new(), callees, tally: Tally::default(), origin: None, stopped: false }
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Calls that our called side has not heard the end of.
    pub fn answering(&self) -> usize {
        self.callees.open()
    }

    /// Calls that begin from now on are held for this long.
    pub fn hold(&mut self, hold: Duration) {
        self.plan.hold = hold;
    }

    /// Nothing new is begun from here on.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Nothing new will begin, and nothing is open.
    pub fn is_done(&self, now: Time) -> bool {
        self.origin.is_some() && self.is_over(now) && self.tally.open() == 0
    }

    /// One datagram that came to this side.
    pub fn handle(&mut self, now: Time, side: Side, from: SocketAddr, message: &[u8], wire: &mut dyn Wire) {
        self.tally.received += 1;
        let Some(heard) = read(message) else {
            self.tally.strays += 1;
            return;
        };
        let turn = &mut Turn { now, plan: &self.plan, tally: &mut self.tally, wire };
        match heard.first {
            First::Request { .. } if side == Side::Callee => self.callees.request(turn, from, &heard),
            // Nobody calls the calling side.
            First::Request { .. } => turn.tally.strays += 1,
            First::Response { .. } => self.callers.response(turn, &heard),
        }
    }

    /// Repeats what is due and begins what the pace admits. The first call is the origin of the pace.
    pub fn tick(&mut self, now: Time, wire: &mut dyn Wire) {
        let origin = *self.origin.get_or_insert(now);
        let turn = &mut Turn { now, plan: &self.plan, tally: &mut self.tally, wire };
        self.callers.tick(turn);
        self.callees.tick(turn);
        for _ in 0..BURST {
            let (started, open) = (turn.tally.started, turn.tally.open());
            if self.stopped || !turn.plan.pace.admits(now.since(origin), started, open) {
                break;
            }
            self.callers.start(turn);
        }
    }

    /// When [`Engine::tick`] has something to do, if nothing is heard before.
    pub fn next_due(&self, now: Time) -> Option<Time> {
        let origin = self.origin.unwrap_or(now);
        let (started, open) = (self.tally.started, self.tally.open());
        let begins = match self.is_over(now) || open >= self.plan.pace.window {
            true => None,
            false => Some(self.plan.pace.next(origin, now, started).unwrap_or(now)),
        };
        [self.callers.next_due(), self.callees.next_due(), begins].into_iter().flatten().min()
    }

    fn is_over(&self, now: Time) -> bool {
        let since = now.since(self.origin.unwrap_or(now));
        self.stopped || self.plan.pace.is_over(since, self.tally.started)
    }

    /// Goes over to another kind of traffic with the same sides and a new tally: registrations first, then calls.
    /// Only when nothing is open.
    pub fn turn_to(&mut self, kind: Kind, pace: super::plan::Pace) -> Tally {
        self.plan.kind = kind;
        self.plan.pace = pace;
        self.origin = None;
        std::mem::take(&mut self.tally)
    }
}
