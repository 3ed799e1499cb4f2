//! Messages over which a worker panicked: what is said of them, and that every worker of this node knows them. ([`crate::core::contain`] has the rest.)

use super::Desk;
use crate::core::contain::{Met, Panicked};
use crate::quarantine::STAYS;
use common::time::Time;
use std::sync::Arc;

impl Desk {
    /// Handling an input panicked; what came out before is not carried out yet.
    pub(super) fn panicked(&mut self, now: Time, panicked: &Panicked) {
        self.counters.drop_panic += 1;
        // Before anything of this round leaves: a peer may be quick.
        self.words();
        let Panicked { call_id, fingerprint, reloaded } = panicked;
        let call_id = call_id.as_deref().map(String::from_utf8_lossy);
        let Some(message) = fingerprint else {
            return tracing::error!(
                "ALARM: handling an answer panicked; its call is left to its peers' retransmissions"
            );
        };
        let its_call = if *reloaded { "goes on as its shadow tells it" } else { "is dropped" };
        tracing::error!(?call_id, %message, "ALARM: handling a message panicked; it is quarantined, its call {its_call}");
        self.parts.shared.shut_out(now, *message, now + STAYS);
    }

    /// What other workers of this node have found.
    pub(super) fn heed(&mut self) {
        let found = self.parts.shared.shut_out.load();
        if !Arc::ptr_eq(&found, &self.heeded) {
            found.iter().for_each(|(message, until)| self.parts.core.heed(self.began, *message, *until));
            self.heeded = found.clone();
        }
    }
}

pub(super) fn tell(met: &Met) {
    let (call_id, message) = (met.call_id.as_deref().map(String::from_utf8_lossy), met.fingerprint);
    tracing::error!(?call_id, %message, "ALARM: a quarantined message came (again); it is dropped");
}
