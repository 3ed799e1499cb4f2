//! What types cannot say about a rack: names that must exist, numbers that must differ, ports that clash. Called by
//! `load`, and by `siprack check`.

mod foreign;
mod limits;
mod names;
mod served;
mod servers;

use super::rack::Rack;
use std::fmt;

/// One finding: the key (`routes.0.trunk`), what is wrong with it, what would be right (may be empty).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub path: String,
    pub message: String,
    pub hint: String,
}

impl Problem {
    pub fn new(path: &str, message: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem { path: path.into(), message: message.into(), hint: hint.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "; {}", self.hint) }
    }
}

/// The candidate that a mistyped `name` most likely means.
pub(super) fn closest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn not_one_of<'a>(name: &str, what: &str, candidates: impl Iterator<Item = &'a str> + Clone) -> String {
    match closest(name, candidates.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("{what}: {}", candidates.collect::<Vec<_>>().join(", ")),
    }
}

/// Collects findings; each method below is one part of the file.
struct Check<'r> {
    rack: &'r Rack,
    found: Vec<Problem>,
}

impl Rack {
    /// Everything that is wrong with this rack as a whole, in the order of the file. Works on the file as written and
    /// on an expanded rack.
    pub fn problems(&self) -> Vec<Problem> {
        let mut check = Check { rack: self, found: Vec::new() };
        check.names_and_key();
        check.listeners();
        check.domains();
        check.registrar_and_subscribers();
        check.servers();
        if check.found.is_empty() {
            // Expansion of wrong numbers would only repeat them as clashes.
            check.ports();
        }
        check.foreign_nodes();
        check.trunks();
        check.routes();
        check.destinations();
        check.dns();
        check.private_headers();
        check.tuning();
        check.found
    }
}

impl Check<'_> {
    fn say(&mut self, path: impl AsRef<str>, message: impl Into<String>, hint: impl Into<String>) {
        self.found.push(Problem::new(path.as_ref(), message, hint));
    }

    fn unless(&mut self, right: bool, path: impl AsRef<str>, message: impl Into<String>, hint: impl Into<String>) {
        if !right {
            self.say(path, message, hint);
        }
    }

    fn names_and_key(&mut self) {
        let rack = self.rack;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name_ok = (1..=64).contains(&rack.name.len()) && rack.name.chars().all(plain);
        self.unless(
            name_ok,
            "name",
            format!("`{}` is no rack name", rack.name),
            "use 1 to 64 letters, digits, `-`, `_`, `.`",
        );
        if let Some(key) = &rack.key {
            let hex = key.len() == 64 && key.bytes().all(|b| b.is_ascii_hexdigit());
            self.unless(
                hex,
                "key",
                "is not a rack key",
                "a rack key is 64 hex digits; make one with `openssl rand -hex 32`",
            );
            self.unless(rack.key_file.is_none(), "key_file", "stands beside `key`", "keep one of them");
        }
    }

    fn tuning(&mut self) {
        let (h, t) = (&self.rack.heartbeat, &self.rack.timers);
        self.unless(
            (10..=1000).contains(&h.period_ms),
            "heartbeat.period_ms",
            format!("{} is out of range", h.period_ms),
            "use 10 to 1000 (50 is usual)",
        );
        self.unless(
            h.down_after_ms >= 350 && h.down_after_ms >= h.period_ms.saturating_mul(3),
            "heartbeat.down_after_ms",
            format!("{} is too short", h.down_after_ms),
            "use 350 or more and three periods at least: a node's lease of 300 ms must run out first",
        );
        self.unless(
            h.suspect_after_ms <= h.down_after_ms,
            "heartbeat.suspect_after_ms",
            "is longer than down_after_ms",
            "a node is suspect before it is down",
        );
        self.unless(
            t.t1_ms >= 1 && t.t1_ms <= t.t2_ms && t.t4_ms >= 1,
            "timers",
            "are out of order",
            "0 < t1_ms ≤ t2_ms and 0 < t4_ms must hold (RFC 3261: 500, 4000, 5000)",
        );
        self.unless(
            t.timer_c_s >= 1,
            "timers.timer_c_s",
            "0 would end every call while it rings",
            "use more than 180 (RFC 3261 §16.6)",
        );
        self.limits();
        self.session_timers();
        let level = &self.rack.log.level;
        self.unless(
            is_log_level(level),
            "log.level",
            format!("`{level}` is no log level"),
            "use error, warn, info, debug or trace, or a filter such as info,cc_node=debug",
        );
    }
}

impl Check<'_> {
    fn session_timers(&mut self) {
        let timers = &self.rack.session_timers;
        self.unless(
            timers.min_se_s >= 90,
            "session_timers.min_se_s",
            format!("{} is too short", timers.min_se_s),
            "use 90 or more (RFC 4028 §5)",
        );
        self.unless(
            timers.expires_s.is_none_or(|expires| expires >= timers.min_se_s),
            "session_timers.expires_s",
            format!("is shorter than min_se_s ({})", timers.min_se_s),
            "1800 is usual; without it the proxy asks for no session timers",
        );
    }
}

fn is_log_level(text: &str) -> bool {
    let level = |l: &str| matches!(l, "error" | "warn" | "info" | "debug" | "trace" | "off");
    !text.is_empty() && text.split(',').all(|part| level(part.rsplit('=').next().unwrap_or(part).trim()))
}
