//! The rack as its load manager judges it: which nodes act, for how much, and what changed last. `readiness` puts it into
//! the agent's report, `siprack status` shows it.

use crate::columns::{columns, printable};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `rack` in `siprack status --json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    pub epoch: u64,
    /// How slots are given to nodes, as in the rack file.
    pub policy: String,
    /// `acting`, or `learning` just after a start.
    pub phase: String,
    pub nodes: Vec<Node>,
    #[serde(default)]
    pub foreign: Vec<Foreign>,
    /// None before the first.
    #[serde(default)]
    pub last_change: Option<LastChange>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub id: u64,
    pub state: String,
    /// Slots that it owns, and slots whose new calls it takes.
    pub slots: u64,
    pub takes: u64,
    /// The share of those new calls that it admits, 0 to 1.
    pub admit: f64,
    /// Calls that it holds; none for a node of another machine.
    pub calls: Option<u64>,
    /// The plane on which the load manager reaches it.
    pub plane: String,
    /// How long ago its newest heartbeat came.
    pub heard_ms: Option<u64>,
}

/// Somebody else's server: it is watched, and gets no calls, so that nothing of the rack depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreign {
    pub id: u64,
    pub address: String,
    /// `absent`, `down`, or what it says of itself.
    pub state: String,
    /// None before it has said one.
    pub sip_port: Option<u64>,
    pub heard_ms: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LastChange {
    pub epoch: u64,
    pub age_s: f64,
    #[serde(default)]
    pub what: Vec<Change>,
}

/// `change` is `entered`, `left`, `draining`, `undrained`; or, of no node, `learned` or `turned` (`why`: which key).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u64>,
    pub change: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Overview {
    /// From a load manager's `/status`; none if it is not one. What is missing stays empty.
    pub fn from_json(status: &Value) -> Option<Overview> {
        let phase = text(&status["phase"]);
        let nodes = status["nodes"].as_array().filter(|_| !phase.is_empty())?;
        Some(Overview {
            epoch: number(&status["epoch"]),
            policy: text(&status["policy"]),
            phase,
            nodes: nodes.iter().map(Node::from_json).collect(),
            foreign: status["foreign"].as_array().into_iter().flatten().map(Foreign::from_json).collect(),
            last_change: serde_json::from_value(status["last_change"].clone()).ok(),
        })
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut out = format!("epoch {}, placement {}, {}\n\n", self.epoch, self.policy, self.phase);
        let head = ["ID", "STATE", "SLOTS", "TAKES", "ADMIT", "CALLS", "PLANE", "LAST-HEARD"].map(String::from);
        let mut rows = vec![head];
        rows.extend(self.nodes.iter().map(Node::row));
        out.push_str(&columns(&rows));
        if !self.foreign.is_empty() {
            let mut rows = vec![["FOREIGN", "STATE", "ADDRESS", "SIP-PORT", "LAST-HEARD"].map(String::from)];
            rows.extend(self.foreign.iter().map(Foreign::row));
            out.push_str(&format!("\n{}", columns(&rows)));
        }
        if let Some(last) = &self.last_change {
            out.push_str(&format!("\nlast change: {}\n", last.in_words()));
        }
        out
    }
}

impl Node {
    fn from_json(node: &Value) -> Node {
        let ages = node["heartbeat_age_us"].as_array().into_iter().flatten().filter_map(Value::as_u64);
        Node {
            id: number(&node["id"]),
            state: text(&node["state"]),
            slots: number(&node["slots"]),
            takes: number(&node["takes"]),
            admit: node["admit"].as_f64().unwrap_or(0.0),
            calls: None,
            plane: text(&node["plane"]),
            heard_ms: ages.min().map(|us| us / 1000),
        }
    }

    fn row(&self) -> [String; 8] {
        [
            self.id.to_string(),
            self.state.clone(),
            self.slots.to_string(),
            self.takes.to_string(),
            percent(self.admit),
            or_dash(self.calls.map(|calls| calls.to_string())),
            self.plane.to_uppercase(),
            or_dash(self.heard_ms.map(age)),
        ]
    }
}

impl Foreign {
    fn from_json(node: &Value) -> Foreign {
        Foreign {
            id: number(&node["id"]),
            address: text(&node["address"]),
            state: text(&node["state"]),
            sip_port: node["sip_port"].as_u64(),
            heard_ms: node["heartbeat_age_us"].as_u64().map(|us| us / 1000),
        }
    }

    fn row(&self) -> [String; 5] {
        [
            self.id.to_string(),
            self.state.clone(),
            self.address.clone(),
            or_dash(self.sip_port.map(|port| port.to_string())),
            or_dash(self.heard_ms.map(age)),
        ]
    }
}

impl LastChange {
    /// `epoch 12, 3.1 s ago: cc-node 2 left (silent)`
    pub fn in_words(&self) -> String {
        let what: Vec<String> = self.what.iter().map(Change::in_words).collect();
        format!("epoch {}, {} ago: {}", self.epoch, duration(self.age_s), what.join(", "))
    }
}

impl Change {
    fn in_words(&self) -> String {
        if let (None, "turned", Some(key)) = (self.node, self.change.as_str(), &self.why) {
            return format!("another {} key writes", printable(key));
        }
        let what = match (self.node, self.change.as_str()) {
            (Some(node), "draining") => format!("cc-node {node} drains"),
            (Some(node), change) => format!("cc-node {node} {}", printable(change)),
            (None, "learned") => "the load manager took the placement over from the nodes".to_string(),
            (None, change) => printable(change),
        };
        match &self.why {
            Some(why) => format!("{what} ({})", printable(why)),
            None => what,
        }
    }
}

/// Calls, those in setup included, that a node's own `/status` tells of.
pub fn calls(status: &Value) -> Option<u64> {
    let workers = status["workers"].as_array()?;
    Some(workers.iter().map(|worker| number(&worker["calls"]) + number(&worker["calls_in_setup"])).sum())
}

fn or_dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".into())
}

/// Milliseconds, as a person would say them.
fn age(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { duration(ms as f64 / 1000.0) }
}

/// A share from 0 to 1. Only the whole is shown as 100 %.
pub fn percent(share: f64) -> String {
    format!("{} %", (share * 100.0).floor())
}

/// Seconds, in the unit in which a person would say it.
pub fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).floor();
    if minutes < 1.0 {
        return format!("{seconds:.1} s");
    }
    if minutes < 60.0 {
        return format!("{minutes} min");
    }
    format!("{} h {} min", (minutes / 60.0).floor(), minutes % 60.0)
}

fn text(value: &Value) -> String {
    printable(value.as_str().unwrap_or_default())
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status() -> Value {
        json!({
            "phase": "acting", "epoch": 12, "policy": "rendezvous", "digest": "0f",
            "nodes": [
                { "id": 1, "state": "started", "slots": 32000, "takes": 65536, "admit": 0.999, "plane": "a",
                  "heartbeat_age_us": [12_345, null] },
                { "id": 2, "state": "down", "slots": 0, "takes": 0, "admit": 0.0, "plane": "b",
                  "heartbeat_age_us": [null, 75_000_000] },
            ],
            "last_change": { "epoch": 12, "age_s": 3.12, "what": [{ "node": 2, "change": "left", "why": "silent" }] },
        })
    }

    #[test]
    fn the_rack_is_a_table_with_its_last_change() {
        let mut overview = Overview::from_json(&status()).unwrap_or_default();
        overview.nodes[0].calls = Some(7);
        let wanted = "\
epoch 12, placement rendezvous, acting

ID  STATE    SLOTS  TAKES  ADMIT  CALLS  PLANE  LAST-HEARD
1   started  32000  65536  99 %   7      A      12 ms
2   down     0      0      0 %    -      B      1 min

last change: epoch 12, 3.1 s ago: cc-node 2 left (silent)
";
        assert_eq!(overview.table(), wanted);
    }

    #[test]
    fn foreign_nodes_stand_below_marked_as_such() {
        let mut status = status();
        status["foreign"] = json!([
            { "id": 101, "address": "10.0.0.7", "state": "started", "sip_port": 5060, "heartbeat_age_us": 41_000 },
            { "id": 102, "address": "10.0.0.8", "state": "absent", "sip_port": null, "heartbeat_age_us": null },
        ]);
        let overview = Overview::from_json(&status).unwrap_or_default();
        let table = overview.table();
        let wanted = "
FOREIGN  STATE    ADDRESS   SIP-PORT  LAST-HEARD
101      started  10.0.0.7  5060      41 ms
102      absent   10.0.0.8  -         -

last change: ";
        assert!(table.contains(wanted), "{table}");
        let told = serde_json::to_value(&overview).unwrap_or_default();
        let line = json!({ "id": 101, "address": "10.0.0.7", "state": "started", "sip_port": 5060, "heard_ms": 41 });
        assert_eq!(told["foreign"][0], line);
    }

    #[test]
    fn what_the_agent_tells_is_what_the_tool_reads() {
        let overview = Overview::from_json(&status());
        let told = serde_json::to_value(&overview).unwrap_or_default();
        assert_eq!(told["last_change"]["what"][0], json!({ "node": 2, "change": "left", "why": "silent" }));
        assert_eq!(serde_json::from_value::<Option<Overview>>(told).ok(), Some(overview));
    }

    #[test]
    fn no_load_manager_no_overview_and_no_change_no_line() {
        assert_eq!(Overview::from_json(&json!({ "state": "started", "level": 3 })), None);
        let new = json!({ "phase": "learning", "epoch": 0, "nodes": [], "last_change": null });
        let overview = Overview::from_json(&new).unwrap_or_default();
        assert!(overview.last_change.is_none() && !overview.table().contains("last change"));
    }

    #[test]
    fn changes_in_words() {
        let say = |change: Value| serde_json::from_value::<Change>(change).unwrap_or_default().in_words();
        assert_eq!(say(json!({ "node": 3, "change": "draining", "why": "operator" })), "cc-node 3 drains (operator)");
        assert_eq!(say(json!({ "node": 3, "change": "entered", "why": "started" })), "cc-node 3 entered (started)");
        assert!(say(json!({ "change": "learned" })).starts_with("the load manager took the placement over"));
    }

    #[test]
    fn calls_of_all_workers_and_times_for_people() {
        let workers = json!({ "workers": [{ "calls": 3, "calls_in_setup": 1 }, { "calls": 2, "calls_in_setup": 0 }] });
        assert_eq!((calls(&workers), calls(&json!({ "state": "started" }))), (Some(6), None));
        assert_eq!([0.04, 59.94, 61.0, 7325.0].map(duration), ["0.0 s", "59.9 s", "1 min", "2 h 2 min"]);
        assert_eq!([1.0, 0.4, 0.0].map(percent), ["100 %", "40 %", "0 %"]);
    }
}
