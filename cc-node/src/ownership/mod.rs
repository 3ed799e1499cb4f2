//! Which placement this node stands under. A node never judges who is alive: it adopts the highest
//! epoch that a beacon names, computes the array from the beacon's inputs, and compares the digest.
//! `io::heartbeat` and the simulated rack drive it; workers read the adopted [`Placement`].
//!
//! [`lease`] is the permission to send outwards; [`inquiries`] are the questions to who may hold what this node does not
//! know.

pub mod inquiries;
pub mod lease;

use common::ids::{BootId, Epoch, NodeId};
use common::keys::Keys;
use common::placement::recent::Recent;
use common::placement::{Placement, Placements, Placer};
use common::time::Time;
use common::wire::beacon::Beacon;
use common::wire::control::Report;
use std::sync::Arc;

/// What a beacon changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// The epoch we stand under, or an older one.
    Nothing,
    /// A new placement: readers should get [`Ownership::placements`].
    Adopted(Epoch),
    /// Adopted, or standing; but our array is not the load manager's. An alarm: two programs that compute differently.
    Differs { epoch: Epoch, ours: u64, theirs: u64 },
}

pub struct Ownership {
    node: NodeId,
    boot: BootId,
    placer: Placer,
    keys: Arc<Keys>,
    placements: Arc<Placements>,
    recent: Recent,
    digest: u64,
    mismatches: u64,
}

impl Ownership {
    /// `keys` are turned as the placements say.
    pub fn new(node: NodeId, boot: BootId, placer: Placer, keys: Arc<Keys>) -> Ownership {
        let placement = Arc::new(Placement::empty());
        Ownership {
            node,
            boot,
            placer,
            keys,
            digest: placement.digest(),
            placements: Arc::new(Placements::first(placement)),
            recent: Recent::default(),
            mismatches: 0,
        }
    }

    pub fn placement(&self) -> &Arc<Placement> {
        &self.placements.current
    }

    /// With those that stood before it. Another pointer each time that anything of it changes.
    pub fn placements(&self) -> &Arc<Placements> {
        &self.placements
    }

    /// Beacons whose digest was not ours.
    pub fn mismatches(&self) -> u64 {
        self.mismatches
    }

    /// May compute 65,536 lists.
    pub fn hear(&mut self, now: Time, beacon: &Beacon) -> Adoption {
        let (epoch, before) = (beacon.epoch, self.placement().epoch());
        if beacon.learning || epoch < before {
            return Adoption::Nothing;
        }
        let mut current = self.placement().clone();
        if epoch > before {
            self.recent.superseded(now, current);
            current = self.placer.place(epoch, beacon.inputs.clone());
            self.digest = current.digest();
            self.keys.turn(&beacon.inputs.keys);
        }
        let learned = self.recent.learn(now, &self.placer, &beacon.inputs, &beacon.formers);
        let forgot = self.recent.forget(now);
        if epoch > before || learned || forgot || self.placements.holders != beacon.holders {
            self.publish(current, beacon.holders.clone());
        }
        if self.digest != beacon.digest {
            self.mismatches += 1;
            return Adoption::Differs { epoch, ours: self.digest, theirs: beacon.digest };
        }
        if epoch > before { Adoption::Adopted(epoch) } else { Adoption::Nothing }
    }

    /// Time passes: what stood too long ago is forgotten.
    pub fn tick(&mut self, now: Time) {
        if self.recent.forget(now) {
            self.publish(self.placement().clone(), self.placements.holders.clone());
        }
    }

    fn publish(&mut self, current: Arc<Placement>, holders: Vec<NodeId>) {
        let former = self.recent.placements().cloned().collect();
        self.placements = Arc::new(Placements { current, former, holders });
    }

    /// What a load manager that starts is told; epoch 0 while nothing was adopted (then it may be a cold start).
    pub fn report(&self, now: Time, asked: &Beacon) -> Report {
        let (epoch, inputs) = (self.placement().epoch(), self.placement().inputs().clone());
        let formers = self.recent.formers(now, &inputs);
        Report { node: self.node, boot: self.boot, nonce: asked.nonce, epoch, inputs, formers, keys: self.keys.told() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::keys::RackKey;
    use common::placement::{Inputs, Member, Policy};

    const KEY: [u8; 16] = [5; 16];

    fn ownership() -> Ownership {
        Ownership::new(NodeId(2), BootId(7), Placer::new(KEY), Arc::new(Keys::derive(&RackKey([5; 32]))))
    }

    fn inputs(live: &[u16]) -> Inputs {
        let member = |n: u16| Member::new(NodeId(n), live.contains(&n).then_some(BootId(7)));
        Inputs { policy: Policy::Rendezvous, members: (1..=3).map(member).collect(), ..Inputs::default() }
    }

    fn beacon(epoch: u64, live: &[u16]) -> Beacon {
        let inputs = inputs(live);
        let digest = Placement::compute(&KEY, Epoch(epoch), inputs.clone()).digest();
        Beacon {
            lm_boot: BootId(1),
            nonce: 1,
            sent_us: 0,
            epoch: Epoch(epoch),
            inputs,
            formers: vec![],
            holders: vec![],
            digest,
            echoes: vec![],
            learning: false,
        }
    }

    #[test]
    fn the_highest_epoch_is_adopted_whatever_the_order() {
        let mut o = ownership();
        assert_eq!(o.report(Time(0), &beacon(0, &[])).epoch, Epoch(0), "nothing to teach a load manager");
        assert_eq!(o.hear(Time(0), &beacon(5, &[1, 2, 3])), Adoption::Adopted(Epoch(5)));
        assert_eq!(o.placement().live(NodeId(2)), Some(BootId(7)));
        assert_eq!(o.hear(Time(0), &beacon(5, &[1, 2, 3])), Adoption::Nothing);
        assert_eq!(o.hear(Time(0), &beacon(4, &[1])), Adoption::Nothing, "late");
        assert_eq!(o.hear(Time(0), &beacon(7, &[1, 3])), Adoption::Adopted(Epoch(7)));
        assert_eq!(o.placement().live(NodeId(2)), None);
        assert!(o.placement().shares().contains(&(NodeId(2), 0)));
    }

    #[test]
    fn a_starting_load_manager_is_told_what_was_adopted() {
        let mut o = ownership();
        o.hear(Time(0), &beacon(5, &[1, 2]));
        let asks = Beacon { learning: true, ..beacon(0, &[]) };
        assert_eq!(o.hear(Time(0), &asks), Adoption::Nothing);
        let report = o.report(Time(0), &beacon(0, &[]));
        assert_eq!(
            (report.node, report.boot, report.epoch, report.inputs),
            (NodeId(2), BootId(7), Epoch(5), inputs(&[1, 2]))
        );
    }

    #[test]
    fn another_digest_is_an_alarm() {
        let mut o = ownership();
        let right = beacon(5, &[1, 2]);
        let wrong = Beacon { digest: right.digest ^ 1, ..right.clone() };
        assert!(matches!(o.hear(Time(0), &wrong), Adoption::Differs { .. }));
        assert_eq!(o.mismatches(), 1);
        assert_eq!(o.placement().epoch(), Epoch(5), "it stands all the same: nobody may judge for himself");
        assert_eq!(o.hear(Time(0), &right), Adoption::Nothing);
    }
}
