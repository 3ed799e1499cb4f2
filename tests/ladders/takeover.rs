//! The node that holds a call dies, at every moment of it: the call goes on where its shadow is. Nobody rings twice, no
//! phone rings on, each answered call leaves one CDR, and it tells how long the call was.

use crate::{hang_up, must, register};
use cc_node::cdr::Cdr;
use cc_node::trace::{Entry, Event as Recorded, Message, TOLD};
use common::call_hash::CallHash;
use common::time::Duration;
use simulated_rack::invariants::i04_accounting;
use simulated_rack::simulation::{PhoneId, Simulation};
use siprack::phone::{Event, Order, Pickup};
use std::collections::BTreeSet;

/// The callee answers after so long.
const RINGS: Duration = Duration::from_millis(2_000);
/// How wrong a CDR may be: a takeover, and a second.
const WRONG: Duration = Duration::from_millis(1_500);

struct Stage {
    s: Simulation,
    caller: PhoneId,
    callee: PhoneId,
}

type Outcome = Result<(), String>;

fn stage(seed: u64, pickup: Pickup) -> Result<Stage, String> {
    let mut s = Simulation::new(seed);
    let caller = s.phone("1001", Pickup::Never);
    let callee = s.phone("1002", pickup);
    register(&mut s, caller)?;
    register(&mut s, callee)?;
    Ok(Stage { s, caller, callee })
}

/// Which node holds the call: the owner of its slot, since nothing has changed so far.
fn holder(s: &Simulation, call_id: &str) -> Option<usize> {
    let hash = CallHash::of(&s.keys().placement, call_id.as_bytes());
    let owner = s.lm().owner(hash.slot())?;
    s.nodes().iter().position(|node| node.id() == owner)
}

impl Stage {
    fn calls(&mut self) -> Result<String, String> {
        self.s.order(self.caller, Order::Call { to: "1002".into() }).ok_or_else(|| "no call".into())
    }

    /// `agent`: whether it has one that says so; else its silence does.
    fn kills_holder(&mut self, call_id: &str, agent: bool) -> Result<usize, String> {
        let node = holder(&self.s, call_id).ok_or("nobody holds it")?;
        self.s.kill_node(node, agent);
        Ok(node)
    }

    fn is_answered(&mut self, call_id: &str) -> Outcome {
        let (caller, callee, ours) = (self.caller, self.callee, call_id.to_owned());
        must(&mut self.s, 40, "answered", move |s| {
            s.established(caller).contains(&ours) && s.established(callee).contains(&ours)
        })
    }

    fn rang_once(&self, call_id: &str) -> Outcome {
        let is_it = |e: &&Event| matches!(e, Event::Incoming { call_id: id, .. } | Event::RangTwice { call_id: id } if id == call_id);
        match self.s.events(self.callee).filter(is_it).count() {
            1 => Ok(()),
            n => Err(format!("it rang {n} times\n{}", self.s.whole_trail())),
        }
    }

    /// One CDR, as long as the call was; whoever takes over may write it again, under the same id.
    fn charged(&self, lasted: Duration) -> Outcome {
        let ids: BTreeSet<&str> = self.s.cdrs().iter().map(|(_, _, cdr)| cdr.id.as_str()).collect();
        let is_right = |cdr: &Cdr| Duration::from_millis(cdr.ms_duration).abs_diff(lasted) <= WRONG;
        match ids.len() == 1 && self.s.cdrs().iter().all(|(_, _, cdr)| is_right(cdr)) {
            true => i04_accounting::begun(&self.s, |_| true),
            false => Err(format!("{lasted:?} of a call, and {:#?}\n{}", self.s.cdrs(), self.s.whole_trail())),
        }
    }
}

/// Microseconds from the start of a call to its death: every tenth of a millisecond where messages go, else coarser.
fn moments(around: &[u64]) -> Vec<u64> {
    let near = around.iter().flat_map(|at| (0..30).map(move |n| at + n * 100));
    let far = (0..50).map(|n| n * 50_000);
    near.chain(far).collect()
}

fn all(what: &str, around: &[u64], story: impl Fn(u64, Duration, bool) -> Outcome) {
    for (seed, after) in (1..).zip(moments(around)) {
        for agent in [true, false] {
            let run = story(seed, Duration::from_micros(after), agent);
            run.unwrap_or_else(|why| panic!("{what}, dead after {after} µs (agent {agent}), seed {seed}: {why}"));
        }
    }
}

#[test]
fn an_answered_call_lives_whenever_its_node_dies() {
    all("answered", &[0, 2_000_000, 2_000_500], |seed, after, agent| {
        let mut stage = stage(seed, Pickup::After(RINGS))?;
        let id = stage.calls()?;
        stage.s.run_for(after);
        stage.kills_holder(&id, agent)?;
        stage.is_answered(&id)?;
        let begun = stage.s.now();
        stage.s.run_for(Duration::from_secs(5));
        let (caller, callee) = (stage.caller, stage.callee);
        hang_up(&mut stage.s, caller, callee, &id)?;
        let lasted = stage.s.now().since(begun);
        stage.s.run_for(Duration::from_secs(1));
        stage.rang_once(&id)?;
        stage.charged(lasted)?;
        stage.s.verdict()
    });
}

#[test]
fn a_call_that_is_being_ended_leaves_one_cdr_whenever_its_node_dies() {
    all("ended", &[0], |seed, after, agent| {
        let mut stage = stage(seed, Pickup::After(Duration::from_millis(200)))?;
        let id = stage.calls()?;
        stage.is_answered(&id)?;
        let begun = stage.s.now();
        stage.s.run_for(Duration::from_secs(5));
        let lasted = stage.s.now().since(begun);
        let ours = id.clone();
        stage.s.order(stage.callee, Order::Hangup { call_id: id.clone() });
        stage.s.run_for(after);
        stage.kills_holder(&id, agent)?;
        let (caller, callee) = (stage.caller, stage.callee);
        must(&mut stage.s, 40, "ended on both sides", move |s| {
            s.saw(callee, |e| *e == Event::Ended { call_id: ours.clone(), status: 200 })
                && s.saw(caller, |e| *e == Event::EndedByPeer { call_id: ours.clone() })
        })?;
        stage.s.run_for(Duration::from_secs(40));
        stage.charged(lasted)?;
        stage.s.verdict()
    });
}

#[test]
fn a_cancelled_call_stops_ringing_whenever_its_node_dies() {
    all("cancelled", &[0], |seed, after, agent| {
        let mut stage = stage(seed, Pickup::Never)?;
        let id = stage.calls()?;
        stage.s.run_for(Duration::from_secs(1));
        stage.s.order(stage.caller, Order::Cancel { call_id: id.clone() });
        stage.s.run_for(after);
        stage.kills_holder(&id, agent)?;
        let (caller, callee, ours) = (stage.caller, stage.callee, id.clone());
        must(&mut stage.s, 40, "ended on both sides", move |s| {
            s.saw(caller, |e| *e == Event::Refused { call_id: ours.clone(), status: 487 })
                && s.saw(callee, |e| *e == Event::CancelledHere { call_id: ours.clone() })
        })?;
        stage.rang_once(&id)?;
        stage.s.run_for(Duration::from_secs(40));
        stage.s.verdict()
    });
}

#[test]
fn a_refusal_is_heard_whenever_the_node_dies() {
    all("refused", &[0], |seed, after, agent| {
        let mut stage = stage(seed, Pickup::Refuse(486))?;
        let id = stage.calls()?;
        stage.s.run_for(after);
        stage.kills_holder(&id, agent)?;
        let (caller, ours) = (stage.caller, id.clone());
        must(&mut stage.s, 40, "refused", move |s| {
            s.saw(caller, |e| *e == Event::Refused { call_id: ours.clone(), status: 486 })
        })?;
        stage.s.run_for(Duration::from_secs(40));
        stage.s.verdict()
    });
}

/// The node comes back, and what is said in the call names it: who went on with the call hears of its end all the same.
#[test]
fn a_call_is_charged_though_its_first_node_came_back() {
    for (seed, by_callee) in (1..=20).flat_map(|seed| [(seed, false), (seed, true)]) {
        let run = || {
            let mut stage = stage(seed, Pickup::After(Duration::from_millis(200)))?;
            let id = stage.calls()?;
            stage.is_answered(&id)?;
            let begun = stage.s.now();
            stage.s.run_for(Duration::from_secs(1));
            let node = stage.kills_holder(&id, true)?;
            stage.s.run_for(Duration::from_secs(1));
            stage.s.start_node(node);
            must(&mut stage.s, 10, "it is back", |s| s.lm().live().len() == 3)?;
            stage.s.run_for(Duration::from_secs(5));
            let (from, to) = if by_callee { (stage.callee, stage.caller) } else { (stage.caller, stage.callee) };
            hang_up(&mut stage.s, from, to, &id)?;
            let lasted = stage.s.now().since(begun);
            stage.s.run_for(Duration::from_secs(1));
            stage.charged(lasted)?;
            stage.s.verdict()
        };
        run().unwrap_or_else(|why| panic!("seed {seed}, by the callee {by_callee}: {why}"));
    }
}

/// Both nodes that held it die, one a while after the other.
#[test]
fn a_call_outlives_two_deaths() {
    for between_ms in [0, 1, 5, 20, 50, 100, 200, 400, 800, 1_500] {
        let run = |seed| {
            let mut stage = stage(seed, Pickup::After(Duration::from_secs(4)))?;
            let id = stage.calls()?;
            stage.s.run_for(Duration::from_secs(1));
            stage.kills_holder(&id, true)?;
            stage.s.run_for(Duration::from_millis(between_ms));
            // Before the load manager has said anything it is still the first that owns the slot.
            if holder(&stage.s, &id).is_some_and(|node| stage.s.nodes()[node].boot().is_none()) {
                stage.s.run_for(Duration::from_millis(10));
            }
            stage.kills_holder(&id, true)?;
            stage.is_answered(&id)?;
            let begun = stage.s.now();
            stage.s.run_for(Duration::from_secs(5));
            let (caller, callee) = (stage.caller, stage.callee);
            hang_up(&mut stage.s, callee, caller, &id)?;
            let lasted = stage.s.now().since(begun);
            stage.s.run_for(Duration::from_secs(1));
            stage.rang_once(&id)?;
            stage.charged(lasted)?;
            stage.s.verdict()
        };
        for seed in 1..=10 {
            run(seed).unwrap_or_else(|why| panic!("{between_ms} ms between, seed {seed}: {why}"));
        }
    }
}

/// What a node remembers of a call: events as they stand in JSON, messages with method and status.
fn remembers(s: &Simulation, node: usize, call_id: &str) -> Vec<String> {
    let Some(engine) = s.nodes()[node].engine() else { return Vec::new() };
    let extract = engine.trace().extract(engine.call_hash(call_id.as_bytes()), Vec::with_capacity(TOLD));
    let line = |(_, entry): &(u64, Entry)| match (entry.event, entry.message) {
        (Recorded::In | Recorded::Out(_), Some(Message { method, status: 0 })) => {
            format!("{} {}", entry.event.label(), method.label())
        }
        (Recorded::In | Recorded::Out(_), Some(message)) => format!("{} {}", entry.event.label(), message.status),
        (event, _) => format!("{event:?}"),
    };
    extract.entries.iter().map(line).collect()
}

/// These stand among those, in this order.
fn tells(story: &[String], wanted: &[&str]) -> Outcome {
    let mut rest = story.iter();
    let missing = wanted.iter().find(|wanted| !rest.any(|line| line == *wanted));
    missing.map_or(Ok(()), |missing| Err(format!("`{missing}` is missing, or out of order, in {story:#?}")))
}

/// A call rings at one node, which dies and comes back, and the callee hangs up by its token: the recorders of both tell
/// who did what.
#[test]
fn the_recorders_of_both_nodes_tell_of_a_takeover() {
    let run = |seed| -> Outcome {
        let mut stage = stage(seed, Pickup::After(RINGS))?;
        let id = stage.calls()?;
        stage.s.run_for(Duration::from_secs(1));
        let first = holder(&stage.s, &id).ok_or("nobody holds it")?;
        let begin = ["in INVITE", "out 100", "out INVITE", "in 180", "out 180"];
        tells(&remembers(&stage.s, first, &id), &begin)?;
        let died = stage.s.nodes()[first].id();
        stage.kills_holder(&id, true)?;
        stage.is_answered(&id)?;
        stage.s.start_node(first);
        must(&mut stage.s, 10, "it is back", |s| s.lm().live().len() == 3)?;
        let took_up = format!("TookUp({died:?})");
        let others = (0..3).filter(|node| *node != first);
        let is_heir = |node: &usize| remembers(&stage.s, *node, &id).contains(&took_up);
        let heirs: Vec<usize> = others.filter(is_heir).collect();
        let [heir] = heirs[..] else { return Err(format!("taken up by {heirs:?}")) };
        stage.s.run_for(Duration::from_secs(5));
        let (caller, callee) = (stage.caller, stage.callee);
        hang_up(&mut stage.s, callee, caller, &id)?;
        stage.s.run_for(Duration::from_secs(1));
        let (told, by_first) = (remembers(&stage.s, heir, &id), remembers(&stage.s, first, &id));
        let went_on = [&took_up[..], "Probes", "out 100", "out INVITE", "in 200", "out 200"];
        tells(&told, &went_on)?;
        // The BYE names the node that wrote the token: the heir, by the one that asks it, or at once.
        tells(&told, &["out 200", "out BYE", "in 200", "out 200"])?;
        tells(&told, &["out BYE", "Cdr"])?;
        if !told.contains(&"in BYE".to_string()) {
            let heir_id = stage.s.nodes()[heir].id();
            let (asks, heard) = (format!("Asks({heir_id:?})"), format!("Heard {{ from: {heir_id:?}, mine: true }}"));
            tells(&by_first, &["in BYE", &asks, &heard])?;
            tells(&told, &[&format!("Says {{ to: {died:?}, mine: true }}"), "out BYE"])?;
        }
        stage.s.verdict()
    };
    for seed in 1..=10 {
        run(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}
