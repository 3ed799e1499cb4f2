//! Octets read as a row of decisions. A fuzzer changes octets; a structured target asks this for its next choice, so that
//! nearby inputs are nearby programs. When the octets are over every choice is 0, and [`Choices::are_over`] says so.

use common::keys::{Keys, RackKey};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

/// For targets of long sequences: plain runs give short inputs, so each is also run at this length, with what follows from
/// its octets behind them. A fuzzer that watches the code finds its own lengths.
pub fn prolonged(octets: &[u8], length: usize) -> Vec<u8> {
    let mut seed = [0u8; 32];
    octets.iter().enumerate().for_each(|(i, octet)| seed[i % 32] = seed[i % 32].rotate_left(3) ^ octet);
    let mut more = vec![0; length.saturating_sub(octets.len())];
    ChaCha8Rng::from_seed(seed).fill_bytes(&mut more);
    [octets, &more].concat()
}

/// Keys that no input knows: they follow from the input. A fuzzer is shown what its octets are compared with; under a fixed
/// key it learns a good MAC, octet by octet, and that is no forgery.
pub fn secret(octets: &[u8]) -> Keys {
    Keys::derive(&RackKey(Sha256::digest(octets).into()))
}

/// Runs a target of sequences on an input, and in plain runs on the prolonged input too.
pub fn at_length(octets: &[u8], length: usize, check: impl Fn(&[u8])) {
    check(octets);
    if std::env::var_os("BOLERO_LIBFUZZER_ARGS").is_none() {
        check(&prolonged(octets, length));
    }
}

pub struct Choices<'a> {
    octets: &'a [u8],
    at: usize,
}

impl<'a> Choices<'a> {
    pub fn new(octets: &'a [u8]) -> Choices<'a> {
        Choices { octets, at: 0 }
    }

    pub fn are_over(&self) -> bool {
        self.at >= self.octets.len()
    }

    pub fn octet(&mut self) -> u8 {
        let octet = self.octets.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        octet
    }

    pub fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.octet(), self.octet()])
    }

    pub fn long(&mut self) -> u64 {
        (0..4).fold(0, |n, _| n << 16 | u64::from(self.word()))
    }

    /// Below `count`, which is not 0. Two octets where one does not reach.
    pub fn below(&mut self, count: usize) -> usize {
        if count <= 256 { usize::from(self.octet()) % count } else { usize::from(self.word()) % count }
    }

    /// True for `n` of 256 octets; false when all is over.
    pub fn one_of_256(&mut self, n: u8) -> bool {
        let over = self.are_over();
        let octet = self.octet();
        !over && octet < n
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Up to `most` of the octets that come next, as they are.
    pub fn some(&mut self, most: usize) -> &'a [u8] {
        let count = usize::from(self.octet()).min(most);
        let start = self.at.min(self.octets.len());
        let end = (start + count).min(self.octets.len());
        self.at = end;
        &self.octets[start..end]
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let start = self.at.min(self.octets.len());
        self.at = self.octets.len();
        &self.octets[start..]
    }
}
