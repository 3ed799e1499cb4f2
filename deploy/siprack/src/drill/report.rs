//! What a drill found: one line of JSON for programs; a table by phase, the calls that were lost and one sentence for people.

use super::plan::Phase;
use super::seen::{Seen, ladder};
use crate::columns::columns;
use common::time::{Duration, Time};
use serde_json::{Value, json};

/// Lost calls that people are told of one by one.
const TOLD: usize = 10;

#[derive(Clone, Debug)]
pub struct Findings {
    pub node: u16,
    pub died: Time,
    /// From the death until the load manager had the node out of its table; none: it never had.
    pub detected: Option<Duration>,
    pub calls: Vec<Found>,
    /// Whether their CDRs were looked at.
    pub charged: bool,
}

/// What became of one call.
#[derive(Clone, Debug)]
pub struct Found {
    pub call_id: String,
    pub phase: Phase,
    /// Why it did not go on; none: it did.
    pub lost: Option<String>,
    /// From the death until one of its phones heard of it again.
    pub moved: Option<Duration>,
    pub seen: Vec<Seen>,
}

impl Findings {
    pub fn lost(&self) -> usize {
        self.calls.iter().filter(|call| call.lost.is_some()).count()
    }

    fn answered(&self) -> usize {
        self.calls.iter().filter(|call| call.phase.is_answered()).count()
    }

    /// Until the last call that moved again did.
    fn takeover(&self) -> Option<Duration> {
        self.calls.iter().filter_map(|call| call.moved).max()
    }

    /// `held`, `setup`, `lost`, `detected_ms`, `takeover_ms` are what scripts read; `phases` is for people who ask further.
    pub fn json(&self) -> Value {
        let phases: Vec<Value> = Phase::ALL.into_iter().map(|phase| self.phase_json(phase)).collect();
        json!({
            "held": self.answered(),
            "setup": self.calls.len() - self.answered(),
            "lost": self.lost(),
            "detected_ms": self.detected.map(ms),
            "takeover_ms": self.takeover().map(ms),
            "phases": phases,
        })
    }

    fn phase_json(&self, phase: Phase) -> Value {
        let of = self.of(phase);
        let lost = of.clone().filter_map(|call| Some(json!({ "call_id": call.call_id, "why": call.lost.as_ref()? })));
        json!({
            "phase": phase.label(),
            "calls": of.clone().count(),
            "lost": lost.collect::<Vec<_>>(),
            "first_ms": of.clone().filter_map(|call| call.moved).min().map(ms),
            "last_ms": of.filter_map(|call| call.moved).max().map(ms),
        })
    }

    fn of(&self, phase: Phase) -> impl Iterator<Item = &Found> + Clone {
        self.calls.iter().filter(move |call| call.phase == phase)
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut rows = vec![["PHASE", "CALLS", "KEPT", "LOST", "FIRST-MOVED", "LAST-MOVED"].map(String::from)];
        rows.extend(Phase::ALL.into_iter().map(|phase| self.row(phase)));
        let mut text = columns(&rows);
        let lost: Vec<&Found> = self.calls.iter().filter(|call| call.lost.is_some()).collect();
        for (n, call) in lost.iter().take(TOLD).enumerate() {
            let why = call.lost.as_deref().unwrap_or_default();
            text.push_str(&format!("\nlost: {} ({}): {why}\n", call.call_id, call.phase.label()));
            if n == 0 {
                text.push_str(&ladder(self.node, self.died, &call.seen).to_string());
            }
        }
        if lost.len() > TOLD {
            text.push_str(&format!("\nand {} more\n", lost.len() - TOLD));
        }
        text.push_str(&format!("\n{}\n", self.sentence()));
        text
    }

    fn row(&self, phase: Phase) -> [String; 6] {
        let of = self.of(phase);
        let (calls, lost) = (of.clone().count(), of.clone().filter(|call| call.lost.is_some()).count());
        let moved = |time: Option<Duration>| time.map_or("-".into(), |time| format!("{} ms", ms(time)));
        [
            phase.label().into(),
            calls.to_string(),
            (calls - lost).to_string(),
            lost.to_string(),
            moved(of.clone().filter_map(|call| call.moved).min()),
            moved(of.filter_map(|call| call.moved).max()),
        ]
    }

    fn sentence(&self) -> String {
        let (node, calls, answered) = (self.node, self.calls.len(), self.answered());
        let died = format!("cc-node {node} died with {answered} answered calls and {} in set-up", calls - answered);
        let fate = match self.lost() {
            0 if self.charged => "none was lost, and each answered one left one CDR".to_string(),
            0 => "none was lost".to_string(),
            lost => format!("{lost} of {calls} were lost"),
        };
        let out = match self.detected {
            Some(detected) => format!("it was out of the table after {} ms", ms(detected)),
            None => "it was never out of the table".to_string(),
        };
        let moved = match self.takeover() {
            Some(takeover) => format!("the last call moved again after {} ms", ms(takeover)),
            None => "no call moved again".to_string(),
        };
        format!("{died}: {fate}; {out}, {moved}.")
    }
}

/// Whole milliseconds; what is shorter than one was not instant.
fn ms(time: Duration) -> u64 {
    time.as_micros().div_ceil(1000) as u64
}
