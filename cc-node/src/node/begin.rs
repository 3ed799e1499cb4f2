//! A request that belongs to no dialog: who asks, may they, where does it go; then forwarded, redirected or refused.

use super::Engine;
use super::request::{Asked, call_key, refuse};
use crate::auth::local_aor;
use crate::call::{self, Call};
use crate::effect::Effect;
use crate::identity::{self, Sender};
use crate::proxy::preprocess::next_hop;
use crate::proxy::{Job, Original, RecordRoute, Routed, contact_address};
use crate::proxy::{checks, session_timer};
use crate::record::{Decision, Hunt, Opened};
use crate::redirect::{self, Redirection};
use crate::resolve::Destination;
use crate::service::{self, Caller, Choice, Named, NextHop, Plan, Refusal, route};
use crate::station::Station;
use crate::stats::{DropReason, Rejection};
use crate::transaction::{Outgoing, Owner};
use crate::turn::Turn;
use bytes::Bytes;
use common::config::Trunk;
use common::flow::{Flow, Peer};
use common::sip::{HeaderId, MethodKind, SipMessage, SipUri, Uri};
use std::net::SocketAddr;

const ALLOW: &str =
    "INVITE, ACK, CANCEL, BYE, REGISTER, OPTIONS, INFO, UPDATE, PRACK, SUBSCRIBE, NOTIFY, PUBLISH, MESSAGE, REFER";

impl Engine {
    /// Who asks, may they, where does it go.
    pub(super) fn begin(&mut self, turn: &mut Turn<'_>, asked: Asked, routed: Routed) {
        let station = &self.station;
        let uri = Uri::parse(&routed.uri);
        if is_for_nobody_here(station, &asked, uri.as_ref().ok()) {
            return turn.drop(DropReason::UnknownDomain);
        }
        let Ok(uri) = uri else {
            let refusal = Refusal::because(400, Rejection::Invalid, "Malformed Route Or Request-URI");
            return refuse(turn, station, &asked.request, &asked.source, asked.back, refusal);
        };
        let named = service::named(station, &uri, None);
        match asked.method {
            // For a foreign domain a REGISTER is a request like any other.
            MethodKind::Register if !matches!(named, Named::Foreign { .. }) && routed.routes.is_empty() => {
                return self.register(turn, asked);
            }
            MethodKind::Options if matches!(named, Named::Ourselves) => {
                if let Some(unknown) = asked.request.not_understood(HeaderId::Require, "") {
                    let refusal = Refusal::new(420, Rejection::Invalid).with("Unsupported", unknown);
                    return refuse(turn, station, &asked.request, &asked.source, asked.back, refusal);
                }
                let headers =
                    vec![("Allow", ALLOW.into()), ("Accept", "application/sdp".into()), ("Supported", "path".into())];
                let ok = station.reply(&asked.request, &asked.source, 200, None, headers);
                return turn.send(asked.method, asked.back, Outgoing::new(None, ok));
            }
            // For us, and none that we know (§21.5.2).
            MethodKind::Other if matches!(named, Named::Ourselves) => {
                let refusal = Refusal::new(501, Rejection::Invalid).with("Allow", ALLOW);
                return refuse(turn, station, &asked.request, &asked.source, asked.back, refusal);
            }
            _ => {}
        }
        // Room first: a repeat of what is refused without state must not find its nonce used up.
        let identified = checks::hops(&asked.request).and_then(|()| self.admit(&asked)).and_then(|admitted| {
            let Engine { station, auth, .. } = self;
            let (caller, by) = service::identify(station, auth, turn.wall, turn.view, &asked.request, &asked.source)?;
            Ok((caller, vec![by, admitted]))
        });
        let (caller, decisions) = match identified {
            Ok(identified) => identified,
            Err(refusal) => return refuse(turn, &self.station, &asked.request, &asked.source, asked.back, refusal),
        };
        if routed.routes.is_empty() && redirect::wanted(&self.station, &caller, &uri, &asked.request) {
            return match redirect::answer(&self.station, turn, &caller, &uri) {
                Ok(redirection) => self.redirect(turn, asked, redirection),
                Err(refusal) => self.refuse_caller(turn, asked, &caller, refusal),
            };
        }
        let plan = match routed.routes.is_empty() {
            true => service::decide(&self.station, turn.view, turn.now, &caller, &uri, decisions),
            false => by_route(&self.station, &routed, decisions),
        };
        let promised = |plan: Plan| {
            identity::may_leave(&self.station.rack, &asked.request, &caller, &plan.choices)?;
            identity::privacy::promised(&self.station.rack, &asked.request, &plan.choices)?;
            Ok((plan, session_interval(&self.station, &asked.request)?))
        };
        match plan.and_then(promised) {
            Ok((plan, session)) => self.forward(turn, asked, routed, caller, plan, session),
            Err(refusal) => self.refuse_caller(turn, asked, &caller, refusal),
        }
    }

    /// Second step of the pipeline: whether there is room.
    fn admit(&self, asked: &Asked) -> Result<Decision, Refusal> {
        let (transactions, calls) = (self.proxy.table.len(), self.proxy.calls.len());
        self.has_room(asked)?;
        if asked.method == MethodKind::Invite && calls >= self.station.rack.limits.calls as usize {
            return Err(Refusal::full("Calls"));
        }
        Ok(Decision::Admitted { transactions, calls })
    }

    /// Whether one more transaction fits, of all and of this source. A trunk is many callers.
    pub(super) fn has_room(&self, asked: &Asked) -> Result<(), Refusal> {
        if self.proxy.table.len() >= self.room() {
            return Err(Refusal::full("Transactions"));
        }
        let of_source = self.proxy.table.of_source(asked.back.to.ip());
        let full = of_source >= self.station.rack.limits.transactions_per_source;
        match full && self.station.rack.trunk_of_source(asked.source.remote).is_none() {
            true => Err(Refusal { counted: Rejection::SourceLimit, ..Refusal::full("Transactions Of This Source") }),
            false => Ok(()),
        }
    }

    pub(super) fn room(&self) -> usize {
        self.station.rack.limits.transactions as usize
    }

    /// RFC 3261 §8.3. The client is known, so the answer is repeated until it is heard.
    fn redirect(&mut self, turn: &mut Turn<'_>, asked: Asked, redirection: Redirection) {
        turn.stats.redirected += 1;
        let Redirection { status, contacts } = redirection;
        let bytes = self.station.reply(&asked.request, &asked.source, status, None, contacts);
        self.answer_for_good(turn, asked, status, bytes);
    }

    fn forward(
        &mut self,
        turn: &mut Turn<'_>,
        asked: Asked,
        routed: Routed,
        caller: Caller,
        plan: Plan,
        session: Option<session_timer::Asked>,
    ) {
        let subject = asked.subject();
        let Asked { request, method, source, key, .. } = asked;
        let record_route = match method.creates_dialog() {
            true => RecordRoute::Fresh { caller: peer(&caller, contact_address(&request), &source) },
            false => RecordRoute::No,
        };
        let call_key = (method == MethodKind::Invite).then(|| call_key(&request));
        let call = call_key.clone().map(|key| {
            let opened = opened(&self.station, &caller, &request, &source);
            let mut call = Call::new(key, turn.now, turn.wall, opened);
            call.decisions = plan.decisions.clone();
            self.proxy.calls.open(call)
        });
        let dialogs = self.proxy.calls.without_token(&request, source.remote).into_iter().collect();
        let owner = self.proxy.next_owner();
        let server = self.proxy.table.open_server(key, subject, owner);
        let sender = Sender::of(&self.station.rack, &caller);
        let original = Original { request, source, routed, record_route, sender, session };
        let Plan { choices, decisions } = plan;
        let caller = Some(caller);
        let job = Job { original, server, owner, caller, choices, decisions, key: call_key, call, dialogs };
        self.proxy.open(turn, &self.station, job);
    }

    /// Nobody is asked: a missed call of whoever has proved to be calling, unless he is asked to try again with something.
    /// Strangers leave no record, or they could fill the disk.
    fn refuse_caller(&mut self, turn: &mut Turn<'_>, asked: Asked, caller: &Caller, refusal: Refusal) {
        let begins = asked.method == MethodKind::Invite && asked.request.to_tag().is_none();
        let call = (begins && *caller != Caller::Anyone && !call::asks_for_more(refusal.status)).then(|| {
            let opened = opened(&self.station, caller, &asked.request, &asked.source);
            Call::new(call_key(&asked.request), turn.now, turn.wall, opened)
        });
        let status = refusal.status;
        let heard = self.refuse_for_good(turn, asked, refusal);
        if let Some(call) = call {
            turn.out.push(Effect::Missed(Box::new(call.refused(&self.station, (status, &heard)))));
        }
    }

    /// The sender is known: the answer is repeated until it is heard.
    pub(super) fn refuse_for_good(&mut self, turn: &mut Turn<'_>, asked: Asked, refusal: Refusal) -> Bytes {
        turn.reject(refusal.counted);
        let Refusal { status, reason, headers, .. } = refusal;
        let bytes = self.station.reply(&asked.request, &asked.source, status, reason, headers);
        self.answer_for_good(turn, asked, status, bytes.clone());
        bytes
    }

    fn answer_for_good(&mut self, turn: &mut Turn<'_>, asked: Asked, status: u16, bytes: Bytes) {
        let server = self.proxy.table.open_server(asked.key, asked.subject(), Owner(0));
        self.proxy.table.respond(turn, server, status, Outgoing::new(None, bytes));
    }
}

/// A Route beyond this rack in a new request leads to a trunk, or nowhere: this is no relay. Only a rack that asks nobody
/// for authentication follows it at all: elsewhere it would pass by the dial plan.
pub(super) fn by_route(station: &Station, routed: &Routed, mut decisions: Vec<Decision>) -> Result<Plan, Refusal> {
    let refused = || Refusal::because(403, Rejection::Relaying, "Route Leads Outside");
    if !service::asks_nobody(station) {
        return Err(refused());
    }
    let (hop, uri, route) = next_hop(routed.uri.clone(), routed.routes.clone())
        .map_err(|e| Refusal::because(400, Rejection::Invalid, e.to_string()))?;
    let hop = SipUri::parse(&hop).map_err(|_| refused())?;
    let (trunk, next_hop) = match hop.host_ip() {
        Some(ip) => {
            let address = SocketAddr::new(ip, hop.port_or_default());
            let trunk = station.rack.trunk_of_source(address).ok_or_else(refused)?;
            (trunk, NextHop::At(Flow { listener: trunk.listener, remote: address }))
        }
        None => {
            let wanted = Destination::of(&hop);
            let leads_there = |trunk: &&Trunk| route::server(trunk).is_some_and(|server| server.host == wanted.host);
            let trunk = station.rack.trunks.iter().find(leads_there).ok_or_else(refused)?;
            (trunk, NextHop::Named { destination: wanted, listener: trunk.listener })
        }
    };
    decisions.push(Decision::Routed(format!("the request's own Route → trunk {}", trunk.name)));
    let choice = Choice {
        uri,
        route,
        next_hop,
        peer: Some(Peer::Trunk(trunk.id)),
        order: 0,
        hunt: Hunt::IfUnavailable,
        recurse: trunk.recursion,
    };
    Ok(Plan { choices: vec![choice], decisions })
}

/// Neither from a trunk nor from or for a domain of ours, in a rack that asks for authentication: a scanner, which learns
/// nothing from silence. An open rack says 403, since nobody has to be kept out of it.
fn is_for_nobody_here(station: &Station, asked: &Asked, uri: Option<&Uri<'_>>) -> bool {
    let rack = &*station.rack;
    let ours = |uri: &Uri<'_>| match uri {
        Uri::Sip(uri) => rack.domain_of_host(uri.host, uri.port).is_some(),
        Uri::Tel(_) => true,
        Uri::Other { .. } => false,
    };
    rack.trunk_of_source(asked.source.remote).is_none()
        && !service::asks_nobody(station)
        && !uri.is_some_and(ours)
        && !asked.request.from().and_then(|from| from.uri()).is_ok_and(|from| ours(&from))
}

/// What a request asks of its session's timer; 422 for an interval that is too short (RFC 4028 §8.1).
pub(super) fn session_interval(
    station: &Station,
    request: &SipMessage,
) -> Result<Option<session_timer::Asked>, Refusal> {
    session_timer::Asked::of(&station.rack.session_timers, request)
}

fn opened(station: &Station, caller: &Caller, request: &SipMessage, source: &Flow) -> Opened {
    let contact = contact_address(request);
    Opened {
        caller: charged(station, caller, request),
        callee: request.request_uri().to_owned(),
        peer: peer(caller, contact, source),
        trunk_in: caller.trunk(),
        contact,
    }
}

/// Whose call it is: From's URI, unless that names somebody else than who has proved to be calling.
fn charged(station: &Station, caller: &Caller, request: &SipMessage) -> String {
    let from = request.from().map(|from| from.uri_text).unwrap_or_default();
    match caller {
        Caller::User(aor)
            if SipUri::parse(from).ok().and_then(|uri| local_aor(&station.rack, &uri)).as_ref() != Some(aor) =>
        {
            format!("sip:{aor}")
        }
        _ => from.to_owned(),
    }
}

/// The caller's side of a dialog: behind a NAT (or another proxy) if its source is not its Contact's host.
fn peer(caller: &Caller, contact: Option<SocketAddr>, source: &Flow) -> Peer {
    let contact = contact.map(|address| address.ip().to_canonical());
    match caller {
        Caller::Trunk(id) => Peer::Trunk(*id),
        _ if contact == Some(source.remote.ip().to_canonical()) => Peer::Direct(*source),
        _ => Peer::Flow(*source),
    }
}
