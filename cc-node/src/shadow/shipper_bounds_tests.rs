//! What is bounded: letters on their way, calls that are told whole, the length of a datagram, what a check lists.

use super::tests::{Scene, accepted, begin, hash};
use super::*;
use crate::record::What;

#[test]
fn at_most_64_calls_are_on_their_way_whole_and_those_that_a_message_waits_for_come_first() {
    let mut s = Scene::of(&[]);
    for call in 0..200 {
        s.write(call, begin());
    }
    s.placed(&[2]);
    assert_eq!((s.wire().len(), s.status().wholes), (64, 64));
    let no = s.write(150, What::Cancelled);
    s.send(no, "200");
    assert_eq!((s.wire(), s.left()), (Vec::new(), Vec::new()));
    s.ack(2, &[1, 2]);
    assert_eq!(s.wire(), ["0: 2/0 #65 whole 150 as of 201", "0: 2/0 #66 whole 64 as of 65"]);
    s.ack(2, &[65]);
    assert_eq!(s.left(), ["200"]);
}

#[test]
fn letters_on_their_way_are_bounded() {
    let mut s = Scene::of(&[2]);
    s.write(7, begin());
    for _ in 1..4_096 {
        s.write(7, What::Cancelled);
    }
    s.send(4_096, "held");
    assert_eq!((s.wire().len(), s.left()), (4_096, Vec::new()));
    s.write(7, What::Cancelled);
    s.send(4_097, "unprotected");
    assert_eq!((s.wire(), s.left(), s.status().unprotected), (Vec::new(), vec!["unprotected".to_string()], 1));
    s.ack(2, &[1]);
    assert_eq!(s.wire(), ["0: 2/0 #4097 whole 7 as of 4097"]);
}

#[test]
fn a_call_that_no_datagram_can_tell_does_not_make_its_backup_slow() {
    let mut s = Scene::of(&[2]);
    s.write(7, accepted(vec![b'x'; 61_000].into()));
    s.send(1, "100");
    s.hear(2, Word::Want { hash: hash(7) });
    assert_eq!((s.wire(), s.left(), s.status().unprotected), (Vec::new(), vec!["100".to_string()], 1));
    assert_eq!(s.shipper.count_copies(usize::MAX), [1, 0, 0]);
    s.write(7, What::Over);
    assert_eq!(s.wire(), ["0: 2/0 #1 end of 7 as of 2"]);
}

#[test]
fn checks_go_over_all_hashes_without_a_gap() {
    let mut s = Scene::of(&[]);
    for call in 1..=120 {
        s.write(call, begin());
    }
    s.placed(&[2]);
    let all: Vec<u64> = (1..=120).collect();
    s.ack(2, &all);
    s.ack(2, &all);
    s.wire();
    for (second, range) in [
        (1, "0 to 32000000000000: 50 calls"),
        (2, "32000000000001 to 64000000000000: 50 calls"),
        (3, "64000000000001 to ffffffffffffffff: 20 calls"),
        (4, "0 to 32000000000000: 50 calls"),
    ] {
        s.until(second * 1_000);
        let number = 120 + second;
        assert_eq!(s.wire(), [format!("{second}000: 2/0 #{number} check {range}")]);
        s.ack(2, &[number]);
    }
}

#[test]
fn copies_are_counted_a_few_at_a_time() {
    let mut s = Scene::of(&[2]);
    for call in 1..=5 {
        s.write(call, begin());
    }
    assert_eq!(
        [(); 3].map(|()| s.shipper.count_copies(2)),
        [[0; 3], [0; 3], [0, 5, 0]],
        "not through before the third"
    );
    s.until(100);
    assert_eq!([(); 3].map(|()| s.shipper.count_copies(2)), [[0, 5, 0], [0, 5, 0], [5, 0, 0]], "it is slow now");
}

#[test]
fn what_nothing_waits_for_goes_with_the_next_record_or_20_ms_later() {
    let mut s = Scene::of(&[2]);
    s.write(7, begin());
    s.write(7, What::Over);
    s.until(1);
    assert_eq!(s.wire(), ["0: 2/0 #1 record 1 of 7 after 0"]);
    s.ack(2, &[1]);
    s.write(8, begin());
    assert_eq!(s.wire(), ["1: 2/0 #2 record 2 of 7 after 1", "1: 2/0 #3 record 3 of 8 after 0"]);
    s.ack(2, &[2, 3]);
    s.write(8, What::Over);
    s.until(21);
    assert_eq!(s.wire(), ["21: 2/0 #4 record 4 of 8 after 3"]);
}

#[test]
fn a_backup_whose_answers_take_long_is_given_as_long() {
    let mut s = Scene::of(&[2]);
    for call in 1..=40 {
        s.write(call, begin());
        s.until(u64::from(call) * 10);
        s.ack(2, &[u64::from(call)]);
    }
    s.wire();
    s.write(41, begin());
    s.until(495);
    // Nearly ten milliseconds each of late: twice that instead of 5, and as much more for those that follow.
    let times = ["400: 2/0", "419: 2/1", "429: 2/2", "454: 2/3"].map(|at| format!("{at} #41 record 41 of 41 after 0"));
    assert_eq!(s.wire(), times);
}
