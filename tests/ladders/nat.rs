//! Phones behind masquerading routers: each side's requests reach the other through the flow that it opened itself.

use crate::{call, hang_up, must, register};
use common::time::Duration;
use simulated_rack::simulation::{PhoneId, Simulation};
use siprack::phone::{Event, Order, Pickup};

fn a_call(seed: u64, caller_behind: bool, callee_behind: bool) {
    let mut s = Simulation::new(seed);
    let run = |s: &mut Simulation| {
        let answers = Pickup::After(Duration::from_millis(200));
        let a = add(s, "1001", Pickup::Never, caller_behind);
        let b = add(s, "1002", answers, callee_behind);
        register(s, a)?;
        register(s, b)?;
        for (who, other) in [(a, b), (b, a)] {
            let id = call(s, a, b, "1002")?;
            s.order(who, Order::Reinvite { call_id: id.clone() });
            let ours = id.clone();
            must(s, 5, "re-INVITE through the NAT", move |s| {
                s.saw(other, |e| *e == Event::ReinvitedByPeer { call_id: ours.clone() })
            })?;
            s.run_for(Duration::from_secs(1));
            hang_up(s, who, other, &id)?;
        }
        Ok::<_, String>(())
    };
    run(&mut s).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(s.cdrs().len(), 2, "{}", s.story());
}

fn add(s: &mut Simulation, user: &str, pickup: Pickup, behind: bool) -> PhoneId {
    if behind { s.phone_behind_nat(user, pickup) } else { s.phone(user, pickup) }
}

#[test]
fn the_caller_is_behind_a_nat() {
    a_call(30, true, false);
}

#[test]
fn the_callee_is_behind_a_nat() {
    a_call(31, false, true);
}

#[test]
fn both_are_behind_nats_with_the_same_private_address() {
    a_call(32, true, true);
}
