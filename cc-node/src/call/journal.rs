//! Numbers the journal's records, a count of its own for each slot. `proxy` writes; the shadows follow the numbers.

use crate::effect::{Effect, Record, RecordNo};
use crate::record::{CallKey, What};
use crate::turn::Turn;
use ahash::RandomState;
use common::call_hash::CallHash;
use common::ids::Slot;
use hashbrown::HashMap;
use std::sync::Arc;

pub struct Journal {
    placement_key: [u8; 16],
    /// At most one entry a slot.
    newest: HashMap<Slot, u64, RandomState>,
}

impl Journal {
    pub fn new(placement_key: [u8; 16]) -> Journal {
        Journal { placement_key, newest: HashMap::with_hasher(RandomState::with_seeds(9, 10, 11, 12)) }
    }

    /// The effect is out before the number is known to anybody, so no `Send` can stand before it.
    pub fn write(&mut self, turn: &mut Turn<'_>, call: &Arc<CallKey>, what: What) -> RecordNo {
        let slot = CallHash::of(&self.placement_key, &call.call_id).slot();
        let newest = self.newest.entry(slot).or_default();
        *newest += 1;
        let no = RecordNo { slot, number: *newest };
        turn.stats.records += 1;
        turn.out.push(Effect::Journal(Record { no, call: call.clone(), what }));
        no
    }
}
