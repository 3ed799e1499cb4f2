//! What became of a call whose node died, by what its phones saw. Pure; `one` asks it after each event.

use super::plan::Phase;
use super::seen::{Seen, Side, What};
use crate::phone::Event;
use common::time::{Duration, Time};

/// What a node said just before its death is heard within this.
const LAST_WORDS: Duration = Duration::from_millis(3);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// This is waited for.
    Open(Need),
    Kept,
    /// And why.
    Lost(String),
}

/// What a call that goes on must still show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Answer,
    Ack,
    /// Of a fork: the branch that was not answered stops ringing.
    OtherBranch,
    /// Of a cancelled call.
    Silence,
    Refusal,
    Reinvite,
    Bye,
    ByeAtPeer,
}

impl Need {
    fn unmet(self) -> &'static str {
        match self {
            Need::Answer => "the caller heard no answer",
            Need::Ack => "the ACK did not reach the callee",
            Need::OtherBranch => "the other branch was not cancelled",
            Need::Silence => "it did not stop ringing",
            Need::Refusal => "the caller heard no 487",
            Need::Reinvite => "the re-INVITE was not answered",
            Need::Bye => "the BYE was not answered",
            Need::ByeAtPeer => "the BYE did not reach the other side",
        }
    }

    fn is_met(self, seen: &[Seen]) -> bool {
        seen.iter().any(|seen| match (self, event(seen)) {
            (Need::Answer, Some(Event::Answered { .. })) => seen.side == Side::Caller,
            (Need::Ack, Some(Event::Confirmed { .. })) => true,
            (Need::OtherBranch | Need::Silence, Some(Event::CancelledHere { .. })) => true,
            (Need::Refusal, Some(Event::Refused { status: 487, .. })) => true,
            (Need::Reinvite, Some(Event::Reinvited { status: 200..300, .. })) => true,
            (Need::Bye, Some(Event::Ended { status: 200..300, .. })) => true,
            (Need::ByeAtPeer, Some(Event::EndedByPeer { .. })) => true,
            _ => false,
        })
    }
}

/// In the order in which they come.
fn needs(phase: Phase) -> &'static [Need] {
    match phase {
        Phase::SetUp | Phase::Ringing | Phase::Held => {
            &[Need::Answer, Need::Ack, Need::Reinvite, Need::Bye, Need::ByeAtPeer]
        }
        Phase::Forked => &[Need::Answer, Need::Ack, Need::OtherBranch, Need::Reinvite, Need::Bye, Need::ByeAtPeer],
        Phase::Cancelling => &[Need::Silence, Need::Refusal],
        Phase::Ending => &[Need::Answer, Need::Ack, Need::Bye, Need::ByeAtPeer],
    }
}

/// What is seen is in the order of time, from the call's first message on.
pub fn judge(phase: Phase, seen: &[Seen]) -> Standing {
    let end = seen.iter().position(|seen| seen.what == What::GaveUp);
    let counts = &seen[..end.unwrap_or(seen.len())];
    if let Some(why) = counts.iter().find_map(|seen| fault(phase, seen)) {
        return Standing::Lost(why);
    }
    let answered = |side| counts.iter().any(|s| s.side == side && matches!(event(s), Some(Event::Confirmed { .. })));
    if answered(Side::First) && answered(Side::Second) {
        return Standing::Lost("both branches were answered".into());
    }
    match needs(phase).iter().find(|need| !need.is_met(counts)) {
        None => Standing::Kept,
        Some(need) if end.is_none() => Standing::Open(*need),
        Some(need) => Standing::Lost(format!("{} within 32 s", need.unmet())),
    }
}

/// When a message of the call came for the first time after the death.
pub fn moved(died: Time, seen: &[Seen]) -> Option<Time> {
    let heard = |seen: &&Seen| matches!(seen.what, What::Heard(_)) && seen.at > died + LAST_WORDS;
    seen.iter().find(heard).map(|seen| seen.at)
}

fn event(seen: &Seen) -> Option<&Event> {
    match &seen.what {
        What::Event(event) => Some(event),
        _ => None,
    }
}

/// What must not happen in a call that goes on.
fn fault(phase: Phase, seen: &Seen) -> Option<String> {
    match event(seen)? {
        Event::Refused { status: 487, .. } if phase == Phase::Cancelling => None,
        Event::Refused { status, .. } => Some(format!("the INVITE was refused with {status}")),
        Event::Reinvited { status, .. } if *status >= 300 => Some(format!("the re-INVITE was refused with {status}")),
        Event::Ended { status, .. } if *status >= 300 => Some(format!("the BYE was refused with {status}")),
        Event::RangTwice { .. } => Some("it rang twice".into()),
        Event::Answered { .. } | Event::Confirmed { .. } if phase == Phase::Cancelling => {
            Some("it was answered though it had been cancelled".into())
        }
        Event::CancelledHere { .. } if !matches!(phase, Phase::Cancelling | Phase::Forked) => {
            Some("it was cancelled though the caller waited".into())
        }
        Event::TimedOut { method, .. } if method == "ACK" => Some("the answer was not acknowledged for 32 s".into()),
        Event::TimedOut { method, .. } => Some(format!("{method} was not answered for 32 s")),
        Event::Garbage { why } => Some(format!("a phone received what is no SIP: {why}")),
        _ => None,
    }
}
