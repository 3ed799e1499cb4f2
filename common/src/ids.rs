//! The names of things in a rack. All are plain numbers with a type of their own, so that one is never passed for another.

use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Three beacons or heartbeats of the default period: a plane that brought none of them for longer is not heard.
const SILENT: Duration = Duration::from_millis(150);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A cc-node of the rack (CC Server ID), 1 to 65,535 by configuration; 0 is nobody. Tokens carry it in 16 bits.
    NodeId(u16)
}
id! {
    /// One incarnation of a process. Drawn by the agent, strictly growing for one state directory.
    BootId(u64)
}
id! {
    /// The number under which a placement stands. Only the acting load manager makes a new one.
    Epoch(u64)
}
id! {
    /// Position in the provisioning log; 0 is the empty log.
    Level(u64)
}
id! {
    /// Which provisioning log; another history means: reload.
    HistoryId(u64)
}
id! {
    /// Index of a listener (VIP:port:transport) in the rack file's order.
    ListenerId(u8)
}
id! {
    /// A trunk's number in the rack file; it stands in tokens, so it stays with the trunk.
    TrunkId(u16)
}
id! {
    /// One of the 65,536 values of the keyed Call-ID hash.
    Slot(u16)
}

/// One of the two inside networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Plane {
    A = 0,
    B = 1,
}

impl Plane {
    pub const ALL: [Plane; 2] = [Plane::A, Plane::B];

    pub fn other(self) -> Plane {
        if self == Plane::A { Plane::B } else { Plane::A }
    }

    /// The plane to send on: above all one on which the far end hears us, for a plane may fail in one direction; then one
    /// on which we hear it, for what it hears is old news by then. This one is not left for its equal.
    pub fn or_better(self, it_hears_us: PlaneSet, we_hear_it: PlaneSet) -> Plane {
        let worth = |plane: Plane| (it_hears_us.has(plane), we_hear_it.has(plane));
        if worth(self.other()) > worth(self) { self.other() } else { self }
    }
}

/// Some of the planes: bit 0 is A, bit 1 is B.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlaneSet(pub u8);

impl PlaneSet {
    pub const BOTH: PlaneSet = PlaneSet(0b11);

    pub fn of(planes: impl IntoIterator<Item = Plane>) -> PlaneSet {
        PlaneSet(planes.into_iter().fold(0, |set, plane| set | 1 << plane as u8))
    }

    /// Those on which something came lately.
    pub fn heard(last: [Option<Time>; 2], now: Time) -> PlaneSet {
        let lately = |plane: &Plane| last[*plane as usize].is_some_and(|at| now.since(at) <= SILENT);
        PlaneSet::of(Plane::ALL.into_iter().filter(lately))
    }

    pub fn and(self, other: PlaneSet) -> PlaneSet {
        PlaneSet(self.0 & other.0)
    }

    pub fn has(self, plane: Plane) -> bool {
        self.0 & (1 << plane as u8) != 0
    }
}

/// How a message travelled on the outside. The numbers are those of the PROXY header's transport TLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    Udp = 0,
    Tcp = 1,
    Tls = 2,
    Ws = 3,
    Wss = 4,
}

impl Transport {
    /// As it stands in a Via's sent-protocol (RFC 3261 §20.42).
    pub fn via_name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    pub fn from_u8(n: u8) -> Option<Self> {
        [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss]
            .into_iter()
            .find(|t| *t as u8 == n)
    }
}
