//! What comes in and is not fit to be handled, for the operator: a sample of it beside the counters, so that a limit that
//! is too low for a carrier, or a broken device, can be found by name. The engine notes, the shell takes and logs.
//! Bounded, and the same cost for every further one: of each fault the first in a second is kept.

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

#[derive(Default)]
pub struct Problems {
    faults: [OfFault; Fault::ALL.len()],
    samples: Vec<Problem>,
}

#[derive(Clone, Copy, Default)]
struct OfFault {
    not_before: Time,
    others: u64,
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
        let of = &mut self.faults[fault as usize];
        if now < of.not_before || self.samples.len() >= Fault::ALL.len() {
            of.others += 1;
            return;
        }
        let call_id = message.map(SipMessage::call_id).unwrap_or_default();
        let call_id = call_id[..call_id.len().min(SHOWN)].to_vec();
        let others = std::mem::take(&mut of.others);
        of.not_before = now + EVERY;
        self.samples.push(Problem { fault, source, what: what.into(), call_id, answered, others });
    }

    /// The samples since the last call.
    pub fn take(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.samples)
    }
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
