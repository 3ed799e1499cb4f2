//! What the tests of this crate share: phones that register, and a server with its simulated disk.

#![allow(clippy::unwrap_used)]

use crate::log::simulated::SimulatedLog;
use crate::log::{Log, LogError};
use crate::provisioning::digests;
use crate::replicate::RingLimits;
use crate::server::{Effect, Failure, Input, LinkId, Server, Setup};
use crate::store::Store;
use common::ids::{BootId, HistoryId, Level, ListenerId, NodeId};
use common::location::command::RequestedContact;
use common::location::{Aor, Command, IdempotenceKey, LogTime, Outcome, RegisterCommand, RequestedBinding};
use common::time::{Time, WallMillis};
use common::wire::location::{FromServer, ToServer};
use std::collections::BTreeMap;

pub const SUM_KEY: [u8; 16] = [9; 16];
pub const HISTORY: HistoryId = HistoryId(77);

pub fn alice() -> Aor {
    Aor::new("alice", "rack.test")
}

/// A REGISTER with contacts as `uri` or `uri;expires=N` (3600 unless said); `*` removes all.
pub fn register_of(aor: Aor, call_id: &str, cseq: u32, contacts: &[&str]) -> RegisterCommand {
    let what = match contacts {
        ["*"] => RequestedBinding::RemoveAll,
        _ => RequestedBinding::Contacts(contacts.iter().map(|c| contact(c)).collect()),
    };
    RegisterCommand {
        aor,
        call_id: call_id.into(),
        cseq,
        what,
        received: "192.0.2.7:5060".parse().unwrap(),
        listener: ListenerId(0),
        path: Vec::new(),
        user_agent: "phone".into(),
        max_contacts: 3,
    }
}

pub fn register(call_id: &str, cseq: u32, contacts: &[&str]) -> RegisterCommand {
    register_of(alice(), call_id, cseq, contacts)
}

fn contact(text: &str) -> RequestedContact {
    let (uri, expires_s) = text.split_once(";expires=").map_or((text, 3600), |(uri, s)| (uri, s.parse().unwrap()));
    RequestedContact { contact: uri.into(), expires_s, q_thousandths: 1000, instance: String::new() }
}

pub fn put(user: &str) -> Command {
    Command::PutSubscriber { subscriber: digests::subscriber(Aor::new(user, "rack.test"), "secret"), only_new: false }
}

/// Outcome as one short line: `ok a b` (contacts), `done`, or the refusal.
pub fn say(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Registered { bindings, .. } => {
            bindings.iter().fold("ok".into(), |line, b| format!("{line} {}", b.contact))
        }
        Outcome::Done { .. } => "done".into(),
        Outcome::Refused { refusal, .. } => format!("{refusal:?}"),
    }
}

/// A store with a log position and a clock; every command has a key of its own unless one is given.
pub struct Desk {
    pub store: Store,
    pub seconds: u64,
}

impl Desk {
    pub fn new() -> Desk {
        Desk { store: Store::new(SUM_KEY), seconds: 0 }
    }

    pub fn apply(&mut self, key: u128, command: &Command) -> Outcome {
        let level = Level(self.store.level().0 + 1);
        self.store.apply(level, LogTime(self.seconds * 1000), IdempotenceKey(key), command).1
    }

    pub fn register(&mut self, call_id: &str, cseq: u32, contacts: &[&str]) -> String {
        let key = 1_000_000 + u128::from(self.store.level().0);
        say(&self.apply(key, &Command::Register(register(call_id, cseq, contacts))))
    }

    /// Applies the expiries that are due, as the server would.
    pub fn expire(&mut self) -> usize {
        let due = self.store.due(LogTime(self.seconds * 1000), 100);
        due.iter().for_each(|command| drop(self.apply(0, command)));
        due.len()
    }
}

/// What a node at the far end of a link has put together from the frames, checked as a node checks it.
#[derive(Default)]
pub struct Node {
    pub history: HistoryId,
    pub level: Level,
    pub records: BTreeMap<common::location::RecordKey, common::location::Record>,
    building: Option<BTreeMap<common::location::RecordKey, common::location::Record>>,
    pub reloads: u32,
    pub stamps: u32,
    pub outcomes: Vec<(u64, String)>,
}

impl Node {
    pub fn sum(&self) -> u128 {
        let mut sum = common::location::RecordSum::new(&SUM_KEY);
        self.records.values().for_each(|r| sum.add(r));
        sum.value()
    }

    pub fn take(&mut self, frame: FromServer) {
        match frame {
            FromServer::Welcome { history, reload, .. } => {
                self.history = history;
                self.building = reload.then(BTreeMap::new);
            }
            FromServer::Part { records } => {
                let building = self.building.as_mut().expect("a part belongs to a reload");
                building.extend(records.into_iter().map(|r| (r.key(), r)));
            }
            FromServer::PartEnd { level, sum } => {
                self.records = self.building.take().expect("an end belongs to a reload");
                self.level = level;
                self.reloads += 1;
                assert_eq!(self.sum(), sum, "the parts are exactly level {level}");
            }
            FromServer::Entries(entries) => {
                assert!(self.building.is_none(), "nothing but parts during a reload");
                for entry in entries {
                    assert_eq!(entry.level.0, self.level.0 + 1, "no gap, no repetition");
                    self.level = entry.level;
                    for change in entry.changes {
                        match change {
                            common::location::Change::Put(r) => drop(self.records.insert(r.key(), r)),
                            common::location::Change::Remove(k) => drop(self.records.remove(&k)),
                        }
                    }
                }
            }
            FromServer::Stamp { level, sum, .. } => {
                assert_eq!((self.level, self.sum()), (level, sum));
                self.stamps += 1;
            }
            FromServer::Outcome { ask, outcome } => self.outcomes.push((ask, say(&outcome))),
            FromServer::Failed { ask, reason } => self.outcomes.push((ask, reason)),
        }
    }
}

/// A server with a simulated disk and its links' far ends; `deliver` decides whether frames flow.
pub struct Bench {
    pub server: Server,
    pub log: SimulatedLog,
    pub now: Time,
    pub nodes: BTreeMap<LinkId, Node>,
    pub closed: Vec<(LinkId, String)>,
    pub answers: BTreeMap<u64, Result<Outcome, Failure>>,
    pub halted: Option<String>,
    /// Frames pile up in the links' queues while this is off.
    pub deliver: bool,
    /// A batch is neither written nor refused while this is on.
    pub disk_hangs: bool,
    effects: Vec<Effect>,
    hanging: Option<Vec<crate::log::LogEntry>>,
    next_ask: u64,
}

impl Bench {
    pub fn new(ring: RingLimits) -> Bench {
        let mut bench = Bench {
            server: server(ring),
            log: SimulatedLog::new(HISTORY),
            now: Time(0),
            nodes: BTreeMap::new(),
            closed: Vec::new(),
            answers: BTreeMap::new(),
            halted: None,
            deliver: true,
            disk_hangs: false,
            effects: Vec::new(),
            hanging: None,
            next_ask: 0,
        };
        bench.server.start(Time(0), WallMillis(0));
        bench
    }

    /// Power off and on; of what was not synced `written` entries reached the disk.
    pub fn restart(&mut self, ring: RingLimits, written: usize) {
        if let Some(batch) = self.hanging.take() {
            let _ = self.log.append(&batch);
        }
        self.log.crash(written);
        self.server = server(ring);
        self.effects.clear();
        self.nodes.clear();
        self.halted = None;
        let server = &mut self.server;
        self.log.replay(Level(1), &mut |e| server.replay(&e)).unwrap();
        self.server.start(self.now, WallMillis(self.now.millis()));
    }

    pub fn input(&mut self, input: Input) {
        self.server.handle(self.now, WallMillis(self.now.millis()), input, &mut self.effects);
        self.run();
    }

    pub fn seconds(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = Time(self.now.0 + 1_000_000);
            self.server.tick(self.now, WallMillis(self.now.millis()), &mut self.effects);
            self.run();
        }
    }

    /// Carries out effects until nothing moves.
    pub fn run(&mut self) {
        if !self.disk_hangs
            && let Some(batch) = self.hanging.take()
        {
            self.effects.insert(0, Effect::Append(batch));
        }
        while let Some(at) = self.effects.iter().position(|e| self.deliver || !matches!(e, Effect::Send { .. })) {
            let effect = self.effects.remove(at);
            let input = match effect {
                Effect::Append(batch) if self.disk_hangs => {
                    assert!(self.hanging.replace(batch).is_none(), "one batch at a time");
                    continue;
                }
                Effect::Append(batch) => match self.log.append(&batch).and_then(|()| self.log.sync()) {
                    Ok(()) => Input::Durable,
                    Err(e @ LogError::Full { .. }) => Input::NotWritten { reason: e.to_string() },
                    Err(e) => Input::Broken { reason: e.to_string() },
                },
                Effect::Send { link, frame } => {
                    self.nodes.entry(link).or_default().take(frame);
                    Input::Sent { link, frames: 1 }
                }
                Effect::Close { link, why } => {
                    self.closed.push((link, why.to_string()));
                    Input::Closed { link }
                }
                Effect::Answer { ask, result } => {
                    self.answers.insert(ask, result);
                    continue;
                }
                Effect::Halt { reason } => {
                    self.halted = Some(reason);
                    continue;
                }
            };
            self.server.handle(self.now, WallMillis(self.now.millis()), input, &mut self.effects);
        }
    }

    /// A command of the API with a key of its own; its answer if it is there already.
    pub fn ask(&mut self, command: Command) -> Option<Result<Outcome, Failure>> {
        self.next_ask += 1;
        let ask = self.next_ask;
        self.input(Input::Ask { ask, key: IdempotenceKey(ask.into()), command });
        self.answers.remove(&ask)
    }

    pub fn hello(&mut self, link: u64, node: u16, has: (HistoryId, Level)) {
        let frame =
            ToServer::Hello { node: NodeId(node), boot: BootId(1), history: has.0, level: has.1, subscribe: true };
        self.input(Input::Frame { link: LinkId(link), frame });
    }

    pub fn node(&mut self, link: u64) -> &mut Node {
        self.nodes.entry(LinkId(link)).or_default()
    }
}

fn server(ring: RingLimits) -> Server {
    Server::new(Setup { history: HISTORY, nodes: [NodeId(1), NodeId(2)].into(), sum_key: SUM_KEY, ring })
}
