//! What the admin port says of a node: ready or why not, its status as JSON, its metrics.

use super::cdr::CdrCounters;
use super::metrics;
use super::shared::Shared;
use common::ids::Epoch;
use common::io::admin::AdminSource;
use prometheus::Registry;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub struct Source {
    shared: Arc<Shared>,
    cdrs: Arc<CdrCounters>,
    registry: Registry,
}

impl Source {
    /// # Errors
    /// Two metrics of one name.
    pub fn new(shared: Arc<Shared>, cdrs: Arc<CdrCounters>) -> Result<Source, prometheus::Error> {
        let registry = metrics::start(&shared, &cdrs)?;
        Ok(Source { shared, cdrs, registry })
    }

    /// Whether the placement adopted holds this incarnation live.
    fn is_placed(&self) -> bool {
        let placement = self.shared.placement.load();
        placement.inputs().live().any(|live| live == (self.shared.id, self.shared.boot))
    }
}

impl AdminSource for Source {
    fn not_ready(&self) -> Option<String> {
        if self.shared.is_stopping() {
            return Some("stopping".into());
        }
        if !self.shared.level_once.load(Ordering::Relaxed) {
            return Some("starting: the location replica is not level yet".into());
        }
        if self.shared.placement.load().epoch() == Epoch(0) {
            return Some("starting: no load manager was heard yet".into());
        }
        (!self.is_placed()).then(|| "the load manager does not count on this node".into())
    }

    /// `state`, `level` and `checksum` (the record sum, 32 hex digits) are read by `siprack status`.
    fn status(&self) -> Value {
        let shared = &self.shared;
        let replica = shared.replica.status();
        let state = match (shared.is_stopping(), shared.level_once.load(Ordering::Relaxed)) {
            (true, _) => "stopping",
            (_, false) => "starting",
            (_, true) => "started",
        };
        let workers = shared.workers.iter().map(|w| {
            let report = w.report.load();
            json!({
                "ticks": w.ticks.load(Ordering::Relaxed),
                "load": f64::from(w.load.load(Ordering::Relaxed)) / 65_535.0,
                "calls": report.node.calls_established,
                "calls_in_setup": report.node.calls_in_setup,
                "panics": report.io.drop_panic,
            })
        });
        json!({
            "kind": "cc-node",
            "id": shared.id,
            "boot": shared.boot,
            "state": state,
            "placed": self.is_placed(),
            "epoch": shared.placement.load().epoch(),
            "history": format!("{:016x}", replica.history.0),
            "level": replica.level,
            "checksum": format!("{:032x}", replica.sum),
            "checksum_mismatches": replica.mismatches,
            "location_up": shared.location_up.load(Ordering::Relaxed),
            "location_lag": shared.location_lag.load(Ordering::Relaxed),
            "subscribers": replica.subscribers,
            "contacts": replica.bindings,
            "cdrs_written": self.cdrs.written.load(Ordering::Relaxed),
            "workers": workers.collect::<Vec<_>>(),
        })
    }

    fn registry(&self) -> &Registry {
        &self.registry
    }
}
