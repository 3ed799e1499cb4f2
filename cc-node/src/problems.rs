//! What comes in and is not fit to be handled, and what goes on although this node does not know its call, for the
//! operator: a sample of it beside the counters, so that a limit that is too low for a carrier, a broken device, or a call
//! that a dead node held can be found by name. The engine notes, the shell takes and logs. Bounded, and the same cost for
//! every further one: of each kind the first in a second is kept.

use common::sip::{Fault, SipMessage};
use common::time::{Duration, Time};
use std::net::SocketAddr;

/// Of one fault, one sample in this time.
const EVERY: Duration = Duration::from_secs(1);
/// Octets of a name from the network that are kept.
const SHOWN: usize = 96;

/// One message that was refused or dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub fault: Fault,
    pub source: SocketAddr,
    /// In our words.
    pub what: String,
    /// As received, cut; whoever writes it must escape it. Empty where it could not be read.
    pub call_id: Vec<u8>,
    /// Whether the sender got an answer.
    pub answered: bool,
    /// Others of this fault since the sample before.
    pub others: u64,
}

/// How something was forwarded without knowledge of its call: a node died, was removed, or does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blind {
    /// A request in a dialog that this node holds no call of, by its token.
    Request,
    /// A response without a transaction, by the token in our Via.
    Response,
    /// Another node may hold it, and has not answered for 1.5 s.
    Unanswered,
}

impl Blind {
    pub const ALL: [Blind; 3] = [Blind::Request, Blind::Response, Blind::Unanswered];

    /// Metric label.
    pub fn label(self) -> &'static str {
        match self {
            Blind::Request => "request",
            Blind::Response => "response",
            Blind::Unanswered => "unanswered",
        }
    }
}

/// One message that went on so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blindly {
    pub how: Blind,
    /// As received, cut.
    pub call_id: Vec<u8>,
    /// Others of this kind since the sample before.
    pub others: u64,
}

#[derive(Default)]
pub struct Problems {
    faults: [OfKind; Fault::ALL.len()],
    samples: Vec<Problem>,
    blind: [OfKind; Blind::ALL.len()],
    blindly: Vec<Blindly>,
}

#[derive(Clone, Copy, Default)]
struct OfKind {
    not_before: Time,
    others: u64,
}

impl OfKind {
    /// Whether this one is kept, and how many others there were since the last that was.
    fn keeps(&mut self, now: Time, room: bool) -> Option<u64> {
        if now < self.not_before || !room {
            self.others += 1;
            return None;
        }
        self.not_before = now + EVERY;
        Some(std::mem::take(&mut self.others))
    }
}

impl Problems {
    pub fn note(
        &mut self,
        now: Time,
        source: SocketAddr,
        fault: Fault,
        what: &str,
        message: Option<&SipMessage>,
        answered: bool,
    ) {
        let room = self.samples.len() < Fault::ALL.len();
        let Some(others) = self.faults[fault as usize].keeps(now, room) else { return };
        let call_id = shown(message.map(SipMessage::call_id).unwrap_or_default());
        self.samples.push(Problem { fault, source, what: what.into(), call_id, answered, others });
    }

    pub fn note_blind(&mut self, now: Time, how: Blind, call_id: &[u8]) {
        let room = self.blindly.len() < Blind::ALL.len();
        if let Some(others) = self.blind[how as usize].keeps(now, room) {
            self.blindly.push(Blindly { how, call_id: shown(call_id), others });
        }
    }

    /// What went on without knowledge, since the last call.
    pub fn take_blind(&mut self) -> Vec<Blindly> {
        std::mem::take(&mut self.blindly)
    }

    /// The samples since the last call.
    pub fn take(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.samples)
    }
}

fn shown(call_id: &[u8]) -> Vec<u8> {
    call_id[..call_id.len().min(SHOWN)].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_fault_one_a_second_is_kept_and_the_others_are_counted() {
        let mut problems = Problems::default();
        let source = SocketAddr::from(([10, 0, 0, 1], 5060));
        let note = |problems: &mut Problems, ms: u64, fault| {
            problems.note(Time(0) + Duration::from_millis(ms), source, fault, "Too Many Headers", None, true);
        };
        for ms in [10, 20, 1009] {
            note(&mut problems, ms, Fault::Headers);
        }
        note(&mut problems, 30, Fault::Params);
        assert_eq!(
            problems.take().iter().map(|p| (p.fault, p.others)).collect::<Vec<_>>(),
            [(Fault::Headers, 0), (Fault::Params, 0)]
        );
        note(&mut problems, 1010, Fault::Headers);
        assert_eq!(problems.take().iter().map(|p| (p.fault, p.others)).collect::<Vec<_>>(), [(Fault::Headers, 2)]);
        // Nobody takes them: what is kept stays bounded.
        for s in 2..100 {
            note(&mut problems, s * 1000, Fault::Headers);
        }
        assert_eq!(problems.take().len(), Fault::ALL.len());
    }
}
