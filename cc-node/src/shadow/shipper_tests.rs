//! Letters to two backups, step by step: what goes out when, and when a message may follow. The wire is written down as
//! `ms: node/turn #number what`.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::effect::Over;
use crate::record::{CallKey, What};
use crate::shadow::{testing, words};
use common::ids::{BootId, ListenerId, Slot, Transport};
use common::time::WallMillis;

pub const US: Post = Post { node: NodeId(1), boot: BootId(10), worker: 0 };
const START: Time = Time(1_000_000_000);

/// The only worker of a node; its boot id is ten times its number.
pub fn post(node: u16) -> Post {
    Post { node: NodeId(node), boot: BootId(u64::from(node) * 10), worker: 0 }
}

/// Node 1 is ours; these live beside it.
pub fn placement(nodes: &[u16]) -> Arc<Placement> {
    let live: Vec<(u16, u64)> = [1].iter().chain(nodes).map(|node| (*node, post(*node).boot.0)).collect();
    let last = live.iter().map(|(node, _)| *node).max().unwrap();
    Arc::new(testing::placement(last, &live))
}

/// Calls are named by their slot.
pub fn hash(call: u16) -> CallHash {
    CallHash(u64::from(call) << 48)
}

pub fn record(no: u64, call: u16, cseq: u32, what: What) -> Effect {
    let key = CallKey { call_id: b"c"[..].into(), from_tag: "f".into(), upstream_branch: "b".into(), cseq };
    Effect::Journal(Record { no: RecordNo(no), hash: hash(call), call: Arc::new(key), what })
}

pub fn accepted(request: Bytes) -> What {
    What::Accepted(testing::accepted(request, WallMillis(0)))
}

pub fn begin() -> What {
    accepted(Bytes::from_static(b"INVITE sip:b@h SIP/2.0\r\n\r\n"))
}

pub fn send(after: Option<u64>, text: &str) -> Effect {
    let to = ([192, 0, 2, 1], 5060).into();
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    Effect::Send { after: after.map(RecordNo), listener: ListenerId(0), to, transport: Transport::Udp, bytes }
}

pub struct Scene {
    pub shipper: Shipper,
    now: Time,
    newest: u64,
    released: Vec<Effect>,
    wire: Vec<(u64, u16, u64, u8, String)>,
}

impl Scene {
    pub fn of(nodes: &[u16]) -> Scene {
        let shipper = Shipper::new(US, BTreeMap::new());
        let mut scene = Scene { shipper, now: START, newest: 0, released: Vec::new(), wire: Vec::new() };
        scene.placed(nodes);
        scene
    }

    pub fn placed(&mut self, nodes: &[u16]) {
        self.shipper.placed(self.now, &placement(nodes), &mut self.released);
        self.until(self.now.since(START).as_millis() as u64);
    }

    /// Writes a record; its number.
    pub fn write(&mut self, call: u16, what: What) -> u64 {
        self.newest += 1;
        self.shipper.take(self.now, record(self.newest, call, 1, what), &mut self.released);
        self.collect();
        self.newest
    }

    pub fn send(&mut self, after: u64, text: &str) {
        self.shipper.take(self.now, send(Some(after), text), &mut self.released);
    }

    pub fn hear(&mut self, node: u16, word: Word) {
        self.shipper.hear(self.now, post(node), &word, &mut self.released);
        self.collect();
    }

    pub fn ack(&mut self, node: u16, numbers: &[u64]) {
        self.hear(node, Word::Acks { numbers: numbers.to_vec() });
    }

    /// Lets time pass up to this millisecond.
    pub fn until(&mut self, ms: u64) {
        let end = START + Duration::from_millis(ms);
        while let Some(due) = self.shipper.next_due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.shipper.tick(self.now, &mut self.released);
            self.collect();
        }
        self.now = end;
    }

    fn collect(&mut self) {
        let ms = self.now.since(START).as_millis() as u64;
        for parcel in self.shipper.mail() {
            let Over::InTurn(turn) = parcel.over else { panic!("{parcel:?}") };
            for word in words::decode(parcel.to, &parcel.plain).unwrap() {
                let Word::Letter { number, body, .. } = word else { panic!("{word:?}") };
                self.wire.push((ms, parcel.to.node.0, number, turn, told(&body)));
            }
        }
    }

    /// The letters since the last call.
    pub fn wire(&mut self) -> Vec<String> {
        self.wire.sort();
        let line = |(ms, node, number, turn, told)| format!("{ms}: {node}/{turn} #{number} {told}");
        self.wire.drain(..).map(line).collect()
    }

    /// The messages that left since the last call.
    pub fn left(&mut self) -> Vec<String> {
        let text = |effect| match effect {
            Effect::Send { bytes, .. } => String::from_utf8_lossy(&bytes).into_owned(),
            other => panic!("{other:?}"),
        };
        self.released.drain(..).map(text).collect()
    }

    pub fn status(&self) -> Status {
        self.shipper.status()
    }
}

fn told(body: &Body) -> String {
    match body {
        Body::Record { no, previous, hash, .. } => format!("record {} of {} after {}", no.0, hash.slot(), previous.0),
        Body::Whole { no, hash, image, .. } if image.is_empty() => format!("end of {} as of {}", hash.slot(), no.0),
        Body::Whole { no, hash, .. } => format!("whole {} as of {}", hash.slot(), no.0),
        Body::Release { no, hash } => format!("release {} as of {}", hash.slot(), no.0),
        Body::Check { first, last, calls } => format!("check {:x} to {:x}: {} calls", first.0, last.0, calls.len()),
        Body::Probe => "probe".into(),
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_message_waits_for_its_record_and_for_no_other() {
    let mut s = Scene::of(&[2, 3]);
    s.write(7, begin());
    s.send(1, "100");
    s.send(1, "INVITE");
    s.shipper.take(s.now, send(None, "x"), &mut s.released);
    s.write(7, What::Cancelled);
    s.send(2, "200");
    assert_eq!(s.left(), ["x"]);
    let wire = ["0: 2/0 #1 record 1 of 7 after 0", "0: 2/0 #2 record 2 of 7 after 1"];
    assert_eq!(s.wire()[..2], wire);
    assert_eq!((s.status().held, s.shipper.lag(s.now + Duration::from_millis(3))), (3, Some(Duration::from_millis(3))));
    s.ack(2, &[1]);
    assert_eq!(s.left(), ["100", "INVITE"]);
    s.send(1, "INVITE again");
    assert_eq!(s.left(), ["INVITE again"], "acknowledged is acknowledged");
    s.ack(3, &[1]);
    assert_eq!(s.left(), NOTHING);
    s.ack(3, &[2]);
    assert_eq!(s.left(), ["200"], "any backup will do");
    assert_eq!((s.status().held, s.status().unprotected, s.shipper.lag(s.now)), (0, 0, None));
    assert_eq!(s.shipper.count_copies(usize::MAX), [0, 0, 1]);
}

#[test]
fn messages_of_one_call_keep_their_order_when_an_ack_is_lost() {
    let mut s = Scene::of(&[2]);
    s.write(7, begin());
    s.send(1, "INVITE");
    s.write(8, begin());
    s.send(2, "INVITE of another");
    s.write(7, What::Cancelled);
    s.send(3, "CANCEL");
    s.ack(2, &[3]);
    assert_eq!(s.left(), ["INVITE", "CANCEL"], "who has the second has the first");
}

#[test]
fn a_letter_is_repeated_three_times_on_one_plane_after_the_other() {
    let mut s = Scene::of(&[2]);
    s.write(7, begin());
    s.until(99);
    let times = ["0: 2/0", "5: 2/1", "15: 2/2", "40: 2/3"].map(|at| format!("{at} #1 record 1 of 7 after 0"));
    assert_eq!(s.wire(), times);
    s.ack(2, &[1]);
    s.until(900);
    assert_eq!(s.wire(), NOTHING);
    assert_eq!((s.status().letters, s.status().resends), (1, 3));
}

#[test]
fn after_100_ms_a_message_leaves_and_the_backup_is_probed_and_then_told_whole() {
    let mut s = Scene::of(&[2]);
    s.write(7, begin());
    s.send(1, "100");
    s.until(99);
    assert_eq!(s.left(), NOTHING);
    s.wire();
    s.until(100);
    assert_eq!((s.left(), s.status().unprotected, s.status().slow), (vec!["100".to_string()], 1, 1));
    assert_eq!(s.shipper.count_copies(usize::MAX), [1, 0, 0]);
    s.write(7, What::Cancelled);
    s.send(2, "200");
    assert_eq!((s.left(), s.status().unprotected), (vec!["200".to_string()], 2), "it waits for nobody");
    s.until(2_500);
    assert_eq!(s.wire(), ["100: 2/0 #2 probe", "1100: 2/1 #2 probe", "2100: 2/2 #2 probe"]);
    s.ack(2, &[1]);
    assert_eq!(s.status().slow, 1, "that letter was given up");
    s.ack(2, &[2]);
    assert_eq!(s.wire(), ["2500: 2/0 #3 whole 7 as of 2"]);
    assert_eq!((s.status().slow, s.shipper.count_copies(usize::MAX)), (0, [0, 1, 0]));
}

#[test]
fn while_one_backup_is_silent_the_other_protects() {
    let mut s = Scene::of(&[2, 3]);
    for ms in [0, 30, 60, 90, 120] {
        s.until(ms);
        let no = s.write(7, if ms == 0 { begin() } else { What::Cancelled });
        s.send(no, "x");
        s.ack(3, &[no]);
        assert_eq!(s.left(), ["x"], "at {ms} ms");
    }
    assert_eq!((s.status().unprotected, s.status().slow, s.shipper.count_copies(usize::MAX)), (0, 1, [0, 1, 0]));
}

#[test]
fn what_only_a_slow_backup_owed_leaves_with_it() {
    let mut s = Scene::of(&[2]);
    s.write(7, begin());
    s.until(90);
    s.write(8, begin());
    s.send(2, "100");
    s.until(100);
    assert_eq!((s.left(), s.status().unprotected), (vec!["100".to_string()], 1));
}

#[test]
fn without_a_backup_nothing_waits() {
    let mut s = Scene::of(&[]);
    s.write(7, begin());
    s.send(1, "100");
    assert_eq!(s.left(), ["100"]);
    assert_eq!((s.wire(), s.status().unprotected, s.shipper.count_copies(usize::MAX)), (Vec::new(), 0, [1, 0, 0]));
}

#[test]
fn a_call_that_ends_leaves_nothing_at_a_backup_that_was_slow() {
    let mut s = Scene::of(&[2]);
    s.write(7, begin());
    s.write(8, begin());
    s.ack(2, &[1, 2]);
    s.write(7, What::Over);
    // It has waited 20 ms for company.
    s.until(120);
    s.write(8, What::Over);
    s.write(9, begin());
    s.write(9, What::Over);
    s.wire();
    s.ack(2, &[3]);
    assert_eq!(s.wire(), NOTHING, "the last record of 7 was given up");
    s.ack(2, &[4]);
    assert_eq!(s.wire(), ["120: 2/0 #5 end of 7 as of 6", "120: 2/0 #6 end of 8 as of 6"], "of 9 it has not heard");
}

#[test]
fn a_backup_that_misses_something_is_told_all() {
    let mut s = Scene::of(&[2]);
    s.write(7, begin());
    s.write(7, What::Cancelled);
    s.send(2, "200");
    s.wire();
    s.hear(2, Word::Want { hash: hash(7) });
    s.hear(2, Word::Want { hash: hash(7) });
    assert_eq!(s.wire(), ["0: 2/0 #3 whole 7 as of 2"], "once is enough");
    s.write(7, What::Refused { status: 487, response: Bytes::new() });
    s.until(5);
    let repeats =
        ["#1 record 1 of 7 after 0", "#2 record 2 of 7 after 1", "#3 whole 7 as of 3", "#4 record 3 of 7 after 2"];
    assert_eq!(s.wire()[1..], repeats.map(|letter| format!("5: 2/1 {letter}")), "a repeat tells what is newest");
    s.ack(2, &[3]);
    assert_eq!(s.left(), ["200"], "a whole covers the records before it");
    s.until(15);
    assert_eq!(s.wire(), ["15: 2/2 #4 record 3 of 7 after 2"]);
    s.hear(2, Word::Want { hash: hash(9) });
    assert_eq!(s.wire(), ["15: 2/0 #5 end of 9 as of 3"], "there is no such call");
}

/// A call whose backups are 2 and 3, and 2 and 4 once 4 is there.
fn moving() -> u16 {
    let (before, after) = (placement(&[2, 3]), placement(&[2, 3, 4]));
    let others = |placement: &Arc<Placement>, slot: u16| -> Vec<u16> {
        placement.list(Slot(slot)).map(|node| node.0).filter(|node| *node != 1).take(2).collect()
    };
    let moves = |slot: &u16| {
        let (before, after) = (others(&before, *slot), others(&after, *slot));
        before.contains(&2) && before.contains(&3) && after.contains(&2) && after.contains(&4)
    };
    (0..u16::MAX).find(moves).unwrap()
}

#[test]
fn another_placement_moves_a_call_to_its_new_backups() {
    let call = moving();
    let mut s = Scene::of(&[2, 3]);
    s.write(call, begin());
    s.ack(2, &[1]);
    s.ack(3, &[1]);
    s.wire();
    s.placed(&[2, 3, 4]);
    assert_eq!(s.wire(), [format!("0: 3/0 #2 release {call} as of 1"), format!("0: 4/0 #1 whole {call} as of 1")]);
    s.write(call, What::Cancelled);
    let record = |node, number| format!("0: {node}/0 #{number} record 2 of {call} after 1");
    assert_eq!(s.wire(), [record(2, 2), record(4, 2)]);
}

#[test]
fn the_walk_looks_at_a_portion_of_the_calls_a_tick_and_a_record_does_not_wait_for_it() {
    let mut s = Scene::of(&[]);
    for call in 0..3_000 {
        s.write(call, begin());
    }
    s.shipper.placed(s.now, &placement(&[2]), &mut s.released);
    s.write(2_999, What::Cancelled);
    assert_eq!(s.wire(), ["0: 2/0 #1 whole 2999 as of 3000", "0: 2/0 #2 record 3001 of 2999 after 3000"]);
    let mut ticks = 0;
    while s.shipper.next_due().unwrap() <= s.now {
        s.shipper.tick(s.now, &mut s.released);
        ticks += 1;
    }
    assert_eq!(ticks, 3);
}

#[test]
fn when_a_backup_dies_messages_wait_for_the_next_one_but_not_for_long() {
    for answers in [true, false] {
        let mut s = Scene::of(&[2]);
        s.write(7, begin());
        s.send(1, "100");
        s.until(60);
        s.wire();
        s.placed(&[4]);
        assert_eq!((s.wire(), s.left()), (vec!["60: 4/0 #1 whole 7 as of 1".to_string()], Vec::new()));
        if answers {
            s.ack(4, &[1]);
            assert_eq!((s.left(), s.status().unprotected), (vec!["100".to_string()], 0));
        }
        s.until(99);
        assert_eq!(s.left(), NOTHING);
        s.until(100);
        assert_eq!((s.left().len(), s.status().unprotected), if answers { (0, 0) } else { (1, 1) });
    }
    let mut s = Scene::of(&[2]);
    s.write(7, begin());
    s.send(1, "100");
    s.placed(&[]);
    assert_eq!((s.left(), s.status().unprotected, s.status().links), (vec!["100".to_string()], 1, 0), "nobody is left");
}

#[test]
fn numbers_go_on_when_the_same_incarnation_stands_again() {
    let mut s = Scene::of(&[2]);
    s.write(7, begin());
    s.placed(&[]);
    s.wire();
    s.placed(&[2]);
    assert_eq!(s.wire(), ["0: 2/0 #2 whole 7 as of 1"]);
}

#[test]
fn an_adopted_call_is_told_whole_and_messages_may_wait_for_it() {
    let mut image = Image::default();
    let Effect::Journal(first) = record(1, 7, 1, begin()) else { return };
    image.apply(START, &first.call, first.what);
    let mut s = Scene::of(&[2, 3]);
    s.newest = 5;
    s.shipper.adopt(s.now, RecordNo(5), hash(7), image);
    s.send(5, "INVITE");
    s.write(7, What::Cancelled);
    let wire = |node| [format!("0: {node}/0 #1 whole 7 as of 5"), format!("0: {node}/0 #2 record 6 of 7 after 5")];
    assert_eq!(s.wire(), [wire(2), wire(3)].concat());
    assert_eq!(s.left(), NOTHING);
    s.ack(3, &[1]);
    assert_eq!(s.left(), ["INVITE"]);
}

/// The disk was slow, and the call became another node's meanwhile. A record that begins the call anew would take away
/// the copy that this one's backups have of it.
#[test]
fn of_a_call_that_is_no_longer_ours_nothing_is_told() {
    let mut s = Scene::of(&[2, 3]);
    s.write(7, begin());
    s.shipper.take(s.now, Effect::Forgotten, &mut s.released);
    s.wire();
    s.write(7, What::Written);
    assert_eq!(s.wire(), NOTHING);
    s.write(7, begin());
    assert_eq!(s.wire(), ["0: 2/0 #2 record 3 of 7 after 0", "0: 3/0 #2 record 3 of 7 after 0"]);
}
