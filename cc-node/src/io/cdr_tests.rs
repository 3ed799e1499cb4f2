//! The queue and the thread, over real files and over a disk that obeys the test.
#![allow(clippy::unwrap_used)]

use super::*;
use common::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread::JoinHandle;

/// A disk that syncs only while it may.
#[derive(Clone, Default)]
pub struct Gate {
    pub open: Arc<AtomicBool>,
    pub text: Arc<Mutex<Vec<u8>>>,
    pub syncs: Arc<AtomicU64>,
}

impl Disk for Gate {
    fn open(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn is_in_place(&self) -> bool {
        true
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.text.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        match self.open.load(Ordering::SeqCst) {
            true => Ok(()),
            false => Err(io::Error::other("shut")),
        }
    }

    fn set_aside(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The writer's thread, over a gate that is shut.
pub fn gated(workers: u16) -> (Gate, CdrStream<Gate>) {
    let gate = Gate::default();
    (gate.clone(), stream([gate.clone(), gate.clone(), gate], workers, Clock::new()))
}

pub fn spawn<D: Disk + Send + 'static>(writer: Writer<D>, is_stopping: bool) -> JoinHandle<()> {
    std::thread::Builder::new().spawn(move || writer.run(|| is_stopping)).unwrap()
}

pub fn call(name: &str) -> Arc<CallKey> {
    Arc::new(CallKey {
        call_id: name.as_bytes().into(),
        from_tag: "a".into(),
        upstream_branch: "z9hG4bK1".into(),
        cseq: 1,
    })
}

pub fn cdr(id: &str) -> Box<Cdr> {
    Box::new(serde_json::from_value(serde_json::json!({
        "id": id, "method": "INVITE", "from_tag": "a", "to_tag": "b", "callid": id, "sip_code": 200, "sip_reason": "OK",
        "created": "2026-01-01T00:00:00.000Z", "setup_time": 1.0, "start_time": "2026-01-01T00:00:01.000Z",
        "end_time": "2026-01-01T00:00:03.000Z", "duration": 2, "ms_duration": 2000, "caller": "sip:a@rack.test",
        "callee": "sip:b@rack.test", "trunk_in": null, "trunk_out": null, "node": 1, "site": "rack", "ended_by": "caller",
    })).unwrap())
}

/// The calls that are told to be written within this time, until there are so many.
fn told(sink: &mut CdrSink, count: usize, patience: Duration) -> Vec<Arc<CallKey>> {
    let (clock, mut calls) = (Clock::new(), Vec::new());
    let until = clock.now() + patience;
    while calls.len() < count && clock.now() < until {
        sink.written(&mut calls);
        std::thread::park_timeout(Duration::from_millis(1));
    }
    calls
}

const SOON: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(10);

#[test]
fn a_worker_hears_of_its_own_calls_and_only_once_they_are_durable() {
    let (gate, CdrStream { mut sinks, reopener, counters, writer }) = gated(2);
    let thread = spawn(writer, false);
    let [first, second] = &mut sinks[..] else { panic!() };
    first.write(call("one"), cdr("1")).unwrap();
    second.write(call("two"), cdr("2")).unwrap();
    assert_eq!(told(first, 1, SOON), []);
    assert!(gate.syncs.load(Ordering::SeqCst) > 0, "it was tried");
    assert_eq!(counters.waiting.load(Ordering::Relaxed), 2);
    assert!(counters.failures[At::Sync as usize].load(Ordering::Relaxed) > 0);
    gate.open.store(true, Ordering::SeqCst);
    assert_eq!(told(first, 1, LONG), [call("one")]);
    assert_eq!(told(second, 1, LONG), [call("two")]);
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    assert_eq!((count(&counters.written), count(&counters.waiting), count(&counters.overflowed)), (2, 0, 0));
    drop((sinks, reopener));
    thread.join().unwrap();
}

#[test]
fn what_comes_within_a_few_milliseconds_is_synced_together() {
    let (gate, CdrStream { mut sinks, writer, .. }) = gated(1);
    gate.open.store(true, Ordering::SeqCst);
    spawn(writer, false);
    for n in 0..1000 {
        sinks[0].write(call(&n.to_string()), cdr(&n.to_string())).unwrap();
    }
    assert_eq!(told(&mut sinks[0], 1000, LONG).len(), 1000);
    let syncs = gate.syncs.load(Ordering::SeqCst);
    assert!(syncs < 100, "{syncs} syncs for 1000 CDRs");
}

/// Nobody takes anything off the queue: as with a disk that hangs in a sync.
#[test]
fn what_finds_no_place_is_kept_in_order_and_beyond_the_bound_counted() {
    let (gate, CdrStream { mut sinks, counters, writer, .. }) = gated(1);
    for n in 0..QUEUE + KEPT {
        sinks[0].write(call(&n.to_string()), cdr("x")).unwrap();
    }
    assert_eq!(sinks[0].write(call("lost"), cdr("x")), Err(call("lost")));
    assert_eq!(counters.overflowed.load(Ordering::Relaxed), 1);
    gate.open.store(true, Ordering::SeqCst);
    spawn(writer, false);
    let calls = told(&mut sinks[0], QUEUE + KEPT, LONG);
    let in_order = (0..QUEUE + KEPT).map(|n| call(&n.to_string())).eq(calls);
    assert!(in_order);
}

#[test]
fn the_end_of_the_sinks_leaves_nothing_behind_and_does_not_wait_for_a_broken_disk() {
    for open in [true, false] {
        let (gate, CdrStream { mut sinks, reopener, counters, writer }) = gated(1);
        gate.open.store(open, Ordering::SeqCst);
        let thread = spawn(writer, true);
        sinks[0].write(call("last"), cdr("last")).unwrap();
        drop((sinks, reopener));
        thread.join().unwrap();
        assert_eq!(counters.waiting.load(Ordering::Relaxed), u64::from(!open));
    }
}

#[test]
fn missed_calls_stand_in_a_file_of_their_own_and_nobody_is_told_of_them() {
    let directory = Directory::new("missed");
    let CdrStream { mut sinks, reopener, counters, writer } = open(&directory.0, 1, Clock::new()).unwrap();
    let thread = spawn(writer, false);
    sinks[0].missed(cdr("1"));
    sinks[0].write(call("2"), cdr("2")).unwrap();
    sinks[0].missed(cdr("3"));
    assert_eq!(told(&mut sinks[0], 2, SOON), [call("2")]);
    drop((sinks, reopener));
    thread.join().unwrap();
    let of = |name| ids(&directory, name);
    assert_eq!((of("cdr.jsonl"), of("missed.jsonl")), (vec!["2".into()], vec!["1".into(), "3".into()]));
    assert_eq!(counters.missed.load(Ordering::Relaxed), 2);
}

fn start(id: &str) -> Box<Start> {
    Box::new(Start::of(&cdr(id)))
}

fn ids(directory: &Directory, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(directory.0.join(name)).unwrap();
    let id = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
    text.lines().map(id).collect()
}

#[test]
fn starts_stand_in_a_file_of_their_own_and_say_nothing_of_the_end() {
    let directory = Directory::new("starts");
    let CdrStream { mut sinks, reopener, counters, writer } = open(&directory.0, 1, Clock::new()).unwrap();
    let thread = spawn(writer, false);
    sinks[0].started(start("1"));
    sinks[0].write(call("2"), cdr("2")).unwrap();
    sinks[0].started(start("2"));
    assert_eq!(told(&mut sinks[0], 1, LONG), [call("2")]);
    drop((sinks, reopener));
    thread.join().unwrap();
    assert_eq!(
        (ids(&directory, "cdr.jsonl"), ids(&directory, "starts.jsonl")),
        (vec!["2".into()], vec!["1".into(), "2".into()])
    );
    let text = std::fs::read_to_string(directory.0.join("starts.jsonl")).unwrap();
    assert!(text.contains("\"start_time\"") && !text.contains("end_time") && !text.contains("duration"), "{text}");
    assert_eq!((counters.started.load(Ordering::Relaxed), counters.waiting.load(Ordering::Relaxed)), (2, 0));
}

/// Whoever is told that the end is durable forgets the call: by then its start must be, too.
#[test]
fn no_end_is_durable_before_its_start() {
    let (gate, CdrStream { mut sinks, writer, .. }) = gated(1);
    gate.open.store(true, Ordering::SeqCst);
    for n in 0..100 {
        sinks[0].started(start(&n.to_string()));
        sinks[0].write(call(&n.to_string()), cdr(&n.to_string())).unwrap();
    }
    spawn(writer, false);
    assert_eq!(told(&mut sinks[0], 100, LONG).len(), 100);
    let text = String::from_utf8(gate.text.lock().unwrap().clone()).unwrap();
    for n in 0..100 {
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(&format!("\"id\":\"{n}\""))).collect();
        assert_eq!(lines.iter().map(|line| line.contains("end_time")).collect::<Vec<_>>(), [false, true]);
    }
}

#[test]
fn starts_beyond_the_bound_are_counted_and_cost_no_end_its_place() {
    let (_gate, CdrStream { mut sinks, counters, writer: _writer, .. }) = gated(1);
    for _ in 0..QUEUE + STARTS_KEPT + 3 {
        sinks[0].started(start("x"));
    }
    assert_eq!(counters.starts_overflowed.load(Ordering::Relaxed), 3);
    for _ in STARTS_KEPT..KEPT {
        sinks[0].write(call("x"), cdr("x")).unwrap();
    }
    assert_eq!(counters.overflowed.load(Ordering::Relaxed), 0);
}

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("siprack-cdr-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// As a collector does it: each id once, from all files of a node.
fn collect(ids: &mut BTreeMap<String, u32>, directory: &Path) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for line in text.lines() {
            *ids.entry(serde_json::from_str::<Cdr>(line).unwrap().id).or_default() += 1;
        }
    }
}

/// A node: what it is given, while its disk is well; what was told to be written before it died.
fn node(directory: &Path, ids: &[&str]) -> Vec<Arc<CallKey>> {
    let CdrStream { mut sinks, reopener, writer, .. } = open(directory, 1, Clock::new()).unwrap();
    let thread = spawn(writer, false);
    ids.iter().for_each(|id| sinks[0].write(call(id), cdr(id)).unwrap());
    let calls = told(&mut sinks[0], ids.len(), LONG);
    drop((sinks, reopener));
    thread.join().unwrap();
    calls
}

#[test]
fn a_call_that_two_nodes_wrote_counts_once_and_none_is_missing() {
    let (a, b) = (Directory::new("node-a"), Directory::new("node-b"));
    assert_eq!(node(&a.0, &["1", "2"]).len(), 2);
    // It is killed in the middle of the third: nobody was told that this one is written.
    let path = a.0.join("cdr.jsonl");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&whole[..], &whole[..100]].concat()).unwrap();
    // Its heir has the shadows of 2, of which the word `written` was lost, and of 3.
    node(&b.0, &["2", "3"]);
    // It comes back.
    node(&a.0, &["4"]);
    let mut ids = BTreeMap::new();
    collect(&mut ids, &a.0);
    collect(&mut ids, &b.0);
    let counted: Vec<(&str, u32)> = ids.iter().map(|(id, count)| (id.as_str(), *count)).collect();
    assert_eq!(counted, [("1", 1), ("2", 2), ("3", 1), ("4", 1)]);
}

#[test]
fn a_renamed_file_is_left_by_itself_and_a_new_one_begun_when_told() {
    let directory = Directory::new("rotated");
    let CdrStream { mut sinks, reopener, writer, .. } = open(&directory.0, 1, Clock::new()).unwrap();
    spawn(writer, false);
    let (path, rotated) = (directory.0.join("cdr.jsonl"), |n: u32| directory.0.join(format!("cdr.jsonl.{n}")));
    let mut write = |id: &str| {
        sinks[0].write(call(id), cdr(id)).unwrap();
        assert_eq!(told(&mut sinks[0], 1, LONG), [call(id)]);
    };
    write("1");
    std::fs::rename(&path, rotated(1)).unwrap();
    write("2");
    std::fs::rename(&path, rotated(2)).unwrap();
    reopener.reopen();
    write("3");
    for (path, id) in [(rotated(1), "1"), (rotated(2), "2"), (path, "3")] {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.lines().count() == 1 && text.contains(&format!("\"callid\":\"{id}\"")), "{text}");
    }
}
