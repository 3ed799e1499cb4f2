//! Where a user is: the bindings of its address of record (RFC 3261 §16.5), from the replica, and how each is reached.

use super::{Choice, NextHop, Refusal};
use crate::effect::View;
use crate::record::{Decision, Hunt};
use crate::station::Station;
use crate::stats::Rejection;
use common::flow::{Flow, Peer};
use common::ids::Transport;
use common::location::{Aor, Binding};
use common::sip::{Scheme, SipUri};
use common::time::Time;
use std::net::SocketAddr;

/// What the replica has.
pub struct Located {
    choices: Vec<Choice>,
    /// Bindings over a transport that is not there.
    unreachable: usize,
}

pub fn locate(station: &Station, view: &dyn View, now: Time, aor: &Aor, recurse: bool) -> Located {
    let mut located = Located { choices: Vec::new(), unreachable: 0 };
    let mut order = 0;
    let mut q = None;
    for binding in &live(view, now, aor) {
        if q.is_some_and(|q| q != binding.q_thousandths) {
            order += 1;
        }
        q = Some(binding.q_thousandths);
        match choice(station, binding, order, recurse) {
            Some(choice) => located.choices.push(choice),
            // What is no SIP URI (RFC 3261 §10.2.1 lets phones register such) can be told to callers, not called.
            None if SipUri::parse(&binding.contact).is_ok() => located.unreachable += 1,
            None => {}
        }
    }
    located
}

/// The bindings that have not expired: higher q first; equal ones, which are tried together (§16.6), in the order of
/// their registration.
pub fn live(view: &dyn View, now: Time, aor: &Aor) -> Vec<Binding> {
    let Some(held) = view.bindings(aor) else { return Vec::new() };
    let time = view.log_time(now);
    let mut live: Vec<Binding> = held.bindings.iter().filter(|b| b.expires_at > time).cloned().collect();
    live.sort_by_key(|b| std::cmp::Reverse(b.q_thousandths));
    live
}

/// A binding whose source is its Contact's host is reached there; any other by the flow that it opened.
fn choice(station: &Station, binding: &Binding, order: u16, recurse: bool) -> Option<Choice> {
    let contact = SipUri::parse(&binding.contact).ok()?;
    if !is_reachable(&contact) {
        return None;
    }
    station.rack.listener(binding.listener)?;
    let flow = |remote| Flow { listener: binding.listener, remote };
    let direct = contact.host_ip().filter(|ip| binding.path.is_empty() && *ip == binding.received.ip());
    let (next_hop, peer) = match direct {
        Some(ip) => {
            let hop = flow(SocketAddr::new(ip, contact.port_or_default()));
            (hop, Peer::Direct(hop))
        }
        None => (flow(binding.received), Peer::Flow(flow(binding.received))),
    };
    let uri = match contact.headers {
        None => binding.contact.clone(),
        Some(_) => contact.without_headers().to_string(),
    };
    let route = binding.path.clone();
    let (next_hop, peer) = (NextHop::At(next_hop), Some(peer));
    Some(Choice { uri, route, next_hop, peer, order, hunt: Hunt::AfterAnyFailure, recurse })
}

/// Whether there is a transport for this URI: UDP alone for now.
pub fn is_reachable(uri: &SipUri<'_>) -> bool {
    let transport = uri.param("transport").flatten();
    uri.scheme == Scheme::Sip && transport.is_none_or(|t| t.eq_ignore_ascii_case(Transport::Udp.via_name()))
}

impl Located {
    /// `None`: nothing is registered. An error: something is, and none of it can be reached.
    pub fn reachable(self) -> Option<Result<Vec<Choice>, Refusal>> {
        match (self.choices.is_empty(), self.unreachable) {
            (false, _) => Some(Ok(self.choices)),
            (true, 0) => None,
            (true, _) => Some(Err(Refusal::because(503, Rejection::NoTarget, "No Transport To Any Contact")
                .with("Warning", "399 siprack \"The contacts need TCP or TLS, which this version does not serve\""))),
        }
    }

    pub fn decision(&self, aor: &Aor) -> Decision {
        let bindings = self.choices.len() + self.unreachable;
        Decision::Located { aor: aor.clone(), bindings, unreachable: self.unreachable }
    }
}

/// Nobody answers to this name: 480 for a user that exists, 404 for one that does not (RFC 3261 §16.5).
pub fn nobody(view: &dyn View, aor: &Aor) -> Refusal {
    match view.subscriber(aor).is_some() {
        true => Refusal::because(480, Rejection::NotFound, "Not Registered"),
        false => Refusal::new(404, Rejection::NotFound),
    }
}
