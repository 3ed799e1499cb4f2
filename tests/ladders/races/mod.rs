//! What phones and proxies do to each other when messages cross, fork, come late or come twice. Each file has the ladders
//! (one exact story each) and, in `stormy`, the same stories under seeds with bad networks.

mod answers;
mod dialogs;
mod forks;
mod loops;
mod stormy;

use common::time::Duration;
use simulated_rack::hosts::actor::dialog::Dialog;
use simulated_rack::hosts::actor::message::Message;
use simulated_rack::network::Conditions;
use simulated_rack::script::ActorId;
use simulated_rack::simulation::Simulation;

pub const BOB: &str = "sip:bob@open.test";

/// Alice, and Bob's phones bob1, bob2 …, each registered with its q. Then the network becomes what it is to be.
pub fn bobs_phones(s: &mut Simulation, then: Conditions, qs: &[&str]) -> Result<(ActorId, Vec<ActorId>), String> {
    let alice = s.actor("alice", "open.test");
    let mut phones = Vec::new();
    for (n, q) in qs.iter().enumerate() {
        let phone = s.actor(&format!("bob{}", n + 1), "open.test");
        let contact = format!("<{}>;q={q}", s.the(phone).contact());
        s.bind(phone, "bob@open.test", &contact)?;
        phones.push(phone);
    }
    s.run_for(Duration::from_millis(10));
    s.begin_ladder();
    s.set_conditions(then);
    Ok((alice, phones))
}

/// Every phone gets the INVITE and rings with its own tag.
pub fn all_ring(s: &mut Simulation, phones: &[ActorId]) -> Result<Vec<Message>, String> {
    let mut invites = Vec::new();
    for phone in phones {
        let invite = s.expect(*phone, "INVITE")?;
        let tag = tag(s, *phone);
        s.answer(*phone, &invite, 180, &tag);
        invites.push(invite);
    }
    Ok(invites)
}

/// What this phone puts into To.
pub fn tag(s: &Simulation, phone: ActorId) -> String {
    format!("tag-{}", s.the(phone).name)
}

/// One phone, one call, answered; Alice's dialog, Bob's, and the INVITE.
pub fn established(s: &mut Simulation, alice: ActorId, bob: ActorId) -> Result<(Dialog, Dialog, Message), String> {
    let attempt = s.invite(alice, BOB);
    let invite = s.expect(bob, "INVITE")?;
    let tag = tag(s, bob);
    s.answer(bob, &invite, 180, &tag);
    s.answer(bob, &invite, 200, &tag);
    let ok = s.expect(alice, "200 INVITE")?;
    s.expect(bob, "ACK")?;
    Ok((attempt.of_response(&ok), Dialog::of_request(&invite, &tag), invite))
}

/// BYE from this side, answered.
pub fn ends(s: &mut Simulation, who: ActorId, dialog: &mut Dialog) -> Result<(), String> {
    s.bye(who, dialog);
    s.expect(who, "200 BYE").map(drop)
}

/// Waits for any provisional response: before one no CANCEL may be sent (RFC 3261 §9.1).
pub fn hears_of_it(s: &mut Simulation, caller: ActorId) -> Result<(), String> {
    let heard = s.run_until(Duration::from_secs(40), |s| s.has_heard(caller, "100") || s.has_heard(caller, "180"));
    if heard { Ok(()) } else { Err(format!("no provisional response came\n{}", s.ladder())) }
}
