//! What may befall a node while calls come in, four nodes in turn: kill -9, SIGSTOP, a cut on both planes, kill -9
//! twice within a second, and a drain. Measured each time: how long until the load manager's table is without the node
//! (or has it draining), and until every other node stands under that table. Calls that were on a node may fail when it
//! dies, in bounds; a drain costs none.

mod four_nodes;
pub mod keys;
pub mod phones;
pub mod watch;

use self::four_nodes::{Link, NODES, load_manager, planes, rack_file};
use self::phones::{Outcome, Phones};
use self::watch::Watch;
use crate::Verdict;
use crate::metrics::metric;
use crate::namespaces::{Host, Network};
use crate::process::Running;
use crate::rack_process::{Rack, work_folder};
use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub const NEEDS: &[&str] = &["ip", "nft", "sipp"];

/// From one fault to the next.
const EVERY: Duration = Duration::from_secs(6);
const STOPPED_FOR: Duration = Duration::from_secs(1);
const CUT_FOR: Duration = Duration::from_secs(2);
const DRAINED_FOR: Duration = Duration::from_secs(3);
/// From the first kill to the second: the node has just come back.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What a busy machine may add to each bound.
pub const SLACK: Duration = Duration::from_millis(100);
/// A process may be stopped between its last look at the clock and the send: that batch the load manager drops.
const ESCAPED_A_FAULT: u64 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Killed,
    Stopped,
    Cut,
    KilledTwice,
    Drained,
}

impl Fault {
    const ALL: [Fault; 5] = [Fault::Killed, Fault::Stopped, Fault::Cut, Fault::KilledTwice, Fault::Drained];

    fn words(self) -> &'static str {
        match self {
            Fault::Killed => "killed",
            Fault::Stopped => "stopped for 1 s",
            Fault::Cut => "cut off for 2 s",
            Fault::KilledTwice => "killed twice within 1 s",
            Fault::Drained => "drained",
        }
    }

    /// How often in a round.
    fn count(self) -> usize {
        match self {
            Fault::Killed => 5,
            Fault::Stopped | Fault::Cut => 3,
            Fault::KilledTwice => 1,
            Fault::Drained => 2,
        }
    }

    /// Within which a node must be out of the table, and the others stand under the new one.
    fn bounds(self) -> Option<(Duration, Duration)> {
        let ms = Duration::from_millis;
        match self {
            Fault::Killed | Fault::KilledTwice => Some((ms(300), ms(500))),
            Fault::Stopped | Fault::Cut => Some((ms(450), ms(600))),
            Fault::Drained => None,
        }
    }
}

/// What one fault came to, from its beginning.
struct Times {
    fault: Fault,
    detected: Duration,
    taken_over: Duration,
}

pub fn run() -> Verdict {
    campaign(1)
}

pub fn run_long() -> Verdict {
    campaign(10)
}

fn campaign(rounds: usize) -> Verdict {
    let folder = work_folder(&format!("ownership-{rounds}"))?;
    let mut network = Network::new()?;
    let host = network.host("rack", "10.99.0.1")?;
    let clients = network.host("sipp", "10.99.0.20")?;
    let _link = Link::new(&host)?;
    let config = rack_file(&host, &folder)?;
    let rack = Rack::start(Some(&host), &folder.join("data"), &["--config", &config.to_string_lossy()])?;
    let phones = Phones::new(&clients, &format!("{}:5060", host.address), &folder)?;
    phones.register()?;
    let _answering = phones.answer()?;

    let deaths = [Fault::Killed, Fault::Stopped, Fault::Cut, Fault::KilledTwice];
    let deaths = deaths.into_iter().flat_map(|fault| std::iter::repeat_n(fault, fault.count()));
    let deaths: Vec<Fault> = deaths.collect::<Vec<_>>().repeat(rounds);
    let drains = vec![Fault::Drained; Fault::Drained.count() * rounds];
    let mut hand = Hand::new(&rack, &host)?;
    let at_deaths = hand.under_load(&phones, "deaths", &deaths)?;
    let at_drains = hand.under_load(&phones, "drains", &drains)?;
    let times = std::mem::take(&mut hand.times);
    drop(hand);

    rack.wait_ready(Duration::from_secs(20))?;
    let late = dropped("sender_dead")? + dropped("sender_behind")?;
    rack.stop()?;
    let (mut seen, mut wrong) = in_numbers(&times);
    let hits = times.iter().filter(|t| t.fault != Fault::Drained).count() as u64;
    if at_deaths.failed + at_drains.failed > 0 {
        wrong.push("calls failed".to_string());
    }
    if late > hits * ESCAPED_A_FAULT {
        wrong.push(format!("nodes sent {late} messages when they were out"));
    }
    for (under, outcome) in [("faults", at_deaths), ("drains", at_drains)] {
        let Outcome { calls, failed, why } = outcome;
        let _ = write!(seen, "; {calls} calls under {under}, {failed} failed{why}");
    }
    let _ = write!(seen, "; {late} sent too late and dropped");
    if wrong.is_empty() { Ok(seen) } else { Err(format!("{}: {seen}", wrong.join("; "))) }
}

fn dropped(reason: &str) -> Result<u64, String> {
    let line = format!("siprack_dropped_total{{reason=\"{reason}\"}}");
    metric(&format!("http://{}/metrics", load_manager()), &line)
}

/// The times of each kind, and what of them is out of bounds.
fn in_numbers(times: &[Times]) -> (String, Vec<String>) {
    let mut seen = String::from("p50/p99/max in ms until out of the table, until taken over:");
    let mut wrong = Vec::new();
    for fault in Fault::ALL {
        let of = |what: fn(&Times) -> Duration| {
            let mut sorted: Vec<Duration> = times.iter().filter(|t| t.fault == fault).map(what).collect();
            sorted.sort();
            sorted
        };
        let (detected, taken_over) = (of(|t| t.detected), of(|t| t.taken_over));
        let (Some(slowest), Some(last)) = (detected.last(), taken_over.last()) else { continue };
        let _ = write!(seen, " {} ({}) {}, {};", fault.words(), detected.len(), spread(&detected), spread(&taken_over));
        let Some((detect_within, take_within)) = fault.bounds() else { continue };
        if *slowest > detect_within + SLACK || *last > take_within + SLACK {
            let allowed = format!("{detect_within:?} and {take_within:?}, with {SLACK:?} more for a busy machine");
            wrong.push(format!("{}: slower than {allowed}", fault.words()));
        }
    }
    (seen.trim_end_matches(';').to_string(), wrong)
}

pub fn spread(sorted: &[Duration]) -> String {
    let within = |share: f64| {
        let place = (sorted.len() as f64 * share).ceil() as usize;
        sorted.get(place.saturating_sub(1)).map_or(0, Duration::as_millis)
    };
    format!("{}/{}/{}", within(0.5), within(0.99), within(1.0))
}

/// Does things to nodes, each watched by a thread of its own.
struct Hand<'a> {
    rack: &'a Rack,
    watch: Watch,
    /// Waits for rules: a new process for each would take longer than the rule does.
    nft: Running,
    times: Vec<Times>,
    /// Whose turn it is.
    turn: u16,
}

impl<'a> Hand<'a> {
    fn new(rack: &'a Rack, host: &Host) -> Result<Hand<'a>, String> {
        let nft = Running::start_interactive("nft", host.command("nft").arg("-i"))?;
        Ok(Hand { rack, watch: four_nodes::watch(), nft, times: Vec::new(), turn: 0 })
    }

    /// All these faults, node after node, while calls come in.
    fn under_load(&mut self, phones: &Phones<'_>, load: &str, faults: &[Fault]) -> Result<Outcome, String> {
        let calling = phones.call(load)?;
        // Until as many calls end as begin.
        sleep(Duration::from_secs(2));
        for fault in faults {
            let next = Instant::now() + EVERY;
            self.watch.all_started()?;
            let node = 1 + self.turn % NODES;
            self.turn += 1;
            self.befall(*fault, node).map_err(|e| format!("node {node}, {}: {e}", fault.words()))?;
            sleep(next.saturating_duration_since(Instant::now()));
        }
        self.watch.all_started()?;
        calling.finish()
    }

    fn befall(&mut self, fault: Fault, node: u16) -> Result<(), String> {
        let again = Instant::now() + AGAIN_AFTER;
        self.strike(fault, node)?;
        if fault != Fault::KilledTwice {
            return Ok(());
        }
        sleep(again.saturating_duration_since(Instant::now()));
        if self.watch.table(node)?.1["placed"] == true {
            return self.strike(fault, node);
        }
        // It is on its way back: nobody relies on it, so there is nothing to detect.
        self.pid(node).and_then(|pid| signal(pid, Signal::KILL))
    }

    fn strike(&mut self, fault: Fault, node: u16) -> Result<(), String> {
        let (watch, boot) = (self.watch.clone(), self.watch.table(node)?.1["boot"].clone());
        let watching = std::thread::spawn(move || watch.switch(fault == Fault::Drained, node, &boot));
        let begun = self.inflict(fault, node);
        let watched = watching.join().map_err(|_| "the watcher panicked".to_string())?;
        let (begun, (out, adopted)) = (begun?, watched?);
        let (detected, taken_over) = (out.saturating_duration_since(begun), adopted.saturating_duration_since(begun));
        self.times.push(Times { fault, detected, taken_over });
        Ok(())
    }

    /// Begins it, lets it last, and ends it; when it began.
    fn inflict(&mut self, fault: Fault, node: u16) -> Result<Instant, String> {
        let pid = self.pid(node)?;
        let begun = Instant::now();
        match fault {
            Fault::Killed | Fault::KilledTwice => signal(pid, Signal::KILL)?,
            Fault::Stopped => {
                signal(pid, Signal::STOP)?;
                sleep(STOPPED_FOR);
                signal(pid, Signal::CONT)?;
            }
            Fault::Cut => {
                self.nft.tell(&cut(node))?;
                sleep(CUT_FOR);
                self.nft.tell("delete table ip cut")?;
            }
            Fault::Drained => {
                self.watch.order(node, "drain")?;
                sleep(DRAINED_FOR);
                self.watch.order(node, "undrain")?;
            }
        }
        if self.nft.count("Error") > 0 { Err(format!("nft: {}", self.nft.tail(10))) } else { Ok(begun) }
    }

    fn pid(&self, node: u16) -> Result<i32, String> {
        self.rack.pid("cc-node", usize::from(node - 1))
    }
}

pub fn signal(process: i32, signal: Signal) -> Result<(), String> {
    let pid = Pid::from_raw(process).ok_or("no process has the number 0")?;
    kill_process(pid, signal).map_err(|e| format!("{signal:?} to process {process}: {e}"))
}

/// Drops what comes to the node's addresses or from them, where it arrives: its sender sees no error.
fn cut(node: u16) -> String {
    let mut rules = String::from("add table ip cut; add chain ip cut inward { type filter hook input priority 0; }");
    for address in planes(node) {
        for end in ["saddr", "daddr"] {
            let _ = write!(rules, "; add rule ip cut inward ip {end} {address} drop");
        }
    }
    rules
}
