//! The frames of the location stream, each in one sealed record: a version octet, then postcard.

use crate::ids::{BootId, HistoryId, Level, NodeId};
use crate::keys::Span;
use crate::location::{Command, Entry, IdempotenceKey, LogTime, Outcome, Record};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToServer {
    /// First on every stream: who I am and what I hold. `subscribe`: push me what follows.
    Hello {
        node: NodeId,
        boot: BootId,
        history: HistoryId,
        level: Level,
        subscribe: bool,
    },
    Command {
        ask: u64,
        key: IdempotenceKey,
        command: Command,
    },
    Ping,
    /// Which plane keys stand: for whoever serves the stream, not for the database.
    Keys {
        plane: Span,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromServer {
    /// The log's history and newest level; `reload`: what you hold is of no use, the whole database follows.
    Welcome {
        history: HistoryId,
        level: Level,
        reload: bool,
    },
    /// Records of a reload.
    Part {
        records: Vec<Record>,
    },
    /// The reload is complete as of this level; the sum of all its records.
    PartEnd {
        level: Level,
        sum: u128,
    },
    Entries(Vec<Entry>),
    Outcome {
        ask: u64,
        outcome: Outcome,
    },
    /// The command was not carried out and left nothing behind; it may be asked again.
    Failed {
        ask: u64,
        reason: String,
    },
    /// The record sum after this level, and the log time now.
    Stamp {
        level: Level,
        sum: u128,
        time: LogTime,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationFrameError {
    #[error("an empty frame")]
    Empty,
    #[error("unknown version {0} of a location frame")]
    UnknownVersion(u8),
    #[error("a location frame that cannot be read: {0}")]
    Body(String),
}

impl ToServer {
    pub fn encode(&self) -> Vec<u8> {
        write(self)
    }

    pub fn decode(bytes: &[u8]) -> Result<ToServer, LocationFrameError> {
        read(bytes)
    }
}

impl FromServer {
    pub fn encode(&self) -> Vec<u8> {
        write(self)
    }

    pub fn decode(bytes: &[u8]) -> Result<FromServer, LocationFrameError> {
        read(bytes)
    }
}

fn write(frame: &impl Serialize) -> Vec<u8> {
    // Plain data into memory: postcard cannot fail here.
    postcard::to_extend(frame, vec![VERSION]).unwrap_or_default()
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, LocationFrameError> {
    let (version, body) = bytes.split_first().ok_or(LocationFrameError::Empty)?;
    if *version != VERSION {
        return Err(LocationFrameError::UnknownVersion(*version));
    }
    postcard::take_from_bytes(body).map(|(frame, _)| frame).map_err(|e| LocationFrameError::Body(e.to_string()))
}
