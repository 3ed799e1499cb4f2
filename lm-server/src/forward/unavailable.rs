//! What a request is told while no node is live: a stateless 503 (RFC 3261 §21.5.4), made from the request alone, the
//! same for each retransmission. Its To tag carries our mark, so that a node that is live by then absorbs the ACK.

use super::Gate;
use bytes::Bytes;
use common::sip::{HeaderId, Limits, Method, Reply, SipMessage};
use common::tag;
use std::net::SocketAddr;

/// A node is usually back within this.
const RETRY_AFTER_S: &str = "2";
/// An answer is never more than this many times its request: nobody shall be flooded through us.
const GROWTH: usize = 2;

/// `None` if the request cannot be answered: headers missing or broken, an ACK, or an answer much longer than it.
/// Allocates; called only while the rack is without a node.
pub fn unavailable(gate: &Gate, datagram: &[u8], source: SocketAddr) -> Option<Bytes> {
    let request = SipMessage::parse(Bytes::copy_from_slice(datagram), &Limits::default()).ok()?;
    if !request.is_request() || request.method() == Method::Ack {
        return None;
    }
    let (from, to, cseq) = (request.from().ok()?, request.to().ok()?, request.cseq().ok()?);
    let from_tag = from.tag().unwrap_or_default();
    let top_via = request.top_via_octets()?;
    request.top_via().ok()?;
    request.header(HeaderId::CallId)?;
    let ours = tag::write(&gate.keys.tag, request.call_id(), from_tag.as_bytes(), cseq.number, top_via);
    let to_tag = to.tag().is_none().then_some(ours.as_str());
    let reply = Reply::to(&request, 503, to_tag).source(source).header("Retry-After", RETRY_AFTER_S).finish();
    (reply.len() <= datagram.len() * GROWTH).then_some(reply)
}
