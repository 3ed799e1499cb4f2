//! What must be true of what goes over the planes, whatever dies, is stopped or cut off. Looks at datagrams, and at which
//! processes run; not at what anybody counts or logs. Holds in every simulation in which heartbeats beat.
//!
//! - Leases (`leases`): nobody sends towards the outside without one.
//! - I5 (`i05_down`): no SIP message to a node more than 200 ms after it was marked down.
//! - I6 (`i06_holders`): one holder a call; who holds one that lives keeps it.
//! - no slot is without an owner for more than 450 ms while the load manager judges (`owners`).
//! - no message is passed to a node that has seen it.
//! - rule 1 (`ack_after_shadow`): nothing that stops a repeat leaves before a backup holds what it says.

use super::ack_after_shadow::AckAfterShadow;
use super::beacons::Beacons;
use super::i05_down::Down;
use super::i06_holders::Holders;
use super::leases::Leases;
use super::owners::Owners;
use crate::network::Datagram;
use crate::site::Site;
use common::call_hash::CallHash;
use common::ids::{BootId, NodeId};
use common::sip::call_id;
use common::time::Time;
use common::wire::beacon::Beacon;
use common::wire::proxy::ProxyHeader;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Planes {
    leases: Leases,
    down: Down,
    holders: Holders,
    owners: Owners,
    shadowed: AckAfterShadow,
    /// Slow backups cannot be told from others.
    storm: bool,
    live: Live,
    beacons: Beacons,
    violation: Option<Violation>,
}

/// What was not as it must be, and in which call.
pub struct Violation {
    pub what: String,
    pub call_id: Option<String>,
}

/// Whom the load manager holds live, as its beacons say.
#[derive(Default)]
pub struct Live {
    pub nodes: BTreeMap<NodeId, BootId>,
    /// When each incarnation that was live was removed last.
    pub removed: BTreeMap<(NodeId, BootId), Time>,
    epoch: u64,
}

impl Live {
    fn beacon(&mut self, now: Time, beacon: &Beacon) {
        if beacon.learning || beacon.epoch.0 <= self.epoch {
            return;
        }
        self.epoch = beacon.epoch.0;
        let live: BTreeMap<NodeId, BootId> = beacon.inputs.live().collect();
        for (node, boot) in &self.nodes {
            if live.get(node) != Some(boot) {
                self.removed.insert((*node, *boot), now);
            }
        }
        self.nodes = live;
    }
}

impl Planes {
    pub fn weathers_a_storm(&mut self) {
        self.storm = true;
    }

    /// A datagram leaves a host.
    pub fn sent(&mut self, site: &Site, now: Time, datagram: &Datagram) {
        if site.lm.is_control(datagram.from)
            && let Some(beacon) = self.beacons.read(site, datagram)
        {
            self.live.beacon(now, &beacon);
            self.leases.echo(&beacon);
        }
        let header = inside(site, datagram);
        let mut found = self.leases.sent(site, now, datagram);
        if site.nodes.iter().any(|node| node.is_shadow(datagram.from)) {
            self.shadowed.told(site, now, datagram);
        }
        if let Some((header, start)) = header.as_ref().filter(|_| site.lm.is_egress(datagram.to)) {
            let message = &datagram.bytes[*start..];
            let hash = CallHash::of(&site.keys.placement, call_id(message).unwrap_or_default());
            let lives = |node, boot| self.live.nodes.get(&node) == Some(&boot);
            if !self.storm {
                found = found.and(self.shadowed.leaves(now, (header.sender, header.boot), hash, message, lives));
            }
        }
        if let Some((header, _)) = &header {
            let to = site.nodes.iter().find(|node| node.owns(datagram.to)).map(|node| node.id());
            let seen = to.filter(|to| header.visited.contains(to));
            found = found.and(seen.map_or(Ok(()), |to| Err(format!("a message was passed to node {to} again"))));
            found = found.and(to.map_or(Ok(()), |to| self.down.sent(&self.live, now, to)));
        }
        self.note(found, header.and_then(|(_, start)| call_id(&datagram.bytes[start..])));
    }

    /// A datagram reaches a host.
    pub fn heard(&mut self, site: &Site, datagram: &Datagram) {
        let node = site.nodes.iter().find(|node| node.owns(datagram.to) && node.is_control(datagram.to));
        if let (Some(node), Some(beacon)) = (node, node.and_then(|_| self.beacons.read(site, datagram))) {
            self.leases.heard(node, &beacon);
        }
        if site.nodes.iter().any(|node| node.is_shadow(datagram.to)) {
            self.shadowed.heard(site, datagram);
        }
        if site.lm.is_egress(datagram.from)
            && let Some((_, start)) = inside(site, datagram)
        {
            let message = &datagram.bytes[start..];
            self.shadowed.comes(CallHash::of(&site.keys.placement, call_id(message).unwrap_or_default()), message);
        }
    }

    /// The load manager has let this datagram of a node out.
    pub fn left(&mut self, site: &Site, now: Time, datagram: &Datagram) {
        let Some(header) = inside(site, datagram) else { return };
        let message = &datagram.bytes[header.1..];
        let found = self.holders.left(&self.live, now, &header.0, message);
        self.note(found, call_id(message));
    }

    /// Time has passed.
    pub fn look(&mut self, site: &Site, now: Time) {
        let found = self.owners.look(site, &self.leases, now);
        self.note(found, None);
    }

    fn note(&mut self, found: Result<(), String>, call_id: Option<&[u8]>) {
        if let (Err(what), None) = (found, &self.violation) {
            let call_id = call_id.map(|id| String::from_utf8_lossy(id).into_owned());
            self.violation = Some(Violation { what, call_id });
        }
    }

    /// Whether an incarnation that held anything of this call was removed since: then it may be lost.
    pub fn is_orphaned(&self, call_id: &str) -> bool {
        self.holders.is_orphaned(&self.live, call_id)
    }

    /// The first thing that was not as it must be.
    pub fn take_violation(&mut self) -> Option<Violation> {
        self.violation.take()
    }
}

/// The header of a SIP message on the planes, and where the message begins.
fn read(site: &Site, datagram: &Datagram) -> Option<(ProxyHeader, usize)> {
    ProxyHeader::read(&datagram.bytes, &site.keys.plane, call_id).ok()
}

fn inside(site: &Site, datagram: &Datagram) -> Option<(ProxyHeader, usize)> {
    let carries_sip = datagram.bytes.starts_with(b"\r\n\r\n\0\r\nQUIT\n");
    carries_sip.then(|| read(site, datagram)).flatten()
}
