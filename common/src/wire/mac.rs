//! HMAC-SHA256 truncated to 16 octets, for heartbeats and control frames.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

pub const MAC: usize = 16;

/// `domain` keeps the MACs of one kind of message from passing for another's.
pub fn sign(key: &[u8; 32], domain: &str, bytes: &[u8]) -> [u8; MAC] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(domain.as_bytes());
    mac.update(bytes);
    let sum = mac.finalize().into_bytes();
    let mut short = [0; MAC];
    short.copy_from_slice(&sum[..MAC]);
    short
}

pub fn verify(key: &[u8; 32], domain: &str, bytes: &[u8], mac: &[u8]) -> bool {
    sign(key, domain, bytes).ct_eq(mac).into()
}
