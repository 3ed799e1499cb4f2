//! Every service of the rack as Prometheus reads it from a URL (http_sd): address of the admin port, and labels.

use common::config::Rack;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use utoipa::ToSchema;

/// One service
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TargetGroup {
    /// host:port of its admin port
    pub targets: Vec<String>,
    /// rack, kind (lm-server, cc-node, location-server), id, name
    pub labels: BTreeMap<&'static str, String>,
}

/// From an expanded rack file.
pub fn target_groups(rack: &Rack) -> Vec<TargetGroup> {
    let group = |kind: &str, id: u16, admin: SocketAddr| TargetGroup {
        targets: vec![admin.to_string()],
        labels: BTreeMap::from([
            ("rack", rack.name.clone()),
            ("kind", kind.to_owned()),
            ("id", id.to_string()),
            ("name", format!("{kind}-{id}")),
        ]),
    };
    let load_managers = rack.load_managers.iter().map(|s| group("lm-server", s.id, s.admin));
    let nodes = rack.cc_nodes.iter().map(|s| group("cc-node", s.id.0, s.admin));
    let location_servers = rack.location_servers.iter().map(|s| group("location-server", s.id, s.admin));
    load_managers.chain(nodes).chain(location_servers).collect()
}
