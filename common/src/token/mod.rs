//! The token: the value of the parameter `;sr=`, which the far ends carry for us. It names the node of a call and proves
//! what it says, so that any node can route a request of a call that it has never seen, and nobody else can make one.
//!
//! Octets in base64url without padding. The first is version 1 (high nibble) and form (low nibble), the second the key
//! id. MACs are SipHash-2-4 under the token key, each with a domain octet of its own:
//! `via` and `dialog` carry a 32-bit MAC over node and Call-ID (what the load manager checks); `dialog` also a 64-bit
//! MAC over node, Call-ID, caller's tag and both peers; `path` a 64-bit MAC over flow and AOR.

pub mod dialog;
pub mod path;
pub mod via;

use crate::fields::Fields;
use crate::ids::NodeId;
use crate::keys::KeyRing;
use crate::time::Duration;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

/// A call that lasts longer is taken for over. For about so long the far ends carry a token of theirs (a registration is
/// refreshed sooner), so for so long at least the key that wrote it goes on verifying.
pub const LONGEST_CALL: Duration = Duration::from_secs(24 * 3600);

const VERSION: u8 = 0x10;
const FORM_VIA: u8 = 1;
const FORM_DIALOG: u8 = 2;
const FORM_PATH: u8 = 3;

/// Octets of the longest token: a dialog between two IPv6 flows.
const MAX: usize = 16 + 2 * crate::flow::MAX_PEER;
/// Version and form, key id, node, 32-bit MAC: how via and dialog tokens begin.
const HEAD: usize = 8;

/// The node that a via or dialog token names, if its 32-bit MAC fits this Call-ID. No allocation: the load manager asks.
pub fn route(ring: &KeyRing<[u8; 16]>, sr: &[u8], call_id: &[u8]) -> Option<NodeId> {
    let mut octets = [0u8; MAX];
    let octets = decode(sr, &mut octets)?;
    head(ring, octets, call_id).map(|(node, _)| node)
}

/// Checks the head of a via or dialog token; the node and the key it was written with.
fn head<'k>(ring: &'k KeyRing<[u8; 16]>, octets: &[u8], call_id: &[u8]) -> Option<(NodeId, &'k [u8; 16])> {
    let form = octets.first()? & 0x0F;
    if octets[0] & 0xF0 != VERSION || !matches!(form, FORM_VIA | FORM_DIALOG) || octets.len() < HEAD {
        return None;
    }
    let key = ring.get(octets[1])?;
    let node = NodeId(u16::from_be_bytes([octets[2], octets[3]]));
    let fits: bool = node_mac(key, form, node, call_id).ct_eq(&octets[4..HEAD]).into();
    fits.then_some((node, key))
}

fn node_mac(key: &[u8; 16], form: u8, node: NodeId, call_id: &[u8]) -> [u8; 4] {
    let mut fields = Fields::new(form);
    fields.raw(&node.0.to_be_bytes());
    fields.raw(call_id);
    let sum = fields.hash64(key).to_be_bytes();
    [sum[0], sum[1], sum[2], sum[3]]
}

fn decode<'b>(sr: &[u8], octets: &'b mut [u8; MAX]) -> Option<&'b [u8]> {
    let length = URL_SAFE_NO_PAD.decode_slice(sr, octets).ok()?;
    Some(&octets[..length])
}

fn encode(octets: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + octets.len().div_ceil(3) * 4, 0);
    // The buffer is always long enough, so this cannot fail.
    let written = URL_SAFE_NO_PAD.encode_slice(octets, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}

/// A hash over fields with their lengths.
fn fields(key: &[u8; 16], domain: u8, parts: &[&[u8]]) -> [u8; 8] {
    let mut fields = Fields::new(domain);
    parts.iter().for_each(|part| fields.field(part));
    fields.hash64(key).to_be_bytes()
}

#[cfg(test)]
mod tests;
