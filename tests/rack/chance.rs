//! Seeded chance: the same seed gives the same run, whatever machine it runs on.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// One stream of random numbers; every part of a simulation draws from the same one, in the order of events.
pub struct Chance(ChaCha8Rng);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(ChaCha8Rng::seed_from_u64(seed))
    }

    /// True with probability `p` (0 to 1).
    pub fn happens(&mut self, p: f64) -> bool {
        p > 0.0 && (self.0.next_u64() >> 11) as f64 / ((1u64 << 53) as f64) < p
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.next_u64() % (high - low + 1)
    }

    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }
}
