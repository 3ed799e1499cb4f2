//! Which addresses of probed trunks serve, as the nodes know it: all of them know the same. `readiness` puts it into the
//! agent's report, `siprack status` shows it.

use crate::columns::{columns, printable};
use crate::overview::duration;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One of `trunks` in `siprack status --json`: an address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrunkHealth {
    pub trunk: String,
    pub address: String,
    pub up: bool,
    /// For so long, as far as is known.
    pub since_ms: u64,
    /// What the newest probe was answered; 0: it was not.
    pub code: u16,
    /// Of the newest answer.
    pub latency_ms: f64,
}

impl TrunkHealth {
    /// From a node's `/status`; none if it is not one.
    pub fn from_json(status: &Value) -> Option<Vec<TrunkHealth>> {
        let trunks = status.get("trunks")?.as_array()?;
        Some(trunks.iter().filter_map(|trunk| serde_json::from_value(trunk.clone()).ok()).collect())
    }

    fn row(&self) -> [String; 6] {
        let code = if self.code == 0 { "-".to_string() } else { self.code.to_string() };
        [
            printable(&self.trunk),
            printable(&self.address),
            if self.up { "up" } else { "down" }.to_string(),
            duration(self.since_ms as f64 / 1000.0),
            code,
            format!("{:.1} ms", self.latency_ms),
        ]
    }
}

/// For people; nothing if no trunk is probed.
pub fn table(trunks: &[TrunkHealth]) -> String {
    if trunks.is_empty() {
        return String::new();
    }
    let mut rows = vec![["TRUNK", "ADDRESS", "STATE", "SINCE", "CODE", "LATENCY"].map(String::from)];
    rows.extend(trunks.iter().map(TrunkHealth::row));
    format!("\n{}", columns(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_are_a_table_as_a_node_tells_them() {
        let status = json!({ "trunks": [
            { "trunk": "carrier", "address": "192.0.2.10:5060", "up": true, "since_ms": 61_000, "code": 404, "latency_ms": 12.34 },
            { "trunk": "carrier", "address": "192.0.2.11:5060", "up": false, "since_ms": 2_500, "code": 0, "latency_ms": 0.0 },
        ]});
        let trunks = TrunkHealth::from_json(&status).unwrap_or_default();
        let wanted = "
TRUNK    ADDRESS          STATE  SINCE  CODE  LATENCY
carrier  192.0.2.10:5060  up     1 min  404   12.3 ms
carrier  192.0.2.11:5060  down   2.5 s  -     0.0 ms
";
        assert_eq!(table(&trunks), wanted);
        assert_eq!(serde_json::to_value(&trunks).unwrap_or_default(), status["trunks"]);
        assert_eq!((TrunkHealth::from_json(&json!({ "state": "started" })), table(&[])), (None, String::new()));
    }
}
