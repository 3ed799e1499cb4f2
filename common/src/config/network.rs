//! Where things are: the VIP's listeners, and the servers of a rack with their addresses on the planes.

use crate::ids::{NodeId, Plane, Transport};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// One VIP:port:transport. Its position in the rack file is its `ListenerId`, so new ones are appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// The VIP's address.
    pub address: IpAddr,
    #[serde(default = "sip_port")]
    pub port: u16,
    /// Only `udp` is served by this version.
    #[serde(default = "udp")]
    pub transport: Transport,
    /// Host name or address that peers are told instead of `address` (Via, Record-Route, Contact).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
}

impl Listener {
    pub fn socket_address(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    /// The host that stands in our Via and Record-Route: `advertise`, else the address (IPv6 in brackets).
    pub fn advertised_host(&self) -> String {
        match (&self.advertise, self.address) {
            (Some(host), _) => host.clone(),
            (None, IpAddr::V4(ip)) => ip.to_string(),
            (None, IpAddr::V6(ip)) => format!("[{ip}]"),
        }
    }

    /// Whether `host` (any case, IPv6 with or without brackets) is this listener's address or advertised name.
    pub fn is_host(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        self.advertise.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(host))
            || bare.parse::<IpAddr>().is_ok_and(|ip| ip == self.address)
    }
}

/// A server's addresses on the two inside networks; a rack without a second plane leaves `b` out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Planes {
    pub a: IpAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub b: Option<IpAddr>,
}

impl Planes {
    pub fn address(&self, plane: Plane) -> Option<IpAddr> {
        match plane {
            Plane::A => Some(self.a),
            Plane::B => self.b,
        }
    }

    /// The planes that are there, A first.
    pub fn iter(&self) -> impl Iterator<Item = (Plane, IpAddr)> {
        [Some((Plane::A, self.a)), self.b.map(|b| (Plane::B, b))].into_iter().flatten()
    }
}

/// A load manager: owns the VIP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadManager {
    pub id: u16,
    pub planes: Planes,
    /// UDP: heartbeats, reports and `stopped` come in here; beacons leave from it.
    #[serde(default = "lm_control_port")]
    pub control_port: u16,
    /// UDP, first of `workers` ports: what nodes send outwards comes in here (port + worker).
    #[serde(default = "lm_egress_port")]
    pub egress_port: u16,
    #[serde(default = "one")]
    pub workers: u16,
    /// HTTP: /healthz, /readyz, /metrics, /status, /explain.
    pub admin: SocketAddr,
}

/// A call-control node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CcNode {
    /// CC Server ID, 1 to 65,535; it stands in tokens, so it stays with the node.
    #[schemars(with = "u16")]
    pub id: NodeId,
    pub planes: Planes,
    /// UDP, first of `workers` ports: SIP from the load manager (port + worker).
    #[serde(default = "node_sip_port")]
    pub sip_port: u16,
    #[serde(default = "one")]
    pub workers: u16,
    /// UDP, first of `workers` ports: what nodes tell each other of their calls (port + worker).
    #[serde(default = "node_shadow_port")]
    pub shadow_port: u16,
    /// UDP: beacons come in here; heartbeats leave from it.
    #[serde(default = "node_control_port")]
    pub control_port: u16,
    /// HTTP: /healthz, /readyz, /metrics, /status, /trace.
    pub admin: SocketAddr,
    /// Reliability class; lower is better.
    #[serde(default = "class_one")]
    pub class: u8,
    /// What may fail together (a host, a power feed); default: the node's id, a domain of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_domain: Option<u16>,
    /// Share of the slots relative to other nodes, 1 to 1000.
    #[serde(default = "hundred")]
    pub weight: u16,
}

impl CcNode {
    pub fn failure_domain(&self) -> u16 {
        self.failure_domain.unwrap_or(self.id.0)
    }
}

/// A foreign node: somebody else's server, which says by version 1 heartbeats that it lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForeignNode {
    /// CC Server ID, 1 to 65,535, that no cc-node has.
    #[schemars(with = "u16")]
    pub id: NodeId,
    /// Its heartbeats come from here, from any port.
    pub address: IpAddr,
}

/// A location server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocationServer {
    pub id: u16,
    pub planes: Planes,
    /// TCP: the location stream (push and commands) to the nodes.
    #[serde(default = "location_port")]
    pub port: u16,
    /// HTTP: /healthz, /readyz, /metrics, /status.
    pub admin: SocketAddr,
    /// HTTP: the provisioning API, protected by the token in `<data>/api.token`.
    #[serde(default = "api_address")]
    pub api: SocketAddr,
}

/// Shorthand for a whole rack on one machine: one load manager, `nodes` nodes, one location server. From `base_port` B:
/// load manager control B+1, egress B+10+worker, admin B+101; node i control B+20+i, SIP B+200+20·i+worker,
/// shadows B+210+20·i+worker, admin B+110+i; location server B+2, admin B+102.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OneMachine {
    /// 1 to 64.
    pub nodes: u16,
    /// Workers of the load manager and of each node, 1 to 10.
    pub workers: u16,
    pub address: IpAddr,
    pub base_port: u16,
    /// The provisioning API and console.
    pub api: SocketAddr,
}

impl Default for OneMachine {
    fn default() -> Self {
        OneMachine {
            nodes: 3,
            workers: 1,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            base_port: 15_000,
            api: api_address(),
        }
    }
}

fn sip_port() -> u16 {
    5060
}

fn udp() -> Transport {
    Transport::Udp
}

fn one() -> u16 {
    1
}

fn class_one() -> u8 {
    1
}

fn hundred() -> u16 {
    100
}

fn lm_control_port() -> u16 {
    15_001
}

fn lm_egress_port() -> u16 {
    15_010
}

fn node_control_port() -> u16 {
    15_021
}

fn node_shadow_port() -> u16 {
    15_400
}

fn node_sip_port() -> u16 {
    15_200
}

fn location_port() -> u16 {
    15_002
}

fn api_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))
}
