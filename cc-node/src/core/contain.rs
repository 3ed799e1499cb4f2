//! What a panic costs: one message, and at worst its call. The message is shut out here and at the other nodes; its call is
//! dropped from the engine and read again from its shadow, as of the newest record. A call that panics again is given up.

use super::{Core, Seen};
use crate::effect::{Effect, Input, View};
use crate::quarantine::{Fingerprint, STAYS};
use crate::trace::{About, Event};
use common::call_hash::CallHash;
use common::sip;
use common::time::{Time, WallMillis};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls that have panicked lately and are remembered.
const MOST: usize = 1_024;

/// Handling an input panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked {
    /// Of the message that was in hand, if there was one.
    pub call_id: Option<Box<[u8]>>,
    pub fingerprint: Option<Fingerprint>,
    /// Its call goes on.
    pub reloaded: bool,
}

/// A message that is shut out has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    pub call_id: Option<Box<[u8]>>,
    pub fingerprint: Fingerprint,
}

/// What became of panics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contained {
    /// Messages that are shut out now.
    pub quarantined: usize,
    /// Calls that go on as their shadows tell them, and those that were lost.
    pub reloaded: u64,
    pub lost: u64,
}

/// What this worker remembers of panics.
#[derive(Default)]
pub(super) struct Panics {
    calls: VecDeque<(Time, CallHash)>,
    /// Since the last look.
    met: Vec<Met>,
    counters: Contained,
}

impl Core {
    /// [`Core::handle`], of which a panic does no more harm than the module says. The words for other nodes should leave before
    /// anything else does.
    ///
    /// # Errors
    /// It panicked.
    pub fn contained(
        &mut self,
        now: Time,
        wall: WallMillis,
        view: &dyn View,
        input: Input,
        out: &mut Vec<Effect>,
    ) -> Result<(), Panicked> {
        let message = match &input {
            Input::Datagram { message, .. } => Some(message.clone()),
            _ => None,
        };
        if catch_unwind(AssertUnwindSafe(|| self.handle(now, wall, view, input, out))).is_ok() {
            return Ok(());
        }
        let fingerprint = message.as_deref().map(|message| self.fingerprint(message));
        if let Some(fingerprint) = fingerprint {
            self.shut_out(now, fingerprint);
        }
        let call_id = message.as_deref().and_then(sip::call_id);
        let reloaded = call_id.is_some_and(|call_id| self.reload(now, wall, view, call_id, out));
        Err(Panicked { call_id: call_id.map(Box::from), fingerprint, reloaded })
    }

    pub fn fingerprint(&self, message: &[u8]) -> Fingerprint {
        Fingerprint::of(&self.keys.quarantine, message)
    }

    /// This message is not to be handled again, and all live nodes are told so.
    pub fn shut_out(&mut self, now: Time, message: Fingerprint) {
        self.shadows.warnings.raise(now, message);
    }

    /// Another worker of this node has found it, and tells the others.
    pub fn heed(&mut self, now: Time, message: Fingerprint, until: Time) {
        self.shadows.warnings.quarantine.add(now, message, until.since(now), false);
    }

    /// Those that came since the last look, each once.
    pub fn take_met(&mut self) -> Vec<Met> {
        std::mem::take(&mut self.panics.met)
    }

    pub fn panics(&self) -> Contained {
        Contained { quarantined: self.shadows.warnings.quarantine.len(), ..self.panics.counters }
    }

    /// Whether it is dropped. Costs nothing while nothing is shut out.
    pub(super) fn is_shut_out(&mut self, now: Time, message: &[u8]) -> bool {
        if self.shadows.warnings.quarantine.is_empty() {
            return false;
        }
        let fingerprint = self.fingerprint(message);
        let Some(first) = self.shadows.warnings.quarantine.meet(now, fingerprint) else { return false };
        if first {
            self.panics.met.push(Met { call_id: sip::call_id(message).map(Box::from), fingerprint });
        }
        true
    }

    /// The call is dropped from the engine and taken up again as a dead holder's would be. False: nothing of it was known, or
    /// all is lost.
    fn reload(&mut self, now: Time, wall: WallMillis, view: &dyn View, call_id: &[u8], out: &mut Vec<Effect>) -> bool {
        let hash = CallHash::of(&self.keys.placement, call_id);
        self.node.trace_mut().note(now, About::call(hash), Event::Panicked);
        let image = self.shadows.shipper.image(hash);
        let known = image.is_some();
        let image = image.filter(|_| !self.panics.again(now, hash));
        let reloaded = image.is_some_and(|image| {
            let again = || {
                self.effects.clear();
                let Core { node, shadows, effects, .. } = self;
                node.reload(now, wall, &Seen { view, shadows }, call_id, (hash, Box::new(image)), effects);
                self.pass(now, out);
            };
            catch_unwind(AssertUnwindSafe(again)).is_ok()
        });
        if !reloaded {
            self.node.forget_call(call_id);
            self.shadows.shipper.abandon(now, hash);
        }
        self.panics.counters.reloaded += u64::from(reloaded);
        self.panics.counters.lost += u64::from(known && !reloaded);
        reloaded
    }
}

impl Panics {
    /// Whether this call has panicked within the time for which a message is shut out. It has now.
    fn again(&mut self, now: Time, call: CallHash) -> bool {
        while self.calls.front().is_some_and(|(at, _)| now.since(*at) >= STAYS) || self.calls.len() >= MOST {
            self.calls.pop_front();
        }
        let again = self.calls.iter().any(|(_, other)| *other == call);
        self.calls.push_back((now, call));
        again
    }
}

#[cfg(test)]
#[path = "contain_tests.rs"]
mod tests;
