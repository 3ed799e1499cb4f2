//! What would open a call beyond all that the load manager may think we take: a repeat, or a call that nobody takes.

use super::*;
use crate::effect::Effect;
use crate::stats::Rejection;
use common::call_hash::CallHash;
use common::placement::{Inputs, Member, Placement, Policy};
use common::wire::proxy::{self, Direction, Inquiry};

/// For long.
fn takes(b: &mut Bench, share: u16) {
    (b.view.least, b.view.most) = (share, share);
}

/// Node 1 is this one.
fn placed(nodes: &[(u16, Option<BootId>, bool)]) -> Placements {
    let member = |(n, live, draining): &(u16, Option<BootId>, bool)| Member {
        draining: *draining,
        ..Member::new(NodeId(*n), *live)
    };
    let inputs =
        Inputs { policy: Policy::Rendezvous, members: nodes.iter().map(member).collect(), ..Inputs::default() };
    let keys = Keys::derive(&RackKey([5; 32]));
    Placements::first(Arc::new(Placement::compute(&keys.placement, Epoch(1), inputs)))
}

#[test]
fn what_is_new_is_refused_without_state_and_what_belongs_to_a_call_passes() {
    let mut b = bench();
    let ok = established(&mut b, "old");
    b.hear(ALICE, &invite("c1"));
    takes(&mut b, 0);
    assert_eq!(ladder(&b.hear(ALICE, &invite("c1"))), ["100 → 10.0.0.1:5060"], "a repeat");
    let open = b.node.stats().transactions;
    let safe = invite("c2").replace("rack.test", "safe.test");
    let subscribe = request("SUBSCRIBE", "sip:bob@rack.test", "c3", 1, "Event: presence\n");
    for text in [invite("c2"), safe, subscribe] {
        for _ in 0..2 {
            let refused = b.hear(ALICE, &text);
            assert_eq!(ladder(&refused), ["503 → 10.0.0.1:5060"], "{text}");
            assert_eq!(refused[0].header("Retry-After"), "5");
        }
    }
    assert_eq!(b.node.stats().rejected[Rejection::Full as usize], 6);
    assert_eq!(b.node.stats().transactions, open);
    assert_eq!(b.hear(ALICE, &invite("c1").replace("INVITE", "CANCEL"))[0].what(), "200");
    assert_eq!(b.hear(ALICE, &request("MESSAGE", "sip:bob@rack.test", "m", 1, ""))[0].what(), "MESSAGE");
    let by_token = request("INVITE", "sip:bob@rack.test", "old", 7, &format!("Route: {}\n", ok.route()));
    assert_eq!(b.hear(ALICE, &by_token)[0].what(), "100", "its token names us, whatever we take");
    let bye = in_dialog("BYE", "old", 2, ok.route(), "sip:bob@10.0.0.2:5060");
    assert_eq!(ladder(&b.hear(ALICE, &bye)), ["BYE → 10.0.0.2:5060"]);
}

#[test]
fn the_second_hash_decides_and_the_whole_refuses_nothing() {
    let keys = Keys::derive(&RackKey([5; 32]));
    let hash = |call: &str| CallHash::of(&keys.placement, format!("{call}@alice").as_bytes()).admission();
    let first = |call: &str, most: u16| {
        let mut b = bench();
        takes(&mut b, most);
        b.hear(ALICE, &invite(call))[0].what().to_owned()
    };
    let some = hash("c");
    assert_eq!([first("c", some), first("c", some + 1), first("c", u16::MAX)], ["503", "100", "100"]);
    let last = (0..).map(|n| format!("c{n}")).find(|call| hash(call) == u16::MAX).unwrap();
    assert_eq!([first(&last, u16::MAX - 1), first(&last, u16::MAX)], ["503", "100"]);
}

#[test]
fn a_draining_node_goes_by_no_share() {
    let mut b = bench();
    takes(&mut b, 0);
    b.view.placements = placed(&[(1, Some(BootId(1)), true), (2, None, false)]);
    assert_eq!(b.hear(ALICE, &invite("c"))[0].what(), "100", "no other is left");
}

/// The other node says nothing, or that it is not its own.
#[test]
fn it_is_refused_once_nobody_has_it_and_not_because_nobody_says_so() {
    let two = || placed(&[(1, Some(BootId(1)), false), (2, Some(BootId(2)), false)]);
    let mut b = bench();
    takes(&mut b, 0);
    b.view.placements = two();
    assert!(b.hear(ALICE, &invite("c")).is_empty(), "asked about");
    let question = b.asks.drain(..).find_map(|effect| match effect {
        Effect::Inside { to: NodeId(2), header, .. } => header.inquiry,
        _ => None,
    });
    let (_, number) = question.unwrap();
    let mut header = ProxyHeader { sender: NodeId(2), boot: BootId(2), ..header(ALICE.parse().unwrap()) };
    (header.direction, header.inquiry) = (Direction::Inside, Some((Inquiry::NotMine, number)));
    let said = b.input(Input::Datagram { header, message: proxy::answer(b"c@alice").into() });
    assert_eq!(ladder(&said), ["503 → 10.0.0.1:5060"]);

    let mut b = bench();
    takes(&mut b, 0);
    b.view.placements = two();
    for _ in 0..3 {
        assert!(b.hear(ALICE, &invite("c")).is_empty());
        b.pass(Duration::from_millis(500));
    }
    assert_eq!(b.hear(ALICE, &invite("c"))[0].what(), "100", "it may ring there");
}
