//! `siprack drill kill` as an operator uses it on the demo rack: calls in every phase outlive their node, the rack is as
//! before when it has ended, and a drill that cannot be run is refused with words.

use crate::Verdict;
use crate::rack_process::{Rack, work_folder};
use serde_json::Value;

pub fn run() -> Verdict {
    drills(1)
}

/// A hundred in a row, the nodes in turn.
pub fn run_long() -> Verdict {
    drills(100)
}

fn drills(count: usize) -> Verdict {
    let folder = work_folder("drill")?;
    let rack = Rack::start(None, &folder.join("data"), &[])?;
    match rack.siprack(&["drill", "kill", "7"]) {
        Err(said) if said.contains("the rack's cc-nodes are 1, 2, 3") => {}
        other => return Err(format!("a drill at a node that there is not: {other:?}")),
    }
    let (mut slowest, mut last) = (0, 0);
    for node in (0..count).map(|n| ["2", "3", "1"][n % 3]) {
        let line = rack.siprack(&["drill", "kill", node, "--calls", "24", "--json"])?;
        let seen: Value = serde_json::from_str(line.trim()).map_err(|e| format!("{e}: {line}"))?;
        let numbers = ["held", "setup", "lost", "detected_ms", "takeover_ms"].map(|key| seen[key].as_u64());
        let [Some(8), Some(16), Some(0), Some(detected), Some(takeover)] = numbers else {
            return Err(format!("24 calls in six phases, none lost: {line}"));
        };
        (slowest, last) = (detected.max(slowest), takeover.max(last));
    }
    let left = rack.siprack(&["registrations", "--count"])?;
    if left.trim() != "0" {
        return Err(format!("the drill has left {} registrations behind", left.trim()));
    }
    rack.stop()?;
    Ok(format!(
        "{count} times 8 held and 16 in set-up, none lost; out of the table after {slowest} ms, all moved after {last} ms"
    ))
}
