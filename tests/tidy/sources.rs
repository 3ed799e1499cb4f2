//! The tree as the rules see it.

use std::fs;
use std::path::{Path, PathBuf};

/// One Rust file of the project.
pub struct Source {
    /// Path from the repository's root, with `/`.
    pub path: String,
    pub text: String,
}

impl Source {
    /// The lines of production code with their numbers: what stands before the file's `#[cfg(test)]` module.
    pub fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let end = lines.iter().position(|line| line.trim_start().starts_with("#[cfg(test)]")).unwrap_or(lines.len());
        lines.into_iter().take(end).enumerate().map(|(i, line)| (i + 1, line))
    }

    /// Whether the file may touch clocks, sockets, files and threads.
    pub fn is_shell(&self) -> bool {
        let first = self.path.split('/').next().unwrap_or_default();
        matches!(first, "tests" | "benches")
            || self.path.split('/').any(|part| part == "io")
            || self.path.ends_with("/main.rs")
            || self.path.ends_with("/io.rs")
            || self.is_test()
    }

    /// Whether the file is nothing but tests.
    pub fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.split('/').any(|part| part == "tests")
    }
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ stands in the root").to_path_buf()
}

/// Every Rust file of the workspace, in the order of its path.
pub fn all() -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    for member in ["common", "lm-server", "cc-node", "location-server", "deploy", "tests", "benches"] {
        walk(&root.join(member), &mut found);
    }
    found.sort();
    let sources: Vec<Source> = found
        .into_iter()
        .map(|path| Source {
            text: fs::read_to_string(&path).expect("a source file is UTF-8"),
            path: path.strip_prefix(&root).expect("below the root").to_string_lossy().replace('\\', "/"),
        })
        .collect();
    assert!(sources.len() > 50, "the walk found only {} files: it looks in the wrong place", sources.len());
    sources
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            if !path.ends_with("target") {
                walk(&path, found);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Fails with every finding at once.
pub fn report(rule: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{rule}\n  {}", findings.join("\n  "));
}
