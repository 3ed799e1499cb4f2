//! What is seen of one call, at the phones of the drill, in the order of time.

use crate::ladder::Ladder;
use crate::phone::Event;
use bytes::Bytes;
use common::time::Time;
use std::net::SocketAddr;

/// A phone of a call, and the socket that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Caller,
    First,
    /// The other phone of the called user, in a forked call.
    Second,
}

impl Side {
    pub const ALL: [Side; 3] = [Side::Caller, Side::First, Side::Second];

    fn name(self) -> &'static str {
        match self {
            Side::Caller => "caller",
            Side::First => "callee",
            Side::Second => "2nd callee",
        }
    }
}

/// A datagram that is to leave.
#[derive(Clone, Debug)]
pub struct Out {
    pub line: Side,
    pub to: SocketAddr,
    pub bytes: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub at: Time,
    pub side: Side,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A message left the phone, or came; its start line in short.
    Sent(String),
    Heard(String),
    /// What the phone made of it.
    Event(Event),
    /// The drill wanted something of the phone.
    Asked(Act),
    /// What was waited for did not come in time. What comes later does not count.
    GaveUp,
}

/// What the drill wants of a phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Call,
    Answer,
    Cancel,
    Reinvite,
    Hangup,
}

/// The messages of a call as a picture, in milliseconds from the death.
pub fn ladder(node: u16, died: Time, seen: &[Seen]) -> Ladder {
    let mut ladder = Ladder::new(&[Side::Caller.name(), "siprack", Side::First.name()]);
    let mut alive = true;
    for seen in seen {
        let at_ms = (seen.at.0 as f64 - died.0 as f64) / 1000.0;
        if std::mem::replace(&mut alive, seen.at < died) && !alive {
            ladder.note(0.0, format!("cc-node {node} is killed"));
        }
        match &seen.what {
            What::Sent(label) => ladder.message(at_ms, seen.side.name(), "siprack", label.as_str()),
            What::Heard(label) => ladder.message(at_ms, "siprack", seen.side.name(), label.as_str()),
            What::GaveUp => ladder.note(at_ms, "given up"),
            What::Event(_) | What::Asked(_) => {}
        }
    }
    ladder
}
