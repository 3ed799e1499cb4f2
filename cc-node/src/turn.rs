//! One input's worth of work: the moment, what may be read, where effects and counts go. `node` makes one for each input
//! and lends it down; no part of the engine keeps it.

use crate::effect::{Effect, RecordNo, View};
use crate::stats::{DropReason, Rejection, Stats};
use crate::trace::{About, Event, Recorder};
use bytes::Bytes;
use common::ids::{ListenerId, Transport};
use common::sip::MethodKind;
use common::time::{Time, WallMillis};
use std::net::SocketAddr;

pub struct Turn<'a> {
    pub now: Time,
    pub wall: WallMillis,
    pub view: &'a dyn View,
    pub out: &'a mut Vec<Effect>,
    pub stats: &'a mut Stats,
    pub trace: &'a mut Recorder,
    /// The message that the input has brought, as far as it could be read.
    pub about: Option<About>,
}

/// A message ready to leave, with the record that must be acknowledged before. Repeats keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub after: Option<RecordNo>,
    pub bytes: Bytes,
}

impl Outgoing {
    pub fn new(after: Option<RecordNo>, bytes: Bytes) -> Outgoing {
        Outgoing { after, bytes }
    }
}

/// Where messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub listener: ListenerId,
    pub to: SocketAddr,
    pub transport: Transport,
}

impl Address {
    /// Whether messages arrive or the sender hears of it: repeats are then left to the transport.
    pub fn is_reliable(&self) -> bool {
        self.transport != Transport::Udp
    }
}

impl Turn<'_> {
    /// Records what becomes of the message that this turn is about.
    pub fn note(&mut self, event: Event) {
        if let Some(about) = self.about {
            self.trace.note(self.now, about, event);
        }
    }

    /// That message comes to nothing, without an answer.
    pub fn drop(&mut self, reason: DropReason) {
        self.stats.drop(reason);
        self.note(Event::Dropped(reason));
    }

    /// That request is refused with an answer of ours.
    pub fn reject(&mut self, rejection: Rejection) {
        self.stats.reject(rejection);
        self.note(Event::Refused(rejection));
    }

    /// Sends and counts. `method` is the request's, or that of the response's CSeq.
    pub fn send(&mut self, method: MethodKind, address: Address, message: Outgoing) {
        match status(&message.bytes) {
            Some(status) => *self.stats.responses_out.entry((status, method)).or_default() += 1,
            None => self.stats.requests_out[method as usize] += 1,
        }
        let Address { listener, to, transport } = address;
        self.out.push(Effect::Send { after: message.after, listener, to, transport, bytes: message.bytes });
    }
}

/// Of a message that we made or checked.
fn status(bytes: &[u8]) -> Option<u16> {
    std::str::from_utf8(bytes.strip_prefix(b"SIP/2.0 ")?.get(..3)?).ok()?.parse().ok()
}
