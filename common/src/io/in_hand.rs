//! What each worker of a process has in hand, in memory that outlives the process: a number a worker, 0 for nothing. The
//! agent makes it and passes it to its child (`fds`); when that dies over a message, the next one finds the number there.
//!
//! The memory has no file: a store never waits for a disk.
#![allow(unsafe_code)] // libc's mmap; the mapping is as long as the memory behind it, which is sealed against shrinking

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

/// On a cache line of its own, so that workers do not slow each other down.
#[repr(C, align(64))]
struct Slot(AtomicU64);

/// More workers than a node can have are somebody else's memory.
const MOST: usize = 1 << 16;

pub struct InHand {
    slots: NonNull<Slot>,
    count: usize,
    memory: OwnedFd,
}

// SAFETY: the slots are atomics; the mapping stays where it is until `drop`.
unsafe impl Send for InHand {}
// SAFETY: as above.
unsafe impl Sync for InHand {}

impl InHand {
    /// Of a process with so many workers that have nothing in hand.
    ///
    /// # Errors
    /// The system has no memory or descriptors left.
    pub fn create(workers: usize) -> io::Result<InHand> {
        let memory = memfd_create("siprack-in-hand", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&memory, octets(workers.min(MOST)) as u64)?;
        fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW)?;
        let created = InHand::open(memory)?;
        // Touched, so that the memory is there when a worker wants it.
        created.clear();
        Ok(created)
    }

    /// What a parent has created and passed on.
    ///
    /// # Errors
    /// It is something else.
    pub fn open(memory: OwnedFd) -> io::Result<InHand> {
        let length = fstat(&memory)?.st_size as usize;
        if !fcntl_get_seals(&memory)?.contains(SealFlags::SHRINK) || length == 0 || length > octets(MOST) {
            return Err(io::Error::other("this is no memory for what workers have in hand"));
        }
        // SAFETY: a new mapping at an address that the kernel chooses, of a descriptor that is open.
        let at = unsafe {
            let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
            libc::mmap(std::ptr::null_mut(), length, access, kind, memory.as_raw_fd(), 0)
        };
        let slots = NonNull::new(at.cast::<Slot>()).filter(|_| at != libc::MAP_FAILED);
        let slots = slots.ok_or_else(io::Error::last_os_error)?;
        Ok(InHand { slots, count: length / size_of::<Slot>(), memory })
    }

    /// To be passed to a child.
    pub fn memory(&self) -> &OwnedFd {
        &self.memory
    }

    pub fn workers(&self) -> usize {
        self.count
    }

    /// This worker begins with it. Two stores a message is all that this costs.
    #[inline]
    pub fn take(&self, worker: usize, number: u64) {
        if let Some(slot) = self.slots().get(worker) {
            slot.0.store(number, Ordering::Relaxed);
            // Whatever this thread dies of comes behind the store.
            compiler_fence(Ordering::SeqCst);
        }
    }

    /// This worker is done with it.
    #[inline]
    pub fn put_down(&self, worker: usize) {
        if let Some(slot) = self.slots().get(worker) {
            slot.0.store(0, Ordering::Release);
        }
    }

    /// What the workers have in hand.
    pub fn all(&self) -> Vec<u64> {
        self.slots().iter().map(|slot| slot.0.load(Ordering::Acquire)).filter(|number| *number != 0).collect()
    }

    pub fn clear(&self) {
        (0..self.count).for_each(|worker| self.put_down(worker));
    }

    fn slots(&self) -> &[Slot] {
        // SAFETY: so many slots are mapped and aligned (a mapping begins at a page), any content is a number, and the
        // memory behind them cannot shrink.
        unsafe { std::slice::from_raw_parts(self.slots.as_ptr(), self.count) }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        // SAFETY: mapped by `open` with this length; nobody has a reference any more.
        unsafe { libc::munmap(self.slots.as_ptr().cast(), octets(self.count)) };
    }
}

fn octets(workers: usize) -> usize {
    workers.max(1) * size_of::<Slot>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn what_one_side_takes_the_other_sees_and_longer_than_the_other_lives() {
        let agents = InHand::create(3).expect("memory");
        let childs = InHand::open(agents.memory().try_clone().expect("a descriptor")).expect("the same");
        assert_eq!((childs.workers(), childs.all()), (3, vec![]));
        childs.take(0, 7);
        childs.take(2, u64::MAX);
        childs.take(3, 9);
        childs.put_down(0);
        drop(childs);
        assert_eq!(agents.all(), [u64::MAX]);
        agents.clear();
        assert!(agents.all().is_empty());
    }

    #[test]
    fn a_child_that_aborts_leaves_it() {
        let agents = InHand::create(1).expect("memory");
        let memory = agents.memory().try_clone().expect("a descriptor");
        // Another process, with nothing but the descriptor, which is its standard output.
        let script = "printf '\\001\\002\\003\\004\\005\\006\\007\\010'; kill -ABRT $$";
        let ended = Command::new("sh").args(["-c", script]).stdout(Stdio::from(memory)).status().expect("a shell");
        assert_eq!((ended.code(), agents.all()), (None, vec![u64::from_ne_bytes([1, 2, 3, 4, 5, 6, 7, 8])]));
    }

    #[test]
    fn other_memory_is_refused() {
        let file = std::fs::File::open("/dev/null").expect("a file");
        assert!(InHand::open(file.into()).is_err());
        let plain = memfd_create("plain", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("memory");
        ftruncate(&plain, 64).expect("room");
        assert!(InHand::open(plain).is_err(), "it could shrink under us");
    }
}
