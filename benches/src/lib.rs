//! Benchmarks: the rack beside Kamailio and beside a plain relay, and the pure parts by themselves.
//!
//! Order: `cpu`, `relay`, `echo` → `subject` → `compare` → `held`, `endurance` → the program in `main.rs`;
//! `core` and its program in `bin/core.rs` stand alone. The load is `siprack::load`.

#![allow(clippy::disallowed_methods)] // benchmarks read clocks, run threads and start processes

pub mod compare;
pub mod core;
pub mod cpu;
pub mod echo;
pub mod endurance;
pub mod held;
pub mod relay;
pub mod subject;
pub mod takeover;
