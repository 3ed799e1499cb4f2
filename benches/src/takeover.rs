//! What outliving a node costs, and how long it takes: racks of one, two and three nodes (so that a call has no shadow,
//! one, two) under the same calls, and a node killed while it holds many.

use crate::compare::{self, Amount, engine};
use crate::subject::{Places, Subject, start};
use crate::{cpu, held};
use siprack::load::{Kind, Pace};
use std::process::Command;
use std::time::{Duration, Instant};

/// Nodes of the racks; a call has one shadow less, at most two.
const RACKS: [u16; 3] = [1, 2, 3];
/// A rate at which nothing queues: what is added to a call's set-up is the shadow's.
const CALM: f64 = 200.0;
const CALM_CALLS: u64 = 4000;
/// Their transactions are over, and all that they said is told to backups.
const SETTLE: Duration = Duration::from_secs(36);
const PATIENCE: Duration = Duration::from_secs(30);

/// CPU time, set-up delay and memory with no, one and two shadows.
pub fn cost(amount: &Amount, steps: &[u64], places: &Places) -> Result<Vec<String>, String> {
    let subjects = RACKS.map(|nodes| Subject::Rack { nodes });
    let results = compare::run(&subjects, amount, places)?;
    let mut lines = compare::table(&subjects, amount, &results);
    for subject in subjects {
        lines.push(delay(subject, places)?);
    }
    for subject in subjects {
        lines.extend(held::run(subject, steps, amount.rate, places)?);
    }
    Ok(lines)
}

/// How long the first answer and the 200 take when nothing queues.
fn delay(subject: Subject, places: &Places) -> Result<String, String> {
    let running = start(subject, places)?;
    let pace = Pace { rate: Some(CALM), window: u64::MAX, count: Some(CALM_CALLS), duration: None };
    let (mut field, mut engine) = engine(subject, running.target, pace)?;
    field.drive(&mut engine, |_, since| since > Duration::from_secs(120)).map_err(|e| e.to_string())?;
    let tally = engine.tally();
    if tally.failed() + tally.open() > 0 {
        return Err(format!("{}: {} of {CALM_CALLS} calls failed", subject.name(), tally.failed() + tally.open()));
    }
    let ms = |at: u64| at as f64 / 1000.0;
    let (first, answer) = (&tally.first, &tally.answer);
    Ok(format!(
        "{}: at {CALM} calls/s, p50 and p99 in ms: first 1xx {:.2} {:.2}, 200 {:.2} {:.2}",
        subject.name(),
        ms(first.within(0.5)),
        ms(first.within(0.99)),
        ms(answer.within(0.5)),
        ms(answer.within(0.99)),
    ))
}

/// A node of three is killed while the rack holds so many calls, one line a number.
pub fn death(steps: &[u64], rate: f64, places: &Places) -> Result<Vec<String>, String> {
    steps.iter().map(|held| one_death(*held, rate, places)).collect()
}

fn one_death(held: u64, rate: f64, places: &Places) -> Result<String, String> {
    let subject = Subject::Rack { nodes: 3 };
    let running = start(subject, places)?;
    let pace = Pace { rate: Some(rate), window: u64::MAX, count: Some(held), duration: None };
    let (mut field, mut engine) = engine(subject, running.target, pace)?;
    engine.hold(Duration::from_secs(100_000));
    let mut settled = Duration::ZERO;
    engine.turn_to(Kind::Calls, pace);
    let enough = |engine: &siprack::load::Engine, since: Duration| {
        if engine.tally().answered < held {
            settled = since;
        }
        since > settled + SETTLE || since > Duration::from_secs(600)
    };
    field.drive(&mut engine, enough).map_err(|e| e.to_string())?;
    let nodes = running.nodes();
    let ((pid, admin), others) = nodes.split_first().ok_or("the rack has no node")?;
    let (pids, others): (Vec<u32>, Vec<String>) = others.iter().cloned().unzip();
    let its = sum(std::slice::from_ref(admin), "siprack_calls{")?;
    let cpu = || cpu::used_by(&pids).map_err(|e| format!("CPU time of the nodes: {e}"));
    let before = cpu()?;
    let (begun, kill) = (Instant::now(), Command::new("kill").args(["-9", &pid.to_string()]).status());
    kill.map_err(|e| e.to_string())?;
    let mut kept = 0.0;
    while kept < its {
        if begun.elapsed() > PATIENCE {
            return Err(format!("{kept} of {its} calls of the dead node go on after {PATIENCE:?}"));
        }
        std::thread::sleep(Duration::from_millis(20));
        kept = sum(&others, "siprack_failover_calls_total{result=\"kept\"}")?;
    }
    let seen = begun.elapsed();
    let took = others.iter().map(|admin| sum(std::slice::from_ref(admin), "siprack_takeover_seconds"));
    let took = took.collect::<Result<Vec<f64>, String>>()?.into_iter().fold(0.0, f64::max);
    let spent = cpu()?.saturating_sub(before);
    Ok(format!(
        "{held} calls held, {its} of them by the node that is killed: all go on {:.0} ms after the placement without it \
         (seen by their metrics {:.0} ms after the kill); CPU time of the others {:.1} ms",
        took * 1000.0,
        seen.as_secs_f64() * 1000.0,
        spent.as_secs_f64() * 1000.0,
    ))
}

/// The sum of all lines of `/metrics` that begin so.
fn sum(admins: &[String], begins: &str) -> Result<f64, String> {
    let mut all = 0.0;
    for admin in admins {
        let url = format!("http://{admin}/metrics");
        let text = ureq::get(&url).call().and_then(|mut answer| answer.body_mut().read_to_string());
        let text = text.map_err(|e| format!("{url}: {e}"))?;
        let values = text.lines().filter(|line| line.starts_with(begins));
        all += values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>();
    }
    Ok(all)
}
