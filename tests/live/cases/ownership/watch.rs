//! What load manager and nodes say on their admin ports of who is live: looked at every 2 ms while something befalls one.

use crate::metrics::client;
use serde_json::Value;
use std::thread::sleep;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(5);

/// What load manager and nodes say of themselves.
#[derive(Clone)]
pub struct Watch {
    http: ureq::Agent,
    load_manager: String,
    nodes: Vec<String>,
}

impl Watch {
    /// By the admin ports of the load manager and of node 1, 2, …
    pub fn new(load_manager: String, nodes: Vec<String>) -> Watch {
        Watch { http: client(Duration::from_secs(2)), load_manager, nodes }
    }

    pub fn status(&self, admin: &str) -> Result<Value, String> {
        let url = format!("http://{admin}/status");
        let mut answer = self.http.get(url.as_str()).call().map_err(|e| format!("{url}: {e}"))?;
        answer.body_mut().read_json::<Value>().map_err(|e| format!("{url}: {e}"))
    }

    pub fn order(&self, node: u16, word: &str) -> Result<(), String> {
        let url = format!("http://{}/{word}", self.admin(node)?);
        self.http.post(url.as_str()).send_empty().map(drop).map_err(|e| format!("POST {url}: {e}"))
    }

    /// The load manager's epoch, and its line for this node.
    pub fn table(&self, node: u16) -> Result<(u64, Value), String> {
        let status = self.status(&self.load_manager)?;
        let epoch = status["epoch"].as_u64().ok_or(format!("it names no epoch: {status}"))?;
        let line = status["nodes"].as_array().into_iter().flatten().find(|line| line["id"] == node);
        let line = line.ok_or(format!("it does not know node {node}: {status}"))?;
        Ok((epoch, line.clone()))
    }

    /// The load manager's epoch, and who is in the placement in which incarnation and state.
    pub fn placement(&self) -> Result<(u64, Vec<String>), String> {
        let status = self.status(&self.load_manager)?;
        let epoch = status["epoch"].as_u64().ok_or(format!("it names no epoch: {status}"))?;
        let line = |line: &Value| {
            let placed = if line["placed"] == true { "placed" } else { "not placed" };
            format!("node {} (boot {}) {}, {placed}", line["id"], line["boot"], line["state"])
        };
        Ok((epoch, status["nodes"].as_array().into_iter().flatten().map(line).collect()))
    }

    /// Waits until every node takes calls.
    pub fn all_started(&self) -> Result<(), String> {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let status = self.status(&self.load_manager)?;
            let nodes = status["nodes"].as_array().into_iter().flatten();
            let started = nodes.filter(|line| line["placed"] == true && line["state"] == "started").count();
            let all = self.nodes.len();
            if started == all {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("only {started} of {all} nodes are started after 20 s: {}", status["nodes"]));
            }
            sleep(POLL);
        }
    }

    /// When the incarnation `boot` of this node is out of the table (or draining in it), and when every other node
    /// stands under that table or a newer one.
    pub fn switch(&self, is_drained: bool, node: u16, boot: &Value) -> Result<(Instant, Instant), String> {
        let end = Instant::now() + PATIENCE;
        let epoch = loop {
            let (epoch, line) = self.table(node)?;
            let is_out = line["placed"] != true || line["boot"] != *boot;
            let is_done = if is_drained { line["state"] == "draining" } else { is_out };
            if is_done {
                break epoch;
            }
            if Instant::now() > end {
                return Err(format!("the load manager has not noticed within {PATIENCE:?}: {line}"));
            }
            sleep(POLL);
        };
        let out = Instant::now();
        let mut behind: Vec<u16> = (1..=self.nodes.len() as u16).filter(|other| *other != node).collect();
        loop {
            behind.retain(|other| self.epoch(*other).is_none_or(|stands| stands < epoch));
            if behind.is_empty() {
                return Ok((out, Instant::now()));
            }
            if Instant::now() > end {
                return Err(format!("nodes {behind:?} have not adopted epoch {epoch} within {PATIENCE:?}"));
            }
            sleep(POLL);
        }
    }

    /// What this node has adopted.
    fn epoch(&self, node: u16) -> Option<u64> {
        self.status(&self.admin(node).ok()?).ok()?["epoch"].as_u64()
    }

    fn admin(&self, node: u16) -> Result<String, String> {
        let admin = usize::from(node).checked_sub(1).and_then(|place| self.nodes.get(place));
        admin.cloned().ok_or(format!("there is no node {node}"))
    }
}
