//! Metrics in step with `deploy/`: what the code names stands in the table for operators, and the other way round.

use super::sources::{all, report, root};
use std::collections::BTreeSet;
use std::fs;

#[test]
fn every_metric_stands_in_the_table_and_every_row_is_a_metric() {
    let mut named = BTreeSet::new();
    for source in all().iter().filter(|s| !s.path.starts_with("tests/") && !s.path.starts_with("benches/")) {
        for (_, line) in source.production() {
            named.extend(quoted(line));
        }
    }
    assert!(named.len() > 15, "only {} metrics were found in the code", named.len());
    let path = root().join("deploy/prometheus/README.md");
    let table = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let rows: BTreeSet<String> =
        table.lines().filter_map(|l| l.strip_prefix("| `")?.split(['`', '{']).next().map(str::to_string)).collect();
    let missing = named.difference(&rows).map(|name| format!("not in the table: {name}"));
    let stale = rows.difference(&named).map(|name| format!("not in the code: {name}"));
    report("deploy/prometheus/README.md lists every metric:", missing.chain(stale).collect());
}

/// String literals that are a metric's whole name.
fn quoted(line: &str) -> Vec<String> {
    let literals = line.split('"').skip(1).step_by(2);
    let is_metric = |l: &&str| {
        l.starts_with("siprack_") && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    literals.filter(is_metric).map(str::to_string).collect()
}
