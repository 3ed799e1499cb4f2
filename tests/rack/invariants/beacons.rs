//! Beacons as the checkers read them: each once, however many nodes it is sent to and reaches.

use crate::network::Datagram;
use crate::site::Site;
use bytes::Bytes;
use common::wire::beacon::Beacon;
use common::wire::frame::{self, Message};
use std::collections::VecDeque;
use std::rc::Rc;

/// More than are under way at once.
const KNOWN: usize = 64;

#[derive(Default)]
pub struct Beacons {
    /// As long as the octets are held here, no others lie at their address.
    read: VecDeque<(Bytes, Option<Rc<Beacon>>)>,
}

impl Beacons {
    /// What this datagram says, if it is a beacon of this rack.
    pub fn read(&mut self, site: &Site, datagram: &Datagram) -> Option<Rc<Beacon>> {
        let bytes = &datagram.bytes;
        let same = |(known, _): &&(Bytes, _)| known.as_ptr() == bytes.as_ptr() && known.len() == bytes.len();
        if let Some((_, beacon)) = self.read.iter().rev().find(same) {
            return beacon.clone();
        }
        let beacon = match frame::decode(bytes, &site.keys.plane) {
            Ok(Message::Beacon(beacon)) => Some(Rc::new(beacon)),
            _ => None,
        };
        if self.read.len() == KNOWN {
            self.read.pop_front();
        }
        self.read.push_back((bytes.clone(), beacon.clone()));
        beacon
    }
}
