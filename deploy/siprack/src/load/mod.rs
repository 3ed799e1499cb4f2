//! The load generator: user agents in batches, thousands of calls a second, a few microseconds each. Pure: `io::load`
//! gives it sockets and a clock for `siprack load`, `benches/` for its comparisons.
//!
//! `plan` (what is offered) and `tally` (what came of it) stand at its two ends; `reading` and `writing` are all that it
//! knows of messages; `caller` and `callee` are the two sides; `engine` joins them.

mod callee;
mod caller;
mod engine;
mod plan;
mod reading;
mod tally;
#[cfg(test)]
mod tests;
mod writing;

pub use engine::{Engine, Side, Wire};
pub use plan::{Kind, Pace, Plan, Users};
pub use tally::{Failure, Latency, Tally};
