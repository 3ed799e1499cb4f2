//! Every key turns while calls come in, the plane key twice, and the load manager and a node are killed between: no call
//! fails by a turn, and who was dead meanwhile stands on the keys that stand.

use super::four_nodes::{self, Link, NODES, admin, load_manager, rack_file};
use super::phones::{Outcome, Phones};
use super::watch::Watch;
use crate::Verdict;
use crate::metrics::metric;
use crate::namespaces::Network;
use crate::rack_process::{Rack, work_folder};
use serde_json::Value;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Between two turns of one key.
const PAUSE: Duration = Duration::from_secs(11);
const FOLLOWED: Duration = Duration::from_secs(10);

pub fn run() -> Verdict {
    let folder = work_folder("keys")?;
    let mut network = Network::new()?;
    let host = network.host("rack", "10.99.0.1")?;
    let clients = network.host("sipp", "10.99.0.20")?;
    let _link = Link::new(&host)?;
    let config = rack_file(&host, &folder)?;
    let rack = Rack::start(Some(&host), &folder.join("data"), &["--config", &config.to_string_lossy()])?;
    let phones = Phones::new(&clients, &format!("{}:5060", host.address), &folder)?;
    phones.register()?;
    let _answering = phones.answer()?;
    let watch = four_nodes::watch();

    let calling = phones.call("turns")?;
    sleep(Duration::from_secs(2));
    for key in ["token", "nonce", "plane"] {
        let said = rack.siprack(&["keys", "turn", key])?;
        if !said.contains(&format!("{key} key 2 writes now")) {
            return Err(format!("`siprack keys turn {key}` says: {said}"));
        }
    }
    // Its file says which keys stand, and the nodes do.
    let killed = rack.kill("lm-server", 0)?;
    rack.wait_healed("lm-server", 0, killed)?;
    watch.all_started()?;
    sleep(PAUSE);
    let Outcome { calls, failed, why } = calling.finish()?;
    if failed > 0 {
        return Err(format!("{failed} of {calls} calls failed by turns{why}"));
    }
    let late = refused("old_key")?;
    rack.siprack(&["keys", "turn", "plane", "--json"])?;
    // It starts with the key of before.
    rack.kill("cc-node", 0)?;
    rack.siprack(&["keys", "turn", "plane", "--now"])?;
    watch.all_started()?;
    let spans = all_alike(&watch)?;
    rack.siprack(&["try", "--caller", "1001:secret", "--callee", "1002:secret"])?;
    rack.wait_ready(Duration::from_secs(20))?;
    rack.stop()?;
    Ok(format!("{calls} calls, none failed; {late} heartbeats by an old key; then plane {spans}"))
}

fn refused(reason: &str) -> Result<u64, String> {
    let line = format!("siprack_heartbeats_refused_total{{reason=\"{reason}\"}}");
    metric(&format!("http://{}/metrics", load_manager()), &line)
}

/// Load manager and nodes stand on the same keys, the location server on the plane's; which.
fn all_alike(watch: &Watch) -> Result<Value, String> {
    let end = Instant::now() + FOLLOWED;
    loop {
        let wanted = watch.status(&load_manager())?["keys"].clone();
        let nodes: Result<Vec<Value>, String> = (1..=NODES).map(|n| watch.status(&admin(n))).collect();
        let location = watch.status(&load_manager().replace(":15101", ":15102"))?;
        let alike = nodes?.iter().all(|node| node["keys"] == wanted) && location["plane_keys"] == wanted["plane"];
        if alike && wanted["plane"]["newest"] == 4 && wanted["plane"]["oldest"] == 4 {
            return Ok(wanted["plane"].clone());
        }
        if Instant::now() > end {
            return Err(format!("not on the same keys after {FOLLOWED:?}: {wanted}, {}", location["plane_keys"]));
        }
        sleep(Duration::from_millis(20));
    }
}
