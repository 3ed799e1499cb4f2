//! A node's process is stopped under load and goes on a second later. Its slots go to the others, what waited for it is left
//! to its senders' repeats, and when it wakes it says nothing to the outside before it has a lease again.

use crate::Verdict;
use crate::metrics::metric;
use crate::process::{run as carry_out, siprack};
use crate::rack_process::{Rack, work_folder};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// Everybody may register and call: a nonce would not outlive the node that made it.
const OPEN: [&str; 4] = ["--set", "domains.0.auth=none", "--set", "domains.0.provisioning=open"];
/// A process may be stopped between its last look at the clock and the send: that batch the load manager drops. Without
/// leases it would be all that had waited.
const ESCAPED: u64 = 4;
const NODE: &str = "http://127.0.0.1:15111/metrics";
const LOAD_MANAGER: &str = "http://127.0.0.1:15101/metrics";

pub fn run() -> Verdict {
    let folder = work_folder("stopping")?;
    let rack = Rack::start(None, &folder.join("data"), &OPEN)?;
    let pid = rack.pid("cc-node", 0)?.to_string();
    let stopper = std::thread::spawn(move || -> Result<(), String> {
        std::thread::sleep(Duration::from_secs(2));
        carry_out(Command::new("kill").args(["-STOP", &pid]))?;
        std::thread::sleep(Duration::from_secs(1));
        carry_out(Command::new("kill").args(["-CONT", &pid])).map(drop)
    });
    let said =
        carry_out(Command::new(siprack()?).args(["load", "calls", "--rate", "200", "--duration", "6", "--json"]))?;
    stopper.join().map_err(|_| "the stopper panicked".to_string())??;
    let seen: Value = serde_json::from_str(&said).map_err(|e| format!("load: no JSON: {e}: {said}"))?;
    if seen["failed"] != 0 || seen["finished"] != seen["started"] {
        return Err(format!("not all ended well: {seen}"));
    }
    rack.wait_ready(Duration::from_secs(5))?;
    let unserved = metric(NODE, "siprack_dropped_total{reason=\"no_lease\"}")?;
    let late = dropped("sender_dead")? + dropped("sender_behind")?;
    if unserved == 0 || late > ESCAPED {
        return Err(format!("{unserved} dropped unread by the node; it sent {late} when it was dead"));
    }
    rack.stop()?;
    let (calls, again) = (&seen["started"], &seen["repeats"]);
    Ok(format!("{calls} calls, 0 failed, {again} sent again; {unserved} left unread, {late} sent too late and dropped"))
}

fn dropped(reason: &str) -> Result<u64, String> {
    metric(LOAD_MANAGER, &format!("siprack_dropped_total{{reason=\"{reason}\"}}"))
}
