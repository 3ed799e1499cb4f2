//! What goes into the core and what comes out of it.

use super::MOST_WAITING;
use crate::log::LogEntry;
use crate::log::format::MOST_COMMAND;
use common::ids::NodeId;
use common::location::{Command, IdempotenceKey, Outcome};
use common::wire::location::{FromServer, ToServer};

/// One connection of a node, numbered by `io`; a number is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

pub enum Input {
    /// A frame that was opened with the plane key.
    Frame {
        link: LinkId,
        frame: ToServer,
    },
    /// So many frames of the link's queue have been written to its socket.
    Sent {
        link: LinkId,
        frames: u32,
    },
    Closed {
        link: LinkId,
    },
    /// A command of this process (API, seeds); `ask` comes back in [`Effect::Answer`].
    Ask {
        ask: u64,
        key: IdempotenceKey,
        command: Command,
    },
    /// The batch of the last [`Effect::Append`] is durable.
    Durable,
    /// Nothing of the batch is in the log; later batches may be.
    NotWritten {
        reason: String,
    },
    /// The log cannot be used any more.
    Broken {
        reason: String,
    },
}

#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Write and sync, then say `Durable`, `NotWritten` or `Broken`. There is no second one before that.
    Append(Vec<LogEntry>),
    /// Frames of one link go out in this order; say `Sent` for each that is written.
    Send {
        link: LinkId,
        frame: FromServer,
    },
    Close {
        link: LinkId,
        why: CloseReason,
    },
    Answer {
        ask: u64,
        result: Result<Outcome, Failure>,
    },
    /// The log is broken: say so and end with an error. Nothing is acknowledged after this.
    Halt {
        reason: String,
    },
}

/// Why a node's connection is closed. The labels are those of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    #[error("node {0} is not in this rack's file")]
    UnknownNode(NodeId),
    #[error("its first frame is not a hello")]
    NoHello,
    #[error("a second hello on one connection")]
    SecondHello,
    #[error("it reads too slowly; it may connect again and resume")]
    TooSlow,
}

impl CloseReason {
    pub fn label(self) -> &'static str {
        match self {
            CloseReason::UnknownNode(_) => "unknown_node",
            CloseReason::NoHello => "no_hello",
            CloseReason::SecondHello => "second_hello",
            CloseReason::TooSlow => "too_slow",
        }
    }
}

/// Why a command has no outcome; nothing of it is in the log, it may be asked again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("too many commands wait for the log ({MOST_WAITING}); ask again later")]
    Busy,
    #[error("the command has {0} bytes, a log entry at most {MOST_COMMAND}")]
    TooBig(usize),
    #[error("nodes send REGISTER commands only")]
    NotForNodes,
    #[error("{0}")]
    Log(String),
}
