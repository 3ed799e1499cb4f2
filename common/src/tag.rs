//! To tags that we write ourselves. They carry a keyed mark, so that an ACK to a response of ours is known wherever it
//! arrives, and they follow from the request, so that a stateless answer to a repeat is the same answer.
//!
//! 9 octets in base64url, 12 characters: 5 octets H(Call-ID, From tag, CSeq, top Via), 4 octets MAC over those and the
//! Call-ID.

use crate::fields::Fields;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

const VALUE: usize = 5;
const MARK: usize = 4;

/// The tag for our response to this request.
pub fn write(key: &[u8; 16], call_id: &[u8], from_tag: &[u8], cseq: u32, top_via: &[u8]) -> String {
    let mut fields = Fields::new(1);
    for part in [call_id, from_tag, top_via] {
        fields.field(part);
    }
    fields.raw(&cseq.to_be_bytes());
    let mut octets = [0u8; VALUE + MARK];
    octets[..VALUE].copy_from_slice(&fields.hash64(key).to_be_bytes()[..VALUE]);
    let mark = mark(key, &octets[..VALUE], call_id);
    octets[VALUE..].copy_from_slice(&mark);
    URL_SAFE_NO_PAD.encode(octets)
}

/// Whether we wrote this tag for this Call-ID.
pub fn is_ours(key: &[u8; 16], tag: &[u8], call_id: &[u8]) -> bool {
    let mut octets = [0u8; VALUE + MARK];
    if tag.len() != 12 || URL_SAFE_NO_PAD.decode_slice(tag, &mut octets) != Ok(octets.len()) {
        return false;
    }
    mark(key, &octets[..VALUE], call_id).ct_eq(&octets[VALUE..]).into()
}

fn mark(key: &[u8; 16], value: &[u8], call_id: &[u8]) -> [u8; MARK] {
    let mut fields = Fields::new(2);
    fields.raw(value);
    fields.raw(call_id);
    let sum = fields.hash64(key).to_be_bytes();
    [sum[0], sum[1], sum[2], sum[3]]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 16] = [9; 16];

    #[test]
    fn the_same_request_gets_the_same_tag_and_we_know_it_again() {
        let tag = write(&KEY, b"a@b", b"f", 1, b"SIP/2.0/UDP h;branch=z9hG4bKx");
        assert_eq!(tag, write(&KEY, b"a@b", b"f", 1, b"SIP/2.0/UDP h;branch=z9hG4bKx"));
        assert_eq!(tag.len(), 12);
        assert!(is_ours(&KEY, tag.as_bytes(), b"a@b"));
        assert!(!is_ours(&KEY, tag.as_bytes(), b"other@b"));
        assert!(!is_ours(&[8; 16], tag.as_bytes(), b"a@b"));
        assert!(!is_ours(&KEY, b"abc", b"a@b"));
    }
}
