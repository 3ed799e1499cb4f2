//! What the CDRs say of a drill's calls: one of each answered call, none of a cancelled one. A record that stands in two
//! files under one `id` is one: a node that goes on with a call writes it again, and a collector counts each once.

use super::plan::Phase;
use hashbrown::{HashMap, HashSet};
use serde::Deserialize;

#[derive(Deserialize)]
struct Line {
    id: String,
    callid: String,
}

/// Ids by Call-ID.
#[derive(Debug, Default)]
pub struct Charges(HashMap<String, HashSet<String, ahash::RandomState>, ahash::RandomState>);

impl Charges {
    /// Lines of a `cdr.jsonl`. What is no record, such as a line half written, says nothing.
    pub fn read(&mut self, lines: &str) {
        for line in lines.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok()) {
            self.0.entry(line.callid).or_default().insert(line.id);
        }
    }

    fn count(&self, call_id: &str) -> usize {
        self.0.get(call_id).map_or(0, HashSet::len)
    }

    /// It has every record that it should have.
    pub fn is_whole(&self, phase: Phase, call_id: &str) -> bool {
        self.count(call_id) >= expected(phase)
    }

    /// What is wrong with the records of a call that went on.
    pub fn fault(&self, phase: Phase, call_id: &str) -> Option<String> {
        match (self.count(call_id), expected(phase)) {
            (is, should) if is == should => None,
            (0, _) => Some("it left no CDR".into()),
            (_, 0) => Some("it left a CDR though nobody answered it".into()),
            (is, _) => Some(format!("it left {is} CDRs")),
        }
    }
}

fn expected(phase: Phase) -> usize {
    usize::from(phase != Phase::Cancelling)
}
