//! Weighted rendezvous: for each slot a total order over *all configured members*, live or not; the list is the first
//! three live ones of it. So a dead owner's slots go exactly to each slot's primary backup, nothing else moves, and the
//! return restores the array.
//!
//! The first place goes by score alone. Each further place goes to the member that conflicts least with the failure
//! domains of the places before it (the last one first), then to the best class, then by score. Integers only, so that
//! every machine computes the same.

use super::{Lists, Member, NONE, SLOTS};
use siphasher::sip::SipHasher13;
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

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

/// What a choice depends on besides the hash, looked up once for all slots.
struct Rule<'a> {
    members: &'a [Member],
    /// With equal weights the order is the hash's alone: the score never falls where the hash does not rise.
    equal_weights: bool,
    /// All domains differ or all are one: they never tell two candidates apart.
    domains_decide: bool,
}

/// The lists of all slots. `members` is sorted and within the bounds.
pub(super) fn rendezvous(key: &[u8; 16], members: &[Member]) -> Lists {
    let mut lists = vec![[NONE; 3]; SLOTS];
    if members.iter().all(|m| m.live.is_none()) {
        return lists.into();
    }
    let rule = Rule::of(members);
    let hasher = SipHasher13::new_with_key(key);
    let mut claims = Vec::with_capacity(members.len());
    let mut walk = Walk::default();
    for (slot, list) in lists.iter_mut().enumerate() {
        claims.clear();
        claims.extend((0..members.len()).map(|index| rule.claim(&hasher, slot as u16, index as u8)));
        *list = if rule.domains_decide { rule.first_three_live(&mut claims, &mut walk) } else { rule.by_rank(&claims) };
    }
    lists.into()
}

/// Who comes first at each slot, live or not.
pub(super) fn owners(key: &[u8; 16], members: &[Member]) -> impl Iterator<Item = u8> {
    let rule = Rule::of(members);
    let hasher = SipHasher13::new_with_key(key);
    let best = move |slot: usize| (0..members.len()).map(|at| rule.claim(&hasher, slot as u16, at as u8)).min();
    (0..SLOTS).map(move |slot| best(slot).map_or(NONE, |claim| claim.index))
}

impl<'a> Rule<'a> {
    fn of(members: &'a [Member]) -> Rule<'a> {
        let mut domains: Vec<u16> = members.iter().map(|m| m.domain).collect();
        domains.sort_unstable();
        domains.dedup();
        let equal_weights = members.windows(2).all(|two| two[0].weight == two[1].weight);
        let domains_decide = domains.len() > 1 && domains.len() < members.len();
        Rule { members, equal_weights, domains_decide }
    }

    fn claim(&self, hasher: &SipHasher13, slot: u16, index: u8) -> Claim {
        let member = &self.members[usize::from(index)];
        let hash = hasher.hash(&(u32::from(slot) << 16 | u32::from(member.node.0)).to_be_bytes());
        let score = if self.equal_weights { 0 } else { minus_log2(hash) * 1000 / u64::from(member.weight) };
        Claim { score, inverse_hash: !hash, index }
    }

    fn member(&self, claim: &Claim) -> &Member {
        &self.members[usize::from(claim.index)]
    }

    /// Where domains do not matter: the best claim, live or not, holds place 0; behind it class, then score. One pass,
    /// however many are dead.
    fn by_rank(&self, claims: &[Claim]) -> [u8; 3] {
        let Some(first) = claims.iter().min() else { return [NONE; 3] };
        let mut best: [Option<(bool, u8, Claim)>; 3] = [None; 3];
        for claim in claims.iter().filter(|c| self.member(c).live.is_some()) {
            let mut rank = Some((claim.index != first.index, self.member(claim).class, *claim));
            for place in &mut best {
                if place.is_none() || rank < *place {
                    std::mem::swap(place, &mut rank);
                }
                if rank.is_none() {
                    break;
                }
            }
        }
        best.map(|place| place.map_or(NONE, |(_, _, claim)| claim.index))
    }

    /// Walks the slot's order place by place until three live members are found. Takes claims out of `claims`.
    fn first_three_live(&self, claims: &mut Vec<Claim>, walk: &mut Walk) -> [u8; 3] {
        let mut list = [NONE; 3];
        let mut found = 0;
        let mut before: [Option<u16>; 2] = [None, None];
        let mut take = |claim: &Claim, before: &mut [Option<u16>; 2]| {
            if self.member(claim).live.is_some() {
                list[found] = claim.index;
                found += 1;
            }
            *before = [Some(self.member(claim).domain), before[0]];
            found == 3
        };
        // Nearly always three live ones stand among the first few: choosing those costs less than sorting.
        for _ in 0..SELECTED {
            let Some(at) = self.best(claims, before) else { return list };
            if take(&claims.swap_remove(at), &mut before) {
                return list;
            }
        }
        walk.start(self, claims);
        while let Some(claim) = walk.next(self, claims, before) {
            if take(&claim, &mut before) {
                break;
            }
        }
        list
    }

    fn best(&self, claims: &[Claim], before: [Option<u16>; 2]) -> Option<usize> {
        let rank = |claim: &Claim| {
            // The first place goes by score alone: a class says who backs up, not who owns.
            let class = if before[0].is_some() { self.member(claim).class } else { 0 };
            (conflict(self.member(claim), before), class, *claim)
        };
        (0..claims.len()).min_by_key(|i| rank(&claims[*i]))
    }
}

fn conflict(member: &Member, before: [Option<u16>; 2]) -> u8 {
    2 * u8::from(before[0] == Some(member.domain)) + u8::from(before[1] == Some(member.domain))
}

/// Places chosen one by one before the rest is sorted; at least one, so that a walk never fills place 0.
const SELECTED: usize = 5;

/// The rest of an order, where many are dead: O(n log n) in place of O(n²). A conflict is a domain's, so the next one
/// is the head of some domain's queue; two domains at most are in conflict, so it is among the three best heads.
#[derive(Default)]
struct Walk {
    /// Of each sorted claim, the next one of its domain.
    next_of_domain: Vec<Option<u8>>,
    heads: BinaryHeap<Reverse<u8>>,
}

impl Walk {
    fn start(&mut self, rule: &Rule<'_>, claims: &mut [Claim]) {
        claims.sort_unstable_by_key(|c| (rule.member(c).class, *c));
        self.next_of_domain.clear();
        self.next_of_domain.resize(claims.len(), None);
        self.heads.clear();
        let mut tails: SmallVec<[(u16, usize); 16]> = SmallVec::new();
        for (at, claim) in claims.iter().enumerate() {
            let domain = rule.member(claim).domain;
            match tails.iter_mut().find(|(d, _)| *d == domain) {
                Some((_, tail)) => self.next_of_domain[std::mem::replace(tail, at)] = Some(at as u8),
                None => {
                    tails.push((domain, at));
                    self.heads.push(Reverse(at as u8));
                }
            }
        }
    }

    fn next(&mut self, rule: &Rule<'_>, claims: &[Claim], before: [Option<u16>; 2]) -> Option<Claim> {
        let conflict_of = |at: u8| conflict(rule.member(&claims[usize::from(at)]), before);
        let mut seen: SmallVec<[u8; 3]> = SmallVec::new();
        while let Some(Reverse(head)) = (seen.len() < 3).then(|| self.heads.pop()).flatten() {
            seen.push(head);
            if conflict_of(head) == 0 {
                break;
            }
        }
        let chosen = seen.iter().copied().min_by_key(|at| (conflict_of(*at), *at))?;
        self.heads.extend(seen.into_iter().filter(|at| *at != chosen).map(Reverse));
        self.heads.extend(self.next_of_domain[usize::from(chosen)].map(Reverse));
        Some(claims[usize::from(chosen)])
    }
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
