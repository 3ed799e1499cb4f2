//! Which placement this node stands under. A node never judges who is alive: it adopts the highest
//! epoch that a beacon names, computes the array from the beacon's inputs, and compares the digest.
//! `io::control` and the simulated rack drive it; workers read the adopted [`Placement`].
//!
//! [`lease`] is the permission to send outwards. What else belongs here and has its place free: `yours?` / `mine` between
//! an old and a new owner of a slot, and the return of a slot.

pub mod lease;

use common::ids::{BootId, Epoch, NodeId};
use common::placement::Placement;
use common::wire::beacon::Beacon;
use common::wire::control::Report;
use std::sync::Arc;

/// What a beacon changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// The epoch we stand under, or an older one.
    Nothing,
    /// A new placement: readers should get [`Ownership::placement`].
    Adopted(Epoch),
    /// Adopted, or standing; but our array is not the load manager's. An alarm: two programs that compute differently.
    Differs { epoch: Epoch, ours: u64, theirs: u64 },
}

pub struct Ownership {
    node: NodeId,
    boot: BootId,
    key: [u8; 16],
    placement: Arc<Placement>,
    digest: u64,
    mismatches: u64,
}

impl Ownership {
    pub fn new(node: NodeId, boot: BootId, placement_key: [u8; 16]) -> Ownership {
        let placement = Arc::new(Placement::empty());
        Ownership { node, boot, key: placement_key, digest: placement.digest(), placement, mismatches: 0 }
    }

    pub fn placement(&self) -> &Arc<Placement> {
        &self.placement
    }

    /// Beacons whose digest was not ours.
    pub fn mismatches(&self) -> u64 {
        self.mismatches
    }

    /// Would this beacon change anything? Cheap; [`Ownership::hear`] may compute 65,536 lists.
    pub fn is_news(&self, beacon: &Beacon) -> bool {
        let epoch = self.placement.epoch();
        !beacon.learning && (beacon.epoch > epoch || (beacon.epoch == epoch && beacon.digest != self.digest))
    }

    pub fn hear(&mut self, beacon: &Beacon) -> Adoption {
        if !self.is_news(beacon) {
            return Adoption::Nothing;
        }
        let epoch = beacon.epoch;
        if epoch > self.placement.epoch() {
            self.placement = Arc::new(Placement::compute(&self.key, epoch, beacon.inputs.clone()));
            self.digest = self.placement.digest();
        }
        if self.digest != beacon.digest {
            self.mismatches += 1;
            return Adoption::Differs { epoch, ours: self.digest, theirs: beacon.digest };
        }
        Adoption::Adopted(epoch)
    }

    /// What a load manager that starts is told; epoch 0 while nothing was adopted (then it may be a cold start).
    pub fn report(&self) -> Report {
        let (epoch, inputs) = (self.placement.epoch(), self.placement.inputs().clone());
        Report { node: self.node, boot: self.boot, epoch, inputs }
    }

    /// Whether the placement holds this very incarnation live.
    pub fn is_member(&self) -> bool {
        self.placement.inputs().members.iter().any(|m| m.node == self.node && m.live == Some(self.boot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::placement::{Inputs, Member, Policy};

    const KEY: [u8; 16] = [5; 16];

    fn inputs(live: &[u16]) -> Inputs {
        let member = |n: u16| Member {
            node: NodeId(n),
            weight: 100,
            class: 1,
            domain: n,
            live: live.contains(&n).then_some(BootId(7)),
            retired: vec![],
        };
        Inputs { policy: Policy::Rendezvous, members: (1..=3).map(member).collect() }
    }

    fn beacon(epoch: u64, live: &[u16]) -> Beacon {
        let inputs = inputs(live);
        let digest = Placement::compute(&KEY, Epoch(epoch), inputs.clone()).digest();
        Beacon { lm_boot: BootId(1), nonce: 1, epoch: Epoch(epoch), inputs, digest, echoes: vec![], learning: false }
    }

    #[test]
    fn the_highest_epoch_is_adopted_whatever_the_order() {
        let mut o = Ownership::new(NodeId(2), BootId(7), KEY);
        assert_eq!(o.report().epoch, Epoch(0), "nothing to teach a load manager");
        assert_eq!(o.hear(&beacon(5, &[1, 2, 3])), Adoption::Adopted(Epoch(5)));
        assert!(o.is_member());
        assert_eq!(o.hear(&beacon(5, &[1, 2, 3])), Adoption::Nothing);
        assert_eq!(o.hear(&beacon(4, &[1])), Adoption::Nothing, "late");
        assert_eq!(o.hear(&beacon(7, &[1, 3])), Adoption::Adopted(Epoch(7)));
        assert!(!o.is_member());
        assert!(o.placement().shares().contains(&(NodeId(2), 0)));
    }

    #[test]
    fn a_starting_load_manager_is_told_what_was_adopted() {
        let mut o = Ownership::new(NodeId(2), BootId(7), KEY);
        o.hear(&beacon(5, &[1, 2]));
        let asks = Beacon { learning: true, ..beacon(0, &[]) };
        assert_eq!(o.hear(&asks), Adoption::Nothing);
        let report = o.report();
        assert_eq!(
            (report.node, report.boot, report.epoch, report.inputs),
            (NodeId(2), BootId(7), Epoch(5), inputs(&[1, 2]))
        );
    }

    #[test]
    fn another_digest_is_an_alarm() {
        let mut o = Ownership::new(NodeId(2), BootId(7), KEY);
        let right = beacon(5, &[1, 2]);
        let wrong = Beacon { digest: right.digest ^ 1, ..right.clone() };
        assert!(matches!(o.hear(&wrong), Adoption::Differs { .. }));
        assert_eq!(o.mismatches(), 1);
        assert_eq!(o.placement().epoch(), Epoch(5), "it stands all the same: nobody may judge for himself");
        assert_eq!(o.hear(&right), Adoption::Nothing);
    }
}
