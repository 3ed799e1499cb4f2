//! How the log stands in a segment file; `io::segments` reads and writes it. All numbers are big endian.
//!
//! A segment begins with 64 bytes: magic `SIPRACKL`, version u32, 0 u32, history u64, first level u64, 28 bytes 0,
//! crc32c of the 60 bytes before it. Then come records: 64 bytes of header and the command in postcard:
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..2 | magic `RC` |
//! | 2..4 | 0 |
//! | 4..8 | length of the command |
//! | 8..16 | level |
//! | 16..24 | log time |
//! | 24..32 | wall clock of the writer, ms since 1970 |
//! | 32..48 | idempotence key |
//! | 48..56 | highest level that was durable when this was written |
//! | 56..60 | crc32c of the command |
//! | 60..64 | crc32c of the 60 bytes before it |
//!
//! How a command's subscriber is encoded with and without its third digest stands in `common/FORMATS.md`.
//!
//! A record that a crash left unfinished (torn) was never acknowledged: it is cut off. It ends before its length says, or
//! whole sectors of it were never written and read as zeros. Anything else that is wrong is damage to what may have been
//! acknowledged, and stops the start. Where a later record says that the unreadable one was durable, it is damage too.

use super::{LogEntry, LogError};
use common::ids::{HistoryId, Level};
use common::location::{IdempotenceKey, LogTime};
use common::time::WallMillis;

pub const HEADER: usize = 64;
/// No command is longer; the server refuses it before it gets here.
pub const MOST_COMMAND: usize = 65_536;
const MAGIC: &[u8; 8] = b"SIPRACKL";
const VERSION: u32 = 1;
const RECORD_MAGIC: &[u8; 2] = b"RC";
const SECTOR: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub history: HistoryId,
    /// Level of its first record.
    pub first: Level,
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_be_bytes());
        out[16..24].copy_from_slice(&self.history.0.to_be_bytes());
        out[24..32].copy_from_slice(&self.first.0.to_be_bytes());
        seal(&mut out);
        out
    }

    /// # Errors
    /// What is wrong with it, in words.
    pub fn decode(bytes: &[u8]) -> Result<SegmentHeader, String> {
        let Some(head) = bytes.first_chunk::<HEADER>() else {
            return Err(format!("it has {} bytes, a segment begins with {HEADER}", bytes.len()));
        };
        if &head[..8] != MAGIC {
            return Err("it is not a segment of a siprack log (wrong magic)".into());
        }
        if !is_sealed(head) {
            return Err("its header's checksum is wrong".into());
        }
        match be32(head, 8) {
            VERSION => Ok(SegmentHeader { history: HistoryId(be64(head, 16)), first: Level(be64(head, 24)) }),
            other => Err(format!("format version {other}; this program reads version {VERSION}")),
        }
    }
}

/// Appends one record. `durable` is the highest level known to be on disk.
pub fn write_record(entry: &LogEntry, durable: Level, out: &mut Vec<u8>) -> Result<(), postcard::Error> {
    let command = postcard::to_allocvec(&entry.command)?;
    let mut head = [0; HEADER];
    head[..2].copy_from_slice(RECORD_MAGIC);
    head[4..8].copy_from_slice(&(command.len() as u32).to_be_bytes());
    head[8..16].copy_from_slice(&entry.level.0.to_be_bytes());
    head[16..24].copy_from_slice(&entry.time.0.to_be_bytes());
    head[24..32].copy_from_slice(&entry.wall.0.to_be_bytes());
    head[32..48].copy_from_slice(&entry.key.0.to_be_bytes());
    head[48..56].copy_from_slice(&durable.0.to_be_bytes());
    head[56..60].copy_from_slice(&crc32c::crc32c(&command).to_be_bytes());
    seal(&mut head);
    out.extend_from_slice(&head);
    out.extend_from_slice(&command);
    Ok(())
}

/// What became of one segment's bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Scanned {
    /// Level of the last record, or the one before the segment's first.
    pub last: Level,
    /// Bytes that are good; what lies behind was torn.
    pub good: usize,
    /// Why the bytes behind `good` are no record.
    pub torn: Option<String>,
}

/// Reads a segment's records in order. `file` names it in errors; only the log's newest segment may be `torn`.
///
/// # Errors
/// [`LogError::Corrupt`] with the place; entries before it have been handed over, none from it on.
pub fn scan(
    file: &str,
    bytes: &[u8],
    first: Level,
    newest: bool,
    each: &mut dyn FnMut(LogEntry),
) -> Result<Scanned, LogError> {
    let mut at = HEADER;
    let mut next = first;
    while at < bytes.len() {
        match read_record(&bytes[at..], at, next) {
            Ok((entry, length)) => {
                each(entry);
                at += length;
                next = Level(next.0.saturating_add(1));
            }
            Err(Bad { what, torn }) => {
                let acknowledged = !torn || !newest || durable_behind(&bytes[at..], next);
                if acknowledged {
                    return Err(LogError::Corrupt { file: file.into(), offset: at as u64, level: next, what });
                }
                return Ok(Scanned { last: Level(next.0.saturating_sub(1)), good: at, torn: Some(what) });
            }
        }
    }
    Ok(Scanned { last: Level(next.0.saturating_sub(1)), good: at, torn: None })
}

struct Bad {
    what: String,
    torn: bool,
}

/// The record at the front of `bytes`, which stand at `offset` of the file, and its length.
fn read_record(bytes: &[u8], offset: usize, expected: Level) -> Result<(LogEntry, usize), Bad> {
    let bad = |what: String, torn: bool| Err(Bad { what, torn });
    let Some(head) = bytes.first_chunk::<HEADER>() else {
        return bad(format!("only {} of the {HEADER} bytes of a record's header are there", bytes.len()), true);
    };
    if !is_sealed(head) {
        return bad("the checksum of the record's header is wrong".into(), has_unwritten(bytes, offset));
    }
    if &head[..2] != RECORD_MAGIC {
        return bad("no record begins here".into(), false);
    }
    let length = be32(head, 4) as usize;
    if length > MOST_COMMAND {
        return bad(format!("a command of {length} bytes, at most {MOST_COMMAND} are possible"), false);
    }
    let level = Level(be64(head, 8));
    if level != expected {
        return bad(format!("the record says level {level}, level {expected} comes next"), false);
    }
    let Some(command) = bytes.get(HEADER..HEADER + length) else {
        return bad(format!("only {} of the command's {length} bytes are there", bytes.len() - HEADER), true);
    };
    if crc32c::crc32c(command) != be32(head, 56) {
        return bad("the checksum of the command is wrong".into(), has_unwritten(&bytes[..HEADER + length], offset));
    }
    let command = match postcard::from_bytes(command) {
        Ok(command) => command,
        Err(e) => {
            return bad(format!("the command cannot be decoded ({e}); a newer program may have written it"), false);
        }
    };
    let (time, wall) = (LogTime(be64(head, 16)), WallMillis(be64(head, 24)));
    let key = IdempotenceKey((u128::from(be64(head, 32)) << 64) | u128::from(be64(head, 40)));
    Ok((LogEntry { level, time, wall, key, command }, HEADER + length))
}

/// Whether a sector under these bytes, which stand at `offset` of the file, never reached the disk: it reads as zeros.
/// A record begins with its magic, so its first sector shows at once; a short last one must have some length to tell.
fn has_unwritten(record: &[u8], offset: usize) -> bool {
    let (first, rest) = record.split_at((SECTOR - offset % SECTOR).min(record.len()));
    let zeros = |bytes: &[u8]| bytes.iter().all(|b| *b == 0);
    zeros(first) || rest.chunks(SECTOR).any(|sector| sector.len() >= 8 && zeros(sector))
}

/// Whether a readable record behind the first one says that `level` was durable when it was written.
fn durable_behind(bytes: &[u8], level: Level) -> bool {
    (1..bytes.len()).any(|at| {
        let Some(head) = bytes[at..].first_chunk::<HEADER>() else { return false };
        &head[..2] == RECORD_MAGIC && is_sealed(head) && be64(head, 8) > level.0 && be64(head, 48) >= level.0
    })
}

fn seal(head: &mut [u8; HEADER]) {
    let crc = crc32c::crc32c(&head[..60]);
    head[60..].copy_from_slice(&crc.to_be_bytes());
}

fn is_sealed(head: &[u8; HEADER]) -> bool {
    crc32c::crc32c(&head[..60]) == be32(head, 60)
}

fn be32(bytes: &[u8; HEADER], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn be64(bytes: &[u8; HEADER], at: usize) -> u64 {
    (u64::from(be32(bytes, at)) << 32) | u64::from(be32(bytes, at + 4))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::location::{Aor, Command, Subscriber};

    fn entry(level: u64) -> LogEntry {
        LogEntry {
            level: Level(level),
            time: LogTime(level * 10),
            wall: WallMillis(1_700_000_000_000 + level),
            key: IdempotenceKey(u128::from(level) << 70 | 5),
            command: Command::RemoveSubscriber { aor: Aor::new(&format!("user{level}"), "rack.test") },
        }
    }

    /// A segment whose records were each durable before the next was written, and where each record begins.
    fn segment(levels: std::ops::RangeInclusive<u64>) -> (Vec<u8>, Vec<usize>) {
        let first = Level(*levels.start());
        let mut bytes = SegmentHeader { history: HistoryId(7), first }.encode().to_vec();
        let mut starts = Vec::new();
        for level in levels {
            starts.push(bytes.len());
            write_record(&entry(level), Level(level - 1), &mut bytes).unwrap();
        }
        (bytes, starts)
    }

    fn read(bytes: &[u8]) -> (Vec<u64>, Result<Scanned, LogError>) {
        let mut levels = Vec::new();
        let scanned = scan("1.log", bytes, Level(1), true, &mut |e| {
            assert_eq!(e, entry(e.level.0), "nothing wrong is ever handed over");
            levels.push(e.level.0);
        });
        (levels, scanned)
    }

    #[test]
    fn what_was_written_is_read() {
        let (bytes, _) = segment(1..=3);
        let header = SegmentHeader::decode(&bytes).unwrap();
        assert_eq!(header, SegmentHeader { history: HistoryId(7), first: Level(1) });
        let (levels, scanned) = read(&bytes);
        assert_eq!(levels, [1, 2, 3]);
        assert_eq!(scanned.unwrap(), Scanned { last: Level(3), good: bytes.len(), torn: None });
    }

    /// Octets of a log from before there was a third digest: a subscriber, put there by the program of that time.
    #[test]
    fn an_old_record_is_read_and_written_as_it_was() {
        let aor = Aor::new("1001", "rack.test");
        let subscriber = Subscriber { aor, ha1_md5: [0xaa; 16], ha1_sha256: [0xbb; 32], ha1_sha512_256: None };
        let old = [&b"\x01\x0e1001@rack.test"[..], &[0xaa; 16], &[0xbb; 32], &[0]].concat();
        let entry = LogEntry { command: Command::PutSubscriber { subscriber, only_new: false }, ..entry(1) };
        let mut bytes = SegmentHeader { history: HistoryId(7), first: Level(1) }.encode().to_vec();
        write_record(&entry, Level(0), &mut bytes).unwrap();
        assert_eq!(&bytes[2 * HEADER..], old);
        let mut entries = Vec::new();
        scan("1.log", &bytes, Level(1), true, &mut |e| entries.push(e)).unwrap();
        assert_eq!(entries, [entry]);
    }

    #[test]
    fn cut_at_every_byte_of_the_last_record_the_others_stay() {
        let (bytes, starts) = segment(1..=3);
        for cut in starts[2] + 1..bytes.len() {
            let (levels, scanned) = read(&bytes[..cut]);
            let scanned = scanned.unwrap();
            assert_eq!(
                (levels.as_slice(), scanned.last, scanned.good),
                (&[1, 2][..], Level(2), starts[2]),
                "cut {cut}"
            );
            assert!(scanned.torn.is_some());
        }
    }

    #[test]
    fn every_flipped_bit_is_found_and_its_place_is_named() {
        let (bytes, starts) = segment(1..=3);
        for at in HEADER..bytes.len() {
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << bit;
                let hit = starts.iter().filter(|s| **s <= at).count();
                let (levels, scanned) = read(&bytes);
                assert_eq!(levels.len(), hit - 1, "records before the damage only");
                match scanned {
                    Err(LogError::Corrupt { offset, level, .. }) => {
                        assert_eq!((offset, level), (starts[hit - 1] as u64, Level(hit as u64)));
                    }
                    other => panic!("byte {at} bit {bit}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn every_flipped_bit_of_a_segments_header_is_found() {
        let (bytes, _) = segment(1..=1);
        for at in 0..HEADER {
            let mut head = bytes[..HEADER].to_vec();
            head[at] ^= 0x10;
            assert!(SegmentHeader::decode(&head).is_err(), "byte {at}");
        }
    }

    #[test]
    fn sectors_that_were_never_written_are_torn_unless_a_later_record_knows_better() {
        let (bytes, starts) = segment(1..=3);
        let mut unwritten = bytes.clone();
        unwritten[starts[2]..].fill(0);
        assert_eq!(read(&unwritten).1.unwrap().last, Level(2));

        let mut lost = bytes;
        lost[starts[1]..starts[2]].fill(0);
        assert!(matches!(read(&lost).1, Err(LogError::Corrupt { level: Level(2), .. })), "level 3 says 2 was durable");
    }

    #[test]
    fn only_the_newest_segment_may_be_torn() {
        let (bytes, _) = segment(1..=2);
        let older = scan("1.log", &bytes[..bytes.len() - 1], Level(1), false, &mut |_| {});
        let text = older.unwrap_err().to_string();
        assert!(text.contains("1.log") && text.contains("level 2") && text.contains("truncate -s"), "{text}");
    }
}
