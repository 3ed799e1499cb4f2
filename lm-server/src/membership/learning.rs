//! What a load manager that starts, or wakes from a long sleep, asks the nodes before it judges anything: the highest
//! placement that any of them has adopted. `Core` keeps one of these until it is over.

use common::ids::{Epoch, NodeId};
use common::placement::Inputs;
use common::time::Time;
use std::collections::BTreeSet;
use std::time::Duration;

/// Nobody is waited for longer than this.
const PATIENCE: Duration = Duration::from_millis(200);

pub struct Learning {
    until: Time,
    best: Option<(Epoch, Inputs)>,
    answered: BTreeSet<NodeId>,
}

impl Learning {
    /// `known`: what this load manager stood under before it slept.
    pub fn new(now: Time, known: Option<(Epoch, Inputs)>) -> Learning {
        Learning { until: now + PATIENCE, best: known, answered: BTreeSet::new() }
    }

    pub fn until(&self) -> Time {
        self.until
    }

    /// A node reports the placement that it stands under; epoch 0 = under none.
    pub fn report(&mut self, node: NodeId, epoch: Epoch, inputs: Inputs) {
        self.answered.insert(node);
        if epoch > Epoch(0) && self.best.as_ref().is_none_or(|(best, _)| epoch > *best) {
            self.best = Some((epoch, inputs));
        }
    }

    /// A heartbeat that quotes a beacon of ours and names no epoch: this node has nothing to report.
    pub fn has_nothing(&mut self, node: NodeId) {
        self.answered.insert(node);
    }

    /// Everybody has answered, or it has been long enough.
    pub fn is_over(&self, now: Time, nodes: usize) -> bool {
        now >= self.until || self.answered.len() >= nodes
    }

    /// The highest placement heard of; `None` = a cold start.
    pub fn into_best(self) -> Option<(Epoch, Inputs)> {
        self.best
    }
}
