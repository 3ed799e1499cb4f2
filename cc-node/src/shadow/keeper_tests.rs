//! Who goes on with a call whose holders have died one after the other, and with what he knows of it. Node 3 is the one.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::image::Image;
use crate::record::{RecordNo, What};
use crate::shadow::testing::{self, accepted, key};
use crate::shadow::words::{Body, decode, encode};
use bytes::Bytes;
use common::ids::Epoch;
use common::time::WallMillis;

const RACK: &str = "
name: test
listeners: [{ address: 192.0.2.1, port: 5060, transport: udp }]
domains: [{ name: rack.test, auth: none, provisioning: open }]
one_machine: { nodes: 4 }
";
const BOOT: BootId = BootId(7);
const US: Post = post(3);
const OTHER: Post = post(4);

const fn post(node: u16) -> Post {
    Post { node: NodeId(node), boot: BOOT, worker: 0 }
}

fn placements(epoch: u64, live: &[u16]) -> Placements {
    let live: Vec<(u16, u64)> = live.iter().map(|node| (*node, BOOT.0)).collect();
    let inputs = testing::placement(4, &live).inputs().clone();
    let current = Arc::new(Placement::compute(&[5; 16], Epoch(epoch), inputs));
    Placements::first(current)
}

/// A call that is node 1's, then node 2's, then node 3's.
fn call() -> CallHash {
    let of = |live: &[u16], hash: CallHash| placements(1, live).current.owner(hash.slot());
    let is = |hash: &CallHash| {
        of(&[1, 2, 3, 4], *hash) == Some(NodeId(1))
            && of(&[2, 3, 4], *hash) == Some(NodeId(2))
            && of(&[3, 4], *hash) == Some(NodeId(3))
    };
    (0..u16::MAX).map(|slot| CallHash(u64::from(slot) << 48)).find(is).unwrap()
}

fn image(cancelled: bool) -> Box<Image> {
    let mut image = Image::default();
    let invite = Bytes::from_static(b"INVITE sip:b@rack.test SIP/2.0\r\n\r\n");
    image.apply(Time(0), &key(call()), What::Accepted(accepted(invite, WallMillis(0))));
    if cancelled {
        image.apply(Time(0), &key(call()), What::Cancelled);
    }
    Box::new(image)
}

fn hear(shadows: &mut Shadows, now: Time, from: Post, word: &Word) {
    let plain = {
        let mut mail = Mail::default();
        mail.put(US, crate::effect::Over::EveryPlane, &encode(word));
        mail.take().remove(0).plain
    };
    shadows.packet(now, from, &plain, &mut Vec::new()).unwrap();
}

fn said(shadows: &mut Shadows) -> Vec<Word> {
    shadows.parcels().iter().flat_map(|parcel| decode(parcel.to, &parcel.plain).unwrap()).collect()
}

/// The number of its question about the calls of this node.
fn asked(words: &[Word], about: u16) -> u32 {
    let is = |word: &Word| match word {
        Word::Which { question, dead, .. } if *dead == NodeId(about) => Some(*question),
        _ => None,
    };
    words.iter().find_map(is).unwrap()
}

#[test]
fn who_has_come_since_a_holder_died_follows_the_heir_who_had_not_gone_on() {
    let mut shadows = Shadows::new(US, &common::config::Rack::from_yaml("test.yaml", RACK).unwrap().expand());
    let (hash, at) = (call(), |ms: u64| Time(ms * 1000));
    // Node 1 dies while node 3 is away, node 2 before it has gone on with its call: node 4 alone knows of it.
    for (epoch, live) in [(1, &[1, 2, 4][..]), (2, &[2, 4]), (3, &[2, 3, 4])] {
        shadows.stand(at(epoch), &placements(epoch, live), &mut Vec::new());
    }
    said(&mut shadows);
    shadows.stand(at(4), &placements(4, &[3, 4]), &mut Vec::new());
    let words = said(&mut shadows);
    let (one, two) = (asked(&words, 1), asked(&words, 2));
    let these = |question, calls| Word::These { question, part: 0, parts: 1, calls };
    hear(&mut shadows, at(5), OTHER, &these(two, Vec::new()));
    hear(&mut shadows, at(5), OTHER, &these(one, vec![(hash, RecordNo(9))]));
    assert!(said(&mut shadows).contains(&Word::Fetch { question: one, hashes: vec![hash] }));
    let image = Some(image(false));
    hear(&mut shadows, at(6), OTHER, &Word::Fetched { question: one, hash, no: RecordNo(9), clock: at(6), image });
    assert_eq!(shadows.next_heir(at(6)).map(|(hash, holder, _)| (hash, holder)), Some((hash, NodeId(1))));
}

#[test]
fn a_call_that_somebody_has_taken_up_before_he_died_goes_on_as_he_has_told_it() {
    let mut shadows = Shadows::new(US, &common::config::Rack::from_yaml("test.yaml", RACK).unwrap().expand());
    let (hash, at) = (call(), |ms: u64| Time(ms * 1000));
    let stands = |shadows: &mut Shadows, ms, epoch, live: &[u16]| {
        shadows.stand(at(ms), &placements(epoch, live), &mut Vec::new());
    };
    stands(&mut shadows, 0, 1, &[1, 2, 3, 4]);
    let body = Body::Whole { no: RecordNo(9), hash, clock: at(1), image: image(false) };
    hear(&mut shadows, at(1), post(1), &Word::Letter { number: 1, floor: 1, body });
    // Node 1 dies, and the call is node 2's. What that one tells of it comes to node 4 alone.
    stands(&mut shadows, 100, 2, &[2, 3, 4]);
    shadows.tick(at(400), &mut Vec::new());
    assert_eq!(shadows.next_heir(at(400)), None);
    // Node 2 dies.
    said(&mut shadows);
    stands(&mut shadows, 500, 3, &[3, 4]);
    let words = said(&mut shadows);
    let asked = |about| asked(&words, about);
    let none = |question| Word::These { question, part: 0, parts: 1, calls: Vec::new() };
    hear(&mut shadows, at(501), OTHER, &none(asked(1)));
    assert_eq!(shadows.next_heir(at(501)), None, "node 2 may have gone on with it");
    assert!(shadows.is_inheriting(hash));
    let calls = vec![(hash, RecordNo(2))];
    hear(&mut shadows, at(502), OTHER, &Word::These { question: asked(2), part: 0, parts: 1, calls });
    assert!(said(&mut shadows).contains(&Word::Fetch { question: asked(2), hashes: vec![hash] }));
    let image = Some(image(true));
    hear(
        &mut shadows,
        at(503),
        OTHER,
        &Word::Fetched { question: asked(2), hash, no: RecordNo(2), clock: at(503), image },
    );
    let (taken, holder, image) = shadows.next_heir(at(503)).unwrap();
    assert_eq!((taken, holder), (hash, NodeId(2)));
    assert!(image.parts()[0].invite.as_ref().unwrap().cancelled, "as node 2 has told it");
}
