//! Round trips, golden vectors, and what must be refused.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::keys::{Keys, RackKey, Span};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;

const FROM: Sender = Sender { node: NodeId(513), boot: BootId(0x0102_0304_0506_0708), worker: 3 };
const SENT: Sent = Sent(0x0a0b_0c0d);

fn ring() -> KeyRing<[u8; 32]> {
    Keys::derive(&RackKey(std::array::from_fn(|i| i as u8))).plane
}

fn other_ring() -> KeyRing<[u8; 32]> {
    Keys::derive(&RackKey([9; 32])).plane
}

fn span(oldest: u8, newest: u8) -> Span {
    Span { oldest, newest }
}

fn sealer_of(sender: Sender) -> Sealer {
    Sealer::new(Kind::Shadow, sender)
}

fn new_opener() -> Opener {
    Opener::new(Kind::Shadow)
}

fn sealed(sealer: &mut Sealer, ring: &KeyRing<[u8; 32]>, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    sealer.seal(ring, Plane::B, SENT, plain, &mut out);
    out
}

fn opened(key: u8, plain: &[u8]) -> Opened {
    Opened { from: FROM, sent: SENT, plane: Plane::B, key, plain: plain.to_vec() }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|b| format!("{b:02x}")).collect()
}

fn counter(datagram: &[u8]) -> u64 {
    u64::from_be_bytes(field(datagram.first_chunk().unwrap(), 24))
}

#[test]
fn datagrams_open_as_they_were_sealed_in_any_order_and_again() {
    let (ring, mut sealer, mut opener) = (ring(), sealer_of(FROM), new_opener());
    let plains = [&b""[..], b"a record", &[7; 1_200]];
    let datagrams = plains.map(|plain| sealed(&mut sealer, &ring, plain));
    for (plain, datagram) in plains.iter().zip(&datagrams).rev() {
        assert!(is_packet(datagram));
        assert_eq!(datagram.len(), plain.len() + OVERHEAD);
        assert_eq!(opener.open(&ring, datagram), Ok(opened(1, plain)));
        assert_eq!(opener.open(&ring, datagram), Ok(opened(1, plain)), "again");
    }
}

#[test]
fn what_stood_in_the_buffer_is_left_alone() {
    let (ring, mut sealer) = (ring(), sealer_of(FROM));
    let mut out = b"before".to_vec();
    sealer.seal(&ring, Plane::B, SENT, b"a record", &mut out);
    assert_eq!(&out[..6], b"before");
    assert_eq!(new_opener().open(&ring, &out[6..]), Ok(opened(1, b"a record")));
}

/// Computed from FORMATS.md in Python, with hmac and hashlib and the `cryptography` package's ChaCha20Poly1305, which was
/// held against the vector of RFC 8439 §2.8.2 first. Rack key 00 01 … 1f.
#[test]
fn golden_vectors() {
    let (ring, mut sealer, mut opener) = (ring(), sealer_of(FROM), new_opener());
    let cases = [
        (
            span(1, 1),
            Plane::B,
            &b"a record"[..],
            "53525331010101010201000301020304050607080a0b0c0d00000000000000007c99fe19a5d3e7f3f3ed5fd6d82235bf\
             a1a0130bcd997fd8",
        ),
        (
            span(1, 1),
            Plane::A,
            &b""[..],
            "53525331010101000201000301020304050607080a0b0c0d000000000000000151365fa4c1db8963fd033ee515d9511f",
        ),
        (
            span(1, 2),
            Plane::A,
            &b"under the next key"[..],
            "53525331010102000201000301020304050607080a0b0c0d000000000000000290697717867502275cc345b472f0d269\
             cb05e3537c822cfaa0544df486a2d29673cb",
        ),
    ];
    for (stands, plane, plain, golden) in cases {
        ring.turn(stands);
        let mut out = Vec::new();
        sealer.seal(&ring, plane, SENT, plain, &mut out);
        assert_eq!(hex(&out), golden);
        assert_eq!(opener.open(&ring, &out), Ok(Opened { plane, ..opened(stands.newest, plain) }));
    }
}

#[test]
fn every_flipped_bit_is_refused_of_a_stranger_and_of_one_who_is_known() {
    let ring = ring();
    let datagram = sealed(&mut sealer_of(FROM), &ring, b"a record");
    let mut known = new_opener();
    assert_eq!(known.open(&ring, &datagram), Ok(opened(1, b"a record")));
    for bit in 0..8 * datagram.len() {
        let mut changed = datagram.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(new_opener().open(&ring, &changed).is_err(), "bit {bit}");
        assert!(known.open(&ring, &changed).is_err(), "bit {bit}");
    }
    assert_eq!(known.ciphers.len(), 1);
}

#[test]
fn what_is_wrong_is_told_apart() {
    let ring = ring();
    ring.turn(span(1, 1));
    let datagram = sealed(&mut sealer_of(FROM), &ring, b"a record");
    let with = |at: usize, octet: u8| {
        let mut changed = datagram.clone();
        changed[at] = octet;
        new_opener().open(&ring, &changed).unwrap_err()
    };
    assert_eq!(with(0, b'X'), PacketError::NotOne);
    assert_eq!(with(4, 2), PacketError::UnknownKind(2));
    assert_eq!(with(5, 2), PacketError::UnknownVersion(2));
    assert_eq!(with(6, 100), PacketError::UnknownKey(100));
    assert_eq!(with(7, 0), PacketError::Forged, "sent over the other plane");
    assert_eq!(with(7, 2), PacketError::Forged, "there is no such plane");
    assert_eq!(with(9, 2), PacketError::Forged, "another node");
    assert_eq!(with(11, 4), PacketError::Forged, "another worker");
    assert_eq!(with(19, 9), PacketError::Forged, "another incarnation");
    assert_eq!(with(23, 0), PacketError::Forged, "at another time");
    assert_eq!(with(31, 1), PacketError::Forged, "another one of its datagrams");
    assert_eq!(PacketError::UnknownVersion(2).to_string(), "version 2 of sealed datagrams, not 1");
}

#[test]
fn a_datagram_cut_short_anywhere_or_made_longer_is_refused() {
    let ring = ring();
    let datagram = sealed(&mut sealer_of(FROM), &ring, b"a record");
    for length in 0..datagram.len() {
        let expected = match length {
            0..4 => PacketError::NotOne,
            4..OVERHEAD => PacketError::Length,
            _ => PacketError::Forged,
        };
        assert_eq!(new_opener().open(&ring, &datagram[..length]), Err(expected), "{length} octets");
    }
    assert_eq!(new_opener().open(&ring, &[&datagram[..], b"more"].concat()), Err(PacketError::Forged));
}

#[test]
fn another_racks_key_opens_nothing() {
    let datagram = sealed(&mut sealer_of(FROM), &other_ring(), b"a record");
    assert_eq!(new_opener().open(&ring(), &datagram), Err(PacketError::Forged));
}

#[test]
fn a_key_that_was_turned_away_from_opens_nothing_though_its_sender_is_remembered() {
    let (ring, mut sealer, mut opener) = (ring(), sealer_of(FROM), new_opener());
    let old = sealed(&mut sealer, &ring, b"a record");
    assert_eq!(opener.open(&ring, &old), Ok(opened(1, b"a record")));
    ring.turn(span(1, 2));
    assert_eq!(opener.open(&ring, &old), Ok(opened(1, b"a record")), "both stand");
    ring.turn(span(2, 2));
    assert_eq!(opener.open(&ring, &old), Err(PacketError::UnknownKey(1)));
    assert_eq!(opener.open(&ring, &sealed(&mut sealer, &ring, b"a record")), Ok(opened(2, b"a record")));
}

#[test]
fn who_has_not_heard_of_a_turn_yet_opens_what_comes_after_it() {
    let (ahead, behind) = (ring(), ring());
    ahead.turn(span(1, 2));
    behind.turn(span(1, 1));
    let datagram = sealed(&mut sealer_of(FROM), &ahead, b"a record");
    assert_eq!(new_opener().open(&behind, &datagram), Ok(opened(2, b"a record")));
}

#[test]
fn no_nonce_comes_twice_however_often_the_key_turns() {
    let (ring, mut sealer, mut opener) = (ring(), sealer_of(FROM), new_opener());
    let mut texts = BTreeSet::new();
    // All the way round: the first key comes back.
    for (id, number) in (1..=u8::MAX).chain([0, 1]).zip(0u64..) {
        ring.turn(span(id, id));
        let [first, second] = [b"one", b"two"].map(|plain| sealed(&mut sealer, &ring, plain));
        assert_eq!((counter(&first), counter(&second)), (2 * number, 2 * number + 1));
        assert_eq!(opener.open(&ring, &first), Ok(opened(id, b"one")));
        assert_eq!(opener.open(&ring, &second), Ok(opened(id, b"two")));
        texts.insert(first[HEAD..].to_vec());
    }
    assert_eq!(texts.len(), 257, "the same octets were never sealed alike");
}

#[test]
fn every_worker_of_every_incarnation_has_a_key_of_its_own() {
    let ring = ring();
    let senders = [
        FROM,
        Sender { node: NodeId(514), ..FROM },
        Sender { boot: BootId(0x0102_0304_0506_0709), ..FROM },
        Sender { worker: 4, ..FROM },
    ];
    // The ciphertext alone: the tag differs by the head, too.
    let plain = [0u8; 64];
    let text = |sender: &Sender| sealed(&mut sealer_of(*sender), &ring, &plain)[HEAD..HEAD + plain.len()].to_vec();
    let texts: BTreeSet<Vec<u8>> = senders.iter().map(text).collect();
    assert_eq!(texts.len(), senders.len());
}

#[test]
fn forged_datagrams_leave_nothing_behind() {
    let (ring, other, mut opener) = (ring(), other_ring(), new_opener());
    for worker in 0..100 {
        let forged = sealed(&mut sealer_of(Sender { worker, ..FROM }), &other, b"a record");
        assert_eq!(opener.open(&ring, &forged), Err(PacketError::Forged));
    }
    assert_eq!((opener.ciphers.len(), opener.order.len()), (0, 0));
}

#[test]
fn what_is_remembered_is_bounded_and_who_was_forgotten_is_heard_all_the_same() {
    let (ring, mut opener) = (ring(), new_opener());
    let mut say = |worker: u16| {
        let from = Sender { worker, ..FROM };
        let datagram = sealed(&mut sealer_of(from), &ring, b"a record");
        assert_eq!(opener.open(&ring, &datagram), Ok(Opened { from, ..opened(1, b"a record") }));
        assert_eq!(opener.ciphers.len(), opener.order.len());
        (opener.ciphers.len(), opener.order.front().map(|(_, oldest)| oldest.worker))
    };
    let most = MOST as u16;
    (0..most).for_each(|worker| assert_eq!(say(worker), (usize::from(worker) + 1, Some(0))));
    assert_eq!(say(0), (MOST, Some(0)), "known");
    assert_eq!(say(most), (MOST, Some(1)), "a new one");
    assert_eq!(say(0), (MOST, Some(2)), "forgotten, and known again");
}

proptest! {
    #[test]
    fn nothing_from_the_network_panics_or_opens(bytes in vec(any::<u8>(), 0..200)) {
        let ring = ring();
        for start in [&b""[..], b"SRS1", b"SRS1\x01\x01\x01\x00"] {
            let datagram = [start, &bytes].concat();
            prop_assert!(new_opener().open(&ring, &datagram).is_err());
        }
    }
}
