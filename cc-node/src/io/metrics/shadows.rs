//! What Prometheus learns of shadows: how many calls are protected, and what protecting them takes.

use super::{Of, Sample, Samples, labelled, one, reports, sum};
use crate::io::shared::Shared;
use prometheus::Error;

impl Of<'_> {
    pub(super) fn shadows(&self) -> Result<(), Error> {
        let help = "Calls of this node by how many live backups hold all that there is of them";
        self.gauge("siprack_shadowed_calls", help, &["copies"], copies)?;
        let help = "Calls of other nodes of which this one holds a shadow";
        self.gauge("siprack_shadow_images", help, &[], |s| one(sum(s, |r| r.shadows.shelf.images as u64)))?;
        let help = "Calls that a dead node held and that go on here";
        self.counter("siprack_failover_calls_total", help, &["result"], |s| {
            vec![labelled(["kept"], sum(s, |r| r.shadows.takeovers.calls))]
        })?;
        let help = "From the placement without a dead node until the last of its calls went on here; the newest death";
        self.gauge("siprack_takeover_seconds", help, &[], |s| {
            let latest = reports(s).iter().map(|r| r.shadows.takeovers.latest).max();
            vec![Sample { labels: vec![], value: latest.unwrap_or_default().as_micros() as f64 / 1e6 }]
        })?;
        let help = "Messages that left though no backup had acknowledged their record in time, or too many waited";
        self.counter("siprack_shadow_unprotected_total", help, &["reason"], |s| {
            vec![
                labelled(["silent"], sum(s, |r| r.shadows.shipper.unprotected)),
                labelled(["full"], sum(s, |r| r.shadows.shipper.overfull)),
            ]
        })?;
        self.gauge("siprack_shadow_held_messages", "Messages that wait for a backup", &[], |s| {
            one(sum(s, |r| r.shadows.shipper.held as u64))
        })?;
        let help = "Workers of backups that did not answer in time and are probed once a second";
        self.gauge("siprack_shadow_slow_backups", help, &[], |s| one(sum(s, |r| r.shadows.shipper.slow as u64)))?;
        let help = "What was told to backups: letters, those sent again, and calls told whole";
        self.counter("siprack_shadow_letters_total", help, &["kind"], |s| {
            vec![
                labelled(["first"], sum(s, |r| r.shadows.shipper.letters)),
                labelled(["again"], sum(s, |r| r.shadows.shipper.resends)),
                labelled(["whole"], sum(s, |r| r.shadows.shipper.wholes)),
            ]
        })?;
        let help = "Messages that are not handled again, because handling one panicked or a process died";
        self.gauge("siprack_quarantined_messages", help, &[], |s| {
            // Every worker knows all of them.
            one(reports(s).iter().map(|r| r.shadows.panics.quarantined as u64).max().unwrap_or(0))
        })?;
        let help = "Calls of which handling a message panicked, by what became of them";
        self.counter("siprack_panicked_calls_total", help, &["result"], |s| {
            vec![
                labelled(["reloaded"], sum(s, |r| r.shadows.panics.reloaded)),
                labelled(["lost"], sum(s, |r| r.shadows.panics.lost)),
            ]
        })?;
        let help = "Exchanges with other backups before acting for a dead node, by how they ended";
        self.counter("siprack_shadow_exchanges_total", help, &["result"], |s| {
            vec![
                labelled(["complete"], sum(s, |r| r.shadows.takeovers.complete)),
                labelled(["cut_short"], sum(s, |r| r.shadows.takeovers.cut_short)),
            ]
        })
    }
}

fn copies(shared: &Shared) -> Samples {
    vec![
        labelled(["0"], sum(shared, |r| r.shadows.copies[0])),
        labelled(["1"], sum(shared, |r| r.shadows.copies[1])),
        labelled(["2"], sum(shared, |r| r.shadows.copies[2])),
    ]
}
