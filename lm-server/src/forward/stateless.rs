//! What the load manager answers itself, made from the request alone, the same for each retransmission (RFC 3261 §8.2.7):
//! 503 while no node is live (§21.5.4), 513 for a message that is too long to be handed on (§21.5.7). The To tag carries
//! our mark, so that a node absorbs the ACK. Off the hot path: these allocate.

use super::Gate;
use bytes::Bytes;
use common::sip::{HeaderId, Limits, Method, Reply, SipMessage};
use common::tag;
use std::net::SocketAddr;

/// A node is usually back within this.
const RETRY_AFTER_S: &str = "2";
/// The answer is never more than this many times its request: nobody shall be flooded through us.
const GROWTH: usize = 2;

/// `None` if the request cannot be answered: headers missing or broken, an ACK, or an answer much longer than it.
pub fn unavailable(gate: &Gate, datagram: &[u8], source: SocketAddr) -> Option<Bytes> {
    let request = SipMessage::parse(Bytes::copy_from_slice(datagram), &Limits::default()).ok()?;
    if !request.is_request() {
        return None;
    }
    request.header(HeaderId::CallId)?;
    let retry = [("Retry-After", RETRY_AFTER_S)];
    answer(gate, &request, source, 503, &retry, datagram.len() * GROWTH)
}

/// `None` if it is no request with all that an answer needs, or an ACK, or if the answer would be longer than it.
pub fn too_large(gate: &Gate, datagram: &[u8], source: SocketAddr) -> Option<Bytes> {
    let request = SipMessage::remains(Bytes::copy_from_slice(datagram))?;
    answer(gate, &request, source, 513, &[], datagram.len())
}

fn answer(
    gate: &Gate,
    request: &SipMessage,
    source: SocketAddr,
    status: u16,
    headers: &[(&str, &str)],
    most: usize,
) -> Option<Bytes> {
    if request.method() == Method::Ack {
        return None;
    }
    let (from, to, cseq) = (request.from().ok()?, request.to().ok()?, request.cseq().ok()?);
    let from_tag = from.tag().unwrap_or_default();
    let top_via = request.top_via_octets()?;
    request.top_via().ok()?;
    let ours = tag::write(&gate.keys.tag, request.call_id(), from_tag.as_bytes(), cseq.number, top_via);
    let to_tag = to.tag().is_none().then_some(ours.as_str());
    let reply = Reply::to(request, status, to_tag).source(source);
    let reply = headers.iter().fold(reply, |reply, (name, value)| reply.header(*name, *value)).finish();
    (reply.len() <= most).then_some(reply)
}
