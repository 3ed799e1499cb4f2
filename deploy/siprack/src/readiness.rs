//! From what the services say of themselves to one answer: is the rack ready, and if not, what is missing. The agent
//! fills a [`Board`]; `siprack status` shows its [`Report`].

use crate::columns::columns;
use crate::overview::{self, Overview};
use crate::protection::{OfNode, Protection};
use crate::services::{Kind, Service};
use crate::trunk_health::{self, TrunkHealth};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a service's `/status` said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    pub state: String,
    pub level: Option<u64>,
    /// Record sum, 32 hex digits.
    pub checksum: Option<String>,
    pub history: Option<String>,
    /// Load manager only: id and state of each node.
    pub nodes: Vec<(u64, String)>,
    /// Load manager only.
    pub overview: Option<Overview>,
    /// Load manager only: what is left if one node dies.
    pub headroom: Option<f64>,
    /// Node only: calls that it holds, and how they are protected.
    pub calls: Option<u64>,
    pub protection: Option<OfNode>,
    /// Node only: addresses of trunks that are probed.
    pub trunks: Option<Vec<TrunkHealth>>,
}

impl Seen {
    /// Unknown members are left alone; missing ones stay empty.
    pub fn from_json(status: &Value) -> Seen {
        let text = |key: &str| match status.get(key) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let node = |node: &Value| Some((node.get("id")?.as_u64()?, node.get("state")?.as_str()?.to_string()));
        let nodes = status.get("nodes").and_then(Value::as_array);
        // A load manager names its phase; when it acts, it is started.
        let phase =
            status.get("phase").and_then(Value::as_str).map(|p| if p == "acting" { "started" } else { "starting" });
        Seen {
            state: text("state").or_else(|| phase.map(str::to_string)).unwrap_or_default(),
            level: status.get("level").and_then(Value::as_u64),
            checksum: text("checksum"),
            history: text("history"),
            nodes: nodes.map(|list| list.iter().filter_map(node).collect()).unwrap_or_default(),
            overview: Overview::from_json(status),
            headroom: status.get("n_minus_1_headroom").and_then(Value::as_f64),
            calls: overview::calls(status),
            protection: OfNode::from_json(status),
            trunks: TrunkHealth::from_json(status),
        }
    }
}

/// One service as the agent knows it.
#[derive(Clone, Debug)]
pub struct Watched {
    pub service: Service,
    pub pid: Option<u32>,
    pub boot: u64,
    /// Starts after the first.
    pub restarts: u32,
    /// `None` until this process has answered.
    pub seen: Option<Seen>,
    /// Why it is not running or not answering.
    pub trouble: String,
}

/// Everything the agent knows.
#[derive(Clone, Debug, Default)]
pub struct Board {
    pub services: Vec<Watched>,
    /// All nodes of the rack, those of other machines included.
    pub nodes: Vec<u64>,
    /// Level of the location server one round earlier: what a node must have reached by now.
    pub level_before: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub ready: bool,
    pub services: Vec<Row>,
    /// What keeps it from being ready.
    #[serde(default)]
    pub missing: Vec<String>,
    /// None while no load manager of this machine answers.
    #[serde(default)]
    pub rack: Option<Overview>,
    /// None while no node of this machine answers.
    #[serde(default)]
    pub protection: Option<Protection>,
    /// Addresses of trunks that are probed, as far as a node of this machine knows.
    #[serde(default)]
    pub trunks: Vec<TrunkHealth>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub kind: String,
    pub id: u16,
    pub pid: Option<u32>,
    /// `stopped` (no process), `starting` (it does not answer yet), or what it says of itself.
    pub state: String,
    pub admin: String,
    pub level: Option<u64>,
    pub checksum: Option<String>,
    pub boot: u64,
    pub restarts: u32,
}

impl Board {
    pub fn report(&self) -> Report {
        let missing = self.missing();
        let services = self.services.iter().map(row).collect();
        let (rack, protection) = (self.rack(), self.protection());
        let mut seen = self.services.iter().filter_map(|watched| watched.seen.as_ref());
        let trunks = seen.find_map(|seen| seen.trunks.clone()).unwrap_or_default();
        Report { ready: missing.is_empty(), services, missing, rack, protection, trunks }
    }

    /// What the nodes of this machine say of their calls.
    fn protection(&self) -> Option<Protection> {
        let seen =
            |kind: Kind| self.services.iter().filter(move |w| w.service.kind == kind).filter_map(|w| w.seen.as_ref());
        let heard: Vec<OfNode> = seen(Kind::CcNode).filter_map(|seen| seen.protection).collect();
        let headroom = seen(Kind::LmServer).find_map(|seen| seen.headroom);
        (!heard.is_empty()).then(|| Protection::of(&heard, self.nodes.len() as u64, headroom))
    }

    /// What the load manager says, with what the nodes of this machine say of their calls.
    fn rack(&self) -> Option<Overview> {
        let of = |kind: Kind| self.services.iter().filter(move |w| w.service.kind == kind);
        let mut rack = of(Kind::LmServer).find_map(|w| w.seen.as_ref()?.overview.clone())?;
        for node in &mut rack.nodes {
            let watched = of(Kind::CcNode).find(|w| u64::from(w.service.id) == node.id);
            node.calls = watched.and_then(|w| w.seen.as_ref()?.calls);
        }
        Some(rack)
    }

    fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for watched in &self.services {
            if let Some(why) = not_started(watched).or_else(|| self.behind(watched)) {
                missing.push(format!("{}: {why}", watched.service.name));
            }
        }
        missing
    }

    /// What a started service still lacks.
    fn behind(&self, watched: &Watched) -> Option<String> {
        let seen = watched.seen.as_ref()?;
        match watched.service.kind {
            Kind::LocationServer => None,
            Kind::LmServer => {
                let state =
                    |id: &u64| seen.nodes.iter().find(|(node, _)| node == id).map_or("unknown", |(_, state)| state);
                let not: Vec<String> = self
                    .nodes
                    .iter()
                    .filter(|id| !serves(state(id)))
                    .map(|id| format!("cc-node {id} is {}", state(id)))
                    .collect();
                if !not.is_empty() {
                    return Some(format!("for it {}", not.join(", ")));
                }
                let takes = self.nodes.is_empty() || self.nodes.iter().any(|id| state(id) == "started");
                (!takes).then(|| "no cc-node takes new calls: undrain one".to_string())
            }
            Kind::CcNode => self.replica_behind(seen),
        }
    }

    fn replica_behind(&self, node: &Seen) -> Option<String> {
        // Without a location server on this machine there is nothing to compare with.
        let server = self.services.iter().find(|w| w.service.kind == Kind::LocationServer)?;
        let (Some(server), Some(before)) = (&server.seen, self.level_before) else {
            return Some("waits for the location server".into());
        };
        let level = node.level.unwrap_or(0);
        if node.history.is_some() && server.history.is_some() && node.history != server.history {
            return Some("its replica is of another log; it will reload".into());
        }
        if level < before {
            return Some(format!("its replica is at level {level}, the location server at {before}"));
        }
        if node.level == server.level && node.checksum != server.checksum {
            return Some(format!("at level {level} its replica differs from the location server's records"));
        }
        None
    }
}

/// Whether this state is one to be content with: a node that is drained is so on purpose.
fn serves(state: &str) -> bool {
    matches!(state, "started" | "draining")
}

fn not_started(watched: &Watched) -> Option<String> {
    let because = |what: &str| match watched.trouble.as_str() {
        "" => what.to_string(),
        trouble => format!("{what} ({trouble})"),
    };
    match (&watched.pid, &watched.seen) {
        (None, _) => Some(because("no process runs")),
        (Some(pid), None) => {
            Some(because(&format!("process {pid} does not answer on its admin port {}", watched.service.admin)))
        }
        (Some(_), Some(seen)) if serves(&seen.state) => None,
        (Some(_), Some(seen)) => Some(because(&format!("it is {}", seen.state))),
    }
}

fn row(watched: &Watched) -> Row {
    let seen = watched.seen.clone().unwrap_or_default();
    let state = match (&watched.pid, &watched.seen) {
        (None, _) => "stopped".to_string(),
        (Some(_), None) => "starting".to_string(),
        (Some(_), Some(seen)) => seen.state.clone(),
    };
    Row {
        name: watched.service.name.clone(),
        kind: watched.service.kind.as_str().to_string(),
        id: watched.service.id,
        pid: watched.pid,
        state,
        admin: watched.service.admin.to_string(),
        level: seen.level,
        checksum: seen.checksum,
        boot: watched.boot,
        restarts: watched.restarts,
    }
}

impl Report {
    /// For people.
    pub fn table(&self) -> String {
        let head = ["SERVICE", "STATE", "PID", "LEVEL", "CHECKSUM", "RESTARTS", "ADMIN"].map(String::from);
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        let mut rows = vec![head];
        rows.extend(self.services.iter().map(|r| {
            [
                r.name.clone(),
                r.state.clone(),
                or_dash(r.pid.map(|p| p.to_string())),
                or_dash(r.level.map(|l| l.to_string())),
                or_dash(r.checksum.as_ref().map(|c| c.chars().take(12).collect())),
                r.restarts.to_string(),
                format!("http://{}", r.admin),
            ]
        }));
        let mut text = columns(&rows);
        if let Some(rack) = &self.rack {
            text.push_str(&format!("\n{}", rack.table()));
        }
        if let Some(protection) = &self.protection {
            text.push_str(&format!("\n{}", protection.lines()));
        }
        text.push_str(&trunk_health::table(&self.trunks));
        text.push_str(if self.ready { "\nready\n" } else { "\nnot ready:\n" });
        for line in &self.missing {
            text.push_str(&format!("  {line}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::of_this_machine;
    use common::config::Rack;
    use serde_json::json;

    /// A demo rack with two nodes in which everything is as it should be.
    fn board() -> Board {
        let sum = "0123456789abcdef0123456789abcdef";
        let services = of_this_machine(&Rack::one_machine_default(2).expand(), |_| true);
        let watched = |service: Service| {
            let status = match service.kind {
                Kind::LmServer => {
                    let nodes = json!([{"id": 1, "state": "started"}, {"id": 2, "state": "started"}]);
                    let all = json!({"state": "started", "phase": "acting", "epoch": 12, "policy": "rendezvous"});
                    let mut all = all.as_object().cloned().unwrap_or_default();
                    all.extend([("nodes".into(), nodes), ("n_minus_1_headroom".into(), json!(0.5))]);
                    Value::Object(all)
                }
                Kind::CcNode => {
                    let workers = json!([{"calls": 2, "calls_in_setup": 1}]);
                    let shadows = json!({"copies": [0, 0, 3]});
                    json!({"state": "started", "level": 20, "checksum": sum, "history": "7", "workers": workers, "shadows": shadows})
                }
                Kind::LocationServer => {
                    json!({"state": "started", "level": 20, "checksum": sum, "history": "7", "more": [1]})
                }
            };
            Watched {
                service,
                pid: Some(7),
                boot: 1,
                restarts: 0,
                seen: Some(Seen::from_json(&status)),
                trouble: String::new(),
            }
        };
        Board { services: services.into_iter().map(watched).collect(), nodes: vec![1, 2], level_before: Some(20) }
    }

    #[test]
    fn ready_when_all_are_started_and_level() {
        let report = board().report();
        assert!(report.ready, "{:?}", report.missing);
        let json = serde_json::to_value(&report).unwrap_or_default();
        assert_eq!(json["services"][0]["kind"], "location-server");
        assert_eq!(json["services"][2]["level"], 20);
        assert_eq!(json["services"][1]["level"], Value::Null);
    }

    #[test]
    fn the_rack_stands_beside_the_services() {
        let mut board = board();
        let report = board.report();
        let rack = report.rack.clone().expect("the load manager answers");
        assert_eq!((rack.epoch, rack.nodes.len(), rack.nodes[1].calls), (12, 2, Some(3)));
        let table = report.table();
        let at = |part: &str| table.find(part).unwrap_or_else(|| panic!("{part} is not in:\n{table}"));
        assert!(at("SERVICE") < at("epoch 12, placement rendezvous, acting") && at("LAST-HEARD") < at("\nready\n"));
        board.services[1].seen = None;
        assert_eq!(board.report().rack, None);
    }

    #[test]
    fn what_a_death_would_cost_stands_below() {
        let mut board = board();
        let report = board.report();
        let protection = report.protection.clone().unwrap_or_default();
        assert_eq!((protection.two_copies, protection.would_lose, protection.headroom), (6, 0, Some(0.5)));
        assert!(report.table().contains("\nif a node died now: 0 calls would be lost, and the others would have 50 %"));
        for node in &mut board.services[2..] {
            node.seen = None;
        }
        assert_eq!(board.report().protection, None);
    }

    #[test]
    fn probed_trunks_stand_below_if_there_are_any() {
        let mut board = board();
        assert!(!board.report().table().contains("TRUNK"));
        let carrier = TrunkHealth { trunk: "carrier".into(), ..TrunkHealth::default() };
        board.services[3].seen.as_mut().expect("seen").trunks = Some(vec![carrier.clone()]);
        let report = board.report();
        assert_eq!(report.trunks, [carrier]);
        assert!(report.table().contains("\ncarrier "), "{}", report.table());
    }

    #[test]
    fn a_drained_node_keeps_nobody_from_being_ready() {
        let mut board = board();
        board.services[1].seen.as_mut().expect("seen").nodes[1].1 = "draining".into();
        board.services[3].seen.as_mut().expect("seen").state = "draining".into();
        let report = board.report();
        assert!(report.ready, "{:?}", report.missing);
        assert_eq!(report.services[3].state, "draining");
    }

    #[test]
    fn a_foreign_node_keeps_nobody_from_being_ready() {
        let mut board = board();
        let nodes = json!([{"id": 1, "state": "started"}, {"id": 2, "state": "started"}]);
        let foreign = json!([{"id": 101, "address": "10.0.0.7", "state": "down"}]);
        let status = json!({"state": "started", "phase": "acting", "epoch": 12, "nodes": nodes, "foreign": foreign});
        board.services[1].seen = Some(Seen::from_json(&status));
        let report = board.report();
        assert!(report.ready, "{:?}", report.missing);
        assert!(report.table().contains("\n101      down"), "{}", report.table());
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut board = board();
        board.services[1].seen.as_mut().expect("seen").nodes[1].1 = "down".into();
        board.services[2].seen.as_mut().expect("seen").level = Some(12);
        board.services[3].seen.as_mut().expect("seen").checksum = Some("00".into());
        assert_eq!(
            board.report().missing,
            [
                "lm-server-1: for it cc-node 2 is down",
                "cc-node-1: its replica is at level 12, the location server at 20",
                "cc-node-2: at level 20 its replica differs from the location server's records",
            ]
        );
    }

    #[test]
    fn a_dead_location_server_makes_it_not_ready() {
        let mut board = board();
        board.services[0].pid = None;
        board.services[0].seen = None;
        board.services[0].trouble = "killed by signal 9".into();
        let missing = board.report().missing;
        assert_eq!(missing[0], "location-server-1: no process runs (killed by signal 9)");
        assert_eq!(missing[1], "cc-node-1: waits for the location server");
    }
}
