//! The servers: how many, their ids, their planes, and ports that clash.

use super::Check;
use crate::config::network::Planes;
use crate::config::rack::Rack;
use std::collections::BTreeMap;
use std::net::SocketAddr;

impl Check<'_> {
    pub(super) fn servers(&mut self) {
        let rack = self.rack;
        let lists = !rack.load_managers.is_empty() || !rack.cc_nodes.is_empty() || !rack.location_servers.is_empty();
        if let Some(one) = &rack.one_machine {
            self.unless(
                !lists,
                "one_machine",
                "stands beside lists of servers",
                "keep either `one_machine` or load_managers, cc_nodes and location_servers",
            );
            self.unless(
                (1..=64).contains(&one.nodes),
                "one_machine.nodes",
                format!("{} nodes", one.nodes),
                "use 1 to 64",
            );
            self.unless(
                (1..=10).contains(&one.workers),
                "one_machine.workers",
                format!("{} workers", one.workers),
                "use 1 to 10",
            );
            let top = u32::from(one.base_port) + 220 + 20 * u32::from(one.nodes);
            let fits = one.base_port >= 1024 && top <= 65_535;
            self.unless(
                fits,
                "one_machine.base_port",
                format!("{} leaves no room for this rack's ports", one.base_port),
                format!("use 1024 to {}", 65_535 - 220 - 20 * u32::from(one.nodes.min(64))),
            );
            return;
        }
        if !lists {
            return self.say(
                "",
                "the rack has no servers",
                "add `one_machine: { nodes: 3 }`, or the lists load_managers, cc_nodes and location_servers",
            );
        }
        self.lists();
        self.planes();
    }

    fn lists(&mut self) {
        let rack = self.rack;
        self.unless(
            rack.load_managers.len() == 1,
            "load_managers",
            format!("{} load managers", rack.load_managers.len()),
            "this version runs exactly one: two would each decide alone who is alive",
        );
        self.unless(
            rack.location_servers.len() == 1,
            "location_servers",
            format!("{} location servers", rack.location_servers.len()),
            "this version runs exactly one: its log is on its own disk",
        );
        self.unless(
            (1..=250).contains(&rack.cc_nodes.len()),
            "cc_nodes",
            format!("{} nodes", rack.cc_nodes.len()),
            "use 1 to 250",
        );
        for (i, node) in rack.cc_nodes.iter().enumerate() {
            let at = |key: &str| format!("cc_nodes.{i}.{key}");
            self.unless(node.id.0 > 0, at("id"), "0 means nobody", "use 1 to 65535");
            let first = rack.cc_nodes.iter().position(|n| n.id == node.id).unwrap_or(i);
            self.unless(
                first == i,
                at("id"),
                format!("{} is the id of cc_nodes.{first} already", node.id),
                "give every node an id of its own",
            );
            self.unless(
                (1..=1000).contains(&node.weight),
                at("weight"),
                format!("{} is out of range", node.weight),
                "use 1 to 1000 (100 is usual)",
            );
            self.unless(
                (1..=64).contains(&node.workers),
                at("workers"),
                format!("{} workers", node.workers),
                "use 1 to 64",
            );
        }
        for (i, lm) in rack.load_managers.iter().enumerate() {
            self.unless(
                (1..=64).contains(&lm.workers),
                format!("load_managers.{i}.workers"),
                format!("{} workers", lm.workers),
                "use 1 to 64",
            );
        }
    }

    fn planes(&mut self) {
        let rack = self.rack;
        let named = |list: &str, planes: Vec<Planes>| -> Vec<(String, Planes)> {
            planes.into_iter().enumerate().map(|(i, p)| (format!("{list}.{i}.planes"), p)).collect()
        };
        let mut all = named("load_managers", rack.load_managers.iter().map(|s| s.planes).collect());
        all.extend(named("cc_nodes", rack.cc_nodes.iter().map(|s| s.planes).collect()));
        all.extend(named("location_servers", rack.location_servers.iter().map(|s| s.planes).collect()));
        let second = all.iter().any(|(_, planes)| planes.b.is_some());
        for (path, planes) in all {
            self.unless(
                planes.b.is_some() == second,
                &path,
                "has no address on plane b, others have",
                "give every server a `b`, or none",
            );
            self.unless(
                planes.b != Some(planes.a),
                &path,
                "a and b are the same address",
                "the planes are two networks",
            );
            let any = planes.a.is_unspecified() || planes.b.is_some_and(|b| b.is_unspecified());
            self.unless(!any, &path, "is no address of one host", "write the server's own address on the plane");
            let family = planes.b.is_none_or(|b| b.is_ipv4() == planes.a.is_ipv4());
            self.unless(family, &path, "IPv4 on one plane and IPv6 on the other", "use one family");
        }
    }

    pub(super) fn ports(&mut self) {
        let mut users: BTreeMap<(&str, SocketAddr), String> = BTreeMap::new();
        for (protocol, address, path) in sockets(&self.rack.expand()) {
            if let Some(other) = users.get(&(protocol, address)) {
                let path = if self.rack.one_machine.is_some() && !path.starts_with("listeners") {
                    "one_machine".into()
                } else {
                    path.clone()
                };
                let other = other.clone();
                self.say(path, format!("{protocol} {address} is taken by {other}"), "give one of them another port");
            } else {
                users.insert((protocol, address), path);
            }
        }
    }
}

/// Every socket that an expanded rack opens: protocol, address, the key that names it.
fn sockets(rack: &Rack) -> Vec<(&'static str, SocketAddr, String)> {
    let mut all = Vec::new();
    for (i, l) in rack.listeners.iter().enumerate() {
        all.push(("udp", l.socket_address(), format!("listeners.{i}.port")));
    }
    for (i, s) in rack.load_managers.iter().enumerate() {
        for (_, ip) in s.planes.iter() {
            all.push(("udp", SocketAddr::new(ip, s.control_port), format!("load_managers.{i}.control_port")));
            for worker in 0..s.workers {
                let port = s.egress_port.saturating_add(worker);
                all.push(("udp", SocketAddr::new(ip, port), format!("load_managers.{i}.egress_port")));
            }
        }
        all.push(("tcp", s.admin, format!("load_managers.{i}.admin")));
    }
    for (i, s) in rack.cc_nodes.iter().enumerate() {
        for (_, ip) in s.planes.iter() {
            all.push(("udp", SocketAddr::new(ip, s.control_port), format!("cc_nodes.{i}.control_port")));
            for worker in 0..s.workers {
                let port = s.sip_port.saturating_add(worker);
                all.push(("udp", SocketAddr::new(ip, port), format!("cc_nodes.{i}.sip_port")));
                let port = s.shadow_port.saturating_add(worker);
                all.push(("udp", SocketAddr::new(ip, port), format!("cc_nodes.{i}.shadow_port")));
            }
        }
        all.push(("tcp", s.admin, format!("cc_nodes.{i}.admin")));
    }
    for (i, s) in rack.location_servers.iter().enumerate() {
        for (_, ip) in s.planes.iter() {
            all.push(("tcp", SocketAddr::new(ip, s.port), format!("location_servers.{i}.port")));
        }
        all.push(("tcp", s.admin, format!("location_servers.{i}.admin")));
        all.push(("tcp", s.api, format!("location_servers.{i}.api")));
    }
    all
}
