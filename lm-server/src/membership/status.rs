//! What the load manager shows of its judgement: `/status`, `/metrics`, `siprack status`. Made by [`super::Core::status`].

use super::foreign::ForeignStatus;
use super::refusal::Refusal;
use super::servers::{Departure, Server, ServerTable};
use super::{Effect, Event};
use crate::table::{Standing, Table};
use common::ids::{BootId, Epoch, HistoryId, Level, NodeId, Plane, Slot};
use common::keys::Generations;
use common::placement::{Placement, Policy};
use common::time::{Duration, Time};
use common::wire::heartbeat::NodeState;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Arc;

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
    /// Slots whose new calls it takes, as long as no node refuses any: a draining owner's go to the next of the list.
    pub takes: u32,
    /// Age of the newest heartbeat on plane A and B, in microseconds.
    pub heartbeat_age_us: [Option<u64>; 2],
    /// The plane that the packet path uses for it.
    pub plane: Plane,
    /// What it has adopted.
    pub epoch: Epoch,
    /// In 1/65,535; shown as a fraction.
    #[serde(serialize_with = "as_fraction")]
    pub load: u16,
    /// The share of new calls that it takes, likewise.
    #[serde(serialize_with = "as_fraction")]
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
    /// Of the rack file.
    pub policy: Policy,
    pub keys: Generations,
    /// None before the first.
    pub last_change: Option<LastChange>,
    /// The placements that stood in the last 32 s, newest first, and how long ago each was superseded.
    #[serde(skip)]
    pub formers: Vec<(Arc<Placement>, Duration)>,
    /// Of the placement's array; nodes compare theirs.
    pub digest: u64,
    pub beacons: u64,
    pub nodes: Vec<NodeStatus>,
    pub foreign: Vec<ForeignStatus>,
    /// In the order of [`Refusal::ALL`].
    pub refused: [u64; Refusal::ALL.len()],
    /// In the order of [`Departure::ALL`].
    pub failovers: [u64; Departure::ALL.len()],
}

/// The last epoch that changed anything about who acts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LastChange {
    pub epoch: Epoch,
    /// How long ago, in seconds.
    pub age_s: f64,
    pub what: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// `entered`, `left`, `draining`, `undrained`; or, of no node, `learned`: a load manager that started, or had slept,
    /// took the placement over from the nodes, and `turned`: another key writes.
    pub change: &'static str,
    /// The label of a [`Departure`], `started`, `operator`, or which key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'static str>,
}

impl Change {
    fn of(event: &Event) -> Option<Change> {
        let (node, change, why) = match event {
            Event::Entered { node, .. } => (Some(*node), "entered", Some("started")),
            Event::Left { node, why, .. } => (Some(*node), "left", Some(why.label())),
            Event::Draining { node, draining: true, .. } => (Some(*node), "draining", Some("operator")),
            Event::Draining { node, draining: false, .. } => (Some(*node), "undrained", Some("operator")),
            Event::Learned { from: Some(_) } => (None, "learned", None),
            Event::Turned { what, .. } => (None, "turned", Some(what.label())),
            _ => return None,
        };
        Some(Change { node, change, why })
    }
}

/// What `Core` remembers of the last change.
pub(super) struct Changed {
    epoch: Epoch,
    at: Time,
    what: Vec<Change>,
}

impl Changed {
    /// From the effects of making an epoch. An epoch can stand above another without any change.
    pub(super) fn by(effects: &[Effect], epoch: Epoch, at: Time) -> Option<Changed> {
        let change = |effect: &Effect| if let Effect::Happened(event) = effect { Change::of(event) } else { None };
        let what: Vec<Change> = effects.iter().filter_map(change).collect();
        (!what.is_empty()).then_some(Changed { epoch, at, what })
    }

    pub(super) fn shown(&self, now: Time) -> LastChange {
        LastChange { epoch: self.epoch, age_s: now.since(self.at).as_secs_f64(), what: self.what.clone() }
    }
}

/// Of each node the slots whose new calls it takes. Walks through all slots: once an epoch is enough.
pub(super) fn takes(placement: &Placement) -> BTreeMap<NodeId, u32> {
    let mut takes = BTreeMap::new();
    for node in (0..=u16::MAX).filter_map(|slot| placement.taker(Slot(slot), true)) {
        *takes.entry(node).or_default() += 1;
    }
    takes
}

fn as_fraction<S: Serializer>(parts: &u16, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(f64::from(*parts) / f64::from(u16::MAX))
}

/// How many slots a node owns, and of how many it takes the new calls.
#[derive(Clone, Copy)]
struct Shares {
    slots: u32,
    takes: u32,
}

pub(super) fn nodes(
    servers: &ServerTable,
    table: &Table,
    takes: &BTreeMap<NodeId, u32>,
    now: Time,
    down_after: Duration,
    suspect_after: Duration,
) -> Vec<NodeStatus> {
    let shares = |node| Shares { slots: table.share(node), takes: takes.get(&node).copied().unwrap_or(0) };
    servers.iter().map(|server| line(server, shares(server.node), now, down_after, suspect_after)).collect()
}

fn line(server: &Server, shares: Shares, now: Time, down_after: Duration, suspect_after: Duration) -> NodeStatus {
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
        slots: shares.slots,
        takes: shares.takes,
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

#[cfg(test)]
mod tests {
    use super::*;
    use common::placement::{Inputs, Member};

    const NODE: NodeId = NodeId(2);

    #[test]
    fn the_last_change_is_told_with_its_age_and_its_reasons() {
        let (boot, epoch) = (BootId(7), Epoch(12));
        let effects = [
            Effect::Happened(Event::Learned { from: Some(Epoch(11)) }),
            Effect::Happened(Event::Left { node: NODE, boot, epoch, why: Departure::Silent }),
            Effect::DiscardQueued,
            Effect::Happened(Event::Draining { node: NodeId(3), draining: true, epoch }),
        ];
        let changed = Changed::by(&effects, epoch, Time(1_000_000)).map(|changed| changed.shown(Time(4_500_000)));
        let json = serde_json::to_value(changed).unwrap_or_default();
        let wanted = serde_json::json!({ "epoch": 12, "age_s": 3.5, "what": [
            { "change": "learned" },
            { "node": 2, "change": "left", "why": "silent" },
            { "node": 3, "change": "draining", "why": "operator" },
        ]});
        assert_eq!(json, wanted);
    }

    #[test]
    fn an_epoch_without_a_change_is_none() {
        let effects = [
            Effect::Happened(Event::Learned { from: None }),
            Effect::Happened(Event::PlaneChanged { node: NODE, plane: Plane::B }),
        ];
        assert!(Changed::by(&effects, Epoch(1), Time(0)).is_none());
    }

    #[test]
    fn a_draining_owner_takes_nothing_and_the_others_take_all() {
        let member = |n: u16| Member { draining: n == 2, ..Member::new(NodeId(n), Some(BootId(7))) };
        let inputs = Inputs { policy: Policy::Rendezvous, members: (1..=3).map(member).collect(), ..Inputs::default() };
        let placement = Placement::compute(&[3; 16], Epoch(9), inputs);
        let takes = takes(&placement);
        assert_eq!((takes.get(&NODE), takes.values().sum::<u32>()), (None, 65_536));
        assert!(placement.shares().iter().all(|(node, slots)| *node == NODE || takes[node] > *slots), "{takes:?}");
    }
}
