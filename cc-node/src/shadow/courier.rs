//! Parcels on the planes: sealed for who is to read them, and opened if they come from a worker of this rack, over the
//! plane for which they were sealed. One per worker; its shell has the sockets.

use super::words::{Parcel, Post};
use crate::effect::Over;
use common::config::{Planes, Rack};
use common::ids::{NodeId, Plane};
use common::keys::Keys;
use common::time::Time;
use common::wire::packet::{Kind, Opener, PacketError, Sealer};
use common::wire::proxy::Sent;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Why a datagram says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// Not where the rack file has its sender, or over the other plane, or our own.
    #[error("it is not from where its sender is")]
    Sender,
    /// Handed over too long ago: somebody has kept it.
    #[error("it was kept")]
    Stale,
}

struct Node {
    planes: Planes,
    port: u16,
    workers: u16,
}

pub struct Courier {
    us: Post,
    own: Planes,
    nodes: BTreeMap<NodeId, Node>,
    sealer: Sealer,
    opener: Opener,
    sealed: Vec<u8>,
}

impl Courier {
    pub fn new(us: Post, rack: &Rack) -> Courier {
        let node = |node: &common::config::CcNode| {
            (node.id, Node { planes: node.planes, port: node.shadow_port, workers: node.workers })
        };
        let nodes: BTreeMap<NodeId, Node> = rack.cc_nodes.iter().map(node).collect();
        let own = nodes.get(&us.node).map_or(Planes { a: std::net::Ipv4Addr::LOCALHOST.into(), b: None }, |n| n.planes);
        let (sealer, opener) = (Sealer::new(Kind::Shadow, us), Opener::new(Kind::Shadow));
        Courier { us, own, nodes, sealer, opener, sealed: Vec::new() }
    }

    /// Hands over the datagram for each plane that the parcel takes.
    pub fn pack(&mut self, keys: &Keys, sent: Sent, parcel: &Parcel, mut send: impl FnMut(Plane, SocketAddr, &[u8])) {
        let Some(node) = self.nodes.get(&parcel.to.node) else { return };
        let both = |(plane, _): &(Plane, _)| self.own.address(*plane).is_some();
        let planes: SmallVec<[(Plane, _); 2]> = node.planes.iter().filter(both).collect();
        let chosen = match parcel.over {
            Over::EveryPlane => &planes[..],
            Over::InTurn(n) => planes.get(usize::from(n) % planes.len().max(1)).map_or(&[][..], std::slice::from_ref),
        };
        for (plane, ip) in chosen {
            self.sealed.clear();
            self.sealer.seal(&keys.plane, *plane, sent, &parcel.plain, &mut self.sealed);
            send(*plane, SocketAddr::new(*ip, node.port.saturating_add(parcel.to.worker)), &self.sealed);
        }
    }

    /// Who says it, and what. `now` is the load manager's.
    pub fn open(
        &mut self,
        keys: &Keys,
        now: Time,
        (plane, from): (Plane, SocketAddr),
        datagram: &[u8],
    ) -> Result<(Post, Vec<u8>), Refused> {
        let opened = self.opener.open(&keys.plane, datagram)?;
        keys.plane.proved(opened.key);
        let is_its = |node: &Node| {
            let port = node.port.saturating_add(opened.from.worker);
            opened.from.worker < node.workers && node.planes.address(plane) == Some(from.ip()) && from.port() == port
        };
        let known = self.nodes.get(&opened.from.node).is_some_and(is_its);
        // Another worker of this process may have something to say; an earlier incarnation and we ourselves do not.
        let is_ours = opened.from.node == self.us.node
            && (opened.from.worker == self.us.worker || opened.from.boot != self.us.boot);
        if !known || opened.plane != plane || is_ours {
            return Err(Refused::Sender);
        }
        if !opened.sent.is_fresh(now) {
            return Err(Refused::Stale);
        }
        Ok((opened.from, opened.plain))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::ids::BootId;
    use common::keys::RackKey;
    use common::wire::proxy::FRESH;

    const NOW: Time = Time(77_000_000);

    fn post(node: u16) -> Post {
        Post { node: NodeId(node), boot: BootId(7), worker: 0 }
    }

    fn parcel(to: u16, over: Over) -> Parcel {
        Parcel { to: post(to), over, plain: b"words".to_vec() }
    }

    fn rack(planes: usize) -> Rack {
        let mut rack = Rack::one_machine_default(3).expand();
        for node in &mut rack.cc_nodes {
            let of = |a: u8| std::net::IpAddr::from([10, 0, a, node.id.0 as u8]);
            node.planes = Planes { a: of(1), b: (planes == 2).then(|| of(2)) };
        }
        rack
    }

    fn packed(courier: &mut Courier, keys: &Keys, parcel: &Parcel) -> Vec<(Plane, SocketAddr, Vec<u8>)> {
        let mut sent = Vec::new();
        courier.pack(keys, Sent::at(NOW), parcel, |plane, to, octets| sent.push((plane, to, octets.to_vec())));
        sent
    }

    #[test]
    fn planes_are_taken_in_turn_or_all_of_them() {
        let keys = Keys::derive(&RackKey([1; 32]));
        for (planes, over, expected) in [
            (2, Over::InTurn(0), vec![Plane::A]),
            (2, Over::InTurn(1), vec![Plane::B]),
            (2, Over::InTurn(2), vec![Plane::A]),
            (2, Over::EveryPlane, vec![Plane::A, Plane::B]),
            (1, Over::InTurn(1), vec![Plane::A]),
            (1, Over::EveryPlane, vec![Plane::A]),
        ] {
            let mut courier = Courier::new(post(1), &rack(planes));
            let sent = packed(&mut courier, &keys, &parcel(2, over));
            assert_eq!(sent.iter().map(|(plane, ..)| *plane).collect::<Vec<_>>(), expected, "{planes} {over:?}");
            assert!(sent.iter().all(|(_, to, _)| to.port() == 15_250));
        }
    }

    #[test]
    fn only_its_worker_is_heard_and_only_over_its_plane() {
        let (rack, keys) = (rack(2), Keys::derive(&RackKey([1; 32])));
        let (mut one, mut two) = (Courier::new(post(1), &rack), Courier::new(post(2), &rack));
        let (plane, _, octets) = packed(&mut one, &keys, &parcel(2, Over::InTurn(0))).remove(0);
        let from: SocketAddr = "10.0.1.1:15230".parse().unwrap();
        assert_eq!(two.open(&keys, NOW, (plane, from), &octets), Ok((post(1), b"words".to_vec())));
        assert_eq!(two.open(&keys, NOW, (Plane::B, from), &octets), Err(Refused::Sender), "not over this plane");
        let on_b: SocketAddr = "10.0.2.1:15230".parse().unwrap();
        assert_eq!(two.open(&keys, NOW, (Plane::B, on_b), &octets), Err(Refused::Sender), "sealed for the other");
        let elsewhere: SocketAddr = "10.0.1.3:15230".parse().unwrap();
        assert_eq!(two.open(&keys, NOW, (plane, elsewhere), &octets), Err(Refused::Sender));
        let port: SocketAddr = "10.0.1.1:15231".parse().unwrap();
        assert_eq!(two.open(&keys, NOW, (plane, port), &octets), Err(Refused::Sender));
        assert_eq!(one.open(&keys, NOW, (plane, from), &octets), Err(Refused::Sender), "our own come back to us");
        let beside = Post { worker: 1, ..post(1) };
        let mut beside_us = Courier::new(beside, &{
            let mut rack = rack.clone();
            rack.cc_nodes.iter_mut().for_each(|node| node.workers = 2);
            rack
        });
        assert_eq!(
            beside_us.open(&keys, NOW, (plane, from), &octets),
            Ok((post(1), b"words".to_vec())),
            "another worker"
        );
        assert_eq!(two.open(&keys, NOW + FRESH + FRESH, (plane, from), &octets), Err(Refused::Stale));
        let others = Keys::derive(&RackKey([2; 32]));
        let mut stranger = Courier::new(post(2), &rack);
        let forged = Err(Refused::Packet(PacketError::Forged));
        assert_eq!(stranger.open(&others, NOW, (plane, from), &octets), forged);
    }

    #[test]
    fn another_worker_of_the_same_process_is_heard() {
        let (mut rack, keys) = (rack(1), Keys::derive(&RackKey([1; 32])));
        rack.cc_nodes.iter_mut().for_each(|node| node.workers = 2);
        let second = Post { worker: 1, ..post(1) };
        let (mut us, mut other) = (Courier::new(post(1), &rack), Courier::new(second, &rack));
        let (plane, to, octets) = packed(&mut other, &keys, &parcel(1, Over::InTurn(0))).remove(0);
        assert_eq!(to, "10.0.1.1:15230".parse().unwrap());
        let from: SocketAddr = "10.0.1.1:15231".parse().unwrap();
        assert_eq!(us.open(&keys, NOW, (plane, from), &octets), Ok((second, b"words".to_vec())));
        let mut next = Courier::new(Post { boot: BootId(8), ..post(1) }, &rack);
        assert_eq!(next.open(&keys, NOW, (plane, from), &octets), Err(Refused::Sender), "of the process before");
    }
}
