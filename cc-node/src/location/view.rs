//! What a worker looks into while it handles one input: the replica, and the placement it holds at that moment.

use super::Replica;
use crate::effect::View;
use common::location::{Aor, Bindings, LogTime, Subscriber};
use common::placement::Placement;
use common::time::Time;
use std::sync::Arc;

/// Each worker has its own; `placement` is renewed between inputs, so that one input sees one epoch.
pub struct LocalView {
    pub replica: Arc<Replica>,
    pub placement: Arc<Placement>,
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

    fn placement(&self) -> &Placement {
        &self.placement
    }
}
