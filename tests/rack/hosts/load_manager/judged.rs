//! What a load manager says of a datagram, for ladders in which somebody forges: the same question that its packet path asks.

use super::LoadManagerHost;
use common::time::Time;
use lm_server::forward::{DropReason, egress};
use std::net::SocketAddr;

impl LoadManagerHost {
    /// Where this would leave for if it came to an egress port now, or why it would not. None: it does not forward.
    pub fn lets_out(&self, now: Time, datagram: &[u8]) -> Option<Result<SocketAddr, DropReason>> {
        let alive = self.alive.as_ref().filter(|alive| alive.reads)?;
        Some(egress(&alive.gate, &alive.table, self.own(now), datagram).map(|outgoing| outgoing.to))
    }
}
