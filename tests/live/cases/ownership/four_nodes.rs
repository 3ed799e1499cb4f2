//! Four nodes on two planes, asked for no password, with admin ports that this process reaches from outside the rack's
//! namespace: a look every 2 ms leaves no time to start a program inside.

use super::watch::Watch;
use crate::namespaces::Host;
use crate::process::run;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const NODES: u16 = 4;
const OUR_END: &str = "10.97.0.1";
const RACKS_END: &str = "10.97.0.2";

/// Where the load manager is asked.
pub fn load_manager() -> String {
    format!("{RACKS_END}:15101")
}

/// Where a node is asked.
pub fn admin(node: u16) -> String {
    format!("{RACKS_END}:1511{node}")
}

/// By these ports.
pub fn watch() -> Watch {
    Watch::new(load_manager(), (1..=NODES).map(admin).collect())
}

/// A node's addresses on the planes. All of 127.0.0.0/8 is there in every namespace.
pub fn planes(node: u16) -> [String; 2] {
    [format!("127.0.1.1{node}"), format!("127.0.2.1{node}")]
}

/// The rack file for the VIP of `host`.
pub fn rack_file(host: &Host, folder: &Path) -> Result<PathBuf, String> {
    let nodes: String = (1..=NODES)
        .map(|n| {
            let ([a, b], admin) = (planes(n), admin(n));
            format!(
                "  - {{ id: {n}, planes: {{ a: {a}, b: {b} }}, sip_port: 15200, workers: 1, control_port: 15020, \
                 admin: \"{admin}\", failure_domain: {n} }}\n"
            )
        })
        .collect();
    let text = format!(
        "name: four\nlisteners:\n  - {{ address: {}, port: 5060, transport: udp }}\n\
         domains:\n  - {{ name: rack.test, auth: none, provisioning: open }}\n\
         load_managers:\n  - {{ id: 1, planes: {{ a: 127.0.1.1, b: 127.0.2.1 }}, control_port: 15001, \
         egress_port: 15010, workers: 1, admin: \"{}\" }}\n\
         cc_nodes:\n{nodes}\
         location_servers:\n  - {{ id: 1, planes: {{ a: 127.0.1.21, b: 127.0.2.21 }}, port: 15002, \
         admin: \"{RACKS_END}:15102\", api: \"127.0.0.1:8080\" }}\n",
        host.address,
        load_manager()
    );
    let path = folder.join("rack.yaml");
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

/// A link from this process's own network into the rack's namespace; it goes when this is dropped.
pub struct Link(String);

impl Link {
    pub fn new(host: &Host) -> Result<Link, String> {
        let name = format!("sra{}", std::process::id());
        ip(&["link", "add", &name, "type", "veth", "peer", "name", "adm0", "netns", &host.namespace])?;
        let link = Link(name);
        ip(&["addr", "add", &format!("{OUR_END}/30"), "dev", &link.0])?;
        ip(&["link", "set", &link.0, "up"])?;
        ip(&["-n", &host.namespace, "addr", "add", &format!("{RACKS_END}/30"), "dev", "adm0"])?;
        ip(&["-n", &host.namespace, "link", "set", "adm0", "up"])?;
        Ok(link)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = ip(&["link", "del", &self.0]);
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    run(Command::new("ip").args(arguments)).map(drop)
}
