//! What goes into a worker's engine and what comes out. The shell (`io::worker`) and the simulated rack carry effects out
//! in the order in which they stand.
//!
//! **Order.** A `Send` with `after: Some(n)`, and a `Started` after n, may leave only when record n is acknowledged by a live backup (with no
//! backup in the placement nothing waits); the `Journal` with record n always stands before it.
//! Effects of one call keep their order.

pub use crate::cdr::{Cdr, Start};
pub use crate::dns::{DnsAnswer, DnsAsk, Question};
pub use crate::record::{CallKey, Record, RecordNo};

use crate::counted::{CallNo, Key, Want};
use crate::image::Image;
use crate::probe::Report;
use bytes::Bytes;
use common::call_hash::CallHash;
use common::ids::{ListenerId, NodeId, Transport, TrunkId};
use common::location::{Aor, Bindings, Command, IdempotenceKey, LogTime, Outcome, Subscriber};
use common::placement::Placements;
use common::time::Time;
use common::wire::proxy::ProxyHeader;
use smallvec::SmallVec;
use std::net::SocketAddr;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub enum Input {
    /// From the load manager or another node, the header's MAC verified, the header stripped.
    Datagram { header: ProxyHeader, message: Bytes },
    /// What came of an `Effect::Location`.
    Location { ask: AskId, outcome: Result<Outcome, LocationFailure> },
    /// What came of an `Effect::Dns`.
    Dns { ask: DnsAsk, answer: DnsAnswer },
    /// What came of an `Effect::Admit`: these keys are at their limit.
    Admitted { ask: u64, refused: SmallVec<[Key; 2]> },
    /// A dead holder's call is this node's now.
    Inherit { hash: CallHash, image: Box<Image> },
    /// The CDR of this call is where it is safe. Or it was given up, since too many waited for the disk.
    Written { call: Arc<CallKey> },
    /// [`View::placements`] is another one than at the last input.
    Placement,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// To the backups, before any `Send` that names it.
    Journal(Record),
    /// This call of a dead holder goes on here as of this record: to the backups, whole, before any further record of it.
    Inherited { no: RecordNo, hash: CallHash, image: Box<Image> },
    /// Every call of this worker is another node's now.
    Forgotten,
    /// A SIP message for the outside, from this listener of the VIP.
    Send { after: Option<RecordNo>, listener: ListenerId, to: SocketAddr, transport: Transport, bytes: Bytes },
    /// For the location server. Exactly one `Input::Location` with this `ask` comes back.
    Location { ask: AskId, key: IdempotenceKey, command: Command },
    /// For the DNS. At most one `Input::Dns` with this `ask` comes back.
    Dns { ask: DnsAsk, question: Question },
    /// A call is about to begin: is there room under these keys? Exactly one `Input::Admitted` with this `ask` comes back
    /// within 5 ms, unless the call is over before. It is counted under those of them that are not refused.
    Admit { ask: u64, call: CallNo, wants: SmallVec<[Want; 4]> },
    /// A call of a dead holder goes on here, and is counted under these keys.
    Counts { call: CallNo, keys: SmallVec<[Key; 4]> },
    /// A call that was counted, or asked about, is over.
    CallOver { call: CallNo },
    /// A question or an answer for the worker of another node that has this call. Never waits for a record.
    Inside { to: NodeId, over: Over, header: Box<ProxyHeader>, message: Bytes },
    /// Stands behind the journal record that says so. `Input::Written` comes back once no death can lose it.
    Cdr { call: Arc<CallKey>, cdr: Box<Cdr> },
    /// The record of a call that is answered: behind its `answered`, and not before that is with a backup, since until then
    /// the call may come to nothing. No answer comes back: whoever goes on with the call says it again, under the same id.
    Started { after: RecordNo, start: Box<Start> },
    /// The record of a call that was not answered. No shadow has it: a death may lose it.
    Missed(Box<Cdr>),
}

/// The planes that a message between nodes takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    EveryPlane,
    /// The n-th repeat of one: the planes in turn.
    InTurn(u8),
}

/// Names one question to the location server among those of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Why there is no outcome. The command may have been done all the same; its key makes asking again harmless.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationFailure {
    #[error("the location server did not answer in time")]
    Timeout,
    #[error("too many questions to the location server are open")]
    Full,
    #[error("the location server cannot do it: {0}")]
    Refused(String),
}

/// What a worker reads but does not own: the replica and the placements, as of this input.
pub trait View {
    fn bindings(&self, aor: &Aor) -> Option<Arc<Bindings>>;
    fn subscriber(&self, aor: &Aor) -> Option<Arc<Subscriber>>;
    /// The log's clock, carried on by ours since its last stamp.
    fn log_time(&self, now: Time) -> LogTime;
    fn placements(&self) -> &Placements;
    /// A call of this hash may be one of a dead holder that is to go on here, and does not yet.
    fn is_inheriting(&self, _call: CallHash) -> bool {
        false
    }
    /// The live node that holds a call of this hash, as far as its shadow is here.
    fn holder(&self, _call: CallHash) -> Option<NodeId> {
        None
    }
    /// What is known of this address of a trunk that is probed, as of now.
    fn trunk(&self, _now: Time, _trunk: TrunkId, _address: SocketAddr) -> Option<Report> {
        None
    }
    /// False: it is probed, and known to be down.
    fn trunk_is_up(&self, _trunk: TrunkId, _address: SocketAddr) -> bool {
        true
    }
    /// The smallest share of new calls, in 1/65,535, that this node has lately taken.
    fn least_admitted(&self) -> u16 {
        u16::MAX
    }
    /// The largest, likewise, that the load manager may take for ours now: it gives us new calls up to this.
    fn most_admitted(&self) -> u16 {
        u16::MAX
    }
}
