//! What the rows are played with: a stage of four nodes and their phones, a fault to come, and what each story does in the
//! same way.

use super::faults::{Fault, Hit};
use crate::ownership::FOUR;
use crate::stage::holds;
use common::call_hash::CallHash;
use common::ids::NodeId;
use common::time::Duration;
use simulated_rack::hosts::actor::dialog::Dialog;
use simulated_rack::hosts::actor::message::Message;
use simulated_rack::invariants::i04_accounting;
use simulated_rack::plants::Plant;
use simulated_rack::script::ActorId;
use simulated_rack::simulation::Simulation;
use std::collections::BTreeSet;

pub type Outcome = Result<(), String>;

pub const BOB: &str = "sip:bob@rack.test";
pub const CAROL: &str = "sip:carol@rack.test";

/// A stage with a fault to come.
pub struct Play {
    pub s: Simulation,
    /// None: it has struck.
    pub fault: Option<Fault>,
    pub seed: u64,
    pub alice: ActorId,
    pub bob: ActorId,
    /// Two phones of Carol's.
    pub carols: [ActorId; 2],
    /// Calls that must leave one CDR.
    answered: BTreeSet<String>,
}

impl Play {
    pub fn new(seed: u64, plant: Option<Plant>) -> Result<Play, String> {
        let mut s = Simulation::of_rack(FOUR, seed);
        s.plant(plant);
        let [alice, bob, first, second] = ["alice", "bob", "carol1", "carol2"].map(|name| s.actor(name, "rack.test"));
        for (phone, aor) in [(bob, "bob@rack.test"), (first, "carol@rack.test"), (second, "carol@rack.test")] {
            let contact = format!("<{}>", s.the(phone).contact());
            s.bind(phone, aor, &contact)?;
        }
        s.run_for(Duration::from_secs(1));
        s.begin_ladder();
        Ok(Play { s, fault: None, seed, alice, bob, carols: [first, second], answered: BTreeSet::new() })
    }

    /// The fault, now.
    pub fn strikes(&mut self, call_id: &str) -> Outcome {
        let fault = self.fault.take().ok_or("it strikes once")?;
        let hit = self.hit(call_id).ok_or("nobody holds the call")?;
        (fault.strike)(&mut self.s, hit);
        Ok(())
    }

    fn hit(&self, call_id: &str) -> Option<Hit> {
        let s = &self.s;
        let slot = CallHash::of(&s.keys().placement, call_id.as_bytes()).slot();
        let position = |id: NodeId| s.nodes().iter().position(|node| node.id() == id);
        let list: Vec<usize> = s.lm().placement()?.list(slot).filter_map(position).collect();
        let [holder, first, second] = list[..] else { return None };
        let other = (0..s.nodes().len()).find(|n| !list.contains(n))?;
        Some(Hit { holder, backups: [first, second], other, seed: self.seed })
    }

    /// Runs until the wire has carried this from the VIP to an actor (`outwards`), or from it to the VIP; or for so long.
    fn until_within(&mut self, patience: Duration, outwards: bool, actor: ActorId, what: &str) -> bool {
        let (from, address) = (self.s.wire().len(), self.s.the(actor).address);
        let is_it = |c: &simulated_rack::simulation::Carried| {
            let end = if outwards { c.to } else { c.from };
            end == address && Message::parse(&c.bytes).is_some_and(|m| m.is(what))
        };
        self.s.run_until(patience, |s| s.wire()[from..].iter().any(is_it))
    }

    pub fn until(&mut self, outwards: bool, actor: ActorId, what: &str) -> Outcome {
        let way = if outwards { "to" } else { "from" };
        let name = self.s.the(actor).name.clone();
        match self.until_within(Duration::from_secs(5), outwards, actor, what) {
            true => Ok(()),
            false => Err(format!("no {what} {way} {name}")),
        }
    }

    /// Some moment until this goes to somebody.
    pub fn some_moment_before(&mut self, actor: ActorId, what: &str) {
        let us = self.s.chance().between(0, 1_500);
        self.until_within(Duration::from_micros(us), true, actor, what);
    }

    pub fn deaf(&mut self, actor: ActorId, silent: bool) {
        self.s.habits(actor).silent = silent;
    }

    pub fn rings(&mut self) -> Result<(Dialog, Message), String> {
        let attempt = self.s.invite(self.alice, BOB);
        let invite = self.s.expect(self.bob, "INVITE")?;
        self.s.answer(self.bob, &invite, 180, "b");
        self.s.expect(self.alice, "180")?;
        Ok((attempt, invite))
    }

    pub fn hears_answer(&mut self, attempt: &Dialog) -> Result<Dialog, String> {
        let ok = self.s.expect(self.alice, "200 INVITE")?;
        self.s.expect(self.bob, "ACK")?;
        self.answered.insert(attempt.call_id.clone());
        Ok(attempt.of_response(&ok))
    }

    pub fn talks(&mut self) -> Result<Dialog, String> {
        let (attempt, invite) = self.rings()?;
        self.s.answer(self.bob, &invite, 200, "b");
        let dialog = self.hears_answer(&attempt)?;
        self.s.run_for(Duration::from_millis(300));
        Ok(dialog)
    }

    /// Bob answers, and some seconds later one of them hangs up.
    pub fn answers_and_ends(&mut self, attempt: &Dialog, invite: &Message) -> Outcome {
        self.s.answer(self.bob, invite, 200, "b");
        let dialog = self.hears_answer(attempt)?;
        self.ends(dialog, Some(invite))
    }

    pub fn ends(&mut self, mut dialog: Dialog, invite: Option<&Message>) -> Outcome {
        self.s.run_for(Duration::from_millis(1_200));
        let (from, to) = match invite.filter(|_| self.seed % 2 == 1) {
            Some(invite) => {
                dialog = Dialog::of_request(invite, "b");
                (self.bob, self.alice)
            }
            None => (self.alice, self.bob),
        };
        self.s.bye(from, &mut dialog);
        self.s.expect(to, "BYE")?;
        self.s.expect(from, "200 BYE").map(drop)
    }

    /// Of the calls that were answered there is one CDR each, of others none; whoever takes over may write it again.
    pub fn is_charged(&self) -> Outcome {
        let ids: BTreeSet<(&str, &str)> =
            self.s.cdrs().iter().map(|(_, _, cdr)| (cdr.callid.as_str(), cdr.id.as_str())).collect();
        let calls: Vec<&str> = ids.iter().map(|(call, _)| *call).collect();
        let wanted: Vec<&str> = self.answered.iter().map(String::as_str).collect();
        match calls == wanted {
            true => i04_accounting::begun(&self.s, |_| true),
            false => Err(format!("{wanted:?} were answered, and {ids:?} are charged\n{}", self.s.whole_trail())),
        }
    }

    pub fn asked_once(&self, actor: ActorId, method: &str) -> Outcome {
        let new = self.s.the(actor).heard.iter().filter(|h| !h.repeat && h.message.is(method)).count();
        holds(&format!("one new {method}, and there were {new}"), new == 1)
    }
}
