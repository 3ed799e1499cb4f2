//! What befalls the services while calls are in every phase, and what is measured of it.

use super::poison::Poisoned;
use super::rack::{BEACONS_TO, HEARTBEATS_TO, NODES, Planes, Service};
use crate::cases::ownership::watch::Watch;
use crate::cases::ownership::{SLACK, signal, spread};
use crate::switch::Cut;
use rustix::process::Signal;
use std::fmt::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// From one fault to the next.
const EVERY: Duration = Duration::from_secs(6);
const FOR: Duration = Duration::from_secs(2);
/// After this time nothing is sent to a node that is out of the table.
const SENT_STILL: Duration = Duration::from_millis(200);
/// The packet path has a new table before the status says so.
const SAID_LATE: Duration = Duration::from_millis(50);
/// How long the VIP may be silent is looked at for so long.
const LOOKED: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(2);
/// How often the placement is looked at where nothing may change it: each change is another epoch, so none is missed.
const LOOK: Duration = Duration::from_millis(250);
/// A node that is drained is empty within this, in seconds: longer than any call here lasts.
const EMPTY_WITHIN: &str = "60";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Killed,
    Stopped,
    Isolated,
    /// Nothing comes to it over the planes: no beacon, for one.
    Deafened,
    /// Nothing comes from it: no heartbeat.
    Muted,
    /// No beacon comes to it, all else does.
    Unguided,
    /// No heartbeat of it comes, all else does.
    Unheard,
    /// SIGTERM.
    Ended,
    /// Its host's agent is ended and started again; a node is drained before, and taken back afterwards.
    Restarted,
}

impl What {
    fn words(self) -> &'static str {
        match self {
            What::Killed => "killed",
            What::Stopped => "stopped for 2 s",
            What::Isolated => "cut off for 2 s",
            What::Deafened => "deaf for 2 s",
            What::Muted => "mute for 2 s",
            What::Unguided => "without beacons for 2 s",
            What::Unheard => "without heartbeats for 2 s",
            What::Ended => "told to end",
            What::Restarted => "restarted with its agent",
        }
    }

    const ALL: [What; 9] = [
        What::Killed,
        What::Stopped,
        What::Isolated,
        What::Deafened,
        What::Muted,
        What::Unguided,
        What::Unheard,
        What::Ended,
        What::Restarted,
    ];

    /// What is cut on the planes.
    fn cut(self) -> Option<Cut> {
        match self {
            What::Isolated => Some(Cut::Both),
            What::Deafened => Some(Cut::Inward),
            What::Muted => Some(Cut::Outward),
            What::Unguided => Some(Cut::InwardTo(BEACONS_TO)),
            What::Unheard => Some(Cut::OutwardTo(HEARTBEATS_TO)),
            What::Killed | What::Stopped | What::Ended | What::Restarted => None,
        }
    }

    /// Within which a node must be out of the table, and the others stand under the new one.
    fn of_a_node(self) -> (Duration, Duration) {
        let ms = Duration::from_millis;
        match self {
            What::Killed | What::Ended | What::Restarted => (ms(300), ms(500)),
            What::Stopped | What::Isolated | What::Muted | What::Unheard => (ms(450), ms(600)),
            // Its heartbeats still come, and the last that counts was sent a period after the last beacon that it heard.
            What::Deafened | What::Unguided => (ms(500), ms(650)),
        }
    }

    /// How long the VIP may be silent when this befalls the load manager.
    fn of_the_load_manager(self) -> Duration {
        match self {
            What::Killed | What::Ended => Duration::from_millis(500),
            // Of one that is restarted nobody keeps the VIP's socket meanwhile.
            What::Stopped | What::Restarted => Duration::from_secs(1),
            What::Isolated | What::Deafened | What::Muted | What::Unguided | What::Unheard => {
                FOR + Duration::from_secs(1)
            }
        }
    }
}

/// What has been measured.
#[derive(Default)]
pub struct Times {
    /// Of nodes: what, until it was out of the table, until the others stood under the new one.
    nodes: Vec<(What, Duration, Duration)>,
    /// Of the load manager: what, and how long the VIP was silent.
    silences: Vec<(What, Duration)>,
    /// Messages that came to a node when it was out.
    late: Vec<String>,
    pub faults: usize,
    /// For so long the placement was to stay as it was.
    alone: Duration,
    /// What changed in it all the same.
    moved: Vec<String>,
    /// What came damaged and was refused, of each kind.
    pub refused: Vec<(&'static str, u64)>,
    pub poisoned: Option<Poisoned>,
}

pub struct Hand<'a> {
    planes: &'a Planes,
    /// Whose turn it is.
    turn: u16,
    pub times: Times,
}

/// When a node left the table, when all others stood under the new one, and until when it was surely out.
struct Absence {
    out: Instant,
    adopted: Instant,
    surely_until: Instant,
}

impl<'a> Hand<'a> {
    pub fn new(planes: &'a Planes) -> Hand<'a> {
        Hand { planes, turn: 0, times: Times::default() }
    }

    pub fn planes(&self) -> &'a Planes {
        self.planes
    }

    /// One after the other; of a node it is always the next one's turn.
    pub fn befall_all(&mut self, faults: &[(What, Service)]) -> Result<(), String> {
        for (what, service) in faults {
            let next = Instant::now() + EVERY;
            let service = match service {
                Service::Node(_) => {
                    self.turn += 1;
                    Service::Node(1 + (self.turn - 1) % NODES)
                }
                other => *other,
            };
            self.planes.watch.all_started()?;
            self.befall(*what, service).map_err(|e| format!("{} {}: {e}", service.words(), what.words()))?;
            self.times.faults += 1;
            let clock = self.planes.clock;
            self.planes.wire().settle(clock.now());
            sleep(next.saturating_duration_since(Instant::now()));
        }
        self.planes.watch.all_started()
    }

    /// Nothing befalls anybody for so long: nobody may be taken over.
    pub fn leave_alone(&mut self, lasting: Duration) -> Result<(), String> {
        self.planes.watch.all_started()?;
        let (begun, clock) = (Instant::now(), self.planes.clock);
        let mut before = self.planes.watch.placement()?;
        while begun.elapsed() < lasting {
            sleep(LOOK);
            let now = self.planes.watch.placement()?;
            if now != before {
                let words = format!("epoch {} became {}: {}", before.0, now.0, now.1.join(", "));
                self.planes.wire().blow(clock.now(), words.clone(), None);
                self.times.moved.push(format!("{:.1} s after the start: {words}", clock.now().0 as f64 / 1e6));
                before = now;
            }
            self.planes.wire().settle(clock.now());
        }
        self.times.alone += begun.elapsed();
        Ok(())
    }

    /// Each host hears nothing over one plane for a while, then nothing of it comes over that plane; the other plane is
    /// whole, so nobody may be taken over.
    pub fn mute_one_plane(&mut self) -> Result<(), String> {
        for service in (1..=NODES).map(Service::Node).chain([Service::LoadManager, Service::LocationServer]) {
            for (plane, name) in ["A", "B"].into_iter().enumerate() {
                for (cut, how) in [(Cut::Inward, "deaf"), (Cut::Outward, "mute")] {
                    let words = format!("{} {how} on plane {name} for 2 s", service.words());
                    self.planes.wire().blow(self.planes.clock.now(), words, service.node());
                    self.planes.cut_on(plane, service, Some(cut))?;
                    let told = self.leave_alone(FOR);
                    self.planes.cut_on(plane, service, None)?;
                    told?;
                    self.leave_alone(FOR / 2)?;
                    self.times.faults += 1;
                }
            }
        }
        Ok(())
    }

    fn befall(&mut self, what: What, service: Service) -> Result<(), String> {
        match service {
            Service::Node(node) if what == What::Restarted => {
                let id = node.to_string();
                let words = format!("{} draining", service.words());
                self.planes.wire().blow(self.planes.clock.now(), words, Some(node));
                self.planes.operator(service, &["drain", &id, "--wait", "--timeout", EMPTY_WITHIN])?;
                self.node(what, node)
            }
            Service::Node(node) => self.node(what, node),
            Service::LoadManager => self.load_manager(what),
            Service::LocationServer => self.inflict(what, service).map(drop),
        }
    }

    fn node(&mut self, what: What, node: u16) -> Result<(), String> {
        let (watch, boot) = (self.planes.watch.clone(), self.planes.watch.table(node)?.1["boot"].clone());
        let watching = std::thread::spawn(move || absence(&watch, node, &boot));
        let begun = self.inflict(what, Service::Node(node));
        let watched = watching.join().map_err(|_| "the watcher panicked".to_string())?;
        let (begun, absence) = (begun?, watched?);
        let since = |moment: Instant| moment.saturating_duration_since(begun);
        self.times.nodes.push((what, since(absence.out), since(absence.adopted)));
        let clock = self.planes.clock;
        let (from, until) = (clock.at(absence.out) + SENT_STILL, clock.at(absence.surely_until) - SAID_LATE);
        self.times
            .late
            .extend(self.planes.wire().came_to(node, from, until).iter().map(|m| format!("node {node}: {m}")));
        Ok(())
    }

    fn load_manager(&mut self, what: What) -> Result<(), String> {
        let begun = self.inflict(what, Service::LoadManager)?;
        sleep((begun + LOOKED).saturating_duration_since(Instant::now()));
        let clock = self.planes.clock;
        let silence = self.planes.wire().silence(clock.at(begun), clock.at(begun) + LOOKED);
        self.times.silences.push((what, silence));
        Ok(())
    }

    /// Begins it, lets it last, and ends it; when it began.
    fn inflict(&self, what: What, service: Service) -> Result<Instant, String> {
        let pid = self.planes.pid(service)?;
        let begun = Instant::now();
        let words = format!("{} {}", service.words(), what.words());
        self.planes.wire().blow(self.planes.clock.at(begun), words, service.node());
        match what {
            What::Killed => signal(pid, Signal::KILL)?,
            What::Ended => signal(pid, Signal::TERM)?,
            What::Restarted => {
                self.planes.restart(service)?;
                if let Some(node) = service.node() {
                    self.planes.operator(service, &["undrain", &node.to_string()])?;
                }
            }
            What::Stopped => {
                signal(pid, Signal::STOP)?;
                sleep(FOR);
                // Its agent may have killed it meanwhile, as it does with a load manager that hangs.
                let _ = signal(pid, Signal::CONT);
            }
            What::Isolated | What::Deafened | What::Muted | What::Unguided | What::Unheard => {
                self.planes.cut(service, what.cut())?;
                sleep(FOR);
                self.planes.cut(service, None)?;
            }
        }
        Ok(begun)
    }
}

fn absence(watch: &Watch, node: u16, boot: &serde_json::Value) -> Result<Absence, String> {
    let (out, adopted) = watch.switch(false, node, boot)?;
    let mut surely_until = out;
    loop {
        let asked = Instant::now();
        if watch.table(node)?.1["placed"] == true {
            return Ok(Absence { out, adopted, surely_until });
        }
        surely_until = asked;
        if asked.saturating_duration_since(out) > PATIENCE {
            return Err(format!("node {node} has not come back within {PATIENCE:?}"));
        }
        sleep(POLL);
    }
}

impl Times {
    /// In numbers, and what of them is out of bounds.
    pub fn judged(&self) -> (String, Vec<String>) {
        let (mut seen, mut wrong) = (String::new(), Vec::new());
        if !self.nodes.is_empty() {
            seen.push_str("ms until out of the table, until taken over (p50/p99/max):");
        }
        for what in What::ALL {
            let of = |which: fn(&(What, Duration, Duration)) -> Duration| {
                let mut sorted: Vec<Duration> = self.nodes.iter().filter(|t| t.0 == what).map(which).collect();
                sorted.sort();
                sorted
            };
            let (detected, taken) = (of(|t| t.1), of(|t| t.2));
            let (Some(slowest), Some(last)) = (detected.last(), taken.last()) else { continue };
            let count = detected.len();
            let _ = write!(seen, " node {} ({count}) {}, {};", what.words(), spread(&detected), spread(&taken));
            let (detect_within, take_within) = what.of_a_node();
            if *slowest > detect_within + SLACK || *last > take_within + SLACK {
                wrong.push(format!("node {}: slower than {detect_within:?} and {take_within:?}", what.words()));
            }
        }
        for what in What::ALL {
            let mut sorted: Vec<Duration> = self.silences.iter().filter(|s| s.0 == what).map(|s| s.1).collect();
            sorted.sort();
            let Some(longest) = sorted.last() else { continue };
            let (words, count) = (what.words(), sorted.len());
            let _ = write!(seen, " load manager {words} ({count}): VIP silent {};", spread(&sorted));
            let within = what.of_the_load_manager();
            if *longest > within + SLACK {
                wrong.push(format!("load manager {words}: the VIP was silent for longer than {within:?}"));
            }
        }
        if let Some(first) = self.late.first() {
            wrong.push(format!("{} messages came to nodes that were out: {first}", self.late.len()));
        }
        if let Some(first) = self.moved.first() {
            wrong.push(format!("the placement changed {} times and nobody had caused it: {first}", self.moved.len()));
        }
        if self.alone > Duration::ZERO {
            let _ = write!(seen, " {} false takeovers in {} s;", self.moved.len(), self.alone.as_secs());
        }
        if let Some((told, unfit)) = self.poisoned.as_ref().map(Poisoned::judged) {
            let _ = write!(seen, " {told};");
            wrong.extend(unfit);
        }
        for (what, count) in &self.refused {
            let _ = write!(seen, " {count} {what} refused;");
            if *count == 0 {
                wrong.push(format!("no {what} was refused: none was damaged, or nobody noticed"));
            }
        }
        (seen.trim_matches([' ', ';']).to_string(), wrong)
    }
}
