//! A rack on six hosts, each service with an agent of its own: four nodes, the load manager and the location server, on two
//! inside planes and an outside one, each a switch of ours. What asks the admin ports goes over a fourth network, which
//! nothing befalls.

use crate::cases::ownership::watch::Watch;
use crate::metrics::metric;
use crate::namespaces::{Host, Network, Window};
use crate::rack_process::Rack;
use crate::switch::{Became, Clock, Cut, Faults, Port, Recorder, Switch};
use crate::wire::{Datagram, Places, Wire, datagram};
use common::time::Time;
use serde_json::Value;
use std::cell::RefCell;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub const NODES: u16 = 4;
pub const PHONES: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 20);
pub const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 99, 0, 1), 5060);
const SIP_PORT: u16 = 15200;
/// Where a node hears beacons, and the load manager heartbeats.
pub const BEACONS_TO: u16 = 15020;
pub const HEARTBEATS_TO: u16 = 15001;
/// What an inside plane must pass whole.
const PLANE_MTU: u16 = 1_700;
/// A way as long as to a phone in a mobile network.
const TO_PHONES: Duration = Duration::from_millis(50);
const READY_WITHIN: Duration = Duration::from_secs(40);

/// A service of the rack: one a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Node(u16),
    LoadManager,
    LocationServer,
}

impl Service {
    const ALL: [Service; 6] = [
        Service::LocationServer,
        Service::LoadManager,
        Service::Node(1),
        Service::Node(2),
        Service::Node(3),
        Service::Node(4),
    ];

    pub fn node(self) -> Option<u16> {
        match self {
            Service::Node(node) => Some(node),
            Service::LoadManager | Service::LocationServer => None,
        }
    }

    pub fn words(self) -> String {
        match self {
            Service::Node(node) => format!("node {node}"),
            Service::LoadManager => "load manager".to_string(),
            Service::LocationServer => "location server".to_string(),
        }
    }

    /// As `siprack status` says.
    pub fn kind(self) -> &'static str {
        match self {
            Service::Node(_) => "cc-node",
            Service::LoadManager => "lm-server",
            Service::LocationServer => "location-server",
        }
    }

    fn host_name(self) -> String {
        match self {
            Service::Node(node) => format!("n{node}"),
            Service::LoadManager => "lm".to_string(),
            Service::LocationServer => "ls".to_string(),
        }
    }

    /// The last octet of its addresses.
    fn octet(self) -> u16 {
        match self {
            Service::Node(node) => 10 + node,
            Service::LoadManager => 1,
            Service::LocationServer => 21,
        }
    }

    /// Its admin port, on the network that begins so.
    fn admin(self, network: &str) -> String {
        let port = match self {
            Service::Node(_) => 15110,
            Service::LoadManager => 15101,
            Service::LocationServer => 15102,
        };
        format!("{network}.{}:{port}", self.octet())
    }

    fn planes(self) -> [Ipv4Addr; 2] {
        [1, 2].map(|plane| Ipv4Addr::new(10, 98, plane, self.octet() as u8))
    }
}

/// One host and what runs on it.
struct Place {
    service: Service,
    /// On plane A and plane B.
    ports: [Port; 2],
    rack: RefCell<Rack>,
}

pub struct Planes {
    /// Where everything of this run is.
    pub folder: PathBuf,
    places: Vec<Place>,
    pub phones: Host,
    pub clock: Clock,
    inside: [Switch; 2],
    _outside: Switch,
    wire: Arc<Mutex<Wire>>,
    pub watch: Watch,
    /// Of the admin ports' network: the first three octets.
    admin: String,
    _window: Window,
    _network: Network,
}

impl Planes {
    /// Starts everything; the inside planes treat their frames so, by these seeds.
    pub fn start(folder: &Path, seed: u64, faults: Faults) -> Result<Planes, String> {
        let mut network = Network::new()?;
        // Several runs at a time shall not have one another's routes.
        let admin = format!("10.96.{}", std::process::id() % 250);
        let window = Window::new(&network, &format!("{admin}.254"))?;
        let config = rack_file(folder, &admin)?;
        let mut inside = [1, 2].map(|n| Switch::new(["a0", "b0"][n - 1], seed + n as u64, faults, PLANE_MTU));
        let to_phones = Faults { latency: TO_PHONES, ..Faults::default() };
        let mut outside = Switch::new("out0", seed, to_phones, 1_500);
        let mut hosts = Vec::new();
        for service in Service::ALL {
            let host = network.host(&service.host_name(), &format!("{admin}.{}", service.octet()))?;
            let [a, b] = service.planes();
            let ports = [inside[0].plug(&host, &a.to_string())?, inside[1].plug(&host, &b.to_string())?];
            if service == Service::LoadManager {
                outside.plug(&host, &VIP.ip().to_string())?;
            }
            hosts.push((service, host, ports));
        }
        let phones = network.host("sipp", &format!("{admin}.{}", PHONES.octets()[3]))?;
        outside.plug(&phones, &PHONES.to_string())?;
        let wire = Arc::new(Mutex::new(Wire::new(places())));
        let clock = Clock::start();
        let record = |heard: fn(&mut Wire, Time, &Datagram<'_>, Became)| -> Option<Recorder> {
            let wire = Arc::clone(&wire);
            Some(Box::new(move |at, frame: &[u8], became| {
                if let Some(datagram) = datagram(frame) {
                    heard(&mut locked(&wire), at, &datagram, became);
                }
            }))
        };
        outside.start(clock, record(|wire, at, datagram, _| wire.outside(at, datagram)))?;
        for switch in &mut inside {
            let heard = |wire: &mut Wire, at, datagram: &Datagram<'_>, became| match became {
                Became::Passed => wire.inside(at, datagram),
                Became::Lost => wire.lost_inside(datagram),
            };
            switch.start(clock, record(heard))?;
        }
        let mut places = Vec::new();
        for (service, host, ports) in hosts {
            let data = folder.join(service.host_name());
            let rack = Rack::launch(Some(&host), &data, &["--config", &config.to_string_lossy()])?;
            places.push(Place { service, ports, rack: RefCell::new(rack) });
        }
        let nodes = (1..=NODES).map(|n| Service::Node(n).admin(&admin)).collect();
        let watch = Watch::new(Service::LoadManager.admin(&admin), nodes);
        let planes = Planes {
            folder: folder.to_path_buf(),
            places,
            phones,
            clock,
            inside,
            _outside: outside,
            wire,
            watch,
            admin,
            _window: window,
            _network: network,
        };
        for place in &planes.places {
            let said = place.rack.borrow_mut().wait_for("READY", READY_WITHIN);
            said.map_err(|e| format!("{}: {e}", place.service.words()))?;
        }
        Ok(planes)
    }

    pub fn wire(&self) -> MutexGuard<'_, Wire> {
        locked(&self.wire)
    }

    pub fn pid(&self, service: Service) -> Result<i32, String> {
        self.place(service)?.rack.borrow().pid(service.kind(), 0)
    }

    /// Ends the agent of this host and what it started, starts it again, and waits until it is ready.
    pub fn restart(&self, service: Service) -> Result<(), String> {
        let mut rack = self.place(service)?.rack.borrow_mut();
        rack.restart()?;
        rack.wait_for("READY", READY_WITHIN)
    }

    /// `siprack ARGUMENTS` on this host.
    pub fn operator(&self, service: Service, arguments: &[&str]) -> Result<String, String> {
        self.place(service)?.rack.borrow().siprack(arguments)
    }

    /// How often a node's agent has said this.
    pub fn said(&self, node: u16, what: &str) -> Result<usize, String> {
        Ok(self.place(Service::Node(node))?.rack.borrow().said(what))
    }

    /// One metric of all nodes.
    pub fn of_all_nodes(&self, line: &str) -> Result<Vec<u64>, String> {
        (1..=NODES).map(|node| metric(&self.metrics_of(Service::Node(node)), line)).collect()
    }

    /// Calls of which handling a message panicked, since each node's process was started.
    pub fn panicked(&self) -> Result<Vec<String>, String> {
        let mut wrong = Vec::new();
        for result in ["reloaded", "lost"] {
            let panicked = self.of_all_nodes(&format!("siprack_panicked_calls_total{{result=\"{result}\"}}"))?;
            if panicked.iter().any(|count| *count > 0) {
                wrong.push(format!("nodes panicked over messages; calls {result}: {panicked:?}"));
            }
        }
        Ok(wrong)
    }

    /// What came damaged over the planes and was noticed, of each kind.
    pub fn refused(&self) -> Result<Vec<(&'static str, u64)>, String> {
        let of_nodes = |line: &str| Ok::<u64, String>(self.of_all_nodes(line)?.iter().sum());
        let heartbeats =
            ["mac", "malformed"].map(|why| format!("siprack_heartbeats_refused_total{{reason=\"{why}\"}}"));
        let at_load_manager = heartbeats.iter().map(|line| metric(&self.metrics_of(Service::LoadManager), line));
        Ok(vec![
            ("heartbeats", at_load_manager.sum::<Result<u64, String>>()?),
            ("beacons", of_nodes("siprack_beacons_total{result=\"refused\"}")?),
            ("letters of shadows", of_nodes("siprack_dropped_total{reason=\"shadow\"}")?),
        ])
    }

    fn metrics_of(&self, service: Service) -> String {
        format!("http://{}/metrics", service.admin(&self.admin))
    }

    /// Cuts a host off the inside planes; none: it is whole again.
    pub fn cut(&self, service: Service, how: Option<Cut>) -> Result<(), String> {
        (0..self.inside.len()).try_for_each(|plane| self.cut_on(plane, service, how))
    }

    /// Off one of them (0: A, 1: B).
    pub fn cut_on(&self, plane: usize, service: Service, how: Option<Cut>) -> Result<(), String> {
        let port = self.place(service)?.ports[plane];
        self.inside[plane].cut(port, how);
        Ok(())
    }

    /// How plane A and plane B treat their frames from now on.
    pub fn treat(&self, faults: [Faults; 2]) {
        for (switch, faults) in self.inside.iter().zip(faults) {
            switch.set(faults);
        }
    }

    /// What became of the frames of plane A and B.
    pub fn frames(&self) -> String {
        let told = self.inside.iter().zip(["A", "B"]).map(|(switch, name)| {
            let c = switch.counts();
            format!(
                "{name}: {} frames, {} lost, {} doubled, {} held back, {} flipped, {} flipped unnoticed, {} cut",
                c.seen, c.lost, c.doubled, c.held_back, c.flipped, c.unnoticed, c.cut
            )
        });
        told.collect::<Vec<_>>().join("; ")
    }

    pub fn wait_ready(&self) -> Result<(), String> {
        for place in &self.places {
            let ready = place.rack.borrow().wait_ready(READY_WITHIN);
            ready.map_err(|e| format!("{}: {e}", place.service.words()))?;
        }
        Ok(())
    }

    /// What all nodes wrote.
    pub fn cdrs(&self) -> Vec<Value> {
        self.places.iter().flat_map(|place| place.rack.borrow().cdrs()).collect()
    }

    /// Ends every agent and what it started.
    pub fn stop(self) -> Result<(), String> {
        for place in self.places {
            place.rack.into_inner().stop().map_err(|e| format!("{}: {e}", place.service.words()))?;
        }
        Ok(())
    }

    fn place(&self, service: Service) -> Result<&Place, String> {
        let found = self.places.iter().find(|place| place.service == service);
        found.ok_or(format!("there is no {}", service.words()))
    }
}

fn locked(wire: &Mutex<Wire>) -> MutexGuard<'_, Wire> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}

fn places() -> Places {
    let nodes = (1..=NODES).map(|n| Service::Node(n).planes()).collect();
    Places { vip: VIP, load_manager: Service::LoadManager.planes(), nodes, sip_port: SIP_PORT }
}

fn rack_file(folder: &Path, admin: &str) -> Result<PathBuf, String> {
    let planes = |service: Service| {
        let [a, b] = service.planes();
        format!("planes: {{ a: {a}, b: {b} }}")
    };
    let at = |service: Service| format!("\"{}\"", service.admin(admin));
    let mut text = format!(
        "name: planes\nkey: \"{}\"\nlisteners:\n  - {{ address: {}, port: {}, transport: udp }}\n\
         domains:\n  - {{ name: rack.test, auth: none, provisioning: open }}\n",
        "5e".repeat(32),
        VIP.ip(),
        VIP.port()
    );
    let _ = write!(
        text,
        "load_managers:\n  - {{ id: 1, {}, control_port: {HEARTBEATS_TO}, egress_port: 15010, workers: 1, admin: {} }}\ncc_nodes:\n",
        planes(Service::LoadManager),
        at(Service::LoadManager)
    );
    for n in 1..=NODES {
        let (planes, admin) = (planes(Service::Node(n)), at(Service::Node(n)));
        let _ = writeln!(
            text,
            "  - {{ id: {n}, {planes}, sip_port: {SIP_PORT}, workers: 1, control_port: {BEACONS_TO}, admin: {admin}, failure_domain: {n} }}"
        );
    }
    let _ = write!(
        text,
        "location_servers:\n  - {{ id: 1, {}, port: 15002, admin: {}, api: \"127.0.0.1:8080\" }}\n",
        planes(Service::LocationServer),
        at(Service::LocationServer)
    );
    let path = folder.join("rack.yaml");
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}
