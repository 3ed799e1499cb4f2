//! What a placement promises: balance, least disruption, backups apart; and that it never changes by accident.

use super::{Inputs, Member, Placement, Policy, SLOTS};
use crate::call_hash::CallHash;
use crate::ids::{BootId, Epoch, NodeId, Slot};
use proptest::prelude::*;

const KEY: [u8; 16] = [5; 16];

fn member(node: u16, domain: u16) -> Member {
    Member {
        node: NodeId(node),
        weight: 100,
        class: 1,
        domain,
        live: Some(BootId(1)),
        draining: false,
        retired: Vec::new(),
    }
}

fn nodes(count: u16) -> Vec<Member> {
    (1..=count).map(|n| member(n, n)).collect()
}

fn by(policy: Policy, members: Vec<Member>) -> Placement {
    Placement::compute(&KEY, Epoch(1), Inputs { policy, members, ..Inputs::default() })
}

fn place(members: Vec<Member>) -> Placement {
    by(Policy::Rendezvous, members)
}

fn list(p: &Placement, slot: usize) -> Vec<NodeId> {
    p.list(Slot(slot as u16)).collect()
}

fn without(members: &[Member], dead: u16) -> Vec<Member> {
    let mut members = members.to_vec();
    members.iter_mut().filter(|m| m.node.0 == dead).for_each(|m| m.live = None);
    members
}

#[test]
fn shares_are_even_up_to_16_nodes_and_at_64() {
    for (count, bound) in [(2, 1.05), (3, 1.05), (8, 1.05), (16, 1.05), (64, 1.1)] {
        let shares = place(nodes(count)).shares();
        let most = shares.iter().map(|(_, n)| *n).max().unwrap_or(0) as f64;
        let mean = SLOTS as f64 / f64::from(count);
        assert!(most / mean <= bound, "{count} nodes: max/mean {}", most / mean);
    }
}

#[test]
fn shares_follow_weights() {
    let mut members = nodes(4);
    members[0].weight = 200;
    let shares = place(members).shares();
    let expected = SLOTS as f64 * 2.0 / 5.0;
    assert!((f64::from(shares[0].1) / expected - 1.0).abs() < 0.05, "{shares:?}");
}

#[test]
fn a_dead_owners_slots_go_to_each_slots_primary_and_nothing_else_moves() {
    let members = nodes(8);
    let before = place(members.clone());
    let after = place(without(&members, 3));
    let mut heirs = [0u32; 9];
    for slot in 0..SLOTS {
        let (old, new) = (list(&before, slot), list(&after, slot));
        let survivors: Vec<NodeId> = old.iter().copied().filter(|n| n.0 != 3).collect();
        assert_eq!(new[..survivors.len()], survivors, "slot {slot}");
        if old[0].0 == 3 {
            assert_eq!(new[0], old[1]);
            heirs[usize::from(new[0].0)] += 1;
        }
    }
    let most = heirs.iter().max().copied().unwrap_or(0);
    assert!(most < 1_600, "the dead node's share spreads over all others: {heirs:?}");
    assert_eq!(place(members).digest(), before.digest(), "the return restores the array");
}

#[test]
fn a_second_death_goes_to_the_secondary() {
    let members = nodes(6);
    let before = place(members.clone());
    let after = place(without(&without(&members, 1), 2));
    for slot in 0..SLOTS {
        let old = list(&before, slot);
        if old[..2] == [NodeId(1), NodeId(2)] || old[..2] == [NodeId(2), NodeId(1)] {
            assert_eq!(list(&after, slot)[0], old[2], "slot {slot}");
        }
    }
}

#[test]
fn backups_are_distinct_and_in_other_failure_domains() {
    let members: Vec<Member> = (1..=9).map(|n| member(n, n % 3)).collect();
    let p = place(members.clone());
    for slot in 0..SLOTS {
        let domains: Vec<u16> = list(&p, slot).iter().map(|n| n.0 % 3).collect();
        assert_eq!(domains.len(), 3);
        assert!(
            domains[0] != domains[1] && domains[0] != domains[2] && domains[1] != domains[2],
            "slot {slot}: {domains:?}"
        );
    }
    let two: Vec<Member> = (1..=4).map(|n| member(n, n % 2)).collect();
    let p = place(two);
    for slot in 0..SLOTS {
        let l = list(&p, slot);
        assert_ne!(l[0].0 % 2, l[1].0 % 2, "with two domains the primary backup is in the other one");
    }
}

#[test]
fn backups_come_from_the_best_class() {
    let mut members = nodes(5);
    members[4].class = 2;
    let p = place(members);
    let fifth = (0..SLOTS).filter(|slot| list(&p, *slot)[1..].contains(&NodeId(5))).count();
    assert_eq!(fifth, 0, "four nodes of class 1 are enough for two backups");
    assert!(p.shares()[4].1 > 12_000, "it owns its share all the same");
}

#[test]
fn equal_weights_give_the_same_array_whatever_they_are() {
    let mut heavy = nodes(5);
    heavy.iter_mut().for_each(|m| m.weight = 700);
    assert_eq!(place(heavy).digest(), place(nodes(5)).digest());
}

#[test]
fn chosen_call_ids_spread_all_the_same() {
    let p = place(nodes(8));
    let mut counts = [0u32; 9];
    for n in 0..100_000u32 {
        let hash = CallHash::of(&KEY, format!("{n:08x}@chosen.example").as_bytes());
        counts[usize::from(p.owner(hash.slot()).map_or(0, |n| n.0))] += 1;
    }
    let most = counts.iter().max().copied().unwrap_or(0);
    assert!(f64::from(most) / 12_500.0 <= 1.05, "{counts:?}");
}

#[test]
fn fewer_than_three_nodes_and_none() {
    assert_eq!(list(&place(nodes(1)), 7), [NodeId(1)]);
    assert_eq!(list(&place(nodes(2)), 7).len(), 2);
    assert!(Placement::empty().list(Slot(7)).next().is_none());
    assert_eq!(Placement::empty().owner(Slot(0)), None);
}

#[test]
fn every_policy_gives_a_slot_three_different_live_nodes() {
    let mut members = nodes(7);
    members[2].live = None;
    members[5].class = 2;
    for policy in [Policy::Rendezvous, Policy::Modulo, Policy::Cascade, Policy::PeerClasses] {
        let p = by(policy, members.clone());
        for slot in 0..SLOTS {
            let l = list(&p, slot);
            assert!(l.len() == 3 && l[0] != l[1] && l[0] != l[2] && l[1] != l[2], "{policy:?} {slot}: {l:?}");
            assert!(!l.contains(&NodeId(3)), "{policy:?} {slot}: {l:?}");
        }
        let (few, none) = (by(policy, nodes(2)), by(policy, without(&nodes(1), 1)));
        assert_eq!((list(&few, 9).len(), list(&none, 9).len()), (2, 0), "{policy:?}");
        assert_eq!(by(policy, Vec::new()).owner(Slot(0)), None);
    }
}

/// The slots that change their owner when node 3 of six dies, and how many nodes take them over.
fn moved(policy: Policy) -> (usize, usize) {
    let (before, after) = (by(policy, nodes(6)), by(policy, without(&nodes(6), 3)));
    assert_eq!(by(policy, nodes(6)).digest(), before.digest());
    let changed =
        (0..SLOTS).map(|slot| (list(&before, slot)[0], list(&after, slot)[0])).filter(|(old, new)| old != new);
    let heirs: Vec<_> = changed.collect();
    let all: std::collections::BTreeSet<_> =
        heirs.iter().filter(|(old, _)| *old == NodeId(3)).map(|(_, new)| *new).collect();
    (heirs.len(), all.len())
}

#[test]
fn what_a_death_moves_under_each_policy() {
    let share = |policy| by(policy, nodes(6)).shares()[2].1 as usize;
    for (policy, heirs) in [(Policy::Rendezvous, 5), (Policy::Cascade, 1), (Policy::PeerClasses, 1)] {
        assert_eq!(moved(policy), (share(policy), heirs), "{policy:?}");
    }
    let (slots, _) = moved(Policy::Modulo);
    assert!(slots > SLOTS * 4 / 5, "{slots}");
    let shares = by(Policy::Modulo, nodes(6)).shares();
    assert!(shares.iter().all(|(_, n)| n.abs_diff(SLOTS as u32 / 6) <= 1), "{shares:?}");
}

#[test]
fn golden_vectors() {
    let hash = CallHash::of(&KEY, b"golden@vector");
    assert_eq!((hash.0, hash.slot().0, hash.worker(4), hash.admission()), (14161660803313258910, 50312, 0, 21368));
    let three = place(nodes(3));
    assert_eq!(three.digest(), 5633641221497723789);
    let mut mixed = nodes(8);
    mixed[2].weight = 250;
    mixed[5].class = 2;
    mixed[6].domain = 1;
    mixed[7].live = None;
    assert_eq!(place(mixed.clone()).digest(), 13909527478941461149);
    let others =
        [Policy::Modulo, Policy::Cascade, Policy::PeerClasses].map(|policy| by(policy, mixed.clone()).digest());
    assert_eq!(others, [7630412317965677397, 3031172283151448611, 13857163162610398614]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn a_change_of_one_weight_moves_slots_only_to_or_from_that_node(changed in 1u16..7, weight in 1u16..1000) {
        let members = nodes(6);
        let before = place(members.clone());
        let mut after = members;
        after[usize::from(changed) - 1].weight = weight;
        let after = place(after);
        for slot in 0..SLOTS {
            let (old, new) = (before.owner(Slot(slot as u16)), after.owner(Slot(slot as u16)));
            prop_assert!(old == new || old == Some(NodeId(changed)) || new == Some(NodeId(changed)));
        }
    }

    #[test]
    fn a_join_takes_slots_only_for_itself(count in 2u16..12) {
        let before = place(nodes(count));
        let after = place(nodes(count + 1));
        for slot in 0..SLOTS {
            let (old, new) = (before.owner(Slot(slot as u16)), after.owner(Slot(slot as u16)));
            prop_assert!(old == new || new == Some(NodeId(count + 1)));
        }
    }
}
