//! What a load manager that starts, wakes from a long sleep, or has heard nobody for a while, asks the nodes before it judges
//! anything: the highest placement that any of them has adopted. `Core` keeps one of these until it is over.

use common::ids::{Epoch, NodeId};
use common::placement::Inputs;
use common::placement::recent::Former;
use common::time::Time;
use std::collections::BTreeSet;
use std::time::Duration;

/// Nobody is waited for longer than this …
const PATIENCE: Duration = Duration::from_millis(200);
/// … but where heartbeats name an epoch, for the report of what it is: it is no cold start.
const MORE: Duration = Duration::from_millis(800);

/// A placement that somebody stood under, and what stood before it.
pub struct Learned {
    pub epoch: Epoch,
    pub inputs: Inputs,
    pub formers: Vec<Former>,
}

pub struct Learning {
    until: Time,
    best: Option<Learned>,
    answered: BTreeSet<NodeId>,
    extended: bool,
    /// Nobody has been heard since: whoever is cut off has nothing to judge by.
    deaf: bool,
}

impl Learning {
    /// `known`: what this load manager stood under before it slept.
    pub fn new(now: Time, known: Option<Learned>) -> Learning {
        Learning { until: now + PATIENCE, best: known, answered: BTreeSet::new(), extended: false, deaf: false }
    }

    /// It lasts until somebody is heard, and as long again as any other.
    pub fn of_the_deaf(now: Time, known: Option<Learned>) -> Learning {
        Learning { deaf: true, ..Learning::new(now, known) }
    }

    /// A node is heard.
    pub fn hears(&mut self, now: Time) {
        if std::mem::take(&mut self.deaf) {
            self.until = now + PATIENCE;
        }
    }

    /// When it is over at the latest; none: when somebody has been heard.
    pub fn until(&self) -> Option<Time> {
        (!self.deaf).then_some(self.until)
    }

    /// A node reports the placement that it stands under; epoch 0 = under none.
    pub fn report(&mut self, node: NodeId, epoch: Epoch, inputs: Inputs, formers: Vec<Former>) {
        self.answered.insert(node);
        if epoch > Epoch(0) && self.best.as_ref().is_none_or(|best| epoch > best.epoch) {
            self.best = Some(Learned { epoch, inputs, formers });
        }
    }

    /// A heartbeat that quotes a beacon of ours and names no epoch: this node has nothing to report.
    pub fn has_nothing(&mut self, node: NodeId) {
        self.answered.insert(node);
    }

    /// Somebody stands under an epoch. Without a report of it by now, it is waited for once more.
    pub fn names_an_epoch(&mut self, now: Time) {
        if self.best.is_none() && now >= self.until && !self.extended {
            (self.until, self.extended) = (now + MORE, true);
        }
    }

    /// Everybody has answered, or it has been long enough.
    pub fn is_over(&self, now: Time, nodes: usize) -> bool {
        !self.deaf && (now >= self.until || self.answered.len() >= nodes)
    }

    /// The highest placement heard of; `None` = a cold start.
    pub fn into_best(self) -> Option<Learned> {
        self.best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Time {
        Time(n * 1000)
    }

    #[test]
    fn who_hears_nobody_waits_for_somebody() {
        let mut learning = Learning::of_the_deaf(ms(0), None);
        assert_eq!((learning.until(), learning.is_over(ms(10_000), 3)), (None, false));
        learning.hears(ms(10_000));
        learning.hears(ms(10_050));
        assert_eq!(learning.until(), Some(ms(10_200)));
        assert!(!learning.is_over(ms(10_199), 3) && learning.is_over(ms(10_200), 3));
    }

    #[test]
    fn where_an_epoch_is_named_its_report_is_waited_for_once_more() {
        let mut learning = Learning::new(ms(0), None);
        learning.names_an_epoch(ms(100));
        assert!(!learning.is_over(ms(199), 3));
        learning.names_an_epoch(ms(200));
        assert!(!learning.is_over(ms(999), 3), "no cold start yet");
        learning.names_an_epoch(ms(1000));
        assert!(learning.is_over(ms(1000), 3), "nor is it waited for for ever");
        let mut learning = Learning::new(ms(0), None);
        learning.report(NodeId(1), Epoch(57), Inputs::default(), Vec::new());
        learning.names_an_epoch(ms(200));
        assert!(learning.is_over(ms(200), 3), "it has come");
    }
}
