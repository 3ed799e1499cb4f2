//! Somebody on the planes who has no key. What he says again, changes or makes up is refused and counted, and what is
//! too old is worth nothing, whoever says it. Most stories are told twice, with him and without, and must come to the
//! same.
//!
//! - `ports`: who listens where; `story`: what is told, and looked at; `forgery`: what he can make of a datagram;
//!   `doors`: those who read datagrams, without a rack around them.
//! - `replayed`, `changed`, `stale`: the stories; `at_volume`: ten million of each.

mod at_volume;
mod changed;
mod doors;
mod forgery;
mod ports;
mod replayed;
mod stale;
mod story;

use crate::seeds_of;

const SOAK: u64 = 2000;

/// A twentieth of the seeds: each is told twice, and little in these stories hangs on chance.
fn seeds() -> Vec<u64> {
    seeds_of(SOAK).into_iter().step_by(20).collect()
}
