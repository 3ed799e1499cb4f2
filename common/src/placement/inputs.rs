//! What a placement is computed from. Beacons carry it; a change of it is a new epoch.

use crate::ids::{BootId, NodeId};
use crate::keys::Generations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A member's index is one octet, and 255 is nobody.
pub const MAX_MEMBERS: usize = 250;
/// Retired boot ids kept of each member.
pub const RETIRED_KEPT: usize = 8;

/// How slots are given to nodes. On the wire it is the position in this list: new ones are appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// By weight and the Call-ID's hash; backups from another failure domain and the best class. What is promised is
    /// promised for this one.
    #[default]
    Rendezvous,
    /// Dealt out in turn over the live nodes: nearly every slot moves when one dies or returns.
    Modulo,
    /// Dealt out in turn over all nodes, the dead stepped over: a dead node's calls all go to the next one.
    Cascade,
    /// Owners as with `rendezvous`; each node's backups are fixed by the nodes' reliability classes.
    PeerClasses,
}

/// A configured node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub node: NodeId,
    /// Quantised share, 1 to 1000.
    pub weight: u16,
    /// Reliability class, lower is better: backups come from the best.
    pub class: u8,
    /// What may fail together: backups come from another one.
    pub domain: u16,
    /// The incarnation that stands in the active table; none = dead, starting, or not wanted.
    pub live: Option<BootId>,
    /// It keeps what it has and takes no new calls.
    pub draining: bool,
    /// The last incarnations that were declared dead, newest last: they never count again.
    pub retired: Vec<BootId>,
}

impl Member {
    /// As the rack file's defaults make it, alone in its failure domain.
    pub fn new(node: NodeId, live: Option<BootId>) -> Member {
        Member { node, weight: 100, class: 1, domain: node.0, live, draining: false, retired: Vec::new() }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    pub policy: Policy,
    /// Sorted by node id.
    pub members: Vec<Member>,
    /// Which keys stand. The array does not depend on them.
    pub keys: Generations,
}

impl Inputs {
    /// Sorted, each node once, within the bounds.
    pub fn normalised(mut self) -> Inputs {
        self.members.sort_by_key(|m| m.node);
        self.members.dedup_by_key(|m| m.node);
        self.members.truncate(MAX_MEMBERS);
        for member in &mut self.members {
            member.weight = member.weight.clamp(1, 1000);
            let surplus = member.retired.len().saturating_sub(RETIRED_KEPT);
            member.retired.drain(..surplus);
        }
        self
    }

    /// All that are configured live and drain. While one is dead its calls are taken in all the same: nobody wished that.
    pub fn all_drain(&self) -> bool {
        !self.members.is_empty() && self.members.iter().all(|m| m.live.is_some() && m.draining)
    }

    pub fn live(&self) -> impl Iterator<Item = (NodeId, BootId)> + '_ {
        self.members.iter().filter_map(|m| m.live.map(|boot| (m.node, boot)))
    }
}
