//! Foreign nodes: other people's servers, listed as `nodes` in the rack file, that say by version 1 heartbeats that they
//! live. Nothing proves such a heartbeat, so it is believed for nothing but the line that is shown of its sender: it
//! changes no epoch, no placement, no lease and no beacon. `Core` brings every heartbeat of version 1 here.

use super::refusal::Refusal;
use common::config::{ForeignNode, Rack};
use common::ids::NodeId;
use common::time::{Duration, Time};
use common::wire::heartbeat::{Heartbeat, NodeState};
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};

/// A foreign node as it looks from here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForeignStatus {
    #[serde(rename = "id")]
    pub node: NodeId,
    pub address: IpAddr,
    /// `absent` (never heard), `down`, or what it says of itself.
    pub state: &'static str,
    /// As it said last.
    pub sip_port: Option<u16>,
    /// Age of its newest heartbeat, in microseconds.
    pub heartbeat_age_us: Option<u64>,
}

impl ForeignStatus {
    /// Heard, and by its own word at work; one that drains still has its calls.
    pub fn is_up(&self) -> bool {
        matches!(self.state, "started" | "draining")
    }
}

/// What the newest heartbeat said.
#[derive(Clone, Copy)]
struct Said {
    at: Time,
    state: NodeState,
    sip_port: u16,
}

struct Foreign {
    node: NodeId,
    address: IpAddr,
    said: Option<Said>,
}

/// All foreign nodes of the rack file.
pub struct ForeignTable {
    accepts_v1: bool,
    down_after: Duration,
    /// By node id.
    nodes: Vec<Foreign>,
    /// Ids of the cc-nodes, in order. They have a key: a heartbeat without a MAC speaks for none of them.
    cc_nodes: Vec<NodeId>,
}

impl ForeignTable {
    pub fn new(rack: &Rack) -> ForeignTable {
        let foreign = |node: &ForeignNode| Foreign { node: node.id, address: node.address, said: None };
        let mut nodes: Vec<Foreign> = rack.nodes.iter().map(foreign).collect();
        nodes.sort_by_key(|foreign| foreign.node);
        nodes.dedup_by_key(|foreign| foreign.node);
        let mut cc_nodes: Vec<NodeId> = rack.cc_nodes.iter().map(|node| node.id).collect();
        cc_nodes.sort();
        let down_after = Duration::from_millis(u64::from(rack.heartbeat.down_after_ms));
        ForeignTable { accepts_v1: rack.heartbeat.accept_v1, down_after, nodes, cc_nodes }
    }

    /// Whether version 1 is taken at all.
    pub fn accepts_v1(&self) -> bool {
        self.accepts_v1
    }

    /// A heartbeat of version 1. Anybody can send these, as many as he likes: each costs two look-ups and one line that is
    /// written over.
    pub fn hear(&mut self, now: Time, from: SocketAddr, heartbeat: &Heartbeat) -> Result<(), Refusal> {
        if !self.accepts_v1 || self.cc_nodes.binary_search(&heartbeat.node).is_ok() {
            return Err(Refusal::Foreign);
        }
        let at = self.nodes.binary_search_by_key(&heartbeat.node, |foreign| foreign.node);
        let foreign = &mut self.nodes[at.map_err(|_| Refusal::UnknownNode)?];
        if foreign.address != from.ip() {
            return Err(Refusal::WrongSource);
        }
        foreign.said = Some(Said { at: now, state: heartbeat.state, sip_port: heartbeat.sip_port });
        Ok(())
    }

    /// By node id.
    pub fn status(&self, now: Time) -> Vec<ForeignStatus> {
        let shown = |foreign: &Foreign| ForeignStatus {
            node: foreign.node,
            address: foreign.address,
            state: match &foreign.said {
                None => "absent",
                Some(said) if now.since(said.at) >= self.down_after => "down",
                Some(said) => said.state.label(),
            },
            sip_port: foreign.said.map(|said| said.sip_port),
            heartbeat_age_us: foreign.said.map(|said| now.since(said.at).as_micros() as u64),
        };
        self.nodes.iter().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOREIGN: u16 = 101;
    const HOME: [u8; 4] = [10, 0, 0, 7];

    fn ms(ms: u64) -> Time {
        Time(ms * 1000)
    }

    /// Cc-nodes 1 and 2; foreign nodes 102 and 101, in this order in the file.
    fn table(accept_v1: bool) -> ForeignTable {
        let mut rack = Rack::one_machine_default(2).expand();
        rack.heartbeat.accept_v1 = accept_v1;
        let node = |id: u16, address: [u8; 4]| ForeignNode { id: NodeId(id), address: address.into() };
        rack.nodes = vec![node(102, [10, 0, 0, 8]), node(FOREIGN, HOME)];
        ForeignTable::new(&rack)
    }

    fn hear(table: &mut ForeignTable, now: Time, from: [u8; 4], node: u16, state: NodeState) -> Result<(), Refusal> {
        let heartbeat = Heartbeat { node: NodeId(node), sip_port: 5060, state, v2: None };
        table.hear(now, SocketAddr::from((from, 40_000)), &heartbeat)
    }

    fn states(table: &ForeignTable, now: Time) -> Vec<(u16, &'static str)> {
        table.status(now).iter().map(|foreign| (foreign.node.0, foreign.state)).collect()
    }

    #[test]
    fn it_is_what_it_says_until_it_is_silent() {
        let mut table = table(true);
        assert_eq!(states(&table, ms(0)), [(101, "absent"), (102, "absent")]);
        for (at, state) in NodeState::ALL.into_iter().enumerate() {
            let now = ms(50 * at as u64);
            assert_eq!(hear(&mut table, now, HOME, FOREIGN, state), Ok(()));
            assert_eq!(states(&table, now), [(101, state.label()), (102, "absent")]);
        }
        assert_eq!(hear(&mut table, ms(1000), HOME, FOREIGN, NodeState::Started), Ok(()));
        assert_eq!(states(&table, ms(1349))[0].1, "started");
        assert_eq!(states(&table, ms(1350))[0].1, "down");
        assert_eq!(hear(&mut table, ms(2000), HOME, FOREIGN, NodeState::Draining), Ok(()));
        assert_eq!(states(&table, ms(2000))[0].1, "draining");
    }

    #[test]
    fn its_line_has_what_it_said_and_when() {
        let mut table = table(true);
        assert_eq!(hear(&mut table, ms(10), HOME, FOREIGN, NodeState::Started), Ok(()));
        let json = serde_json::to_value(table.status(ms(13))).unwrap_or_default();
        let wanted = serde_json::json!([
            { "id": 101, "address": "10.0.0.7", "state": "started", "sip_port": 5060, "heartbeat_age_us": 3000 },
            { "id": 102, "address": "10.0.0.8", "state": "absent", "sip_port": null, "heartbeat_age_us": null },
        ]);
        assert_eq!(json, wanted);
    }

    #[test]
    fn up_is_who_is_heard_and_at_work() {
        let mut table = table(true);
        let up = |table: &ForeignTable, now| table.status(now)[0].is_up();
        assert!(!up(&table, ms(0)));
        for state in NodeState::ALL {
            assert_eq!(hear(&mut table, ms(0), HOME, FOREIGN, state), Ok(()));
            assert_eq!(up(&table, ms(0)), matches!(state, NodeState::Started | NodeState::Draining), "{state:?}");
        }
        assert_eq!(hear(&mut table, ms(0), HOME, FOREIGN, NodeState::Started), Ok(()));
        assert!(up(&table, ms(349)) && !up(&table, ms(350)));
    }

    #[test]
    fn who_is_not_listed_there_changes_nothing() {
        let mut table = table(true);
        let started = NodeState::Started;
        for (from, node, why) in [
            (HOME, 1, Refusal::Foreign),
            ([127, 0, 0, 1], 2, Refusal::Foreign),
            (HOME, 103, Refusal::UnknownNode),
            (HOME, 102, Refusal::WrongSource),
            ([10, 0, 0, 9], FOREIGN, Refusal::WrongSource),
        ] {
            assert_eq!(hear(&mut table, ms(0), from, node, started), Err(why), "{node} from {from:?}");
        }
        assert_eq!(states(&table, ms(0)), [(101, "absent"), (102, "absent")]);
    }

    #[test]
    fn unless_it_is_asked_for_nobody_is_heard() {
        let mut table = table(false);
        for node in [1, 101, 103] {
            assert_eq!(hear(&mut table, ms(0), HOME, node, NodeState::Started), Err(Refusal::Foreign));
        }
        assert_eq!(states(&table, ms(0)), [(101, "absent"), (102, "absent")]);
    }
}
