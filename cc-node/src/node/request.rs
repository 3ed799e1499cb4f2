//! The way of a request: refused, a repeat, an ACK or CANCEL, within a dialog by its token, or new. Everything that is
//! answered before the sender is identified is answered without state.

use super::Engine;
use crate::call::{Call, Side};
use crate::in_dialog::{self, InDialog};
use crate::proxy::preprocess::next_hop;
use crate::proxy::{self, Job, Original, RecordRoute, Routed, checks, contact_address, preprocess, stateless};
use crate::record::{CallKey, Decision, Step};
use crate::service::{self, Caller, Named, Plan, Refusal};
use crate::station::Station;
use crate::stats::{DropReason, Rejection};
use crate::transaction::{Address, Outgoing, Owner, ServerKey, ServerSaw, Subject};
use crate::turn::Turn;
use common::config::Auth;
use common::flow::{Flow, Peer};
use common::sip::{MethodKind, SipMessage, SipUri, Uri};
use common::tag;
use common::wire::proxy::ProxyHeader;

const ALLOW: &str =
    "INVITE, ACK, CANCEL, BYE, REGISTER, OPTIONS, INFO, UPDATE, PRACK, SUBSCRIBE, NOTIFY, PUBLISH, MESSAGE, REFER";

/// A request with what is known of it from the outside.
pub(super) struct Asked {
    pub request: SipMessage,
    pub method: MethodKind,
    pub source: Flow,
    /// Where its responses go (RFC 3261 §18.2.2, RFC 3581 §4).
    pub back: Address,
    pub key: ServerKey,
    /// As the load manager wrote it.
    pub header: ProxyHeader,
}

impl Asked {
    pub(super) fn subject(&self, station: &Station) -> Subject {
        Subject { method: self.method, address: self.back, call: station.call_hash(self.request.call_id()) }
    }
}

impl Engine {
    pub(super) fn request(&mut self, turn: &mut Turn<'_>, header: ProxyHeader, request: SipMessage) {
        let method = request.method().kind();
        let source = Flow { listener: header.listener, remote: header.source };
        let back = Address { listener: header.listener, to: reply_to(&request, &source), transport: header.transport };
        if let Err(invalid) = request.validate() {
            if method == MethodKind::Ack || request.top_via().is_err() {
                return turn.stats.drop(DropReason::Malformed);
            }
            let refusal = Refusal::because(invalid.status, Rejection::Invalid, invalid.reason);
            return refuse(turn, &self.station, &request, &source, back, refusal);
        }
        let Some(key) = ServerKey::of(&self.station.keys.branch, &request) else {
            return turn.stats.drop(DropReason::Malformed);
        };
        let asked = Asked { request, method, source, back, key, header };
        match method {
            MethodKind::Ack => self.ack(turn, asked),
            MethodKind::Cancel => self.cancel(turn, asked),
            _ => match self.proxy.table.find_server(key) {
                Some(server) => {
                    turn.stats.repeats += 1;
                    self.proxy.table.request(turn, server, false);
                }
                None => self.fresh(turn, asked),
            },
        }
    }

    /// To a response of ours: for its transaction. To a 2xx: on by the token. Never answered.
    fn ack(&mut self, turn: &mut Turn<'_>, asked: Asked) {
        let Asked { request, source, key, .. } = asked;
        if let Some(server) = self.proxy.table.find_server(key)
            && self.proxy.table.request(turn, server, true) == ServerSaw::Repeat
        {
            return;
        }
        let station = &self.station;
        if request.to_tag().is_some_and(|tag| tag::is_ours(&station.keys.tag, tag.as_bytes(), request.call_id())) {
            return turn.stats.drop(DropReason::AckOfOurs);
        }
        let Ok(routed) = preprocess(station, &request) else { return turn.stats.drop(DropReason::Malformed) };
        let Some(dialog) = in_dialog::of(station, &request, &routed) else {
            return turn.stats.drop(DropReason::AckWithoutToken);
        };
        let loop_hash = checks::loop_hash(station, &request, &routed, &source);
        if checks::check(station, &request, &loop_hash).is_err() {
            return turn.stats.drop(DropReason::AckInvalid);
        }
        let call = dialog.call(&self.proxy.calls, &request);
        let Ok(choice) = dialog.choice(station, &self.proxy.calls, call, &routed) else {
            return turn.stats.drop(DropReason::AckOutsidePeer);
        };
        let trusted = matches!(dialog.near(), Peer::Trunk(_));
        let record_route = RecordRoute::No;
        let original = Original { request, source, routed, record_route, drop_credentials: false, trusted };
        stateless::ack(turn, station, &original, choice);
    }

    /// RFC 3261 §16.10. The 200 needs no transaction of its own: a repeat finds the INVITE's and gets the same answer.
    fn cancel(&mut self, turn: &mut Turn<'_>, asked: Asked) {
        let invite = ServerKey::cancelled_by(&self.station.keys.branch, &asked.request);
        let Some(server) = invite.and_then(|key| self.proxy.table.find_server(key)) else {
            let refusal = Refusal::new(481, Rejection::NoTransaction);
            return refuse(turn, &self.station, &asked.request, &asked.source, asked.back, refusal);
        };
        let ok = self.station.reply(&asked.request, &asked.source, 200, None, Vec::new());
        turn.send(MethodKind::Cancel, asked.back, Outgoing::new(None, ok));
        self.proxy.cancel(turn, &self.station, server);
    }

    /// No repeat: checked, then in a dialog or new.
    fn fresh(&mut self, turn: &mut Turn<'_>, asked: Asked) {
        let station = &self.station;
        let routed = match preprocess(station, &asked.request) {
            Ok(routed) => routed,
            Err(e) => {
                let refusal = Refusal::because(400, Rejection::Invalid, e.to_string());
                return refuse(turn, station, &asked.request, &asked.source, asked.back, refusal);
            }
        };
        let loop_hash = checks::loop_hash(station, &asked.request, &routed, &asked.source);
        if let Err(refusal) = checks::check(station, &asked.request, &loop_hash) {
            return refuse(turn, station, &asked.request, &asked.source, asked.back, refusal);
        }
        match in_dialog::of(station, &asked.request, &routed) {
            Some(dialog) => self.within(turn, asked, routed, &dialog),
            None => {
                if routed.token.is_some() && asked.request.to_tag().is_some() {
                    turn.stats.forged_tokens += 1;
                }
                self.begin(turn, asked, routed);
            }
        }
    }

    /// Within a dialog: never challenged, and refused only when there is no room at all.
    fn within(&mut self, turn: &mut Turn<'_>, asked: Asked, routed: Routed, dialog: &InDialog) {
        let call = dialog.call(&self.proxy.calls, &asked.request);
        let choice = match self.proxy.table.len() < 2 * self.room() {
            true => dialog.choice(&self.station, &self.proxy.calls, call, &routed),
            false => Err(Refusal::full("Transactions")),
        };
        let choice = match choice {
            Ok(choice) => choice,
            // The ACK to this has the far end's tag and our token: a transaction must take it in.
            Err(refusal) if asked.method == MethodKind::Invite => return self.refuse_for_good(turn, asked, refusal),
            Err(refusal) => return refuse(turn, &self.station, &asked.request, &asked.source, asked.back, refusal),
        };
        let calls = &mut self.proxy.calls;
        let call = call.filter(|call| dialog.is_from_its_side(&self.station, calls, *call, &asked.source));
        if let (Some(call), Some(address), true) =
            (call, contact_address(&asked.request), in_dialog::records_again(asked.method))
        {
            calls.saw_contact(call, dialog.sender, address);
        }
        turn.stats.in_dialog += 1;
        let record_route = match in_dialog::records_again(asked.method) {
            true => RecordRoute::Copy { token: dialog.text.clone() },
            false => RecordRoute::No,
        };
        let key = (asked.method == MethodKind::Invite).then(|| call_key(&asked.request));
        let found = format!("in the dialog of a {:?}, by its token of node {}", dialog.sender, dialog.token.node);
        let decisions = vec![Decision { step: Step::Identify, found }];
        let owner = self.proxy.next_owner();
        let server = self.proxy.table.open_server(asked.key, asked.subject(&self.station), owner);
        let trusted = matches!(dialog.near(), Peer::Trunk(_));
        let (request, source) = (asked.request, asked.source);
        let original = Original { request, source, routed, record_route, drop_credentials: false, trusted };
        let dialog = call.map(|call| (call, dialog.sender));
        let job = Job { original, server, owner, choices: vec![choice], decisions, key, call: None, dialog };
        self.proxy.open(turn, &self.station, job);
    }

    /// New: who asks, may they, where does it go.
    fn begin(&mut self, turn: &mut Turn<'_>, asked: Asked, routed: Routed) {
        let station = &self.station;
        if asked.method == MethodKind::Register {
            return self.register(turn, asked, &routed);
        }
        let Ok(uri) = Uri::parse(&routed.uri) else {
            let refusal = Refusal::because(400, Rejection::Invalid, "Malformed Route Or Request-URI");
            return refuse(turn, station, &asked.request, &asked.source, asked.back, refusal);
        };
        if asked.method == MethodKind::Options && matches!(service::named(station, &uri, None), Named::Ourselves) {
            let headers =
                vec![("Allow", ALLOW.into()), ("Accept", "application/sdp".into()), ("Supported", "path".into())];
            let ok = station.reply(&asked.request, &asked.source, 200, None, headers);
            return turn.send(asked.method, asked.back, Outgoing::new(None, ok));
        }
        let identified =
            service::identify(station, &mut self.auth, turn.wall, turn.view, &asked.request, &asked.source);
        let (caller, decision) = match identified {
            Ok(identified) => identified,
            Err(refusal) => return refuse(turn, station, &asked.request, &asked.source, asked.back, refusal),
        };
        let decisions = match self.admit(asked.method, decision) {
            Ok(decisions) => decisions,
            Err(refusal) => return refuse(turn, &self.station, &asked.request, &asked.source, asked.back, refusal),
        };
        let plan = match routed.routes.is_empty() {
            _ if caller == Caller::Anyone && !is_open_to_anyone(&self.station, &uri) => {
                Err(Refusal::because(403, Rejection::Forbidden, "This Domain Asks For Authentication"))
            }
            true => service::decide(&self.station, turn.view, turn.now, &caller, &uri, decisions),
            false => by_route(&self.station, &routed, decisions),
        };
        match plan {
            Ok(plan) => self.forward(turn, asked, routed, &caller, plan),
            Err(refusal) => self.refuse_for_good(turn, asked, refusal),
        }
    }

    /// Second step of the pipeline: whether there is room.
    fn admit(&self, method: MethodKind, identified: Decision) -> Result<Vec<Decision>, Refusal> {
        let (transactions, calls) = (self.proxy.table.len(), self.proxy.calls.len());
        if transactions >= self.room() {
            return Err(Refusal::full("Transactions"));
        }
        if method == MethodKind::Invite && calls >= self.station.rack.limits.calls as usize {
            return Err(Refusal::full("Calls"));
        }
        let found = format!("{transactions} transactions and {calls} calls here before it");
        Ok(vec![identified, Decision { step: Step::Admit, found }])
    }

    fn room(&self) -> usize {
        self.station.rack.limits.transactions as usize
    }

    fn forward(&mut self, turn: &mut Turn<'_>, asked: Asked, routed: Routed, caller: &Caller, plan: Plan) {
        let subject = asked.subject(&self.station);
        let Asked { request, method, source, key, .. } = asked;
        let record_route = match method.creates_dialog() {
            true => RecordRoute::Fresh { caller: peer(caller, &request, &source) },
            false => RecordRoute::No,
        };
        let call_key = (method == MethodKind::Invite).then(|| call_key(&request));
        let call = call_key.clone().map(|key| {
            let from = request.from().map(|from| from.uri_text.to_owned()).unwrap_or_default();
            let mut call = Call::new(key, turn.now, turn.wall, from, request.request_uri().to_owned());
            call.decisions = plan.decisions.clone();
            call.trunk_in = caller.trunk();
            self.proxy.calls.open(call)
        });
        if let (Some(call), Some(address)) = (call, contact_address(&request)) {
            self.proxy.calls.saw_contact(call, Side::Caller, address);
        }
        let owner = self.proxy.next_owner();
        let server = self.proxy.table.open_server(key, subject, owner);
        let drop_credentials = matches!(caller, Caller::User(_));
        let trusted = caller.trunk().is_some();
        let original = Original { request, source, routed, record_route, drop_credentials, trusted };
        let Plan { choices, decisions } = plan;
        let job = Job { original, server, owner, choices, decisions, key: call_key, call, dialog: None };
        self.proxy.open(turn, &self.station, job);
    }

    /// The sender is known: the answer is repeated until it is heard.
    pub(super) fn refuse_for_good(&mut self, turn: &mut Turn<'_>, asked: Asked, refusal: Refusal) {
        turn.stats.reject(refusal.counted);
        let Refusal { status, reason, headers, .. } = refusal;
        let bytes = self.station.reply(&asked.request, &asked.source, status, reason, headers);
        let server = self.proxy.table.open_server(asked.key, asked.subject(&self.station), Owner(0));
        self.proxy.table.respond(turn, server, status, Outgoing::new(None, bytes));
    }
}

/// One answer without any state; a repeat gets the same.
pub(super) fn refuse(
    turn: &mut Turn<'_>,
    station: &Station,
    request: &SipMessage,
    source: &Flow,
    back: Address,
    refusal: Refusal,
) {
    turn.stats.reject(refusal.counted);
    let Refusal { status, reason, headers, .. } = refusal;
    let bytes = station.reply(request, source, status, reason, headers);
    turn.send(request.method().kind(), back, Outgoing::new(None, bytes));
}

/// Whoever came in by a domain without authentication reaches domains without it; foreign ones only where no domain
/// asks for it. Else one open domain would open all of them.
fn is_open_to_anyone(station: &Station, uri: &Uri<'_>) -> bool {
    match service::named(station, uri, None) {
        Named::Local { domain, .. } => domain.auth == Auth::None,
        Named::Ourselves => true,
        Named::Foreign { .. } => asks_nobody(station),
    }
}

fn asks_nobody(station: &Station) -> bool {
    station.rack.domains.iter().all(|domain| domain.auth == Auth::None)
}

/// A Route beyond this rack in a new request leads to a trunk, or nowhere: this is no relay. Only a rack that asks nobody
/// for authentication follows it at all: elsewhere it would pass by the dial plan.
fn by_route(station: &Station, routed: &Routed, mut decisions: Vec<Decision>) -> Result<Plan, Refusal> {
    let refused = || Refusal::because(403, Rejection::Relaying, "Route Leads Outside");
    if !asks_nobody(station) {
        return Err(refused());
    }
    let (hop, uri, route) = next_hop(routed.uri.clone(), routed.routes.clone())
        .map_err(|e| Refusal::because(400, Rejection::Invalid, e.to_string()))?;
    let hop = SipUri::parse(&hop).map_err(|_| refused())?;
    let address = hop.host_ip().map(|ip| std::net::SocketAddr::new(ip, hop.port_or_default())).ok_or_else(refused)?;
    let trunk = station.rack.trunk_of_source(address).ok_or_else(refused)?;
    decisions.push(Decision { step: Step::Route, found: format!("the request's own Route → trunk {}", trunk.name) });
    let choice = service::Choice {
        uri,
        route,
        next_hop: Flow { listener: trunk.listener, remote: address },
        peer: Peer::Trunk(trunk.id),
        order: 0,
        hunt: crate::record::Hunt::IfUnavailable,
    };
    Ok(Plan { choices: vec![choice], decisions })
}

/// The caller's side of a dialog: behind a NAT (or another proxy) if its source is not its Contact's host.
fn peer(caller: &Caller, request: &SipMessage, source: &Flow) -> Peer {
    let contact = proxy::contact_address(request).map(|address| address.ip().to_canonical());
    match caller {
        Caller::Trunk(id) => Peer::Trunk(*id),
        _ if contact == Some(source.remote.ip().to_canonical()) => Peer::Direct(*source),
        _ => Peer::Flow(*source),
    }
}

fn call_key(request: &SipMessage) -> CallKey {
    CallKey {
        call_id: request.call_id().into(),
        from_tag: request.from_tag().unwrap_or_default().into(),
        upstream_branch: request.top_via().ok().and_then(|via| via.branch()).unwrap_or_default().into(),
        cseq: request.cseq().map_or(0, |cseq| cseq.number),
    }
}

/// The source's address; its port if `rport` asks for that, else the Via's.
fn reply_to(request: &SipMessage, source: &Flow) -> std::net::SocketAddr {
    match request.top_via() {
        Ok(via) if via.rport().is_none() => std::net::SocketAddr::new(source.remote.ip(), via.port_or_default()),
        _ => source.remote,
    }
}
