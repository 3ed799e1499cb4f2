//! Transactions (RFC 3261 §17 with RFC 6026): the four machines, one a file, each a pure function of its state, an event
//! and the timer values; and the table that keeps them, finds them again and runs their timers. `proxy` owns the table.
//!
//! A machine says what is to be done in [`Step`]s; the table knows addresses and makes effects of them.

pub mod client;
mod entry;
pub mod invite_client;
pub mod invite_server;
pub mod key;
pub mod server;
mod sources;
pub mod table;

pub use entry::Subject;
pub use key::{ClientKey, ServerKey};
pub use table::{ClientId, Due, LegRef, Owner, ServerId, ServerSaw, Table};

pub use crate::turn::{Address, Outgoing};

use common::time::Duration;
use smallvec::SmallVec;

/// The timers of RFC 3261 table 4 and RFC 6026.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// INVITE client: repeat the request.
    A,
    /// INVITE client: give up.
    B,
    /// INVITE client: absorb repeated finals.
    D,
    /// Client: repeat the request.
    E,
    /// Client: give up.
    F,
    /// INVITE server: repeat the final response.
    G,
    /// INVITE server: no ACK comes any more.
    H,
    /// INVITE server: absorb repeated ACKs.
    I,
    /// Server: absorb repeated requests.
    J,
    /// Client: absorb repeated responses.
    K,
    /// INVITE server: accepted (RFC 6026).
    L,
    /// INVITE client: accepted (RFC 6026).
    M,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Send(Outgoing),
    Set(Timer, Duration),
    Clear(Timer),
    /// Nothing was heard in time; the transaction user must know.
    TimedOut,
    /// The machine has ended.
    Gone,
}

pub type Steps = SmallVec<[Step; 4]>;

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::station::Timing;
    use bytes::Bytes;

    pub const TIMING: Timing = Timing {
        t1: Duration::from_millis(500),
        t2: Duration::from_secs(4),
        t4: Duration::from_secs(5),
        c: Duration::from_secs(181),
    };

    pub fn message(text: &'static str) -> Outgoing {
        Outgoing::new(None, Bytes::from_static(text.as_bytes()))
    }

    /// What a machine did, as a line of words: `send X`, `set A 500`, `clear A`, `timed out`, `gone`.
    pub fn said(run: impl FnOnce(&mut Steps)) -> String {
        let mut steps = Steps::new();
        run(&mut steps);
        let word = |step: &Step| match step {
            Step::Send(m) => format!("send {}", String::from_utf8_lossy(&m.bytes)),
            Step::Set(timer, after) => format!("set {timer:?} {}", after.as_millis()),
            Step::Clear(timer) => format!("clear {timer:?}"),
            Step::TimedOut => "timed out".into(),
            Step::Gone => "gone".into(),
        };
        steps.iter().map(word).collect::<Vec<_>>().join(", ")
    }
}
