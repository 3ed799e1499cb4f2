//! The provisioning log's segment files: what comes back from a disk that tore, flipped or lost octets is a prefix of
//! what was written; what was acknowledged and is not there is said, never skipped.

use super::choices::Choices;
use super::fuzz;
use super::location_stream::command;
use common::ids::{HistoryId, Level};
use common::location::{IdempotenceKey, LogTime};
use common::time::WallMillis;
use location_server::log::format::{HEADER, SegmentHeader, scan, write_record};
use location_server::log::{LogEntry, LogError};

struct Written {
    bytes: Vec<u8>,
    entries: Vec<LogEntry>,
    /// Where each record begins.
    starts: Vec<usize>,
    first: Level,
}

fn write(choices: &mut Choices<'_>) -> Written {
    let first = Level(choices.pick(&[1, 1, 7, 0, u64::MAX - 3]));
    let header = SegmentHeader { history: HistoryId(9), first };
    let (mut bytes, mut entries, mut starts) = (header.encode().to_vec(), Vec::new(), Vec::new());
    assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
    for n in 0..choices.below(4) as u64 {
        let entry = LogEntry {
            level: Level(first.0 + n),
            time: LogTime(choices.long()),
            wall: WallMillis(choices.long()),
            key: IdempotenceKey(u128::from(choices.long())),
            command: command(choices),
        };
        starts.push(bytes.len());
        write_record(&entry, Level((first.0 + n).saturating_sub(1)), &mut bytes).unwrap();
        entries.push(entry);
    }
    Written { bytes, entries, starts, first }
}

/// What a disk does: flipped octets, a torn end, sectors that read as zeros.
fn wear(choices: &mut Choices<'_>, bytes: &mut Vec<u8>) {
    for _ in 0..choices.below(3) {
        let at = choices.below(bytes.len().max(1));
        match choices.below(4) {
            0 => {
                if let Some(octet) = bytes.get_mut(at) {
                    *octet ^= 1 << choices.below(8);
                }
            }
            1 => bytes.truncate(at.max(HEADER)),
            2 => {
                let end = (at + 512).min(bytes.len());
                bytes.get_mut(at..end).unwrap_or_default().fill(0);
            }
            _ => bytes.extend_from_slice(choices.some(80)),
        }
    }
}

fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let Written { mut bytes, entries, starts, first } = write(&mut choices);
    let written = bytes.clone();
    wear(&mut choices, &mut bytes);
    let newest = choices.one_of_256(128);
    let mut read = Vec::new();
    let scanned = scan("segment", &bytes, first, newest, &mut |entry| read.push(entry));
    assert!(entries.starts_with(&read), "an entry came back that was not written");
    match scanned {
        Ok(scanned) => {
            assert!(newest || scanned.torn.is_none());
            assert!(scanned.good <= bytes.len().max(HEADER));
            assert_eq!(scanned.torn.is_none(), scanned.good >= bytes.len());
            assert_eq!(scanned.last.0, (first.0 + read.len() as u64).saturating_sub(1));
        }
        Err(LogError::Corrupt { offset, level, .. }) => {
            assert_eq!(
                (offset, level.0),
                (starts.get(read.len()).map_or(written.len(), |at| *at) as u64, first.0 + read.len() as u64)
            );
        }
        Err(other) => panic!("{other}"),
    }
    if bytes == written {
        assert_eq!(read.len(), entries.len());
    }
    // Octets that nobody wrote.
    let noise = choices.rest();
    let _ = SegmentHeader::decode(noise);
    let _ = scan("noise", noise, first, newest, &mut |entry| panic!("{entry:?} of noise"));
}

#[test]
fn fuzz() {
    fuzz!("segments", 3000, check);
}
