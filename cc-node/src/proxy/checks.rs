//! What a proxy asks of a request before it does anything for it (RFC 3261 §16.3 behind the syntax, RFC 5393).
//! Called by `node` for every request that is no repeat.

use super::preprocess::Routed;
use crate::identity;
use crate::service::{MAX_TARGETS, Refusal};
use crate::station::Station;
use crate::stats::Rejection;
use common::branch::{self, LoopPart};
use common::flow::Flow;
use common::sip::{HeaderId, SipMessage, Via};

/// The loop part that our branches for this request get.
pub fn loop_hash(station: &Station, request: &SipMessage, routed: &Routed, source: &Flow) -> String {
    let routes = routed.routes.join(",");
    let mut identified = Vec::with_capacity(19);
    match station.rack.trunk_of_source(source.remote) {
        Some(trunk) => identified.extend_from_slice(&trunk.id.0.to_be_bytes()),
        None => source.encode(&mut identified),
    }
    let part = LoopPart {
        uri: routed.uri.as_bytes(),
        routes: routes.as_bytes(),
        source: &identified,
        call_id: request.call_id(),
        from_tag: request.from_tag().unwrap_or_default().as_bytes(),
        to_tag: request.to_tag().unwrap_or_default().as_bytes(),
        cseq: request.cseq().map_or(0, |c| c.number),
    };
    branch::loop_hash(&station.keys.branch, &part)
}

/// 483 for a request that may go no further (§16.3 step 3); one that ends here needs not.
pub fn hops(request: &SipMessage) -> Result<(), Refusal> {
    match request.max_forwards().ok().flatten() {
        Some(0) => Err(Refusal::new(483, Rejection::Invalid)),
        _ => Ok(()),
    }
}

/// 482, 440 and 420, in the order of §16.3.
pub fn check(station: &Station, request: &SipMessage, loop_hash: &str) -> Result<(), Refusal> {
    // Only a Via in which the loop part stands somewhere need be read.
    let looped = |via: &str| {
        via.contains(loop_hash)
            && Via::parse(via).is_ok_and(|via| {
                station.vip.names_via(&via) && via.branch().and_then(branch::loop_part) == Some(loop_hash)
            })
    };
    if request.texts(HeaderId::Via).any(looped) {
        return Err(Refusal::new(482, Rejection::Invalid));
    }
    if max_breadth(request) == 0 {
        return Err(Refusal::new(440, Rejection::Invalid));
    }
    match request.not_understood(HeaderId::ProxyRequire, identity::privacy::OPTION) {
        Some(unknown) => Err(Refusal::new(420, Rejection::Invalid).with("Unsupported", unknown)),
        None => Ok(()),
    }
}

/// Branches that this request and all that come of it may have at a time (RFC 5393 §5.3.3).
pub fn max_breadth(request: &SipMessage) -> usize {
    let value = request.text(HeaderId::MaxBreadth).ok().flatten();
    value.and_then(|v| v.trim().parse::<usize>().ok()).map_or(MAX_TARGETS, |n| n.min(MAX_TARGETS))
}
