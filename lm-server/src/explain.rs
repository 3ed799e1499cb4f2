//! Which slot a Call-ID has, who owns and backs it, and who acts now. For people: `GET /explain?call_id=…`.

use crate::forward::Gate;
use crate::table::{Standing, Table};
use common::call_hash::CallHash;
use common::ids::{Epoch, NodeId, Slot};
use serde::Serialize;
use std::net::SocketAddr;

/// Where a Call-ID goes under the table in use. A valid token in a message wins over this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    pub call_id: String,
    pub slot: Slot,
    pub epoch: Epoch,
    pub owner: Option<NodeId>,
    /// Primary, then secondary backup.
    pub backups: Vec<NodeId>,
    /// The node that a message of this call without a token reaches now; for a new dialog, if the owner is draining,
    /// the next of the slot.
    pub acting: Option<NodeId>,
    pub acting_for_new_dialogs: Option<NodeId>,
    /// The acting node's worker for this call.
    pub worker: Option<SocketAddr>,
    /// The owner takes no new dialogs.
    pub owner_draining: bool,
}

pub fn explain(gate: &Gate, table: &Table, call_id: &str) -> Explanation {
    let call = CallHash::of(&gate.keys.placement, call_id.as_bytes());
    let slot = call.slot();
    let mut list = table.placement().list(slot);
    let owner = list.next();
    let acting = table.owner(slot, false);
    Explanation {
        call_id: call_id.to_string(),
        slot,
        epoch: table.epoch(),
        owner,
        backups: list.collect(),
        acting: acting.map(|n| n.node),
        acting_for_new_dialogs: table.owner(slot, true).map(|n| n.node),
        worker: acting.and_then(|n| n.worker(call)),
        owner_draining: acting.is_some_and(|n| n.standing == Standing::Draining),
    }
}
