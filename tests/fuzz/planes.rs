//! Heartbeats and control frames (beacon, report, stopped): refused without this rack's MAC, and with it read in bounded
//! work whatever the body says, as a later version's or a broken sender's might.

use super::choices::{Choices, secret};
use super::fuzz;
use common::ids::{BootId, Epoch, HistoryId, Level, NodeId, Plane, PlaneSet};
use common::keys::{KeyRing, Keys, RackKey};
use common::placement::recent::{Former, Stood};
use common::placement::{Inputs, Member, Policy};
use common::wire::beacon::{Beacon, Echo};
use common::wire::control::{Report, Stopped};
use common::wire::frame::{self, Message};
use common::wire::heartbeat::{self, Heartbeat, NodeState, V2};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::sync::LazyLock;

static RING: LazyLock<KeyRing<[u8; 32]>> = LazyLock::new(|| Keys::derive(&RackKey([3; 32])).plane);

/// The plane keys of these targets.
pub fn ring() -> &'static KeyRing<[u8; 32]> {
    &RING
}

fn mac(domain: &str, octets: &[u8]) -> [u8; 16] {
    let ring = ring();
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(ring.current().1).unwrap();
    mac.update(domain.as_bytes());
    mac.update(octets);
    *mac.finalize().into_bytes().first_chunk().unwrap()
}

pub fn heartbeat(choices: &mut Choices<'_>) -> Heartbeat {
    let v2 = V2 {
        boot: BootId(choices.long()),
        sequence: choices.long(),
        sent_us: choices.long(),
        beacon_nonce: choices.long(),
        epoch: Epoch(choices.long()),
        progress: choices.long(),
        workers: choices.octet(),
        load: choices.word(),
        admit: choices.word(),
        class: choices.octet(),
        domain: choices.word(),
        plane: choices.pick(&[Plane::A, Plane::B]),
        history: HistoryId(choices.long()),
        level: Level(choices.long()),
        location_sum: u128::from(choices.long()),
        backups: (0..choices.below(17)).map(|_| NodeId(choices.word())).collect(),
        strays: choices.word().into(),
        hears: PlaneSet(choices.word() as u8),
    };
    let state = choices.pick(&NodeState::ALL);
    Heartbeat { node: NodeId(choices.word().max(1)), sip_port: choices.word(), state, v2: Some(v2) }
}

pub fn inputs(choices: &mut Choices<'_>) -> Inputs {
    let member = |choices: &mut Choices<'_>| Member {
        node: NodeId(choices.word()),
        weight: choices.word(),
        class: choices.octet(),
        domain: choices.word(),
        live: choices.one_of_256(200).then(|| BootId(choices.long())),
        draining: choices.one_of_256(60),
        retired: (0..choices.below(10)).map(|_| BootId(choices.long())).collect(),
    };
    Inputs {
        policy: Policy::Rendezvous,
        members: (0..choices.below(6)).map(|_| member(choices)).collect(),
        ..Inputs::default()
    }
}

fn formers(choices: &mut Choices<'_>) -> Vec<Former> {
    let stood = |choices: &mut Choices<'_>| Stood {
        node: NodeId(choices.word()),
        live: choices.one_of_256(200).then(|| BootId(choices.long())),
        weight: choices.word(),
        draining: choices.one_of_256(60),
    };
    let former = |choices: &mut Choices<'_>| Former {
        epoch: Epoch(choices.long()),
        age_ms: choices.word().into(),
        differ: (0..choices.below(4)).map(|_| stood(choices)).collect(),
    };
    (0..choices.below(3)).map(|_| former(choices)).collect()
}

pub fn message(choices: &mut Choices<'_>) -> Message {
    let (node, boot, epoch) = (NodeId(choices.word()), BootId(choices.long()), Epoch(choices.long()));
    match choices.below(3) {
        0 => Message::Stopped(Stopped { node, boot }),
        1 => {
            let (nonce, inputs, formers) = (choices.long(), inputs(choices), formers(choices));
            Message::Report(Report { node, boot, nonce, epoch, inputs, formers, keys: None })
        }
        _ => Message::Beacon(Beacon {
            lm_boot: boot,
            nonce: choices.long(),
            sent_us: choices.long(),
            epoch,
            inputs: inputs(choices),
            formers: formers(choices),
            holders: (0..choices.below(5)).map(|_| NodeId(choices.word())).collect(),
            digest: choices.long(),
            echoes: (0..choices.below(5))
                .map(|_| Echo { node, boot, sequence: choices.long(), planes: PlaneSet::BOTH })
                .collect(),
            learning: choices.one_of_256(128),
        }),
    }
}

/// Any body behind a good MAC.
fn signed_heartbeat(body: &[u8]) -> Vec<u8> {
    let mut out = 0xDEAD_FACEu32.to_be_bytes().to_vec();
    out.extend_from_slice(&[0, 0, 0, 1, 19, 196, 0, 0, 0, 0, 0, 2]);
    out.extend_from_slice(&((body.len() + 18) as u16).to_be_bytes());
    out.extend_from_slice(&[2, 1]);
    out.extend_from_slice(body);
    let sum = mac("heartbeat", &out);
    out.extend_from_slice(&sum);
    out
}

fn signed_frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = b"SRP1".to_vec();
    out.extend_from_slice(&[kind, 1, 1, 0]);
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    out.extend_from_slice(body);
    let sum = mac("control", &out);
    out.extend_from_slice(&sum);
    out
}

fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let ring = ring();
    let beat = heartbeat(&mut choices);
    let written = heartbeat::encode(&beat, ring);
    assert_eq!(heartbeat::decode(&written, ring, false), Ok(beat));
    let said = message(&mut choices);
    let framed = frame::encode(&said, ring, Plane::A);
    assert_eq!(frame::decode(&framed, ring), Ok(said));
    // A flipped bit, a missing end, more behind the end: refused.
    for good in [&written, &framed] {
        let mut changed = good.clone();
        let at = choices.below(changed.len());
        match choices.below(3) {
            0 => changed[at] ^= 1 << choices.below(8),
            1 => changed.truncate(at),
            _ => changed.insert(at, choices.octet()),
        }
        if changed != *good {
            assert!(heartbeat::decode(&changed, ring, false).is_err(), "{at}");
            assert!(frame::decode(&changed, ring).is_err(), "{at}");
        }
    }
    let v1 = heartbeat::decode(&written[..16], ring, true);
    assert!(v1.is_ok_and(|beat| beat.v2.is_none()));
    let kind = choices.octet() % 5;
    let body = choices.rest();
    if let Ok(Message::Beacon(beacon)) = frame::decode(&signed_frame(kind, body), ring) {
        let _ = beacon.inputs.normalised();
    }
    let _ = heartbeat::decode(&signed_heartbeat(body), ring, false);
    let nobodys = secret(octets).plane;
    assert!(heartbeat::decode(body, &nobodys, false).is_err() && frame::decode(body, &nobodys).is_err());
}

#[test]
fn fuzz() {
    fuzz!("planes", 3000, check);
}
