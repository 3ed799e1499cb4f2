//! The token of our Path (RFC 3327): the flow over which a registered phone behind a NAT is reached when somebody else is
//! its registrar. No node, no Call-ID: it makes nothing in-dialog, and is honoured only with that AOR as target.
//!
//! Version and form, key id, address family, flow, 64-bit MAC over flow and AOR.

use super::{FORM_PATH, MAX, VERSION, decode, encode, fields};
use crate::flow::Flow;
use crate::keys::KeyRing;
use subtle::ConstantTimeEq;

const MAC: usize = 8;

pub fn write(ring: &KeyRing<[u8; 16]>, flow: &Flow, aor: &str, out: &mut Vec<u8>) {
    let (id, key) = ring.current();
    let mut octets = vec![VERSION | FORM_PATH, id, if flow.remote.is_ipv6() { 6 } else { 4 }];
    flow.encode(&mut octets);
    let mac = fields(key, 0x80 | FORM_PATH, &[&octets[2..], aor.as_bytes()]);
    octets.extend_from_slice(&mac);
    encode(&octets, out);
}

/// The flow, if the token was written for this AOR.
pub fn check(ring: &KeyRing<[u8; 16]>, sr: &[u8], aor: &str) -> Option<Flow> {
    let mut octets = [0u8; MAX];
    let octets = decode(sr, &mut octets)?;
    if octets.len() < 3 + MAC || octets[0] != VERSION | FORM_PATH {
        return None;
    }
    let key = ring.get(octets[1])?;
    let (said, proof) = octets.split_at(octets.len() - MAC);
    let (flow, rest) = match said[2] {
        4 => Flow::decode(&said[3..], false)?,
        6 => Flow::decode(&said[3..], true)?,
        _ => return None,
    };
    let fits: bool = fields(key, 0x80 | FORM_PATH, &[&said[2..], aor.as_bytes()]).ct_eq(proof).into();
    (fits && rest.is_empty()).then_some(flow)
}
