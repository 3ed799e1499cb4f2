//! Draining a node: which one is meant, when it is empty, what the operator is told. Pure; `io/drain` asks and orders.

use crate::overview;
use common::time::{Duration, Time};
use serde_json::Value;

/// A node that is restarted meanwhile answers again within this.
const SILENT: Duration = Duration::from_secs(5);
/// What was on its way to the node when the first empty answer was made shows in the next.
const EMPTY_ANSWERS: u32 = 2;

/// The id of `2`, `cc-node-2` or `cc-node 2`.
pub fn node_named(text: &str, known: &[u16]) -> Result<u16, String> {
    let number = text.strip_prefix("cc-node").map_or(text, |rest| rest.trim_start_matches(['-', ' ']));
    if let Some(id) = number.parse::<u16>().ok().filter(|id| known.contains(id)) {
        return Ok(id);
    }
    let known: Vec<String> = known.iter().map(u16::to_string).collect();
    Err(match known.is_empty() {
        true => format!("there is no node `{text}`: the rack has no cc-nodes"),
        false => format!("there is no node `{text}`; the rack's cc-nodes are {}", known.join(", ")),
    })
}

/// What a node's `/status` says of its draining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holds {
    /// Those in setup included.
    pub calls: u64,
    /// The operator wants it drained.
    pub draining: bool,
    /// The load manager gives it new calls still, as far as it knows.
    pub gets_new_calls: bool,
}

impl Holds {
    /// None if that is not a node's status.
    pub fn from_json(status: &Value) -> Option<Holds> {
        Some(Holds {
            calls: overview::calls(status)?,
            draining: status["draining"].as_bool()?,
            gets_new_calls: status["gets_new_calls"].as_bool()?,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Wait,
    Empty,
    /// Somebody wants new calls on it again.
    Undrained,
    /// It has not answered for too long.
    Silent,
}

/// Waits until a node holds no calls any more.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Answers in a row that told of no calls.
    empty: u32,
    silent_since: Option<Time>,
}

impl Waiting {
    /// `holds`: what the node has answered, if it has.
    pub fn hears(&mut self, now: Time, holds: Option<Holds>) -> Verdict {
        let Some(holds) = holds else {
            self.empty = 0;
            let since = *self.silent_since.get_or_insert(now);
            return if now.since(since) < SILENT { Verdict::Wait } else { Verdict::Silent };
        };
        self.silent_since = None;
        if !holds.draining {
            return Verdict::Undrained;
        }
        self.empty = if holds.calls == 0 && !holds.gets_new_calls { self.empty + 1 } else { 0 };
        if self.empty < EMPTY_ANSWERS { Verdict::Wait } else { Verdict::Empty }
    }
}

/// Whether another node takes new calls. `agent`: what the agent's status says; where it says nothing of nodes, one does.
pub fn others_take(agent: &Value, id: u16) -> bool {
    let Some(nodes) = agent["rack"]["nodes"].as_array() else { return true };
    nodes.iter().any(|node| node["id"] != id && node["state"] == "started")
}

/// What happens now. `others`: see [`others_take`].
pub fn begun(id: u16, calls: u64, others: bool) -> String {
    let goes = match others {
        true => format!("cc-node {id} is draining: new calls go to the others"),
        false => format!(
            "cc-node {id} is draining, and no other node takes new calls: while all are up they are refused with 503"
        ),
    };
    match calls {
        0 => format!("{goes}, it holds no calls"),
        1 => format!("{goes}, 1 call stays until it ends"),
        calls => format!("{goes}, {calls} calls stay until they end"),
    }
}

/// While it is waited for.
pub fn left(id: u16, calls: u64) -> String {
    format!("cc-node {id}: {calls} call{} left", if calls == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_is_named_by_its_id_or_its_name() {
        for text in ["2", "cc-node-2", "cc-node 2"] {
            assert_eq!(node_named(text, &[1, 2, 3]), Ok(2), "{text}");
        }
        for text in ["7", "", "node-2", "lm-server-1", "cc-node-", "99999"] {
            let refusal = node_named(text, &[1, 2, 3]).err().unwrap_or_default();
            assert_eq!(refusal, format!("there is no node `{text}`; the rack's cc-nodes are 1, 2, 3"));
        }
        assert!(node_named("1", &[]).is_err_and(|refusal| refusal.contains("no cc-nodes")));
    }

    fn holds(calls: u64, gets_new_calls: bool) -> Option<Holds> {
        Some(Holds { calls, draining: true, gets_new_calls })
    }

    fn s(n: u64) -> Time {
        Time(n * 1_000_000)
    }

    #[test]
    fn a_node_is_empty_when_it_says_so_twice_and_gets_nothing_new() {
        let mut waiting = Waiting::default();
        let mut hears = |holds| waiting.hears(s(1), holds);
        assert_eq!(hears(holds(0, true)), Verdict::Wait, "the load manager has not heard of it yet");
        assert_eq!(hears(holds(0, true)), Verdict::Wait);
        assert_eq!(hears(holds(0, false)), Verdict::Wait);
        assert_eq!(hears(holds(1, false)), Verdict::Wait, "an INVITE was on its way");
        assert_eq!(hears(holds(0, false)), Verdict::Wait);
        assert_eq!(hears(holds(0, false)), Verdict::Empty);
    }

    #[test]
    fn silence_of_a_moment_is_borne_and_an_undrained_node_is_not_waited_for() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.hears(s(1), None), Verdict::Wait);
        assert_eq!(waiting.hears(s(5), None), Verdict::Wait);
        assert_eq!(waiting.hears(s(6), holds(3, false)), Verdict::Wait);
        assert_eq!(waiting.hears(s(8), None), Verdict::Wait);
        assert_eq!(waiting.hears(s(13), None), Verdict::Silent);
        let undrained = holds(3, true).map(|holds| Holds { draining: false, ..holds });
        assert_eq!(waiting.hears(s(14), undrained), Verdict::Undrained);
    }

    #[test]
    fn a_nodes_status_is_read() {
        let workers = json!([{ "calls": 3, "calls_in_setup": 1 }]);
        let status = json!({ "draining": true, "gets_new_calls": false, "workers": workers });
        assert_eq!(Holds::from_json(&status), holds(4, false));
        assert_eq!(Holds::from_json(&json!("not found")), None);
    }

    #[test]
    fn what_happens_is_said() {
        let two = json!({ "id": 2, "state": "started" });
        let agent = |state: &str| json!({ "rack": { "nodes": [{ "id": 1, "state": state }, two] } });
        assert!(others_take(&agent("started"), 2) && !others_take(&agent("draining"), 2));
        assert!(others_take(&json!({ "ready": true, "rack": null }), 2));
        assert_eq!(begun(2, 5, true), "cc-node 2 is draining: new calls go to the others, 5 calls stay until they end");
        assert!(begun(2, 1, true).ends_with("1 call stays until it ends") && begun(2, 0, true).ends_with("no calls"));
        assert!(begun(2, 5, false).contains("refused with 503"));
        assert_eq!((left(2, 1).as_str(), left(2, 0).as_str()), ("cc-node 2: 1 call left", "cc-node 2: 0 calls left"));
    }
}
