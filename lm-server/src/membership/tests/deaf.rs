//! A load manager that hears nobody: it is cut off, or nobody is there.

use super::*;

#[test]
fn who_is_cut_off_holds_nobody_dead_and_goes_on_with_all() {
    for (nodes, planes) in [(2, 1), (3, 2), (4, 2)] {
        let mut s = Stage::up(nodes, planes);
        let before = s.owners();
        s.cut = [true; 2];
        s.run(5_000);
        assert_eq!((s.left(), s.owners()), (vec![], before.clone()), "{nodes} nodes");
        let deaf = s.events.iter().filter(|event| matches!(event, Event::Deaf)).count();
        assert_eq!(deaf, 1, "{nodes} nodes");
        s.cut = [false; 2];
        s.run(1_000);
        assert_eq!((s.left(), s.owners()), (vec![], before), "{nodes} nodes");
        assert_eq!(s.core.status(s.time()).phase, Phase::Acting);
    }
}

#[test]
fn of_those_that_died_meanwhile_it_hears_soon_enough() {
    let mut s = Stage::up(4, 2);
    s.cut = [true; 2];
    s.run(2_000);
    s.kill(3);
    s.run(1_000);
    s.cut = [false; 2];
    s.run(800);
    assert_eq!((s.live(), s.left()), (vec![1, 2, 4], vec![(3, Departure::Silent)]));
}

#[test]
fn all_die_and_new_ones_come() {
    let mut s = Stage::up(3, 2);
    (1..=3).for_each(|node| s.kill(node));
    s.run(3_000);
    assert_eq!(s.left(), vec![]);
    for node in 1..=3 {
        s.boot(node);
        s.node(node).state = NodeState::Started;
    }
    s.run(1_500);
    assert_eq!(s.live(), [1, 2, 3]);
    assert_eq!(s.left().len(), 3, "their predecessors");
}

#[test]
fn one_that_is_left_alone_is_judged_by_its_silence() {
    let mut s = Stage::up(2, 2);
    s.kill(1);
    s.run(1_000);
    s.kill(2);
    s.run(1_000);
    assert!(s.live().is_empty());
}
