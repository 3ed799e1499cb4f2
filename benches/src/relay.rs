//! The floor: a relay that reads datagrams and sends each on, without looking at it, with the same batched system calls
//! as the load manager. Runs as a process of its own (`side-by-side relay`).

use common::io::udp::{Receiver, SendBatch};
use std::net::{SocketAddr, UdpSocket};

/// Forwards everything that arrives at `listen` to `to`, for ever.
pub fn run(listen: SocketAddr, to: SocketAddr) -> std::io::Result<()> {
    let socket = UdpSocket::bind(listen)?;
    let mut receiver = Receiver::new();
    let mut batch = SendBatch::new();
    loop {
        receiver.recv(&socket)?;
        for datagram in receiver.iter() {
            batch.push(to, &[], datagram.bytes);
        }
        batch.flush(&socket);
    }
}
