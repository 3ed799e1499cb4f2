//! Letters, what the shelf says to them, and what is on it then.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::shadow::testing;
pub(super) use crate::shadow::testing::key;
use crate::shadow::words::decode;
use bytes::Bytes;
use common::ids::{BootId, NodeId, Slot};
use common::time::WallMillis;

const US: Post = post(1);
pub(super) const HOLDER: Post = post(2);
const OTHER: Post = post(3);
const ALL: [(u16, u64); 3] = [(1, 7), (2, 7), (3, 7)];
/// Node 2 is dead.
const LEFT: [(u16, u64); 2] = [(1, 7), (3, 7)];
const A: CallHash = CallHash(0xA);
const B: CallHash = CallHash(0xB);
const C: CallHash = CallHash(0xC);
pub(super) const END: CallHash = CallHash(u64::MAX);

const fn post(node: u16) -> Post {
    Post { node: NodeId(node), boot: BootId(7), worker: 0 }
}

fn placement(live: &[(u16, u64)]) -> Placement {
    testing::placement(3, live)
}

/// A call of a slot whose list this is while all live.
fn listed(order: [u16; 3]) -> CallHash {
    let all = placement(&ALL);
    let is = |slot: &u16| all.list(Slot(*slot)).map(|node| node.0).eq(order);
    CallHash(u64::from((0..=u16::MAX).find(is).unwrap()) << 48)
}

pub(super) fn begin() -> What {
    What::Accepted(testing::accepted(Bytes::from_static(b"INVITE"), WallMillis(0)))
}

pub(super) fn refused(status: u16) -> What {
    What::Refused { status, response: Bytes::new() }
}

pub(super) fn record(no: u64, previous: u64, hash: CallHash, what: What) -> Body {
    Body::Record { no: RecordNo(no), previous: RecordNo(previous), hash, key: key(hash), what }
}

/// As it is when an INVITE that came at this time has been refused so.
fn image(at: Time, hash: CallHash, status: u16) -> Image {
    let mut image = Image::default();
    image.apply(at, &key(hash), begin());
    image.apply(at, &key(hash), refused(status));
    image
}

pub(super) fn whole(no: u64, hash: CallHash, clock: Time, image: Image) -> Body {
    Body::Whole { no: RecordNo(no), hash, clock, image: Box::new(image) }
}

fn release(no: u64, hash: CallHash) -> Body {
    Body::Release { no: RecordNo(no), hash }
}

fn check(first: CallHash, last: CallHash, calls: &[(CallHash, u64)]) -> Body {
    Body::Check { first, last, calls: calls.iter().map(|(hash, no)| (*hash, RecordNo(*no))).collect() }
}

pub(super) struct Backup {
    pub(super) shelf: Shelf,
    pub(super) now: Time,
}

impl Backup {
    /// Node 1 of three that live.
    pub(super) fn new() -> Backup {
        let mut b = Backup { shelf: Shelf::new(US), now: Time(60_000_000) };
        b.stands(&ALL);
        b
    }

    fn stands(&mut self, live: &[(u16, u64)]) {
        self.shelf.placed(self.now, &placement(live));
    }

    pub(super) fn later(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
    }

    pub(super) fn answers(&mut self, from: Post, word: Word) -> Vec<Word> {
        let mut mail = Mail::default();
        self.shelf.hear(self.now, from, word, &mut mail);
        self.shelf.flush(&mut mail);
        let mut said = Vec::new();
        for parcel in mail.take() {
            assert_eq!((parcel.to, parcel.over), (from, Over::EveryPlane));
            said.extend(decode(from, &parcel.plain).unwrap());
        }
        said
    }

    /// A letter with its number and the floor of its time; what is said to it.
    fn hears(&mut self, from: Post, (number, floor): (u64, u64), body: Body) -> String {
        let text = |word: &Word| match word {
            Word::Acks { numbers } => format!("acks {numbers:?}"),
            Word::Want { hash } => format!("want {:x}", hash.0),
            other => format!("{other:?}"),
        };
        let said = self.answers(from, Word::Letter { number, floor, body });
        said.iter().map(text).collect::<Vec<String>>().join(", ")
    }

    /// The holder's node and its newest record.
    fn newest(&self, hash: CallHash) -> Option<(u16, u64)> {
        self.shelf.get(hash).map(|shelved| (shelved.holder.node.0, shelved.no.0))
    }

    fn orphans(&self) -> Vec<(CallHash, Post)> {
        self.shelf.orphans_of_ours().collect()
    }
}

#[test]
fn records_in_their_order_are_the_call_until_its_end() {
    let mut b = Backup::new();
    assert_eq!(b.hears(HOLDER, (1, 1), record(1, 0, A, begin())), "acks [1]");
    assert!(b.shelf.has_pending(A) && !b.shelf.has_pending(B));
    assert_eq!(b.hears(HOLDER, (2, 1), record(2, 1, A, refused(486))), "acks [2]");
    assert_eq!(b.shelf.get(A).unwrap().image, image(b.now, A, 486));
    assert!(!b.shelf.has_pending(A));
    assert_eq!(b.hears(OTHER, (1, 1), record(1, 0, B, begin())), "acks [1]");
    let status = b.shelf.status();
    assert_eq!((status.images, status.holders, status.orphans, status.applied), (2, 2, 0, 3));
    assert_eq!(b.hears(HOLDER, (3, 3), record(5, 2, A, What::Over)), "acks [3]", "3 and 4 were another call's");
    assert_eq!(b.newest(A), None);
    assert_eq!(b.hears(HOLDER, (4, 4), record(6, 0, A, begin())), "acks [4]", "the caller tries again");
    assert_eq!(b.newest(A), Some((2, 6)));
    assert_eq!(b.shelf.by_holder().collect::<Vec<_>>(), [(HOLDER, 1), (OTHER, 1)]);
}

#[test]
fn acks_are_gathered_for_each_holder() {
    let (mut b, mut mail) = (Backup::new(), Mail::default());
    for (from, number) in [(HOLDER, 3), (OTHER, 8), (HOLDER, 1), (HOLDER, 3)] {
        b.shelf.hear(b.now, from, Word::Letter { number, floor: 1, body: Body::Probe }, &mut mail);
    }
    assert!(mail.is_empty());
    b.shelf.flush(&mut mail);
    let said = mail.take().into_iter().map(|parcel| decode(parcel.to, &parcel.plain).unwrap());
    assert_eq!(said.collect::<Vec<_>>(), [[Word::Acks { numbers: vec![1, 3] }], [Word::Acks { numbers: vec![8] }]]);
}

#[test]
fn a_gap_is_asked_for_and_healed_by_the_whole() {
    let mut b = Backup::new();
    b.hears(HOLDER, (1, 1), record(1, 0, A, begin()));
    assert_eq!(b.hears(HOLDER, (3, 2), record(3, 2, A, refused(486))), "want a");
    b.later(5);
    assert_eq!(b.hears(HOLDER, (3, 2), record(3, 2, A, refused(486))), "", "it was asked for");
    b.later(15);
    assert_eq!(b.hears(HOLDER, (3, 2), record(3, 2, A, refused(486))), "want a");
    assert_eq!(b.hears(HOLDER, (4, 2), whole(3, A, b.now, image(b.now, A, 486))), "acks [4]");
    assert_eq!(b.hears(HOLDER, (3, 2), record(3, 2, A, refused(486))), "acks [3]");
    assert_eq!(b.hears(HOLDER, (2, 2), record(2, 1, A, refused(404))), "acks [2]", "it is in the whole");
    assert_eq!(b.shelf.get(A).unwrap().image, image(b.now, A, 486));
    assert_eq!(b.hears(HOLDER, (5, 5), record(4, 3, A, What::Over)), "acks [5]");
    assert_eq!((b.newest(A), b.shelf.status().wants, b.shelf.status().wholes), (None, 2, 1));
}

#[test]
fn a_gap_closes_by_itself_if_what_was_lost_comes() {
    let mut b = Backup::new();
    assert_eq!(b.hears(HOLDER, (2, 1), record(2, 1, A, refused(486))), "want a");
    assert_eq!(b.hears(HOLDER, (1, 1), record(1, 0, A, begin())), "acks [1]");
    assert_eq!(b.hears(HOLDER, (2, 1), record(2, 1, A, refused(486))), "acks [2]");
    assert_eq!(b.newest(A), Some((2, 2)));
}

#[test]
fn what_begins_anew_needs_nothing_that_was_before() {
    let mut b = Backup::new();
    b.hears(HOLDER, (1, 1), record(1, 0, A, begin()));
    b.hears(HOLDER, (2, 1), record(2, 1, A, refused(486)));
    assert_eq!(b.hears(HOLDER, (4, 3), record(4, 0, A, begin())), "acks [4]", "its end is not here yet");
    assert_eq!(b.hears(HOLDER, (3, 3), record(3, 2, A, What::Over)), "acks [3]");
    assert!(b.shelf.has_pending(A) && b.newest(A) == Some((2, 4)));
}

#[test]
fn copies_and_late_letters_change_nothing() {
    let mut b = Backup::new();
    b.hears(HOLDER, (1, 1), record(1, 0, A, begin()));
    b.hears(HOLDER, (2, 1), record(2, 1, A, refused(486)));
    let before = b.shelf.get(A).unwrap().image.clone();
    assert_eq!(b.hears(HOLDER, (2, 1), record(2, 1, A, refused(486))), "acks [2]");
    assert_eq!(b.hears(HOLDER, (1, 1), record(1, 0, A, begin())), "acks [1]");
    assert_eq!(
        b.hears(HOLDER, (3, 1), whole(1, A, b.now, image(b.now, A, 404))),
        "acks [3]",
        "older than what is here"
    );
    assert_eq!((&b.shelf.get(A).unwrap().image, b.shelf.status().applied), (&before, 2));
}

#[test]
fn a_late_first_record_does_not_bring_a_call_back() {
    let mut b = Backup::new();
    // By the floor: the holder waits for nothing before letter 5.
    assert_eq!(b.hears(HOLDER, (5, 5), Body::Probe), "acks [5]");
    assert_eq!(b.hears(HOLDER, (1, 1), record(1, 0, A, begin())), "acks [1]");
    assert_eq!(b.newest(A), None);
    // By what was told later, if the holder still waits.
    assert_eq!(b.hears(HOLDER, (8, 6), release(9, A)), "acks [8]");
    assert_eq!(b.hears(HOLDER, (6, 6), record(7, 0, A, begin())), "acks [6]");
    assert_eq!(b.hears(HOLDER, (7, 6), whole(8, A, b.now, image(b.now, A, 486))), "acks [7]");
    assert_eq!(b.newest(A), None);
    // The same call may begin again.
    assert_eq!(b.hears(HOLDER, (9, 9), whole(9, A, b.now, image(b.now, A, 486))), "acks [9]");
    assert_eq!(b.newest(A), Some((2, 9)));
}

#[test]
fn a_whole_is_told_by_the_holders_clock() {
    let mut b = Backup::new();
    let (then, clock) = (Time(1_000_000), Time(3_000_000));
    assert_eq!(b.hears(HOLDER, (1, 1), whole(4, A, clock, image(then, A, 486))), "acks [1]");
    assert_eq!(b.shelf.get(A).unwrap().image.youngest(), b.now - Duration::from_secs(2));
    assert_eq!(b.hears(HOLDER, (2, 1), whole(5, A, clock, Image::default())), "acks [2]", "nothing is left of it");
    assert_eq!(b.newest(A), None);
}

#[test]
fn a_release_takes_away_what_is_its_holders_and_not_newer() {
    let mut b = Backup::new();
    b.hears(HOLDER, (1, 1), record(1, 0, A, begin()));
    assert_eq!(b.hears(OTHER, (1, 1), release(9, A)), "acks [1]");
    b.hears(HOLDER, (3, 1), record(3, 1, A, refused(486)));
    assert_eq!(b.hears(HOLDER, (2, 1), release(2, A)), "acks [2]", "before we became its backup again");
    assert_eq!(b.newest(A), Some((2, 3)));
    assert_eq!(b.hears(HOLDER, (4, 1), release(3, A)), "acks [4]");
    assert_eq!(b.newest(A), None);
}

#[test]
fn a_check_heals_both_ways() {
    let mut b = Backup::new();
    b.hears(HOLDER, (1, 1), record(1, 0, A, begin()));
    b.hears(HOLDER, (2, 1), record(2, 0, B, begin()));
    assert_eq!(b.hears(HOLDER, (3, 3), check(A, END, &[(A, 1), (C, 3)])), "want c, acks [3]");
    assert_eq!((b.newest(A), b.newest(B), b.shelf.status().surplus), (Some((2, 1)), None, 1));
    b.later(20);
    assert_eq!(b.hears(HOLDER, (4, 4), check(A, C, &[(A, 4)])), "want a, acks [4]", "a record of it was lost");
    assert_eq!(b.hears(HOLDER, (5, 5), check(B, END, &[])), "acks [5]");
    assert_eq!(b.hears(OTHER, (1, 1), check(CallHash(0), END, &[])), "acks [1]");
    assert_eq!(b.hears(HOLDER, (6, 6), check(END, A, &[])), "acks [6]", "a range of nothing");
    assert_eq!(b.newest(A), Some((2, 1)), "it is of another range, or of another holder");
}

#[test]
fn a_late_check_knows_nothing_of_what_came_after_it() {
    let mut b = Backup::new();
    b.hears(HOLDER, (1, 1), record(1, 0, A, begin()));
    b.hears(HOLDER, (3, 1), record(2, 0, B, begin()));
    b.hears(HOLDER, (4, 1), record(3, 1, A, refused(486)));
    b.hears(HOLDER, (5, 1), record(4, 3, A, What::Over));
    assert_eq!(b.hears(HOLDER, (2, 1), check(CallHash(0), END, &[(A, 1)])), "acks [2]");
    assert_eq!((b.newest(A), b.newest(B)), (None, Some((2, 2))), "one has ended, one has begun since");
}

#[test]
fn a_letter_of_the_dead_is_not_read() {
    let mut b = Backup { shelf: Shelf::new(US), now: Time(60_000_000) };
    assert_eq!(b.hears(HOLDER, (1, 1), record(1, 0, A, begin())), "", "nothing stands yet");
    b.stands(&ALL);
    assert_eq!(b.hears(HOLDER, (1, 1), record(1, 0, A, begin())), "acks [1]");
    b.stands(&LEFT);
    assert_eq!(b.hears(HOLDER, (2, 1), record(2, 1, A, refused(486))), "");
    assert_eq!(b.newest(A), Some((2, 1)));
    b.stands(&[(1, 7), (2, 8), (3, 7)]);
    assert_eq!(b.hears(HOLDER, (3, 1), release(9, A)), "", "another incarnation stands");
    let again = Post { boot: BootId(8), ..HOLDER };
    assert_eq!(b.hears(again, (1, 1), record(1, 0, B, begin())), "acks [1]", "its numbers begin again");
    assert_eq!((b.newest(A), b.newest(B), b.shelf.status().of_the_dead), (Some((2, 1)), Some((2, 1)), 3));
}

#[test]
fn a_dead_holders_call_is_its_next_holders_when_that_one_says_so() {
    let mut b = Backup::new();
    let call = listed([2, 3, 1]);
    for (number, hash) in [(1, A), (2, B), (3, call)] {
        b.hears(HOLDER, (number, 1), record(number, 0, hash, begin()));
    }
    assert_eq!(b.hears(OTHER, (1, 1), record(9, 0, A, begin())), "want a", "its holder lives");
    assert_eq!(b.hears(OTHER, (2, 1), whole(9, A, b.now, image(b.now, A, 486))), "acks [2]");
    assert_eq!(b.newest(A), Some((3, 9)));
    b.stands(&LEFT);
    assert_eq!(b.hears(OTHER, (3, 1), release(9, call)), "acks [3]");
    assert_eq!(b.hears(OTHER, (4, 1), check(CallHash(0), END, &[(A, 9)])), "acks [4]");
    assert_eq!(b.newest(call), Some((2, 3)), "the orphan waits to be told of");
    assert_eq!(b.hears(OTHER, (5, 1), record(10, 0, B, begin())), "acks [5]", "begun afresh");
    assert_eq!(b.hears(OTHER, (6, 1), whole(11, call, b.now, Image::default())), "acks [6]", "taken over and ended");
    assert_eq!((b.newest(B), b.newest(call)), (Some((3, 10)), None));
}

#[test]
fn orphans_are_acted_for_by_the_first_live_node_of_their_slot() {
    let mut b = Backup::new();
    let (ours, others) = (listed([2, 1, 3]), listed([2, 3, 1]));
    b.hears(HOLDER, (1, 1), record(1, 0, ours, begin()));
    b.hears(HOLDER, (2, 1), record(2, 0, others, begin()));
    assert!(b.orphans().is_empty() && b.shelf.next_due().is_none());
    b.stands(&LEFT);
    assert_eq!((b.orphans(), b.shelf.status().orphans), (vec![(ours, HOLDER)], 2));
    b.stands(&ALL);
    assert!(b.orphans().is_empty() && b.shelf.next_due().is_none(), "the same incarnation stands again");
    assert_eq!((b.newest(ours), b.newest(others)), (None, None), "without its calls: they are others' now");
    b.hears(HOLDER, (3, 1), record(3, 0, ours, begin()));
    b.hears(HOLDER, (4, 1), record(4, 0, others, begin()));
    b.stands(&LEFT);
    b.later(50);
    b.stands(&LEFT);
    assert_eq!(b.shelf.next_due(), Some(b.now + ORPHANED - Duration::from_millis(50)));
    b.later(119_950);
    b.shelf.tick(b.now);
    assert_eq!((b.newest(ours), b.newest(others), b.shelf.status().orphans_dropped), (Some((2, 3)), None, 1));
    assert_eq!(b.shelf.next_due(), Some(b.now + ORPHANED), "ours stays, as long as that takes");
    assert_eq!(b.shelf.take(ours).map(|taken| taken.no), Some(RecordNo(3)));
    b.later(120_000);
    b.shelf.tick(b.now);
    assert!(b.shelf.get(ours).is_none() && b.shelf.next_due().is_none() && b.shelf.holders.is_empty());
}

#[test]
fn what_another_backup_tells_is_put_if_it_is_newer() {
    let mut b = Backup::new();
    let dead = (HOLDER.node, HOLDER.boot);
    b.hears(HOLDER, (1, 1), record(3, 0, A, begin()));
    b.shelf.put_newer(B, HOLDER, RecordNo(5), image(b.now, B, 486));
    assert_eq!(b.newest(B), None, "its holder lives, and tells itself");
    b.stands(&LEFT);
    assert!(b.shelf.lacks(A, dead, RecordNo(4)) && b.shelf.lacks(B, dead, RecordNo(1)));
    assert!(!b.shelf.lacks(A, dead, RecordNo(3)));
    for no in [2, 3] {
        b.shelf.put_newer(A, HOLDER, RecordNo(no), image(b.now, A, 404));
        assert!(b.shelf.has_pending(A));
    }
    b.shelf.put_newer(A, HOLDER, RecordNo(4), image(b.now, A, 486));
    b.shelf.put_newer(B, HOLDER, RecordNo(5), image(b.now, B, 486));
    assert_eq!((b.newest(A), b.newest(B)), (Some((2, 4)), Some((2, 5))));
    b.shelf.put_newer(A, HOLDER, RecordNo(0), Image::default());
    assert_eq!(b.newest(A), Some((2, 4)), "nothing is known of it there");
    b.shelf.put_newer(A, HOLDER, RecordNo(6), Image::default());
    assert_eq!((b.newest(A), b.shelf.left_of(A, dead)), (None, (RecordNo(6), None)), "it has ended there");
    assert!(!b.shelf.lacks(A, dead, RecordNo(6)));
    // Node 3 has taken B over, as the other backup has heard, and has died then.
    let (then, heir) = (Post { worker: 4, ..OTHER }, (OTHER.node, OTHER.boot));
    b.later(500);
    b.stands(&[(1, 7)]);
    b.shelf.put_newer(B, then, RecordNo(1), image(b.now, B, 603));
    assert_eq!(b.newest(B), Some((3, 1)));
    assert!(b.shelf.lacks(B, heir, RecordNo(2)) && !b.shelf.lacks(B, dead, RecordNo(9)));
}

#[test]
fn a_full_shelf_takes_no_further_call() {
    let mut b = Backup::new();
    b.shelf.most = 2;
    b.hears(HOLDER, (1, 1), record(1, 0, A, begin()));
    b.hears(HOLDER, (2, 1), record(2, 0, B, begin()));
    assert_eq!(b.hears(HOLDER, (3, 1), record(3, 0, C, begin())), "", "it is no backup of this one");
    assert_eq!(b.hears(HOLDER, (4, 1), whole(3, C, b.now, image(b.now, C, 486))), "");
    assert_eq!(b.hears(HOLDER, (5, 1), record(4, 1, A, refused(486))), "acks [5]");
    assert_eq!(b.hears(HOLDER, (6, 1), record(5, 4, A, What::Over)), "acks [6]");
    assert_eq!(b.hears(HOLDER, (3, 1), record(3, 0, C, begin())), "acks [3]");
    assert_eq!((b.shelf.status().images, b.shelf.status().full), (2, 2));
}
