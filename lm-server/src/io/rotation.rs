//! The keys that stand, kept as `<data>/lm-server-N/keys.json`: a load manager that starts knows them even if no node tells
//! it, and since when each is the newest, which no node knows. Read by `io::mod` at the start, written by `keys` before a
//! turn counts.

use crate::rotation::Rotation;
use common::io::whole_file;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub struct RotationFile {
    path: PathBuf,
}

/// The disk did not take a turn; the keys that stood before still do.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}; no key has turned", path = path.display())]
pub struct NotKept {
    path: PathBuf,
    source: io::Error,
}

impl RotationFile {
    /// In the load manager's own directory, which is made if it is not there; and what the file says. A disk that gives
    /// nothing is an alarm and no more: the nodes tell which keys stand, and calls need no disk.
    pub fn open(directory: &Path) -> (RotationFile, Option<Rotation>) {
        let file = RotationFile { path: directory.join("keys.json") };
        let made = fs::create_dir_all(directory);
        let read = made.and_then(|()| whole_file::read_json(&file.path)).unwrap_or_else(|error| {
            tracing::error!(path = %file.path.display(), %error, "ALARM: which keys stand is asked of the nodes");
            None
        });
        (file, read)
    }

    /// Returns when it is on disk.
    pub fn write(&self, rotation: &Rotation) -> Result<(), NotKept> {
        let text = serde_json::to_string(rotation).map_err(io::Error::from);
        let written = text.and_then(|text| whole_file::replace(&self.path, &format!("{text}\n")));
        written.map_err(|source| NotKept { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::keys::Use;
    use common::time::WallMillis;

    /// A directory of the test's own, which is not there yet.
    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("siprack-rotation-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn the_next_process_finds_what_was_written() {
        let data = directory("kept");
        let path = data.join("lm-server-1");
        let (file, none) = RotationFile::open(&path);
        assert_eq!(none, None);
        let mut rotation = Rotation::default();
        rotation.turn(Use::Nonce, false, WallMillis(1_750_000_000_000)).unwrap();
        file.write(&rotation).unwrap();
        assert_eq!(RotationFile::open(&path).1, Some(rotation));
        fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn a_damaged_file_is_none() {
        let path = directory("damaged");
        fs::create_dir_all(&path).unwrap();
        let texts: [&[u8]; 4] = [b"", b"{}", b"{\"token\":[],\"nonce\":[],\"plane\":[]}", b"\xFF\xFE"];
        for damaged in texts {
            fs::write(path.join("keys.json"), damaged).unwrap();
            assert_eq!(RotationFile::open(&path).1, None, "{damaged:?}");
        }
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_disk_that_refuses_is_named_and_the_file_stays() {
        let path = directory("refused");
        let (file, rotation) = (RotationFile::open(&path).0, Rotation::default());
        file.write(&rotation).unwrap();
        let mut turned = rotation.clone();
        turned.turn(Use::Plane, false, WallMillis(5)).unwrap();
        // A directory in the way: not even root can write over it.
        fs::create_dir(path.join("keys.json.new")).unwrap();
        let refusal = file.write(&turned).unwrap_err().to_string();
        assert!(refusal.starts_with(&format!("cannot write {}: ", path.join("keys.json").display())), "{refusal}");
        assert_eq!(RotationFile::open(&path).1, Some(rotation));
        fs::remove_dir_all(&path).unwrap();
        fs::write(&path, "a file").unwrap();
        assert_eq!(RotationFile::open(&path).1, None, "and the load manager starts");
        fs::remove_file(path).unwrap();
    }
}
