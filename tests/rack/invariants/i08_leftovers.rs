//! I8: when everybody is done, nothing is left in any node: no transaction, no response context, no call, no timer, no shadow
//! of another's call, and no call that counts against a limit.

use crate::simulation::Simulation;
use common::time::Duration;

/// Waits until every node is empty; all of RFC 3261's timers and Timer C fit in.
pub fn check(s: &mut Simulation) -> Result<(), String> {
    if s.run_until(Duration::from_secs(400), |s| left(s).is_none()) {
        return Ok(());
    }
    Err(format!("{}\n{}", left(s).unwrap_or_default(), s.ladder()))
}

fn left(s: &Simulation) -> Option<String> {
    let engines = s.sites().iter().flat_map(|site| &site.nodes).filter_map(|node| Some((node.id(), node.engine()?)));
    for (id, engine) in engines {
        let (contexts, calls) = (engine.contexts(), engine.calls().len());
        let transactions = &engine.stats().transactions;
        if contexts + calls > 0 || *transactions != Default::default() || engine.next_due().is_some() {
            let due = engine.next_due();
            return Some(format!(
                "node {id} still has {contexts} contexts, {calls} calls, {transactions:?}, next due {due:?}, now {:?}",
                s.now()
            ));
        }
    }
    let nodes = || s.sites().iter().flat_map(|site| &site.nodes);
    if let Some(node) = nodes().find(|node| node.counted() != (0, 0)) {
        let (counted, held) = node.counted();
        return Some(format!("node {} still counts {counted} calls, and {held} of its own are counted", node.id()));
    }
    let shadows = nodes().find(|node| node.shadows() > 0);
    shadows.map(|node| format!("node {} still has shadows of {} calls", node.id(), node.shadows()))
}
