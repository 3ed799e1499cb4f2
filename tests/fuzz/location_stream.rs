//! Frames of the location stream, from whoever holds the plane key: read in bounded work, and written again as they
//! were read.

use super::choices::Choices;
use super::fuzz;
use common::ids::{BootId, HistoryId, Level, ListenerId, NodeId};
use common::keys::Span;
use common::location::command::RequestedContact;
use common::location::{
    Aor, Binding, Bindings, Change, Command, Entry, IdempotenceKey, LogTime, Outcome, Record, RecordKey, Refusal,
    RegisterCommand, RequestedBinding, Subscriber,
};
use common::wire::location::{FromServer, ToServer};

fn text(choices: &mut Choices<'_>) -> String {
    String::from_utf8_lossy(choices.some(24)).into_owned()
}

fn texts(choices: &mut Choices<'_>) -> Vec<String> {
    (0..choices.below(3)).map(|_| text(choices)).collect()
}

fn aor(choices: &mut Choices<'_>) -> Aor {
    Aor::new(&text(choices), &text(choices))
}

fn subscriber(choices: &mut Choices<'_>) -> Subscriber {
    let ha1_sha512_256 = choices.octet().is_multiple_of(2).then(|| [choices.octet(); 32]);
    Subscriber { aor: aor(choices), ha1_md5: [choices.octet(); 16], ha1_sha256: [choices.octet(); 32], ha1_sha512_256 }
}

fn binding(choices: &mut Choices<'_>) -> Binding {
    Binding {
        contact: text(choices),
        q_thousandths: choices.word(),
        expires_at: LogTime(choices.long()),
        received: ([10, 0, 0, choices.octet()], choices.word()).into(),
        listener: ListenerId(choices.octet()),
        path: texts(choices),
        instance: text(choices),
        user_agent: text(choices),
        version: Level(choices.long()),
    }
}

fn record(choices: &mut Choices<'_>) -> Record {
    match choices.one_of_256(128) {
        true => Record::Subscriber(subscriber(choices)),
        false => Record::Bindings(Bindings {
            aor: aor(choices),
            bindings: (0..choices.below(3)).map(|_| binding(choices)).collect(),
        }),
    }
}

/// A command of any kind.
pub fn command(choices: &mut Choices<'_>) -> Command {
    let contact = |choices: &mut Choices<'_>| RequestedContact {
        contact: text(choices),
        expires_s: u32::from(choices.word()),
        q_thousandths: choices.word(),
        instance: text(choices),
    };
    match choices.below(4) {
        0 => Command::PutSubscriber { subscriber: subscriber(choices), only_new: choices.one_of_256(128) },
        1 => Command::RemoveSubscriber { aor: aor(choices) },
        2 => Command::Expire { aor: aor(choices), contact: text(choices), version: Level(choices.long()) },
        _ => Command::Register(RegisterCommand {
            aor: aor(choices),
            call_id: text(choices),
            cseq: u32::from(choices.word()),
            what: match choices.one_of_256(64) {
                true => RequestedBinding::RemoveAll,
                false => RequestedBinding::Contacts((0..choices.below(3)).map(|_| contact(choices)).collect()),
            },
            received: ([10, 0, 0, 1], choices.word()).into(),
            listener: ListenerId(choices.octet()),
            path: texts(choices),
            user_agent: text(choices),
            max_contacts: choices.word(),
        }),
    }
}

fn to_server(choices: &mut Choices<'_>) -> ToServer {
    match choices.below(4) {
        0 => ToServer::Hello {
            node: NodeId(choices.word()),
            boot: BootId(choices.long()),
            history: HistoryId(choices.long()),
            level: Level(choices.long()),
            subscribe: choices.one_of_256(128),
        },
        1 => ToServer::Command {
            ask: choices.long(),
            key: IdempotenceKey(u128::from(choices.long())),
            command: command(choices),
        },
        2 => ToServer::Keys { plane: Span { oldest: choices.octet(), newest: choices.octet() } },
        _ => ToServer::Ping,
    }
}

fn from_server(choices: &mut Choices<'_>) -> FromServer {
    let (level, sum, time) = (Level(choices.long()), u128::from(choices.long()), LogTime(choices.long()));
    let change = |choices: &mut Choices<'_>| match choices.one_of_256(128) {
        true => Change::Put(record(choices)),
        false => Change::Remove(RecordKey::Bindings(aor(choices))),
    };
    match choices.below(7) {
        0 => FromServer::Welcome { history: HistoryId(sum as u64), level, reload: choices.one_of_256(128) },
        1 => FromServer::Part { records: (0..choices.below(4)).map(|_| record(choices)).collect() },
        2 => FromServer::PartEnd { level, sum },
        3 => FromServer::Entries(vec![Entry {
            level,
            time,
            changes: (0..choices.below(4)).map(|_| change(choices)).collect(),
        }]),
        4 => FromServer::Outcome {
            ask: level.0,
            outcome: Outcome::Refused { level, refusal: Refusal::TooManyContacts { limit: 3 } },
        },
        5 => FromServer::Failed { ask: level.0, reason: text(choices) },
        _ => FromServer::Stamp { level, sum, time },
    }
}

fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let (up, down) = (to_server(&mut choices), from_server(&mut choices));
    let (mut sent, mut pushed) = (up.encode(), down.encode());
    assert_eq!(ToServer::decode(&sent), Ok(up));
    assert_eq!(FromServer::decode(&pushed), Ok(down));
    for _ in 0..choices.below(4) {
        let (at, octet) = (choices.below(sent.len()), choices.octet());
        sent[at] = octet;
        let at = choices.below(pushed.len());
        pushed[at] = octet;
    }
    for bytes in [&sent[..], &pushed[..], choices.rest()] {
        if let Ok(frame) = ToServer::decode(bytes) {
            assert_eq!(ToServer::decode(&frame.encode()), Ok(frame));
        }
        if let Ok(frame) = FromServer::decode(bytes) {
            assert_eq!(FromServer::decode(&frame.encode()), Ok(frame));
        }
    }
}

#[test]
fn fuzz() {
    fuzz!("location_stream", 6000, check);
}
