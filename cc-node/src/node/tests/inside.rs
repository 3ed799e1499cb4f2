//! What another node asks, and what goes on without anybody here knowing its call.

use super::*;
use crate::effect::Effect;
use crate::problems::Blind;
use crate::stats::DropReason;
use common::wire::proxy::{Direction, Inquiry};

/// Node 2 asks: is this yours? `visited`: who has seen the message.
fn asked(b: &mut Bench, text: &str, visited: &[u16]) -> Vec<Said> {
    let mut header = ProxyHeader { sender: NodeId(2), direction: Direction::Inside, ..header(ALICE.parse().unwrap()) };
    header.inquiry = Some((Inquiry::Yours, 9));
    header.visited.extend(visited.iter().map(|n| NodeId(*n)));
    b.input(Input::Datagram { header, message: text.replace('\n', "\r\n").into() })
}

/// What was said to node 2.
fn told(b: &mut Bench) -> Vec<Inquiry> {
    let said = b.asks.drain(..).filter_map(|effect| match effect {
        Effect::Inside { to: NodeId(2), header, .. } => header.inquiry.map(|(kind, _)| kind),
        _ => None,
    });
    said.collect()
}

#[test]
fn what_is_held_is_taken_and_what_was_here_before_is_not() {
    let mut b = bench();
    let forwarded = b.hear(ALICE, &invite("c")).remove(1);
    b.hear(BOB, &response(&forwarded, "180 Ringing", "b", ""));
    assert_eq!(ladder(&asked(&mut b, &invite("c"), &[2])), ["180 → 10.0.0.1:5060"]);
    assert_eq!(told(&mut b), [Inquiry::Mine]);
    assert!(asked(&mut b, &invite("other"), &[2]).is_empty());
    assert_eq!(told(&mut b), [Inquiry::NotMine]);
    let dropped = b.node.stats().dropped[DropReason::Inside as usize];
    assert!(asked(&mut b, &invite("c"), &[2, 1]).is_empty(), "it was here before");
    assert_eq!(told(&mut b), []);
    assert_eq!(b.node.stats().dropped[DropReason::Inside as usize], dropped + 1);
}

#[test]
fn what_goes_on_without_knowledge_is_counted_and_told() {
    let mut b = bench();
    let ok = established(&mut b, "c");
    b.node.forget_call(b"c@alice");
    let bye = b.hear(ALICE, &in_dialog("BYE", "c", 2, ok.route(), "sip:bob@10.0.0.2:5060"));
    assert_eq!(ladder(&bye), ["BYE → 10.0.0.2:5060"]);
    assert_eq!(b.node.stats().blind[Blind::Request as usize], 1);
    let told = b.node.take_blind();
    assert_eq!(told.iter().map(|blind| &*blind.call_id).collect::<Vec<_>>(), [b"c@alice"]);
    assert!(b.node.take_blind().is_empty(), "once");
}
