//! The walk from a destination to its hops, RFC 3263 §4 from the start each time an answer has come: it keeps nothing, so
//! the same answers and the same seed lead to the same hops on every node. Questions that do not depend on each other are
//! asked together.

use super::draw::Draw;
use super::known::{Known, Server};
use super::transport::{Selected, Service, select, without_naptr};
use super::{Destination, Hop, Read, Served, Settings, Unresolved, name};
use crate::dns::Kind;
use common::ids::Transport;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What a walk depends on beside the answers.
pub struct Scene<'a> {
    pub destination: &'a Destination,
    pub settings: &'a Settings,
    pub seed: u64,
    /// It has waited long enough: what is known so far will do, if it leads anywhere.
    pub impatient: bool,
}

/// Where answers come from; asking is its business.
pub trait Questions {
    fn read(&mut self, name: &Arc<str>, kind: Kind) -> Read;
    /// Whether the addresses that came along with an SRV answer still count.
    fn hint(&mut self, srv: &Arc<str>, target: &Arc<str>, kind: Kind) -> Option<Vec<IpAddr>>;
}

/// A target with its port: what SRV (or its absence) ends with.
struct Target {
    transport: Transport,
    name: Arc<str>,
    port: u16,
    /// The SRV records that named it.
    srv: Option<Arc<str>>,
}

impl Scene<'_> {
    pub fn serves(&self, transport: Transport) -> bool {
        self.settings.served.iter().any(|s| s.transport == transport)
    }

    /// Transports of our listeners, each once, in their order.
    pub fn transports(&self) -> impl Iterator<Item = Transport> {
        let served = &self.settings.served;
        let first = |(i, s): &(usize, &Served)| served.iter().position(|o| o.transport == s.transport) == Some(*i);
        served.iter().enumerate().filter(first).map(|(_, s)| s.transport)
    }

    /// Address types that a listener of this transport can send to. The family of the listener that stands first in the
    /// rack file is preferred: the operator's order stands for the policy table of RFC 6724.
    fn families(&self, transport: Transport) -> impl Iterator<Item = Kind> {
        let mut kinds: Vec<Kind> = Vec::with_capacity(2);
        for served in self.settings.served.iter().filter(|s| s.transport == transport) {
            let kind = if served.ipv6 { Kind::Aaaa } else { Kind::A };
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds.into_iter()
    }
}

/// The hops in the order in which to try them; `None`: questions are open.
pub fn walk(scene: &Scene<'_>, ask: &mut impl Questions) -> Option<Result<Vec<Hop>, Unresolved>> {
    if let Some(ip) = scene.destination.ip() {
        return Some(literal(scene, ip));
    }
    let host = &scene.destination.host;
    let Some(target) = name(host) else { return Some(Err(Unresolved::NotAName(host.chars().take(64).collect()))) };
    let targets = match select(scene, &target, ask) {
        Err(error) => return Some(Err(error)),
        Ok(Selected::Open) => return None,
        Ok(Selected::AddressesOnly(transport)) => Ok(vec![own(scene, transport, &target)]),
        Ok(Selected::Services { services, fallback }) => servers(scene, &target, &services, fallback, ask)?,
    };
    match targets {
        Ok(targets) => addresses(scene, &targets, ask),
        Err(error) => Some(Err(error)),
    }
}

/// RFC 3263 §4.2, first case: an address needs no DNS.
fn literal(scene: &Scene<'_>, ip: IpAddr) -> Result<Vec<Hop>, Unresolved> {
    let no_transport = || Unresolved::NoTransport(scene.destination.host.clone());
    let transport = without_naptr(scene).ok_or_else(no_transport)??;
    let kind = if ip.is_ipv6() { Kind::Aaaa } else { Kind::A };
    scene.families(transport).find(|k| *k == kind).ok_or_else(no_transport)?;
    let port = scene.destination.port.unwrap_or(default_port(transport));
    Ok(vec![Hop { address: SocketAddr::new(ip, port), transport }])
}

/// The target's own addresses, at the port of the URI or of the transport.
fn own(scene: &Scene<'_>, transport: Transport, target: &Arc<str>) -> Target {
    let port = scene.destination.port.unwrap_or(default_port(transport));
    Target { transport, name: target.clone(), port, srv: None }
}

/// RFC 3263 §4.2 and §4.3: the SRV records of each service, drawn by weight. Without any, the target itself.
fn servers(
    scene: &Scene<'_>,
    target: &Arc<str>,
    services: &[Service],
    fallback: Transport,
    ask: &mut impl Questions,
) -> Option<Result<Vec<Target>, Unresolved>> {
    let reads: Vec<Read> = services.iter().map(|s| ask.read(&s.name, Kind::Srv)).collect();
    let mut targets = Vec::new();
    let (mut open, mut refused, mut failed) = (false, false, None);
    for (service, read) in services.iter().zip(&reads) {
        match read {
            Read::Open => open = true,
            Read::Failed(failure) => failed = failed.or(Some(*failure)),
            Read::Known(known) => match &**known {
                Known::Servers { servers, .. } => {
                    let drawn = Draw::new(scene.seed, &service.name).order(servers);
                    targets.extend(drawn.into_iter().map(|server| of_server(service, server)));
                }
                Known::NoService => refused = true,
                _ => {}
            },
        }
    }
    if open && (targets.is_empty() || !scene.impatient) {
        return None;
    }
    let host = || scene.destination.host.clone();
    Some(match (targets.is_empty(), failed, refused) {
        (false, ..) => Ok(targets),
        // "No records" was not what the DNS said, so port 5060 of the target would be a guess.
        (true, Some(failure), _) => Err(Unresolved::of(failure, &scene.destination.host)),
        (true, None, true) => Err(Unresolved::NoService(host())),
        (true, None, false) => Ok(vec![own(scene, fallback, target)]),
    })
}

fn of_server(service: &Service, server: Server) -> Target {
    let Server { target, port, .. } = server;
    Target { transport: service.transport, name: target, port, srv: Some(service.name.clone()) }
}

/// A and AAAA of each target, in its order; both families are asked for where both can be sent to (RFC 7984 §4).
fn addresses(scene: &Scene<'_>, targets: &[Target], ask: &mut impl Questions) -> Option<Result<Vec<Hop>, Unresolved>> {
    let settings = scene.settings;
    let mut hops: Vec<Hop> = Vec::new();
    let (mut open, mut failed, mut exists) = (false, None, false);
    for target in targets.iter().take(settings.targets) {
        let mut room = settings.addresses_a_name;
        for kind in scene.families(target.transport) {
            let hint = target.srv.as_ref().and_then(|srv| ask.hint(srv, &target.name, kind));
            let read =
                hint.map_or_else(|| ask.read(&target.name, kind), |ips| Read::Known(Known::Addresses(ips).into()));
            match read {
                Read::Open => open = true,
                Read::Failed(failure) => failed = failed.or(Some((failure, target.name.clone()))),
                Read::Known(known) => match &*known {
                    Known::Addresses(known) => {
                        let mut ips = known.clone();
                        Draw::new(scene.seed, &target.name).shuffle(&mut ips);
                        ips.truncate(room);
                        room -= ips.len();
                        let hop = |ip| Hop { address: SocketAddr::new(ip, target.port), transport: target.transport };
                        hops.extend(ips.into_iter().map(hop));
                    }
                    Known::NoSuchName => {}
                    _ => exists = true,
                },
            }
        }
    }
    if open && (hops.is_empty() || !scene.impatient) {
        return None;
    }
    // Two records may lead to one place: it is tried once.
    let mut seen = std::collections::BTreeSet::new();
    hops.retain(|hop| seen.insert(*hop));
    hops.truncate(settings.hops);
    let host = || scene.destination.host.clone();
    Some(match (hops.is_empty(), failed, exists) {
        (false, ..) => Ok(hops),
        (true, Some((failure, name)), _) => Err(Unresolved::of(failure, &name)),
        (true, None, false) if targets.iter().all(|t| t.srv.is_none()) => Err(Unresolved::NoSuchName(host())),
        (true, None, _) => Err(Unresolved::NoAddress(host())),
    })
}

/// RFC 3261 §19.1.2, RFC 7118 §5.2.1.
fn default_port(transport: Transport) -> u16 {
    match transport {
        Transport::Udp | Transport::Tcp => 5060,
        Transport::Tls => 5061,
        Transport::Ws => 80,
        Transport::Wss => 443,
    }
}
