//! REGISTER, 401, REGISTER, 200; and what every replica knows afterwards.

use crate::{must, register};
use common::location::Aor;
use common::time::Duration;
use simulated_rack::invariants::i07_replicas as replicas;
use simulated_rack::simulation::Simulation;
use siprack::phone::{Event, Order, Pickup};

#[test]
fn a_phone_registers_and_every_node_knows_it() {
    let mut s = Simulation::new(1);
    let a = s.phone("1001", Pickup::Never);
    register(&mut s, a).unwrap_or_else(|e| panic!("{e}"));
    s.run_for(Duration::from_millis(10));
    for node in s.nodes() {
        let bindings = node.replica().and_then(|r| r.bindings(&Aor::new("1001", "rack.test")));
        assert_eq!(bindings.map(|b| b.bindings.len()), Some(1), "node {}\n{}", node.id(), s.story());
    }
    assert_sums_equal(&s);
}

#[test]
fn a_removed_contact_is_gone_everywhere() {
    let mut s = Simulation::new(2);
    let a = s.phone("1001", Pickup::Never);
    register(&mut s, a).unwrap_or_else(|e| panic!("{e}"));
    s.order(a, Order::Register { expires_s: 0 });
    must(&mut s, 5, "an empty set", |s| s.saw(a, |e| *e == Event::Registered { contacts: 0 }))
        .unwrap_or_else(|e| panic!("{e}"));
    s.run_for(Duration::from_millis(10));
    for node in s.nodes() {
        assert!(
            node.replica().and_then(|r| r.bindings(&Aor::new("1001", "rack.test"))).is_none(),
            "node {}",
            node.id()
        );
    }
    assert_sums_equal(&s);
}

#[test]
fn a_wrong_password_is_refused() {
    let mut s = Simulation::new(3);
    let a = s.phone_with_password("1001", "guess", Pickup::Never);
    s.order(a, Order::Register { expires_s: 3600 });
    must(&mut s, 5, "refused with 401 or 403", |s| {
        s.saw(a, |e| matches!(e, Event::RegisterRefused { status: 401 | 403 }))
    })
    .unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn an_acknowledged_registration_survives_the_location_server() {
    let mut s = Simulation::new(4);
    let a = s.phone("1001", Pickup::Never);
    register(&mut s, a).unwrap_or_else(|e| panic!("{e}"));
    s.kill_location();
    s.run_for(Duration::from_secs(1));
    s.start_location();
    s.run_for(Duration::from_secs(2));
    let store = s.location().server().map(|server| server.store().bindings(&Aor::new("1001", "rack.test")).is_some());
    assert_eq!(store, Some(true), "{}", s.story());
    assert_sums_equal(&s);
}

#[test]
fn a_binding_expires_by_log_time_everywhere() {
    let mut s = Simulation::new(5);
    let a = s.phone("1001", Pickup::Never);
    s.order(a, Order::Register { expires_s: 60 });
    must(&mut s, 5, "registered", |s| s.saw(a, |e| matches!(e, Event::Registered { .. })))
        .unwrap_or_else(|e| panic!("{e}"));
    s.run_for(Duration::from_secs(62));
    for node in s.nodes() {
        assert!(
            node.replica().and_then(|r| r.bindings(&Aor::new("1001", "rack.test"))).is_none(),
            "node {}",
            node.id()
        );
    }
    assert_sums_equal(&s);
}

fn assert_sums_equal(s: &Simulation) {
    replicas::check(s).unwrap_or_else(|e| panic!("{e}"));
}
