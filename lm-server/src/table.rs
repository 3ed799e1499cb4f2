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
    /// The share of new calls that it takes, in 1/65,535.
    pub admit: u16,
    /// The highest share that this incarnation has taken within the time in which an INVITE is repeated, likewise.
    pub admitted: u16,
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

/// Where what may open a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taker<'t> {
    Node(&'t Reach),
    /// Every node that takes new calls refuses this one now, but somebody may have admitted it a short while ago: a repeat
    /// comes from here to who holds its call, and what is new is refused here.
    Repeat(&'t Reach),
    /// Every node has refused this one for as long as anything is repeated. What belongs to a call goes here.
    Full(&'t Reach),
    Nobody,
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
                    admit: 0,
                    admitted: 0,
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

    /// The slot's owner.
    pub fn owner(&self, slot: Slot) -> Option<&Reach> {
        let owner = self.nodes.get(usize::from(self.placement.owner_index(slot)?))?;
        (owner.standing != Standing::Out).then_some(owner)
    }

    /// Who takes what may open a call: the first node of the slot's list that is not draining and admits this call; where
    /// none does, any other that does. A pure function of the Call-ID while no admit fraction moves, so that a repeat goes
    /// the same way; and while they fall it is refused only if nobody can have admitted it.
    pub fn taker(&self, call: CallHash) -> Taker<'_> {
        let slot = call.slot();
        let Some(owner) = self.owner(slot) else { return Taker::Nobody };
        let all = || self.placement.takers(slot).map(|at| &self.nodes[at]);
        let started = || all().filter(|n| n.standing == Standing::Started);
        if let Some(takes) = started().find(|n| n.admits(call)) {
            return Taker::Node(takes);
        }
        // All are draining.
        let Some(first) = started().next() else { return Taker::Node(owner) };
        if let Some(took) = started().find(|n| n.has_admitted(call)) {
            return Taker::Repeat(took);
        }
        // Who began to drain is given nothing new, which this may be: the first asks it.
        match all().any(|n| n.standing == Standing::Draining && n.has_admitted(call)) {
            true => Taker::Repeat(first),
            false => Taker::Full(first),
        }
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
    fn admits(&self, call: CallHash) -> bool {
        is_within(self.admit, call)
    }

    fn has_admitted(&self, call: CallHash) -> bool {
        is_within(self.admitted, call)
    }

    /// The worker of this node that has the call. `None` only for a node without workers, which is never given anything.
    pub fn worker(&self, call: CallHash) -> Option<SocketAddr> {
        let count = u16::try_from(self.workers.len()).unwrap_or(u16::MAX);
        self.workers.get(usize::from(call.worker(count.max(1)))).copied()
    }
}

/// By the second hash of the Call-ID; the whole admits all.
fn is_within(share: u16, call: CallHash) -> bool {
    share == u16::MAX || call.admission() < share
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::placement::{Inputs, Member, Policy};

    const KEY: [u8; 16] = [3; 16];

    fn member(n: u16, live: bool) -> Member {
        Member::new(NodeId(n), live.then_some(BootId(70 + u64::from(n))))
    }

    fn reach(n: u16, standing: Standing) -> Reach {
        let workers = (0..2).map(|w| SocketAddr::from(([10, 0, 0, n as u8], 5070 + w))).collect();
        Reach {
            node: NodeId(n),
            boot: Some(BootId(70 + u64::from(n))),
            standing,
            admit: u16::MAX,
            admitted: u16::MAX,
            floor: Epoch(4),
            plane: Plane::A,
            workers,
        }
    }

    fn table(two: Standing) -> Table {
        let members = vec![member(1, true), member(2, true), member(3, false)];
        let placement =
            Placement::compute(&KEY, Epoch(9), Inputs { policy: Policy::Rendezvous, members, ..Inputs::default() });
        let known = [reach(3, Standing::Started), reach(2, two), reach(1, Standing::Started)];
        Table::new(Arc::new(placement), known)
    }

    fn owned_by(table: &Table, node: u16) -> usize {
        (0..=u16::MAX).filter(|slot| table.owner(Slot(*slot)).is_some_and(|r| r.node == NodeId(node))).count()
    }

    /// Of 65,536 calls, one a slot and spread over the second hash.
    fn taken_by(table: &Table, node: u16) -> usize {
        calls().filter(|call| matches!(table.taker(*call), Taker::Node(r) if r.node == NodeId(node))).count()
    }

    fn calls() -> impl Iterator<Item = CallHash> {
        (0..=u16::MAX).map(|slot| CallHash(u64::from(slot) << 48 | u64::from(slot.wrapping_mul(40_503)) << 32))
    }

    #[test]
    fn the_live_share_the_slots() {
        let t = table(Standing::Started);
        let (one, two) = (owned_by(&t, 1), owned_by(&t, 2));
        assert_eq!(one + two, 65_536);
        assert!(one > 30_000 && two > 30_000, "{one} {two}");
        assert!(t.named(NodeId(3)).is_none(), "no live incarnation, whatever the server table says");
    }

    #[test]
    fn a_draining_node_keeps_dialogs_and_gets_no_new_ones() {
        let t = table(Standing::Draining);
        assert_eq!((taken_by(&t, 2), taken_by(&t, 1)), (0, 65_536));
        assert!(owned_by(&t, 2) > 30_000);
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

    /// Both started; each with its admit fraction, for long.
    fn busy(one: u16, two: u16) -> Table {
        let started = |n, admit| Reach { admit, admitted: admit, ..reach(n, Standing::Started) };
        two_of(started(1, one), started(2, two))
    }

    fn two_of(one: Reach, two: Reach) -> Table {
        let members = vec![member(1, true), member(2, true)];
        let placement =
            Placement::compute(&KEY, Epoch(9), Inputs { policy: Policy::Rendezvous, members, ..Inputs::default() });
        Table::new(Arc::new(placement), [one, two])
    }

    #[test]
    fn a_full_nodes_surplus_goes_to_the_next_and_is_refused_only_where_all_are_full() {
        let half = u16::MAX / 2;
        let t = busy(half, u16::MAX);
        let owned = owned_by(&t, 1);
        assert!(taken_by(&t, 1).abs_diff(owned / 2) < 1000, "{} of {owned}", taken_by(&t, 1));
        assert_eq!(taken_by(&t, 1) + taken_by(&t, 2), 65_536, "nobody is refused");
        let t = busy(half, half);
        let refused = calls().filter(|call| matches!(t.taker(*call), Taker::Full(_))).count();
        assert!(refused.abs_diff(32_768) < 1000, "{refused}");
        // The others stay where they are: with their owner.
        let stays = |call: &CallHash| matches!(t.taker(*call), Taker::Node(r) if t.owner(call.slot()) == Some(r));
        assert_eq!(calls().filter(stays).count() + refused, 65_536);
    }

    #[test]
    fn what_somebody_may_have_admitted_is_refused_by_nobody() {
        let half = u16::MAX / 2;
        let beyond = || calls().filter(|call| call.admission() >= half);
        let full = |admitted| Reach { admit: half, admitted, ..reach(1, Standing::Started) };
        let other = Reach { node: NodeId(2), boot: Some(BootId(72)), ..full(half) };
        let goes_to_one = |t: &Table, call| matches!(t.taker(call), Taker::Repeat(r) if r.node == NodeId(1));
        let t = two_of(full(u16::MAX), other.clone());
        assert!(beyond().all(|call| goes_to_one(&t, call)), "1 took all a short while ago");
        let t = two_of(full(half), other.clone());
        assert!(beyond().all(|call| matches!(t.taker(call), Taker::Full(_))), "nobody has");
        // Who drains took all until it did.
        let t = two_of(full(half), Reach { admitted: u16::MAX, standing: Standing::Draining, ..other });
        assert!(beyond().all(|call| goes_to_one(&t, call)));
    }

    #[test]
    fn a_smaller_fraction_moves_only_what_it_no_longer_admits() {
        let (before, after) = (busy(40_000, u16::MAX), busy(39_000, u16::MAX));
        let node = |taker| if let Taker::Node(reach) = taker { Some(reach.node) } else { None };
        let moved: Vec<CallHash> = calls().filter(|c| node(before.taker(*c)) != node(after.taker(*c))).collect();
        assert!(moved.iter().all(|call| (39_000..40_000).contains(&call.admission())) && !moved.is_empty());
    }

    #[test]
    fn the_empty_table_has_nobody() {
        let t = Table::empty();
        assert!(t.is_empty() && t.owner(Slot(7)).is_none());
        assert_eq!(t.taker(CallHash(7)), Taker::Nobody);
    }
}
