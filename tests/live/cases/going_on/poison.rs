//! Messages that kill: whichever node handles one dies of SIGSEGV in the midst of it. The bug stands beside the processes, since
//! the program under test has none to offer: a thread reads the memory in which workers say what they have in hand, as the
//! agent does, and hits the worker's thread as soon as such a message is there. Of a message in hand that is a matter of some
//! ten microseconds; one that was done before the blow came has not been what its node died of, and is told as missed.

use super::hand::Hand;
use super::rack::{NODES, PHONES, Planes, Service, VIP};
use crate::cases::ownership::signal;
use crate::process::Running;
use common::io::in_hand::InHand;
use rustix::process::Signal;
use std::fs::{OpenOptions, read_dir, read_to_string};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

/// What the agent says when a message was in hand.
const IN_HAND: &str = "of its messages in hand; they are not handled again";
/// Of a SIP message that kills.
const MARK: &[u8] = b"Call-ID: poison-";
/// By then a message has been repeated for the last time: a blow that has missed all of them leaves it.
const HIT_WITHIN: Duration = Duration::from_secs(10);
/// What an earlier one that was missed had answered has arrived by then; the next repeat has not.
const ANSWERED_BEFORE: Duration = Duration::from_millis(200);
/// Seconds between repeats: a non-INVITE's (RFC 3261 §17.1.2.2).
const REPEATS: &str = "0.5 1 2 4";
const REPEATED_FOR: Duration = Duration::from_secs(8);
/// A death is in the load manager's table by then.
const NOTICED: Duration = Duration::from_secs(1);
const POISONS: usize = 12;

/// A node's process that may die of it.
struct Victim {
    node: u16,
    hand: InHand,
    /// Of the thread that handles messages.
    worker: i32,
}

impl Victim {
    fn new(planes: &Planes, node: u16) -> Result<Victim, String> {
        let process = PathBuf::from(format!("/proc/{}", planes.pid(Service::Node(node))?));
        let told = |e: std::io::Error| format!("node {node}: {e}");
        let environment = read_to_string(process.join("environ")).map_err(told)?;
        let descriptors = environment.split('\0').find_map(|one| one.strip_prefix("SIPRACK_FDS="));
        let number =
            descriptors.into_iter().flat_map(|all| all.split(',')).find_map(|one| one.strip_prefix("in_hand="));
        let number = number.ok_or(format!("node {node} has no memory for what it has in hand"))?;
        let memory = OpenOptions::new().read(true).write(true).open(process.join("fd").join(number)).map_err(told)?;
        let hand = InHand::open(memory.into()).map_err(told)?;
        let mut threads = read_dir(process.join("task")).map_err(told)?.flatten();
        let is_worker = |path: &PathBuf| read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "worker-0");
        let worker = threads.find(|thread| is_worker(&thread.path()));
        let worker = worker.and_then(|thread| thread.file_name().to_str()?.parse().ok());
        Ok(Victim { node, hand, worker: worker.ok_or(format!("node {node} has no thread of its worker"))? })
    }

    fn handles_poison(&self) -> bool {
        self.hand.all().iter().any(|message| message.windows(MARK.len()).any(|part| part == MARK))
    }
}

/// The bug that every node has.
struct Bug {
    victims: Sender<Victim>,
    deaths: Receiver<(u16, Instant)>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bug {
    fn new(planes: &Planes) -> Result<Bug, String> {
        let (victims, theirs) = channel();
        let (died, deaths) = channel();
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            let mut watched: Vec<Victim> = Vec::new();
            while !end.load(Ordering::Relaxed) {
                watched.extend(theirs.try_iter());
                (0..100).for_each(|_| hit(&mut watched, &died));
            }
        });
        let bug = Bug { victims, deaths, ended, thread: Some(thread) };
        (1..=NODES).try_for_each(|node| bug.watch(planes, node))?;
        Ok(bug)
    }

    fn watch(&self, planes: &Planes, node: u16) -> Result<(), String> {
        self.victims.send(Victim::new(planes, node)?).map_err(|_| "the bug has ended".to_string())
    }
}

impl Drop for Bug {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A look at all.
fn hit(victims: &mut Vec<Victim>, died: &Sender<(u16, Instant)>) {
    let Some(place) = victims.iter().position(Victim::handles_poison) else { return };
    let victim = victims.swap_remove(place);
    // To a thread's number: the kernel prefers that thread to the others of its process.
    if signal(victim.worker, Signal::SEGV).is_ok() {
        let _ = died.send((victim.node, Instant::now()));
    }
}

/// What came of it.
#[derive(Default)]
pub struct Poisoned {
    pub sent: usize,
    pub deaths: usize,
    /// Of them those whose agent found the message in hand.
    pub in_hand: usize,
    /// Repeats that were dropped unread.
    pub dropped: u64,
    /// What left for a phone because of one that somebody had died of.
    pub handled: usize,
}

impl Poisoned {
    /// In numbers, and what of them is wrong.
    pub fn judged(&self) -> (String, Vec<String>) {
        let Poisoned { sent, deaths, in_hand, dropped, handled } = self;
        let missed = deaths.saturating_sub(*in_hand);
        let mut wrong = Vec::new();
        if in_hand * 2 < *sent {
            wrong.push(format!("{in_hand} of {sent} messages that kill have been in hand at a death"));
        }
        if *dropped == 0 {
            wrong.push("no repeat of a message that kills was dropped".to_string());
        }
        if *handled > 0 {
            wrong.push(format!("messages that somebody had died of were handled {handled} times"));
        }
        let told = format!("{sent} messages that kill: {deaths} deaths, {in_hand} with one in hand ({missed} missed)");
        (format!("{told}, {dropped} repeats dropped"), wrong)
    }
}

impl Hand<'_> {
    /// One such message after the other, each repeated for 20 s.
    pub fn poison(&mut self) -> Result<(), String> {
        let planes = self.planes();
        let said = || (1..=NODES).map(|node| planes.said(node, IN_HAND)).sum::<Result<usize, String>>();
        let bug = Bug::new(planes)?;
        let mut poisoned = Poisoned::default();
        let (mut senders, mut died_of) = (Vec::new(), Vec::new());
        'messages: for number in 1..=POISONS {
            planes.watch.all_started()?;
            let before = said()?;
            let call_id = format!("poison-{number}");
            planes.wire().poison(&call_id);
            senders.push(send(planes, &call_id)?);
            poisoned.sent += 1;
            let (mut last, end) = (Instant::now(), Instant::now() + HIT_WITHIN);
            while said()? == before {
                let left = end.saturating_duration_since(Instant::now());
                let Ok((node, at)) = bug.deaths.recv_timeout(left) else { continue 'messages };
                planes.wire().blow(planes.clock.at(at), format!("node {node} dies of {call_id}"), Some(node));
                last = at;
                poisoned.deaths += 1;
                self.times.faults += 1;
                sleep(NOTICED);
                planes.watch.all_started()?;
                bug.watch(planes, node)?;
            }
            died_of.push((call_id, planes.clock.at(last) + ANSWERED_BEFORE));
            planes.wire().settle(planes.clock.now());
        }
        sleep(REPEATED_FOR);
        poisoned.deaths += bug.deaths.try_iter().count();
        poisoned.in_hand = said()?;
        poisoned.dropped = planes.of_all_nodes("siprack_dropped_total{reason=\"quarantined\"}")?.iter().sum();
        poisoned.handled = died_of.iter().map(|(call_id, since)| planes.wire().poison_handled(call_id, *since)).sum();
        self.times.poisoned = Some(poisoned);
        Ok(())
    }
}

/// A MESSAGE from a phone that repeats it until somebody answers, which nobody does.
fn send(planes: &Planes, call_id: &str) -> Result<Running, String> {
    let text = format!(
        "MESSAGE sip:nobody@rack.test SIP/2.0\r\nVia: SIP/2.0/UDP {PHONES}:5099;branch=z9hG4bK{call_id};rport\r\n\
         From: <sip:2001@rack.test>;tag=p\r\nTo: <sip:nobody@rack.test>\r\nCall-ID: {call_id}\r\nCSeq: 1 MESSAGE\r\n\
         Max-Forwards: 70\r\n{}Content-Length: 0\r\n\r\n",
        // As long as a datagram may be: what is long is in hand for longer.
        (10..40).map(|n| format!("X-Filler-{n}: 0123456789abcdef\r\n")).collect::<String>()
    );
    let path = planes.folder.join(call_id);
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    // `cat` writes at once what it has read at once: one datagram.
    let (file, ip, port) = (path.display(), VIP.ip(), VIP.port());
    let script = format!("exec 3<>/dev/udp/{ip}/{port}; for wait in {REPEATS}; do cat {file} >&3; sleep $wait; done");
    Running::start(call_id, planes.phones.command("bash").args(["-c", &script]))
}
