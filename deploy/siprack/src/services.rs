//! Which services a rack has, and which sockets of this machine they need. Used by the agent (`io/up`).

use common::config::{Planes, Rack};
use common::ids::Plane;
use common::io::fds;
use std::net::{IpAddr, SocketAddr};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    LocationServer,
    LmServer,
    CcNode,
}

impl Kind {
    /// As in `siprack status --json`, in `siprack serve` and in the programs' names.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::LmServer => "lm-server",
            Kind::CcNode => "cc-node",
            Kind::LocationServer => "location-server",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `cc-node-2`
    pub name: String,
    pub kind: Kind,
    pub id: u16,
    pub admin: SocketAddr,
}

/// The services of an expanded rack whose address on plane A `is_here`, in the order in which they are started.
pub fn of_this_machine(rack: &Rack, is_here: impl Fn(IpAddr) -> bool) -> Vec<Service> {
    let mut services = Vec::new();
    let mut add = |kind: Kind, id: u16, plane: IpAddr, admin: SocketAddr| {
        if is_here(plane) {
            services.push(Service { name: format!("{}-{id}", kind.as_str()), kind, id, admin });
        }
    };
    for s in &rack.location_servers {
        add(Kind::LocationServer, s.id, s.planes.a, s.admin);
    }
    for s in &rack.load_managers {
        add(Kind::LmServer, s.id, s.planes.a, s.admin);
    }
    for s in &rack.cc_nodes {
        add(Kind::CcNode, s.id.0, s.planes.a, s.admin);
    }
    services
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Udp,
    Tcp,
}

/// A socket that a service will need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub protocol: Protocol,
    pub address: SocketAddr,
    pub service: String,
    /// What it is for: `SIP listener 0`, `admin port`; with two planes `control port on plane B`.
    pub purpose: String,
    /// An override that moves it elsewhere: `listeners.0.port=5070`.
    pub cure: String,
    /// Name of [`fds`] under which the agent passes the open socket on; without it the service opens it.
    pub passed_as: Option<String>,
    /// Whether several workers share the address.
    pub shared: bool,
}

/// All sockets of these services. `shorthand` tells whether the rack file says `one_machine`, which moves inside ports
/// by its `base_port` only.
pub fn sockets(rack: &Rack, services: &[Service], shorthand: Option<u16>) -> Vec<Wanted> {
    let mut plan = Plan { shorthand, wanted: Vec::new() };
    for service in services {
        match service.kind {
            Kind::LmServer => plan.load_manager(rack, service),
            Kind::CcNode => plan.node(rack, service),
            Kind::LocationServer => plan.location_server(rack, service),
        }
    }
    plan.wanted
}

struct Plan {
    shorthand: Option<u16>,
    wanted: Vec<Wanted>,
}

impl Plan {
    fn add(
        &mut self,
        service: &Service,
        protocol: Protocol,
        address: SocketAddr,
        purpose: &str,
        key: String,
    ) -> &mut Wanted {
        let elsewhere = |address: SocketAddr| SocketAddr::new(address.ip(), address.port().wrapping_add(10).max(1024));
        let cure = match self.shorthand {
            Some(base) => {
                format!("one_machine.base_port={}", if base < 40_000 { base + 10_000 } else { base - 10_000 })
            }
            None if key.ends_with("port") => format!("{key}={}", elsewhere(address).port()),
            None => format!("{key}={}", elsewhere(address)),
        };
        self.wanted.push(Wanted {
            protocol,
            address,
            service: service.name.clone(),
            purpose: purpose.into(),
            cure,
            passed_as: None,
            shared: false,
        });
        let last = self.wanted.len() - 1;
        &mut self.wanted[last]
    }

    fn load_manager(&mut self, rack: &Rack, service: &Service) {
        let Some(at) = rack.load_managers.iter().position(|s| s.id == service.id) else { return };
        let lm = &rack.load_managers[at];
        for (id, listener) in rack.listeners() {
            for worker in 0..lm.workers {
                let cure = format!(
                    "listeners.{id}.port={}",
                    if listener.port == 5060 { 5070 } else { listener.port.wrapping_add(10).max(1024) }
                );
                let wanted = self.add(
                    service,
                    Protocol::Udp,
                    listener.socket_address(),
                    &format!("SIP listener {id}"),
                    String::new(),
                );
                wanted.cure = cure;
                wanted.passed_as = Some(fds::vip(id, worker));
                wanted.shared = lm.workers > 1;
            }
        }
        for (plane, ip) in lm.planes.iter() {
            let purpose = on(plane, lm.planes, "control port");
            let control = SocketAddr::new(ip, lm.control_port);
            let key = format!("load_managers.{at}.control_port");
            self.add(service, Protocol::Udp, control, &purpose, key).passed_as = Some(fds::control(plane));
            let purpose = on(plane, lm.planes, "egress port");
            for worker in 0..lm.workers {
                let egress = SocketAddr::new(ip, lm.egress_port.saturating_add(worker));
                let key = format!("load_managers.{at}.egress_port");
                let wanted = self.add(service, Protocol::Udp, egress, &purpose, key);
                wanted.passed_as = Some(fds::egress(plane, worker));
            }
        }
        self.add(service, Protocol::Tcp, lm.admin, "admin port", format!("load_managers.{at}.admin"));
    }

    fn node(&mut self, rack: &Rack, service: &Service) {
        let Some(at) = rack.cc_nodes.iter().position(|s| s.id.0 == service.id) else { return };
        let node = &rack.cc_nodes[at];
        for (plane, ip) in node.planes.iter() {
            let purpose = on(plane, node.planes, "SIP port");
            for worker in 0..node.workers {
                let sip = SocketAddr::new(ip, node.sip_port.saturating_add(worker));
                self.add(service, Protocol::Udp, sip, &purpose, format!("cc_nodes.{at}.sip_port"));
            }
            let purpose = on(plane, node.planes, "shadow port");
            for worker in 0..node.workers {
                let shadow = SocketAddr::new(ip, node.shadow_port.saturating_add(worker));
                self.add(service, Protocol::Udp, shadow, &purpose, format!("cc_nodes.{at}.shadow_port"));
            }
            let (control, purpose) = (SocketAddr::new(ip, node.control_port), on(plane, node.planes, "control port"));
            self.add(service, Protocol::Udp, control, &purpose, format!("cc_nodes.{at}.control_port"));
        }
        self.add(service, Protocol::Tcp, node.admin, "admin port", format!("cc_nodes.{at}.admin"));
    }

    fn location_server(&mut self, rack: &Rack, service: &Service) {
        let Some(at) = rack.location_servers.iter().position(|s| s.id == service.id) else { return };
        let server = &rack.location_servers[at];
        for (plane, ip) in server.planes.iter() {
            let (stream, purpose) = (SocketAddr::new(ip, server.port), on(plane, server.planes, "location stream"));
            self.add(service, Protocol::Tcp, stream, &purpose, format!("location_servers.{at}.port"));
        }
        self.add(service, Protocol::Tcp, server.admin, "admin port", format!("location_servers.{at}.admin"));
        let api =
            self.add(service, Protocol::Tcp, server.api, "provisioning API", format!("location_servers.{at}.api"));
        if api.cure.starts_with("one_machine") {
            api.cure = format!(
                "one_machine.api={}",
                SocketAddr::new(server.api.ip(), server.api.port().wrapping_add(1).max(1024))
            );
        }
    }
}

/// A socket's purpose in words; a server with one plane need not tell which.
fn on(plane: Plane, planes: Planes, purpose: &str) -> String {
    match (planes.b, plane) {
        (None, _) => purpose.to_string(),
        (Some(_), Plane::A) => format!("{purpose} on plane A"),
        (Some(_), Plane::B) => format!("{purpose} on plane B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_rack_has_five_services() {
        let rack = Rack::one_machine_default(3).expand();
        let names: Vec<String> = of_this_machine(&rack, |_| true).into_iter().map(|s| s.name).collect();
        assert_eq!(names, ["location-server-1", "lm-server-1", "cc-node-1", "cc-node-2", "cc-node-3"]);
        assert!(of_this_machine(&rack, |_| false).is_empty());
    }

    #[test]
    fn the_load_managers_sockets_are_passed_and_every_port_has_a_cure() {
        let rack = Rack::one_machine_default(1).expand();
        let services = of_this_machine(&rack, |_| true);
        let wanted = sockets(&rack, &services, Some(15_000));
        let passed: Vec<&str> = wanted.iter().filter_map(|w| w.passed_as.as_deref()).collect();
        assert_eq!(passed, ["vip0.0", "control", "egress.0"]);
        let cure = |purpose: &str| wanted.iter().find(|w| w.purpose == purpose).map(|w| w.cure.as_str());
        assert_eq!(cure("SIP listener 0"), Some("listeners.0.port=5070"));
        assert_eq!(cure("provisioning API"), Some("one_machine.api=127.0.0.1:8081"));
        assert_eq!(cure("SIP port"), Some("one_machine.base_port=25000"));
    }

    #[test]
    fn with_two_planes_there_are_sockets_on_both_and_the_words_tell_them_apart() {
        let mut rack = Rack::one_machine_default(1).expand();
        let b = IpAddr::from([127, 0, 0, 2]);
        rack.load_managers[0].planes.b = Some(b);
        rack.load_managers[0].workers = 2;
        rack.cc_nodes[0].planes.b = Some(b);
        rack.location_servers[0].planes.b = Some(b);
        let wanted = sockets(&rack, &of_this_machine(&rack, |_| true), None);
        let passed: Vec<&str> = wanted.iter().filter_map(|w| w.passed_as.as_deref()).collect();
        let on_a = ["vip0.0", "vip0.1", "control", "egress.0", "egress.1"];
        assert_eq!(passed, [&on_a[..], &["control_b", "egress_b.0", "egress_b.1"]].concat());
        let in_words = |w: &Wanted| format!("{} {} of {}: {}", w.address.port(), w.purpose, w.service, w.cure);
        let on_b: Vec<String> = wanted.iter().filter(|w| w.address.ip() == b).map(in_words).collect();
        assert_eq!(
            on_b,
            [
                "15002 location stream on plane B of location-server-1: location_servers.0.port=15012",
                "15001 control port on plane B of lm-server-1: load_managers.0.control_port=15011",
                "15010 egress port on plane B of lm-server-1: load_managers.0.egress_port=15020",
                "15011 egress port on plane B of lm-server-1: load_managers.0.egress_port=15021",
                "15220 SIP port on plane B of cc-node-1: cc_nodes.0.sip_port=15230",
                "15230 shadow port on plane B of cc-node-1: cc_nodes.0.shadow_port=15240",
                "15021 control port on plane B of cc-node-1: cc_nodes.0.control_port=15031",
            ]
        );
        let purposes: Vec<&str> = wanted.iter().map(|w| w.purpose.as_str()).collect();
        assert!(purposes.contains(&"control port on plane A") && !purposes.contains(&"control port"), "{purposes:?}");
    }
}
