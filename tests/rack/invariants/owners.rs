//! No slot is without an owner for more than 450 ms: a node that cannot serve (dead, stopped, or without a lease) is out of
//! the placement by then; for one whose workers stand still it is a second. Counted from when the load manager itself runs
//! and judges again, and from its last sign of life: stopped for 300 ms and then cut off it is out 450 ms behind the cut. And nobody who serves is taken for dead.

use super::leases::Leases;
use crate::site::Site;
use common::ids::{BootId, NodeId};
use common::time::{Duration, Time};
use std::collections::BTreeMap;

const LONGEST: Duration = Duration::from_millis(450);
const LONGEST_STUCK: Duration = Duration::from_secs(1);
/// Who has served for so long is well.
const WELL: Duration = Duration::from_millis(500);
/// What a load manager that starts may need to learn how the nodes stand.
const LEARNS: Duration = Duration::from_millis(200);

#[derive(Default)]
pub struct Owners {
    /// Since when each incarnation in the placement does not serve, and whether its workers stood still meanwhile.
    idle: BTreeMap<(NodeId, BootId), (Time, bool)>,
    /// Since when each serves.
    serving: BTreeMap<(NodeId, BootId), Time>,
    /// Since when the load manager does not judge; none = it does.
    judges_from: Option<Time>,
}

impl Owners {
    pub fn look(&mut self, site: &Site, leases: &Leases, now: Time) -> Result<(), String> {
        let Some(placement) = site.lm.placement().filter(|_| site.lm.is_up()) else {
            self.judges_from = Some(now + LEARNS);
            return Ok(());
        };
        let placed: Vec<(NodeId, BootId)> = placement.inputs().live().collect();
        let wronged = self.serving.iter().find(|(who, since)| !placed.contains(who) && now.since(**since) > WELL);
        let wronged = wronged.map(|(who, since)| (*who, *since)).filter(|(who, _)| serves(site, leases, *who, now));
        self.idle.retain(|which, _| placed.contains(which));
        self.serving.retain(|which, _| placed.contains(which));
        if let Some(((node, boot), since)) = wronged {
            return Err(format!("node {node} (boot {boot}) was removed at {now:?}, and has served since {since:?}"));
        }
        for (node, boot) in placed {
            if serves(site, leases, (node, boot), now) {
                self.idle.remove(&(node, boot));
                self.serving.entry((node, boot)).or_insert(now);
                continue;
            }
            self.serving.remove(&(node, boot));
            let stuck = site.nodes.iter().any(|host| host.id() == node && host.is_stuck());
            let idle = self.idle.entry((node, boot)).or_insert((now, stuck));
            // Who stands still from now on is noticed by that, whatever was the matter before.
            if stuck && !idle.1 {
                *idle = (now, true);
            }
            let (since, stuck) = *idle;
            // Who was heard again meanwhile has met with something new. A heart beats on over workers that stand still.
            let sign = leases.last_sign(node, boot).filter(|_| !stuck);
            let since = sign.map_or(since, |sign| since.max(sign));
            let since = self.judges_from.map_or(since, |from| since.max(from));
            if now.since(since) > if stuck { LONGEST_STUCK } else { LONGEST } {
                let long = now.since(since);
                return Err(format!(
                    "node {node} (boot {boot}) owns slots at {now:?} and has not served them for {long:?}"
                ));
            }
        }
        Ok(())
    }
}

fn serves(site: &Site, leases: &Leases, (node, boot): (NodeId, BootId), now: Time) -> bool {
    let host = site.nodes.iter().find(|host| host.id() == node);
    let runs = host.is_some_and(|host| host.boot() == Some(boot) && !host.is_stopped() && !host.is_stuck());
    runs && leases.has(node, boot, now)
}
