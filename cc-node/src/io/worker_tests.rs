//! One worker thread over real sockets: the test plays the load manager and the location server.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::io::cdr::CdrStream;
use crate::io::cdr::tests::{call, cdr, gated, spawn};
use crate::io::egress::Egress;
use crate::location::Writer;
use crate::station::NodeSetup;
use crate::stats::DropReason;
use common::config::{Auth, Provisioning, Rack};
use common::ids::{BootId, Epoch, Level, ListenerId, NodeId};
use common::io::udp;
use common::keys::{Keys, RackKey};
use common::location::{Command, LogTime, Outcome};
use common::sip;
use common::sip::Fault;
use common::wire::proxy::{Direction, MAX, ProxyHeader, Sent};
use std::net::SocketAddr;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use tokio::sync::mpsc;

const PHONE: &str = "198.51.100.9:1024";

struct Rig {
    shared: Arc<Shared>,
    keys: Arc<Keys>,
    /// The load manager's control and egress in one.
    load_manager: UdpSocket,
    worker_at: SocketAddr,
    asks: mpsc::Receiver<Ask>,
    answers: SyncSender<Answer>,
    waker: poll::Waker,
    thread: JoinHandle<()>,
    in_hand: Arc<InHand>,
}

fn rig() -> Rig {
    let CdrStream { mut sinks, .. } = gated(1).1;
    let (worker, shared, ends) = worker(sinks.remove(0));
    let thread = std::thread::Builder::new().spawn(move || worker.run()).unwrap();
    let Ends { keys, load_manager, worker_at, asks, answers, waker, in_hand } = ends;
    Rig { shared, keys, load_manager, worker_at, asks, answers, waker, thread, in_hand }
}

/// What the worker talks to.
struct Ends {
    keys: Arc<Keys>,
    load_manager: UdpSocket,
    worker_at: SocketAddr,
    asks: mpsc::Receiver<Ask>,
    answers: SyncSender<Answer>,
    waker: poll::Waker,
    in_hand: Arc<InHand>,
}

fn worker(cdrs: CdrSink) -> (Worker, Arc<Shared>, Ends) {
    let any = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let load_manager = any();
    load_manager.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    let mut rack = Rack::one_machine_default(1).expand();
    rack.load_managers[0].egress_port = load_manager.local_addr().unwrap().port();
    rack.cc_nodes[0].shadow_port = 0;
    rack.domains[0].auth = Auth::None;
    rack.domains[0].provisioning = Provisioning::Open;
    let (rack, keys) = (Arc::new(rack), Arc::new(Keys::derive(&RackKey([6; 32]))));
    let writer = Writer::new(&keys);
    let (boot, config) = (BootId(7), rack.cc_nodes[0].clone());
    let shared = Arc::new(Shared::new(NodeId(1), boot, rack.clone(), keys.clone(), config, writer.replica().clone()));
    // No heartbeats here, and no end of the lease.
    shared.lease.store(u64::MAX, Ordering::Relaxed);
    let socket = udp::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
    let worker_at = socket.local_addr().unwrap();
    let (asks_out, asks) = mpsc::channel(8);
    let (answers, answers_in) = sync_channel(8);
    let (waker, wakeable) = poll::waker().unwrap();
    let in_hand = Arc::new(InHand::create(1).unwrap());
    let clock = Clock::new();
    let parts = Parts {
        index: 0,
        shared: shared.clone(),
        clock,
        core: Core::new(NodeSetup { id: NodeId(1), boot, worker: 0, rack, keys: keys.clone() }),
        shadows: ShadowPort::open(&shared, 0).unwrap(),
        sockets: vec![(Plane::A, socket)],
        egress: Egress::new(shared.clone()).unwrap(),
        asks: asks_out,
        answers: answers_in,
        questions: mpsc::channel(8).0,
        dns_answers: sync_channel(8).1,
        wakeable,
        traces: sync_channel(1).1,
        cdrs,
        in_hand: in_hand.clone(),
        suspects: vec![],
    };
    (Worker::new(parts), shared, Ends { keys, load_manager, worker_at, asks, answers, waker, in_hand })
}

impl Rig {
    fn arrives(&self, message: &str, call_id: &str) {
        let header = ProxyHeader::ingress(
            PHONE.parse().unwrap(),
            "127.0.0.1:5060".parse().unwrap(),
            ListenerId(0),
            BootId(1),
            Epoch(1),
            Sent::at(Clock::new().now()),
        );
        let (id, key) = self.keys.plane.current();
        let mut head = [0; MAX];
        let length = header.write(key, id, call_id.as_bytes(), &mut head);
        self.load_manager.send_to(&[&head[..length], message.as_bytes()].concat(), self.worker_at).unwrap();
    }

    /// What leaves next: where to, and the text.
    fn leaves(&self) -> (ProxyHeader, String) {
        let mut buffer = [0; 65_535];
        let (length, from) = self.load_manager.recv_from(&mut buffer).unwrap();
        assert_eq!(from, self.worker_at);
        let (header, at) = ProxyHeader::read(&buffer[..length], &self.keys.plane, sip::call_id).unwrap();
        (header, String::from_utf8(buffer[at..length].to_vec()).unwrap())
    }

    fn counters_when(&self, enough: impl Fn(&IoCounters) -> bool) -> IoCounters {
        for _ in 0..200 {
            let report = self.shared.workers[0].report.load_full();
            if enough(&report.io) {
                return report.io.clone();
            }
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
        panic!("the counters never came: {:?}", self.shared.workers[0].report.load());
    }

    fn end(self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.waker.wake();
        self.thread.join().unwrap();
    }
}

fn request(method: &str, call_id: &str, more: &str) -> String {
    format!(
        "{method} sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bK{call_id};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:1001@rack.test>;tag=1\r\nTo: <sip:1001@rack.test>\r\nCall-ID: {call_id}\r\n\
         CSeq: 1 {method}\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

#[test]
fn options_in_and_a_200_out_by_the_load_manager() {
    let rig = rig();
    rig.arrives(&request("OPTIONS", "c1", ""), "c1");
    let (header, text) = rig.leaves();
    assert!(text.starts_with("SIP/2.0 200 "), "{text}");
    assert_eq!((header.direction, header.sender, header.boot), (Direction::Egress, NodeId(1), BootId(7)));
    assert_eq!((header.destination.to_string().as_str(), header.source.port()), (PHONE, 5060));
    rig.end();
}

#[test]
fn a_register_waits_for_the_location_server() {
    let mut rig = rig();
    rig.arrives(&request("REGISTER", "c2", "Contact: <sip:1001@10.0.0.7>;expires=60\r\n"), "c2");
    let ask = rig.asks.blocking_recv().unwrap();
    let Command::Register(command) = &ask.command else { panic!("{:?}", ask.command) };
    assert_eq!((command.aor.as_str(), command.received.to_string().as_str()), ("1001@rack.test", PHONE));
    let outcome = Ok(Outcome::Registered { level: Level(1), time: LogTime(0), bindings: vec![] });
    rig.answers.send(Answer { ask: ask.ask, outcome }).unwrap();
    rig.waker.wake();
    let (_, text) = rig.leaves();
    assert!(text.starts_with("SIP/2.0 200 ") && text.contains("rport=1024"), "{text}");
    rig.end();
}

#[test]
fn nobody_is_refused_because_the_process_ends() {
    let mut rig = rig();
    // The control plane ends first.
    rig.asks.close();
    rig.arrives(&request("REGISTER", "c3", "Contact: <sip:1001@10.0.0.7>;expires=60\r\n"), "c3");
    rig.arrives(&request("OPTIONS", "c5", ""), "c5");
    let (_, text) = rig.leaves();
    assert!(text.starts_with("SIP/2.0 200 ") && text.contains("Call-ID: c5"), "{text}");
    rig.end();
}

#[test]
fn a_request_that_cannot_be_read_is_told_so_and_counted() {
    let rig = rig();
    // Long enough for an answer that is not the longer one.
    let more = "this is no header\r\nUser-Agent: a telephone that tells its name and its version at length\r\n";
    rig.arrives(&request("OPTIONS", "c4", more), "c4");
    let (header, text) = rig.leaves();
    assert!(text.starts_with("SIP/2.0 400 A Line Of The Head Is No Header\r\n"), "{text}");
    assert_eq!(header.destination.to_string(), PHONE);
    let told = |rig: &Rig| rig.shared.workers[0].report.load().node.unfit[Fault::HeaderLine as usize];
    rig.counters_when(|_| told(&rig) == [0, 1]);
    rig.end();
}

/// The record that says so is the only one that this engine writes.
#[test]
fn the_shadows_hear_that_a_cdr_is_written_after_its_sync_and_not_before() {
    let (gate, CdrStream { mut sinks, writer, .. }) = gated(1);
    spawn(writer, false);
    let mut desk = worker(sinks.remove(0)).0.desk;
    let rounds = |desk: &mut Desk, until: &dyn Fn(u64) -> bool| {
        for _ in 0..5_000 {
            desk.parcels();
            if until(desk.parts.core.node.stats().records) {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        desk.parts.core.node.stats().records
    };
    desk.released.push(Effect::Cdr { call: call("c5"), cdr: cdr("1") });
    desk.carry_out();
    let twice_refused = |_| gate.syncs.load(Ordering::SeqCst) == 2;
    assert_eq!(rounds(&mut desk, &twice_refused), 0);
    assert!(twice_refused(0), "it was tried");
    gate.open.store(true, Ordering::SeqCst);
    assert_eq!(rounds(&mut desk, &|records| records > 0), 1);
    desk.parcels();
    assert_eq!(desk.parts.core.node.stats().records, 1);
}

#[test]
fn what_a_worker_has_in_hand_is_seen_from_outside_until_it_is_done() {
    let rig = rig();
    let text = request("OPTIONS", "h", "");
    let seen = (0..20_000).any(|_| {
        rig.arrives(&text, "h");
        (0..200).any(|_| rig.in_hand.all() == [text.as_bytes()])
    });
    assert!(seen, "never caught it with one");
    std::thread::park_timeout(std::time::Duration::from_millis(300));
    assert!(rig.in_hand.all().is_empty(), "idle");
    rig.end();
}

#[test]
fn what_another_worker_has_shut_out_is_dropped_here_too() {
    let rig = rig();
    let (bad, good) = (request("OPTIONS", "bad", ""), request("OPTIONS", "good", ""));
    let now = Clock::new().now();
    let until = now + crate::quarantine::STAYS;
    rig.shared.shut_out(now, Fingerprint::of(&rig.keys.quarantine, bad.as_bytes()), until);
    // A round later it is known.
    rig.arrives(&good, "good");
    assert!(rig.leaves().1.contains("Call-ID: good"));
    rig.arrives(&bad, "bad");
    rig.arrives(&request("OPTIONS", "better", ""), "better");
    assert!(rig.leaves().1.contains("Call-ID: better"));
    let dropped = |rig: &Rig| rig.shared.workers[0].report.load().node.dropped[DropReason::Quarantined as usize];
    rig.counters_when(|_| dropped(&rig) == 1);
    assert_eq!(rig.shared.workers[0].report.load().shadows.panics.quarantined, 1);
    rig.end();
}

#[test]
fn garbage_and_forgery_are_counted_and_idle_workers_tick() {
    let rig = rig();
    let foreign = Rig { keys: Arc::new(Keys::derive(&RackKey([7; 32]))), ..rig };
    foreign.arrives(&request("OPTIONS", "c3", ""), "c3");
    foreign.load_manager.send_to(b"garbage", foreign.worker_at).unwrap();
    foreign.load_manager.send_to(&[0; 60_000], foreign.worker_at).unwrap();
    let counters = foreign.counters_when(|c| c.drop_header == 3);
    assert_eq!((counters.received, counters.sent), (3, 0));
    let before = foreign.shared.workers[0].ticks.load(Ordering::Relaxed);
    std::thread::park_timeout(std::time::Duration::from_millis(250));
    assert!(foreign.shared.workers[0].ticks.load(Ordering::Relaxed) >= before + 2);
    foreign.end();
}
