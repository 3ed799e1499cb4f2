//! Which trunk takes a call that no binding answers: the route with the longest prefix, its rewriting of the number, and
//! the trunk's addresses one after another.

use super::{Choice, NextHop};
use crate::effect::View;
use crate::record::{Decision, Hunt};
use crate::resolve::Destination;
use crate::station::Station;
use common::config::{Route, Trunk, TrunkAddress, TrunkDestination, TrunkServer};
use common::flow::{Flow, Peer};
use common::location::Aor;
use common::sip::{SipUri, Uri};

/// The words for the decision list, and where to.
type Routed = (String, Vec<Choice>);

/// For a number in a domain of ours: the Request-URI becomes one of the trunk's.
pub fn local(station: &Station, domain: &str, aor: &Aor, uri: &Uri<'_>) -> Option<Routed> {
    let (route, trunk) = station.rack.route(Some(domain), aor.user())?;
    let user = rewritten(route, aor.user());
    let phone = matches!(uri, Uri::Tel(_)) || matches!(uri, Uri::Sip(uri) if uri.params.value("user") == Some("phone"));
    let params = if phone { ";user=phone" } else { "" };
    Some((words(route, trunk, &user), choices(trunk, uri, |to| format!("sip:{}@{to}{params}", escaped(&user)))))
}

/// For a domain that is not ours: the Request-URI keeps it.
pub fn foreign(station: &Station, user: &str, uri: &Uri<'_>) -> Option<Routed> {
    let (route, trunk) = station.rack.route(None, user)?;
    let new = rewritten(route, user);
    let text = match uri {
        Uri::Sip(sip) if new != user => SipUri { user: Some(&escaped(&new)), ..*sip }.to_string(),
        _ => uri.to_string(),
    };
    Some((words(route, trunk, &new), choices(trunk, uri, |_| text.clone())))
}

/// Without the addresses that are known to be down, while another one is up. If none is, all are tried: what is known may be
/// old, and nobody is refused for that.
pub fn serving(view: &dyn View, choices: Vec<Choice>, decisions: &mut Vec<Decision>) -> Vec<Choice> {
    let is_up = |choice: &Choice| match (&choice.next_hop, choice.peer) {
        (NextHop::At(flow), Some(Peer::Trunk(trunk))) => view.trunk_is_up(trunk, flow.remote),
        _ => true,
    };
    let (up, down): (Vec<Choice>, Vec<Choice>) = choices.into_iter().partition(is_up);
    if down.is_empty() || up.is_empty() {
        return if up.is_empty() { down } else { up };
    }
    let uris: Vec<&str> = down.iter().map(|choice| choice.uri.as_str()).collect();
    decisions.push(Decision::Routed(format!("passed by, since they are down: {}", uris.join(", "))));
    up
}

fn rewritten(route: &Route, user: &str) -> String {
    let kept: String = user.chars().skip(usize::from(route.strip)).collect();
    format!("{}{kept}", route.add)
}

fn words(route: &Route, trunk: &Trunk, user: &str) -> String {
    format!("prefix {:?} of {} → trunk {}, as {user}", route.prefix, route.domain, trunk.name)
}

/// The server that is looked up for calls to this trunk, if it is known by a name.
pub fn server(trunk: &Trunk) -> Option<Destination> {
    match trunk.destination.as_ref()? {
        TrunkDestination::Server(server) => Some(Destination::trunk(server)),
        TrunkDestination::RequestUri => None,
    }
}

/// The trunk's destination, looked up by RFC 3263, or else its addresses. Another address of the trunk is tried only if one
/// cannot serve: a declined call is declined. `uri`: the Request-URI for a host and port of the trunk.
fn choices(trunk: &Trunk, asked: &Uri<'_>, uri: impl Fn(&str) -> String) -> Vec<Choice> {
    let one = |order, uri, next_hop, peer| Choice {
        uri,
        route: Vec::new(),
        next_hop,
        peer,
        order,
        hunt: Hunt::IfUnavailable,
        recurse: trunk.recursion,
    };
    let listener = trunk.listener;
    match &trunk.destination {
        Some(TrunkDestination::Server(TrunkServer { host, port, .. })) => {
            let bare = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            let hostport = port.map_or(bare.clone(), |port| format!("{bare}:{port}"));
            let next_hop = server(trunk).map(|destination| NextHop::Named { destination, listener });
            next_hop.map(|hop| one(0, uri(&hostport), hop, Some(Peer::Trunk(trunk.id)))).into_iter().collect()
        }
        // Not a trunk's own server: whoever answers there is reached by the way that the call took, and no other.
        Some(TrunkDestination::RequestUri) => match asked.sip() {
            Some(sip) => {
                let next_hop = NextHop::Named { destination: Destination::of(&sip), listener };
                vec![one(0, uri(sip.host), next_hop, None)]
            }
            None => Vec::new(),
        },
        None => {
            let address = |(order, address): (u16, &TrunkAddress)| {
                let remote = address.send_to();
                let next_hop = NextHop::At(Flow { listener, remote });
                one(order, uri(&remote.to_string()), next_hop, Some(Peer::Trunk(trunk.id)))
            };
            (0..).zip(&trunk.addresses).map(address).collect()
        }
    }
}

/// A user part as a URI may hold it (RFC 3261 §25.1: unreserved and user-unreserved).
fn escaped(user: &str) -> String {
    let mut out = String::with_capacity(user.len());
    for octet in user.bytes() {
        if octet.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/%".contains(&octet) {
            out.push(char::from(octet));
        } else {
            out.push_str(&format!("%{octet:02X}"));
        }
    }
    out
}
