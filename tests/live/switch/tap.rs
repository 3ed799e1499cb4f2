//! A TAP device: a network interface whose other end is a file of ours, a frame a read or write. The kernel finishes
//! checksums and segments before it hands a frame over, so that a flipped bit is noticed where the frame arrives.

use crate::process::run;
use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{Setter, ioctl, opcode};
use std::os::fd::OwnedFd;
use std::process::Command;

/// `struct ifreq` of linux/if.h, as TUNSETIFF reads it.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

const TAP: u16 = 0x0002;
/// No header of the kernel's own before each frame.
const NO_PACKET_INFORMATION: u16 = 0x1000;
const TUNSETIFF: rustix::ioctl::Opcode = opcode::write::<i32>(b'T', 202);

/// Makes an interface `name` in this process's own network; it goes with the file.
pub fn open(name: &str) -> Result<OwnedFd, String> {
    let failed = |e: rustix::io::Errno| format!("TAP {name}: {e}");
    let file = rustix::fs::open("/dev/net/tun", OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
    let file = file.map_err(failed)?;
    let mut request = Request { name: [0; 16], flags: TAP | NO_PACKET_INFORMATION, rest: [0; 22] };
    for (place, octet) in request.name.iter_mut().take(15).zip(name.bytes()) {
        *place = octet;
    }
    // SAFETY: TUNSETIFF reads a `struct ifreq`, which `Request` is, and keeps nothing of it.
    #[allow(unsafe_code, reason = "no safe call attaches a TAP device")]
    unsafe {
        ioctl(&file, Setter::<TUNSETIFF, Request>::new(request)).map_err(failed)?;
    }
    Ok(file)
}

/// Gives the interface to a namespace, where it is called `as_name`, has this address and is up.
pub fn give(name: &str, namespace: &str, as_name: &str, address: &str, mtu: u16) -> Result<(), String> {
    let ip = |arguments: &[&str]| run(Command::new("ip").args(arguments)).map(drop);
    ip(&["link", "set", name, "addrgenmode", "none"])?;
    ip(&["link", "set", name, "netns", namespace, "name", as_name])?;
    ip(&["-n", namespace, "addr", "add", &format!("{address}/24"), "dev", as_name])?;
    ip(&["-n", namespace, "link", "set", as_name, "mtu", &mtu.to_string(), "txqueuelen", "4096", "up"])
}
