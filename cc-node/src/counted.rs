//! What calls are counted under where their number is limited, and by what a call is known there. The counting is
//! [`crate::admission`]'s.

use crate::record::CallKey;
use common::call_hash::CallHash;
use common::fields::Fields;
use common::ids::TrunkId;
use common::location::Aor;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv6Addr};

/// Domain of these hashes among those under the placement key.
const OF_KEYS: u8 = 0x4B;
const OF_CALLS: u8 = 0x4C;

/// What calls are counted under, by its hash: the slot says at which node, the low bits at which of its workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(pub CallHash);

impl Key {
    fn of(key: &[u8; 16], kind: u8, name: &[u8]) -> Key {
        let mut fields = Fields::new(OF_KEYS);
        fields.raw(&[kind]);
        fields.raw(name);
        Key(CallHash(fields.hash64(key)))
    }

    pub fn account(key: &[u8; 16], aor: &Aor) -> Key {
        Key::of(key, 1, aor.to_string().as_bytes())
    }

    pub fn source(key: &[u8; 16], address: IpAddr) -> Key {
        match network(address) {
            IpAddr::V4(ip) => Key::of(key, 2, &ip.octets()),
            IpAddr::V6(ip) => Key::of(key, 2, &ip.octets()),
        }
    }

    /// Calls from it and calls to it.
    pub fn trunk(key: &[u8; 16], id: TrunkId) -> Key {
        Key::of(key, 3, &id.0.to_be_bytes())
    }
}

/// What counts as one source: one subscriber has a whole /64 of IPv6 addresses.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

/// A call among those under a key, the same at every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallNo(pub u64);

impl CallNo {
    pub fn of(key: &[u8; 16], call: &CallKey) -> CallNo {
        let mut fields = Fields::new(OF_CALLS);
        [&call.call_id[..], call.from_tag.as_bytes(), call.upstream_branch.as_bytes()]
            .iter()
            .for_each(|field| fields.field(field));
        fields.raw(&call.cseq.to_be_bytes());
        CallNo(fields.hash64(key))
    }
}

/// A call is to be counted under this key, which may have so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    pub key: Key,
    pub limit: u32,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_are_told_apart_by_what_they_are_of() {
        let key = [3; 16];
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let source = |text: &str| Key::source(&key, ip(text));
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("192.0.2.1"), source("::ffff:192.0.2.1"));
        assert_ne!(Key::trunk(&key, TrunkId(1)), Key::trunk(&key, TrunkId(2)));
    }
}
