//! Which trunk takes a call that no binding answers: the route with the longest prefix, its rewriting of the number, and
//! the trunk's addresses one after another.

use super::{Choice, NextHop};
use crate::record::Hunt;
use crate::station::Station;
use common::config::{Route, Trunk};
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
    Some((words(route, trunk, &user), choices(trunk, |to| format!("sip:{}@{to}{params}", escaped(&user)))))
}

/// For a domain that is not ours: the Request-URI keeps it.
pub fn foreign(station: &Station, user: &str, uri: &Uri<'_>) -> Option<Routed> {
    let (route, trunk) = station.rack.route(None, user)?;
    let new = rewritten(route, user);
    let text = match uri {
        Uri::Sip(sip) if new != user => SipUri { user: Some(&escaped(&new)), ..*sip }.to_string(),
        _ => uri.to_string(),
    };
    Some((words(route, trunk, &new), choices(trunk, |_| text.clone())))
}

fn rewritten(route: &Route, user: &str) -> String {
    let kept: String = user.chars().skip(usize::from(route.strip)).collect();
    format!("{}{kept}", route.add)
}

fn words(route: &Route, trunk: &Trunk, user: &str) -> String {
    format!("prefix {:?} of {} → trunk {}, as {user}", route.prefix, route.domain, trunk.name)
}

/// Another address of the trunk is tried only if one cannot serve: a declined call is declined.
fn choices(trunk: &Trunk, uri: impl Fn(std::net::SocketAddr) -> String) -> Vec<Choice> {
    let one = |(order, address): (u16, &common::config::TrunkAddress)| {
        let remote = address.send_to();
        Choice {
            uri: uri(remote),
            route: Vec::new(),
            next_hop: NextHop::At(Flow { listener: trunk.listener, remote }),
            peer: Some(Peer::Trunk(trunk.id)),
            order,
            hunt: Hunt::IfUnavailable,
            recurse: trunk.recursion,
        }
    };
    (0..).zip(&trunk.addresses).map(one).collect()
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
