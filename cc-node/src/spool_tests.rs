//! The spool on a disk that is full, refuses to sync, or loses its power.
#![allow(clippy::unwrap_used)]

use super::*;
use std::collections::BTreeSet;

const NOW: Time = Time(1_000_000);

/// A file: what stands in it, and how much of that a loss of power leaves.
#[derive(Default)]
struct Written {
    octets: Vec<u8>,
    durable: usize,
}

/// All files that there ever were; the last one is open.
struct Simulated {
    files: Vec<Written>,
    /// Octets that find room.
    room: usize,
    moved: bool,
    /// What fails next, and how often.
    fails: Vec<At>,
    syncs: usize,
}

impl Simulated {
    fn new(room: usize) -> Simulated {
        Simulated { files: Vec::new(), room, moved: false, fails: Vec::new(), syncs: 0 }
    }

    fn fail(&mut self, at: At) -> io::Result<()> {
        match self.fails.iter().position(|failing| *failing == at) {
            Some(found) => {
                self.fails.remove(found);
                Err(io::Error::other("the disk is broken"))
            }
            None => Ok(()),
        }
    }

    /// Whole lines of all files; after a loss of power if `durable`.
    fn lines(&self, durable: bool) -> Vec<String> {
        let of = |file: &Written| {
            let octets = if durable { &file.octets[..file.durable] } else { &file.octets[..] };
            let end = octets.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
            String::from_utf8(octets[..end].to_vec()).unwrap().lines().map(String::from).collect::<Vec<_>>()
        };
        self.files.iter().flat_map(of).collect()
    }
}

impl Disk for Simulated {
    fn open(&mut self) -> io::Result<()> {
        self.fail(At::Open)?;
        self.moved = false;
        self.files.push(Written::default());
        Ok(())
    }

    fn is_in_place(&self) -> bool {
        !self.moved
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.fail(At::Write)?;
        let n = octets.len().min(self.room);
        if n == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.room -= n;
        self.files.last_mut().unwrap().octets.extend_from_slice(&octets[..n]);
        Ok(n)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.syncs += 1;
        let failed = self.fail(At::Sync);
        let file = self.files.last_mut().unwrap();
        // As Linux does it: after a failure the pages count as clean, and the next sync says that all is well.
        if failed.is_err() {
            file.octets.truncate(file.durable);
        }
        file.durable = file.octets.len();
        failed
    }

    fn set_aside(&mut self) -> io::Result<()> {
        self.fail(At::SetAside)
    }
}

fn spool(lines: &[&str]) -> Spool<String> {
    let mut spool = Spool::new(1 << 20);
    lines.iter().for_each(|line| spool.push(line.as_bytes(), line.to_string()));
    spool
}

/// What is confirmed in this attempt, and what went wrong.
fn work(spool: &mut Spool<String>, disk: &mut Simulated, now: Time) -> (Vec<String>, Option<At>) {
    let mut confirmed = Vec::new();
    let done = spool.work(now, disk, &mut confirmed);
    let lines = disk.lines(true);
    assert!(confirmed.iter().all(|line| lines.contains(line)), "{confirmed:?} is confirmed, {lines:?} is durable");
    (confirmed, done.err().map(|trouble| trouble.at))
}

#[test]
fn what_came_together_is_synced_once_and_then_confirmed() {
    let (mut spool, mut disk) = (spool(&["one", "two"]), Simulated::new(1000));
    assert_eq!(spool.next_due(), Some(Time(0)));
    assert_eq!(work(&mut spool, &mut disk, NOW), (vec!["one".into(), "two".into()], None));
    assert_eq!((disk.syncs, spool.waiting(), spool.next_due()), (1, 0, None));
    assert_eq!(work(&mut spool, &mut disk, NOW), (vec![], None));
    assert_eq!((disk.syncs, disk.files.len()), (1, 1), "nothing waits: the disk is left alone");
}

#[test]
fn a_full_disk_tears_no_line_and_is_asked_again_later_and_later() {
    let (mut spool, mut disk) = (spool(&["first", "second", "third"]), Simulated::new(9));
    assert_eq!(work(&mut spool, &mut disk, NOW), (vec!["first".into()], Some(At::Full)), "6 octets and 3 of 7");
    assert_eq!((disk.syncs, spool.waiting()), (1, 2));
    let first = spool.next_due().unwrap();
    assert_eq!(first, NOW + FIRST_PAUSE);
    assert_eq!(work(&mut spool, &mut disk, NOW), (vec![], None), "not now");
    assert_eq!(work(&mut spool, &mut disk, first), (vec![], Some(At::Full)));
    assert_eq!(disk.syncs, 1, "half a line is worth no sync");
    let second = spool.next_due().unwrap();
    assert_eq!(second, first + FIRST_PAUSE * 2);
    for _ in 0..10 {
        let due = spool.next_due().unwrap();
        work(&mut spool, &mut disk, due);
    }
    let due = spool.next_due().unwrap();
    work(&mut spool, &mut disk, due);
    assert_eq!(spool.next_due().unwrap(), due + LONGEST_PAUSE);
    disk.room = 1000;
    let due = spool.next_due().unwrap();
    assert_eq!(work(&mut spool, &mut disk, due), (vec!["second".into(), "third".into()], None));
    assert_eq!(disk.lines(false), ["first", "second", "third"]);
    assert_eq!(disk.files.len(), 1);
    spool.push(b"fourth", "fourth".into());
    disk.room = 0;
    work(&mut spool, &mut disk, due);
    assert_eq!(spool.next_due(), Some(due + FIRST_PAUSE), "trouble of another time");
}

#[test]
fn a_sync_that_failed_is_not_tried_again_on_the_same_file() {
    let (mut spool, mut disk) = (spool(&["one"]), Simulated::new(1000));
    work(&mut spool, &mut disk, NOW);
    spool.push(b"two", "two".into());
    disk.fails = vec![At::Sync];
    assert_eq!(work(&mut spool, &mut disk, NOW), (vec![], Some(At::Sync)));
    spool.push(b"three", "three".into());
    assert_eq!(disk.lines(true), ["one"]);
    let due = spool.next_due().unwrap();
    assert_eq!(work(&mut spool, &mut disk, due), (vec!["two".into(), "three".into()], None));
    assert_eq!(disk.files.len(), 2);
    assert_eq!(disk.files[1].octets, b"two\nthree\n");
}

#[test]
fn a_write_that_failed_makes_the_file_doubtful_too() {
    let (mut spool, mut disk) = (spool(&["one"]), Simulated::new(1000));
    disk.fails = vec![At::Open, At::Write, At::SetAside];
    for at in [At::Open, At::Write, At::SetAside] {
        let now = spool.next_due().unwrap();
        assert_eq!(work(&mut spool, &mut disk, now), (vec![], Some(at)));
    }
    let now = spool.next_due().unwrap();
    assert_eq!(work(&mut spool, &mut disk, now), (vec!["one".into()], None));
    assert_eq!((disk.files.len(), disk.lines(true)), (2, vec!["one".to_string()]));
}

#[test]
fn a_file_that_was_renamed_is_left_and_half_a_line_in_it_is_whole_in_the_next() {
    let (mut spool, mut disk) = (spool(&["one", "two"]), Simulated::new(6));
    assert_eq!(work(&mut spool, &mut disk, NOW).0, ["one"]);
    disk.moved = true;
    disk.room = 1000;
    let due = spool.next_due().unwrap();
    assert_eq!(work(&mut spool, &mut disk, due).0, ["two"]);
    assert_eq!((&disk.files[0].octets[..], &disk.files[1].octets[..]), (&b"one\ntw"[..], &b"two\n"[..]));
    spool.reopen();
    assert_eq!((spool.next_due(), disk.files.len()), (None, 2), "with the next line");
    spool.push(b"three", "three".into());
    work(&mut spool, &mut disk, due);
    assert_eq!((disk.files.len(), disk.lines(true).len()), (3, 3));
}

#[test]
fn it_says_when_it_is_full_and_when_it_may_hurry() {
    let (mut spool, mut disk) = (Spool::new(10), Simulated::new(0));
    spool.push(b"12345", "12345".to_string());
    assert!(!spool.is_full());
    spool.push(b"1234", "1234".to_string());
    assert!(spool.is_full());
    work(&mut spool, &mut disk, NOW);
    disk.room = 100;
    spool.hurry();
    assert_eq!(work(&mut spool, &mut disk, NOW).0.len(), 2);
    assert!(!spool.is_full());
}

/// Whatever fails in whatever order: all that is confirmed is durable (`work` sees to that), everything is confirmed once
/// when the disk is well again, and no file has half a line before another.
#[test]
fn whatever_fails_each_line_is_confirmed_once_and_stands_somewhere() {
    for seed in 0..400_u64 {
        let mut chance = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut draw = |most: u64| {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            chance % most
        };
        let (mut spool, mut disk, mut now) = (Spool::new(1 << 20), Simulated::new(0), NOW);
        let (mut given, mut confirmed) = (Vec::new(), Vec::new());
        for step in 0..60 {
            for n in 0..draw(4) {
                let line = format!("{step}-{n}");
                spool.push(line.as_bytes(), line.clone());
                given.push(line);
            }
            disk.room = draw(12) as usize;
            disk.moved = draw(8) == 0;
            disk.fails = [At::Open, At::Write, At::Sync, At::SetAside].into_iter().filter(|_| draw(6) == 0).collect();
            now = spool.next_due().unwrap_or_default().max(now);
            confirmed.extend(work(&mut spool, &mut disk, now).0);
        }
        (disk.room, disk.fails) = (1 << 20, vec![]);
        now = spool.next_due().unwrap_or_default().max(now);
        confirmed.extend(work(&mut spool, &mut disk, now).0);
        assert_eq!(confirmed, given, "seed {seed}");
        let read: BTreeSet<String> = disk.lines(true).into_iter().collect();
        assert_eq!(read, given.into_iter().collect(), "seed {seed}: torn lines are none of ours");
    }
}
