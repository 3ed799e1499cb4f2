//! `peer-classes`: who backs up whom is fixed by reliability classes, not by slot. Each node (a *master*) gets a primary
//! backup, and when all have one, a secondary; both from the pool of the best class in turn, each node of a pool
//! [`EACH`] times, then from the pool of the next class. The owners are those of `rendezvous`. For comparison, and for those
//! who ask for it: a dead node's load falls to one other.
//!
//! [`assign`] is the published selection; [`preempt`] what a newcomer changes; [`lists`] makes the active table of it.

use super::{Lists, Member, NONE, order};
use crate::ids::NodeId;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Masters that a node backs up before its pool turns to the next.
pub const EACH: usize = 2;

/// Who stands behind a master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backups {
    pub primary: Option<NodeId>,
    pub secondary: Option<NodeId>,
}

impl Backups {
    fn has(&self, node: NodeId) -> bool {
        self.primary == Some(node) || self.secondary == Some(node)
    }

    fn each(&self) -> impl Iterator<Item = NodeId> + use<> {
        [self.primary, self.secondary].into_iter().flatten()
    }
}

pub type Assignment = BTreeMap<NodeId, Backups>;

/// The nodes of one class, in the order of their turns.
struct Pool<'p> {
    nodes: &'p [NodeId],
    next: usize,
}

impl Pool<'_> {
    /// The next in turn that may be this master's; whoever is passed over loses its turn, not its place.
    fn take(&mut self, may_be: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        let places = (0..self.nodes.len()).map(|step| (self.next + step) % self.nodes.len());
        let at = places.into_iter().find(|at| may_be(self.nodes[*at]))?;
        self.next = at + 1;
        Some(self.nodes[at])
    }
}

/// Backups of every master: first all primaries in the order of `masters`, then all secondaries. `pools`: best class
/// first, each in the order of its turns. Where all pools are used up, whoever has the fewest does more than its share.
pub fn assign(masters: &[NodeId], pools: &[Vec<NodeId>]) -> Assignment {
    let mut assignment: Assignment = masters.iter().map(|master| (*master, Backups::default())).collect();
    let mut turns: Vec<Pool<'_>> = pools.iter().map(|nodes| Pool { nodes, next: 0 }).collect();
    let mut load: BTreeMap<NodeId, usize> = pools.iter().flatten().map(|node| (*node, 0)).collect();
    for secondary in [false, true] {
        for master in masters {
            let Some(backups) = assignment.get_mut(master) else { continue };
            let other = |node: NodeId| node != *master && !backups.has(node);
            let free = |node: NodeId| other(node) && load.get(&node).is_some_and(|n| *n < EACH);
            let spare =
                || pools.iter().flatten().copied().filter(|node| other(*node)).min_by_key(|node| load.get(node));
            let chosen = turns.iter_mut().find_map(|pool| pool.take(free)).or_else(spare);
            *if secondary { &mut backups.secondary } else { &mut backups.primary } = chosen;
            if let Some(n) = chosen.and_then(|node| load.get_mut(&node)) {
                *n += 1;
            }
        }
    }
    assignment
}

/// A newcomer takes over secondaries, never primaries: those of backups of a worse class than its own, the worst class
/// first, at most [`EACH`]; and where there are none, of those that have two more than it has. Who gives one up is free for
/// the newcomer's own backups. The masters whose secondary it has become.
pub fn preempt(assignment: &mut Assignment, pools: &[Vec<NodeId>], newcomer: NodeId) -> Vec<NodeId> {
    let class = |node: NodeId| pools.iter().position(|pool| pool.contains(&node)).unwrap_or(pools.len());
    let mut taken = Vec::new();
    while taken.len() < EACH {
        let load = load_of(assignment);
        let of = |node: NodeId| load.get(&node).copied().unwrap_or(0);
        let candidates = assignment.iter().filter_map(|(master, backups)| Some((*master, backups.secondary?)));
        let gives_up = |(master, backup): &(NodeId, NodeId)| {
            let worse = class(*backup) > class(newcomer);
            let apart = *master != newcomer && *backup != newcomer;
            apart && (worse || (class(*backup) == class(newcomer) && of(*backup) >= taken.len() + 2))
        };
        let best = candidates
            .filter(gives_up)
            .min_by_key(|(master, backup)| (Reverse(class(*backup)), Reverse(of(*backup)), *master));
        let Some((master, _)) = best else { break };
        assignment.entry(master).or_default().secondary = Some(newcomer);
        taken.push(master);
    }
    let mut load = load_of(assignment);
    for secondary in [false, true] {
        let own = assignment.entry(newcomer).or_default();
        let other = pools.iter().flatten().copied().filter(|node| *node != newcomer && !own.has(*node));
        let chosen = other.min_by_key(|node| {
            let load = load.get(node).copied().unwrap_or(0);
            (load.saturating_sub(EACH - 1), class(*node), load)
        });
        *if secondary { &mut own.secondary } else { &mut own.primary } = chosen;
        *chosen.map_or(&mut 0, |node| load.entry(node).or_default()) += 1;
    }
    taken
}

fn load_of(assignment: &Assignment) -> BTreeMap<NodeId, usize> {
    let mut load = BTreeMap::new();
    for node in assignment.values().flat_map(Backups::each) {
        *load.entry(node).or_default() += 1;
    }
    load
}

/// The active table: behind each owner its backups, behind them theirs, then whoever is left. Made of all configured
/// members, so a death moves nothing but what the dead node had.
pub(super) fn lists(key: &[u8; 16], members: &[Member]) -> Lists {
    let assignment = of_members(members);
    let of_owner: Vec<[u8; 3]> = members.iter().map(|owner| chain(&assignment, members, owner.node)).collect();
    order::owners(key, members).map(|owner| of_owner.get(usize::from(owner)).copied().unwrap_or([NONE; 3])).collect()
}

/// Masters of the worst class first, since theirs need backups most; by node id within a class, pools too.
fn of_members(members: &[Member]) -> Assignment {
    let mut pools: BTreeMap<u8, Vec<NodeId>> = BTreeMap::new();
    members.iter().for_each(|member| pools.entry(member.class).or_default().push(member.node));
    let masters: Vec<NodeId> = pools.values().rev().flatten().copied().collect();
    assign(&masters, &pools.into_values().collect::<Vec<_>>())
}

/// The first three live ones from an owner on.
fn chain(assignment: &Assignment, members: &[Member], owner: NodeId) -> [u8; 3] {
    let mut order = vec![owner];
    let mut at = 0;
    while let Some(node) = order.get(at).copied() {
        let backups = assignment.get(&node).copied().unwrap_or_default();
        let new = backups.each().filter(|backup| !order.contains(backup));
        order.extend(new.collect::<Vec<_>>());
        at += 1;
    }
    let rest: Vec<NodeId> = members.iter().map(|m| m.node).filter(|node| !order.contains(node)).collect();
    let places = order.into_iter().chain(rest).filter_map(|node| members.iter().position(|m| m.node == node));
    let mut live = places.filter(|at| members[*at].live.is_some());
    std::array::from_fn(|_| live.next().map_or(NONE, |at| at as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[u16]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    /// Whom each node backs up, as `3P 8S`: what the published table shows.
    fn table(assignment: &Assignment) -> BTreeMap<u16, Vec<String>> {
        let mut table: BTreeMap<u16, Vec<String>> = BTreeMap::new();
        for (letter, of) in [('P', (|b| b.primary) as fn(&Backups) -> Option<NodeId>), ('S', |b| b.secondary)] {
            for (master, backups) in assignment {
                if let Some(backup) = of(backups) {
                    table.entry(backup.0).or_default().push(format!("{}{letter}", master.0));
                }
            }
        }
        table
    }

    fn published() -> (Vec<NodeId>, Vec<Vec<NodeId>>) {
        (nodes(&[3, 4, 1, 2, 5, 7, 6, 8, 9]), vec![nodes(&[1, 2, 5, 6, 7, 8, 9]), nodes(&[3, 4])])
    }

    #[test]
    fn nine_devices_as_published() {
        let (masters, pools) = published();
        let expected = [
            (1, ["3P", "8P"]),
            (2, ["4P", "9P"]),
            (3, ["7S", "8S"]),
            (4, ["6S", "9S"]),
            (5, ["1P", "3S"]),
            (6, ["2P", "4S"]),
            (7, ["5P", "1S"]),
            (8, ["7P", "2S"]),
            (9, ["6P", "5S"]),
        ];
        let expected = expected.map(|(node, masters)| (node, masters.map(str::to_string).to_vec()));
        assert_eq!(table(&assign(&masters, &pools)), BTreeMap::from(expected));
    }

    #[test]
    fn a_newcomer_takes_secondaries_of_the_worst_class_and_no_primary() {
        let (masters, mut pools) = published();
        let before = assign(&masters, &pools);
        pools[0].push(NodeId(10));
        let mut after = before.clone();
        // 3 and 4 are of class 2 and have two each: the first of each is the first that goes.
        assert_eq!(preempt(&mut after, &pools, NodeId(10)), nodes(&[6, 7]));
        for (master, backups) in &before {
            assert_eq!(after[master].primary, backups.primary);
            let moved = [NodeId(6), NodeId(7)].contains(master);
            assert_eq!(after[master].secondary, if moved { Some(NodeId(10)) } else { backups.secondary });
        }
        // Its own: class 1 has no place left, 3 and 4 have.
        assert_eq!(after[&NodeId(10)], Backups { primary: Some(NodeId(3)), secondary: Some(NodeId(4)) });
        assert!(load_of(&after).values().all(|load| *load <= EACH));
    }

    #[test]
    fn a_newcomer_among_equals_takes_its_share_and_one_of_a_worse_class_nothing() {
        let five = nodes(&[1, 2, 3, 4, 5]);
        let before = assign(&five, std::slice::from_ref(&five));
        let mut after = before.clone();
        assert_eq!(preempt(&mut after, &[nodes(&[1, 2, 3, 4, 5, 6])], NodeId(6)).len(), 1);
        let mut worse = before.clone();
        assert_eq!(preempt(&mut worse, &[five.clone(), nodes(&[6])], NodeId(6)), []);
        assert!(five.iter().all(|master| worse[master] == before[master]));
    }

    #[test]
    fn nobody_backs_itself_up_or_one_master_twice() {
        for count in 0..40u16 {
            for second in 0..=count {
                let all: Vec<NodeId> = (1..=count).map(NodeId).collect();
                let (worse, better) = all.split_at(usize::from(second));
                let assignment = assign(&all, &[better.to_vec(), worse.to_vec()]);
                for (master, backups) in &assignment {
                    assert!(!backups.has(*master));
                    assert_eq!(backups.each().count(), usize::from(count - 1).min(2), "{count} nodes, {second} worse");
                    assert!(backups.primary != backups.secondary || count == 1);
                }
                assert!(load_of(&assignment).values().all(|load| *load <= EACH + 1), "{count} nodes, {second} worse");
            }
        }
    }
}
