//! How well the rack's calls are protected against the death of a node: what its nodes and its load manager say, added up.
//! `readiness` puts it into the agent's report, `siprack status` shows it.

use crate::overview::percent;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `protection` in `siprack status --json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Protection {
    /// Calls that two live backups hold whole, that one does, and that none does.
    pub two_copies: u64,
    pub one_copy: u64,
    pub no_copy: u64,
    /// The most calls that the death of one node would cost now. Should be 0.
    pub would_lose: u64,
    /// How far backups are behind: messages that wait for one, and backups that do not answer in time.
    pub waiting: u64,
    pub slow_backups: u64,
    /// What a node would have left at least if another died, as a share of what it can do: below 0 it would be overloaded.
    /// None: nobody would be left, or the load manager is silent.
    #[serde(default)]
    pub headroom: Option<f64>,
    /// Nodes of the rack that tell of their calls, and all of them.
    pub nodes_heard: u64,
    pub nodes: u64,
}

/// Of one node's calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfNode {
    /// Calls that no live backup holds whole, that one does, and that two do.
    pub copies: [u64; 3],
    pub waiting: u64,
    pub slow_backups: u64,
}

impl OfNode {
    /// From a node's `/status`; none if it says nothing of shadows.
    pub fn from_json(status: &Value) -> Option<OfNode> {
        let shadows = &status["shadows"];
        let copies = |n: usize| shadows["copies"][n].as_u64();
        Some(OfNode {
            copies: [copies(0)?, copies(1)?, copies(2)?],
            waiting: shadows["waiting"].as_u64().unwrap_or(0),
            slow_backups: shadows["slow_backups"].as_u64().unwrap_or(0),
        })
    }
}

impl Protection {
    /// `nodes`: how many the rack has.
    pub fn of(heard: &[OfNode], nodes: u64, headroom: Option<f64>) -> Protection {
        let sum = |of: fn(&OfNode) -> u64| heard.iter().map(of).sum();
        Protection {
            two_copies: sum(|node| node.copies[2]),
            one_copy: sum(|node| node.copies[1]),
            no_copy: sum(|node| node.copies[0]),
            would_lose: heard.iter().map(|node| node.copies[0]).max().unwrap_or(0),
            waiting: sum(|node| node.waiting),
            slow_backups: sum(|node| node.slow_backups),
            headroom,
            nodes_heard: heard.len() as u64,
            nodes,
        }
    }

    /// For people.
    pub fn lines(&self) -> String {
        let mut text = format!(
            "protected calls: {} by 2 copies, {} by 1, {} by none; messages that wait for a backup: {}",
            self.two_copies, self.one_copy, self.no_copy, self.waiting
        );
        if self.slow_backups > 0 {
            text.push_str(&format!("; backups that do not answer in time: {}", self.slow_backups));
        }
        let spare = match self.headroom {
            Some(spare) if spare < 0.0 => format!(", and another would be overloaded by {}", percent(-spare)),
            Some(spare) => format!(", and the others would have {} left at least", percent(spare)),
            None => String::new(),
        };
        text.push_str(&format!("\nif a node died now: {} calls would be lost{spare}\n", self.would_lose));
        if self.nodes_heard < self.nodes {
            text.push_str(&format!("(of {} of {} cc-nodes; the others do not say)\n", self.nodes_heard, self.nodes));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(copies: [u64; 3]) -> OfNode {
        OfNode { copies, waiting: 2, slow_backups: 0 }
    }

    #[test]
    fn the_worst_death_is_told_not_their_sum() {
        let told = Protection::of(&[node([0, 1, 5]), node([3, 0, 4]), node([2, 0, 0])], 3, Some(0.617));
        assert_eq!((told.two_copies, told.one_copy, told.no_copy, told.would_lose, told.waiting), (9, 1, 5, 3, 6));
        assert_eq!(
            told.lines(),
            "protected calls: 9 by 2 copies, 1 by 1, 5 by none; messages that wait for a backup: 6\n\
             if a node died now: 3 calls would be lost, and the others would have 61 % left at least\n"
        );
    }

    #[test]
    fn an_overload_to_come_silence_and_slow_backups_are_said() {
        let slow = OfNode { slow_backups: 1, ..OfNode::default() };
        let lines = Protection::of(&[slow], 3, Some(-0.25)).lines();
        assert!(lines.contains("do not answer in time: 1\n") && lines.contains("overloaded by 25 %"), "{lines}");
        assert!(lines.ends_with("(of 1 of 3 cc-nodes; the others do not say)\n"), "{lines}");
        assert!(Protection::of(&[], 0, None).lines().ends_with("0 calls would be lost\n"));
    }

    #[test]
    fn a_nodes_status_is_read() {
        let status = json!({ "shadows": { "copies": [1, 2, 3], "waiting": 4, "slow_backups": 5, "more": 6 } });
        let read = OfNode { copies: [1, 2, 3], waiting: 4, slow_backups: 5 };
        assert_eq!(OfNode::from_json(&status), Some(read));
        assert_eq!(OfNode::from_json(&json!({ "state": "started" })), None);
    }
}
