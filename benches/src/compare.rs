//! The comparison: every subject in turn, round after round in one run, under the same load; medians of CPU time a call
//! and a message. Noise of the machine then falls on all of them.

use crate::echo;
use crate::subject::{Places, Running, Subject, UAS, Work, start};
use siprack::io::load::Field;
use siprack::load::{Engine, Kind, Pace, Plan, Users};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Datagrams that a forwarding process takes in or sends on for one call: INVITE, 100, 180, 200, ACK, BYE, 200 on each
/// side, less the 100 that it makes itself.
pub const MESSAGES: f64 = 13.0;

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    pub calls: u64,
    pub window: u64,
    /// Calls a second of the part at an equal rate.
    pub rate: f64,
    pub rounds: usize,
}

/// Under which load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Load {
    /// A full window.
    Saturated,
    EqualRate,
}

/// One subject under one load, once.
#[derive(Clone, Debug)]
pub struct Measured {
    pub per_s: f64,
    pub failed: u64,
    /// µs of CPU time a call, by part.
    pub parts: Vec<(&'static str, f64)>,
    /// µs of CPU time that the load generator itself took for a call.
    pub generator: f64,
}

pub type Results = BTreeMap<(Load, usize), Vec<Measured>>;

/// All rounds; the key is the load and the subject's place in the list.
pub fn run(subjects: &[Subject], amount: &Amount, places: &Places) -> Result<Results, String> {
    let mut results = Results::new();
    for round in 0..amount.rounds {
        for (at, subject) in subjects.iter().enumerate() {
            eprintln!("round {} of {}: {}", round + 1, amount.rounds, subject.name());
            let running = start(*subject, places)?;
            for load in [Load::Saturated, Load::EqualRate] {
                let measured = match subject {
                    Subject::Relay => relay(&running, load, amount)?,
                    _ => calls(*subject, &running, load, amount)?,
                };
                results.entry((load, at)).or_default().push(measured);
            }
        }
    }
    Ok(results)
}

/// Calls are begun at a rate, or as a window permits.
pub fn pace(load: Load, amount: &Amount) -> Pace {
    match load {
        Load::Saturated => Pace { rate: None, window: amount.window, count: Some(amount.calls), duration: None },
        Load::EqualRate => Pace {
            rate: Some(amount.rate),
            window: 100_000,
            count: Some(amount.calls.min((amount.rate * 10.0) as u64)),
            duration: None,
        },
    }
}

/// Our two sides, the called ones registered where that is wanted.
pub fn engine(subject: Subject, target: SocketAddr, pace: Pace) -> Result<(Field, Engine), String> {
    let uas = UAS.parse().map_err(|e| format!("{UAS}: {e}"))?;
    let mut field = Field::open(target, Some(uas)).map_err(|e| e.to_string())?;
    let registering = Pace { rate: None, window: 10, count: Some(10), duration: None };
    let plan = Plan {
        kind: Kind::Registrations,
        target,
        domain: "rack.test".into(),
        users: Users::new("load1", 10),
        password: None,
        caller: field.addresses[0],
        callee: field.addresses[1],
        pace: registering,
        ring: Duration::ZERO,
        hold: Duration::ZERO,
        run: u64::from(std::process::id()) << 20 | u64::from(field.addresses[0].port()),
    };
    let mut engine = Engine::new(plan);
    if subject.wants_registrations() {
        field.drive(&mut engine, |_, since| since > Duration::from_secs(10)).map_err(|e| e.to_string())?;
        if engine.tally().finished != 10 {
            return Err(format!("{}: the called users could not be registered", subject.name()));
        }
    }
    engine.turn_to(Kind::Calls, pace);
    Ok((field, engine))
}

fn calls(subject: Subject, running: &Running, load: Load, amount: &Amount) -> Result<Measured, String> {
    let (mut field, mut engine) = engine(subject, running.target, pace(load, amount))?;
    let (own, before) = (own()?, running.used()?);
    let took = field.drive(&mut engine, |_, since| since > Duration::from_secs(120)).map_err(|e| e.to_string())?;
    let after = running.used()?;
    let tally = engine.tally();
    let finished = tally.finished.max(1) as f64;
    Ok(Measured {
        per_s: finished / took.as_secs_f64(),
        failed: tally.failed() + tally.open(),
        parts: each(&before, &after, finished),
        generator: (crate::cpu::used(std::process::id()).map_err(|e| e.to_string())? - own).as_secs_f64() * 1e6
            / finished,
    })
}

/// As many datagrams as the calls would be, each of an INVITE's size.
fn relay(running: &Running, load: Load, amount: &Amount) -> Result<Measured, String> {
    let pace = pace(load, amount);
    let calls = pace.count.unwrap_or(amount.calls);
    let rate = pace.rate.map(|rate| rate * MESSAGES);
    let uas = UAS.parse().map_err(|e| format!("{UAS}: {e}"))?;
    let (own, before) = (own()?, running.used()?);
    let echoed =
        echo::run(running.target, uas, calls * MESSAGES as u64, amount.window, rate).map_err(|e| e.to_string())?;
    let after = running.used()?;
    let finished = (echoed.came as f64 / MESSAGES).max(1.0);
    Ok(Measured {
        per_s: finished / echoed.took.as_secs_f64(),
        failed: echoed.lost,
        parts: each(&before, &after, finished),
        generator: (crate::cpu::used(std::process::id()).map_err(|e| e.to_string())? - own).as_secs_f64() * 1e6
            / finished,
    })
}

fn own() -> Result<Duration, String> {
    crate::cpu::used(std::process::id()).map_err(|e| e.to_string())
}

fn each(
    before: &[(&'static str, Duration)],
    after: &[(&'static str, Duration)],
    finished: f64,
) -> Vec<(&'static str, f64)> {
    let micros = |(b, a): (&(&'static str, Duration), &(&'static str, Duration))| {
        (a.0, a.1.saturating_sub(b.1).as_secs_f64() * 1e6 / finished)
    };
    before.iter().zip(after).map(micros).collect()
}

/// The table, a line a part; medians over the rounds.
pub fn table(subjects: &[Subject], amount: &Amount, results: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    for load in [Load::Saturated, Load::EqualRate] {
        let what = match load {
            Load::Saturated => format!("saturated: {} calls, {} at a time", amount.calls, amount.window),
            Load::EqualRate => format!("at an equal rate of {} calls/s", amount.rate),
        };
        lines.push(format!(
            "{what:<46} {:>9} {:>10} {:>10} {:>27} {:>8} {:>11}",
            "calls/s", "µs a call", "a message", "× service, dialog, kamailio", "failed", "generator"
        ));
        let peers: Vec<f64> = [Work::Service, Work::Dialogs, Work::Transactions]
            .iter()
            .filter_map(|work| subjects.iter().position(|s| *s == Subject::Kamailio(*work)))
            .filter_map(|at| results.get(&(load, at)))
            .map(|all| median(all, whole))
            .collect();
        for (at, subject) in subjects.iter().enumerate() {
            let Some(all) = results.get(&(load, at)) else { continue };
            let (per_s, failed) = (median(all, |m| m.per_s), all.iter().map(|m| m.failed).sum::<u64>());
            let Some(first) = all.first() else { continue };
            for (part, (name, _)) in first.parts.iter().enumerate() {
                let call = median(all, |m| m.parts.get(part).map_or(0.0, |p| p.1));
                let times: String = peers.iter().map(|peer| format!(" {:>8.2}", call / peer)).collect();
                let title = format!("  {}: {name}", subject.name());
                lines.push(format!(
                    "{title:<46} {per_s:>9.0} {call:>10.1} {:>10.2} {times:>27} {failed:>8} {:>11.1}",
                    call / MESSAGES,
                    median(all, |m| m.generator)
                ));
            }
        }
    }
    lines
}

fn whole(measured: &Measured) -> f64 {
    measured.parts.iter().map(|(_, micros)| micros).sum()
}

fn median(all: &[Measured], of: impl Fn(&Measured) -> f64) -> f64 {
    let mut values: Vec<f64> = all.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_medians_and_ratios() {
        let subjects = [Subject::Kamailio(Work::Service), Subject::Rack { nodes: 1 }];
        let amount = Amount { calls: 10, window: 2, rate: 5.0, rounds: 3 };
        let one = |name, micros| Measured { per_s: 100.0, failed: 0, parts: vec![(name, micros)], generator: 9.0 };
        let mut results = Results::new();
        results.insert((Load::Saturated, 0), [150.0, 900.0, 160.0].map(|m| one("kamailio", m)).to_vec());
        results.insert((Load::Saturated, 1), [40.0, 39.0, 41.0].map(|m| one("cc-node", m)).to_vec());
        let lines = table(&subjects, &amount, &results);
        assert!(lines[1].contains("160.0") && lines[1].contains("1.00"), "{lines:?}");
        assert!(lines[2].contains("40.0") && lines[2].contains("0.25") && lines[2].contains("3.08"), "{lines:?}");
    }
}
