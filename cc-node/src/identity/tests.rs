//! Whatever stands in the headers that identity is read from: no panic, and nothing from outside becomes an assertion.
#![allow(clippy::unwrap_used)]

use super::*;
use bytes::Bytes;
use common::ids::TrunkId;
use common::sip::Limits;
use proptest::prelude::*;

const RACK: &str = "name: test
listeners: [ { address: 192.0.2.1, port: 5060, transport: udp } ]
domains: [ { name: rack.test } ]
trunks:
  - { id: 1, name: inside, addresses: [\"10.9.0.1\"] }
  - { id: 2, name: outside, addresses: [\"10.8.0.1\"], trusted: false }
one_machine: { nodes: 1 }
";

const INSIDE: Peer = Peer::Trunk(TrunkId(1));
const OUTSIDE: Peer = Peer::Trunk(TrunkId(2));

fn sent(rack: &Rack, message: &SipMessage, sender: &Sender, to: &Peer) -> SipMessage {
    let mut edit = Edit::new(message);
    request(rack, message, sender, to, &mut edit);
    SipMessage::parse(edit.finish(), &Limits::default()).unwrap()
}

#[test]
fn only_a_trunk_that_is_not_said_to_be_a_stranger_is_trusted() {
    let rack = Rack::from_yaml("test.yaml", RACK).unwrap();
    assert!(trusts(&rack, &INSIDE) && !trusts(&rack, &OUTSIDE) && !trusts(&rack, &Peer::Trunk(TrunkId(3))));
    assert_eq!(Sender::of(&rack, &Caller::Trunk(TrunkId(1))), Sender::Trusted);
    assert_eq!(Sender::of(&rack, &Caller::Trunk(TrunkId(2))), Sender::Untrusted);
    assert_eq!(Sender::of(&rack, &Caller::Anyone), Sender::Untrusted);
    let between = |from: &str, to: &str| Edge::between(&rack, from.parse().unwrap(), to.parse().unwrap());
    assert_eq!(between("10.9.0.1:5060", "10.8.0.1:5060"), Edge { from: true, to: false });
    assert_eq!(between("10.0.0.1:5060", "10.9.0.1:5060"), Edge { from: false, to: true });
}

proptest! {
    #[test]
    fn nothing_from_outside_becomes_an_assertion(
        value in "[ -~é]{0,60}",
        privacy in "((id|user|header|session|none|critical|history|x)[;, ]{0,2}){0,6}",
        display in "[ -~]{0,20}",
    ) {
        let rack = Rack::from_yaml("test.yaml", RACK).unwrap();
        let text = format!(
            "INVITE sip:b@rack.test SIP/2.0\r\nFrom: {display}<sip:+49301@rack.test>;tag=1\r\nP-Asserted-Identity: {value}\r\n\
             P-Preferred-Identity : {value}\r\nRemote-Party-ID:{value}\r\nPrivacy: {privacy}\r\n\r\n"
        );
        let message = SipMessage::parse(Bytes::from(text), &Limits::default()).unwrap();
        let user = Sender::User(Aor::new("+49301", "rack.test"));
        for (sender, to, most) in
            [(&Sender::Untrusted, INSIDE, 0), (&Sender::Untrusted, OUTSIDE, 0), (&user, OUTSIDE, 0), (&user, INSIDE, 2)]
        {
            let told = sent(&rack, &message, sender, &to);
            let named = |name: &str| told.header_named(name);
            prop_assert!(named("P-Preferred-Identity").is_none() && named("Remote-Party-ID").is_none());
            prop_assert_eq!(told.all(HeaderId::PAssertedIdentity).count(), most);
            if most > 0 {
                let uris: Vec<String> =
                    told.addrs(HeaderId::PAssertedIdentity).unwrap().iter().map(|a| a.uri_text.to_owned()).collect();
                prop_assert_eq!(uris, ["sip:+49301@rack.test", "tel:+49301"]);
            }
        }
    }
}
