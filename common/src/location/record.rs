//! What a replica holds: subscribers and the bindings of an address of record.

use super::subscriber::{ThreeDigests, TwoDigests};
use super::{Aor, Subscriber};
use crate::ids::{Level, ListenerId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::net::SocketAddr;

/// Milliseconds of the log's own clock: it never goes back and is carried by every entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogTime(pub u64);

/// One contact of an AOR (RFC 3261 §10.3), with where it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The Contact URI as registered, octet by octet.
    pub contact: String,
    /// Contact's q in thousandths, 0 to 1000 (RFC 3261 §20.10); 1000 where none was given.
    pub q_thousandths: u16,
    /// Log time at which the binding ends unless refreshed.
    pub expires_at: LogTime,
    /// Where the REGISTER came from as the load manager saw it; requests to the binding go there.
    pub received: SocketAddr,
    /// The listener it came in at; requests to the binding leave from it.
    pub listener: ListenerId,
    /// Path values in order (RFC 3327).
    pub path: Vec<String>,
    /// `+sip.instance` without quotes, empty where none was given (RFC 5626).
    pub instance: String,
    pub user_agent: String,
    /// Level of the entry that last wrote this binding: what `Expire` names.
    pub version: Level,
}

/// All bindings of one AOR. An AOR without bindings has no record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bindings {
    pub aor: Aor,
    /// In the order in which they were first registered.
    pub bindings: Vec<Binding>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Subscriber(Subscriber),
    Bindings(Bindings),
}

/// How a record is encoded: a subscriber without the third digest as before there was one, so that old records, and the
/// sums over them, stay what they were.
#[derive(Serialize)]
#[serde(rename = "Record")]
enum Written<'r> {
    Subscriber(TwoDigests<'r>),
    Bindings(&'r Bindings),
    SubscriberOfThree(ThreeDigests<'r>),
}

#[derive(Deserialize)]
#[serde(rename = "Record")]
enum Read {
    Subscriber(TwoDigests<'static>),
    Bindings(Bindings),
    SubscriberOfThree(ThreeDigests<'static>),
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = match self {
            Record::Subscriber(subscriber) => match ThreeDigests::of(subscriber) {
                Some(three) => Written::SubscriberOfThree(three),
                None => Written::Subscriber(TwoDigests::of(subscriber)),
            },
            Record::Bindings(bindings) => Written::Bindings(bindings),
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Read::deserialize(deserializer)? {
            Read::Subscriber(two) => Record::Subscriber(two.into()),
            Read::Bindings(bindings) => Record::Bindings(bindings),
            Read::SubscriberOfThree(three) => Record::Subscriber(three.into()),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RecordKey {
    Subscriber(Aor),
    Bindings(Aor),
}

impl Record {
    pub fn key(&self) -> RecordKey {
        match self {
            Record::Subscriber(s) => RecordKey::Subscriber(s.aor.clone()),
            Record::Bindings(b) => RecordKey::Bindings(b.aor.clone()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    Put(Record),
    Remove(RecordKey),
}

/// What one level did to the records. A refused command is a level without changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub level: Level,
    pub time: LogTime,
    pub changes: Vec<Change>,
}
