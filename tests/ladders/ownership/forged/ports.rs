//! Who listens where on the planes, and what it is that goes there.

use common::ids::Plane;
use simulated_rack::chance::Chance;
use simulated_rack::network::Datagram;
use simulated_rack::simulation::Simulation;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub const PLANES: [Plane; 2] = [Plane::A, Plane::B];

/// The outsider's own address: on a plane, and no host's of the rack.
pub const OUTSIDE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 1, 66)), 15_020);

/// What a datagram on the planes is, by where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What a node says to the load manager: a heartbeat or a report.
    Word,
    Beacon,
    /// A message behind a PROXY header: from a node to the outside,
    Outwards,
    /// from the load manager to a node,
    Inwards,
    /// from a node to a node.
    Between,
    /// A sealed datagram about calls, from a node to a node.
    Shadow,
}

/// One port on both planes.
pub type Pair = [SocketAddr; 2];

#[derive(Clone)]
pub struct Ports {
    pub lm_control: Pair,
    pub lm_egress: Pair,
    /// Of each node.
    pub control: Vec<Pair>,
    pub sip: Vec<Pair>,
    pub shadow: Vec<Pair>,
}

impl Ports {
    pub fn of(s: &Simulation) -> Ports {
        Ports {
            lm_control: PLANES.map(|plane| s.lm().control_address(plane)),
            lm_egress: PLANES.map(|plane| s.lm().egress_address(plane)),
            control: s.nodes().iter().map(|node| PLANES.map(|plane| node.control_address(plane))).collect(),
            sip: s.nodes().iter().map(|node| PLANES.map(|plane| node.sip_address(plane))).collect(),
            shadow: s.nodes().iter().map(|node| PLANES.map(|plane| node.shadow_address(plane))).collect(),
        }
    }

    pub fn kind(&self, heard: &Datagram) -> Kind {
        if self.lm_control.contains(&heard.to) {
            return Kind::Word;
        }
        if self.lm_egress.contains(&heard.to) {
            return Kind::Outwards;
        }
        if self.control.iter().any(|own| own.contains(&heard.to)) {
            return Kind::Beacon;
        }
        if self.shadow.iter().any(|own| own.contains(&heard.to)) {
            return Kind::Shadow;
        }
        if self.lm_egress.contains(&heard.from) { Kind::Inwards } else { Kind::Between }
    }

    /// The same port on the other plane.
    pub fn across(&self, port: SocketAddr) -> SocketAddr {
        let of_nodes = self.control.iter().chain(&self.sip).chain(&self.shadow);
        let own = [&self.lm_control, &self.lm_egress].into_iter().chain(of_nodes).find(|own| own.contains(&port));
        own.map_or(port, |own| if own[0] == port { own[1] } else { own[0] })
    }
}

/// Any node's, on either plane.
pub fn any_nodes(dice: &mut Chance, of: &[Pair]) -> SocketAddr {
    let node = one_of(dice, of);
    one_of(dice, &node)
}

pub fn one_of<T: Copy>(dice: &mut Chance, of: &[T]) -> T {
    of[dice.between(0, of.len() as u64 - 1) as usize]
}
