//! The drill as one state machine: registers its phones, brings every call into its phase, sends what is to be under way in
//! the moment of the death, sees each call through, and leaves nothing behind. `io/drill` drives it.

use super::charges::Charges;
use super::one::One;
use super::plan::{Phase, Plan};
use super::report::{Findings, Found};
use super::seen::{Out, Side};
use super::verdict::{Standing, moved};
use crate::phone::{Effect, Event, Order, Phone, Pickup, Settings};
use bytes::Bytes;
use common::sip::{Limits, SipMessage};
use common::time::{Duration, Time};
use hashbrown::HashMap;
use std::net::SocketAddr;

/// Of the phones' bindings: longer than any drill, in case that it is killed itself.
const EXPIRES_S: u32 = 300;
/// Calls on the way into their phase at a time.
const WINDOW: usize = 32;
/// How long a call may take for that; on a rack that is well it takes milliseconds.
const BUILD_PATIENCE: Duration = Duration::from_secs(8);
/// All stand in their phase: the nodes tell each other of the last ACKs.
const SETTLES: Duration = Duration::from_millis(500);
/// For the last BYEs and for taking the bindings back.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Registering,
    Building,
    /// All calls stand in their phase until this, and behind it.
    Settling(Time),
    /// The node may die: [`Drill::fire`], then [`Drill::died`].
    Ready,
    Proving,
    /// Of every call it is known whether it went on.
    Proved,
    Leaving(Time),
    Over,
}

/// What is sent in the moment of the death is sent to one half before it, to the other behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    Before,
    Behind,
}

pub struct Drill {
    calls: Vec<One>,
    by_id: HashMap<String, usize, ahash::RandomState>,
    registrars: Vec<Registrar>,
    state: State,
    began: Time,
    died: Time,
    begun: usize,
    limits: Limits,
}

/// A phone that keeps a binding; what is none of the drill's calls it refuses as busy.
struct Registrar {
    line: Side,
    phone: Phone,
    /// What its last REGISTER was for, and what the last 200 said.
    wanted: bool,
    bound: bool,
}

impl Drill {
    pub fn new(plan: &Plan) -> Drill {
        let registrar = |(n, (line, user)): (usize, (Side, usize))| {
            let settings = Settings {
                user: plan.users[user].user.clone(),
                domain: plan.domain.clone(),
                password: plan.users[user].password.clone(),
                local: plan.lines[line as usize],
                proxy: plan.vip,
                pickup: Pickup::Refuse(486),
                seed: plan.seed.wrapping_sub(1 + n as u64),
            };
            Registrar { line, phone: Phone::new(settings), wanted: false, bound: false }
        };
        let bindings = [(Side::First, 0), (Side::First, 1), (Side::Second, 1)];
        let calls: Vec<One> = plan.call_ids.iter().enumerate().map(|(n, id)| One::new(plan, n, id)).collect();
        Drill {
            by_id: calls.iter().enumerate().map(|(n, one)| (one.call_id.clone(), n)).collect(),
            calls,
            registrars: bindings.into_iter().enumerate().map(registrar).collect(),
            state: State::Registering,
            began: Time(0),
            died: Time(0),
            begun: 0,
            limits: Limits::default(),
        }
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// The first step: the phones register.
    pub fn begin(&mut self, now: Time, out: &mut Vec<Out>) {
        self.began = now;
        self.register(now, EXPIRES_S, out);
    }

    /// A datagram came to this line. `Err`: the drill cannot be run.
    pub fn handle(
        &mut self,
        now: Time,
        line: Side,
        from: SocketAddr,
        datagram: Bytes,
        out: &mut Vec<Out>,
    ) -> Result<(), String> {
        let message = SipMessage::parse(datagram.clone(), &self.limits);
        let call_id = message.as_ref().map(|m| String::from_utf8_lossy(m.call_id()).into_owned());
        if let Some(n) = call_id.ok().and_then(|id| self.by_id.get(&id).copied()) {
            self.calls[n].handle(now, line, from, &datagram, out);
            return Ok(());
        }
        let asks = message.is_ok_and(|m| m.is_request());
        for registrar in self.registrars.iter_mut().filter(|r| r.line == line) {
            registrar.told(out, |phone, effects| phone.handle(now, from, datagram.clone(), effects))?;
            if asks {
                break;
            }
        }
        Ok(())
    }

    /// Does what is due. `Err`: the drill cannot be run.
    pub fn tick(&mut self, now: Time, out: &mut Vec<Out>) -> Result<(), String> {
        for registrar in &mut self.registrars {
            registrar.told(out, |phone, effects| phone.tick(now, effects))?;
        }
        for call in &mut self.calls {
            call.tick(now, out);
        }
        match self.state {
            State::Registering if self.registrars.iter().all(|r| r.bound) => self.state = State::Building,
            State::Registering if now.since(self.began) > BUILD_PATIENCE => {
                return Err(format!("the phones could not be registered within {} s", BUILD_PATIENCE.as_secs()));
            }
            State::Building => self.build(now, out)?,
            State::Settling(until) if now >= until => self.state = State::Ready,
            State::Proving if !self.calls.iter().any(One::is_open) => self.state = State::Proved,
            State::Leaving(until) if now >= until || !self.registrars.iter().any(|r| r.bound) => {
                self.state = State::Over;
            }
            _ => {}
        }
        Ok(())
    }

    /// When [`Drill::tick`] has something to do, if nothing is heard before.
    pub fn next_due(&self) -> Option<Time> {
        let state = match self.state {
            State::Settling(at) | State::Leaving(at) => Some(at),
            _ => None,
        };
        let registrars = self.registrars.iter().filter_map(|r| r.phone.next_due());
        registrars.chain(self.calls.iter().filter_map(One::next_due)).chain(state).min()
    }

    fn build(&mut self, now: Time, out: &mut Vec<Out>) -> Result<(), String> {
        let unbuilt = self.calls[..self.begun].iter().filter(|call| !call.is_built());
        let mut open = 0;
        for call in unbuilt {
            open += 1;
            if let Some(why) = call.is_spoilt(now, BUILD_PATIENCE) {
                let (id, phase) = (&call.call_id, call.phase.label());
                return Err(format!("before the death, a call that should be {phase} went wrong ({id}): {why}"));
            }
        }
        for call in self.calls[self.begun..].iter_mut().take(WINDOW - open.min(WINDOW)) {
            call.begin(now, out);
            self.begun += 1;
        }
        if self.begun == self.calls.len() && open == 0 && self.calls.iter().all(One::is_built) {
            self.state = State::Settling(now + SETTLES);
        }
        Ok(())
    }

    /// What is to be under way in the moment of the death: first one half, then (after the kill) the other.
    pub fn fire(&mut self, now: Time, half: Half, out: &mut Vec<Out>) {
        let sends = |call: &&mut One| matches!(call.phase, Phase::SetUp | Phase::Cancelling | Phase::Ending);
        let senders: Vec<&mut One> = self.calls.iter_mut().filter(sends).collect();
        let middle = senders.len().div_ceil(2);
        for (n, call) in senders.into_iter().enumerate() {
            if (n < middle) == (half == Half::Before) {
                call.fire(now, out);
            }
        }
    }

    /// The node was killed at this time.
    pub fn died(&mut self, now: Time) {
        (self.died, self.state) = (now, State::Proving);
        let of = |phase: Phase| self.calls.iter().filter(|call| call.phase == phase).count();
        let counts = Phase::ALL.map(of);
        for call in &mut self.calls {
            call.died(now, counts[call.phase as usize]);
        }
    }

    /// Ends what goes on still and takes the bindings back.
    pub fn leave(&mut self, now: Time, out: &mut Vec<Out>) {
        self.state = State::Leaving(now + LEAVE_PATIENCE);
        for call in &mut self.calls {
            call.leave(now, out);
        }
        self.register(now, 0, out);
    }

    /// Whether these are all records that the calls should have left.
    pub fn is_charged(&self, charges: &Charges) -> bool {
        let kept = self.calls.iter().filter(|call| call.standing == Standing::Kept);
        kept.into_iter().all(|call| charges.is_whole(call.phase, &call.call_id))
    }

    /// What became of the calls. Without `charges` nobody asks for their CDRs.
    pub fn findings(&self, node: u16, detected: Option<Time>, charges: Option<&Charges>) -> Findings {
        let found = |call: &One| Found {
            call_id: call.call_id.clone(),
            phase: call.phase,
            lost: match &call.standing {
                Standing::Kept => charges.and_then(|charges| charges.fault(call.phase, &call.call_id)),
                Standing::Lost(why) => Some(why.clone()),
                Standing::Open(_) => Some("the drill ended before it was known".into()),
            },
            moved: moved(self.died, &call.seen).map(|at| at.since(self.died)),
            seen: call.seen.clone(),
        };
        Findings {
            node,
            died: self.died,
            detected: detected.map(|at| at.since(self.died)),
            calls: self.calls.iter().map(found).collect(),
            charged: charges.is_some(),
        }
    }

    fn register(&mut self, now: Time, expires_s: u32, out: &mut Vec<Out>) {
        for registrar in &mut self.registrars {
            registrar.wanted = expires_s > 0;
            // It cannot have been refused before it was sent.
            let _ = registrar.told(out, |phone, effects| {
                phone.order(now, Order::Register { expires_s }, effects);
            });
        }
    }
}

impl Registrar {
    fn told(&mut self, out: &mut Vec<Out>, what: impl FnOnce(&mut Phone, &mut Vec<Effect>)) -> Result<(), String> {
        let mut effects = Vec::new();
        what(&mut self.phone, &mut effects);
        let user = &self.phone.settings().user;
        for effect in effects {
            match effect {
                Effect::Send { to, bytes } => out.push(Out { line: self.line, to, bytes }),
                Effect::Event(Event::Registered { .. }) => self.bound = self.wanted,
                Effect::Event(Event::RegisterRefused { status }) => {
                    return Err(format!("{user} could not be registered: REGISTER was refused with {status}"));
                }
                Effect::Event(Event::TimedOut { method, .. }) if method == "REGISTER" => {
                    return Err(format!("{user} could not be registered: no answer for 32 s"));
                }
                Effect::Event(_) => {}
            }
        }
        Ok(())
    }
}
