//! Told where to go (RFC 3261 §8.3), and going where one is told (§16.7 step 4).

use super::*;

const BOTH: [(&str, &str, u16); 2] = [("sip:bob@10.0.0.2:5060", BOB, 1000), ("sip:bob@10.0.0.3:5060", BOB_TOO, 500)];

fn redirecting(mode: &str) -> Bench {
    changed_bench("auth: none, provisioning: open", &format!("auth: none, provisioning: open, mode: {mode}"))
}

#[test]
fn a_redirecting_domain_tells_the_contacts() {
    let mut b = redirecting("redirect");
    let said = b.hear(ALICE, &invite("c"));
    assert_eq!(ladder(&said), ["302 → 10.0.0.1:5060"]);
    assert_eq!(said[0].header("Contact"), "<sip:bob@10.0.0.2:5060>");
    b.register("bob@rack.test", &BOTH);
    let said = b.hear(ALICE, &invite("d")).remove(0);
    let contacts: Vec<&str> = said.all("Contact").collect();
    assert_eq!(
        (said.what(), contacts),
        ("300", vec!["<sip:bob@10.0.0.2:5060>;q=1", "<sip:bob@10.0.0.3:5060>;q=0.500"])
    );
    assert_eq!(b.hear(ALICE, &invite("d"))[0].text, said.text, "a repeat gets the same");
    let message = b.hear(ALICE, &request("MESSAGE", "sip:bob@rack.test", "m", 1, ""));
    assert_eq!(message[0].what(), "300", "every method");
    let nobody = b.hear(ALICE, &request("INVITE", "sip:nobody@rack.test", "n", 1, ""));
    assert_eq!(nobody[0].what(), "404");
    b.pass(Duration::from_secs(64));
    assert_eq!(b.node.stats().transactions, Default::default());
    assert!(b.node.calls().is_empty() && b.cdrs.is_empty());
}

#[test]
fn a_redirecting_domain_tells_the_trunk_for_a_number() {
    let mut b = redirecting("redirect");
    let said = b.hear(ALICE, &request("INVITE", "sip:0049301@rack.test", "c", 1, "")).remove(0);
    let contacts: Vec<&str> = said.all("Contact").collect();
    assert_eq!(said.what(), "300");
    assert_eq!(contacts, ["<sip:+49301@10.9.0.1:5060>;q=1", "<sip:+49301@10.9.0.2:5060>;q=0.001"]);
}

#[test]
fn a_redirecting_domain_tells_what_it_could_not_reach_itself() {
    let mut b = redirecting("redirect");
    b.register("bob@rack.test", &[("mailto:bob@example.com", BOB, 1000), ("sips:bob@10.0.0.2", BOB, 1000)]);
    let said = b.hear(ALICE, &invite("c")).remove(0);
    assert_eq!(said.all("Contact").collect::<Vec<_>>(), ["<mailto:bob@example.com>", "<sips:bob@10.0.0.2>"]);
    let mut proxy = bench();
    proxy.register("bob@rack.test", &[("mailto:bob@example.com", BOB, 1000)]);
    assert_eq!(proxy.hear(ALICE, &invite("c"))[0].what(), "404", "nothing that could be called");
}

#[test]
fn in_both_modes_the_caller_chooses() {
    let mut b = redirecting("both");
    assert_eq!(b.hear(ALICE, &invite("c"))[1].what(), "INVITE");
    let asks = request("INVITE", "sip:bob@rack.test", "d", 1, "d: no-fork, Redirect\n");
    assert_eq!(b.hear(ALICE, &asks)[0].what(), "302");
}

#[test]
fn a_trunk_has_a_mode_of_its_own() {
    let mut b = changed_bench("name: carrier, ", "name: carrier, mode: redirect, ");
    assert_eq!(b.hear(CARRIER, &invite("c").replace("10.0.0.1", "10.9.0.1"))[0].what(), "302");
    assert_eq!(b.hear(ALICE, &invite("d"))[1].what(), "INVITE");
}

fn recursing() -> (Bench, Said) {
    let mut b = changed_bench("auth: none, provisioning: open", "auth: none, provisioning: open, recursion: true");
    b.register("carol@rack.test", &[("sip:carol@10.0.0.3:5060", BOB_TOO, 1000)]);
    let forwarded = b.hear(ALICE, &invite("c")).remove(1);
    (b, forwarded)
}

fn moved(to: &Said, contacts: &str) -> String {
    response(to, "302 Moved Temporarily", "b", &format!("Contact: {contacts}\n"))
}

#[test]
fn a_redirection_is_followed_where_the_domain_says_so() {
    let (mut b, forwarded) = recursing();
    let said = b.hear(BOB, &moved(&forwarded, "<sip:carol@rack.test?Subject=x>"));
    assert_eq!(ladder(&said), ["ACK → 10.0.0.2:5060", "INVITE → 10.0.0.3:5060"]);
    assert_eq!(said[1].uri(), "sip:carol@10.0.0.3:5060");
    assert!(matches!(b.record(said[1].after), What::Targets { targets, .. } if targets[0].branch == said[1].branch()));
    let ok = b.hear(BOB_TOO, &response(&said[1], "200 OK", "c", ""));
    assert_eq!(ladder(&ok), ["200 → 10.0.0.1:5060"]);
}

#[test]
fn elsewhere_it_is_the_callers_to_follow() {
    let mut b = bench();
    let forwarded = b.hear(ALICE, &invite("c")).remove(1);
    let said = b.hear(BOB, &moved(&forwarded, "<sip:carol@rack.test>"));
    assert_eq!(ladder(&said), ["ACK → 10.0.0.2:5060", "302 → 10.0.0.1:5060"]);
}

#[test]
fn a_redirection_reaches_nothing_that_the_caller_could_not() {
    for outside in
        ["<sip:mallory@evil.test>", "<sip:user@safe.test>", "<sip:bob@rack.test>", "<tel:112;x=@>", "*", "<x:y>"]
    {
        let (mut b, forwarded) = recursing();
        let said = b.hear(BOB, &moved(&forwarded, outside));
        assert_eq!(ladder(&said), ["ACK → 10.0.0.2:5060", "302 → 10.0.0.1:5060"], "{outside}");
    }
}

#[test]
fn redirections_in_a_circle_end() {
    let (mut b, mut forwarded) = recursing();
    for n in 0..12 {
        b.register(&format!("u{n}@rack.test"), &[(&format!("sip:u{n}@10.0.0.2:5060"), BOB, 1000)]);
    }
    for n in 0..5 {
        let said = b.hear(BOB, &moved(&forwarded, &format!("<sip:u{n}@rack.test>")));
        assert_eq!(said[1].what(), "INVITE", "{n}");
        forwarded = said[1].clone();
    }
    let said = b.hear(BOB, &moved(&forwarded, "<sip:u9@rack.test>"));
    assert_eq!(said[1].what(), "302", "enough");
}

#[test]
fn the_better_contact_of_a_redirection_is_tried_first_and_other_phones_ring_on() {
    let (mut b, _) = recursing();
    b.register(
        "bob@rack.test",
        &[("sip:bob@10.0.0.2:5060", BOB, 1000), ("sip:bob@10.0.0.4:5060", "10.0.0.4:5060", 1000)],
    );
    b.register("dave@rack.test", &[("sip:dave@10.0.0.5:5060", "10.0.0.5:5060", 1000)]);
    let said = b.hear(ALICE, &invite("d"));
    assert_eq!(ladder(&said)[1..], ["INVITE → 10.0.0.2:5060", "INVITE → 10.0.0.4:5060"]);
    let next = b.hear(BOB, &moved(&said[1], "<sip:carol@rack.test>;q=0.2, <sip:dave@rack.test>;q=0.9"));
    assert_eq!(ladder(&next), ["ACK → 10.0.0.2:5060", "INVITE → 10.0.0.5:5060"], "while the other rings");
    b.hear("10.0.0.5:5060", &response(&next[1], "486 Busy Here", "x", ""));
    let last = b.hear("10.0.0.4:5060", &response(&said[2], "486 Busy Here", "y", ""));
    assert_eq!(
        ladder(&last),
        ["ACK → 10.0.0.4:5060", "INVITE → 10.0.0.3:5060"],
        "the lower q when all of the higher failed"
    );
    let end = b.hear(BOB_TOO, &response(&last[1], "480 Temporarily Unavailable", "z", ""));
    assert_eq!(end[1].what(), "486");
}

#[test]
fn a_number_that_a_redirection_names_is_tried_at_one_gateway_after_another() {
    let (mut b, forwarded) = recursing();
    let said = b.hear(BOB, &moved(&forwarded, "<sip:0049301@rack.test>, <sip:carol@rack.test>;q=0.1"));
    assert_eq!(ladder(&said), ["ACK → 10.0.0.2:5060", "INVITE → 10.9.0.1:5060"]);
    let full = b.hear(CARRIER, &response(&said[1], "503 Service Unavailable", "x", ""));
    assert_eq!(ladder(&full), ["ACK → 10.9.0.1:5060", "INVITE → 10.9.0.2:5060"]);
    let last = b.hear(CARRIER_TOO, &response(&full[1], "503 Service Unavailable", "y", ""));
    assert_eq!(ladder(&last), ["ACK → 10.9.0.2:5060", "INVITE → 10.0.0.3:5060"], "then the lower q");
}

#[test]
fn a_cancelled_caller_is_not_taken_further() {
    let (mut b, forwarded) = recursing();
    b.hear(BOB, &response(&forwarded, "180 Ringing", "b", ""));
    b.hear(ALICE, &invite("c").replace("INVITE", "CANCEL"));
    let said = b.hear(BOB, &moved(&forwarded, "<sip:carol@rack.test>"));
    assert_eq!(ladder(&said), ["ACK → 10.0.0.2:5060", "487 → 10.0.0.1:5060"]);
}
