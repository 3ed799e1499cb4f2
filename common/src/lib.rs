//! What siprack's programs share. Imports run downwards only: a module may use what stands above it here.
//!
//! 1. `time`, `ids`: the words everything is said in.
//! 2. `keys`, `call_hash`, `fields`, `flow`: derived keys, the keyed hashes, where a side of a call is reached.
//! 3. `location`: the commands, records and entries of the provisioning log.
//! 4. `sip`: the message: scan, index, views, edits, replies.
//! 5. `placement`, `token`, `branch`, `tag`, `deadlines`: pure functions and structures on top of them.
//! 6. `wire`: what goes over the planes: heartbeat, beacon, control, PROXY v2, sealed frames and datagrams, the
//!    location stream.
//! 7. `config`, `metrics`: the rack file, the counters.
//! 8. `io`: sockets, clocks, file descriptors, the admin port. The only place in this crate that touches the machine.

pub mod time;

pub mod ids;

pub mod call_hash;
pub mod fields;
pub mod flow;
pub mod keys;

pub mod location;

pub mod sip;

pub mod branch;
pub mod deadlines;
pub mod placement;
pub mod tag;
pub mod token;

pub mod wire;

pub mod config;
pub mod metrics;

pub mod io;
