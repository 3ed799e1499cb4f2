//! A trunk that is known by a name (RFC 3263): its servers one after another as SRV says, when one is full, when one is
//! silent; and a name server that is slow, wrong or dead, which is nobody's trouble but that trunk's.

use crate::races::{BOB, bobs_phones, ends, established, tag};
use crate::seeds::on_this_rack;
use crate::stage::{BY_NAME, holds, is, play};
use cc_node::dns::Kind;
use common::time::Duration;
use simulated_rack::hosts::actor::dialog::{Dialog, Draft};
use simulated_rack::hosts::dns::Fault;
use simulated_rack::invariants::{i04_accounting as accounting, i08_leftovers as leftovers};
use simulated_rack::network::Conditions;
use simulated_rack::script::ActorId;
use simulated_rack::simulation::Simulation;

const NUMBER: &str = "sip:00123@open.test";
const SRV: &str = "_sip._udp.carrier.test";

fn rack(seed: u64) -> Simulation {
    Simulation::steady(&[&BY_NAME], seed)
}

/// The carrier's two servers, the first by priority, and their names.
fn carrier(s: &mut Simulation) -> Result<[ActorId; 2], String> {
    let dns = s.dns();
    dns.naptr("carrier.test", 600, (10, 10), "SIP+D2U", SRV);
    dns.srv(SRV, 60, (1, 0), 5060, "one.carrier.test");
    dns.srv(SRV, 60, (2, 0), 5080, "two.carrier.test");
    dns.address("one.carrier.test", 60, "203.0.113.61");
    dns.address("two.carrier.test", 60, "203.0.113.62");
    let mut at = |name: &str, address: &str| -> Result<ActorId, String> {
        Ok(s.actor_at(name, "carrier.test", address.parse().map_err(|_| "an address")?))
    };
    Ok([at("one", "203.0.113.61:5060")?, at("two", "203.0.113.62:5080")?])
}

/// The call that this server has been asked for is answered, lasts a second, and is hung up by the caller.
fn takes(s: &mut Simulation, server: ActorId, alice: ActorId, attempt: &Dialog) -> Result<(), String> {
    let invite = s.expect_within(server, "INVITE", Duration::from_secs(80))?;
    let its = tag(s, server);
    s.answer(server, &invite, 200, &its);
    let ok = s.expect(alice, "200 INVITE")?;
    s.expect(server, "ACK")?;
    s.run_for(Duration::from_secs(1));
    ends(s, alice, &mut attempt.of_response(&ok))
}

#[test]
fn the_first_server_is_full() {
    play(|| {
        let mut s = rack(581);
        let [one, two] = carrier(&mut s)?;
        let alice = s.actor("alice", "open.test");
        let attempt = s.invite(alice, NUMBER);
        let invite = s.expect(one, "INVITE")?;
        is("it is asked by the trunk's name", invite.uri().to_string(), "sip:00123@carrier.test")?;
        s.answer(one, &invite, 503, "tag-one");
        takes(&mut s, two, alice, &attempt)?;
        s.compare(
            "
            alice -> siprack: INVITE
            siprack -> alice: 100 Trying
            siprack -> one: INVITE
            one -> siprack: 503 Service Unavailable
            siprack -> one: ACK
            siprack -> two: INVITE
            two -> siprack: 200 OK
            siprack -> alice: 200 OK
            alice -> siprack: ACK
            siprack -> two: ACK
            alice -> siprack: BYE
            siprack -> two: BYE
            two -> siprack: 200 OK
            siprack -> alice: 200 OK
            ",
        )?;
        // For the next 30 s the first one is asked last.
        let again = s.invite(alice, NUMBER);
        takes(&mut s, two, alice, &again)?;
        s.run_for(Duration::from_secs(40));
        let later = s.invite(alice, NUMBER);
        takes(&mut s, one, alice, &later)?;
        leftovers::check(&mut s)?;
        holds("by the carrier", s.cdrs().iter().all(|(_, _, cdr)| cdr.trunk_out.as_deref() == Some("carrier")))?;
        accounting::check(&s, &[attempt.call_id, again.call_id, later.call_id])
    });
}

/// Timer B (§17.1.1.2), then the next server; the caller has heard 100 and waits.
#[test]
fn the_first_server_is_silent() {
    play(|| {
        let mut s = rack(582);
        let [one, two] = carrier(&mut s)?;
        s.habits(one).silent = true;
        let alice = s.actor("alice", "open.test");
        let attempt = s.invite(alice, NUMBER);
        s.run_for(Duration::from_secs(31));
        holds("not before its time", !s.has_heard(two, "INVITE"))?;
        takes(&mut s, two, alice, &attempt)?;
        let again = s.invite(alice, NUMBER);
        s.run_for(Duration::from_millis(50));
        holds("the next call does not wait for it", s.has_heard(two, "INVITE"))?;
        takes(&mut s, two, alice, &again)?;
        leftovers::check(&mut s)?;
        accounting::check(&s, &[attempt.call_id, again.call_id])
    });
}

/// The silent one speaks after all, when the call is with the other: it is told to stop.
#[test]
fn the_first_server_speaks_late() {
    play(|| {
        let mut s = rack(583);
        let [one, two] = carrier(&mut s)?;
        let alice = s.actor("alice", "open.test");
        let attempt = s.invite(alice, NUMBER);
        let first = s.expect(one, "INVITE")?;
        s.run_for(Duration::from_secs(33));
        s.answer(one, &first, 180, "tag-one");
        s.expect(one, "CANCEL")?;
        takes(&mut s, two, alice, &attempt)?;
        leftovers::check(&mut s)?;
        accounting::lasted(&s, &attempt.call_id, "tag-two")
    });
}

/// Whoever is busy at one server is busy.
#[test]
fn a_declined_call_is_declined() {
    play(|| {
        let mut s = rack(584);
        let [one, two] = carrier(&mut s)?;
        let alice = s.actor("alice", "open.test");
        for status in [486, 404, 500, 603] {
            s.invite(alice, NUMBER);
            let invite = s.expect(one, "INVITE")?;
            s.answer(one, &invite, status, "tag-one");
            s.expect(alice, &status.to_string())?;
        }
        holds("the other is not asked", !s.has_heard(two, "INVITE"))?;
        leftovers::check(&mut s)
    });
}

/// Both full: what is true of the carrier is not true of this proxy (§16.7 step 6).
#[test]
fn all_servers_are_full() {
    play(|| {
        let mut s = rack(585);
        let servers = carrier(&mut s)?;
        let alice = s.actor("alice", "open.test");
        s.invite(alice, NUMBER);
        for server in servers {
            let invite = s.expect(server, "INVITE")?;
            s.answer(server, &invite, 503, "full");
        }
        s.expect(alice, "500")?;
        leftovers::check(&mut s)
    });
}

/// The carrier hangs up, from the Contact that it named: the side is known without any address in the rack file.
#[test]
fn the_carrier_hangs_up() {
    play(|| {
        let mut s = rack(586);
        let [one, _] = carrier(&mut s)?;
        let alice = s.actor("alice", "open.test");
        let attempt = s.invite(alice, NUMBER);
        let invite = s.expect(one, "INVITE")?;
        s.answer(one, &invite, 200, "tag-one");
        s.expect(alice, "200 INVITE")?;
        s.expect(one, "ACK")?;
        s.run_for(Duration::from_secs(2));
        ends(&mut s, one, &mut Dialog::of_request(&invite, "tag-one"))?;
        leftovers::check(&mut s)?;
        accounting::lasted(&s, &attempt.call_id, "tag-one")
    });
}

/// The name server is dead from the start. Who calls the carrier hears 100 at once, and 500 when nothing has come of it;
/// who calls Bob meanwhile is through within 10 ms, and so is every request of a call that stands.
#[test]
fn a_dead_name_server_stalls_nobody_else() {
    play(|| {
        let mut s = rack(587);
        carrier(&mut s)?;
        s.dns().set_dead(true);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let (mut stands, _, _) = established(&mut s, alice, bobs[0])?;
        let waiting: Vec<ActorId> = (0..20).map(|n| s.actor(&format!("caller{n}"), "open.test")).collect();
        for caller in &waiting {
            s.invite(*caller, NUMBER);
        }
        s.run_for(Duration::from_millis(150));
        holds("they hear that it takes time", waiting.iter().all(|caller| s.has_heard(*caller, "100")))?;
        for _ in 0..20 {
            let began = s.now();
            s.invite(alice, BOB);
            let invite = s.expect(bobs[0], "INVITE")?;
            holds("Bob's phone rings at once", s.now().since(began) < Duration::from_millis(10))?;
            s.answer(bobs[0], &invite, 486, "tag-bob1");
            s.expect(alice, "486")?;
            s.run_for(Duration::from_millis(100));
        }
        let began = s.now();
        ends(&mut s, alice, &mut stands)?;
        holds("a BYE does not wait", s.now().since(began) < Duration::from_millis(10))?;
        for caller in &waiting {
            s.expect(*caller, "500")?;
        }
        leftovers::check(&mut s)
    });
}

/// Who waits for a name may change his mind, and what the name server says then starts nothing.
#[test]
fn a_caller_gives_up_while_the_name_is_looked_up() {
    play(|| {
        let mut s = rack(588);
        let [one, _] = carrier(&mut s)?;
        s.dns().set_delay(Duration::from_secs(1));
        let alice = s.actor("alice", "open.test");
        let attempt = s.invite(alice, NUMBER);
        s.expect(alice, "100")?;
        s.cancel(alice, &attempt);
        s.expect_within(alice, "487", Duration::from_millis(100))?;
        leftovers::check(&mut s)?;
        holds("nobody was called", !s.has_heard(one, "INVITE"))
    });
}

/// Requests other than INVITE wait for the name too, and are forwarded when it is known.
#[test]
fn a_message_waits_for_a_slow_name() {
    play(|| {
        let mut s = rack(589);
        let [one, _] = carrier(&mut s)?;
        s.dns().set_delay(Duration::from_millis(700));
        let alice = s.actor("alice", "open.test");
        let mut attempt = s.the_mut(alice).attempt(NUMBER);
        let draft = Draft { to_address: None, ..attempt.request("MESSAGE") };
        s.send(alice, draft.with("Subject: lunch"));
        let asked = s.expect(one, "MESSAGE")?;
        s.answer(one, &asked, 202, "tag-one");
        s.expect(alice, "202 MESSAGE")?;
        leftovers::check(&mut s)
    });
}

/// On bad networks, with a name server that takes its time: the first server is full, silent, busy, or takes the call.
#[test]
fn a_call_by_name() {
    on_this_rack(&BY_NAME, "a_call_by_name", |s, storm| {
        let [one, two] = carrier(s)?;
        // Three answers one after another come within the 500 ms after which a look-up makes do with what it has.
        let slow = Duration::from_millis(s.chance().between(0, 150));
        s.dns().set_delay(slow);
        let alice = s.actor("alice", "open.test");
        s.set_conditions(storm);
        let attempt = s.invite(alice, NUMBER);
        match s.chance().between(0, 3) {
            0 => s.habits(one).silent = true,
            1 => {
                let invite = s.expect(one, "INVITE")?;
                s.answer(one, &invite, 503, "tag-one");
            }
            2 => {
                let invite = s.expect(one, "INVITE")?;
                s.answer(one, &invite, 486, "tag-one");
                s.expect(alice, "486")?;
                return accounting::check(s, &[]);
            }
            _ => {
                takes(s, one, alice, &attempt)?;
                return accounting::lasted(s, &attempt.call_id, "tag-one");
            }
        }
        takes(s, two, alice, &attempt)?;
        accounting::lasted(s, &attempt.call_id, "tag-two")
    });
}

/// On bad networks, one question of the name server meets a fault. The carrier's caller hears something or gets through;
/// Alice's call to Bob is as it always is.
#[test]
fn a_faulty_name_server_stalls_nobody_else() {
    on_this_rack(&BY_NAME, "a_faulty_name_server_stalls_nobody_else", |s, storm| {
        let [one, two] = carrier(s)?;
        let questions = [
            ("carrier.test", Kind::Naptr),
            (SRV, Kind::Srv),
            ("one.carrier.test", Kind::A),
            ("two.carrier.test", Kind::A),
        ];
        let (name, kind) = questions[s.chance().between(0, 3) as usize];
        let slow = Fault::Slow(Duration::from_millis(s.chance().between(0, 4000)));
        let fault = [Fault::Silent, Fault::ServerFailure, Fault::NoSuchName, slow][s.chance().between(0, 3) as usize];
        s.dns().set_fault(name, kind, Some(fault));
        let (alice, bobs) = bobs_phones(s, storm, &["1.0"])?;
        let carl = s.actor("carl", "open.test");
        let outside = s.invite(carl, NUMBER);
        let (mut alices, _, _) = established(s, alice, bobs[0])?;
        ends(s, alice, &mut alices)?;
        let its = tag(s, bobs[0]);
        accounting::lasted(s, &alices.call_id, &its)?;
        s.run_until(Duration::from_secs(40), |s| {
            s.has_heard(one, "INVITE")
                || s.has_heard(two, "INVITE")
                || s.the(carl).heard.iter().any(|h| h.message.status() >= 300)
        });
        match [one, two].into_iter().find(|server| s.has_heard(*server, "INVITE")) {
            Some(server) => {
                takes(s, server, carl, &outside)?;
                let its = tag(s, server);
                accounting::lasted(s, &outside.call_id, &its)
            }
            None => {
                let told = s.the(carl).heard.iter().find(|h| h.message.status() >= 300).map(|h| h.message.status());
                holds(&format!("{told:?}"), matches!(told, Some(404 | 500)))
            }
        }
    });
}
