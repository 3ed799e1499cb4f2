//! How often the dead are told what the living are told: seldom, and often again as soon as they are heard.

use super::*;

impl Stage {
    /// Beacons to this node on plane A within so many milliseconds.
    fn polled(&mut self, id: u16, ms: u64) -> usize {
        let before = self.node(id).polls;
        self.run(ms);
        self.node(id).polls - before
    }
}

#[test]
fn the_dead_are_polled_slowly_and_the_living_each_period() {
    let mut s = Stage::up(3, 1);
    s.node(2).runs = false;
    s.run(1_000);
    assert!(s.polled(2, 1_000) >= 19, "it may be back at any moment");
    s.run(4_000);
    assert_eq!((s.polled(2, 10_000), s.live()), (20, vec![1, 3]), "every tenth after 5 s");
    assert!(s.polled(1, 1_000) >= 19);
    // Its first heartbeat quotes nothing; the next beacon is for it, too.
    let node = s.node(2);
    (node.runs, node.boot, node.sequence, node.nonce, node.adopted) = (true, 200, 0, 0, None);
    s.run(500);
    assert_eq!(s.live(), [1, 2, 3]);
    assert!(s.polled(2, 1_000) >= 19);
}

#[test]
fn beacons_are_made_each_period_even_if_nobody_is_there_to_hear_them() {
    let mut s = Stage::up(1, 1);
    s.node(1).runs = false;
    s.run(10_000);
    let before = s.core.beacons();
    assert_eq!(s.polled(1, 2_000), 4);
    let made = s.core.beacons() - before;
    assert!((38..=42).contains(&made), "by these its agent tells that it runs: {made}");
}
