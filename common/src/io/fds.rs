//! Sockets that an agent opens and passes to its child, keeping copies: datagrams wait in the kernel while the child is
//! restarted. They pass by number; `SIPRACK_FDS` names them: `vip0.0=3,egress.0=4,control=5,beacons=6`. And the memory in which a
//! node's workers say what they have in hand: `in_hand=3`.
#![allow(unsafe_code)] // a descriptor's number becomes its owner here, once
#![allow(clippy::disallowed_methods)] // the environment is how the numbers arrive

use crate::ids::{ListenerId, Plane};
use std::collections::BTreeMap;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};

pub const VARIABLE: &str = "SIPRACK_FDS";
/// The first number that is passed on; 0 to 2 are standard input, output and error.
pub const FIRST: RawFd = 3;
/// The name of the socket on which an lm-server tells its agent, by an octet, that a beacon has left.
pub const BEACONS: &str = "beacons";
/// The name of a cc-node's [`super::in_hand::InHand`].
pub const IN_HAND: &str = "in_hand";

/// A worker's socket of a listener.
pub fn vip(listener: ListenerId, worker: u16) -> String {
    format!("vip{listener}.{worker}")
}

/// A load manager's control port on this plane; plane A's have the plain names.
pub fn control(plane: Plane) -> String {
    format!("control{}", suffix(plane))
}

/// A worker's socket towards the nodes on this plane.
pub fn egress(plane: Plane, worker: u16) -> String {
    format!("egress{}.{worker}", suffix(plane))
}

fn suffix(plane: Plane) -> &'static str {
    match plane {
        Plane::A => "",
        Plane::B => "_b",
    }
}

/// The value of [`VARIABLE`] for sockets of these names, which the child gets in this order from [`FIRST`] on.
pub fn variable<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let pairs: Vec<String> = names.into_iter().zip(FIRST..).map(|(name, fd)| format!("{name}={fd}")).collect();
    pairs.join(",")
}

/// Sockets that were passed to this process.
#[derive(Debug, Default)]
pub struct Passed(BTreeMap<String, OwnedFd>);

/// A descriptor has one owner: who takes them a second time gets an error.
static TAKEN: AtomicBool = AtomicBool::new(false);

impl Passed {
    /// Takes them all, once, at the start of the process, before it opens anything; none if it was started by hand.
    pub fn take() -> io::Result<Passed> {
        let Ok(text) = std::env::var(VARIABLE) else { return Ok(Passed::default()) };
        if TAKEN.swap(true, Ordering::AcqRel) {
            return Err(io::Error::other(format!("{VARIABLE}: the passed sockets were taken already")));
        }
        let numbers = numbers(&text)?;
        for (name, number) in &numbers {
            check(name, *number)?;
        }
        // SAFETY: each is an open socket that the agent passed to this process and that nobody here owns yet; no number
        // stands twice, and `TAKEN` lets this happen once.
        let owned = numbers.into_iter().map(|(name, number)| (name, unsafe { OwnedFd::from_raw_fd(number) }));
        Ok(Passed(owned.collect()))
    }

    /// The UDP socket of this name, if it was passed.
    pub fn udp(&mut self, name: &str) -> Option<UdpSocket> {
        self.0.remove(name).map(UdpSocket::from)
    }

    /// The Unix datagram socket of this name, if it was passed.
    pub fn unix(&mut self, name: &str) -> Option<UnixDatagram> {
        self.0.remove(name).map(UnixDatagram::from)
    }

    /// The shared memory of this name, if it was passed.
    pub fn memory(&mut self, name: &str) -> Option<OwnedFd> {
        self.0.remove(name)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Names and numbers, neither of them twice.
fn numbers(text: &str) -> io::Result<BTreeMap<String, RawFd>> {
    let mut found = BTreeMap::new();
    for pair in text.split(',').filter(|p| !p.is_empty()) {
        let wrong = |why: &str| io::Error::other(format!("{VARIABLE}: {pair:?}: {why}"));
        let shape = "write name=number, the number of an open socket from 3 on";
        let (name, number) = pair.split_once('=').ok_or_else(|| wrong(shape))?;
        let number: RawFd = number.parse().ok().filter(|n| *n >= FIRST).ok_or_else(|| wrong(shape))?;
        if found.values().any(|n| *n == number) || found.insert(name.to_string(), number).is_some() {
            return Err(wrong("this name or number stands there twice"));
        }
    }
    Ok(found)
}

/// Whether the number is an open socket (or memory, if that is its name); closes it on exec. A variable that was inherited by
/// mistake names something else.
fn check(name: &str, number: RawFd) -> io::Result<()> {
    let kind = if name == IN_HAND { "shared memory" } else { "open socket" };
    let wrong = |e: rustix::io::Errno| io::Error::other(format!("{VARIABLE}: {name}={number} is no {kind} ({e})"));
    // SAFETY: only asked about; what is no open descriptor answers EBADF, and nothing here closes it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    match name {
        IN_HAND => rustix::fs::fcntl_get_seals(borrowed).map(drop).map_err(wrong)?,
        _ => rustix::net::sockopt::socket_type(borrowed).map(drop).map_err(wrong)?,
    }
    rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsFd, AsRawFd};

    #[test]
    fn what_the_agent_writes_is_what_the_child_reads() {
        let names =
            [vip(ListenerId(0), 1), egress(Plane::A, 0), egress(Plane::B, 2), control(Plane::A), control(Plane::B)];
        let text = variable(names.iter().map(String::as_str));
        assert_eq!(text, "vip0.1=3,egress.0=4,egress_b.2=5,control=6,control_b=7");
        assert_eq!(numbers(&text).expect("numbers"), names.into_iter().zip(FIRST..).collect());
        assert!(numbers("").expect("none").is_empty());
    }

    #[test]
    fn a_wrong_list_is_refused_with_the_pair_that_is_wrong() {
        for wrong in ["control", "control=x", "control=2", "control=-1", "a=3,b=3", "a=3,a=4", "a=99999999999"] {
            let error = numbers(wrong).expect_err(wrong).to_string();
            assert!(error.starts_with("SIPRACK_FDS: \""), "{error}");
        }
    }

    #[test]
    fn only_open_sockets_are_taken_and_they_close_on_exec() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        rustix::io::fcntl_setfd(socket.as_fd(), rustix::io::FdFlags::empty()).expect("a flag");
        check("control", socket.as_raw_fd()).expect("a socket");
        let flags = rustix::io::fcntl_getfd(socket.as_fd()).expect("flags");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        let file = std::fs::File::open("/dev/null").expect("a file");
        let error = check("control", file.as_raw_fd()).expect_err("a file is no socket").to_string();
        assert!(error.contains("is no open socket"), "{error}");
        assert!(check("control", 1_000_000).is_err(), "nothing has this number");
    }

    #[test]
    fn what_is_in_hand_is_memory() {
        let in_hand = crate::io::in_hand::InHand::create(2).expect("memory");
        check(IN_HAND, in_hand.memory().as_raw_fd()).expect("memory");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let error = check(IN_HAND, socket.as_raw_fd()).expect_err("a socket is no memory").to_string();
        assert!(error.contains("is no shared memory"), "{error}");
    }

    #[test]
    fn the_way_to_the_agent_is_taken_by_its_name() {
        let (agents, childs) = UnixDatagram::pair().expect("a pair");
        check(BEACONS, childs.as_raw_fd()).expect("a socket");
        let mut passed = Passed(BTreeMap::from([(BEACONS.to_string(), OwnedFd::from(childs))]));
        let told = passed.unix(BEACONS).expect("it was passed").send(&[0]).expect("room");
        assert_eq!(agents.recv(&mut [0; 4]).ok(), Some(told));
        assert!(passed.unix(BEACONS).is_none() && passed.is_empty());
    }
}
