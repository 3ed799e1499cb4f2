//! What a load manager says of itself: `/status`, `/explain`, `/metrics`, `/readyz`. `keys` adds the orders.

use super::counters::{CLASSES, Counters, Way};
use super::shared::Shared;
use crate::explain::explain;
use crate::forward::{DropReason, Gate};
use crate::headroom::headroom;
use crate::membership::{Departure, ForeignStatus, NodeStatus, Phase, Refusal, Status};
use crate::table::Table;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use common::io::admin::AdminSource;
use common::io::start::StartError;
use common::keys::Use;
use common::metrics::{Kind, Sample, family, registry};
use common::placement::SLOTS;
use common::sip::{Fault, MethodKind};
use prometheus::Registry;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

#[derive(Clone)]
pub struct Page(Arc<Inner>);

struct Inner {
    gate: Arc<Gate>,
    shared: Arc<Shared>,
    registry: Registry,
}

impl Page {
    pub fn new(gate: Arc<Gate>, shared: Arc<Shared>, counters: Vec<Arc<Counters>>) -> Result<Page, StartError> {
        let registry = metrics(&shared, counters)
            .map_err(|e| StartError::io("registering the metrics", std::io::Error::other(e)))?;
        Ok(Page(Arc::new(Inner { gate, shared, registry })))
    }

    pub fn router(&self) -> Router {
        let own = Router::new().route("/explain", get(answer_explain)).with_state(self.clone());
        common::io::admin::router(self.0.clone()).merge(own)
    }
}

impl AdminSource for Inner {
    fn not_ready(&self) -> Option<String> {
        let status = self.shared.status.load();
        match status.phase {
            Phase::Learning => Some("asking the nodes for their placement".into()),
            Phase::Acting if !status.nodes.iter().any(|n| n.placed) => Some("no node is in the placement".into()),
            Phase::Acting => None,
        }
    }

    fn status(&self) -> Value {
        let status = self.shared.status.load();
        json!({
            "state": if status.phase == Phase::Acting { "started" } else { "starting" },
            "phase": status.phase,
            "epoch": status.epoch,
            "policy": status.policy,
            "keys": (status.phase == Phase::Acting).then_some(status.keys),
            "last_change": status.last_change,
            "digest": format!("{:016x}", status.digest),
            "beacons": status.beacons,
            "nodes": status.nodes,
            // Null if nobody is left when one dies.
            "n_minus_1_headroom": n_minus_1(&self.shared),
            "foreign": status.foreign,
            "heartbeats_refused": counts(Refusal::ALL.map(Refusal::label), status.refused),
            "failovers": counts(Departure::ALL.map(Departure::label), status.failovers),
        })
    }

    fn registry(&self) -> &Registry {
        &self.registry
    }
}

/// By the table in use and the newest heartbeats.
fn n_minus_1(shared: &Shared) -> f64 {
    let table = shared.table.load_full().unwrap_or_else(|| Arc::new(Table::empty()));
    let status = shared.status.load();
    let loads: Vec<_> = status.nodes.iter().map(|n| (n.node, f64::from(n.load) / f64::from(u16::MAX))).collect();
    headroom(table.placement(), &loads)
}

fn counts<const N: usize>(labels: [&str; N], values: [u64; N]) -> Value {
    Value::Object(labels.into_iter().zip(values).map(|(l, v)| (l.to_string(), v.into())).collect::<Map<_, _>>())
}

#[derive(Deserialize)]
struct Asked {
    call_id: Option<String>,
}

async fn answer_explain(State(page): State<Page>, Query(asked): Query<Asked>) -> Response {
    let Some(call_id) = asked.call_id.filter(|id| !id.is_empty()) else {
        return (StatusCode::BAD_REQUEST, "ask with ?call_id=…, percent-encoded\n").into_response();
    };
    let table = page.0.shared.table.load_full().unwrap_or_else(|| Arc::new(Table::empty()));
    let status = page.0.shared.status.load();
    Json(explain(&page.0.gate, &table, &status.formers, &call_id)).into_response()
}

type Registered = Result<(), prometheus::Error>;

fn metrics(shared: &Arc<Shared>, counters: Vec<Arc<Counters>>) -> Result<Registry, prometheus::Error> {
    let registry = registry("lm-server")?;
    messages(&registry, &Arc::new(counters))?;
    judgement(&registry, shared)?;
    of_nodes(&registry, shared)?;
    Ok(registry)
}

fn sample(labels: &[&str], value: f64) -> Sample {
    Sample { labels: labels.iter().map(|l| l.to_string()).collect(), value }
}

fn messages(registry: &Registry, counters: &Arc<Vec<Arc<Counters>>>) -> Registered {
    let all = counters.clone();
    let requests = move || {
        let each = Way::ALL.into_iter().flat_map(|way| MethodKind::ALL.map(|method| (way, method)));
        let sum = |way, method| all.iter().map(|c| c.requests(way, method)).sum::<u64>() as f64;
        each.map(|(way, method)| sample(&[method.label(), "udp", way.label()], sum(way, method))).collect()
    };
    let help = "Requests forwarded, by where they went";
    family(
        registry,
        Kind::Counter,
        "siprack_sip_requests_total",
        help,
        &["method", "transport", "direction"],
        requests,
    )?;
    let all = counters.clone();
    let responses = move || {
        let each = Way::ALL.into_iter().flat_map(|way| (0..CLASSES.len()).map(move |class| (way, class)));
        let sum = |way, class| all.iter().map(|c| c.responses(way, class)).sum::<u64>() as f64;
        each.map(|(way, class)| sample(&[CLASSES[class], "udp", way.label()], sum(way, class))).collect()
    };
    let help = "Responses forwarded, by the class of their code";
    family(
        registry,
        Kind::Counter,
        "siprack_sip_responses_total",
        help,
        &["code", "transport", "direction"],
        responses,
    )?;
    let all = counters.clone();
    let dropped = move || {
        let sum = |why| all.iter().map(|c| c.drops(why)).sum::<u64>() as f64;
        DropReason::ALL.into_iter().map(|why| sample(&[why.label()], sum(why))).collect()
    };
    family(registry, Kind::Counter, "siprack_dropped_total", "Datagrams that went nowhere", &["reason"], dropped)?;
    let all = counters.clone();
    let unfit = move || {
        let sum = |of: fn(&Counters) -> u64| all.iter().map(|c| of(c)).sum::<u64>() as f64;
        let dropped = sum(|c| c.drops(DropReason::TooLong) + c.drops(DropReason::TooBig));
        let reason = Fault::MessageSize.label();
        vec![sample(&[reason, "answered"], sum(|c| c.too_large.get())), sample(&[reason, "dropped"], dropped)]
    };
    let help = "Messages that are too long to be handed on";
    family(registry, Kind::Counter, "siprack_unfit_total", help, &["reason", "outcome"], unfit)?;
    let single = |name: &str, help: &str, of: fn(&Counters) -> u64| {
        let all = counters.clone();
        let read = move || vec![sample(&[], all.iter().map(|c| of(c)).sum::<u64>() as f64)];
        family(registry, Kind::Counter, name, help, &[], read)
    };
    single("siprack_keepalives_total", "Keep-alives swallowed", |c| c.keep_alives.get())?;
    single("siprack_stun_total", "STUN Binding requests answered", |c| c.stun.get())?;
    let all = counters.clone();
    let rejected = move || {
        let sum = |of: fn(&Counters) -> u64| all.iter().map(|c| of(c)).sum::<u64>() as f64;
        vec![sample(&["no_node"], sum(|c| c.no_node.get())), sample(&["full"], sum(|c| c.full.get()))]
    };
    let help = "Requests answered 503: no node was live, or all refused it";
    family(registry, Kind::Counter, "siprack_rejected_total", help, &["reason"], rejected)
}

fn judgement(registry: &Registry, shared: &Arc<Shared>) -> Registered {
    let from = |of: fn(&Status) -> Vec<Sample>| {
        let shared = shared.clone();
        move || of(&shared.status.load())
    };
    let epoch = from(|s| vec![sample(&[], s.epoch.0 as f64)]);
    family(registry, Kind::Gauge, "siprack_placement_epoch", "Epoch of the placement in use", &[], epoch)?;
    let newest = |s: &Status| Use::ALL.map(|what| sample(&[what.label()], f64::from(s.keys.of(what).newest))).to_vec();
    let help = "Id of the key that writes";
    family(registry, Kind::Gauge, "siprack_key_generation", help, &["use"], from(newest))?;
    let beacons = from(|s| vec![sample(&[], s.beacons as f64)]);
    family(registry, Kind::Counter, "siprack_beacons_total", "Beacons made", &[], beacons)?;
    let refused =
        from(|s| Refusal::ALL.iter().zip(s.refused).map(|(why, count)| sample(&[why.label()], count as f64)).collect());
    let help = "Datagrams on the control port that did not count";
    family(registry, Kind::Counter, "siprack_heartbeats_refused_total", help, &["reason"], refused)?;
    let failovers = from(|s| {
        Departure::ALL.iter().zip(s.failovers).map(|(why, count)| sample(&[why.label()], count as f64)).collect()
    });
    family(registry, Kind::Counter, "siprack_failovers_total", "Nodes that left the placement", &["reason"], failovers)
}

fn of_nodes(registry: &Registry, shared: &Arc<Shared>) -> Registered {
    let each = |of: fn(&NodeStatus) -> f64| {
        let shared = shared.clone();
        move || shared.status.load().nodes.iter().map(|n| sample(&[&n.node.to_string()], of(n))).collect()
    };
    let share = each(|n| f64::from(n.slots) / SLOTS as f64);
    family(registry, Kind::Gauge, "siprack_node_owner_share", "Share of the slots a node owns", &["node"], share)?;
    let up = each(|n| f64::from(u8::from(n.placed)));
    family(registry, Kind::Gauge, "siprack_node_up", "1 if a node is in the placement", &["node"], up)?;
    let all = shared.clone();
    let help = "1 minus the worst load of a node if one other died; below 0 it would be overloaded";
    let spare = move || vec![sample(&[], n_minus_1(&all))];
    family(registry, Kind::Gauge, "siprack_n_minus_1_headroom_ratio", help, &[], spare)?;
    let all = shared.clone();
    let line = |n: &ForeignStatus| sample(&[&n.node.to_string()], f64::from(u8::from(n.is_up())));
    let up = move || all.status.load().foreign.iter().map(line).collect();
    let help = "1 if a foreign node is heard and says that it is at work";
    family(registry, Kind::Gauge, "siprack_foreign_node_up", help, &["node"], up)?;
    let shared = shared.clone();
    let ages = move || {
        let status = shared.status.load();
        let planes = |n: &NodeStatus| {
            let node = n.node.to_string();
            let age = |plane: &str, us: Option<u64>| us.map(|us| sample(&[&node, plane], us as f64 / 1e6));
            [age("a", n.heartbeat_age_us[0]), age("b", n.heartbeat_age_us[1])]
        };
        status.nodes.iter().flat_map(planes).flatten().collect()
    };
    let help = "Age of the newest heartbeat";
    family(registry, Kind::Gauge, "siprack_heartbeat_age_seconds", help, &["node", "plane"], ages)
}
