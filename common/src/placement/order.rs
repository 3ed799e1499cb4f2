//! Weighted rendezvous: for each slot a total order over *all configured members*, live or not; the list is the first
//! three live ones of it. So a dead owner's slots go exactly to each slot's primary backup, nothing else moves, and the
//! return restores the array.
//!
//! The first place goes by score alone. Each further place goes to the member that conflicts least with the failure
//! domains of the places before it (the last one first), then to the best class, then by score. Integers only, so that
//! every machine computes the same.

use super::{Member, NONE, SLOTS};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// Bits of the fraction in a logarithm.
const FRACTION: u32 = 32;
/// Steps of the logarithm's table; between them it is linear, so it is monotonic.
const STEP_BITS: u32 = 10;
const STEPS: usize = 1 << STEP_BITS;

/// log2(1 + i / STEPS) in fixed point, by repeated squaring.
const LOG2: [u64; STEPS + 1] = {
    let mut table = [0u64; STEPS + 1];
    let mut i = 0;
    while i <= STEPS {
        let mut x: u128 = (1 << 62) + ((i as u128) << (62 - STEP_BITS));
        let mut bits = 0u64;
        let mut n = 0;
        if i == STEPS {
            bits = 1 << FRACTION;
            n = FRACTION;
        }
        while n < FRACTION {
            x = (x * x) >> 62;
            bits <<= 1;
            if x >= 2 << 62 {
                bits |= 1;
                x >>= 1;
            }
            n += 1;
        }
        table[i] = bits;
        i += 1;
    }
    table
};

/// One member's claim on a slot; the smallest wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    score: u64,
    /// Ties: the larger hash first.
    inverse_hash: u64,
    index: u8,
}

/// The lists of all slots. `members` is sorted and within the bounds.
pub(super) fn rendezvous(key: &[u8; 16], members: &[Member]) -> Box<[[u8; 3]]> {
    let mut lists = vec![[NONE; 3]; SLOTS].into_boxed_slice();
    if members.iter().all(|m| m.live.is_none()) {
        return lists;
    }
    let mut claims = Vec::with_capacity(members.len());
    for (slot, list) in lists.iter_mut().enumerate() {
        claims.clear();
        claims.extend(members.iter().enumerate().map(|(i, member)| claim(key, slot as u16, i as u8, member)));
        *list = first_three_live(members, &mut claims);
    }
    lists
}

fn claim(key: &[u8; 16], slot: u16, index: u8, member: &Member) -> Claim {
    let mut hasher = SipHasher13::new_with_key(key);
    hasher.write(&(u32::from(slot) << 16 | u32::from(member.node.0)).to_be_bytes());
    let hash = hasher.finish();
    Claim { score: minus_log2(hash) * 1000 / u64::from(member.weight), inverse_hash: !hash, index }
}

/// -log2(hash / 2^64) in fixed point: never rising with the hash.
fn minus_log2(hash: u64) -> u64 {
    let hash = hash.max(1);
    let zeros = hash.leading_zeros();
    // The mantissa without its leading one, as a fraction of 2^63.
    let fraction = (hash << zeros) & (u64::MAX >> 1);
    let step = (fraction >> (63 - STEP_BITS)) as usize;
    let within = fraction & ((1 << (63 - STEP_BITS)) - 1);
    let (low, high) = (LOG2[step], LOG2[step + 1]);
    let log = low + ((u128::from(high - low) * u128::from(within)) >> (63 - STEP_BITS)) as u64;
    (u64::from(zeros + 1) << FRACTION) - log
}

/// Walks the slot's order place by place until three live members are found. Takes claims out of `claims`.
fn first_three_live(members: &[Member], claims: &mut Vec<Claim>) -> [u8; 3] {
    let mut list = [NONE; 3];
    let mut found = 0;
    let mut before: [Option<u16>; 2] = [None, None];
    while found < 3 && !claims.is_empty() {
        let at = best(members, claims, before);
        let claim = claims.swap_remove(at);
        let member = &members[usize::from(claim.index)];
        if member.live.is_some() {
            list[found] = claim.index;
            found += 1;
        }
        before = [Some(member.domain), before[0]];
    }
    list
}

fn best(members: &[Member], claims: &[Claim], before: [Option<u16>; 2]) -> usize {
    let rank = |claim: &Claim| {
        let member = &members[usize::from(claim.index)];
        let conflict = 2 * u8::from(before[0] == Some(member.domain)) + u8::from(before[1] == Some(member.domain));
        // The first place goes by score alone: a class says who backs up, not who owns.
        let class = if before[0].is_some() { member.class } else { 0 };
        (conflict, class, *claim)
    };
    (0..claims.len()).min_by_key(|i| rank(&claims[*i])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_right_and_monotonic() {
        for hash in [1u64, 2, 3, 1 << 31, (1 << 63) - 1, 1 << 63, u64::MAX / 3, u64::MAX] {
            let exact = -(hash as f64 / 2f64.powi(64)).log2();
            let ours = minus_log2(hash) as f64 / 2f64.powi(32);
            assert!((exact - ours).abs() < 1e-6, "{hash}: {exact} {ours}");
        }
        let mut previous = u64::MAX;
        for i in 1..100_000u64 {
            let now = minus_log2(i.wrapping_mul(184_467_440_737_095));
            assert!(now <= previous, "step {i}");
            previous = now;
        }
    }
}
