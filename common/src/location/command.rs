//! Commands of the provisioning log and their outcomes. The outcome, refusal included, is decided when a command is
//! applied, in log order, the same way by every server that applies the log.

use super::record::LogTime;
use super::subscriber::{ThreeDigests, TwoDigests};
use super::{Aor, Binding, Subscriber};
use crate::ids::{Level, ListenerId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::net::SocketAddr;

/// Names one asking, so that a repeated command has no second effect. Drawn by the asker:
/// for REGISTER a hash over Call-ID, CSeq and content, else (process, boot id, counter).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IdempotenceKey(pub u128);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Register(RegisterCommand),
    /// Add or replace a subscriber. `only_new`: refuse with [`Refusal::Exists`] if it is there.
    PutSubscriber {
        subscriber: Subscriber,
        only_new: bool,
    },
    /// Remove a subscriber together with its bindings.
    RemoveSubscriber {
        aor: Aor,
    },
    /// The binding's time is over; without effect if it was refreshed since `version`.
    Expire {
        aor: Aor,
        contact: String,
        version: Level,
    },
}

/// How a command is encoded: see [`super::Record`].
#[derive(Serialize)]
#[serde(rename = "Command")]
enum Written<'c> {
    Register(&'c RegisterCommand),
    PutSubscriber { subscriber: TwoDigests<'c>, only_new: bool },
    RemoveSubscriber { aor: &'c Aor },
    Expire { aor: &'c Aor, contact: &'c str, version: Level },
    PutSubscriberOfThree { subscriber: ThreeDigests<'c>, only_new: bool },
}

#[derive(Deserialize)]
#[serde(rename = "Command")]
enum Read {
    Register(RegisterCommand),
    PutSubscriber { subscriber: TwoDigests<'static>, only_new: bool },
    RemoveSubscriber { aor: Aor },
    Expire { aor: Aor, contact: String, version: Level },
    PutSubscriberOfThree { subscriber: ThreeDigests<'static>, only_new: bool },
}

impl Serialize for Command {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = match self {
            Command::Register(register) => Written::Register(register),
            Command::PutSubscriber { subscriber, only_new } => match ThreeDigests::of(subscriber) {
                Some(three) => Written::PutSubscriberOfThree { subscriber: three, only_new: *only_new },
                None => Written::PutSubscriber { subscriber: TwoDigests::of(subscriber), only_new: *only_new },
            },
            Command::RemoveSubscriber { aor } => Written::RemoveSubscriber { aor },
            Command::Expire { aor, contact, version } => Written::Expire { aor, contact, version: *version },
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Read::deserialize(deserializer)? {
            Read::Register(register) => Command::Register(register),
            Read::PutSubscriber { subscriber, only_new } => {
                Command::PutSubscriber { subscriber: subscriber.into(), only_new }
            }
            Read::RemoveSubscriber { aor } => Command::RemoveSubscriber { aor },
            Read::Expire { aor, contact, version } => Command::Expire { aor, contact, version },
            Read::PutSubscriberOfThree { subscriber, only_new } => {
                Command::PutSubscriber { subscriber: subscriber.into(), only_new }
            }
        })
    }
}

/// A REGISTER as it stands in the log (RFC 3261 §10.3 steps 6 and 7 are done when it is applied).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterCommand {
    pub aor: Aor,
    pub call_id: String,
    pub cseq: u32,
    pub what: RequestedBinding,
    pub received: SocketAddr,
    pub listener: ListenerId,
    pub path: Vec<String>,
    pub user_agent: String,
    /// More bindings than this for one AOR are refused.
    pub max_contacts: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestedBinding {
    /// `Contact: *` with `Expires: 0`: remove all.
    RemoveAll,
    /// Add, refresh (`expires_s` > 0) or remove (`expires_s` = 0) each of these, all or none.
    Contacts(Vec<RequestedContact>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedContact {
    pub contact: String,
    /// Already bounded by the registrar's min and max.
    pub expires_s: u32,
    pub q_thousandths: u16,
    pub instance: String,
}

/// What the asker is told once the command is durable and applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The AOR's whole resulting set, and the log time of the entry (to compute what is left of each).
    Registered {
        level: Level,
        time: LogTime,
        bindings: Vec<Binding>,
    },
    Done {
        level: Level,
    },
    Refused {
        level: Level,
        refusal: Refusal,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// A lower or equal CSeq of the same Call-ID with other content (RFC 3261 §10.3 step 7): 500.
    OutOfOrder,
    /// More than `max_contacts`: 403.
    TooManyContacts {
        limit: u16,
    },
    /// `only_new` and it exists.
    Exists,
    NoSuchSubscriber,
}
