//! The edges of the machine as every server uses them: datagrams in batches, waiting and waking, sealed streams over TCP,
//! the admin port, and what a failed start says. Real sockets on loopback; nothing waits longer than it must.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // real clocks and threads are what is tested

use common::io::admin::{self, AdminSource};
use common::io::start::StartError;
use common::io::stream::{self, RecordReader, RecordWriter, StreamError};
use common::io::udp::{self, BATCH, Flushed, Receiver, SendBatch};
use common::io::{clock::Clock, fds, poll, random};
use common::keys::{KeyRing, Keys, RackKey};
use common::wire::sealed::{SealedError, Side};
use prometheus::Registry;
use serde_json::{Value, json};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn wait_for(socket: &UdpSocket) -> bool {
    let mut ready = Vec::new();
    poll::readable(&[socket.as_fd()], Duration::from_secs(2), &mut ready).unwrap();
    ready == [true]
}

mod datagrams {
    use super::*;

    #[test]
    fn more_than_a_batch_arrives_in_order_with_its_sender_and_length() {
        let (inward, outward) = (udp::bind(any_port(), false).unwrap(), udp::bind(any_port(), false).unwrap());
        let mut batch = SendBatch::new();
        for n in 0..BATCH + 10 {
            batch.push(inward.local_addr().unwrap(), &(n as u16).to_be_bytes(), &vec![7; n * 10]);
        }
        assert!(batch.is_full());
        assert_eq!(batch.flush(&outward), Flushed { sent: BATCH + 10, failed: 0 });
        assert!(batch.is_empty());
        let (mut receiver, mut seen) = (Receiver::new(), 0);
        while receiver.recv(&inward).unwrap() > 0 {
            for datagram in receiver.iter() {
                assert_eq!((datagram.from, datagram.truncated), (outward.local_addr().unwrap(), false));
                assert_eq!(datagram.bytes, [&(seen as u16).to_be_bytes()[..], &vec![7; seen * 10]].concat());
                seen += 1;
            }
        }
        assert_eq!(seen, BATCH + 10);
    }

    #[test]
    fn the_shortest_and_the_longest_datagram_come_through_and_too_long_a_one_is_counted() {
        let (inward, outward) = (udp::bind(any_port(), false).unwrap(), udp::bind(any_port(), false).unwrap());
        let to = inward.local_addr().unwrap();
        let mut batch = SendBatch::new();
        batch.push(to, b"", b"");
        batch.push(to, &[1; 7], &[2; 65_500]);
        batch.push(to, &[1; 8], &[2; 65_500]);
        batch.push(to, b"after", b"wards");
        assert_eq!(batch.flush(&outward), Flushed { sent: 3, failed: 1 });
        let (mut receiver, mut lengths) = (Receiver::new(), Vec::new());
        while receiver.recv(&inward).unwrap() > 0 {
            lengths.extend(receiver.iter().map(|d| d.bytes.len()));
        }
        assert_eq!(lengths, [0, 65_507, 10]);
    }

    #[test]
    fn a_datagram_of_exactly_the_buffers_size_is_whole() {
        let (inward, outward) = (udp::bind(any_port(), false).unwrap(), udp::bind(any_port(), false).unwrap());
        let mut batch = SendBatch::new();
        for length in [99, 100, 101] {
            batch.push(inward.local_addr().unwrap(), b"", &vec![1; length]);
        }
        batch.flush(&outward);
        let mut receiver = Receiver::with_size(100);
        receiver.recv(&inward).unwrap();
        let seen: Vec<(usize, bool)> = receiver.iter().map(|d| (d.bytes.len(), d.truncated)).collect();
        assert_eq!(seen, [(99, false), (100, false), (100, true)]);
    }

    #[test]
    fn an_empty_socket_is_no_error_and_forgets_the_batch_before() {
        let (inward, outward) = (udp::bind(any_port(), false).unwrap(), udp::bind(any_port(), false).unwrap());
        outward.send_to(b"one", inward.local_addr().unwrap()).unwrap();
        assert!(wait_for(&inward));
        let mut receiver = Receiver::new();
        assert_eq!((receiver.recv(&inward).unwrap(), receiver.iter().count()), (1, 1));
        assert_eq!((receiver.recv(&inward).unwrap(), receiver.iter().count()), (0, 0));
    }

    #[test]
    fn an_icmp_answer_stops_neither_receiving_nor_sending() {
        let gone = UdpSocket::bind(any_port()).unwrap().local_addr().unwrap();
        let inward = udp::bind(any_port(), false).unwrap();
        let socket = udp::bind(any_port(), false).unwrap();
        // Connected sockets are told of ICMP's "port unreachable".
        socket.connect(gone).unwrap();
        socket.send(b"into the void").unwrap();
        assert!(wait_for(&socket), "the answer is there");
        let mut receiver = Receiver::new();
        assert_eq!(receiver.recv(&socket).unwrap(), 0);
        socket.send(b"into the void").unwrap();
        assert!(wait_for(&socket));
        let mut batch = SendBatch::new();
        batch.push(inward.local_addr().unwrap(), b"still", b" here");
        assert_eq!(batch.flush(&socket), Flushed { sent: 1, failed: 0 });
        assert!(wait_for(&inward));
    }

    #[test]
    fn what_is_discarded_is_not_sent() {
        let (inward, outward) = (udp::bind(any_port(), false).unwrap(), udp::bind(any_port(), false).unwrap());
        let mut batch = SendBatch::new();
        batch.push(inward.local_addr().unwrap(), b"without", b" a lease");
        batch.discard();
        batch.push(inward.local_addr().unwrap(), b"with", b" one");
        assert_eq!((batch.len(), batch.flush(&outward)), (1, Flushed { sent: 1, failed: 0 }));
        assert_eq!(batch.flush(&outward), Flushed::default());
        let mut receiver = Receiver::new();
        assert_eq!(receiver.recv(&inward).unwrap(), 1);
        assert_eq!(receiver.iter().next().unwrap().bytes, b"with one");
    }

    #[test]
    fn workers_share_an_address_only_if_both_say_so() {
        let first = udp::bind(any_port(), true).unwrap();
        let address = first.local_addr().unwrap();
        udp::bind(address, true).unwrap();
        let taken = udp::bind(address, false).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let error = StartError::socket("the VIP", address, taken);
        assert!(matches!(error, StartError::InUse { .. }), "{error}");
    }
}

mod waiting {
    use super::*;

    #[test]
    fn patience_ends_and_only_what_is_ready_is_named() {
        let (quiet, spoken_to) = (udp::bind(any_port(), false).unwrap(), udp::bind(any_port(), false).unwrap());
        let mut ready = vec![true; 9];
        let begin = Instant::now();
        poll::readable(&[quiet.as_fd(), spoken_to.as_fd()], Duration::from_millis(30), &mut ready).unwrap();
        assert!(begin.elapsed() >= Duration::from_millis(30));
        assert_eq!(ready, [false, false]);
        quiet.send_to(b"you", spoken_to.local_addr().unwrap()).unwrap();
        poll::readable(&[quiet.as_fd(), spoken_to.as_fd()], Duration::from_secs(2), &mut ready).unwrap();
        assert_eq!(ready, [false, true]);
    }

    #[test]
    fn a_thread_is_woken_once_for_any_number_of_wakes() {
        let (waker, wakeable) = poll::waker().unwrap();
        let other = waker.clone();
        let thread = std::thread::spawn(move || (0..1000).for_each(|_| other.wake()));
        let mut ready = Vec::new();
        poll::readable(&[wakeable.as_fd()], Duration::from_secs(2), &mut ready).unwrap();
        assert_eq!(ready, [true]);
        thread.join().unwrap();
        wakeable.clear();
        poll::readable(&[wakeable.as_fd()], Duration::ZERO, &mut ready).unwrap();
        assert_eq!(ready, [false]);
        wakeable.clear();
        waker.wake();
        poll::readable(&[wakeable.as_fd()], Duration::ZERO, &mut ready).unwrap();
        assert_eq!(ready, [true], "clearing twice loses no later wake");
    }

    #[test]
    fn the_clock_goes_forward_and_its_copies_agree() {
        let clock = Clock::new();
        let (copy, first) = (clock, clock.now());
        std::thread::sleep(Duration::from_millis(2));
        let second = copy.now();
        assert!(second.since(first) >= Duration::from_millis(2) && first.0 >= 1_000_000);
        assert!(clock.wall().0 > 1_700_000_000_000, "milliseconds since 1970");
        assert_ne!(random::octets::<32>().unwrap(), random::octets::<32>().unwrap());
    }
}

mod starting {
    use super::*;

    #[test]
    fn a_failed_start_says_what_and_where_and_has_an_exit_code() {
        let address: SocketAddr = "127.0.0.1:5060".parse().unwrap();
        let of = |kind| StartError::socket("the VIP", address, io::Error::from(kind));
        let path = PathBuf::from("siprack-data");
        let cases = [
            (StartError::Config("siprack.yaml:1:1: name: is missing".into()), 78, "siprack.yaml:1:1"),
            (of(io::ErrorKind::AddrInUse), 98, "the VIP: 127.0.0.1:5060 is in use already"),
            (of(io::ErrorKind::AddrNotAvailable), 99, "no address 127.0.0.1:5060"),
            (StartError::CannotCreate { path, source: io::ErrorKind::PermissionDenied.into() }, 73, "siprack-data"),
            (StartError::io("starting a thread", io::Error::other("no room")), 71, "starting a thread: no room"),
        ];
        for (error, code, words) in cases {
            assert!(error.exit_code() == code && error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn passed_sockets_are_numbered_in_their_order() {
        assert_eq!(fds::variable(["vip0.0", "egress.0", "control"]), "vip0.0=3,egress.0=4,control=5");
        assert_eq!(fds::variable([]), "");
    }
}

mod streams {
    use super::*;

    fn ring(octet: u8) -> KeyRing<[u8; 32]> {
        Keys::derive(&RackKey([octet; 32])).plane
    }

    type Greeted = Result<(RecordReader, RecordWriter), StreamError>;

    /// Both ends of one connection, under these two racks' keys.
    async fn ends(connecting: u8, listening: u8) -> (Greeted, Greeted) {
        let listener = TcpListener::bind(any_port()).await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let (connecting, listening) = (ring(connecting), ring(listening));
        tokio::join!(
            stream::greet(socket, &connecting, Side::Connecting),
            stream::greet(accepted, &listening, Side::Listening)
        )
    }

    #[tokio::test]
    async fn records_go_both_ways_and_the_end_is_seen() {
        let (connecting, listening) = ends(1, 1).await;
        let ((mut up_in, mut up_out), (mut down_in, mut down_out)) = (connecting.unwrap(), listening.unwrap());
        let large = vec![5; 3 << 20];
        let send = async {
            up_out.push(b"one").unwrap();
            up_out.push(b"").unwrap();
            up_out.flush().await.unwrap();
            up_out.push(&large).unwrap();
            up_out.flush().await.unwrap();
        };
        let hear = async {
            assert_eq!(down_in.next().await.unwrap().unwrap(), b"one");
            assert_eq!(down_in.next().await.unwrap().unwrap(), b"");
            assert_eq!(down_in.next().await.unwrap().unwrap(), large);
        };
        tokio::join!(send, hear);
        down_out.push(b"answer").unwrap();
        down_out.flush().await.unwrap();
        assert_eq!(up_in.next().await.unwrap().unwrap(), b"answer");
        drop((up_in, up_out));
        assert!(down_in.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn another_racks_key_is_found_out_at_the_first_record() {
        let (connecting, listening) = ends(1, 2).await;
        let ((_up_in, mut up_out), (mut down_in, _)) = (connecting.unwrap(), listening.unwrap());
        up_out.push(b"hello").unwrap();
        up_out.flush().await.unwrap();
        assert!(matches!(down_in.next().await, Err(StreamError::Sealed(SealedError::Forged))));
    }

    #[tokio::test]
    async fn a_stranger_on_the_port_is_refused() {
        let listener = TcpListener::bind(any_port()).await.unwrap();
        let mut socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\nHost: location-server\r\n\r\n").await.unwrap();
        let refused = stream::greet(accepted, &ring(1), Side::Listening).await;
        assert!(matches!(refused, Err(StreamError::Sealed(SealedError::NotOne))));
    }

    #[tokio::test]
    async fn a_record_that_breaks_off_is_an_error() {
        let listener = TcpListener::bind(any_port()).await.unwrap();
        let mut socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let hello = common::wire::sealed::hello(&ring(1), [3; 32]);
        socket.write_all(&[&hello[..], &[0, 0, 0, 40], &[1; 9]].concat()).await.unwrap();
        let (mut reader, _writer) = stream::greet(accepted, &ring(1), Side::Listening).await.unwrap();
        drop(socket);
        assert!(matches!(reader.next().await, Err(StreamError::Io(_))));
    }
}

mod admin_port {
    use super::*;

    struct Source {
        registry: Registry,
        ready: bool,
    }

    impl AdminSource for Source {
        fn not_ready(&self) -> Option<String> {
            (!self.ready).then(|| "the location replica is not level".into())
        }

        fn status(&self) -> Value {
            json!({ "node": 1, "state": "started" })
        }

        fn registry(&self) -> &Registry {
            &self.registry
        }
    }

    /// The answer to a GET, head and body.
    async fn get(address: SocketAddr, path: &str) -> String {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn served(ready: bool) -> SocketAddr {
        let registry = common::metrics::registry("cc-node").unwrap();
        let source = Arc::new(Source { registry, ready });
        let own = axum::Router::new().route("/explain", axum::routing::get(|| async { "its own page" }));
        let listener = admin::bind("the admin port", any_port()).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(admin::serve(listener, admin::router(source).merge(own)));
        address
    }

    #[tokio::test]
    async fn it_answers_on_its_four_paths_and_on_its_owners() {
        let address = served(true).await;
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        let metrics = get(address, "/metrics").await;
        assert!(
            metrics.contains("siprack_build_info{service=\"cc-node\",version=") && metrics.contains("text/plain"),
            "{metrics}"
        );
        let status = get(address, "/status").await;
        assert!(
            status.contains("application/json") && status.ends_with("{\"node\":1,\"state\":\"started\"}"),
            "{status}"
        );
        assert!(get(address, "/explain").await.ends_with("its own page"));
        assert!(get(address, "/nothing").await.starts_with("HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn alive_is_not_yet_ready() {
        let address = served(false).await;
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let answer = get(address, "/readyz").await;
        assert!(
            answer.starts_with("HTTP/1.1 503") && answer.ends_with("the location replica is not level\n"),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn a_taken_port_and_an_address_of_another_machine_are_told_apart() {
        let address = served(true).await;
        let taken = admin::bind("node 1's admin port", address).await.unwrap_err();
        assert!(taken.exit_code() == 98 && taken.to_string().contains("node 1's admin port"), "{taken}");
        let elsewhere = admin::bind("node 1's admin port", "192.0.2.1:15111".parse().unwrap()).await.unwrap_err();
        assert_eq!(elsewhere.exit_code(), 99, "{elsewhere}");
    }
}
