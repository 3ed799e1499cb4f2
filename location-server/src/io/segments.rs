//! The log on disk: segment files `<first level>.log` in one directory. Opened and read by `run`, written by the log's
//! thread. The format is `log::format`'s.

use crate::log::format::{self, HEADER, Scanned, SegmentHeader};
use crate::log::{Log, LogEntry, LogError};
use common::ids::{HistoryId, Level};
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A segment that has reached this length is finished and the next begins.
const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

pub struct SegmentLog {
    dir: PathBuf,
    history: HistoryId,
    /// Held for as long as the log is open: one server a directory.
    _lock: File,
    /// First levels of all segments, oldest first; the last one is `file`.
    segments: Vec<Level>,
    file: File,
    /// Bytes of `file` that are whole records, and those of them that are durable.
    written: u64,
    durable: u64,
    last: Level,
    durable_level: Level,
    segment_bytes: u64,
    broken: Option<&'static str>,
}

impl SegmentLog {
    /// Opens the log in `dir`, or makes one there with `new_history`, and hands over every entry. A torn end is cut off;
    /// what it was is returned for the operator.
    ///
    /// # Errors
    /// See [`LogError`]: damage, missing segments, another server at work, or the file system's own.
    pub fn open(
        dir: &Path,
        new_history: HistoryId,
        each: &mut dyn FnMut(LogEntry),
    ) -> Result<(SegmentLog, Option<String>), LogError> {
        SegmentLog::open_with(dir, new_history, SEGMENT_BYTES, each)
    }

    fn open_with(
        dir: &Path,
        new_history: HistoryId,
        segment_bytes: u64,
        each: &mut dyn FnMut(LogEntry),
    ) -> Result<(SegmentLog, Option<String>), LogError> {
        std::fs::create_dir_all(dir).map_err(open_error(dir))?;
        let lock = lock(dir)?;
        let mut segments = list(dir)?;
        let mut notice = drop_unborn(dir, &mut segments)?;
        if segments.is_empty() {
            create(dir, SegmentHeader { history: new_history, first: Level(1) })?;
            segments.push(Level(1));
        }
        if segments[0] != Level(1) {
            let what = format!("the log begins at level {}, the segments before it are missing", segments[0]);
            return Err(LogError::Segments { file: path(dir, segments[0]).display().to_string(), what });
        }
        let (history, end) = read_all(dir, &segments, each)?;
        let newest = path(dir, segments[segments.len() - 1]);
        let file = OpenOptions::new().read(true).write(true).open(&newest).map_err(open_error(&newest))?;
        let good = end.good as u64;
        if let Some(what) = end.torn {
            let length = file.metadata().map_err(open_error(&newest))?.len();
            file.set_len(good).map_err(open_error(&newest))?;
            notice = Some(format!(
                "{}: cut {} bytes from byte {good} on, behind level {}: an append that a crash left unfinished and that \
                 was never acknowledged ({what})",
                newest.display(),
                length - good,
                end.last
            ));
        }
        // Entries that a crash left in the page cache are applied now, so they must be durable before anybody hears of them.
        file.sync_all().map_err(open_error(&newest))?;
        let log = SegmentLog {
            dir: dir.to_owned(),
            history,
            _lock: lock,
            segments,
            file,
            written: good,
            durable: good,
            last: end.last,
            durable_level: end.last,
            segment_bytes,
            broken: None,
        };
        Ok((log, notice))
    }

    fn name(&self) -> String {
        path(&self.dir, self.segments[self.segments.len() - 1]).display().to_string()
    }

    /// No way back from here: what is on the disk is unknown.
    fn broken(&mut self, what: &'static str, source: std::io::Error) -> LogError {
        self.broken = Some(what);
        // What was not durable was never acknowledged; a later start must not find it in the page cache. Best effort.
        let _ = self.file.set_len(self.durable);
        LogError::Sync { file: self.name(), what, source }
    }

    fn roll(&mut self) -> Result<(), LogError> {
        let first = Level(self.last.0 + 1);
        self.file = create(&self.dir, SegmentHeader { history: self.history, first })?;
        self.segments.push(first);
        self.written = HEADER as u64;
        self.durable = self.written;
        Ok(())
    }
}

impl Log for SegmentLog {
    fn history(&self) -> HistoryId {
        self.history
    }

    fn last(&self) -> Level {
        self.last
    }

    fn append(&mut self, batch: &[LogEntry]) -> Result<(), LogError> {
        if let Some(what) = self.broken {
            return Err(self.broken(what, std::io::Error::other("it failed before")));
        }
        if self.written >= self.segment_bytes && self.written == self.durable {
            self.roll()?;
        }
        let mut bytes = Vec::new();
        for entry in batch {
            if let Err(e) = format::write_record(entry, self.durable_level, &mut bytes) {
                return Err(LogError::Write { file: self.name(), source: std::io::Error::other(e) });
            }
        }
        if let Err(source) = self.file.write_all_at(&bytes, self.written) {
            // Part of it may stand there. Without a way to take it back, nothing may be written behind it.
            if let Err(source) = self.file.set_len(self.written) {
                return Err(self.broken("taking an unfinished append back", source));
            }
            let file = self.name();
            return Err(match source.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    LogError::Full { file, bytes: bytes.len() }
                }
                _ => LogError::Write { file, source },
            });
        }
        self.written += bytes.len() as u64;
        self.last = batch.last().map_or(self.last, |e| e.level);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        if let Some(what) = self.broken {
            return Err(self.broken(what, std::io::Error::other("it failed before")));
        }
        if let Err(source) = self.file.sync_data() {
            return Err(self.broken("fdatasync", source));
        }
        self.durable = self.written;
        self.durable_level = self.last;
        Ok(())
    }

    fn replay(&mut self, from: Level, each: &mut dyn FnMut(LogEntry)) -> Result<(), LogError> {
        let start = self.segments.partition_point(|first| *first <= from).saturating_sub(1);
        let mut wanted = |entry: LogEntry| {
            if entry.level >= from {
                each(entry);
            }
        };
        read_all(&self.dir, &self.segments[start..], &mut wanted).map(|_| ())
    }
}

/// History of the log in `dir`, `None` where there is none that could be read; [`SegmentLog::open`] says what is wrong then.
///
/// # Errors
/// The directory cannot be read.
pub fn history(dir: &Path) -> Result<Option<HistoryId>, LogError> {
    if !dir.exists() {
        return Ok(None);
    }
    let Some(first) = list(dir)?.first().copied() else { return Ok(None) };
    let path = path(dir, first);
    let mut head = Vec::with_capacity(HEADER);
    let file = File::open(&path).map_err(open_error(&path))?;
    file.take(HEADER as u64).read_to_end(&mut head).map_err(open_error(&path))?;
    Ok(SegmentHeader::decode(&head).ok().map(|header| header.history))
}

fn path(dir: &Path, first: Level) -> PathBuf {
    dir.join(format!("{:020}.log", first.0))
}

fn open_error(path: &Path) -> impl Fn(std::io::Error) -> LogError {
    let file = path.display().to_string();
    move |source| LogError::Open { file: file.clone(), source }
}

fn lock(dir: &Path) -> Result<File, LogError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(open_error(&path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(LogError::Locked { file: path.display().to_string() }),
        Err(e) => Err(LogError::Open { file: path.display().to_string(), source: e.into() }),
    }
}

/// First levels of the segments in `dir`, oldest first.
fn list(dir: &Path) -> Result<Vec<Level>, LogError> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(open_error(dir))? {
        let name = entry.map_err(open_error(dir))?.file_name();
        if let Some(first) = name.to_str().and_then(|n| n.strip_suffix(".log")).and_then(|n| n.parse().ok()) {
            segments.push(Level(first));
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

/// A crash while the newest segment was made leaves a file that is too short or all zeros: nothing was ever in it.
fn drop_unborn(dir: &Path, segments: &mut Vec<Level>) -> Result<Option<String>, LogError> {
    let Some(first) = segments.last() else { return Ok(None) };
    let newest = path(dir, *first);
    let bytes = std::fs::read(&newest).map_err(open_error(&newest))?;
    if bytes.len() > HEADER || bytes.iter().take(HEADER).any(|b| *b != 0) && bytes.len() == HEADER {
        return Ok(None);
    }
    std::fs::remove_file(&newest).map_err(open_error(&newest))?;
    segments.pop();
    Ok(Some(format!("{}: removed, a crash had interrupted its making and nothing was in it", newest.display())))
}

/// The file is there after a power failure: its own sync, then that of the directory that names it.
fn create(dir: &Path, header: SegmentHeader) -> Result<File, LogError> {
    let path = path(dir, header.first);
    let made =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path).and_then(|mut file| {
            file.write_all(&header.encode())?;
            file.sync_all()?;
            File::open(dir)?.sync_all()?;
            Ok(file)
        });
    made.map_err(|source| {
        // Not in use yet, so a failure here loses nothing; the next attempt starts anew.
        let _ = std::fs::remove_file(&path);
        match source.kind() {
            std::io::ErrorKind::StorageFull => LogError::Full { file: path.display().to_string(), bytes: HEADER },
            _ => LogError::Write { file: path.display().to_string(), source },
        }
    })
}

/// Reads `segments`, which follow each other, in order. Returns the history and how the newest ends.
fn read_all(dir: &Path, segments: &[Level], each: &mut dyn FnMut(LogEntry)) -> Result<(HistoryId, Scanned), LogError> {
    let mut history = None;
    let mut end = Scanned { last: Level(0), good: HEADER, torn: None };
    for (i, first) in segments.iter().enumerate() {
        let path = path(dir, *first);
        let file = path.display().to_string();
        let wrong = |what: String| LogError::Segments { file: file.clone(), what };
        let bytes = std::fs::read(&path).map_err(open_error(&path))?;
        let header = SegmentHeader::decode(&bytes).map_err(&wrong)?;
        if header.first != *first {
            return Err(wrong(format!(
                "its header says that it begins at level {}, its name says {first}",
                header.first
            )));
        }
        if *history.get_or_insert(header.history) != header.history {
            return Err(wrong(format!("it belongs to another log (history {:016x})", header.history.0)));
        }
        if i > 0 && first.0 != end.last.0 + 1 {
            return Err(wrong(format!("it begins at level {first}, but the segment before it ends at {}", end.last)));
        }
        end = format::scan(&file, &bytes, *first, i + 1 == segments.len(), each)?;
    }
    Ok((history.unwrap_or_default(), end))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::location::{Aor, Command, IdempotenceKey, LogTime};
    use common::time::WallMillis;

    fn entry(level: u64) -> LogEntry {
        LogEntry {
            level: Level(level),
            time: LogTime(level),
            wall: WallMillis(level),
            key: IdempotenceKey(level.into()),
            command: Command::RemoveSubscriber { aor: Aor::new(&level.to_string(), "rack.test") },
        }
    }

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Dir {
            let dir = std::env::temp_dir().join(format!("siprack-log-{}-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&dir);
            Dir(dir)
        }

        fn open(&self) -> Result<(SegmentLog, Vec<u64>, Option<String>), LogError> {
            let mut levels = Vec::new();
            let (log, notice) = SegmentLog::open_with(&self.0, HistoryId(5), 280, &mut |e| {
                assert_eq!(e, entry(e.level.0));
                levels.push(e.level.0);
            })?;
            Ok((log, levels, notice))
        }

        fn file(&self, first: u64) -> PathBuf {
            path(&self.0, Level(first))
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// Levels 1 to `last`, each synced; a segment takes three.
    fn written(name: &str, last: u64) -> Dir {
        let dir = Dir::new(name);
        let (mut log, ..) = dir.open().unwrap();
        for level in 1..=last {
            log.append(&[entry(level)]).unwrap();
            log.sync().unwrap();
        }
        dir
    }

    #[test]
    fn a_log_over_several_segments_is_read_back_and_goes_on() {
        let dir = written("segments", 8);
        assert_eq!(list(&dir.0).unwrap(), [Level(1), Level(4), Level(7)]);
        assert_eq!(history(&dir.0).unwrap(), Some(HistoryId(5)));
        let (mut log, levels, notice) = dir.open().unwrap();
        assert_eq!((levels, notice, log.history()), ((1..=8).collect(), None, HistoryId(5)));
        log.append(&[entry(9), entry(10)]).unwrap();
        log.sync().unwrap();
        let mut from = Vec::new();
        log.replay(Level(5), &mut |e| from.push(e.level.0)).unwrap();
        assert_eq!(from, [5, 6, 7, 8, 9, 10]);
    }

    #[test]
    fn one_server_a_directory() {
        let dir = written("lock", 1);
        let _first = dir.open().unwrap();
        assert!(matches!(dir.open(), Err(LogError::Locked { .. })));
    }

    #[test]
    fn a_torn_end_is_cut_with_a_word_about_it_and_written_over() {
        let dir = written("torn", 5);
        let newest = dir.file(4);
        let whole = std::fs::read(&newest).unwrap();
        for cut in 1..whole.len() - HEADER {
            std::fs::write(&newest, &whole[..whole.len() - cut]).unwrap();
            let (mut log, levels, notice) = dir.open().unwrap();
            let last = *levels.last().unwrap();
            assert_eq!(levels, (1..=last).collect::<Vec<_>>());
            assert!(notice.is_none_or(|n| n.contains("never acknowledged")));
            log.append(&[entry(last + 1)]).unwrap();
            log.sync().unwrap();
            drop(log);
            assert_eq!(dir.open().unwrap().1, (1..=last + 1).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_flipped_bit_stops_the_start() {
        let dir = written("flip", 5);
        let first = dir.file(1);
        let mut bytes = std::fs::read(&first).unwrap();
        bytes[HEADER + 70] ^= 4;
        std::fs::write(&first, bytes).unwrap();
        let error = dir.open().err().unwrap();
        assert!(matches!(&error, LogError::Corrupt { offset: 64, level: Level(1), .. }), "{error}");
    }

    #[test]
    fn a_missing_segment_stops_the_start() {
        let dir = written("missing", 8);
        std::fs::remove_file(dir.file(4)).unwrap();
        assert!(dir.open().err().unwrap().to_string().contains("begins at level 7"));
        std::fs::remove_file(dir.file(1)).unwrap();
        assert!(dir.open().err().unwrap().to_string().contains("before it are missing"));
    }

    #[test]
    fn a_segment_that_was_never_finished_making_is_made_again() {
        let dir = written("unborn", 3);
        std::fs::write(dir.file(4), [0; 20]).unwrap();
        let (mut log, levels, notice) = dir.open().unwrap();
        assert_eq!(levels, [1, 2, 3]);
        assert!(notice.is_some());
        log.append(&[entry(4)]).unwrap();
        log.sync().unwrap();
        drop(log);
        assert_eq!(dir.open().unwrap().1, [1, 2, 3, 4]);
    }
}
