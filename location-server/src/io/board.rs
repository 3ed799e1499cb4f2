//! What the admin port shows of the core: its state as of now, and the metrics. Written by the core's task only.

use crate::server::{Failure, Server};
use common::location::{LogTime, Outcome};
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::watch;

/// `/status` of a location server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// `starting` until seeds are in and the ports are open, then `started`; `stopping` when the log is broken.
    pub state: &'static str,
    pub level: u64,
    /// Record sum after `level`, 32 hex digits.
    pub checksum: String,
    /// Which log, 16 hex digits.
    pub history: String,
    pub log_time_ms: u64,
    pub subscribers: usize,
    pub registrations: usize,
    pub contacts: usize,
    /// Nodes that follow the log.
    pub nodes: Vec<u16>,
}

/// Numbers of the log's thread.
#[derive(Clone)]
pub struct LogMetrics {
    pub sync_seconds: Histogram,
    pub batch_entries: Histogram,
    pub failures: IntCounter,
}

pub struct Board {
    status: Arc<watch::Sender<Status>>,
    commands: IntCounterVec,
    links_refused: IntCounterVec,
    level: IntGauge,
    subscribers: IntGauge,
    registrations: IntGaugeVec,
    nodes: IntGauge,
    expired: IntCounter,
    hellos: IntCounterVec,
    counted_at: Option<LogTime>,
}

/// How often registrations are counted by domain: it walks all of them.
const COUNT_EVERY_MS: u64 = 5_000;

impl Board {
    /// # Errors
    /// Two metrics of one name.
    pub fn new(
        registry: &Registry,
        links_refused: IntCounterVec,
        status: Arc<watch::Sender<Status>>,
    ) -> Result<(Board, LogMetrics), prometheus::Error> {
        let board = Board {
            status,
            commands: counters(
                registry,
                "siprack_location_commands_total",
                "Commands by what came of them",
                "outcome",
            )?,
            links_refused,
            level: gauge(registry, "siprack_location_level", "Level of the provisioning log")?,
            subscribers: gauge(registry, "siprack_subscribers", "Provisioned subscribers")?,
            registrations: gauges(registry, "siprack_registrations", "Registered AORs", "domain")?,
            nodes: gauge(registry, "siprack_location_nodes", "Nodes that follow the log")?,
            expired: counter(registry, "siprack_location_expired_total", "Bindings that ended by their time")?,
            hellos: counters(registry, "siprack_location_hellos_total", "Nodes' hellos by how they went on", "how")?,
            counted_at: None,
        };
        let log = LogMetrics {
            sync_seconds: histogram(
                registry,
                "siprack_log_sync_seconds",
                "Time to write and sync one batch",
                &[0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0],
            )?,
            batch_entries: histogram(
                registry,
                "siprack_log_batch_entries",
                "Entries of one batch",
                &[1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1024.0],
            )?,
            failures: counter(registry, "siprack_log_failures_total", "Batches that were not written")?,
        };
        Ok((board, log))
    }

    pub fn publish(&mut self, server: &Server, now: LogTime) {
        let store = server.store();
        let (registrations, contacts) = store.registration_counts();
        let nodes: Vec<u16> = server.subscribers().into_iter().map(|n| n.0).collect();
        self.level.set(store.level().0.cast_signed());
        self.subscribers.set(store.subscriber_count() as i64);
        self.nodes.set(nodes.len() as i64);
        raise(&self.expired, server.stats().expired);
        raise(&self.hellos.with_label_values(&["resume"]), server.stats().resumes);
        raise(&self.hellos.with_label_values(&["reload"]), server.stats().reloads);
        if self.counted_at.is_none_or(|at| now.0 >= at.0 + COUNT_EVERY_MS) {
            self.counted_at = Some(now);
            self.registrations.reset();
            for (domain, count) in store.registrations_by_domain() {
                self.registrations.with_label_values(&[domain.as_str()]).set(count as i64);
            }
        }
        self.status.send_modify(|status| {
            let state = if server.broken().is_some() { "stopping" } else { status.state };
            *status = Status {
                state,
                level: store.level().0,
                checksum: format!("{:032x}", store.sum()),
                history: format!("{:016x}", server.history().0),
                log_time_ms: now.0,
                subscribers: store.subscriber_count(),
                registrations,
                contacts,
                nodes,
            };
        });
    }

    pub fn answered(&self, result: &Result<Outcome, Failure>) {
        let outcome = match result {
            Ok(Outcome::Refused { .. }) => "refused",
            Ok(_) => "done",
            Err(_) => "failed",
        };
        self.commands.with_label_values(&[outcome]).inc();
    }

    pub fn refused(&self, reason: &str) {
        self.links_refused.with_label_values(&[reason]).inc();
    }
}

/// Brings a counter up to what the core has counted.
fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

/// Connections refused or closed by us; the nodes' port counts here too.
pub fn links_refused(registry: &Registry) -> Result<IntCounterVec, prometheus::Error> {
    counters(registry, "siprack_location_links_refused_total", "Connections that were refused or closed", "reason")
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let metric = IntCounter::new(name, help)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counters(registry: &Registry, name: &str, help: &str, label: &str) -> Result<IntCounterVec, prometheus::Error> {
    let metric = IntCounterVec::new(Opts::new(name, help), &[label])?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let metric = IntGauge::new(name, help)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauges(registry: &Registry, name: &str, help: &str, label: &str) -> Result<IntGaugeVec, prometheus::Error> {
    let metric = IntGaugeVec::new(Opts::new(name, help), &[label])?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, prometheus::Error> {
    let metric = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
