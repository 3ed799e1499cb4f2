//! How a message finds its transaction (RFC 3261 §17.1.3, §17.2.3). Keys are 128-bit keyed hashes, so that a table costs
//! the same whatever peers write into their branches.
//!
//! Call-ID and CSeq number are in the server key too: every repeat, ACK and CANCEL has them, and peers that use one
//! branch twice are kept apart. The `sr` parameter and what we add to a Via are not.

use common::branch::MAGIC;
use common::fields::Fields;
use common::sip::{Method, SipMessage, Via};
use smallvec::SmallVec;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerKey(u128);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey(u128);

impl ServerKey {
    /// For what is said about it between nodes' questions.
    pub fn number(self) -> u128 {
        self.0
    }

    /// Of a request; its own method, but an ACK has the key of its INVITE. `None` if the Via or CSeq cannot be read.
    pub fn of(key: &[u8; 16], request: &SipMessage) -> Option<ServerKey> {
        let method = request.method();
        ServerKey::with_method(key, request, if method == Method::Ack { &Method::Invite } else { &method })
    }

    /// Of the transaction that a CANCEL means (§9.2). Only INVITEs are cancelled here: nothing else waits that long.
    pub fn cancelled_by(key: &[u8; 16], cancel: &SipMessage) -> Option<ServerKey> {
        ServerKey::with_method(key, cancel, &Method::Invite)
    }

    fn with_method(key: &[u8; 16], request: &SipMessage, method: &Method) -> Option<ServerKey> {
        let via = request.top_via().ok()?;
        let mut hash = Fields::new(1);
        hash.field(method.as_str().as_bytes());
        hash.field(request.call_id());
        hash.field(&request.cseq().ok()?.number.to_be_bytes());
        let host: SmallVec<[u8; 64]> = via.host.bytes().map(|b| b.to_ascii_lowercase()).collect();
        hash.field(&host);
        hash.field(&via.port_or_default().to_be_bytes());
        match via.branch().filter(|b| has_magic(b)) {
            Some(branch) => hash.field(branch.as_bytes()),
            // RFC 2543 peers: the branch says nothing, so all that makes a request.
            None => {
                hash.field(request.from_tag().unwrap_or_default().as_bytes());
                hash.field(via.raw.as_bytes());
            }
        }
        Some(ServerKey(hash.hash128(key)))
    }
}

impl ClientKey {
    /// For what is said about it between nodes' questions.
    pub fn number(self) -> u128 {
        self.0
    }

    /// Of a request that we send with `branch`.
    pub fn new(key: &[u8; 16], branch: &str, method: &Method) -> ClientKey {
        let mut hash = Fields::new(2);
        hash.field(branch.as_bytes());
        hash.field(method.as_str().as_bytes());
        ClientKey(hash.hash128(key))
    }

    /// Of a response whose top Via is ours.
    pub fn of(key: &[u8; 16], via: &Via<'_>, method: &Method) -> Option<ClientKey> {
        Some(ClientKey::new(key, via.branch()?, method))
    }
}

/// RFC 3261 §8.1.1.7; the cookie is compared without case, as peers write it in any.
fn has_magic(branch: &str) -> bool {
    branch.get(..MAGIC.len()).is_some_and(|head| head.eq_ignore_ascii_case(MAGIC)) && branch.len() > MAGIC.len()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::sip::Limits;

    fn key(method: &str, via: &str, to_tag: &str) -> ServerKey {
        let text = format!(
            "{method} sip:b@h SIP/2.0\r\nVia: {via}\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>{to_tag}\r\nCall-ID: c\r\nCSeq: 7 {method}\r\n\r\n"
        );
        ServerKey::of(&[1; 16], &SipMessage::parse(text.into(), &Limits::default()).unwrap()).unwrap()
    }

    #[test]
    fn ack_finds_the_invite_and_nothing_else_does() {
        let invite = key("INVITE", "SIP/2.0/UDP h;branch=z9hG4bKa", "");
        assert_eq!(invite, key("INVITE", "SIP/2.0/UDP H:5060;rport;branch=z9hG4bKa", ""));
        assert_eq!(invite, key("ACK", "SIP/2.0/UDP h;branch=z9hG4bKa", ";tag=9"));
        for other in [
            key("INVITE", "SIP/2.0/UDP h;branch=z9hG4bKb", ""),
            key("INVITE", "SIP/2.0/UDP h:5062;branch=z9hG4bKa", ""),
            key("CANCEL", "SIP/2.0/UDP h;branch=z9hG4bKa", ""),
            key("INVITE", "SIP/2.0/UDP h;branch=a", ""),
        ] {
            assert_ne!(invite, other);
        }
    }

    #[test]
    fn a_peer_without_the_magic_cookie_is_matched_by_all_else() {
        let old = key("INVITE", "SIP/2.0/UDP h", "");
        assert_eq!(old, key("ACK", "SIP/2.0/UDP h", ";tag=9"));
        assert_ne!(old, key("INVITE", "SIP/2.0/UDP h;branch=1", ""));
    }
}
