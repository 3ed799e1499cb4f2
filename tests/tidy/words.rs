//! Names are the field's, and the project speaks only of itself.

use super::sources::{all, report, root};
use std::fs;

const VAGUE: &[&str] = &["util", "utils", "helper", "helpers", "manager", "misc", "common_stuff"];

#[test]
fn no_module_is_called_util() {
    let findings = all()
        .iter()
        .filter(|s| {
            let stem = s.path.trim_end_matches("/mod.rs").trim_end_matches(".rs");
            stem.rsplit('/').next().is_some_and(|name| VAGUE.contains(&name))
        })
        .map(|s| s.path.clone())
        .collect();
    report("a module is named for its idea:", findings);
}

#[test]
fn nothing_is_left_open_in_the_code() {
    let open = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("#[ig", "nore"),
        concat!("FIX", "ME"),
        concat!("X", "XX"),
    ];
    let mut findings = Vec::new();
    for source in all() {
        for (number, line) in source.text.lines().enumerate() {
            if open.iter().any(|word| line.contains(word)) {
                findings.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    report("nothing is left open:", findings);
}

#[test]
fn every_crate_has_its_design_page() {
    let root = root();
    let findings = ["common", "lm-server", "cc-node", "location-server", "deploy", "tests", "benches"]
        .iter()
        .filter(|member| !root.join(member).join("README.md").is_file())
        .map(|member| format!("{member}/README.md is missing"))
        .collect();
    report("a crate has its design page beside the code:", findings);
}

#[test]
fn the_top_level_is_the_house_that_was_agreed() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "LICENSE",
        "README.md",
        "rust-toolchain.toml",
        "benches",
        "cc-node",
        "common",
        "deploy",
        "lm-server",
        "location-server",
        "tests",
        "target",
        "siprack-data",
    ];
    let findings = fs::read_dir(root())
        .expect("the root is readable")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && !allowed.contains(&name.as_str()))
        .collect();
    report("the top level is fixed:", findings);
}
