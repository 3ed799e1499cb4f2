//! The pure core of the stream to the location server: hello, resume or reload, the workers' asks and their outcomes.
//! `io::location` (and the simulated rack) tells it when the stream is up or down and what came in; it answers with
//! [`ClientEffect`]s, to be carried out in order.
//!
//! An ask outlives the stream: it is sent again, under the same idempotence key, on each new stream until its outcome
//! comes or its time is over. So a restarted location server delays a REGISTER and does not fail it.

use super::replica::{ReplicaError, ReplicaStatus, Writer};
use crate::effect::{AskId, LocationFailure};
use common::ids::{BootId, HistoryId, Level, NodeId};
use common::location::{Command, IdempotenceKey, Outcome};
use common::time::Time;
use common::wire::location::{FromServer, ToServer};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// An ask without outcome fails after this: below Timer F (32 s), so that the UA still hears the 503.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(24);
/// Asks under way in a node; more fail at once.
pub const ASKS: usize = 65_536;
/// A server is heard each second (stamps); after this much silence the stream is given up.
pub const SILENCE: Duration = Duration::from_secs(4);
const PING_EVERY: Duration = Duration::from_secs(1);
/// A command that the server could not carry out (its disk fails, it is about to stop) is sent again after this.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct ClientSetup {
    pub node: NodeId,
    pub boot: BootId,
    pub ask_timeout: Duration,
    pub asks: usize,
}

impl ClientSetup {
    pub fn new(node: NodeId, boot: BootId) -> ClientSetup {
        ClientSetup { node, boot, ask_timeout: ASK_TIMEOUT, asks: ASKS }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum ClientEffect {
    /// Write this to the stream that is up.
    Send(ToServer),
    /// Hand this to the worker as `Input::Location`.
    Answer { worker: u16, ask: AskId, outcome: Result<Outcome, LocationFailure> },
    /// Close the stream and open another. The reason is for the log.
    Reconnect { reason: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Down,
    /// Hello is out.
    Greeting {
        heard: Time,
    },
    /// Welcome is in; `target` is the level that the server had then.
    Up {
        heard: Time,
        target: Level,
    },
}

struct Ask {
    worker: u16,
    ask: AskId,
    key: IdempotenceKey,
    command: Command,
    until: Time,
}

pub struct Client {
    setup: ClientSetup,
    writer: Writer,
    link: Link,
    /// Ask for the whole database next time: what is held was found to differ.
    distrusted: bool,
    /// Was level with the server once: from then on the node may serve, even while the log is silent.
    was_level: bool,
    next_ping: Time,
    next_ask: u64,
    /// By number, which is also the order of deadlines.
    asks: BTreeMap<u64, Ask>,
    /// Which of them are to be sent again, and when.
    retries: BTreeSet<(Time, u64)>,
}

impl Client {
    pub fn new(setup: ClientSetup, writer: Writer) -> Client {
        Client {
            setup,
            writer,
            link: Link::Down,
            distrusted: false,
            was_level: false,
            next_ping: Time(0),
            next_ask: 1,
            asks: BTreeMap::new(),
            retries: BTreeSet::new(),
        }
    }

    pub fn status(&self) -> &ReplicaStatus {
        self.writer.status()
    }

    /// The replica has once caught up with what the server had when it said welcome. Never false again.
    pub fn was_level(&self) -> bool {
        self.was_level
    }

    /// Is the server heard now?
    pub fn is_up(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    /// How many levels the replica is known to be behind.
    pub fn lag(&self) -> u64 {
        match self.link {
            Link::Up { target, .. } => target.0.saturating_sub(self.status().level.0),
            _ => 0,
        }
    }

    pub fn asks(&self) -> usize {
        self.asks.len()
    }

    /// A stream is open: greet.
    pub fn connected(&mut self, now: Time, out: &mut Vec<ClientEffect>) {
        self.link = Link::Greeting { heard: now };
        self.next_ping = now + PING_EVERY;
        let status = self.writer.status();
        let (history, level) = if self.distrusted { (HistoryId(0), Level(0)) } else { (status.history, status.level) };
        let (node, boot) = (self.setup.node, self.setup.boot);
        out.push(ClientEffect::Send(ToServer::Hello { node, boot, history, level, subscribe: true }));
    }

    /// The stream is gone. Asks stay; the replica goes on serving.
    pub fn disconnected(&mut self, now: Time) {
        self.link = Link::Down;
        self.writer.silent(now);
    }

    /// A worker asks. At once if the stream is up, else when it is.
    pub fn ask(
        &mut self,
        now: Time,
        worker: u16,
        ask: AskId,
        key: IdempotenceKey,
        command: Command,
        out: &mut Vec<ClientEffect>,
    ) {
        if self.asks.len() >= self.setup.asks {
            out.push(ClientEffect::Answer { worker, ask, outcome: Err(LocationFailure::Full) });
            return;
        }
        let number = self.next_ask;
        self.next_ask += 1;
        if self.is_up() {
            out.push(ClientEffect::Send(ToServer::Command { ask: number, key, command: command.clone() }));
        }
        self.asks.insert(number, Ask { worker, ask, key, command, until: now + self.setup.ask_timeout });
    }

    pub fn handle(&mut self, now: Time, message: FromServer, out: &mut Vec<ClientEffect>) {
        match &mut self.link {
            Link::Down => return,
            Link::Greeting { heard } | Link::Up { heard, .. } => *heard = now,
        }
        match message {
            FromServer::Welcome { history, level, reload } => self.welcome(now, history, level, reload, out),
            FromServer::Outcome { ask, outcome } => self.answer(ask, Ok(outcome), out),
            FromServer::Failed { ask, reason } => self.failed(now, ask, &reason),
            FromServer::Part { records } => {
                let result = self.writer.load(records);
                self.check(result, out);
            }
            FromServer::PartEnd { level, sum } => {
                let result = self.writer.finish_reload(level, sum);
                if result.is_ok() {
                    self.distrusted = false;
                }
                self.check(result, out);
            }
            FromServer::Entries(entries) => {
                let result = entries.iter().try_for_each(|entry| self.writer.apply(now, entry).map(|_| ()));
                self.check(result, out);
            }
            FromServer::Stamp { level, sum, time } => {
                let result = self.writer.stamp(now, level, sum, time);
                self.check(result, out);
            }
        }
        self.note_level();
    }

    /// Fails asks whose time is over, keeps the stream alive, gives up a silent one.
    pub fn tick(&mut self, now: Time, out: &mut Vec<ClientEffect>) {
        while let Some(first) = self.asks.first_entry() {
            if first.get().until > now {
                break;
            }
            let Ask { worker, ask, .. } = first.remove();
            out.push(ClientEffect::Answer { worker, ask, outcome: Err(LocationFailure::Timeout) });
        }
        self.retry(now, out);
        let heard = match self.link {
            Link::Down => return,
            Link::Greeting { heard } | Link::Up { heard, .. } => heard,
        };
        if now >= heard + SILENCE {
            let reason = format!("the location server was silent for {} s", SILENCE.as_secs());
            out.push(ClientEffect::Reconnect { reason });
        } else if now >= self.next_ping {
            self.next_ping = now + PING_EVERY;
            out.push(ClientEffect::Send(ToServer::Ping));
        }
    }

    /// When [`Client::tick`] has something to do.
    pub fn next_due(&self) -> Option<Time> {
        let ask = self.asks.first_key_value().map(|(_, ask)| ask.until);
        let link = match self.link {
            Link::Down => None,
            Link::Greeting { heard } | Link::Up { heard, .. } => Some(self.next_ping.min(heard + SILENCE)),
        };
        let retry = self.retries.first().map(|(at, _)| *at);
        ask.into_iter().chain(retry).chain(link).min()
    }

    fn welcome(&mut self, now: Time, history: HistoryId, level: Level, reload: bool, out: &mut Vec<ClientEffect>) {
        let status = self.writer.status();
        if reload {
            self.writer.begin_reload(history);
        } else if history != status.history || level < status.level {
            // Only a reload may lead to another history or back: refuse to mix two logs.
            self.distrusted = true;
            let reason = format!(
                "the location server went on from history {history} level {level} without a reload; held: {} level {}",
                status.history, status.level
            );
            out.push(ClientEffect::Reconnect { reason });
            return;
        }
        self.link = Link::Up { heard: now, target: level };
        self.retries.clear();
        for (number, ask) in &self.asks {
            let (key, command) = (ask.key, ask.command.clone());
            out.push(ClientEffect::Send(ToServer::Command { ask: *number, key, command }));
        }
    }

    /// It left nothing behind and may be asked again, until its time is over.
    fn failed(&mut self, now: Time, ask: u64, reason: &str) {
        if self.asks.contains_key(&ask) {
            tracing::debug!(ask, reason, "the location server could not carry out a command; it is sent again");
            self.retries.insert((now + RETRY_AFTER, ask));
        }
    }

    fn retry(&mut self, now: Time, out: &mut Vec<ClientEffect>) {
        while let Some((at, number)) = self.retries.first().copied().filter(|(at, _)| *at <= now) {
            self.retries.remove(&(at, number));
            if let (true, Some(ask)) = (self.is_up(), self.asks.get(&number)) {
                let (key, command) = (ask.key, ask.command.clone());
                out.push(ClientEffect::Send(ToServer::Command { ask: number, key, command }));
            }
        }
    }

    /// An outcome for an ask that timed out, or that came twice, has no asker any more.
    fn answer(&mut self, number: u64, outcome: Result<Outcome, LocationFailure>, out: &mut Vec<ClientEffect>) {
        if let Some(Ask { worker, ask, .. }) = self.asks.remove(&number) {
            out.push(ClientEffect::Answer { worker, ask, outcome });
        }
    }

    fn check(&mut self, result: Result<(), ReplicaError>, out: &mut Vec<ClientEffect>) {
        let Err(error) = result else { return };
        // A gap is healed by resuming from our level, a wrong sum only by the whole database.
        self.distrusted |= !matches!(error, ReplicaError::Gap { .. });
        out.push(ClientEffect::Reconnect { reason: error.to_string() });
    }

    fn note_level(&mut self) {
        if let Link::Up { target, .. } = self.link {
            self.was_level |= !self.writer.is_loading() && self.status().level >= target;
        }
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
