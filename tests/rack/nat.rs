//! A masquerading router (RFC 4787: address-dependent mapping would be kinder; this one is a strict one): a private
//! address gets one public port for every far end, and only that far end may answer.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

pub struct Nat {
    public: IpAddr,
    next_port: u16,
    /// (private address, far end) → public port.
    mappings: BTreeMap<(SocketAddr, SocketAddr), u16>,
}

impl Nat {
    pub fn new(public: IpAddr) -> Nat {
        Nat { public, next_port: 30_000, mappings: BTreeMap::new() }
    }

    pub fn public(&self) -> IpAddr {
        self.public
    }

    /// A datagram leaves the private side: what its source becomes.
    pub fn outbound(&mut self, private: SocketAddr, far: SocketAddr) -> SocketAddr {
        let next = &mut self.next_port;
        let port = *self.mappings.entry((private, far)).or_insert_with(|| {
            *next += 1;
            *next
        });
        SocketAddr::new(self.public, port)
    }

    /// A datagram arrives at a public port: to whom it goes, if a mapping for that far end exists.
    pub fn inbound(&self, port: u16, far: SocketAddr) -> Option<SocketAddr> {
        self.mappings.iter().find(|((_, f), p)| *f == far && **p == port).map(|((private, _), _)| *private)
    }
}
