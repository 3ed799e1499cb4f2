//! What the tests of shadows are made of: a placement of few nodes, a call's name, an INVITE that was taken.

use crate::record::{Accepted, CallKey};
use bytes::Bytes;
use common::call_hash::CallHash;
use common::flow::Flow;
use common::ids::{BootId, Epoch, ListenerId, NodeId, Transport};
use common::placement::{Inputs, Member, Placement};
use common::time::WallMillis;
use std::sync::Arc;

/// Nodes 1, 2, …, so many, of which these live, each under its boot id.
pub fn placement(nodes: u16, live: &[(u16, u64)]) -> Placement {
    let boot = |n: u16| live.iter().find(|(node, _)| *node == n).map(|(_, boot)| BootId(*boot));
    let members = (1..=nodes).map(|n| Member::new(NodeId(n), boot(n))).collect();
    Placement::compute(&[5; 16], Epoch(1), Inputs { members, ..Inputs::default() })
}

pub fn key(hash: CallHash) -> Arc<CallKey> {
    let call_id = Box::new(hash.0.to_be_bytes());
    Arc::new(CallKey { call_id, from_tag: "f".into(), upstream_branch: "b".into(), cseq: 1 })
}

/// Goes nowhere yet.
pub fn accepted(request: Bytes, at: WallMillis) -> Box<Accepted> {
    Box::new(Accepted {
        request,
        source: Flow { listener: ListenerId(0), remote: ([192, 0, 2, 7], 5060).into() },
        transport: Transport::Udp,
        at,
        caller: None,
        call: None,
        dialogs: Vec::new(),
        decisions: Vec::new(),
        pending: false,
        targets: Vec::new(),
    })
}
