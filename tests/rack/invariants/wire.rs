//! What the wire of a run carried between the world and the VIP, read once for all checkers and sorted by Call-ID.

use crate::hosts::actor::message::Message;
use crate::simulation::Simulation;
use common::time::Time;
use std::collections::BTreeMap;
use std::net::SocketAddr;

pub struct Rung {
    pub at: Time,
    pub from: SocketAddr,
    pub to: SocketAddr,
    /// From the VIP.
    pub outwards: bool,
    /// False: the network lost it.
    pub survived: bool,
    pub message: Message,
    pub branch: String,
}

impl Rung {
    /// A request of this method.
    pub fn asks(&self, method: &str) -> bool {
        self.message.is_request() && self.message.method() == method
    }

    /// A response to this method, final ones alone.
    pub fn ends(&self, method: &str) -> bool {
        self.message.status() >= 200 && self.message.method() == method
    }

    pub fn is_ok(&self, method: &str) -> bool {
        (200..300).contains(&self.message.status()) && self.message.method() == method
    }

    /// The same request, wherever on its way and however often: who sent it, and its number.
    pub fn is_of(&self, request: &Rung) -> bool {
        self.message.method() == request.message.method()
            && self.message.cseq() == request.message.cseq()
            && self.message.from_tag() == request.message.from_tag()
    }
}

pub struct Wire {
    pub calls: BTreeMap<String, Vec<Rung>>,
}

impl Wire {
    pub fn read(s: &Simulation) -> Wire {
        let mut calls: BTreeMap<String, Vec<Rung>> = BTreeMap::new();
        for carried in s.wire() {
            let Some(message) = Message::parse(&carried.bytes) else { continue };
            let (outwards, branch) = (s.is_vip(carried.from), message.branch());
            let (at, from, to, survived) = (carried.at, carried.from, carried.to, carried.survived);
            let rung = Rung { at, from, to, outwards, survived, message, branch };
            calls.entry(rung.message.call_id().to_string()).or_default().push(rung);
        }
        Wire { calls }
    }
}
