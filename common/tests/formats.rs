//! What FORMATS.md says, held against the code from outside: golden vectors under the rack key 00 01 … 1f, and what must
//! hold of placement, tokens, branch, tag, flow data and deadlines for all inputs.
//!
//! The vectors were computed by a second implementation in another language, not copied from this one's output: one that
//! fails means that FORMATS.md and the code have parted, or that octets on the wire have changed.
#![allow(clippy::unwrap_used)]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::branch::{self, LoopPart, TransactionPart, Upstream};
use common::call_hash::CallHash;
use common::deadlines::Deadlines;
use common::flow::{Flow, MAX_PEER, Peer};
use common::ids::{BootId, Epoch, ListenerId, NodeId, Slot, TrunkId};
use common::keys::{KeyRing, Keys, RackKey};
use common::placement::{Inputs, Member, Placement, Policy, SLOTS};
use common::tag;
use common::time::Time;
use common::token::dialog::{DialogToken, Sender};
use common::token::{dialog, path, route, via};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

const CALL: &[u8] = b"golden@vector";
const AOR: &str = "1001@rack.test";
const VIA: &[u8] = b"SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bKabc";

fn rack_key() -> RackKey {
    RackKey(std::array::from_fn(|i| i as u8))
}

fn keys() -> Keys {
    Keys::derive(&rack_key())
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|b| format!("{b:02x}")).collect()
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

fn flow(listener: u8, remote: &str) -> Flow {
    Flow { listener: ListenerId(listener), remote: remote.parse().unwrap() }
}

fn four() -> Flow {
    flow(0, "198.51.100.7:61234")
}

fn six() -> Flow {
    flow(1, "[2001:db8::7]:5060")
}

const TRUNK: Peer = Peer::Trunk(TrunkId(513));

fn dialog_token(caller: Peer, callee: Peer) -> String {
    let token = DialogToken { node: NodeId(513), caller, callee };
    text(|out| dialog::write(&keys().token, &token, CALL, b"caller", out))
}

fn path_token(flow: &Flow) -> String {
    text(|out| path::write(&keys().token, flow, AOR, out))
}

fn via_token() -> String {
    text(|out| via::write(&keys().token, NodeId(513), CALL, out))
}

mod golden {
    use super::*;

    #[test]
    fn derived_keys() {
        let k = keys();
        assert_eq!(hex(&k.placement), "02cb506017d3a67e74bf84d8a455e0e1");
        assert_eq!(hex(&k.branch), "471f282e9530514606e2519441bfe232");
        assert_eq!(hex(&k.tag), "416cfb68ac62760180595583af1e4d62");
        assert_eq!(hex(&k.record_sum), "7cf7cc3d8c6f9ffb2ac89f47a98af054");
        assert_eq!((k.token.current().0, hex(k.token.current().1)), (1, "8a4bba25962c309b6cbd69c177ef632b".into()));
        let nonce = "f02d724e9454b04c511a8038c89a381410266a4a722b8fbcc243981af3665195";
        assert_eq!((k.nonce.current().0, hex(k.nonce.current().1)), (1, nonce.into()));
        let plane = "b0a8bba69f699e3e6d332ec04321329ee08689222b50178b8ec98a0aedbd7880";
        assert_eq!((k.plane.current().0, hex(k.plane.current().1)), (1, plane.into()));
        assert_eq!(rack_key().fingerprint(), "9ec94f94");
        assert_eq!(format!("{:?}", rack_key()), "RackKey(9ec94f94)", "a log never shows the key");
    }

    #[test]
    fn call_id_hash() {
        let hash = CallHash::of(&keys().placement, CALL);
        assert_eq!((hash.0, hash.slot(), hash.admission()), (0x65ba_7ec2_0d93_57d1, Slot(26_042), 32_450));
        assert_eq!([1, 2, 4, 7, 64].map(|workers| hash.worker(workers)), [0, 0, 0, 0, 3]);
    }

    #[test]
    fn flow_data() {
        let cases = [
            (TRUNK, "010201"),
            (Peer::Flow(four()), "0200ef32c6336407"),
            (Peer::Flow(six()), "030113c420010db8000000000000000000000007"),
            (Peer::Direct(four()), "0400ef32c6336407"),
            (Peer::Direct(six()), "050113c420010db8000000000000000000000007"),
        ];
        for (peer, expected) in cases {
            let mut out = Vec::new();
            peer.encode(&mut out);
            assert_eq!(hex(&out), expected);
        }
    }

    #[test]
    fn tokens() {
        assert_eq!(via_token(), "EQECAZXYhZM");
        assert_eq!(dialog_token(TRUNK, TRUNK), "EgECAb52U_yaX4rmTIqyogECAQECAQ");
        assert_eq!(dialog_token(Peer::Flow(four()), TRUNK), "EgECAb52U_znzY4NXgonlQIA7zLGM2QHAQIB");
        assert_eq!(
            dialog_token(Peer::Direct(four()), Peer::Flow(four())),
            "EgECAb52U_wPi4mo9lGkwwQA7zLGM2QHAgDvMsYzZAc"
        );
        let longest = "EgECAb52U_yPyyE-JvueQQMBE8QgAQ24AAAAAAAAAAAAAAAHBQETxCABDbgAAAAAAAAAAAAAAAc";
        assert_eq!(dialog_token(Peer::Flow(six()), Peer::Direct(six())), longest);
        assert_eq!(path_token(&four()), "EwEEAO8yxjNkBx1guQ_0Ngli");
        assert_eq!(path_token(&six()), "EwEGARPEIAENuAAAAAAAAAAAAAAAB1xU2jFxVoE2");
    }

    #[test]
    fn branches_and_tag() {
        let own = Upstream::Own { node: NodeId(513), boot: BootId(0x0102_0304_0506_0708), counter: 42 };
        let cases = [
            (Upstream::Via(VIA), four(), "z9hG4bK1ZT0YpijZzB4RgoEQp5X"),
            (Upstream::Via(b"SIP/2.0/UDP 192.0.2.9;branch=1"), four(), "z9hG4bK1FukJzxE84yURgoEQp5X"),
            (own, six(), "z9hG4bK13zUeUdlY3TURgoEQp5X"),
        ];
        for (upstream, next_hop, expected) in cases {
            assert_eq!(
                branch::write(&keys().branch, &TransactionPart { upstream, next_hop, ..leg() }, &state()),
                expected
            );
        }
        assert_eq!(branch::loop_hash(&keys().branch, &state()), "RgoEQp5X");
        assert_eq!(tag::write(&keys().tag, CALL, b"caller", 7, VIA), "JLr19Ee9Ygnj");
    }

    #[test]
    fn placements() {
        let three: Vec<Member> = (1..=3).map(|n| member(n, 100, 1, n)).collect();
        let mut mixed = vec![
            member(1, 100, 1, 1),
            member(2, 100, 1, 1),
            member(3, 250, 1, 2),
            member(4, 100, 2, 2),
            member(5, 333, 1, 3),
            member(513, 100, 1, 3),
        ];
        mixed[4].live = None;
        type Lists = [[u16; 3]; 4];
        let cases: [(Vec<Member>, u64, Lists); 2] = [
            (three, 0x1da3_067a_f28a_245b, [[2, 1, 3], [1, 3, 2], [3, 1, 2], [2, 3, 1]]),
            (mixed, 0x8487_b901_7614_61af, [[2, 3, 1], [1, 3, 513], [3, 1, 4], [2, 3, 1]]),
        ];
        for (members, digest, lists) in cases {
            let p = place(members);
            for (slot, expected) in [0, 1, 50_312, 65_535].into_iter().zip(lists) {
                assert_eq!(list(&p, slot), expected, "slot {slot}");
            }
            assert_eq!(p.digest(), digest);
        }
    }
}

fn member(node: u16, weight: u16, class: u8, domain: u16) -> Member {
    Member { node: NodeId(node), weight, class, domain, live: Some(BootId(1)), draining: false, retired: Vec::new() }
}

fn place_under(key: &[u8; 16], members: Vec<Member>) -> Placement {
    Placement::compute(key, Epoch(1), Inputs { policy: Policy::Rendezvous, members, ..Inputs::default() })
}

fn place(members: Vec<Member>) -> Placement {
    place_under(&keys().placement, members)
}

fn list(p: &Placement, slot: usize) -> Vec<u16> {
    p.list(Slot(slot as u16)).map(|n| n.0).collect()
}

fn equals(count: u16) -> Vec<Member> {
    (1..=count).map(|n| member(n, 100, 1, n)).collect()
}

mod placement {
    use super::*;

    fn worst(p: &Placement) -> f64 {
        let shares: Vec<u32> = p.shares().into_iter().map(|(_, slots)| slots).collect();
        f64::from(*shares.iter().max().unwrap()) * shares.len() as f64 / SLOTS as f64
    }

    #[test]
    fn equal_weights_balance_from_2_to_16_nodes() {
        for count in 2..=16 {
            let worst = worst(&place(equals(count)));
            assert!(worst <= 1.05, "{count} nodes: max/mean {worst:.4}");
        }
    }

    #[test]
    fn weighted_shares_are_within_five_percent() {
        for weights in [&[100u16, 200][..], &[100, 100, 300], &[50, 100, 150, 200], &[1000, 500, 250, 500]] {
            let members = (1..).zip(weights).map(|(n, w)| member(n, *w, 1, n)).collect();
            let total: u32 = weights.iter().map(|w| u32::from(*w)).sum();
            for ((node, slots), weight) in place(members).shares().into_iter().zip(weights) {
                let expected = SLOTS as f64 * f64::from(*weight) / f64::from(total);
                assert!(
                    (f64::from(slots) / expected - 1.0).abs() <= 0.05,
                    "node {node} of {weights:?}: {slots}, {expected}"
                );
            }
        }
    }

    #[test]
    fn call_ids_chosen_by_an_outsider_spread_over_nodes_and_workers() {
        let key = keys().placement;
        type Shape = (&'static str, fn(u32) -> String);
        let shapes: [Shape; 4] = [
            ("counting", |n| n.to_string()),
            ("common tail", |n| format!("{n:08x}@chosen.example")),
            ("common head", |n| format!("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{n:x}")),
            ("one letter, all lengths", |n| format!("{}{n:b}", "z".repeat(n as usize % 50))),
        ];
        for (count, p) in [3u16, 8].map(|n| (n, place(equals(n)))) {
            for (shape, call_id) in shapes {
                let (mut nodes, mut workers) = (BTreeMap::<NodeId, u32>::new(), [0u32; 4]);
                for n in 0..100_000 {
                    let hash = CallHash::of(&key, call_id(n).as_bytes());
                    *nodes.entry(p.owner(hash.slot()).unwrap()).or_default() += 1;
                    workers[usize::from(hash.worker(4))] += 1;
                }
                let node = f64::from(*nodes.values().max().unwrap()) * f64::from(count) / 100_000.0;
                let worker = f64::from(*workers.iter().max().unwrap()) / 25_000.0;
                assert!(node <= 1.05 && worker <= 1.05, "{shape}, {count} nodes: node {node:.4}, worker {worker:.4}");
            }
        }
    }

    #[test]
    fn after_one_death_in_three_domains_owner_and_primary_still_stand_apart() {
        let members: Vec<Member> = (1..=9).map(|n| member(n, 100, 1, n % 3)).collect();
        for dead in 0..9 {
            let mut members = members.clone();
            members[dead].live = None;
            let p = place(members);
            let shared = (0..SLOTS).map(|slot| list(&p, slot)).filter(|l| l[0] % 3 == l[1] % 3).count();
            assert_eq!(shared, 0, "node {} dead", dead + 1);
        }
    }

    #[test]
    fn after_one_death_in_two_domains_both_still_hold_a_copy() {
        let mut members: Vec<Member> = (1..=6).map(|n| member(n, 100, 1, n % 2)).collect();
        members[2].live = None;
        let p = place(members);
        assert!((0..SLOTS).map(|slot| list(&p, slot)).all(|l| l.iter().any(|n| n % 2 != l[0] % 2)));
    }

    /// Any mix of weights, classes, domains and deaths.
    fn racks() -> impl Strategy<Value = Vec<Member>> {
        let one = (1u16..=1000, 1u8..=3, 1u16..=4, prop::bool::weighted(0.7));
        vec(one, 1..=9).prop_map(|all| {
            let members = (1u16..).zip(all);
            members
                .map(|(n, (weight, class, domain, live))| Member {
                    live: live.then_some(BootId(u64::from(n))),
                    ..member(n * 7, weight, class, domain)
                })
                .collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_list_is_as_many_distinct_live_nodes_as_there_are(members in racks()) {
            let live = members.iter().filter(|m| m.live.is_some()).count();
            let p = place(members.clone());
            let is_live = |n: &u16| members.iter().any(|m| m.node.0 == *n && m.live.is_some());
            for slot in 0..SLOTS {
                let l = list(&p, slot);
                prop_assert_eq!(l.len(), live.min(3));
                prop_assert!(l.iter().all(is_live));
                prop_assert!(l.iter().enumerate().all(|(i, n)| !l[..i].contains(n)));
                prop_assert_eq!(p.owner(Slot(slot as u16)).map(|n| n.0), l.first().copied());
            }
            prop_assert_eq!(p.shares().iter().map(|(_, n)| *n as usize).sum::<usize>(), if live > 0 { SLOTS } else { 0 });
        }

        #[test]
        fn a_death_moves_only_the_dead_and_the_return_restores_exactly(members in racks(), who in any::<prop::sample::Index>()) {
            let who = who.index(members.len());
            let mut alive = members;
            alive[who].live = Some(BootId(1));
            let mut dead = alive.clone();
            dead[who].live = None;
            dead[who].retired.push(BootId(1));
            let mut back = dead.clone();
            back[who].live = Some(BootId(2));
            let (before, during, after) = (place(alive.clone()), place(dead), place(back));
            for slot in 0..SLOTS {
                let survivors: Vec<u16> = list(&before, slot).into_iter().filter(|n| *n != alive[who].node.0).collect();
                prop_assert_eq!(&list(&during, slot)[..survivors.len()], &survivors[..]);
                prop_assert_eq!(list(&before, slot), list(&after, slot));
            }
            prop_assert_eq!(before.digest(), after.digest());
        }

        #[test]
        fn owners_move_only_to_or_from_the_node_that_changed(members in racks(), weight in 1u16..=1000) {
            let mut all_live = members;
            all_live.iter_mut().for_each(|m| m.live = Some(BootId(1)));
            let before = place(all_live.clone());
            let mut reweighted = all_live.clone();
            reweighted[0].weight = weight;
            let changed = reweighted[0].node;
            let mut joined = all_live.clone();
            joined.push(member(900, weight, 1, 9));
            let (reweighted, joined) = (place(reweighted), place(joined));
            for slot in (0..=u16::MAX).map(Slot) {
                let (old, new) = (before.owner(slot).unwrap(), reweighted.owner(slot).unwrap());
                let one_way = if weight >= all_live[0].weight { new } else { old };
                prop_assert!(old == new || one_way == changed, "a weight that grows only takes, one that shrinks only gives");
                let new = joined.owner(slot).unwrap();
                prop_assert!(old == new || new == NodeId(900));
            }
        }

        #[test]
        fn backups_avoid_failure_domains_and_then_prefer_the_best_class(members in racks()) {
            let mut members = members;
            members.iter_mut().for_each(|m| m.live = Some(BootId(1)));
            let of = |n: u16| members.iter().find(|m| m.node.0 == n).unwrap();
            let p = place(members.clone());
            for slot in 0..SLOTS {
                let l = list(&p, slot);
                for place in 1..l.len() {
                    let taken: Vec<u16> = l[..place].iter().map(|n| of(*n).domain).collect();
                    let free: Vec<&Member> = members.iter().filter(|m| !taken.contains(&m.domain)).collect();
                    if let Some(best) = free.iter().map(|m| m.class).min() {
                        prop_assert!(!taken.contains(&of(l[place]).domain), "slot {}: {:?}", slot, l);
                        prop_assert_eq!(of(l[place]).class, best);
                    }
                }
            }
        }

        #[test]
        fn the_order_of_the_inputs_and_a_doubled_member_change_nothing(members in racks()) {
            let mut other = members.clone();
            other.reverse();
            other.push(members[0].clone());
            prop_assert_eq!(place(other).digest(), place(members).digest());
        }
    }
}

fn flows() -> impl Strategy<Value = Flow> {
    (any::<u8>(), any::<IpAddr>(), any::<u16>())
        .prop_map(|(listener, ip, port)| Flow { listener: ListenerId(listener), remote: SocketAddr::new(ip, port) })
}

fn peers() -> impl Strategy<Value = Peer> {
    prop_oneof![
        any::<u16>().prop_map(|n| Peer::Trunk(TrunkId(n))),
        flows().prop_map(Peer::Flow),
        flows().prop_map(Peer::Direct)
    ]
}

/// Each token that differs from this one in one bit, in base64url.
fn one_bit_off(token: &str) -> impl Iterator<Item = String> {
    let octets = URL_SAFE_NO_PAD.decode(token).unwrap();
    (0..octets.len() * 8).map(move |bit| {
        let mut octets = octets.clone();
        octets[bit / 8] ^= 1 << (bit % 8);
        URL_SAFE_NO_PAD.encode(octets)
    })
}

fn accepted(sr: &str) -> bool {
    let (ring, sr) = (keys().token, sr.as_bytes());
    via::check(&ring, sr, CALL).is_some()
        || dialog::check(&ring, sr, CALL, b"caller", b"callee").is_some()
        || path::check(&ring, sr, AOR).is_some()
}

mod tokens {
    use super::*;

    fn every_form() -> [String; 6] {
        [
            via_token(),
            dialog_token(TRUNK, TRUNK),
            dialog_token(Peer::Flow(four()), Peer::Direct(four())),
            dialog_token(Peer::Flow(six()), Peer::Direct(six())),
            path_token(&four()),
            path_token(&six()),
        ]
    }

    #[test]
    fn any_flipped_bit_is_refused_in_every_form() {
        for token in every_form() {
            assert!(accepted(&token), "{token}");
            for changed in one_bit_off(&token) {
                assert!(!accepted(&changed), "{token} as {changed}");
            }
        }
    }

    #[test]
    fn a_flipped_bit_in_the_head_misleads_no_load_manager() {
        for token in every_form().into_iter().take(4) {
            assert_eq!(route(&keys().token, token.as_bytes(), CALL), Some(NodeId(513)));
            for changed in one_bit_off(&token).take(64) {
                assert_eq!(route(&keys().token, changed.as_bytes(), CALL), None, "{token} as {changed}");
            }
        }
    }

    #[test]
    fn shortened_lengthened_padded_and_respelled_tokens_are_refused() {
        for token in every_form() {
            let others = [
                token[..token.len() - 1].to_string(),
                format!("{token}A"),
                format!("{token}AAAA"),
                format!("{token}="),
                format!(" {token}"),
                token.to_lowercase(),
                String::new(),
            ];
            for other in others.iter().filter(|o| **o != token) {
                assert!(!accepted(other), "{token} as {other}");
            }
        }
    }

    #[test]
    fn another_rack_and_another_key_id_are_refused() {
        let key = *keys().token.current().1;
        let stranger = Keys::derive(&RackKey([9; 32])).token;
        let renamed = KeyRing::new(|id| if id == 2 { key } else { [0; 16] });
        for ring in [stranger, renamed] {
            for token in every_form() {
                let sr = token.as_bytes();
                assert_eq!(route(&ring, sr, CALL), None);
                assert_eq!(via::check(&ring, sr, CALL), None);
                assert_eq!(dialog::check(&ring, sr, CALL, b"caller", b"callee"), None);
                assert_eq!(path::check(&ring, sr, AOR), None);
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(caller in peers(), callee in peers(), node: u16, call in vec(any::<u8>(), 0..80), tag in vec(any::<u8>(), 1..40)) {
            let ring = keys().token;
            let token = DialogToken { node: NodeId(node), caller, callee };
            let sr = text(|out| dialog::write(&ring, &token, &call, &tag, out));
            prop_assert!(sr.len() <= 75);
            let other = [&tag[..], b"x"].concat();
            prop_assert_eq!(dialog::check(&ring, sr.as_bytes(), &call, &tag, &other), Some((token, Sender::Caller)));
            prop_assert_eq!(dialog::check(&ring, sr.as_bytes(), &call, &other, &tag), Some((token, Sender::Callee)));
            prop_assert_eq!(dialog::check(&ring, sr.as_bytes(), &call, &other, b""), None);
            prop_assert_eq!(dialog::check(&ring, sr.as_bytes(), &[&call[..], b"x"].concat(), &tag, b""), None);
            prop_assert_eq!(route(&ring, sr.as_bytes(), &call), Some(NodeId(node)));
        }

        #[test]
        fn a_path_leads_where_it_was_written_for(flow in flows(), aor in "[a-z0-9.]{1,20}@[a-z.]{1,20}") {
            let ring = keys().token;
            let sr = text(|out| path::write(&ring, &flow, &aor, out));
            prop_assert!(sr.len() <= 40);
            prop_assert_eq!(path::check(&ring, sr.as_bytes(), &aor), Some(flow));
            prop_assert_eq!(path::check(&ring, sr.as_bytes(), &aor[1..]), None);
        }

        #[test]
        fn a_form_is_never_taken_for_another(form in 0u8..16, at in 0usize..6) {
            let mut octets = URL_SAFE_NO_PAD.decode(&every_form()[at]).unwrap();
            prop_assume!(octets[0] & 0x0F != form);
            octets[0] = octets[0] & 0xF0 | form;
            let relabelled = URL_SAFE_NO_PAD.encode(octets);
            prop_assert!(!accepted(&relabelled));
        }

        #[test]
        fn flow_data_is_read_back_and_nothing_behind_it_is_taken(peer in peers(), rest in vec(any::<u8>(), 0..8)) {
            let mut octets = Vec::new();
            peer.encode(&mut octets);
            prop_assert!(octets.len() <= MAX_PEER);
            let short = octets[..octets.len() - 1].to_vec();
            octets.extend_from_slice(&rest);
            prop_assert_eq!(Peer::decode(&octets), Some((peer, &rest[..])));
            prop_assert_eq!(Peer::decode(&short), None);
        }

        #[test]
        fn octets_from_outside_never_panic(octets in vec(any::<u8>(), 0..120), form in 0u8..4, known in any::<bool>()) {
            let _ = Peer::decode(&octets);
            let mut shaped = octets;
            if known && shaped.len() > 1 {
                (shaped[0], shaped[1]) = (0x10 | form, 1);
            }
            prop_assert!(!accepted(&URL_SAFE_NO_PAD.encode(&shaped)));
            let _ = route(&keys().token, &shaped, CALL);
        }
    }
}

fn leg() -> TransactionPart<'static> {
    TransactionPart {
        call_id: CALL,
        from_tag: b"caller",
        cseq: 7,
        upstream: Upstream::Via(VIA),
        uri: b"sip:1002@198.51.100.7:5062",
        route: b"<sip:edge.example;lr>",
        next_hop: four(),
        attempt: 2,
    }
}

fn state() -> LoopPart<'static> {
    LoopPart {
        uri: b"sip:1002@rack.test",
        routes: b"",
        source: b"\x00\x07",
        call_id: CALL,
        from_tag: b"caller",
        to_tag: b"",
        cseq: 7,
    }
}

mod branches {
    use super::*;

    fn written(leg: &TransactionPart<'_>) -> String {
        branch::write(&keys().branch, leg, &state())
    }

    #[test]
    fn a_retransmission_a_cancel_and_the_ack_to_a_refusal_have_the_invites_branch() {
        let invite = written(&leg());
        // No method, To tag or source goes in: what RFC 3261 §9.1 and §17.1.1.3 demand equal is all there is.
        assert_eq!(written(&leg()), invite);
        assert_eq!(invite.len(), 27);
    }

    #[test]
    fn whatever_makes_another_leg_makes_another_branch() {
        let own = |node, boot, counter| Upstream::Own { node: NodeId(node), boot: BootId(boot), counter };
        let others = [
            TransactionPart { call_id: b"other@vector", ..leg() },
            TransactionPart { from_tag: b"callee", ..leg() },
            TransactionPart { cseq: 8, ..leg() },
            TransactionPart { upstream: Upstream::Via(b"SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bKabd"), ..leg() },
            TransactionPart { upstream: Upstream::Via(b"SIP/2.0/UDP 192.0.2.9:5061;rport;branch=z9hG4bKabc"), ..leg() },
            TransactionPart { upstream: Upstream::Via(b""), ..leg() },
            TransactionPart { upstream: own(1, 1, 1), ..leg() },
            TransactionPart { upstream: own(2, 1, 1), ..leg() },
            TransactionPart { upstream: own(1, 2, 1), ..leg() },
            TransactionPart { upstream: own(1, 1, 2), ..leg() },
            TransactionPart { uri: b"sip:1003@198.51.100.7:5062", ..leg() },
            TransactionPart { route: b"", ..leg() },
            TransactionPart { uri: b"sip:1002@198.51.100.7:5062<", route: b"sip:edge.example;lr>", ..leg() },
            TransactionPart { next_hop: flow(0, "198.51.100.7:61235"), ..leg() },
            TransactionPart { next_hop: flow(1, "198.51.100.7:61234"), ..leg() },
            TransactionPart { next_hop: six(), ..leg() },
            TransactionPart { attempt: 3, ..leg() },
        ];
        let mut seen = vec![written(&leg())];
        for other in others {
            let branch = written(&other);
            assert!(!seen.contains(&branch), "{other:?}");
            seen.push(branch);
        }
    }

    #[test]
    fn only_a_request_that_came_back_as_it_was_is_a_loop() {
        let key = keys().branch;
        let sent = branch::write(&key, &leg(), &state());
        let looped = branch::write(&key, &TransactionPart { attempt: 9, next_hop: six(), ..leg() }, &state());
        assert_eq!(branch::loop_part(&sent), branch::loop_part(&looped), "the target chosen does not matter");
        let spirals = [
            LoopPart { uri: b"sip:1003@rack.test", ..state() },
            LoopPart { routes: b"<sip:edge.example;lr>", ..state() },
            LoopPart { source: b"\x00\x08", ..state() },
            LoopPart { call_id: b"other@vector", ..state() },
            LoopPart { from_tag: b"callee", ..state() },
            LoopPart { to_tag: b"callee", ..state() },
            LoopPart { cseq: 8, ..state() },
            LoopPart { uri: b"sip:1002@rack.tes", routes: b"t", ..state() },
        ];
        for spiral in spirals {
            assert_ne!(branch::loop_part(&sent), Some(branch::loop_hash(&key, &spiral).as_str()), "{spiral:?}");
        }
    }

    proptest! {
        #[test]
        fn strange_branches_are_looked_at_without_harm(branch in "(z9hG4bK)?1?\\PC{0,30}") {
            prop_assert_eq!(branch::is_ours(&branch), branch::loop_part(&branch).is_some());
            if let Some(part) = branch::loop_part(&branch) {
                prop_assert_eq!((branch.len(), part.len()), (27, 8));
            }
        }

        #[test]
        fn a_tag_of_ours_is_known_for_its_call_alone(call in vec(any::<u8>(), 0..60), from in vec(any::<u8>(), 0..30), cseq: u32, bit in 0usize..72) {
            let key = keys().tag;
            let ours = tag::write(&key, &call, &from, cseq, VIA);
            prop_assert_eq!(&ours, &tag::write(&key, &call, &from, cseq, VIA), "a repeat is answered alike");
            prop_assert_ne!(&ours, &tag::write(&key, &call, &from, cseq ^ 1, VIA));
            prop_assert!(ours.len() == 12 && tag::is_ours(&key, ours.as_bytes(), &call));
            prop_assert!(!tag::is_ours(&key, ours.as_bytes(), &[&call[..], b"x"].concat()));
            let changed = one_bit_off(&ours).nth(bit).unwrap();
            prop_assert!(!tag::is_ours(&key, changed.as_bytes(), &call));
        }

        #[test]
        fn a_strange_tag_is_not_ours(strange in vec(any::<u8>(), 0..20)) {
            prop_assert!(!tag::is_ours(&keys().tag, &strange, CALL));
        }
    }
}

mod deadlines {
    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Cancel(prop::sample::Index),
        Expire(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0u64..50).prop_map(Step::Insert),
            2 => any::<prop::sample::Index>().prop_map(Step::Cancel),
            1 => (0u64..50).prop_map(Step::Expire),
        ];
        vec(step, 1..300)
    }

    proptest! {
        /// Against a sorted map: by time, then by insertion; cancelled ones and stale handles name nothing.
        #[test]
        fn a_sorted_map_says_the_same(steps in steps()) {
            let mut deadlines = Deadlines::new();
            let mut model = BTreeMap::new();
            let mut handles = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(at) => {
                        handles.push((deadlines.insert(Time(at), number), (at, number)));
                        model.insert((at, number), number);
                    }
                    Step::Cancel(which) if !handles.is_empty() => {
                        let (handle, place) = handles[which.index(handles.len())];
                        prop_assert_eq!(deadlines.cancel(handle), model.remove(&place));
                    }
                    Step::Cancel(_) => {}
                    Step::Expire(now) => {
                        let first = model.first_key_value().map(|(place, _)| *place).filter(|(at, _)| *at <= now);
                        prop_assert_eq!(deadlines.expire(Time(now)), first.and_then(|place| model.remove(&place)));
                    }
                }
                prop_assert_eq!(deadlines.len(), model.len());
                prop_assert_eq!(deadlines.next_due(), model.first_key_value().map(|((at, _), _)| Time(*at)));
            }
        }
    }
}
