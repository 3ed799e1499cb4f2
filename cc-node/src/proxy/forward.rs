//! Request forwarding (RFC 3261 §16.6): the branch of a target, and the message that goes to it.

use super::preprocess::Routed;
use super::session_timer;
use crate::auth;
use crate::identity::{self, Sender};
use crate::record::Target;
use crate::service::Choice;
use crate::station::Station;
use bytes::Bytes;
use common::branch::{self, TransactionPart, Upstream};
use common::flow::{Flow, Peer};
use common::sip::{Edit, HeaderId, SipMessage};
use common::token::dialog::{self, DialogToken};

/// What stands in our Record-Route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordRoute {
    No,
    /// A dialog begins: who the caller is, and the listener it came in at.
    Fresh {
        caller: Peer,
    },
    /// A request within a dialog carries on the tokens that it came with.
    Copy {
        tokens: Vec<String>,
    },
}

/// A request that is forwarded, with all that its branches share.
pub struct Original {
    pub request: SipMessage,
    pub source: Flow,
    pub routed: Routed,
    pub record_route: RecordRoute,
    /// Decides what it may assert about the caller.
    pub sender: Sender,
    /// What it asks of the session's timer, if it is a refresh.
    pub session: Option<session_timer::Asked>,
}

/// The target of a choice: with its branch, which is never recomputed.
/// `next_hop`: where it is, now that its name is known; `attempt` counts the addresses of that name.
pub fn target(station: &Station, original: &Original, choice: Choice, next_hop: Flow, attempt: u32) -> Target {
    let Choice { uri, route, peer, order, hunt, recurse, .. } = choice;
    let branch = write_branch(station, original, &uri, &route, next_hop, attempt);
    let peer = peer.unwrap_or(Peer::Flow(next_hop));
    Target { uri, route, next_hop, peer, order, attempt, hunt, recurse, branch }
}

fn write_branch(
    station: &Station,
    original: &Original,
    uri: &str,
    route: &[String],
    next_hop: Flow,
    attempt: u32,
) -> String {
    let Original { request, routed, .. } = original;
    let route = route.join(",");
    let transaction = TransactionPart {
        call_id: request.call_id(),
        from_tag: request.from_tag().unwrap_or_default().as_bytes(),
        cseq: request.cseq().map_or(0, |c| c.number),
        upstream: Upstream::Via(request.top_via_octets().unwrap_or_default()),
        uri: uri.as_bytes(),
        route: route.as_bytes(),
        next_hop,
        attempt,
    };
    branch::write_with(&station.keys.branch, &transaction, &routed.loop_hash)
}

/// The request as it goes to `target`. `breadth`: what this branch may fork into (RFC 5393 §5.3.3).
pub fn write(station: &Station, original: &Original, target: &Target, breadth: usize) -> Bytes {
    let request = &original.request;
    let mut edit = Edit::new(request);
    edit.set_request_uri(&target.uri);
    let hops = request.max_forwards().ok().flatten().map_or(70, |n| n.saturating_sub(1));
    edit.set(HeaderId::MaxForwards, &hops.to_string());
    edit.set(HeaderId::MaxBreadth, &breadth.to_string());
    if original.routed.changed || target.route != original.routed.routes {
        edit.remove_all(HeaderId::Route);
        for route in target.route.iter().rev() {
            edit.push_front(HeaderId::Route, route);
        }
    }
    auth::consume(&station.rack, request, &mut edit);
    identity::request(&station.rack, request, &original.sender, &target.peer, &mut edit);
    record_route(station, original, target, &mut edit);
    if let Some(asked) = &original.session {
        asked.write(request, &mut edit);
    }
    if let Ok(via) = request.top_via()
        && let Some(completed) = via.with_source(original.source.remote)
    {
        edit.replace_first_value(HeaderId::Via, &completed);
    }
    let sent_by = station.sent_by(target.next_hop.listener);
    let token = station.via_token(request.call_id());
    edit.push_front_of(HeaderId::Via, &["SIP/2.0/UDP ", sent_by, ";branch=", &target.branch, ";sr=", &token]);
    edit.finish()
}

/// One value for each passage of the dialog through this rack, and one more where the request leaves from another listener
/// than it came in at: each side then keeps its own.
fn record_route(station: &Station, original: &Original, target: &Target, edit: &mut Edit<'_>) {
    let fresh;
    let tokens = match &original.record_route {
        RecordRoute::No => return,
        RecordRoute::Copy { tokens } => tokens,
        RecordRoute::Fresh { caller } => {
            let request = &original.request;
            let token = DialogToken { node: station.id, caller: *caller, callee: target.peer };
            let tag = request.from_tag().unwrap_or_default();
            let mut octets = Vec::with_capacity(96);
            dialog::write(&station.keys.token, &token, request.call_id(), tag.as_bytes(), &mut octets);
            fresh = [String::from_utf8(octets).unwrap_or_default()];
            &fresh[..]
        }
    };
    let mut push = |listener, token: &str| {
        edit.push_front_of(HeaderId::RecordRoute, &["<sip:", station.sent_by(listener), ";lr;sr=", token, ">"]);
    };
    let (inner, outer) = (original.source.listener, target.next_hop.listener);
    let Some((last, before)) = tokens.split_last() else { return };
    before.iter().for_each(|token| push(inner, token));
    if before.is_empty() && outer != inner {
        push(inner, last);
    }
    push(outer, last);
}
