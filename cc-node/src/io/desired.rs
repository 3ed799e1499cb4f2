//! What the operator wants of this node, kept on disk so that a new process still knows it: that it takes no new calls.
//! The wish is a file of the node's state directory: `draining` is there, or it is not. `io::mod` reads it at the start,
//! `admin` changes it.

use common::ids::NodeId;
use common::io::whole_file;
use std::io;
use std::path::{Path, PathBuf};

pub struct Desired {
    node: NodeId,
    directory: PathBuf,
}

/// The disk did not take a wish; the one before still counts.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {path}: {source}; the node goes on as it was", path = path.display())]
pub struct NotKept {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Desired {
    /// `directory`: the node's own, which exists.
    pub fn of(node: NodeId, directory: &Path) -> Desired {
        Desired { node, directory: directory.to_path_buf() }
    }

    /// # Errors
    /// The directory cannot be looked into.
    pub fn is_draining(&self) -> io::Result<bool> {
        self.file().try_exists()
    }

    /// Returns when the wish is on disk. Wishing the same again changes nothing.
    pub fn set_draining(&self, wanted: bool) -> Result<(), NotKept> {
        let kept = self.is_draining().and_then(|now| match (now, wanted) {
            (true, true) | (false, false) => Ok(()),
            // Half done is undone, as far as this disk still does anything.
            (false, true) => self.write().inspect_err(|_| drop(self.remove())),
            (true, false) => self.remove().inspect_err(|_| drop(self.write())),
        });
        let what = if wanted { "write" } else { "remove" };
        kept.map_err(|source| NotKept { what, path: self.file(), source })
    }

    fn file(&self) -> PathBuf {
        self.directory.join("draining")
    }

    fn write(&self) -> io::Result<()> {
        let node = self.node;
        let text = format!("cc-node {node} is drained: it takes no new calls, until `siprack undrain {node}`.\n");
        whole_file::replace(&self.file(), &text)
    }

    fn remove(&self) -> io::Result<()> {
        whole_file::remove(&self.file())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    /// An empty directory of the test's own.
    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("siprack-desired-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn a_wish_is_still_there_for_the_next_process() {
        let path = directory("kept");
        let open = || Desired::of(NodeId(2), &path);
        assert!(!open().is_draining().unwrap());
        for wanted in [true, true, false, false] {
            open().set_draining(wanted).unwrap();
            assert_eq!(open().is_draining().unwrap(), wanted);
            let left: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(left.len(), usize::from(wanted), "{left:?}");
        }
        open().set_draining(true).unwrap();
        let text = fs::read_to_string(path.join("draining")).unwrap();
        assert!(text.contains("siprack undrain 2") && text.lines().count() == 1, "{text}");
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_disk_that_refuses_is_named_and_nothing_changes() {
        let path = directory("refused");
        let desired = Desired::of(NodeId(2), &path);
        // A directory in the way: not even root can write over it.
        fs::create_dir(path.join("draining.new")).unwrap();
        let refusal = desired.set_draining(true).unwrap_err().to_string();
        let file = path.join("draining").display().to_string();
        assert!(refusal.starts_with(&format!("cannot write {file}: ")), "{refusal}");
        assert!(!desired.is_draining().unwrap());
        fs::remove_dir(path.join("draining.new")).unwrap();
        fs::create_dir(path.join("draining")).unwrap();
        let refusal = desired.set_draining(false).unwrap_err().to_string();
        assert!(refusal.starts_with(&format!("cannot remove {file}: ")), "{refusal}");
        assert!(desired.is_draining().unwrap());
        fs::remove_dir_all(path).unwrap();
    }
}
