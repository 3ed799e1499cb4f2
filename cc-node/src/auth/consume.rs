//! Credentials that are for this rack end here (RFC 3261 §22.3): a proxy takes its own realms' Proxy-Authorization out of
//! what it forwards and lets those of other realms pass. Called by `proxy` on every request that it forwards.

use common::config::Rack;
use common::sip::{Credentials, Edit, HeaderId, SipMessage};

/// Whatever the request proved: nobody further on has a use for a digest over one of our passwords, except to guess it.
pub fn consume(rack: &Rack, request: &SipMessage, edit: &mut Edit<'_>) {
    let is_ours = |value: &[u8]| {
        let realm = std::str::from_utf8(value).ok().and_then(Credentials::realm);
        realm.is_some_and(|realm| rack.domain(&realm).is_some())
    };
    if request.all(HeaderId::ProxyAuthorization).any(is_ours) {
        edit.remove_lines(|id, _, value| id == HeaderId::ProxyAuthorization && is_ours(value));
    }
}
