//! Scenarios under seeds: a network that loses, one that doubles, one that reorders. A run has 200 fixed seeds and 100
//! that nobody has seen for each; a soak has 10,000 fixed ones. Seeds that failed once stay in the list.

use crate::stage::SMALL;
use simulated_rack::invariants::{
    i02_outcome as outcome, i02_silence as silence, i08_leftovers as leftovers, i09_causes as causes,
};
use simulated_rack::network::Conditions;
use simulated_rack::prepared::Prepared;
use simulated_rack::simulation::Simulation;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A whole story on the open rack, from registrations to the last BYE. The conditions begin when the phones are known.
pub type Scenario = fn(&mut Simulation, Conditions) -> Result<(), String>;

const CONDITIONS: [(&str, Conditions); 3] =
    [("loss", Conditions::LOSING), ("duplication", Conditions::DOUBLING), ("reordering", Conditions::REORDERING)];

/// Scenario, condition and seed of what once failed, in the rack or in a checker, and was mended.
const FAILED_ONCE: &[(&str, &str, u64)] = &[
    ("a_fork_of_which_one_answers", "loss", 7427),
    ("one_of_three_declines_for_all", "loss", 3012),
    ("the_caller_gives_up_while_three_phones_ring", "loss", 7427),
    ("two_phones_answer_at_once", "loss", 5),
];

const SOAK: u64 = 10_000;
const THREADS: usize = 2;

/// Runs a scenario under every condition and seed, then everything that must be true of any run.
pub fn under_three_conditions(name: &str, scenario: Scenario) {
    on_this_rack(&SMALL, name, scenario);
}

/// The same on another rack than the open one.
pub fn on_this_rack(rack: &'static Prepared, name: &str, scenario: Scenario) {
    for (condition, conditions) in CONDITIONS {
        let once = FAILED_ONCE.iter().filter(|(n, c, _)| *n == name && *c == condition).map(|(_, _, seed)| *seed);
        let seeds: Vec<u64> = once.chain(crate::seeds_of(SOAK)).collect();
        let (next, virtual_s) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let failure: Mutex<Option<(u64, String)>> = Mutex::new(None);
        let work = || {
            while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                match one(rack, scenario, conditions, *seed) {
                    Ok(seconds) => virtual_s.fetch_add(seconds, Ordering::Relaxed),
                    Err(why) => {
                        next.store(seeds.len(), Ordering::Relaxed);
                        *failure.lock().unwrap_or_else(|e| e.into_inner()) = Some((*seed, why));
                        return;
                    }
                };
            }
        };
        std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(work))));
        if let Some((seed, why)) = failure.into_inner().unwrap_or_else(|e| e.into_inner()) {
            panic!("{name} under {condition}, seed {seed}: {why}");
        }
        println!("{name} under {condition}: {} runs, {} virtual hours", seeds.len(), virtual_s.into_inner() / 3600);
    }
}

/// How many virtual seconds it took.
fn one(rack: &Prepared, scenario: Scenario, conditions: Conditions, seed: u64) -> Result<usize, String> {
    let mut s = Simulation::steady(&[rack], seed);
    scenario(&mut s, conditions)?;
    leftovers::check(&mut s)?;
    outcome::check(&s)?;
    causes::check(&s)?;
    silence::check(&s)?;
    Ok(s.now().millis() as usize / 1000)
}
