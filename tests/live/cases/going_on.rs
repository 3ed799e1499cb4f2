//! No call is lost while processes die: four nodes, a load manager and a location server on hosts of their own are killed,
//! stopped and cut off in turn, while calls are in every phase. What becomes of the calls is read from the wire, and the
//! CDRs are compared with it.

mod hand;
mod phones;
mod poison;
mod rack;

use self::hand::{Hand, What};
use self::phones::{Load, Phones};
use self::rack::{Planes, Service};
use crate::Verdict;
use crate::cases::soak::figure;
use crate::rack_process::work_folder;
use crate::switch::Faults;
use crate::wire::{Blow, Phase, Tally, Wire};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::thread::sleep;
use std::time::Duration;

pub const NEEDS: &[&str] = &["ip", "sipp"];

const NODE: Service = Service::Node(0);
const LM: Service = Service::LoadManager;
const LS: Service = Service::LocationServer;

/// 20 calls a second, 300 held.
const LOAD: Load = Load { steady: 13, hold_ms: 20_000, patient: 2, cancelled: 3, forked: 2, registrations: 20 };
/// 50 calls a second, 2,000 held.
const MORE: Load = Load { steady: 40, hold_ms: 48_000, patient: 3, cancelled: 4, forked: 3, registrations: 20 };

const TWELVE: [(What, Service); 12] = [
    (What::Killed, NODE),
    (What::Stopped, NODE),
    (What::Isolated, NODE),
    (What::Killed, LM),
    (What::Killed, NODE),
    (What::Killed, LS),
    (What::Stopped, NODE),
    (What::Isolated, NODE),
    (What::Stopped, LM),
    (What::Killed, NODE),
    (What::Isolated, LS),
    (What::Deafened, NODE),
];

/// Ten kills, and what else there is.
const ROUND: [(What, Service); 14] = [
    (What::Killed, NODE),
    (What::Killed, NODE),
    (What::Killed, LM),
    (What::Killed, NODE),
    (What::Stopped, NODE),
    (What::Killed, NODE),
    (What::Killed, LS),
    (What::Killed, NODE),
    (What::Isolated, NODE),
    (What::Killed, NODE),
    (What::Stopped, LM),
    (What::Killed, NODE),
    (What::Muted, NODE),
    (What::Killed, NODE),
];

/// 5 calls a second, 40 held: a rack with little to do.
const LIGHT: Load = Load { steady: 2, hold_ms: 20_000, patient: 1, cancelled: 1, forked: 1, registrations: 5 };

/// The planes at their worst in an ordinary rack.
const POOR: Faults = Faults { loss: 0.01, duplicate: 0.05, reorder: 0.05, ..CLEAN };
/// Everything comes twice, a quarter behind what was sent after it; a hundredth is damaged, and as much so that no checksum tells.
const HOSTILE: Faults = Faults { duplicate: 1.0, reorder: 0.25, corrupt: 0.01, unnoticed: 0.01, ..CLEAN };
const CLEAN: Faults = Faults {
    loss: 0.0,
    duplicate: 0.0,
    reorder: 0.0,
    delay: 0.0,
    corrupt: 0.0,
    unnoticed: 0.0,
    latency: Duration::ZERO,
};

fn losing(share: f64) -> Faults {
    Faults { loss: share, ..CLEAN }
}

pub fn run() -> Verdict {
    play("dying", LOAD, |hand, _| hand.befall_all(&TWELVE), CLEAN)
}

pub fn run_long() -> Verdict {
    let rounds = figure("SIPRACK_SOAK_ROUNDS", 20)? as usize;
    play("dying-long", MORE, |hand, _| hand.befall_all(&ROUND.repeat(rounds)), CLEAN)
}

/// Each service with its host's agent, a node drained before, as for a new version; then each by SIGTERM alone.
pub fn run_restarts() -> Verdict {
    let all = |what: What| [NODE, NODE, NODE, NODE, LM, LS].map(|service| (what, service));
    play(
        "restarts",
        LOAD,
        |hand, _| {
            hand.befall_all(&all(What::Restarted))?;
            hand.befall_all(&all(What::Ended))
        },
        CLEAN,
    )
}

/// One plane, as it were: the other passes nothing.
pub fn run_alone_on_one_plane() -> Verdict {
    left_alone("alone-1", [losing(0.01), losing(1.0)])
}

pub fn run_alone_on_both_planes() -> Verdict {
    left_alone("alone-5", [losing(0.05); 2])
}

pub fn run_alone_on_one_of_two() -> Verdict {
    left_alone("alone-20", [losing(0.20), CLEAN])
}

fn left_alone(name: &str, faults: [Faults; 2]) -> Verdict {
    let lasting = Duration::from_secs(figure("SIPRACK_SOAK_S", 600)?.into());
    let story = |hand: &mut Hand<'_>, planes: &Planes| {
        planes.treat(faults);
        // What had not been noticed of a plane that has just gone is.
        sleep(Duration::from_secs(1));
        hand.leave_alone(lasting)
    };
    play(name, LIGHT, story, CLEAN)
}

/// Planes that double everything, reorder a quarter and damage some, noticed or not by what is below the rack.
pub fn run_on_hostile_planes() -> Verdict {
    let story = |hand: &mut Hand<'_>, planes: &Planes| {
        hand.leave_alone(Duration::from_secs(60))?;
        hand.times.refused = planes.refused()?;
        hand.befall_all(&TWELVE[..6])
    };
    play("hostile-planes", LOAD, story, HOSTILE)
}

/// One way of one plane at a time, then beacons alone and heartbeats alone on both.
pub fn run_mute() -> Verdict {
    let story = |hand: &mut Hand<'_>, _: &Planes| {
        hand.mute_one_plane()?;
        hand.befall_all(&[(What::Unguided, NODE), (What::Unheard, NODE)].repeat(4))
    };
    play("mute-planes", LOAD, story, CLEAN)
}

/// Messages that come again and again, each of which one node dies of.
pub fn run_poisoned() -> Verdict {
    play("poison", LOAD, |hand, _| hand.poison(), CLEAN)
}

/// Between the load manager and everybody else.
pub fn run_cut_off() -> Verdict {
    let faults = [(What::Isolated, LM), (What::Killed, NODE), (What::Isolated, LM)];
    play("cut-off", LOAD, |hand, _| hand.befall_all(&faults), CLEAN)
}

/// Planes that lose, double and reorder; then 5 % on both are lost, then 20 % on one.
pub fn run_on_poor_planes() -> Verdict {
    let story = |hand: &mut Hand<'_>, planes: &Planes| {
        hand.befall_all(&TWELVE[..5])?;
        for shares in [[0.05, 0.05], [0.20, 0.0], [0.0, 0.20]] {
            planes.treat(shares.map(losing));
            hand.befall_all(&[(What::Killed, NODE), (What::Isolated, NODE)])?;
        }
        planes.treat([POOR; 2]);
        hand.befall_all(&[(What::Killed, LM)])
    };
    play("poor-planes", LOAD, story, POOR)
}

fn play(
    name: &str,
    load: Load,
    story: impl Fn(&mut Hand<'_>, &Planes) -> Result<(), String>,
    faults: Faults,
) -> Verdict {
    let folder = work_folder(name)?;
    let planes = Planes::start(&folder, 2026, faults)?;
    let phones_host = planes.phones.clone();
    let mut phones = Phones::new(&phones_host, &folder, load)?;
    phones.call()?;
    // Until as many calls end as begin.
    sleep(Duration::from_millis(u64::from(load.hold_ms)) + Duration::from_secs(4));
    let (under_way, held) = planes.wire().under_way(planes.clock.now());
    let mut hand = Hand::new(&planes);
    let told = story(&mut hand, &planes);
    let times = std::mem::take(&mut hand.times);
    // A story that has failed lets its calls end, too: else all that were under way would be lost by the test.
    let finished = phones.finish();
    let sipp = told.and(finished);
    // What the last ACKs and BYEs have to say.
    sleep(Duration::from_secs(2));
    let ready = planes.wait_ready();
    let cdrs = planes.cdrs();
    let (mut seen, mut wrong) = times.judged();
    wrong.extend(planes.panicked()?);
    {
        let mut wire = planes.wire();
        wire.finish();
        let tally = wire.tally();
        print_hits(wire.blows());
        for ladder in tally.kinds.values().flat_map(|(_, ladders)| ladders) {
            println!("     {ladder}");
        }
        wrong.extend(broken(tally));
        wrong.extend((times.faults > 0).then(|| never_hit(wire.blows())).flatten());
        let (said, unfit) = accounted(&wire, &cdrs);
        wrong.extend(unfit);
        let _ = write!(
            seen,
            "; {} calls ({} a second, {under_way} under way, {held} held) and {} registrations under {} faults, {} lost; {said}; \
             rang {} ms after a CANCEL at most",
            tally.calls,
            load.rate(),
            tally.registrations,
            times.faults,
            tally.wrong.len(),
            tally.rang_on.as_millis()
        );
    }
    let _ = write!(seen, "; planes {}", planes.frames());
    match sipp.and_then(|said| ready.map(|()| said)) {
        Ok(said) => drop(write!(seen, "; SIPp:{said}")),
        Err(e) => wrong.insert(0, e),
    }
    if !wrong.is_empty() {
        return Err(format!("{}: {seen}", wrong.join("; ")));
    }
    drop(phones);
    planes.stop()?;
    Ok(seen)
}

/// How many calls each blow hit in which phase, and all together.
fn print_hits(blows: &[Blow]) {
    let told = |hit: &BTreeMap<Phase, u64>| {
        hit.iter().map(|(phase, count)| format!("{} {count}", phase.words())).collect::<Vec<_>>().join(", ")
    };
    let mut all: BTreeMap<Phase, u64> = BTreeMap::new();
    for blow in blows {
        println!("     {:7.1} s  {:<32} hit: {}", blow.at.0 as f64 / 1e6, blow.words, told(&blow.hit));
        blow.hit.iter().for_each(|(phase, count)| *all.entry(*phase).or_default() += count);
    }
    println!("     {} faults hit: {}", blows.len(), told(&all));
}

fn never_hit(blows: &[Blow]) -> Option<String> {
    let hit: BTreeSet<Phase> = blows.iter().flat_map(|blow| blow.hit.keys().copied()).collect();
    let missed: Vec<&str> = Phase::ALL.iter().filter(|p| !hit.contains(p)).map(|p| p.words()).collect();
    (!missed.is_empty()).then(|| format!("no fault hit a call that was {}", missed.join(", ")))
}

/// How many calls broke which rule.
fn broken(tally: &Tally) -> Option<String> {
    let told: Vec<String> = tally.kinds.iter().map(|(rule, (count, _))| format!("{count} × {rule}")).collect();
    (!told.is_empty()).then(|| format!("{} calls lost: {}", tally.wrong.len(), told.join(", ")))
}

/// Each answered call has one CDR (written twice under the same id it is the same), and no other call has one.
fn accounted(wire: &Wire, cdrs: &[Value]) -> (String, Vec<String>) {
    let tally = wire.tally();
    let mut ids: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for cdr in cdrs {
        ids.entry(cdr["callid"].as_str().unwrap_or_default())
            .or_default()
            .insert(cdr["id"].as_str().unwrap_or_default());
    }
    let lost: Vec<&String> = tally.answered.iter().filter(|id| !ids.contains_key(id.as_str())).collect();
    let doubled: Vec<&&str> = ids.iter().filter(|(_, ids)| ids.len() > 1).map(|(id, _)| id).collect();
    let unfounded: Vec<&&str> = ids.keys().filter(|id| !tally.answered.contains(**id)).collect();
    let mut wrong = Vec::new();
    for (what, calls) in [
        ("have no CDR", lost.iter().map(|id| id.to_string()).collect::<Vec<_>>()),
        ("have several CDRs", doubled.iter().map(|id| id.to_string()).collect()),
        ("have a CDR and were not answered", unfounded.iter().map(|id| id.to_string()).collect()),
    ] {
        if let Some(first) = calls.first() {
            wrong.push(format!("{} calls {what}", calls.len()));
            println!("     {} {what}, among them {}", calls.len(), wire.ladder(first));
        }
    }
    let again = cdrs.len() - ids.values().map(BTreeSet::len).sum::<usize>();
    (format!("{} answered, {} CDRs ({again} of them written again)", tally.answered.len(), cdrs.len()), wrong)
}
