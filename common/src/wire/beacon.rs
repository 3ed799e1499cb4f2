//! The beacon: what the acting load manager says to all nodes each period, and at once on a change.

use crate::ids::{BootId, Epoch, NodeId, PlaneSet};
use crate::placement::Inputs;
use crate::placement::recent::Former;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beacon {
    /// The load manager's incarnation.
    pub lm_boot: BootId,
    /// A heartbeat counts by quoting it while it is fresh.
    pub nonce: u64,
    /// By the load manager's own monotonic clock, in µs: so each node knows what that shows, and how old a message is that
    /// was handed over.
    pub sent_us: u64,
    pub epoch: Epoch,
    pub inputs: Inputs,
    /// Placements that were superseded lately.
    pub formers: Vec<Former>,
    /// Nodes that hold INVITEs which others would be given now: whoever is asked for one that it does not know asks them.
    pub holders: Vec<NodeId>,
    /// Of the array that the inputs give: a node that computes another raises an alarm.
    pub digest: u64,
    pub echoes: Vec<Echo>,
    /// The load manager has just started and asks which placement the nodes stand under; epoch and inputs say nothing.
    pub learning: bool,
}

/// A node's newest heartbeat that counted: its send time is where its lease begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    pub node: NodeId,
    pub boot: BootId,
    pub sequence: u64,
    /// Planes on which its heartbeats came lately: there what it sends arrives.
    pub planes: PlaneSet,
}
