//! Waiting for several sockets at once, and waking a thread that waits.

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// "For ever" in a form that the kernel takes.
const LONGEST: Duration = Duration::from_secs(3600);

/// Waits until one of them can be read or `patience` is over (an hour at most); which can. `ready` is overwritten, one entry each.
pub fn readable(fds: &[BorrowedFd<'_>], patience: Duration, ready: &mut Vec<bool>) -> io::Result<()> {
    // Sockets of one thread: a handful, so this stays on the stack.
    let mut polled: smallvec::SmallVec<[PollFd<'_>; 8]> =
        fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let patience = patience.min(LONGEST);
    let patience = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) };
    ready.clear();
    match rustix::event::poll(&mut polled, Some(&patience)) {
        // An error on a socket (an ICMP answer, say) is read off it like a datagram.
        Ok(_) => ready.extend(polled.iter().map(|p| !p.revents().is_empty())),
        Err(rustix::io::Errno::INTR) => ready.extend(fds.iter().map(|_| false)),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Wakes a thread out of [`readable`].
#[derive(Clone)]
pub struct Waker(Arc<OwnedFd>);

/// What the thread waits on beside its sockets.
pub struct Wakeable(Arc<OwnedFd>);

/// A pair: clones of the waker may go to any thread.
pub fn waker() -> io::Result<(Waker, Wakeable)> {
    let fd = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
    Ok((Waker(fd.clone()), Wakeable(fd)))
}

impl Waker {
    pub fn wake(&self) {
        // Full means that it is awake already.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }
}

impl Wakeable {
    /// Takes the wake-ups so far.
    pub fn clear(&self) {
        let _ = rustix::io::read(&*self.0, &mut [0u8; 8]);
    }
}

impl AsFd for Wakeable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
