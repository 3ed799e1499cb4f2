//! The called side (UAS): rings, answers, repeats its 200 until the ACK (RFC 3261 §13.3.1.4), answers BYE. `engine` owns it.

use super::engine::{Side, Turn};
use super::reading::{First, Heard, has_tag};
use super::writing::response;
use ahash::RandomState;
use common::deadlines::{Deadlines, Handle};
use common::time::{Duration, Time};
use hashbrown::{HashMap, HashSet};
use std::net::SocketAddr;

pub(super) const T1: Duration = Duration::from_millis(500);
pub(super) const T2: Duration = Duration::from_secs(4);
/// 64 × T1.
pub(super) const WHOLE: Duration = Duration::from_secs(32);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Ringing,
    /// The 200 is repeated.
    Answered,
    /// So is the 487.
    Cancelled,
    Confirmed,
}

struct Answering {
    stage: Stage,
    from: SocketAddr,
    /// The newest response; while ringing, the request follows in `invite`.
    last: Vec<u8>,
    invite: Vec<u8>,
    interval: Duration,
    give_up: Time,
    due: Option<Handle>,
}

pub(super) struct Callees {
    local: SocketAddr,
    ring: Duration,
    hash: RandomState,
    /// By the hash of the Call-ID.
    calls: HashMap<u64, Answering, RandomState>,
    due: Deadlines<u64>,
    /// Ended in this half minute and in the one before: a late INVITE of theirs begins nothing.
    over: [HashSet<u64, RandomState>; 2],
    turned: Time,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
    scratch: Vec<u8>,
}

impl Callees {
    pub fn new(local: SocketAddr, ring: Duration, run: u64) -> Callees {
        let hash = RandomState::with_seeds(run, 2, 3, 4);
        Callees {
            local,
            ring,
            calls: HashMap::with_hasher(hash.clone()),
            due: Deadlines::new(),
            over: [HashSet::with_hasher(hash.clone()), HashSet::with_hasher(hash.clone())],
            turned: Time(0),
            spare: Vec::new(),
            scratch: Vec::new(),
            hash,
        }
    }

    /// Calls that we have not heard the end of.
    pub fn open(&self) -> usize {
        self.calls.len()
    }

    pub fn next_due(&self) -> Option<Time> {
        self.due.next_due()
    }

    pub fn request(&mut self, turn: &mut Turn<'_>, from: SocketAddr, heard: &Heard<'_>) {
        let First::Request { method } = heard.first else { return };
        let name = self.hash.hash_one(heard.call_id);
        match method {
            b"INVITE" => self.invite(turn, name, from, heard),
            b"ACK" => self.ack(name),
            b"BYE" => self.bye(turn, name, from, heard),
            b"CANCEL" => self.cancel(turn, name, from, heard),
            b"OPTIONS" => self.say(turn, from, heard.message, "200 OK", name),
            _ => self.say(turn, from, heard.message, "405 Method Not Allowed", name),
        }
    }

    /// Repeats 200s, answers what has rung long enough.
    pub fn tick(&mut self, turn: &mut Turn<'_>) {
        while let Some(name) = self.due.expire(turn.now) {
            let Some(call) = self.calls.get_mut(&name) else { continue };
            call.due = None;
            match call.stage {
                Stage::Ringing => self.answer(turn, name),
                Stage::Cancelled if turn.now >= call.give_up => self.end(name),
                Stage::Answered if turn.now >= call.give_up => {
                    turn.tally.unacknowledged += 1;
                    call.stage = Stage::Confirmed;
                }
                Stage::Answered | Stage::Cancelled => {
                    turn.tally.repeats += 1;
                    turn.send(Side::Callee, call.from, &call.last);
                    call.interval = (call.interval * 2).min(T2);
                    call.due = Some(self.due.insert(turn.now + call.interval, name));
                }
                Stage::Confirmed => {}
            }
        }
        if turn.now.since(self.turned) > WHOLE {
            self.turned = turn.now;
            self.over.swap(0, 1);
            self.over[0].clear();
        }
    }

    fn say(&mut self, turn: &mut Turn<'_>, to: SocketAddr, request: &[u8], status: &str, tag: u64) {
        response(&mut self.scratch, request, status, tag, None);
        turn.send(Side::Callee, to, &self.scratch);
    }

    fn invite(&mut self, turn: &mut Turn<'_>, name: u64, from: SocketAddr, heard: &Heard<'_>) {
        if let Some(call) = self.calls.get(&name) {
            if call.stage != Stage::Confirmed {
                turn.send(Side::Callee, call.from, &call.last);
            }
            return;
        }
        if self.over.iter().any(|over| over.contains(&name)) {
            return;
        }
        if has_tag(heard.to) {
            return self.say(turn, from, heard.message, "481 Call Does Not Exist", name);
        }
        let (mut last, mut invite) = (self.spare.pop().unwrap_or_default(), self.spare.pop().unwrap_or_default());
        response(&mut last, heard.message, "180 Ringing", name, Some(self.local));
        turn.send(Side::Callee, from, &last);
        invite.clear();
        invite.extend_from_slice(heard.message);
        let call =
            Answering { stage: Stage::Ringing, from, last, invite, interval: T1, give_up: turn.now + WHOLE, due: None };
        let call = self.calls.entry(name).insert(call).into_mut();
        if self.ring.is_zero() {
            return self.answer(turn, name);
        }
        call.due = Some(self.due.insert(turn.now + self.ring, name));
    }

    fn answer(&mut self, turn: &mut Turn<'_>, name: u64) {
        let Some(call) = self.calls.get_mut(&name) else { return };
        response(&mut call.last, &call.invite, "200 OK", name, Some(self.local));
        turn.tally.answered += 1;
        turn.send(Side::Callee, call.from, &call.last);
        (call.stage, call.give_up) = (Stage::Answered, turn.now + WHOLE);
        call.due = Some(self.due.insert(turn.now + call.interval, name));
    }

    fn ack(&mut self, name: u64) {
        let Some(call) = self.calls.get_mut(&name) else { return };
        match call.stage {
            Stage::Answered => {
                call.stage = Stage::Confirmed;
                call.due.take().map(|handle| self.due.cancel(handle));
            }
            Stage::Cancelled => self.end(name),
            Stage::Ringing | Stage::Confirmed => {}
        }
    }

    /// A repeated BYE finds no call, but a tag that only we can have written.
    fn bye(&mut self, turn: &mut Turn<'_>, name: u64, from: SocketAddr, heard: &Heard<'_>) {
        let tag = format!(";tag={name:x}");
        let status = if heard.to.ends_with(tag.as_bytes()) { "200 OK" } else { "481 Call Does Not Exist" };
        self.say(turn, from, heard.message, status, name);
        if status.starts_with('2') {
            self.end(name);
        }
    }

    fn cancel(&mut self, turn: &mut Turn<'_>, name: u64, from: SocketAddr, heard: &Heard<'_>) {
        let status = if self.calls.contains_key(&name) { "200 OK" } else { "481 No Such Transaction" };
        self.say(turn, from, heard.message, status, name);
        let Some(call) = self.calls.get_mut(&name).filter(|c| c.stage == Stage::Ringing) else { return };
        response(&mut call.last, &call.invite, "487 Request Terminated", name, None);
        turn.send(Side::Callee, call.from, &call.last);
        (call.stage, call.give_up) = (Stage::Cancelled, turn.now + WHOLE);
        call.due.take().map(|handle| self.due.cancel(handle));
        call.due = Some(self.due.insert(turn.now + call.interval, name));
    }

    fn end(&mut self, name: u64) {
        if let Some(mut call) = self.calls.remove(&name) {
            call.due.take().map(|handle| self.due.cancel(handle));
            self.over[0].insert(name);
            self.spare.extend([call.last, call.invite]);
        }
    }
}
