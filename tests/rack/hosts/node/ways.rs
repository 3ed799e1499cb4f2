//! How a simulated node's messages leave: behind PROXY headers, towards the load manager or another node, as its `io` does
//! it.

use super::Out;
use bytes::Bytes;
use cc_node::effect::Over;
use common::call_hash::CallHash;
use common::config::{CcNode, Rack};
use common::ids::{BootId, Epoch, ListenerId, NodeId, Plane, Transport};
use common::keys::Keys;
use common::sip::call_id;
use common::time::Time;
use common::wire::proxy::{self, Direction, ProxyHeader, Sent};
use std::net::SocketAddr;
use std::sync::Arc;

/// What does not change while the process lives.
pub struct Ways {
    pub rack: Arc<Rack>,
    pub keys: Arc<Keys>,
    pub config: CcNode,
}

/// How a message leaves the rack.
pub struct Outwards {
    pub boot: BootId,
    pub epoch: Epoch,
    pub plane: Plane,
    pub listener: ListenerId,
    pub to: SocketAddr,
    pub transport: Transport,
    pub now: Time,
}

impl Ways {
    /// Towards the outside, by the load manager.
    pub fn outwards(&self, way: &Outwards, message: &Bytes) -> Option<Out> {
        let source = self.rack.listeners.get(usize::from(way.listener.0))?.socket_address();
        let header = ProxyHeader {
            sender: self.config.id,
            transport: way.transport,
            direction: Direction::Egress,
            ..ProxyHeader::ingress(source, way.to, way.listener, way.boot, way.epoch, Sent::at(way.now))
        };
        Some(Out::Egress { plane: way.plane, bytes: self.behind(&header, message)? })
    }

    /// To the worker of another node, on the planes that both have.
    pub fn inside(&self, to: NodeId, over: Over, header: &ProxyHeader, message: &Bytes) -> Vec<Out> {
        let (Some(node), Some(bytes)) = (self.rack.node(to), self.behind(header, message)) else { return Vec::new() };
        let both = |(plane, _): &(Plane, _)| self.config.planes.address(*plane).is_some();
        let planes: Vec<_> = node.planes.iter().filter(both).collect();
        let chosen = match over {
            Over::EveryPlane => planes,
            Over::InTurn(n) => planes.iter().cycle().skip(usize::from(n)).take(1).copied().collect(),
        };
        let call = call_id(message).unwrap_or_default();
        let worker = CallHash::of(&self.keys.placement, call).worker(node.workers.max(1));
        let one = |(plane, ip)| {
            let to = SocketAddr::new(ip, node.sip_port + worker);
            Out::Inside { plane, to, bytes: bytes.clone() }
        };
        chosen.into_iter().map(one).collect()
    }

    fn behind(&self, header: &ProxyHeader, message: &Bytes) -> Option<Bytes> {
        let mut head = [0; proxy::MAX];
        let (id, key) = self.keys.plane.current();
        let length = header.write(key, id, call_id(message)?, &mut head);
        Some([&head[..length], message].concat().into())
    }
}
