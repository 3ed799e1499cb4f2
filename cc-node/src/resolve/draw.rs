//! The order in which equals are tried: the weighted draw of RFC 2782, and the turn of addresses of one name. All of it
//! follows from a seed and from what is drawn among, never from how a server sorted its answer: a node that takes a call
//! over draws the same.

use super::known::Server;

/// A stream of numbers of a seed and a name (SplitMix64 over an FNV-1a start). For spreading load, not for secrets.
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64, name: &str) -> Draw {
        let mix = |hash: u64, octet: u8| (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3);
        let start = name.bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed, mix);
        Draw(start)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `most`, both included.
    fn up_to(&mut self, most: u64) -> u64 {
        let high = (u128::from(self.next()) * (u128::from(most) + 1)) >> 64;
        high as u64
    }

    /// Priorities upwards; within one the draw of RFC 2782: those of weight 0 first in the running sum, so that they have
    /// a small chance beside others. `servers` is sorted.
    pub fn order(&mut self, servers: &[Server]) -> Vec<Server> {
        let mut ordered = Vec::with_capacity(servers.len());
        for group in servers.chunk_by(|a, b| a.priority == b.priority) {
            let mut left = group.to_vec();
            self.shuffle(&mut left);
            left.sort_by_key(|s| s.weight > 0);
            while !left.is_empty() {
                let sum: u64 = left.iter().map(|s| u64::from(s.weight)).sum();
                let drawn = self.up_to(sum);
                let mut running = 0;
                let reaches = |s: &Server| {
                    running += u64::from(s.weight);
                    running >= drawn
                };
                let at = left.iter().position(reaches).unwrap_or(0);
                ordered.push(left.remove(at));
            }
        }
        ordered
    }

    /// For equals: addresses of one name and family, servers of weight 0.
    pub fn shuffle<T>(&mut self, equals: &mut [T]) {
        for at in (1..equals.len()).rev() {
            equals.swap(at, self.up_to(at as u64) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn server(priority: u16, weight: u16, target: &str) -> Server {
        Server { priority, weight, target: target.into(), port: 5060 }
    }

    #[test]
    fn priorities_come_first_and_weights_share_as_they_say() {
        let mut servers =
            vec![server(20, 9, "backup"), server(10, 60, "big"), server(10, 30, "mid"), server(10, 10, "small")];
        servers.sort();
        let mut first = [0u32; 3];
        for seed in 0..10_000 {
            let ordered = Draw::new(seed, "_sip._udp.example.com").order(&servers);
            assert_eq!(ordered.len(), 4);
            assert_eq!(&*ordered[3].target, "backup", "seed {seed}");
            let at = ["big", "mid", "small"].iter().position(|n| **n == *ordered[0].target).unwrap();
            first[at] += 1;
        }
        for (count, share) in first.iter().zip([6000, 3000, 1000]) {
            assert!(count.abs_diff(share) < 200, "{first:?}");
        }
    }

    #[test]
    fn weight_zero_has_a_small_chance_and_zeros_alone_share_evenly() {
        let mut mixed = vec![server(1, 0, "zero"), server(1, 99, "heavy")];
        mixed.sort();
        let zero_first = (0..10_000).filter(|s| &*Draw::new(*s, "x").order(&mixed)[0].target == "zero").count();
        assert!((50..200).contains(&zero_first), "{zero_first}: RFC 2782 draws 0 of 0..=99 for it");
        let mut zeros = vec![server(1, 0, "a"), server(1, 0, "b")];
        zeros.sort();
        let a = (0..1000).filter(|s| &*Draw::new(*s, "x").order(&zeros)[0].target == "a").count();
        assert!((400..600).contains(&a), "{a}");
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let servers: Vec<Server> = (0..20).map(|n| server(1, n, &format!("s{n}"))).collect();
        let draw = |seed| Draw::new(seed, "n").order(&servers);
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let turn = |seed| {
            let mut ips: Vec<IpAddr> = (1..9).map(|n| IpAddr::from([192, 0, 2, n])).collect();
            Draw::new(seed, "n").shuffle(&mut ips);
            ips
        };
        assert_eq!(turn(1), turn(1));
        assert_ne!(turn(1), turn(2));
    }
}
