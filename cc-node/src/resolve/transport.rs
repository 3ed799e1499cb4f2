//! RFC 3263 §4.1, selecting a transport: from the URI, else from NAPTR, else from the SRV records that are there.

use super::destination::Asked;
use super::known::{Known, Rule};
use super::walk::{Questions, Scene};
use super::{Read, Unresolved};
use crate::dns::{DnsFailure, Kind};
use common::ids::Transport;
use std::sync::Arc;

/// What §4.1 ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selected {
    /// The port is known: only addresses are missing.
    AddressesOnly(Transport),
    /// SRV names in the order of preference; without any SRV record, `fallback` at the target's own addresses.
    Services { services: Vec<Service>, fallback: Transport },
    /// The NAPTR question is open.
    Open,
}

/// One transport and where its SRV records stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub transport: Transport,
    pub name: Arc<str>,
}

/// For a target that is a name.
pub fn select(scene: &Scene<'_>, target: &Arc<str>, ask: &mut impl Questions) -> Result<Selected, Unresolved> {
    let no_transport = || Unresolved::NoTransport(scene.destination.host.clone());
    if let Some(port_or_transport) = without_naptr(scene).transpose()? {
        return match (port_or_transport, scene.destination.port) {
            (transport, Some(_)) => Ok(Selected::AddressesOnly(transport)),
            (transport, None) => {
                let services = vec![Service { transport, name: srv_name(transport, target) }];
                Ok(Selected::Services { services, fallback: transport })
            }
        };
    }
    match ask.read(target, Kind::Naptr) {
        Read::Open => Ok(Selected::Open),
        Read::Known(known) => match &*known {
            Known::Rules(rules) => {
                let services = by_rules(scene, rules);
                // The domain says how it is reached, and it is none of our ways.
                let fallback = services.first().ok_or_else(no_transport)?.transport;
                Ok(Selected::Services { services, fallback })
            }
            // NXDOMAIN too: servers of load balancers say it for types that they do not know.
            _ => by_srv(scene, target),
        },
        // Some name servers fail for types that they do not know. NAPTR only chooses among transports, so SRV is asked.
        Read::Failed(DnsFailure::ServerFailure) => by_srv(scene, target),
        Read::Failed(failure) => Err(Unresolved::of(failure, &scene.destination.host)),
    }
}

/// The transport where no NAPTR is asked for: a transport parameter, an IP literal, or an explicit port.
pub fn without_naptr(scene: &Scene<'_>) -> Option<Result<Transport, Unresolved>> {
    let destination = scene.destination;
    let chosen = match destination.transport {
        Asked::This(transport) => Some(transport).filter(|t| scene.serves(*t)),
        Asked::Unknown => None,
        Asked::Any if destination.port.is_some() || destination.ip().is_some() => default_transport(scene),
        Asked::Any => return None,
    };
    Some(chosen.ok_or_else(|| Unresolved::NoTransport(destination.host.clone())))
}

/// UDP for a SIP URI, TLS for a SIPS URI; for a rack without a UDP listener the first that it serves.
fn default_transport(scene: &Scene<'_>) -> Option<Transport> {
    let usual = if scene.destination.secure { Transport::Tls } else { Transport::Udp };
    if scene.serves(usual) {
        return Some(usual);
    }
    scene.transports().find(|t| is_secure(*t) == scene.destination.secure)
}

/// The rules of the lowest order that one of our transports fits, by preference. Once an order fits, no other counts
/// (RFC 3403 §4.1); the servers of its further rules follow those of the preferred one.
fn by_rules(scene: &Scene<'_>, rules: &[Rule]) -> Vec<Service> {
    let mut services: Vec<Service> = Vec::new();
    let mut order = None;
    for rule in rules {
        if order.is_some_and(|order| order != rule.order) {
            break;
        }
        let Some((transport, secure)) = transport_of(&rule.services) else { continue };
        // A SIPS URI discards what is not SIPS; a SIP URI keeps SIPS where TLS is served.
        if (scene.destination.secure && !secure) || !scene.serves(transport) {
            continue;
        }
        order = Some(rule.order);
        let service = Service { transport, name: rule.replacement.clone() };
        if !services.contains(&service) {
            services.push(service);
        }
    }
    services
}

/// RFC 3263 §4.1, RFC 7118 §8 (WebSocket). SCTP is none of ours. Second: whether it is one of SIPS.
fn transport_of(services: &str) -> Option<(Transport, bool)> {
    Some(match services {
        "SIP+D2U" => (Transport::Udp, false),
        "SIP+D2T" => (Transport::Tcp, false),
        "SIP+D2W" => (Transport::Ws, false),
        "SIPS+D2T" => (Transport::Tls, true),
        "SIPS+D2W" => (Transport::Wss, true),
        _ => return None,
    })
}

/// No NAPTR: SRV is asked for each transport that is served, and those that exist count, in the order of our listeners.
fn by_srv(scene: &Scene<'_>, target: &Arc<str>) -> Result<Selected, Unresolved> {
    let fallback = default_transport(scene).ok_or_else(|| Unresolved::NoTransport(scene.destination.host.clone()))?;
    let fits = |t: &Transport| !scene.destination.secure || is_secure(*t);
    let service = |transport| Service { transport, name: srv_name(transport, target) };
    Ok(Selected::Services { services: scene.transports().filter(fits).map(service).collect(), fallback })
}

fn is_secure(transport: Transport) -> bool {
    matches!(transport, Transport::Tls | Transport::Wss)
}

/// `_sip._udp.` and so on; `_sips._tcp.` stands for TLS also in a SIP URI (RFC 3263 §4.2).
fn srv_name(transport: Transport, target: &str) -> Arc<str> {
    let prefix = match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp => "_sip._tcp",
        Transport::Tls => "_sips._tcp",
        Transport::Ws => "_sip._ws",
        Transport::Wss => "_sips._ws",
    };
    format!("{prefix}.{target}").into()
}
