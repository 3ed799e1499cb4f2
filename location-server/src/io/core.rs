//! The core's task: takes jobs from the inbox, runs `server::Server` with this machine's clock, carries its effects out.

use super::board::Board;
use crate::inbox::Job;
use crate::log::LogEntry;
use crate::server::{CloseReason, Effect, Failure, Input, LinkId, Server};
use common::ids::BootId;
use common::io::clock::Clock;
use common::location::{Command, IdempotenceKey, Outcome};
use common::time::Time;
use common::wire::location::FromServer;
use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;
use tokio::sync::{mpsc, oneshot};

type ReplyTo = oneshot::Sender<Result<Outcome, Failure>>;

/// Jobs that are done before the timer is looked at again.
const JOBS_A_TURN: usize = 256;

pub struct CoreTask {
    pub server: Server,
    pub jobs: mpsc::Receiver<Job>,
    pub log: SyncSender<Vec<LogEntry>>,
    pub clock: Clock,
    pub boot: BootId,
    pub board: Board,
}

/// The log is broken; the process ends with this.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Halted(pub String);

impl CoreTask {
    /// Runs until the log breaks or everybody who could ask is gone.
    ///
    /// # Errors
    /// [`Halted`] with what the disk said. Waiting askers have been told by then.
    pub async fn run(self) -> Result<(), Halted> {
        let CoreTask { server, mut jobs, log, clock, boot, board } = self;
        let mut hands = Hands { log, links: BTreeMap::new(), replies: BTreeMap::new(), asked: 0, boot, board };
        let mut server = server;
        let mut out = Vec::new();
        hands.board.publish(&server, server.log_time(clock.now()));
        loop {
            let due = server.next_due();
            tokio::select! {
                job = jobs.recv() => {
                    let Some(job) = job else { return Ok(()) };
                    hands.job(job, &mut server, &clock, &mut out)?;
                    for _ in 1..JOBS_A_TURN {
                        let Ok(job) = jobs.try_recv() else { break };
                        hands.job(job, &mut server, &clock, &mut out)?;
                    }
                }
                () = until(due, &clock) => {}
            }
            let now = clock.now();
            if server.next_due().is_some_and(|due| due <= now) {
                server.tick(now, clock.wall(), &mut out);
                hands.carry_out(&mut server, &clock, &mut out)?;
            }
            hands.board.publish(&server, server.log_time(now));
        }
    }
}

async fn until(due: Option<Time>, clock: &Clock) {
    match due {
        Some(due) => tokio::time::sleep(due.since(clock.now())).await,
        None => std::future::pending().await,
    }
}

/// What the effects are carried out with.
struct Hands {
    log: SyncSender<Vec<LogEntry>>,
    links: BTreeMap<LinkId, mpsc::Sender<FromServer>>,
    replies: BTreeMap<u64, ReplyTo>,
    asked: u64,
    boot: BootId,
    board: Board,
}

impl Hands {
    fn job(&mut self, job: Job, server: &mut Server, clock: &Clock, out: &mut Vec<Effect>) -> Result<(), Halted> {
        let input = match job {
            Job::Read(read) => {
                read(server, server.log_time(clock.now()));
                return Ok(());
            }
            Job::Open { link, frames } => {
                self.links.insert(link, frames);
                return Ok(());
            }
            Job::Command { key, command, reply } => self.ask(key, command, reply),
            Job::Input(input) => {
                if let Input::Closed { link } = &input {
                    self.links.remove(link);
                }
                input
            }
        };
        server.handle(clock.now(), clock.wall(), input, out);
        self.carry_out(server, clock, out)
    }

    fn ask(&mut self, key: Option<IdempotenceKey>, command: Command, reply: ReplyTo) -> Input {
        self.asked += 1;
        let ask = self.asked;
        self.replies.insert(ask, reply);
        let own = IdempotenceKey(u128::from(self.boot.0) << 64 | u128::from(ask));
        Input::Ask { ask, key: key.unwrap_or(own), command }
    }

    fn carry_out(&mut self, server: &mut Server, clock: &Clock, out: &mut Vec<Effect>) -> Result<(), Halted> {
        let mut halted = None;
        let mut gone = Vec::new();
        for effect in out.drain(..) {
            match effect {
                // One batch is under way at a time, so its place is free; a log thread that is gone has said why.
                Effect::Append(batch) => drop(self.log.try_send(batch)),
                Effect::Send { link, frame } => {
                    if self.links.get(&link).is_none_or(|frames| frames.try_send(frame).is_err()) {
                        gone.push(link);
                    }
                }
                Effect::Close { link, why } => self.close(link, why),
                Effect::Answer { ask, result } => {
                    self.board.answered(&result);
                    if let Some(reply) = self.replies.remove(&ask) {
                        // An asker that has gone away needs no answer.
                        drop(reply.send(result));
                    }
                }
                Effect::Halt { reason } => halted = Some(Halted(reason)),
            }
        }
        for link in gone {
            self.links.remove(&link);
            server.handle(clock.now(), clock.wall(), Input::Closed { link }, out);
        }
        match halted {
            Some(halted) => Err(halted),
            None if out.is_empty() => Ok(()),
            None => self.carry_out(server, clock, out),
        }
    }

    /// Dropping the queue's end ends the link's task, which closes the socket.
    fn close(&mut self, link: LinkId, why: CloseReason) {
        tracing::warn!(link = link.0, reason = why.label(), "connection closed: {why}");
        self.board.refused(why.label());
        self.links.remove(&link);
    }
}
