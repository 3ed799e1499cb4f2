//! The call flows of RFC 3665 (BCP 75), each under its section's number, as ladders through this rack. Names, domains and
//! order are the RFC's. What differs everywhere: everything goes over UDP, and a proxy of ours answers a CANCEL and sends
//! its 100 to each hop before anything else (the RFC leaves that to the reader).

mod proxies;
mod registration;
mod sessions;

use crate::stage::{ATLANTA, BILOXI, holds};
use simulated_rack::hosts::actor::dialog::{Dialog, Draft};
use simulated_rack::script::ActorId;
use simulated_rack::simulation::Simulation;

pub const ALICE: &str = "alice-secret";
pub const BOB: &str = "bob-secret";

/// Proxy 1, and Alice who has a password there.
pub fn atlanta(seed: u64) -> (Simulation, ActorId) {
    let mut s = Simulation::steady(&[&ATLANTA], seed);
    s.provision(0, "alice", "atlanta.example.com", ALICE);
    let alice = s.actor("alice", "atlanta.example.com");
    (s, alice)
}

/// Proxy 1 and proxy 2; Bob is registered at the second.
pub fn two_proxies(seed: u64) -> Result<(Simulation, ActorId, ActorId), String> {
    let mut s = Simulation::steady(&[&ATLANTA, &BILOXI], seed);
    s.provision(0, "alice", "atlanta.example.com", ALICE);
    let alice = s.actor("alice", "atlanta.example.com");
    let bob = bob_at_biloxi(&mut s)?;
    Ok((s, alice, bob))
}

/// Bob, registered at the second rack of this simulation.
pub fn bob_at_biloxi(s: &mut Simulation) -> Result<ActorId, String> {
    s.provision(1, "bob", "biloxi.example.com", BOB);
    let bob = s.actor("bob", "biloxi.example.com");
    let proxy = s.sites()[1].vip();
    s.the_mut(bob).proxy = proxy;
    let contact = format!("<{}>", s.the(bob).contact());
    registered(s, bob, BOB, &contact)?;
    s.begin_ladder();
    Ok(bob)
}

/// A REGISTER for the actor's own AOR, before it is sent.
pub fn register(s: &mut Simulation, who: ActorId) -> (Dialog, Draft) {
    let (aor, domain) = (s.the(who).aor(), s.the(who).domain.clone());
    let mut attempt = s.the_mut(who).attempt(&aor);
    attempt.target = format!("sip:{domain}");
    let draft = Draft { to_address: None, ..attempt.request("REGISTER") };
    (attempt, draft)
}

/// REGISTER, 401, REGISTER with credentials; the last answer comes back.
pub fn registered(s: &mut Simulation, who: ActorId, password: &str, contact: &str) -> Result<(), String> {
    let (mut attempt, draft) = register(s, who);
    s.send(who, draft.with(format!("Contact: {contact}")));
    let challenge = s.expect(who, "401")?;
    let again = Draft { to_address: None, ..attempt.request("REGISTER") };
    let line = s.credentials(who, &challenge, &again.uri, password).ok_or("a challenge that nobody can answer")?;
    s.send(who, again.with(line).with(format!("Contact: {contact}")));
    let ok = s.expect(who, "200 REGISTER")?;
    holds("the 200 lists the binding", !ok.values("Contact").is_empty())
}

/// INVITE, 407, ACK, INVITE with credentials (F1 to F4 of most flows).
pub fn invite_with_credentials(s: &mut Simulation, who: ActorId, uri: &str) -> Result<Dialog, String> {
    let mut attempt = s.invite(who, uri);
    let challenge = s.expect(who, "407")?;
    holds("the 407 names the realm", challenge.header("Proxy-Authenticate").contains("realm=\"atlanta.example.com\""))?;
    let line = s.credentials(who, &challenge, uri, ALICE).ok_or("a challenge that nobody can answer")?;
    let offer = s.the(who).sdp(1);
    let again = Draft { to_address: None, ..attempt.request("INVITE") };
    s.send(who, again.with(line).body(offer));
    Ok(attempt)
}
