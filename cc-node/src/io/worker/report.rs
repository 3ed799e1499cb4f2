//! What a worker tells the other threads of itself: its progress, how busy and how far behind it is, its counters; and to
//! the log a sample of what was unfit.

use super::super::shared::{LimitsReport, Protection, Shared, WorkerReport};
use super::Desk;
use crate::counted::Key;
use crate::problems::{Blindly, Problem};
use common::config::Trunk;
use common::time::{Duration, Time};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const REPORT_EVERY: Duration = Duration::from_millis(200);
/// Calls whose copies are counted a report: a hundred thousand take 20 s.
const COUNTED: usize = 1_024;
const LOAD_OVER: Duration = Duration::from_secs(1);

impl Desk {
    /// `more`: the sockets were not emptied in this round.
    pub(super) fn account(&mut self, began: Time, more: bool) {
        let now = self.parts.clock.now();
        let mine = &self.parts.shared.workers[usize::from(self.parts.index)];
        mine.ticks.fetch_add(1, Ordering::Relaxed);
        if !more {
            self.emptied = now;
        }
        mine.behind_us.store(now.since(self.emptied).as_micros() as u64, Ordering::Relaxed);
        self.busy += now.since(began);
        let over = now.since(self.load_since);
        if over >= LOAD_OVER {
            let share = self.busy.as_micros() * 65_535 / over.as_micros().max(1);
            mine.load.store(share.min(65_535) as u16, Ordering::Relaxed);
            self.busy = Duration::ZERO;
            self.load_since = now;
        }
        if now >= self.report_at {
            self.report_at = now + REPORT_EVERY;
            let copies = self.parts.core.shadows.shipper.count_copies(COUNTED);
            let shadows = &self.parts.core.shadows;
            let shadows = Protection {
                shipper: shadows.shipper.status(),
                shelf: shadows.shelf.status(),
                takeovers: shadows.takeovers(),
                copies,
                panics: self.parts.core.panics(),
                limits: LimitsReport {
                    counters: shadows.admission.counters(),
                    counted: shadows.admission.counted() as u64,
                },
            };
            let Shared { rack, keys, .. } = &*self.parts.shared;
            let of = |trunk: &Trunk| self.parts.core.shadows.admission.own(Key::trunk(&keys.placement, trunk.id));
            let trunk_calls = rack.trunks.iter().map(of).collect();
            let report = WorkerReport {
                shadows,
                node: self.parts.core.node.stats().clone(),
                inquiries: self.parts.core.node.inquiries(),
                dns: self.parts.core.node.dns(),
                trunks: self.parts.core.shadows.notices.all(now),
                io: self.counters.clone(),
                trunk_calls,
            };
            mine.report.store(Arc::new(report));
            mine.strays.store(self.parts.core.node.strays() as u32, Ordering::Relaxed);
            self.parts.core.node.take_problems().iter().for_each(tell);
            self.parts.core.take_met().iter().for_each(super::poison::tell);
            self.parts.core.node.take_blind().iter().for_each(tell_blind);
        }
    }
}

/// To the stream of problems: lines of the log with this target (`log.level: info,problems=off` shuts it). Names from the
/// network are escaped.
fn tell(problem: &Problem) {
    let call_id = String::from_utf8_lossy(&problem.call_id);
    let (reason, outcome) = (problem.fault.label(), if problem.answered { "answered" } else { "dropped" });
    let Problem { source, what, others, .. } = problem;
    tracing::warn!(target: "problems", reason, outcome, %source, ?call_id, others, "a message was not fit: {what}");
}

/// To the stream of faults.
fn tell_blind(blindly: &Blindly) {
    let (how, call_id) = (blindly.how.label(), String::from_utf8_lossy(&blindly.call_id));
    tracing::warn!(target: "faults", how, ?call_id, others = blindly.others, "forwarded without knowledge of its call");
}
