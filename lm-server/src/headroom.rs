//! Whether the rack bears the death of any one node: what each other node would have to do then, by what heartbeats say of
//! their load and by who goes on with whose slots. For people and for Prometheus; nothing is decided by it.

use common::ids::{NodeId, Slot};
use common::placement::{Placement, SLOTS};

/// 1 minus the worst share of its capacity that a node would use if one other died: 1 is an idle rack, 0 one in which the
/// death of some node would make another just full, below 0 one that would be overloaded. Negative infinity: nobody is
/// left if one dies.
///
/// `loads`: of each node the share of its capacity that it uses. What a dead node did goes to its slots' primary backups, to
/// each as large a part as it has of the slots, and weighs there by the weights of the two in the rack file.
pub fn headroom(placement: &Placement, loads: &[(NodeId, f64)]) -> f64 {
    let members = &placement.inputs().members;
    let live: Vec<(NodeId, f64, f64)> = members
        .iter()
        .filter(|member| member.live.is_some())
        .map(|member| {
            let load = loads.iter().find(|(node, _)| *node == member.node).map_or(0.0, |(_, load)| *load);
            (member.node, load, f64::from(member.weight.max(1)))
        })
        .collect();
    if live.len() < 2 {
        return f64::NEG_INFINITY;
    }
    let inherited = inherited(placement, &live.iter().map(|(node, ..)| *node).collect::<Vec<_>>());
    let mut worst = 0.0f64;
    for (dead, (_, its_load, its_weight)) in live.iter().enumerate() {
        let slots: u32 = inherited[dead].iter().sum();
        for (other, (_, load, weight)) in live.iter().enumerate().filter(|(other, _)| *other != dead) {
            let part = f64::from(inherited[dead][other]) / f64::from(slots.max(1));
            worst = worst.max(load + its_load * part * its_weight / weight);
        }
    }
    1.0 - worst
}

/// Of each of these nodes how many of its slots each of them would take over.
fn inherited(placement: &Placement, live: &[NodeId]) -> Vec<Vec<u32>> {
    let mut slots = vec![vec![0; live.len()]; live.len()];
    let at = |node: Option<NodeId>| live.iter().position(|live| Some(*live) == node);
    for slot in 0..SLOTS {
        let mut list = placement.list(Slot(slot as u16));
        if let (Some(owner), Some(heir)) = (at(list.next()), at(list.next())) {
            slots[owner][heir] += 1;
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::{BootId, Epoch};
    use common::placement::{Inputs, Member, Policy};

    /// Nodes 1, 2, …, each with its weight; 0: it is dead.
    fn placement(weights: &[u16]) -> Placement {
        let member = |(n, weight): (u16, &u16)| Member {
            weight: (*weight).max(1),
            ..Member::new(NodeId(n), (*weight > 0).then_some(BootId(7)))
        };
        let members = (1..).zip(weights).map(member).collect();
        Placement::compute(&[5; 16], Epoch(3), Inputs { policy: Policy::Rendezvous, members, ..Inputs::default() })
    }

    fn of(weights: &[u16], loads: &[f64]) -> f64 {
        let loads: Vec<(NodeId, f64)> = (1..).map(NodeId).zip(loads.iter().copied()).collect();
        (headroom(&placement(weights), &loads) * 100.0).round() / 100.0
    }

    #[test]
    fn what_a_dead_node_did_is_shared_by_the_others() {
        assert_eq!(of(&[100, 100, 100], &[0.0, 0.0, 0.0]), 1.0);
        // Each takes half of a third's 0.4.
        assert_eq!(of(&[100, 100, 100], &[0.4, 0.4, 0.4]), 0.4);
        // Of five each takes a quarter.
        assert_eq!(of(&[100; 5], &[0.4; 5]), 0.5);
        assert_eq!(of(&[100, 100], &[0.4, 0.4]), 0.2);
    }

    #[test]
    fn the_worst_death_counts() {
        // When 1 dies, 3 has 0.5 + 0.4; when 3 dies, 1 has 0.8 + 0.25.
        assert_eq!(of(&[100, 100, 100], &[0.8, 0.1, 0.5]), -0.05);
        assert!(of(&[100, 100], &[0.9, 0.9]) < -0.7);
    }

    #[test]
    fn a_larger_nodes_work_weighs_more_on_a_smaller_one() {
        // The large one's half is as much as the small one can do twice over.
        assert_eq!(of(&[400, 100], &[0.5, 0.0]), -1.0);
        assert_eq!(of(&[100, 400], &[0.4, 0.1]), 0.2);
    }

    #[test]
    fn a_dead_nodes_last_words_count_for_nothing_and_the_last_one_has_no_heir() {
        assert_eq!(of(&[100, 100, 0], &[0.2, 0.2, 1.0]), 0.6);
        assert_eq!(of(&[100, 0, 0], &[0.0, 0.0, 0.0]), f64::NEG_INFINITY);
        assert_eq!(of(&[0, 0, 0], &[0.0, 0.0, 0.0]), f64::NEG_INFINITY);
    }
}
