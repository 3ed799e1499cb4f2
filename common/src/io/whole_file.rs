//! Small files that a process must find again after whatever happened: each is there whole or not at all, and what was
//! answered with "done" is on disk. Used for the agent's secrets, a node's wish to be drained, the keys that stand.

use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// For the owner only: some of these files are secrets, and none is anybody else's business.
const MODE: u32 = 0o600;

/// Makes or replaces the file: after a crash it is the old one or the new one. Written as `<name>.new` beside it first.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = beside(path);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&beside)?;
    // What an earlier try left there may be of another mode.
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_directory(path)
}

/// What the file says; none if it is not there.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(text) => {
            let damaged = |e| io::Error::new(ErrorKind::InvalidData, format!("{} is damaged: {e}", path.display()));
            serde_json::from_slice(&text).map(Some).map_err(damaged)
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Removes the file, which is there.
pub fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync_directory(path)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".new");
    PathBuf::from(name)
}

/// What was made, renamed or removed in the file's directory stays so.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_is_the_old_one_or_the_new_one_and_private() {
        let directory = std::env::temp_dir().join(format!("siprack-whole-file-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("a.json");
        for text in ["a longer text\n", "short\n"] {
            replace(&file, text).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing is left beside it");
        // A directory in the way: not even root can write over it.
        fs::create_dir(directory.join("a.json.new")).unwrap();
        assert!(replace(&file, "third\n").is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "short\n");
        remove(&file).unwrap();
        assert!(!file.exists() && remove(&file).is_err());
        fs::remove_dir_all(directory).unwrap();
    }
}
