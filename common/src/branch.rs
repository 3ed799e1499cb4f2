//! The branch that we write: magic cookie, version, transaction part, loop part. No node stands in it, so any node of the
//! rack writes the same one for the same leg, and a request that is sent again after a takeover is a retransmission.

use crate::fields::Fields;
use crate::flow::Flow;
use crate::ids::{BootId, NodeId};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// RFC 3261 §8.1.1.7.
pub const MAGIC: &str = "z9hG4bK";
const VERSION: &str = "1";
/// 64 bits in base64url.
const TRANSACTION: usize = 11;
/// 48 bits in base64url.
const LOOP: usize = 8;
const LENGTH: usize = MAGIC.len() + 1 + TRANSACTION + LOOP;

/// From whom the request came to this transaction user.
#[derive(Clone, Copy, Debug)]
pub enum Upstream<'a> {
    /// The whole value of the top Via as received.
    Via(&'a [u8]),
    /// A request that this rack originates.
    Own { node: NodeId, boot: BootId, counter: u64 },
}

/// What makes a leg: the same input gives the same branch, another target or attempt another.
/// Method, To tag and source are not in it: CANCEL and the ACK to a non-2xx share the INVITE's.
#[derive(Clone, Copy, Debug)]
pub struct TransactionPart<'a> {
    pub call_id: &'a [u8],
    pub from_tag: &'a [u8],
    pub cseq: u32,
    pub upstream: Upstream<'a>,
    /// Request-URI and route chosen for this target.
    pub uri: &'a [u8],
    pub route: &'a [u8],
    pub next_hop: Flow,
    /// Counts repeats to the same target.
    pub attempt: u32,
}

/// What makes a loop (RFC 5393 §4.2): the request came back as it was. Anything changed is a spiral.
#[derive(Clone, Copy, Debug)]
pub struct LoopPart<'a> {
    pub uri: &'a [u8],
    pub routes: &'a [u8],
    /// Who sent it, as identified: a trunk number, or listener and address.
    pub source: &'a [u8],
    pub call_id: &'a [u8],
    pub from_tag: &'a [u8],
    pub to_tag: &'a [u8],
    pub cseq: u32,
}

/// The whole branch, magic cookie included.
pub fn write(key: &[u8; 16], transaction: &TransactionPart<'_>, part: &LoopPart<'_>) -> String {
    write_with(key, transaction, &loop_hash(key, part))
}

/// The same where [`loop_hash`] was asked for before.
pub fn write_with(key: &[u8; 16], transaction: &TransactionPart<'_>, loop_hash: &str) -> String {
    let mut branch = String::with_capacity(LENGTH);
    branch.push_str(MAGIC);
    branch.push_str(VERSION);
    URL_SAFE_NO_PAD.encode_string(transaction_hash(key, transaction).to_be_bytes(), &mut branch);
    branch.push_str(loop_hash);
    branch
}

/// The loop part for a request as it stands: equal to that of a branch of ours in one of its Vias = a loop.
pub fn loop_hash(key: &[u8; 16], part: &LoopPart<'_>) -> String {
    let mut fields = Fields::new(2);
    for field in [part.uri, part.routes, part.source, part.call_id, part.from_tag, part.to_tag] {
        fields.field(field);
    }
    fields.field(&part.cseq.to_be_bytes());
    URL_SAFE_NO_PAD.encode(&fields.hash64(key).to_be_bytes()[..6])
}

/// Whether it has the shape of ours. Anybody can write such a one: it proves nothing by itself.
pub fn is_ours(branch: &str) -> bool {
    loop_part(branch).is_some()
}

/// The loop part of a branch with our shape.
pub fn loop_part(branch: &str) -> Option<&str> {
    let rest = branch.strip_prefix(MAGIC)?.strip_prefix(VERSION)?;
    let shaped =
        rest.len() == TRANSACTION + LOOP && rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    shaped.then(|| &rest[TRANSACTION..])
}

fn transaction_hash(key: &[u8; 16], t: &TransactionPart<'_>) -> u64 {
    let mut fields = Fields::new(1);
    fields.field(t.call_id);
    fields.field(t.from_tag);
    fields.field(&t.cseq.to_be_bytes());
    match t.upstream {
        Upstream::Via(via) => field_without_cookie(&mut fields, via),
        Upstream::Own { node, boot, counter } => {
            fields.field(&[1]);
            fields.field(&node.0.to_be_bytes());
            fields.field(&boot.0.to_be_bytes());
            fields.field(&counter.to_be_bytes());
        }
    }
    fields.field(t.uri);
    fields.field(t.route);
    let mut hop = Vec::with_capacity(19);
    t.next_hop.encode(&mut hop);
    fields.field(&hop);
    fields.field(&t.attempt.to_be_bytes());
    fields.hash64(key)
}

/// The Via's octets, the first magic cookie left out: a peer's branch is the same leg with and without it.
fn field_without_cookie(fields: &mut Fields, via: &[u8]) {
    match memchr::memchr_iter(MAGIC.as_bytes()[0], via).find(|at| via[*at..].starts_with(MAGIC.as_bytes())) {
        Some(at) => {
            fields.field(&via[..at]);
            fields.field(&via[at + MAGIC.len()..]);
        }
        None => fields.field(via),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ListenerId;

    const KEY: [u8; 16] = [3; 16];

    fn leg(uri: &'static [u8], attempt: u32) -> TransactionPart<'static> {
        TransactionPart {
            call_id: b"a@b",
            from_tag: b"f",
            cseq: 1,
            upstream: Upstream::Via(b"SIP/2.0/UDP h:5060;branch=z9hG4bKabc;rport"),
            uri,
            route: b"",
            next_hop: Flow { listener: ListenerId(0), remote: "192.0.2.9:5060".parse().expect("an address") },
            attempt,
        }
    }

    fn state(uri: &'static [u8]) -> LoopPart<'static> {
        LoopPart { uri, routes: b"", source: b"s", call_id: b"a@b", from_tag: b"f", to_tag: b"", cseq: 1 }
    }

    #[test]
    fn a_retransmission_has_the_same_branch_and_another_target_or_attempt_has_not() {
        let first = write(&KEY, &leg(b"sip:x@h", 0), &state(b"sip:x@d"));
        assert_eq!(first, write(&KEY, &leg(b"sip:x@h", 0), &state(b"sip:x@d")));
        assert_ne!(first, write(&KEY, &leg(b"sip:y@h", 0), &state(b"sip:x@d")));
        assert_ne!(first, write(&KEY, &leg(b"sip:x@h", 1), &state(b"sip:x@d")));
        assert_eq!(first.len(), LENGTH);
        assert!(is_ours(&first) && !is_ours("z9hG4bKshort"));
    }

    #[test]
    fn an_unchanged_request_is_a_loop_and_a_changed_one_a_spiral() {
        let branch = write(&KEY, &leg(b"sip:x@h", 0), &state(b"sip:x@d"));
        assert_eq!(loop_part(&branch), Some(loop_hash(&KEY, &state(b"sip:x@d")).as_str()));
        assert_ne!(loop_part(&branch), Some(loop_hash(&KEY, &state(b"sip:y@d")).as_str()));
    }
}
