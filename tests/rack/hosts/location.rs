//! A simulated location server: the real core on a simulated disk, with a stream to each node.

use crate::hosts::timed::Due;
use crate::network::Pipe;
use common::ids::{HistoryId, NodeId};
use common::keys::Keys;
use common::location::{Command, IdempotenceKey};
use common::time::{Duration, Time, WallMillis};
use common::wire::location::{FromServer, ToServer};
use location_server::log::simulated::SimulatedLog;
use location_server::log::{Log, LogEntry};
use location_server::replicate::RingLimits;
use location_server::server::{Effect, Input, LinkId, Server, Setup};
use std::collections::{BTreeMap, BTreeSet};

/// One way of a stream, on a LAN.
const STREAM_DELAY: Duration = Duration::from_micros(300);
/// What a sync of the simulated disk takes.
const SYNC_TAKES: Duration = Duration::from_millis(2);

pub struct LocationHost {
    keys: Keys,
    nodes: BTreeSet<NodeId>,
    log: SimulatedLog,
    /// None while it is dead.
    server: Option<Server>,
    /// A batch that is written and becomes durable then.
    syncing: Option<Time>,
    streams: BTreeMap<LinkId, Stream>,
    next_link: u64,
    next_ask: u64,
}

/// A stream to one node, both directions.
struct Stream {
    node: NodeId,
    to_server: Pipe<ToServer>,
    to_node: Pipe<FromServer>,
}

/// What reaches a node over its stream.
pub enum StreamEvent {
    Frame(FromServer),
    /// The connection is gone.
    Broken,
}

impl Due for LocationHost {
    fn due(&self) -> Option<Time> {
        let server = self.server.as_ref().and_then(Server::next_due);
        let streams =
            self.streams.values().flat_map(|s| [s.to_server.next_arrival(), s.to_node.next_arrival()]).flatten();
        server.into_iter().chain(self.syncing).chain(streams).min()
    }
}

impl LocationHost {
    pub fn new(keys: Keys, nodes: BTreeSet<NodeId>, history: HistoryId) -> LocationHost {
        LocationHost {
            keys,
            nodes,
            log: SimulatedLog::new(history),
            server: None,
            syncing: None,
            streams: BTreeMap::new(),
            next_link: 1,
            next_ask: 1,
        }
    }

    pub fn is_up(&self) -> bool {
        self.server.is_some()
    }

    pub fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// The process starts: it replays what is durable.
    pub fn start(&mut self, now: Time, wall: WallMillis) {
        let setup = Setup {
            history: self.log.history(),
            nodes: self.nodes.clone(),
            sum_key: self.keys.record_sum,
            ring: RingLimits::default(),
        };
        let mut server = Server::new(setup);
        let replayed = self.log.replay(common::ids::Level(1), &mut |entry: LogEntry| server.replay(&entry));
        assert!(replayed.is_ok(), "a simulated log replays");
        server.start(now, wall);
        self.server = Some(server);
    }

    /// kill -9: what was not synced is gone, every stream breaks.
    pub fn kill(&mut self) -> Vec<NodeId> {
        self.server = None;
        self.syncing = None;
        self.log.crash(0);
        std::mem::take(&mut self.streams).into_values().map(|stream| stream.node).collect()
    }

    /// A node opens its stream; false while the server is dead.
    pub fn connect(&mut self, node: NodeId) -> bool {
        if self.server.is_none() {
            return false;
        }
        self.disconnect(node);
        let link = LinkId(self.next_link);
        self.next_link += 1;
        self.streams
            .insert(link, Stream { node, to_server: Pipe::new(STREAM_DELAY), to_node: Pipe::new(STREAM_DELAY) });
        true
    }

    /// The node died or gave the stream up.
    pub fn disconnect(&mut self, node: NodeId) {
        let gone: Vec<LinkId> = self.streams.iter().filter(|(_, s)| s.node == node).map(|(id, _)| *id).collect();
        for link in gone {
            self.streams.remove(&link);
            if let Some(server) = &mut self.server {
                let mut out = Vec::new();
                server.handle(Time(0), WallMillis(0), Input::Closed { link }, &mut out);
            }
        }
    }

    pub fn send(&mut self, now: Time, node: NodeId, frame: ToServer) {
        if let Some(stream) = self.streams.values_mut().find(|s| s.node == node) {
            stream.to_server.send(now, frame);
        }
    }

    /// What the API would do: a command of the operator.
    pub fn command(&mut self, now: Time, wall: WallMillis, command: Command) {
        let ask = self.next_ask;
        self.next_ask += 1;
        self.handle(now, wall, Input::Ask { ask, key: IdempotenceKey(u128::from(ask)), command });
    }

    /// Does what is due by `now`; what reaches nodes comes back.
    pub fn tick(&mut self, now: Time, wall: WallMillis) -> Vec<(NodeId, StreamEvent)> {
        if self.syncing.is_some_and(|at| at <= now) {
            self.syncing = None;
            let input = match self.log.sync() {
                Ok(()) => Input::Durable,
                Err(error) => Input::Broken { reason: error.to_string() },
            };
            self.handle(now, wall, input);
        }
        let links: Vec<LinkId> = self.streams.keys().copied().collect();
        for link in links {
            while let Some(frame) = self.streams.get_mut(&link).and_then(|s| s.to_server.arrive(now)) {
                self.handle(now, wall, Input::Frame { link, frame });
            }
        }
        if self.server.as_ref().and_then(Server::next_due).is_some_and(|at| at <= now) {
            let mut out = Vec::new();
            if let Some(server) = &mut self.server {
                server.tick(now, wall, &mut out);
            }
            self.carry_out(now, wall, out);
        }
        let mut events = Vec::new();
        for stream in self.streams.values_mut() {
            while let Some(frame) = stream.to_node.arrive(now) {
                events.push((stream.node, StreamEvent::Frame(frame)));
            }
        }
        events
    }

    fn handle(&mut self, now: Time, wall: WallMillis, input: Input) {
        let Some(server) = &mut self.server else { return };
        let mut out = Vec::new();
        server.handle(now, wall, input, &mut out);
        self.carry_out(now, wall, out);
    }

    fn carry_out(&mut self, now: Time, wall: WallMillis, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Append(batch) => match self.log.append(&batch) {
                    Ok(()) => self.syncing = Some(now + SYNC_TAKES),
                    Err(error) => self.handle(now, wall, Input::NotWritten { reason: error.to_string() }),
                },
                Effect::Send { link, frame } => {
                    if let Some(stream) = self.streams.get_mut(&link) {
                        stream.to_node.send(now, frame);
                    }
                    self.handle(now, wall, Input::Sent { link, frames: 1 });
                }
                Effect::Close { link, .. } => drop(self.streams.remove(&link)),
                Effect::Answer { .. } => {}
                Effect::Halt { .. } => self.server = None,
            }
        }
    }
}
