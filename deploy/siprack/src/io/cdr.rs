//! `siprack cdr`: reads what the nodes of a state directory have written, rotated files too, and waits for more.

use super::terminal::flows;
use crate::args::Cdrs;
use crate::cdr_lines::{self, Collector, Kind, Record, Wanted};
use crate::columns::printable;
use crate::failure::{Failure, exit};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two looks for new lines.
const LOOK: Duration = Duration::from_millis(500);
/// A line that is longer is none of a node's: one of a message at its limits has some 100,000 octets.
const LONGEST: u64 = 1 << 20;
const MISSED: &str = "missed.jsonl";
const COMPRESSED: [&str; 5] = ["gz", "xz", "zst", "bz2", "lz4"];

pub fn run(args: &Cdrs) -> Result<u8, Failure> {
    // As with any wrong argument.
    let since = args.since.as_deref().map(cdr_lines::moment).transpose();
    let since = since.map_err(|e| Failure::new(exit::NO_RACK, format!("--since: {e}")))?;
    let wanted = Wanted { since, call_id: args.call_id.clone() };
    let kind = if args.starts || args.in_progress { Kind::Begun } else { Kind::Ended };
    let name = if args.missed { MISSED } else { of(kind) };
    let mut files = Files::new(&args.at.data, name, Collector::new(kind, wanted));
    files.look()?;
    let mut records = files.collector.take();
    if args.in_progress {
        files.bad += leave_out_ended(&args.at.data, &mut records)?;
    }
    let mut goes_on = print(args, kind, &records, true)?;
    while args.follow && goes_on {
        std::thread::sleep(LOOK);
        files.look()?;
        goes_on = print(args, kind, &files.collector.take(), false)?;
    }
    Ok(if files.bad > 0 { exit::FAILED } else { 0 })
}

/// Read after the starts, so that none is taken for one that goes on because it has ended meanwhile. How many lines were no
/// records.
fn leave_out_ended(data: &Path, begun: &mut Vec<Record>) -> Result<usize, Failure> {
    let mut files = Files::new(data, of(Kind::Ended), Collector::new(Kind::Ended, Wanted::default()));
    files.look()?;
    let ended: BTreeSet<String> = files.collector.take().iter().map(|record| record.detail.id().to_owned()).collect();
    begun.retain(|record| !ended.contains(record.detail.id()));
    Ok(files.bad)
}

/// The file of a kind of records.
fn of(kind: Kind) -> &'static str {
    match kind {
        Kind::Ended => "cdr.jsonl",
        Kind::Begun => "starts.jsonl",
    }
}

/// False: nobody reads it any more.
fn print(args: &Cdrs, kind: Kind, records: &[Record], first: bool) -> Result<bool, Failure> {
    let text = match (args.json, args.csv, first) {
        (true, ..) => cdr_lines::json(records),
        (_, true, true) => cdr_lines::csv_heading(kind) + &cdr_lines::csv(kind, records),
        (_, true, false) => cdr_lines::csv(kind, records),
        (_, _, true) => cdr_lines::table(kind, records),
        (_, _, false) => cdr_lines::lines(records),
    };
    flows(&text)
}

/// The files of one kind, of all nodes.
struct Files<'a> {
    data: &'a Path,
    /// Without what rotation adds.
    name: &'a str,
    /// By device and inode, so that a name may change: octets and lines that were read.
    read: BTreeMap<(u64, u64), (u64, usize)>,
    /// Compressed ones of which it was said that they are not read.
    told: BTreeSet<PathBuf>,
    /// Lines that were no records.
    bad: usize,
    collector: Collector,
}

impl<'a> Files<'a> {
    fn new(data: &'a Path, name: &'a str, collector: Collector) -> Files<'a> {
        Files { data, name, read: BTreeMap::new(), told: BTreeSet::new(), bad: 0, collector }
    }

    /// Reads what has come since the last look.
    fn look(&mut self) -> Result<(), Failure> {
        for path in self.list()? {
            let read = self.file(&path);
            // Rotation may have taken it away between the list and now.
            if let Err(error) = read
                && error.kind() != ErrorKind::NotFound
            {
                return Err(Failure::new(exit::FAILED, format!("{}: {error}", path.display())));
            }
        }
        Ok(())
    }

    fn list(&mut self) -> Result<Vec<PathBuf>, Failure> {
        let data = self.data.display();
        let wrong = |error: &dyn std::fmt::Display| {
            let message = format!("{data}: {error}; name the directory of the rack with --data DIR");
            Failure::new(exit::NO_RACK, message)
        };
        let mut nodes = Vec::new();
        for entry in std::fs::read_dir(self.data).map_err(|e| wrong(&e))? {
            let entry = entry.map_err(|e| wrong(&e))?;
            nodes.extend(entry.file_name().to_str().is_some_and(|n| n.starts_with("cc-node-")).then(|| entry.path()));
        }
        if nodes.is_empty() {
            return Err(wrong(&"no node has written anything there"));
        }
        let mut found = Vec::new();
        for node in nodes {
            let entries = std::fs::read_dir(&node).map_err(|e| wrong(&format!("{}: {e}", node.display())))?;
            found.extend(entries.flatten().map(|entry| entry.path()).filter(|path| self.is_one(path)));
        }
        found.sort();
        Ok(found)
    }

    fn is_one(&mut self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(rest) = name.strip_prefix(self.name).filter(|rest| rest.is_empty() || rest.starts_with('.')) else {
            return false;
        };
        let is_compressed = rest.rsplit('.').next().is_some_and(|last| COMPRESSED.contains(&last));
        if is_compressed && self.told.insert(path.to_owned()) {
            eprintln!("siprack: {} is compressed and not read", path.display());
        }
        !is_compressed
    }

    fn file(&mut self, path: &Path) -> std::io::Result<()> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        let identity = (metadata.dev(), metadata.ino());
        let (mut octets, mut lines) = self.read.get(&identity).copied().unwrap_or_default();
        if metadata.len() < octets {
            // It was cut and begun anew.
            (octets, lines) = (0, 0);
        }
        file.seek(SeekFrom::Start(octets))?;
        let mut file = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = file.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
            // A node is about to write the rest, or was killed: then nobody was told that it is written.
            if line.last() != Some(&b'\n') && (length as u64) < LONGEST {
                break;
            }
            octets += length as u64;
            lines += 1;
            let text = std::str::from_utf8(&line).map_err(|error| error.to_string());
            if let Err(why) = text.and_then(|text| self.collector.line(text.trim_end())) {
                self.bad += 1;
                eprintln!("siprack: {}:{lines}: no call detail record: {}", path.display(), printable(&why));
            }
        }
        self.read.insert(identity, (octets, lines));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;

    struct Rack(PathBuf);

    impl Rack {
        fn new(name: &str) -> Rack {
            let path = std::env::temp_dir().join(format!("siprack-cdr-command-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Rack(path)
        }

        fn path(&self, node: u16, name: &str) -> PathBuf {
            let directory = self.0.join(format!("cc-node-{node}"));
            std::fs::create_dir_all(&directory).unwrap();
            directory.join(name)
        }

        fn append(&self, node: u16, name: &str, text: &str) {
            let mut file = File::options().append(true).create(true).open(self.path(node, name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn files<'a>(&'a self, name: &'a str) -> Files<'a> {
            Files::new(&self.0, name, Collector::new(Kind::Ended, Wanted::default()))
        }
    }

    impl Drop for Rack {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn line(id: u32) -> String {
        let end = format!("2026-11-22T10:00:{id:02}.000Z");
        format!(
            "{{\"id\":\"{id:032x}\",\"method\":\"INVITE\",\"from_tag\":\"a\",\"to_tag\":\"b\",\"callid\":\"c{id}\",\
             \"sip_code\":200,\"sip_reason\":\"OK\",\"created\":\"{end}\",\"setup_time\":1.0,\"start_time\":\"{end}\",\
             \"end_time\":\"{end}\",\"duration\":2,\"ms_duration\":1500,\"caller\":\"a\",\"callee\":\"b\",\
             \"trunk_in\":null,\"trunk_out\":null,\"node\":1,\"site\":\"s\",\"ended_by\":\"caller\"}}\n"
        )
    }

    fn calls(files: &mut Files<'_>) -> Vec<String> {
        files.look().unwrap();
        files.collector.take().into_iter().map(|record| record.detail.call_id().to_owned()).collect()
    }

    #[test]
    fn all_files_of_all_nodes_are_read_and_each_call_counts_once() {
        let rack = Rack::new("all");
        rack.append(1, "cdr.jsonl", &(line(5) + &line(6)));
        rack.append(1, "cdr.jsonl.1", &line(3));
        rack.append(1, "cdr.jsonl.not-synced-1795000000000", &(line(4) + &line(5)[..40]));
        rack.append(1, "cdr.jsonl.2.gz", "not read");
        rack.append(1, "missed.jsonl", &line(9));
        rack.append(2, "cdr.jsonl", &(line(6) + &line(1)));
        std::fs::create_dir_all(rack.0.join("lm-server-1")).unwrap();
        let mut files = rack.files("cdr.jsonl");
        assert_eq!(calls(&mut files), ["c1", "c3", "c4", "c5", "c6"]);
        assert_eq!((files.bad, files.told.len()), (0, 1));
        assert_eq!(calls(&mut rack.files("missed.jsonl")), ["c9"]);
    }

    #[test]
    fn what_has_begun_and_not_ended_is_in_progress() {
        let rack = Rack::new("in-progress");
        // A start has all that a CDR has but the end; what else stands in a line is left alone.
        rack.append(1, "starts.jsonl", &(line(1) + &line(2)));
        rack.append(2, "starts.jsonl", &(line(2) + &line(3)));
        rack.append(2, "cdr.jsonl", &line(2));
        let mut files = Files::new(&rack.0, of(Kind::Begun), Collector::new(Kind::Begun, Wanted::default()));
        files.look().unwrap();
        let mut records = files.collector.take();
        assert_eq!((records.len(), leave_out_ended(&rack.0, &mut records).unwrap()), (3, 0));
        assert_eq!(records.iter().map(|record| record.detail.call_id()).collect::<Vec<_>>(), ["c1", "c3"]);
    }

    #[test]
    fn a_line_that_is_none_is_counted_and_those_behind_it_are_read() {
        let rack = Rack::new("bad");
        rack.append(1, "cdr.jsonl", &format!("{}{{\"id\"\n\u{0}\n{}", line(1), line(2)));
        let file = rack.path(1, "cdr.jsonl");
        let mut text = std::fs::read(&file).unwrap();
        text.extend_from_slice(b"\xff\n");
        std::fs::write(&file, text).unwrap();
        let mut files = rack.files("cdr.jsonl");
        assert_eq!(calls(&mut files), ["c1", "c2"]);
        assert_eq!(files.bad, 3);
        assert_eq!((calls(&mut files).len(), files.bad), (0, 3), "once");
    }

    #[test]
    fn more_is_read_as_it_comes_whatever_the_file_is_called_by_then() {
        let rack = Rack::new("follow");
        rack.append(1, "cdr.jsonl", &(line(1) + &line(2)[..30]));
        let mut files = rack.files("cdr.jsonl");
        assert_eq!(calls(&mut files), ["c1"]);
        rack.append(1, "cdr.jsonl", &line(2)[30..]);
        assert_eq!(calls(&mut files), ["c2"]);
        std::fs::rename(rack.path(1, "cdr.jsonl"), rack.path(1, "cdr.jsonl.1")).unwrap();
        rack.append(1, "cdr.jsonl.1", &line(3));
        rack.append(1, "cdr.jsonl", &line(4));
        assert_eq!(calls(&mut files), ["c3", "c4"]);
        std::fs::write(rack.path(1, "cdr.jsonl"), "").unwrap();
        assert!(calls(&mut files).is_empty());
        rack.append(1, "cdr.jsonl", &line(5));
        assert_eq!(calls(&mut files), ["c5"]);
        assert_eq!(files.bad, 0);
    }

    #[test]
    fn a_directory_that_is_no_racks_is_named() {
        let rack = Rack::new("empty");
        let failure = rack.files("cdr.jsonl").look().unwrap_err();
        assert!(failure.code == exit::NO_RACK && failure.message.contains("no node has written"), "{failure}");
        let nowhere = rack.0.join("nowhere");
        let mut files = rack.files("cdr.jsonl");
        files.data = &nowhere;
        assert!(files.look().unwrap_err().message.contains("nowhere"));
    }
}
