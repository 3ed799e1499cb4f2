//! Who may hold what a message belongs to: where a load manager sends it now, and where it would have sent it under the
//! placements that stood a short while ago.

use super::Placement;
use crate::ids::{NodeId, Slot};
use smallvec::SmallVec;
use std::sync::Arc;

/// What a node stands under: swapped whole, read by its workers.
#[derive(Clone, Debug)]
pub struct Placements {
    pub current: Arc<Placement>,
    /// Newest first; see [`super::recent`].
    pub former: Vec<Arc<Placement>>,
    /// Nodes that hold INVITEs which others would be given now, however long ago that changed.
    pub holders: Vec<NodeId>,
}

/// What the way of a message depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub slot: Slot,
    /// The node that its token names.
    pub token: Option<NodeId>,
    /// Without a token: whether it goes to who takes new calls or to the owner; none = that cannot be said of it.
    pub opens: Option<bool>,
    /// Its slot's owner has lately taken only a part of the new calls, and this may be of the others.
    pub diverted: bool,
    /// What it belongs to may have begun long ago: a CANCEL, an ACK, a response.
    pub late: bool,
    /// Its token names who sent the request first; who has taken that over since is found as if there were none.
    pub response: bool,
}

impl Placements {
    /// Nobody has said anything yet.
    pub fn none() -> Placements {
        Placements::first(Arc::new(Placement::empty()))
    }

    /// Nothing stood before.
    pub fn first(current: Arc<Placement>) -> Placements {
        Placements { current, former: Vec::new(), holders: Vec::new() }
    }

    /// Whether somebody else would have taken this under a placement that stood a short while ago. Then who took a first
    /// INVITE, which is repeated for 32 s, may have stood in for that one.
    fn has_moved(&self, way: Way) -> bool {
        let taker = |placement: &Placement| placement.taker(way.slot, way.opens.unwrap_or_default());
        let now = taker(&self.current);
        self.former.iter().filter(|then| then.epoch().0 > 0).any(|then| taker(then) != now)
    }

    /// The other nodes to which a message went or would have gone, as far as the incarnation of that time still lives:
    /// one of them may hold what it belongs to. Empty nearly always.
    pub fn may_hold(&self, us: NodeId, way: Way) -> SmallVec<[NodeId; 4]> {
        let mut found: SmallVec<[NodeId; 4]> = SmallVec::new();
        if (way.late || self.has_moved(way)) && (way.token.is_none() || way.response) {
            let lives = |node: &NodeId| *node != us && self.current.live(*node).is_some();
            found.extend(self.holders.iter().copied().filter(lives));
        }
        // Under epoch 0 nobody was told anything yet.
        for then in std::iter::once(&self.current).chain(&self.former).filter(|p| p.epoch().0 > 0) {
            let mut add = |node: NodeId| {
                let lives = self.current.live(node).is_some_and(|boot| then.live(node) == Some(boot));
                if lives && node != us && !found.contains(&node) {
                    found.push(node);
                }
            };
            if let Some(node) = way.token.filter(|node| then.live(*node).is_some()) {
                add(node);
                if !way.response {
                    continue;
                }
            }
            // The owner too, where it drains: it may have gone on with a dead node's call.
            for opens in [false, true] {
                then.taker(way.slot, opens).into_iter().for_each(&mut add);
            }
            if way.diverted {
                then.inputs().live().for_each(|(node, _)| add(node));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Inputs, Member, Policy};
    use super::*;
    use crate::ids::{BootId, Epoch};

    /// Each live node with its boot id; `-` in front of the id: draining.
    fn placement(epoch: u64, live: &[(i32, u64)]) -> Arc<Placement> {
        let member = |n: u16| {
            let stands = live.iter().find(|(node, _)| node.unsigned_abs() == u32::from(n));
            Member {
                draining: stands.is_some_and(|(node, _)| *node < 0),
                ..Member::new(NodeId(n), stands.map(|(_, boot)| BootId(*boot)))
            }
        };
        let inputs = Inputs { policy: Policy::Rendezvous, members: (1..=3).map(member).collect(), ..Inputs::default() };
        Arc::new(Placement::compute(&[5; 16], Epoch(epoch), inputs))
    }

    fn stand(current: Arc<Placement>, former: &[Arc<Placement>]) -> Placements {
        Placements { current, former: former.to_vec(), holders: Vec::new() }
    }

    fn way(slot: Slot) -> Way {
        Way { slot, token: None, opens: Some(true), diverted: false, late: false, response: false }
    }

    /// A slot of node 2, with node 1 behind it.
    fn slot() -> Slot {
        let all = placement(1, &[(1, 7), (2, 7), (3, 7)]);
        let is = |slot: &u16| all.list(Slot(*slot)).map(|n| n.0).take(2).eq([2, 1]);
        Slot((0..=u16::MAX).find(is).unwrap_or_default())
    }

    fn ids(found: SmallVec<[NodeId; 4]>) -> Vec<u16> {
        found.iter().map(|n| n.0).collect()
    }

    #[test]
    fn where_nothing_has_changed_nobody_is_asked() {
        let p = stand(placement(4, &[(1, 7), (2, 7), (3, 7)]), &[]);
        assert_eq!(ids(p.may_hold(NodeId(2), way(slot()))), [0; 0]);
        assert_eq!(ids(p.may_hold(NodeId(1), way(slot()))), [2], "it came to another than its taker");
        let by_token = Way { token: Some(NodeId(3)), ..way(slot()) };
        assert_eq!(ids(p.may_hold(NodeId(2), by_token)), [3]);
        assert_eq!(ids(p.may_hold(NodeId(3), by_token)), [0; 0]);
    }

    #[test]
    fn who_came_back_asks_who_stood_in() {
        let p = stand(placement(5, &[(1, 7), (2, 8), (3, 7)]), &[placement(4, &[(1, 7), (3, 7)])]);
        assert_eq!(ids(p.may_hold(NodeId(2), way(slot()))), [1]);
        let by_token = Way { token: Some(NodeId(2)), ..way(slot()) };
        assert_eq!(ids(p.may_hold(NodeId(2), by_token)), [1], "what named it went to the owner meanwhile");
    }

    #[test]
    fn a_dead_incarnation_is_asked_nothing() {
        let before = placement(3, &[(1, 7), (2, 7), (3, 7)]);
        let without = placement(4, &[(1, 7), (3, 7)]);
        let p = stand(without.clone(), std::slice::from_ref(&before));
        assert_eq!(ids(p.may_hold(NodeId(1), way(slot()))), [0; 0]);
        let again = stand(placement(5, &[(1, 7), (2, 8), (3, 7)]), &[without, before]);
        assert_eq!(ids(again.may_hold(NodeId(1), way(slot()))), [2], "as the taker of now, not as who died");
    }

    #[test]
    fn who_takes_over_from_a_draining_node_asks_it() {
        let p = stand(placement(5, &[(1, 7), (-2, 7), (3, 7)]), &[placement(4, &[(1, 7), (2, 7), (3, 7)])]);
        assert_eq!(ids(p.may_hold(NodeId(1), way(slot()))), [2]);
        let later = stand(placement(5, &[(1, 7), (-2, 7), (3, 7)]), &[]);
        assert_eq!(ids(later.may_hold(NodeId(1), way(slot()))), [2], "it may have gone on with a dead node's call");
    }

    #[test]
    fn who_was_full_asks_all() {
        let p = stand(placement(4, &[(1, 7), (2, 7), (3, 7)]), &[]);
        assert_eq!(ids(p.may_hold(NodeId(2), Way { diverted: true, ..way(slot()) })), [1, 3]);
    }

    #[test]
    fn a_cancel_asks_whoever_holds_strays() {
        let holders = vec![NodeId(3), NodeId(2), NodeId(9)];
        let p = Placements { holders, ..stand(placement(4, &[(1, 7), (2, 7), (3, 7)]), &[]) };
        assert_eq!(ids(p.may_hold(NodeId(2), way(slot()))), [0; 0]);
        assert_eq!(ids(p.may_hold(NodeId(2), Way { late: true, ..way(slot()) })), [3]);
        let by_token = Way { late: true, token: Some(NodeId(2)), ..way(slot()) };
        assert_eq!(ids(p.may_hold(NodeId(2), by_token)), [0; 0]);
    }

    #[test]
    fn an_invite_of_a_slot_that_moved_asks_whoever_holds_strays() {
        // Node 2 was away, node 1 stood in, and had passed the call on to node 3 by its share.
        let p = stand(placement(5, &[(1, 7), (2, 8), (3, 7)]), &[placement(4, &[(1, 7), (3, 7)])]);
        let p = Placements { holders: vec![NodeId(3)], ..p };
        assert_eq!(ids(p.may_hold(NodeId(2), way(slot()))), [3, 1]);
        let settled = Placements { former: Vec::new(), ..p };
        assert_eq!(ids(settled.may_hold(NodeId(2), way(slot()))), [0; 0], "it would have been repeated long ago");
    }

    #[test]
    fn a_response_may_belong_to_who_took_the_call_over() {
        let p = stand(placement(6, &[(1, 7), (2, 7), (3, 7)]), &[]);
        let to_former = Way { token: Some(NodeId(3)), response: true, ..way(slot()) };
        assert_eq!(ids(p.may_hold(NodeId(3), to_former)), [2]);
        assert_eq!(ids(p.may_hold(NodeId(2), to_former)), [3]);
    }
}
