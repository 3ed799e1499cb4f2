//! Datagrams in batches: recvmmsg and sendmmsg, so that a system call is paid once for many. No allocation per datagram.
#![allow(unsafe_code)] // libc's mmsg calls; every pointer points into buffers that the same struct owns

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

/// Datagrams of one batch.
pub const BATCH: usize = 64;
/// The largest UDP payload.
pub const DATAGRAM: usize = 65_535;
/// What is asked of the kernel for each socket's receive buffer; it may give less.
pub const RECEIVE_BUFFER: usize = 8 << 20;

/// A bound, non-blocking socket. `shared`: several sockets of one process may have the address (SO_REUSEPORT).
pub fn bind(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    // Beyond the system's limit only root gets what it asks for; less is no failure.
    let wanted = RECEIVE_BUFFER as libc::c_int;
    // SAFETY: a plain setsockopt with an int that lives through the call.
    let forced = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const wanted).cast(),
            mem::size_of_val(&wanted) as libc::socklen_t,
        )
    };
    if forced != 0 {
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// One received datagram.
#[derive(Clone, Copy, Debug)]
pub struct Received<'b> {
    pub bytes: &'b [u8],
    pub from: SocketAddr,
    /// It was longer than the buffer; `bytes` is its beginning.
    pub truncated: bool,
}

/// Buffers for one batch of received datagrams.
pub struct Receiver {
    size: usize,
    // None of these five grows or shrinks once the first batch was asked for: the headers point into the others.
    buffers: Vec<u8>,
    addresses: Vec<libc::sockaddr_storage>,
    parts: Vec<Part>,
    controls: Vec<Control>,
    headers: Vec<Header>,
    /// Octets, whether that is not all, and octets of a segment.
    lengths: [(usize, bool, usize); BATCH],
    count: usize,
}

impl Default for Receiver {
    fn default() -> Self {
        Receiver::new()
    }
}

impl Receiver {
    /// For datagrams of any size.
    pub fn new() -> Receiver {
        Receiver::with_size(DATAGRAM)
    }

    /// For datagrams of at most `size` octets; longer ones are reported as truncated.
    pub fn with_size(size: usize) -> Receiver {
        // SAFETY: all zeros is a valid sockaddr_storage (family "unspecified").
        let empty: libc::sockaddr_storage = unsafe { mem::zeroed() };
        Receiver {
            size,
            buffers: vec![0; size * BATCH],
            addresses: vec![empty; BATCH],
            parts: Vec::new(),
            controls: Vec::new(),
            headers: Vec::new(),
            lengths: [(0, false, 0); BATCH],
            count: 0,
        }
    }

    /// Points a header at each buffer. Wherever the receiver moves, these stay, so this holds for good.
    fn point(&mut self) {
        let part =
            |buffer: &mut [u8]| Part(libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() });
        self.parts = self.buffers.chunks_exact_mut(self.size).map(part).collect();
        // SAFETY: all zeros is a valid cmsghdr.
        let control = || Control { header: unsafe { mem::zeroed() }, segment: 0 };
        self.controls = (0..BATCH).map(|_| control()).collect();
        let header = |((part, address), control): ((&mut Part, &mut libc::sockaddr_storage), &mut Control)| {
            // SAFETY: all zeros is a valid mmsghdr.
            let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
            header.msg_hdr.msg_name = (&raw mut *address).cast();
            header.msg_hdr.msg_iov = &raw mut part.0;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = (&raw mut *control).cast();
            Header(header)
        };
        let buffers = self.parts.iter_mut().zip(self.addresses.iter_mut());
        self.headers = buffers.zip(self.controls.iter_mut()).map(header).collect();
    }

    /// Takes what waits, at most [`BATCH`]; 0 if nothing does (non-blocking) or the kernel reports an earlier send's
    /// ICMP answer. A blocking socket waits for the first one.
    pub fn recv(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        if self.headers.is_empty() {
            self.point();
            self.count = BATCH;
        }
        // What the kernel has written into those of the last batch.
        for header in &mut self.headers[..self.count] {
            header.0.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.0.msg_hdr.msg_controllen = mem::size_of::<Control>() as _;
        }
        self.count = 0;
        // SAFETY: there are BATCH headers, which are mmsghdrs, each pointing into buffers of this receiver.
        let got = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr().cast(),
                BATCH as libc::c_uint,
                libc::MSG_WAITFORONE as _,
                std::ptr::null_mut(),
            )
        };
        if got < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused => Ok(0),
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Ok(0),
                // The kernel is short of memory for a moment; what waits is still there afterwards.
                _ if matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM)) => Ok(0),
                _ => Err(error),
            };
        }
        self.count = got as usize;
        let headers = self.headers[..self.count].iter().zip(&self.controls);
        for (length, (Header(header), control)) in self.lengths.iter_mut().zip(headers) {
            let whole = header.msg_len as usize;
            let segment = if header.msg_hdr.msg_controllen > 0 { control.segment() } else { None };
            *length = (whole, header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0, segment.unwrap_or(whole));
        }
        Ok(self.count)
    }

    /// The datagrams of the last [`Receiver::recv`]: more than it said where the socket takes several as one.
    pub fn iter(&self) -> impl Iterator<Item = Received<'_>> {
        (0..self.count).filter_map(|i| Some((i, address(&self.addresses[i])?))).flat_map(|(i, from)| {
            let (length, truncated, segment) = self.lengths[i];
            let start = i * self.size;
            let whole = &self.buffers[start..start + length.min(self.size)];
            // An empty datagram is one too.
            (0..whole.len().div_ceil(segment.max(1)).max(1)).map(move |at| {
                let bytes = &whole[at * segment..whole.len().min((at + 1) * segment)];
                Received { bytes, from, truncated }
            })
        })
    }
}

/// Lets the kernel hand over datagrams of one sender and one length as one (`UDP_GRO`, Linux 5.0), as
/// [`super::inside`] sends them. Without it they come one by one.
pub fn take_several_as_one(socket: &UdpSocket) {
    let on: libc::c_int = 1;
    // SAFETY: a plain setsockopt with an int that lives through the call. A kernel that does not know it says so.
    let _ = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_GRO,
            (&raw const on).cast(),
            mem::size_of_val(&on) as libc::socklen_t,
        )
    };
}

/// Room for the one control message that we ask for: the length of a segment.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    segment: libc::c_int,
}

impl Control {
    /// `None` if something else stands there.
    fn segment(&self) -> Option<usize> {
        let ours = (self.header.cmsg_level, self.header.cmsg_type) == (libc::SOL_UDP, libc::UDP_GRO);
        usize::try_from(self.segment).ok().filter(|segment| ours && *segment > 0)
    }
}

fn address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that a sockaddr_in was written there, which a storage can hold.
            let four = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(four.sin_addr.s_addr));
            Some(SocketAddr::from((ip, u16::from_be(four.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for sockaddr_in6.
            let six = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            Some(SocketAddr::from((Ipv6Addr::from(six.sin6_addr.s6_addr), u16::from_be(six.sin6_port))))
        }
        _ => None,
    }
}

/// How often one [`SendBatch::flush`] waits, a millisecond each, for room in the socket's buffer: the packet path stands
/// still meanwhile.
const WAITS: u32 = 4;
/// How often a datagram is tried again that the kernel refused on account of an earlier one.
const RETRIES: u32 = 2;

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    pub sent: usize,
    /// The kernel did not take them: full buffers, no route, too long.
    pub failed: usize,
}

/// Datagrams that leave together. Their octets are copied once, into an arena that is kept.
#[derive(Default)]
pub struct SendBatch {
    arena: Vec<u8>,
    entries: Vec<(SockAddr, usize, usize)>,
    parts: Vec<Part>,
    headers: Vec<Header>,
}

/// Kept for its room. A batch to be sent writes the pointers anew at each flush; a receiver's point into its own buffers,
/// which stay where they are.
pub(super) struct Part(pub(super) libc::iovec);
#[repr(transparent)]
pub(super) struct Header(pub(super) libc::mmsghdr);
// SAFETY: the pointers lead into buffers of the same owner and are used only while it is borrowed for a system call.
unsafe impl Send for Part {}
// SAFETY: as above.
unsafe impl Send for Header {}
// SAFETY: as above; its header has no pointers at all.
unsafe impl Send for Control {}

impl SendBatch {
    pub fn new() -> SendBatch {
        SendBatch {
            arena: Vec::with_capacity(BATCH * 2048),
            entries: Vec::with_capacity(BATCH),
            parts: Vec::with_capacity(BATCH),
            headers: Vec::with_capacity(BATCH),
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Time to [`SendBatch::flush`]; one that goes on filling it grows it.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= BATCH
    }

    /// One datagram: `head` and `payload` behind each other.
    pub fn push(&mut self, to: SocketAddr, head: &[u8], payload: &[u8]) {
        let start = self.arena.len();
        self.arena.extend_from_slice(head);
        self.arena.extend_from_slice(payload);
        self.entries.push((to.into(), start, head.len() + payload.len()));
    }

    /// Forgets what was pushed, unsent; how many that were.
    pub fn discard(&mut self) -> usize {
        let count = self.entries.len();
        self.arena.clear();
        self.entries.clear();
        count
    }

    /// Sends everything; the batch is empty afterwards.
    pub fn flush(&mut self, socket: &UdpSocket) -> Flushed {
        let mut flushed = Flushed::default();
        self.prepare();
        send_all(socket, &mut self.headers, |_, outcome| match outcome {
            Ok(()) => flushed.sent += 1,
            Err(_) => flushed.failed += 1,
        });
        self.headers.clear();
        self.discard();
        flushed
    }

    fn prepare(&mut self) {
        self.parts.clear();
        self.headers.clear();
        for (_, start, length) in &self.entries {
            let base = self.arena[*start..].as_mut_ptr().cast();
            self.parts.push(Part(libc::iovec { iov_base: base, iov_len: *length }));
        }
        for ((address, _, _), part) in self.entries.iter().zip(&mut self.parts) {
            // SAFETY: all zeros is a valid mmsghdr.
            let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
            header.msg_hdr.msg_name = address.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = address.len();
            header.msg_hdr.msg_iov = &raw mut part.0;
            header.msg_hdr.msg_iovlen = 1;
            self.headers.push(Header(header));
        }
    }
}

/// Hands over all that the headers point to; `told` hears of each, in order, what became of it.
pub(super) fn send_all(socket: &UdpSocket, headers: &mut [Header], mut told: impl FnMut(usize, io::Result<()>)) {
    let (mut at, mut retries, mut waits) = (0, RETRIES, WAITS);
    while at < headers.len() {
        let rest = &mut headers[at..];
        // SAFETY: whoever made the headers has pointed them into its own buffers, which it cannot change meanwhile.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), (&raw mut rest[0].0), rest.len() as libc::c_uint, 0) };
        if sent > 0 {
            (at..at + sent as usize).for_each(|done| told(done, Ok(())));
            at += sent as usize;
            retries = RETRIES;
            continue;
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            // An ICMP answer to an earlier datagram is reported once.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::Interrupted if retries > 0 => retries -= 1,
            // A full buffer drains in a moment.
            io::ErrorKind::WouldBlock if waits > 0 => {
                waits -= 1;
                wait_writable(socket);
            }
            _ => {
                told(at, Err(error));
                at += 1;
                retries = RETRIES;
            }
        }
    }
}

fn wait_writable(socket: &UdpSocket) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let one_millisecond = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    let _ = poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&one_millisecond));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_arrives_whole_and_a_closed_port_does_not_stop_it() {
        let receiver_socket = bind("127.0.0.1:0".parse().expect("an address"), true).expect("a socket");
        let to = receiver_socket.local_addr().expect("an address");
        let closed = {
            let gone = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            gone.local_addr().expect("an address")
        };
        let sender = bind("127.0.0.1:0".parse().expect("an address"), false).expect("a socket");
        let mut batch = SendBatch::new();
        for round in 0..3u8 {
            for n in 0..20u8 {
                batch.push(if n % 5 == 0 { closed } else { to }, &[round], &[n; 100]);
            }
            assert_eq!(batch.flush(&sender).failed, 0);
        }
        let mut receiver = Receiver::with_size(64);
        let mut seen = 0;
        while receiver.recv(&receiver_socket).expect("readable") > 0 {
            for datagram in receiver.iter() {
                assert!(datagram.truncated && datagram.bytes.len() == 64);
                assert_eq!(datagram.from, sender.local_addr().expect("an address"));
                seen += 1;
            }
        }
        assert_eq!(seen, 3 * 16);
    }

    #[test]
    fn ipv6_addresses_come_through() {
        let Ok(receiver_socket) = bind("[::1]:0".parse().expect("an address"), false) else { return };
        let sender = bind("[::1]:0".parse().expect("an address"), false).expect("a socket");
        let mut batch = SendBatch::new();
        batch.push(receiver_socket.local_addr().expect("an address"), b"he", b"llo");
        assert_eq!(batch.flush(&sender), Flushed { sent: 1, failed: 0 });
        let mut receiver = Receiver::new();
        assert_eq!(receiver.recv(&receiver_socket).expect("readable"), 1);
        let first = receiver.iter().next().expect("a datagram");
        assert_eq!((first.bytes, first.from), (&b"hello"[..], sender.local_addr().expect("an address")));
    }
}
