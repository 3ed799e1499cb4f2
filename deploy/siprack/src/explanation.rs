//! The load manager's answer about a Call-ID, in words. Used by `siprack explain` (`io/operator`).

use crate::readiness::columns;
use serde_json::Value;

/// A table of what `GET /explain` of the load manager said: the slot's list of nodes (`list`, or `owner` and `backups`),
/// who acts (`acts` or `acting`), and why.
pub fn in_words(call_id: &str, answer: &Value) -> String {
    let list: Vec<u64> = match answer["list"].as_array() {
        Some(list) => list.iter().filter_map(Value::as_u64).collect(),
        None => {
            let backups = answer["backups"].as_array().into_iter().flatten();
            answer["owner"].as_u64().into_iter().chain(backups.filter_map(Value::as_u64)).collect()
        }
    };
    let acts = answer["acts"].as_u64().or(answer["acting"].as_u64());
    let node = |id: Option<u64>| id.map_or("nobody".to_string(), |id| format!("cc-node {id}"));
    let backups: Vec<String> = list.iter().skip(1).map(|id| format!("cc-node {id}")).collect();
    let printable = |text: &str| text.chars().map(|c| if c.is_control() { '?' } else { c }).collect::<String>();
    let reason = match answer["reason"].as_str() {
        Some(reason) => printable(reason),
        None => because(answer, acts, list.first().copied()).to_string(),
    };
    columns(&[
        ["Call-ID".to_string(), printable(call_id)],
        ["slot".to_string(), format!("{} of 65536, under epoch {}", answer["slot"], answer["epoch"])],
        ["owner".to_string(), node(list.first().copied())],
        ["backups".to_string(), if backups.is_empty() { "none".to_string() } else { backups.join(", ") }],
        ["acts now".to_string(), node(acts)],
        ["because".to_string(), reason],
    ])
}

fn because(answer: &Value, acts: Option<u64>, owner: Option<u64>) -> &'static str {
    if acts.is_none() {
        return "no node is started";
    }
    if answer["owner_draining"].as_bool().unwrap_or(false) {
        return "the owner is draining: new dialogs go to the slot's next node, the others stay";
    }
    if acts == owner { "it owns the slot" } else { "the owner is not there; this is the slot's next node" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_call_id_is_explained_line_by_line() {
        let answer = json!({ "slot": 4711, "epoch": 3, "owner": 2, "backups": [3, 1], "acting": 2 });
        let text = in_words("a\u{1b}[31m@host", &answer);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "Call-ID   a?[31m@host",
                "slot      4711 of 65536, under epoch 3",
                "owner     cc-node 2",
                "backups   cc-node 3, cc-node 1",
                "acts now  cc-node 2",
                "because   it owns the slot",
            ]
        );
        let other =
            in_words("x", &json!({ "slot": 1, "epoch": 0, "list": [], "acts": null, "reason": "nobody is there" }));
        assert!(other.contains("because   nobody is there") && other.contains("acts now  nobody"), "{other}");
    }
}
