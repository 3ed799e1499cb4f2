//! The flight recorder of a worker: which messages came and went, and what was decided about them, the newest
//! `limits.trace_entries` of all calls. Always on; its memory is taken once, and writing an entry copies 64 octets.
//! `siprack trace` reads it through `io::trace`. Called by the engine ([`crate::turn`]) and by [`crate::core`].
//!
//! Moments are those of the monotonic clock: whoever reads says what time of day that is, so a wall clock that is set
//! puts no call's entries out of order.

use crate::problems::Blind;
use crate::stats::{DropReason, Rejection};
use common::call_hash::CallHash;
use common::ids::{BootId, NodeId};
use common::sip::{Gist, MethodKind};
use common::time::Time;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Entries of one answer; of more, the newest.
pub const TOLD: usize = 4096;

/// One entry of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: Time,
    pub call: CallHash,
    /// Who has sent the message, or where it goes.
    pub peer: Option<SocketAddr>,
    pub cseq: u32,
    pub message: Option<Message>,
    pub event: Event,
}

const _: () = assert!(size_of::<Entry>() == 64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub method: MethodKind,
    /// 0 = a request.
    pub status: u16,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message came from outside; one left.
    In,
    Out(Backup),
    /// This node has asked another one whether the message is of a call of its own; has answered such a question.
    Asks(NodeId),
    Says {
        to: NodeId,
        mine: bool,
    },
    /// What the other one has answered. `mine`: it has the message now.
    Heard {
        from: NodeId,
        mine: bool,
    },
    /// Nobody has answered: the message is dropped, and its sender sends it again.
    Unanswered,
    /// The call of a dead node goes on here.
    TookUp(NodeId),
    /// What that one had sent, and nobody has answered, is sent again.
    Probes,
    /// This node was removed from the placement, and has forgotten every call. Stands for all calls.
    Forgot,
    /// A request came again.
    Repeat,
    Dropped(DropReason),
    Refused(Rejection),
    Blindly(Blind),
    /// The call detail record goes to its file.
    Cdr,
    /// Handling a message has failed: the call is dropped from this worker.
    Panicked,
}

/// What became of a message that was to leave only behind its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backup {
    /// It did not wait.
    AtOnce,
    /// A backup has acknowledged the record.
    Acknowledged,
    /// None did in time.
    GaveUp,
}

impl Event {
    /// Its name in JSON.
    pub fn label(self) -> &'static str {
        match self {
            Event::In => "in",
            Event::Out(_) => "out",
            Event::Asks(_) => "asks",
            Event::Says { mine: true, .. } => "says_mine",
            Event::Says { mine: false, .. } => "says_not_mine",
            Event::Heard { mine: true, .. } => "heard_mine",
            Event::Heard { mine: false, .. } => "heard_not_mine",
            Event::Unanswered => "unanswered",
            Event::TookUp(_) => "took_up",
            Event::Probes => "probes",
            Event::Forgot => "forgot",
            Event::Repeat => "repeat",
            Event::Dropped(_) => "dropped",
            Event::Refused(_) => "refused",
            Event::Blindly(_) => "blindly",
            Event::Cdr => "cdr",
            Event::Panicked => "panicked",
        }
    }

    /// The other node.
    fn node(self) -> Option<NodeId> {
        match self {
            Event::Asks(node) | Event::TookUp(node) => Some(node),
            Event::Says { to: node, .. } | Event::Heard { from: node, .. } => Some(node),
            _ => None,
        }
    }

    /// The reason, in the words of the metrics' labels.
    fn why(self) -> Option<&'static str> {
        match self {
            Event::Out(Backup::Acknowledged) => Some("acknowledged"),
            Event::Out(Backup::GaveUp) => Some("unprotected"),
            Event::Dropped(reason) => Some(reason.label()),
            Event::Refused(rejection) => Some(rejection.label()),
            Event::Blindly(how) => Some(how.label()),
            _ => None,
        }
    }
}

/// Which message of which call something is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    pub call: CallHash,
    pub peer: Option<SocketAddr>,
    pub cseq: u32,
    pub message: Option<Message>,
}

impl About {
    /// The call alone.
    pub fn call(call: CallHash) -> About {
        About { call, peer: None, cseq: 0, message: None }
    }

    pub fn message(call: CallHash, peer: Option<SocketAddr>, gist: &Gist<'_>) -> About {
        let message = Some(Message { method: gist.method, status: gist.status });
        About { call, peer, cseq: gist.cseq, message }
    }
}

/// The ring. The entry with number n, counted from 0, stands at n modulo its size.
pub struct Recorder {
    entries: Vec<Entry>,
    size: usize,
    written: u64,
    /// Entries never run backwards: within a round its begin and later looks at the clock come by turns.
    latest: Time,
}

/// What a ring knows of a call.
#[derive(Clone, Debug, Default)]
pub struct Extract {
    /// By their numbers, in the order in which they were written.
    pub entries: Vec<(u64, Entry)>,
    /// Older ones of the call that found no room in this answer.
    pub left_out: u64,
    /// Of the whole ring: when its oldest entry was written, how many it holds at most, and how many there ever were.
    pub oldest: Option<Time>,
    pub size: usize,
    pub written: u64,
}

impl Recorder {
    /// A ring of so many entries; 0 records nothing.
    pub fn new(size: u32) -> Recorder {
        Recorder { entries: Vec::with_capacity(size as usize), size: size as usize, written: 0, latest: Time(0) }
    }

    pub fn is_off(&self) -> bool {
        self.size == 0
    }

    pub fn note(&mut self, now: Time, about: About, event: Event) {
        if self.is_off() {
            return;
        }
        let About { call, peer, cseq, message } = about;
        self.latest = self.latest.max(now);
        let entry = Entry { at: self.latest, call, peer, cseq, message, event };
        let place = (self.written % self.size as u64) as usize;
        match self.entries.get_mut(place) {
            Some(old) => *old = entry,
            // Within the room that was taken at the start.
            None => self.entries.push(entry),
        }
        self.written += 1;
    }

    /// What is recorded of a call, into `room`, which is not made larger: what is too much for it is the oldest. That all
    /// calls were forgotten is told of one that had been here.
    pub fn extract(&self, call: CallHash, mut room: Vec<(u64, Entry)>) -> Extract {
        room.clear();
        let most = room.capacity();
        let count = self.of(call).count();
        room.extend(self.of(call).skip(count.saturating_sub(most)));
        Extract {
            left_out: count.saturating_sub(most) as u64,
            entries: room,
            oldest: self.in_order().next().map(|(_, entry)| entry.at),
            size: self.size,
            written: self.written,
        }
    }

    fn of(&self, call: CallHash) -> impl Iterator<Item = (u64, Entry)> {
        let mut seen = false;
        self.in_order().filter(move |(_, entry)| {
            let is_its = entry.call == call;
            seen |= is_its;
            is_its || seen && entry.event == Event::Forgot
        })
    }

    /// All entries, the oldest first.
    fn in_order(&self) -> impl Iterator<Item = (u64, Entry)> {
        let (newer, older) = match self.entries.len() < self.size {
            true => (&self.entries[..], &[][..]),
            false => self.entries.split_at((self.written % self.size.max(1) as u64) as usize),
        };
        (self.written - self.entries.len() as u64..).zip(older.iter().chain(newer).copied())
    }
}

/// What a node answers to `GET /trace?call_id=…`; `siprack trace` reads it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub node: NodeId,
    pub boot: BootId,
    /// The worker whose call it is.
    pub worker: u16,
    /// Entries that this worker remembers at most, and those that it has ever written.
    pub size: u64,
    pub written: u64,
    /// Now, and when its oldest entry was written: microseconds since 1970, as all `_us`.
    pub now_us: u64,
    pub oldest_us: Option<u64>,
    pub left_out: u64,
    pub entries: Vec<Told>,
}

/// One entry, for people and programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub at_us: u64,
    /// Counts the entries of its worker.
    pub seq: u64,
    /// See [`Event::label`].
    pub event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cseq: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<SocketAddr>,
    /// The other node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<NodeId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Who answers, and what time of day a moment of its clock is.
#[derive(Clone, Copy, Debug)]
pub struct Teller {
    pub node: NodeId,
    pub boot: BootId,
    pub worker: u16,
    pub now: Time,
    pub now_us: u64,
}

impl Teller {
    pub fn answer(&self, extract: Extract) -> Answer {
        let Extract { entries, left_out, oldest, size, written } = extract;
        Answer {
            node: self.node,
            boot: self.boot,
            worker: self.worker,
            size: size as u64,
            written,
            now_us: self.now_us,
            oldest_us: oldest.map(|at| self.time_of_day(at)),
            left_out,
            entries: entries.into_iter().map(|(seq, entry)| self.told(seq, &entry)).collect(),
        }
    }

    fn time_of_day(&self, at: Time) -> u64 {
        self.now_us.saturating_sub(self.now.since(at).as_micros() as u64)
    }

    fn told(&self, seq: u64, entry: &Entry) -> Told {
        let message = entry.message;
        Told {
            at_us: self.time_of_day(entry.at),
            seq,
            event: entry.event.label().into(),
            method: message.map(|m| m.method.label().into()),
            status: message.map(|m| m.status).filter(|status| *status > 0),
            cseq: message.map(|_| entry.cseq),
            peer: entry.peer,
            with: entry.event.node(),
            why: entry.event.why().map(String::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder(size: u32, calls: impl IntoIterator<Item = u64>) -> Recorder {
        let mut recorder = Recorder::new(size);
        for (at, call) in (100..).zip(calls) {
            recorder.note(Time(at), About::call(CallHash(call)), Event::In);
        }
        recorder
    }

    fn numbers(recorder: &Recorder, call: u64) -> Vec<u64> {
        let extract = recorder.extract(CallHash(call), Vec::with_capacity(TOLD));
        extract.entries.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn a_ring_keeps_the_newest_in_their_order_and_tells_one_call() {
        let young = recorder(8, [1, 2, 1]);
        assert_eq!((numbers(&young, 1), numbers(&young, 2), numbers(&young, 3)), (vec![0, 2], vec![1], vec![]));
        let room = young.entries.capacity();
        for wraps in 0..40 {
            let full = recorder(8, (0..8 + wraps).map(|n| n % 3));
            assert_eq!(full.entries.capacity(), room, "the memory of the start");
            let all: Vec<u64> = full.in_order().map(|(number, _)| number).collect();
            assert_eq!(all, (wraps..8 + wraps).collect::<Vec<u64>>());
            assert!(
                full.in_order().all(|(number, entry)| entry.at == Time(100 + number) && entry.call.0 == number % 3)
            );
            assert_eq!(numbers(&full, 2), (wraps..8 + wraps).filter(|n| n % 3 == 2).collect::<Vec<u64>>());
            let extract = full.extract(CallHash(9), Vec::with_capacity(1));
            assert_eq!((extract.oldest, extract.written), (Some(Time(100 + wraps)), 8 + wraps), "of the whole ring");
        }
    }

    #[test]
    fn one_answer_has_the_newest_entries_and_says_what_it_leaves_out() {
        let extract = recorder(100, [7; 60]).extract(CallHash(7), Vec::with_capacity(10));
        assert_eq!((extract.left_out, extract.entries.len(), extract.entries[0].0), (50, 10, 50));
    }

    #[test]
    fn a_ring_without_room_records_nothing() {
        let off = recorder(0, [1, 1]);
        assert!(off.is_off() && numbers(&off, 1).is_empty());
        assert_eq!((off.written, off.extract(CallHash(1), Vec::new()).oldest), (0, None));
    }

    #[test]
    fn that_all_was_forgotten_is_told_of_calls_that_were_there() {
        let mut recorder = recorder(8, [1, 2]);
        recorder.note(Time(200), About::call(CallHash(0)), Event::Forgot);
        recorder.note(Time(201), About::call(CallHash(3)), Event::In);
        assert_eq!([1, 2, 3].map(|call| numbers(&recorder, call)), [vec![0, 2], vec![1, 2], vec![3]]);
    }

    #[test]
    fn an_entry_is_told_with_the_time_of_day() {
        let mut recorder = Recorder::new(4);
        let gist = Gist { call_id: b"c", method: MethodKind::Invite, status: 180, cseq: 3 };
        let peer = "[2001:db8::2]:5060".parse().ok();
        recorder.note(Time(1_000), About::message(CallHash(5), peer, &gist), Event::Out(Backup::GaveUp));
        recorder.note(Time(1_500), About::call(CallHash(5)), Event::Says { to: NodeId(2), mine: false });
        let teller =
            Teller { node: NodeId(1), boot: BootId(9), worker: 0, now: Time(3_000), now_us: 1_700_000_000_000_000 };
        let answer = teller.answer(recorder.extract(CallHash(5), Vec::with_capacity(4)));
        let out = Told {
            at_us: 1_699_999_999_998_000,
            seq: 0,
            event: "out".into(),
            method: Some("INVITE".into()),
            status: Some(180),
            cseq: Some(3),
            peer,
            with: None,
            why: Some("unprotected".into()),
        };
        assert_eq!((&answer.entries[0], answer.oldest_us), (&out, Some(out.at_us)));
        let json = serde_json::to_value(&answer.entries[1]).unwrap_or_default();
        let wanted =
            serde_json::json!({ "at_us": 1_699_999_999_998_500_u64, "seq": 1, "event": "says_not_mine", "with": 2 });
        assert_eq!(json, wanted);
        let read: Option<Answer> =
            serde_json::to_string(&answer).ok().and_then(|text| serde_json::from_str(&text).ok());
        assert_eq!(read, Some(answer));
    }
}
