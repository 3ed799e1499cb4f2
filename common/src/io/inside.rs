//! Messages between the load manager and the nodes, each behind its PROXY header, many in one send. What waits for one
//! worker leaves as one large datagram that the kernel or the card cuts into segments of one length (`UDP_SEGMENT`), and
//! is handed over uncut where the receiver asked for that (`UDP_GRO`). A shorter message is brought to the length by a
//! NOOP in its PROXY header; the message itself stays as it is. A kernel, a card or an MTU that cannot do it shows by a
//! refusal: what was refused, and all that comes later, leaves one by one.
#![allow(unsafe_code)] // libc's sendmmsg; every pointer points into buffers that the same struct owns

use super::udp::{BATCH, Flushed, Header, Part, send_all};
use crate::keys::KeyRing;
use crate::wire::proxy;
use socket2::SockAddr;
use std::io;
use std::mem;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;

/// The kernel's limit of segments a send.
const SEGMENTS: usize = 64;
/// Octets a send, all segments together: below the payload of the largest datagram.
const TOGETHER: usize = 65_000;
/// A longer one leaves alone: a segment must fit into one packet of an ordinary network.
const SEGMENT: usize = 1_452;

struct Waiting {
    to: SocketAddr,
    /// In `octets`: the header, the message, the Call-ID once more.
    start: usize,
    head: usize,
    message: usize,
    call_id: usize,
    /// The longer header in `heads`.
    padded: Option<Range<usize>>,
}

impl Waiting {
    fn length(&self) -> usize {
        self.head + self.message
    }
}

/// Of `waiting`, those that leave in one send.
struct Run {
    which: Range<usize>,
    segment: usize,
    to: SockAddr,
}

/// The control message with the length of a segment.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    segment: u16,
}

impl Control {
    fn new(segment: usize) -> Control {
        // SAFETY: all zeros is a valid cmsghdr.
        let mut header: libc::cmsghdr = unsafe { mem::zeroed() };
        // SAFETY: arithmetic only.
        header.cmsg_len = unsafe { libc::CMSG_LEN(mem::size_of::<u16>() as libc::c_uint) } as _;
        header.cmsg_level = libc::SOL_UDP;
        header.cmsg_type = libc::UDP_SEGMENT;
        // `SEGMENT` is far below.
        Control { header, segment: segment as u16 }
    }
}

/// Messages that leave together. Their octets are copied once, into an arena that is kept.
pub struct InsideBatch {
    octets: Vec<u8>,
    waiting: Vec<Waiting>,
    heads: Vec<u8>,
    runs: Vec<Run>,
    parts: Vec<Part>,
    controls: Vec<Control>,
    headers: Vec<Header>,
    /// Nobody has refused it yet.
    segmenting: bool,
}

// SAFETY: `Control` is plain numbers; the pointers of the others are used only while this is borrowed for a system call.
unsafe impl Send for InsideBatch {}

impl Default for InsideBatch {
    fn default() -> Self {
        InsideBatch::new()
    }
}

impl InsideBatch {
    pub fn new() -> InsideBatch {
        InsideBatch {
            octets: Vec::with_capacity(BATCH * 2048),
            waiting: Vec::with_capacity(BATCH),
            heads: Vec::with_capacity(BATCH * 512),
            runs: Vec::with_capacity(BATCH),
            parts: Vec::with_capacity(2 * BATCH),
            controls: Vec::with_capacity(BATCH),
            headers: Vec::with_capacity(BATCH),
            segmenting: true,
        }
    }

    /// One datagram a send from now on.
    pub fn one_by_one(mut self) -> InsideBatch {
        self.segmenting = false;
        self
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Time to [`InsideBatch::flush`]; one that goes on filling it grows it.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= BATCH
    }

    /// One message behind `head`, as [`proxy::ProxyHeader::write`] wrote it for this Call-ID.
    pub fn push(&mut self, to: SocketAddr, head: &[u8], call_id: &[u8], message: &[u8]) {
        let start = self.octets.len();
        [head, message, call_id].iter().for_each(|part| self.octets.extend_from_slice(part));
        let (head, message, call_id) = (head.len(), message.len(), call_id.len());
        self.waiting.push(Waiting { to, start, head, message, call_id, padded: None });
    }

    /// Sends everything, to each worker in the order of the pushes; the batch is empty afterwards. `keys` are the ones
    /// that the headers were written by.
    pub fn flush(&mut self, socket: &UdpSocket, keys: &KeyRing<[u8; 32]>) -> Flushed {
        if self.waiting.windows(2).any(|two| two[0].to != two[1].to) {
            self.waiting.sort_unstable_by_key(|w| (w.to, w.start));
        }
        self.cut();
        self.pad(keys);
        let mut flushed = Flushed::default();
        let mut refused = self.send(socket, &mut flushed);
        if !refused.is_empty() {
            self.segmenting = false;
            let alone = |run: &Run| run.which.clone().map(|at| (at..at + 1, run.to.clone())).collect::<Vec<_>>();
            let again = refused.drain(..).flat_map(|at| alone(&self.runs[at]));
            self.runs = again.map(|(which, to)| Run { which, segment: 0, to }).collect();
            self.send(socket, &mut flushed);
        }
        self.discard();
        flushed
    }

    /// Forgets what was pushed, unsent; how many that were.
    pub fn discard(&mut self) -> usize {
        let count = self.waiting.len();
        self.octets.clear();
        self.waiting.clear();
        self.heads.clear();
        count
    }

    fn cut(&mut self) {
        self.runs.clear();
        let mut at = 0;
        while let Some(rest) = self.waiting.get(at..).filter(|rest| !rest.is_empty()) {
            let run = run(rest, self.segmenting);
            self.runs.push(Run { which: at..at + run.0, segment: run.1, to: rest[0].to.into() });
            at += run.0;
        }
    }

    /// Brings all but the last of each run to its length.
    fn pad(&mut self, keys: &KeyRing<[u8; 32]>) {
        let (key_id, key) = keys.current();
        for run in self.runs.iter().filter(|run| run.which.len() > 1) {
            for waiting in &mut self.waiting[run.which.start..run.which.end - 1] {
                let extra = run.segment - waiting.length();
                if extra > 0 {
                    let head = &self.octets[waiting.start..waiting.start + waiting.head];
                    let behind = waiting.start + waiting.length();
                    let call_id = &self.octets[behind..behind + waiting.call_id];
                    let start = self.heads.len();
                    proxy::pad(head, extra, key, key_id, call_id, &mut self.heads);
                    waiting.padded = Some(start..self.heads.len());
                }
            }
        }
    }

    /// Sends the runs; those that were refused for being several.
    fn send(&mut self, socket: &UdpSocket, flushed: &mut Flushed) -> Vec<usize> {
        self.point();
        let (runs, mut refused) = (&self.runs, Vec::new());
        send_all(socket, &mut self.headers, |at, outcome| {
            let count = runs[at].which.len();
            match outcome {
                Ok(()) => flushed.sent += count,
                Err(error) if count > 1 && is_refusal(&error) => refused.push(at),
                Err(_) => flushed.failed += count,
            }
        });
        self.headers.clear();
        refused
    }

    fn point(&mut self) {
        self.parts.clear();
        self.controls.clear();
        let mut part = |octets: &[u8]| {
            self.parts.push(Part(libc::iovec { iov_base: octets.as_ptr().cast_mut().cast(), iov_len: octets.len() }));
        };
        for waiting in self.runs.iter().flat_map(|run| &self.waiting[run.which.clone()]) {
            let behind = waiting.start + waiting.length();
            match &waiting.padded {
                Some(padded) => {
                    part(&self.heads[padded.clone()]);
                    part(&self.octets[waiting.start + waiting.head..behind]);
                }
                None => part(&self.octets[waiting.start..behind]),
            }
        }
        self.controls.extend(self.runs.iter().map(|run| Control::new(run.segment)));
        let mut at = 0;
        for (run, control) in self.runs.iter().zip(&mut self.controls) {
            // SAFETY: all zeros is a valid mmsghdr.
            let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
            let parts: usize =
                self.waiting[run.which.clone()].iter().map(|w| 1 + usize::from(w.padded.is_some())).sum();
            header.msg_hdr.msg_name = run.to.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = run.to.len();
            header.msg_hdr.msg_iov = (&raw mut self.parts[at]).cast();
            header.msg_hdr.msg_iovlen = parts as _;
            if run.which.len() > 1 {
                header.msg_hdr.msg_control = (&raw mut *control).cast();
                header.msg_hdr.msg_controllen = mem::size_of::<Control>() as _;
            }
            at += parts;
            self.headers.push(Header(header));
        }
    }
}

/// How many of these, which begin with the next to leave, leave together, and the length of a segment.
fn run(rest: &[Waiting], segmenting: bool) -> (usize, usize) {
    let (to, mut longest) = (rest[0].to, rest[0].length());
    let mut count = 1;
    if !segmenting || longest + proxy::NOOP > SEGMENT {
        return (count, longest);
    }
    for next in rest[1..].iter().take(SEGMENTS - 1).take_while(|next| next.to == to) {
        // Whatever is too short by less than a NOOP takes makes the segments longer by one.
        let larger = longest.max(next.length());
        if larger + proxy::NOOP > SEGMENT || (count + 1) * (larger + proxy::NOOP) > TOGETHER {
            break;
        }
        longest = larger;
        count += 1;
    }
    let short = |w: &Waiting| (1..proxy::NOOP).contains(&(longest - w.length()));
    (count, longest + if rest[..count - 1].iter().any(short) { proxy::NOOP } else { 0 })
}

/// The kernel does not know the control message, or the way out cannot carry it.
fn is_refusal(error: &io::Error) -> bool {
    let number = error.raw_os_error();
    matches!(number, Some(libc::EINVAL | libc::EIO | libc::EMSGSIZE | libc::ENOPROTOOPT | libc::EOPNOTSUPP))
}

#[cfg(test)]
#[path = "inside_tests.rs"]
mod tests;
