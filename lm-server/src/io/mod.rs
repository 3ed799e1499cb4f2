//! The load manager as a process: threads around the pure parts. `run` is what `siprack serve lm-server` and the thin
//! binary call.
//!
//! - `forwarder`, one thread a worker: the packet path. `counters`: what they count.
//! - `controller`, one thread: control sockets, `membership::Core`, beacons, of which it tells the agent.
//! - `admin`, the caller's thread: what people and Prometheus see; `keys`: the operator's orders there; `rotation`: what came
//!   of them, on disk.
//! - `sockets`: passed on by the agent, or opened here. `shared`: what the threads share.

mod admin;
mod controller;
mod counters;
mod forwarder;
mod keys;
mod rotation;
mod shared;
mod sockets;

use crate::forward::Gate;
use crate::membership::{Core, Setup};
use common::io::clock::Clock;
use common::io::fds::Passed;
use common::io::poll::{Waker, waker};
use common::io::start::{Options, StartError, control_runtime, told_to_end};
use common::io::{log, random};
use common::placement::Placer;
use controller::Controller;
use counters::Counters;
use forwarder::Forwarder;
use keys::Turning;
use rotation::RotationFile;
use shared::Shared;
use sockets::Sockets;
use std::io::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Builder, JoinHandle};
use tokio::sync::mpsc;

/// Runs the load manager `options.id` until SIGTERM or SIGINT, or until it cannot go on.
pub fn run(options: Options) -> Result<(), StartError> {
    log::init(&options.rack.log);
    let lm = options.rack.load_manager(options.id).cloned().ok_or_else(|| {
        let known: Vec<String> = options.rack.load_managers.iter().map(|lm| lm.id.to_string()).collect();
        let (id, known) = (options.id, known.join(", "));
        StartError::Config(format!("load_managers: no load manager has the id {id}; the rack file has {known}"))
    })?;
    let mut passed = Passed::take().map_err(|e| StartError::io("taking over the agent's sockets", e))?;
    let sockets = Sockets::open(&options.rack, &lm, &mut passed)?;
    let clock = Clock::new();
    let (file, rotation) = RotationFile::open(&options.data.join(format!("lm-server-{}", options.id)));
    // Before the first beacon: it goes out under the key that was turned to last.
    rotation.iter().for_each(|known| options.keys.turn(&known.generations()));
    let nonce_seed = random::number().map_err(|e| StartError::io("reading random bits", e))?;
    let gate = Arc::new(Gate::new(&options.rack, options.keys.clone(), options.boot));
    let counters: Vec<Arc<Counters>> = sockets.workers.iter().map(|_| Arc::new(Counters::default())).collect();
    let setup = Setup {
        id: options.id,
        boot: options.boot,
        rack: options.rack.clone(),
        keys: options.keys.clone(),
        placer: Placer::new(options.keys.placement),
        nonce_seed,
    };
    let core = Core::new(clock.now(), setup);
    let shared = Arc::new(Shared::new(core.status(clock.now())));
    let page = admin::Page::new(gate.clone(), shared.clone(), counters.clone())?;
    let turning = Turning::new(shared.clone(), clock, file, rotation);
    let router = page.router().merge(turning.router());
    let runtime = control_runtime()?;
    // Before any thread is there: what can fail fails now.
    let listener = runtime.block_on(common::io::admin::bind("the load manager's admin port", lm.admin))?;

    let mut threads = Threads::new(shared.clone());
    threads.start("controller", |wakeable| {
        let mut controller = Controller::new(core, clock, sockets.control, sockets.beacons, shared.clone(), wakeable);
        move || controller.run()
    })?;
    for (number, (worker, counters)) in sockets.workers.into_iter().zip(counters).enumerate() {
        threads.start(&format!("forwarder-{number}"), |wakeable| {
            let mut forwarder = Forwarder::new(gate.clone(), worker, shared.clone(), counters, wakeable);
            move || forwarder.run()
        })?;
    }
    tracing::info!(id = options.id, boot = %options.boot, admin = %lm.admin, workers = lm.workers, "the load manager runs");
    let ended = runtime.block_on(async {
        tokio::select! {
            told = told_to_end() => told.map_err(|e| StartError::io("waiting for signals", e)),
            name = threads.one_ended() => {
                Err(StartError::io(format!("the thread {name}"), Error::other("it ended by itself; its last log line says why")))
            }
            served = common::io::admin::serve(listener, router) => {
                Err(StartError::io("the admin port", served.err().unwrap_or_else(|| Error::other("it ended"))))
            }
        }
    });
    threads.end();
    tracing::info!("the load manager has ended");
    ended
}

/// The threads beside the caller's: started with a name, watched, woken and waited for at the end.
struct Threads {
    shared: Arc<Shared>,
    running: Vec<(JoinHandle<()>, Waker)>,
    ended: mpsc::Receiver<String>,
    says_ended: mpsc::Sender<String>,
}

/// Says that a thread is gone, even if it panicked.
struct Farewell {
    name: String,
    to: mpsc::Sender<String>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        // The first one ends the process; if nobody listens any more, it is ending already.
        let _ = self.to.try_send(std::mem::take(&mut self.name));
    }
}

impl Threads {
    fn new(shared: Arc<Shared>) -> Threads {
        let (says_ended, ended) = mpsc::channel(64);
        Threads { shared, running: Vec::new(), ended, says_ended }
    }

    /// `make` gets what wakes the thread and returns what it runs.
    fn start<F: FnOnce() + Send + 'static>(
        &mut self,
        name: &str,
        make: impl FnOnce(common::io::poll::Wakeable) -> F,
    ) -> Result<(), StartError> {
        let failed = |e| StartError::io(format!("starting the thread {name}"), e);
        let (waker, wakeable) = waker().map_err(failed)?;
        let farewell = Farewell { name: name.to_string(), to: self.says_ended.clone() };
        let body = make(wakeable);
        let run = move || {
            let _farewell = farewell;
            body();
        };
        let thread = Builder::new().name(name.to_string()).spawn(run).map_err(failed)?;
        self.running.push((thread, waker));
        Ok(())
    }

    /// The name of the first thread that ends.
    async fn one_ended(&mut self) -> String {
        // This side keeps a sender, so the channel never closes.
        self.ended.recv().await.unwrap_or_default()
    }

    fn end(self) {
        self.shared.ending.store(true, Ordering::Release);
        for (_, waker) in &self.running {
            waker.wake();
        }
        for (thread, _) in self.running {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}
