//! What a ladder may look at of a node beside the wire.

use super::NodeHost;
use cc_node::counted::Key;
use common::time::Time;

impl NodeHost {
    /// Until when it may send, by its own reckoning; none if it is dead, or nobody asks who is alive.
    pub fn lease(&self) -> Option<Time> {
        Some(self.alive.as_ref()?.membership.as_ref()?.lease())
    }

    /// Calls that it counts under this key.
    pub fn counted_under(&self, key: Key) -> usize {
        self.alive.as_ref().map_or(0, |alive| alive.core.shadows.admission.counted_under(key))
    }

    /// Calls of all nodes that it counts, and its own that anybody counts.
    pub fn counted(&self) -> (usize, usize) {
        let of = |alive: &super::Alive| {
            let admission = &alive.core.shadows.admission;
            (admission.counted(), admission.held())
        };
        self.alive.as_ref().map_or((0, 0), of)
    }

    /// Calls that it has asked about before they began.
    pub fn asked_about(&self) -> u64 {
        self.alive.as_ref().map_or(0, |alive| alive.core.shadows.admission.counters().asked)
    }
}
