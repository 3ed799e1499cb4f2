//! Any sequence of joins, deaths, quick restarts, drains, returns, stops, cuts, dead planes, lost datagrams, turning keys and
//! restarts of the load manager, with calls in every phase. One holder a call; who holds one that lives keeps it, and such a call ends
//! as both ends wish.

use super::changes::{STORIES, stage};
use super::{FOUR, settles};
use crate::{coverage, register, seeds_of, shadows};
use common::ids::Plane;
use common::keys::Use;
use common::time::{Duration, Time};
use simulated_rack::network::Conditions;
use simulated_rack::plants::Plant;
use simulated_rack::simulation::{PhoneId, Simulation};
use siprack::phone::{Event, Order, Pickup};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const SOAK: u64 = 10_000;
const THREADS: usize = 2;
/// Runs in which a planted bug must show.
const PLANTED_SEEDS: u64 = 40;
const CALLERS: usize = 4;
/// How long things happen.
const STORM: Duration = Duration::from_secs(20);

/// What is done to undo a fault, and when.
#[derive(Clone, Copy, Debug)]
enum Mend {
    Start(usize),
    Resume(usize),
    Unstick(usize),
    Connect(usize),
    Undrain(usize),
    Admit(usize),
    StartLm,
    ResumeLm,
    Plane(Plane),
    Way(usize, Plane),
}

pub struct Storm {
    pub s: Simulation,
    callers: Vec<PhoneId>,
    callees: Vec<PhoneId>,
    mends: Vec<(Time, Mend)>,
    /// Nodes that something is the matter with.
    hurt: BTreeSet<usize>,
    lm_hurt: bool,
    plane_hurt: bool,
    /// Who called whom.
    calls: BTreeMap<String, (PhoneId, PhoneId)>,
    faults: usize,
}

impl Storm {
    pub fn new(seed: u64, plant: Option<Plant>) -> Result<Storm, String> {
        let mut s = Simulation::of_rack(FOUR, seed);
        s.plant(plant);
        s.weathers_a_storm();
        let ms = Duration::from_millis;
        let pickups = [
            Pickup::After(ms(300)),
            Pickup::After(ms(3_000)),
            Pickup::After(ms(45_000)),
            Pickup::Never,
            Pickup::Refuse(486),
        ];
        let mut callers = Vec::new();
        for n in 0..CALLERS {
            callers.push(s.phone(&format!("{}", 1001 + n), Pickup::Never));
        }
        let callees: Vec<PhoneId> = (0..pickups.len()).map(|n| s.phone(&format!("{}", 1011 + n), pickups[n])).collect();
        for phone in &callees {
            register(&mut s, *phone)?;
        }
        let loss = s.chance().between(0, 50) as f64 / 1000.0;
        s.set_conditions(Conditions { loss, duplication: 0.02, reordering: 0.05, ..Conditions::CLEAN });
        let (mends, calls) = (Vec::new(), BTreeMap::new());
        let hurt = BTreeSet::new();
        Ok(Storm { s, callers, callees, mends, hurt, lm_hurt: false, plane_hurt: false, calls, faults: 0 })
    }

    fn draw(&mut self, low: u64, high: u64) -> u64 {
        self.s.chance().between(low, high)
    }

    fn later(&mut self, low_ms: u64, high_ms: u64, mend: Mend) {
        let after = self.draw(low_ms, high_ms);
        self.mends.push((self.s.now() + Duration::from_millis(after), mend));
    }

    fn step(&mut self) {
        let what = self.draw(0, 99);
        match what {
            0..=39 => self.call(),
            40..=49 => self.hang_up(),
            50..=59 => self.cancel(),
            _ => self.fault(),
        }
    }

    fn call(&mut self) {
        let (from, to) = (self.draw(0, CALLERS as u64 - 1) as usize, self.draw(0, 4) as usize);
        let user = format!("{}", 1011 + to);
        if let Some(call_id) = self.s.order(self.callers[from], Order::Call { to: user }) {
            self.calls.insert(call_id, (self.callers[from], self.callees[to]));
        }
    }

    /// Some call, and who placed it.
    fn some_call(&mut self, wanted: impl Fn(&Simulation, &str, PhoneId) -> bool) -> Option<(PhoneId, String)> {
        let wanted = self.calls.iter().filter(|(id, (from, _))| wanted(&self.s, id, *from));
        let found: Vec<(PhoneId, String)> = wanted.map(|(id, (from, _))| (*from, id.clone())).collect();
        let at = self.draw(0, found.len().max(1) as u64 - 1) as usize;
        found.get(at).cloned()
    }

    fn hang_up(&mut self) {
        if let Some((from, call_id)) = self.some_call(|s, id, from| s.established(from).iter().any(|e| e == id)) {
            self.s.order(from, Order::Hangup { call_id });
        }
    }

    fn cancel(&mut self) {
        let rings =
            |s: &Simulation, id: &str, from| s.saw(from, |e| matches!(e, Event::Ringing { call_id } if call_id == id));
        if let Some((from, call_id)) = self.some_call(rings) {
            self.s.order(from, Order::Cancel { call_id });
        }
    }

    fn fault(&mut self) {
        let n = self.draw(0, 3) as usize;
        let kind = self.draw(0, 12);
        if kind < 8 && (self.hurt.contains(&n) || self.hurt.len() >= 2) {
            return;
        }
        self.faults += 1;
        match kind {
            0 | 1 => {
                self.hurt.insert(n);
                self.s.kill_node(n, kind == 0);
                // The agent is quick, or the machine boots.
                let quick = self.draw(0, 1) == 0;
                if quick { self.later(20, 150, Mend::Start(n)) } else { self.later(300, 6000, Mend::Start(n)) }
            }
            2 | 3 => {
                self.hurt.insert(n);
                self.s.stop_node(n);
                self.later(20, 2500, Mend::Resume(n));
            }
            4 => {
                self.hurt.insert(n);
                let ways = self.draw(1, 3);
                self.s.cut_node(n, ways & 1 > 0, ways & 2 > 0);
                self.later(50, 3000, Mend::Connect(n));
            }
            5 => {
                self.hurt.insert(n);
                self.s.drain_node(n, true);
                self.later(200, 8000, Mend::Undrain(n));
            }
            6 => {
                self.hurt.insert(n);
                let admit = self.draw(10_000, 60_000) as u16;
                self.s.admit(n, admit);
                self.later(200, 5000, Mend::Admit(n));
            }
            7 => {
                self.hurt.insert(n);
                self.s.stick_node(n);
                self.later(100, 3000, Mend::Unstick(n));
            }
            8 | 9 if !self.lm_hurt => {
                self.lm_hurt = true;
                if kind == 8 {
                    // Another weight is read by the next process.
                    if self.draw(0, 2) == 0 {
                        let weight = self.draw(50, 200) as u16;
                        self.s.reweigh(n, weight);
                    }
                    self.s.kill_lm();
                    self.later(30, 800, Mend::StartLm);
                } else {
                    self.s.stop_lm();
                    self.later(30, 1500, Mend::ResumeLm);
                }
            }
            10 if !self.plane_hurt => {
                self.plane_hurt = true;
                let plane = Plane::ALL[self.draw(0, 1) as usize];
                self.s.plane(plane, false);
                self.later(100, 4000, Mend::Plane(plane));
            }
            11 => {
                let what = Use::ALL[self.draw(0, 2) as usize];
                let old = if what == Use::Token { 99 } else { 1 };
                self.s.turn_key(what, old);
            }
            12 if !self.plane_hurt => {
                self.plane_hurt = true;
                let plane = Plane::ALL[self.draw(0, 1) as usize];
                let inwards = self.draw(0, 1) == 0;
                self.s.cut_way(n, plane, inwards);
                self.later(100, 6000, Mend::Way(n, plane));
            }
            _ => self.faults -= 1,
        }
    }

    fn mend(&mut self, mend: Mend) {
        match mend {
            Mend::Start(n) => self.s.start_node(n),
            Mend::Resume(n) => self.s.resume_node(n),
            Mend::Unstick(n) => self.s.unstick_node(n),
            Mend::Connect(n) => self.s.mend_node(n),
            Mend::Undrain(n) => self.s.drain_node(n, false),
            Mend::Admit(n) => self.s.admit(n, u16::MAX),
            Mend::StartLm => self.s.start_lm(),
            Mend::ResumeLm => self.s.resume_lm(),
            Mend::Plane(plane) => self.s.plane(plane, true),
            Mend::Way(n, plane) => self.s.mend_way(n, plane),
        }
        match mend {
            Mend::Start(n)
            | Mend::Resume(n)
            | Mend::Unstick(n)
            | Mend::Connect(n)
            | Mend::Undrain(n)
            | Mend::Admit(n) => {
                self.hurt.remove(&n);
            }
            Mend::StartLm | Mend::ResumeLm => self.lm_hurt = false,
            Mend::Plane(_) | Mend::Way(..) => self.plane_hurt = false,
        }
    }

    /// Mends what is due by then, and runs until then.
    fn run_to(&mut self, until: Time) {
        while let Some(at) = (0..self.mends.len()).min_by_key(|at| self.mends[*at].0) {
            let (due, mend) = self.mends[at];
            if due > until {
                break;
            }
            self.mends.swap_remove(at);
            self.s.run_for(due.since(self.s.now()));
            self.mend(mend);
        }
        self.s.run_for(until.since(self.s.now()));
    }

    fn rage(&mut self) {
        let end = self.s.now() + STORM;
        while self.s.now() < end {
            self.step();
            let pause = self.draw(20, 600);
            self.run_to(self.s.now() + Duration::from_millis(pause));
        }
        self.run_to(end + Duration::from_secs(10));
    }

    /// Calls whose holders have all lived end as their phones wish: answered or refused at both ends alike.
    fn calls_were_kept(&mut self) -> Result<usize, String> {
        let mut kept = 0;
        for (call_id, (from, to)) in self.calls.clone() {
            if self.s.planes_saw_a_death_of(&call_id) {
                continue;
            }
            let s = &self.s;
            let answered = s.saw(from, |e| matches!(e, Event::Answered { call_id: id } if *id == call_id));
            let refused = s.saw(from, |e| matches!(e, Event::Refused { call_id: id, .. } if *id == call_id));
            let rang =
                s.events(to).filter(|e| matches!(e, Event::Incoming { call_id: id, .. } if *id == call_id)).count();
            let twice = s.saw(to, |e| matches!(e, Event::RangTwice { call_id: id } if *id == call_id));
            if twice || rang > 1 {
                return Err(format!("{call_id} rang twice\n{}", s.trail(&call_id)));
            }
            let confirmed = s.saw(to, |e| matches!(e, Event::Confirmed { call_id: id } if *id == call_id));
            // The ACK may be lost, and a BYE come before its repeat.
            let ended = s.saw(to, |e| matches!(e, Event::EndedByPeer { call_id: id } if *id == call_id));
            if answered && !confirmed && !ended {
                return Err(format!("{call_id} was answered for the caller alone\n{}", s.trail(&call_id)));
            }
            if confirmed && !answered {
                return Err(format!("{call_id} was answered for the callee alone\n{}", s.trail(&call_id)));
            }
            if !answered && !refused {
                return Err(format!("{call_id} came to no end for the caller\n{}", s.trail(&call_id)));
            }
            kept += 1;
        }
        Ok(kept)
    }

    /// How many faults there were, how many calls, and how many of them whose holders all lived.
    pub fn play(&mut self) -> Result<(usize, usize, usize), String> {
        self.rage();
        self.s.set_conditions(Conditions::CLEAN);
        settles(&mut self.s)?;
        // All of an INVITE's patience, and of those that ring for long.
        self.s.run_for(Duration::from_secs(60));
        for (call_id, (from, _)) in self.calls.clone() {
            let placed = self.s.established(from).contains(&call_id);
            let order = if placed { Order::Hangup { call_id } } else { Order::Cancel { call_id } };
            self.s.order(from, order);
        }
        self.s.run_for(Duration::from_secs(40));
        let kept = self.calls_were_kept()?;
        Ok((self.faults, self.calls.len(), kept))
    }
}

/// How many faults there were, and how many calls whose holders lived.
fn one(seed: u64, plant: Option<Plant>) -> Result<(usize, usize, usize), String> {
    let mut storm = Storm::new(seed, plant)?;
    let outcome = storm.play();
    storm.s.verdict()?;
    outcome
}

#[test]
fn any_sequence_of_changes_leaves_each_call_one_holder() {
    let seeds = seeds_of(SOAK);
    let (next, sums) = (AtomicUsize::new(0), Mutex::new((0, 0, 0)));
    let failure: Mutex<Option<(u64, String)>> = Mutex::new(None);
    let work = || {
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            match one(*seed, None) {
                Ok((faults, calls, kept)) => {
                    let mut sums = sums.lock().unwrap_or_else(|e| e.into_inner());
                    *sums = (sums.0 + faults, sums.1 + calls, sums.2 + kept);
                }
                Err(why) => {
                    next.store(seeds.len(), Ordering::Relaxed);
                    *failure.lock().unwrap_or_else(|e| e.into_inner()) = Some((*seed, why));
                    return;
                }
            }
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(work))));
    if let Some((seed, why)) = failure.into_inner().unwrap_or_else(|e| e.into_inner()) {
        panic!("seed {seed}: {why}");
    }
    let (faults, calls, kept) = sums.into_inner().unwrap_or_else(|e| e.into_inner());
    println!("{} runs: {faults} faults, {calls} calls, of {kept} all holders lived", seeds.len());
    assert!(seeds.len() < 10 || kept * 3 > calls, "most calls are not hit by a death");
}

/// Each bug of the list is caught, by a checker or by a call that ends wrongly.
#[test]
fn every_planted_bug_is_caught() {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut report = Vec::new();
        while let Some(plant) = Plant::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            let caught = told(*plant).or_else(|| coverage::covered(*plant)).or_else(|| stormed(*plant));
            println!("{plant:?}: {}", caught.as_deref().unwrap_or("NOT CAUGHT"));
            report.push((*plant, caught.is_some()));
        }
        report
    };
    let reports: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    let missed: Vec<&Plant> = reports.iter().filter(|(_, caught)| !caught).map(|(plant, _)| plant).collect();
    assert!(reports.len() == Plant::ALL.len() && missed.is_empty(), "not caught: {missed:?}");
}

/// By one of the stories of `changes` and `shadows`: which, and what was wrong.
fn told(plant: Plant) -> Option<String> {
    STORIES.iter().chain(&shadows::STORIES).find_map(|(name, story)| {
        let play = || {
            let mut s = stage(1)?;
            s.plant(Some(plant));
            let told = story(&mut s);
            s.verdict().and(told)
        };
        let why = play().err()?;
        Some(format!("`{name}`: {}", why.lines().next().unwrap_or_default()))
    })
}

/// By a storm.
fn stormed(plant: Plant) -> Option<String> {
    (1..=PLANTED_SEEDS).find_map(|seed| {
        let why = one(seed, Some(plant)).err()?;
        Some(format!("seed {seed}: {}", why.lines().next().unwrap_or_default()))
    })
}
