//! What is forwarded without a transaction: responses by the token of our Via, and the ACK to a 2xx by its dialog token.
//! Nothing without a valid token passes: RFC 6026 §7.3 has strays dropped, and only the token proves that it is none.

use super::checks;
use super::forward::{self, Original};
use super::session_timer;
use crate::identity::{self, Edge};
use crate::service::Choice;
use crate::station::Station;
use crate::stats::DropReason;
use crate::transaction::{Address, Outgoing};
use crate::turn::Turn;
use bytes::Bytes;
use common::flow::Flow;
use common::ids::{ListenerId, Transport};
use common::sip::{Edit, HeaderId, MethodKind, SipMessage, Via};
use common::token;
use std::net::{IpAddr, SocketAddr};

/// A response without transaction: a late 2xx, or one for a request that another node forwarded. A response to a CANCEL
/// is for the node that made it, a 100 for the hop that asked. Whether it went on.
pub fn response(turn: &mut Turn<'_>, station: &Station, source: &Flow, response: &SipMessage) -> bool {
    let method = response.method().kind();
    let token = response.top_via().ok().and_then(|via| via.params.value("sr"));
    let ours = token.and_then(|sr| token::via::check(&station.keys.token, sr.as_bytes(), response.call_id()));
    if ours.is_none() || method == MethodKind::Cancel || response.status() == 100 {
        turn.drop(DropReason::StrayResponse);
        return false;
    }
    // A Via may name anything; what is no host of its own gets nothing (RFC 4475 §3.3.10).
    let Some(to) = next_address(response).filter(|to| is_one_host(to.ip())) else {
        turn.drop(DropReason::NotForwarded);
        return false;
    };
    turn.stats.responses_by_token += 1;
    let bytes = upstream(station, response, Edge::between(&station.rack, source.remote, to));
    let listener = listener_towards(station, source.listener, to);
    turn.send(method, Address { listener, to, transport: Transport::Udp }, Outgoing::new(None, bytes));
    true
}

fn is_one_host(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !(broadcast || ip.is_multicast() || ip.is_unspecified())
}

/// Our Via off it, and what may not cross the edge towards who asked.
pub(super) fn upstream(station: &Station, response: &SipMessage, edge: Edge) -> Bytes {
    let mut edit = Edit::new(response);
    edit.remove_first_value(HeaderId::Via);
    identity::response(&station.rack, response, edge, &mut edit);
    edit.finish()
}

/// A 2xx to an INVITE whose context is done: the addresses tell who is on each side. `session`: what its INVITE offered.
pub(super) fn late_2xx(station: &Station, source: &Flow, response: &SipMessage, session: Option<u32>) -> Bytes {
    let edge = match next_address(response) {
        Some(to) => Edge::between(&station.rack, source.remote, to),
        None => Edge { from: false, to: false },
    };
    let mut edit = Edit::new(response);
    edit.remove_first_value(HeaderId::Via);
    session_timer::tell(session, response, &mut edit);
    identity::response(&station.rack, response, edge, &mut edit);
    edit.finish()
}

fn next_address(response: &SipMessage) -> Option<SocketAddr> {
    let next = response.text_at(HeaderId::Via, 1)?;
    Via::parse(next).ok()?.response_address()
}

/// Which listener the request came in at is not in its Via: the one that the response came in at, if it speaks the next
/// hop's IP version, else the first that does.
fn listener_towards(station: &Station, came_in_at: ListenerId, to: SocketAddr) -> ListenerId {
    let speaks = |id: &ListenerId| {
        station.rack.listeners.get(usize::from(id.0)).is_some_and(|l| l.address.is_ipv4() == to.is_ipv4())
    };
    let all = (0..station.rack.listeners.len()).map(|i| ListenerId(i as u8));
    [came_in_at].into_iter().chain(all).find(speaks).unwrap_or(came_in_at)
}

/// An ACK to a 2xx: on its way, with a branch of its own.
pub fn ack(turn: &mut Turn<'_>, station: &Station, original: &Original, choice: Choice, hop: Flow) {
    let target = forward::target(station, original, choice, hop, 0);
    let bytes = forward::write(station, original, &target, checks::max_breadth(&original.request));
    let address = Address { listener: hop.listener, to: hop.remote, transport: Transport::Udp };
    turn.send(MethodKind::Ack, address, Outgoing::new(None, bytes));
}
