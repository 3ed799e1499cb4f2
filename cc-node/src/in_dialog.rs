//! Requests within a dialog: proved by the token that they carry, sent to the other side's peer and nowhere else.
//! No state is needed, so any node can do it for any call.
//!
//! The next hop is RFC 3261's (Route, else Request-URI) and must lie in the peer: a flow side is always reached by its
//! flow; a direct side must be the host that the flow came from; a trunk side is any address of that trunk, or a Contact
//! that this dialog has named.

use crate::call::{CallRef, Calls, Side};
use crate::proxy::Routed;
use crate::proxy::preprocess::next_hop;
use crate::record::Hunt;
use crate::service::locate::is_reachable;
use crate::service::route;
use crate::service::{Choice, NextHop, Refusal};
use crate::station::Station;
use crate::stats::Rejection;
use common::flow::{Flow, Peer};
use common::ids::{NodeId, TrunkId};
use common::sip::{MethodKind, SipMessage, SipUri};
use common::token::dialog::{self, DialogToken, Sender};
use std::net::SocketAddr;

/// A request's proof that it belongs to a dialog.
pub struct InDialog {
    /// Nearest to the sender first: one for each time that the dialog passes through this rack. Never empty.
    tokens: Vec<DialogToken>,
    pub sender: Side,
}

/// `None`: without To tag or valid token; the request is a new one.
pub fn of(station: &Station, request: &SipMessage, routed: &Routed) -> Option<InDialog> {
    let (from, to) = (request.from_tag()?, request.to_tag()?);
    let ring = &station.keys.token;
    let check = |text: &String| dialog::check(ring, text.as_bytes(), request.call_id(), from.as_bytes(), to.as_bytes());
    let checked: Vec<(DialogToken, Sender)> = routed.tokens.iter().map(check).collect::<Option<_>>()?;
    let sender = checked.first()?.1;
    let tokens = checked.iter().map(|(token, _)| *token).collect();
    let side = match sender {
        Sender::Caller => Side::Caller,
        Sender::Callee => Side::Callee,
    };
    checked.iter().all(|(_, other)| *other == sender).then_some(InDialog { tokens, sender: side })
}

impl InDialog {
    /// The calls, as far as this node knows them.
    pub fn calls(&self, calls: &Calls, request: &SipMessage) -> Vec<CallRef> {
        let (from, to) = (request.from_tag().unwrap_or_default(), request.to_tag().unwrap_or_default());
        let (caller, callee) = if self.sender == Side::Caller { (from, to) } else { (to, from) };
        let of = |token: &DialogToken| calls.of_dialog(request.call_id(), caller, callee, (token.caller, token.callee));
        self.tokens.iter().filter_map(of).collect()
    }

    /// The node that began the dialog.
    pub fn node(&self) -> NodeId {
        self.tokens[0].node
    }

    /// The peer of the side that the token takes the sender for.
    pub fn near(&self) -> Peer {
        match self.sender {
            Side::Caller => self.tokens[0].caller,
            Side::Callee => self.tokens[0].callee,
        }
    }

    /// Whether the request comes from where that side is. Each side knows the other's tag, so a token alone does not
    /// say which of the two asks: only a request from its own side may touch what this node knows of the call.
    pub fn is_from_its_side(&self, station: &Station, calls: &Calls, known: &[CallRef], source: &Flow) -> bool {
        let by_token = match self.near() {
            Peer::Trunk(id) => {
                station.rack.trunk(id).is_some_and(|t| t.addresses.iter().any(|a| a.ip == source.remote.ip()))
            }
            Peer::Flow(flow) | Peer::Direct(flow) => {
                flow.remote.ip().to_canonical() == source.remote.ip().to_canonical()
            }
        };
        // A proxy on the way of the INVITE that did not stay on it: its Contact is where the side is.
        by_token || has_seen(calls, known, self.sender, source.remote)
    }

    fn far(&self) -> (Side, Peer) {
        let farthest = self.tokens[self.tokens.len() - 1];
        match self.sender {
            Side::Caller => (Side::Callee, farthest.callee),
            Side::Callee => (Side::Caller, farthest.caller),
        }
    }

    /// Where the request goes; 403 if that lies outside the peer.
    pub fn choice(
        &self,
        station: &Station,
        calls: &Calls,
        known: &[CallRef],
        routed: &Routed,
    ) -> Result<Choice, Refusal> {
        let malformed = |e: common::sip::ParseError| Refusal::because(400, Rejection::Invalid, e.to_string());
        let (hop, uri, route) = next_hop(routed.uri.clone(), routed.routes.clone()).map_err(malformed)?;
        let hop = SipUri::parse(&hop).map_err(malformed)?;
        let (side, peer) = self.far();
        let next_hop = match peer {
            Peer::Flow(flow) => NextHop::At(flow),
            Peer::Direct(flow) => NextHop::At(direct(&hop, flow)?),
            Peer::Trunk(id) => trunk(station, id, &hop, |address| has_seen(calls, known, side, address))?,
        };
        Ok(Choice { uri, route, next_hop, peer: Some(peer), order: 0, hunt: Hunt::AfterAnyFailure, recurse: false })
    }
}

fn has_seen(calls: &Calls, known: &[CallRef], side: Side, address: SocketAddr) -> bool {
    known.iter().filter_map(|call| calls.get(*call)).any(|call| call.has_seen(side, address))
}

/// Whether a request of this method may move the remote target, so that our Record-Route stands in it again.
pub fn records_again(method: MethodKind) -> bool {
    method.creates_dialog() || matches!(method, MethodKind::Update | MethodKind::Notify)
}

fn outside() -> Refusal {
    Refusal::because(403, Rejection::Relaying, "Next Hop Is Not The Peer Of This Dialog")
}

fn check_transport(hop: &SipUri<'_>) -> Result<(), Refusal> {
    match is_reachable(hop) {
        true => Ok(()),
        false => Err(Refusal::because(503, Rejection::NoTarget, "No Transport To The Next Hop")
            .with("Warning", "399 siprack \"The next hop needs TCP or TLS, which this version does not serve\"")),
    }
}

/// A host name is no other host: it is taken to mean the peer, whose address is known.
fn direct(hop: &SipUri<'_>, flow: Flow) -> Result<Flow, Refusal> {
    check_transport(hop)?;
    match hop.host_ip() {
        None => Ok(flow),
        Some(ip) if ip.to_canonical() == flow.remote.ip().to_canonical() => {
            Ok(Flow { remote: SocketAddr::new(flow.remote.ip(), hop.port_or_default()), ..flow })
        }
        Some(_) => Err(outside()),
    }
}

/// An address of the trunk, or a Contact that the dialog has named; else, where the trunk is reached by a name, that.
fn trunk(
    station: &Station,
    id: TrunkId,
    hop: &SipUri<'_>,
    seen: impl Fn(SocketAddr) -> bool,
) -> Result<NextHop, Refusal> {
    check_transport(hop)?;
    let trunk = station.rack.trunk(id).ok_or_else(outside)?;
    let at = |remote| NextHop::At(Flow { listener: trunk.listener, remote });
    let named = || route::server(trunk).map(|destination| NextHop::Named { destination, listener: trunk.listener });
    let Some(ip) = hop.host_ip() else {
        return named().or_else(|| trunk.addresses.first().map(|a| at(a.send_to()))).ok_or_else(outside);
    };
    let address = SocketAddr::new(ip, hop.port_or_default());
    match trunk.addresses.iter().any(|a| a.is_source(address)) || seen(address) {
        true => Ok(at(address)),
        false => named().ok_or_else(outside),
    }
}
