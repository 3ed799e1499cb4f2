//! Somebody on the planes who has no key. He overhears each datagram that arrives there, whole and at once, and sends
//! what he makes of it: from any address, to any, when he likes. Who is cut off does not hear him either. His dice are
//! his own, so that a run without him is the same but for what he causes.

use crate::chance::Chance;
use crate::network::Datagram;
use crate::simulation::Simulation;
use bytes::Bytes;
use common::time::{Duration, Time};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// What he makes of a datagram.
pub struct Forgery {
    /// For the count of what has arrived.
    pub kind: &'static str,
    /// So long after what he has overheard was sent.
    pub after: Duration,
    pub datagram: Datagram,
}

/// How he makes it.
pub type Craft = Box<dyn FnMut(&mut Chance, &Datagram) -> Vec<Forgery>>;

pub struct Outsider {
    dice: Chance,
    /// None: he does not listen.
    craft: Option<Craft>,
    /// In the order of arrival.
    under_way: BTreeMap<(Time, u64), (&'static str, Datagram)>,
    sent: u64,
    arrived: BTreeMap<&'static str, u64>,
}

impl Outsider {
    fn new(seed: u64, craft: Option<Craft>) -> Outsider {
        Outsider { dice: Chance::new(seed), craft, under_way: BTreeMap::new(), sent: 0, arrived: BTreeMap::new() }
    }

    fn send(&mut self, at: Time, kind: &'static str, datagram: Datagram) {
        self.sent += 1;
        self.under_way.insert((at, self.sent), (kind, datagram));
    }

    pub(crate) fn next_due(&self) -> Option<Time> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }
}

impl Simulation {
    /// From now on he listens.
    pub fn outsider(&mut self, seed: u64, craft: Craft) {
        self.outsider = Some(Outsider::new(seed, Some(craft)));
    }

    /// He listens no more; what he has sent still arrives.
    pub fn outsider_leaves(&mut self) {
        self.outsider.iter_mut().for_each(|outsider| outsider.craft = None);
    }

    /// How much of his has arrived, by its kind.
    pub fn outsiders(&self) -> BTreeMap<&'static str, u64> {
        self.outsider.as_ref().map(|outsider| outsider.arrived.clone()).unwrap_or_default()
    }

    /// One datagram, at once, that no host sends now: the checkers do not take it for a host's own either.
    pub fn slip_in(&mut self, from: SocketAddr, to: SocketAddr, bytes: impl Into<Bytes>) {
        let outsider = self.outsider.get_or_insert_with(|| Outsider::new(0, None));
        outsider.send(self.now, "slipped in", Datagram { from, to, bytes: bytes.into() });
    }

    /// A datagram is under way on a plane.
    pub(crate) fn overheard(&mut self, datagram: &Datagram) {
        let now = self.now;
        let Some(outsider) = &mut self.outsider else { return };
        let Some(craft) = &mut outsider.craft else { return };
        for Forgery { kind, after, datagram } in craft(&mut outsider.dice, datagram) {
            outsider.send(now + after, kind, datagram);
        }
    }

    /// What of his arrives now.
    pub(crate) fn outsiders_next(&mut self) -> Option<Datagram> {
        let (now, network) = (self.now, &self.network);
        let outsider = self.outsider.as_mut()?;
        loop {
            let (kind, datagram) = outsider.under_way.first_entry().filter(|first| first.key().0 <= now)?.remove();
            if !network.is_cut_off(datagram.to.ip()) {
                *outsider.arrived.entry(kind).or_default() += 1;
                return Some(datagram);
            }
        }
    }
}
