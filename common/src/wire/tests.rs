//! Round trips, golden vectors, and what must be refused, for everything on the planes.

use super::beacon::{Beacon, Echo};
use super::control::Stopped;
use super::frame::{self, FrameError, Message};
use super::heartbeat::{self, Heartbeat, HeartbeatError, NodeState, V2};
use super::location::{FromServer, LocationFrameError, ToServer};
use super::proxy::{self, Direction, Inquiry, ProxyError, ProxyHeader, Sent};
use super::sealed::{self, Opener, Side};
use crate::ids::*;
use crate::keys::{KeyRing, Keys, RackKey};
use crate::placement::{Inputs, Member, Policy};
use proptest::prelude::*;

fn ring() -> KeyRing<[u8; 32]> {
    let mut key = [0u8; 32];
    key.iter_mut().zip(0..).for_each(|(octet, i)| *octet = i);
    Keys::derive(&RackKey(key)).plane
}

fn a_heartbeat() -> Heartbeat {
    let v2 = V2 {
        boot: BootId(7),
        sequence: 11,
        sent_us: 123_456,
        beacon_nonce: 99,
        epoch: Epoch(5),
        progress: 42,
        workers: 2,
        load: 100,
        admit: 65_535,
        class: 1,
        domain: 3,
        plane: Plane::B,
        history: HistoryId(8),
        level: Level(1000),
        location_sum: 1 << 100,
        backups: vec![NodeId(2), NodeId(3)],
        strays: 4,
        hears: PlaneSet::BOTH,
    };
    Heartbeat { node: NodeId(1), sip_port: 15_200, state: NodeState::Started, v2: Some(v2) }
}

fn a_beacon() -> Message {
    let member = Member {
        node: NodeId(1),
        weight: 100,
        class: 1,
        domain: 1,
        live: Some(BootId(7)),
        draining: false,
        retired: vec![BootId(6)],
    };
    Message::Beacon(Beacon {
        lm_boot: BootId(3),
        nonce: 77,
        sent_us: 88,
        epoch: Epoch(5),
        inputs: Inputs { policy: Policy::Rendezvous, members: vec![member], ..Inputs::default() },
        formers: vec![],
        holders: vec![],
        digest: 1234,
        echoes: vec![Echo { node: NodeId(1), boot: BootId(7), sequence: 11, planes: PlaneSet::BOTH }],
        learning: false,
    })
}

fn a_header(six: bool) -> ProxyHeader {
    let source = if six { "[2001:db8::9]:40000" } else { "198.51.100.9:40000" };
    ProxyHeader {
        source: source.parse().expect("an address"),
        destination: if six { "[2001:db8::1]:5060" } else { "192.0.2.1:5060" }.parse().expect("an address"),
        sender: NodeId(0),
        boot: BootId(3),
        epoch: Epoch(5),
        listener: ListenerId(1),
        transport: Transport::Udp,
        connection: 0,
        visited: [NodeId(1), NodeId(2)].into_iter().collect(),
        inquiry: Some((Inquiry::Yours, 9)),
        sent: Sent(0x0102_0304),
        direction: Direction::Ingress,
    }
}

const SIP: &[u8] = b"call@id";

fn wrapped(header: &ProxyHeader) -> Vec<u8> {
    let mut out = [0; proxy::MAX];
    let (id, key) = {
        let ring = ring();
        let (id, key) = ring.current();
        (id, *key)
    };
    let length = header.write(&key, id, SIP, &mut out);
    [&out[..length], SIP].concat()
}

/// In these tests the whole message is the Call-ID.
fn whole(message: &[u8]) -> Option<&[u8]> {
    Some(message)
}

fn sum(bytes: &[u8]) -> u64 {
    use std::hash::Hasher;
    let mut hasher = siphasher::sip::SipHasher24::new_with_key(&[0; 16]);
    hasher.write(bytes);
    hasher.finish()
}

#[test]
fn heartbeats_come_back_as_they_were() {
    let bytes = heartbeat::encode(&a_heartbeat(), &ring());
    assert_eq!(heartbeat::decode(&bytes, &ring(), false), Ok(a_heartbeat()));
}

#[test]
fn version_1_is_16_octets_in_either_byte_order_and_only_on_request() {
    let v1 = [0xDE, 0xAD, 0xFA, 0xCE, 0, 0, 0, 7, 0x13, 0xC4, 0, 0, 0, 0, 0, 2];
    let swapped = [0xCE, 0xFA, 0xAD, 0xDE, 7, 0, 0, 0, 0xC4, 0x13, 0, 0, 2, 0, 0, 0];
    let expected = Heartbeat { node: NodeId(7), sip_port: 5060, state: NodeState::Started, v2: None };
    assert_eq!(heartbeat::decode(&v1, &ring(), true), Ok(expected.clone()));
    assert_eq!(heartbeat::decode(&swapped, &ring(), true), Ok(expected.clone()));
    assert_eq!(heartbeat::decode(&v1, &ring(), false), Err(HeartbeatError::V1Refused));
    assert_eq!(heartbeat::encode(&expected, &ring()), v1);
}

#[test]
fn fields_of_a_later_version_are_left_alone() {
    let bytes = heartbeat::encode(&a_heartbeat(), &ring());
    let ring = ring();
    let (_, key) = ring.current();
    let mut longer = bytes[..bytes.len() - 16].to_vec();
    longer.extend_from_slice(b"later");
    let length = (longer.len() - 18 + 16) as u16;
    longer[16..18].copy_from_slice(&length.to_be_bytes());
    let mac = super::mac::sign(key, "heartbeat", &longer);
    longer.extend_from_slice(&mac);
    assert_eq!(heartbeat::decode(&longer, &ring, false), Ok(a_heartbeat()));
}

#[test]
fn control_frames_come_back_as_they_were_and_unknown_ones_are_told_apart() {
    for message in [a_beacon(), Message::Stopped(Stopped { node: NodeId(2), boot: BootId(9) })] {
        let bytes = frame::encode(&message, &ring(), Plane::A);
        assert_eq!(frame::decode(&bytes, &ring()), Ok(message));
    }
    let ring = ring();
    let (_, key) = ring.current();
    let mut later = frame::encode(&a_beacon(), &ring, Plane::A);
    later.truncate(later.len() - 16);
    later[5] = 9;
    let mac = super::mac::sign(key, "control", &later);
    later.extend_from_slice(&mac);
    assert_eq!(frame::decode(&later, &ring), Err(FrameError::Unknown { kind: 1, version: 9 }));
}

#[test]
fn proxy_headers_come_back_as_they_were() {
    for six in [false, true] {
        let header = a_header(six);
        let datagram = wrapped(&header);
        let (back, offset) = ProxyHeader::read(&datagram, &ring(), whole).expect("ours");
        assert_eq!((back, &datagram[offset..]), (header, SIP));
    }
    let mixed = ProxyHeader { destination: "[2001:db8::1]:5060".parse().expect("an address"), ..a_header(false) };
    assert_eq!(ProxyHeader::read(&wrapped(&mixed), &ring(), whole).map(|(h, _)| h), Ok(mixed));
}

#[test]
fn a_header_is_good_for_its_call_id_only() {
    let mut datagram = wrapped(&a_header(false));
    let at = datagram.len() - SIP.len();
    datagram[at..].copy_from_slice(b"other@x");
    assert_eq!(ProxyHeader::read(&datagram, &ring(), whole).map(|_| ()), Err(ProxyError::Mac));
}

#[test]
fn a_sealed_stream_carries_records_in_order_and_nothing_else() {
    let (up, down) = (sealed::hello(&ring(), [1; 32]), sealed::hello(&ring(), [2; 32]));
    let (mut sealer, _) = sealed::session(&ring(), Side::Connecting, &up, &down).expect("a session");
    let (_, mut opener) = sealed::session(&ring(), Side::Listening, &down, &up).expect("a session");
    let mut wire = Vec::new();
    sealer.seal(b"first", &mut wire).expect("room");
    sealer.seal(b"second", &mut wire).expect("room");
    let (first, second) = wire.split_at(4 + 5 + 16);
    assert_eq!(Opener::length([first[0], first[1], first[2], first[3]]), Ok(21));
    assert_eq!(opener.open(&second[4..]).map(|_| ()), Err(sealed::SealedError::Forged), "a record before its turn");
    assert_eq!(opener.open(&first[4..]).as_deref(), Ok(&b"first"[..]));
    assert_eq!(opener.open(&first[4..]).map(|_| ()), Err(sealed::SealedError::Forged), "a repeated record");
    assert_eq!(opener.open(&second[4..]).as_deref(), Ok(&b"second"[..]));
}

#[test]
fn another_racks_key_opens_nothing() {
    let other = Keys::derive(&RackKey([9; 32])).plane;
    let (up, down) = (sealed::hello(&other, [1; 32]), sealed::hello(&ring(), [2; 32]));
    let (mut sealer, _) = sealed::session(&other, Side::Connecting, &up, &down).expect("a session");
    let (_, mut opener) = sealed::session(&ring(), Side::Listening, &down, &up).expect("a session");
    let mut wire = Vec::new();
    sealer.seal(b"hello", &mut wire).expect("room");
    assert!(opener.open(&wire[4..]).is_err());
}

#[test]
fn location_frames_of_another_version_are_refused() {
    let frame = FromServer::PartEnd { level: Level(3), sum: 9 };
    let mut bytes = frame.encode();
    assert_eq!(FromServer::decode(&bytes), Ok(frame));
    bytes[0] = 2;
    assert_eq!(FromServer::decode(&bytes), Err(LocationFrameError::UnknownVersion(2)));
    assert_eq!(ToServer::decode(&[]), Err(LocationFrameError::Empty));
}

#[test]
fn golden_vectors() {
    let sums = [
        sum(&heartbeat::encode(&a_heartbeat(), &ring())),
        sum(&frame::encode(&a_beacon(), &ring(), Plane::A)),
        sum(&wrapped(&a_header(false))),
        sum(&wrapped(&a_header(true))),
        sum(&ToServer::Ping.encode()),
    ];
    let golden = [
        3_870_312_501_614_340_744,
        180_765_239_528_911_272,
        4_936_834_986_679_968_060,
        9_049_628_922_093_988_912,
        466_426_150_670_081_039,
    ];
    assert_eq!(sums, golden);
}

proptest! {
    #[test]
    fn any_flipped_bit_is_refused(at in 0usize..4096, bit in 0u8..8) {
        let mut beat = heartbeat::encode(&a_heartbeat(), &ring());
        let i = at % beat.len();
        beat[i] ^= 1 << bit;
        prop_assert!(heartbeat::decode(&beat, &ring(), false).is_err());
        let mut beacon = frame::encode(&a_beacon(), &ring(), Plane::A);
        let i = at % beacon.len();
        beacon[i] ^= 1 << bit;
        prop_assert!(frame::decode(&beacon, &ring()).is_err());
        let mut datagram = wrapped(&a_header(false));
        let i = at % datagram.len();
        datagram[i] ^= 1 << bit;
        prop_assert!(ProxyHeader::read(&datagram, &ring(), whole).is_err());
    }

    #[test]
    fn nothing_from_the_network_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = heartbeat::decode(&bytes, &ring(), true);
        let _ = frame::decode(&bytes, &ring());
        let _ = ProxyHeader::read(&bytes, &ring(), whole);
        let _ = ToServer::decode(&bytes);
        let _ = FromServer::decode(&bytes);
        let framed = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x12"[..], &bytes].concat();
        let _ = ProxyHeader::read(&framed, &ring(), whole);
    }
}
