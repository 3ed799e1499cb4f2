//! From text to a [`Rack`]: every error names file, line, column and key, and says what would be right. Overrides
//! (`--set listeners.0.port=5070`) are put into the document before it is typed.

use super::locate::position;
use super::problems::Problem;
use super::rack::Rack;
use serde_yaml::Value;
use std::fmt;
use std::str::FromStr;

/// A rack that cannot be used. Displays one line a finding, each `file:line:column: key: what; what to do`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not YAML at all.
    #[error("{file}:{line}:{column}: this is not YAML: {message}")]
    Syntax { file: String, line: usize, column: usize, message: String },
    /// What is wrong, in the order in which it was found; never empty.
    #[error("{}", lines(.0))]
    Findings(Vec<Finding>),
}

/// One wrong value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file's name, or the override that brought the value.
    pub source: String,
    /// Line and column in the file, both from 1.
    pub position: Option<(usize, usize)>,
    pub problem: Problem,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n")
}

/// `a.b.0.c=value`, the value in YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    pub path: String,
    pub value: String,
}

impl FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((path, value)) if !path.trim().is_empty() => {
                Ok(Override { path: path.trim().into(), value: value.trim().into() })
            }
            _ => Err(format!("`{text}` is not key=value; write for instance listeners.0.port=5070")),
        }
    }
}

impl Rack {
    /// A rack from a YAML text, checked as a whole. `file` is the name that errors show.
    pub fn from_yaml(file: &str, text: &str) -> Result<Rack, ConfigError> {
        Rack::load(file, text, &[])
    }

    /// The same, with overrides applied. `one_machine` is left as it is: see [`Rack::expand`].
    pub fn load(file: &str, text: &str, overrides: &[Override]) -> Result<Rack, ConfigError> {
        let mut rack: Rack = serde_yaml::from_str(text).map_err(|e| of_yaml(file, text, &e))?;
        if !overrides.is_empty() {
            rack = overridden(&rack, overrides)?;
        }
        let problems = rack.problems();
        if problems.is_empty() {
            return Ok(rack);
        }
        let findings = problems.into_iter().map(|problem| located(file, text, overrides, problem)).collect();
        Err(ConfigError::Findings(findings))
    }

    /// An expanded rack as the agent hands it to a service.
    pub fn from_json(text: &str) -> Result<Rack, serde_json::Error> {
        serde_json::from_str(text)
    }

    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    pub fn to_yaml(&self) -> Result<String, serde_yaml::Error> {
        serde_yaml::to_string(self)
    }
}

fn located(file: &str, text: &str, overrides: &[Override], problem: Problem) -> Finding {
    let of_override =
        overrides.iter().rev().find(|o| problem.path == o.path || problem.path.starts_with(&format!("{}.", o.path)));
    match of_override {
        Some(o) => Finding { source: format!("--set {}={}", o.path, o.value), position: None, problem },
        None => Finding { source: file.into(), position: position(text, &problem.path), problem },
    }
}

fn of_yaml(file: &str, text: &str, error: &serde_yaml::Error) -> ConfigError {
    let position = error.location().map(|at| (at.line(), at.column()));
    let typed = typed_problem(error);
    match (typed, position) {
        (Some(problem), _) => ConfigError::Findings(vec![Finding { source: file.into(), position, problem }]),
        (None, Some((line, column))) => {
            ConfigError::Syntax { file: file.into(), line, column, message: without_position(&error.to_string()) }
        }
        (None, None) => {
            let line = text.lines().count().max(1);
            ConfigError::Syntax { file: file.into(), line, column: 1, message: error.to_string() }
        }
    }
}

fn overridden(rack: &Rack, overrides: &[Override]) -> Result<Rack, ConfigError> {
    let source = |o: &Override| format!("--set {}={}", o.path, o.value);
    let finding =
        |source: String, problem: Problem| ConfigError::Findings(vec![Finding { source, position: None, problem }]);
    // From the typed rack, not from the text: there `prefix: +44` would be the number 44.
    let mut document = serde_yaml::to_value(rack).unwrap_or_default();
    for o in overrides {
        put(&mut document, o).map_err(|problem| finding(source(o), problem))?;
    }
    // Through text once more, because only the text parser's errors name the key.
    let written = serde_yaml::to_string(&document).unwrap_or_default();
    serde_yaml::from_str(&written).map_err(|e| {
        let problem = typed_problem(&e).unwrap_or_else(|| Problem::new("", without_position(&e.to_string()), ""));
        let culprit =
            overrides.iter().rev().find(|o| problem.path.starts_with(&o.path) || o.path.starts_with(&problem.path));
        finding(culprit.or(overrides.last()).map(source).unwrap_or_default(), problem)
    })
}

/// Puts one value into the document; missing maps on the way are made, a list grows by one at most.
fn put(document: &mut Value, o: &Override) -> Result<(), Problem> {
    let parsed: Value = serde_yaml::from_str(&o.value).map_err(|e| {
        Problem::new(&o.path, format!("the value is not YAML: {}", without_position(&e.to_string())), "")
    })?;
    // `+44` and `007` are numbers to YAML, but they say more than a number.
    let value = match &parsed {
        Value::Number(number) if number.to_string() != o.value => Value::String(o.value.clone()),
        _ => parsed,
    };
    let mut at = document;
    for part in o.path.split('.') {
        if at.is_null() {
            *at = Value::Mapping(serde_yaml::Mapping::new());
        }
        at = match at {
            Value::Mapping(map) => map.entry(Value::String(part.into())).or_insert(Value::Null),
            Value::Sequence(list) => {
                let length = list.len();
                let index = part.parse::<usize>().ok().filter(|index| *index <= length).ok_or_else(|| {
                    let hint = format!("use a number from 0 to {length}");
                    Problem::new(&o.path, format!("`{part}` is not a position in a list of {length}"), hint)
                })?;
                if index == length {
                    list.push(Value::Null);
                }
                &mut list[index]
            }
            _ => return Err(Problem::new(&o.path, format!("`{part}` would stand below a plain value"), "")),
        };
    }
    *at = value;
    Ok(())
}

/// What serde says about a value, in the words of the rack file. `None` if the text is no YAML.
fn typed_problem(error: &serde_yaml::Error) -> Option<Problem> {
    const SAID_BY_SERDE: [&str; 9] = [
        "unknown field",
        "unknown variant",
        "missing field",
        "duplicate field",
        "duplicate entry",
        "invalid type",
        "invalid value",
        "invalid length",
        "invalid ",
    ];
    let text = without_position(&error.to_string());
    // Messages are `path: what`; a path has no blank. Our own types' messages start with a backquote.
    let (path, what) = match text.split_once(": ") {
        Some((path, what)) if !path.contains(' ') => (path.replace('[', ".").replace(']', ""), what.to_string()),
        _ => (String::new(), text.clone()),
    };
    let ours = what.starts_with('`') || what.starts_with("a route");
    if !ours && !SAID_BY_SERDE.iter().any(|start| what.starts_with(start)) {
        return None;
    }
    if let Some(name) = what.strip_prefix("unknown field ").and_then(quoted) {
        return Some(unknown(&path, &name, &what, "key"));
    }
    if let Some(name) = what.strip_prefix("unknown variant ").and_then(quoted) {
        let mut problem = unknown(&path, &name, &what, "value");
        problem.path = path;
        return Some(problem);
    }
    if let Some(name) = what.strip_prefix("missing field ").and_then(quoted) {
        return Some(Problem::new(&joined(&path, &name), "is missing", "add it"));
    }
    if let Some(name) = what.strip_prefix("duplicate field ").and_then(quoted) {
        return Some(Problem::new(&joined(&path, &name), "stands here twice", "keep one of them"));
    }
    let hint = hint_for(&what);
    Some(Problem::new(&path, what, hint))
}

fn unknown(path: &str, name: &str, what: &str, kind: &str) -> Problem {
    let candidates: Vec<&str> = what.split('`').skip(3).step_by(2).collect();
    let hint = match super::problems::closest(name, candidates.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", candidates.join(", ")),
    };
    Problem::new(&joined(path, name), format!("unknown {kind} `{name}`"), hint)
}

fn quoted(text: &str) -> Option<String> {
    text.split('`').nth(1).map(str::to_string)
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.into() } else { format!("{path}.{name}") }
}

fn without_position(message: &str) -> String {
    message.rsplit_once(" at line ").map_or(message, |(before, _)| before).to_string()
}

fn hint_for(what: &str) -> &'static str {
    let ends = |end: &str| what.ends_with(end);
    if what.contains("IP address syntax") || what.contains("invalid IPv") {
        "write an IP address such as 127.0.0.1 or 2001:db8::1 (names are not looked up)"
    } else if what.contains("socket address syntax") {
        "write address:port, such as 127.0.0.1:8080 or [2001:db8::1]:8080"
    } else if ends("expected u8") {
        "write a whole number from 0 to 255"
    } else if ends("expected u16") {
        "write a whole number from 0 to 65535"
    } else if ends("expected u32") {
        "write a whole number from 0 to 4294967295"
    } else if ends("expected u64") {
        "write a whole number, 0 or more"
    } else if ends("expected a boolean") {
        "write true or false"
    } else if ends("a string") {
        "put the value in quotes"
    } else if ends("a sequence") {
        "write a list: lines that start with `- `, or [a, b]"
    } else if what.contains("expected struct") {
        "write a map: `key: value` lines"
    } else {
        ""
    }
}
