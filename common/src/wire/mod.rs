//! What goes over the planes. Everything here was made by a holder of the rack's keys, or is refused: the bytes come from
//! a network all the same, so nothing panics and every length is bounded.
//!
//! - `heartbeat`: node → load manager, each period.
//! - `frame` with `beacon` and `control`: load manager ↔ nodes and agents.
//! - `proxy`: in front of every SIP message inside.
//! - `packet`: one sealed datagram of a worker: shadow records between nodes.
//! - `sealed` with `location`: the stream between location server and nodes.

pub mod beacon;
pub mod control;
pub mod frame;
pub mod heartbeat;
pub mod location;
mod mac;
pub mod packet;
pub mod proxy;
pub mod sealed;
#[cfg(test)]
mod tests;
