//! `siprack drill kill` as an operator uses it on the demo rack: calls in every phase outlive their node, the rack is as
//! before when it has ended, and a drill that cannot be run is refused with words.

use crate::Verdict;
use crate::rack_process::{Rack, work_folder};
use serde_json::Value;

pub fn run() -> Verdict {
    let folder = work_folder("drill")?;
    let rack = Rack::start(None, &folder.join("data"), &[])?;
    match rack.siprack(&["drill", "kill", "7"]) {
        Err(said) if said.contains("the rack's cc-nodes are 1, 2, 3") => {}
        other => return Err(format!("a drill at a node that there is not: {other:?}")),
    }
    let line = rack.siprack(&["drill", "kill", "2", "--calls", "24", "--json"])?;
    let seen: Value = serde_json::from_str(line.trim()).map_err(|e| format!("{e}: {line}"))?;
    let numbers = ["held", "setup", "lost", "detected_ms", "takeover_ms"].map(|key| seen[key].as_u64());
    let [Some(8), Some(16), Some(0), Some(detected), Some(takeover)] = numbers else {
        return Err(format!("24 calls in six phases, none lost: {line}"));
    };
    let left = rack.siprack(&["registrations", "--count"])?;
    if left.trim() != "0" {
        return Err(format!("the drill has left {} registrations behind", left.trim()));
    }
    rack.stop()?;
    Ok(format!(
        "8 held and 16 in set-up, none lost; out of the table after {detected} ms, all moved after {takeover} ms"
    ))
}
