//! The rack file's subscribers, put once into an empty log. Their idempotence keys say how many there are, so that a
//! start which died half way is taken up by the next one, and any other log is left alone.

use crate::provisioning::digests;
use common::config::Rack;
use common::ids::Level;
use common::location::{Aor, Command, IdempotenceKey, Subscriber};

/// First 32 bits of a seed's key; then 32 bits 0, how many there are, and which this is.
const MARK: u128 = 0x7369_7073 << 96;

/// What is still to be put into a log whose last entry is at `level` with `last_key`.
pub fn missing(rack: &Rack, level: Level, last_key: Option<IdempotenceKey>) -> Vec<(IdempotenceKey, Command)> {
    let subscribers = subscribers(rack);
    let total = subscribers.len() as u64;
    let done = match last_key {
        None => 0,
        // The entry of level n is the seed n - 1 of `total`: the log holds nothing but the first n seeds.
        Some(key) if level.0 > 0 && key == seed_key(total, level.0 - 1) => level.0,
        Some(_) => return Vec::new(),
    };
    let numbered = (0..).zip(subscribers).skip(done as usize);
    numbered
        .map(|(n, subscriber)| (seed_key(total, n), Command::PutSubscriber { subscriber, only_new: false }))
        .collect()
}

fn seed_key(total: u64, n: u64) -> IdempotenceKey {
    IdempotenceKey(MARK | u128::from(total & 0xffff_ffff) << 32 | u128::from(n & 0xffff_ffff))
}

fn subscribers(rack: &Rack) -> Vec<Subscriber> {
    let default = rack.default_domain().map_or("", |d| d.name.as_str());
    let ranges = rack.subscribers.iter();
    ranges
        .flat_map(|range| {
            let domain = range.domain.as_deref().unwrap_or(default);
            (range.first..=range.last)
                .map(move |number| digests::subscriber(Aor::new(&number.to_string(), domain), &range.password))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_log_gets_all_a_half_seeded_one_the_rest_any_other_none() {
        let rack = Rack::one_machine_default(1);
        let all = missing(&rack, Level(0), None);
        assert_eq!(all.len(), 20);
        assert_eq!(missing(&rack, Level(7), Some(all[6].0)), all[7..]);
        assert!(missing(&rack, Level(20), Some(all[19].0)).is_empty());
        assert!(missing(&rack, Level(7), Some(IdempotenceKey(9))).is_empty());
    }
}
