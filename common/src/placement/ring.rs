//! `modulo` and `cascade`: the slots are dealt out in turn over the nodes, as other load balancers do it. For comparison,
//! and for those who ask for them: weights, classes and failure domains are not looked at.
//!
//! `modulo` deals over the live nodes: a death or a return moves nearly every slot. `cascade` deals over all configured
//! ones and steps over the dead: nothing else moves, but all that a dead node had falls to the one behind it.

use super::{Lists, Member, NONE, SLOTS};

pub(super) fn modulo(members: &[Member]) -> Lists {
    deal(&(0..members.len()).filter(|at| members[*at].live.is_some()).collect::<Vec<_>>(), members)
}

pub(super) fn cascade(members: &[Member]) -> Lists {
    deal(&(0..members.len()).collect::<Vec<_>>(), members)
}

/// Slot by slot to the next of the ring; its list are the first three live ones from there on.
fn deal(ring: &[usize], members: &[Member]) -> Lists {
    let from = |start: usize| {
        let (before, behind) = ring.split_at(start);
        let mut live = behind.iter().chain(before).filter(|at| members[**at].live.is_some());
        std::array::from_fn(|_| live.next().map_or(NONE, |at| *at as u8))
    };
    let lists: Vec<[u8; 3]> = (0..ring.len()).map(from).collect();
    (0..SLOTS).map(|slot| lists.get(slot % lists.len().max(1)).copied().unwrap_or([NONE; 3])).collect()
}
