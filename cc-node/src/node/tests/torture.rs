//! Every message of RFC 4475 §3 and RFC 5118 §4, octet by octet, at a proxy that has the domain behind a route, and at the server of the
//! domain itself (its registrar, where the request is a REGISTER). The words are the RFC's.

use super::*;

macro_rules! messages {
    ($list:ident, $folder:literal, $($name:literal),+ $(,)?) => {
        /// Name and octets of each.
        const $list: &[(&str, &[u8])] =
            &[$(($name, include_bytes!(concat!("../../../../common/tests/torture/", $folder, "/", $name, ".dat")))),+];
    };
}

messages!(
    RFC_4475,
    "rfc4475",
    "wsinv",
    "intmeth",
    "esc01",
    "escnull",
    "esc02",
    "lwsdisp",
    "longreq",
    "dblreq",
    "semiuri",
    "transports",
    "mpart01",
    "unreason",
    "noreason",
    "badinv01",
    "clerr",
    "ncl",
    "scalar02",
    "scalarlg",
    "quotbal",
    "ltgtruri",
    "lwsruri",
    "lwsstart",
    "trws",
    "escruri",
    "baddate",
    "regbadct",
    "badaspec",
    "baddn",
    "badvers",
    "mismatch01",
    "mismatch02",
    "bigcode",
    "badbranch",
    "insuf",
    "unkscm",
    "novelsc",
    "unksm2",
    "bext01",
    "invut",
    "regaut01",
    "multi01",
    "mcl01",
    "bcast",
    "zeromf",
    "cparam01",
    "cparam02",
    "regescrt",
    "sdp01",
    "inv2543",
);

// The RFC prints the lengths of three bodies wrong (268, 181, 236); here they are those of the bodies.
messages!(
    RFC_5118,
    "rfc5118",
    "ipv6-good",
    "ipv6-bad",
    "port-ambiguous",
    "port-unambiguous",
    "via-received-param-with-delim",
    "via-received-param-no-delim",
    "ipv6-in-sdp",
    "mult-ip-in-header",
    "mult-ip-in-sdp",
    "ipv4-mapped-ipv6",
    "ipv6-bug-abnf-3-colons",
    "ipv6-correct-abnf-2-colons",
);

/// Behind a route: forwarded (`→`), answered (the status), or dropped (`-`). At the domain itself: the same, or asked of
/// the location server (`asked`: a registration).
type Row = (&'static str, &'static str, &'static str, &'static str);

const IPV6: &[Row] = &[
    ("ipv6-good", "4.1", "→", "asked"),
    ("ipv6-bad", "4.2", "400", "400"),
    ("port-ambiguous", "4.3", "→", "403"), // an address that is not ours
    ("port-unambiguous", "4.4", "→", "asked"),
    ("via-received-param-with-delim", "4.5", "→", "404"),
    ("via-received-param-no-delim", "4.5", "→", "200"),
    ("ipv6-in-sdp", "4.6", "→", "404"),
    ("mult-ip-in-header", "4.7", "→", "404"),
    ("mult-ip-in-sdp", "4.8", "→", "404"),
    ("ipv4-mapped-ipv6", "4.9", "→", "404"),
    ("ipv6-bug-abnf-3-colons", "4.10", "→", "403"), // tolerated
    ("ipv6-correct-abnf-2-colons", "4.10", "→", "403"),
];

const TABLE: &[Row] = &[
    // §3.1.1 Valid messages: a proxy forwards them; nobody is registered at the domain, so there they are understood.
    ("wsinv", "3.1.1.1", "→", "→"), // to its Route
    ("intmeth", "3.1.1.2", "→", "404"),
    ("esc01", "3.1.1.3", "→", "404"),
    ("escnull", "3.1.1.4", "→", "asked"),
    ("esc02", "3.1.1.5", "→", "501"), // no REGISTER: escapes mean nothing in a method
    ("lwsdisp", "3.1.1.6", "→", "404"),
    ("longreq", "3.1.1.7", "→", "404"),
    ("dblreq", "3.1.1.8", "→", "asked"),
    ("semiuri", "3.1.1.9", "→", "404"),
    ("transports", "3.1.1.10", "→", "404"),
    ("mpart01", "3.1.1.11", "→", "→"),  // to its Route, a strict router
    ("unreason", "3.1.1.12", "-", "-"), // a response to nothing that we sent
    ("noreason", "3.1.1.13", "-", "-"),
    // §3.1.2 Invalid messages.
    ("badinv01", "3.1.2.1", "400", "400"),
    ("clerr", "3.1.2.2", "400", "400"),
    ("ncl", "3.1.2.3", "400", "400"),
    ("scalar02", "3.1.2.4", "400", "400"),
    ("scalarlg", "3.1.2.5", "-", "-"),
    ("quotbal", "3.1.2.6", "400", "400"),
    ("ltgtruri", "3.1.2.7", "400", "400"),
    ("lwsruri", "3.1.2.8", "400", "400"),
    ("lwsstart", "3.1.2.9", "400", "400"),
    ("trws", "3.1.2.10", "400", "400"),
    ("escruri", "3.1.2.11", "400", "400"),
    ("baddate", "3.1.2.12", "→", "404"), // a proxy need not care for Date
    ("regbadct", "3.1.2.13", "→", "400"),
    ("badaspec", "3.1.2.14", "400", "400"),
    ("baddn", "3.1.2.15", "400", "400"), // to infer quotation marks would be allowed too
    ("badvers", "3.1.2.16", "505", "505"),
    ("mismatch01", "3.1.2.17", "400", "400"),
    ("mismatch02", "3.1.2.18", "400", "400"),
    ("bigcode", "3.1.2.19", "-", "-"),
    // §3.2 Transaction layer, §3.3 application layer, §3.4 backward compatibility.
    ("badbranch", "3.2.1", "→", "404"),
    ("insuf", "3.3.1", "400", "400"),
    ("unkscm", "3.3.2", "416", "416"),
    ("novelsc", "3.3.3", "416", "416"),
    ("unksm2", "3.3.4", "→", "400"),
    ("bext01", "3.3.5", "420", "420"),
    ("invut", "3.3.6", "→", "404"),
    ("regaut01", "3.3.7", "→", "401"),
    ("multi01", "3.3.8", "400", "400"),
    ("mcl01", "3.3.9", "400", "400"),
    ("bcast", "3.3.10", "-", "-"),
    ("zeromf", "3.3.11", "483", "483"),
    ("cparam01", "3.3.12", "→", "asked"),
    ("cparam02", "3.3.13", "→", "asked"),
    ("regescrt", "3.3.14", "→", "asked"),
    ("sdp01", "3.3.15", "→", "404"),
    ("inv2543", "3.4.1", "→", "404"),
];

const SERVICES: &str = "  - { id: 9, name: services, destination: services.example.com }\n  - { id: 10, name: strict, addresses: [\"127.0.0.1:5080\"] }\n";

fn proxy() -> Bench {
    bench_of(&format!(
        "name: proxy\nlisteners: [ {{ address: 192.0.2.1, port: 5060, transport: udp }} ]\n\
         domains: [ {{ name: proxy.test, auth: none }} ]\n\
         trunks:\n  - {{ id: 7, name: home, addresses: [\"10.9.0.1\"] }}\n{SERVICES}\
         routes: [ {{ domain: foreign, trunk: home }} ]\none_machine: {{ nodes: 1 }}\n"
    ))
}

fn home() -> Bench {
    let names =
        ["example.com", "example.org", "example.net", "registrar.example.com", "company.com", "host.example.net"];
    let domains = names.map(|name| format!("  - {{ name: {name}, auth: none, provisioning: open }}\n")).concat();
    bench_of(&format!(
        "name: home\nlisteners:\n  - {{ address: 192.0.2.1, port: 5060, transport: udp }}\n\
         \x20 - {{ address: \"2001:db8::10\", port: 5060, transport: udp }}\n\
         \x20 - {{ address: \"2001:db8::10\", port: 5070, transport: udp }}\ndomains:\n{domains}\
         trunks:\n{SERVICES}one_machine: {{ nodes: 1 }}\n"
    ))
}

const SENDER: &str = "198.51.100.20:5060";

/// What the node does with it, and what it says.
fn outcome(b: &mut Bench, octets: &[u8]) -> (String, Vec<Said>) {
    let mut said = b.hear_raw(SENDER, octets.to_vec());
    said.extend(b.answer_dns([10, 8, 0, 1].into()));
    let last = said.last().cloned();
    let registers = b.asks.iter().any(|ask| matches!(ask, Effect::Location { .. }));
    b.asks.clear();
    let what = match &last {
        None if registers => "asked".into(),
        None => "-".into(),
        Some(last) if last.text.starts_with("SIP/2.0 ") => last.what().to_owned(),
        Some(_) => "→".into(),
    };
    (what, said)
}

#[test]
fn every_message_of_rfc_4475_gets_what_the_rfc_wants() {
    check(RFC_4475, TABLE);
}

#[test]
fn every_message_of_rfc_5118_gets_what_the_rfc_wants() {
    check(RFC_5118, IPV6);
}

fn check(messages: &[(&str, &[u8])], table: &[Row]) {
    assert_eq!(messages.len(), table.len());
    let mut wrong = Vec::new();
    for ((name, octets), (row, section, as_proxy, at_home)) in messages.iter().zip(table) {
        assert_eq!(name, row);
        let mut secured = home_that_asks();
        for (place, mut b, expected) in [("proxy", proxy(), as_proxy), ("home", home(), at_home)] {
            let (mut got, said) = outcome(&mut b, octets);
            // Whose credentials are of no known scheme is asked for others, where anybody is asked at all.
            if *name == "regaut01" && place == "home" {
                got = outcome(&mut secured, octets).0;
            }
            if got != *expected {
                let text = said.last().map_or(String::new(), |s| s.text.lines().next().unwrap_or_default().to_owned());
                wrong.push(format!("§{section} {name} at {place}: {got} instead of {expected}: {text}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn home_that_asks() -> Bench {
    bench_of(
        "name: home\nlisteners: [ { address: 192.0.2.1, port: 5060, transport: udp } ]\n\
         domains: [ { name: example.com, auth: digest } ]\none_machine: { nodes: 1 }\n",
    )
}

fn raw(name: &str) -> &'static [u8] {
    RFC_4475.iter().chain(RFC_5118).find(|(n, _)| *n == name).unwrap().1
}

/// Every header that is not a proxy's to change, and the body, leave as they came.
#[test]
fn what_is_forwarded_is_what_came_in() {
    for (name, _, as_proxy, _) in TABLE.iter().chain(IPV6).filter(|row| row.2 == "→") {
        let octets = raw(name);
        let mut b = proxy();
        b.hear_raw(SENDER, octets.to_vec());
        b.answer_dns([10, 8, 0, 1].into());
        let sent = b.octets().last().cloned().expect(as_proxy);
        let parse = |octets: &[u8]| SipMessage::parse(octets.to_vec().into(), &Default::default()).unwrap();
        let (before, after) = (parse(octets), parse(&sent));
        assert_eq!(after.validate(), Ok(()), "{name}");
        assert_eq!(before.body(), after.body(), "{name}");
        let changed = ["via", "v", "max-forwards", "max-breadth", "route", "record-route"];
        let kept = |m: &SipMessage| -> Vec<(Vec<u8>, Vec<u8>)> {
            let keep = |n: &[u8]| !changed.iter().any(|c| n.eq_ignore_ascii_case(c.as_bytes()));
            m.headers().filter(|(_, n, _)| keep(n)).map(|(_, n, v)| (n.to_vec(), v.to_vec())).collect()
        };
        assert_eq!(kept(&before), kept(&after), "{name}");
        assert_eq!(before.vias().unwrap().len() + 1, after.vias().unwrap().len(), "{name}");
        let hops = before.max_forwards().unwrap().map_or(70, |n| n - 1);
        assert_eq!(after.max_forwards(), Ok(Some(hops)), "{name}");
        // Behind a strict router the Request-URI stands last among the Routes.
        let uri = if *name == "mpart01" { "sip:127.0.0.1:5080" } else { before.request_uri() };
        assert_eq!(uri, after.request_uri(), "{name}");
    }
}

#[test]
fn the_answers_name_what_was_wrong() {
    let (_, said) = outcome(&mut proxy(), raw("bext01"));
    assert_eq!(said[0].header("Unsupported"), "noProxiesSupportThis, norDoAnyProxiesSupportThis");
    let (_, said) = outcome(&mut proxy(), raw("insuf"));
    assert!(said[0].text.starts_with("SIP/2.0 400 Missing "), "{}", said[0].text);
    assert_eq!(said[0].header("CSeq"), "193942 INVITE");
}
