//! Who may say who they are, and to whom: callers with digest, trusted and other trunks, and what Privacy withholds.

use super::*;
use crate::auth::digest::{self, Algorithm, Qop};
use common::sip::{Algorithm as Hash, Challenge, HeaderId};

const STRANGER: &str = "10.8.0.1:5060";
const PHONE: &str = "10.0.0.2:5060";

const RACK: &str = "name: test
listeners: [ { address: 192.0.2.1, port: 5060, transport: udp } ]
domains:
  - { name: safe.test, auth: digest, digest: [md5, sha-256, sha-512-256] }
trunks:
  - { id: 7, name: carrier, addresses: [\"10.9.0.1\"] }
  - { id: 8, name: stranger, addresses: [\"10.8.0.1\"], trusted: false }
routes:
  - { domain: safe.test, prefix: \"00\", trunk: carrier, strip: 2, add: \"+\" }
  - { domain: safe.test, prefix: \"99\", trunk: stranger }
private_headers: [X-Account]
one_machine: { nodes: 1 }
";

/// 1001 and +4930123 have HA1s of ones; 1002 is registered at PHONE.
fn safe_bench() -> Bench {
    let mut bench = bench_of(RACK);
    bench.subscriber("1001", "safe.test");
    bench.subscriber("+4930123", "safe.test");
    bench.register("1002@safe.test", &[("sip:1002@10.0.0.2:5060", PHONE, 1000)]);
    bench
}

/// An INVITE of `from` (a From value without tag) with further header lines, `\n` behind each.
fn invite_of(from: &str, uri: &str, call: &str, cseq: u32, more: &str) -> String {
    request("INVITE", uri, call, cseq, more).replace("<sip:alice@rack.test>", from)
}

/// Challenged, then answered with the right password; what came of the second INVITE.
fn authenticated(b: &mut Bench, user: &str, from: &str, uri: &str, call: &str, more: &str) -> Vec<Said> {
    let challenged = b.hear(ALICE, &invite_of(from, uri, call, 1, more));
    assert_eq!(challenged[0].what(), "407", "{}", challenged[0].text);
    let value = challenged[0].all("Proxy-Authenticate").last().unwrap();
    let challenge = Challenge::parse(HeaderId::ProxyAuthenticate, value).unwrap();
    let algorithm = Algorithm { hash: Hash::Md5, sess: false };
    let qop = Qop::Auth { nc: "00000001", cnonce: "c" };
    let response = digest::response(algorithm, &[1; 16], &challenge.nonce, "c", qop, "INVITE", uri);
    let ours = format!(
        "Proxy-Authorization: Digest username=\"{user}\", realm=\"safe.test\", nonce=\"{}\", uri=\"{uri}\", \
         response=\"{response}\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"c\"\n",
        challenge.nonce
    );
    b.hear(ALICE, &invite_of(from, uri, call, 2, &format!("{more}{ours}")))
}

fn forwarded(said: &[Said], to: &str) -> Said {
    let found = said.iter().find(|s| s.what() == "INVITE" && s.to == to);
    found.unwrap_or_else(|| panic!("nothing went to {to}: {:?}", ladder(said))).clone()
}

/// Header lines whose names begin so, in any case.
fn lines<'s>(said: &'s Said, names: &[&str]) -> Vec<&'s str> {
    let begins = |line: &str| names.iter().any(|n| line.to_ascii_lowercase().starts_with(&n.to_ascii_lowercase()));
    said.text.split("\r\n").filter(|line| begins(line)).collect()
}

const IDENTITY: [&str; 4] = ["P-Asserted", "P-Preferred", "Remote-Party", "Privacy"];

#[test]
fn an_authenticated_user_is_asserted_to_a_trusted_trunk() {
    let mut b = safe_bench();
    let more = "P-Preferred-Identity: \"Al\" <sip:+4930123@safe.test>\n";
    let said = authenticated(&mut b, "+4930123", "\"Alice\" <sip:+4930123@safe.test>", "sip:0044@safe.test", "a", more);
    assert_eq!(
        lines(&forwarded(&said, CARRIER), &IDENTITY),
        ["P-Asserted-Identity: \"Al\" <sip:+4930123@safe.test>", "P-Asserted-Identity: \"Al\" <tel:+4930123>"]
    );
    let more = "P-Preferred-Identity: \"Boss\" <sip:1@safe.test>, <tel:+4930123>\n";
    let said = authenticated(&mut b, "1001", "Alice <sip:1001@192.0.2.1>", "sip:0044@safe.test", "b", more);
    assert_eq!(
        lines(&forwarded(&said, CARRIER), &IDENTITY),
        [
            "P-Asserted-Identity: \"Alice\" <sip:1001@safe.test>",
            "P-Asserted-Identity: \"Alice\" <tel:1001;phone-context=safe.test>"
        ],
        "a preference for somebody else is not heeded"
    );
}

#[test]
fn neither_a_stranger_nor_a_phone_is_told_more_than_from() {
    let mut b = safe_bench();
    for (uri, to) in [("sip:9944@safe.test", STRANGER), ("sip:1002@safe.test", PHONE)] {
        let said = authenticated(&mut b, "1001", "<sip:1001@safe.test>", uri, to, "");
        assert_eq!(lines(&forwarded(&said, to), &IDENTITY), [""; 0], "{to}");
    }
}

/// Every way to write a header that only the inside may send; the last pair hides it behind a name that may pass.
#[test]
fn what_a_phone_asserts_about_itself_goes_nowhere_however_it_is_written() {
    let mut b = safe_bench();
    for (n, line) in [
        "P-Asserted-Identity: <sip:+49110@safe.test>",
        "P-Asserted-Identity : <sip:+49110@safe.test>",
        "P-Asserted-Identity \t : <sip:+49110@safe.test>",
        "p-ASSERTED-identity:<tel:+49110>, <sip:+49110@safe.test>",
        "P-Asserted-Identity:\n <sip:+49110@safe.test>",
        "Remote-Party-ID: <sip:+49110@safe.test>;party=calling;screen=yes",
        "REMOTE-party-id \t:<sip:+49110@safe.test>",
        "P-Preferred-Identity : \"X\" <sip:+49110@safe.test>",
        "P-Charging-Vector: icid-value=49110",
        "p-charging-function-addresses  : ccf=49110",
        "P-Access-Network-Info: 3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=49110; network-provided",
        "P-Served-User: <sip:+49110@safe.test>",
        "x-ACCOUNT\t: 49110",
    ]
    .into_iter()
    .enumerate()
    {
        for (uri, to) in
            [("sip:0044@safe.test", CARRIER), ("sip:9944@safe.test", STRANGER), ("sip:1002@safe.test", PHONE)]
        {
            let call = format!("w{n}{}", &to[3..5]);
            let said = authenticated(&mut b, "1001", "<sip:1001@safe.test>", uri, &call, &format!("{line}\n"));
            let invite = forwarded(&said, to);
            assert!(!invite.text.contains("49110"), "{line} → {to}\n{}", invite.text);
        }
    }
    // A name that a parser could take for another one is no name at all.
    for line in ["P-Asserted-Identity\n : <sip:+49110@safe.test>", "P-Asserted-Identity\u{b}: <sip:+49110@safe.test>"] {
        let said =
            b.hear(ALICE, &invite_of("<sip:1001@safe.test>", "sip:0044@safe.test", "x", 1, &format!("{line}\n")));
        assert!(said.iter().all(|s| s.what() != "INVITE" && !s.text.contains("49110")), "{line}");
    }
}

#[test]
fn a_withheld_name_reaches_a_trusted_trunk_only() {
    let mut b = safe_bench();
    let from = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";
    let more = "Privacy: id\nP-Preferred-Identity: <sip:+4930123@safe.test>\n";
    let said = authenticated(&mut b, "+4930123", from, "sip:0044@safe.test", "a", more);
    let told = forwarded(&said, CARRIER);
    assert_eq!(
        lines(&told, &IDENTITY),
        ["Privacy: id", "P-Asserted-Identity: <sip:+4930123@safe.test>", "P-Asserted-Identity: <tel:+4930123>"]
    );
    for (uri, to) in [("sip:9944@safe.test", STRANGER), ("sip:1002@safe.test", PHONE)] {
        let said = authenticated(&mut b, "+4930123", from, uri, to, more);
        let told = forwarded(&said, to);
        assert_eq!(lines(&told, &IDENTITY), ["Privacy: id"], "{to}");
        assert!(!told.text.contains("4930123"), "{}", told.text);
    }
}

#[test]
fn a_trunks_assertion_stands_if_it_is_trusted_and_privacy_allows() {
    let mut b = safe_bench();
    let pai = "P-Asserted-Identity: <sip:+4989@x.test>, <tel:+4989>\nRemote-Party-ID: <sip:+4989@x.test>\n";
    let private = "P-Charging-Vector: icid-value=1\nX-Account: 1\nHistory-Info: <sip:h@x.test>;index=1\n";
    let (all, none) = (3, 0);
    for (n, (source, privacy, identities, history)) in [
        (CARRIER, "", all, 1),
        (CARRIER, "Privacy: none\n", all, 1),
        (CARRIER, "Privacy: critical\n", all, 1),
        (CARRIER, "Privacy: session\n", all, 0),
        (CARRIER, "Privacy: history\n", all, 0),
        (CARRIER, "Privacy: id\n", none, 1),
        (CARRIER, "privacy\t: ID ;critical\n", none, 1),
        (CARRIER, "Privacy: history\nPrivacy: user, id\n", none, 0),
        (CARRIER, "Privacy: header\n", none, 0),
        (CARRIER, "Privacy: user\n", none, 1),
        (STRANGER, "", none, 1),
        (STRANGER, "Privacy: none\n", none, 1),
    ]
    .into_iter()
    .enumerate()
    {
        let text =
            invite_of("<sip:x@x.test>", "sip:1002@safe.test", &format!("t{n}"), 1, &format!("{pai}{private}{privacy}"));
        let said = b.hear(source, &text);
        let told = forwarded(&said, PHONE);
        // The comma list is one line with two values.
        let shown =
            lines(&told, &["P-Asserted", "Remote-Party"]).len() + usize::from(told.text.contains("<tel:+4989>"));
        assert_eq!(shown, identities, "{source} {privacy}\n{}", told.text);
        assert_eq!(lines(&told, &["History"]).len(), history, "{privacy}");
        assert_eq!(lines(&told, &["P-Charging", "X-Account"]), [""; 0]);
        assert_eq!(lines(&told, &["Privacy"]).len(), privacy.lines().count(), "goes on as it came");
    }
    let text = invite_of("<sip:x@x.test>", "sip:0044@safe.test", "through", 1, &format!("{pai}{private}Privacy: id\n"));
    let through = forwarded(&b.hear(CARRIER, &text), CARRIER);
    assert_eq!(
        lines(&through, &["P-", "Remote-", "X-", "History", "Privacy"]).len(),
        6,
        "all of it within the trust domain"
    );
}

#[test]
fn a_callees_assertion_goes_back_by_the_same_rules() {
    let pai = "P-Asserted-Identity : <tel:+4989>\nP-Charging-Vector: icid-value=1\nP-Preferred-Identity: <tel:+4989>\n";
    for (n, (uri, callee, status, privacy, kept)) in [
        ("sip:0044@safe.test", CARRIER, "180 Ringing", "", 1),
        ("sip:0044@safe.test", CARRIER, "200 OK", "", 1),
        ("sip:0044@safe.test", CARRIER, "200 OK", "Privacy: id\n", 0),
        ("sip:0044@safe.test", CARRIER, "486 Busy Here", "", 1),
        ("sip:0044@safe.test", CARRIER, "486 Busy Here", "Privacy: id\n", 0),
        ("sip:9944@safe.test", STRANGER, "180 Ringing", "", 0),
        ("sip:9944@safe.test", STRANGER, "200 OK", "", 0),
        ("sip:9944@safe.test", STRANGER, "603 Decline", "", 0),
        ("sip:1002@safe.test", PHONE, "200 OK", "", 0),
    ]
    .into_iter()
    .enumerate()
    {
        let mut b = safe_bench();
        let said = authenticated(&mut b, "1001", "<sip:1001@safe.test>", uri, &format!("c{n}"), "");
        let invite = forwarded(&said, callee);
        let said =
            b.hear(callee, &response(&invite, status, "b", &format!("{pai}{privacy}Contact: <sip:x@{callee}>\n")));
        let back = said.iter().find(|s| s.to == ALICE).unwrap();
        assert_eq!(back.what(), &status[..3]);
        assert_eq!(lines(back, &["P-Asserted"]).len(), kept, "{callee} {status} {privacy}\n{}", back.text);
        assert_eq!(lines(back, &["P-Charging", "P-Preferred"]), [""; 0]);
        if status.starts_with('2') {
            // A repeat, for which there is no context any more.
            let again = b.hear(callee, &response(&invite, status, "b", &format!("{pai}{privacy}")));
            assert_eq!(lines(&again[0], &["P-Asserted"]).len(), kept, "{callee} repeats");
            assert_eq!(lines(&again[0], &["P-Charging", "P-Preferred"]), [""; 0]);
        }
    }
}

#[test]
fn within_a_dialog_a_phone_asserts_nothing_either() {
    let mut b = safe_bench();
    let said = authenticated(&mut b, "1001", "<sip:1001@safe.test>", "sip:0044@safe.test", "d", "");
    let invite = forwarded(&said, CARRIER);
    let contact = "Contact: <sip:c@10.9.0.1>\n";
    let ok = b.hear(CARRIER, &response(&invite, "200 OK", "b", contact)).pop().unwrap();
    let credentials =
        "Proxy-Authorization: Digest username=\"1001\", realm=\"safe.test\", nonce=\"n\", uri=\"u\", response=\"r\"\n";
    for method in ["ACK", "INFO", "BYE"] {
        let text = in_dialog(method, "d", 3, ok.route(), "sip:c@10.9.0.1")
            .replace("<sip:alice@rack.test>", "<sip:1001@safe.test>")
            .replace("Contact:", &format!("P-Asserted-Identity: <tel:+49110>\n{credentials}Contact:"));
        let said = b.hear(ALICE, &text);
        let sent = said.iter().find(|s| s.to == CARRIER).unwrap_or_else(|| panic!("{method}: {:?}", ladder(&said)));
        assert_eq!(lines(sent, &["P-", "Proxy-Auth"]), [""; 0], "{method}");
    }
}

#[test]
fn privacy_that_is_critical_is_given_or_refused_with_words() {
    let name = "<sip:1001@safe.test>";
    let anonymous = "<sip:anonymous@anonymous.invalid>";
    let (phone, carrier) = ("sip:1002@safe.test", "sip:0044@safe.test");
    for (n, (from, uri, privacy, answer)) in [
        (name, phone, "header;critical", "500 Privacy Not Given: header"),
        (name, phone, "session;user;critical", "500 Privacy Not Given: session, user"),
        (name, phone, "critical; Tracking;id", "500 Privacy Not Given: an unknown value"),
        (name, phone, "id;critical", "INVITE"),
        (name, phone, "none", "INVITE"),
        (name, phone, "header;session;user", "INVITE"),
        (name, carrier, "header;session;user;critical", "INVITE"),
        (anonymous, phone, "user;id;critical", "INVITE"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut b = safe_bench();
        let more = format!("Privacy: {privacy}\nProxy-Require: privacy\n");
        let said = authenticated(&mut b, "1001", from, uri, &format!("p{n}"), &more);
        let first = said.iter().find(|s| s.what() != "100").unwrap();
        let line = first.text.lines().next().unwrap();
        assert!(line.starts_with(answer) || line == format!("SIP/2.0 {answer}"), "{privacy}: {line}");
    }
    let mut b = safe_bench();
    let refused = b.hear(ALICE, &invite_of(name, phone, "q", 1, "Proxy-Require: privacy, magic\n"));
    assert_eq!((refused[0].what(), refused[0].header("Unsupported")), ("420", "magic"));
}

#[test]
fn user_level_privacy_is_completed_for_who_is_anonymous_already() {
    let mut b = safe_bench();
    let from = "<sip:anonymous@anonymous.invalid>";
    let telling =
        "Subject: s\nCall-Info: <http://x>\nOrganization: o\nUser-Agent: u\nReply-To: <sip:r@x>\nIn-Reply-To: i\n";
    let names = ["Subject", "Call-Info", "Organization", "User-Agent", "Reply-To", "In-Reply-To"];
    let privacy = |words: &str| format!("{telling}Privacy: {words}\nProxy-Require: privacy\n");
    let said = authenticated(&mut b, "1001", from, "sip:1002@safe.test", "u", &privacy("user;critical"));
    let told = forwarded(&said, PHONE);
    assert_eq!(lines(&told, &names), [""; 0]);
    assert_eq!(lines(&told, &["Privacy", "Proxy-Require"]), [""; 0], "done, so it is taken off");
    let said = authenticated(&mut b, "1001", from, "sip:1002@safe.test", "v", &privacy("id;user"));
    let told = forwarded(&said, PHONE);
    assert_eq!(lines(&told, &["Privacy", "Proxy-Require"]), ["Privacy: id", "Proxy-Require: privacy"]);
    let said = authenticated(&mut b, "1001", from, "sip:0044@safe.test", "w", &privacy("user;id"));
    let told = forwarded(&said, CARRIER);
    assert_eq!(
        (lines(&told, &names).len(), lines(&told, &["Privacy"])),
        (6, vec!["Privacy: user;id"]),
        "not yet outside"
    );
}

#[test]
fn credentials_of_our_realm_stay_here_and_others_go_on() {
    let mut b = safe_bench();
    let foreign = "Proxy-Authorization: Digest username=\"1001\", realm=\"elsewhere.test\", nonce=\"n\", uri=\"u\", response=\"r\"";
    let second = "proxy-authorization : Digest realm=\"Safe.Test\", username=\"x\", nonce=\"n\", uri=\"u\", response=\"guess me\"";
    let basic = "Proxy-Authorization: Basic eA==";
    let said = authenticated(
        &mut b,
        "1001",
        "<sip:1001@safe.test>",
        "sip:0044@safe.test",
        "k",
        &format!("{foreign}\n{basic}\n"),
    );
    assert_eq!(lines(&forwarded(&said, CARRIER), &["Proxy-Auth"]), [foreign, basic]);
    let text = invite_of("<sip:x@x.test>", "sip:1002@safe.test", "l", 1, &format!("{second}\n{foreign}\n"));
    assert_eq!(lines(&forwarded(&b.hear(CARRIER, &text), PHONE), &["Proxy-Auth"]), [foreign], "a trunk's too");
}

/// Who may call as whom. The user is 1001; a name of this rack that is not its own is refused, with words.
#[test]
fn from_names_the_user_or_nobody_of_this_rack() {
    const NOT: &str = "SIP/2.0 403 From Is Not The Authenticated User";
    for (n, (from, answer)) in [
        ("<sip:1001@safe.test>", "INVITE"),
        ("\"1002\" <sip:1001@SAFE.test:5060;user=phone>", "INVITE"),
        ("<sips:%31001@192.0.2.1>", "INVITE"),
        ("<sip:anonymous@anonymous.invalid>", "INVITE"),
        ("<sip:Anonymous@Anonymous.Invalid>", "INVITE"),
        ("<sip:anonymous.invalid>", "INVITE"),
        ("<sip:1001@elsewhere.test>", "INVITE"),
        ("<sip:1002@elsewhere.test>", "INVITE"),
        ("<sip:1002@192.0.2.1:5099>", NOT),
        ("<sip:anonymous@safe.test>", NOT),
        ("<sip:1002@safe.test>", NOT),
        ("<sip:1001%40x@safe.test>", NOT),
        ("<sip:safe.test>", NOT),
        ("<tel:1001>", NOT),
    ]
    .into_iter()
    .enumerate()
    {
        let mut b = safe_bench();
        let said = authenticated(&mut b, "1001", from, "sip:1002@safe.test", &format!("f{n}"), "");
        let line = said.iter().find(|s| s.what() != "100").unwrap().text.lines().next().unwrap().to_owned();
        assert!(line.starts_with(answer), "{from}: {line}");
    }
}

/// Behind a trunk nobody knows whose word From is: a user calls there as itself or as nobody, trusted or not.
#[test]
fn by_a_trunk_a_user_calls_under_its_own_name_or_none() {
    for (n, (from, answer)) in [
        ("<sip:1001@safe.test>", "INVITE"),
        ("<sip:anonymous@anonymous.invalid>", "INVITE"),
        ("<sip:112@police.test>", "SIP/2.0 403 From Is Not The Authenticated User"),
        ("<sip:1001@elsewhere.test>", "SIP/2.0 403 From Is Not The Authenticated User"),
    ]
    .into_iter()
    .enumerate()
    {
        for to in ["sip:0044@safe.test", "sip:9944@safe.test"] {
            let mut b = safe_bench();
            let said = authenticated(&mut b, "1001", from, to, &format!("f{n}"), "");
            let line = said.iter().find(|s| s.what() != "100").unwrap().text.lines().next().unwrap().to_owned();
            assert!(line.starts_with(answer), "{from} to {to}: {line}");
        }
    }
}

/// Never more than twice what was asked, for every length of a request from one that no phone would send.
#[test]
fn a_challenge_is_never_more_than_twice_its_request() {
    let mut b = safe_bench();
    let mut seen = [0; 4];
    let shortest = "INVITE sip:1@safe.test SIP/2.0\nv:SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bKBRANCH\nf:<sip:1@safe.test>;tag=1\n\
                    t:<sip:1@safe.test>\ni:CALL\nCSeq:1 INVITE\nMax-Forwards:9\nPADl:0\n\n";
    for padding in 0..400 {
        for short_call in [true, false] {
            let pad = if padding > 3 { format!("s:{}\n", "x".repeat(padding - 3)) } else { String::new() };
            let call = if short_call { format!("{padding}") } else { format!("{padding}-{}", "c".repeat(padding)) };
            let text = shortest.replace("PAD", &pad).replace("CALL", &call).replace("BRANCH", &call);
            let said = b.hear(ALICE, &text);
            assert_eq!(said.len(), 1);
            let octets = text.replace('\n', "\r\n").len();
            assert!(said[0].text.len() <= 2 * octets, "{} octets for {octets}\n{}", said[0].text.len(), said[0].text);
            let offered: Vec<_> = said[0].all("Proxy-Authenticate").collect();
            let strengths = ["=SHA-512-256,", "=SHA-256,", "=MD5,"];
            let expected = &strengths[3 - offered.len()..];
            assert!(offered.iter().zip(expected).all(|(value, name)| value.contains(name)), "{offered:?}");
            assert_eq!(said[0].what(), if offered.is_empty() { "400" } else { "407" });
            seen[offered.len()] += 1;
        }
    }
    assert!(seen[1..].iter().all(|n| *n > 0), "one, two and three challenges were seen: {seen:?}");
}

/// Known user, unknown user, wrong password: one answer, octet for octet.
#[test]
fn the_answer_does_not_say_who_exists() {
    let answer = |user: &str| {
        let mut b = safe_bench();
        let wrong = format!(
            "Proxy-Authorization: Digest username=\"{user}\", realm=\"safe.test\", nonce=\"n\", uri=\"sip:1002@safe.test\", \
             response=\"0\", algorithm=SHA-512-256\n"
        );
        b.hear(ALICE, &invite_of("<sip:1001@safe.test>", "sip:1002@safe.test", "s", 1, &wrong)).remove(0).text
    };
    assert!(answer("1001").starts_with("SIP/2.0 407"));
    assert_eq!(answer("1001"), answer("4711"));
}
