//! Who is alive, and under which epoch: the acting load manager's judgement. Pure; `io::controller` and the simulated
//! rack drive it with datagrams and the time, and carry out its effects in their order.
//!
//! Files: `servers` (the CC Server Table) of `incarnation`s (which heartbeats count) with `flapping` (hold-down);
//! `admitted` (what each has taken of late); `beacons` with their `nonces` (how fresh a heartbeat is); `learning` (a start asks the nodes); `foreign` (heartbeats of version 1);
//! `refusal` and `status` (what is counted and shown); `core` ties them together.
//!
//! Leases need nothing but the echoes that the beacon carries. The place for what comes later: with several load managers
//! the lease of the acting one decides in `Core::tick` whether it judges at all or only listens, as it does
//! while `learning`.

mod admitted;
mod beacons;
mod core;
mod flapping;
mod foreign;
mod incarnation;
mod learning;
mod nonces;
mod refusal;
mod servers;
mod status;
#[cfg(test)]
mod tests;

pub use self::core::{Core, Setup};
pub use foreign::ForeignStatus;
pub use refusal::Refusal;
pub use servers::Departure;
pub use status::{NodeStatus, Phase, Status};

use crate::table::Table;
use bytes::Bytes;
use common::ids::{BootId, Epoch, NodeId, Plane};
use common::keys::{Generations, Span, Use};
use common::time::{Duration, Time};
use std::net::SocketAddr;
use std::sync::Arc;

/// What comes in from outside; time comes in beside it.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// One datagram of the control socket: a heartbeat of a node, its report, an agent's `stopped`.
    Datagram { from: SocketAddr, bytes: &'a [u8] },
    /// The operator wants these keys to stand.
    Keys(&'a Generations),
}

/// What is to be done, in this order: the packet path has a new table before any node hears of its epoch.
#[derive(Clone)]
pub enum Effect {
    /// Forget unread everything that waits on the control sockets: it is from before a sleep.
    DiscardQueued,
    /// The table for the packet path, from now on. The first one also says that the packet path may start to read.
    Publish(Arc<Table>),
    /// From this plane's control socket.
    Send { plane: Plane, to: SocketAddr, bytes: Bytes },
    /// For the log and the counters; nothing follows from it.
    Happened(Event),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Learning is over. `from`: the epoch that was taken over, `None` = a cold start.
    Learned {
        from: Option<Epoch>,
    },
    /// This process was not run for so long after a beacon was due; it learns anew.
    Slept {
        late: Duration,
    },
    /// No node has been heard for a while: it learns anew once one is, and holds nobody dead until then.
    Deaf,
    Entered {
        node: NodeId,
        boot: BootId,
        epoch: Epoch,
    },
    Left {
        node: NodeId,
        boot: BootId,
        epoch: Epoch,
        why: Departure,
    },
    /// It takes no new calls from this epoch on, or takes them again.
    Draining {
        node: NodeId,
        draining: bool,
        epoch: Epoch,
    },
    /// These keys stand from this epoch on.
    Turned {
        what: Use,
        to: Span,
        epoch: Epoch,
    },
    /// It went down too often without having been stopped.
    HeldDown {
        node: NodeId,
        until: Time,
    },
    PlaneChanged {
        node: NodeId,
        plane: Plane,
    },
    /// Under the same epoch a node reports other inputs than ours: an alarm.
    InputsDiffer {
        node: NodeId,
        epoch: Epoch,
    },
    Refused {
        from: SocketAddr,
        why: Refusal,
    },
}
