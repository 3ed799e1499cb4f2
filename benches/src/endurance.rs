//! Long runs: at four fifths of what a rack bears, no call may fail and memory must not grow.

use crate::compare::{Amount, Load, engine, pace};
use crate::subject::{Places, Subject, start};
use siprack::load::{Engine, Kind, Pace};
use std::time::Duration;

/// Calls that find out what it bears, and how often that is asked: the lowest answer counts, on a shared machine a
/// lucky moment says little.
const PROBE: u64 = 20_000;
const PROBES: usize = 3;
/// The first part of a run fills pools and tables: memory counts from here on.
const WARM: f64 = 0.5;

/// Prints its report; an error if a call failed or memory grew by more than a tenth in the second half.
pub fn run(
    subject: Subject,
    share: f64,
    rate: Option<f64>,
    length: Duration,
    window: u64,
    places: &Places,
) -> Result<(), String> {
    let running = start(subject, places)?;
    let probe = pace(Load::Saturated, &Amount { calls: PROBE, window, rate: 0.0, rounds: 1 });
    let (mut field, mut engine) = engine(subject, running.target, probe)?;
    let mut most = f64::MAX;
    for _ in 0..if rate.is_some() { 0 } else { PROBES } {
        engine.turn_to(Kind::Calls, probe);
        let took = field.drive(&mut engine, |_, since| since > Duration::from_secs(60)).map_err(|e| e.to_string())?;
        most = most.min(engine.tally().finished as f64 / took.as_secs_f64());
    }
    let rate = rate.unwrap_or(most * share);
    let pace = Pace { rate: Some(rate), window: 100_000, count: None, duration: Some(length) };
    engine.turn_to(Kind::Calls, pace);
    let (mut warm, mut shown) = (None, Duration::ZERO);
    let enough = |engine: &Engine, since: Duration| {
        if warm.is_none() && since > length.mul_f64(WARM) {
            warm = Some(running.resident());
        }
        if since > shown + Duration::from_secs(10) {
            shown = since;
            let tally = engine.tally();
            eprintln!(
                "{:>5.0} s: {} calls, {} failed, {} open",
                since.as_secs_f64(),
                tally.finished,
                tally.failed(),
                tally.open()
            );
        }
        since > length + Duration::from_secs(45) || engine.tally().failed() > 1000
    };
    let took = field.drive(&mut engine, enough).map_err(|e| e.to_string())?;
    let last = running.resident()?;
    let tally = engine.tally();
    let mut lines = vec![format!("{rate:.0} calls/s for {:.0} s:", length.as_secs_f64())];
    lines.extend(tally.lines("calls", took.as_secs_f64()));
    let Some(warm) = warm.transpose()? else {
        return Err(format!("given up before half time:\n{}", lines.join("\n")));
    };
    let mut grown = false;
    for ((part, w), (_, l)) in warm.iter().zip(&last) {
        grown |= *l as f64 > *w as f64 * 1.1;
        lines.push(format!("  {part}: {:.1} MB at half time, {:.1} MB at the end", *w as f64 / 1e6, *l as f64 / 1e6));
    }
    lines.iter().for_each(|line| println!("{line}"));
    match (tally.finished == tally.started, grown) {
        (true, false) => Ok(()),
        (false, _) => Err(format!("{} calls did not end well", tally.started - tally.finished)),
        (true, true) => Err("memory grew by more than a tenth in the second half".to_string()),
    }
}
