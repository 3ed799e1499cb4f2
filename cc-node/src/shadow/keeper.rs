//! All sides of shadowing in one worker, as its shell drives them: what the engine does goes through
//! [`Shadows::take`], what other nodes say comes in by [`Shadows::packet`], and calls of dead holders come out by
//! [`Shadows::next_heir`], those that ring first.

use super::exchange::{Exchange, Finished};
use super::notices::Notices;
use super::shelf::Shelf;
use super::shipper::Shipper;
use super::succession::Incarnation;
use super::warnings::Warnings;
use super::words::{self, Mail, Parcel, Post, Word, WordError};
use crate::admission::Admission;
use crate::effect::Effect;
use crate::image::Image;
use common::call_hash::CallHash;
use common::config::Rack;
use common::ids::{BootId, NodeId};
use common::placement::{Placement, Placements};
use common::time::{Duration, Time};
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What became of takeovers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takeovers {
    /// Calls that go on here.
    pub calls: u64,
    /// Exchanges that ended because all was heard, and because time was up.
    pub complete: u64,
    pub cut_short: u64,
    /// The longest of them.
    pub longest: Duration,
    /// From the placement without a dead node until the last of its calls went on here: of the newest such death.
    pub latest: Duration,
}

/// See the module.
pub struct Shadows {
    us: Post,
    pub shipper: Shipper,
    pub shelf: Shelf,
    exchange: Exchange,
    pub warnings: Warnings,
    pub admission: Admission,
    /// Apart from other words, as warnings are.
    about_limits: Mail,
    pub notices: Notices,
    mail: Mail,
    placement: Arc<Placement>,
    /// Dead incarnations whose calls may not be acted for yet, and the placement in which they lived last.
    open: Vec<(NodeId, BootId, Arc<Placement>)>,
    /// To go on here, in this order.
    heirs: VecDeque<CallHash>,
    /// Since when calls of the dead wait for their turn.
    since: Option<Time>,
    takeovers: Takeovers,
}

impl Shadows {
    pub fn new(us: Post, rack: &Rack) -> Shadows {
        let workers: BTreeMap<NodeId, u16> = rack.cc_nodes.iter().map(|node| (node.id, node.workers)).collect();
        Shadows {
            us,
            shipper: Shipper::new(us, workers.clone()),
            shelf: Shelf::new(us),
            exchange: Exchange::new(us, workers.clone()),
            warnings: Warnings::new(us, workers.clone()),
            notices: Notices::new(us, workers),
            admission: Admission::new(us, rack),
            about_limits: Mail::default(),
            mail: Mail::default(),
            placement: Arc::new(Placement::empty()),
            open: Vec::new(),
            heirs: VecDeque::new(),
            since: None,
            takeovers: Takeovers::default(),
        }
    }

    /// An effect of the engine, in its order; what may be carried out now comes out at `released`.
    pub fn take(&mut self, now: Time, effect: Effect, released: &mut Vec<Effect>) {
        match effect {
            Effect::Inherited { no, hash, image } => self.shipper.adopt(now, no, hash, *image),
            Effect::Admit { ask, call, wants } => self.admission.ask(now, ask, call, &wants),
            Effect::Counts { call, keys } => self.admission.holds(now, call, &keys),
            Effect::CallOver { call } => self.admission.over(now, call),
            effect => {
                if effect == Effect::Forgotten {
                    self.admission.forget_all();
                }
                self.shipper.take(now, effect, released);
            }
        }
    }

    /// The plaintext of a datagram of another node's worker.
    pub fn packet(&mut self, now: Time, from: Post, plain: &[u8], released: &mut Vec<Effect>) -> Result<(), WordError> {
        for word in words::decode(self.us, plain)? {
            match word {
                Word::Acks { .. } | Word::Want { .. } => self.shipper.hear(now, from, &word, released),
                Word::Letter { .. } => self.shelf.hear(now, from, word, &mut self.mail),
                Word::Which { .. } | Word::These { .. } | Word::Fetch { .. } | Word::Fetched { .. } => {
                    self.exchange.hear(now, from, word, &mut self.shelf, &mut self.mail);
                }
                // Whether it lives by our placement or does not yet: it may have died over it.
                Word::Quarantine { messages } => self.warnings.hear(now, &messages),
                Word::Admission(word) => self.admission.hear(now, from, word),
                Word::Trunks { reports } => self.notices.hear(now, reports),
            }
        }
        self.finish(false);
        Ok(())
    }

    /// Others stand; several may have passed since the last look, and each of them counts: who was first when a holder was
    /// removed goes on with its calls.
    pub fn stand(&mut self, now: Time, placements: &Placements, released: &mut Vec<Effect>) {
        let seen = self.placement.epoch();
        for former in placements.former.iter().rev().filter(|former| former.epoch() > seen) {
            self.placed(now, former, released);
        }
        if placements.current.epoch() > seen {
            self.placed(now, &placements.current, released);
        }
    }

    /// Another placement stands.
    fn placed(&mut self, now: Time, placement: &Arc<Placement>, released: &mut Vec<Effect>) {
        let stood = self.shelf.succession().clone();
        let before = std::mem::replace(&mut self.placement, placement.clone());
        self.shelf.placed(now, placement);
        self.exchange.placed(now, Some(&stood), &self.shelf, &mut self.mail);
        for (node, boot) in before.inputs().live() {
            if self.exchange.is_open(node, boot) {
                self.open.push((node, boot, before.clone()));
            }
        }
        self.shipper.placed(now, placement, released);
        self.warnings.placed(now, placement);
        self.admission.placed(now, placement);
        self.notices.placed(now, placement);
        self.finish(true);
        if !self.open.is_empty() || !self.heirs.is_empty() {
            self.since.get_or_insert(now);
        }
    }

    pub fn tick(&mut self, now: Time, released: &mut Vec<Effect>) {
        self.shipper.tick(now, released);
        self.shelf.tick(now);
        self.exchange.tick(now, &mut self.mail);
        self.warnings.tick(now);
        self.admission.tick(now);
        self.notices.tick(now);
        self.finish(false);
    }

    pub fn next_due(&self) -> Option<Time> {
        let heirs = (!self.heirs.is_empty()).then_some(Time(0));
        let (warnings, exchange) = (self.warnings.next_due(), self.exchange.next_due());
        let others = [exchange, warnings, self.notices.next_due(), self.admission.next_due(), heirs];
        [self.shipper.next_due(), self.shelf.next_due()].into_iter().chain(others).flatten().min()
    }

    /// Calls whose holder is dead and that nobody else may hold any newer: this node acts for them now.
    fn finish(&mut self, placed: bool) {
        let finished = self.exchange.take_finished();
        if finished.is_empty() && !placed {
            return;
        }
        self.open.retain(|(node, boot, _)| self.exchange.is_open(*node, *boot));
        for Finished { complete, after, .. } in finished {
            self.takeovers.complete += u64::from(complete);
            self.takeovers.cut_short += u64::from(!complete);
            self.takeovers.longest = self.takeovers.longest.max(after);
        }
        let waits = |holder: &Post| self.waits((holder.node, holder.boot));
        let ours = self.shelf.orphans_of_ours().filter(|(_, holder)| !waits(holder)).map(|(hash, _)| hash);
        let mut heirs: Vec<CallHash> = ours.collect();
        let rank = |hash: &CallHash| {
            let image = self.shelf.get(*hash).map(|shelved| &shelved.image);
            image.map(|image| (image.is_pending(), image.youngest()))
        };
        heirs.sort_by_cached_key(|hash| Reverse(rank(hash)));
        self.heirs = heirs.into();
    }

    /// Whether calls of this dead holder must not be acted for yet: others may hold them newer, or one that has died since
    /// may have taken them up, and told others so.
    fn waits(&self, holder: Incarnation) -> bool {
        let outlived = |before: &Placement| before.live(holder.0) != Some(holder.1);
        self.exchange.is_open(holder.0, holder.1) || self.open.iter().any(|(_, _, before)| outlived(before))
    }

    /// The next call of a dead holder to go on here, and that holder.
    pub fn next_heir(&mut self, now: Time) -> Option<(CallHash, NodeId, Box<Image>)> {
        let hash = self.heirs.pop_front();
        if self.heirs.is_empty() && self.open.is_empty() {
            let since = self.since.take();
            self.takeovers.latest = since.filter(|_| hash.is_some()).map_or(self.takeovers.latest, |at| now.since(at));
        }
        let hash = hash?;
        let shelved = self.shelf.take(hash)?;
        self.takeovers.calls += 1;
        Some((hash, shelved.holder.node, Box::new(shelved.image)))
    }

    /// A call of this hash may be one of a dead holder that is to go on here, and does not yet.
    pub fn is_inheriting(&self, hash: CallHash) -> bool {
        if self.open.is_empty() && self.heirs.is_empty() {
            return false;
        }
        let ours = |holder| self.shelf.succession().heir(hash, holder) == Some((self.us.node, self.us.boot));
        let was_its = |(node, boot, before): &(NodeId, BootId, Arc<Placement>)| {
            before.owner(hash.slot()) == Some(*node) && ours((*node, *boot))
        };
        let orphan = || self.shelf.get(hash).is_some_and(|shelved| ours((shelved.holder.node, shelved.holder.boot)));
        orphan() || self.open.iter().any(was_its)
    }

    /// The live node that holds a call, if its shadow is here.
    pub fn holder(&self, hash: CallHash) -> Option<NodeId> {
        let holder = self.shelf.get(hash)?.holder;
        self.shelf.succession().lives((holder.node, holder.boot)).then_some(holder.node)
    }

    /// All that is to be sent to other nodes.
    pub fn parcels(&mut self) -> Vec<Parcel> {
        self.shelf.flush(&mut self.mail);
        // They are not to come behind anything that makes a peer repeat itself.
        let mut parcels = self.warnings.mail();
        for (to, over, word) in self.admission.said() {
            self.about_limits.put(to, over, &words::encode(&Word::Admission(word)));
        }
        parcels.append(&mut self.about_limits.take());
        parcels.append(&mut self.shipper.mail());
        parcels.append(&mut self.mail.take());
        // Apart from other words, as warnings are.
        parcels.append(&mut self.notices.mail());
        parcels
    }

    pub fn takeovers(&self) -> Takeovers {
        self.takeovers
    }
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
