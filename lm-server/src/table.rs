//! The forwarding table: what the packet path reads of a placement and of the CC Server Table. Immutable; `membership`
//! builds the next one, `io::forwarder` swaps it in whole and reads it once a batch.

use common::call_hash::CallHash;
use common::ids::{BootId, Epoch, NodeId, Plane, Slot};
use common::placement::Placement;
use std::net::SocketAddr;
use std::sync::Arc;

/// What a node may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: not in the placement.
    Out,
    /// Everything.
    Started,
    /// Whatever is in a dialog or names it by a token; new dialogs go to the next node of the slot.
    Draining,
}

/// One configured node as the CC Server Table sees it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    pub node: NodeId,
    /// The incarnation that stands in the placement.
    pub boot: Option<BootId>,
    pub standing: Standing,
    /// What it sends under an older epoch is dropped: it was removed at this one and may not know.
    pub floor: Epoch,
    /// The plane that is used for it.
    pub plane: Plane,
    /// Where worker 0, 1, … listens on that plane. Never empty for a node that is not `Out`.
    pub workers: Vec<SocketAddr>,
}

/// Why what a node sent may not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSender {
    /// No such node in the rack.
    Unknown,
    /// Another incarnation of it stands in the placement, or none.
    Dead,
    /// The incarnation was removed and has not yet adopted the epoch that says so.
    Behind,
}

/// See the module. Lookups neither allocate nor lock.
pub struct Table {
    placement: Arc<Placement>,
    /// Slots that each node owns.
    shares: Box<[(NodeId, u32)]>,
    /// In the order of the placement's members (by node id), so that the placement's index is an index here.
    nodes: Box<[Reach]>,
}

impl Table {
    /// Nobody: the table of a load manager that has not learned anything yet.
    pub fn empty() -> Table {
        Table { placement: Arc::new(Placement::empty()), shares: Box::new([]), nodes: Box::new([]) }
    }

    /// A member of the placement that `reach` does not name is `Out`.
    pub fn new(placement: Arc<Placement>, reach: impl IntoIterator<Item = Reach>) -> Table {
        let mut known: Vec<Reach> = reach.into_iter().collect();
        let nodes = placement
            .inputs()
            .members
            .iter()
            .map(|member| {
                let at = known.iter().position(|r| r.node == member.node);
                let out = || Reach {
                    node: member.node,
                    boot: None,
                    standing: Standing::Out,
                    floor: Epoch(0),
                    plane: Plane::A,
                    workers: Vec::new(),
                };
                let mut reach = at.map_or_else(out, |at| known.swap_remove(at));
                if member.live.is_none() || member.live != reach.boot || reach.workers.is_empty() {
                    reach.standing = Standing::Out;
                }
                reach
            })
            .collect();
        let shares = placement.shares().into();
        Table { placement, shares, nodes }
    }

    pub fn placement(&self) -> &Arc<Placement> {
        &self.placement
    }

    pub fn epoch(&self) -> Epoch {
        self.placement.epoch()
    }

    pub fn nodes(&self) -> &[Reach] {
        &self.nodes
    }

    /// Slots that this node owns.
    pub fn share(&self, node: NodeId) -> u32 {
        self.shares.iter().find(|(owner, _)| *owner == node).map_or(0, |(_, slots)| *slots)
    }

    /// No node can be given anything.
    pub fn is_empty(&self) -> bool {
        self.nodes.iter().all(|n| n.standing == Standing::Out)
    }

    /// The slot's owner; for what would create a dialog the first node of the slot's list that is not draining, or the
    /// owner if all are.
    pub fn owner(&self, slot: Slot, creates_dialog: bool) -> Option<&Reach> {
        let owner = self.nodes.get(usize::from(self.placement.owner_index(slot)?))?;
        if creates_dialog && owner.standing == Standing::Draining {
            let next = self.placement.list(slot).filter_map(|node| self.node(node));
            return Some(next.into_iter().find(|n| n.standing == Standing::Started).unwrap_or(owner));
        }
        (owner.standing != Standing::Out).then_some(owner)
    }

    /// The node that a token names, if a token may name it now.
    pub fn named(&self, node: NodeId) -> Option<&Reach> {
        self.node(node).filter(|n| n.standing != Standing::Out)
    }

    /// Whether what this incarnation of a node sends under this epoch may leave the rack.
    pub fn check_sender(&self, node: NodeId, boot: BootId, epoch: Epoch) -> Result<(), NotSender> {
        let reach = self.node(node).ok_or(NotSender::Unknown)?;
        if reach.standing == Standing::Out || reach.boot != Some(boot) {
            return Err(NotSender::Dead);
        }
        if epoch < reach.floor { Err(NotSender::Behind) } else { Ok(()) }
    }

    fn node(&self, node: NodeId) -> Option<&Reach> {
        self.nodes.binary_search_by_key(&node, |n| n.node).ok().map(|at| &self.nodes[at])
    }
}

impl Reach {
    /// The worker of this node that has the call. `None` only for a node without workers, which is never given anything.
    pub fn worker(&self, call: CallHash) -> Option<SocketAddr> {
        let count = u16::try_from(self.workers.len()).unwrap_or(u16::MAX);
        self.workers.get(usize::from(call.worker(count.max(1)))).copied()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::placement::{Inputs, Member, Policy};

    const KEY: [u8; 16] = [3; 16];

    fn member(n: u16, live: bool) -> Member {
        Member {
            node: NodeId(n),
            weight: 100,
            class: 1,
            domain: n,
            live: live.then_some(BootId(70 + u64::from(n))),
            retired: vec![],
        }
    }

    fn reach(n: u16, standing: Standing) -> Reach {
        let workers = (0..2).map(|w| SocketAddr::from(([10, 0, 0, n as u8], 5070 + w))).collect();
        Reach {
            node: NodeId(n),
            boot: Some(BootId(70 + u64::from(n))),
            standing,
            floor: Epoch(4),
            plane: Plane::A,
            workers,
        }
    }

    fn table(two: Standing) -> Table {
        let members = vec![member(1, true), member(2, true), member(3, false)];
        let placement = Placement::compute(&KEY, Epoch(9), Inputs { policy: Policy::Rendezvous, members });
        let known = [reach(3, Standing::Started), reach(2, two), reach(1, Standing::Started)];
        Table::new(Arc::new(placement), known)
    }

    fn slots_of(table: &Table, node: u16, creates_dialog: bool) -> usize {
        let owns = |slot: &u16| table.owner(Slot(*slot), creates_dialog).is_some_and(|r| r.node == NodeId(node));
        (0..=u16::MAX).filter(owns).count()
    }

    #[test]
    fn the_live_share_the_slots() {
        let t = table(Standing::Started);
        let (one, two) = (slots_of(&t, 1, true), slots_of(&t, 2, true));
        assert_eq!(one + two, 65_536);
        assert!(one > 30_000 && two > 30_000, "{one} {two}");
        assert!(t.named(NodeId(3)).is_none(), "no live incarnation, whatever the server table says");
    }

    #[test]
    fn a_draining_node_keeps_dialogs_and_gets_no_new_ones() {
        let t = table(Standing::Draining);
        assert_eq!(slots_of(&t, 2, true), 0);
        assert!(slots_of(&t, 2, false) > 30_000);
        assert!(t.named(NodeId(2)).is_some());
    }

    #[test]
    fn only_the_living_incarnation_that_knows_its_epoch_may_send() {
        let t = table(Standing::Started);
        assert_eq!(t.check_sender(NodeId(1), BootId(71), Epoch(4)), Ok(()));
        assert_eq!(t.check_sender(NodeId(1), BootId(71), Epoch(3)), Err(NotSender::Behind));
        assert_eq!(t.check_sender(NodeId(1), BootId(70), Epoch(9)), Err(NotSender::Dead));
        assert_eq!(t.check_sender(NodeId(3), BootId(73), Epoch(9)), Err(NotSender::Dead));
        assert_eq!(t.check_sender(NodeId(8), BootId(1), Epoch(9)), Err(NotSender::Unknown));
    }

    #[test]
    fn the_empty_table_has_nobody() {
        let t = Table::empty();
        assert!(t.is_empty() && t.owner(Slot(7), false).is_none());
    }
}
