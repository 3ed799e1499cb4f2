//! Who goes on with a dead holder's calls: of each call the first live node of its slot when the holder was removed, and
//! when that one dies, whoever is first then. Who was away at that moment, or came back later, is not: a call stays with
//! its holder, the one that took it up too. Every node that has heard of the same placements says the same.

use common::call_hash::CallHash;
use common::ids::{BootId, NodeId};
use common::placement::Placement;
use std::collections::VecDeque;

/// Placements that are remembered; orphans that were not taken up under so many are nobody's to act for.
const MOST: usize = 64;

/// All workers of one run of a node.
pub type Incarnation = (NodeId, BootId);

/// The placements that stood, oldest first.
#[derive(Clone, Debug)]
pub struct Succession {
    stood: VecDeque<Placement>,
}

impl Default for Succession {
    fn default() -> Self {
        Succession { stood: VecDeque::from([Placement::empty()]) }
    }
}

impl Succession {
    pub fn placed(&mut self, placement: &Placement) {
        if self.stood.len() == MOST {
            self.stood.pop_front();
        }
        self.stood.push_back(placement.clone());
    }

    /// The one that stands.
    pub fn current(&self) -> &Placement {
        &self.stood[self.stood.len() - 1]
    }

    /// All that were live in one of them.
    pub fn incarnations(&self) -> impl Iterator<Item = Incarnation> {
        self.stood.iter().flat_map(|placement| placement.inputs().live())
    }

    pub fn lives(&self, (node, boot): Incarnation) -> bool {
        self.current().live(node) == Some(boot)
    }

    /// Who acts for a call that `holder` had; that itself, while it lives.
    pub fn heir(&self, hash: CallHash, holder: Incarnation) -> Option<Incarnation> {
        let lives = |placement: &Placement, (node, boot): Incarnation| placement.live(node) == Some(boot);
        let first = |placement: &Placement| {
            let node = placement.list(hash.slot()).next()?;
            Some((node, placement.live(node)?))
        };
        let Some(last) = self.stood.iter().rposition(|placement| lives(placement, holder)) else {
            return first(self.current());
        };
        let mut who = Some(holder);
        for placement in self.stood.range(last + 1..) {
            who = who.filter(|who| lives(placement, *who)).or_else(|| first(placement));
        }
        who
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shadow::testing;
    use common::ids::Slot;

    fn placement(live: &[(u16, u64)]) -> Placement {
        testing::placement(4, live)
    }

    /// A call of node 3, then 1, then 2, then 4.
    fn call() -> CallHash {
        let of = |live: &[(u16, u64)], slot: u16| placement(live).owner(Slot(slot)).map(|node| node.0);
        let (all, three) = ([(1, 7), (2, 7), (3, 7), (4, 7)], [(1, 7), (2, 7), (4, 7)]);
        let is = |slot: &u16| {
            of(&all, *slot) == Some(3) && of(&three, *slot) == Some(1) && of(&[(2, 7), (4, 7)], *slot) == Some(2)
        };
        CallHash(u64::from((0..u16::MAX).find(is).unwrap_or_default()) << 48)
    }

    fn heir(stood: &[&[(u16, u64)]]) -> Option<(u16, u64)> {
        let mut succession = Succession::default();
        stood.iter().for_each(|live| succession.placed(&placement(live)));
        succession.heir(call(), (NodeId(3), BootId(7))).map(|(node, boot)| (node.0, boot.0))
    }

    const ALL: &[(u16, u64)] = &[(1, 7), (2, 7), (3, 7), (4, 7)];

    #[test]
    fn the_first_that_lives_at_the_death_goes_on_and_stays() {
        assert_eq!(heir(&[ALL]), Some((3, 7)), "while it lives");
        assert_eq!(heir(&[ALL, &[(1, 7), (2, 7), (4, 7)]]), Some((1, 7)));
        let away: &[(u16, u64)] = &[(2, 7), (3, 7), (4, 7)];
        assert_eq!(heir(&[ALL, away, &[(2, 7), (4, 7)], &[(1, 7), (2, 7), (4, 7)]]), Some((2, 7)), "1 came back later");
        assert_eq!(heir(&[ALL, &[(1, 7), (2, 7), (4, 7)], &[(2, 7), (4, 7)]]), Some((2, 7)), "the heir died, too");
        assert_eq!(heir(&[ALL, &[(1, 7), (2, 7), (4, 7)], &[(1, 8), (2, 7), (4, 7)]]), Some((1, 8)), "as another");
    }

    #[test]
    fn of_one_that_was_never_seen_alive_whoever_is_first_now() {
        assert_eq!(heir(&[&[(2, 7), (4, 7)], &[(1, 7), (2, 7), (4, 7)]]), Some((1, 7)));
        assert_eq!(heir(&[]), None);
    }
}
