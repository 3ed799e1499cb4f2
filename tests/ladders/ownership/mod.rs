//! Who holds a call, whatever happens to the nodes: four of them on two planes. What goes over the planes is checked in
//! each of these, as in every ladder whose nodes beat (`invariants::planes`).

pub mod changes;
mod chaos;
mod forged;
mod full;
mod keys;

use crate::must;
use simulated_rack::simulation::Simulation;

pub const FOUR: &str = include_str!("../../rack/four.yaml");

/// The load manager counts on everybody that runs and is not drained, and all stand under its epoch.
fn is_settled(s: &Simulation) -> bool {
    let Some(placement) = s.lm().placement() else { return false };
    s.nodes().iter().all(|node| {
        let placed = placement.live(node.id());
        let counted = placed.is_some() && placed == node.boot();
        counted && node.epoch() == Some(placement.epoch())
    })
}

/// All stand on the load manager's keys.
fn has_turned(s: &Simulation) -> bool {
    s.nodes().iter().all(|node| node.generations() == s.lm().generations())
}

pub fn settles(s: &mut Simulation) -> Result<(), String> {
    // Who went down too often is held down for a minute at most.
    must(s, 75, "the placement settles", is_settled)
}
