//! The packet path allocates nothing: a counting allocator stands under both directions of `forward`.
#![allow(unsafe_code, clippy::unwrap_used)]

use common::config::Rack;
use common::ids::{BootId, Epoch, ListenerId, NodeId, Plane};
use common::keys::{Keys, RackKey};
use common::placement::{Inputs, Member, Placement, Policy};
use common::time::Time;
use common::token;
use common::wire::proxy::{self, Direction, ProxyHeader, Sent};
use lm_server::forward::{Gate, Scratch, Verdict, egress, ingress};
use lm_server::table::{Reach, Standing, Table};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;

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

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

fn table(gate: &Gate, standing: Standing) -> Table {
    let member = |n: u16| Member::new(NodeId(n), Some(BootId(7)));
    let reach = |n: u16| Reach {
        node: NodeId(n),
        boot: Some(BootId(7)),
        admit: u16::MAX,
        admitted: u16::MAX,
        standing: if n == 1 { standing } else { Standing::Started },
        floor: Epoch(0),
        plane: Plane::A,
        workers: vec![SocketAddr::from(([127, 0, 0, 1], 15_200 + n))],
    };
    let inputs = Inputs { policy: Policy::Rendezvous, members: (1..=8).map(member).collect(), ..Inputs::default() };
    Table::new(Arc::new(Placement::compute(&gate.keys.placement, Epoch(3), inputs)), (1..=8).map(reach))
}

/// Every node of it refuses all new calls, and has admitted so much of them a short while ago.
fn full(table: &Table, admitted: u16) -> Table {
    let refuses = |reach: &Reach| Reach { admit: 0, admitted, ..reach.clone() };
    Table::new(table.placement().clone(), table.nodes().iter().map(refuses).collect::<Vec<_>>())
}

fn messages(gate: &Gate) -> Vec<String> {
    let mut token = Vec::new();
    token::via::write(&gate.keys.token, NodeId(2), b"call-7@phone", &mut token);
    let token = String::from_utf8(token).unwrap();
    let tail = "From: \"A\" <sip:1001@rack.test>;tag=f\r\nTo: <sip:1002@rack.test>;tag=t\r\nCall-ID: call-7@phone\r\nCSeq: 1 BYE\r\n\r\n";
    vec![
        format!(
            "BYE sip:1002@10.0.0.9 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa\r\nRoute: <sip:127.0.0.1:5060;lr;sr={token}>, <sip:x.test;lr>\r\n{tail}"
        ),
        format!("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKb;sr={token}\r\n{tail}"),
        format!("BYE sip:127.0.0.1:5060;lr;sr={token} SIP/2.0\r\n{tail}"),
        tail.replace("From: ", "INVITE sip:1002@rack.test SIP/2.0\r\nFrom: ").replace(";tag=t", ""),
        "\r\n\r\n".into(),
        "no sip\r\n\r\n".into(),
        "SIP/2.0 200 OK\r\nTo: x\r\n\r\n".into(),
    ]
}

#[test]
fn the_packet_path_allocates_nothing() {
    let rack = Rack::one_machine_default(3).expand();
    let gate = Gate::new(&rack, Arc::new(Keys::derive(&RackKey([7; 32]))), BootId(1));
    let mut scratch = Scratch::default();
    let phone: SocketAddr = "127.0.0.1:40000".parse().unwrap();
    let mut forwarded = 0;
    let (started, draining) = (table(&gate, Standing::Started), table(&gate, Standing::Draining));
    for table in [full(&started, 0), full(&started, u16::MAX), started, draining, Table::empty()] {
        for message in messages(&gate) {
            let used = allocations(|| {
                let verdict = ingress(&gate, &table, Time(0), message.as_bytes(), phone, ListenerId(0), &mut scratch);
                forwarded += usize::from(matches!(verdict, Verdict::ToNode { .. }));
            });
            assert_eq!(used, 0, "ingress of {message}");
        }
    }
    assert_eq!(forwarded, 15);

    let header = ProxyHeader {
        sender: NodeId(2),
        direction: Direction::Egress,
        ..ProxyHeader::ingress(gate.listeners[0], phone, ListenerId(0), BootId(7), Epoch(3), Sent::default())
    };
    let mut bytes = [0; proxy::MAX];
    let (key_id, key) = gate.keys.plane.current();
    let length = header.write(key, key_id, b"call-7@phone", &mut bytes);
    let table = table(&gate, Standing::Started);
    for message in messages(&gate) {
        let datagram = [&bytes[..length], message.as_bytes()].concat();
        let mut left = false;
        let used = allocations(|| left = egress(&gate, &table, Time(0), &datagram).is_ok());
        assert_eq!((used, left), (0, message.contains("call-7")), "egress of {message}");
    }
}
