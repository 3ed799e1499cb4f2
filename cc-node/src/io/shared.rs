//! What the threads of a node share: atomics and pointers that are swapped whole. Nobody waits for anybody.

use crate::admission;
use crate::core::contain::Contained;
use crate::heartbeat::LmClock;
use crate::location::Replica;
use crate::ownership::inquiries;
use crate::probe::Report;
use crate::quarantine::{Fingerprint, MOST};
use crate::resolve::Counters;
use crate::shadow::keeper::Takeovers;
use crate::shadow::{shelf, shipper};
use crate::stats::Stats;
use arc_swap::ArcSwap;
use common::config::{CcNode, Rack};
use common::ids::{BootId, NodeId, Plane};
use common::keys::Keys;
use common::placement::{Placement, Placements};
use common::time::Duration;
use common::time::Time;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

pub struct Shared {
    pub id: NodeId,
    pub boot: BootId,
    pub rack: Arc<Rack>,
    pub keys: Arc<Keys>,
    /// This node's part of the rack file.
    pub config: CcNode,
    pub replica: Arc<Replica>,
    /// What the beacons say; workers read it.
    pub placements: ArcSwap<Placements>,
    pub workers: Vec<WorkerShared>,
    /// Messages that no worker handles again, and until when; each worker adds what it finds, and looks.
    pub shut_out: ArcSwap<Vec<(Fingerprint, Time)>>,
    /// The operator wants no new calls here.
    pub draining: AtomicBool,
    /// Shares of new calls, in 1/65,535: taken now, the smallest of late, and the largest that the load manager may know.
    pub admit: AtomicU16,
    pub least_admitted: AtomicU16,
    pub most_admitted: AtomicU16,
    /// The process was told to end.
    pub stopping: AtomicBool,
    /// A thread ended by itself.
    pub thread_ended: AtomicBool,
    /// The replica was level once: the node may serve.
    pub level_once: AtomicBool,
    pub location_up: AtomicBool,
    pub location_lag: AtomicU64,
    /// Commands without outcome yet.
    pub location_asks: AtomicU64,
    /// The plane on which the load manager was heard last, as `Plane as u8`.
    pub lm_plane: AtomicU8,
    /// Until when this node may send towards the outside: `Time` of the process's clock. Workers read it.
    pub lease: AtomicU64,
    /// A [`LmClock`].
    pub lm_clock: AtomicU64,
    pub heartbeats_sent: AtomicU64,
    pub beacons_heard: AtomicU64,
    /// Datagrams on the control port that were no beacon of ours.
    pub beacons_refused: AtomicU64,
    /// Older than one heard before: late, replayed, or of a dead load manager.
    pub beacons_stale: AtomicU64,
    pub placement_mismatches: AtomicU64,
}

/// One worker's words to the others; on cache lines of its own.
#[repr(align(128))]
#[derive(Default)]
pub struct WorkerShared {
    /// Rounds of its loop; at least one each 50 ms.
    pub ticks: AtomicU64,
    /// Busy share of the last second, in 1/65,535.
    pub load: AtomicU16,
    /// For how long it has not seen its sockets empty, in microseconds.
    pub behind_us: AtomicU64,
    /// See [`crate::node::Node::strays`].
    pub strays: AtomicU32,
    /// Its counters, renewed a few times a second.
    pub report: ArcSwap<WorkerReport>,
}

/// How a worker's calls are protected, and what it does for others'.
#[derive(Clone, Copy, Debug, Default)]
pub struct Protection {
    pub shipper: shipper::Status,
    pub shelf: shelf::Status,
    pub takeovers: Takeovers,
    /// Its calls that no live backup holds, that one does, and that two do: looked at now and then.
    pub copies: [u64; 3],
    pub panics: Contained,
    pub limits: LimitsReport,
}

/// What a worker counts for the rack, and has asked others about.
#[derive(Clone, Copy, Debug, Default)]
pub struct LimitsReport {
    pub counters: admission::Counters,
    pub counted: u64,
}

/// A worker's counters, as the metrics show them.
#[derive(Clone, Debug, Default)]
pub struct WorkerReport {
    pub node: Stats,
    pub inquiries: inquiries::Counters,
    pub dns: Counters,
    pub shadows: Protection,
    /// What is known of the addresses of trunks that are probed: of all workers the same.
    pub trunks: Vec<Report>,
    pub io: IoCounters,
    /// Its calls from and to each trunk of the rack file, in their order; of one without `max_calls` none are counted.
    pub trunk_calls: Vec<u32>,
}

/// What happens to a datagram before and after the engine. `DROPS` names those that are losses.
#[derive(Clone, Debug, Default)]
pub struct IoCounters {
    pub received: u64,
    pub sent: u64,
    /// The PROXY header's MAC, form or version was wrong.
    pub drop_header: u64,
    /// The header's sender is not a member, or not where the rack file has it.
    pub drop_sender: u64,
    /// Handed over too long ago.
    pub drop_proxy_stale: u64,
    /// Longer than the limit.
    pub drop_truncated: u64,
    /// No Call-ID, so no way through the load manager.
    pub drop_unsendable: u64,
    /// The kernel did not take it (full buffers, no route).
    pub drop_send_failed: u64,
    /// Came or was to leave while this node had no lease.
    pub drop_no_lease: u64,
    /// Had waited while this worker did not serve for longer than a lease holds.
    pub drop_stale: u64,
    /// Handling it panicked.
    pub drop_panic: u64,
    /// Datagrams about other nodes' calls and ours: those that were no words of a worker of this rack, or were kept.
    pub shadows_received: u64,
    pub shadows_sent: u64,
    pub drop_shadow: u64,
    pub drop_shadow_stale: u64,
    /// The way to the location server was full.
    pub location_full: u64,
}

impl IoCounters {
    /// Label of `siprack_dropped_total{reason}` and its count.
    pub fn drops(&self) -> [(&'static str, u64); 11] {
        [
            ("proxy_header", self.drop_header),
            ("sender", self.drop_sender),
            ("proxy_stale", self.drop_proxy_stale),
            ("truncated", self.drop_truncated),
            ("unsendable", self.drop_unsendable),
            ("send_failed", self.drop_send_failed),
            ("no_lease", self.drop_no_lease),
            ("stale", self.drop_stale),
            ("panic", self.drop_panic),
            ("shadow", self.drop_shadow),
            ("shadow_stale", self.drop_shadow_stale),
        ]
    }
}

impl Shared {
    /// Nothing heard, nothing counted yet.
    pub fn new(
        id: NodeId,
        boot: BootId,
        rack: Arc<Rack>,
        keys: Arc<Keys>,
        config: CcNode,
        replica: Arc<Replica>,
    ) -> Shared {
        Shared {
            id,
            boot,
            rack,
            keys,
            replica,
            placements: ArcSwap::from_pointee(Placements::none()),
            workers: (0..config.workers).map(|_| WorkerShared::default()).collect(),
            config,
            shut_out: ArcSwap::default(),
            draining: AtomicBool::new(false),
            admit: AtomicU16::new(u16::MAX),
            least_admitted: AtomicU16::new(u16::MAX),
            most_admitted: AtomicU16::new(u16::MAX),
            stopping: AtomicBool::new(false),
            thread_ended: AtomicBool::new(false),
            level_once: AtomicBool::new(false),
            location_up: AtomicBool::new(false),
            location_lag: AtomicU64::new(0),
            location_asks: AtomicU64::new(0),
            lm_plane: AtomicU8::new(Plane::A as u8),
            lease: AtomicU64::new(0),
            lm_clock: AtomicU64::new(0),
            heartbeats_sent: AtomicU64::new(0),
            beacons_heard: AtomicU64::new(0),
            beacons_refused: AtomicU64::new(0),
            beacons_stale: AtomicU64::new(0),
            placement_mismatches: AtomicU64::new(0),
        }
    }

    pub fn lm_clock(&self) -> LmClock {
        LmClock(self.lm_clock.load(Ordering::Relaxed))
    }

    /// Whoever has seen a lease then sees the placement under which it was given, too.
    pub fn lease(&self) -> Time {
        Time(self.lease.load(Ordering::Acquire))
    }

    /// To all workers: this message is not to be handled again.
    pub fn shut_out(&self, now: Time, message: Fingerprint, until: Time) {
        self.shut_out.rcu(|before| {
            let rest = before.iter().filter(|(other, until)| *other != message && *until > now);
            std::iter::once((message, until)).chain(rest.copied()).take(MOST).collect::<Vec<_>>()
        });
    }

    pub fn placement(&self) -> Arc<Placement> {
        self.placements.load().current.clone()
    }

    /// How far the worker is behind that is furthest.
    pub fn behind(&self) -> Duration {
        let most = self.workers.iter().map(|w| w.behind_us.load(Ordering::Relaxed)).max();
        Duration::from_micros(most.unwrap_or(0))
    }

    pub fn strays(&self) -> u32 {
        self.workers.iter().map(|w| w.strays.load(Ordering::Relaxed)).sum()
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub fn lm_plane(&self) -> Plane {
        if self.lm_plane.load(Ordering::Relaxed) == Plane::B as u8 { Plane::B } else { Plane::A }
    }
}
