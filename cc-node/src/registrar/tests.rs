//! REGISTERs and what becomes of them.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::location::{LocalView, Writer};
use bytes::Bytes;
use common::ids::{BootId, Epoch, Level, ListenerId};
use common::keys::{Keys, RackKey};
use common::location::{Binding, Bindings, Change, Entry, LogTime, Record, Subscriber};
use common::placement::Placements;
use common::sip::Limits;
use common::wire::proxy::Sent;

fn rack() -> Rack {
    Rack::one_machine_default(3).expand()
}

fn registrar() -> Registrar {
    Registrar::new(Arc::new(rack()))
}

fn aor() -> Aor {
    Aor::new("1001", "rack.test")
}

/// 1001 is provisioned, and bound to one phone for 60 s more.
fn view() -> LocalView {
    let mut writer = Writer::new(&Keys::derive(&RackKey([9; 32])));
    let subscriber = Subscriber { aor: aor(), ha1_md5: [0; 16], ha1_sha256: [0; 32], ha1_sha512_256: None };
    let binding = Binding {
        contact: "sip:1001@192.0.2.1".into(),
        q_thousandths: 1000,
        expires_at: LogTime(61_000),
        received: "192.0.2.1:5060".parse().unwrap(),
        listener: ListenerId(0),
        path: vec![],
        instance: String::new(),
        user_agent: String::new(),
        version: Level(1),
    };
    let bindings = Bindings { aor: aor(), bindings: vec![binding] };
    let changes = vec![Change::Put(Record::Subscriber(subscriber)), Change::Put(Record::Bindings(bindings))];
    writer.apply(Time(0), &Entry { level: Level(1), time: LogTime(1000), changes }).unwrap();
    LocalView::new(writer.replica().clone(), Arc::new(Placements::none()))
}

fn source() -> ProxyHeader {
    ProxyHeader::ingress(
        "198.51.100.9:1024".parse().unwrap(),
        "127.0.0.1:5060".parse().unwrap(),
        ListenerId(2),
        BootId(1),
        Epoch(1),
        Sent::default(),
    )
}

fn register(headers: &str) -> SipMessage {
    let text = format!(
        "REGISTER sip:rack.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.7;branch=z9hG4bK1\r\nFrom: <sip:1001@rack.test>;tag=1\r\n\
         To: <sip:1001@RACK.test:5060;x=1>\r\nCall-ID: c1@phone\r\nCSeq: 7 REGISTER\r\n{headers}\r\n"
    );
    SipMessage::parse(Bytes::from(text), &Limits::default()).unwrap()
}

fn step(headers: &str) -> RegisterStep {
    let msg = register(headers);
    registrar().request(Time(0), &view(), &msg, &aor(), &source())
}

fn command(headers: &str) -> RegisterCommand {
    match step(headers) {
        RegisterStep::Ask { command: Command::Register(command), .. } => command,
        other => panic!("{headers}: {other:?}"),
    }
}

fn refused(headers: &str) -> RegisterReply {
    match step(headers) {
        RegisterStep::Reply(reply) => reply,
        other => panic!("{headers}: {other:?}"),
    }
}

fn contacts(headers: &str) -> Vec<(String, u32, u16)> {
    match command(headers).what {
        RequestedBinding::Contacts(c) => c.into_iter().map(|c| (c.contact, c.expires_s, c.q_thousandths)).collect(),
        RequestedBinding::RemoveAll => panic!("{headers}"),
    }
}

#[test]
fn the_address_of_record_is_that_of_to_if_it_is_ours() {
    assert_eq!(registrar().aor(&register("")), Ok(aor()));
    let other = |to: &str| {
        let text = format!("REGISTER sip:rack.test SIP/2.0\r\nTo: {to}\r\n\r\n");
        let msg = SipMessage::parse(Bytes::from(text), &Limits::default()).unwrap();
        registrar().aor(&msg).map_err(|reply| reply.status)
    };
    assert_eq!(other("<sip:1001@127.0.0.1>"), Ok(aor()), "the VIP's own address counts");
    assert_eq!(other("<sip:%31001@rack.test>"), Ok(aor()), "escapes are undone");
    assert_eq!(other("<sip:1001@elsewhere.test>"), Err(404));
    assert_eq!(other("<tel:1001>"), Err(400), "RFC 4475 §3.3.4");
    assert_eq!(other("<sip:rack.test>"), Err(404), "no user");
    assert_eq!(other("<sip:"), Err(400));
}

#[test]
fn a_registration_is_recorded_with_where_it_came_from() {
    let c = command("Contact: <sip:1001@10.0.0.7:5062;ob>;q=0.5;expires=120\r\nUser-Agent: Phone\t1\r\n");
    assert_eq!((c.call_id.as_str(), c.cseq, c.listener, c.max_contacts), ("c1@phone", 7, ListenerId(2), 10));
    assert_eq!((c.received, c.user_agent.as_str()), (source().source, "Phone 1"));
    let RequestedBinding::Contacts(contacts) = c.what else { panic!() };
    assert_eq!((contacts[0].contact.as_str(), contacts[0].q_thousandths), ("sip:1001@10.0.0.7:5062;ob", 500));
}

#[test]
fn expires_of_the_contact_then_of_the_header_then_the_default_within_bounds() {
    let got = contacts("Contact: <sip:a@b>;expires=100, <sip:c@d>\r\nm: sip:e@f;expires=0\r\nExpires: 99999999999\r\n");
    let named = |c: &str, s| (c.to_owned(), s, 1000);
    assert_eq!(got, [named("sip:a@b", 100), named("sip:c@d", 7200), named("sip:e@f", 0)]);
    assert_eq!(contacts("Contact: <sip:a@b>;expires=soon\r\nExpires: x\r\n"), [named("sip:a@b", 3600)]);
    let brief = refused("Contact: <sip:a@b>;expires=59\r\n");
    assert_eq!((brief.status, &brief.headers[..]), (423, &[("Min-Expires", "60".to_owned())][..]));
}

#[test]
fn a_star_removes_all_and_only_alone_with_expires_0() {
    assert_eq!(command("Contact: *\r\nExpires: 0\r\n").what, RequestedBinding::RemoveAll);
    for bad in ["Contact: *\r\n", "Contact: *\r\nExpires: 60\r\n", "Contact: *, <sip:a@b>\r\nExpires: 0\r\n"] {
        assert_eq!(refused(bad).status, 400, "{bad}");
    }
}

#[test]
fn without_contact_the_replica_answers() {
    let reply = refused("");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.headers, [("Contact", "<sip:1001@192.0.2.1>;expires=60".to_owned())]);
}

#[test]
fn what_is_no_contact_is_refused() {
    for bad in ["<not a uri>", "<sip:a@b", "sip:a@b?Route=x", "<sip:a@b>;q=2"] {
        assert_eq!(refused(&format!("Contact: {bad}\r\n")).status, 400, "{bad}");
    }
    let many: String = (0..11).map(|i| format!("Contact: <sip:{i}@b>\r\n")).collect();
    assert_eq!(refused(&many).status, 403);
    let unknown = refused("Contact: <sip:a@b>\r\nRequire: path, gruu, x\r\n");
    assert_eq!((unknown.status, &unknown.headers[..]), (420, &[("Unsupported", "gruu, x".to_owned())][..]));
}

/// RFC 3261 §10.2.1, and RFC 3665 §2.2: a list may hold other URIs than those of SIP.
#[test]
fn any_uri_may_be_a_contact() {
    for uri in ["tel:+1", "mailto:a@b", "<http://a>", "<sip:a@b?Route=x>"] {
        let msg = register(&format!("Contact: {uri}\r\n"));
        let step = registrar().request(Time(0), &view(), &msg, &Aor::new("1001", "rack.test"), &source());
        assert!(matches!(step, RegisterStep::Ask { .. }), "{uri}");
    }
}

#[test]
fn closed_domains_know_their_subscribers_and_open_ones_take_anybody() {
    let msg = register("Contact: <sip:a@b>\r\n");
    let stranger = Aor::new("4711", "rack.test");
    let closed = registrar().request(Time(0), &view(), &msg, &stranger, &source());
    assert!(matches!(closed, RegisterStep::Reply(RegisterReply { status: 404, .. })));
    let mut rack = rack();
    rack.domains[0].provisioning = Provisioning::Open;
    let open = Registrar::new(Arc::new(rack)).request(Time(0), &view(), &msg, &stranger, &source());
    assert!(matches!(open, RegisterStep::Ask { .. }));
}

#[test]
fn path_is_kept_and_shown_to_those_who_support_it() {
    let path = "Path: <sip:edge.test;lr>, <sip:b.test;lr>\r\nContact: <sip:a@b>\r\n";
    assert_eq!(command(path).path, ["<sip:edge.test;lr>", "<sip:b.test;lr>"]);
    let supported = format!("{path}k: outbound, PATH\r\n");
    assert_eq!(command(&supported).path, ["<sip:edge.test;lr>", "<sip:b.test;lr>"]);
    let outcome = Ok(Outcome::Registered { level: Level(2), time: LogTime(0), bindings: vec![] });
    let reply = registrar().response(&register(&supported), &outcome);
    assert_eq!(reply.headers.len(), 2);
    assert_eq!(registrar().response(&register(path), &outcome).headers.len(), 0);
}

#[test]
fn a_repeat_has_the_same_key_and_anything_else_another() {
    let key = |headers: &str| idempotence_key(&command(headers));
    let first = key("Contact: <sip:a@b>\r\n");
    assert_eq!(first, key("Contact: <sip:a@b>\r\nAuthorization: Digest x=\"y\"\r\nUser-Agent: other\r\n"));
    assert_ne!(first, key("Contact: <sip:a@c>\r\n"));
    assert_ne!(first, key("Contact: <sip:a@b>;expires=61\r\n"));
    assert_ne!(first, key("Contact: <sip:a@b>;q=0.1\r\n"));
    let mut next = command("Contact: <sip:a@b>\r\n");
    next.cseq += 1;
    assert_ne!(first, idempotence_key(&next));
}
