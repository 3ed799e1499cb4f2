//! Nodes over real connections: sealed records, the core's task and the log's thread over a simulated disk.

#![allow(clippy::unwrap_used)]

use super::links::Links;
use super::*;
use crate::log::simulated::SimulatedLog;
use crate::testing::{HISTORY, SUM_KEY, register, say};
use common::ids::{BootId, Level, NodeId};
use common::io::keys_file::KeysFile;
use common::io::stream::{self, RecordReader, RecordWriter};
use common::keys::{Keys, RackKey, Span};
use common::location::{Command, IdempotenceKey};
use common::wire::location::{FromServer, ToServer};
use common::wire::sealed::Side;
use tokio::net::TcpStream;

struct Served {
    address: SocketAddr,
    refused: IntCounterVec,
    core: tokio::task::JoinHandle<Result<(), Halted>>,
}

fn keys(octet: u8) -> Arc<Keys> {
    Arc::new(Keys::derive(&RackKey([octet; 32])))
}

async fn serve_node_one(log: SimulatedLog) -> Served {
    let status = Arc::new(watch::Sender::new(Status::default()));
    let Metrics { refused, board, log: metrics, .. } = Metrics::new(&status).unwrap();
    let setup = Setup { history: HISTORY, nodes: [NodeId(1)].into(), sum_key: SUM_KEY, ring: RingLimits::default() };
    let (clock, mut server) = (Clock::new(), Server::new(setup));
    server.start(clock.now(), clock.wall());
    let (inbox, jobs) = Inbox::new();
    let (batches, _) = log_writer::start(log, inbox.clone(), metrics).unwrap();
    let core = tokio::spawn(CoreTask { server, jobs, log: batches, clock, boot: BootId(1), board }.run());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let directory = std::env::temp_dir().join(format!("siprack-links-{}-{}", std::process::id(), address.port()));
    std::fs::create_dir_all(&directory).unwrap();
    let keys = keys(1);
    let file = KeysFile::open(&directory, &keys);
    tokio::spawn(Links::new(inbox, keys, file, refused.clone()).listen(listener));
    Served { address, refused, core }
}

async fn connect(served: &Served, keys: &Keys, node: u16) -> (RecordReader, RecordWriter) {
    let socket = TcpStream::connect(served.address).await.unwrap();
    let (reader, mut writer) = stream::greet(socket, &keys.plane, Side::Connecting).await.unwrap();
    let (node, boot) = (NodeId(node), BootId(1));
    send(&mut writer, ToServer::Hello { node, boot, history: HISTORY, level: Level(0), subscribe: true }).await;
    (reader, writer)
}

async fn send(writer: &mut RecordWriter, frame: ToServer) {
    writer.push(&frame.encode()).unwrap();
    writer.flush().await.unwrap();
}

/// The next frame other than a stamp; `None` when the server has closed.
async fn next(reader: &mut RecordReader) -> Option<FromServer> {
    loop {
        match FromServer::decode(&reader.next().await.ok()??).unwrap() {
            FromServer::Stamp { .. } => {}
            frame => return Some(frame),
        }
    }
}

fn ask(ask: u64) -> ToServer {
    let command = Command::Register(register("a", ask as u32, &["sip:alice@192.0.2.7"]));
    ToServer::Command { ask, key: IdempotenceKey(ask.into()), command }
}

#[tokio::test]
async fn a_node_says_hello_asks_and_follows() {
    let served = serve_node_one(SimulatedLog::new(HISTORY)).await;
    let (mut reader, mut writer) = connect(&served, &keys(1), 1).await;
    let welcome = FromServer::Welcome { history: HISTORY, level: Level(0), reload: false };
    assert_eq!(next(&mut reader).await.unwrap(), welcome);
    send(&mut writer, ask(1)).await;
    assert!(matches!(next(&mut reader).await.unwrap(), FromServer::Entries(entries) if entries.len() == 1));
    let FromServer::Outcome { ask: 1, outcome } = next(&mut reader).await.unwrap() else { panic!("no outcome") };
    assert_eq!(say(&outcome), "ok sip:alice@192.0.2.7");
}

/// Who connects with a key that was turned away from is refused, and who is connected with it hears no more.
#[tokio::test]
async fn a_plane_key_that_has_gone_opens_no_stream_and_ends_those_it_had() {
    let served = serve_node_one(SimulatedLog::new(HISTORY)).await;
    let (mut old, _writer) = connect(&served, &keys(1), 1).await;
    assert!(matches!(next(&mut old).await, Some(FromServer::Welcome { .. })));
    let turned = keys(1);
    let plane = Span { oldest: 2, newest: 2 };
    turned.plane.turn(plane);
    let (mut reader, mut writer) = connect(&served, &turned, 1).await;
    assert!(matches!(next(&mut reader).await, Some(FromServer::Welcome { .. })));
    send(&mut writer, ToServer::Keys { plane }).await;
    assert_eq!(next(&mut old).await, None, "it hears no more");
    // Who has not heard of the turn learns by the other end's hello which key writes.
    let late = keys(1);
    let (mut reader, _writer) = connect(&served, &late, 1).await;
    assert!(matches!(next(&mut reader).await, Some(FromServer::Welcome { .. })));
    assert_eq!(reader.key(), 2);
}

#[tokio::test]
async fn another_racks_key_and_a_stranger_are_refused_and_counted() {
    let served = serve_node_one(SimulatedLog::new(HISTORY)).await;
    let (mut reader, _writer) = connect(&served, &keys(2), 1).await;
    assert_eq!(next(&mut reader).await, None);
    assert_eq!(served.refused.with_label_values(&["wrong_key"]).get(), 1);
    let (mut reader, _writer) = connect(&served, &keys(1), 9).await;
    assert_eq!(next(&mut reader).await, None);
    assert_eq!(served.refused.with_label_values(&["unknown_node"]).get(), 1);
}

#[tokio::test]
async fn a_failed_sync_tells_the_asker_and_ends_the_core() {
    let mut log = SimulatedLog::new(HISTORY);
    log.sync_fails = true;
    let served = serve_node_one(log).await;
    let (mut reader, mut writer) = connect(&served, &keys(1), 1).await;
    next(&mut reader).await.unwrap();
    send(&mut writer, ask(1)).await;
    assert!(matches!(next(&mut reader).await, Some(FromServer::Failed { ask: 1, .. })));
    assert!(served.core.await.unwrap().is_err());
}

#[tokio::test]
async fn a_full_disk_tells_the_asker_and_the_core_goes_on() {
    let mut log = SimulatedLog::new(HISTORY);
    log.full = true;
    let served = serve_node_one(log).await;
    let (mut reader, mut writer) = connect(&served, &keys(1), 1).await;
    next(&mut reader).await.unwrap();
    for number in [1, 2] {
        send(&mut writer, ask(number)).await;
        let Some(FromServer::Failed { ask, reason }) = next(&mut reader).await else { panic!("acknowledged") };
        assert!(ask == number && reason.contains("no space left"), "{reason}");
    }
}
