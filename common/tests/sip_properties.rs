//! What holds of the message layer for all inputs: hostile octets, well-formed messages in every spelling, and rsip as
//! a second opinion.
#![allow(clippy::unwrap_used)]

use common::ids::Transport;
use common::sip::*;
use proptest::collection::vec;
use proptest::prelude::*;
use rsip::prelude::*;

fn vip() -> Listeners {
    let name = |host: &str, port| ListenerName { host: host.into(), port, transport: Transport::Udp };
    Listeners::new(&[name("192.0.2.1", 5060), name("2001:db8::1", 5060), name("sip.rack.test", 5070)])
}

/// Reads and changes everything there is; only panics count.
fn exercise(octets: &[u8]) {
    let vip = vip();
    let _ = scan(octets, &vip);
    let Ok(m) = SipMessage::parse(octets.to_vec().into(), &Limits::default()) else { return };
    let _ = (
        m.validate(),
        m.method(),
        m.uri().map(|u| u.to_string()),
        m.cseq(),
        m.vias(),
        m.contacts(),
        m.routes(),
        m.record_routes(),
    );
    let _ = (m.from(), m.to(), m.from_tag(), m.to_tag(), m.max_forwards(), m.expires(), m.retry_after(), m.token(&vip));
    if let Ok(Uri::Sip(uri)) = m.uri() {
        let _ = (uri.aor(), uri.user_unescaped(), uri.host_ip(), uri.same_as(&uri));
    }
    if let Ok(via) = m.top_via() {
        let _ = (via.response_address(), via.rport(), via.same_sent_by(&via));
        let stored = via.with_source("[2001:db8::7]:9".parse().unwrap());
        assert!(stored.is_none_or(|s| Via::parse(&s).is_ok()));
    }
    for contact in m.contacts().unwrap_or_default().iter().filter_map(|c| c.addr()) {
        let _ = (contact.q_thousandths(), contact.expires_s(), contact.instance(), contact.display_name());
    }
    for value in m.all(HeaderId::Authorization).filter_map(|v| std::str::from_utf8(v).ok()) {
        if let Ok(credentials) = Credentials::parse(HeaderId::Authorization, value) {
            assert_eq!(Credentials::realm(value), Some(credentials.realm.clone()), "both readers see one realm");
            // Control characters are left out in writing: they could end the header.
            if !value.chars().any(char::is_control) {
                assert_eq!(Credentials::parse(HeaderId::Authorization, &credentials.to_string()), Ok(credentials));
            }
        }
        let _ = Challenge::parse(HeaderId::Authorization, value).map(|c| c.to_string());
    }
    // One that came without the empty line leaves with it.
    let unchanged = Edit::new(&m).finish();
    assert!(unchanged == m.trimmed_bytes() || unchanged == [&m.trimmed_bytes()[..], b"\r\n"].concat());
    let mut edit = Edit::new(&m);
    edit.remove_first_values(HeaderId::Route, 3)
        .replace_first_value(HeaderId::Via, "x")
        .remove_first_value(HeaderId::Via);
    edit.push_front(HeaderId::Via, "SIP/2.0/UDP vip")
        .set("Subject", "s")
        .set_request_uri("sip:x@y")
        .set_body(None, b"b");
    let changed = SipMessage::parse(edit.finish(), &Limits { headers: 300, ..Limits::default() }).unwrap();
    assert_eq!(changed.call_id(), m.call_id());
    assert_eq!(changed.top_via().unwrap().host, "vip");
    let reply = Reply::to(&m, 200, Some("t")).source("192.0.2.9:1".parse().unwrap()).finish();
    let reply = SipMessage::parse(reply, &Limits { headers: 300, ..Limits::default() }).unwrap();
    assert_eq!(reply.call_id(), m.call_id());
}

/// Pieces out of which hostile messages are put together.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    const WORDS: &[&str] = &[
        "INVITE sip:a@b SIP/2.0\r\n",
        "SIP/2.0 200 OK\r\n",
        "BYE sip:192.0.2.1;sr=x SIP/2.0\r\n",
        "Via: ",
        "v:",
        "Route:",
        "To: ",
        "f:",
        "Call-ID",
        "i: x\r\n",
        "CSeq: 1 INVITE",
        "Contact: *",
        "m:",
        "Authorization: Digest ",
        "l: 3",
        "Content-Length: 99999999999999999999",
        "SIP/2.0/UDP h",
        "<sip:",
        "sip:a@",
        "192.0.2.1",
        "[2001:db8::1]",
        "[",
        "]",
        ";sr=",
        ";tag=1",
        ";rport",
        ";branch=z9hG4bK",
        ";received=::1",
        ">",
        "\"",
        "\\",
        ",",
        ";",
        "=",
        ":",
        "/",
        "?",
        "@",
        "%",
        "%4",
        "%00",
        "\r\n",
        "\r\n ",
        "\n",
        "\r",
        "\r\n\r\n",
        " ",
        "\t",
        "\0",
        "1",
        "username=\"a\"",
        "é",
        "*",
    ];
    prop_oneof![9 => proptest::sample::select(WORDS).prop_map(|w| w.as_bytes().to_vec()).boxed(), 1 => vec(any::<u8>(), 0..4).boxed()]
}

/// A message whose lines are headers and whose values are rubbish: it passes the index, so the views meet the rubbish.
fn rubbish_in_headers() -> impl Strategy<Value = Vec<u8>> {
    const NAMES: &[&str] = &[
        "Via",
        "v",
        "From",
        "To",
        "t",
        "Call-ID",
        "CSeq",
        "Contact",
        "m",
        "Route",
        "Route",
        "Record-Route",
        "Authorization",
        "Content-Length",
        "l",
        "Expires",
        "Max-Forwards",
        "Retry-After",
        "X-Odd",
        "Subject",
    ];
    let value = vec(piece().prop_map(|p| p.into_iter().filter(|b| !b"\r\n".contains(b)).collect::<Vec<u8>>()), 0..12);
    (piece(), vec((proptest::sample::select(NAMES), value), 0..12), vec(any::<u8>(), 0..8)).prop_map(
        |(uri, headers, body)| {
            let uri: Vec<u8> = uri.into_iter().filter(|b| !b" \r\n".contains(b)).collect();
            let mut out = [b"INVITE sip:", &uri[..], b" SIP/2.0\r\n"].concat();
            for (name, value) in headers {
                out.extend([name.as_bytes(), b": ", &value.concat(), b"\r\n"].concat());
            }
            out.extend(b"\r\n");
            out.extend(body);
            out
        },
    )
}

/// One spelling of a header line: long or compact, any case, white space before the colon, folded or not.
#[derive(Clone, Debug)]
struct Spelling {
    compact: bool,
    upper: bool,
    before: &'static str,
    after: &'static str,
    end: &'static str,
}

fn spelling() -> impl Strategy<Value = Spelling> {
    let before = proptest::sample::select(vec!["", "", " ", "\t", "  "]);
    let after = proptest::sample::select(vec!["", " ", "\r\n ", " \r\n\t ", "  "]);
    let end = proptest::sample::select(vec!["\r\n", " \r\n", "\r\n"]);
    (any::<bool>(), any::<bool>(), before, after, end).prop_map(|(compact, upper, before, after, end)| Spelling {
        compact,
        upper,
        before,
        after,
        end,
    })
}

fn line(s: &Spelling, long: &str, compact: &str, value: &str) -> String {
    let name = if s.compact { compact } else { long };
    let name = if s.upper { name.to_uppercase() } else { name.to_owned() };
    format!("{name}{}:{}{value}{}", s.before, s.after, s.end)
}

#[derive(Clone, Debug)]
struct Made {
    text: String,
    call_id: String,
    tag: String,
    number: u32,
    token: Option<String>,
}

fn made() -> impl Strategy<Value = Made> {
    const HOSTS: &[&str] = &[
        "192.0.2.1",
        "[2001:DB8::1]",
        "sip.rack.test:5070",
        "192.0.2.1:5060",
        "198.51.100.7",
        "[2001:db8::2]",
        "sip.rack.test",
    ];
    let route = (proptest::sample::select(HOSTS), proptest::option::of("[A-Za-z0-9_-]{8,20}"), "[a-z ,;\"]{0,3}");
    (
        "[a-zA-Z0-9.!%*_+'-]{1,20}(@[a-z0-9.]{1,12})?",
        "[a-z0-9]{1,10}",
        0u32..1 << 31,
        vec(route, 0..4),
        vec(spelling(), 8),
        any::<bool>(),
        any::<u64>(),
    )
        .prop_map(|(call_id, tag, number, routes, s, joined, order)| {
            let mut leading = true;
            let mut token = None;
            let mut values = Vec::new();
            for (host, sr, name) in &routes {
                let ours = ["192.0.2.1", "[2001:DB8::1]", "sip.rack.test:5070", "192.0.2.1:5060"].contains(host);
                leading &= ours;
                if leading && token.is_none() {
                    token = sr.clone();
                }
                let name = name.replace('"', "\\\"");
                let sr = sr.as_ref().map(|sr| format!(";sr={sr}")).unwrap_or_default();
                values.push(format!("\"{name}\" <sip:{host};lr{sr}>"));
            }
            let routes: Vec<String> = match joined && !values.is_empty() {
                true => vec![line(&s[0], "Route", "Route", &values.join(" ,\r\n "))],
                false => values.iter().map(|v| line(&s[0], "Route", "Route", v)).collect(),
            };
            let mut lines = vec![
                line(&s[1], "Call-ID", "i", &call_id),
                line(&s[2], "From", "f", &format!("\"a, <b>\" <sip:a@b>;tag={tag}")),
                line(&s[3], "To", "t", &format!("<sip:c@d>;tag={tag}x")),
                line(&s[4], "CSeq", "CSeq", &format!("{number} BYE")),
                line(&s[5], "Via", "v", "SIP/2.0/UDP [2001:db8::5];branch=z9hG4bK1;rport"),
                line(&s[6], "Subject", "s", "Call-ID: no\r\n Route: <sip:192.0.2.1;sr=no>"),
            ];
            let at = (order % (lines.len() as u64 + 1)) as usize;
            lines.splice(at..at, routes);
            let rotate = (order >> 32) as usize % lines.len();
            if !joined && values.len() < 2 {
                lines.rotate_left(rotate);
            }
            let text = format!("BYE sip:c@d SIP/2.0\r\n{}\r\n", lines.concat());
            Made { text, call_id, tag, number, token }
        })
}

/// A message as plain as rsip wants it.
fn plain() -> impl Strategy<Value = (String, String, String, u32, &'static str)> {
    let method = proptest::sample::select(vec!["INVITE", "BYE", "REGISTER", "OPTIONS", "SUBSCRIBE"]);
    ("[a-zA-Z0-9.-]{1,20}", "[a-z0-9]{1,10}", 0u32..1 << 31, method, "[ a-z]{0,6}").prop_map(|(call_id, tag, number, method, name)| {
        let text = format!(
            "{method} sip:c@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h.example.com;branch=z9hG4bK1\r\nFrom: \"{name}\" <sip:a@b.example>;tag={tag}\r\n\
             To: <sip:c@d.example>;tag=x{tag}\r\nCall-ID: {call_id}\r\nCSeq: {number} {method}\r\nContent-Length: 0\r\n\r\n"
        );
        (text, call_id, tag, number, method)
    })
}

/// Where rsip accepts a message, both must mean the same by it.
fn same_meaning_as_rsip(octets: &[u8]) -> Result<bool, TestCaseError> {
    let Ok(theirs) = rsip::SipMessage::try_from(octets) else { return Ok(false) };
    let Ok(ours) = SipMessage::parse(octets.to_vec().into(), &Limits::default()) else { return Ok(false) };
    if ours.validate().is_err() {
        return Ok(false);
    }
    let Ok(call_id) = theirs.call_id_header() else { return Ok(false) };
    prop_assert_eq!(call_id.value().trim_matches([' ', '\t', '\r', '\n']).as_bytes(), ours.call_id());
    if let Some(cseq) = theirs.cseq_header().ok().and_then(|c| c.typed().ok()) {
        prop_assert_eq!(cseq.seq, ours.cseq().unwrap().number);
        prop_assert_eq!(cseq.method.to_string(), ours.cseq().unwrap().method.to_string());
    }
    if let Some(from) = theirs.from_header().ok().and_then(|f| f.typed().ok()) {
        prop_assert_eq!(
            from.tag().map(|t| t.value().to_string()).filter(|t| !t.is_empty()),
            ours.from_tag().map(str::to_owned)
        );
    }
    if let Some(to) = theirs.to_header().ok().and_then(|t| t.typed().ok()) {
        prop_assert_eq!(
            to.tag().map(|t| t.value().to_string()).filter(|t| !t.is_empty()),
            ours.to_tag().map(str::to_owned)
        );
    }
    if let rsip::SipMessage::Request(request) = &theirs {
        prop_assert_eq!(request.method.to_string(), ours.method().to_string());
    }
    Ok(true)
}

fn uri_text() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        Just("example.com".to_owned()),
        Just("[2001:db8::1]".to_owned()),
        "[a-z0-9]{1,8}(\\.[a-z0-9]{1,5})?"
    ];
    (
        proptest::sample::select(vec!["sip", "sips"]),
        proptest::option::of("[a-zA-Z0-9;?/=&+$,.!~*'()_%-]{1,12}(:[a-z0-9=+$,&]{0,6})?"),
        host,
        proptest::option::of(any::<u16>()),
        vec("[a-z]{1,5}(=[a-zA-Z0-9.]{1,5})?", 0..4),
        proptest::option::of("[a-z]{1,4}=[a-z0-9%]{0,4}"),
    )
        .prop_map(|(scheme, user, host, port, params, headers)| {
            let user = user.map(|u| format!("{u}@")).unwrap_or_default();
            let port = port.map(|p| format!(":{p}")).unwrap_or_default();
            let params: String = params.iter().map(|p| format!(";{p}")).collect();
            let headers = headers.map(|h| format!("?{h}")).unwrap_or_default();
            format!("{scheme}:{user}{host}{port}{params}{headers}")
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sip_no_octets_make_it_panic(octets in vec(any::<u8>(), 0..400)) {
        exercise(&octets);
    }

    #[test]
    fn sip_no_pieces_make_it_panic(pieces in vec(piece(), 0..60)) {
        exercise(&pieces.concat());
        let mut headers = b"INVITE sip:192.0.2.1 SIP/2.0\r\ni: x\r\n".to_vec();
        headers.extend(pieces.concat());
        headers.extend(b"\r\n\r\n");
        exercise(&headers);
    }

    #[test]
    fn sip_no_rubbish_in_headers_makes_it_panic(octets in rubbish_in_headers()) {
        prop_assert!(SipMessage::parse(octets.clone().into(), &Limits::default()).is_ok());
        exercise(&octets);
        let (vip, m) = (vip(), SipMessage::parse(octets.clone().into(), &Limits::default()).unwrap());
        if let Scan::Sip(scanned) = scan(&octets, &vip) {
            prop_assert_eq!((scanned.call_id, scanned.token), (m.call_id(), m.token(&vip)));
        }
    }

    #[test]
    fn sip_views_take_any_text(text in "\\PC{0,60}") {
        let _ = (Uri::parse(&text).map(|u| u.to_string()), Via::parse(&text), NameAddr::parse(HeaderId::To, &text), Contact::parse(&text));
        let _ = (CSeq::parse(text.as_bytes()), Credentials::parse(HeaderId::Authorization, &text), Params::of(&text).iter().count());
    }

    #[test]
    fn sip_scan_and_index_agree(made in made()) {
        let m = SipMessage::parse(made.text.clone().into(), &Limits::default()).unwrap();
        let vip = vip();
        let Scan::Sip(scanned) = scan(made.text.as_bytes(), &vip) else { panic!("the scan refuses {:?}", made.text) };
        prop_assert_eq!(m.validate(), Ok(()));
        prop_assert_eq!(m.call_id(), made.call_id.as_bytes());
        prop_assert_eq!(scanned.call_id, m.call_id());
        prop_assert_eq!(scanned.token, made.token.as_ref().map(|t| t.as_bytes()));
        prop_assert_eq!(m.token(&vip), scanned.token);
        prop_assert_eq!((m.from_tag(), m.cseq().unwrap().number), (Some(made.tag.as_str()), made.number));
        prop_assert!(scanned.to_tag && !scanned.creates_dialog);
    }

    #[test]
    fn sip_scan_and_index_agree_on_hostile_input(pieces in vec(piece(), 0..60)) {
        let mut octets = b"INVITE sip:a@b SIP/2.0\r\n".to_vec();
        octets.extend(pieces.concat());
        octets.extend(b"\r\nCall-ID: last\r\n\r\n");
        let (vip, parsed) = (vip(), SipMessage::parse(octets.clone().into(), &Limits::default()));
        if let (Scan::Sip(scanned), Ok(m)) = (scan(&octets, &vip), parsed) {
            prop_assert_eq!(scanned.call_id, m.call_id());
            prop_assert_eq!(scanned.token, m.token(&vip));
        }
    }

    #[test]
    fn sip_means_the_same_as_rsip(message in plain()) {
        let (text, call_id, tag, number, method) = message;
        let ours = SipMessage::parse(text.clone().into(), &Limits::default()).unwrap();
        prop_assert_eq!((ours.call_id(), ours.from_tag()), (call_id.as_bytes(), Some(tag.as_str())));
        prop_assert_eq!((ours.cseq().unwrap().number, ours.method().to_string()), (number, method.to_owned()));
        prop_assert!(same_meaning_as_rsip(text.as_bytes())?, "rsip accepts this kind of message");
    }

    #[test]
    fn sip_means_the_same_as_rsip_after_mutation(message in plain(), at in any::<prop::sample::Index>(), put in piece()) {
        let mut octets = message.0.into_bytes();
        let at = at.index(octets.len());
        octets.splice(at..at, put);
        same_meaning_as_rsip(&octets)?;
    }

    #[test]
    fn sip_uris_print_as_they_were_read(text in uri_text()) {
        let uri = SipUri::parse(&text).unwrap();
        prop_assert_eq!(uri.to_string(), text.clone());
        prop_assert!(uri.same_as(&SipUri::parse(&uri.to_string()).unwrap()));
    }
}
