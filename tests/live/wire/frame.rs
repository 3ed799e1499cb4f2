//! What a frame carries: a UDP datagram over IPv4, if it does.

use std::net::{Ipv4Addr, SocketAddrV4};

/// A datagram on a plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    pub from: SocketAddrV4,
    pub to: SocketAddrV4,
    pub payload: &'a [u8],
}

const ETHERNET: usize = 14;
const UDP: u8 = 17;
const UDP_HEAD: usize = 8;
/// "More fragments" and the offset: a fragment is no datagram.
const FRAGMENT: u16 = 0x3FFF;

/// None for anything else, fragments too.
pub fn datagram(frame: &[u8]) -> Option<Datagram<'_>> {
    let word = |octets: &[u8], at: usize| Some(u16::from_be_bytes([*octets.get(at)?, *octets.get(at + 1)?]));
    if word(frame, 12)? != 0x0800 {
        return None;
    }
    let ip = frame.get(ETHERNET..)?;
    let head = usize::from(ip.first()? & 0x0F) * 4;
    if ip[0] >> 4 != 4 || *ip.get(9)? != UDP || word(ip, 6)? & FRAGMENT != 0 {
        return None;
    }
    let address = |at: usize| -> Option<Ipv4Addr> {
        let octets: [u8; 4] = ip.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets))
    };
    let udp = ip.get(head..usize::from(word(ip, 2)?))?;
    let length = usize::from(word(udp, 4)?);
    Some(Datagram {
        from: SocketAddrV4::new(address(12)?, word(udp, 0)?),
        to: SocketAddrV4::new(address(16)?, word(udp, 2)?),
        payload: udp.get(UDP_HEAD..length)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An Ethernet frame with an IPv4 datagram; its checksums are left at 0.
    fn frame(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
        let udp = (UDP_HEAD + payload.len()) as u16;
        let mut ip = vec![0x45, 0];
        ip.extend((20 + udp).to_be_bytes());
        ip.extend([0, 1]);
        ip.extend(fragment.to_be_bytes());
        ip.extend([64, protocol, 0, 0, 10, 99, 0, 20, 10, 99, 0, 1]);
        ip.extend(5080_u16.to_be_bytes());
        ip.extend(5060_u16.to_be_bytes());
        ip.extend(udp.to_be_bytes());
        ip.extend([0, 0]);
        [&[0; 12][..], &[8, 0], &ip, payload].concat()
    }

    #[test]
    fn a_datagram_is_read_with_its_ends() {
        // Ethernet pads what is short: that is not the datagram's.
        let mut padded = frame(UDP, 0x4000, b"hello");
        padded.extend([0; 13]);
        let read = datagram(&padded).expect("a datagram");
        assert_eq!((read.from.to_string(), read.to.to_string()), ("10.99.0.20:5080".into(), "10.99.0.1:5060".into()));
        assert_eq!(read.payload, b"hello");
    }

    #[test]
    fn anything_else_is_none() {
        assert_eq!(datagram(&frame(6, 0, b"hello")), None, "TCP");
        assert_eq!(datagram(&frame(UDP, 0x2000, b"hello")), None, "a first fragment");
        assert_eq!(datagram(&frame(UDP, 3, b"hello")), None, "a later one");
        let whole = frame(UDP, 0, b"hello");
        for end in 0..whole.len() {
            assert_eq!(datagram(&whole[..end]), None, "cut off after {end} octets");
        }
    }
}
