//! A cc-node as a process: opens what it needs, starts its threads, runs the control plane until it is told to end.
//!
//! `worker` (with `egress` on its way out) drives the engine; `heartbeat` the sign of life and
//! the placement; `location` the stream to the location server; `dns` the name servers; `cdr` the call detail records;
//! `admin`, `trace` and `metrics` what people and Prometheus see; `in_hand` what a process died over; `desired` what the
//! operator wants, on disk. `shared` is all that
//! they have in common.

mod admin;
mod cdr;
mod desired;
mod dns;
mod egress;
mod heartbeat;
mod in_hand;
mod location;
mod metrics;
mod shadows;
mod shared;
mod trace;
mod worker;

use crate::core::Core;
use crate::location::{Client, ClientSetup, Writer};
use crate::quarantine::Fingerprint;
use crate::resolve::OPEN_QUESTIONS;
use crate::station::NodeSetup;
use cdr::{CdrStream, Reopener};
use common::config::CcNode;
use common::ids::{NodeId, Plane};
use common::io::clock::Clock;
use common::io::in_hand::InHand;
use common::io::keys_file::KeysFile;
use common::io::poll::{self, Waker};
pub use common::io::start::{Options, StartError};
use common::io::start::{control_runtime, told_to_end};
use common::io::{admin as admin_port, udp};
use common::time::Duration;
use desired::Desired;
use location::{ASKS_A_WORKER, ASKS_QUEUED, AnswerTo};
use shadows::ShadowPort;
use shared::Shared;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use worker::{Parts, Worker};

/// Runs a node until SIGTERM or SIGINT.
///
/// # Errors
/// The rack file has no such node, a port is taken or not ours, the state directory cannot be written.
pub fn run(options: Options) -> Result<(), StartError> {
    let id = NodeId(options.id);
    let config = options.rack.node(id).cloned();
    let config = config.ok_or_else(|| StartError::Config(format!("the rack file has no cc-node with id {id}")))?;
    common::io::log::init(&options.rack.log);
    let clock = Clock::new();
    let writer = Writer::new(&options.keys);
    let (rack, keys, replica) = (options.rack.clone(), options.keys.clone(), writer.replica().clone());
    let shared = Arc::new(Shared::new(id, options.boot, rack, keys, config, replica));
    let runtime = control_runtime()?;
    let listener = runtime.block_on(admin_port::bind("admin port", shared.config.admin))?;
    let directory = options.data.join(format!("cc-node-{id}"));
    let (in_hand, mut suspects) = in_hand::open(&shared, clock.now())?;
    let CdrStream { sinks, reopener, counters, writer: cdr_writer } =
        cdr::open(&directory, shared.config.workers, clock).map_err(|e| cannot_create(&directory, e))?;
    let keys_file = KeysFile::open(&directory, &shared.keys);
    let (desired, drained) = wish(&shared, &directory)?;
    let (asks, asks_in) = mpsc::channel(ASKS_QUEUED);
    let (questions, questions_in) = mpsc::channel(dns::QUESTIONS_QUEUED);
    let mut answers_to = Vec::new();
    let mut dns_answers_to = Vec::new();
    let mut traces = Vec::new();
    let mut workers = Vec::new();
    for (index, cdrs) in (0..).zip(sinks) {
        // The first tells the other nodes.
        let suspects = std::mem::take(&mut suspects);
        let (asks, questions) = (asks.clone(), questions.clone());
        let ways = Ways { asks, questions, cdrs, in_hand: in_hand.clone(), suspects };
        let (worker, trace, answer_to, dns_answer_to) = open_worker(index, &shared, clock, ways)?;
        workers.push(worker);
        traces.push(trace);
        answers_to.push(answer_to);
        dns_answers_to.push(dns_answer_to);
    }
    drop((asks, questions));
    let wakers: Vec<Waker> = answers_to.iter().map(|to| to.waker.clone()).collect();
    let mut threads = heartbeat::start(&shared, clock, keys_file)?;
    for (index, parts) in workers.into_iter().enumerate() {
        threads.push(thread(&shared, &format!("worker-{index}"), move || Worker::new(parts).run())?);
    }
    let stopping = shared.clone();
    threads.push(thread(&shared, "cdr", move || cdr_writer.run(|| stopping.is_stopping()))?);
    let source =
        admin::Source::new(shared.clone(), counters, desired).map_err(|e| StartError::Config(e.to_string()))?;
    let router = source.router().merge(trace::router(shared.clone(), clock, traces));
    tracing::info!(node = %id, boot = %options.boot, workers = shared.config.workers, drained, "cc-node starts");
    let client = Client::new(ClientSetup::new(id, options.boot), writer);
    let result = runtime.block_on(async {
        let stream = location::run(shared.clone(), clock, client, asks_in, answers_to);
        let names = dns::run(shared.rack.dns.clone(), questions_in, dns_answers_to);
        tokio::select! {
            ended = told_to_end() => ended.map_err(|e| StartError::io("waiting for signals", e)),
            served = admin_port::serve(listener, router) =>
                served.map_err(|e| StartError::io("the admin port", e)),
            () = stream => Err(StartError::io("the workers", std::io::Error::other("all of them ended"))),
            () = names => Err(StartError::io("the workers", std::io::Error::other("all of them ended"))),
            failed = reopen_when_told(reopener) => Err(StartError::io("waiting for signals", failed)),
            () = watch(shared.clone()) => Err(StartError::io("a thread", std::io::Error::other("it ended by itself"))),
        }
    });
    shared.stopping.store(true, Ordering::Relaxed);
    wakers.iter().for_each(Waker::wake);
    drop(runtime);
    for thread in threads {
        let _ = thread.join();
    }
    tracing::info!(node = %id, "cc-node ends");
    result
}

/// What the operator wants of this node. Before the first heartbeat, so that a node that was drained never says `started` in
/// between.
fn wish(shared: &Shared, directory: &std::path::Path) -> Result<(Desired, bool), StartError> {
    let desired = Desired::of(shared.id, directory);
    let drained = desired.is_draining().map_err(|e| cannot_create(directory, e))?;
    shared.draining.store(drained, Ordering::Relaxed);
    Ok((desired, drained))
}

/// SIGHUP opens the files of the CDRs anew: whoever has renamed them may be sure then that nothing more is written to the
/// old ones. Comes back only if that cannot be heard.
async fn reopen_when_told(cdrs: Reopener) -> std::io::Error {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => return error,
    };
    while hangup.recv().await.is_some() {
        tracing::info!("SIGHUP: the files of the CDRs are opened anew");
        cdrs.reopen();
    }
    std::io::Error::other("no signals any more")
}

/// Where what a worker asks and writes goes.
struct Ways {
    asks: mpsc::Sender<location::Ask>,
    questions: mpsc::Sender<dns::Asked>,
    cdrs: cdr::CdrSink,
    in_hand: Arc<InHand>,
    suspects: Vec<Fingerprint>,
}

fn open_worker(
    index: u16,
    shared: &Arc<Shared>,
    clock: Clock,
    ways: Ways,
) -> Result<(Parts, trace::AskTo, AnswerTo, dns::AnswerTo), StartError> {
    let (queue, answers) = sync_channel(ASKS_A_WORKER);
    let (dns_queue, dns_answers) = sync_channel(OPEN_QUESTIONS);
    let (trace_queue, traces) = sync_channel(trace::ASKS_QUEUED);
    let (waker, wakeable) = poll::waker().map_err(|e| StartError::io("a worker's wake-up", e))?;
    let (rack, keys) = (shared.rack.clone(), shared.keys.clone());
    let core = Core::new(NodeSetup { id: shared.id, boot: shared.boot, worker: index, rack, keys });
    let shadows = ShadowPort::open(shared, index)?;
    let sockets = open_sockets(index, &shared.config)?;
    let egress = egress::Egress::new(shared.clone())?;
    let shared = shared.clone();
    let Ways { asks, questions, cdrs, in_hand, suspects } = ways;
    let parts = Parts {
        index,
        shared,
        clock,
        core,
        shadows,
        sockets,
        egress,
        asks,
        answers,
        questions,
        dns_answers,
        wakeable,
        traces,
        cdrs,
        in_hand,
        suspects,
    };
    let trace_to = trace::AskTo { queue: trace_queue, waker: waker.clone() };
    let dns_answer_to = dns::AnswerTo { queue: dns_queue, waker: waker.clone() };
    Ok((parts, trace_to, AnswerTo { queue, waker }, dns_answer_to))
}

/// A worker's port on each plane: plane addresses only, never a wildcard.
fn open_sockets(worker: u16, config: &CcNode) -> Result<Vec<(Plane, UdpSocket)>, StartError> {
    let open = |(plane, ip)| {
        let address = SocketAddr::new(ip, config.sip_port.saturating_add(worker));
        let what = || format!("SIP port of worker {worker}");
        udp::bind(address, false)
            .inspect(udp::take_several_as_one)
            .map(|socket| (plane, socket))
            .map_err(|e| StartError::socket(what(), address, e))
    };
    config.planes.iter().map(open).collect()
}

fn cannot_create(path: &std::path::Path, source: std::io::Error) -> StartError {
    StartError::CannotCreate { path: PathBuf::from(path), source }
}

/// A named thread. If it ends before the process was told to, the process ends: half a node must not look alive.
fn thread(
    shared: &Arc<Shared>,
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    struct Guard(Arc<Shared>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.thread_ended.store(!self.0.is_stopping(), Ordering::Relaxed);
        }
    }
    let guard = Guard(shared.clone());
    let work = move || {
        let _guard = guard;
        work();
    };
    let spawned = std::thread::Builder::new().name(name.into()).spawn(work);
    spawned.map_err(|e| StartError::io(format!("starting the thread {name}"), e))
}

/// Comes back when a thread has ended by itself.
async fn watch(shared: Arc<Shared>) {
    while !shared.thread_ended.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
