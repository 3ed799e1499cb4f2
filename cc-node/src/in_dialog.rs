//! Requests within a dialog: proved by the token that they carry, sent to the other side's peer and nowhere else
//! (ARCHITECTURE §2). No state is needed, so any node can do it for any call.
//!
//! The next hop is RFC 3261's (Route, else Request-URI) and must lie in the peer: a flow side is always reached by its
//! flow; a direct side must be the host that the flow came from; a trunk side is any address of that trunk, or a Contact
//! that this dialog has named.

use crate::call::{CallRef, Calls, Side};
use crate::proxy::Routed;
use crate::proxy::preprocess::next_hop;
use crate::record::Hunt;
use crate::service::locate::is_reachable;
use crate::service::{Choice, NextHop, Refusal};
use crate::station::Station;
use crate::stats::Rejection;
use common::flow::{Flow, Peer};
use common::ids::TrunkId;
use common::sip::{MethodKind, SipMessage, SipUri};
use common::token::dialog::{self, DialogToken, Sender};
use std::net::SocketAddr;

/// A request's proof that it belongs to a dialog.
pub struct InDialog {
    pub token: DialogToken,
    /// As it came, to be recorded again.
    pub text: String,
    pub sender: Side,
}

/// `None`: without To tag or valid token; the request is a new one.
pub fn of(station: &Station, request: &SipMessage, routed: &Routed) -> Option<InDialog> {
    let text = routed.token.as_ref()?;
    let (from, to) = (request.from_tag()?, request.to_tag()?);
    let ring = &station.keys.token;
    let (token, sender) = dialog::check(ring, text.as_bytes(), request.call_id(), from.as_bytes(), to.as_bytes())?;
    let sender = match sender {
        Sender::Caller => Side::Caller,
        Sender::Callee => Side::Callee,
    };
    Some(InDialog { token, text: text.clone(), sender })
}

impl InDialog {
    /// The call, if this node knows it.
    pub fn call(&self, calls: &Calls, request: &SipMessage) -> Option<CallRef> {
        let (from, to) = (request.from_tag()?, request.to_tag()?);
        let (caller, callee) = if self.sender == Side::Caller { (from, to) } else { (to, from) };
        calls.of_dialog(request.call_id(), caller, callee, (self.token.caller, self.token.callee))
    }

    /// The peer of the side that the token takes the sender for.
    pub fn near(&self) -> Peer {
        match self.sender {
            Side::Caller => self.token.caller,
            Side::Callee => self.token.callee,
        }
    }

    /// Whether the request comes from where that side is. Each side knows the other's tag, so a token alone does not
    /// say which of the two asks: only a request from its own side may touch what this node knows of the call.
    pub fn is_from_its_side(&self, station: &Station, calls: &Calls, call: CallRef, source: &Flow) -> bool {
        match self.near() {
            Peer::Trunk(id) => {
                station.rack.trunk(id).is_some_and(|t| t.addresses.iter().any(|a| a.ip == source.remote.ip()))
                    || calls.get(call).is_some_and(|call| call.has_seen(self.sender, source.remote))
            }
            Peer::Flow(flow) | Peer::Direct(flow) => {
                flow.remote.ip().to_canonical() == source.remote.ip().to_canonical()
            }
        }
    }

    fn far(&self) -> (Side, Peer) {
        match self.sender {
            Side::Caller => (Side::Callee, self.token.callee),
            Side::Callee => (Side::Caller, self.token.caller),
        }
    }

    /// Where the request goes; 403 if that lies outside the peer.
    pub fn choice(
        &self,
        station: &Station,
        calls: &Calls,
        call: Option<CallRef>,
        routed: &Routed,
    ) -> Result<Choice, Refusal> {
        let malformed = |e: common::sip::ParseError| Refusal::because(400, Rejection::Invalid, e.to_string());
        let (hop, uri, route) = next_hop(routed.uri.clone(), routed.routes.clone()).map_err(malformed)?;
        let hop = SipUri::parse(&hop).map_err(malformed)?;
        let (side, peer) = self.far();
        let next_hop = match peer {
            Peer::Flow(flow) => flow,
            Peer::Direct(flow) => direct(&hop, flow)?,
            Peer::Trunk(id) => {
                let seen =
                    |address| call.and_then(|call| calls.get(call)).is_some_and(|call| call.has_seen(side, address));
                trunk(station, id, &hop, seen)?
            }
        };
        let (next_hop, peer) = (NextHop::At(next_hop), Some(peer));
        Ok(Choice { uri, route, next_hop, peer, order: 0, hunt: Hunt::AfterAnyFailure, recurse: false })
    }
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

fn trunk(station: &Station, id: TrunkId, hop: &SipUri<'_>, seen: impl Fn(SocketAddr) -> bool) -> Result<Flow, Refusal> {
    check_transport(hop)?;
    let trunk = station.rack.trunk(id).ok_or_else(outside)?;
    let flow = |remote| Flow { listener: trunk.listener, remote };
    let Some(ip) = hop.host_ip() else {
        return trunk.addresses.first().map(|address| flow(address.send_to())).ok_or_else(outside);
    };
    let address = SocketAddr::new(ip, hop.port_or_default());
    match trunk.addresses.iter().any(|a| a.is_source(address)) || seen(address) {
        true => Ok(flow(address)),
        false => Err(outside()),
    }
}
