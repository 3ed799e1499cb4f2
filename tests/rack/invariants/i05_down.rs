//! I5: no SIP message to a node more than 200 ms after it was marked down, and none to one that was never up.

use super::planes::Live;
use common::ids::NodeId;
use common::time::{Duration, Time};

const GRACE: Duration = Duration::from_millis(200);

#[derive(Default)]
pub struct Down;

impl Down {
    /// A SIP message leaves for this node.
    pub fn sent(&self, live: &Live, now: Time, to: NodeId) -> Result<(), String> {
        if live.nodes.contains_key(&to) {
            return Ok(());
        }
        let removed = live.removed.iter().filter(|((node, _), _)| *node == to).map(|(_, at)| *at).max();
        match removed {
            Some(at) if now.since(at) <= GRACE => Ok(()),
            Some(at) => Err(format!("I5: a message to node {to} at {now:?}, which was marked down at {at:?}")),
            None => Err(format!("I5: a message to node {to}, which was never up")),
        }
    }
}
