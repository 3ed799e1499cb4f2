#![allow(clippy::unwrap_used)]

use super::*;
use crate::ids::{BootId, Epoch, ListenerId, NodeId};
use crate::io::udp::{Receiver, bind, take_several_as_one};
use crate::wire::proxy::{Direction, MAX, ProxyHeader, Sent};
use std::os::fd::AsRawFd;

/// Octets of the messages: some differ by less than a NOOP takes, one is longer than a segment, one is empty but for its
/// Call-ID.
const LENGTHS: [usize; 12] = [400, 401, 402, 403, 900, 1_200, 4_000, 30, 31, 1_000, 20, 20];

fn socket() -> UdpSocket {
    bind("127.0.0.1:0".parse().unwrap(), false).unwrap()
}

fn keys() -> KeyRing<[u8; 32]> {
    KeyRing::new(|_| [7; 32])
}

fn header() -> ProxyHeader {
    ProxyHeader {
        sender: NodeId(1),
        direction: Direction::Egress,
        ..ProxyHeader::ingress(
            "192.0.2.7:5060".parse().unwrap(),
            "192.0.2.1:5060".parse().unwrap(),
            ListenerId(0),
            BootId(3),
            Epoch(5),
            Sent::default(),
        )
    }
}

/// The Call-ID is the first sixteen octets, which count the messages.
fn message(at: usize, length: usize) -> Vec<u8> {
    let mut message = format!("{at:016}").into_bytes();
    message.resize(length, b'x');
    message
}

fn call_id(message: &[u8]) -> Option<&[u8]> {
    message.get(..16)
}

fn push(batch: &mut InsideBatch, to: SocketAddr, message: &[u8]) {
    let (ring, mut head) = (keys(), [0; MAX]);
    let (id, key) = ring.current();
    let call_id = call_id(message).unwrap();
    let length = header().write(key, id, call_id, &mut head);
    batch.push(to, &head[..length], call_id, message);
}

/// The messages that wait there, each behind a good header; how many datagrams the kernel made of them.
fn received(socket: &UdpSocket) -> (usize, Vec<Vec<u8>>) {
    let (mut receiver, mut messages, mut datagrams) = (Receiver::new(), Vec::new(), 0);
    loop {
        let count = receiver.recv(socket).unwrap();
        if count == 0 {
            return (datagrams, messages);
        }
        datagrams += count;
        for datagram in receiver.iter() {
            let (read, at) = ProxyHeader::read(datagram.bytes, &keys(), call_id).unwrap();
            assert_eq!((read, datagram.truncated), (header(), false));
            messages.push(datagram.bytes[at..].to_vec());
        }
    }
}

fn sent(batch: &mut InsideBatch, from: &UdpSocket, to: &[SocketAddr]) {
    let messages: Vec<_> = LENGTHS.iter().enumerate().map(|(at, length)| message(at, *length)).collect();
    for message in &messages {
        to.iter().for_each(|to| push(batch, *to, message));
    }
    assert_eq!(batch.flush(from, &keys()), Flushed { sent: LENGTHS.len() * to.len(), failed: 0 });
    assert!(batch.is_empty());
}

fn expected() -> Vec<Vec<u8>> {
    LENGTHS.iter().enumerate().map(|(at, length)| message(at, *length)).collect()
}

#[test]
fn messages_of_any_length_arrive_unchanged_and_in_order_at_every_kind_of_receiver() {
    let (from, several, single) = (socket(), socket(), socket());
    take_several_as_one(&several);
    let to = [several.local_addr().unwrap(), single.local_addr().unwrap()];
    let mut batch = InsideBatch::new();
    for _ in 0..3 {
        sent(&mut batch, &from, &to);
        let (datagrams, messages) = received(&several);
        assert_eq!(messages, expected());
        // The first six, the long one, the rest; where the kernel knows how.
        assert!(datagrams == 3 || !batch.segmenting, "{datagrams}");
        assert_eq!(received(&single), (LENGTHS.len(), expected()));
    }
}

#[test]
fn one_by_one_where_that_is_wanted() {
    let (from, to) = (socket(), socket());
    take_several_as_one(&to);
    sent(&mut InsideBatch::new().one_by_one(), &from, &[to.local_addr().unwrap()]);
    assert_eq!(received(&to), (LENGTHS.len(), expected()));
}

/// The kernel does not segment what is to go without a checksum.
#[test]
fn a_refusal_loses_nothing_and_is_remembered() {
    let (from, to) = (socket(), socket());
    let on: libc::c_int = 1;
    // SAFETY: a plain setsockopt with an int that lives through the call.
    let set = unsafe {
        libc::setsockopt(
            from.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NO_CHECK,
            (&raw const on).cast(),
            mem::size_of_val(&on) as libc::socklen_t,
        )
    };
    assert_eq!(set, 0);
    let mut batch = InsideBatch::new();
    for _ in 0..2 {
        sent(&mut batch, &from, &[to.local_addr().unwrap()]);
        assert!(!batch.segmenting);
        let (_, mut messages) = received(&to);
        // The long one was not refused.
        messages.sort();
        assert_eq!(messages, expected());
    }
}

#[test]
fn more_than_one_send_takes_leaves_in_several() {
    let (from, to) = (socket(), socket());
    take_several_as_one(&to);
    let mut batch = InsideBatch::new();
    let messages: Vec<_> = (0..300).map(|at| message(at, 20 + at * 7 % 1_200)).collect();
    messages.iter().for_each(|message| push(&mut batch, to.local_addr().unwrap(), message));
    assert!(batch.is_full());
    assert_eq!(batch.flush(&from, &keys()), Flushed { sent: 300, failed: 0 });
    assert_eq!(received(&to).1, messages);
}
