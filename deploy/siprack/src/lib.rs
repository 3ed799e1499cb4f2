//! The agent of a host and the operator's tool: `siprack up` and everything an operator asks. Imports run downwards
//! only: a module may use what stands above it here.
//!
//! 1. `failure`: how a command ends badly. `args`: the command line.
//! 2. `columns`: tables for people. `ladder`, `phone`: the built-in phones and the picture of what they say. `load`: thousands
//!    of phones for load tests. `drill`: calls that a node's death must not end.
//! 3. `services`: what a rack consists of. `backoff`, `supervisor`: which child runs when. `poison`: which one died of itself.
//!    `pulse`: which one hangs. `overview`: the rack as its load manager judges it. `protection`: what a node's death would
//!    cost. `trunk_health`: which trunks answer. `readiness`: is it ready.
//! 4. `cdr_lines`, `draining`, `explanation`, `identity`, `import_rows`, `rotation`, `trace`, `try_plan`: small decisions of
//!    single commands.
//! 5. `io`: processes, files, sockets, HTTP. The only place that touches the machine.

pub mod failure;

pub mod args;

pub mod columns;

pub mod ladder;

pub mod phone;

pub mod load;

pub mod drill;

pub mod services;

pub mod backoff;
pub mod poison;
pub mod pulse;
pub mod supervisor;

pub mod overview;
pub mod protection;
pub mod trunk_health;

pub mod readiness;

pub mod cdr_lines;
pub mod draining;
pub mod explanation;
pub mod identity;
pub mod import_rows;
pub mod rotation;
pub mod trace;
pub mod try_plan;

pub mod io;
