//! Changed and made up: whatever somebody without a key makes of what he hears is refused for the right reason and
//! counted, and a node that dies meanwhile is taken for dead in the same moment as without him.

use super::super::changes::Outcome;
use super::doors::{Doors, Genuine, NODES};
use super::forgery::Layout;
use super::ports::{Kind, OUTSIDE, PLANES, Ports, one_of};
use super::story::{DIES, Told, a_death, is_as_without, more_refused, tell_twice};
use crate::stage::holds;
use common::keys::{KeyRing, Keys};
use common::time::Duration;
use common::wire::frame::{self, FrameError};
use common::wire::heartbeat::{self, HeartbeatError};
use simulated_rack::chance::Chance;
use simulated_rack::network::Datagram;
use simulated_rack::outsider::{Craft, Forgery};
use simulated_rack::simulation::Simulation;

/// What he sends for each datagram that he hears.
const COPIES: usize = 2;
/// By place of the node, in the count of what has arrived.
const TO_NODES: [&str; 4] = ["to node 1", "to node 2", "to node 3", "to node 4"];
const OF_SHADOWS: [&str; 4] = ["shadows to 1", "shadows to 2", "shadows to 3", "shadows to 4"];
const HEADER: &str = "header";
/// The reasons of the load manager's control port.
const REASONS: [&str; 4] = ["malformed", "mac", "old_key", "foreign"];

fn changes_all(s: &Simulation) -> Craft {
    let ports = Ports::of(s);
    // As the load manager's, who has been told which keys stand. None turns here.
    let keys = Keys::clone(s.keys());
    keys.turn(&s.lm().generations());
    let ring = keys.plane;
    Box::new(move |dice: &mut Chance, heard: &Datagram| {
        (0..COPIES).map(|_| one_change(&ports, &ring, dice, heard)).collect()
    })
}

fn one_change(ports: &Ports, ring: &KeyRing<[u8; 32]>, dice: &mut Chance, heard: &Datagram) -> Forgery {
    let kind = ports.kind(heard);
    let layout = match kind {
        Kind::Word if heartbeat::is_heartbeat(&heard.bytes) => Layout::of_heartbeat(&heard.bytes),
        Kind::Word | Kind::Beacon => Layout::of_frame(&heard.bytes),
        Kind::Outwards | Kind::Inwards | Kind::Between => Layout::of_message(&heard.bytes),
        Kind::Shadow => Layout::of_packet(&heard.bytes),
    };
    let bytes = layout.changed(dice, &heard.bytes);
    let at = ports.control.iter().chain(&ports.shadow).position(|own| own.contains(&heard.to)).unwrap_or_default();
    let kind = match kind {
        Kind::Word => why_not(ring, &bytes),
        Kind::Beacon => TO_NODES[at],
        Kind::Shadow => OF_SHADOWS[at - ports.control.len()],
        Kind::Outwards | Kind::Inwards | Kind::Between => HEADER,
    };
    let from = one_of(dice, &[heard.from, heard.from, heard.from, OUTSIDE]);
    let after = Duration::from_micros(dice.between(0, 40_000));
    Forgery { kind, after, datagram: Datagram { from, to: heard.to, bytes: bytes.into() } }
}

/// For what reason a load manager must refuse this: a second opinion, by the errors of those who read it.
fn why_not(ring: &KeyRing<[u8; 32]>, bytes: &[u8]) -> &'static str {
    if heartbeat::is_heartbeat(bytes) {
        return match heartbeat::decode(bytes, ring, false) {
            Err(HeartbeatError::Mac) => "mac",
            Err(HeartbeatError::UnknownKey(_)) => "old_key",
            Err(HeartbeatError::V1Refused) => "foreign",
            Err(_) => "malformed",
            Ok(_) => "BELIEVED",
        };
    }
    match frame::decode(bytes, ring) {
        Err(FrameError::Mac) => "mac",
        Err(FrameError::UnknownKey(_)) => "old_key",
        Err(_) => "malformed",
        Ok(_) => "BELIEVED",
    }
}

/// Each datagram of his was counted where it came in, for its reason.
fn all_is_counted(without: &Told, with: &Told) -> Outcome {
    let arrived = |kind: &str| with.arrived.get(kind).copied().unwrap_or_default();
    for why in REASONS {
        let (sent, counted) = (arrived(why), more_refused(without, with, why));
        holds(&format!("{why}: {sent} sent, {counted} counted"), sent == counted)?;
    }
    // Who is dead counts nothing.
    for at in (0..TO_NODES.len()).filter(|at| *at != DIES) {
        let (sent, counted) = (arrived(TO_NODES[at]), with.in_vain[at].1 - without.in_vain[at].1);
        holds(&format!("{}: {sent} sent, {counted} counted", TO_NODES[at]), sent == counted && sent > 0)?;
        let (sent, counted) = (arrived(OF_SHADOWS[at]), with.unread[at] - without.unread[at]);
        holds(&format!("{}: {sent} sent, {counted} counted", OF_SHADOWS[at]), sent == counted && sent > 0)?;
    }
    holds("some of all came", arrived("mac") > 0 && arrived("malformed") > 0 && arrived(HEADER) > 0)
}

#[test]
fn what_is_changed_or_made_up_is_refused_counted_and_changes_nothing() {
    let run = |seed| {
        let (without, with) = tell_twice(seed, a_death, changes_all)?;
        is_as_without(&without, &with)?;
        all_is_counted(&without, &with)
    };
    for seed in super::seeds() {
        run(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

/// Each bit of it turned, each length that is less, and each other key's id.
fn all_changes(genuine: &Genuine) -> impl Iterator<Item = Vec<u8>> + '_ {
    let Genuine { bytes, layout, .. } = genuine;
    let bits = layout.covered.iter().cloned().flatten().flat_map(|at| (0..8).map(move |bit| (at, 1u8 << bit)));
    let keys = (1..=u8::MAX).map(move |other| (layout.key_id, other));
    let turned = bits.chain(keys).map(move |(at, mask)| {
        let mut out = bytes.clone();
        out[at] ^= mask;
        out
    });
    turned.chain((0..layout.end).map(move |length| bytes[..length].to_vec()))
}

#[test]
fn every_bit_under_a_mac_counts() {
    let mut doors = Doors::new();
    let words = |doors: &Doors| {
        let of_node = |node| [doors.heartbeat(node, PLANES[0]), doors.heartbeat(node, PLANES[1])];
        let beats: Vec<Genuine> = NODES.into_iter().flat_map(of_node).collect();
        beats.into_iter().chain([doors.report(1), doors.stopped(2)]).collect::<Vec<_>>()
    };
    for word in words(&doors) {
        for bytes in all_changes(&word) {
            assert!(doors.believes_only(word.from, &bytes).is_err(), "{bytes:02x?}");
        }
    }
    assert!(all_changes(&doors.beacon()).all(|bytes| !doors.reads_beacon(&bytes)));
    for inside in [doors.inwards(), doors.between(3)] {
        assert!(all_changes(&inside).all(|bytes| doors.lets_in(inside.from, &bytes).is_err()));
    }
    assert!(all_changes(&doors.outwards(4)).all(|bytes| doors.lets_out(&bytes).is_err()));
    // What they were made of is as good as ever.
    for word in words(&doors) {
        assert_eq!(doors.believes_only(word.from, &word.bytes), Ok(()));
    }
}
