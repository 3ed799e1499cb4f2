//! The agent's word that a node's process has ended: a signed `stopped` to every load manager, so that the node is down
//! at once and not only when its heartbeats are missed.

use super::terminal::say;
use common::config::Rack;
use common::ids::{BootId, NodeId};
use common::keys::Keys;
use common::wire::control::Stopped;
use common::wire::frame::{Message, encode};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

const AT_ONCE: usize = 3;
const PERIOD: Duration = Duration::from_millis(50);
const REPEATS: usize = 20;

/// Says it for a second, from a thread of its own. (A beacon that shows it would end this sooner, but agents receive none.)
pub fn announce(rack: &Rack, keys: &Keys, node: NodeId, boot: BootId) {
    let message = Message::Stopped(Stopped { node, boot });
    let mut targets: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
    for lm in &rack.load_managers {
        for (plane, ip) in lm.planes.iter() {
            targets.push((SocketAddr::new(ip, lm.control_port), encode(&message, &keys.plane, plane)));
        }
    }
    let body = move || {
        for turn in 0..AT_ONCE + REPEATS {
            if turn >= AT_ONCE {
                std::thread::sleep(PERIOD);
            }
            for (target, bytes) in &targets {
                send(bytes, *target);
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("farewell".into()).spawn(body) {
        say(&format!(
            "the load manager was not told that cc-node {node} has stopped ({error}); it will miss its heartbeats"
        ));
    }
}

fn send(bytes: &[u8], target: SocketAddr) {
    let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    // It is repeated, and heartbeats say the same later.
    let _ = UdpSocket::bind(any).and_then(|socket| socket.send_to(bytes, target));
}
