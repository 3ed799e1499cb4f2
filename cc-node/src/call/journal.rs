//! Numbers the journal's records. `proxy` and `call` write; the shadows follow the numbers.

use crate::effect::{Effect, Record, RecordNo};
use crate::record::{CallKey, What};
use crate::turn::Turn;
use common::call_hash::CallHash;
use std::sync::Arc;

pub struct Journal {
    placement_key: [u8; 16],
    newest: RecordNo,
}

impl Journal {
    pub fn new(placement_key: [u8; 16]) -> Journal {
        Journal { placement_key, newest: RecordNo(0) }
    }

    /// The effect is out before the number is known to anybody, so no `Send` can stand before it.
    pub fn write(&mut self, turn: &mut Turn<'_>, call: &Arc<CallKey>, what: What) -> RecordNo {
        let (no, hash) = (self.number(), CallHash::of(&self.placement_key, &call.call_id));
        turn.stats.records += 1;
        turn.out.push(Effect::Journal(Record { no, hash, call: call.clone(), what }));
        no
    }

    /// A number for what is told otherwise.
    pub fn number(&mut self) -> RecordNo {
        self.newest.0 += 1;
        self.newest
    }
}
