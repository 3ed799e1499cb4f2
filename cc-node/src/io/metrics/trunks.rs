//! Whether the addresses of trunks serve, by their probes.

use super::{Of, Sample, Samples, labelled, reports};
use crate::io::shared::Shared;
use crate::probe::Report;
use prometheus::Error;
use std::collections::BTreeMap;

impl Of<'_> {
    pub(super) fn trunks(&self) -> Result<(), Error> {
        self.gauge("siprack_trunk_up", "Whether any address of a probed trunk is up", &["trunk"], |shared| {
            let mut up: BTreeMap<String, bool> = BTreeMap::new();
            for (name, report) in known(shared) {
                *up.entry(name).or_default() |= report.health.up;
            }
            up.into_iter().map(|(name, up)| labelled([name.as_str()], u64::from(up))).collect()
        })?;
        let labels = ["trunk", "address"];
        let help = "Whether an address of a probed trunk is up";
        self.gauge("siprack_trunk_address_up", help, &labels, |s| each(s, |r| f64::from(u8::from(r.health.up))))?;
        let help = "How long the newest answer to a probe took";
        self.gauge("siprack_trunk_probe_seconds", help, &labels, |s| each(s, |r| f64::from(r.health.latency_us) / 1e6))
    }
}

fn each(shared: &Shared, value: impl Fn(&Report) -> f64) -> Samples {
    let sample = |(name, report): (String, Report)| Sample {
        labels: vec![name, report.address.to_string()],
        value: value(&report),
    };
    known(shared).into_iter().map(sample).collect()
}

/// Each with its trunk's name.
fn known(shared: &Shared) -> Vec<(String, Report)> {
    let Some(first) = reports(shared).into_iter().next() else { return Vec::new() };
    let named = |report: &Report| Some((shared.rack.trunk(report.trunk)?.name.clone(), report.clone()));
    first.trunks.iter().filter_map(named).collect()
}
