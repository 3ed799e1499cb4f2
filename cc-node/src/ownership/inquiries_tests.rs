//! Questions, answers and silences, step by step.

use super::*;
use common::ids::ListenerId;
use common::wire::proxy::Sent;

const ME: NodeId = NodeId(2);
const US: Asker = Asker { node: ME, boot: BootId(7), epoch: Epoch(5) };

fn ms(ms: u64) -> Time {
    Time(1_000_000) + Duration::from_millis(ms)
}

const CALL: &[u8] = b"c";

fn held(transaction: u128, method: MethodKind) -> Held {
    let (source, vip) = (([198, 51, 100, 1], 5060).into(), ([192, 0, 2, 1], 5060).into());
    let header = ProxyHeader::ingress(source, vip, ListenerId(0), BootId(1), Epoch(5), Sent::default());
    let message = Bytes::from_static(b"INVITE sip:b@h SIP/2.0\r\nCall-ID: c\r\n\r\n");
    Held { about: About { transaction, method, status: 0 }, header, message, silent: false }
}

fn invite() -> Held {
    held(1, MethodKind::Invite)
}

/// Asks node 1; what was sent.
fn asked(i: &mut Inquiries, now: Time) -> Vec<Effect> {
    let mut out = Vec::new();
    assert!(i.ask(now, US, invite(), &[NodeId(1)], &mut out).is_none());
    out
}

fn number(out: &[Effect]) -> u32 {
    let Some(Effect::Inside { header, .. }) = out.first() else { return 0 };
    header.inquiry.map_or(0, |(_, number)| number)
}

/// When and over which plane's turn it goes out, until nothing is due.
fn run(i: &mut Inquiries) -> Vec<(u64, u8)> {
    let mut sent = Vec::new();
    while let Some(due) = i.next_due() {
        let mut out = Vec::new();
        i.tick(due, US, &mut out);
        let turn = |effect| match effect {
            Effect::Inside { over: Over::InTurn(n), .. } => Some((due.since(ms(0)).as_millis() as u64, n)),
            _ => None,
        };
        sent.extend(out.into_iter().filter_map(turn));
    }
    sent
}

#[test]
fn a_question_goes_out_four_times_and_the_message_is_dropped_unanswered() {
    let mut i = Inquiries::default();
    let out = asked(&mut i, ms(0));
    let Some(Effect::Inside { to, header, message, .. }) = out.first() else { panic!("{out:?}") };
    assert_eq!((*to, header.direction, header.visited.as_slice()), (NodeId(1), Direction::Inside, &[ME][..]));
    assert_eq!((header.sender, header.boot, header.epoch), (ME, BootId(7), Epoch(5)));
    assert_eq!((header.source, message), (invite().header.source, &invite().message));
    assert_eq!(run(&mut i), [(20, 1), (60, 2), (140, 3)]);
    assert_eq!((i.counters.asked, i.counters.silent), (1, 1));
}

#[test]
fn who_holds_it_has_taken_it() {
    let mut i = Inquiries::default();
    let number = number(&asked(&mut i, ms(0)));
    assert!(i.told(number, NodeId(3), false, CALL).is_none(), "nobody asked node 3");
    assert!(i.told(number, NodeId(1), false, b"d").is_none(), "of another call, whatever its number");
    assert!(i.told(number, NodeId(1), true, CALL).is_none());
    assert!(i.told(number, NodeId(1), false, CALL).is_none(), "too late");
    assert_eq!((i.counters.theirs, run(&mut i).len()), (1, 0));
}

#[test]
fn it_is_ours_when_all_have_said_not_mine() {
    let mut i = Inquiries::default();
    let mut out = Vec::new();
    i.ask(ms(0), US, invite(), &[NodeId(1), NodeId(3)], &mut out);
    assert_eq!(out.len(), 2);
    let number = number(&out);
    assert!(i.told(number, NodeId(3), false, CALL).is_none());
    assert!(i.told(number, NodeId(3), false, CALL).is_none(), "the other plane's copy");
    let held = i.told(number, NodeId(1), false, CALL);
    assert!(held.is_some_and(|held| held.about == invite().about && !held.silent));
}

#[test]
fn who_has_left_the_placement_has_nothing() {
    let mut i = Inquiries::default();
    let mut out = Vec::new();
    i.ask(ms(0), US, invite(), &[NodeId(1), NodeId(3)], &mut out);
    assert!(i.placed(|node| node != NodeId(3)).is_empty());
    assert_eq!(i.placed(|_| false).len(), 1);
}

#[test]
fn silence_is_gone_on_without_after_one_and_a_half_seconds() {
    let mut i = Inquiries::default();
    asked(&mut i, ms(0));
    run(&mut i);
    asked(&mut i, ms(500));
    run(&mut i);
    let mut out = Vec::new();
    let held = i.ask(ms(1500), US, invite(), &[NodeId(1)], &mut out);
    assert!(held.is_some_and(|held| held.silent) && out.is_empty());
    assert_eq!((i.counters.without, i.counters.silent), (1, 2));
    // An answer ends the silence.
    let number = number(&asked(&mut i, ms(2000)));
    assert!(i.told(number, NodeId(1), true, CALL).is_none());
    asked(&mut i, ms(3900));
}

#[test]
fn a_repeat_waits_with_the_first_and_a_cancel_behind_its_invite() {
    let mut i = Inquiries::default();
    asked(&mut i, ms(0));
    let mut out = Vec::new();
    assert!(i.ask(ms(5), US, invite(), &[NodeId(1)], &mut out).is_none());
    assert!(i.ask(ms(6), US, held(1, MethodKind::Cancel), &[NodeId(1)], &mut out).is_none());
    assert!(out.is_empty() && i.counters.asked == 1);
    assert!(i.ask(ms(7), US, held(2, MethodKind::Cancel), &[NodeId(1)], &mut out).is_none());
    assert_eq!(out.len(), 1);
}

#[test]
fn of_two_who_ask_each_other_the_lower_takes_it() {
    let mut i = Inquiries::default();
    asked(&mut i, ms(0));
    assert!(i.asked(ms(1), ME, NodeId(3), 1), "ours");
    assert!(!i.asked(ms(1), ME, NodeId(1), 1), "theirs");
    assert_eq!((i.counters.left, run(&mut i).len()), (1, 0));
}

#[test]
fn to_whom_not_mine_was_said_is_remembered_for_a_while() {
    let mut i = Inquiries::default();
    assert!(!i.asked(ms(0), ME, NodeId(3), 9));
    assert_eq!(i.left_to(ms(4999), 9), Some(NodeId(3)));
    assert_eq!(i.left_to(ms(5001), 9), None);
}

#[test]
fn what_is_kept_is_bounded() {
    let mut i = Inquiries::default();
    let mut out = Vec::new();
    for n in 0..10_000 {
        i.ask(ms(0), US, held(n, MethodKind::Invite), &[NodeId(1)], &mut out);
        i.asked(ms(0), ME, NodeId(3), 100_000 + n);
    }
    assert_eq!((i.open.len(), i.counters.full), (OPEN, 10_000 - OPEN as u64));
    assert!(i.left_to.order.len() <= KEPT && i.silences.order.len() <= KEPT);
}
