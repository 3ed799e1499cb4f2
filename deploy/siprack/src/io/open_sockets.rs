//! Opens the load manager's sockets, which the agent keeps, so that datagrams wait in the kernel while an lm-server is
//! restarted; and finds out first whether any port of the rack is taken.

use crate::failure::{Failure, exit};
use crate::services::{Protocol, Wanted};
use socket2::{Domain, Socket, Type};
use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// An open socket and the name under which a child gets it.
pub struct Passed {
    pub name: String,
    pub service: String,
    pub socket: OwnedFd,
}

/// What a burst may leave in the kernel while an lm-server is being restarted; cut by net.core.rmem_max.
const RECEIVE_BUFFER: usize = 8 << 20;

/// How long the ports of an earlier rack may take to become free.
const LINGER: Duration = Duration::from_millis(500);

/// Whether this machine has the address.
pub fn is_here(ip: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(ip, 0)).is_ok()
}

/// Opens what is to be passed on and tries all the rest. All failures at once, the first one's exit code.
pub fn open(wanted: &[Wanted]) -> Result<Vec<Passed>, Failure> {
    let mut passed = Vec::new();
    let mut failures: Vec<Failure> = Vec::new();
    let mut tried: Vec<(Protocol, SocketAddr)> = Vec::new();
    let began = Instant::now();
    // Before anything is kept: a port that is shared among our own workers would hide that somebody else has it.
    for want in wanted {
        if !tried.contains(&(want.protocol, want.address)) {
            tried.push((want.protocol, want.address));
            failures.extend(patiently(want, began).err().map(|e| failure(want, &e)));
        }
    }
    if failures.is_empty() {
        for want in wanted {
            let Some(name) = &want.passed_as else { continue };
            match bind(want, want.shared) {
                Ok(socket) => {
                    passed.push(Passed { name: name.clone(), service: want.service.clone(), socket: socket.into() });
                }
                Err(e) => failures.push(failure(want, &e)),
            }
        }
    }
    match failures.first() {
        None => Ok(passed),
        Some(first) => {
            let code = first.code;
            let messages: Vec<String> = failures.into_iter().map(|f| f.message).collect();
            Err(Failure::new(code, messages.join("\n")))
        }
    }
}

/// The services of an agent that was just killed end a moment after it: their ports are worth a short wait, once.
fn patiently(want: &Wanted, began: Instant) -> Result<Socket, Error> {
    loop {
        match bind(want, false) {
            Err(e) if e.kind() == ErrorKind::AddrInUse && began.elapsed() < LINGER => std::thread::sleep(LINGER / 10),
            done => return done,
        }
    }
}

fn bind(want: &Wanted, shared: bool) -> Result<Socket, Error> {
    let kind = if want.protocol == Protocol::Udp { Type::DGRAM } else { Type::STREAM };
    let socket = Socket::new(Domain::for_address(want.address), kind, None)?;
    if want.address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    match want.protocol {
        // What a closed listener leaves in TIME_WAIT is no hindrance.
        Protocol::Tcp => socket.set_reuse_address(true)?,
        Protocol::Udp if shared => socket.set_reuse_port(true)?,
        Protocol::Udp => {}
    }
    socket.bind(&want.address.into())?;
    match want.protocol {
        Protocol::Tcp => socket.listen(1)?,
        // A smaller buffer than wished is the system's decision.
        Protocol::Udp => drop(socket.set_recv_buffer_size(RECEIVE_BUFFER)),
    }
    Ok(socket)
}

fn failure(want: &Wanted, error: &Error) -> Failure {
    let protocol = if want.protocol == Protocol::Udp { "UDP" } else { "TCP" };
    let what = format!("{protocol} {} ({} of {})", want.address, want.purpose, want.service);
    match error.kind() {
        ErrorKind::AddrInUse => Failure::new(
            exit::PORT_TAKEN,
            format!(
                "{what} is taken by another program; end that one (`ss -lpn 'sport = :{}'` names it), or move this: --set {}",
                want.address.port(),
                want.cure
            ),
        ),
        ErrorKind::AddrNotAvailable => Failure::new(
            exit::NOT_OUR_ADDRESS,
            format!(
                "{what}: this machine does not have the address {}; add it to an interface, or correct the rack file",
                want.address.ip()
            ),
        ),
        ErrorKind::PermissionDenied => Failure::new(
            exit::PORT_TAKEN,
            format!(
                "{what}: no permission; ports below 1024 need the capability CAP_NET_BIND_SERVICE, or move this: --set {}",
                want.cure
            ),
        ),
        _ => Failure::new(exit::PORT_TAKEN, format!("{what}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_said_with_its_cure() {
        let other = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let want = Wanted {
            protocol: Protocol::Udp,
            address: other.local_addr().expect("bound"),
            service: "lm-server-1".into(),
            purpose: "SIP listener 0".into(),
            cure: "listeners.0.port=5070".into(),
            passed_as: Some("vip0.0".into()),
            shared: true,
        };
        let failure = open(std::slice::from_ref(&want)).err().expect("the port is taken");
        assert_eq!(failure.code, exit::PORT_TAKEN);
        for part in ["UDP 127.0.0.1:", "SIP listener 0 of lm-server-1", "--set listeners.0.port=5070"] {
            assert!(failure.message.contains(part), "{failure}");
        }
        drop(other);
        assert_eq!(open(&[want.clone(), want]).map(|p| p.len()).ok(), Some(2), "workers share one port");
    }
}
