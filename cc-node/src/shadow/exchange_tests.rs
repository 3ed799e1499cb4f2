//! Dialogues between node 1, which asks, and the other backups of node 4, which has died. In a transcript a line is a
//! word: milliseconds, from whom, to whom, what. Calls are `a`, `b`, `c` …, each with the newest record that is told of.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::image::Image;
use crate::record::What;
use crate::shadow::testing::{self, key};
use crate::shadow::words::{Body, Parcel, decode};
use bytes::Bytes;
use common::ids::Slot;
use common::placement::Placement;
use common::time::WallMillis;
use std::collections::VecDeque;

const BOOT: BootId = BootId(7);
const US: Post = post(1, 0);
const TWO: Post = post(2, 0);
const THREE: Post = post(3, 0);
const DEAD: Post = post(4, 0);
const ONE_EACH: [(u16, u16); 4] = [(1, 1), (2, 1), (3, 1), (4, 1)];

const fn post(node: u16, worker: u16) -> Post {
    Post { node: NodeId(node), boot: BOOT, worker }
}

/// Four nodes, of which these live.
fn placement(live: &[u16]) -> Placement {
    let live: Vec<(u16, u64)> = live.iter().map(|node| (*node, BOOT.0)).collect();
    testing::placement(4, &live)
}

/// A call as of this record: each says something else.
fn image(at: Time, hash: CallHash, no: u64) -> Image {
    let accepted = testing::accepted(Bytes::from_static(b"INVITE"), WallMillis(no));
    let mut image = Image::default();
    image.apply(at, &key(hash), What::Accepted(accepted));
    image
}

struct Node {
    shelf: Shelf,
    exchange: Exchange,
}

struct Rack {
    now: Time,
    placement: Placement,
    nodes: BTreeMap<Post, Node>,
    /// Letters that were written.
    letters: u64,
    calls: Vec<CallHash>,
    /// Words that do not arrive, by the begin of their line, each once; nodes that hear nothing.
    lost: Vec<&'static str>,
    deaf: Vec<u16>,
    said: Vec<String>,
}

impl Rack {
    /// Nodes with so many workers, of which these live.
    fn new(workers: &[(u16, u16)], live: &[u16]) -> Rack {
        let of: BTreeMap<NodeId, u16> = workers.iter().map(|(node, count)| (NodeId(*node), *count)).collect();
        let posts = workers.iter().flat_map(|(node, count)| (0..*count).map(move |worker| post(*node, worker)));
        let node = |us: Post| Node { shelf: Shelf::new(us), exchange: Exchange::new(us, of.clone()) };
        let mut rack = Rack {
            now: Time(0),
            placement: placement(live),
            nodes: posts.map(|us| (us, node(us))).collect(),
            letters: 0,
            calls: Vec::new(),
            lost: Vec::new(),
            deaf: Vec::new(),
            said: Vec::new(),
        };
        for node in [1, 2, 3] {
            rack.adopts(node, false, live);
        }
        rack
    }

    /// The next calls of slots whose list begins so, in the order of their hashes. `low`: what decides on the worker.
    fn calls(&mut self, order: &[u16], count: usize, low: u64) -> Vec<CallHash> {
        let begins = |slot: &u16| {
            self.placement.list(Slot(*slot)).map(|node| node.0).take(order.len()).eq(order.iter().copied())
        };
        let calls: Vec<CallHash> =
            (0..=u16::MAX).filter(begins).map(|slot| CallHash((u64::from(slot) << 48) | low)).take(count).collect();
        assert_eq!(calls.len(), count);
        self.calls.extend(&calls);
        calls
    }

    fn node(&mut self, post: Post) -> &mut Node {
        self.nodes.get_mut(&post).unwrap()
    }

    /// What node 4 tells a backup while it lives.
    fn hears(&mut self, backup: Post, body: Body) {
        self.letters += 1;
        let (now, word) = (self.now, Word::Letter { number: self.letters, floor: 1, body });
        self.node(backup).shelf.hear(now, DEAD, word, &mut Mail::default());
    }

    fn knows(&mut self, backup: Post, hash: CallHash, no: u64) {
        let image = Box::new(image(self.now, hash, no));
        self.hears(backup, Body::Whole { no: RecordNo(no), hash, clock: self.now, image });
    }

    /// All take up the placement at once.
    fn stands(&mut self, live: &[u16]) {
        self.placement = placement(live);
        [3, 2, 1].into_iter().for_each(|node| self.adopts(node, true, live));
    }

    /// One node takes it up. Only worker 0 of node 1 asks.
    fn adopts(&mut self, node: u16, asks: bool, live: &[u16]) {
        let (placement, mut mail) = (placement(live), Mail::default());
        for (post, Node { shelf, exchange }) in self.nodes.iter_mut().filter(|(post, _)| post.node.0 == node) {
            let stood = shelf.succession().clone();
            shelf.placed(self.now, &placement);
            let before = (asks && *post == US).then_some(&stood);
            exchange.placed(self.now, before, shelf, &mut mail);
        }
        self.carry(US, mail);
    }

    /// Time passes, and node 1 does what is due.
    fn wait(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(due) = self.node(US).exchange.next_due().filter(|due| *due <= end) {
            let mut mail = Mail::default();
            self.now = due;
            self.node(US).exchange.tick(due, &mut mail);
            self.carry(US, mail);
        }
        self.now = end;
    }

    /// Brings words where they go, and what is said to them, until nobody says anything more.
    fn carry(&mut self, from: Post, mut mail: Mail) {
        let mut wire: VecDeque<(Post, Parcel)> = mail.take().into_iter().map(|parcel| (from, parcel)).collect();
        while let Some((from, parcel)) = wire.pop_front() {
            let to = parcel.to;
            for word in decode(to, &parcel.plain).unwrap() {
                let line = format!("{} {}>{} {}", self.now.millis(), name(from), name(to), self.text(&word));
                let lost = self.lost.iter().position(|lost| line.starts_with(*lost));
                self.said.push(line);
                if let Some(at) = lost {
                    self.lost.remove(at);
                } else if !self.deaf.contains(&to.node.0) {
                    wire.extend(self.says(from, to, word).into_iter().map(|answer| (to, answer)));
                }
            }
        }
    }

    fn says(&mut self, from: Post, to: Post, word: Word) -> Vec<Parcel> {
        let (now, mut mail) = (self.now, Mail::default());
        let Node { shelf, exchange } = self.node(to);
        exchange.hear(now, from, word, shelf, &mut mail);
        mail.take()
    }

    fn text(&self, word: &Word) -> String {
        let of = |hash: &CallHash| {
            let at = self.calls.iter().position(|call| call == hash).unwrap_or(25).min(25) as u8;
            char::from(b'a' + at)
        };
        match word {
            Word::Which { dead, .. } => format!("which {dead}"),
            Word::These { part, parts, calls, .. } => {
                let calls: String = calls.iter().map(|(hash, no)| format!(" {}{}", of(hash), no.0)).collect();
                format!("these {}/{parts}{calls}", part + 1)
            }
            Word::Fetch { hashes, .. } => format!("fetch {}", hashes.iter().map(of).collect::<String>()),
            Word::Fetched { hash, no, image, .. } => {
                let rest = if image.is_some() { "" } else { ", nothing" };
                format!("fetched {}{}{rest}", of(hash), no.0)
            }
            other => format!("{other:?}"),
        }
    }

    fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    /// Of which node, whether all was told, and after how many milliseconds.
    fn finished(&mut self) -> Vec<(u16, bool, u128)> {
        let finished = self.node(US).exchange.take_finished();
        finished.iter().map(|f| (f.dead.0, f.complete, f.after.as_millis())).collect()
    }

    fn is_open(&mut self) -> bool {
        self.node(US).exchange.is_open(DEAD.node, DEAD.boot)
    }

    /// The newest record on node 1's shelf.
    fn newest(&mut self, hash: CallHash) -> Option<u64> {
        self.node(US).shelf.get(hash).map(|shelved| shelved.no.0)
    }
}

/// Of a worker that is not its node's first, the worker too.
fn name(post: Post) -> String {
    if post.worker == 0 { post.node.to_string() } else { format!("{}.{}", post.node, post.worker) }
}

#[test]
fn with_nobody_else_alive_it_acts_at_once() {
    let mut rack = Rack::new(&ONE_EACH, &[1, 4]);
    rack.stands(&[1]);
    assert_eq!((rack.finished(), rack.said()), (vec![(4, true, 0)], vec![]));
    assert!(rack.finished().is_empty() && !rack.is_open());
    assert_eq!(rack.node(US).exchange.next_due(), None);
}

#[test]
fn what_it_has_less_of_is_fetched() {
    let mut rack = Rack::new(&ONE_EACH, &[1, 2, 4]);
    let ours = rack.calls(&[4, 1, 2], 4, 0);
    let theirs = rack.calls(&[4, 2, 1], 1, 0);
    let [a, b, c, d] = ours[..] else { panic!("{ours:?}") };
    for (backup, hash, no) in [(US, a, 1), (TWO, a, 2), (TWO, b, 3), (US, c, 5), (TWO, c, 4), (US, d, 6)] {
        rack.knows(backup, hash, no);
    }
    rack.knows(TWO, theirs[0], 9);
    rack.now = Time(2_000_000);
    rack.stands(&[1, 2]);
    let dialogue = ["which 4", "these 1/1 a2 b3 c4", "fetch ab", "fetched a2", "fetched b3"];
    let ways = ["1>2", "2>1", "1>2", "2>1", "2>1"];
    let lines: Vec<String> = ways.iter().zip(dialogue).map(|(way, word)| format!("2000 {way} {word}")).collect();
    assert_eq!(rack.said(), lines);
    assert_eq!(rack.finished(), [(4, true, 0)]);
    assert_eq!([a, b, c, d].map(|hash| rack.newest(hash)), [Some(2), Some(3), Some(5), Some(6)]);
    assert_eq!(rack.newest(theirs[0]), None);
    let fetched = rack.node(US).shelf.get(b).unwrap().clone();
    assert_eq!((fetched.holder, fetched.image), (DEAD, image(Time(0), b, 3)));
    let counters = rack.node(US).exchange.counters;
    assert_eq!(counters, Counters { asked: 1, complete: 1, fetched: 2, ..Counters::default() });
    assert_eq!(rack.node(TWO).exchange.counters.told, 1);
}

#[test]
fn a_call_that_has_ended_there_is_dropped_here() {
    let mut rack = Rack::new(&ONE_EACH, &[1, 2, 4]);
    let [a, b] = rack.calls(&[4, 1, 2], 2, 0)[..] else { panic!() };
    for (backup, hash) in [(US, a), (TWO, a), (US, b), (TWO, b)] {
        rack.knows(backup, hash, 1);
    }
    let over =
        |no, hash| Body::Record { no: RecordNo(no), previous: RecordNo(1), hash, key: key(hash), what: What::Over };
    rack.hears(TWO, over(2, a));
    rack.hears(US, over(3, b));
    rack.stands(&[1, 2]);
    let lines = ["0 1>2 which 4", "0 2>1 these 1/1 b1 a2", "0 1>2 fetch a", "0 2>1 fetched a2, nothing"];
    assert_eq!(rack.said(), lines);
    assert_eq!((rack.newest(a), rack.newest(b), rack.finished()), (None, None, vec![(4, true, 0)]));
}

#[test]
fn lost_words_are_repeated_every_20_ms() {
    let mut rack = Rack::new(&ONE_EACH, &[1, 2, 4]);
    let a = rack.calls(&[4, 1, 2], 1, 0)[0];
    rack.knows(TWO, a, 2);
    rack.lost = vec!["0 1>2 which", "20 2>1 these", "40 1>2 fetch", "60 2>1 fetched"];
    rack.stands(&[1, 2]);
    assert!(rack.is_open());
    rack.wait(79);
    assert!(rack.is_open() && rack.finished().is_empty());
    rack.wait(100);
    let lines = [
        "0 1>2 which 4",
        "20 1>2 which 4",
        "20 2>1 these 1/1 a2",
        "40 1>2 which 4",
        "40 2>1 these 1/1 a2",
        "40 1>2 fetch a",
        "60 1>2 fetch a",
        "60 2>1 fetched a2",
        "80 1>2 fetch a",
        "80 2>1 fetched a2",
    ];
    assert_eq!(rack.said(), lines);
    assert_eq!((rack.newest(a), rack.finished(), rack.is_open()), (Some(2), vec![(4, true, 80)], false));
}

#[test]
fn questions_take_the_planes_in_turn() {
    let (mut exchange, mut shelf) = (Exchange::new(US, BTreeMap::new()), Shelf::new(US));
    let mut mail = Mail::default();
    shelf.placed(Time(0), &placement(&[1, 2, 4]));
    let stood = shelf.succession().clone();
    shelf.placed(Time(0), &placement(&[1, 2]));
    exchange.placed(Time(0), Some(&stood), &shelf, &mut mail);
    for times in 0..3 {
        assert_eq!(mail.take()[0].over, Over::InTurn(times));
        exchange.tick(exchange.next_due().unwrap(), &mut mail);
    }
}

#[test]
fn after_200_ms_it_acts_on_what_it_has() {
    let mut rack = Rack::new(&ONE_EACH, &[1, 2, 4]);
    rack.deaf = vec![2];
    rack.stands(&[1, 2]);
    rack.wait(199);
    assert!(rack.is_open());
    rack.wait(200);
    let asked: Vec<String> = (0..10).map(|n| format!("{} 1>2 which 4", 20 * n)).collect();
    assert_eq!((rack.said(), rack.finished()), (asked, vec![(4, false, 200)]));
    assert_eq!(rack.node(US).exchange.counters, Counters { asked: 1, cut_short: 1, ..Counters::default() });
}

#[test]
fn who_has_died_has_nothing_to_tell() {
    let mut rack = Rack::new(&ONE_EACH, &[1, 2, 3, 4]);
    rack.deaf = vec![2];
    rack.stands(&[1, 2, 3]);
    rack.wait(30);
    let lines = ["0 1>2 which 4", "0 1>3 which 4", "0 3>1 these 1/1", "20 1>2 which 4"];
    assert_eq!((rack.said(), rack.finished()), (lines.map(String::from).to_vec(), vec![]));
    rack.stands(&[1, 3]);
    // Node 2 may have been about to go on with calls of 4's: what of them is ours is another question now.
    assert_eq!(rack.said(), ["30 1>3 which 2", "30 1>3 which 4", "30 3>1 these 1/1", "30 3>1 these 1/1"]);
    assert_eq!(rack.finished(), [(2, true, 0), (4, true, 0)]);
}

#[test]
fn who_comes_to_act_after_a_second_death_asks_about_the_first() {
    let mut rack = Rack::new(&ONE_EACH, &[1, 2, 3, 4]);
    let mine = rack.calls(&[4, 1, 3], 1, 0)[0];
    let second = rack.calls(&[4, 2, 1], 1, 0)[0];
    for (backup, hash) in [(US, mine), (THREE, mine), (US, second), (THREE, second)] {
        rack.knows(backup, hash, 1);
    }
    rack.knows(THREE, second, 2);
    rack.stands(&[1, 2, 3]);
    assert_eq!(rack.finished(), [(4, true, 0)]);
    assert!(rack.node(US).shelf.take(mine).is_some(), "acted for");
    rack.said();
    rack.stands(&[1, 3]);
    assert_eq!(rack.finished(), [(2, true, 0), (4, true, 0)]);
    assert_eq!((rack.newest(second), rack.newest(mine)), (Some(2), None), "what is acted for is not fetched");
    assert!(rack.said().contains(&"0 1>3 fetch b".to_string()));
}

#[test]
fn who_stands_again_is_not_asked_about() {
    let mut rack = Rack::new(&ONE_EACH, &[1, 2, 4]);
    rack.deaf = vec![2];
    rack.stands(&[1, 2]);
    assert!(rack.is_open());
    rack.stands(&[1, 2, 4]);
    assert!(!rack.is_open() && rack.finished().is_empty());
}

#[test]
fn nobody_answers_before_its_own_placement_says_the_same() {
    let mut rack = Rack::new(&ONE_EACH, &[1, 2, 4]);
    rack.adopts(1, true, &[1, 2]);
    rack.wait(30);
    rack.adopts(2, false, &[1, 2]);
    rack.wait(30);
    assert_eq!(rack.said(), ["0 1>2 which 4", "20 1>2 which 4", "40 1>2 which 4", "40 2>1 these 1/1"]);
    assert_eq!(rack.finished(), [(4, true, 40)]);
    let which = Word::Which { question: 1, dead: DEAD.node, boot: DEAD.boot };
    let former = Post { boot: BootId(6), ..US };
    assert!(rack.says(former, TWO, which).is_empty(), "an incarnation that does not live asks");
    let fetch = Word::Fetch { question: 99, hashes: vec![CallHash(1)] };
    assert!(rack.says(US, TWO, fetch).is_empty(), "nothing was asked by this number");
}

#[test]
fn answers_to_no_question_are_ignored() {
    let mut rack = Rack::new(&ONE_EACH, &[1, 2, 4]);
    let a = rack.calls(&[4, 1, 2], 1, 0)[0];
    rack.deaf = vec![2];
    rack.stands(&[1, 2]);
    let question = rack.node(US).exchange.newest;
    let these = |question, part, parts| Word::These { question, part, parts, calls: vec![(a, RecordNo(3))] };
    assert!(rack.says(TWO, US, these(question.wrapping_add(1), 0, 1)).is_empty());
    assert!(rack.says(THREE, US, these(question, 0, 1)).is_empty(), "it was not asked");
    assert!(rack.says(TWO, US, these(question, 1, 1)).is_empty(), "a part behind the last");
    let image = Some(Box::new(image(Time(0), a, 3)));
    let fetched = Word::Fetched { question, hash: a, no: RecordNo(3), clock: Time(0), image };
    assert!(rack.says(TWO, US, fetched.clone()).is_empty() && rack.newest(a).is_none(), "nobody has fetched it");
    assert_eq!(rack.says(TWO, US, these(question, 0, 1)).len(), 1);
    assert!(rack.says(TWO, US, these(question, 0, 1)).is_empty(), "a copy");
    assert!(rack.is_open() && rack.says(TWO, US, fetched).is_empty());
    assert_eq!((rack.newest(a), rack.finished()), (Some(3), vec![(4, true, 0)]));
    let other = Exchange::new(Post { boot: BootId(8), ..US }, BTreeMap::new());
    assert!(other.newest.abs_diff(question) > 1_000, "the next incarnation's numbers are far away");
}

#[test]
fn many_calls_come_in_parts() {
    let mut rack = Rack::new(&ONE_EACH, &[1, 2, 4]);
    let calls = rack.calls(&[4, 1, 2], 200, 0);
    calls.iter().for_each(|hash| rack.knows(TWO, *hash, 3));
    rack.lost = vec!["0 2>1 these 2/3"];
    rack.stands(&[1, 2]);
    assert!(rack.is_open());
    rack.wait(20);
    let said = rack.said();
    let count = |what: &str| said.iter().filter(|line| line.contains(what)).count();
    assert_eq!((count("which"), count("these"), count("fetch "), count("fetched ")), (2, 6, 10, 200));
    assert!(calls.iter().all(|hash| rack.newest(*hash) == Some(3)));
    assert_eq!(rack.finished(), [(4, true, 20)]);
}

#[test]
fn whoever_shares_a_part_of_the_hashes_is_asked() {
    let mut rack = Rack::new(&[(1, 2), (2, 3), (3, 2), (4, 1)], &[1, 2, 3, 4]);
    // Of two workers the first, of three the first and the second; then of two the second.
    let a = rack.calls(&[4, 1, 2], 1, 0x1000_0000)[0];
    let b = rack.calls(&[4, 1, 2], 1, 0x7000_0000)[0];
    let c = rack.calls(&[4, 1, 2], 1, 0x9000_0000)[0];
    rack.knows(post(2, 0), a, 1);
    rack.knows(post(2, 1), b, 2);
    rack.knows(post(2, 1), c, 3);
    rack.stands(&[1, 2, 3]);
    let asked: Vec<String> = rack.said().into_iter().filter(|line| line.contains("which")).collect();
    assert_eq!(asked, ["0 1>2 which 4", "0 1>2.1 which 4", "0 1>3 which 4"]);
    assert_eq!((rack.newest(a), rack.newest(b), rack.newest(c)), (Some(1), Some(2), None));
    assert_eq!(rack.finished(), [(4, true, 0)]);
}
