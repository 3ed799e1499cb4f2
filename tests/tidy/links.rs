//! What a page points at is there: files, and the tests that are named as proof of a promise.

use super::sources::{report, root};
use std::fs;
use std::path::PathBuf;

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let mut links = 0;
    let mut findings = Vec::new();
    for page in pages() {
        let folder = page.parent().expect("a page stands in a folder").to_path_buf();
        let text = fs::read_to_string(&page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
        for (name, target) in links_of(&text) {
            links += 1;
            let file = folder.join(target.split('#').next().unwrap_or_default());
            let wrong = match fs::read_to_string(&file) {
                _ if !file.exists() => Some("is not there"),
                Ok(source) if is_test_name(name) && !source.contains(&format!("fn {}(", name.trim_matches('`'))) => {
                    Some("has no such test")
                }
                _ => None,
            };
            findings.extend(wrong.map(|wrong| format!("{}: {name}: {target} {wrong}", page.display())));
        }
    }
    assert!(links > 30, "only {links} links were found: this test looks in the wrong place");
    report("a link leads somewhere, and a test that is named stands in its file:", findings);
}

/// Names of tests are written as code, and are sentences.
fn is_test_name(name: &str) -> bool {
    name.starts_with('`') && name.ends_with('`') && name.matches('_').count() > 1
}

/// Links within the project: what is in brackets, and what it points at.
fn links_of(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.match_indices("](").filter_map(|(at, _)| {
        let name = &text[text[..at].rfind('[')? + 1..at];
        let target = text[at + 2..].split(')').next()?;
        (!target.contains("://") && !target.starts_with('#')).then_some((name, target))
    })
}

/// The READMEs and what stands beside them.
fn pages() -> Vec<PathBuf> {
    let root = root();
    let folders =
        [".", "common", "lm-server", "cc-node", "location-server", "deploy", "deploy/prometheus", "tests", "benches"];
    let files = folders.iter().flat_map(|folder| {
        let folder = root.join(folder);
        fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
    });
    let paths = files.map(|entry| entry.expect("a readable folder").path());
    paths.filter(|path| path.extension().is_some_and(|e| e == "md")).collect()
}
