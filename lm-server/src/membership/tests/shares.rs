//! What the table says of the shares of new calls that nodes take: now, and at most for as long as an INVITE is repeated.

use super::*;

const ALL: u16 = u16::MAX;

impl Stage {
    /// Of node 2: what it takes, and the most that it has taken of late.
    fn shares(&self) -> (u16, u16) {
        let reach = &self.table().nodes()[1];
        (reach.admit, reach.admitted)
    }
}

#[test]
fn the_highest_share_is_remembered_for_as_long_as_an_invite_is_repeated() {
    let mut s = Stage::up(2, 1);
    assert_eq!(s.shares(), (ALL, ALL));
    s.node(2).admit = 40_000;
    s.run(10_000);
    assert_eq!(s.shares(), (40_000, ALL));
    s.node(2).admit = 20_000;
    s.run(21_900);
    assert_eq!(s.shares(), (20_000, ALL), "its last repeats may come now");
    s.run(300);
    assert_eq!(s.shares(), (20_000, 40_959), "rounded up");
    s.run(10_000);
    assert_eq!((s.shares(), s.tables.len()), ((20_000, 20_000), 4), "a table a change");
    s.node(2).admit = 30_000;
    s.run(100);
    assert_eq!(s.shares(), (30_000, 30_000));
}

#[test]
fn a_new_incarnation_has_admitted_nothing_before_it_came_in() {
    let mut s = Stage::up(2, 1);
    s.node(2).admit = 20_000;
    s.run(100);
    assert_eq!(s.shares(), (20_000, ALL));
    s.boot(2);
    s.node(2).state = NodeState::Started;
    s.run(400);
    assert_eq!((s.live(), s.shares()), (vec![1, 2], (20_000, 20_000)));
}

#[test]
fn who_drains_has_admitted_until_it_did() {
    let mut s = Stage::up(2, 1);
    s.node(2).state = NodeState::Draining;
    s.run(31_900);
    assert_eq!(s.shares(), (ALL, ALL));
    s.run(400);
    assert_eq!(s.shares(), (ALL, 0));
}

#[test]
fn nobody_knows_what_the_load_manager_before_let_in() {
    let mut s = Stage::up(2, 1);
    s.node(2).admit = 20_000;
    s.run(40_000);
    assert_eq!(s.shares(), (20_000, 20_000));
    s.restart_load_manager();
    s.run(300);
    assert_eq!(s.shares(), (20_000, ALL));
    s.run(32_500);
    assert_eq!(s.shares(), (20_000, 20_000));
}
