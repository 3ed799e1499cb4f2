//! All that one worker decides: its engine, and the shadows of its calls and of other nodes'. A shell (`io::worker`, the
//! simulated node) hands it what comes in, and carries out what comes out, in order. [`contain`]: what a panic costs.

pub mod contain;

use crate::admission::Answer;
use crate::effect::{Effect, Input, View};
use crate::node::{Node, NodeSetup};
use crate::probe::Report;
use crate::shadow::keeper::Shadows;
use crate::shadow::words::{Parcel, Post, WordError};
use crate::stats::DropReason;
use crate::trace::{About, Backup, Event};
use common::call_hash::CallHash;
use common::ids::{NodeId, TrunkId};
use common::keys::Keys;
use common::location::{Aor, Bindings, LogTime, Subscriber};
use common::placement::Placements;
use common::time::{Time, WallMillis};
use common::wire::proxy::Inquiry;
use contain::Panics;
use std::net::SocketAddr;
use std::sync::Arc;

/// Calls of a dead holder that are taken up in one round: what has come in is served in between.
const HEIRS_A_ROUND: usize = 64;

pub struct Core {
    pub node: Node,
    pub shadows: Shadows,
    /// Of the engine, on their way through the shadows.
    effects: Vec<Effect>,
    keys: Arc<Keys>,
    panics: Panics,
}

/// The shell's view, and what the shadows know.
struct Seen<'a> {
    view: &'a dyn View,
    shadows: &'a Shadows,
}

impl View for Seen<'_> {
    fn bindings(&self, aor: &Aor) -> Option<Arc<Bindings>> {
        self.view.bindings(aor)
    }

    fn subscriber(&self, aor: &Aor) -> Option<Arc<Subscriber>> {
        self.view.subscriber(aor)
    }

    fn log_time(&self, now: Time) -> LogTime {
        self.view.log_time(now)
    }

    fn placements(&self) -> &Placements {
        self.view.placements()
    }

    fn is_inheriting(&self, call: CallHash) -> bool {
        self.shadows.is_inheriting(call)
    }

    fn holder(&self, call: CallHash) -> Option<NodeId> {
        self.shadows.holder(call)
    }

    fn trunk(&self, now: Time, trunk: TrunkId, address: SocketAddr) -> Option<Report> {
        self.shadows.notices.report(now, trunk, address)
    }

    fn trunk_is_up(&self, trunk: TrunkId, address: SocketAddr) -> bool {
        self.shadows.notices.is_up(trunk, address)
    }

    fn least_admitted(&self) -> u16 {
        self.view.least_admitted()
    }

    fn most_admitted(&self) -> u16 {
        self.view.most_admitted()
    }
}

impl Core {
    pub fn new(setup: NodeSetup) -> Core {
        let us = Post { node: setup.id, boot: setup.boot, worker: setup.worker };
        let (shadows, keys) = (Shadows::new(us, &setup.rack), setup.keys.clone());
        let panics = Panics::default();
        Core { node: Node::new(setup), shadows, effects: Vec::with_capacity(64), keys, panics }
    }

    /// Takes one input. What may be carried out is added to `out`.
    pub fn handle(&mut self, now: Time, wall: WallMillis, view: &dyn View, input: Input, out: &mut Vec<Effect>) {
        // Those of an input whose handling panicked.
        self.effects.clear();
        match &input {
            Input::Placement => {
                let before = out.len();
                self.shadows.stand(now, view.placements(), out);
                self.record(now, &out[before..], Backup::GaveUp);
            }
            Input::Datagram { message, .. } if self.is_shut_out(now, message) => {
                return self.node.drop(DropReason::Quarantined);
            }
            _ => {}
        }
        let Core { node, shadows, effects, .. } = self;
        node.handle(now, wall, &Seen { view, shadows }, input, effects);
        self.pass(now, out);
        self.admitted(now, wall, view, out);
    }

    /// What has come of questions about limits.
    fn admitted(&mut self, now: Time, wall: WallMillis, view: &dyn View, out: &mut Vec<Effect>) {
        loop {
            let answers = self.shadows.admission.answers();
            if answers.is_empty() {
                return;
            }
            for Answer { ask, refused } in answers {
                let Core { node, shadows, effects, .. } = self;
                node.handle(now, wall, &Seen { view, shadows }, Input::Admitted { ask, refused }, effects);
                self.pass(now, out);
            }
        }
    }

    /// The words of another node's worker.
    pub fn packet(&mut self, now: Time, from: Post, plain: &[u8], out: &mut Vec<Effect>) -> Result<(), WordError> {
        let before = out.len();
        let read = self.shadows.packet(now, from, plain, out);
        self.record(now, &out[before..], Backup::Acknowledged);
        read
    }

    /// Does everything that is due by `now`, calls of dead holders included.
    pub fn tick(&mut self, now: Time, wall: WallMillis, view: &dyn View, out: &mut Vec<Effect>) {
        self.effects.clear();
        let Core { node, shadows, effects, .. } = self;
        node.tick(now, wall, &Seen { view, shadows }, effects);
        self.pass(now, out);
        let before = out.len();
        self.shadows.tick(now, out);
        self.record(now, &out[before..], Backup::GaveUp);
        self.admitted(now, wall, view, out);
        for _ in 0..HEIRS_A_ROUND {
            let Some((hash, holder, image)) = self.shadows.next_heir(now) else { break };
            self.node.trace_mut().note(now, About::call(hash), Event::TookUp(holder));
            self.handle(now, wall, view, Input::Inherit { hash, image }, out);
        }
    }

    /// When [`Core::tick`] has something to do.
    pub fn next_due(&self) -> Option<Time> {
        [self.node.next_due(), self.shadows.next_due()].into_iter().flatten().min()
    }

    /// What is to be sent to other nodes' workers.
    pub fn parcels(&mut self) -> Vec<Parcel> {
        self.shadows.parcels()
    }

    fn pass(&mut self, now: Time, out: &mut Vec<Effect>) {
        let before = out.len();
        for effect in self.effects.drain(..) {
            self.shadows.take(now, effect, out);
        }
        for report in self.node.take_told() {
            self.shadows.notices.tell(now, report);
        }
        self.record(now, &out[before..], Backup::AtOnce);
    }

    /// What leaves, for the flight recorder: a message that has waited leaves when a backup has acknowledged its record,
    /// or because none does.
    fn record(&mut self, now: Time, released: &[Effect], backup: Backup) {
        let node = &mut self.node;
        if node.trace().is_off() {
            return;
        }
        for effect in released {
            let (message, peer, event) = match effect {
                Effect::Send { to, bytes, .. } => (bytes, Some(*to), Event::Out(backup)),
                Effect::Inside { to, header, message, .. } if matches!(header.inquiry, Some((Inquiry::Yours, _))) => {
                    (message, Some(header.source), Event::Asks(*to))
                }
                Effect::Cdr { call, .. } => {
                    let about = About::call(node.call_hash(&call.call_id));
                    node.trace_mut().note(now, about, Event::Cdr);
                    continue;
                }
                _ => continue,
            };
            if let Some(gist) = common::sip::gist(message) {
                let about = About::message(node.call_hash(gist.call_id), peer, &gist);
                node.trace_mut().note(now, about, event);
            }
        }
    }
}
