//! No node sends towards the outside without a lease: 300 ms from the sending of its newest heartbeat of which it has heard
//! the echo. Looks at nothing but what goes over the planes, and holds in every simulation in which heartbeats beat.

use crate::hosts::node::NodeHost;
use crate::network::Datagram;
use crate::site::Site;
use common::ids::{BootId, NodeId};
use common::time::{Duration, Time};
use common::wire::beacon::Beacon;
use common::wire::heartbeat;
use std::collections::BTreeMap;

const LEASE: Duration = Duration::from_millis(300);
/// Heartbeats that are remembered before the old ones are forgotten.
const KNOWN: usize = 4096;

#[derive(Default)]
pub struct Leases {
    /// When each heartbeat of each incarnation was sent.
    beats: BTreeMap<(NodeId, BootId, u64), Time>,
    until: BTreeMap<(NodeId, BootId), Time>,
    /// When the newest heartbeat of each that any beacon has echoed was sent.
    echoed: BTreeMap<(NodeId, BootId), Time>,
}

impl Leases {
    /// A datagram leaves a host of this rack.
    pub fn sent(&mut self, site: &Site, now: Time, datagram: &Datagram) -> Result<(), String> {
        let Some(node) = site.nodes.iter().find(|node| node.owns(datagram.from)) else { return Ok(()) };
        if let Some((boot, sequence)) = beat(site, &datagram.bytes) {
            // Older ones give nothing any more.
            if self.beats.len() == KNOWN {
                self.beats.retain(|_, at| now.since(*at) < LEASE);
            }
            self.beats.insert((node.id(), boot, sequence), now);
        } else if site.lm.is_egress(datagram.to) && !self.beats.is_empty() {
            let until = node.boot().and_then(|boot| self.until.get(&(node.id(), boot)).copied()).unwrap_or_default();
            if now >= until {
                return Err(format!("node {} sent at {now:?}, and its lease ended at {until:?}", node.id()));
            }
        }
        Ok(())
    }

    /// A beacon leaves the load manager.
    pub fn echo(&mut self, beacon: &Beacon) {
        for echo in &beacon.echoes {
            let Some(at) = self.beats.get(&(echo.node, echo.boot, echo.sequence)) else { continue };
            let newest = self.echoed.entry((echo.node, echo.boot)).or_default();
            *newest = (*newest).max(*at);
        }
    }

    /// When the newest heartbeat that the load manager takes for a sign of life was sent.
    pub fn last_sign(&self, node: NodeId, boot: BootId) -> Option<Time> {
        self.echoed.get(&(node, boot)).copied()
    }

    /// Whether this incarnation may send.
    pub fn has(&self, node: NodeId, boot: BootId, now: Time) -> bool {
        self.until.get(&(node, boot)).is_some_and(|until| now < *until)
    }

    /// A beacon reaches a node.
    pub fn heard(&mut self, node: &NodeHost, beacon: &Beacon) {
        let echoes = beacon.echoes.iter().filter(|echo| echo.node == node.id() && Some(echo.boot) == node.boot());
        for echo in echoes {
            let Some(at) = self.beats.get(&(echo.node, echo.boot, echo.sequence)) else { continue };
            let until = self.until.entry((echo.node, echo.boot)).or_default();
            *until = (*until).max(*at + LEASE);
        }
    }
}

fn beat(site: &Site, bytes: &[u8]) -> Option<(BootId, u64)> {
    let heartbeat = heartbeat::decode(bytes, &site.keys.plane, false).ok()?;
    heartbeat.v2.map(|v2| (v2.boot, v2.sequence))
}
