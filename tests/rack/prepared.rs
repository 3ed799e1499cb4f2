//! A rack as it stands when all are started and level: its file read, its keys derived, its placement computed. Made
//! once and shared by thousands of simulations.

use common::config::Rack;
use common::ids::{BootId, Epoch, NodeId, Plane};
use common::keys::{Keys, RackKey};
use common::placement::{Inputs, Member, Placement, Policy};
use lm_server::table::{Reach, Standing, Table};
use std::net::SocketAddr;
use std::sync::Arc;

pub struct Prepared {
    pub rack: Arc<Rack>,
    pub keys: Arc<Keys>,
    /// With every node of the rack started.
    pub table: Arc<Table>,
}

impl Prepared {
    /// `key`: two racks have two keys.
    pub fn new(yaml: &str, key: u8) -> Prepared {
        let rack = Rack::from_yaml("rack.yaml", yaml).unwrap_or_else(|e| panic!("{e}")).expand();
        let keys = Arc::new(Keys::derive(&RackKey([key; 32])));
        let members = rack.cc_nodes.iter().map(|node| Member {
            node: node.id,
            weight: 100,
            class: node.class,
            domain: node.failure_domain(),
            live: Some(boot(node.id)),
            draining: false,
            retired: Vec::new(),
        });
        let inputs = Inputs { policy: Policy::Rendezvous, members: members.collect(), ..Inputs::default() };
        let placement = Arc::new(Placement::compute(&keys.placement, Epoch(1), inputs));
        let reach = rack.cc_nodes.iter().map(|node| Reach {
            node: node.id,
            boot: Some(boot(node.id)),
            standing: Standing::Started,
            admit: u16::MAX,
            admitted: u16::MAX,
            floor: Epoch(0),
            plane: Plane::A,
            workers: vec![SocketAddr::new(node.planes.a, node.sip_port)],
        });
        let table = Arc::new(Table::new(placement, reach));
        Prepared { rack: Arc::new(rack), keys, table }
    }
}

/// The incarnation of a node in a rack that stands.
pub fn boot(node: NodeId) -> BootId {
    BootId(100 + u64::from(node.0))
}
