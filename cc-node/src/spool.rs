//! Lines on their way to a file of which none may be lost: what waits, what is written, what is durable, and what becomes
//! of it all when the disk is full or fails. The disk is whoever implements [`Disk`]; `io::cdr` drives it on a thread.
//!
//! A line is confirmed when a sync has succeeded behind it, and only then forgotten. A sync that has failed is never tried
//! again on the same file: the kernel may have dropped what it could not write, and a second sync would succeed without it.
//! The file is set aside, and what was not confirmed is written into a new one. So a line may stand in two files, but is
//! missing in none: each has an id, by which its reader counts it once.

use common::time::{Duration, Time};
use std::collections::VecDeque;
use std::io;

/// After trouble the disk is asked again so much later, and then twice as late each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Room that is kept when nothing waits.
const KEPT_ROOM: usize = 64 * 1024;

/// A file that lines are appended to.
pub trait Disk {
    /// Opens the file, makes it if there is none, and cuts off what stands behind its last whole line.
    ///
    /// # Errors
    /// It cannot be opened, or made so that it is found again.
    fn open(&mut self) -> io::Result<()>;

    /// Whether the open file still has its name: somebody may have renamed or removed it.
    fn is_in_place(&self) -> bool;

    /// Appends as much as goes; how much that was.
    ///
    /// # Errors
    /// Nothing was appended.
    fn write(&mut self, octets: &[u8]) -> io::Result<usize>;

    /// What was written is durable if this succeeds.
    ///
    /// # Errors
    /// What of it is, nobody knows.
    fn sync(&mut self) -> io::Result<()>;

    /// Gives the open file another name, for good. What was written since the last sync may be cut off.
    ///
    /// # Errors
    /// It has its name still.
    fn set_aside(&mut self) -> io::Result<()>;
}

/// What the disk did not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Open,
    /// There is no room.
    Full,
    Write,
    Sync,
    SetAside,
}

impl At {
    pub const ALL: [At; 5] = [At::Open, At::Full, At::Write, At::Sync, At::SetAside];

    pub fn label(self) -> &'static str {
        match self {
            At::Open => "open",
            At::Full => "full",
            At::Write => "write",
            At::Sync => "sync",
            At::SetAside => "set_aside",
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", at.label())]
pub struct Trouble {
    pub at: At,
    pub error: io::Error,
}

impl Trouble {
    fn at(at: At) -> impl Fn(io::Error) -> Trouble {
        move |error| Trouble { at, error }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// To be opened.
    Closed,
    Open,
    /// To be set aside.
    Doubtful,
}

/// `T` names a line to who is told that it is durable.
pub struct Spool<T> {
    /// The lines that are not confirmed, oldest first.
    octets: Vec<u8>,
    /// How long each is.
    lines: VecDeque<(usize, T)>,
    /// So many of the octets stand in the file.
    written: usize,
    file: Condition,
    /// No lines are to be taken beyond so many octets.
    most: usize,
    retry_at: Option<Time>,
    pause: Duration,
}

impl<T> Spool<T> {
    pub fn new(most: usize) -> Spool<T> {
        Spool {
            octets: Vec::new(),
            lines: VecDeque::new(),
            written: 0,
            file: Condition::Closed,
            most,
            retry_at: None,
            pause: FIRST_PAUSE,
        }
    }

    /// `line` has no line break in it and none behind it.
    pub fn push(&mut self, line: &[u8], name: T) {
        self.octets.extend_from_slice(line);
        self.octets.push(b'\n');
        self.lines.push_back((line.len() + 1, name));
    }

    pub fn is_full(&self) -> bool {
        self.octets.len() >= self.most
    }

    /// Lines that are not confirmed.
    pub fn waiting(&self) -> usize {
        self.lines.len()
    }

    /// When [`Spool::work`] has something to do; `None`: nothing waits.
    pub fn next_due(&self) -> Option<Time> {
        if self.lines.is_empty() { None } else { Some(self.retry_at.unwrap_or_default()) }
    }

    /// The disk is asked again now, whatever it has said before.
    pub fn hurry(&mut self) {
        self.retry_at = None;
    }

    /// The file is opened anew before the next line. What was not confirmed goes there.
    pub fn reopen(&mut self) {
        if self.file == Condition::Open {
            self.file = Condition::Closed;
        }
    }

    /// Writes what waits and makes it durable; the names of the lines that are it now come out at `confirmed`. After
    /// trouble nothing is done until [`Spool::next_due`].
    ///
    /// # Errors
    /// What the disk did not do. Whatever is not confirmed waits on.
    pub fn work(&mut self, now: Time, disk: &mut impl Disk, confirmed: &mut Vec<T>) -> Result<(), Trouble> {
        if self.next_due().is_none_or(|due| due > now) {
            return Ok(());
        }
        let done = self.attempt(disk, confirmed);
        match &done {
            Ok(()) => (self.retry_at, self.pause) = (None, FIRST_PAUSE),
            Err(_) => {
                self.retry_at = Some(now + self.pause);
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }
        }
        done
    }

    fn attempt(&mut self, disk: &mut impl Disk, confirmed: &mut Vec<T>) -> Result<(), Trouble> {
        if self.file == Condition::Doubtful {
            disk.set_aside().map_err(Trouble::at(At::SetAside))?;
            self.file = Condition::Closed;
        }
        if self.file == Condition::Open && !disk.is_in_place() {
            self.file = Condition::Closed;
        }
        if self.file == Condition::Closed {
            self.written = 0;
            disk.open().map_err(Trouble::at(At::Open))?;
            self.file = Condition::Open;
        }
        let all = self.write(disk);
        // On a full disk, too: whoever waits for the lines that went in need not wait for the others.
        if self.file == Condition::Open && self.lines.front().is_some_and(|(length, _)| self.written >= *length) {
            disk.sync().map_err(|error| {
                self.file = Condition::Doubtful;
                Trouble { at: At::Sync, error }
            })?;
            self.confirm(confirmed);
        }
        all
    }

    /// After an error what was not written follows from the very octet on, if the file is still good: no line is torn.
    fn write(&mut self, disk: &mut impl Disk) -> Result<(), Trouble> {
        while self.written < self.octets.len() {
            match disk.write(&self.octets[self.written..]) {
                Ok(0) => return Err(Trouble { at: At::Full, error: io::ErrorKind::WriteZero.into() }),
                Ok(n) => self.written += n,
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        return Err(Trouble { at: At::Full, error });
                    }
                    _ => {
                        self.file = Condition::Doubtful;
                        return Err(Trouble { at: At::Write, error });
                    }
                },
            }
        }
        Ok(())
    }

    /// Every line that stands in the file whole is durable. The beginning of one that does not stays.
    fn confirm(&mut self, confirmed: &mut Vec<T>) {
        let mut durable = 0;
        while let Some((length, name)) = self.lines.pop_front() {
            if durable + length > self.written {
                self.lines.push_front((length, name));
                break;
            }
            durable += length;
            confirmed.push(name);
        }
        self.octets.drain(..durable);
        self.written -= durable;
        if self.octets.is_empty() {
            self.octets.shrink_to(KEPT_ROOM);
        }
    }
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
