//! How a ladder is told: actors are put up, say things, and are waited for; then the wire is compared with the ladder.

use crate::hosts::actor::dialog::{Answer, Dialog, Draft};
use crate::hosts::actor::message::Message;
use crate::hosts::actor::{Actor, Habits};
use crate::hosts::relay::Relay;
use crate::simulation::Simulation;
use common::call_hash::CallHash;
use common::ids::{BootId, Epoch, NodeId};
use common::placement::Placement;
use common::sip::{Limits, SipMessage};
use common::time::Duration;
use siprack::ladder::label;
use siprack::phone::digest;
use std::net::{Ipv4Addr, SocketAddr};

/// An actor of the simulation, in the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ActorId(pub usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayId(pub usize);

/// How long anything is waited for: all of a transaction's patience.
pub const PATIENCE: Duration = Duration::from_secs(40);

impl Simulation {
    /// `name`@`domain`, at an address of its own, that sends what has no route to the first rack.
    pub fn actor(&mut self, name: &str, domain: &str) -> ActorId {
        let address = SocketAddr::from((Ipv4Addr::new(198, 51, 100, 101 + self.actors.len() as u8), 5060));
        self.actor_at(name, domain, address)
    }

    pub fn actor_at(&mut self, name: &str, domain: &str, address: SocketAddr) -> ActorId {
        let (proxy, seed) = (self.vip(), self.chance.number());
        self.actors.push(Actor::new(name, domain, address, proxy, seed));
        ActorId(self.actors.len() - 1)
    }

    pub fn relay(&mut self, name: &str, address: SocketAddr, next: SocketAddr) -> RelayId {
        self.relays.push(Relay::new(name, address, next));
        RelayId(self.relays.len() - 1)
    }

    pub fn the(&self, actor: ActorId) -> &Actor {
        &self.actors[actor.0]
    }

    pub fn the_mut(&mut self, actor: ActorId) -> &mut Actor {
        &mut self.actors[actor.0]
    }

    pub fn the_relay(&mut self, relay: RelayId) -> &mut Relay {
        &mut self.relays[relay.0]
    }

    pub fn habits(&mut self, actor: ActorId) -> &mut Habits {
        &mut self.actors[actor.0].habits
    }

    /// Sends a request.
    pub fn send(&mut self, actor: ActorId, draft: Draft) {
        let now = self.now;
        let (_, sends) = self.actors[actor.0].send(now, draft);
        self.say(self.actors[actor.0].address, sends);
    }

    /// INVITE with an offer to `uri`; the attempt comes back.
    pub fn invite(&mut self, actor: ActorId, uri: &str) -> Dialog {
        let mut attempt = self.actors[actor.0].attempt(uri);
        let offer = self.actors[actor.0].sdp(1);
        let draft = Draft { to_address: None, ..attempt.request("INVITE") }.body(offer);
        self.send(actor, draft);
        attempt
    }

    /// CANCEL of the newest INVITE of this attempt: its Request-URI, branch and number.
    pub fn cancel(&mut self, actor: ActorId, attempt: &Dialog) {
        let branch = self.actors[actor.0].invite_branch(&attempt.call_id).unwrap_or_default();
        let draft = Draft { branch, to_address: None, ..attempt.clone().request("CANCEL") };
        self.send(actor, draft);
    }

    pub fn bye(&mut self, actor: ActorId, dialog: &mut Dialog) {
        let draft = dialog.request("BYE");
        self.send(actor, draft);
    }

    /// A response with this To tag; a 2xx to an INVITE has an answer in its body.
    pub fn answer(&mut self, actor: ActorId, request: &Message, status: u16, tag: &str) {
        let mut answer = Answer::new(status, tag);
        if (200..300).contains(&status) && request.method() == "INVITE" {
            answer = answer.body(self.actors[actor.0].sdp(1));
        }
        self.respond(actor, request, answer);
    }

    pub fn respond(&mut self, actor: ActorId, request: &Message, answer: Answer) {
        let now = self.now;
        let sends = self.actors[actor.0].answer(now, request, &answer);
        self.say(self.actors[actor.0].address, sends);
    }

    /// Sends the newest request of this method again, as it was: its sender has not heard the answer.
    pub fn repeat(&mut self, actor: ActorId, method: &str) {
        let from = self.actors[actor.0].address;
        let is = |bytes: &[u8]| Message::parse(bytes).is_some_and(|m| m.is(method));
        let sent = self.wire().iter().rev().find(|c| c.from == from && is(&c.bytes)).map(|c| (c.to, c.bytes.clone()));
        self.say(from, sent.into_iter().collect());
    }

    /// INVITE with an offer to `uri`, with a Call-ID in a slot of this node: one that it owns when all nodes live.
    pub fn invite_at(&mut self, actor: ActorId, uri: &str, node: NodeId) -> Dialog {
        let all_live = self.with_all_live();
        let key = self.keys().placement;
        let owns = |id: &str| all_live.owner(CallHash::of(&key, id.as_bytes()).slot()) == Some(node);
        let mut attempt = self.actors[actor.0].attempt(uri);
        while !owns(&attempt.call_id) {
            attempt = self.actors[actor.0].attempt(uri);
        }
        let offer = self.actors[actor.0].sdp(1);
        self.send(actor, Draft { to_address: None, ..attempt.request("INVITE") }.body(offer));
        attempt
    }

    fn with_all_live(&self) -> Placement {
        let mut inputs = self.lm().placement().map(|p| p.inputs().clone()).unwrap_or_default();
        inputs.members.iter_mut().for_each(|member| member.live = member.live.or(Some(BootId(1))));
        Placement::compute(&self.keys().placement, Epoch(1), inputs)
    }

    /// Waits for something that this actor has not been asked for yet: `INVITE`, `180`, `200 BYE`.
    pub fn expect(&mut self, actor: ActorId, what: &str) -> Result<Message, String> {
        self.expect_within(actor, what, PATIENCE)
    }

    pub fn expect_within(&mut self, actor: ActorId, what: &str, patience: Duration) -> Result<Message, String> {
        let there = |s: &Simulation| s.actors[actor.0].inbox.iter().position(|m| m.is(what));
        self.run_until(patience, |s| there(s).is_some());
        let found = there(self).and_then(|at| self.actors[actor.0].inbox.remove(at));
        found.ok_or_else(|| {
            format!("{} never heard {what} (within {patience:?})\n{}", self.actors[actor.0].name, self.ladder())
        })
    }

    /// Whether this has come, asked for or not.
    pub fn has_heard(&self, actor: ActorId, what: &str) -> bool {
        self.actors[actor.0].heard.iter().any(|h| h.message.is(what))
    }

    /// Registers this Contact (with its parameters) under an AOR of a domain that asks nobody.
    pub fn bind(&mut self, actor: ActorId, aor: &str, contact: &str) -> Result<Message, String> {
        let mut attempt = self.actors[actor.0].attempt(&format!("sip:{aor}"));
        attempt.target = format!("sip:{}", aor.rsplit('@').next().unwrap_or_default());
        attempt.local = format!("<sip:{aor}>;tag={}", self.actors[actor.0].draw());
        let draft = Draft { to_address: None, ..attempt.request("REGISTER") };
        self.send(actor, draft.with(format!("Contact: {contact}")).with("Expires: 3600"));
        self.expect(actor, "200 REGISTER")
    }

    /// The line that answers the digest challenge in `refused` (RFC 3261 §22), for a request with this URI.
    pub fn credentials(&mut self, actor: ActorId, refused: &Message, uri: &str, password: &str) -> Option<String> {
        self.credentials_again(actor, refused, uri, password, 1)
    }

    /// The same for the `nc`-th use of its nonce.
    pub fn credentials_again(
        &mut self,
        actor: ActorId,
        refused: &Message,
        uri: &str,
        password: &str,
        nc: u8,
    ) -> Option<String> {
        let one = &mut self.actors[actor.0];
        let (cnonce, user) = (one.draw(), one.name.clone());
        let response = SipMessage::parse(refused.write(), &Limits::default()).ok()?;
        digest::answer_again((&user, password), &response, refused.method(), uri, &cnonce, nc)
    }

    /// From here on the wire is compared: what went before (registrations) is forgotten.
    pub fn begin_ladder(&mut self) {
        self.wire_mut().clear();
    }

    /// The wire as lines: `alice -> siprack: INVITE`.
    pub fn rungs(&self) -> Vec<String> {
        let rung = |c: &crate::simulation::Carried| {
            format!("{} -> {}: {}", self.name_of(c.from), self.name_of(c.to), label(&c.bytes))
        };
        self.wire().iter().map(rung).collect()
    }

    /// Compares the wire with a ladder, one rung a line, in the order of sending.
    pub fn compare(&self, ladder: &str) -> Result<(), String> {
        let wanted: Vec<String> = ladder
            .lines()
            .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
            .filter(|l| !l.is_empty())
            .collect();
        let seen = self.rungs();
        if wanted == seen {
            return Ok(());
        }
        let at = wanted.iter().zip(&seen).take_while(|(a, b)| a == b).count();
        let (want, saw) = (wanted.get(at), seen.get(at));
        Err(format!(
            "rung {}: the ladder has {want:?}, the wire {saw:?}\n{}\n{}",
            at + 1,
            seen.join("\n"),
            self.ladder()
        ))
    }
}
