#![allow(clippy::unwrap_used)]

use super::super::Contact;
use super::*;

fn parse(text: &str) -> Result<SipMessage, ParseError> {
    SipMessage::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::default())
}

const INVITE: &str = "\r\n\r\nINVITE sip:bob@[2001:db8::9] SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=1,SIP/2.0/UDP b\r\nv: SIP/2.0/UDP c\r\n\
    From: \"A, B\" <sip:a@b>;tag=1\r\nt: <sip:bob@b>\r\nm: <sip:a,x@h>, *\r\nSubject: a, b\r\nSupported: 100rel,\r\n path\r\n\
    Call-ID:\r\n\tfolded@x\r\nCSeq: 3 INVITE\r\nX-Odd: 1\r\nl: 2\r\n\r\nhello";

#[test]
fn sip_message_index_and_views() {
    let m = parse(INVITE).unwrap();
    assert!(m.is_request() && m.bytes().starts_with(b"INVITE"));
    assert_eq!((m.method(), m.request_uri(), m.status()), (Method::Invite, "sip:bob@[2001:db8::9]", 0));
    assert_eq!((m.call_id(), m.body()), (&b"folded@x"[..], &b"he"[..]));
    assert!(m.trimmed_bytes().ends_with(b"\r\n\r\nhe"));
    assert_eq!(m.vias().unwrap().iter().map(|v| v.host).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!((m.top_via().unwrap().branch(), m.top_via_octets()), (Some("1"), Some(&b"SIP/2.0/UDP a;branch=1"[..])));
    assert_eq!((m.from_tag(), m.to_tag(), m.cseq().unwrap().number), (Some("1"), None, 3));
    let contacts = m.contacts().unwrap();
    assert_eq!((contacts.len(), contacts[1]), (2, Contact::Star));
    assert_eq!(m.texts(HeaderId::Supported).collect::<Vec<_>>(), ["100rel", "path"]);
    assert_eq!(m.values(HeaderId::Subject).collect::<Vec<_>>(), [b"a, b"]);
    assert_eq!((m.header_named("x-odd"), m.header_named("l")), (Some(&b"1"[..]), Some(&b"2"[..])));
    assert_eq!((m.max_forwards(), m.expires(), m.content_length()), (Ok(None), Ok(None), Ok(Some(2))));
    assert_eq!(m.headers().count(), 11);
}

#[test]
fn sip_message_responses() {
    let m = parse("SIP/2.0 180 In Öl\r\nCSeq: 1 INVITE\r\n\r\n").unwrap();
    assert_eq!((m.is_request(), m.status(), m.reason()), (false, 180, "In Öl".as_bytes()));
    assert_eq!((m.method(), m.request_uri(), m.body()), (Method::Invite, "", &b""[..]));
}

#[test]
fn sip_message_octets_that_are_no_text_pass_and_views_say_so() {
    let m = SipMessage::parse(
        Bytes::from_static(b"MESSAGE sip:a@b SIP/2.0\r\nTo: \"\xff\" <sip:a@b>\r\nX: \xfe\r\n\r\n\x00\xff"),
        &Limits::default(),
    )
    .unwrap();
    assert_eq!(m.to(), Err(ParseError::NotText(HeaderId::To)));
    assert_eq!((m.header_named("X"), m.body()), (Some(&b"\xfe"[..]), &b"\x00\xff"[..]));
}

#[test]
fn sip_message_refused() {
    let limits = Limits { message: 100, headers: 2, ..Limits::default() };
    let error = |text: &str| SipMessage::parse(Bytes::copy_from_slice(text.as_bytes()), &limits).unwrap_err();
    assert_eq!(error(&"x".repeat(101)), ParseError::TooLarge { length: 101, limit: 100 });
    assert_eq!(error("OPTIONS sip:a SIP/2.0\r\nA: 1\r\nA: 1\r\nA: 1\r\n\r\n"), ParseError::TooManyHeaders { limit: 2 });
    assert_eq!(error("hello\r\n\r\n"), ParseError::StartLine);
    assert_eq!(error(""), ParseError::StartLine);
    assert_eq!(error("OPTIONS sip:a SIP/2.0\r\nno colon\r\n\r\n"), ParseError::HeaderLine { at: 23 });
    assert_eq!(error("OPTIONS sip:a SIP/2.0\r\nA B: x\r\n\r\n"), ParseError::HeaderLine { at: 23 });
    assert_eq!(error("OPTIONS sip:a SIP/2.0\r\n folded: x\r\n\r\n"), ParseError::HeaderLine { at: 23 });
    assert_eq!(error("OPTIONS sip:a SIP/2.0\r\nA: 1\r\nB: 2"), ParseError::NoEndOfHeaders);
    assert_eq!(error("OPTIONS sip:a SIP/2.0\r\nA: 1\rRoute: x\r\n\r\n"), ParseError::BareCarriageReturn { at: 27 });
}
