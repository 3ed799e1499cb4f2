//! The ladders: what a call looks like on the wire, told by phones on a simulated rack. A failing one prints its ladder
//! and its seed.

#![allow(clippy::disallowed_methods, reason = "how many seeds, and new ones, come from the environment and the clock")]

mod calls;
mod coverage;
mod deaths;
mod faults;
mod histories;
mod leases;
mod limits;
mod methods;
mod names;
mod nat;
mod ownership;
mod probes;
mod races;
mod recursion;
mod redirects;
mod registration;
mod rfc3665;
mod seeds;
mod session_timers;
mod shadows;
mod stage;
mod takeover;
mod trunks;

use common::time::Duration;
use simulated_rack::simulation::{PhoneId, Simulation};
use siprack::phone::{Event, Order, Pickup};

/// Seeds of a test: as many fixed ones as `SIPRACK_FIXED_SEEDS` says (200), so that a run is the same everywhere, and
/// `SIPRACK_NEW_SEEDS` (100) that nobody has run before. A soak has four times as many. `SIPRACK_SEED`: that one alone, or those from FIRST-LAST.
pub fn seeds() -> Vec<u64> {
    seeds_of(800)
}

/// The same, with `soak` fixed ones in a soak.
pub fn seeds_of(soak: u64) -> Vec<u64> {
    let count = |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    if let Ok(asked) = std::env::var("SIPRACK_SEED") {
        let (first, last) = asked.split_once('-').unwrap_or((&asked, &asked));
        let number =
            |text: &str| text.parse().unwrap_or_else(|_| panic!("SIPRACK_SEED={asked}: write N or FIRST-LAST"));
        return (number(first)..=number(last)).collect();
    }
    let soaks = std::env::var("SIPRACK_SOAK").is_ok_and(|v| v == "yes");
    let fixed = 1..=count("SIPRACK_FIXED_SEEDS", if soaks { soak } else { 200 });
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
    let new = (0..count("SIPRACK_NEW_SEEDS", if soaks { 400 } else { 100 })).map(|n| now.wrapping_add(n));
    fixed.chain(new).collect()
}

/// Runs a scenario under every seed; the first failure tells its seed and its ladder.
pub fn under_every_seed(scenario: impl Fn(u64) -> Result<(), String>) {
    for seed in seeds() {
        if let Err(why) = scenario(seed) {
            panic!("seed {seed}: {why}");
        }
    }
}

/// A step that must come true within `seconds` of virtual time.
pub fn must(s: &mut Simulation, seconds: u64, what: &str, done: impl Fn(&Simulation) -> bool) -> Result<(), String> {
    if s.run_until(Duration::from_secs(seconds), done) {
        return Ok(());
    }
    Err(format!("never: {what}\n{}", s.story()))
}

pub fn register(s: &mut Simulation, phone: PhoneId) -> Result<(), String> {
    s.order(phone, Order::Register { expires_s: 3600 });
    must(s, 40, "registered", |s| s.saw(phone, |e| matches!(e, Event::Registered { .. })))
}

/// Two registered phones; the second one answers after 200 ms.
pub fn two_phones(s: &mut Simulation) -> Result<(PhoneId, PhoneId), String> {
    let a = s.phone("1001", Pickup::Never);
    let b = s.phone("1002", Pickup::After(Duration::from_millis(200)));
    register(s, a)?;
    register(s, b)?;
    Ok((a, b))
}

/// A calls user 1002 and both ends know the call.
pub fn call(s: &mut Simulation, a: PhoneId, b: PhoneId, to: &str) -> Result<String, String> {
    let call_id = s.order(a, Order::Call { to: to.to_string() }).ok_or("no call")?;
    must(s, 40, "answered and confirmed", |s| {
        s.established(a).contains(&call_id) && s.established(b).contains(&call_id)
    })?;
    Ok(call_id)
}

/// `from` hangs up and both ends see the end.
pub fn hang_up(s: &mut Simulation, from: PhoneId, other: PhoneId, call_id: &str) -> Result<(), String> {
    s.order(from, Order::Hangup { call_id: call_id.to_string() });
    let ours = call_id.to_string();
    must(s, 40, "BYE answered with 200 and seen by the peer", move |s| {
        s.saw(from, |e| *e == Event::Ended { call_id: ours.clone(), status: 200 })
            && s.saw(other, |e| *e == Event::EndedByPeer { call_id: ours.clone() })
    })
}
