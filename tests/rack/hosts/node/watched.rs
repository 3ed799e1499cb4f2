//! What a ladder may look at of a node beside the wire.

use super::NodeHost;
use common::time::Time;

impl NodeHost {
    /// Until when it may send, by its own reckoning; none if it is dead, or nobody asks who is alive.
    pub fn lease(&self) -> Option<Time> {
        Some(self.alive.as_ref()?.membership.as_ref()?.lease())
    }
}
