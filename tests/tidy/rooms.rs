//! Small rooms: a file is one idea, a function fits on a screen.

use super::sources::{Source, all, report};

const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 70;

#[test]
fn a_file_has_at_most_400_lines_of_production_code() {
    let findings = all()
        .iter()
        .filter(|s| !s.is_test())
        .map(|s| (s.path.clone(), s.production().filter(|(_, line)| is_code(line)).count()))
        .filter(|(_, lines)| *lines > FILE_LINES)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    report("a file is one idea, at most 400 lines; move out a type with its own state:", findings);
}

#[test]
fn a_function_has_at_most_70_lines() {
    let mut findings = Vec::new();
    for source in all().iter().filter(|s| !s.is_test()) {
        findings.extend(long_functions(source));
    }
    report("a function has at most 70 lines:", findings);
}

/// A function ends at the first line that closes a brace at the indentation of its `fn`.
fn long_functions(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    let mut open: Option<(usize, usize, String)> = None;
    for (number, line) in source.production() {
        let indent = line.len() - line.trim_start().len();
        match &open {
            None if starts_function(line) && !line.trim_end().ends_with(['}', ';']) => {
                open = Some((number, indent, line.trim().to_string()));
            }
            Some((start, at, head)) if indent == *at && line.trim_start().starts_with('}') => {
                let lines = number - start + 1;
                if lines > FUNCTION_LINES {
                    findings.push(format!("{}:{start}: {lines} lines: {head}", source.path));
                }
                open = None;
            }
            _ => {}
        }
    }
    findings
}

fn starts_function(line: &str) -> bool {
    let code = line.trim_start();
    ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn ", "async fn ", "pub async fn ", "const fn ", "pub const fn "]
        .iter()
        .any(|head| code.starts_with(head))
}

fn is_code(line: &str) -> bool {
    let code = line.trim();
    !code.is_empty() && !code.starts_with("//")
}

#[test]
fn a_module_says_first_what_it_is_for() {
    let findings = all()
        .iter()
        .filter(|s| !s.text.trim_start().starts_with("//!") && !s.text.trim_start().starts_with("#!["))
        .map(|s| s.path.clone())
        .collect();
    report("the first lines of a module say what it is for (//!):", findings);
}
