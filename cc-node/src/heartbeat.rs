//! When a node sends a heartbeat and what it says. Pure: `io::heartbeat` (its own thread
//! and socket) and the simulated rack drive it.
//!
//! A node that is alive but useless must not look alive: `progress` moves only when *every* worker has ticked since,
//! and the state stays `starting` until the location replica has been level once.
//!
//! A beacon's echo names the newest of our sequences that counted: from when that heartbeat was sent the lease counts
//! ([`Heart::lease`], see [`crate::ownership::lease`]).

use crate::ownership::lease::Grants;
use common::ids::{BootId, Epoch, HistoryId, Level, NodeId, Plane, PlaneSet};
use common::time::Time;
use common::wire::beacon::Beacon;
use common::wire::heartbeat::{Heartbeat, NodeState, V2};
use std::time::Duration;

/// What of a node never changes while it lives.
#[derive(Clone, Debug)]
pub struct HeartSetup {
    pub node: NodeId,
    pub boot: BootId,
    /// Worker 0's port.
    pub sip_port: u16,
    pub workers: u8,
    pub class: u8,
    pub domain: u16,
    pub period: Duration,
    /// It sends to the outside itself (`egress: direct`): then nobody drops what it should not have sent.
    pub direct: bool,
}

/// What the rest of the node says of itself when a heartbeat is due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The location replica was level once.
    pub level_once: bool,
    /// The operator wants no new dialogs here.
    pub draining: bool,
    /// The process was told to end.
    pub stopping: bool,
    /// Of the placement adopted.
    pub epoch: Epoch,
    pub history: HistoryId,
    pub level: Level,
    pub location_sum: u128,
    /// Busy share of the fullest worker, in 1/65,535.
    pub load: u16,
    /// Share of new dialogs that this node takes, in 1/65,535.
    pub admit: u16,
    pub backups: Vec<NodeId>,
    /// See [`V2::strays`].
    pub strays: u32,
}

pub struct Heart {
    setup: HeartSetup,
    sequence: u64,
    /// Newest nonce heard: a heartbeat counts only by quoting it.
    beacon_nonce: u64,
    /// The incarnation of the load manager it came from.
    lm_boot: BootId,
    progress: u64,
    /// Each worker's ticks when `progress` moved last.
    ticks_then: Vec<u64>,
    next: Time,
    grants: Grants,
    /// When a beacon came in over each plane.
    heard: [Time; 2],
    lm_plane: Plane,
    /// On which the load manager has heard us lately.
    lm_hears: PlaneSet,
    lm_clock: LmClock,
}

/// How the load manager's clock stands against ours: it shows ours and so many µs more, going round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LmClock(pub u64);

impl LmClock {
    fn of(beacon: &Beacon, now: Time) -> LmClock {
        LmClock(beacon.sent_us.wrapping_sub(now.0))
    }

    /// What it shows when ours shows this.
    pub fn at(self, now: Time) -> Time {
        Time(now.0.wrapping_add(self.0))
    }
}

impl Heart {
    pub fn new(setup: HeartSetup, now: Time) -> Heart {
        let ticks_then = vec![0; usize::from(setup.workers)];
        let grants = Grants::default();
        Heart {
            setup,
            sequence: 0,
            beacon_nonce: 0,
            lm_boot: BootId(0),
            progress: 0,
            ticks_then,
            next: now,
            grants,
            heard: [now; 2],
            lm_plane: Plane::A,
            lm_hears: PlaneSet::BOTH,
            lm_clock: LmClock::default(),
        }
    }

    pub fn next_due(&self) -> Time {
        self.next
    }

    /// A heartbeat is due.
    /// `ticks` = each worker's count of rounds; workers tick every 50 ms even when idle.
    /// The same heartbeat goes out on every plane: see [`on_plane`].
    pub fn beat(&mut self, now: Time, ticks: &[u64], facts: &Facts) -> Heartbeat {
        // A period that was slept through is not made up for by a burst.
        self.next = (self.next + self.setup.period).max(now + self.setup.period / 2);
        self.sequence += 1;
        self.grants.sent(self.sequence, now, facts.epoch);
        if ticks.len() == self.ticks_then.len() && ticks.iter().zip(&self.ticks_then).all(|(now, then)| now != then) {
            self.progress += 1;
            self.ticks_then.copy_from_slice(ticks);
        }
        let setup = &self.setup;
        let v2 = V2 {
            boot: setup.boot,
            sequence: self.sequence,
            sent_us: now.0,
            beacon_nonce: self.beacon_nonce,
            epoch: facts.epoch,
            progress: self.progress,
            workers: setup.workers,
            load: facts.load,
            admit: facts.admit,
            class: setup.class,
            domain: setup.domain,
            plane: Plane::A,
            history: facts.history,
            level: facts.level,
            location_sum: facts.location_sum,
            backups: facts.backups.clone(),
            strays: facts.strays,
            hears: self.hears(now),
        };
        Heartbeat { node: setup.node, sip_port: setup.sip_port, state: state(facts), v2: Some(v2) }
    }

    /// A beacon came in over this plane. Remembers the nonce to quote, and takes the lease that an echo gives. Nonces of one
    /// load-manager incarnation grow; another incarnation starts anew. False if it is older than one heard before, of a
    /// dead load manager or late or replayed: then it says nothing any more.
    pub fn beacon(&mut self, now: Time, plane: Plane, beacon: &Beacon) -> bool {
        if (beacon.lm_boot, beacon.nonce) < (self.lm_boot, self.beacon_nonce) {
            return false;
        }
        self.heard[plane as usize] = now;
        if (beacon.lm_boot, beacon.nonce) > (self.lm_boot, self.beacon_nonce) {
            self.lm_clock = LmClock::of(beacon, now);
        }
        (self.lm_boot, self.beacon_nonce) = (beacon.lm_boot, beacon.nonce);
        let us = (self.setup.node, self.setup.boot);
        let least = match beacon.learning {
            // It does not know whom it has removed. What goes through it waits there until it does.
            true if self.setup.direct => Epoch(u64::MAX),
            true => Epoch(0),
            false if beacon.inputs.live().any(|live| live == us) => Epoch(0),
            false => beacon.epoch,
        };
        if let Some(echo) = beacon.echoes.iter().find(|echo| (echo.node, echo.boot) == us) {
            self.grants.echoed(echo.sequence, least);
            self.lm_hears = echo.planes;
        }
        true
    }

    /// The plane on which the load manager is reached.
    pub fn lm_plane(&mut self, now: Time) -> Plane {
        self.lm_plane = self.lm_plane.or_better(self.lm_hears, self.hears(now));
        self.lm_plane
    }

    fn hears(&self, now: Time) -> PlaneSet {
        PlaneSet::heard(self.heard.map(Some), now)
    }

    pub fn lm_clock(&self) -> LmClock {
        self.lm_clock
    }

    /// Until when this node may send towards the outside.
    pub fn lease(&self) -> Time {
        self.grants.until()
    }
}

/// The same heartbeat for another plane.
pub fn on_plane(mut heartbeat: Heartbeat, plane: Plane) -> Heartbeat {
    if let Some(v2) = &mut heartbeat.v2 {
        v2.plane = plane;
    }
    heartbeat
}

fn state(facts: &Facts) -> NodeState {
    match facts {
        Facts { stopping: true, .. } => NodeState::Stopping,
        Facts { level_once: false, .. } => NodeState::Starting,
        Facts { draining: true, .. } => NodeState::Draining,
        _ => NodeState::Started,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::placement::{Inputs, Policy};
    use common::wire::beacon::Echo;

    fn heart() -> Heart {
        let setup = HeartSetup {
            node: NodeId(2),
            boot: BootId(7),
            sip_port: 5070,
            workers: 2,
            class: 1,
            domain: 2,
            period: Duration::from_millis(50),
            direct: false,
        };
        Heart::new(setup, Time(0))
    }

    fn beacon(lm_boot: u64, nonce: u64) -> Beacon {
        let inputs = Inputs { policy: Policy::Rendezvous, members: vec![], ..Inputs::default() };
        let (lm_boot, epoch) = (BootId(lm_boot), Epoch(1));
        Beacon {
            lm_boot,
            nonce,
            sent_us: 0,
            epoch,
            inputs,
            formers: vec![],
            holders: vec![],
            digest: 0,
            echoes: vec![],
            learning: false,
        }
    }

    fn ms(n: u64) -> Time {
        Time(n * 1000)
    }

    #[test]
    fn each_says_the_next_sequence_and_the_newest_nonce() {
        let mut h = heart();
        let first = h.beat(ms(0), &[1, 1], &Facts::default()).v2.unwrap();
        assert_eq!((first.sequence, first.beacon_nonce, first.sent_us), (1, 0, 0));
        h.beacon(ms(0), Plane::A, &beacon(3, 10));
        h.beacon(ms(0), Plane::A, &beacon(3, 11));
        h.beacon(ms(0), Plane::A, &beacon(2, 99));
        assert_eq!(h.next_due(), ms(50));
        let second = h.beat(ms(50), &[2, 2], &Facts::default()).v2.unwrap();
        assert_eq!((second.sequence, second.beacon_nonce), (2, 11), "the dead load manager's beacon is not quoted");
        h.beacon(ms(0), Plane::A, &beacon(4, 1));
        assert_eq!(h.beat(ms(100), &[2, 2], &Facts::default()).v2.unwrap().beacon_nonce, 1, "a new incarnation's is");
    }

    #[test]
    fn an_echo_of_this_incarnation_gives_a_lease_from_the_sending() {
        let mut h = heart();
        let under = |epoch| Facts { epoch: Epoch(epoch), ..Facts::default() };
        h.beat(ms(50), &[0, 0], &under(0));
        h.beat(ms(100), &[1, 1], &under(1));
        h.beat(ms(150), &[2, 2], &under(1));
        let echo = |boot, sequence| Echo { node: NodeId(2), boot: BootId(boot), sequence, planes: PlaneSet::BOTH };
        let told = |lm, echo| Beacon { echoes: vec![Echo { node: NodeId(1), ..echo }, echo], ..beacon(lm, 1) };
        h.beacon(ms(0), Plane::A, &told(4, echo(6, 3)));
        assert_eq!(h.lease(), Time(0), "the echo of a former incarnation");
        h.beacon(ms(0), Plane::A, &told(4, echo(7, 1)));
        assert_eq!(h.lease(), Time(0), "sent before the epoch without it was adopted");
        h.beacon(ms(0), Plane::A, &told(4, echo(7, 2)));
        assert_eq!(h.lease(), ms(400));
        h.beacon(ms(0), Plane::A, &told(3, echo(7, 3)));
        assert_eq!(h.lease(), ms(400), "a dead load manager's word");
        h.beacon(ms(0), Plane::A, &told(4, echo(7, 3)));
        assert_eq!(h.lease(), ms(450));
    }

    #[test]
    fn the_load_managers_clock_is_known_from_its_newest_beacon() {
        let mut h = heart();
        let says = |nonce, at: Time| Beacon { sent_us: at.0, ..beacon(3, nonce) };
        h.beacon(ms(100), Plane::A, &says(1, ms(86_400_100)));
        assert_eq!(h.lm_clock().at(ms(150)), ms(86_400_150), "it is a day ahead");
        h.beacon(ms(190), Plane::B, &says(1, ms(86_400_100)));
        assert_eq!(h.lm_clock().at(ms(200)), ms(86_400_200), "the other plane's copy is late");
        h.beacon(ms(200), Plane::A, &Beacon { lm_boot: BootId(4), ..says(1, ms(20)) });
        assert_eq!(h.lm_clock().at(ms(250)), ms(70), "another machine's, far behind");
    }

    #[test]
    fn a_silent_plane_is_left_for_one_that_is_heard() {
        let mut h = heart();
        for n in 1..=4 {
            h.beacon(ms(50 * n), Plane::B, &beacon(3, n));
            assert_eq!(h.lm_plane(ms(50 * n)), if n < 4 { Plane::A } else { Plane::B }, "{n}");
        }
        assert_eq!(h.lm_plane(ms(900)), Plane::B, "neither is heard: no reason to change");
        h.beacon(ms(950), Plane::A, &beacon(3, 5));
        assert_eq!(h.lm_plane(ms(950)), Plane::A);
    }

    #[test]
    fn a_plane_on_which_we_are_not_heard_is_left_though_we_hear_on_it() {
        let mut h = heart();
        let heard_on = |nonce, planes: &[Plane]| {
            let planes = PlaneSet::of(planes.iter().copied());
            let echo = Echo { node: NodeId(2), boot: BootId(7), sequence: nonce, planes };
            Beacon { echoes: vec![echo], ..beacon(3, nonce) }
        };
        for plane in Plane::ALL {
            h.beacon(ms(50), plane, &heard_on(1, &[Plane::B]));
        }
        assert_eq!(h.beat(ms(50), &[], &Facts::default()).v2.unwrap().hears, PlaneSet::BOTH);
        assert_eq!(h.lm_plane(ms(50)), Plane::B);
        h.beacon(ms(220), Plane::A, &heard_on(2, &[Plane::B]));
        assert_eq!(h.lm_plane(ms(220)), Plane::B, "heard there, though we hear nothing on it any more");
        assert_eq!(h.beat(ms(220), &[], &Facts::default()).v2.unwrap().hears, PlaneSet::of([Plane::A]));
        h.beacon(ms(250), Plane::A, &heard_on(3, &Plane::ALL));
        assert_eq!(h.lm_plane(ms(250)), Plane::A);
    }

    #[test]
    fn who_sends_to_the_outside_itself_gets_no_lease_from_one_that_learns() {
        for (direct, lease) in [(false, ms(350)), (true, Time(0))] {
            let mut h = heart();
            h.setup.direct = direct;
            h.beat(ms(50), &[0, 0], &Facts { epoch: Epoch(9), ..Facts::default() });
            let echo = Echo { node: NodeId(2), boot: BootId(7), sequence: 1, planes: PlaneSet::BOTH };
            h.beacon(ms(60), Plane::A, &Beacon { echoes: vec![echo], learning: true, ..beacon(4, 1) });
            assert_eq!(h.lease(), lease);
        }
    }

    #[test]
    fn one_stuck_worker_stops_the_progress() {
        let mut h = heart();
        let mut progress = |ticks: &[u64]| h.beat(ms(0), ticks, &Facts::default()).v2.unwrap().progress;
        assert_eq!(progress(&[1, 1]), 1);
        assert_eq!(progress(&[2, 1]), 1, "worker 1 has not ticked");
        assert_eq!(progress(&[3, 1]), 1);
        assert_eq!(progress(&[3, 2]), 2);
        assert_eq!(progress(&[3, 2]), 2);
    }

    #[test]
    fn starting_until_the_replica_was_level() {
        let mut h = heart();
        let mut says = |facts: Facts| h.beat(ms(0), &[], &facts).state;
        assert_eq!(says(Facts::default()), NodeState::Starting);
        assert_eq!(says(Facts { draining: true, ..Facts::default() }), NodeState::Starting);
        assert_eq!(says(Facts { level_once: true, ..Facts::default() }), NodeState::Started);
        assert_eq!(says(Facts { level_once: true, draining: true, ..Facts::default() }), NodeState::Draining);
        assert_eq!(says(Facts { level_once: true, stopping: true, ..Facts::default() }), NodeState::Stopping);
    }

    #[test]
    fn a_pause_is_followed_by_one_heartbeat_not_by_a_burst() {
        let mut h = heart();
        h.beat(ms(0), &[], &Facts::default());
        h.beat(ms(1000), &[], &Facts::default());
        assert!(h.next_due() >= ms(1025), "{:?}", h.next_due());
    }
}
