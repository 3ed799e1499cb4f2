//! The last look before a send, and the way around the load manager, over real sockets.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::location::Writer;
use common::config::Rack;
use common::ids::{BootId, Epoch};
use common::keys::{Keys, RackKey};
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::time::Duration;

const MESSAGE: &[u8] = b"SIP/2.0 200 OK\r\nCall-ID: c\r\nContent-Length: 0\r\n\r\n";

fn shared(rack: Rack) -> Arc<Shared> {
    let keys = Arc::new(Keys::derive(&RackKey([6; 32])));
    let writer = Writer::new(&keys);
    let config = rack.cc_nodes[0].clone();
    Arc::new(Shared::new(NodeId(1), BootId(7), Arc::new(rack), keys, config, writer.replica().clone()))
}

fn listening(at: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::bind((at, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket
}

fn to(socket: &UdpSocket) -> Outwards {
    let (epoch, to) = (Epoch(1), socket.local_addr().unwrap());
    Outwards { epoch, listener: ListenerId(0), to, transport: Transport::Udp, now: Time(0) }
}

#[test]
fn nothing_leaves_once_the_lease_is_over_though_it_was_there_when_the_round_began() {
    let load_manager = listening(Ipv4Addr::LOCALHOST);
    let mut rack = Rack::one_machine_default(1).expand();
    rack.load_managers[0].egress_port = load_manager.local_addr().unwrap().port();
    let shared = shared(rack);
    shared.lease.store(100, Ordering::Relaxed);
    let mut egress = Egress::new(shared).unwrap();
    let own = [(Plane::A, listening(Ipv4Addr::LOCALHOST))];
    let mut counters = IoCounters::default();
    for (now, sent, dropped) in [(99, 1, 0), (100, 1, 1), (u64::MAX, 1, 2)] {
        egress.push(&to(&load_manager), MESSAGE, &mut counters);
        egress.flush(|| Time(now), &own, &mut counters);
        assert_eq!((counters.sent, counters.drop_no_lease), (sent, dropped), "at {now}");
        assert_eq!(load_manager.recv(&mut [0; 2048]).is_ok(), now == 99);
    }
}

#[test]
fn direct_egress_leaves_from_the_listener() {
    let phone = listening(Ipv4Addr::LOCALHOST);
    let free = listening(Ipv4Addr::LOCALHOST).local_addr().unwrap().port();
    let mut rack = Rack::one_machine_default(1).expand();
    rack.egress = Way::Direct;
    rack.listeners[0].port = free;
    assert!(Egress::new(shared(rack.clone())).is_err(), "the load manager is on this host");
    rack.load_managers[0].planes.a = Ipv4Addr::new(127, 0, 0, 9).into();
    let shared = shared(rack);
    shared.lease.store(100, Ordering::Relaxed);
    let mut egress = Egress::new(shared).unwrap();
    let own = [(Plane::A, listening(Ipv4Addr::LOCALHOST))];
    let mut counters = IoCounters::default();
    egress.push(&to(&phone), MESSAGE, &mut counters);
    egress.flush(|| Time(99), &own, &mut counters);
    let mut buffer = [0; 2048];
    let (length, from) = phone.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from.port()), (MESSAGE, free));
    egress.push(&to(&phone), MESSAGE, &mut counters);
    egress.flush(|| Time(100), &own, &mut counters);
    assert!(phone.recv(&mut buffer).is_err());
    assert_eq!((counters.sent, counters.drop_no_lease), (1, 1));
}
