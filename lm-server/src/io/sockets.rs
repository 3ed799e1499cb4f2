//! The load manager's UDP sockets. The agent opens them and passes them on, so that datagrams wait in the kernel while an
//! lm-server is restarted; what it does not pass is opened here. And the way on which the agent is told of beacons.

use common::config::{LoadManager, Rack};
use common::ids::{ListenerId, Plane};
use common::io::fds::{self, Passed};
use common::io::start::StartError;
use common::io::udp;
use std::io::Error;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;

pub struct Sockets {
    /// One a plane.
    pub control: Vec<(Plane, UdpSocket)>,
    /// To the agent; none if a person has started this process.
    pub beacons: Option<UnixDatagram>,
    /// One entry a worker.
    pub workers: Vec<WorkerSockets>,
}

/// What one forwarder thread reads and sends from.
pub struct WorkerSockets {
    /// In the order of the listeners, by `ListenerId`.
    pub vip: Vec<(ListenerId, UdpSocket)>,
    /// Towards the nodes, one a plane.
    pub egress: Vec<(Plane, UdpSocket)>,
}

impl Sockets {
    pub fn open(rack: &Rack, lm: &LoadManager, passed: &mut Passed) -> Result<Sockets, StartError> {
        let shared = lm.workers > 1;
        let mut workers = Vec::new();
        for worker in 0..lm.workers {
            let mut vip = Vec::new();
            for (id, listener) in rack.listeners() {
                vip.push((
                    id,
                    take(passed, &fds::vip(id, worker), &format!("listener {id}"), listener.socket_address(), shared)?,
                ));
            }
            let mut egress = Vec::new();
            for (plane, ip) in lm.planes.iter() {
                let port = lm.egress_port.checked_add(worker).ok_or_else(|| {
                    StartError::Config(format!(
                        "load_managers: egress_port {} has no room for {} workers",
                        lm.egress_port, lm.workers
                    ))
                })?;
                let socket =
                    take(passed, &fds::egress(plane, worker), "the egress port", SocketAddr::new(ip, port), false)?;
                udp::take_several_as_one(&socket);
                egress.push((plane, socket));
            }
            workers.push(WorkerSockets { vip, egress });
        }
        let mut control = Vec::new();
        for (plane, ip) in lm.planes.iter() {
            let address = SocketAddr::new(ip, lm.control_port);
            control.push((plane, take(passed, &fds::control(plane), "the control port", address, false)?));
        }
        let beacons = passed.unix(fds::BEACONS);
        if let Some(socket) = &beacons {
            socket.set_nonblocking(true).map_err(|e| StartError::io("the socket to the agent", e))?;
        }
        Ok(Sockets { control, beacons, workers })
    }
}

fn take(
    passed: &mut Passed,
    name: &str,
    what: &str,
    address: SocketAddr,
    shared: bool,
) -> Result<UdpSocket, StartError> {
    let failed = |e: Error| StartError::socket(format!("{what} of the load manager"), address, e);
    let Some(socket) = passed.udp(name) else { return udp::bind(address, shared).map_err(failed) };
    let at = socket.local_addr().map_err(failed)?;
    if at != address {
        return Err(StartError::Config(format!(
            "the socket {name} that was passed on is bound to {at}, the rack file says {address}; restart the agent after changing addresses"
        )));
    }
    socket.set_nonblocking(true).map_err(failed)?;
    Ok(socket)
}
