//! The hosts of the simulated rack: each drives the real cores of its program, with its own copy of all it has heard.

pub mod actor;
pub mod dns;
pub mod load_manager;
pub mod location;
pub mod node;
pub mod phone;
pub mod relay;
pub mod timed;
