//! The keyed hash of a Call-ID: SipHash-1-3, so that nobody outside can aim Call-IDs at one node. The load manager takes
//! slot and worker from it for each message; a golden vector pins it.

use crate::ids::Slot;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallHash(pub u64);

impl CallHash {
    /// Over the Call-ID's octets as they stand in the message, surrounding white space excluded.
    pub fn of(key: &[u8; 16], call_id: &[u8]) -> CallHash {
        let mut hasher = SipHasher13::new_with_key(key);
        hasher.write(call_id);
        CallHash(hasher.finish())
    }

    /// The high 16 bits.
    pub fn slot(self) -> Slot {
        Slot((self.0 >> 48) as u16)
    }

    /// A worker from 0 to `workers - 1`, by the low 32 bits.
    pub fn worker(self, workers: u16) -> u16 {
        (((self.0 & 0xFFFF_FFFF) * u64::from(workers)) >> 32) as u16
    }

    /// The second hash of a Call-ID, bits 32 to 47: a dialog-creating request is diverted if it is not below the admit
    /// fraction. Slot and worker do not depend on it.
    pub fn admission(self) -> u16 {
        (self.0 >> 32) as u16
    }
}
