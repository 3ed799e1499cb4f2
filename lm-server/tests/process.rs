//! The program itself, over real sockets on loopback: the test plays the one node and the phones.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use common::config::Rack;
use common::ids::{BootId, Epoch, HistoryId, Level, ListenerId, NodeId, Plane, PlaneSet};
use common::io::clock::Clock;
use common::keys::{Keys, RackKey};
use common::wire::control::Report;
use common::wire::frame::{self, Message};
use common::wire::heartbeat::{self, Heartbeat, NodeState, V2};
use common::wire::proxy::{self, Direction, ProxyHeader, Sent};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle, sleep};
use std::time::{Duration, Instant};

const KEY: [u8; 32] = [9; 32];

/// Heartbeats of node 1, from a thread of its own; adopts what beacons say.
struct Node {
    sip: UdpSocket,
    epoch: Arc<AtomicU64>,
    quiet: Arc<AtomicBool>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Stage {
    rack: Rack,
    keys: Keys,
    folder: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Stage {
    /// A one-node rack on ports from `base`.
    fn new(name: &str, base: u16) -> Stage {
        let mut rack = Rack::one_machine_default(1);
        let one = rack.one_machine.as_mut().unwrap();
        one.base_port = base;
        rack.listeners[0].port = base + 60;
        rack.key = Some(RackKey(KEY).to_hex());
        let folder = std::env::temp_dir().join(format!("siprack-lm-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let rack = rack.expand();
        std::fs::write(folder.join("rack.json"), rack.to_json().unwrap()).unwrap();
        Stage { rack, keys: Keys::derive(&RackKey(KEY)), folder, child: Mutex::new(None) }
    }

    fn command(&self, boot: u64) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lm-server"));
        command.args(["--id", "1", "--boot", &boot.to_string(), "--rack-file"]).arg(self.folder.join("rack.json"));
        command.arg("--data").arg(&self.folder).env_remove("SIPRACK_FDS").stdin(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn start(&self, boot: u64) {
        *self.child.lock().unwrap() = Some(self.command(boot).spawn().unwrap());
        self.until("it answers", || self.get("/healthz").is_some());
    }

    fn vip(&self) -> SocketAddr {
        self.rack.listeners[0].socket_address()
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
        let begin = Instant::now();
        while !holds() {
            assert!(
                begin.elapsed() < Duration::from_secs(10),
                "{what} never came; {:?} {:?}",
                self.get("/status"),
                self.get("/metrics")
            );
            sleep(Duration::from_millis(5));
        }
        begin.elapsed()
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.rack.load_managers[0].admin).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }

    fn ready(&self) -> bool {
        self.get("/readyz").is_some_and(|text| text.starts_with("HTTP/1.1 200"))
    }

    /// Plays node 1 under this boot id.
    fn node(&self, boot: u64) -> Node {
        let config = self.rack.cc_nodes[0].clone();
        let lm = SocketAddr::new(self.rack.load_managers[0].planes.a, self.rack.load_managers[0].control_port);
        let control = UdpSocket::bind((config.planes.a, config.control_port)).unwrap();
        control.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let sip = UdpSocket::bind((config.planes.a, config.sip_port)).unwrap();
        sip.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        let (epoch, end, quiet) = <(Arc<AtomicU64>, Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let (epoch_too, end_too, quiet_too) = (epoch.clone(), end.clone(), quiet.clone());
        let keys = self.keys.clone();
        let run = move || heart(boot, &control, lm, &keys, &epoch_too, &end_too, &quiet_too);
        let thread = Builder::new().name("heart".into()).spawn(run).unwrap();
        Node { sip, epoch, quiet, end, thread: Some(thread) }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn heart(
    boot: u64,
    socket: &UdpSocket,
    lm: SocketAddr,
    keys: &Keys,
    epoch: &AtomicU64,
    end: &AtomicBool,
    quiet: &AtomicBool,
) {
    let (mut sequence, mut nonce, mut inputs) = (0, 0, None);
    let mut next = Instant::now();
    let mut buffer = [0; 65_535];
    while !end.load(Ordering::Relaxed) {
        if let Ok((length, _)) = socket.recv_from(&mut buffer)
            && let Ok(Message::Beacon(beacon)) = frame::decode(&buffer[..length], &keys.plane)
        {
            nonce = beacon.nonce;
            if !beacon.learning {
                epoch.fetch_max(beacon.epoch.0, Ordering::Relaxed);
                inputs = Some(beacon.inputs);
            } else if let Some(inputs) = inputs.clone() {
                let epoch = Epoch(epoch.load(Ordering::Relaxed));
                let report =
                    Report { node: NodeId(1), boot: BootId(boot), nonce, epoch, inputs, formers: vec![], keys: None };
                let _ = socket.send_to(&frame::encode(&Message::Report(report), &keys.plane, Plane::A), lm);
            }
        }
        if Instant::now() < next || quiet.load(Ordering::Relaxed) {
            continue;
        }
        next = Instant::now() + Duration::from_millis(50);
        sequence += 1;
        let v2 = V2 {
            boot: BootId(boot),
            sequence,
            sent_us: 0,
            beacon_nonce: nonce,
            epoch: Epoch(epoch.load(Ordering::Relaxed)),
            progress: sequence,
            workers: 1,
            load: 0,
            admit: u16::MAX,
            class: 1,
            domain: 1,
            plane: Plane::A,
            history: HistoryId(0),
            level: Level(0),
            location_sum: 0,
            backups: vec![],
            strays: 0,
            hears: PlaneSet::BOTH,
        };
        let beat = Heartbeat { node: NodeId(1), sip_port: 0, state: NodeState::Started, v2: Some(v2) };
        let _ = socket.send_to(&heartbeat::encode(&beat, &keys.plane), lm);
    }
}

fn phone() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_535];
    let (length, _) = socket.recv_from(&mut buffer).expect("a datagram");
    buffer.truncate(length);
    buffer
}

fn invite(call_id: &str, phone: &UdpSocket) -> Vec<u8> {
    let at = phone.local_addr().unwrap();
    format!(
        "INVITE sip:1002@rack.test SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{call_id};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:1001@rack.test>;tag=f\r\nTo: <sip:1002@rack.test>\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:1001@{at}>\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// What node 1 sends outwards through the load manager.
fn outwards(stage: &Stage, node: &Node, boot: u64, to: SocketAddr, message: &[u8]) {
    let header = ProxyHeader {
        sender: NodeId(1),
        direction: Direction::Egress,
        ..ProxyHeader::ingress(
            stage.vip(),
            to,
            ListenerId(0),
            BootId(boot),
            Epoch(node.epoch.load(Ordering::Relaxed)),
            Sent::at(Clock::new().now()),
        )
    };
    let mut bytes = [0; proxy::MAX];
    let (id, key) = stage.keys.plane.current();
    let length = header.write(key, id, b"c1", &mut bytes);
    let lm = &stage.rack.load_managers[0];
    node.sip.send_to(&[&bytes[..length], message].concat(), (lm.planes.a, lm.egress_port)).unwrap();
}

#[test]
fn from_an_empty_rack_to_a_message_each_way() {
    let stage = Stage::new("ways", 23_000);
    stage.start(1);
    let phone = phone();
    phone.send_to(&invite("c0", &phone), stage.vip()).unwrap();
    let answer = String::from_utf8(receive(&phone)).unwrap();
    assert!(answer.starts_with("SIP/2.0 503 ") && answer.contains("\r\nRetry-After: 2\r\n"), "{answer}");
    assert!(!stage.ready(), "no node yet");

    let node = stage.node(70);
    stage.until("the node is in", || stage.ready());
    phone.send_to(&invite("c1", &phone), stage.vip()).unwrap();
    let inside = receive(&node.sip);
    let (header, offset) = ProxyHeader::read(&inside, &stage.keys.plane, |_| Some(b"c1")).unwrap();
    assert_eq!(&inside[offset..], invite("c1", &phone));
    assert_eq!((header.source, header.destination), (phone.local_addr().unwrap(), stage.vip()));

    let ringing = b"SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP x\r\nCall-ID: c1\r\n\r\n";
    stage.until("the node knows its epoch", || node.epoch.load(Ordering::Relaxed) >= header.epoch.0);
    outwards(&stage, &node, 69, header.source, b"SIP/2.0 200 OK\r\nCall-ID: c1\r\n\r\n");
    outwards(&stage, &node, 70, header.source, ringing);
    let mut buffer = [0; 2000];
    let (length, from) = phone.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from), (&ringing[..], stage.vip()), "the dead incarnation's 200 did not leave");

    phone.send_to(b"\0\x01\0\0\x21\x12\xa4\x42123456789012", stage.vip()).unwrap();
    assert_eq!(receive(&phone)[..2], [1, 1]);
    let mut fat = invite("c9", &phone);
    fat.resize(65_507, b'x');
    phone.send_to(&fat, stage.vip()).unwrap();
    let answer = String::from_utf8(receive(&phone)).unwrap();
    assert!(
        answer.starts_with("SIP/2.0 513 Message Too Large\r\n") && answer.contains("\r\nCall-ID: c9\r\n"),
        "{answer}"
    );
    for rubbish in [&b"hello"[..], b"\r\n\r\n", &[0xFF; 60_000], b"SIP/2.0 200 OK\r\n\r\n"] {
        phone.send_to(rubbish, stage.vip()).unwrap();
    }
    let wanted = [
        "siprack_sip_requests_total{method=\"INVITE\",transport=\"udp\",direction=\"in\"} 1",
        "siprack_sip_responses_total{code=\"1xx\",transport=\"udp\",direction=\"out\"} 1",
        "siprack_dropped_total{reason=\"sender_dead\"} 1",
        "siprack_dropped_total{reason=\"not_sip\"} 2",
        "siprack_dropped_total{reason=\"no_call_id\"} 1",
        "siprack_node_owner_share{node=\"1\"} 1",
        "siprack_rejected_total{reason=\"no_node\"} 1",
        "siprack_unfit_total{reason=\"message_size\",outcome=\"answered\"} 1",
        "siprack_keepalives_total 1",
    ];
    let counted = || stage.get("/metrics").is_some_and(|text| wanted.iter().all(|line| text.contains(line)));
    stage.until("all is counted", counted);
    let status = stage.get("/status").unwrap();
    assert!(status.contains("\"state\":\"started\"") && status.contains("\"id\":1"), "{status}");
    let explained = stage.get("/explain?call_id=c1").unwrap();
    assert!(explained.contains("\"owner\":1") && explained.contains("\"acting\":1"), "{explained}");
    assert!(stage.get("/explain").unwrap().starts_with("HTTP/1.1 400"));
}

#[test]
fn a_restart_asks_the_node_and_silence_is_noticed() {
    let stage = Stage::new("restart", 23_300);
    stage.start(1);
    let node = stage.node(70);
    stage.until("the node is in", || stage.ready());
    stage.until("the node knows", || node.epoch.load(Ordering::Relaxed) > 0);
    let before = node.epoch.load(Ordering::Relaxed);
    let mut child = stage.child.lock().unwrap().take().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    stage.start(2);
    stage.until("it stands where it stood", || stage.ready());
    stage.until("its own epochs are above", || node.epoch.load(Ordering::Relaxed) > before);
    node.quiet.store(true, Ordering::Relaxed);
    let took = stage.until("it is down", || !stage.ready());
    assert!(took > Duration::from_millis(250) && took < Duration::from_millis(1500), "{took:?}");
    node.quiet.store(false, Ordering::Relaxed);
    stage.until("it is back", || stage.ready());
}

#[test]
fn sigterm_ends_it_and_a_taken_port_is_said() {
    let stage = Stage::new("ends", 23_600);
    let taken = UdpSocket::bind(stage.vip()).unwrap();
    let output = stage.command(1).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(98), "{words}");
    assert!(words.contains("listener 0 of the load manager") && words.contains(&stage.vip().to_string()), "{words}");
    drop(taken);
    stage.start(2);
    let mut child = stage.child.lock().unwrap().take().unwrap();
    let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(told.success());
    let begin = Instant::now();
    let ended = child.wait().unwrap();
    assert_eq!((ended.code(), begin.elapsed() < Duration::from_secs(2)), (Some(0), true));
    let output = stage.command(3).args(["--id", "7"]).output().unwrap();
    assert!(output.status.code() == Some(2), "clap: given twice");
}
