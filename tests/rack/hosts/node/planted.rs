//! Bugs planted in how a simulated node drives its cores; without one, everything passes as it is.

use crate::plants::Plant;
use bytes::Bytes;
use cc_node::effect::Over;
use common::ids::{BootId, NodeId, PlaneSet};
use common::placement::Placements;
use common::sip::call_id;
use common::time::{Duration, Time};
use common::wire::beacon::{Beacon, Echo};
use common::wire::heartbeat::Heartbeat;
use common::wire::proxy::{self, Inquiry, ProxyHeader};
use std::sync::Arc;

const FOREVER: Time = Time(u64::MAX);
const LEASE: Duration = Duration::from_millis(300);
/// When silence is taken for an answer.
const DENIED_AFTER: Duration = Duration::from_millis(100);

#[derive(Default)]
pub struct Planted {
    plant: Option<Plant>,
    /// Sequence of the newest heartbeat.
    newest: u64,
    /// What a bug takes for the lease.
    until: Time,
    /// Answers that nobody has given.
    denials: Vec<(Time, ProxyHeader, Bytes)>,
}

impl Planted {
    pub fn new(plant: Option<Plant>) -> Planted {
        Planted { plant, ..Planted::default() }
    }

    fn is(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    pub fn beat(&mut self, beat: &Heartbeat) {
        self.newest = beat.v2.as_ref().map_or(0, |v2| v2.sequence);
    }

    pub fn beacon(&self, (node, boot): (NodeId, BootId), beacon: &mut Beacon) {
        if self.is(Plant::BeaconWithoutEcho) {
            beacon.echoes.retain(|echo| echo.node != node);
            beacon.echoes.push(Echo { node, boot, sequence: self.newest, planes: PlaneSet::BOTH });
        }
    }

    /// The lease was this before a beacon, and is that behind it.
    pub fn leased(&mut self, now: Time, before: Time, after: Time) {
        if after > before {
            self.until = now + LEASE;
        }
    }

    pub fn lease(&self, lease: Time) -> Time {
        match self.plant {
            Some(Plant::NoLease | Plant::OwnView) => FOREVER,
            Some(Plant::LeaseFromReceipt) => self.until,
            _ => lease,
        }
    }

    pub fn placements(&self, (node, boot): (NodeId, BootId), adopted: &Arc<Placements>) -> Arc<Placements> {
        let Placements { current, former, holders } = &**adopted;
        let (mut former, mut holders) = (former.clone(), holders.clone());
        match self.plant {
            Some(Plant::NoFormers) => former.clear(),
            Some(Plant::NoHolders) => holders.clear(),
            // Nor does it hear later that it was out for a while.
            Some(Plant::NoForgetting | Plant::ReturnOutsideAnEpoch) => {
                former.retain(|then| then.live(node) == Some(boot));
            }
            _ => return adopted.clone(),
        }
        Arc::new(Placements { current: current.clone(), former, holders })
    }

    pub fn adopts(&self, us: (NodeId, BootId), beacon: &Beacon) -> bool {
        !self.is(Plant::ReturnOutsideAnEpoch) || beacon.inputs.live().any(|live| live == us)
    }

    /// Whether the worker is told of this placement.
    pub fn looks_at(&self, (node, boot): (NodeId, BootId), adopted: &Placements) -> bool {
        let removed = adopted.current.live(node) != Some(boot);
        !(removed && matches!(self.plant, Some(Plant::NoForgetting | Plant::OwnView)))
    }

    /// A question or an answer leaves.
    pub fn inside(
        &mut self,
        now: Time,
        to: NodeId,
        over: Over,
        header: &mut ProxyHeader,
        message: &Bytes,
        placements: &Placements,
    ) {
        let Some((kind, number)) = header.inquiry else { return };
        if self.is(Plant::HolderDenies) && kind == Inquiry::Mine {
            header.inquiry = Some((Inquiry::NotMine, number));
        }
        let asked = kind == Inquiry::Yours && over == Over::InTurn(0);
        if let (true, true, Some(boot)) = (self.is(Plant::SilenceIsNotMine), asked, placements.current.live(to)) {
            let mut denial = ProxyHeader { sender: to, boot, ..header.clone() };
            denial.inquiry = Some((Inquiry::NotMine, number));
            denial.visited.clear();
            let answer = proxy::answer(call_id(message).unwrap_or_default());
            self.denials.push((now + DENIED_AFTER, denial, answer.into()));
        }
    }

    pub fn next_due(&self) -> Option<Time> {
        self.denials.iter().map(|(at, ..)| *at).min()
    }

    pub fn denials(&mut self, now: Time) -> Vec<(ProxyHeader, Bytes)> {
        let (due, later) = self.denials.drain(..).partition(|(at, ..)| *at <= now);
        self.denials = later;
        let due: Vec<(Time, ProxyHeader, Bytes)> = due;
        due.into_iter().map(|(_, header, message)| (header, message)).collect()
    }
}
