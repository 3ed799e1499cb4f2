//! Datagrams in batches and the header in front of them cost no allocation once their buffers are there.
#![allow(unsafe_code, clippy::unwrap_used)]

use common::ids::{BootId, Epoch, ListenerId, NodeId, Transport};
use common::io::poll;
use common::io::udp::{self, BATCH, Receiver, SendBatch};
use common::keys::{Keys, RackKey};
use common::wire::proxy::{Direction, Inquiry, MAX, ProxyHeader, Sent};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// Safety: everything is passed on to the system's allocator as it came; counting touches a thread-local number only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_batch_through_the_kernel_and_its_headers_allocate_nothing() {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let (inward, outward) = (udp::bind(any, false).unwrap(), udp::bind(any, false).unwrap());
    let to = inward.local_addr().unwrap();
    let plane = Keys::derive(&RackKey([1; 32])).plane;
    let header = ProxyHeader {
        source: to,
        destination: to,
        sender: NodeId(1),
        boot: BootId(1),
        epoch: Epoch(1),
        listener: ListenerId(0),
        transport: Transport::Udp,
        connection: 1,
        visited: [1, 2, 3, 4].map(NodeId).into_iter().collect(),
        inquiry: Some((Inquiry::Yours, 1)),
        sent: Sent(1),
        direction: Direction::Ingress,
    };
    let (mut batch, mut receiver, mut ready) = (SendBatch::new(), Receiver::new(), Vec::new());
    let mut round = || {
        let (id, key) = plane.current();
        let mut front = [0; MAX];
        for _ in 0..BATCH {
            let length = header.write(key, id, b"call@id", &mut front);
            batch.push(to, &front[..length], b"call@id");
        }
        batch.flush(&outward);
        poll::readable(&[inward.as_fd()], Duration::from_secs(2), &mut ready).unwrap();
        let mut good = 0;
        while receiver.recv(&inward).unwrap() > 0 {
            let read = receiver.iter().map(|d| ProxyHeader::read(d.bytes, &plane, Some));
            good += read.filter(|r| r.as_ref().is_ok_and(|(h, _)| h.visited.len() == 4)).count();
        }
        good
    };
    assert_eq!(round(), BATCH, "the buffers are there now");
    let before = ALLOCATIONS.get();
    let good: usize = (0..10).map(|_| round()).sum();
    let allocations = ALLOCATIONS.get() - before;
    assert_eq!((good, allocations), (10 * BATCH, 0));
}
