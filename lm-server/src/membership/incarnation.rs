//! One run of a node as its heartbeats show it: which of them count, when it was heard, what it says of itself.
//! `servers` keeps the current one of each node.

use super::admitted::Admitted;
use super::refusal::Refusal;
use common::ids::{BootId, Epoch, HistoryId, Level, PlaneSet};
use common::time::Time;
use common::wire::heartbeat::{NodeState, V2};
use std::time::Duration;

/// A heartbeat counts only if the beacon it quotes is at most this old …
const NONCE_AGE: Duration = Duration::from_millis(150);
/// … or this, for the first that counts of an incarnation: nobody has polled it often so far.
const FIRST_NONCE_AGE: Duration = Duration::from_secs(1);
/// Every worker must have moved within this.
const PROGRESS_AGE: Duration = Duration::from_millis(500);

/// What a heartbeat meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It counts: the node lives, and the next beacon echoes it.
    Counts,
    /// The other plane's copy of the newest one.
    Copy,
    Refused(Refusal),
}

#[derive(Clone, Debug)]
pub struct Incarnation {
    pub boot: BootId,
    pub state: NodeState,
    /// Sequence of the newest heartbeat that counted, which beacons echo; 0 = none.
    pub counted: u64,
    /// When the newest heartbeat that counted was received.
    pub heard: Option<Time>,
    /// When the newest heartbeat came in over each plane.
    pub on_plane: [Option<Time>; 2],
    /// What it says of itself: the placement it stands under, and more for the eye.
    pub epoch: Epoch,
    pub load: u16,
    pub admit: u16,
    /// What of that the packet path has gone by.
    pub admitted: Admitted,
    /// See [`V2::strays`].
    pub strays: u32,
    /// See [`V2::hears`].
    pub hears: PlaneSet,
    pub history: HistoryId,
    pub level: Level,
    pub location_sum: u128,
    sequence: u64,
    /// Over which planes the newest has come.
    came: [bool; 2],
    progress: u64,
    progress_at: Time,
}

impl Incarnation {
    pub fn new(boot: BootId, now: Time) -> Incarnation {
        Incarnation {
            boot,
            state: NodeState::Starting,
            counted: 0,
            heard: None,
            on_plane: [None; 2],
            epoch: Epoch(0),
            load: 0,
            admit: 0,
            admitted: Admitted::default(),
            strays: 0,
            hears: PlaneSet::BOTH,
            history: HistoryId(0),
            level: Level(0),
            location_sum: 0,
            sequence: 0,
            came: [false; 2],
            progress: 0,
            progress_at: now,
        }
    }

    /// Live in a placement that was learned from the nodes: counts as heard now, and as what it was there until it says
    /// otherwise.
    pub fn learned(boot: BootId, now: Time, draining: bool) -> Incarnation {
        let mut incarnation = Incarnation::new(boot, now);
        incarnation.state = if draining { NodeState::Draining } else { NodeState::Started };
        incarnation.admit = u16::MAX;
        incarnation.heard = Some(now);
        incarnation
    }

    /// `nonce_age`: how long ago the beacon that is quoted was sent, `None` if it is none of ours.
    pub fn judge(&mut self, now: Time, state: NodeState, beat: &V2, nonce_age: Option<Duration>) -> Judged {
        let (plane, is_copy) = (beat.plane as usize, beat.sequence == self.sequence);
        // A second one of the same plane says nothing of the plane either: somebody may have kept it.
        if beat.sequence < self.sequence || is_copy && self.came[plane] {
            return Judged::Refused(Refusal::OldSequence);
        }
        self.on_plane[plane] = Some(now);
        if is_copy {
            self.came[plane] = true;
            return Judged::Copy;
        }
        self.came = [false; 2];
        self.came[plane] = true;
        self.sequence = beat.sequence;
        if beat.progress != self.progress {
            self.progress = beat.progress;
            self.progress_at = now;
        }
        let limit = if self.counted == 0 { FIRST_NONCE_AGE } else { NONCE_AGE };
        if nonce_age.is_none_or(|age| age > limit) {
            return Judged::Refused(Refusal::StaleNonce);
        }
        if now.since(self.progress_at) > PROGRESS_AGE {
            return Judged::Refused(Refusal::NoProgress);
        }
        self.counted = beat.sequence;
        self.heard = Some(now);
        self.state = state;
        self.epoch = beat.epoch;
        (self.load, self.admit, self.strays) = (beat.load, beat.admit, beat.strays);
        self.hears = beat.hears;
        (self.history, self.level, self.location_sum) = (beat.history, beat.level, beat.location_sum);
        Judged::Counts
    }

    /// Planes on which anything of it came lately.
    pub fn heard_on(&self, now: Time) -> PlaneSet {
        PlaneSet::heard(self.on_plane, now)
    }

    /// Heard within `limit`.
    pub fn is_alive(&self, now: Time, limit: Duration) -> bool {
        self.heard.is_some_and(|heard| now.since(heard) < limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::Plane;

    fn beat(sequence: u64, progress: u64, plane: Plane) -> V2 {
        V2 {
            boot: BootId(1),
            sequence,
            sent_us: 0,
            beacon_nonce: 0,
            epoch: Epoch(3),
            progress,
            workers: 1,
            load: 0,
            admit: 0,
            class: 1,
            domain: 1,
            plane,
            history: HistoryId(0),
            level: Level(0),
            location_sum: 0,
            backups: Vec::new(),
            strays: 0,
            hears: PlaneSet::BOTH,
        }
    }

    fn ms(n: u64) -> Time {
        Time(n * 1000)
    }

    const FRESH: Option<Duration> = Some(Duration::from_millis(20));
    const AGED: Option<Duration> = Some(Duration::from_millis(400));
    const UP: NodeState = NodeState::Started;

    #[test]
    fn the_first_may_quote_an_older_beacon_the_next_may_not() {
        let mut i = Incarnation::new(BootId(1), ms(0));
        assert_eq!(i.judge(ms(0), UP, &beat(1, 1, Plane::A), None), Judged::Refused(Refusal::StaleNonce));
        assert_eq!(i.judge(ms(50), UP, &beat(2, 2, Plane::A), AGED), Judged::Counts);
        assert_eq!(i.judge(ms(100), UP, &beat(3, 3, Plane::A), AGED), Judged::Refused(Refusal::StaleNonce));
        assert_eq!((i.counted, i.heard), (2, Some(ms(50))));
    }

    #[test]
    fn each_plane_has_its_copy_and_a_late_one_is_old() {
        let mut i = Incarnation::new(BootId(1), ms(0));
        assert_eq!(i.judge(ms(0), UP, &beat(5, 1, Plane::A), FRESH), Judged::Counts);
        assert_eq!(i.judge(ms(1), UP, &beat(5, 1, Plane::B), FRESH), Judged::Copy);
        assert_eq!(i.on_plane, [Some(ms(0)), Some(ms(1))]);
        assert_eq!(i.judge(ms(2), UP, &beat(4, 1, Plane::B), FRESH), Judged::Refused(Refusal::OldSequence));
    }

    #[test]
    fn a_heartbeat_of_a_node_whose_workers_stand_still_does_not_count() {
        let mut i = Incarnation::new(BootId(1), ms(0));
        for n in 0..=10 {
            assert_eq!(i.judge(ms(n * 50), UP, &beat(n + 1, 7, Plane::A), FRESH), Judged::Counts, "{n}");
        }
        assert_eq!(i.judge(ms(550), UP, &beat(12, 7, Plane::A), FRESH), Judged::Refused(Refusal::NoProgress));
        assert_eq!(i.judge(ms(600), UP, &beat(13, 8, Plane::A), FRESH), Judged::Counts);
    }
}
