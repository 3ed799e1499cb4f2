//! Other nodes are warned of a message that made this one panic, or its predecessor die: its peer sends it again within half
//! a second, and by then it may be theirs. Every worker of every live node is told, several times over every plane; nobody
//! acknowledges it. Who comes to live while a message is shut out is told then.

use super::words::{Mail, Parcel, Post, Word, encode};
use crate::effect::Over;
use crate::quarantine::{Fingerprint, Quarantine};
use common::ids::NodeId;
use common::placement::Placement;
use common::time::{Duration, Time};
use std::collections::{BTreeMap, BTreeSet};

/// Each is told so much later again: at 0, 10, 40, 100, 200 and 400 ms.
const AGAIN: [Duration; 5] = [
    Duration::from_millis(10),
    Duration::from_millis(30),
    Duration::from_millis(60),
    Duration::from_millis(100),
    Duration::from_millis(200),
];
/// The newest that one word tells of.
const TOLD: usize = 64;

pub struct Warnings {
    us: Post,
    /// Of each node.
    workers: BTreeMap<NodeId, u16>,
    pub quarantine: Quarantine,
    /// The workers of other live nodes.
    others: BTreeSet<Post>,
    /// Who is to be told, how often that has been done, and when it is done next.
    telling: BTreeMap<Post, (usize, Time)>,
    /// When something was told last.
    told: Option<Time>,
    /// Apart from other words, so that a node which does not know this one loses nothing else.
    mail: Mail,
}

impl Warnings {
    pub fn new(us: Post, workers: BTreeMap<NodeId, u16>) -> Warnings {
        Warnings {
            us,
            workers,
            quarantine: Quarantine::default(),
            others: BTreeSet::new(),
            telling: BTreeMap::new(),
            told: None,
            mail: Mail::default(),
        }
    }

    /// This message is not to be handled again, by anybody. Who makes us say so again and again does not make us say it more
    /// often than each 10 ms.
    pub fn raise(&mut self, now: Time, message: Fingerprint) {
        self.quarantine.add(now, message, crate::quarantine::STAYS, true);
        let due = self.told.map_or(now, |told| now.max(told + AGAIN[0]));
        self.telling = self.others.iter().map(|post| (*post, (0, due))).collect();
        self.tell(now);
    }

    /// What another node says.
    pub fn hear(&mut self, now: Time, messages: &[(Fingerprint, u32)]) {
        for (message, left_ms) in messages {
            self.quarantine.add(now, *message, Duration::from_millis(u64::from(*left_ms)), false);
        }
    }

    /// Another placement stands.
    pub fn placed(&mut self, now: Time, placement: &Placement) {
        let live = placement.inputs().live().filter(|(node, _)| *node != self.us.node);
        let posts = live.flat_map(|(node, boot)| {
            let workers = self.workers.get(&node).copied().unwrap_or(1);
            (0..workers).map(move |worker| Post { node, boot, worker })
        });
        let before = std::mem::replace(&mut self.others, posts.collect());
        self.telling.retain(|post, _| self.others.contains(post));
        if self.quarantine.has_ours() {
            self.telling.extend(self.others.difference(&before).map(|post| (*post, (0, now))));
            self.tell(now);
        }
    }

    pub fn tick(&mut self, now: Time) {
        self.quarantine.tick(now);
        self.tell(now);
    }

    pub fn next_due(&self) -> Option<Time> {
        self.telling.values().map(|(_, due)| *due).chain(self.quarantine.next_due()).min()
    }

    /// What has been written since the last call.
    pub fn mail(&mut self) -> Vec<Parcel> {
        self.mail.take()
    }

    fn tell(&mut self, now: Time) {
        let is_due = |(_, due): &(usize, Time)| *due <= now;
        if !self.telling.values().any(is_due) {
            return;
        }
        let ms = |left: Duration| left.as_millis() as u32;
        let ours = self.quarantine.ours(now).into_iter().take(TOLD).map(|(message, left)| (message, ms(left)));
        let messages: Vec<(Fingerprint, u32)> = ours.collect();
        if messages.is_empty() {
            return self.telling.clear();
        }
        let word = encode(&Word::Quarantine { messages });
        self.told = Some(now);
        let mail = &mut self.mail;
        self.telling.retain(|post, (times, due)| {
            if *due > now {
                return true;
            }
            mail.put(*post, Over::EveryPlane, &word);
            let again = AGAIN.get(*times);
            *times += 1;
            *due = again.map_or(now, |again| now + *again);
            again.is_some()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::decode;
    use super::*;
    use crate::quarantine::STAYS;
    use crate::shadow::testing;
    use common::ids::BootId;

    const US: Post = Post { node: NodeId(1), boot: BootId(7), worker: 1 };

    fn at(ms: u64) -> Time {
        Time(ms * 1000)
    }

    fn post(node: u16, boot: u64, worker: u16) -> Post {
        Post { node: NodeId(node), boot: BootId(boot), worker }
    }

    fn placement(live: &[(u16, u64)]) -> Placement {
        testing::placement(4, live)
    }

    fn warnings() -> Warnings {
        Warnings::new(US, BTreeMap::from([(NodeId(1), 2), (NodeId(2), 2)]))
    }

    /// To whom it says what.
    fn said(warnings: &mut Warnings) -> Vec<(Post, Vec<(Fingerprint, u32)>)> {
        let read = |parcel: Parcel| {
            assert_eq!(parcel.over, Over::EveryPlane);
            match decode(parcel.to, &parcel.plain).as_deref() {
                Ok([Word::Quarantine { messages }]) => (parcel.to, messages.clone()),
                other => panic!("{other:?}"),
            }
        };
        warnings.mail().into_iter().map(read).collect()
    }

    /// When, from then to the end, how many are told.
    fn told(warnings: &mut Warnings, until: Time) -> Vec<(u64, usize)> {
        let mut told = Vec::new();
        while let Some(now) = warnings.next_due().filter(|due| *due <= until) {
            warnings.tick(now);
            told.push((now.0 / 1000, said(warnings).len()));
        }
        told
    }

    #[test]
    fn every_worker_of_every_other_live_node_is_told_again_and_again_and_then_no_more() {
        let mut w = warnings();
        w.placed(at(0), &placement(&[(1, 7), (2, 3), (3, 9)]));
        assert!(said(&mut w).is_empty() && w.next_due().is_none(), "nothing to be told");
        w.raise(at(0), Fingerprint(5));
        let all = [post(2, 3, 0), post(2, 3, 1), post(3, 9, 0)];
        assert_eq!(said(&mut w), all.map(|to| (to, vec![(Fingerprint(5), 64_000)])));
        let repeats = [(10, 3), (40, 3), (100, 3), (200, 3), (400, 3)];
        assert_eq!(told(&mut w, at(63_000)), repeats);
        w.tick(at(64_000));
        assert_eq!((w.quarantine.is_empty(), w.next_due()), (true, None));
    }

    #[test]
    fn who_comes_later_is_told_then_and_who_has_gone_is_not() {
        let mut w = warnings();
        w.raise(at(0), Fingerprint(5));
        assert!(said(&mut w).is_empty(), "nobody is known yet");
        w.placed(at(1_000), &placement(&[(1, 7), (3, 9)]));
        assert_eq!(said(&mut w), [(post(3, 9, 0), vec![(Fingerprint(5), 63_000)])]);
        w.placed(at(1_005), &placement(&[(1, 7), (2, 3)]));
        let two = [post(2, 3, 0), post(2, 3, 1)];
        assert_eq!(said(&mut w), two.map(|to| (to, vec![(Fingerprint(5), 62_995)])));
        assert_eq!(told(&mut w, at(1_100)), [(1_015, 2), (1_045, 2)]);
    }

    #[test]
    fn what_is_heard_is_kept_and_not_told_on() {
        let mut w = warnings();
        w.hear(at(0), &[(Fingerprint(5), 64_000), (Fingerprint(6), u32::MAX), (Fingerprint(7), 0)]);
        w.placed(at(0), &placement(&[(1, 7), (2, 3)]));
        assert!(said(&mut w).is_empty());
        assert_eq!((w.quarantine.len(), w.next_due()), (2, Some(at(0) + STAYS)));
    }

    #[test]
    fn a_storm_of_poison_is_no_storm_of_warnings() {
        let mut w = warnings();
        w.placed(at(0), &placement(&[(1, 7), (3, 9)]));
        let mut datagrams = 0;
        for us in 0..100_000 {
            w.raise(Time(us), Fingerprint(us + 1));
            w.tick(Time(us));
            datagrams += said(&mut w).len();
        }
        assert_eq!(datagrams, 10, "in 100 ms");
        assert_eq!(said(&mut w).len(), 0);
        w.tick(at(110));
        assert_eq!(said(&mut w)[0].1.len(), TOLD, "the newest");
    }
}
