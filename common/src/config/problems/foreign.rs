//! Foreign nodes: whether anybody listens to them, and whether they can be told from the rack's own servers.

use super::Check;
use crate::config::rack::Rack;
use std::net::IpAddr;

impl Check<'_> {
    pub(super) fn foreign_nodes(&mut self) {
        let rack = self.rack;
        let accepts = rack.heartbeat.accept_v1;
        self.unless(
            accepts || rack.nodes.is_empty(),
            "nodes",
            "are foreign nodes, and `heartbeat.accept_v1` is false: nobody would hear them",
            "set `heartbeat: { accept_v1: true }`, or remove the list",
        );
        self.unless(
            !accepts || !rack.nodes.is_empty(),
            "heartbeat.accept_v1",
            "has nobody to accept: `nodes` is empty",
            "list the foreign nodes, such as `nodes: [ { id: 101, address: 10.0.0.7 } ]`, or leave it out",
        );
        let count = rack.nodes.len();
        self.unless(count <= 250, "nodes", format!("{count} foreign nodes"), "use at most 250");
        let own = rack.expand();
        self.foreign_ids(&own);
        self.foreign_addresses(&own);
    }

    /// `own`: this rack, expanded.
    fn foreign_ids(&mut self, own: &Rack) {
        let nodes = &self.rack.nodes;
        for (i, node) in nodes.iter().enumerate() {
            let at = format!("nodes.{i}.id");
            self.unless(node.id.0 > 0, &at, "0 means nobody", "use 1 to 65535");
            self.unless(
                own.node(node.id).is_none(),
                &at,
                format!("{} is the id of a cc-node", node.id),
                "use an id that no cc-node has",
            );
            let first = nodes.iter().position(|n| n.id == node.id).unwrap_or(i);
            self.unless(
                first == i,
                &at,
                format!("{} is the id of nodes.{first} already", node.id),
                "give every foreign node an id of its own",
            );
        }
    }

    /// `own`: this rack, expanded.
    fn foreign_addresses(&mut self, own: &Rack) {
        let nodes = &self.rack.nodes;
        for (i, node) in nodes.iter().enumerate() {
            let at = format!("nodes.{i}.address");
            self.unless(
                is_one_host(node.address),
                &at,
                format!("{} is no address of one host", node.address),
                "write the address that its heartbeats come from",
            );
            let load_managers = own.load_managers.iter().map(|lm| (lm.planes, "a load manager"));
            let mut servers = load_managers.chain(own.cc_nodes.iter().map(|node| (node.planes, "a cc-node")));
            if let Some((_, server)) = servers.find(|(planes, _)| planes.iter().any(|(_, ip)| ip == node.address)) {
                self.say(
                    &at,
                    format!("{} is the address of {server}", node.address),
                    "a foreign node stands on a host of its own",
                );
            }
            let first = nodes.iter().position(|n| n.address == node.address).unwrap_or(i);
            self.unless(
                first == i,
                &at,
                format!("{} is the address of nodes.{first} already", node.address),
                "give every foreign node an address of its own",
            );
        }
    }
}

fn is_one_host(address: IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast()
}
