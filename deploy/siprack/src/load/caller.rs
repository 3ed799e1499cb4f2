//! The calling side (UAC): INVITE to BYE, REGISTER, OPTIONS, each with its repeats (RFC 3261 §17.1) and one answer to a
//! challenge. `engine` owns it.

use super::callee::{T1, T2, WHOLE};
use super::engine::{Side, Turn};
use super::plan::{Kind, Plan};
use super::reading::{First, Heard};
use super::tally::Failure;
use super::writing::{self, Between, RouteSet, Tags, ack_of_refusal, in_dialog, line};
use crate::phone::digest;
use common::deadlines::{Deadlines, Handle};
use common::sip::{HeaderId, Limits, SipMessage};
use common::time::{Duration, Time};
use std::net::SocketAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing goes on here.
    Free,
    /// The request is repeated until something is heard.
    Asking,
    /// An INVITE has a provisional response.
    Ringing,
    Talking,
    Ending,
    /// Done, but a repeated refusal must be acknowledged again.
    Refused,
}

struct Dialogue {
    stage: Stage,
    serial: u64,
    user: u64,
    /// Of the newest request.
    number: u32,
    challenged: bool,
    /// What is repeated: the request whose answer is awaited; while Talking, the BYE.
    request: Vec<u8>,
    /// The ACK, to be repeated with each repeated final response.
    ack: Vec<u8>,
    to: SocketAddr,
    /// Of the first INVITE, and of the BYE.
    began: Time,
    bye_at: Time,
    heard_any: bool,
    interval: Duration,
    give_up: Time,
    due: Option<Handle>,
}

pub(super) struct Callers {
    slots: Vec<Dialogue>,
    free: Vec<usize>,
    due: Deadlines<(usize, u64)>,
    serial: u64,
    scratch: Vec<u8>,
}

impl Callers {
    pub fn new() -> Callers {
        Callers { slots: Vec::new(), free: Vec::new(), due: Deadlines::new(), serial: 0, scratch: Vec::new() }
    }

    pub fn next_due(&self) -> Option<Time> {
        self.due.next_due()
    }

    /// Begins one more.
    pub fn start(&mut self, turn: &mut Turn<'_>) {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Dialogue::free(turn.plan.target));
            self.slots.len() - 1
        });
        self.serial += 1;
        let one = &mut self.slots[at];
        one.begin(turn.now, self.serial, turn.tally.started, turn.plan);
        let tags = Tags { run: turn.plan.run, slot: at, serial: self.serial, number: 1 };
        let user = turn.plan.users.name(one.user);
        match turn.plan.kind {
            Kind::Calls => {
                let (from, to) = (
                    format!("{}@{}", turn.plan.users.name(one.user + 1), turn.plan.domain),
                    format!("{user}@{}", turn.plan.domain),
                );
                let between = Between { local: turn.plan.caller, from: &from, to: &to };
                writing::request(&mut one.request, "INVITE", &to, &between, &tags, "");
            }
            Kind::Registrations => {
                let aor = format!("{user}@{}", turn.plan.domain);
                let between = Between { local: turn.plan.callee, from: &aor, to: &aor };
                let contact = format!("Contact: <sip:{user}@{}>\r\nExpires: 3600\r\n", turn.plan.callee);
                writing::request(&mut one.request, "REGISTER", &turn.plan.domain, &between, &tags, &contact);
            }
            Kind::Options => {
                let from = format!("{user}@{}", turn.plan.domain);
                let between = Between { local: turn.plan.caller, from: &from, to: &turn.plan.domain };
                writing::request(&mut one.request, "OPTIONS", &turn.plan.domain, &between, &tags, "");
            }
        }
        turn.tally.started += 1;
        self.send_request(turn, at);
    }

    /// A response that came to the side from which requests of this kind are sent.
    pub fn response(&mut self, turn: &mut Turn<'_>, heard: &Heard<'_>) {
        let First::Response { status } = heard.first else { return };
        let found = Tags::read(turn.plan.run, heard.call_id).filter(|(at, serial)| {
            self.slots.get(*at).is_some_and(|one| one.serial == *serial && one.stage != Stage::Free)
        });
        let Some((at, _)) = found else {
            turn.tally.strays += 1;
            return;
        };
        let one = &mut self.slots[at];
        let asked = one.method(turn.plan);
        match one.stage {
            Stage::Talking | Stage::Ending | Stage::Refused if heard.method == b"INVITE" => {
                // A repeat: acknowledged each time (RFC 3261 §13.2.2.4, §17.1.1.2).
                if status >= 200 {
                    turn.send(side(turn.plan), one.to, &one.ack);
                }
            }
            Stage::Asking | Stage::Ringing | Stage::Ending
                if heard.method == asked.as_bytes() && heard.number == one.number =>
            {
                match status {
                    100..=199 => self.provisional(turn, at, asked),
                    200..=299 => self.success(turn, at, asked, heard),
                    _ => self.refused(turn, at, asked, heard, status),
                }
            }
            _ => turn.tally.strays += 1,
        }
    }

    /// Repeats and ends what is due.
    pub fn tick(&mut self, turn: &mut Turn<'_>) {
        while let Some((at, serial)) = self.due.expire(turn.now) {
            let Some(one) = self.slots.get_mut(at).filter(|one| one.serial == serial) else { continue };
            one.due = None;
            match one.stage {
                Stage::Free => {}
                Stage::Refused => self.free(at),
                Stage::Talking => {
                    one.stage = Stage::Ending;
                    one.number += 1;
                    one.bye_at = turn.now;
                    self.send_request(turn, at);
                }
                Stage::Asking | Stage::Ringing | Stage::Ending if turn.now >= one.give_up => {
                    let method = one.method(turn.plan);
                    turn.tally.fail(Failure::Silence { method });
                    self.free(at);
                }
                // An INVITE is repeated until the first provisional response only.
                Stage::Ringing => self.due_at(at, self.slots[at].give_up),
                Stage::Asking | Stage::Ending => {
                    turn.tally.repeats += 1;
                    turn.send(side(turn.plan), one.to, &one.request);
                    let doubled = one.interval * 2;
                    // Timer A doubles without end, Timer E up to T2.
                    one.interval = if one.method(turn.plan) == "INVITE" { doubled } else { doubled.min(T2) };
                    let due = (turn.now + one.interval).min(one.give_up);
                    self.due_at(at, due);
                }
            }
        }
    }

    fn send_request(&mut self, turn: &mut Turn<'_>, at: usize) {
        let one = &mut self.slots[at];
        turn.send(side(turn.plan), one.to, &one.request);
        one.interval = T1;
        one.give_up = turn.now + WHOLE;
        self.due_at(at, turn.now + T1);
    }

    fn due_at(&mut self, at: usize, when: Time) {
        let one = &mut self.slots[at];
        if let Some(handle) = one.due.take() {
            self.due.cancel(handle);
        }
        one.due = Some(self.due.insert(when, (at, one.serial)));
    }

    fn provisional(&mut self, turn: &mut Turn<'_>, at: usize, asked: &'static str) {
        let one = &mut self.slots[at];
        if !std::mem::replace(&mut one.heard_any, true) {
            turn.tally.first.took(turn.now.since(one.began));
        }
        if asked == "INVITE" && one.stage == Stage::Asking {
            one.stage = Stage::Ringing;
            // It rings for as long as the other side likes, but not for ever (Timer C).
            one.give_up = turn.now + Duration::from_secs(180);
            let due = one.give_up;
            self.due_at(at, due);
        }
    }

    fn success(&mut self, turn: &mut Turn<'_>, at: usize, asked: &'static str, heard: &Heard<'_>) {
        let one = &mut self.slots[at];
        if asked == "BYE" {
            turn.tally.bye.took(turn.now.since(one.bye_at));
            turn.tally.finished += 1;
            return self.free(at);
        }
        turn.tally.answer.took(turn.now.since(one.began));
        if asked != "INVITE" {
            turn.tally.finished += 1;
            return self.free(at);
        }
        let Some(route) = RouteSet::of(heard.message) else {
            turn.tally.fail(Failure::NoContact);
            return self.free(at);
        };
        let from = line(&one.request, HeaderId::From).to_vec();
        let parties = [&from[..], line(heard.message, HeaderId::To)];
        let mut tags = Tags { run: turn.plan.run, slot: at, serial: one.serial, number: one.number };
        in_dialog(&mut one.ack, "ACK", &route, turn.plan.caller, &tags, parties);
        tags.number += 1;
        in_dialog(&mut one.request, "BYE", &route, turn.plan.caller, &tags, parties);
        one.to = route.hop.unwrap_or(turn.plan.target);
        one.challenged = false;
        turn.send(Side::Caller, one.to, &one.ack);
        if turn.plan.hold.is_zero() {
            one.stage = Stage::Ending;
            one.number += 1;
            one.bye_at = turn.now;
            return self.send_request(turn, at);
        }
        one.stage = Stage::Talking;
        self.due_at(at, turn.now + turn.plan.hold);
    }

    fn refused(&mut self, turn: &mut Turn<'_>, at: usize, asked: &'static str, heard: &Heard<'_>, status: u16) {
        let one = &mut self.slots[at];
        if asked == "INVITE" {
            ack_of_refusal(&mut self.scratch, &one.request, heard.message, one.number);
            turn.send(side(turn.plan), one.to, &self.scratch);
        }
        if matches!(status, 401 | 407) && self.with_credentials(turn, at, asked, heard) {
            return self.send_request(turn, at);
        }
        turn.tally.fail(match status {
            401 | 407 => Failure::Challenge { method: asked },
            status => Failure::Refused { method: asked, status },
        });
        if asked != "INVITE" {
            return self.free(at);
        }
        let one = &mut self.slots[at];
        one.stage = Stage::Refused;
        std::mem::swap(&mut one.ack, &mut self.scratch);
        self.due_at(at, turn.now + WHOLE);
    }

    /// Makes the next request of the one that was challenged; false if it cannot be.
    fn with_credentials(&mut self, turn: &Turn<'_>, at: usize, asked: &'static str, heard: &Heard<'_>) -> bool {
        let one = &mut self.slots[at];
        let Some(password) = turn.plan.password.as_deref().filter(|_| !one.challenged) else { return false };
        let Ok(response) = SipMessage::parse(heard.message.to_vec().into(), &Limits::default()) else { return false };
        let user = turn.plan.users.name(if turn.plan.kind == Kind::Calls { one.user + 1 } else { one.user });
        let uri = match one.request.split(|b| *b == b' ').nth(1) {
            Some(uri) => String::from_utf8_lossy(uri).into_owned(),
            None => return false,
        };
        let cnonce = format!("{:x}.{}", turn.plan.run, one.serial);
        let Some(credentials) = digest::answer((&user, password), &response, asked, &uri, &cnonce) else {
            return false;
        };
        one.number += 1;
        one.challenged = true;
        one.stage = if asked == "BYE" { Stage::Ending } else { Stage::Asking };
        let tags = Tags { run: turn.plan.run, slot: at, serial: one.serial, number: one.number };
        one.request = writing::again(&one.request, asked, local(turn.plan), &tags, &credentials);
        true
    }

    fn free(&mut self, at: usize) {
        let one = &mut self.slots[at];
        one.stage = Stage::Free;
        if let Some(handle) = one.due.take() {
            self.due.cancel(handle);
        }
        self.free.push(at);
    }
}

impl Dialogue {
    fn free(to: SocketAddr) -> Dialogue {
        Dialogue {
            stage: Stage::Free,
            serial: 0,
            user: 0,
            number: 0,
            challenged: false,
            request: Vec::with_capacity(1024),
            ack: Vec::with_capacity(512),
            to,
            began: Time(0),
            bye_at: Time(0),
            heard_any: false,
            interval: T1,
            give_up: Time(0),
            due: None,
        }
    }

    fn begin(&mut self, now: Time, serial: u64, user: u64, plan: &Plan) {
        (self.stage, self.serial, self.user) = (Stage::Asking, serial, user);
        (self.number, self.challenged, self.heard_any) = (1, false, false);
        (self.to, self.began) = (plan.target, now);
    }

    /// Of the request that waits for its answer.
    fn method(&self, plan: &Plan) -> &'static str {
        match plan.kind {
            Kind::Calls if self.stage == Stage::Ending => "BYE",
            Kind::Calls => "INVITE",
            Kind::Registrations => "REGISTER",
            Kind::Options => "OPTIONS",
        }
    }
}

/// REGISTERs come from the address that they register: NATs and outbound proxies want it so.
fn side(plan: &Plan) -> Side {
    if plan.kind == Kind::Registrations { Side::Callee } else { Side::Caller }
}

fn local(plan: &Plan) -> SocketAddr {
    if plan.kind == Kind::Registrations { plan.callee } else { plan.caller }
}
