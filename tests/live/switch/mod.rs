//! A userspace Ethernet switch, one a plane: hosts are plugged in by TAP devices, a thread passes their frames on as its
//! seeded [`fates`] says, and what leaves may be recorded: this is the wire that checkers read.

mod fates;
mod tap;

pub use self::fates::{Counts, Cut, Faults, Port};

use self::fates::Fates;
use crate::namespaces::Host;
use common::time::Time;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Larger than any frame that a host sends.
const LARGEST: usize = 9_216;
/// A look at whether it shall end.
const TURN: Duration = Duration::from_millis(50);
/// The frames that one host may send before others have their turn.
const BATCH: usize = 64;

/// The clock of a run: what switches record and what cases do is on it.
#[derive(Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    pub fn now(&self) -> Time {
        Time(self.0.elapsed().as_micros() as u64)
    }

    pub fn at(&self, moment: Instant) -> Time {
        Time(moment.saturating_duration_since(self.0).as_micros() as u64)
    }
}

/// What has become of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    Passed,
    /// By chance, not by a cut.
    Lost,
}

/// What hears of every frame, with the moment.
pub type Recorder = Box<dyn FnMut(Time, &[u8], Became) + Send>;

/// A plane. Its thread ends, and its interfaces go, when it is dropped.
pub struct Switch {
    name: String,
    mtu: u16,
    fates: Arc<Mutex<Fates>>,
    /// Until it is started.
    files: Vec<OwnedFd>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Switch {
    /// `name` becomes the interface's name in every host.
    pub fn new(name: &str, seed: u64, faults: Faults, mtu: u16) -> Switch {
        Switch {
            name: name.to_string(),
            mtu,
            fates: Arc::new(Mutex::new(Fates::new(seed, faults))),
            files: Vec::new(),
            ended: Arc::new(AtomicBool::new(false)),
            thread: None,
        }
    }

    /// Gives a host an interface with this address on the plane.
    pub fn plug(&mut self, host: &Host, address: &str) -> Result<Port, String> {
        let port = self.locked(Fates::plug);
        let passing = format!("s{}{}{port}", std::process::id(), self.name);
        self.files.push(tap::open(&passing)?);
        tap::give(&passing, &host.namespace, &self.name, address, self.mtu)?;
        Ok(port)
    }

    /// From now on frames are passed on; `recorder` hears what becomes of them.
    pub fn start(&mut self, clock: Clock, recorder: Option<Recorder>) -> Result<(), String> {
        let passing = Passing {
            fates: Arc::clone(&self.fates),
            files: std::mem::take(&mut self.files),
            ended: Arc::clone(&self.ended),
            clock,
            recorder,
        };
        let thread = std::thread::Builder::new().name(format!("switch {}", self.name)).spawn(|| passing.run());
        self.thread = Some(thread.map_err(|e| format!("no thread for switch {}: {e}", self.name))?);
        Ok(())
    }

    pub fn set(&self, faults: Faults) {
        self.locked(|fates| fates.set(faults));
    }

    /// Cuts a host off; none: it is whole again.
    pub fn cut(&self, port: Port, how: Option<Cut>) {
        self.locked(|fates| fates.cut(port, how));
    }

    pub fn counts(&self) -> Counts {
        self.locked(|fates| fates.counts())
    }

    fn locked<T>(&self, f: impl FnOnce(&mut Fates) -> T) -> T {
        f(&mut self.fates.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread works with.
struct Passing {
    fates: Arc<Mutex<Fates>>,
    files: Vec<OwnedFd>,
    ended: Arc<AtomicBool>,
    clock: Clock,
    recorder: Option<Recorder>,
}

impl Passing {
    fn run(mut self) {
        let (mut out, mut lost) = (Vec::new(), Vec::new());
        let mut buffer = vec![0; LARGEST];
        while !self.ended.load(Ordering::Relaxed) {
            let ready = self.wait();
            {
                let mut fates = self.fates.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                fates.due(self.clock.now(), &mut out);
                for port in ready {
                    for _ in 0..BATCH {
                        // An interface that is down cannot be read; there is nothing to wait for in it.
                        let Ok(octets) = rustix::io::read(&self.files[port], &mut buffer) else { break };
                        if fates.receive(self.clock.now(), port, &buffer[..octets], &mut out) == Became::Lost {
                            lost.push(buffer[..octets].to_vec());
                        }
                    }
                }
            }
            let now = self.clock.now();
            for (port, frame) in out.drain(..) {
                if rustix::io::write(&self.files[port], &frame).is_ok()
                    && let Some(recorder) = &mut self.recorder
                {
                    recorder(now, &frame, Became::Passed);
                }
            }
            if let Some(recorder) = &mut self.recorder {
                lost.drain(..).for_each(|frame| recorder(now, &frame, Became::Lost));
            }
        }
    }

    /// Until a frame comes or one is due: the ports that have frames.
    fn wait(&self) -> Vec<Port> {
        let due = self.fates.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next_due();
        let wait = due.map_or(TURN, |due| due.since(self.clock.now()).min(TURN));
        let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
        let mut looked: Vec<PollFd<'_>> = self.files.iter().map(|f| PollFd::new(f, PollFlags::IN)).collect();
        match poll(&mut looked, Some(&limit)) {
            Ok(_) => (0..looked.len()).filter(|port| looked[*port].revents().contains(PollFlags::IN)).collect(),
            Err(_) => Vec::new(),
        }
    }
}
