//! The message that each worker of a process has in hand, in memory that outlives the process. The agent makes it and passes it
//! to its child (`fds`); when that dies over a message, the next one finds it there.
//!
//! The memory has no file: a store never waits for a disk. A message is copied, since that is the cheapest that can be done to
//! all of it; who finds one may hash it.
#![allow(unsafe_code)] // libc's mmap; the mapping is as long as the memory behind it, which is sealed against shrinking

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

/// Octets of the longest message: one datagram's.
const ROOM: usize = 1 << 16;
const WORD: usize = size_of::<u64>();

/// A worker's: cache lines of its own, so that workers do not slow each other down.
#[repr(C, align(64))]
struct Slot {
    /// 0: nothing is in hand.
    length: AtomicU64,
    words: [AtomicU64; ROOM / WORD],
}

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

    /// This worker begins with a message.
    #[inline]
    pub fn take(&self, worker: usize, message: &[u8]) {
        let Some(slot) = self.slots().get(worker).filter(|_| message.len() <= ROOM) else { return };
        let (whole, rest) = message.as_chunks::<WORD>();
        let mut last = [0; WORD];
        last[..rest.len()].copy_from_slice(rest);
        for (word, octets) in slot.words.iter().zip(whole.iter().chain([&last])) {
            word.store(u64::from_ne_bytes(*octets), Ordering::Relaxed);
        }
        slot.length.store(message.len() as u64, Ordering::Release);
        // Whatever this thread dies of comes behind the stores.
        compiler_fence(Ordering::SeqCst);
    }

    /// This worker is done with it.
    #[inline]
    pub fn put_down(&self, worker: usize) {
        if let Some(slot) = self.slots().get(worker) {
            slot.length.store(0, Ordering::Release);
        }
    }

    /// What the workers have in hand.
    pub fn all(&self) -> Vec<Vec<u8>> {
        let held = self.slots().iter().filter_map(|slot| {
            let length =
                usize::try_from(slot.length.load(Ordering::Acquire)).ok().filter(|n| (1..=ROOM).contains(n))?;
            let words = slot.words[..length.div_ceil(WORD)].iter();
            let mut message: Vec<u8> = words.flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
            message.truncate(length);
            Some(message)
        });
        held.collect()
    }

    pub fn clear(&self) {
        (0..self.count).for_each(|worker| self.put_down(worker));
    }

    fn slots(&self) -> &[Slot] {
        // SAFETY: so many slots are mapped and aligned (a mapping begins at a page), any content is numbers, and the
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
        let longest = vec![b'x'; ROOM];
        childs.take(0, b"over");
        childs.take(1, b"INVITE sip:b@h SIP/2.0");
        childs.take(2, &longest);
        childs.take(3, b"there is no such worker");
        childs.put_down(0);
        drop(childs);
        assert_eq!(agents.all(), [b"INVITE sip:b@h SIP/2.0".to_vec(), longest]);
        agents.clear();
        assert!(agents.all().is_empty());
    }

    #[test]
    fn of_each_length_every_octet_is_kept() {
        let hand = InHand::create(1).expect("memory");
        let text: Vec<u8> = (0..100).collect();
        for length in (1..=100).rev().chain(1..=100) {
            hand.take(0, &text[..length]);
            assert_eq!(hand.all(), [&text[..length]]);
        }
        hand.put_down(0);
        hand.take(0, &vec![0; ROOM + 1]);
        assert!(hand.all().is_empty(), "no datagram is so long");
    }

    #[test]
    fn a_child_that_aborts_leaves_it() {
        let agents = InHand::create(1).expect("memory");
        let memory = agents.memory().try_clone().expect("a descriptor");
        // Another process, with nothing but the descriptor, which is its standard output.
        let length = 3_u64.to_ne_bytes().map(|octet| format!("\\{octet:03o}")).concat();
        let script = format!("printf '{length}BYE'; kill -ABRT $$");
        let ended = Command::new("sh").args(["-c", &script]).stdout(Stdio::from(memory)).status().expect("a shell");
        assert_eq!((ended.code(), agents.all()), (None, vec![b"BYE".to_vec()]));
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
