//! The README's first command on a fresh data directory: READY, a call with its ladder, status, explain, and an end
//! that leaves nothing running.

use crate::Verdict;
use crate::rack_process::{Rack, work_folder};

pub fn run() -> Verdict {
    let folder = work_folder("newcomer")?;
    let rack = Rack::start(None, &folder.join("data"), &[])?;
    let ladder = rack.siprack(&["try"])?;
    for rung in ["REGISTER", "401", "INVITE", "180 Ringing", "200 OK", "ACK", "BYE"] {
        if !ladder.contains(rung) {
            return Err(format!("the ladder of `siprack try` shows no {rung}:\n{ladder}"));
        }
    }
    let status = rack.status()?;
    let services = status["services"].as_array().map_or(0, Vec::len);
    if services != 5 || status["ready"] != true {
        return Err(format!("status should list five services and be ready: {status}"));
    }
    let levels: Vec<_> = status["services"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|s| s["kind"] != "lm-server")
        .map(|s| (&s["level"], &s["checksum"]))
        .collect();
    if levels.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(format!("replicas at different levels or sums: {levels:?}"));
    }
    let explained = rack.siprack(&["explain", "any@call", "--json"])?;
    if !explained.contains("slot") {
        return Err(format!("explain names no slot: {explained}"));
    }
    let cdrs = rack.cdrs();
    if cdrs.len() != 1 {
        return Err(format!("one answered call should leave one CDR line, there are {}: {cdrs:?}", cdrs.len()));
    }
    let shown = rack.siprack(&["cdr", "--json"])?;
    if serde_json::from_str::<serde_json::Value>(shown.trim()).ok().as_ref() != cdrs.first() {
        return Err(format!("siprack cdr shows another call: {shown}"));
    }
    rack.stop()?;
    Ok("READY, ladder, status, explain, one CDR, nothing left running".to_string())
}
