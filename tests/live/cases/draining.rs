//! `siprack drain` and `undrain` as an operator uses them, under load: the calls that a node has end by themselves, no new
//! one begins there, not even behind a restart of its process, until it is taken back.

use crate::Verdict;
use crate::load::{SUBSCRIBERS, made_by_siprack};
use crate::process::{Running, siprack};
use crate::rack_process::{Rack, work_folder};
use std::process::Command;
use std::time::{Duration, Instant};

const NODE: u64 = 2;

pub fn run() -> Verdict {
    let folder = work_folder("draining")?;
    let rack = Rack::start(None, &folder.join("data"), &[])?;
    let before = load(1)?;
    if of_node(&rack) == 0 {
        return Err(format!("none of {before} calls was node {NODE}'s"));
    }
    let mut under_way = Command::new(siprack()?);
    under_way.args(["load", "calls", "--rate", "50", "--duration", "5"]).args(SUBSCRIBERS);
    let mut under_way = Running::start("siprack load", &mut under_way)?;
    std::thread::sleep(Duration::from_secs(1));
    let start = Instant::now();
    rack.siprack(&["drain", "2", "--wait", "--timeout", "20"])?;
    let waited = start.elapsed();
    let drained = of_node(&rack);
    if !under_way.wait(Duration::from_secs(30))?.success() {
        return Err("calls failed while a node was being drained".to_string());
    }
    stays_empty(&rack, drained, "while it drains")?;
    let killed = rack.kill("cc-node", NODE as usize - 1)?;
    rack.wait_healed("cc-node", NODE as usize - 1, killed)?;
    let after = load(1)?;
    stays_empty(&rack, drained, "behind a restart of its process")?;
    rack.siprack(&["undrain", "2"])?;
    let again = load(1)?;
    let back = of_node(&rack) - drained;
    if back == 0 {
        return Err(format!("it was taken back, and none of {again} calls was its"));
    }
    rack.stop()?;
    Ok(format!(
        "empty after {:.1} s, 0 of {after} calls behind a restart, {back} of {again} when it was taken back",
        waited.as_secs_f64()
    ))
}

/// Calls for so many seconds; how many there were, none of which failed.
fn load(seconds: u32) -> Result<u64, String> {
    let seconds = seconds.to_string();
    let seen = made_by_siprack(&[&["calls", "--rate", "100", "--duration", &seconds][..], &SUBSCRIBERS].concat())?;
    seen["finished"].as_u64().ok_or_else(|| format!("how many calls? {seen}"))
}

/// CDRs that the node has written.
fn of_node(rack: &Rack) -> u64 {
    rack.cdrs().iter().filter(|cdr| cdr["node"] == NODE).count() as u64
}

fn stays_empty(rack: &Rack, drained: u64, when: &str) -> Result<(), String> {
    match of_node(rack) {
        now if now == drained => Ok(()),
        now => Err(format!("node {NODE} has taken {} new calls {when}", now - drained)),
    }
}
