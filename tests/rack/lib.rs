//! The simulated rack: the pure cores of load manager, nodes, location server and phones in one process, under one
//! virtual clock and one seed. Each simulated host has its own copy of everything it has heard; the network between
//! them delays, loses (heartbeats too), doubles and reorders. The same seed gives the same run.
//!
//! Order: `plants`, `chance` → `network`, `nat` → `hosts` → `prepared` → `site`, `trail` → `simulation`, `outsider` → `faults`, `script` → `invariants`.

pub mod plants;

pub mod chance;
pub mod network;

pub mod nat;

pub mod hosts;

pub mod prepared;

pub mod site;

pub mod trail;

pub mod simulation;

pub mod outsider;

pub mod faults;

pub mod script;

pub mod invariants;
