//! Who may hand a worker a message: the load managers and nodes of the rack file, from their plane addresses, with a PROXY
//! header under the plane key's MAC. Called for every datagram that reaches a worker; a trunk's address in a forged header would
//! be free calls, so nothing passes by address alone.

use common::config::{Planes, Rack};
use common::ids::NodeId;
use common::keys::Keys;
use common::sip::call_id;
use common::time::Time;
use common::wire::proxy::{Direction, ProxyHeader};
use std::net::{IpAddr, SocketAddr};

/// Why a datagram is dropped at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Header,
    Sender,
    /// Handed over too long ago: somebody has kept it.
    Stale,
}

pub struct Doorman {
    load_managers: Vec<IpAddr>,
    nodes: Vec<(NodeId, Planes)>,
}

impl Doorman {
    pub fn new(rack: &Rack) -> Doorman {
        let load_managers = rack.load_managers.iter().flat_map(|lm| lm.planes.iter()).map(|(_, ip)| ip).collect();
        let nodes = rack.cc_nodes.iter().map(|node| (node.id, node.planes)).collect();
        Doorman { load_managers, nodes }
    }

    /// The header, and where the message begins. `now` is the load manager's.
    pub fn admit(
        &self,
        keys: &Keys,
        now: Time,
        datagram: &[u8],
        from: SocketAddr,
    ) -> Result<(ProxyHeader, usize), Refused> {
        // The address first: it costs nothing.
        if !self.is_inside(from.ip()) {
            return Err(Refused::Sender);
        }
        let (header, offset) = ProxyHeader::read(datagram, &keys.plane, call_id).map_err(|_| Refused::Header)?;
        let is_node =
            |node| self.nodes.iter().any(|(id, planes)| *id == node && planes.iter().any(|(_, ip)| ip == from.ip()));
        let may = match (header.direction, header.sender) {
            (Direction::Ingress, NodeId(0)) => self.load_managers.contains(&from.ip()),
            (Direction::Inside, node) => is_node(node),
            // What goes outwards is for the load manager.
            (Direction::Ingress | Direction::Egress, _) => false,
        };
        match may {
            false => Err(Refused::Sender),
            true if !header.sent.is_fresh(now) => Err(Refused::Stale),
            true => Ok((header, offset)),
        }
    }

    fn is_inside(&self, ip: IpAddr) -> bool {
        self.load_managers.contains(&ip) || self.nodes.iter().any(|(_, p)| p.iter().any(|(_, own)| own == ip))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::ids::{BootId, Epoch, ListenerId};
    use common::keys::RackKey;
    use common::wire::proxy::{FRESH, MAX, Sent};

    const NOW: Time = Time(77_000_000);
    const MESSAGE: &[u8] = b"OPTIONS sip:rack.test SIP/2.0\r\nCall-ID: c1\r\n\r\n";

    fn keys(seed: u8) -> Keys {
        Keys::derive(&RackKey([seed; 32]))
    }

    fn datagram(keys: &Keys, sender: u16, direction: Direction) -> Vec<u8> {
        let header = ProxyHeader {
            sender: NodeId(sender),
            direction,
            ..ProxyHeader::ingress(
                "198.51.100.9:1024".parse().unwrap(),
                "127.0.0.1:5060".parse().unwrap(),
                ListenerId(0),
                BootId(1),
                Epoch(1),
                Sent::at(NOW),
            )
        };
        let (id, key) = keys.plane.current();
        let mut out = [0; MAX];
        let n = header.write(key, id, b"c1", &mut out);
        [&out[..n], MESSAGE].concat()
    }

    #[test]
    fn only_members_with_the_key_from_their_addresses() {
        let rack = Rack::one_machine_default(3).expand();
        let (doorman, keys, foreign) = (Doorman::new(&rack), keys(1), keys(2));
        let inside = "127.0.0.1:15010".parse().unwrap();
        let enter = |d: &[u8], from| doorman.admit(&keys, NOW, d, from).map(|(h, at)| (h.source.port(), d.len() - at));
        let good = datagram(&keys, 0, Direction::Ingress);
        assert_eq!(enter(&good, inside), Ok((1024, MESSAGE.len())));
        assert_eq!(enter(&datagram(&keys, 2, Direction::Inside), inside), Ok((1024, MESSAGE.len())));
        assert_eq!(enter(&good, "192.0.2.1:15010".parse().unwrap()), Err(Refused::Sender), "not from a plane");
        assert_eq!(enter(&datagram(&keys, 9, Direction::Inside), inside), Err(Refused::Sender), "no such node");
        assert_eq!(enter(&datagram(&keys, 2, Direction::Egress), inside), Err(Refused::Sender), "not for a node");
        assert_eq!(enter(&datagram(&keys, 2, Direction::Ingress), inside), Err(Refused::Sender), "no load manager");
        assert_eq!(enter(&datagram(&foreign, 0, Direction::Ingress), inside), Err(Refused::Header), "another key");
        assert_eq!(enter(MESSAGE, inside), Err(Refused::Header));
        let at = |now| doorman.admit(&keys, now, &good, inside).map(|(h, _)| h.source.port());
        assert_eq!((at(NOW + FRESH), at(NOW - FRESH)), (Ok(1024), Ok(1024)));
        assert_eq!(at(NOW + FRESH + FRESH), Err(Refused::Stale), "kept by somebody");
        let moved = [&good[..good.len() - MESSAGE.len()], &MESSAGE.to_vec()[..]].concat();
        let moved = String::from_utf8_lossy(&moved).into_owned().replace("c1", "c2").into_bytes();
        assert_eq!(enter(&moved, inside), Err(Refused::Header), "a header moved to another call");
    }
}
