//! Limits of concurrent calls: what is counted, and how often nobody could say how many there are.

use super::{Of, Sample, labelled, one, reports, sum};
use prometheus::Error;

impl Of<'_> {
    pub(super) fn limits(&self) -> Result<(), Error> {
        let help = "Calls of all nodes that this one counts, once for each account, source and trunk";
        self.gauge("siprack_limit_counted_calls", help, &[], |s| one(sum(s, |r| r.shadows.limits.counted)))?;
        let help = "Calls that were asked about before they began";
        self.counter("siprack_limit_questions_total", help, &[], |s| one(sum(s, |r| r.shadows.limits.counters.asked)))?;
        let help = "Limits that a call was judged by a share of, since whoever counts did not answer or did not know";
        self.counter("siprack_limit_shared_out_total", help, &["reason"], |s| {
            vec![
                labelled(["silent"], sum(s, |r| r.shadows.limits.counters.silent)),
                labelled(["unknown"], sum(s, |r| r.shadows.limits.counters.unknown)),
            ]
        })?;
        let help = "Calls of this node from and to each trunk that has max_calls";
        self.gauge("siprack_trunk_calls", help, &["trunk"], |shared| {
            let all = reports(shared);
            let calls = |at: usize| all.iter().filter_map(|r| r.trunk_calls.get(at)).sum::<u32>();
            let trunks = shared.rack.trunks.iter().enumerate().filter(|(_, trunk)| trunk.max_calls > 0);
            trunks.map(|(at, trunk)| Sample { labels: vec![trunk.name.clone()], value: calls(at).into() }).collect()
        })
    }
}
