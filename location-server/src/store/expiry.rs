//! Which binding ends when. The store keeps it in step with the bindings; the server asks it what is due and puts an
//! `Expire` into the log: only that removes the binding.

use common::ids::Level;
use common::location::{Aor, Binding, Command, LogTime};
use std::collections::BTreeSet;

#[derive(Default)]
pub(super) struct ExpiryQueue {
    at: BTreeSet<(LogTime, Aor, String, Level)>,
}

impl ExpiryQueue {
    pub fn add(&mut self, aor: &Aor, b: &Binding) {
        self.at.insert((b.expires_at, aor.clone(), b.contact.clone(), b.version));
    }

    pub fn remove(&mut self, aor: &Aor, b: &Binding) {
        self.at.remove(&(b.expires_at, aor.clone(), b.contact.clone(), b.version));
    }

    pub fn next(&self) -> Option<LogTime> {
        self.at.first().map(|(at, ..)| *at)
    }

    pub fn due(&self, now: LogTime, limit: usize) -> Vec<Command> {
        self.at
            .iter()
            .take_while(|(at, ..)| *at <= now)
            .take(limit)
            .map(|(_, aor, contact, version)| Command::Expire {
                aor: aor.clone(),
                contact: contact.clone(),
                version: *version,
            })
            .collect()
    }
}
