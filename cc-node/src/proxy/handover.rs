//! What a change of the placement means for what is being forwarded here: calls stay with their holder, so most of it goes
//! on; but an incarnation that was removed forgets what others may have taken up since.

use super::engine::Proxy;
use crate::effect::Effect;
use crate::station::Station;
use crate::transaction::{Owner, ServerId};
use crate::turn::Turn;

impl Proxy {
    /// Forgets every call, without a word: this node was removed from the placement, and others go on with them.
    pub fn forget_all(&mut self, turn: &mut Turn<'_>) {
        let owners: Vec<u64> = self.contexts.keys().copied().collect();
        for owner in owners {
            let Some(mut context) = self.contexts.remove(&owner) else { continue };
            self.stop_searching(&mut context);
            self.stop_timers(&mut context);
        }
        turn.stats.forgotten += self.table.len() as u64;
        self.table.clear();
        self.strays.clear();
        self.over.clear();
        turn.stats.forgotten_calls += self.calls.forget_all() as u64;
        turn.out.push(Effect::Forgotten);
    }

    /// Another placement stands: notes which INVITEs are held in slots that this node would not be given any more.
    pub fn placed(&mut self, turn: &Turn<'_>, station: &Station) {
        let pending = self.contexts.iter().filter(|(_, context)| context.is_invite() && !context.final_sent);
        let strays = pending.filter(|(_, context)| self.is_stray(turn, station, context.server));
        self.strays = strays.map(|(owner, _)| Owner(*owner)).collect();
    }

    /// An INVITE begins here; one that was diverted to us is a stray from the first.
    pub(super) fn note_stray(&mut self, turn: &Turn<'_>, station: &Station, owner: Owner, server: ServerId) {
        if self.is_stray(turn, station, server) {
            self.strays.push(owner);
        }
    }

    /// Somebody else would be given the call of this transaction now.
    fn is_stray(&self, turn: &Turn<'_>, station: &Station, server: ServerId) -> bool {
        let current = &turn.view.placements().current;
        let taker = self.table.call(server).and_then(|call| current.taker(call.slot(), true));
        taker.is_some_and(|taker| taker != station.id)
    }

    /// How many of them are still pending.
    pub fn count_strays(&mut self) -> usize {
        self.strays.retain(|owner| self.contexts.get(&owner.0).is_some_and(|context| !context.final_sent));
        self.strays.len()
    }
}
