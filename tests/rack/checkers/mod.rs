//! One promise a file. A checker reads what the wire carried and what the phones reported, never our own logs.

pub mod accounting;
mod beacons;
pub mod causes;
mod down;
pub mod holders;
mod leases;
pub mod leftovers;
pub mod outcome;
mod owners;
pub mod planes;
pub mod quiet;
pub mod replicas;
pub mod ringing;
pub mod silence;
