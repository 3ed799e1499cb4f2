//! The load manager's answer about a Call-ID, in words. Used by `siprack explain` (`io/operator`).

use crate::columns::{columns, printable};
use crate::overview::{duration, percent};
use serde_json::Value;

/// A table of what `GET /explain` of the load manager said: the slot's nodes in their order, who takes a new call, why,
/// and who would have taken it a short while ago.
pub fn in_words(call_id: &str, answer: &Value) -> String {
    let line = |name: &str, text: String| [name.to_string(), text];
    let list = answer["list"].as_array().map_or(&[][..], Vec::as_slice);
    let former = answer["former"].as_array().map_or(&[][..], Vec::as_slice);
    let mut rows = vec![
        line("Call-ID", printable(call_id)),
        line("slot", format!("{} of 65536, under epoch {}", answer["slot"], answer["epoch"])),
    ];
    if list.is_empty() {
        rows.push(line("owner", "nobody".into()));
    }
    rows.extend(list.iter().map(|node| line(&printable(node["role"].as_str().unwrap_or("-")), listed(node))));
    rows.push(line("acts now", node(&answer["acts"])));
    rows.push(line("because", printable(answer["reason"].as_str().unwrap_or("-"))));
    rows.extend(former.iter().map(|then| line("before", stood(then))));
    columns(&rows)
}

/// `cc-node 2, started`; and how much it takes, if that is not everything.
fn listed(answer: &Value) -> String {
    let state = printable(answer["state"].as_str().unwrap_or("-"));
    let whole = format!("{}, {state}", node(&answer["node"]));
    match answer["admit"].as_f64() {
        Some(admit) if admit < 1.0 && state != "out" => format!("{whole}, takes {} of its new calls", percent(admit)),
        _ => whole,
    }
}

fn stood(then: &Value) -> String {
    let age = duration(then["age_s"].as_f64().unwrap_or(0.0));
    format!("{}, under epoch {} until {age} ago: it may hold the call still", node(&then["taker"]), then["epoch"])
}

fn node(id: &Value) -> String {
    id.as_u64().map_or("nobody".into(), |id| format!("cc-node {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_call_id_is_explained_line_by_line() {
        let answer = json!({
            "slot": 4711, "epoch": 3, "acts": 3, "reason": "the owner is draining, so new calls go to the next node",
            "list": [
                { "node": 2, "role": "owner", "state": "draining", "admit": 1.0 },
                { "node": 3, "role": "primary", "state": "started", "admit": 0.4 },
                { "node": 1, "role": "secondary", "state": "out", "admit": 0.0 },
            ],
            "former": [{ "epoch": 2, "taker": 2, "age_s": 3.12 }],
        });
        let text = in_words("a\u{1b}[31m@host", &answer);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "Call-ID    a?[31m@host",
                "slot       4711 of 65536, under epoch 3",
                "owner      cc-node 2, draining",
                "primary    cc-node 3, started, takes 40 % of its new calls",
                "secondary  cc-node 1, out",
                "acts now   cc-node 3",
                "because    the owner is draining, so new calls go to the next node",
                "before     cc-node 2, under epoch 2 until 3.1 s ago: it may hold the call still",
            ]
        );
    }

    #[test]
    fn nobody_is_said_to_be_nobody() {
        let reason = "no node is started";
        let answer = json!({ "slot": 1, "epoch": 0, "list": [], "acts": null, "reason": reason, "former": [] });
        let text = in_words("x", &answer);
        assert!(text.contains("owner     nobody\nacts now  nobody\nbecause   no node is started\n"), "{text}");
    }
}
