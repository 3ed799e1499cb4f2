//! The network of a live run: hosts in namespaces on one outside switch, and masquerading routers with a phone behind
//! each. Everything is removed when it is dropped.

use crate::process::run;
use std::process::Command;

/// The outside network is 10.99.0.0/24; the switch is a bridge in a namespace of its own.
pub struct Network {
    prefix: String,
    made: Vec<String>,
}

impl Network {
    pub fn new() -> Result<Network, String> {
        let mut network = Network { prefix: format!("sr{}-", std::process::id()), made: Vec::new() };
        let hub = network.add("hub")?;
        ip(&["-n", &hub, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &hub, "link", "set", "br0", "up"])?;
        Ok(network)
    }

    fn add(&mut self, name: &str) -> Result<String, String> {
        let namespace = format!("{}{name}", self.prefix);
        ip(&["netns", "add", &namespace])?;
        self.made.push(namespace.clone());
        ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// A host with this address, IPv4 or IPv6, on the outside switch.
    pub fn host(&mut self, name: &str, address: &str) -> Result<Host, String> {
        let namespace = self.add(name)?;
        let hub = format!("{}hub", self.prefix);
        let port = format!("v-{name}");
        ip(&["link", "add", &port, "netns", &hub, "type", "veth", "peer", "name", "eth0", "netns", &namespace])?;
        ip(&["-n", &hub, "link", "set", &port, "master", "br0", "up"])?;
        let host = Host { namespace, address: address.to_string() };
        host.add_address(address)?;
        ip(&["-n", &host.namespace, "link", "set", "eth0", "up"])?;
        Ok(host)
    }

    /// A phone at 192.168.1.10 behind a router that masquerades it as `public`. Two of them have the same private
    /// address, as two homes have.
    pub fn host_behind_nat(&mut self, name: &str, public: &str) -> Result<Host, String> {
        let router = self.host(&format!("{name}r"), public)?;
        let namespace = self.add(name)?;
        ip(&[
            "link",
            "add",
            "eth1",
            "netns",
            &router.namespace,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            &namespace,
        ])?;
        ip(&["-n", &router.namespace, "addr", "add", "192.168.1.1/24", "dev", "eth1"])?;
        ip(&["-n", &router.namespace, "link", "set", "eth1", "up"])?;
        ip(&["-n", &namespace, "addr", "add", "192.168.1.10/24", "dev", "eth0"])?;
        ip(&["-n", &namespace, "link", "set", "eth0", "up"])?;
        ip(&["-n", &namespace, "route", "add", "default", "via", "192.168.1.1"])?;
        run(router.command("sysctl").args(["-q", "-w", "net.ipv4.ip_forward=1"]))?;
        let rules = "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; \
                     add rule ip nat post oifname eth0 masquerade";
        run(router.command("nft").arg(rules))?;
        Ok(Host { namespace, address: "192.168.1.10".to_string() })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in self.made.iter().rev() {
            // Whatever still runs there would keep the namespace alive.
            if let Ok(pids) = run(Command::new("ip").args(["netns", "pids", namespace])) {
                for pid in pids.split_whitespace() {
                    let _ = run(Command::new("kill").args(["-9", pid]));
                }
            }
            let _ = ip(&["netns", "del", namespace]);
        }
    }
}

/// A link from this process's own network to the switch of a test network; it goes when this is dropped.
pub struct Window(String);

impl Window {
    /// `address` becomes ours.
    pub fn new(network: &Network, address: &str) -> Result<Window, String> {
        let name = format!("srw{}", std::process::id());
        let hub = format!("{}hub", network.prefix);
        ip(&["link", "add", &name, "type", "veth", "peer", "name", "window", "netns", &hub])?;
        let window = Window(name);
        ip(&["-n", &hub, "link", "set", "window", "master", "br0", "up"])?;
        ip(&["addr", "add", &format!("{address}/24"), "dev", &window.0])?;
        ip(&["link", "set", &window.0, "up"])?;
        Ok(window)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let _ = ip(&["link", "del", &self.0]);
    }
}

/// One host: a namespace and its address on the outside.
#[derive(Clone)]
pub struct Host {
    pub namespace: String,
    pub address: String,
}

impl Host {
    /// A command that runs on this host.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }

    /// One more address on the outside switch.
    pub fn add_address(&self, address: &str) -> Result<(), String> {
        let add = ["-n", &self.namespace, "addr", "add"];
        if address.contains(':') {
            // Without duplicate address detection it can be used at once.
            return ip(&[&add[..], &[&format!("{address}/64"), "dev", "eth0", "nodad"]].concat());
        }
        ip(&[&add[..], &[&format!("{address}/24"), "dev", "eth0"]].concat())
    }

    /// A further address, for the inside planes.
    pub fn add_inside_address(&self, address: &str) -> Result<(), String> {
        ip(&["-n", &self.namespace, "addr", "add", &format!("{address}/32"), "dev", "lo"])
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    run(Command::new("ip").args(arguments)).map(|_| ())
}
