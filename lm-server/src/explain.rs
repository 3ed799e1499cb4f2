//! Which slot a Call-ID has, who owns and backs it, who acts now and why. For people: `GET /explain?call_id=…`.

use crate::forward::Gate;
use crate::table::{Reach, Standing, Table, Taker};
use common::call_hash::CallHash;
use common::ids::{Epoch, NodeId, Slot};
use common::placement::Placement;
use common::time::Duration;
use serde::Serialize;
use std::net::SocketAddr;
use std::sync::Arc;

/// Where a Call-ID goes under the table in use. A valid token in a message wins over this.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    pub call_id: String,
    pub slot: Slot,
    pub epoch: Epoch,
    pub owner: Option<NodeId>,
    /// Primary, then secondary backup.
    pub backups: Vec<NodeId>,
    /// The slot's nodes in their order.
    pub list: Vec<Listed>,
    /// The node that a message of this call without a token reaches now, unless it may open a call.
    pub acting: Option<NodeId>,
    /// Who takes a new call with this Call-ID now; none: it is refused.
    pub acts: Option<NodeId>,
    pub acting_for_new_dialogs: Option<NodeId>,
    /// Why, in words.
    pub reason: String,
    /// Who would have taken it a short while ago, newest first, where that was another: it may hold the call still.
    pub former: Vec<FormerTaker>,
    /// The acting node's worker for this call.
    pub worker: Option<SocketAddr>,
    /// The owner takes no new dialogs.
    pub owner_draining: bool,
}

/// A node of the slot's list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listed {
    pub node: NodeId,
    /// `owner`, `primary` or `secondary` backup.
    pub role: &'static str,
    /// `started`, `draining` or `out`.
    pub state: &'static str,
    /// The share of new calls that it takes.
    pub admit: f64,
}

/// Under a placement that stood until a short while ago.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FormerTaker {
    pub epoch: Epoch,
    pub taker: NodeId,
    /// How long ago the placement was superseded, in seconds.
    pub age_s: f64,
}

/// `formers`: the placements of late, and how long ago each was superseded.
pub fn explain(gate: &Gate, table: &Table, formers: &[(Arc<Placement>, Duration)], call_id: &str) -> Explanation {
    let call = CallHash::of(&gate.keys.placement, call_id.as_bytes());
    let slot = call.slot();
    let placement = table.placement();
    let mut order = placement.list(slot);
    let acting = table.owner(slot);
    let taker = table.taker(call);
    let acts = match taker {
        // The owner answers, and refuses.
        Taker::Node(_) if placement.inputs().all_drain() => None,
        Taker::Node(node) => Some(node.node),
        Taker::Repeat(_) | Taker::Full(_) | Taker::Nobody => None,
    };
    Explanation {
        call_id: call_id.to_string(),
        slot,
        epoch: table.epoch(),
        owner: order.next(),
        backups: order.collect(),
        list: list(table, slot),
        acting: acting.map(|n| n.node),
        acts,
        acting_for_new_dialogs: acts,
        reason: reason(table, slot, taker),
        former: former(placement, formers, slot),
        worker: acting.and_then(|n| n.worker(call)),
        owner_draining: acting.is_some_and(is_draining),
    }
}

fn list(table: &Table, slot: Slot) -> Vec<Listed> {
    let reach = |node: NodeId| table.nodes().iter().find(|reach| reach.node == node);
    let listed = |(node, role)| {
        let state = match reach(node).map_or(Standing::Out, |reach| reach.standing) {
            Standing::Started => "started",
            Standing::Draining => "draining",
            Standing::Out => "out",
        };
        Listed { node, role, state, admit: reach(node).map_or(0.0, admitted) }
    };
    table.placement().list(slot).zip(["owner", "primary", "secondary"]).map(listed).collect()
}

fn former(placement: &Placement, formers: &[(Arc<Placement>, Duration)], slot: Slot) -> Vec<FormerTaker> {
    let now = placement.taker(slot, true);
    let other = |(then, age): &(Arc<Placement>, Duration)| {
        let taker = then.taker(slot, true).filter(|taker| Some(*taker) != now)?;
        Some(FormerTaker { epoch: then.epoch(), taker, age_s: age.as_secs_f64() })
    };
    let mut takers: Vec<FormerTaker> = formers.iter().filter_map(other).collect();
    // The newest of those in a row that say the same.
    takers.dedup_by_key(|former| former.taker);
    takers
}

/// Why a new call goes where it goes.
fn reason(table: &Table, slot: Slot, taker: Taker<'_>) -> String {
    let owner = match table.owner(slot) {
        Some(owner) => owner,
        None if table.is_empty() => return "no node is started".into(),
        None => return "the slot's owner has just left; the next epoch gives the slot to another node".into(),
    };
    match taker {
        Taker::Nobody => "no node is started".into(),
        Taker::Repeat(_) => {
            "every started node takes only a part of the new calls, and refuses this one by now: 503, unless it repeats one \
             that was admitted in the last 32 s"
                .into()
        }
        Taker::Full(_) => "every started node takes only a part of the new calls, and refuses this one: 503".into(),
        Taker::Node(_) if table.placement().inputs().all_drain() => {
            "all nodes are draining, so new calls are refused with 503".into()
        }
        Taker::Node(node) if node.node == owner.node && is_draining(owner) => {
            "the owner is draining, but those that are not are dead, so it takes new calls".into()
        }
        Taker::Node(node) if node.node == owner.node => "it owns the slot".into(),
        Taker::Node(_) if is_draining(owner) => "the owner is draining, so new calls go to the next node".into(),
        Taker::Node(_) => {
            let percent = (admitted(owner) * 100.0).floor();
            format!("the owner takes only {percent} % of the new calls, and this one is of the others")
        }
    }
}

fn is_draining(reach: &Reach) -> bool {
    reach.standing == Standing::Draining
}

fn admitted(reach: &Reach) -> f64 {
    f64::from(reach.admit) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::config::Rack;
    use common::ids::{BootId, Plane};
    use common::keys::{Keys, RackKey};
    use common::placement::{Inputs, Member, Policy};

    const FULL: u16 = u16::MAX;

    fn gate() -> Gate {
        Gate::new(&Rack::one_machine_default(3).expand(), Arc::new(Keys::derive(&RackKey([7; 32]))), BootId(5))
    }

    /// Nodes 1, 2, …, each with how it stands and what it admits.
    fn placement(gate: &Gate, epoch: u64, nodes: &[(Standing, u16)]) -> Arc<Placement> {
        let member = |(n, (standing, _)): (u16, &(Standing, u16))| Member {
            draining: *standing == Standing::Draining,
            ..Member::new(NodeId(n), (*standing != Standing::Out).then_some(BootId(70)))
        };
        let inputs =
            Inputs { policy: Policy::Rendezvous, members: (1..).zip(nodes).map(member).collect(), ..Inputs::default() };
        Arc::new(Placement::compute(&gate.keys.placement, Epoch(epoch), inputs))
    }

    fn table(gate: &Gate, nodes: &[(Standing, u16)]) -> Table {
        let reach = |(n, (standing, admit)): (u16, &(Standing, u16))| Reach {
            node: NodeId(n),
            boot: Some(BootId(70)),
            standing: *standing,
            admit: *admit,
            admitted: *admit,
            floor: Epoch(4),
            plane: Plane::A,
            workers: vec![SocketAddr::from(([10, 0, 1, n as u8], 5070))],
        };
        Table::new(placement(gate, 9, nodes), (1..).zip(nodes).map(reach))
    }

    /// A Call-ID whose slot has this list, and one of those whose second hash is high.
    fn call_id(gate: &Gate, order: &[u16]) -> String {
        let all = placement(gate, 9, &[(Standing::Started, FULL); 3]);
        let fits = |id: &String| {
            let call = CallHash::of(&gate.keys.placement, id.as_bytes());
            all.list(call.slot()).map(|n| n.0).eq(order.iter().copied()) && call.admission() > FULL / 2
        };
        (0..).map(|n| format!("call-{n}")).find(fits).unwrap()
    }

    fn explained(nodes: &[(Standing, u16)]) -> (Explanation, Option<u16>) {
        let gate = gate();
        let explanation = explain(&gate, &table(&gate, nodes), &[], &call_id(&gate, &[2, 3, 1]));
        let acts = explanation.acts.map(|n| n.0);
        (explanation, acts)
    }

    const UP: (Standing, u16) = (Standing::Started, FULL);
    const DRAINS: (Standing, u16) = (Standing::Draining, FULL);
    const BUSY: (Standing, u16) = (Standing::Started, FULL / 2);
    const OUT: (Standing, u16) = (Standing::Out, 0);

    #[test]
    fn the_owner_takes_its_calls() {
        let (e, acts) = explained(&[UP, UP, UP]);
        assert_eq!((acts, e.reason.as_str()), (Some(2), "it owns the slot"));
        let listed: Vec<_> = e.list.iter().map(|l| (l.node.0, l.role, l.state, l.admit)).collect();
        let up = "started";
        assert_eq!(listed, [(2, "owner", up, 1.0), (3, "primary", up, 1.0), (1, "secondary", up, 1.0)]);
        assert_eq!((e.owner, e.backups, e.acting), (Some(NodeId(2)), vec![NodeId(3), NodeId(1)], Some(NodeId(2))));
    }

    #[test]
    fn a_draining_owners_new_calls_go_to_the_next() {
        let (e, acts) = explained(&[UP, DRAINS, UP]);
        assert_eq!((acts, e.acting, e.owner_draining), (Some(3), Some(NodeId(2)), true));
        assert!(e.reason.starts_with("the owner is draining, so"), "{}", e.reason);
        assert_eq!(e.list[0].state, "draining");
        let (e, acts) = explained(&[DRAINS, DRAINS, DRAINS]);
        assert_eq!((acts, e.reason.as_str()), (None, "all nodes are draining, so new calls are refused with 503"));
        let (e, acts) = explained(&[OUT, DRAINS, DRAINS]);
        assert!(acts == Some(2) && e.reason.ends_with("so it takes new calls"), "{}", e.reason);
    }

    #[test]
    fn a_full_owners_surplus_goes_to_the_next_and_is_refused_where_all_are_full() {
        let (e, acts) = explained(&[UP, BUSY, UP]);
        assert_eq!(acts, Some(3));
        assert!(e.reason.starts_with("the owner takes only 49 % of the new calls"), "{}", e.reason);
        let (e, acts) = explained(&[BUSY, BUSY, BUSY]);
        assert!(acts.is_none() && e.reason.ends_with("503") && e.acting == Some(NodeId(2)), "{}", e.reason);
    }

    #[test]
    fn without_a_node_nobody_acts() {
        let (e, acts) = explained(&[OUT, OUT, OUT]);
        assert_eq!((acts, e.reason.as_str(), e.list.len()), (None, "no node is started", 0));
    }

    #[test]
    fn who_took_it_a_short_while_ago_is_named_where_it_was_another() {
        let gate = gate();
        let before = placement(&gate, 8, &[UP, OUT, UP]);
        let same = placement(&gate, 7, &[UP, UP, OUT]);
        let formers = [(before, Duration::from_millis(3100)), (same, Duration::from_secs(9))];
        let e = explain(&gate, &table(&gate, &[UP, UP, UP]), &formers, &call_id(&gate, &[2, 3, 1]));
        assert_eq!(e.former, [FormerTaker { epoch: Epoch(8), taker: NodeId(3), age_s: 3.1 }]);
    }
}
