//! What the load manager shows of its judgement: `/status`, `/metrics`, `siprack status`. Made by [`super::Core::status`].

use super::refusal::Refusal;
use super::servers::{Departure, Server, ServerTable};
use crate::table::{Standing, Table};
use common::ids::{BootId, Epoch, HistoryId, Level, NodeId, Plane};
use common::time::{Duration, Time};
use common::wire::heartbeat::NodeState;
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It has just started or slept, and asks the nodes.
    Learning,
    Acting,
}

/// How a node looks from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Liveness {
    /// Never heard, or its process is known to be gone.
    Absent,
    Alive,
    /// Silent for a while; shown only.
    Suspect,
    Down,
}

/// One line of the CC Server Table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeStatus {
    #[serde(rename = "id")]
    pub node: NodeId,
    pub boot: Option<BootId>,
    /// What it is for this load manager: `started` or `draining` if it stands in the placement; else `absent`, `down`,
    /// `held_down`, `joining` (it says started, and comes in once it has adopted the epoch) or what it says of itself.
    pub state: &'static str,
    pub liveness: Liveness,
    /// In the placement.
    pub placed: bool,
    /// Held down for flapping, for so many milliseconds more.
    pub held_down_ms: u64,
    /// Slots that it owns.
    pub slots: u32,
    /// Age of the newest heartbeat on plane A and B, in microseconds.
    pub heartbeat_age_us: [Option<u64>; 2],
    /// The plane that the packet path uses for it.
    pub plane: Plane,
    /// What it has adopted.
    pub epoch: Epoch,
    /// 0 to 65,535.
    pub load: u16,
    pub admit: u16,
    pub history: HistoryId,
    pub level: Level,
    /// Hexadecimal: 128 bits.
    pub location_sum: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub phase: Phase,
    pub epoch: Epoch,
    /// Of the placement's array; nodes compare theirs.
    pub digest: u64,
    pub beacons: u64,
    pub nodes: Vec<NodeStatus>,
    /// In the order of [`Refusal::ALL`].
    pub refused: [u64; Refusal::ALL.len()],
    /// In the order of [`Departure::ALL`].
    pub failovers: [u64; Departure::ALL.len()],
}

pub(super) fn nodes(
    servers: &ServerTable,
    table: &Table,
    now: Time,
    down_after: Duration,
    suspect_after: Duration,
) -> Vec<NodeStatus> {
    servers.iter().map(|server| line(server, table.share(server.node), now, down_after, suspect_after)).collect()
}

fn line(server: &Server, slots: u32, now: Time, down_after: Duration, suspect_after: Duration) -> NodeStatus {
    let seen = server.incarnation.as_ref();
    let age = |plane: Plane| seen.and_then(|i| i.on_plane[plane as usize]).map(|at| now.since(at).as_micros() as u64);
    let standing = server.reach().standing;
    let held = server.flapping.held_until(now).map_or(Duration::ZERO, |until| until.since(now));
    let liveness = match seen {
        None => Liveness::Absent,
        Some(i) if i.is_alive(now, suspect_after) => Liveness::Alive,
        Some(i) if i.is_alive(now, down_after) => Liveness::Suspect,
        Some(_) => Liveness::Down,
    };
    let state = match (standing, liveness, seen.map(|i| i.state)) {
        (Standing::Started, ..) => "started",
        (Standing::Draining, ..) => "draining",
        (Standing::Out, Liveness::Absent, _) | (Standing::Out, _, None) => "absent",
        (Standing::Out, Liveness::Down, _) => "down",
        (Standing::Out, _, Some(_)) if !held.is_zero() => "held_down",
        (Standing::Out, _, Some(NodeState::Started)) => "joining",
        (Standing::Out, _, Some(said)) => said.label(),
    };
    NodeStatus {
        node: server.node,
        boot: seen.map(|i| i.boot),
        state,
        liveness,
        placed: standing != Standing::Out,
        held_down_ms: held.as_millis() as u64,
        slots,
        heartbeat_age_us: [age(Plane::A), age(Plane::B)],
        plane: server.plane,
        epoch: seen.map_or(Epoch(0), |i| i.epoch),
        load: seen.map_or(0, |i| i.load),
        admit: seen.map_or(0, |i| i.admit),
        history: seen.map_or(HistoryId(0), |i| i.history),
        level: seen.map_or(Level(0), |i| i.level),
        location_sum: format!("{:032x}", seen.map_or(0, |i| i.location_sum)),
    }
}
