//! Memory a held call, as the kernel sees it: resident memory of each part with none, with some and with many calls that
//! are answered and not ended, after their transactions have gone.

use crate::compare::engine;
use crate::subject::{Places, Subject, start};
use siprack::load::Pace;
use std::time::Duration;

/// Transactions linger for 64 × T1.
const SETTLE: Duration = Duration::from_secs(36);

/// One line a part: octets a call between each two steps.
pub fn run(subject: Subject, steps: &[u64], rate: f64, places: &Places) -> Result<Vec<String>, String> {
    let running = start(subject, places)?;
    let pace = Pace { rate: Some(rate), window: u64::MAX, count: Some(0), duration: None };
    let (mut field, mut engine) = engine(subject, running.target, pace)?;
    engine.hold(Duration::from_secs(100_000));
    let mut lines = Vec::new();
    let (mut held, mut before) = (0, running.resident()?);
    for step in steps {
        let begin = step - held;
        engine.turn_to(siprack::load::Kind::Calls, Pace { count: Some(begin), ..pace });
        let mut settled = Duration::ZERO;
        let enough = |engine: &siprack::load::Engine, since: Duration| {
            if engine.tally().answered < begin {
                settled = since;
            }
            since > settled + SETTLE || since > Duration::from_secs(300)
        };
        field.drive(&mut engine, enough).map_err(|e| e.to_string())?;
        let tally = engine.tally();
        if tally.answered != begin || tally.failed() > 0 {
            return Err(format!("{} of {begin} calls were answered, {} failed", tally.answered, tally.failed()));
        }
        let after = running.resident()?;
        for ((part, b), (_, a)) in before.iter().zip(&after) {
            let each = a.saturating_sub(*b) as f64 / begin as f64;
            lines.push(format!("{}: {part}: {held} → {step} calls held: {each:.0} octets each", subject.name()));
        }
        (held, before) = (*step, after);
    }
    Ok(lines)
}
