//! The token of our Via: which node waits for the response. User agents echo it; matching ignores it.
//!
//! 8 octets, 11 characters: head only.

use super::{FORM_VIA, HEAD, MAX, VERSION, decode, encode, head, node_mac};
use crate::ids::NodeId;
use crate::keys::KeyRing;

pub fn write(ring: &KeyRing<[u8; 16]>, node: NodeId, call_id: &[u8], out: &mut Vec<u8>) {
    let (id, key) = ring.current();
    let mut octets = [0u8; HEAD];
    octets[0] = VERSION | FORM_VIA;
    octets[1] = id;
    octets[2..4].copy_from_slice(&node.0.to_be_bytes());
    octets[4..].copy_from_slice(&node_mac(key, FORM_VIA, node, call_id));
    encode(&octets, out);
}

pub fn check(ring: &KeyRing<[u8; 16]>, sr: &[u8], call_id: &[u8]) -> Option<NodeId> {
    let mut octets = [0u8; MAX];
    let octets = decode(sr, &mut octets)?;
    let via = octets.len() == HEAD && octets[0] & 0x0F == FORM_VIA;
    via.then(|| head(ring, octets, call_id)).flatten().map(|(node, _)| node)
}
