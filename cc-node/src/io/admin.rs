//! What the admin port says of a node: ready or why not, its status as JSON, its metrics. And what an operator may order
//! there: `POST /drain` and `POST /undrain`.

use super::cdr::CdrCounters;
use super::desired::{Desired, NotKept};
use super::metrics;
use super::shared::{Shared, WorkerReport};
use crate::ownership::inquiries::Counters;
use crate::probe::Report;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use common::ids::Epoch;
use common::io::admin::{self as admin_port, AdminSource, from_a_page, refused};
use prometheus::Registry;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

pub struct Source {
    shared: Arc<Shared>,
    cdrs: Arc<CdrCounters>,
    registry: Registry,
    /// One order at a time.
    desired: Mutex<Desired>,
}

impl Source {
    /// # Errors
    /// Two metrics of one name.
    pub fn new(shared: Arc<Shared>, cdrs: Arc<CdrCounters>, desired: Desired) -> Result<Source, prometheus::Error> {
        let registry = metrics::start(&shared, &cdrs)?;
        Ok(Source { shared, cdrs, registry, desired: Mutex::new(desired) })
    }

    /// The paths of every admin port, and the orders.
    pub fn router(self) -> Router {
        let source = Arc::new(self);
        let drain = |State(source): State<Arc<Source>>, headers: HeaderMap| order(source, headers, true);
        let undrain = |State(source): State<Arc<Source>>, headers: HeaderMap| order(source, headers, false);
        let orders = Router::new().route("/drain", post(drain)).route("/undrain", post(undrain));
        let orders = orders.with_state(source.clone());
        admin_port::router(source).merge(orders)
    }

    /// On disk first, so that what was answered with 200 holds after a restart, too.
    fn set_draining(&self, wanted: bool) -> Result<(), NotKept> {
        let desired = self.desired.lock().unwrap_or_else(PoisonError::into_inner);
        desired.set_draining(wanted)?;
        if self.shared.draining.swap(wanted, Ordering::Relaxed) != wanted {
            tracing::info!(draining = wanted, "by the operator's order");
        }
        Ok(())
    }

    /// Whether the placement adopted holds this incarnation live.
    fn is_placed(&self) -> bool {
        self.shared.placement().live(self.shared.id) == Some(self.shared.boot)
    }

    /// Whether that placement gives it new calls.
    fn gets_new_calls(&self) -> bool {
        let placement = self.shared.placement();
        let drains = placement.inputs().members.iter().any(|m| m.node == self.shared.id && m.draining);
        self.is_placed() && !drains
    }

    fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    fn state(&self) -> &'static str {
        match (self.shared.is_stopping(), self.shared.level_once.load(Ordering::Relaxed)) {
            (true, _) => "stopping",
            (_, false) => "starting",
            (_, true) if self.is_draining() => "draining",
            (_, true) => "started",
        }
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
        if self.shared.placement().epoch() == Epoch(0) {
            return Some("starting: no load manager was heard yet".into());
        }
        match (self.is_placed(), self.is_draining()) {
            (true, _) => None,
            (false, true) => Some("drained: the load manager gives it nothing until it is undrained".into()),
            (false, false) => Some("the load manager does not count on this node".into()),
        }
    }

    /// `state`, `level`, `checksum` (the record sum, 32 hex digits), the workers' calls and `shadows` are read by `siprack status`;
    /// `draining` and `gets_new_calls` by `siprack drain --wait`, `keys` by the agent.
    fn status(&self) -> Value {
        let shared = &self.shared;
        let replica = shared.replica.status();
        let placements = shared.placements.load_full();
        let reports: Vec<Arc<WorkerReport>> = shared.workers.iter().map(|w| w.report.load_full()).collect();
        let workers = shared.workers.iter().zip(&reports).map(|(w, report)| {
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
            "state": self.state(),
            "draining": self.is_draining(),
            "placed": self.is_placed(),
            "gets_new_calls": self.gets_new_calls(),
            "admit": f64::from(shared.admit.load(Ordering::Relaxed)) / 65_535.0,
            "epoch": placements.current.epoch(),
            "keys": shared.keys.told(),
            "former_placements": placements.former.len(),
            "strays": shared.strays(),
            "inquiries": inquiries(&reports),
            "shadows": shadows(&reports),
            "forgotten": reports.iter().map(|r| r.node.forgotten).sum::<u64>(),
            "history": format!("{:016x}", replica.history.0),
            "level": replica.level,
            "checksum": format!("{:032x}", replica.sum),
            "checksum_mismatches": replica.mismatches,
            "location_up": shared.location_up.load(Ordering::Relaxed),
            "location_lag": shared.location_lag.load(Ordering::Relaxed),
            "subscribers": replica.subscribers,
            "contacts": replica.bindings,
            "cdrs_written": self.cdrs.written.load(Ordering::Relaxed),
            "cdrs_waiting": self.cdrs.waiting.load(Ordering::Relaxed),
            "trunks": reports.first().map(|report| trunks(shared, report)),
            "workers": workers.collect::<Vec<_>>(),
        })
    }

    fn registry(&self) -> &Registry {
        &self.registry
    }
}

/// How well this node's calls are protected: `copies` are its calls by how many live backups hold all that there is of them
/// (none, one, two), counted each few seconds; the rest is as it is now.
fn shadows(reports: &[Arc<WorkerReport>]) -> Value {
    let sum = |of: fn(&WorkerReport) -> u64| reports.iter().map(|report| of(report)).sum::<u64>();
    json!({
        "copies": [
            sum(|r| r.shadows.copies[0]),
            sum(|r| r.shadows.copies[1]),
            sum(|r| r.shadows.copies[2]),
        ],
        "waiting": sum(|r| r.shadows.shipper.held as u64),
        "slow_backups": sum(|r| r.shadows.shipper.slow as u64),
    })
}

/// Addresses that are probed.
fn trunks(shared: &Shared, report: &WorkerReport) -> Vec<Value> {
    let one = |report: &Report| {
        let health = report.health;
        json!({
            "trunk": shared.rack.trunk(report.trunk).map(|trunk| trunk.name.as_str()),
            "address": report.address,
            "up": health.up,
            "since_ms": health.since_ms,
            "code": health.status,
            "latency_ms": f64::from(health.latency_us) / 1000.0,
        })
    };
    report.trunks.iter().map(one).collect()
}

/// What became of the questions of all workers.
fn inquiries(reports: &[Arc<WorkerReport>]) -> Value {
    let sum = |of: fn(&Counters) -> u64| reports.iter().map(|report| of(&report.inquiries)).sum::<u64>();
    json!({
        "asked": sum(|c| c.asked),
        "theirs": sum(|c| c.theirs),
        "nobodys": sum(|c| c.nobodys),
        "silent": sum(|c| c.silent),
        "without": sum(|c| c.without),
        "left": sum(|c| c.left),
        "full": sum(|c| c.full),
    })
}

async fn order(source: Arc<Source>, headers: HeaderMap, draining: bool) -> Response {
    if let Some(refusal) = from_a_page(&headers) {
        return refusal;
    }
    let id = source.shared.id;
    // The disk may take its time, and the location stream runs on this thread.
    match tokio::task::spawn_blocking(move || source.set_draining(draining)).await {
        Ok(Ok(())) => Json(json!({ "id": id, "draining": draining })).into_response(),
        Ok(Err(not_kept)) => refused(StatusCode::INTERNAL_SERVER_ERROR, &not_kept.to_string()),
        Err(broken) => refused(StatusCode::INTERNAL_SERVER_ERROR, &broken.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::location::Writer;
    use common::config::Rack;
    use common::ids::{BootId, NodeId};
    use common::io::start::control_runtime;
    use common::keys::{Keys, RackKey};
    use common::placement::{Inputs, Member, Placement, Placements, Policy};
    use std::path::PathBuf;

    const US: (NodeId, BootId) = (NodeId(1), BootId(7));

    /// A node that is level, and its directory.
    fn source(name: &str) -> (Arc<Source>, PathBuf) {
        let directory = std::env::temp_dir().join(format!("siprack-admin-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        let rack = Arc::new(Rack::one_machine_default(1).expand());
        let keys = Arc::new(Keys::derive(&RackKey([6; 32])));
        let (config, replica) = (rack.cc_nodes[0].clone(), Writer::new(&keys).replica().clone());
        let shared = Arc::new(Shared::new(US.0, US.1, rack, keys, config, replica));
        shared.level_once.store(true, Ordering::Relaxed);
        let desired = Desired::of(US.0, &directory);
        (Arc::new(Source::new(shared, Arc::default(), desired).unwrap()), directory)
    }

    /// What a beacon says: whether this node is live, and whether it drains.
    fn placed(source: &Source, live: bool, draining: bool) {
        let (node, boot) = US;
        let live = live.then_some(boot);
        let member = Member { draining, ..Member::new(node, live) };
        let inputs = Inputs { policy: Policy::Rendezvous, members: vec![member], ..Inputs::default() };
        let placement = Placement::compute(&[5; 16], Epoch(3), inputs);
        source.shared.placements.store(Arc::new(Placements::first(Arc::new(placement))));
    }

    fn ordered(source: &Arc<Source>, headers: HeaderMap, draining: bool) -> StatusCode {
        control_runtime().unwrap().block_on(order(source.clone(), headers, draining)).status()
    }

    #[test]
    fn an_order_is_kept_shown_and_taken_back() {
        let (source, directory) = source("order");
        placed(&source, true, false);
        for _ in 0..2 {
            assert_eq!(ordered(&source, HeaderMap::new(), true), StatusCode::OK);
        }
        assert!(Desired::of(US.0, &directory).is_draining().unwrap());
        let status = source.status();
        assert_eq!((&status["state"], &status["draining"]), (&json!("draining"), &json!(true)));
        assert_eq!(status["gets_new_calls"], true, "the load manager has not said so yet");
        placed(&source, true, true);
        assert_eq!(source.status()["gets_new_calls"], false);
        assert_eq!(source.not_ready(), None, "it serves the calls that it has");
        assert_eq!(ordered(&source, HeaderMap::new(), false), StatusCode::OK);
        assert_eq!(source.status()["state"], "started");
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_node_that_was_restarted_while_drained_says_why_it_gets_nothing() {
        let (source, directory) = source("restarted");
        placed(&source, false, false);
        assert!(source.not_ready().unwrap().contains("does not count"));
        source.set_draining(true).unwrap();
        assert!(source.not_ready().unwrap().starts_with("drained: "));
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn an_order_of_a_browser_and_one_that_the_disk_refuses_change_nothing() {
        let (source, directory) = source("refused");
        let mut headers = HeaderMap::new();
        headers.insert(axum::http::header::ORIGIN, "http://example.net".parse().unwrap());
        assert_eq!(ordered(&source, headers, true), StatusCode::FORBIDDEN);
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(ordered(&source, HeaderMap::new(), true), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!source.is_draining());
        let error = source.set_draining(true).unwrap_err().to_string();
        assert!(error.contains(&directory.join("draining").display().to_string()), "{error}");
    }

    #[test]
    fn the_protection_of_all_workers_calls_is_added_up() {
        let report = |copies, held| {
            let mut report = WorkerReport::default();
            (report.shadows.copies, report.shadows.shipper.held) = (copies, held);
            Arc::new(report)
        };
        let sum = shadows(&[report([1, 0, 3], 2), report([0, 2, 4], 5)]);
        assert_eq!(sum, json!({ "copies": [1, 2, 7], "waiting": 7, "slow_backups": 0 }));
    }

    #[test]
    fn the_counters_of_all_workers_are_added_up() {
        let report = |asked, theirs| {
            let inquiries = Counters { asked, theirs, ..Counters::default() };
            Arc::new(WorkerReport { inquiries, ..WorkerReport::default() })
        };
        let sum = inquiries(&[report(3, 1), report(4, 0)]);
        assert_eq!((&sum["asked"], &sum["theirs"], &sum["full"]), (&json!(7), &json!(1), &json!(0)));
    }
}
