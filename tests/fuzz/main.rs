//! Fuzz targets, one a file. Each runs as a plain test (seeds, regressions, and a bounded number of fresh inputs) and,
//! by `tests/fuzz/long`, for as long as one likes under libFuzzer, which is told what the code does with each input.
//!
//! - What an input is: [`choices`] (octets as decisions), [`mangle`] (seeds with changes), [`seeds`], [`history`] (the
//!   bugs that brought down others), [`dictionary`].
//! - One value or message: [`scan`], [`message`], [`limits`], [`headers`], [`uri`], [`params`], [`edit`], [`reply`], [`digest`],
//!   [`tokens`], [`branch`], [`stun`].
//! - What goes over the planes and onto the disk: [`proxy_header`], [`planes`], [`sealed`], [`packet`],
//!   [`location_stream`], [`segments`], [`config`]; [`shadows`] (words of other nodes, in any order).
//! - Sequences: [`node`] (phones, trunks and liars in any order), [`strangers`] (nobody is known), [`load_manager`],
//!   [`dns`] (name servers that say anything).
//! - [`linear`]: 8 times the input is at most 10 times the work.

#![allow(clippy::unwrap_used, reason = "a target's own messages and keys are known to be good")]
#![allow(clippy::disallowed_methods, reason = "how many inputs comes from the environment")]

mod choices;
mod dictionary;
mod history;
mod mangle;
mod seeds;

mod branch;
mod digest;
mod dns;
mod edit;
mod headers;
mod limits;
mod message;
mod params;
mod reply;
mod scan;
mod stun;
mod tokens;
mod uri;

mod config;
mod location_stream;
mod packet;
mod planes;
mod proxy_header;
mod sealed;
mod segments;
mod shadows;

mod load_manager;
mod node;
mod strangers;

mod linear;

/// How many fresh inputs a plain run of a target takes: `count`, four times that under `tests/run --soak`.
fn inputs(count: usize) -> usize {
    let soak = std::env::var("SIPRACK_SOAK").is_ok_and(|v| v == "yes");
    if soak { 4 * count } else { count }
}

/// A target: its name (of its folder in `__fuzz__` too), how many fresh inputs in a plain run, and what each must bear.
/// A plain run ends after 20 s even if the machine is too slow for all of them.
macro_rules! fuzz {
    ($name:literal, $count:expr, $each:expr) => {
        bolero::check!(name = $name)
            .with_iterations(crate::inputs($count))
            .with_test_time(std::time::Duration::from_secs(20))
            .with_max_len(4096)
            .for_each($each)
    };
}
use fuzz;
