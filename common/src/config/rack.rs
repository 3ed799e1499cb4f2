//! The whole rack file, and the look-ups that several services need.

use super::limits::Limits;
use super::network::{CcNode, ForeignNode, Listener, LoadManager, LocationServer, OneMachine};
use super::service::{Domain, Route, RouteDomain, SubscriberRange, Trunk};
use super::tuning::{Dns, Egress, Heartbeat, Log, Registrar, SessionTimers, Timers};
use crate::ids::{ListenerId, NodeId, TrunkId};
use crate::placement::Policy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// A rack of services behind one address. Times end in their unit; every list is in the order of the file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rack {
    /// The state directory is bound to it.
    pub name: String,
    /// The rack key, 64 hex digits. Better kept out of this file: see `key_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// File with the rack key; without `key` and `key_file`: `<data>/rack.key`, made at the first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    pub listeners: Vec<Listener>,
    pub domains: Vec<Domain>,
    #[serde(default)]
    pub registrar: Registrar,
    /// Put once into an empty provisioning log; the password `secret` is refused off loopback.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscribers: Vec<SubscriberRange>,
    /// Instead of the three lists of servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_machine: Option<OneMachine>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub load_managers: Vec<LoadManager>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cc_nodes: Vec<CcNode>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub location_servers: Vec<LocationServer>,
    /// Foreign nodes: watched and shown; they get no calls. Needs `heartbeat.accept_v1`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<ForeignNode>,
    #[serde(default)]
    pub heartbeat: Heartbeat,
    /// How Call-IDs are given to nodes.
    #[serde(default)]
    pub placement: Policy,
    #[serde(default)]
    pub egress: Egress,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trunks: Vec<Trunk>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    #[serde(default, skip_serializing_if = "Dns::is_default")]
    pub dns: Dns,
    /// Further headers that stay between trusted trunks, as P-Charging-Vector does: a phone or another trunk neither
    /// brings them in nor sees them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub private_headers: Vec<String>,
    #[serde(default)]
    pub timers: Timers,
    #[serde(default)]
    pub session_timers: SessionTimers,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub log: Log,
}

impl std::fmt::Debug for Rack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rack({}, {} nodes, key hidden)", self.name, self.cc_nodes.len())
    }
}

impl Rack {
    pub fn load_manager(&self, id: u16) -> Option<&LoadManager> {
        self.load_managers.iter().find(|lm| lm.id == id)
    }

    pub fn node(&self, id: NodeId) -> Option<&CcNode> {
        self.cc_nodes.iter().find(|node| node.id == id)
    }

    pub fn location_server(&self, id: u16) -> Option<&LocationServer> {
        self.location_servers.iter().find(|server| server.id == id)
    }

    pub fn listener(&self, id: ListenerId) -> Option<&Listener> {
        self.listeners.get(usize::from(id.0))
    }

    /// Listeners with their ids.
    pub fn listeners(&self) -> impl Iterator<Item = (ListenerId, &Listener)> {
        (0..=u8::MAX).map(ListenerId).zip(&self.listeners)
    }

    /// The domain of that name, in any case.
    pub fn domain(&self, name: &str) -> Option<&Domain> {
        self.domains.iter().find(|domain| domain.name.eq_ignore_ascii_case(name))
    }

    /// What the VIP's own address stands for. A checked rack always has one.
    pub fn default_domain(&self) -> Option<&Domain> {
        self.domains.iter().find(|domain| domain.default).or(self.domains.first())
    }

    /// The domain of ours that host and port of a URI mean: one by name, or the default domain for the VIP's address.
    /// With a port, the VIP's address counts only with a listener's port: another service may share the address.
    pub fn domain_of_host(&self, host: &str, port: Option<u16>) -> Option<&Domain> {
        self.domain(host).or_else(|| {
            let ours = self.listeners.iter().any(|l| l.is_host(host) && port.is_none_or(|port| port == l.port));
            if ours { self.default_domain() } else { None }
        })
    }

    pub fn trunk(&self, id: TrunkId) -> Option<&Trunk> {
        self.trunks.iter().find(|trunk| trunk.id == id)
    }

    pub fn trunk_named(&self, name: &str) -> Option<&Trunk> {
        self.trunks.iter().find(|trunk| trunk.name == name)
    }

    /// The trunk that a message from `source` comes from; an address with a port is preferred to one without.
    pub fn trunk_of_source(&self, source: SocketAddr) -> Option<&Trunk> {
        let exact = |trunk: &&Trunk| trunk.addresses.iter().any(|a| a.port.is_some() && a.is_source(source));
        self.trunks.iter().find(exact).or_else(|| self.trunks.iter().find(|trunk| trunk.is_source(source)))
    }

    /// Trunks whose destination must be looked up in the DNS.
    pub fn trunks_by_name(&self) -> impl Iterator<Item = &Trunk> {
        self.trunks.iter().filter(|trunk| trunk.destination.as_ref().is_some_and(|d| d.name().is_some()))
    }

    /// The domain that calls from `trunk` belong to.
    pub fn trunk_domain(&self, trunk: &Trunk) -> Option<&Domain> {
        trunk.domain.as_deref().and_then(|name| self.domain(name)).or_else(|| self.default_domain())
    }

    /// The route for `user` in a domain of ours (its name) or in a foreign one (`None`): longest prefix, then first.
    pub fn route(&self, local_domain: Option<&str>, user: &str) -> Option<(&Route, &Trunk)> {
        let mut best: Option<&Route> = None;
        for route in &self.routes {
            let fits = match (&route.domain, local_domain) {
                (RouteDomain::Local(name), Some(domain)) => name.eq_ignore_ascii_case(domain),
                (RouteDomain::Foreign, None) => true,
                _ => false,
            };
            if fits && user.starts_with(&route.prefix) && best.is_none_or(|b| route.prefix.len() > b.prefix.len()) {
                best = Some(route);
            }
        }
        best.and_then(|route| Some((route, self.trunk_named(&route.trunk)?)))
    }
}
