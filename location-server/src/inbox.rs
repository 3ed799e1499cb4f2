//! The bounded queue in front of the core, the only way to it: the API, the log's thread and the nodes' connections put
//! jobs in, the core's task (`io::core`) takes them out one by one.

use crate::server::{Failure, Input, LinkId, Server};
use common::location::{Command, IdempotenceKey, LogTime, Outcome};
use common::wire::location::FromServer;
use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait; whoever brings one more waits with it.
const DEPTH: usize = 4_096;

pub enum Job {
    Input(Input),
    /// A command of this process with the way back; without a key the core's task draws one.
    Command {
        key: Option<IdempotenceKey>,
        command: Command,
        reply: oneshot::Sender<Result<Outcome, Failure>>,
    },
    /// A connection of a node, before its first frame; what goes to it goes into `frames`.
    Open {
        link: LinkId,
        frames: mpsc::Sender<FromServer>,
    },
    /// A look at the state between two inputs.
    Read(Read),
}

pub type Read = Box<dyn FnOnce(&Server, LogTime) + Send>;
pub type Reply = oneshot::Receiver<Result<Outcome, Failure>>;

/// Why there was no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    #[error(transparent)]
    Failed(#[from] Failure),
    #[error("the location server is stopping")]
    Stopping,
}

#[derive(Clone)]
pub struct Inbox {
    jobs: mpsc::Sender<Job>,
}

impl Inbox {
    pub fn new() -> (Inbox, mpsc::Receiver<Job>) {
        let (jobs, queue) = mpsc::channel(DEPTH);
        (Inbox { jobs }, queue)
    }

    /// Puts a command in; its outcome comes by the reply once it is durable and applied.
    ///
    /// # Errors
    /// [`Unanswered::Stopping`] when the core is gone.
    pub async fn submit(&self, key: Option<IdempotenceKey>, command: Command) -> Result<Reply, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job::Command { key, command, reply }).await.map_err(|_| Unanswered::Stopping)?;
        Ok(answer)
    }

    /// # Errors
    /// [`Unanswered`]: nothing of the command is in the log.
    pub async fn ask(&self, command: Command) -> Result<Outcome, Unanswered> {
        outcome(self.submit(None, command).await?).await
    }

    /// Reads from the state, between two commands.
    ///
    /// # Errors
    /// [`Unanswered::Stopping`] when the core is gone.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Server, LogTime) -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let (reply, answer) = oneshot::channel();
        // A reader that has gone away needs no answer.
        let job = Job::Read(Box::new(move |server, time| drop(reply.send(read(server, time)))));
        self.jobs.send(job).await.map_err(|_| Unanswered::Stopping)?;
        answer.await.map_err(|_| Unanswered::Stopping)
    }

    /// # Errors
    /// [`Unanswered::Stopping`] when the core is gone.
    pub async fn open(&self, link: LinkId, frames: mpsc::Sender<FromServer>) -> Result<(), Unanswered> {
        self.jobs.send(Job::Open { link, frames }).await.map_err(|_| Unanswered::Stopping)
    }

    /// # Errors
    /// [`Unanswered::Stopping`] when the core is gone.
    pub async fn input(&self, input: Input) -> Result<(), Unanswered> {
        self.jobs.send(Job::Input(input)).await.map_err(|_| Unanswered::Stopping)
    }

    /// For a thread outside the runtime: waits for room.
    ///
    /// # Errors
    /// [`Unanswered::Stopping`] when the core is gone.
    pub fn input_from_thread(&self, input: Input) -> Result<(), Unanswered> {
        self.jobs.blocking_send(Job::Input(input)).map_err(|_| Unanswered::Stopping)
    }
}

/// Waits for what [`Inbox::submit`] promised.
///
/// # Errors
/// [`Unanswered`]: nothing of the command is in the log, or the server stops and nobody knows.
pub async fn outcome(reply: Reply) -> Result<Outcome, Unanswered> {
    Ok(reply.await.map_err(|_| Unanswered::Stopping)??)
}
