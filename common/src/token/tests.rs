//! What a token must prove, and what must never pass.

use super::dialog::{DialogToken, Sender};
use super::{dialog, path, route, via};
use crate::flow::{Flow, Peer};
use crate::ids::{ListenerId, NodeId, TrunkId};
use crate::keys::{KeyRing, Keys, RackKey, Span};
use proptest::prelude::*;

fn ring() -> KeyRing<[u8; 16]> {
    let mut key = [0u8; 32];
    key.iter_mut().zip(0..).for_each(|(octet, i)| *octet = i);
    Keys::derive(&RackKey(key)).token
}

fn four() -> Flow {
    Flow { listener: ListenerId(0), remote: "198.51.100.7:61234".parse().expect("an address") }
}

fn six() -> Flow {
    Flow { listener: ListenerId(1), remote: "[2001:db8::7]:5060".parse().expect("an address") }
}

fn a_dialog(caller: Peer, callee: Peer) -> String {
    let mut out = Vec::new();
    dialog::write(&ring(), &DialogToken { node: NodeId(3), caller, callee }, b"call@id", b"caller", &mut out);
    String::from_utf8(out).expect("base64url")
}

#[test]
fn sizes_stay_within_what_a_message_may_grow() {
    let mut out = Vec::new();
    via::write(&ring(), NodeId(1), b"call@id", &mut out);
    assert_eq!(out.len(), 11);
    assert!(a_dialog(Peer::Flow(four()), Peer::Flow(four())).len() <= 43);
    assert!(a_dialog(Peer::Flow(six()), Peer::Direct(six())).len() <= 75);
    assert!(a_dialog(Peer::Trunk(TrunkId(1)), Peer::Trunk(TrunkId(2))).len() <= 32);
}

#[test]
fn each_side_is_known_by_its_tag_and_sent_to_the_other() {
    let sr = a_dialog(Peer::Flow(four()), Peer::Trunk(TrunkId(9)));
    let (token, sender) =
        dialog::check(&ring(), sr.as_bytes(), b"call@id", b"caller", b"callee").expect("the caller's");
    assert_eq!((sender, token.far_side(sender)), (Sender::Caller, Peer::Trunk(TrunkId(9))));
    let (token, sender) =
        dialog::check(&ring(), sr.as_bytes(), b"call@id", b"callee", b"caller").expect("the callee's");
    assert_eq!((sender, token.far_side(sender)), (Sender::Callee, Peer::Flow(four())));
    assert_eq!(route(&ring(), sr.as_bytes(), b"call@id"), Some(NodeId(3)));
}

#[test]
fn another_call_another_tag_another_form_is_refused() {
    let sr = a_dialog(Peer::Flow(four()), Peer::Flow(six()));
    assert_eq!(dialog::check(&ring(), sr.as_bytes(), b"other@id", b"caller", b"x"), None);
    assert_eq!(dialog::check(&ring(), sr.as_bytes(), b"call@id", b"x", b"y"), None);
    assert_eq!(via::check(&ring(), sr.as_bytes(), b"call@id"), None);
    assert_eq!(path::check(&ring(), sr.as_bytes(), "a@b"), None);
    let mut via_token = Vec::new();
    via::write(&ring(), NodeId(3), b"call@id", &mut via_token);
    assert_eq!(via::check(&ring(), &via_token, b"call@id"), Some(NodeId(3)));
    assert_eq!(dialog::check(&ring(), &via_token, b"call@id", b"caller", b"x"), None);
    assert_eq!(route(&ring(), &via_token, b"other@id"), None);
}

#[test]
fn a_path_token_is_good_for_its_aor_only() {
    for flow in [four(), six()] {
        let mut out = Vec::new();
        path::write(&ring(), &flow, "1001@rack.test", &mut out);
        assert_eq!(path::check(&ring(), &out, "1001@rack.test"), Some(flow));
        assert_eq!(path::check(&ring(), &out, "1002@rack.test"), None);
        assert_eq!(route(&ring(), &out, b"call@id"), None);
    }
}

#[test]
fn a_token_of_the_key_before_still_verifies_and_one_of_a_dropped_key_does_not() {
    let old = a_dialog(Peer::Flow(four()), Peer::Flow(six()));
    let fits = |ring: &KeyRing<_>| dialog::check(ring, old.as_bytes(), b"call@id", b"caller", b"x").is_some();
    let turned = ring();
    turned.turn(Span { oldest: 1, newest: 2 });
    assert!(fits(&turned));
    let mut new = Vec::new();
    via::write(&turned, NodeId(3), b"call@id", &mut new);
    assert_eq!(via::check(&turned, &new, b"call@id"), Some(NodeId(3)));
    assert_eq!(via::check(&ring(), &new, b"call@id"), Some(NodeId(3)), "where nobody has heard of the turn");
    turned.turn(Span { oldest: 2, newest: 2 });
    assert!(!fits(&turned) && via::check(&turned, &new, b"call@id").is_some());
}

#[test]
fn golden_vectors() {
    let mut via_token = Vec::new();
    via::write(&ring(), NodeId(7), b"golden@vector", &mut via_token);
    let mut path_token = Vec::new();
    path::write(&ring(), &four(), "1001@rack.test", &mut path_token);
    let seen = [
        String::from_utf8_lossy(&via_token).into_owned(),
        a_dialog(Peer::Direct(four()), Peer::Trunk(TrunkId(2))),
        String::from_utf8_lossy(&path_token).into_owned(),
    ];
    assert_eq!(seen, ["EQEAB8T66LU", "EgEAA3yWqM1uG6ddFNDJ-AQA7zLGM2QHAQAC", "EwEEAO8yxjNkBx1guQ_0Ngli"]);
}

proptest! {
    #[test]
    fn any_changed_character_is_refused(at in 0usize..43, to in "[A-Za-z0-9_-]") {
        let sr = a_dialog(Peer::Flow(four()), Peer::Flow(four()));
        let mut changed = sr.clone().into_bytes();
        let at = at % changed.len();
        changed[at] = to.as_bytes()[0];
        if changed != sr.as_bytes() {
            prop_assert_eq!(dialog::check(&ring(), &changed, b"call@id", b"caller", b"callee"), None);
        }
    }

    #[test]
    fn nothing_from_outside_panics(sr in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = route(&ring(), &sr, b"c");
        let _ = via::check(&ring(), &sr, b"c");
        let _ = dialog::check(&ring(), &sr, b"c", b"f", b"t");
        let _ = path::check(&ring(), &sr, "a@b");
    }
}
