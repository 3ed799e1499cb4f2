//! Every other method, through the proxy: alone, in calls, in subscriptions. The proxy knows none of their meanings (RFC
//! 3261 §16.3): what it gets it sends on as it is, the unknown ones too.

use crate::races::{BOB, bobs_phones, ends, established, tag};
use crate::seeds::under_three_conditions;
use crate::stage::{holds, is, open, play};
use common::time::Duration;
use simulated_rack::hosts::actor::dialog::{Answer, Dialog, Draft};
use simulated_rack::hosts::actor::message::Message;
use simulated_rack::invariants::{i04_accounting as accounting, i08_leftovers as leftovers};
use simulated_rack::network::Conditions;
use simulated_rack::script::ActorId;
use simulated_rack::simulation::Simulation;

/// Methods that may come alone, the answer that each gets here, and header lines that belong to it.
const ALONE: [(&str, u16, &str); 9] = [
    ("MESSAGE", 202, "Subject: lunch"),
    ("OPTIONS", 200, "Accept: application/sdp"),
    ("INFO", 200, "Info-Package: nothing"),
    ("PUBLISH", 200, "Event: presence"),
    ("REFER", 202, "Refer-To: <sip:carol@open.test>"),
    ("SUBSCRIBE", 200, "Event: presence"),
    ("NOTIFY", 200, "Event: message-summary"),
    ("UPDATE", 481, "Subject: none"),
    ("FROBNICATE", 299, "X-Frob: \"a, b\";q=1"),
];

/// Those that belong into a call.
const IN_A_CALL: [&str; 8] = ["INFO", "UPDATE", "MESSAGE", "REFER", "NOTIFY", "SUBSCRIBE", "OPTIONS", "FROBNICATE"];

const CONTACTS: [&str; 2] = ["SUBSCRIBE", "REFER"];

/// This request to Bob, outside of any dialog.
fn alone(s: &mut Simulation, who: ActorId, method: &str, line: &str) -> Dialog {
    let mut attempt = s.the_mut(who).attempt(BOB);
    let body = s.the(who).sdp(1);
    let draft = Draft { to_address: None, ..attempt.request(method) };
    s.send(who, draft.with(line).body(body));
    attempt
}

/// A 200 with Contact, as a notifier gives it.
fn accepts(s: &mut Simulation, who: ActorId, request: &Message) {
    let its = tag(s, who);
    let contact = format!("Contact: <{}>", s.the(who).contact());
    s.respond(who, request, Answer::new(200, &its).with(contact).with("Expires: 600"));
}

/// This request within a dialog, which the other side takes.
fn within(s: &mut Simulation, from: ActorId, dialog: &mut Dialog, to: ActorId, method: &str) -> Result<(), String> {
    let body = s.the(from).sdp(2);
    let draft = dialog.request(method).with("Event: refer").with("Subscription-State: active").body(&body);
    s.send(from, draft);
    let asked = s.expect(to, method)?;
    holds(&format!("{method} has its body"), asked.body == body)?;
    s.respond(to, &asked, Answer::new(200, "").with("X-Said: by the phone"));
    let ok = s.expect(from, &format!("200 {method}"))?;
    is("the answer is the phone's", ok.header("X-Said").to_string(), "by the phone")
}

#[test]
fn every_method_alone() {
    play(|| {
        let mut s = open(561);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        for (method, status, line) in ALONE {
            s.begin_ladder();
            alone(&mut s, alice, method, line);
            let asked = s.expect(bobs[0], method)?;
            let (name, value) = line.split_once(": ").unwrap_or_default();
            holds(&format!("{method}: {line}"), asked.header(name) == value && asked.body == s.the(alice).sdp(1))?;
            holds(
                &format!("{method}: in the way of what may follow"),
                asked.header("Record-Route").is_empty() != CONTACTS.contains(&method),
            )?;
            is("one hop less", asked.header("Max-Forwards").to_string(), "69")?;
            s.respond(bobs[0], &asked, Answer::new(status, "tag-bob1").with("X-Said: by Bob"));
            let answer = s.expect(alice, &format!("{status} {method}"))?;
            is("Bob's own words", answer.header("X-Said").to_string(), "by Bob")?;
            let rungs = s.rungs();
            holds(&format!("two hops there, two back, and no 100: {rungs:?}"), rungs.len() == 4)?;
        }
        leftovers::check(&mut s)?;
        accounting::check(&s, &[])
    });
}

#[test]
fn every_method_in_a_call_from_either_side() {
    play(|| {
        let mut s = open(562);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let (mut alices, mut bobs_side, _) = established(&mut s, alice, bobs[0])?;
        for method in IN_A_CALL {
            within(&mut s, alice, &mut alices, bobs[0], method)?;
            within(&mut s, bobs[0], &mut bobs_side, alice, method)?;
        }
        ends(&mut s, alice, &mut alices)?;
        leftovers::check(&mut s)?;
        accounting::lasted(&s, &alices.call_id, "tag-bob1")
    });
}

/// RFC 6665: SUBSCRIBE, the first NOTIFY, a refresh, news, and the end, all along the recorded route.
#[test]
fn a_subscription() {
    play(|| {
        let mut s = open(563);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        let attempt = alone(&mut s, alice, "SUBSCRIBE", "Event: presence");
        let asked = s.expect(bobs[0], "SUBSCRIBE")?;
        accepts(&mut s, bobs[0], &asked);
        let mut alices = attempt.of_response(&s.expect(alice, "200 SUBSCRIBE")?);
        let mut bobs_side = Dialog::of_request(&asked, "tag-bob1");
        within(&mut s, bobs[0], &mut bobs_side, alice, "NOTIFY")?;
        within(&mut s, alice, &mut alices, bobs[0], "SUBSCRIBE")?;
        within(&mut s, bobs[0], &mut bobs_side, alice, "NOTIFY")?;
        s.compare(
            "
            alice -> siprack: SUBSCRIBE
            siprack -> bob1: SUBSCRIBE
            bob1 -> siprack: 200 OK
            siprack -> alice: 200 OK
            bob1 -> siprack: NOTIFY
            siprack -> alice: NOTIFY
            alice -> siprack: 200 OK
            siprack -> bob1: 200 OK
            alice -> siprack: SUBSCRIBE
            siprack -> bob1: SUBSCRIBE
            bob1 -> siprack: 200 OK
            siprack -> alice: 200 OK
            bob1 -> siprack: NOTIFY
            siprack -> alice: NOTIFY
            alice -> siprack: 200 OK
            siprack -> bob1: 200 OK
            ",
        )?;
        leftovers::check(&mut s)
    });
}

/// RFC 6665 §4.4.1: a SUBSCRIBE that forks is answered once, but each phone that took it notifies in a dialog of its own.
#[test]
fn a_subscription_that_forks() {
    play(|| {
        let mut s = open(564);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0", "1.0"])?;
        alone(&mut s, alice, "SUBSCRIBE", "Event: presence");
        let asked = [s.expect(bobs[0], "SUBSCRIBE")?, s.expect(bobs[1], "SUBSCRIBE")?];
        for (bob, asked) in bobs.iter().zip(&asked) {
            accepts(&mut s, *bob, asked);
        }
        s.expect(alice, "200 SUBSCRIBE")?;
        for (bob, asked) in bobs.iter().zip(&asked) {
            let its = tag(&s, *bob);
            within(&mut s, *bob, &mut Dialog::of_request(asked, &its), alice, "NOTIFY")?;
        }
        s.run_for(Duration::from_secs(5));
        let oks = s.the(alice).heard.iter().filter(|h| h.message.is("200 SUBSCRIBE")).count();
        holds("one answer", oks == 1)?;
        leftovers::check(&mut s)
    });
}

/// A phone that is gone: the sender hears 100 once it would repeat itself slowly (RFC 4320 §4.1), and is not told 408
/// (§4.2): it finds that out itself.
#[test]
fn nobody_answers_a_message() {
    play(|| {
        let mut s = open(565);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0"])?;
        s.habits(bobs[0]).silent = true;
        alone(&mut s, alice, "MESSAGE", "Subject: anybody?");
        leftovers::check(&mut s)?;
        let heard = |what: &str| s.the(alice).heard.iter().filter(|h| h.message.is(what)).count();
        let trying = heard("100 MESSAGE");
        holds("100, to each repeat from then on", (1..=9).contains(&trying))?;
        holds("and silence", s.the(alice).heard.len() == trying + heard("200 REGISTER"))
    });
}

/// A MESSAGE to two phones: both show it, the sender hears of the first that took it, and 6xx counts for more than 4xx.
#[test]
fn a_message_to_two_phones() {
    play(|| {
        let mut s = open(566);
        let (alice, bobs) = bobs_phones(&mut s, Conditions::STRAIGHT, &["1.0", "1.0"])?;
        for (first, second, heard) in [(200, 200, "200"), (404, 202, "202"), (415, 603, "603"), (480, 415, "415")] {
            alone(&mut s, alice, "MESSAGE", "Subject: lunch");
            let asked = [s.expect(bobs[0], "MESSAGE")?, s.expect(bobs[1], "MESSAGE")?];
            for (n, status) in [first, second].into_iter().enumerate() {
                let its = tag(&s, bobs[n]);
                s.answer(bobs[n], &asked[n], status, &its);
            }
            s.expect(alice, &format!("{heard} MESSAGE"))?;
            s.run_for(Duration::from_secs(1));
            let more = s.the(alice).inbox.iter().any(|m| m.method() == "MESSAGE");
            holds(&format!("one answer to {first} and {second}"), !more)?;
        }
        leftovers::check(&mut s)
    });
}

/// On bad networks: one of each kind, one after another.
#[test]
fn a_request_of_any_kind_is_answered_once() {
    under_three_conditions("a_request_of_any_kind_is_answered_once", |s, storm| {
        let (alice, bobs) = bobs_phones(s, storm, &["1.0"])?;
        for _ in 0..3 {
            let (method, status, line) = ALONE[s.chance().between(0, ALONE.len() as u64 - 1) as usize];
            let attempt = alone(s, alice, method, line);
            let asked = s.expect(bobs[0], method)?;
            let its = tag(s, bobs[0]);
            s.answer(bobs[0], &asked, status, &its);
            s.expect(alice, &format!("{status} {method}"))?;
            let is_it = |m: &Message| m.call_id() == attempt.call_id && !m.is(&format!("100 {method}"));
            let times = |who: ActorId, s: &Simulation| {
                s.the(who).heard.iter().filter(|h| !h.repeat && is_it(&h.message)).count()
            };
            s.run_for(Duration::from_secs(1));
            holds("once there, once back", times(bobs[0], s) == 1 && times(alice, s) == 1)?;
        }
        accounting::check(s, &[])
    });
}

/// On bad networks: a call in which both sides send what they like.
#[test]
fn requests_of_any_kind_in_a_call() {
    under_three_conditions("requests_of_any_kind_in_a_call", |s, storm| {
        let (alice, bobs) = bobs_phones(s, storm, &["1.0"])?;
        let bob = bobs[0];
        let (mut alices, mut bobs_side, _) = established(s, alice, bob)?;
        for _ in 0..4 {
            let method = IN_A_CALL[s.chance().between(0, IN_A_CALL.len() as u64 - 1) as usize];
            match s.chance().happens(0.5) {
                true => within(s, alice, &mut alices, bob, method)?,
                false => within(s, bob, &mut bobs_side, alice, method)?,
            }
        }
        match s.chance().happens(0.5) {
            true => ends(s, alice, &mut alices)?,
            false => ends(s, bob, &mut bobs_side)?,
        }
        let its = tag(s, bob);
        accounting::lasted(s, &alices.call_id, &its)
    });
}

/// On bad networks: the first NOTIFY and the answer to the SUBSCRIBE cross, as they may (RFC 6665 §4.1.2.4); then news,
/// a refresh, and the end.
#[test]
fn a_subscription_whose_first_notify_is_early() {
    under_three_conditions("a_subscription_whose_first_notify_is_early", |s, storm| {
        let (alice, bobs) = bobs_phones(s, storm, &["1.0"])?;
        let bob = bobs[0];
        let attempt = alone(s, alice, "SUBSCRIBE", "Event: presence");
        let asked = s.expect(bob, "SUBSCRIBE")?;
        let its = tag(s, bob);
        let mut bobs_side = Dialog::of_request(&asked, &its);
        if s.chance().happens(0.5) {
            within(s, bob, &mut bobs_side, alice, "NOTIFY")?;
            accepts(s, bob, &asked);
        } else {
            accepts(s, bob, &asked);
            within(s, bob, &mut bobs_side, alice, "NOTIFY")?;
        }
        let mut alices = attempt.of_response(&s.expect(alice, "200 SUBSCRIBE")?);
        within(s, alice, &mut alices, bob, "SUBSCRIBE")?;
        within(s, bob, &mut bobs_side, alice, "NOTIFY")?;
        accounting::check(s, &[])
    });
}

/// On bad networks: a transfer (RFC 3515, §5.2 of RFC 5589). Alice is asked in the call to call Carol, does so, tells Bob how
/// it went, and Bob hangs up.
#[test]
fn a_call_is_transferred() {
    under_three_conditions("a_call_is_transferred", |s, storm| {
        let carol = s.actor("carol", "open.test");
        let contact = format!("<{}>", s.the(carol).contact());
        s.bind(carol, "carol@open.test", &contact)?;
        let (alice, bobs) = bobs_phones(s, storm, &["1.0"])?;
        let bob = bobs[0];
        let (mut alices, mut bobs_side, _) = established(s, alice, bob)?;
        let refer = bobs_side.request("REFER").with("Refer-To: <sip:carol@open.test>");
        s.send(bob, refer);
        let refer = s.expect(alice, "REFER")?;
        s.answer(alice, &refer, 202, "");
        s.expect(bob, "202 REFER")?;
        within(s, alice, &mut alices, bob, "NOTIFY")?;
        let attempt = s.invite(alice, "sip:carol@open.test");
        let invite = s.expect(carol, "INVITE")?;
        s.answer(carol, &invite, 200, "tag-carol");
        let ok = s.expect(alice, "200 INVITE")?;
        within(s, alice, &mut alices, bob, "NOTIFY")?;
        ends(s, bob, &mut bobs_side)?;
        ends(s, alice, &mut attempt.of_response(&ok))?;
        let its = tag(s, bob);
        accounting::lasted(s, &alices.call_id, &its)?;
        accounting::lasted(s, &attempt.call_id, "tag-carol")
    });
}
