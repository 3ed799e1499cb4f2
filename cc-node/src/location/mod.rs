//! The node's copy of the provisioning database, and the stream that keeps it level.
//!
//! [`replica`] is read by all workers without locks; [`client`] is the pure core of the one stream to the location
//! server: it resumes or reloads the replica, and carries the workers' commands and their outcomes. `io::location` and
//! the simulated rack drive it.

pub mod client;
pub mod replica;
pub mod view;

pub use client::{Client, ClientEffect, ClientSetup};
pub use replica::{Replica, ReplicaStatus, Writer};
pub use view::LocalView;
