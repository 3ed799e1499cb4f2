//! One datagram at a time past the gate, in both directions.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::table::{Reach, Standing};
use common::ids::{Epoch, Transport};
use common::keys::RackKey;
use common::placement::{Inputs, Member, Placement, Policy};
use common::sip::SipMessage;
use common::time::Time;
use common::wire::proxy::{Direction, FRESH};
use proptest::prelude::*;

const NOW: Time = Time(77_000_000);
const PHONE: &str = "198.51.100.7:40000";

fn gate() -> Gate {
    let mut rack = Rack::one_machine_default(2).expand();
    let four = rack.listeners[0].clone();
    rack.listeners[0].address = "192.0.2.1".parse().unwrap();
    rack.listeners[0].advertise = Some("sip.rack.test".into());
    rack.listeners.push(common::config::Listener { address: "2001:db8::1".parse().unwrap(), ..four });
    Gate::new(&rack, Arc::new(Keys::derive(&RackKey([7; 32]))), BootId(5))
}

/// Nodes 1, 2, 3 with two workers each; `live` of them in the placement under epoch 9.
fn table(gate: &Gate, live: &[(u16, Standing)]) -> Table {
    let standing = |n: u16| live.iter().find(|(node, _)| *node == n).map(|(_, standing)| *standing);
    let member = |n: u16| Member::new(NodeId(n), standing(n).map(|_| BootId(70)));
    let reach = |n: u16| Reach {
        node: NodeId(n),
        boot: Some(BootId(70)),
        standing: standing(n).unwrap_or(Standing::Out),
        admit: u16::MAX,
        admitted: u16::MAX,
        floor: Epoch(4),
        plane: Plane::A,
        workers: (0..2).map(|w| SocketAddr::from(([10, 0, 1, n as u8], 5070 + w))).collect(),
    };
    let inputs = Inputs { policy: Policy::Rendezvous, members: (1..=3).map(member).collect(), ..Inputs::default() };
    Table::new(Arc::new(Placement::compute(&gate.keys.placement, Epoch(9), inputs)), (1..=3).map(reach))
}

fn all(gate: &Gate) -> Table {
    table(gate, &[(1, Standing::Started), (2, Standing::Started), (3, Standing::Started)])
}

fn request(method: &str, call_id: &str, more: &str) -> String {
    format!(
        "{method} sip:1002@rack.test SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:40000;branch=z9hG4bKa;rport\r\n\
         Max-Forwards: 70\r\n{more}From: <sip:1001@rack.test>;tag=f\r\nTo: <sip:1002@rack.test>\r\n\
         Call-ID: {call_id}\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    )
}

fn enter(gate: &Gate, table: &Table, datagram: &str) -> (Verdict, Scratch) {
    let mut scratch = Scratch::default();
    let verdict = ingress(gate, table, NOW, datagram.as_bytes(), PHONE.parse().unwrap(), ListenerId(0), &mut scratch);
    (verdict, scratch)
}

fn node_of(verdict: Verdict) -> u16 {
    match verdict {
        Verdict::ToNode { node, .. } => node.0,
        other => panic!("{other:?}"),
    }
}

fn token(gate: &Gate, node: u16, call_id: &str) -> String {
    let mut out = Vec::new();
    token::via::write(&gate.keys.token, NodeId(node), call_id.as_bytes(), &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_request_goes_to_its_slots_owner_behind_a_header_the_node_can_verify() {
    let gate = gate();
    let table = all(&gate);
    let invite = request("INVITE", "c1@phone", "");
    let (verdict, scratch) = enter(&gate, &table, &invite);
    let call = CallHash::of(&gate.keys.placement, b"c1@phone");
    let owner = table.owner(call.slot()).unwrap();
    let to = owner.worker(call).unwrap();
    assert_eq!(
        verdict,
        Verdict::ToNode { node: owner.node, plane: Plane::A, to, start: Start::Request(MethodKind::Invite) }
    );
    let whole = [scratch.written(), invite.as_bytes()].concat();
    let (header, offset) = ProxyHeader::read(&whole, &gate.keys.plane, |_| Some(b"c1@phone")).unwrap();
    assert_eq!(&whole[offset..], invite.as_bytes());
    assert_eq!((header.source, header.destination), (PHONE.parse().unwrap(), "192.0.2.1:5060".parse().unwrap()));
    assert_eq!((header.sender, header.boot, header.epoch), (NodeId(0), BootId(5), Epoch(9)));
    assert_eq!((header.direction, header.listener), (Direction::Ingress, ListenerId(0)));
    assert!(ProxyHeader::read(&whole, &gate.keys.plane, |_| Some(b"another call")).is_err());
}

#[test]
fn a_valid_token_wins_over_the_hash_while_its_node_may_be_named() {
    let gate = gate();
    let table = all(&gate);
    let owner = node_of(enter(&gate, &table, &request("BYE", "c1", "")).0);
    for node in 1..=3 {
        for vip in ["192.0.2.1", "sip.rack.test", "[2001:db8::1]"] {
            let route = format!("Route: <sip:{vip};lr;sr={}>\r\n", token(&gate, node, "c1"));
            assert_eq!(node_of(enter(&gate, &table, &request("BYE", "c1", &route)).0), node);
        }
        let other_call = format!("Route: <sip:192.0.2.1;lr;sr={}>\r\n", token(&gate, node, "c2"));
        assert_eq!(node_of(enter(&gate, &table, &request("BYE", "c1", &other_call)).0), owner, "a copied token");
        let via = format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKq;sr={}\r\nCall-ID: c1\r\n\r\n",
            token(&gate, node, "c1")
        );
        assert_eq!(node_of(enter(&gate, &table, &via).0), node);
    }
    let two = self::table(&gate, &[(1, Standing::Started), (2, Standing::Draining)]);
    let named = |node| format!("Route: <sip:192.0.2.1;lr;sr={}>\r\n", token(&gate, node, "c1"));
    assert_eq!(node_of(enter(&gate, &two, &request("BYE", "c1", &named(2))).0), 2, "draining keeps its dialogs");
    assert_ne!(node_of(enter(&gate, &two, &request("BYE", "c1", &named(3))).0), 3, "3 is gone");
}

#[test]
fn new_dialogs_go_past_a_draining_node() {
    let gate = gate();
    let table = table(&gate, &[(1, Standing::Started), (2, Standing::Draining)]);
    let mut kept = 0;
    for n in 0..100 {
        assert_eq!(node_of(enter(&gate, &table, &request("INVITE", &format!("c{n}"), "")).0), 1);
        kept += usize::from(node_of(enter(&gate, &table, &request("OPTIONS", &format!("c{n}"), "")).0) == 2);
    }
    assert!(kept > 20, "{kept}");
}

/// All three refuse all new calls; so much of them was admitted a short while ago.
fn full(gate: &Gate, admitted: u16) -> Table {
    let table = all(gate);
    let refuses = |reach: &Reach| Reach { admit: 0, admitted, ..reach.clone() };
    let reaches: Vec<Reach> = table.nodes().iter().map(refuses).collect();
    Table::new(table.placement().clone(), reaches)
}

#[test]
fn while_all_refuse_what_is_new_is_told_503_and_what_belongs_to_a_call_or_may_do_so_passes() {
    let gate = gate();
    let invite = request("INVITE", "c1", "");
    let owner = node_of(enter(&gate, &all(&gate), &invite).0);
    let full = |admitted: u16, datagram: &str| enter(&gate, &full(&gate, admitted), datagram).0;
    assert_eq!(full(0, &invite), Verdict::Full);
    assert_eq!(node_of(full(u16::MAX, &invite)), owner, "who admitted it, if it is a repeat");
    let hash = CallHash::of(&gate.keys.placement, b"c1").admission();
    assert_eq!((full(hash, &invite), node_of(full(hash + 1, &invite))), (Verdict::Full, owner));
    let again = invite.replace("To: <sip:1002@rack.test>", "To: <sip:1002@rack.test>;tag=t");
    for datagram in [again, request("ACK", "c1", ""), request("CANCEL", "c1", ""), request("BYE", "c1", "")] {
        assert_eq!(node_of(full(0, &datagram)), owner, "{datagram}");
    }
}

#[test]
fn without_a_node_a_request_is_told_503_and_the_rest_is_dropped() {
    let gate = gate();
    let nobody = Table::empty();
    let invite = request("INVITE", "c1", "");
    assert_eq!(enter(&gate, &nobody, &invite).0, Verdict::Unavailable);
    assert_eq!(enter(&gate, &nobody, &request("ACK", "c1", "")).0, Verdict::Drop(DropReason::NoNode));
    let response = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1\r\nCall-ID: c1\r\n\r\n";
    assert_eq!(enter(&gate, &nobody, response).0, Verdict::Drop(DropReason::NoNode));

    let phone: SocketAddr = PHONE.parse().unwrap();
    let reply = unavailable(&gate, invite.as_bytes(), phone).unwrap();
    let answer = SipMessage::parse(reply.clone(), &Default::default()).unwrap();
    assert_eq!((answer.status(), answer.call_id(), answer.retry_after()), (503, &b"c1"[..], Some(2)));
    assert!(answer.to_tag().is_some_and(|tag| common::tag::is_ours(&gate.keys.tag, tag.as_bytes(), b"c1")));
    assert!(String::from_utf8_lossy(&reply).contains("received=198.51.100.7"));
    assert_eq!(unavailable(&gate, invite.as_bytes(), phone), Some(reply), "stateless: the same again");
    for broken in
        ["INVITE sip:a@b SIP/2.0\r\nCall-ID: x\r\n\r\n", "ACK sip:a@b SIP/2.0\r\nCall-ID: x\r\n\r\n", response]
    {
        assert_eq!(unavailable(&gate, broken.as_bytes(), phone), None, "{broken}");
    }
}

#[test]
fn what_is_no_request_to_us_is_answered_swallowed_or_counted() {
    let gate = gate();
    let table = all(&gate);
    assert_eq!(enter(&gate, &table, "\r\n\r\n").0, Verdict::KeepAlive);
    let mut scratch = Scratch::default();
    let binding = b"\0\x01\0\0\x21\x12\xa4\x42123456789012";
    let from = "[2001:db8::7]:4000".parse().unwrap();
    assert_eq!(ingress(&gate, &table, NOW, binding, from, ListenerId(1), &mut scratch), Verdict::Reply);
    assert_eq!((scratch.written().len(), &scratch.written()[..2]), (44, &b"\x01\x01"[..]));
    for (datagram, why) in
        [("hello\r\n\r\n", DropReason::NotSip), ("SIP/2.0 200 OK\r\nFrom: x\r\n\r\n", DropReason::NoCallId)]
    {
        assert_eq!(enter(&gate, &table, datagram).0, Verdict::Drop(why));
    }
}

#[test]
fn what_is_too_long_is_told_513_in_no_more_octets() {
    let gate = gate();
    let table = all(&gate);
    let phone: SocketAddr = PHONE.parse().unwrap();
    let fat = |method| format!("{}{}", request(method, "c1", "no colon\r\n"), "x".repeat(65_300));
    assert_eq!(enter(&gate, &table, &fat("INVITE")).0, Verdict::TooLarge(DropReason::TooBig));
    let narrow = Gate { most: 1300, ..gate.clone() };
    let long = request("MESSAGE", "c1", &format!("X-Odd: {}\r\n", "x".repeat(1300)));
    assert_eq!(enter(&narrow, &table, &long).0, Verdict::TooLarge(DropReason::TooLong));
    for long in [long, fat("INVITE")] {
        let reply = too_large(&gate, long.as_bytes(), phone).unwrap();
        let answer = SipMessage::parse(reply.clone(), &Default::default()).unwrap();
        assert_eq!((answer.status(), answer.call_id(), answer.validate()), (513, &b"c1"[..], Ok(())));
        assert!(answer.to_tag().is_some_and(|tag| common::tag::is_ours(&gate.keys.tag, tag.as_bytes(), b"c1")));
        assert!(String::from_utf8_lossy(&reply).contains("received=198.51.100.7"));
        assert_eq!(too_large(&gate, long.as_bytes(), phone), Some(reply), "stateless: the same again");
    }
    for silent in [fat("ACK"), fat("INVITE").replace("CSeq: 1 INVITE\r\n", ""), "x".repeat(2000)] {
        assert_eq!(too_large(&gate, silent.as_bytes(), phone), None);
    }
    let short =
        "INVITE sip:a SIP/2.0\r\nv: SIP/2.0/UDP a;rport\r\nf: sip:a\r\nt: sip:b\r\ni: c\r\nCSeq: 1 INVITE\r\n\r\n";
    assert_eq!(too_large(&gate, short.as_bytes(), phone), None, "the answer would be longer");
}

/// What node 2 sends, under `change`.
fn sent(gate: &Gate, change: impl Fn(&mut ProxyHeader)) -> Vec<u8> {
    let mut header = ProxyHeader {
        sender: NodeId(2),
        direction: Direction::Egress,
        ..ProxyHeader::ingress(
            gate.listeners[0],
            PHONE.parse().unwrap(),
            ListenerId(0),
            BootId(70),
            Epoch(9),
            Sent::at(NOW),
        )
    };
    change(&mut header);
    let mut bytes = [0; proxy::MAX];
    let (key_id, key) = gate.keys.plane.current();
    let length = header.write(key, key_id, b"c1", &mut bytes);
    [&bytes[..length], request("OPTIONS", "c1", "").as_bytes()].concat()
}

#[test]
fn what_a_living_node_sends_leaves_from_the_listener_it_names() {
    let gate = gate();
    let table = all(&gate);
    let datagram = sent(&gate, |_| {});
    let out = egress(&gate, &table, NOW, &datagram).unwrap();
    assert_eq!((out.node, out.listener, out.to), (NodeId(2), ListenerId(0), PHONE.parse().unwrap()));
    assert_eq!(out.message, request("OPTIONS", "c1", "").as_bytes());
    let six = sent(&gate, |h| {
        h.listener = ListenerId(1);
        h.source = gate.listeners[1];
        h.destination = "[2001:db8::7]:4000".parse().unwrap();
    });
    assert_eq!(egress(&gate, &table, NOW, &six).unwrap().listener, ListenerId(1));
}

#[test]
fn what_anybody_else_sends_does_not_leave() {
    let gate = gate();
    let table = all(&gate);
    let why = |datagram: &[u8]| egress(&gate, &table, NOW, datagram).unwrap_err();
    assert_eq!(why(&sent(&gate, |h| h.boot = BootId(69))), DropReason::SenderDead);
    assert_eq!(why(&sent(&gate, |h| h.sender = NodeId(9))), DropReason::SenderUnknown);
    assert_eq!(why(&sent(&gate, |h| h.sender = NodeId(0))), DropReason::SenderUnknown);
    assert_eq!(why(&sent(&gate, |h| h.epoch = Epoch(3))), DropReason::SenderBehind);
    assert_eq!(why(&sent(&gate, |h| h.sent = Sent::at(NOW - FRESH - FRESH))), DropReason::ProxyStale);
    assert_eq!(why(&sent(&gate, |h| h.direction = Direction::Ingress)), DropReason::ProxyDirection);
    assert_eq!(why(&sent(&gate, |h| h.transport = Transport::Tcp)), DropReason::ProxyDirection);
    assert_eq!(why(&sent(&gate, |h| h.listener = ListenerId(7))), DropReason::ListenerUnknown);
    assert_eq!(why(&sent(&gate, |h| h.listener = ListenerId(1))), DropReason::Destination, "IPv4 from an IPv6 socket");
    assert_eq!(why(request("OPTIONS", "c1", "").as_bytes()), DropReason::ProxyMalformed);
    assert_eq!(why(&[]), DropReason::ProxyMalformed);
    let mut forged = sent(&gate, |_| {});
    let at = forged.windows(7).position(|w| w == b"Call-ID").unwrap() + 9;
    forged[at] = b'd';
    assert_eq!(why(&forged), DropReason::ProxyMac, "the MAC covers the Call-ID");
    let mut other = gate.clone();
    other.keys = Arc::new(Keys::derive(&RackKey([8; 32])));
    assert_eq!(why(&sent(&other, |_| {})), DropReason::ProxyMac);
}

proptest! {
    #[test]
    fn rubbish_never_panics(datagram in proptest::collection::vec(any::<u8>(), 0..300)) {
        let gate = gate();
        let table = Table::empty();
        let mut scratch = Scratch::default();
        ingress(&gate, &table, NOW, &datagram, PHONE.parse().unwrap(), ListenerId(0), &mut scratch);
        prop_assert!(egress(&gate, &table, NOW, &datagram).is_err());
        prop_assert!(unavailable(&gate, &datagram, PHONE.parse().unwrap()).is_none());
    }

    #[test]
    fn a_damaged_header_never_passes(at in 16usize..100, bit in 0u8..8) {
        let gate = gate();
        let table = all(&gate);
        let mut datagram = sent(&gate, |_| {});
        let end = datagram.windows(7).position(|w| w == b"OPTIONS").unwrap();
        datagram[at % end] ^= 1 << bit;
        prop_assert!(egress(&gate, &table, NOW, &datagram).is_err());
    }
}
