//! Sockets that an agent opens and passes to its child, keeping copies: datagrams wait in the kernel while the child is
//! restarted. They pass by number; `SIPRACK_FDS` names them: `vip0.0=3,egress.0=4,control=5`.
#![allow(unsafe_code)] // a descriptor's number becomes its owner here, once
#![allow(clippy::disallowed_methods)] // the environment is how the numbers arrive

use std::collections::BTreeMap;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

pub const VARIABLE: &str = "SIPRACK_FDS";
/// The first number that is passed on; 0 to 2 are standard input, output and error.
pub const FIRST: RawFd = 3;

/// The value of [`VARIABLE`] for sockets of these names, which the child gets in this order from [`FIRST`] on.
pub fn variable<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let pairs: Vec<String> = names.into_iter().zip(FIRST..).map(|(name, fd)| format!("{name}={fd}")).collect();
    pairs.join(",")
}

/// Sockets that were passed to this process.
#[derive(Default)]
pub struct Passed(BTreeMap<String, OwnedFd>);

impl Passed {
    /// Takes them all, once, at the start of the process; none if it was started by hand.
    pub fn take() -> io::Result<Passed> {
        let Ok(text) = std::env::var(VARIABLE) else { return Ok(Passed::default()) };
        let mut passed = BTreeMap::new();
        for pair in text.split(',').filter(|p| !p.is_empty()) {
            let wrong = || io::Error::other(format!("{VARIABLE}: {pair:?} is not name=number (of an open descriptor from {FIRST} on)"));
            let (name, number) = pair.split_once('=').ok_or_else(wrong)?;
            let number: RawFd = number.parse().map_err(|_| wrong())?;
            // SAFETY: only asks about the number; it is not used unless it names an open descriptor.
            let open = number >= FIRST && unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
            if !open || passed.contains_key(name) {
                return Err(wrong());
            }
            // SAFETY: the agent passed this open descriptor to us and to nobody else in this process, and this runs once.
            passed.insert(name.to_string(), unsafe { OwnedFd::from_raw_fd(number) });
        }
        Ok(Passed(passed))
    }

    /// The UDP socket of this name, if it was passed.
    pub fn udp(&mut self, name: &str) -> Option<UdpSocket> {
        self.0.remove(name).map(UdpSocket::from)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
