//! One call of a drill: its phones, what they are asked to do and when, and what is seen of it. `engine` owns it.

use super::plan::{Phase, Plan};
use super::seen::{Act, Out, Seen, Side, What};
use super::verdict::{Need, Standing, judge};
use crate::ladder::label;
use crate::phone::{Effect, Event, Order, PATIENCE, Phone, Pickup, Settings};
use bytes::Bytes;
use common::time::{Duration, Time};
use std::net::SocketAddr;

/// From ringing to the answer, in calls that are answered of themselves.
const RINGS_FOR: Duration = Duration::from_millis(200);
/// Ringing calls are answered within this of the death, held ones changed: some in the gap, some behind it.
const ANSWERED_WITHIN: Duration = Duration::from_millis(1500);
const CHANGED_WITHIN: Duration = Duration::from_millis(400);
/// From one step that was right to the next.
const PAUSE: Duration = Duration::from_millis(50);
/// A phone that gives up says why; after this the drill gives up.
const SLACK: Duration = Duration::from_millis(500);

pub(super) struct One {
    pub call_id: String,
    pub phase: Phase,
    /// Which of its phase.
    turn: usize,
    to: String,
    phones: [Option<Phone>; 3],
    pub seen: Vec<Seen>,
    next: Option<(Time, Side, Act)>,
    /// Since when the next step is waited for.
    since: Time,
    pub standing: Standing,
    /// It has died, so that it is proved that it goes on.
    proving: bool,
}

impl One {
    pub fn new(plan: &Plan, n: usize, call_id: &str) -> One {
        let phase = Phase::of(n);
        let forked = phase == Phase::Forked;
        let (from, to) = if forked { (0, 1) } else { (1, 0) };
        let phone = |side: Side, user: usize| {
            let login = &plan.users[user];
            Phone::new(Settings {
                user: login.user.clone(),
                domain: plan.domain.clone(),
                password: login.password.clone(),
                local: plan.lines[side as usize],
                proxy: plan.vip,
                pickup: match phase {
                    Phase::SetUp | Phase::Held | Phase::Ending => Pickup::After(RINGS_FOR),
                    Phase::Ringing | Phase::Forked | Phase::Cancelling => Pickup::Never,
                },
                seed: plan.seed.wrapping_add(4 * n as u64 + side as u64),
            })
        };
        let second = forked.then(|| phone(Side::Second, to));
        One {
            call_id: call_id.to_string(),
            phase,
            turn: n / Phase::ALL.len(),
            to: plan.users[to].user.clone(),
            phones: [Some(phone(Side::Caller, from)), Some(phone(Side::First, to)), second],
            seen: Vec::new(),
            next: None,
            since: Time(0),
            standing: Standing::Open(Need::Answer),
            proving: false,
        }
    }

    /// Brings it into its phase, as far as that is before the death.
    pub fn begin(&mut self, now: Time, out: &mut Vec<Out>) {
        self.since = now;
        if self.phase != Phase::SetUp {
            self.act(now, Side::Caller, Act::Call, out);
        }
    }

    /// It stands in its phase, but for what is sent in the moment of the death.
    pub fn is_built(&self) -> bool {
        let rings = |side: Side| self.has(|s, e| s == side && matches!(e, Event::Incoming { .. }));
        let hears = || self.has(|_, e| matches!(e, Event::Ringing { .. }));
        match self.phase {
            Phase::SetUp => true,
            Phase::Ringing | Phase::Cancelling => hears() && rings(Side::First),
            Phase::Forked => hears() && rings(Side::First) && rings(Side::Second),
            Phase::Held | Phase::Ending => {
                self.has(|_, e| matches!(e, Event::Answered { .. }))
                    && self.has(|_, e| matches!(e, Event::Confirmed { .. }))
            }
        }
    }

    /// Why it will not come into its phase.
    pub fn is_spoilt(&self, now: Time, patience: Duration) -> Option<String> {
        match judge(self.phase, &self.seen) {
            Standing::Lost(why) => Some(why),
            _ if now.since(self.since) > patience => Some(format!("nothing came for {} s", patience.as_secs())),
            _ => None,
        }
    }

    /// What is sent in the moment of the death.
    pub fn fire(&mut self, now: Time, out: &mut Vec<Out>) {
        match self.phase {
            Phase::SetUp => self.act(now, Side::Caller, Act::Call, out),
            Phase::Cancelling => self.act(now, Side::Caller, Act::Cancel, out),
            Phase::Ending => self.act(now, self.ends(), Act::Hangup, out),
            Phase::Ringing | Phase::Forked | Phase::Held => {}
        }
    }

    /// The node is dead. `of`: how many calls of this phase there are.
    pub fn died(&mut self, now: Time, of: usize) {
        (self.proving, self.since) = (true, now);
        let within = |span: Duration| now + span * self.turn as u32 / of.max(1) as u32;
        self.next = match self.phase {
            Phase::Ringing => Some((within(ANSWERED_WITHIN), Side::First, Act::Answer)),
            Phase::Forked => Some((within(ANSWERED_WITHIN), self.by_turns(Side::First, Side::Second), Act::Answer)),
            Phase::Held => Some((within(CHANGED_WITHIN), self.changes(), Act::Reinvite)),
            Phase::SetUp | Phase::Cancelling | Phase::Ending => None,
        };
        self.advance(now);
    }

    pub fn handle(&mut self, now: Time, side: Side, from: SocketAddr, datagram: &Bytes, out: &mut Vec<Out>) {
        let Some(phone) = &mut self.phones[side as usize] else { return };
        self.seen.push(Seen { at: now, side, what: What::Heard(label(datagram)) });
        let mut effects = Vec::new();
        phone.handle(now, from, datagram.clone(), &mut effects);
        self.carry_out(now, side, effects, out);
    }

    pub fn tick(&mut self, now: Time, out: &mut Vec<Out>) {
        for side in Side::ALL {
            let Some(phone) = &mut self.phones[side as usize] else { continue };
            if phone.next_due().is_some_and(|due| due <= now) {
                let mut effects = Vec::new();
                phone.tick(now, &mut effects);
                self.carry_out(now, side, effects, out);
            }
        }
        if let Some((_, side, act)) = self.next.take_if(|(at, ..)| *at <= now) {
            self.since = now;
            self.act(now, side, act, out);
        }
        if self.proving && self.is_open() && self.next.is_none() && now.since(self.since) > PATIENCE + SLACK {
            self.seen.push(Seen { at: now, side: Side::Caller, what: What::GaveUp });
            self.advance(now);
        }
    }

    pub fn next_due(&self) -> Option<Time> {
        let phones = self.phones.iter().flatten().filter_map(Phone::next_due);
        let patience = (self.proving && self.is_open()).then_some(self.since + PATIENCE + SLACK * 2);
        phones.chain(self.next.map(|(at, ..)| at)).chain(patience).min()
    }

    pub fn is_open(&self) -> bool {
        matches!(self.standing, Standing::Open(_))
    }

    /// Whatever it is, it shall not go on when the drill has ended.
    pub fn leave(&mut self, now: Time, out: &mut Vec<Out>) {
        self.next = None;
        if self.standing == Standing::Kept || self.seen.is_empty() {
            return;
        }
        let over = self.has(|s, e| s == Side::Caller && matches!(e, Event::Refused { .. } | Event::EndedByPeer { .. }));
        let answered = self.has(|_, e| matches!(e, Event::Answered { .. }));
        if !over {
            self.act(now, Side::Caller, if answered { Act::Hangup } else { Act::Cancel }, out);
        }
    }

    fn act(&mut self, now: Time, side: Side, act: Act, out: &mut Vec<Out>) {
        let Some(phone) = &mut self.phones[side as usize] else { return };
        self.seen.push(Seen { at: now, side, what: What::Asked(act) });
        let call_id = self.call_id.clone();
        let order = match act {
            Act::Call => Order::CallAs { to: self.to.clone(), call_id },
            Act::Answer => Order::Answer { call_id },
            Act::Cancel => Order::Cancel { call_id },
            Act::Reinvite => Order::Reinvite { call_id },
            Act::Hangup => Order::Hangup { call_id },
        };
        let mut effects = Vec::new();
        phone.order(now, order, &mut effects);
        self.carry_out(now, side, effects, out);
    }

    fn carry_out(&mut self, now: Time, side: Side, effects: Vec<Effect>, out: &mut Vec<Out>) {
        let mut heard = false;
        for effect in effects {
            let what = match effect {
                Effect::Send { to, bytes } => {
                    let what = What::Sent(label(&bytes));
                    out.push(Out { line: side, to, bytes });
                    what
                }
                Effect::Event(event) => {
                    heard = true;
                    What::Event(event)
                }
            };
            self.seen.push(Seen { at: now, side, what });
        }
        if heard && self.proving {
            self.advance(now);
        }
    }

    /// Where the call stands, and what is to be done next.
    fn advance(&mut self, now: Time) {
        if !self.is_open() {
            return;
        }
        let standing = judge(self.phase, &self.seen);
        if standing == self.standing {
            return;
        }
        self.standing = standing;
        self.since = now;
        let step = match self.standing {
            Standing::Open(Need::Reinvite) => (self.changes(), Act::Reinvite),
            Standing::Open(Need::Bye) => (self.ends(), Act::Hangup),
            _ => return,
        };
        let asked = |seen: &Seen| seen.what == What::Asked(step.1);
        if self.next.is_none() && !self.seen.iter().any(asked) {
            self.next = Some((now + PAUSE, step.0, step.1));
        }
    }

    /// Who sends the re-INVITE, and who the BYE: the callee and the caller in turns.
    fn changes(&self) -> Side {
        self.by_turns(Side::Caller, self.answering())
    }

    fn ends(&self) -> Side {
        self.by_turns(self.answering(), Side::Caller)
    }

    fn by_turns(&self, even: Side, odd: Side) -> Side {
        if self.turn.is_multiple_of(2) { even } else { odd }
    }

    /// Who was called and has answered.
    fn answering(&self) -> Side {
        match self.has(|side, e| side == Side::Second && matches!(e, Event::Confirmed { .. })) {
            true => Side::Second,
            false => Side::First,
        }
    }

    fn has(&self, wanted: impl Fn(Side, &Event) -> bool) -> bool {
        self.seen.iter().any(|seen| match &seen.what {
            What::Event(event) => wanted(seen.side, event),
            _ => false,
        })
    }
}
