//! Lost and repeated messages at every step, and bad networks at random: the call stands, it rings once, it is charged
//! once.

use crate::{call, hang_up, register, two_phones, under_every_seed};
use common::time::Duration;
use simulated_rack::invariants::{
    i01_established, i02_ringing as ringing, i04_accounting as accounting, i07_replicas as replicas,
};
use simulated_rack::network::{Conditions, Strike};
use simulated_rack::simulation::{PhoneId, Simulation};
use siprack::phone::{Event, Pickup};

/// Register, call, talk, hang up; how many SIP datagrams that took.
fn whole_call(s: &mut Simulation) -> Result<(PhoneId, PhoneId), String> {
    let (a, b) = two_phones(s)?;
    let id = call(s, a, b, "1002")?;
    s.run_for(Duration::from_secs(1));
    hang_up(s, a, b, &id)?;
    s.run_for(Duration::from_secs(40));
    Ok((a, b))
}

/// One ring, one CDR, nothing said by the rack that ends a call.
fn rang_once_and_charged_once(s: &Simulation, b: PhoneId) -> Result<(), String> {
    let calls: Vec<String> = s
        .events(b)
        .filter_map(|e| if let Event::Incoming { call_id, .. } = e { Some(call_id.clone()) } else { None })
        .collect();
    if calls.len() != 1 {
        return Err(format!("rang {} times\n{}", calls.len(), s.story()));
    }
    ringing::check(s, b)?;
    accounting::check(s, &calls)?;
    i01_established::check(s)
}

fn steps() -> u64 {
    let mut s = Simulation::new(50);
    let before = s.sip_datagrams();
    whole_call(&mut s).unwrap_or_else(|e| panic!("{e}"));
    s.sip_datagrams() - before
}

#[test]
fn every_message_of_a_call_is_lost_once() {
    let steps = steps();
    assert!(steps > 30, "a whole call takes more than {steps} datagrams");
    for n in 0..steps {
        let mut s = Simulation::new(50);
        s.set_strike(Strike::Lose(n));
        let result = whole_call(&mut s).and_then(|(_, b)| rang_once_and_charged_once(&s, b));
        result.unwrap_or_else(|e| panic!("datagram {n} of {steps} lost: {e}"));
    }
}

#[test]
fn every_message_of_a_call_is_doubled_once() {
    let steps = steps();
    for n in 0..steps {
        let mut s = Simulation::new(50);
        s.set_strike(Strike::Double(n));
        let result = whole_call(&mut s).and_then(|(_, b)| rang_once_and_charged_once(&s, b));
        result.unwrap_or_else(|e| panic!("datagram {n} of {steps} doubled: {e}"));
    }
}

#[test]
fn calls_over_a_network_that_loses_doubles_and_reorders() {
    under_every_seed(|seed| {
        let mut s = Simulation::new(seed);
        let (a, b) = two_phones(&mut s)?;
        s.set_conditions(Conditions { loss: 0.05, duplication: 0.05, reordering: 0.1, ..Conditions::CLEAN });
        let id = call(&mut s, a, b, "1002")?;
        s.run_for(Duration::from_secs(2));
        hang_up(&mut s, a, b, &id)?;
        s.run_for(Duration::from_secs(40));
        rang_once_and_charged_once(&s, b)
    });
}

#[test]
fn registrations_over_a_network_that_loses_doubles_and_reorders() {
    under_every_seed(|seed| {
        let mut s = Simulation::new(seed);
        s.set_conditions(Conditions { loss: 0.1, duplication: 0.1, reordering: 0.2, ..Conditions::CLEAN });
        let phones: Vec<PhoneId> = (1001..1006).map(|n: u32| s.phone(&n.to_string(), Pickup::Never)).collect();
        for phone in phones {
            register(&mut s, phone)?;
        }
        s.run_for(Duration::from_secs(2));
        replicas::check(&s)
    });
}
