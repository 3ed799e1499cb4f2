//! The record sum: replicas prove equality by it. The sum modulo 2^128 of a keyed hash of each record, so that it is kept
//! incrementally and does not depend on order.

use super::Record;
use serde::Serialize;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

/// SipHash-2-4-128 under the record-sum key over the record's postcard encoding, summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordSum {
    key: [u8; 16],
    sum: u128,
}

impl RecordSum {
    pub fn new(key: &[u8; 16]) -> RecordSum {
        RecordSum { key: *key, sum: 0 }
    }

    pub fn add(&mut self, record: &Record) {
        self.sum = self.sum.wrapping_add(self.hash(record));
    }

    pub fn remove(&mut self, record: &Record) {
        self.sum = self.sum.wrapping_sub(self.hash(record));
    }

    pub fn value(&self) -> u128 {
        self.sum
    }

    fn hash(&self, record: &impl Serialize) -> u128 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        // Plain data into memory: postcard cannot fail here.
        hasher.write(&postcard::to_stdvec(record).unwrap_or_default());
        hasher.finish128().as_u128()
    }
}
