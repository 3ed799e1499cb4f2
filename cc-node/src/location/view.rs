//! What a worker looks into while it handles one input: the replica, and the placement it holds at that moment.

use super::Replica;
use crate::effect::View;
use common::location::{Aor, Bindings, LogTime, Subscriber};
use common::placement::Placements;
use common::time::Time;
use std::sync::Arc;

/// Each worker has its own; `placements` is renewed between inputs, so that one input sees one epoch.
pub struct LocalView {
    pub replica: Arc<Replica>,
    pub placements: Arc<Placements>,
    pub least_admitted: u16,
    pub most_admitted: u16,
}

impl LocalView {
    pub fn new(replica: Arc<Replica>, placements: Arc<Placements>) -> LocalView {
        LocalView { replica, placements, least_admitted: u16::MAX, most_admitted: u16::MAX }
    }
}

impl View for LocalView {
    fn bindings(&self, aor: &Aor) -> Option<Arc<Bindings>> {
        self.replica.bindings(aor)
    }

    fn subscriber(&self, aor: &Aor) -> Option<Arc<Subscriber>> {
        self.replica.subscriber(aor)
    }

    fn log_time(&self, now: Time) -> LogTime {
        self.replica.log_time(now)
    }

    fn placements(&self) -> &Placements {
        &self.placements
    }

    fn least_admitted(&self) -> u16 {
        self.least_admitted
    }

    fn most_admitted(&self) -> u16 {
        self.most_admitted
    }
}
