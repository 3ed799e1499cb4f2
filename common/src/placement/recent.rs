//! Placements that were superseded a short while ago. What began under one of them may still be held by whom it gave the
//! slot to, so the new owner asks there first. The load manager says in each beacon which they are, every node remembers
//! those that it stood under itself, and a load manager that starts takes them over from the nodes.

use super::{Inputs, Member, Placement, Placer};
use crate::ids::{BootId, Epoch, NodeId};
use crate::time::{Duration, Time};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// For so long an INVITE is repeated, and its final response (64 × T1).
pub const REMEMBERED: Duration = Duration::from_secs(32);
/// Different ones that are remembered; the oldest go first.
pub const MOST: usize = 32;
/// Differences that one beacon tells, so that it fits into a datagram; the oldest placements go untold.
pub const TOLD: usize = 1024;

/// One of them, as beacons and reports say it: what differs from the inputs that they carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    pub epoch: Epoch,
    /// How long ago it was superseded.
    pub age_ms: u32,
    /// Members that stood otherwise.
    pub differ: Vec<Stood>,
}

/// A member as it stood in a former placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stood {
    pub node: NodeId,
    pub live: Option<BootId>,
    pub weight: u16,
    pub draining: bool,
}

impl Stood {
    fn of(member: &Member) -> Stood {
        let Member { node, weight, live, draining, .. } = *member;
        // The draining of one that is not live means nothing.
        Stood { node, live, weight, draining: draining && live.is_some() }
    }
}

#[derive(Clone, Default)]
pub struct Recent {
    /// Newest first.
    entries: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    placement: Arc<Placement>,
    /// When it was superseded.
    over: Time,
}

impl Recent {
    /// The placement that stood until now. One under which the slots went the same ways is not remembered twice.
    pub fn superseded(&mut self, now: Time, placement: Arc<Placement>) {
        if placement.epoch() > Epoch(0) {
            self.remember(Entry { placement, over: now });
        }
    }

    /// Forgets what is too old. True if that was any.
    pub fn forget(&mut self, now: Time) -> bool {
        let before = self.entries.len();
        self.entries.retain(|e| now.since(e.over) < REMEMBERED);
        before != self.entries.len()
    }

    /// Takes over what somebody else remembers. `current`: the inputs that came with it. True if that was anything new.
    pub fn learn(&mut self, now: Time, placer: &Placer, current: &Inputs, formers: &[Former]) -> bool {
        let mut changed = false;
        for former in formers.iter().take(MOST) {
            // Most are: each beacon names them all again.
            if self.entries.iter().any(|e| e.placement.epoch() == former.epoch) {
                continue;
            }
            let inputs = then(current, &former.differ);
            let went = stood(&inputs);
            // The same ways, and superseded later.
            let known = |e: &Entry| e.placement.epoch() > former.epoch && stood(e.placement.inputs()) == went;
            if self.entries.iter().any(known) {
                continue;
            }
            let age = Duration::from_millis(u64::from(former.age_ms));
            let placement = placer.place(former.epoch, inputs);
            self.remember(Entry { placement, over: Time(now.0.saturating_sub(age.as_micros() as u64)) });
            changed = true;
        }
        changed
    }

    /// For a beacon or a report that carries the inputs `current`.
    pub fn formers(&self, now: Time, current: &Inputs) -> Vec<Former> {
        let mut told = 0;
        let mut say = |e: &Entry| {
            let now_stand = stood(current);
            let differ: Vec<Stood> =
                stood(e.placement.inputs()).into_iter().filter(|then| !now_stand.contains(then)).collect();
            told += differ.len();
            let age_ms = u32::try_from(now.since(e.over).as_millis()).unwrap_or(u32::MAX);
            (told <= TOLD).then_some(Former { epoch: e.placement.epoch(), age_ms, differ })
        };
        self.entries.iter().map_while(&mut say).collect()
    }

    /// Newest first.
    pub fn placements(&self) -> impl Iterator<Item = &Arc<Placement>> {
        self.entries.iter().map(|e| &e.placement)
    }

    fn remember(&mut self, entry: Entry) {
        let went = stood(entry.placement.inputs());
        self.entries.retain(|e| e.placement.epoch() != entry.placement.epoch() && stood(e.placement.inputs()) != went);
        let at = self.entries.partition_point(|e| e.placement.epoch() > entry.placement.epoch());
        self.entries.insert(at, entry);
        self.entries.truncate(MOST);
    }
}

fn stood(inputs: &Inputs) -> Vec<Stood> {
    inputs.members.iter().map(Stood::of).collect()
}

/// The inputs of a former placement. Who is no member any more cannot hold anything either.
fn then(current: &Inputs, differ: &[Stood]) -> Inputs {
    let mut inputs = current.clone();
    for member in &mut inputs.members {
        if let Some(stood) = differ.iter().find(|stood| stood.node == member.node) {
            (member.live, member.weight, member.draining) = (stood.live, stood.weight, stood.draining);
        }
    }
    inputs
}

#[cfg(test)]
mod tests {
    use super::super::Policy;
    use super::*;
    use crate::ids::Slot;

    const KEY: [u8; 16] = [5; 16];

    fn s(n: u64) -> Time {
        Time(n * 1_000_000)
    }

    fn inputs(live: &[u16]) -> Inputs {
        let member = |n: u16| Member::new(NodeId(n), live.contains(&n).then_some(BootId(7)));
        Inputs { policy: Policy::Rendezvous, members: (1..=3).map(member).collect(), ..Inputs::default() }
    }

    fn placement(epoch: u64, live: &[u16]) -> Arc<Placement> {
        Arc::new(Placement::compute(&KEY, Epoch(epoch), inputs(live)))
    }

    fn epochs(recent: &Recent) -> Vec<u64> {
        recent.placements().map(|p| p.epoch().0).collect()
    }

    #[test]
    fn one_is_remembered_for_32_s() {
        let mut recent = Recent::default();
        recent.superseded(s(0), placement(1, &[1, 2]));
        recent.superseded(s(10), placement(2, &[1, 2, 3]));
        assert_eq!(epochs(&recent), [2, 1]);
        assert!(!recent.forget(s(31)));
        assert!(recent.forget(s(32)));
        assert_eq!(epochs(&recent), [2]);
    }

    #[test]
    fn what_went_the_same_ways_is_remembered_once() {
        let mut recent = Recent::default();
        for epoch in 1..40 {
            let live: &[u16] = if epoch % 2 == 0 { &[1, 2, 3] } else { &[1, 2] };
            recent.superseded(s(epoch), placement(epoch, live));
        }
        assert_eq!(epochs(&recent), [39, 38]);
    }

    #[test]
    fn a_newcomer_computes_the_same_from_what_it_is_told() {
        let (mut knows, mut newcomer) = (Recent::default(), Recent::default());
        let placer = Placer::new(KEY);
        let was = placement(4, &[1, 2]);
        knows.superseded(s(10), was.clone());
        let said = knows.formers(s(15), &inputs(&[1, 2, 3]));
        assert_eq!(said[0].differ.len(), 1);
        assert!(newcomer.learn(s(100), &placer, &inputs(&[1, 2, 3]), &said));
        assert!(!newcomer.learn(s(101), &placer, &inputs(&[1, 2, 3]), &said));
        let same = newcomer.placements().next().is_some_and(|p| {
            (0..=u16::MAX).all(|slot| p.list(Slot(slot)).eq(was.list(Slot(slot)))) && p.epoch() == Epoch(4)
        });
        assert!(same);
        // Five of the 32 s were over when it heard.
        assert!(!newcomer.forget(s(126)));
        assert!(newcomer.forget(s(127)));
    }
}
