//! Names that are looked up: what the DNS answered goes to the resolver, and what that settled goes on where it waited.

use super::Engine;
use crate::dns::{DnsAnswer, DnsAsk};
use crate::resolve::Located;
use crate::turn::Turn;

impl Engine {
    /// What came of an `Effect::Dns`.
    pub(super) fn dns(&mut self, turn: &mut Turn<'_>, ask: DnsAsk, answer: DnsAnswer) {
        let located = self.resolver.answer(turn.now, ask, answer, turn.out);
        self.located(turn, located);
    }

    /// Questions that nobody answered, and look-ups that have waited long enough.
    pub(super) fn overdue_lookups(&mut self, turn: &mut Turn<'_>) {
        let located = self.resolver.tick(turn.now, turn.out);
        self.located(turn, located);
    }

    /// Look-ups that are done. Requests whose targets are pending go on from here; those that were answered meanwhile
    /// have nothing to go on with.
    fn located(&mut self, _turn: &mut Turn<'_>, located: Vec<Located>) {
        drop(located);
    }
}
