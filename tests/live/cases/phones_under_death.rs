//! baresip, linphone and pjsua2 call one another, and the node that holds the call is killed while it rings, right before
//! it is taken back, refused or answered, and while they talk: the call goes on as it was meant to, and is charged once.

use super::pairs::{Party, register};
use crate::Verdict;
use crate::clients::Kind;
use crate::namespaces::Network;
use crate::phone::{Moment, Plan, call_under};
use crate::rack_process::{Rack, rack_file, work_folder};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

pub const NEEDS: &[&str] = &["ip", "baresip", "linphonec", "pjsua2"];
const KINDS: [Kind; 3] = [Kind::Baresip, Kind::Linphone, Kind::Pjsua2];
/// When the node dies, in which call. The next order to a phone follows at once.
const DEATHS: [(Plan, Moment); 5] = [
    (Plan::Cancelled, Moment::Ringing),
    (Plan::Refused, Moment::Ringing),
    (Plan::CallerEnds, Moment::Ringing),
    (Plan::CallerEnds, Moment::Answered),
    (Plan::CalleeEnds, Moment::Answered),
];

pub fn run() -> Verdict {
    rounds(1)
}

pub fn run_long() -> Verdict {
    rounds(10)
}

fn rounds(rounds: usize) -> Verdict {
    let folder = work_folder("phones-under-death")?;
    let mut network = Network::new()?;
    let host = network.host("rack", "10.99.0.1")?;
    let config = rack_file(&host, &folder)?;
    let rack = Rack::start(Some(&host), &folder.join("data"), &["--config", &config.to_string_lossy()])?;
    let mut hosts = Vec::new();
    for n in 0..6 {
        hosts.push(network.host(&format!("p{n}"), &format!("10.99.0.{}", 40 + n))?);
        rack.siprack(&["subscriber", "add", &format!("{}@rack.test", 1001 + n), "--password", "secret"])?;
    }
    let mut callers = register(&KINDS, &hosts[0..3], 1001, "10.99.0.1", &folder)?;
    let mut callees = register(&KINDS, &hosts[3..6], 1004, "10.99.0.1", &folder)?;
    let mut charged = 0;
    for _ in 0..rounds {
        for (a, b) in [(0, 1), (1, 2), (2, 0)] {
            for (plan, moment) in DEATHS {
                one(&rack, &mut callers[a], &mut callees[b], plan, moment)?;
                charged += usize::from(matches!(plan, Plan::CallerEnds | Plan::CalleeEnds));
            }
        }
    }
    let ids: BTreeSet<String> = rack.cdrs().iter().filter_map(|cdr| Some(cdr["id"].as_str()?.to_string())).collect();
    if ids.len() != charged {
        return Err(format!("{charged} calls were answered, and {} are charged", ids.len()));
    }
    rack.stop()?;
    let calls = rounds * KINDS.len() * DEATHS.len();
    Ok(format!("{calls} calls outlived the death of their node, {charged} answered and each charged once"))
}

/// One call, and the death of its node.
fn one(rack: &Rack, a: &mut Party, b: &mut Party, plan: Plan, when: Moment) -> Result<(), String> {
    holder(rack, 0)?;
    let mut killed = None;
    let mut strike = |moment: Moment| {
        if moment == when {
            let position = holder(rack, 1)?.ok_or("no node holds the call")?;
            killed = Some((position, rack.kill("cc-node", position)?));
        }
        Ok(())
    };
    let outcome = call_under(plan, a.phone.as_mut(), b.phone.as_mut(), &b.account, &mut strike);
    outcome.map_err(|why| format!("its node died when {when:?}: {why}"))?;
    let (position, pid) = killed.ok_or("nobody was killed")?;
    rack.wait_healed("cc-node", position, pid).map(drop)
}

/// Waits until the rack holds so many calls; where one is.
fn holder(rack: &Rack, calls: u64) -> Result<Option<usize>, String> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let held = rack.calls_held()?;
        if held.iter().sum::<u64>() == calls {
            return Ok(held.iter().position(|count| *count > 0));
        }
        if Instant::now() > end {
            return Err(format!("the nodes hold {held:?} calls, and should hold {calls}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
