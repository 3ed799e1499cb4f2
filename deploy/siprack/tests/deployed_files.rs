//! The files in deploy/ are in step with the code: rack files load, schema and reference name every key.

use common::config::{Auth, Provisioning, Rack};
use std::fs;
use std::path::{Path, PathBuf};

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("deploy/").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(deploy(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn rack(name: &str) -> Rack {
    Rack::from_yaml(name, &read(name)).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn the_demo_file_is_the_built_in_rack() {
    assert!(
        rack("config/siprack.yaml") == Rack::one_machine_default(3),
        "config/siprack.yaml differs from the demo rack"
    );
}

#[test]
fn the_bench_rack_asks_for_no_proof() {
    let rack = rack("config/bench.yaml");
    let domain = rack.default_domain().expect("a domain");
    assert_eq!((domain.auth, domain.provisioning), (Auth::None, Provisioning::Open));
}

#[test]
fn the_conformance_rack_sends_foreign_domains_to_the_suite() {
    let rack = rack("config/conformance.yaml");
    let (_, trunk) = rack.route(None, "anybody").expect("a route for foreign domains");
    assert_eq!(trunk.addresses[0].send_to().to_string(), "127.0.0.1:5099");
    assert!(rack.domain_of_host("127.0.0.1", Some(5099)).is_none());
    assert!(rack.domain_of_host("example.com", None).is_none());
    assert_eq!(rack.domains[0].name, "rack.test");
}

/// `siprack schema > deploy/config/siprack.schema.json` brings it up to date.
#[test]
fn the_schema_is_made_from_the_types() {
    assert_eq!(read("config/siprack.schema.json").trim(), siprack::io::schema().trim());
}

/// A rule about a metric that is gone would never fire.
#[test]
fn the_alert_rules_ask_for_metrics_that_there_are() {
    let table = read("prometheus/README.md");
    let rules = read("prometheus/alerts.yaml");
    let mut named: Vec<&str> =
        rules.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')).collect();
    named.retain(|word| word.starts_with("siprack") && word.contains('_'));
    assert!(named.len() >= 2, "{named:?}");
    for name in named {
        assert!(table.lines().any(|row| row.starts_with(&format!("| `{name}"))), "{name} is not in the table");
    }
}

#[test]
fn the_reference_names_every_key() {
    let reference = read("README.md");
    let schema: serde_json::Value = serde_json::from_str(&siprack::io::schema()).expect("JSON");
    let mut keys = Vec::new();
    collect(&schema, &mut keys);
    assert!(keys.len() > 40, "only {} keys found", keys.len());
    let missing: Vec<_> = keys.iter().filter(|key| !reference.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "deploy/README.md says nothing about {missing:?}");
}

fn collect(schema: &serde_json::Value, keys: &mut Vec<String>) {
    match schema {
        serde_json::Value::Object(map) => {
            if let Some(serde_json::Value::Object(properties)) = map.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| collect(value, keys));
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| collect(value, keys)),
        _ => {}
    }
}
