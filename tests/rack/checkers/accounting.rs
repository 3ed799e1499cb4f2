//! I4: exactly one CDR an answered call, and none for any other.

use crate::simulation::Simulation;
use std::collections::BTreeMap;

/// `answered`: the Call-IDs that were answered and have ended.
pub fn check(s: &Simulation, answered: &[String]) -> Result<(), String> {
    let mut lines: BTreeMap<&str, u32> = BTreeMap::new();
    for (_, _, cdr) in s.cdrs() {
        *lines.entry(&cdr.callid).or_default() += 1;
    }
    for call_id in answered {
        match lines.remove(call_id.as_str()) {
            Some(1) => {}
            other => return Err(format!("{call_id} has {} CDRs\n{}", other.unwrap_or(0), s.story())),
        }
    }
    match lines.keys().next() {
        Some(call_id) => Err(format!("a CDR for {call_id}, which was not answered\n{}", s.story())),
        None => Ok(()),
    }
}
