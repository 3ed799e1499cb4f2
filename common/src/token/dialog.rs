//! The token of our Record-Route: the proof that a request belongs to a dialog that we let through, and where each of
//! its sides is.
//!
//! Head (8 octets), 64-bit MAC over node, Call-ID, caller's tag and both peers, the caller's peer, the callee's peer.
//! The callee's tag is in no MAC: it is unknown when the token is written.

use super::{FORM_DIALOG, HEAD, MAX, VERSION, decode, encode, fields, head, node_mac};
use crate::flow::Peer;
use crate::ids::NodeId;
use crate::keys::KeyRing;
use subtle::ConstantTimeEq;

/// What a dialog token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialogToken {
    /// The node that held the call when the token was written.
    pub node: NodeId,
    pub caller: Peer,
    pub callee: Peer,
}

impl DialogToken {
    /// Where a request of this sender goes.
    pub fn far_side(&self, sender: Sender) -> Peer {
        match sender {
            Sender::Caller => self.callee,
            Sender::Callee => self.caller,
        }
    }

    fn peers(&self) -> Vec<u8> {
        let mut peers = Vec::with_capacity(2 * crate::flow::MAX_PEER);
        self.caller.encode(&mut peers);
        self.callee.encode(&mut peers);
        peers
    }
}

/// Which side of the dialog sent the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    Caller,
    Callee,
}

pub fn write(ring: &KeyRing<[u8; 16]>, token: &DialogToken, call_id: &[u8], caller_tag: &[u8], out: &mut Vec<u8>) {
    let (id, key) = ring.current();
    let peers = token.peers();
    let mut octets = Vec::with_capacity(MAX);
    octets.extend_from_slice(&[VERSION | FORM_DIALOG, id]);
    octets.extend_from_slice(&token.node.0.to_be_bytes());
    octets.extend_from_slice(&node_mac(key, FORM_DIALOG, token.node, call_id));
    octets.extend_from_slice(&mac(key, token.node, call_id, caller_tag, &peers));
    octets.extend_from_slice(&peers);
    encode(&octets, out);
}

/// Checks with the From tag as the caller's, then with the To tag. `None`: the request is a new one.
pub fn check(
    ring: &KeyRing<[u8; 16]>,
    sr: &[u8],
    call_id: &[u8],
    from_tag: &[u8],
    to_tag: &[u8],
) -> Option<(DialogToken, Sender)> {
    let mut octets = [0u8; MAX];
    let octets = decode(sr, &mut octets)?;
    if octets.first()? & 0x0F != FORM_DIALOG {
        return None;
    }
    let (node, key) = head(ring, octets, call_id)?;
    let (proof, peers) = octets[HEAD..].split_at_checked(8)?;
    let (caller, rest) = Peer::decode(peers)?;
    let (callee, rest) = Peer::decode(rest)?;
    if !rest.is_empty() {
        return None;
    }
    let fits = |tag: &[u8]| -> bool { mac(key, node, call_id, tag, peers).ct_eq(proof).into() };
    let token = DialogToken { node, caller, callee };
    if fits(from_tag) {
        return Some((token, Sender::Caller));
    }
    fits(to_tag).then_some((token, Sender::Callee))
}

fn mac(key: &[u8; 16], node: NodeId, call_id: &[u8], caller_tag: &[u8], peers: &[u8]) -> [u8; 8] {
    fields(key, 0x80 | FORM_DIALOG, &[&node.0.to_be_bytes(), call_id, caller_tag, peers])
}
