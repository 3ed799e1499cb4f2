//! What became of the call detail records.

use super::super::cdr::CdrCounters;
use super::{Of, labelled, one, read};
use crate::spool::At;
use prometheus::Error;
use std::sync::Arc;

impl Of<'_> {
    pub(super) fn cdrs(&self, counters: &Arc<CdrCounters>) -> Result<(), Error> {
        let of = counters.clone();
        self.counter("siprack_cdr_written_total", "CDRs durable in the file", &[], move |_| one(read(&of.written)))?;
        let of = counters.clone();
        self.gauge("siprack_cdr_waiting", "CDRs that are not durable yet", &[], move |_| one(read(&of.waiting)))?;
        let of = counters.clone();
        let help = "Records of calls that were answered, durable in their file";
        self.counter("siprack_call_starts_written_total", help, &[], move |_| one(read(&of.started)))?;
        let of = counters.clone();
        let help = "Records of calls that were not answered, durable in their file";
        self.counter("siprack_missed_calls_written_total", help, &[], move |_| one(read(&of.missed)))?;
        let of = counters.clone();
        self.counter("siprack_cdr_failures_total", "What the CDRs' disk did not do", &["at"], move |_| {
            At::ALL.into_iter().map(|at| labelled([at.label()], read(&of.failures[at as usize]))).collect()
        })
    }
}
