//! What one sender may take of a worker's room.

use super::*;

#[test]
fn one_source_cannot_take_the_room_of_all() {
    let mut b = changed_bench("limits: { transactions: 100, calls: 20 }", "limits: { transactions_per_source: 3 }");
    for call in ["c1", "c2", "c3"] {
        assert_eq!(b.hear(ALICE, &invite(call)).len(), 2);
    }
    let full = b.hear(ALICE, &invite("c4"));
    assert_eq!(ladder(&full), ["503 → 10.0.0.1:5060"]);
    assert_eq!(full[0].header("Retry-After"), "5");
    assert_eq!(b.node.stats().rejected[crate::stats::Rejection::SourceLimit as usize], 1);
    assert_eq!(b.hear("10.0.0.8:5060", &invite("c5").replace("10.0.0.1", "10.0.0.8")).len(), 2, "others are served");
    let from_trunk = |call: &str| invite(call).replace("10.0.0.1", "10.9.0.1");
    for call in ["t1", "t2", "t3", "t4"] {
        assert_eq!(b.hear(CARRIER, &from_trunk(call)).len(), 2, "a trunk is many callers");
    }
    b.pass(Duration::from_secs(80));
    assert_eq!(b.hear(ALICE, &invite("c6")).len(), 2, "what has ended does not count");
}
