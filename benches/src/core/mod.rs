//! The pure parts by themselves, without sockets: what one costs in time, allocations and memory.
//!
//! `stage` puts the load generator's engine and one node's engine face to face; `counting_allocator` counts; `micro` times the
//! small pieces.

pub mod counting_allocator;
pub mod micro;
pub mod stage;
