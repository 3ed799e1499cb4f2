//! What all workers of all nodes know of the trunks' addresses: whoever probes one tells the others after each probe, and
//! thrice when it changed; who comes to live is told all of it by every node. Over every plane, and nobody acknowledges.
//! What is known is never forgotten: whoever probes next goes on from it.

use super::words::{Mail, Parcel, Post, Word, encode};
use crate::effect::Over;
use crate::probe::{Health, Report};
use common::ids::{NodeId, TrunkId};
use common::placement::Placement;
use common::time::{Duration, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// A change is told so much later again.
const AGAIN: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];
/// Reports in one word: it fits a datagram.
const A_WORD: usize = 20;
/// Addresses of which something is kept: more than any rack file has.
const KEPT: usize = 65_536;

type Key = (TrunkId, SocketAddr);

pub struct Notices {
    us: Post,
    /// Of each node.
    workers: BTreeMap<NodeId, u16>,
    /// The newest of each address, and when it was heard.
    known: BTreeMap<Key, (Report, Time)>,
    /// The workers of all live nodes, ours too, but this one.
    others: BTreeSet<Post>,
    /// To be told: when, what, and to whom; in the order of their times.
    telling: Vec<(Time, Vec<Key>, Vec<Post>)>,
    mail: Mail,
}

impl Notices {
    pub fn new(us: Post, workers: BTreeMap<NodeId, u16>) -> Notices {
        let (known, others) = (BTreeMap::new(), BTreeSet::new());
        Notices { us, workers, known, others, telling: Vec::new(), mail: Mail::default() }
    }

    /// What is known of an address, as of now.
    pub fn report(&self, now: Time, trunk: TrunkId, address: SocketAddr) -> Option<Report> {
        self.known.get(&(trunk, address)).map(|(report, at)| as_of(now, report, *at))
    }

    /// Of all of them.
    pub fn all(&self, now: Time) -> Vec<Report> {
        self.known.values().map(|(report, at)| as_of(now, report, *at)).collect()
    }

    /// Without a word for it: routing asks for each call.
    pub fn is_up(&self, trunk: TrunkId, address: SocketAddr) -> bool {
        self.known.get(&(trunk, address)).is_none_or(|(report, _)| report.health.up)
    }

    /// This worker has probed an address.
    pub fn tell(&mut self, now: Time, report: Report) {
        let key = (report.trunk, report.address);
        let changed = self.known.get(&key).is_none_or(|(before, _)| before.health.up != report.health.up);
        self.known.insert(key, (report, now));
        let again = AGAIN.iter().filter(|_| changed).map(|after| now + *after);
        for at in [now].into_iter().chain(again) {
            self.later(at, vec![key], self.others.iter().copied().collect());
        }
        self.due(now);
    }

    /// What another worker says.
    pub fn hear(&mut self, now: Time, reports: Vec<Report>) {
        for report in reports {
            let key = (report.trunk, report.address);
            match self.known.get(&key) {
                Some((known, _)) if !report.is_newer(known) => {}
                None if self.known.len() >= KEPT => {}
                _ => {
                    self.known.insert(key, (report, now));
                }
            }
        }
    }

    /// Another placement stands.
    pub fn placed(&mut self, now: Time, placement: &Placement) {
        let posts = placement.inputs().live().flat_map(|(node, boot)| {
            let workers = self.workers.get(&node).copied().unwrap_or(1);
            (0..workers).map(move |worker| Post { node, boot, worker })
        });
        let others: BTreeSet<Post> = posts.filter(|post| *post != self.us).collect();
        let before = std::mem::replace(&mut self.others, others);
        for (_, _, to) in &mut self.telling {
            to.retain(|post| self.others.contains(post));
        }
        let newcomers: Vec<Post> = self.others.difference(&before).copied().collect();
        // All workers of a node know the same.
        if self.us.worker == 0 && !newcomers.is_empty() && !self.known.is_empty() {
            let all: Vec<Key> = self.known.keys().copied().collect();
            for at in [Duration::ZERO].into_iter().chain(AGAIN).map(|after| now + after) {
                self.later(at, all.clone(), newcomers.clone());
            }
        }
        self.due(now);
    }

    pub fn tick(&mut self, now: Time) {
        self.due(now);
    }

    pub fn next_due(&self) -> Option<Time> {
        self.telling.first().map(|(at, _, _)| *at)
    }

    /// What has been written since the last call.
    pub fn mail(&mut self) -> Vec<Parcel> {
        self.mail.take()
    }

    fn later(&mut self, at: Time, keys: Vec<Key>, to: Vec<Post>) {
        let place = self.telling.partition_point(|(other, _, _)| *other <= at);
        self.telling.insert(place, (at, keys, to));
    }

    /// What is told again is what is known by then.
    fn due(&mut self, now: Time) {
        let count = self.telling.partition_point(|(at, _, _)| *at <= now);
        for (_, keys, to) in self.telling.drain(..count) {
            for keys in keys.chunks(A_WORD) {
                let of = |key: &Key| self.known.get(key).map(|(report, at)| as_of(now, report, *at));
                let word = encode(&Word::Trunks { reports: keys.iter().filter_map(of).collect() });
                to.iter().for_each(|post| self.mail.put(*post, Over::EveryPlane, &word));
            }
        }
    }
}

fn as_of(now: Time, report: &Report, heard: Time) -> Report {
    let since_ms = report.health.since_ms.saturating_add(now.since(heard).as_millis() as u64);
    Report { health: Health { since_ms, ..report.health }, ..report.clone() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::words::decode;
    use super::*;
    use crate::shadow::testing;
    use common::ids::{BootId, Epoch};

    const US: Post = Post { node: NodeId(1), boot: BootId(7), worker: 0 };

    fn at(ms: u64) -> Time {
        Time(ms * 1000)
    }

    fn report(epoch: u64, no: u64, up: bool) -> Report {
        let health = Health { up, ..Health::default() };
        Report { trunk: TrunkId(7), address: ([192, 0, 2, 9], 5060).into(), epoch: Epoch(epoch), no, health }
    }

    fn is_up(n: &Notices) -> bool {
        n.is_up(TrunkId(7), ([192, 0, 2, 9], 5060).into())
    }

    fn notices() -> Notices {
        Notices::new(US, BTreeMap::from([(NodeId(1), 2), (NodeId(2), 1)]))
    }

    /// To whom: node and worker; and what of the address.
    fn said(n: &mut Notices) -> Vec<(u16, u16, Vec<Report>)> {
        let read = |parcel: Parcel| match decode(parcel.to, &parcel.plain).as_deref() {
            Ok([Word::Trunks { reports }]) => (parcel.to.node.0, parcel.to.worker, reports.clone()),
            other => panic!("{other:?}"),
        };
        n.mail().into_iter().map(read).collect()
    }

    #[test]
    fn every_other_worker_hears_of_each_probe_and_thrice_of_a_change() {
        let mut n = notices();
        n.placed(at(0), &testing::placement(3, &[(1, 7), (2, 3)]));
        assert!(said(&mut n).is_empty());
        n.tell(at(0), report(1, 1, true));
        let to: Vec<(u16, u16)> = said(&mut n).iter().map(|(node, worker, _)| (*node, *worker)).collect();
        assert_eq!(to, [(1, 1), (2, 0)], "the other worker of this node, too");
        for ms in [50, 200] {
            n.tick(at(ms));
            assert_eq!(said(&mut n).len(), 2);
        }
        n.tell(at(1_000), report(1, 2, true));
        assert_eq!((said(&mut n).len(), n.next_due()), (2, None), "nothing new");
        n.tell(at(2_000), report(1, 3, false));
        assert_eq!((said(&mut n).len(), n.next_due(), is_up(&n)), (2, Some(at(2_050)), false));
        n.tick(at(2_050));
        assert_eq!(said(&mut n).len(), 2);
        n.tick(at(2_200));
        let again = said(&mut n);
        assert_eq!((again.len(), n.next_due()), (2, None));
        assert_eq!(again[1].2[0].health.since_ms, 200, "for so long by then");
    }

    #[test]
    fn the_newest_counts_whoever_says_it() {
        let mut n = notices();
        assert!(is_up(&n), "nobody knows");
        n.hear(at(0), vec![report(2, 5, false)]);
        n.hear(at(0), vec![report(2, 4, true), report(1, 9, true)]);
        assert!(!is_up(&n));
        n.hear(at(0), vec![report(3, 6, true)]);
        assert!(is_up(&n));
    }

    #[test]
    fn who_comes_to_live_is_told_all_that_is_known_though_another_has_probed() {
        let mut n = notices();
        n.placed(at(0), &testing::placement(3, &[(1, 7)]));
        n.hear(at(0), vec![report(2, 5, false)]);
        said(&mut n);
        n.placed(at(1_000), &testing::placement(3, &[(1, 7), (2, 3)]));
        let told = said(&mut n);
        assert_eq!((told.len(), told[0].0, told[0].2[0].no, told[0].2[0].health.since_ms), (1, 2, 5, 1_000));
        n.placed(at(1_010), &testing::placement(3, &[(1, 7)]));
        n.tick(at(2_000));
        assert!(said(&mut n).is_empty(), "it has gone");
    }
}
