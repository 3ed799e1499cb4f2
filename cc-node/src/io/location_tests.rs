//! A node's stream against a location server that is played by hand over a real connection.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::location::{ClientSetup, Writer};
use common::config::Rack;
use common::ids::{BootId, HistoryId, Level, NodeId};
use common::io::poll;
use common::keys::{Keys, RackKey};
use common::location::Aor;
use std::sync::mpsc::sync_channel;
use tokio::net::TcpListener;

fn shared(port: u16, writer: &Writer, keys: &Keys) -> Arc<Shared> {
    let mut rack = Rack::one_machine_default(1).expand();
    rack.location_servers[0].port = port;
    let config = rack.cc_nodes[0].clone();
    Arc::new(Shared::new(
        NodeId(1),
        BootId(7),
        Arc::new(rack),
        Arc::new(keys.clone()),
        config,
        writer.replica().clone(),
    ))
}

async fn accept(listener: &TcpListener, keys: &Keys) -> (RecordReader, RecordWriter) {
    let (tcp, _) = listener.accept().await.unwrap();
    stream::greet(tcp, &keys.plane, Side::Listening).await.unwrap()
}

/// The next message that is not a ping.
async fn heard(reader: &mut RecordReader) -> ToServer {
    loop {
        let message = ToServer::decode(&reader.next().await.unwrap().unwrap()).unwrap();
        if message != ToServer::Ping {
            return message;
        }
    }
}

async fn say(writer: &mut RecordWriter, message: FromServer) {
    writer.push(&message.encode()).unwrap();
    writer.flush().await.unwrap();
}

#[tokio::test]
async fn a_command_is_answered_although_the_server_dies_in_between() {
    let keys = Keys::derive(&RackKey([4; 32]));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let writer = Writer::new(&keys);
    let shared = shared(listener.local_addr().unwrap().port(), &writer, &keys);
    let client = Client::new(ClientSetup::new(NodeId(1), BootId(7)), writer);
    let (asks, asks_in) = channel(8);
    let (queue, answers) = sync_channel(8);
    let (waker, wakeable) = poll::waker().unwrap();
    let node = tokio::spawn(run(shared.clone(), Clock::new(), client, asks_in, vec![AnswerTo { queue, waker }]));

    let (mut reader, mut writer) = accept(&listener, &keys).await;
    let hello = heard(&mut reader).await;
    assert!(matches!(
        hello,
        ToServer::Hello { node: NodeId(1), boot: BootId(7), level: Level(0), subscribe: true, .. }
    ));
    say(&mut writer, FromServer::Welcome { history: HistoryId(5), level: Level(3), reload: true }).await;
    say(&mut writer, FromServer::PartEnd { level: Level(3), sum: 0 }).await;
    let command = Command::RemoveSubscriber { aor: Aor::new("1001", "rack.test") };
    asks.send(Ask { worker: 0, ask: AskId(11), key: IdempotenceKey(99), command: command.clone() }).await.unwrap();
    let first = heard(&mut reader).await;
    assert!(matches!(first, ToServer::Command { key: IdempotenceKey(99), .. }));
    drop((reader, writer));

    let (mut reader, mut writer) = accept(&listener, &keys).await;
    let hello = heard(&mut reader).await;
    assert!(matches!(hello, ToServer::Hello { history: HistoryId(5), level: Level(3), .. }), "resumed: {hello:?}");
    say(&mut writer, FromServer::Welcome { history: HistoryId(5), level: Level(3), reload: false }).await;
    let ToServer::Command { ask, key, .. } = heard(&mut reader).await else { panic!("the command again") };
    assert_eq!(key, IdempotenceKey(99));
    say(&mut writer, FromServer::Outcome { ask, outcome: Outcome::Done { level: Level(4) } }).await;
    let mut ready = Vec::new();
    let answer = tokio::task::spawn_blocking(move || {
        use std::os::fd::AsFd;
        poll::readable(&[wakeable.as_fd()], Duration::from_secs(5), &mut ready).unwrap();
        answers.try_recv().unwrap()
    });
    let answer = answer.await.unwrap();
    assert_eq!((answer.ask, answer.outcome), (AskId(11), Ok(Outcome::Done { level: Level(4) })));
    assert!(shared.level_once.load(Ordering::Relaxed) && shared.location_up.load(Ordering::Relaxed));
    drop(asks);
    node.await.unwrap();
}

#[tokio::test]
async fn another_racks_location_server_is_refused() {
    let (keys, foreign) = (Keys::derive(&RackKey([4; 32])), Keys::derive(&RackKey([5; 32])));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let writer = Writer::new(&keys);
    let shared = shared(listener.local_addr().unwrap().port(), &writer, &keys);
    let client = Client::new(ClientSetup::new(NodeId(1), BootId(7)), writer);
    let (asks, asks_in) = channel(8);
    let node = tokio::spawn(run(shared.clone(), Clock::new(), client, asks_in, vec![]));
    for _ in 0..2 {
        let (mut reader, mut writer) = accept(&listener, &foreign).await;
        assert!(reader.next().await.is_err(), "its hello cannot be read by another key");
        say(&mut writer, FromServer::Welcome { history: HistoryId(5), level: Level(0), reload: true }).await;
    }
    assert!(!shared.level_once.load(Ordering::Relaxed));
    drop(asks);
    node.await.unwrap();
}
