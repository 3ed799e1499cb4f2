//! How many server transactions each source has open, so that one sender cannot take the room of all. Kept by
//! `table`: there are never more entries than server transactions.

use crate::counted::network;
use ahash::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::net::IpAddr;

pub struct Sources(HashMap<IpAddr, u32, RandomState>);

impl Sources {
    pub fn new() -> Sources {
        Sources(HashMap::with_hasher(RandomState::with_seeds(17, 18, 19, 20)))
    }

    pub fn open(&self, address: IpAddr) -> u32 {
        self.0.get(&network(address)).copied().unwrap_or(0)
    }

    pub fn opened(&mut self, address: IpAddr) {
        *self.0.entry(network(address)).or_insert(0) += 1;
    }

    pub fn closed(&mut self, address: IpAddr) {
        if let Entry::Occupied(mut entry) = self.0.entry(network(address)) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_64_counts_as_one_source_and_nothing_is_left_over() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut sources = Sources::new();
        sources.opened(ip("2001:db8:1:2::1"));
        sources.opened(ip("2001:db8:1:2:ffff::9"));
        sources.opened(ip("192.0.2.1"));
        sources.opened(ip("::ffff:192.0.2.1"));
        assert_eq!([sources.open(ip("2001:db8:1:2::77")), sources.open(ip("2001:db8:1:3::1"))], [2, 0]);
        assert_eq!(sources.open(ip("192.0.2.1")), 2);
        for address in ["2001:db8:1:2::1", "2001:db8:1:2::2", "192.0.2.1", "192.0.2.1", "192.0.2.1"] {
            sources.closed(ip(address));
        }
        assert!(sources.0.is_empty());
    }
}
