//! The file that CDRs are appended to, with what may happen to it: half a line at its end from a process that was killed,
//! another name by logrotate, a disk that does not keep what it was given.

use crate::spool::Disk;
use common::io::clock::Clock;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

/// How much is read at a time to find the last line's end.
const BLOCK: u64 = 64 * 1024;

pub struct LineFile {
    path: PathBuf,
    clock: Clock,
    open: Option<Open>,
}

struct Open {
    file: File,
    /// Device and inode.
    identity: (u64, u64),
    /// Its length at the last sync that succeeded, or when it was opened.
    durable: u64,
}

impl LineFile {
    /// Nothing is opened yet.
    pub fn new(path: PathBuf, clock: Clock) -> LineFile {
        LineFile { path, clock, open: None }
    }

    /// So that a name that was given is found after a loss of power.
    fn sync_directory(&self) -> io::Result<()> {
        match self.path.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }

    /// `cdr.jsonl.not-synced-<Unix ms>`: read as a rotated file is.
    fn name_aside(&self) -> PathBuf {
        let name = |n: u64| {
            let mut name = self.path.as_os_str().to_owned();
            name.push(format!(".not-synced-{n}"));
            PathBuf::from(name)
        };
        (self.clock.wall().0..).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(0))
    }
}

impl Disk for LineFile {
    fn open(&mut self) -> io::Result<()> {
        self.open = None;
        let file = OpenOptions::new().read(true).append(true).create(true).open(&self.path)?;
        let length = file.metadata()?.len();
        let whole = end_of_last_line(&file, length)?;
        if whole < length {
            file.set_len(whole)?;
            let (path, octets) = (self.path.display(), length - whole);
            tracing::warn!(file = %path, octets, "cut half a line off the end: it was never confirmed");
        }
        self.sync_directory()?;
        let metadata = file.metadata()?;
        self.open = Some(Open { file, identity: (metadata.dev(), metadata.ino()), durable: whole });
        Ok(())
    }

    fn is_in_place(&self) -> bool {
        let named = std::fs::metadata(&self.path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
        self.open.as_ref().is_some_and(|open| named == Some(open.identity))
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match &mut self.open {
            Some(open) => open.file.write(octets),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Err(io::ErrorKind::NotConnected.into()) };
        open.file.sync_data()?;
        open.durable = open.file.metadata()?.len();
        Ok(())
    }

    fn set_aside(&mut self) -> io::Result<()> {
        let in_place = self.is_in_place();
        let Some(open) = &self.open else { return Ok(()) };
        // What is written again elsewhere need not take room here; if that fails, it stands twice. Never made longer:
        // whoever rotates may have cut the file.
        let length = open.file.metadata().map_or(0, |metadata| metadata.len());
        let durable = open.durable.min(length);
        let cut = open.file.set_len(durable).is_ok();
        match (in_place, cut && durable == 0) {
            (false, _) => {}
            (true, true) => std::fs::remove_file(&self.path)?,
            (true, false) => {
                let aside = self.name_aside();
                std::fs::rename(&self.path, &aside)?;
                let (file, aside) = (self.path.display(), aside.display());
                tracing::warn!(%file, %aside, "the file was set aside: what it holds is good, what was not confirmed is written anew");
            }
        }
        self.open = None;
        Ok(())
    }
}

/// Where the last line break stands, and one.
fn end_of_last_line(file: &File, length: u64) -> io::Result<u64> {
    let mut end = length;
    let mut block = vec![0; BLOCK.min(length) as usize];
    while end > 0 {
        let from = end.saturating_sub(BLOCK);
        let block = &mut block[..(end - from) as usize];
        file.read_exact_at(block, from)?;
        if let Some(at) = block.iter().rposition(|octet| *octet == b'\n') {
            return Ok(from + at as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::Path;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Directory {
            let path = std::env::temp_dir().join(format!("siprack-cdr-file-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Directory(path)
        }

        fn file(&self) -> LineFile {
            LineFile::new(self.0.join("cdr.jsonl"), Clock::new())
        }

        /// What each file holds, by its name without numbers.
        fn files(&self) -> Vec<(String, String)> {
            let entries = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
            let name = |path: &Path| {
                let name = path.file_name().unwrap().to_str().unwrap().to_string();
                name.trim_end_matches(|c: char| c.is_ascii_digit()).to_string()
            };
            let mut files: Vec<_> = entries.map(|p| (name(&p), std::fs::read_to_string(&p).unwrap())).collect();
            files.sort();
            files
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn named(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
    }

    #[test]
    fn half_a_line_is_cut_off_wherever_it_begins() {
        let directory = Directory::new("torn");
        let long = "x".repeat(2 * BLOCK as usize + 7);
        for (text, whole) in [("", ""), ("a\n", "a\n"), ("a\nb", "a\n"), ("a", ""), ("a\n\nb", "a\n\n")] {
            std::fs::write(directory.0.join("cdr.jsonl"), text).unwrap();
            directory.file().open().unwrap();
            assert_eq!(directory.files(), named(&[("cdr.jsonl", whole)]), "{text:?}");
        }
        std::fs::write(directory.0.join("cdr.jsonl"), format!("{long}\n{long}")).unwrap();
        let mut file = directory.file();
        file.open().unwrap();
        file.write(b"new\n").unwrap();
        assert_eq!(directory.files(), named(&[("cdr.jsonl", &format!("{long}\nnew\n"))]));
    }

    #[test]
    fn a_file_that_was_renamed_or_removed_is_not_in_its_place() {
        let directory = Directory::new("moved");
        let mut file = directory.file();
        file.open().unwrap();
        assert!(file.is_in_place());
        std::fs::rename(&file.path, directory.0.join("cdr.jsonl.1")).unwrap();
        assert!(!file.is_in_place());
        file.set_aside().unwrap();
        file.open().unwrap();
        assert!(file.is_in_place());
        assert_eq!(directory.files(), named(&[("cdr.jsonl", ""), ("cdr.jsonl.", "")]));
    }

    #[test]
    fn what_is_set_aside_keeps_what_was_synced_and_nothing_else() {
        let directory = Directory::new("aside");
        let mut file = directory.file();
        file.open().unwrap();
        file.write(b"lost\n").unwrap();
        file.set_aside().unwrap();
        assert_eq!(directory.files(), [], "nothing of it was good");
        for name in ["one", "two"] {
            file.open().unwrap();
            file.write(format!("{name}\n").as_bytes()).unwrap();
            file.sync().unwrap();
            file.write(b"lost\n").unwrap();
            file.set_aside().unwrap();
        }
        file.open().unwrap();
        let aside = "cdr.jsonl.not-synced-";
        assert_eq!(directory.files(), named(&[("cdr.jsonl", ""), (aside, "one\n"), (aside, "two\n")]));
    }
}
