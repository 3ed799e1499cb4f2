//! RFC 3665 §2: registration. "SIP Server" of the RFC is the rack.

use super::{ALICE, atlanta, register, registered};
use crate::stage::{holds, is, play};
use simulated_rack::hosts::actor::dialog::Draft;
use simulated_rack::hosts::actor::message::Message;
use simulated_rack::script::ActorId;
use simulated_rack::simulation::Simulation;

/// Sends a REGISTER with these header lines, answers the challenge, and waits for the 200.
fn once_more(s: &mut Simulation, who: ActorId, lines: &[&str]) -> Result<Message, String> {
    let (mut attempt, mut draft) = register(s, who);
    draft.headers = lines.iter().map(|l| l.to_string()).collect();
    s.send(who, draft);
    let challenge = s.expect(who, "401")?;
    let mut again = Draft { to_address: None, ..attempt.request("REGISTER") };
    again.headers = lines.iter().map(|l| l.to_string()).collect();
    let line = s.credentials(who, &challenge, &again.uri, ALICE).ok_or("a challenge that nobody can answer")?;
    s.send(who, again.with(line));
    s.expect(who, "200 REGISTER")
}

const LADDER: &str = "
    alice -> siprack: REGISTER
    siprack -> alice: 401 Unauthorized
    alice -> siprack: REGISTER
    siprack -> alice: 200 OK
";

#[test]
fn s2_1_successful_new_registration() {
    play(|| {
        let (mut s, alice) = atlanta(201);
        let (mut attempt, draft) = register(&mut s, alice);
        let contact = format!("Contact: <{}>", s.the(alice).contact());
        s.send(alice, draft.with(&contact));
        let challenge = s.expect(alice, "401")?;
        let offer = challenge.header("WWW-Authenticate");
        holds(
            "F2 names realm, nonce and qop",
            ["realm=\"atlanta.example.com\"", "nonce=\"", "qop=\"auth\""].iter().all(|p| offer.contains(p)),
        )?;
        holds("F2 has a To tag", !challenge.to_tag().is_empty())?;
        let again = Draft { to_address: None, ..attempt.request("REGISTER") };
        let line = s.credentials(alice, &challenge, &again.uri, ALICE).ok_or("no credentials")?;
        s.send(alice, again.with(line).with(&contact));
        let ok = s.expect(alice, "200 REGISTER")?;
        is("F4 CSeq", ok.header("CSeq"), "2 REGISTER")?;
        holds("F4 lists the contact with its expiry", ok.header("Contact").contains(";expires=3600"))?;
        s.compare(LADDER)
    });
}

#[test]
fn s2_2_update_of_contact_list() {
    play(|| {
        let (mut s, alice) = atlanta(202);
        let contact = format!("<{}>", s.the(alice).contact());
        registered(&mut s, alice, ALICE, &contact)?;
        s.begin_ladder();
        let ok = once_more(&mut s, alice, &["Contact: mailto:alice@atlanta.example.com"])?;
        let listed = ok.values("Contact");
        holds("F4 lists both contacts", listed.len() == 2)?;
        holds("one is the new address", listed.iter().any(|c| c.contains("mailto:alice@atlanta.example.com")))?;
        s.compare(LADDER)
    });
}

#[test]
fn s2_3_request_for_current_contact_list() {
    play(|| {
        let (mut s, alice) = atlanta(203);
        let contact = format!("<{}>", s.the(alice).contact());
        registered(&mut s, alice, ALICE, &contact)?;
        s.begin_ladder();
        let ok = once_more(&mut s, alice, &[])?;
        holds("the list is told, nothing changes", ok.values("Contact").len() == 1)?;
        s.compare(LADDER)
    });
}

#[test]
fn s2_4_cancellation_of_registration() {
    play(|| {
        let (mut s, alice) = atlanta(204);
        let contact = format!("<{}>", s.the(alice).contact());
        registered(&mut s, alice, ALICE, &contact)?;
        s.begin_ladder();
        let ok = once_more(&mut s, alice, &["Expires: 0", "Contact: *"])?;
        holds("nothing is left", ok.values("Contact").is_empty())?;
        s.compare(LADDER)
    });
}

/// The RFC shows a second 401, with a new nonce, for the wrong password.
#[test]
fn s2_5_unsuccessful_registration() {
    play(|| {
        let (mut s, alice) = atlanta(205);
        let (mut attempt, draft) = register(&mut s, alice);
        let contact = format!("Contact: <{}>", s.the(alice).contact());
        s.send(alice, draft.with(&contact));
        let challenge = s.expect(alice, "401")?;
        let again = Draft { to_address: None, ..attempt.request("REGISTER") };
        let line = s.credentials(alice, &challenge, &again.uri, "a guess").ok_or("no credentials")?;
        s.send(alice, again.with(line).with(&contact));
        let refused = s.expect(alice, "401")?;
        is("F4 CSeq", refused.header("CSeq"), "2 REGISTER")?;
        s.compare(
            "
            alice -> siprack: REGISTER
            siprack -> alice: 401 Unauthorized
            alice -> siprack: REGISTER
            siprack -> alice: 401 Unauthorized
            ",
        )
    });
}
