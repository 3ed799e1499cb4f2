//! Calls as RFC 3665 draws them: answered, busy, cancelled, nobody there; BYE and re-INVITE from either side; each
//! answered call leaves exactly one CDR.

use crate::{call, hang_up, must, register, two_phones};
use common::time::Duration;
use simulated_rack::simulation::Simulation;
use siprack::phone::{Event, Order, Pickup};

#[test]
fn the_caller_hangs_up() {
    let mut s = Simulation::new(10);
    let run = |s: &mut Simulation| {
        let (a, b) = two_phones(s)?;
        let id = call(s, a, b, "1002")?;
        s.run_for(Duration::from_secs(3));
        hang_up(s, a, b, &id)
    };
    run(&mut s).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(s.cdrs().len(), 1, "{}", s.story());
    let seconds = s.cdrs()[0].2.ms_duration as f64 / 1000.0;
    assert!((2.9..3.5).contains(&seconds), "the CDR says {seconds} s");
}

#[test]
fn the_callee_hangs_up() {
    let mut s = Simulation::new(11);
    let run = |s: &mut Simulation| {
        let (a, b) = two_phones(s)?;
        let id = call(s, a, b, "1002")?;
        hang_up(s, b, a, &id)
    };
    run(&mut s).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(s.cdrs().len(), 1, "{}", s.story());
}

#[test]
fn a_re_invite_from_each_side() {
    let mut s = Simulation::new(12);
    let run = |s: &mut Simulation| {
        let (a, b) = two_phones(s)?;
        let id = call(s, a, b, "1002")?;
        for (from, to) in [(a, b), (b, a)] {
            s.order(from, Order::Reinvite { call_id: id.clone() });
            let ours = id.clone();
            must(s, 5, "re-INVITE answered", move |s| {
                s.saw(from, |e| *e == Event::Reinvited { call_id: ours.clone(), status: 200 })
                    && s.saw(to, |e| *e == Event::ReinvitedByPeer { call_id: ours.clone() })
            })?;
            s.run_for(Duration::from_secs(1));
        }
        hang_up(s, a, b, &id)
    };
    run(&mut s).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(s.cdrs().len(), 1, "{}", s.story());
}

#[test]
fn busy() {
    refused_with(13, Pickup::Refuse(486), 486);
}

#[test]
fn declined_everywhere() {
    refused_with(14, Pickup::Refuse(603), 603);
}

fn refused_with(seed: u64, pickup: Pickup, status: u16) {
    let mut s = Simulation::new(seed);
    let run = |s: &mut Simulation| {
        let a = s.phone("1001", Pickup::Never);
        let b = s.phone("1002", pickup);
        register(s, b)?;
        s.order(a, Order::Call { to: "1002".to_string() });
        must(s, 5, "refused", |s| s.saw(a, |e| matches!(e, Event::Refused { status: seen, .. } if *seen == status)))?;
        s.run_for(Duration::from_secs(40));
        Ok::<_, String>(())
    };
    run(&mut s).unwrap_or_else(|e| panic!("{e}"));
    assert!(s.cdrs().is_empty(), "a refused call is not charged");
}

#[test]
fn the_caller_cancels() {
    let mut s = Simulation::new(15);
    let run = |s: &mut Simulation| {
        let a = s.phone("1001", Pickup::Never);
        let b = s.phone("1002", Pickup::Never);
        register(s, b)?;
        let id = s.order(a, Order::Call { to: "1002".to_string() }).ok_or("no call")?;
        must(s, 5, "ringing", |s| s.saw(a, |e| matches!(e, Event::Ringing { .. })))?;
        s.order(a, Order::Cancel { call_id: id.clone() });
        let ours = id.clone();
        must(s, 5, "487 here, silence there", move |s| {
            s.saw(a, |e| *e == Event::Refused { call_id: ours.clone(), status: 487 })
                && s.saw(b, |e| *e == Event::CancelledHere { call_id: ours.clone() })
        })
    };
    run(&mut s).unwrap_or_else(|e| panic!("{e}"));
    assert!(s.cdrs().is_empty());
}

#[test]
fn not_registered_is_480_and_unknown_is_404() {
    let mut s = Simulation::new(16);
    let a = s.phone("1001", Pickup::Never);
    for (user, status) in [("1003", 480), ("4711", 404)] {
        s.order(a, Order::Call { to: user.to_string() });
        must(&mut s, 5, "refused", |s| {
            s.saw(a, |e| matches!(e, Event::Refused { status: seen, .. } if *seen == status))
        })
        .unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn a_foreign_domain_without_a_route_is_not_relayed() {
    let mut s = Simulation::new(17);
    let a = s.phone("1001", Pickup::Never);
    s.order(a, Order::Call { to: "sip:bob@elsewhere.example".to_string() });
    must(&mut s, 5, "403", |s| s.saw(a, |e| matches!(e, Event::Refused { status: 403, .. })))
        .unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn options_to_the_rack_itself() {
    let mut s = Simulation::new(18);
    let a = s.phone("1001", Pickup::Never);
    s.order(a, Order::Options);
    must(&mut s, 5, "200", |s| s.saw(a, |e| *e == Event::OptionsAnswered { status: 200 }))
        .unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn a_user_with_two_phones_rings_on_both_and_one_answers() {
    let mut s = Simulation::new(19);
    let run = |s: &mut Simulation| {
        let a = s.phone("1001", Pickup::Never);
        let desk = s.phone("1002", Pickup::After(Duration::from_millis(500)));
        let mobile = s.phone("1002", Pickup::Never);
        register(s, desk)?;
        register(s, mobile)?;
        let id = call(s, a, desk, "1002")?;
        must(s, 5, "the other phone stops ringing", |s| s.saw(mobile, |e| matches!(e, Event::CancelledHere { .. })))?;
        hang_up(s, a, desk, &id)
    };
    run(&mut s).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(s.cdrs().len(), 1, "{}", s.story());
}
