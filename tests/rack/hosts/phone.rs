//! A simulated phone: the built-in phone's core, perhaps behind a masquerading router.

use crate::hosts::timed::Due;
use crate::nat::Nat;
use common::time::Time;
use siprack::phone::{Effect, Event, Phone};
use std::net::SocketAddr;

pub struct PhoneHost {
    pub phone: Phone,
    pub nat: Option<Nat>,
    /// Everything it reported, with the time.
    pub events: Vec<(Time, Event)>,
}

impl Due for PhoneHost {
    fn due(&self) -> Option<Time> {
        self.phone.next_due()
    }
}

impl PhoneHost {
    /// Where a datagram of this phone appears to come from.
    pub fn outbound(&mut self, to: SocketAddr) -> SocketAddr {
        let local = self.phone.settings().local;
        match &mut self.nat {
            Some(nat) => nat.outbound(local, to),
            None => local,
        }
    }

    /// Whether a datagram that was sent to `to` by `from` reaches this phone.
    pub fn takes(&self, to: SocketAddr, from: SocketAddr) -> bool {
        let local = self.phone.settings().local;
        match &self.nat {
            Some(nat) => nat.public() == to.ip() && nat.inbound(to.port(), from) == Some(local),
            None => local == to,
        }
    }

    /// Splits what the phone wants into datagrams; events are kept.
    pub fn keep(&mut self, now: Time, effects: Vec<Effect>) -> Vec<(SocketAddr, bytes::Bytes)> {
        let mut sends = Vec::new();
        for effect in effects {
            match effect {
                Effect::Send { to, bytes } => sends.push((to, bytes)),
                Effect::Event(event) => self.events.push((now, event)),
            }
        }
        sends
    }
}
