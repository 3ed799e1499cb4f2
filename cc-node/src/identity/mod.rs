//! What a message may say about who sent it, at the edge of the trust domain (RFC 3325, RFC 3323, RFC 7315). The rack and
//! its trusted trunks are the domain; phones and other trunks are outside. `proxy` runs [`request`] and [`response`] over
//! everything that it forwards; `node` asks [`may_leave`] and [`privacy::promised`] before a new request goes on.
//!
//! - [`asserted`]: the P-Asserted-Identity of a user that proved who it is.
//! - [`privacy`]: what the Privacy header asks for, and what of it is given here.
//! - [`private`]: headers that stay inside, and the one pass that takes them off.

pub mod asserted;
pub mod privacy;
pub mod private;

use crate::auth::{is_anonymous, local_aor};
use crate::service::{Caller, Choice, Refusal};
use crate::stats::Rejection;
use common::config::Rack;
use common::flow::Peer;
use common::location::Aor;
use common::sip::{Edit, HeaderId, SipMessage, SipUri};
use privacy::Wishes;
use std::net::SocketAddr;

/// Who sent a request, as far as that decides what it may assert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A trunk of the trust domain: what it asserts may stand.
    Trusted,
    /// Outside, but this request has proved that it is this user's.
    User(Aor),
    /// Outside.
    Untrusted,
}

impl Sender {
    /// Of a new request.
    pub fn of(rack: &Rack, caller: &Caller) -> Sender {
        match caller {
            Caller::Trunk(id) => Sender::at(rack, &Peer::Trunk(*id)),
            Caller::User(aor) => Sender::User(aor.clone()),
            Caller::Anyone => Sender::Untrusted,
        }
    }

    /// Of a request within a dialog: it is not authenticated again, so a user's asserts nothing.
    pub fn at(rack: &Rack, peer: &Peer) -> Sender {
        if trusts(rack, peer) { Sender::Trusted } else { Sender::Untrusted }
    }
}

/// Whether each side of the hop that a message takes is in the trust domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    pub from: bool,
    pub to: bool,
}

impl Edge {
    /// Of a response: from the side that the request went to, to the one that sent it.
    pub fn back(rack: &Rack, from: &Peer, to: &Sender) -> Edge {
        Edge { from: trusts(rack, from), to: *to == Sender::Trusted }
    }

    /// Of a response without a transaction: by the addresses of both sides.
    pub fn between(rack: &Rack, from: SocketAddr, to: SocketAddr) -> Edge {
        let trusted = |address| rack.trunk_of_source(address).is_some_and(|trunk| trunk.trusted);
        Edge { from: trusted(from), to: trusted(to) }
    }
}

/// Only a trunk can be trusted.
pub(crate) fn trusts(rack: &Rack, peer: &Peer) -> bool {
    matches!(peer, Peer::Trunk(id) if rack.trunk(*id).is_some_and(|trunk| trunk.trusted))
}

/// Whoever answers behind a trunk takes From for who calls: by one, a user calls under its own name or under none.
pub fn may_leave(rack: &Rack, request: &SipMessage, caller: &Caller, choices: &[Choice]) -> Result<(), Refusal> {
    let Caller::User(aor) = caller else { return Ok(()) };
    let by_trunk = |choice: &Choice| matches!(choice.peer, Some(Peer::Trunk(_)));
    let is_own = || {
        let from = request.from().and_then(|from| SipUri::parse(from.uri_text));
        from.is_ok_and(|uri| is_anonymous(&uri) || local_aor(rack, &uri).as_ref() == Some(aor))
    };
    match choices.iter().any(by_trunk) && !is_own() {
        true => Err(Refusal::because(403, Rejection::Forbidden, "From Is Not The Authenticated User")),
        false => Ok(()),
    }
}

/// A request on its way to `to`.
pub fn request(rack: &Rack, request: &SipMessage, sender: &Sender, to: &Peer, edit: &mut Edit<'_>) {
    let edge = Edge { from: *sender == Sender::Trusted, to: trusts(rack, to) };
    let wishes = Wishes::of(request);
    let user_level = !edge.to && wishes.user && privacy::is_withheld(request);
    private::strip(rack, request, edge, &wishes, user_level, edit);
    if user_level {
        privacy::user_level_is_done(request, edit);
    }
    if let (Sender::User(aor), true) = (sender, edge.to) {
        for value in asserted::identities(rack, request, aor) {
            edit.append(HeaderId::PAssertedIdentity, &value);
        }
    }
}

/// A response on its way back.
pub fn response(rack: &Rack, response: &SipMessage, edge: Edge, edit: &mut Edit<'_>) {
    private::strip(rack, response, edge, &Wishes::of(response), false, edit);
}

#[cfg(test)]
mod tests;
