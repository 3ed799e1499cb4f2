//! Which keys stood when this process last heard of it, for the next one of the same service: a key that was turned away
//! from opens nothing in the moment of a start either. `<data>/<service>/keys.json`.

use super::whole_file;
use crate::keys::{Generations, Keys};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub struct KeysFile {
    path: PathBuf,
    says: Mutex<Option<Generations>>,
}

impl KeysFile {
    /// In a service's own directory, which exists. The keys turn as the file says; a new service has none. One that cannot be
    /// read is an alarm and no more: the load manager tells which keys stand.
    pub fn open(directory: &Path, keys: &Keys) -> KeysFile {
        let path = directory.join("keys.json");
        let says = whole_file::read_json::<Generations>(&path).unwrap_or_else(|error| {
            tracing::error!(path = %path.display(), %error, "ALARM: until the load manager has told, every key counts");
            None
        });
        says.iter().for_each(|says| keys.turn(says));
        KeysFile { path, says: Mutex::new(says) }
    }

    /// Writes what stands now, if the file says otherwise.
    pub fn keep(&self, now: Generations) -> io::Result<()> {
        let mut says = self.says.lock().unwrap_or_else(PoisonError::into_inner);
        if *says == Some(now) {
            return Ok(());
        }
        let text = serde_json::to_string(&now).map_err(io::Error::from)?;
        whole_file::replace(&self.path, &format!("{text}\n"))?;
        *says = Some(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::keys::{RackKey, Span, Use};
    use std::fs;

    fn keys() -> Keys {
        Keys::derive(&RackKey([3; 32]))
    }

    #[test]
    fn the_next_process_stands_where_the_last_one_did() {
        let directory = std::env::temp_dir().join(format!("siprack-keys-file-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        let first = keys();
        let file = KeysFile::open(&directory, &first);
        assert_eq!(first.told(), None);
        let mut stand = Generations::default();
        stand.set(Use::Plane, Span { oldest: 200, newest: 201 });
        file.keep(stand).unwrap();
        let next = keys();
        let file = KeysFile::open(&directory, &next);
        assert_eq!(next.told(), Some(stand));
        fs::remove_file(directory.join("keys.json")).unwrap();
        file.keep(stand).unwrap();
        assert!(!directory.join("keys.json").exists(), "nothing has changed");
        fs::write(directory.join("keys.json"), "{}").unwrap();
        let damaged = keys();
        KeysFile::open(&directory, &damaged);
        assert_eq!(damaged.told(), None, "it starts all the same");
        fs::remove_dir_all(directory).unwrap();
    }
}
