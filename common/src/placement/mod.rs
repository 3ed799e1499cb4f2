//! The placement: slot → ordered list of three live nodes (owner, primary backup, secondary backup), under an epoch.
//! A pure function of its inputs: the load manager computes it, every node computes the same array and compares the
//! digest. The packet path reads it by index.

mod holders;
mod inputs;
mod order;
pub mod peer_classes;
mod placer;
pub mod recent;
mod ring;
#[cfg(test)]
mod tests;

pub use holders::{Placements, Way};
pub use inputs::{Inputs, MAX_MEMBERS, Member, Policy, RETIRED_KEPT};
pub use placer::Placer;

use crate::ids::{BootId, Epoch, NodeId, Slot};
use siphasher::sip::SipHasher24;
use std::hash::Hasher;
use std::sync::{Arc, LazyLock};

pub const SLOTS: usize = 65_536;
/// In place of a member's index: nobody.
const NONE: u8 = 255;

/// Of each slot the indices of its members, owner first.
type Lists = Arc<[[u8; 3]]>;

/// The active table. Immutable; 192 KiB.
#[derive(Clone)]
pub struct Placement {
    epoch: Epoch,
    inputs: Inputs,
    /// Indices into `inputs.members`, owner first.
    lists: Lists,
    digest: u64,
}

impl std::fmt::Debug for Placement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Placement(epoch {}, {} members, digest {:016x})", self.epoch, self.inputs.members.len(), self.digest)
    }
}

impl Placement {
    /// `key` is the placement key. Members beyond [`MAX_MEMBERS`] are not placed; inputs are sorted by node id.
    pub fn compute(key: &[u8; 16], epoch: Epoch, inputs: Inputs) -> Placement {
        let inputs = inputs.normalised();
        let lists = match inputs.policy {
            Policy::Rendezvous => order::rendezvous(key, &inputs.members),
            Policy::Modulo => ring::modulo(&inputs.members),
            Policy::Cascade => ring::cascade(&inputs.members),
            Policy::PeerClasses => peer_classes::lists(key, &inputs.members),
        };
        let digest = digest(key, &inputs, &lists);
        Placement { epoch, inputs, lists, digest }
    }

    /// Nobody, under epoch 0: what everybody stands under before the first beacon.
    pub fn empty() -> Placement {
        static EMPTY: LazyLock<Placement> = LazyLock::new(|| Placement::compute(&[0; 16], Epoch(0), Inputs::default()));
        EMPTY.clone()
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// Over the array of node ids: equal arrays, equal digests.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Owner, primary backup, secondary backup: as many as live.
    pub fn list(&self, slot: Slot) -> impl Iterator<Item = NodeId> + '_ {
        let list = self.lists[usize::from(slot.0)];
        list.into_iter().filter(|i| *i != NONE).map(|i| self.inputs.members[usize::from(i)].node)
    }

    pub fn owner(&self, slot: Slot) -> Option<NodeId> {
        self.owner_index(slot).map(|i| self.inputs.members[usize::from(i)].node)
    }

    /// Who takes what nobody knows yet: the owner. What may open a call goes past a draining owner to the first of the
    /// list that is not draining, else to any other that is not, if there is one.
    pub fn taker(&self, slot: Slot, opens: bool) -> Option<NodeId> {
        let members = &self.inputs.members;
        let fresh = |at: &usize| members[*at].live.is_some() && !members[*at].draining;
        let taker = if opens { self.takers(slot).find(fresh) } else { None };
        taker.map(|at| members[at].node).or_else(|| self.owner(slot))
    }

    /// Who is asked to take a new call of this slot, one after the other: its list, then every member from some place on
    /// that the slot decides. Positions among the members; some of them may not live.
    pub fn takers(&self, slot: Slot) -> impl Iterator<Item = usize> + '_ {
        let (list, count) = (self.lists[usize::from(slot.0)], self.inputs.members.len());
        let all = (0..count).map(move |n| (usize::from(slot.0) + n) % count);
        list.into_iter().filter(|i| *i != NONE).map(usize::from).chain(all)
    }

    /// This incarnation was declared dead.
    pub fn is_retired(&self, node: NodeId, boot: BootId) -> bool {
        self.inputs.members.iter().any(|member| member.node == node && member.retired.contains(&boot))
    }

    /// The incarnation of a node that is live.
    pub fn live(&self, node: NodeId) -> Option<BootId> {
        let at = self.inputs.members.binary_search_by_key(&node, |m| m.node).ok()?;
        self.inputs.members[at].live
    }

    /// The owner's position among the members.
    pub fn owner_index(&self, slot: Slot) -> Option<u8> {
        let index = self.lists[usize::from(slot.0)][0];
        (index != NONE).then_some(index)
    }

    /// How many slots each member owns, in the order of the members.
    pub fn shares(&self) -> Vec<(NodeId, u32)> {
        let mut counts = vec![0u32; self.inputs.members.len()];
        for list in self.lists.iter() {
            if let Some(count) = counts.get_mut(usize::from(list[0])) {
                *count += 1;
            }
        }
        self.inputs.members.iter().map(|m| m.node).zip(counts).collect()
    }
}

fn digest(key: &[u8; 16], inputs: &Inputs, lists: &[[u8; 3]]) -> u64 {
    let mut hasher = SipHasher24::new_with_key(key);
    let mut block = Vec::with_capacity(6 * 256);
    for chunk in lists.chunks(256) {
        block.clear();
        for index in chunk.iter().flatten() {
            let node = inputs.members.get(usize::from(*index)).map_or(NodeId(0), |m| m.node);
            block.extend_from_slice(&node.0.to_be_bytes());
        }
        hasher.write(&block);
    }
    hasher.finish()
}
