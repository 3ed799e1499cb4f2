//! Imports run one way: `common` ← servers ← `deploy/siprack`, `tests`, `benches`. Inside a crate, `lib.rs` states the
//! order: a module may use those above it.

use super::sources::{all, report, root};
use std::fs;

/// Crate folder → workspace crates that it must not know.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("common", &["lm_server", "cc_node", "location_server", "siprack", "simulated_rack"]),
    ("lm-server", &["cc_node", "location_server", "siprack", "simulated_rack"]),
    ("cc-node", &["lm_server", "location_server", "siprack", "simulated_rack"]),
    ("location-server", &["lm_server", "cc_node", "siprack", "simulated_rack"]),
    ("deploy", &["simulated_rack"]),
];

#[test]
fn imports_run_one_way_between_crates() {
    let mut findings = Vec::new();
    for source in all() {
        let Some((_, forbidden)) = FORBIDDEN.iter().find(|(folder, _)| source.path.starts_with(&format!("{folder}/")))
        else {
            continue;
        };
        for (number, line) in source.text.lines().enumerate() {
            let code = line.trim_start();
            if forbidden
                .iter()
                .any(|name| code.starts_with(&format!("use {name}::")) || code.contains(&format!(" {name}::")))
            {
                findings.push(format!("{}:{}: {code}", source.path, number + 1));
            }
        }
    }
    report("common ← servers ← siprack, tests, benches:", findings);
}

#[test]
fn imports_run_upwards_inside_a_crate() {
    let mut findings = Vec::new();
    for folder in ["common/src", "lm-server/src", "cc-node/src", "location-server/src"] {
        let map = fs::read_to_string(root().join(folder).join("lib.rs")).expect("every crate has a lib.rs");
        let order: Vec<&str> = map.lines().filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
        for source in all().iter().filter(|s| s.path.starts_with(&format!("{folder}/")) && !s.is_test()) {
            let module = source.path[folder.len() + 1..].split(['/', '.']).next().unwrap_or_default();
            let Some(own) = order.iter().position(|m| *m == module) else { continue };
            for (number, line) in source.production() {
                let Some(used) =
                    line.trim_start().strip_prefix("use crate::").and_then(|u| u.split([':', ';', ' ', '{']).next())
                else {
                    continue;
                };
                if order.iter().position(|m| *m == used).is_some_and(|at| at > own) {
                    findings.push(format!("{}:{number}: {module} stands above {used} in lib.rs", source.path));
                }
            }
        }
    }
    report("a module uses only those above it in lib.rs:", findings);
}
