//! A bug that every simulated node has: whoever is asked for the user `poison` panics, as over a message that the engine
//! cannot bear. What it costs is `core::contain`'s.

use cc_node::effect::View;
use cc_node::location::LocalView;
use common::location::{Aor, Bindings, LogTime, Subscriber};
use common::placement::Placements;
use common::time::Time;
use std::sync::Arc;

const POISON: &str = "poison";

pub struct Trap<'a>(pub &'a LocalView);

impl View for Trap<'_> {
    fn bindings(&self, aor: &Aor) -> Option<Arc<Bindings>> {
        assert_ne!(aor.user(), POISON, "planted");
        self.0.bindings(aor)
    }

    fn subscriber(&self, aor: &Aor) -> Option<Arc<Subscriber>> {
        self.0.subscriber(aor)
    }

    fn log_time(&self, now: Time) -> LogTime {
        self.0.log_time(now)
    }

    fn placements(&self) -> &Placements {
        self.0.placements()
    }

    fn least_admitted(&self) -> u16 {
        self.0.least_admitted()
    }

    fn most_admitted(&self) -> u16 {
        self.0.most_admitted()
    }
}
