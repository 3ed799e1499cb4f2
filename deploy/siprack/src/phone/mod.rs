//! A telephone as a pure state machine (an RFC 3261 user agent): datagrams, orders and time come in, datagrams and
//! events go out. `siprack try` and the simulated rack place their calls with it.
//!
//! - `client`: its client transactions (RFC 3261 §17.1), with the answer to a digest challenge.
//! - `call`: its dialogs, from either side (§12, §13, §15).
//! - `server`: what it answers (§8.2, §17.2).
//! - `compose`: how its messages are written.

mod call;
mod client;
mod compose;
pub mod digest;
mod server;

use bytes::Bytes;
use call::Call;
use client::Client;
use common::sip::{Limits, SipMessage};
use common::time::{Duration, Time};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// RFC 3261 §17.1.1.1: the estimate of a round trip, and the longest interval between repeats.
pub const T1: Duration = Duration::from_millis(500);
pub const T2: Duration = Duration::from_secs(4);
/// 64 × T1: when a transaction gives up.
pub const PATIENCE: Duration = Duration::from_secs(32);
/// Answers kept for repeated requests; the oldest goes first.
const ANSWERS_KEPT: usize = 64;

/// Who the phone is and where it stands.
#[derive(Clone, Debug)]
pub struct Settings {
    pub user: String,
    pub domain: String,
    pub password: String,
    /// What it takes for its own address, and writes into Via and Contact. Behind a NAT nobody outside can reach it.
    pub local: SocketAddr,
    /// Where it sends what has no route yet: the VIP.
    pub proxy: SocketAddr,
    pub pickup: Pickup,
    /// Makes its Call-IDs, tags and branches different from those of every other phone.
    pub seed: u64,
}

/// What it does when it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pickup {
    /// Rings at once and answers after this long.
    After(Duration),
    /// Rings until the caller gives up.
    Never,
    /// Refuses with this status, for example 486.
    Refuse(u16),
}

/// What its owner asks of it.
#[derive(Clone, Debug)]
pub enum Order {
    /// Bind the Contact for this many seconds; 0 removes it.
    Register { expires_s: u32 },
    /// Call a user of the own domain, or a whole SIP URI.
    Call { to: String },
    /// The same, under a Call-ID that no other call of this phone has.
    CallAs { to: String, call_id: String },
    /// Pick up what rings here.
    Answer { call_id: String },
    /// CANCEL a call that was not answered yet.
    Cancel { call_id: String },
    /// BYE.
    Hangup { call_id: String },
    /// INVITE again inside the dialog.
    Reinvite { call_id: String },
    /// OPTIONS to the proxy itself.
    Options,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A 200 to REGISTER, with how many contacts it listed.
    Registered {
        contacts: usize,
    },
    RegisterRefused {
        status: u16,
    },
    /// Called: it rings here.
    Incoming {
        call_id: String,
        from: String,
    },
    /// A repeated INVITE (same transaction) arrived: it must not ring twice.
    IncomingRepeated {
        call_id: String,
    },
    /// A second INVITE with the same Call-ID and From tag but another branch: a second ring (RFC 3261 §8.2.2.2).
    RangTwice {
        call_id: String,
    },
    Ringing {
        call_id: String,
    },
    /// The 200 to our INVITE came.
    Answered {
        call_id: String,
    },
    /// The ACK to our 200 came: both ends know the call.
    Confirmed {
        call_id: String,
    },
    Refused {
        call_id: String,
        status: u16,
    },
    /// The caller cancelled while it rang here.
    CancelledHere {
        call_id: String,
    },
    /// The far end said BYE.
    EndedByPeer {
        call_id: String,
    },
    /// Our BYE was answered.
    Ended {
        call_id: String,
        status: u16,
    },
    /// A re-INVITE from the far end was answered here.
    ReinvitedByPeer {
        call_id: String,
    },
    /// Our re-INVITE ended with this status.
    Reinvited {
        call_id: String,
        status: u16,
    },
    OptionsAnswered {
        status: u16,
    },
    /// 64 × T1 without an answer to this method.
    TimedOut {
        method: String,
        call_id: String,
    },
    /// It could not read this datagram.
    Garbage {
        why: String,
    },
}

#[derive(Clone, Debug)]
pub enum Effect {
    Send { to: SocketAddr, bytes: Bytes },
    Event(Event),
}

/// The phone. One owner; see the module's words.
pub struct Phone {
    settings: Settings,
    counter: u64,
    register_call_id: String,
    register_cseq: u32,
    clients: BTreeMap<String, Client>,
    calls: BTreeMap<String, Call>,
    /// (top Via branch + method) → what was answered, for repeats.
    answers: VecDeque<(String, Bytes)>,
    limits: Limits,
}

impl Phone {
    pub fn new(settings: Settings) -> Phone {
        let register_call_id = format!("reg-{:x}@{}", settings.seed, settings.local.ip());
        Phone {
            settings,
            counter: 0,
            register_call_id,
            register_cseq: 0,
            clients: BTreeMap::new(),
            calls: BTreeMap::new(),
            answers: VecDeque::new(),
            limits: Limits::default(),
        }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes what it does with the next call.
    pub fn set_pickup(&mut self, pickup: Pickup) {
        self.settings.pickup = pickup;
    }

    /// Carries out an order. A call's Call-ID is returned, for later orders.
    pub fn order(&mut self, now: Time, order: Order, out: &mut Vec<Effect>) -> Option<String> {
        match order {
            Order::Register { expires_s } => {
                self.register(now, expires_s, out);
                None
            }
            Order::Call { to } => {
                let call_id = format!("{}@{}", self.draw(), self.settings.local.ip());
                Some(self.call(now, &to, call_id, out))
            }
            Order::CallAs { to, call_id } => Some(self.call(now, &to, call_id, out)),
            Order::Answer { call_id } => self.answer(now, &call_id, out),
            Order::Cancel { call_id } => self.cancel(now, &call_id, out),
            Order::Hangup { call_id } => self.hangup(now, &call_id, out),
            Order::Reinvite { call_id } => self.reinvite(now, &call_id, out),
            Order::Options => {
                self.options(now, out);
                None
            }
        }
    }

    /// A datagram came from `from`.
    pub fn handle(&mut self, now: Time, from: SocketAddr, datagram: Bytes, out: &mut Vec<Effect>) {
        if datagram.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return;
        }
        match SipMessage::parse(datagram, &self.limits) {
            Ok(message) if message.is_request() => self.request(now, from, &message, out),
            Ok(message) => self.response(now, &message, out),
            Err(error) => out.push(Effect::Event(Event::Garbage { why: error.to_string() })),
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.tick_clients(now, out);
        self.tick_calls(now, out);
    }

    pub fn next_due(&self) -> Option<Time> {
        let clients = self.clients.values().map(Client::due);
        clients.chain(self.calls.values().filter_map(Call::due)).min()
    }

    /// Call-IDs of the calls that are up, as this end sees it.
    pub fn established(&self) -> Vec<String> {
        self.calls.iter().filter(|(_, c)| c.is_established()).map(|(id, _)| id.clone()).collect()
    }

    /// A number that no other phone of another seed draws.
    fn draw(&mut self) -> String {
        self.counter += 1;
        let mut x =
            self.settings.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ self.counter.wrapping_mul(0xD1B5_4A32_D192_ED03);
        x = (x ^ (x >> 31)).wrapping_mul(0x94D0_49BB_1331_11EB);
        format!("{:x}{:x}", x ^ (x >> 29), self.counter)
    }

    fn event(&self, out: &mut Vec<Effect>, event: Event) {
        out.push(Effect::Event(event));
    }
}
