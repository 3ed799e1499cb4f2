//! The agent's state directory: held by one agent at a time, bound to one rack and key, with the secrets that only this
//! user may read. Layout: `lock`, `identity.json`, `rack.key`, `api.token`, `boot.counter`, `run/`, `log/`, and what the
//! services keep.

use crate::failure::{Failure, exit};
use crate::identity::Identity;
use common::config::Rack;
use common::ids::BootId;
use common::io::whole_file;
use common::keys::RackKey;
use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long an agent that is gone may still hold the directory.
const LINGER: Duration = Duration::from_millis(500);

pub struct StateDirectory {
    path: PathBuf,
    /// Held as long as the agent lives; the kernel lets go when it dies.
    _lock: File,
}

impl StateDirectory {
    /// Makes the directory if needed, takes it for this process, and checks that it is this rack's.
    pub fn open(path: &Path, rack: &Rack) -> Result<StateDirectory, Failure> {
        make_private(path)?;
        let directory = StateDirectory { _lock: lock(path)?, path: path.to_path_buf() };
        for folder in ["run", "log"] {
            make_private(&directory.path.join(folder))?;
        }
        directory.bind(rack)?;
        directory.secret("api.token", || random_hex(32))?;
        Ok(directory)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn log_of(&self, service: &str) -> PathBuf {
        self.path.join("log").join(format!("{service}.log"))
    }

    /// The file in which services find the rack key, unless it stands in the rack file itself.
    pub fn key_file(&self, rack: &Rack) -> PathBuf {
        rack.key_file.clone().unwrap_or_else(|| self.path.join("rack.key"))
    }

    /// The rack key: from the rack file, its `key_file`, or `rack.key`.
    pub fn key(&self, rack: &Rack) -> Result<RackKey, Failure> {
        read_key(rack, &self.key_file(rack))
    }

    /// A new incarnation's number: higher than any before, on disk before it is used.
    pub fn draw_boot_id(&self) -> Result<BootId, Failure> {
        let file = self.path.join("boot.counter");
        let before = match std::fs::read_to_string(&file) {
            Ok(text) => text.trim().parse::<u64>().map_err(|_| {
                let what =
                    format!("{} does not hold a number; write one above every boot id used so far", file.display());
                Failure::new(exit::CONFIG, what)
            })?,
            Err(e) if e.kind() == ErrorKind::NotFound => 0,
            Err(e) => return Err(cannot(&file, &e)),
        };
        // The wall clock is only a floor, so that a directory that was made anew does not repeat an old incarnation.
        let floor = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        let boot = before.saturating_add(1).max(floor);
        self.write_private("boot.counter", &boot.to_string())?;
        Ok(BootId(boot))
    }

    /// Replaces a file as a whole: after a crash it is the old one or the new one. Mode 0600.
    pub fn write_private(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let target = self.path.join(name);
        whole_file::replace(&target, text).map_err(|e| cannot(&target, &e))?;
        Ok(target)
    }

    fn bind(&self, rack: &Rack) -> Result<(), Failure> {
        let name = "identity.json";
        let found = match std::fs::read_to_string(self.path.join(name)) {
            Ok(text) => Some(serde_json::from_str::<Identity>(&text).map_err(|e| {
                let what = format!(
                    "{} is damaged ({e}); restore it, or use another directory (--data DIR)",
                    self.path.join(name).display()
                );
                Failure::new(exit::CONFIG, what)
            })?),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(cannot(&self.path.join(name), &e)),
        };
        // Another rack's directory is said to be that, before its missing key is.
        if let Some(found) = &found
            && found.rack != rack.name
        {
            return self.same(found, &Identity { rack: rack.name.clone(), key_fingerprint: String::new() });
        }
        if rack.key.is_none() && rack.key_file.is_none() {
            let key = self.path.join("rack.key");
            if found.is_some() && !key.exists() {
                let what = format!(
                    "{} is gone; restore it: without it the records here cannot be read. Or use another directory (--data DIR)",
                    key.display()
                );
                return Err(Failure::new(exit::CONFIG, what));
            }
            self.secret("rack.key", || random_hex(32))?;
        }
        let wanted = Identity { rack: rack.name.clone(), key_fingerprint: self.key(rack)?.fingerprint() };
        match found {
            Some(found) => self.same(&found, &wanted),
            None => {
                let text = serde_json::to_string(&wanted).unwrap_or_default();
                self.write_private(name, &text).map(drop)
            }
        }
    }

    fn same(&self, found: &Identity, wanted: &Identity) -> Result<(), Failure> {
        match found.conflict(wanted, &self.path.display().to_string()) {
            Some(conflict) => Err(Failure::new(exit::CONFIG, conflict)),
            None => Ok(()),
        }
    }

    /// A secret file, made once; others lose the right to read it.
    fn secret(&self, name: &str, make: impl Fn() -> Result<String, Failure>) -> Result<(), Failure> {
        let path = self.path.join(name);
        if !path.exists() {
            self.write_private(name, &format!("{}\n", make()?))?;
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(|e| cannot(&path, &e))
    }
}

/// Also used by `serve`.
fn read_key(rack: &Rack, file: &Path) -> Result<RackKey, Failure> {
    let (text, place) = match &rack.key {
        Some(key) => (key.clone(), "`key` of the rack file".to_string()),
        None => {
            let text = std::fs::read_to_string(file)
                .map_err(|e| Failure::new(exit::CONFIG, format!("cannot read the rack key {}: {e}", file.display())))?;
            (text, file.display().to_string())
        }
    };
    RackKey::parse(&text)
        .map_err(|e| Failure::new(exit::CONFIG, format!("{place}: {e}; `openssl rand -hex 32` makes one")))
}

fn make_private(path: &Path) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| cannot(path, &e))
}

fn lock(path: &Path) -> Result<File, Failure> {
    let name = path.join("lock");
    let mut options = OpenOptions::new();
    let opened = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&name);
    let mut file = opened.map_err(|e| cannot(&name, &e))?;
    let began = Instant::now();
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        // An agent that was just killed lets go a moment later.
        if began.elapsed() < LINGER {
            std::thread::sleep(LINGER / 10);
            continue;
        }
        let mut holder = String::new();
        // Without the holder's number the message is still right.
        let _ = file.read_to_string(&mut holder);
        let holder = holder.trim();
        let message = format!(
            "{} is in use by another `siprack up` (process {holder}); stop that one (kill {holder}), or give this one its own --data DIR",
            path.display()
        );
        return Err(Failure::new(exit::IN_USE, message));
    }
    let write = |file: &mut File| -> std::io::Result<()> {
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(|e| cannot(&name, &e))?;
    Ok(file)
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    let cure = match error.kind() {
        ErrorKind::PermissionDenied => {
            "; give this user the right to write there, or use another directory (--data DIR)"
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "; a file stands where the state directory should be: use another one (--data DIR)"
        }
        ErrorKind::StorageFull => "; make room on that disk",
        _ => "; use another directory (--data DIR)",
    };
    Failure::new(exit::CANNOT_CREATE, format!("state directory: cannot use {}: {error}{cure}", path.display()))
}

fn random_hex(bytes: usize) -> Result<String, Failure> {
    let mut buffer = vec![0; bytes];
    getrandom::fill(&mut buffer)
        .map_err(|e| Failure::new(exit::CANNOT_CREATE, format!("no random numbers from the system: {e}")))?;
    Ok(buffer.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An empty directory that goes when the test ends.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("siprack-test-{}-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn open(path: &Path, rack: &Rack) -> Result<StateDirectory, Failure> {
        StateDirectory::open(path, rack)
    }

    fn refused(path: &Path, rack: &Rack) -> Failure {
        open(path, rack).err().expect("it must be refused")
    }

    #[test]
    fn secrets_are_for_this_user_only_and_stay() {
        let scratch = Scratch::new("secrets");
        let rack = Rack::one_machine_default(3);
        let key = open(&scratch.0, &rack).and_then(|d| d.key(&rack)).expect("made").fingerprint();
        for name in ["rack.key", "api.token", "identity.json"] {
            let mode = std::fs::metadata(scratch.0.join(name)).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert_eq!(open(&scratch.0, &rack).and_then(|d| d.key(&rack)).expect("opened").fingerprint(), key);
    }

    #[test]
    fn one_agent_at_a_time() {
        let scratch = Scratch::new("lock");
        let rack = Rack::one_machine_default(3);
        let _first = open(&scratch.0, &rack).expect("free");
        let failure = refused(&scratch.0, &rack);
        assert_eq!(failure.code, exit::IN_USE);
        assert!(failure.message.contains(&format!("process {}", std::process::id())), "{failure}");
    }

    #[test]
    fn another_rack_or_another_key_is_refused() {
        let scratch = Scratch::new("identity");
        let mut rack = Rack::one_machine_default(3);
        drop(open(&scratch.0, &rack).expect("made"));
        rack.name = "other".into();
        let failure = refused(&scratch.0, &rack);
        assert_eq!(failure.code, exit::CONFIG);
        assert!(failure.message.contains("belongs to rack `demo`, not to `other`"), "{failure}");
        rack.name = "demo".into();
        rack.key = Some("ab".repeat(32));
        assert!(refused(&scratch.0, &rack).message.contains("was made with the rack key"));
        rack.key = None;
        std::fs::write(scratch.0.join("rack.key"), "tooshort").expect("written");
        assert!(refused(&scratch.0, &rack).message.contains("64 hex digits"));
        std::fs::remove_file(scratch.0.join("rack.key")).expect("removed");
        assert!(refused(&scratch.0, &rack).message.contains("rack.key is gone"));
    }

    #[test]
    fn boot_ids_grow_over_restarts_of_the_agent() {
        let scratch = Scratch::new("boot");
        let rack = Rack::one_machine_default(3);
        let mut drawn = Vec::new();
        for _ in 0..3 {
            let directory = open(&scratch.0, &rack).expect("free again");
            drawn.extend([directory.draw_boot_id().expect("drawn"), directory.draw_boot_id().expect("drawn")]);
        }
        assert!(drawn.is_sorted_by(|a, b| a < b), "{drawn:?}");
        std::fs::write(scratch.0.join("boot.counter"), u64::from(u32::MAX).pow(2).to_string()).expect("written");
        let directory = open(&scratch.0, &rack).expect("free again");
        assert_eq!(directory.draw_boot_id().expect("drawn").0, u64::from(u32::MAX).pow(2) + 1, "above the wall clock");
    }

    #[test]
    fn a_file_in_its_place_is_said() {
        let scratch = Scratch::new("file");
        std::fs::write(&scratch.0, "x").expect("written");
        let failure = refused(&scratch.0, &Rack::one_machine_default(3));
        assert_eq!(failure.code, exit::CANNOT_CREATE);
        assert!(failure.message.contains("--data DIR"), "{failure}");
        let _ = std::fs::remove_file(&scratch.0);
    }
}
