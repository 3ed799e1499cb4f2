//! `siprack drill kill`: calls of our own in every phase at one node, the node's death in the middle of them, and the proof
//! for each that it goes on. Pure: datagrams and time in, datagrams and findings out; `io/drill` has the sockets and kills.
//!
//! - `plan`: which calls there are, in which phase, between whose phones.
//! - `seen`: what was seen of one call at its phones. `verdict`: what that says of it. `charges`: what its CDRs say.
//! - `one`: one call and its phones. `engine`: all of them, from the registrations to the end.
//! - `report`: what was found, for people and for programs.

mod charges;
mod engine;
mod one;
mod plan;
mod report;
mod seen;
#[cfg(test)]
mod tests;
mod verdict;

pub use charges::Charges;
pub use engine::{Drill, Half, State};
pub use plan::{Phase, Plan, call_ids, phones};
pub use report::{Findings, Found};
pub use seen::{Out, Side};
