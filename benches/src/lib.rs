//! Benchmarks: a load generator, a plain relay as the floor, and the CPU time of processes as the kernel accounts it.
//!
//! Order: `cpu`, `generator` → `relay` → the program in `main.rs`.

#![allow(clippy::disallowed_methods)] // benchmarks read clocks, run threads and start processes

pub mod cpu;
pub mod generator;
pub mod relay;
