//! What FORMATS.md and FORMATS-wire.md say of the planes, held against the code from outside: golden vectors under the
//! rack key 00 01 … 1f, round trips, and what must be refused.
//!
//! The vectors were computed from the words of those pages by a second implementation (its own SipHash, HMAC, AEAD and
//! postcard), not copied from this one's output: a vector that fails means that page and code have parted, or that octets
//! on the wire have changed.
#![allow(clippy::unwrap_used)]

use common::ids::{BootId, Epoch, HistoryId, Level, ListenerId, NodeId, Plane, PlaneSet, Transport};
use common::keys::{Generations, KeyRing, Keys, RackKey, Span};
use common::location::command::RequestedContact;
use common::location::{
    Aor, Binding, Bindings, Change, Command, Entry, IdempotenceKey, LogTime, Outcome, Record, RecordKey, RecordSum,
    Refusal, RegisterCommand, RequestedBinding, Subscriber,
};
use common::placement::recent::{Former, MOST, Stood};
use common::placement::{Inputs, Member, Policy};
use common::wire::beacon::{Beacon, Echo};
use common::wire::control::{Report, Stopped};
use common::wire::frame::{self, FrameError, Message};
use common::wire::heartbeat::{self, Heartbeat, HeartbeatError, NodeState, V2};
use common::wire::location::{FromServer, LocationFrameError, ToServer};
use common::wire::proxy::{self, Direction, Inquiry, ProxyError, ProxyHeader, Sent};
use common::wire::sealed::{self, MAX_PLAIN, Opener, SealedError, Sealer, Side};
use hmac::{Hmac, KeyInit, Mac};
use proptest::collection::vec;
use proptest::prelude::*;
use sha2::Sha256;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

const CALL: &[u8] = b"golden@vector";

fn keys() -> Keys {
    Keys::derive(&RackKey(std::array::from_fn(|i| i as u8)))
}

/// Told where the rack stands: what is behind the first key verifies no more.
fn ring() -> KeyRing<[u8; 32]> {
    static RING: LazyLock<KeyRing<[u8; 32]>> = LazyLock::new(|| {
        let ring = keys().plane;
        ring.turn(Span::default());
        ring
    });
    RING.clone()
}

fn stranger() -> KeyRing<[u8; 32]> {
    Keys::derive(&RackKey([9; 32])).plane
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|b| format!("{b:02x}")).collect()
}

fn octets(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

/// The MAC of heartbeats and control frames, made here anew.
fn signed(domain: &str, mut bytes: Vec<u8>) -> Vec<u8> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(ring().current().1).unwrap();
    mac.update(domain.as_bytes());
    mac.update(&bytes);
    bytes.extend_from_slice(&mac.finalize().into_bytes()[..16]);
    bytes
}

/// The same octets with each of their bits flipped in turn.
fn one_bit_off(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> + '_ {
    (0..bytes.len() * 8).map(|bit| {
        let mut changed = bytes.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        (bit, changed)
    })
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
        backups: vec![NodeId(2), NodeId(770)],
        strays: 4,
        hears: PlaneSet::of([Plane::B]),
    };
    Heartbeat { node: NodeId(513), sip_port: 15_200, state: NodeState::Started, v2: Some(v2) }
}

fn inputs() -> Inputs {
    let first = Member {
        node: NodeId(1),
        weight: 100,
        class: 1,
        domain: 1,
        live: Some(BootId(300)),
        draining: false,
        retired: vec![BootId(6), BootId(7)],
    };
    let second =
        Member { node: NodeId(513), weight: 1000, class: 2, domain: 3, live: None, draining: false, retired: vec![] };
    let span = |oldest, newest| Span { oldest, newest };
    let keys = Generations { token: span(2, 9), nonce: span(3, 4), plane: span(255, 0) };
    Inputs { policy: Policy::Rendezvous, members: vec![first, second], keys }
}

fn a_former() -> Former {
    let stood = Stood { node: NodeId(513), live: Some(BootId(9)), weight: 200, draining: true };
    Former { epoch: Epoch(3), age_ms: 130, differ: vec![stood] }
}

fn a_beacon() -> Message {
    Message::Beacon(Beacon {
        lm_boot: BootId(3),
        nonce: 77,
        sent_us: 88,
        epoch: Epoch(5),
        inputs: inputs(),
        formers: vec![a_former()],
        holders: vec![NodeId(513)],
        digest: 0x0123_4567_89ab_cdef,
        echoes: vec![Echo { node: NodeId(1), boot: BootId(300), sequence: 128, planes: PlaneSet::of([Plane::B]) }],
        learning: false,
    })
}

fn a_report() -> Message {
    Message::Report(Report {
        node: NodeId(513),
        boot: BootId(9),
        nonce: 77,
        epoch: Epoch(4),
        inputs: inputs(),
        formers: vec![a_former()],
        keys: Some(Generations { plane: Span { oldest: 4, newest: 5 }, ..Generations::default() }),
    })
}

fn a_stopped() -> Message {
    Message::Stopped(Stopped { node: NodeId(513), boot: BootId(9) })
}

/// Inbound over IPv4, nothing optional.
fn header_4() -> ProxyHeader {
    ProxyHeader::ingress(
        "198.51.100.9:40000".parse().unwrap(),
        "192.0.2.1:5060".parse().unwrap(),
        ListenerId(1),
        BootId(3),
        Epoch(5),
        Sent(0x0102_0304),
    )
}

/// Outbound over IPv6 and TLS, every TLV there.
fn header_6() -> ProxyHeader {
    ProxyHeader {
        source: "[2001:db8::9]:40000".parse().unwrap(),
        destination: "[2001:db8::1]:5061".parse().unwrap(),
        sender: NodeId(513),
        transport: Transport::Tls,
        connection: 0x0102_0304_0506_0708,
        visited: [1, 2, 3, 770].map(NodeId).into_iter().collect(),
        inquiry: Some((Inquiry::Yours, 9)),
        direction: Direction::Egress,
        ..header_4()
    }
}

fn header_mixed() -> ProxyHeader {
    ProxyHeader {
        destination: "[2001:db8::1]:5060".parse().unwrap(),
        sender: NodeId(2),
        listener: ListenerId(0),
        direction: Direction::Inside,
        ..header_4()
    }
}

/// The header alone.
fn written(header: &ProxyHeader, call_id: &[u8]) -> Vec<u8> {
    let mut out = [0; proxy::MAX];
    let ring = ring();
    let (id, key) = ring.current();
    let length = header.write(key, id, call_id, &mut out);
    out[..length].to_vec()
}

/// In these tests the whole message is the Call-ID.
fn whole(message: &[u8]) -> Option<&[u8]> {
    Some(message)
}

fn read(datagram: &[u8]) -> Result<(ProxyHeader, usize), ProxyError> {
    ProxyHeader::read(datagram, &ring(), whole)
}

/// A header with these TLVs and a good MAC, made here anew.
fn with_tlvs(family: u8, addresses: &[u8], tlvs: &[u8]) -> Vec<u8> {
    use siphasher::sip128::{Hasher128, SipHasher24};
    use std::hash::Hasher;
    let mut out = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    out.push(family);
    out.extend_from_slice(&((addresses.len() + tlvs.len() + 20) as u16).to_be_bytes());
    out.extend_from_slice(addresses);
    out.extend_from_slice(tlvs);
    let key: [u8; 16] = ring().current().1[..16].try_into().unwrap();
    let mut hasher = SipHasher24::new_with_key(&key);
    hasher.write(&out);
    hasher.write(CALL);
    let sum = hasher.finish128().as_bytes();
    out.extend_from_slice(&[0xEF, 0, 17, 1]);
    out.extend_from_slice(&sum);
    out.extend_from_slice(CALL);
    out
}

fn session(own: [u8; 32], peer: [u8; 32], side: Side) -> (Sealer, Opener) {
    sealed::session(&ring(), side, &sealed::hello(&ring(), own), &sealed::hello(&ring(), peer)).unwrap()
}

/// The connecting end's way out and the listening end's way in.
fn upwards() -> (Sealer, Opener) {
    (session([0x11; 32], [0x22; 32], Side::Connecting).0, session([0x22; 32], [0x11; 32], Side::Listening).1)
}

fn aor() -> Aor {
    Aor::new("1001", "rack.test")
}

fn subscriber() -> Record {
    let (md5, sha256) = (std::array::from_fn(|i| i as u8), std::array::from_fn(|i| i as u8));
    Record::Subscriber(Subscriber { aor: aor(), ha1_md5: md5, ha1_sha256: sha256, ha1_sha512_256: None })
}

/// The same with the third digest.
fn subscriber_of_three() -> Record {
    let Record::Subscriber(two) = subscriber() else { panic!("a subscriber") };
    Record::Subscriber(Subscriber { ha1_sha512_256: Some(std::array::from_fn(|i| 0x80 | i as u8)), ..two })
}

fn bindings() -> Record {
    let one = Binding {
        contact: "sip:1001@192.0.2.9:5062".into(),
        q_thousandths: 1000,
        expires_at: LogTime(1_700_000),
        received: "198.51.100.9:40000".parse().unwrap(),
        listener: ListenerId(1),
        path: vec!["<sip:edge;lr>".into()],
        instance: "urn:x".into(),
        user_agent: "phone/1".into(),
        version: Level(300),
    };
    let two = Binding {
        contact: "sip:b@h".into(),
        q_thousandths: 0,
        expires_at: LogTime(0),
        received: "[2001:db8::9]:5060".parse().unwrap(),
        listener: ListenerId(0),
        path: vec![],
        instance: String::new(),
        user_agent: String::new(),
        version: Level(0),
    };
    Record::Bindings(Bindings { aor: aor(), bindings: vec![one, two] })
}

fn register() -> Command {
    let contact = RequestedContact {
        contact: "sip:1001@192.0.2.9:5062".into(),
        expires_s: 3600,
        q_thousandths: 1000,
        instance: String::new(),
    };
    Command::Register(RegisterCommand {
        aor: aor(),
        call_id: "golden@vector".into(),
        cseq: 7,
        what: RequestedBinding::Contacts(vec![contact]),
        received: "198.51.100.9:40000".parse().unwrap(),
        listener: ListenerId(1),
        path: vec![],
        user_agent: "phone/1".into(),
        max_contacts: 10,
    })
}

/// One of each kind, with its golden octets.
fn to_server() -> Vec<(ToServer, &'static str)> {
    let hello = ToServer::Hello {
        node: NodeId(513),
        boot: BootId(3),
        history: HistoryId(8),
        level: Level(1000),
        subscribe: true,
    };
    let command = ToServer::Command { ask: 300, key: IdempotenceKey(1 << 100), command: register() };
    vec![
        (hello, "010081040308e80701"),
        (
            command,
            "0101ac02808080808080808080808080808004000e31303031407261636b2e746573740d676f6c64656e40766563746f\
             72070101177369703a31303031403139322e302e322e393a35303632901ce8070000c6336409c0b80201000770686f6e\
             652f310a",
        ),
        (ToServer::Ping, "0102"),
        (ToServer::Keys { plane: Span { oldest: 1, newest: 2 } }, "01030102"),
    ]
}

fn from_server() -> Vec<(FromServer, &'static str)> {
    let changes = vec![Change::Put(subscriber()), Change::Remove(RecordKey::Bindings(aor()))];
    let refused = Outcome::Refused { level: Level(1002), refusal: Refusal::TooManyContacts { limit: 10 } };
    vec![
        (FromServer::Welcome { history: HistoryId(8), level: Level(1000), reload: false }, "010008e80700"),
        (
            FromServer::Part { records: vec![subscriber(), bindings()] },
            "010102000e31303031407261636b2e74657374000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c\
             0d0e0f101112131415161718191a1b1c1d1e1f010e31303031407261636b2e7465737402177369703a31303031403139\
             322e302e322e393a35303632e807a0e16700c6336409c0b80201010d3c7369703a656467653b6c723e0575726e3a7807\
             70686f6e652f31ac02077369703a62406800000120010db8000000000000000000000009c4270000000000",
        ),
        (FromServer::PartEnd { level: Level(1000), sum: 1 << 100 }, "0102e807808080808080808080808080808004"),
        (
            FromServer::Entries(vec![Entry { level: Level(1001), time: LogTime(1_700_000), changes }]),
            "010301e907a0e1670200000e31303031407261636b2e74657374000102030405060708090a0b0c0d0e0f000102030405\
             060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f01010e31303031407261636b2e74657374",
        ),
        (FromServer::Outcome { ask: 300, outcome: refused }, "0104ac0202ea07010a"),
        (FromServer::Failed { ask: 300, reason: "disk full".into() }, "0105ac02096469736b2066756c6c"),
        (
            FromServer::Stamp { level: Level(1000), sum: 1 << 100, time: LogTime(1_700_000) },
            "0106e807808080808080808080808080808004a0e167",
        ),
    ]
}

mod golden {
    use super::*;

    #[test]
    fn heartbeats() {
        let golden = "deadface000002013b60000000000002007502010000000000000007000000000000000b000000000001e24000000000\
             000000630000000000000005000000000000002a020064ffff01000301000000000000000800000000000003e8000000\
             10000000000000000000000000020002030200000004021ae00c965b83bbd6501d8da6f94badac";
        assert_eq!(hex(&heartbeat::encode(&a_heartbeat(), &ring())), golden);
        assert_eq!(heartbeat::decode(&octets(golden), &ring(), false), Ok(a_heartbeat()));
    }

    #[test]
    fn a_version_2_heartbeat_whose_first_16_octets_are_in_the_other_order() {
        let golden = "cefaadde01020000603b000002000000007002010000000000000007000000000000000b000000000001e24000000000\
             000000630000000000000005000000000000002a020064ffff01000301000000000000000800000000000003e8000000\
             100000000000000000000000000200020302d0c9870ef977be3c257dc03fa6c12dbe";
        // It is of a sender that does not know `strays` and `hears` yet, too.
        let older = a_heartbeat().v2.map(|v2| V2 { strays: 0, hears: PlaneSet::BOTH, ..v2 });
        assert_eq!(heartbeat::decode(&octets(golden), &ring(), false), Ok(Heartbeat { v2: older, ..a_heartbeat() }));
    }

    #[test]
    fn control_frames() {
        let cases = [
            (
                a_beacon(),
                Plane::A,
                "535250310104010000000040034d580500020164010101ac02000206078104e807020300000002090304ff0001038201\
             0181040109c80101018104ef9bafcdf8acd191010101ac02800102006f87a78a222f0f90a6f3a2086c959237",
            ),
            (
                a_report(),
                Plane::B,
                "5352503102040101000000348104094d0400020164010101ac02000206078104e807020300000002090304ff00010382\
             010181040109c8010101010101010405893f4d69344affc8a5ea6433590bf197",
            ),
            (a_stopped(), Plane::A, "5352503103040100000000038104095798895f8993f5d252d543d6ccaf2e71"),
        ];
        for (message, plane, golden) in cases {
            assert_eq!(hex(&frame::encode(&message, &ring(), plane)), golden);
            assert_eq!(frame::decode(&octets(golden), &ring()), Ok(message));
        }
    }

    #[test]
    fn proxy_headers() {
        let cases = [
            (
                header_4(),
                85,
                "0d0a0d0a000d0a515549540a21120045c6336409c00002019c4013c4e0000b0100000000000000000003e10008000000\
             0000000005e200020100e6000401020304ef00110153eb839e58a3c7c3452d52dc1e657d82",
            ),
            (
                header_6(),
                139,
                "0d0a0d0a000d0a515549540a2121007b20010db800000000000000000000000920010db8000000000000000000000001\
             9c4013c5e0000b0202010000000000000003e100080000000000000005e200020102e300080102030405060708e40008\
             0001000200030302e500050100000009e6000401020304ef001101db93fdab703c69b36dc56695446373b7",
            ),
            (
                header_mixed(),
                109,
                "0d0a0d0a000d0a515549540a2122005d00000000000000000000ffffc633640920010db8000000000000000000000001\
             9c4013c4e0000b0300020000000000000003e100080000000000000005e200020000e6000401020304ef001101f2f626\
             8a35b32a6e959879aff6a40341",
            ),
        ];
        for (header, length, golden) in cases {
            assert_eq!(hex(&written(&header, CALL)), golden);
            let datagram = [octets(golden), CALL.to_vec()].concat();
            assert_eq!(read(&datagram), Ok((header, length)));
        }
        assert_eq!(proxy::MAX, 139, "the longest one there is");
    }

    #[test]
    fn sealed_records() {
        assert_eq!(
            hex(&sealed::hello(&ring(), [0x11; 32])),
            "53524c31011111111111111111111111111111111111111111111111111111111111111111"
        );
        let (mut up, _) = session([0x11; 32], [0x22; 32], Side::Connecting);
        let (mut down, _) = session([0x22; 32], [0x11; 32], Side::Listening);
        let mut wire = Vec::new();
        up.seal(b"first", &mut wire).unwrap();
        up.seal(b"second", &mut wire).unwrap();
        assert_eq!(
            hex(&wire),
            "00000015b7e0cf66750dce9c19147f0e17b497ba88e674ec6700000016c4efa2107e90e53c7c56e564e8c26b85ba79af\
             afe4c7"
        );
        wire.clear();
        down.seal(b"answer", &mut wire).unwrap();
        assert_eq!(hex(&wire), "0000001698bf10046ae7e791c690d72d3f63b0658aac671ab806");
    }

    #[test]
    fn location_frames() {
        for (message, golden) in to_server() {
            assert_eq!(hex(&message.encode()), golden);
            assert_eq!(ToServer::decode(&octets(golden)), Ok(message));
        }
        for (message, golden) in from_server() {
            assert_eq!(hex(&message.encode()), golden);
            assert_eq!(FromServer::decode(&octets(golden)), Ok(message));
        }
    }

    /// A subscriber with the third digest has another number in front; one without is written as ever.
    #[test]
    fn a_subscriber_of_three_digests() {
        let digests = "0e31303031407261636b2e74657374000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f1011\
                       12131415161718191a1b1c1d1e1f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f";
        let part = FromServer::Part { records: vec![subscriber_of_three(), subscriber()] };
        let golden = format!("01010202{digests}00{}", &digests[..digests.len() - 64]);
        assert_eq!(hex(&part.encode()), golden);
        assert_eq!(FromServer::decode(&octets(&golden)), Ok(part));
        for (record, golden) in [
            (subscriber_of_three(), format!("0101050104{digests}01")),
            (subscriber(), format!("0101050101{}01", &digests[..digests.len() - 64])),
        ] {
            let Record::Subscriber(subscriber) = record else { panic!("a subscriber") };
            let command = Command::PutSubscriber { subscriber, only_new: true };
            let message = ToServer::Command { ask: 5, key: IdempotenceKey(1), command };
            assert_eq!(hex(&message.encode()), golden);
            assert_eq!(ToServer::decode(&octets(&golden)), Ok(message));
        }
    }

    #[test]
    fn every_command_is_numbered_as_ever() {
        let number = |command: Command| ToServer::Command { ask: 0, key: IdempotenceKey(0), command }.encode()[4];
        assert_eq!(number(register()), 0);
        assert_eq!(number(Command::RemoveSubscriber { aor: aor() }), 2);
        let expire = Command::Expire { aor: aor(), contact: "sip:1001@192.0.2.9".into(), version: Level(300) };
        let message = ToServer::Command { ask: 0, key: IdempotenceKey(0), command: expire };
        assert_eq!(
            hex(&message.encode()),
            "0101000003\
             0e31303031407261636b2e74657374127369703a31303031403139322e302e322e39ac02"
        );
        assert_eq!(ToServer::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn record_sums() {
        let mut sum = RecordSum::new(&keys().record_sum);
        sum.add(&subscriber());
        assert_eq!(sum.value(), 0xd6c2_0789_6000_f6bf_8e1d_f663_d16a_5e20);
        sum.add(&bindings());
        assert_eq!(sum.value(), 0xb402_efb9_8286_c0ed_b751_09bd_d18b_439d);
    }
}

mod heartbeats {
    use super::*;

    #[test]
    fn any_flipped_bit_and_any_missing_end_is_refused() {
        let bytes = heartbeat::encode(&a_heartbeat(), &ring());
        for (bit, changed) in one_bit_off(&bytes) {
            assert!(heartbeat::decode(&changed, &ring(), true).is_err(), "bit {bit}");
        }
        for length in (0..bytes.len()).filter(|l| *l != 16) {
            assert!(heartbeat::decode(&bytes[..length], &ring(), true).is_err(), "{length} octets");
        }
        assert_eq!(heartbeat::decode(&bytes[..16], &ring(), false), Err(HeartbeatError::V1Refused));
        assert_eq!(heartbeat::decode(&bytes, &stranger(), true), Err(HeartbeatError::Mac));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let bytes = heartbeat::encode(&a_heartbeat(), &ring());
        let with = |at: usize, octet: u8| {
            let mut changed = bytes.clone();
            changed[at] = octet;
            heartbeat::decode(&changed, &ring(), false)
        };
        assert_eq!(with(18, 3), Err(HeartbeatError::UnknownVersion(3)));
        assert_eq!(with(19, 0), Err(HeartbeatError::UnknownKey(0)));
        assert_eq!(with(15, 5), Err(HeartbeatError::State(5)));
        assert_eq!(with(4, 1), Err(HeartbeatError::Node(0x0100_0201)));
        assert_eq!(with(0, 0), Err(HeartbeatError::NotOne(bytes.len())));
        assert!(matches!(with(17, 0), Err(HeartbeatError::Length { .. })));
    }

    #[test]
    fn fields_out_of_range_are_refused_though_the_mac_is_good() {
        let bytes = heartbeat::encode(&a_heartbeat(), &ring());
        // The plane is none of two; more backups than there can be; a backup list that is cut short by the MAC.
        for (at, octet) in [(76, 2), (109, 255), (109, 5)] {
            let mut changed = bytes[..bytes.len() - 16].to_vec();
            changed[at] = octet;
            let changed = signed("heartbeat", changed);
            assert_eq!(heartbeat::decode(&changed, &ring(), false), Err(HeartbeatError::Field), "octet {at}");
        }
    }

    #[test]
    fn fields_of_later_versions_in_front_of_the_mac_are_left_alone() {
        let bytes = heartbeat::encode(&a_heartbeat(), &ring());
        let mut longer = [&bytes[..bytes.len() - 16], b"later"].concat();
        let length = (longer.len() - 18 + 16) as u16;
        longer[16..18].copy_from_slice(&length.to_be_bytes());
        assert_eq!(heartbeat::decode(&signed("heartbeat", longer), &ring(), false), Ok(a_heartbeat()));
    }

    #[test]
    fn a_control_frames_mac_signs_no_heartbeat() {
        let bytes = heartbeat::encode(&a_heartbeat(), &ring());
        let other = signed("control", bytes[..bytes.len() - 16].to_vec());
        assert_eq!(heartbeat::decode(&other, &ring(), false), Err(HeartbeatError::Mac));
    }

    fn parts() -> impl Strategy<Value = V2> {
        let first = (any::<[u64; 6]>(), any::<u8>(), any::<[u16; 3]>(), any::<u8>(), any::<bool>());
        let second = (any::<[u64; 2]>(), any::<u128>(), vec(any::<u16>(), 0..=16));
        (first, second).prop_map(|((words, workers, shorts, class, b), (log, location_sum, backups))| V2 {
            boot: BootId(words[0]),
            sequence: words[1],
            sent_us: words[2],
            beacon_nonce: words[3],
            epoch: Epoch(words[4]),
            progress: words[5],
            workers,
            load: shorts[0],
            admit: shorts[1],
            class,
            domain: shorts[2],
            plane: if b { Plane::B } else { Plane::A },
            history: HistoryId(log[0]),
            level: Level(log[1]),
            location_sum,
            backups: backups.into_iter().map(NodeId).collect(),
            strays: words[5] as u32,
            hears: PlaneSet(words[4] as u8),
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(v2 in prop::option::of(parts()), node in 1u16.., sip_port: u16, state in 0usize..5) {
            let state = NodeState::ALL[state];
            let beat = Heartbeat { node: NodeId(node), sip_port, state, v2 };
            let bytes = heartbeat::encode(&beat, &ring());
            prop_assert!(heartbeat::is_heartbeat(&bytes));
            prop_assert_eq!(bytes.len() == 16, beat.v2.is_none());
            prop_assert_eq!(heartbeat::decode(&bytes, &ring(), true), Ok(beat));
        }

        #[test]
        fn a_version_1_node_of_either_byte_order_is_the_same_node(node in 1u16.., port: u16, state in 0usize..5) {
            let expected = Heartbeat { node: NodeId(node), sip_port: port, state: NodeState::ALL[state], v2: None };
            let (id, state) = (u32::from(node), state as u32);
            let big = [&0xDEAD_FACE_u32.to_be_bytes()[..], &id.to_be_bytes(), &port.to_be_bytes(), &[0, 0], &state.to_be_bytes()].concat();
            let little = [&0xDEAD_FACE_u32.to_le_bytes()[..], &id.to_le_bytes(), &port.to_le_bytes(), &[0, 0], &state.to_le_bytes()].concat();
            for bytes in [big, little] {
                prop_assert_eq!(heartbeat::decode(&bytes, &ring(), true), Ok(expected.clone()));
                prop_assert_eq!(heartbeat::decode(&bytes, &ring(), false), Err(HeartbeatError::V1Refused));
            }
        }

        #[test]
        fn octets_from_the_network_never_panic(bytes in vec(any::<u8>(), 0..300), key_known: bool) {
            let _ = heartbeat::decode(&bytes, &ring(), true);
            let mut shaped = [&heartbeat::encode(&Heartbeat { v2: None, ..a_heartbeat() }, &ring())[..], &bytes].concat();
            if let Some(field) = shaped.get_mut(16..20) {
                let length = (bytes.len() - 2 + if key_known { 16 } else { 0 }) as u16;
                field.copy_from_slice(&[(length >> 8) as u8, length as u8, 2, 1]);
            }
            // With a good MAC too: what a holder of the key writes is not trusted to be whole.
            let shaped = if key_known { signed("heartbeat", shaped) } else { shaped };
            let _ = heartbeat::decode(&shaped, &ring(), true);
        }
    }
}

mod frames {
    use super::*;

    #[test]
    fn any_flipped_bit_and_any_missing_end_is_refused() {
        for message in [a_beacon(), a_report(), a_stopped()] {
            let bytes = frame::encode(&message, &ring(), Plane::B);
            for (bit, changed) in one_bit_off(&bytes) {
                assert!(frame::decode(&changed, &ring()).is_err(), "bit {bit} of {message:?}");
            }
            for length in 0..bytes.len() {
                assert!(frame::decode(&bytes[..length], &ring()).is_err(), "{length} octets of {message:?}");
            }
            assert_eq!(frame::decode(&bytes, &stranger()), Err(FrameError::Mac));
        }
    }

    /// A frame with this head and body and a good MAC.
    fn framed(kind: u8, version: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = [&b"SRP1"[..], &[kind, version, 1, 0], &(body.len() as u32).to_be_bytes(), body].concat();
        bytes = signed("control", bytes);
        bytes
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(frame::decode(&framed(4, 4, b"xx"), &ring()), Err(FrameError::Unknown { kind: 4, version: 4 }));
        assert_eq!(frame::decode(&framed(1, 2, b"xx"), &ring()), Err(FrameError::Unknown { kind: 1, version: 2 }));
        assert_eq!(frame::decode(&framed(1, 4, b"\x80"), &ring()), Err(FrameError::Body(1)));
        let mut old_key = framed(3, 4, &[1, 1]);
        old_key[6] = 0;
        assert_eq!(frame::decode(&old_key, &ring()), Err(FrameError::UnknownKey(0)));
        let longer = [framed(3, 4, &[1, 1]), vec![0]].concat();
        assert_eq!(frame::decode(&longer, &ring()), Err(FrameError::Length { said: 2, there: 3 }));
    }

    #[test]
    fn fields_of_later_versions_in_front_of_the_mac_are_left_alone() {
        // Node 513 in postcard's variable length, boot id 9, and what a later version adds.
        let later = framed(3, 4, b"\x81\x04\x09later");
        assert_eq!(frame::decode(&later, &ring()), Ok(a_stopped()));
    }

    #[test]
    fn the_largest_rack_fits_into_a_datagram() {
        let member = |n: u16| Member {
            node: NodeId(65_000 + n),
            weight: 1000,
            class: 255,
            domain: 65_535,
            live: Some(BootId(u64::MAX)),
            draining: true,
            retired: vec![BootId(u64::MAX); 8],
        };
        let stood =
            |n: u16| Stood { node: NodeId(65_000 + n), live: Some(BootId(u64::MAX)), weight: 1000, draining: true };
        let echo = |n: u16| Echo {
            node: NodeId(65_000 + n),
            boot: BootId(u64::MAX),
            sequence: u64::MAX,
            planes: PlaneSet::BOTH,
        };
        let beacon = Message::Beacon(Beacon {
            lm_boot: BootId(u64::MAX),
            nonce: u64::MAX,
            sent_us: 88,
            epoch: Epoch(u64::MAX),
            inputs: Inputs { policy: Policy::Rendezvous, members: (0..250).map(member).collect(), ..Inputs::default() },
            formers: vec![
                Former { epoch: Epoch(u64::MAX), age_ms: u32::MAX, differ: (0..32).map(stood).collect() };
                MOST
            ],
            holders: (0..250).map(|n| NodeId(65_000 + n)).collect(),
            digest: u64::MAX,
            echoes: (0..250).map(echo).collect(),
            learning: true,
        });
        let bytes = frame::encode(&beacon, &ring(), Plane::A);
        assert!(bytes.len() < 65_507, "{} octets", bytes.len());
        assert_eq!(frame::decode(&bytes, &ring()), Ok(beacon));
    }

    fn members() -> impl Strategy<Value = Vec<Member>> {
        let one = (any::<[u16; 3]>(), any::<u8>(), any::<Option<u64>>(), vec(any::<u64>(), 0..9));
        let member = one.prop_map(|(shorts, class, live, retired)| Member {
            node: NodeId(shorts[0]),
            weight: shorts[1],
            class,
            domain: shorts[2],
            live: live.map(BootId),
            draining: shorts[0] % 2 == 1,
            retired: retired.into_iter().map(BootId).collect(),
        });
        vec(member, 0..12)
    }

    fn formers() -> impl Strategy<Value = Vec<Former>> {
        let stood = |(node, live, weight, draining): (u16, Option<u64>, u16, bool)| Stood {
            node: NodeId(node),
            live: live.map(BootId),
            weight,
            draining,
        };
        let former = (any::<u64>(), any::<u32>(), vec(any::<(u16, Option<u64>, u16, bool)>().prop_map(stood), 0..6));
        vec(former.prop_map(|(epoch, age_ms, differ)| Former { epoch: Epoch(epoch), age_ms, differ }), 0..4)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(members in members(), formers in formers(), words: [u64; 4], echoes in vec(any::<(u16, u64, u64)>(), 0..12), learning: bool, b: bool) {
            let plane = if b { Plane::B } else { Plane::A };
            let members_named = members.iter().map(|m| m.node).collect();
            let echo = |(node, boot, sequence)| Echo { node: NodeId(node), boot: BootId(boot), sequence, planes: PlaneSet(sequence as u8) };
            let inputs = Inputs { policy: Policy::Rendezvous, members, ..Inputs::default() };
            let report = Report { node: NodeId(words[0] as u16), boot: BootId(words[1]), nonce: words[3], epoch: Epoch(words[2]), inputs: inputs.clone(), formers: formers.clone(), keys: None };
            let beacon = Beacon {
                lm_boot: BootId(words[0]),
                nonce: words[1],
                sent_us: 88,
                epoch: Epoch(words[2]),
                inputs,
                formers,
                holders: members_named,
                digest: words[3],
                echoes: echoes.into_iter().map(echo).collect(),
                learning,
            };
            for message in [Message::Beacon(beacon), Message::Report(report)] {
                prop_assert_eq!(frame::decode(&frame::encode(&message, &ring(), plane), &ring()), Ok(message));
            }
        }

        #[test]
        fn octets_from_the_network_never_panic(bytes in vec(any::<u8>(), 0..300), kind in 0u8..5) {
            let _ = frame::decode(&bytes, &ring());
            let _ = frame::decode(&framed(kind, 4, &bytes), &ring());
        }
    }
}

mod proxy_headers {
    use super::*;

    const FOUR: &[u8] = &[198, 51, 100, 9, 192, 0, 2, 1, 0x9c, 0x40, 0x13, 0xc4];

    /// The TLVs that a header cannot do without.
    fn needed() -> Vec<u8> {
        let vector = written(&header_4(), CALL);
        vector[16 + 12..vector.len() - 20].to_vec()
    }

    #[test]
    fn any_flipped_bit_and_any_missing_end_is_refused() {
        for header in [header_4(), header_6(), header_mixed()] {
            let bytes = written(&header, CALL);
            let datagram = [&bytes[..], CALL].concat();
            for (bit, changed) in one_bit_off(&datagram) {
                assert!(read(&changed).is_err(), "bit {bit} of {header:?}");
            }
            for length in 0..datagram.len() {
                assert!(read(&datagram[..length]).is_err(), "{length} octets of {header:?}");
            }
            assert_eq!(ProxyHeader::read(&datagram, &stranger(), whole), Err(ProxyError::Mac));
            assert_eq!(ProxyHeader::read(&datagram, &ring(), |_| None), Err(ProxyError::NoCallId));
        }
    }

    #[test]
    fn a_header_serves_the_call_it_was_written_for() {
        let datagram = [&written(&header_4(), CALL)[..], b"another@vector"].concat();
        assert_eq!(read(&datagram), Err(ProxyError::Mac));
    }

    #[test]
    fn tlvs_that_nobody_knows_yet_are_skipped() {
        for unknown in [&b"\xEA\0\x05later"[..], b"\xEE\0\0", b"\x04\0\x02\0\0"] {
            let ours = with_tlvs(0x12, FOUR, &[&needed()[..], unknown].concat());
            assert_eq!(read(&ours).map(|(header, _)| header), Ok(header_4()));
            let first = with_tlvs(0x12, FOUR, &[unknown, &needed()[..]].concat());
            assert_eq!(read(&first).map(|(header, _)| header), Ok(header_4()));
        }
    }

    #[test]
    fn what_is_wrong_is_said_though_the_mac_is_good() {
        let said = |family, addresses: &[u8], tlvs: &[u8]| read(&with_tlvs(family, addresses, tlvs)).map(|_| ());
        let (all, short) = (needed(), |from: usize, to: usize| needed()[from..to].to_vec());
        assert_eq!(said(0x12, FOUR, &all), Ok(()));
        assert_eq!(said(0x12, FOUR, &short(14, 37)), Err(ProxyError::Missing(0xE0)));
        assert_eq!(said(0x12, FOUR, &[short(0, 14), short(25, 37)].concat()), Err(ProxyError::Missing(0xE1)));
        assert_eq!(said(0x12, FOUR, &[short(0, 25), short(30, 37)].concat()), Err(ProxyError::Missing(0xE2)));
        assert_eq!(said(0x12, FOUR, &short(0, 30)), Err(ProxyError::Missing(0xE6)));
        assert_eq!(said(0x31, FOUR, &all), Err(ProxyError::Family(0x31)));
        assert_eq!(said(0x00, &[], &all), Err(ProxyError::Family(0)));
        assert_eq!(said(0x22, FOUR, &[]), Err(ProxyError::Length), "IPv4's addresses in a header for IPv6");
        let with = |tlv: &[u8]| said(0x12, FOUR, &[&all[..], tlv].concat());
        assert_eq!(with(b"\xE3\0\x01x"), Err(ProxyError::Tlv(0xE3)));
        assert_eq!(with(b"\xE4\0\x0a1234567890"), Err(ProxyError::Tlv(0xE4)), "five visited nodes");
        assert_eq!(with(b"\xE4\0\x03abc"), Err(ProxyError::Tlv(0xE4)));
        assert_eq!(with(b"\xE2\0\x02\0\x09"), Err(ProxyError::Tlv(0xE2)), "no such transport");
        assert_eq!(with(b"\xE6\0\x03abc"), Err(ProxyError::Tlv(0xE6)));
        assert_eq!(with(b"\xE5\0\x09abc"), Err(ProxyError::Length), "a TLV that runs into the MAC");
        assert_eq!(with(b"\xE5\0"), Err(ProxyError::Length));
        let datagram = [written(&header_4(), CALL), CALL.to_vec()].concat();
        assert_eq!(read(b"OPTIONS sip:rack.test SIP/2.0\r\n\r\n"), Err(ProxyError::NotOne));
        let mut old_key = datagram.clone();
        old_key[85 - 17] = 0;
        assert_eq!(read(&old_key), Err(ProxyError::UnknownKey(0)));
        let mut other_end = datagram;
        other_end[85 - 20] = 0xEE;
        assert_eq!(read(&other_end), Err(ProxyError::Missing(0xEF)), "the MAC is last");
    }

    fn headers() -> impl Strategy<Value = ProxyHeader> {
        // An address that is IPv4 inside IPv6 comes back as the IPv4 address that it is.
        let plain = |ip: IpAddr| !matches!(ip, IpAddr::V6(six) if six.to_ipv4_mapped().is_some());
        let address =
            (any::<IpAddr>().prop_filter("mapped", move |ip| plain(*ip)), any::<u16>()).prop_map(SocketAddr::from);
        let numbers = (any::<u16>(), any::<[u64; 3]>(), any::<u8>());
        let rest = (0usize..5, vec(any::<u16>(), 0..=4), prop::option::of((0usize..3, any::<u32>())), 0usize..3);
        (address.clone(), address, numbers, rest).prop_map(|(source, destination, (sender, words, listener), rest)| {
            let (transport, visited, inquiry, direction) = rest;
            let kinds = [Inquiry::Yours, Inquiry::Mine, Inquiry::NotMine];
            ProxyHeader {
                source,
                destination,
                sender: NodeId(sender),
                boot: BootId(words[0]),
                epoch: Epoch(words[1]),
                listener: ListenerId(listener),
                transport: Transport::from_u8(transport as u8).unwrap(),
                connection: words[2],
                visited: visited.into_iter().map(NodeId).collect(),
                inquiry: inquiry.map(|(kind, number)| (kinds[kind], number)),
                sent: Sent(words[0] as u32),
                direction: [Direction::Ingress, Direction::Egress, Direction::Inside][direction],
            }
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(header in headers(), call in vec(any::<u8>(), 1..80)) {
            let bytes = written(&header, &call);
            prop_assert!(bytes.len() <= proxy::MAX);
            let datagram = [&bytes[..], &call].concat();
            prop_assert_eq!(read(&datagram), Ok((header, bytes.len())));
        }

        #[test]
        fn octets_from_the_network_never_panic(bytes in vec(any::<u8>(), 0..300), family in 0usize..6) {
            let _ = read(&bytes);
            let family = [0x11, 0x12, 0x21, 0x22, 0x00, 0x31][family];
            let _ = read(&[b"\r\n\r\n\0\r\nQUIT\n\x21", &[family][..], &bytes].concat());
            let _ = read(&with_tlvs(family, &[0; 36], &bytes));
            let _ = read(&with_tlvs(family, &bytes, &[]));
        }

        #[test]
        fn an_ipv4_address_inside_ipv6_is_that_ipv4_address(four: [u8; 4], port: u16) {
            let mapped = Ipv6Addr::from([0, 0, 0, 0, 0, 0xFFFF, u16::from_be_bytes([four[0], four[1]]), u16::from_be_bytes([four[2], four[3]])]);
            let header = ProxyHeader { source: SocketAddr::from((mapped, port)), ..header_4() };
            let datagram = [written(&header, CALL), CALL.to_vec()].concat();
            prop_assert_eq!(read(&datagram).unwrap().0.source, SocketAddr::from((four, port)));
        }
    }
}

mod sealed_records {
    use super::*;

    #[test]
    fn any_flipped_bit_any_missing_end_and_any_change_of_order_is_refused() {
        let (mut sealer, _) = upwards();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        sealer.seal(b"first record", &mut first).unwrap();
        sealer.seal(b"second record", &mut second).unwrap();
        let (_, mut opener) = upwards();
        for (bit, changed) in one_bit_off(&first[4..]) {
            assert_eq!(opener.open(&changed), Err(SealedError::Forged), "bit {bit}");
        }
        for length in 4..first.len() {
            assert_eq!(opener.open(&first[4..length]), Err(SealedError::Forged), "{length} octets");
        }
        assert_eq!(opener.open(&second[4..]), Err(SealedError::Forged), "a lost record");
        assert_eq!(opener.open(&first[4..]).unwrap(), b"first record");
        assert_eq!(opener.open(&first[4..]), Err(SealedError::Forged), "a repeated record");
        assert_eq!(opener.open(&second[4..]).unwrap(), b"second record");
    }

    #[test]
    fn what_was_recorded_opens_nowhere_else() {
        let (mut sealer, _) = upwards();
        let mut wire = Vec::new();
        sealer.seal(b"hello", &mut wire).unwrap();
        // Another connection's nonce, the other direction, and the speaker's own words thrown back at it.
        let mut others = [
            session([0x23; 32], [0x11; 32], Side::Listening).1,
            session([0x22; 32], [0x12; 32], Side::Listening).1,
            session([0x11; 32], [0x22; 32], Side::Connecting).1,
            session([0x11; 32], [0x11; 32], Side::Connecting).1,
        ];
        for opener in &mut others {
            assert_eq!(opener.open(&wire[4..]), Err(SealedError::Forged));
        }
    }

    #[test]
    fn a_hello_that_cannot_be_answered_is_told_apart() {
        let own = sealed::hello(&ring(), [1; 32]);
        let said = |at: usize, octet: u8| {
            let mut peer = sealed::hello(&ring(), [2; 32]);
            peer[at] = octet;
            sealed::session(&ring(), Side::Listening, &own, &peer).map(|_| ())
        };
        assert_eq!(said(4, 1), Ok(()));
        assert_eq!(said(0, b'G'), Err(SealedError::NotOne));
        assert_eq!(said(4, 0), Ok(()), "an older one: ours counts");
        assert_eq!(said(4, 100), Err(SealedError::UnknownKey(100)));
    }

    #[test]
    fn lengths_are_bounded_before_anything_is_read() {
        let said = |n: usize| Opener::length((n as u32).to_be_bytes());
        assert_eq!((said(16), said(MAX_PLAIN + 16)), (Ok(16), Ok(MAX_PLAIN + 16)));
        assert_eq!(
            (said(15), said(MAX_PLAIN + 17)),
            (Err(SealedError::Length(15)), Err(SealedError::Length(MAX_PLAIN + 17)))
        );
        let mut wire = Vec::new();
        let refused = upwards().0.seal(&vec![0; MAX_PLAIN + 1], &mut wire);
        assert_eq!((refused, wire.len()), (Err(SealedError::Length(MAX_PLAIN + 1)), 0));
    }

    proptest! {
        #[test]
        fn what_was_sealed_is_opened(records in vec(vec(any::<u8>(), 0..400), 0..8)) {
            let (mut sealer, mut opener) = upwards();
            let mut wire = Vec::new();
            records.iter().for_each(|record| sealer.seal(record, &mut wire).unwrap());
            let mut rest = &wire[..];
            for record in records {
                let (field, behind) = rest.split_at(4);
                let (sealed, behind) = behind.split_at(Opener::length(field.try_into().unwrap()).unwrap());
                prop_assert_eq!(opener.open(sealed), Ok(record));
                rest = behind;
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn octets_from_the_network_never_panic(bytes in vec(any::<u8>(), 0..200), hello in any::<[u8; 32]>(), start in any::<[u8; 5]>()) {
            prop_assert_eq!(upwards().1.open(&bytes), Err(SealedError::Forged));
            let mut peer = sealed::hello(&ring(), hello);
            peer[..5].copy_from_slice(&start);
            let _ = sealed::session(&ring(), Side::Listening, &sealed::hello(&ring(), [1; 32]), &peer);
        }
    }
}

mod location_frames {
    use super::*;

    #[test]
    fn another_version_an_empty_frame_and_a_cut_one_are_refused() {
        for (message, _) in from_server() {
            let mut bytes = message.encode();
            for length in 1..bytes.len() {
                let cut = FromServer::decode(&bytes[..length]);
                assert!(matches!(cut, Err(LocationFrameError::Body(_))), "{length} octets of {message:?}: {cut:?}");
            }
            bytes[0] = 2;
            assert_eq!(FromServer::decode(&bytes), Err(LocationFrameError::UnknownVersion(2)));
        }
        for (message, _) in to_server() {
            let mut bytes = message.encode();
            (1..bytes.len()).for_each(|length| assert!(ToServer::decode(&bytes[..length]).is_err()));
            bytes[0] = 0;
            assert_eq!(ToServer::decode(&bytes), Err(LocationFrameError::UnknownVersion(0)));
        }
        assert_eq!(ToServer::decode(&[]), Err(LocationFrameError::Empty));
        assert!(matches!(FromServer::decode(&[1, 7]), Err(LocationFrameError::Body(_))), "a kind of a later version");
    }

    #[test]
    fn octets_behind_a_frame_are_of_a_later_version_and_left_alone() {
        for (message, _) in from_server() {
            assert_eq!(FromServer::decode(&[&message.encode()[..], b"later"].concat()), Ok(message));
        }
    }

    proptest! {
        #[test]
        fn octets_from_the_network_never_panic(bytes in vec(any::<u8>(), 0..400)) {
            let framed = [&[1][..], &bytes].concat();
            let _ = (ToServer::decode(&bytes), ToServer::decode(&framed));
            let _ = (FromServer::decode(&bytes), FromServer::decode(&framed));
        }

        #[test]
        fn changed_frames_never_panic(at: prop::sample::Index, octet: u8) {
            for (message, _) in from_server() {
                let mut bytes = message.encode();
                let at = at.index(bytes.len());
                bytes[at] = octet;
                let _ = FromServer::decode(&bytes);
            }
        }
    }
}

mod record_sums {
    use super::*;

    fn record(n: u16) -> Record {
        let aor = Aor::new(&n.to_string(), "rack.test");
        Record::Subscriber(Subscriber {
            aor,
            ha1_md5: [n as u8; 16],
            ha1_sha256: [1; 32],
            ha1_sha512_256: n.is_multiple_of(2).then_some([n as u8; 32]),
        })
    }

    fn sum(records: &[Record]) -> u128 {
        let mut sum = RecordSum::new(&keys().record_sum);
        records.iter().for_each(|r| sum.add(r));
        sum.value()
    }

    #[test]
    fn another_rack_has_other_sums_and_a_doubled_record_shows() {
        let mut other = RecordSum::new(&[9; 16]);
        other.add(&subscriber());
        assert_ne!(other.value(), sum(&[subscriber()]));
        assert_ne!(sum(&[subscriber(), subscriber()]), 0, "a sum, no exclusive or");
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter_and_what_left_leaves_nothing(numbers in vec(any::<u16>(), 0..20), gone in vec(any::<u16>(), 0..20)) {
            let kept: Vec<Record> = numbers.iter().map(|n| record(*n)).collect();
            let mut running = RecordSum::new(&keys().record_sum);
            gone.iter().for_each(|n| running.add(&record(*n)));
            kept.iter().rev().for_each(|r| running.add(r));
            gone.iter().rev().for_each(|n| running.remove(&record(*n)));
            prop_assert_eq!(running.value(), sum(&kept));
        }
    }
}
