//! The location server: a durable log of commands, the database that follows from it, the API, and the push to every
//! node. Imports run downwards only: a module may use what stands above it here.
//!
//! 1. `clock`: log time, which never goes back.
//! 2. `store`: the database at a level; a pure function of the log.
//! 3. `log`: how a command stands on disk, the [`log::Log`] trait, a simulated disk.
//! 4. `replicate`: the ring of recent entries and each subscriber's place in it.
//! 5. `server`: the core that joins them: commands in → durable → applied → outcomes and pushes.
//! 6. `inbox`: the bounded queue through which everybody else reaches that core.
//! 7. `provisioning`: the HTTP API; `seeds`: the rack file's first subscribers.
//! 8. `io`: files, sockets, threads, the admin port. The only place that touches the machine.

pub mod clock;

pub mod store;

pub mod log;

pub mod replicate;

pub mod server;

pub mod inbox;

pub mod provisioning;
pub mod seeds;

pub mod io;

#[cfg(test)]
mod testing;
