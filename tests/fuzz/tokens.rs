//! The token `;sr=`: what was not written by the rack's key is never taken, and what was is taken for exactly its call,
//! its sides and its form.

use super::choices::Choices;
use super::fuzz;
use common::flow::{Flow, Peer};
use common::ids::{ListenerId, NodeId, TrunkId};
use common::keys::{KeyRing, Keys, RackKey};
use common::token::dialog::{DialogToken, Sender};
use common::token::{dialog, path, route, via};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

static RING: LazyLock<KeyRing<[u8; 16]>> = LazyLock::new(|| Keys::derive(&RackKey([3; 32])).token);

fn flow(choices: &mut Choices<'_>) -> Flow {
    let ip = match choices.one_of_256(128) {
        true => IpAddr::from([10, 0, choices.octet(), choices.octet()]),
        false => IpAddr::V6(Ipv6Addr::from(u128::from(choices.long()) << 64 | u128::from(choices.long()))),
    };
    Flow { listener: ListenerId(choices.octet()), remote: SocketAddr::new(ip, choices.word()) }
}

fn peer(choices: &mut Choices<'_>) -> Peer {
    match choices.below(3) {
        0 => Peer::Trunk(TrunkId(choices.word())),
        1 => Peer::Flow(flow(choices)),
        _ => Peer::Direct(flow(choices)),
    }
}

fn nothing_takes(sr: &[u8], call_id: &[u8]) {
    assert_eq!(route(&RING, sr, call_id), None);
    no_node_takes(sr, call_id);
}

fn no_node_takes(sr: &[u8], call_id: &[u8]) {
    assert_eq!(via::check(&RING, sr, call_id), None);
    assert_eq!(dialog::check(&RING, sr, call_id, b"caller", b"to"), None);
    assert_eq!(path::check(&RING, sr, "1001@rack.test"), None);
}

fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let ring = &*RING;
    let (node, call_id) = (NodeId(choices.word()), choices.some(30).to_vec());
    let token = DialogToken { node, caller: peer(&mut choices), callee: peer(&mut choices) };
    let (mut of_via, mut of_dialog, mut of_path) = (Vec::new(), Vec::new(), Vec::new());
    via::write(ring, node, &call_id, &mut of_via);
    dialog::write(ring, &token, &call_id, b"caller", &mut of_dialog);
    let way = flow(&mut choices);
    path::write(ring, &way, "1001@rack.test", &mut of_path);
    assert_eq!(route(ring, &of_via, &call_id), Some(node));
    assert_eq!(route(ring, &of_dialog, &call_id), Some(node));
    assert_eq!(route(ring, &of_path, &call_id), None);
    assert_eq!(via::check(ring, &of_via, &call_id), Some(node));
    assert_eq!(via::check(ring, &of_dialog, &call_id), None);
    assert_eq!(dialog::check(ring, &of_dialog, &call_id, b"caller", b"x"), Some((token, Sender::Caller)));
    assert_eq!(dialog::check(ring, &of_dialog, &call_id, b"x", b"caller"), Some((token, Sender::Callee)));
    assert_eq!(dialog::check(ring, &of_via, &call_id, b"caller", b"x"), None);
    assert_eq!(path::check(ring, &of_path, "1001@rack.test"), Some(way));
    // Another call, other tags, another user.
    let other = [&call_id[..], b"!"].concat();
    nothing_takes(&of_via, &other);
    nothing_takes(&of_dialog, &other);
    assert_eq!(dialog::check(ring, &of_dialog, &call_id, b"from", b"to"), None);
    assert_eq!(path::check(ring, &of_path, "1002@rack.test"), None);
    // Changed: no MAC fits, and no two spellings mean the same. (The load manager goes by node and Call-ID alone: the
    // node that it finds is the one that says no.)
    for good in [&of_via, &of_dialog, &of_path] {
        let mut changed = good.clone();
        let at = choices.below(changed.len());
        match choices.below(4) {
            0 => changed[at] = choices.pick(b"ABCxyz019-_"),
            1 => changed.insert(at, choices.pick(b"A=_")),
            2 => drop(changed.remove(at)),
            _ => changed.extend_from_slice(choices.some(9)),
        }
        if changed != *good {
            no_node_takes(&changed, &call_id);
        }
    }
    // Octets that nobody wrote. Whether one of 2^32 fits says nothing: a fuzzer that watches the comparison finds it.
    let noise = choices.rest();
    let _ = (route(ring, noise, &call_id), via::check(ring, noise, &call_id));
    let _ = (dialog::check(ring, noise, &call_id, b"from", b"to"), path::check(ring, noise, "1001@rack.test"));
}

#[test]
fn fuzz() {
    fuzz!("tokens", 4000, check);
}
