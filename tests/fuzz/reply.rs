//! A response made from whatever request: it parses, says what was asked for, and carries nothing that nobody gave it.

use super::choices::Choices;
use super::scan::WIDE;
use super::{fuzz, mangle, seeds};
use common::sip::{HeaderId, Reply, SipMessage};

const COPIED: [HeaderId; 5] = [HeaderId::Via, HeaderId::From, HeaderId::To, HeaderId::CallId, HeaderId::CSeq];
const GIVEN: [(&str, &str); 5] = [
    ("Retry-After", "5"),
    ("Warning", "399 siprack \"x\""),
    ("Unsupported", "a\r\nInjected: yes"),
    ("X-Odd", "\0\n\n"),
    ("Contact", "<sip:a@b>;expires=60"),
];

fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let status = 100 + choices.below(600) as u16;
    let source = choices.pick(&["10.0.0.1:5060", "[2001:db8::7]:9"]).parse().unwrap();
    let given = &GIVEN[..choices.below(GIVEN.len() + 1)];
    let (tagged, placed, bodied) = (choices.one_of_256(128), choices.one_of_256(128), choices.one_of_256(64));
    let reason = choices.one_of_256(64).then_some("No\r\nInjected: yes");
    let text = mangle::text(choices.rest(), &seeds::messages()).into_owned();
    let Ok(request) = SipMessage::parse(text.into(), &WIDE) else { return };
    let mut reply = Reply::to(&request, status, tagged.then_some("mine"));
    reply = given.iter().fold(reply, |reply, (name, value)| reply.header(*name, *value));
    reply = reason.into_iter().fold(reply, |reply, reason| reply.reason(reason));
    if placed {
        reply = reply.source(source);
    }
    if bodied {
        reply = reply.body("text/plain", *b"body\r\n\r\n");
    }
    let out = reply.finish();
    let shown = || format!("{}\n→\n{}", String::from_utf8_lossy(request.bytes()), String::from_utf8_lossy(&out));
    let answer = SipMessage::parse(out.clone(), &WIDE).unwrap_or_else(|e| panic!("{e} in\n{}", shown()));
    assert_eq!((answer.is_request(), answer.status()), (false, status), "{}", shown());
    assert_eq!(answer.body(), if bodied { &b"body\r\n\r\n"[..] } else { b"" });
    for id in COPIED {
        assert_eq!(answer.all(id).count(), request.all(id).count(), "{}", shown());
    }
    assert_eq!((answer.call_id(), answer.cseq()), (request.call_id(), request.cseq()));
    assert_eq!(answer.from().is_ok(), request.from().is_ok(), "{}", shown());
    let recorded = [HeaderId::RecordRoute, HeaderId::Timestamp].map(|id| request.all(id).count()).iter().sum::<usize>();
    let copied: usize = COPIED.map(|id| request.all(id).count()).iter().sum();
    let most = copied + recorded + given.len() + 1 + usize::from(bodied);
    assert!(answer.headers().count() <= most, "{}", shown());
    if let (Ok(asked), Ok(said)) = (request.to(), answer.to()) {
        let ours = tagged && status > 100 && asked.param("tag").is_none();
        assert_eq!(said.tag(), if ours { Some("mine") } else { asked.tag() }, "{}", shown());
    }
    if placed && let (Ok(_), Ok(via)) = (request.top_via(), answer.top_via()) {
        assert_eq!(via.response_address().map(|a| a.ip()), Some(source.ip()), "{}", shown());
    }
    if request.is_request() && request.validate().is_ok() {
        assert_eq!(answer.validate(), Ok(()), "{}", shown());
    }
}

#[test]
fn fuzz() {
    for seed in seeds::messages() {
        let placed = [&[0, 100, 0, 5, 1, 1, 1, 1][..], seed].concat();
        check(&placed);
    }
    fuzz!("reply", 5000, check);
}
