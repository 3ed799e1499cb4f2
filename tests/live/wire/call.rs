//! A call as the wire carried it, and in which phase it was at a moment.

use super::message::Message;
use common::time::Time;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddrV4;

/// A ladder is told so far.
const RUNGS: usize = 80;

/// Everything under one Call-ID.
#[derive(Debug, Default)]
pub struct Call {
    /// In the order in which they arrived.
    pub messages: Vec<Message>,
    /// The node that has last sent or been given something of it, and since when.
    pub nodes: Vec<(Time, u16)>,
    /// CANCELs to its callees that were lost within the rack.
    pub lost_cancels: u32,
}

/// Where a call stands: what would be hit if somebody died now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// INVITE sent, nobody has rung.
    Calling,
    Ringing,
    /// Two phones or more ring.
    Forked,
    /// CANCEL sent, its end not acknowledged.
    Cancelling,
    /// A callee has answered and has no ACK.
    Answering,
    Held,
    /// A re-INVITE is under way.
    Changing,
    /// BYE sent, no 200.
    Ending,
    Registering,
}

impl Phase {
    pub const ALL: [Phase; 9] = [
        Phase::Calling,
        Phase::Ringing,
        Phase::Forked,
        Phase::Cancelling,
        Phase::Answering,
        Phase::Held,
        Phase::Changing,
        Phase::Ending,
        Phase::Registering,
    ];

    pub fn words(self) -> &'static str {
        match self {
            Phase::Calling => "calling",
            Phase::Ringing => "ringing",
            Phase::Forked => "forked",
            Phase::Cancelling => "being cancelled",
            Phase::Answering => "being answered",
            Phase::Held => "held",
            Phase::Changing => "being changed",
            Phase::Ending => "ending",
            Phase::Registering => "registering",
        }
    }
}

impl Message {
    /// The INVITE that begins a call, or what belongs to it, of the call's first CSeq.
    pub fn begins(&self, first: u32) -> bool {
        self.is_request("INVITE") && self.to_tag.is_empty() && self.cseq == first
    }

    pub fn is_final_of(&self, method: &str, cseq: u32) -> bool {
        self.status_of(method).is_some_and(|status| status >= 200) && self.cseq == cseq
    }
}

impl Call {
    /// Who began it, and by which CSeq.
    pub fn caller(&self) -> Option<(SocketAddrV4, u32)> {
        let first = self.messages.iter().find(|m| m.is_inward && m.is_request("INVITE") && m.to_tag.is_empty())?;
        Some((first.phone, first.cseq))
    }

    /// Who was asked.
    pub fn callees(&self, first: u32) -> BTreeSet<SocketAddrV4> {
        self.messages.iter().filter(|m| !m.is_inward && m.begins(first)).map(|m| m.phone).collect()
    }

    pub fn last(&self) -> Time {
        self.messages.last().map_or(Time(0), |m| m.at)
    }

    /// Who had it at a moment.
    pub fn node_at(&self, moment: Time) -> Option<u16> {
        self.nodes.iter().rev().find(|(since, _)| *since <= moment).map(|(_, node)| *node)
    }

    /// None before its beginning and after its end.
    pub fn phase_at(&self, moment: Time) -> Option<Phase> {
        let end = self.messages.partition_point(|m| m.at <= moment);
        let told = &self.messages[..end];
        let any = |f: &dyn Fn(&Message) -> bool| told.iter().any(f);
        if any(&|m| m.is_inward && m.is_request("REGISTER")) {
            let done = any(&|m| !m.is_inward && m.status_of("REGISTER").is_some_and(|s| s >= 200));
            return (!done).then_some(Phase::Registering);
        }
        let (caller, first) = Call::beginning(told)?;
        if let Some(bye) = told.iter().find(|m| m.is_inward && m.is_request("BYE")) {
            let done = any(&|m| !m.is_inward && m.phone == bye.phone && m.status_of("BYE").is_some_and(|s| s >= 200));
            return (!done).then_some(Phase::Ending);
        }
        let refused = |m: &Message| m.phone == caller && m.status_of("INVITE").is_some_and(|s| s >= 300);
        if any(&refused) && any(&|m| m.is_inward && m.phone == caller && m.is_request("ACK") && m.cseq == first) {
            return None;
        }
        let changing = |m: &Message| m.is_inward && m.is_request("INVITE") && !m.to_tag.is_empty();
        if let Some(change) = told.iter().rev().find(|m| changing(m)) {
            let acknowledged = |m: &Message| !m.is_inward && m.is_request("ACK") && m.cseq == change.cseq;
            return Some(if any(&acknowledged) { Phase::Held } else { Phase::Changing });
        }
        let answered = |m: &Message| m.is_inward && m.phone != caller && m.status_of("INVITE") == Some(200);
        if let Some(answer) = told.iter().find(|m| answered(m)) {
            let acknowledged = |m: &Message| !m.is_inward && m.phone == answer.phone && m.is_request("ACK");
            return Some(if any(&acknowledged) { Phase::Held } else { Phase::Answering });
        }
        if any(&|m| m.is_inward && m.is_request("CANCEL")) {
            return Some(Phase::Cancelling);
        }
        if !any(&|m| !m.is_inward && m.phone == caller && m.status_of("INVITE") == Some(180)) {
            return Some(Phase::Calling);
        }
        let asked: BTreeSet<SocketAddrV4> =
            told.iter().filter(|m| !m.is_inward && m.begins(first)).map(|m| m.phone).collect();
        Some(if asked.len() > 1 { Phase::Forked } else { Phase::Ringing })
    }

    fn beginning(told: &[Message]) -> Option<(SocketAddrV4, u32)> {
        let first = told.iter().find(|m| m.is_inward && m.is_request("INVITE") && m.to_tag.is_empty())?;
        Some((first.phone, first.cseq))
    }

    /// Rung by rung, in seconds since its beginning, with what befell whom meanwhile.
    pub fn ladder(&self, id: &str, befell: &[(Time, String)]) -> String {
        let Some(first) = self.messages.first() else { return format!("{id}: nothing") };
        let mut rungs: Vec<(Time, String)> = self.messages.iter().map(|m| (m.at, rung(m))).collect();
        rungs.extend(self.nodes.iter().map(|(at, node)| (*at, format!("        it is at node {node}"))));
        let (begin, end) = (first.at, self.last());
        let near = befell.iter().filter(|(at, _)| *at >= begin && *at <= end);
        rungs.extend(near.map(|(at, what)| (*at, format!("══════ {what}"))));
        rungs.sort_by_key(|(at, _)| *at);
        let mut text = format!("{id}, begun at {:.3} s of the run:", begin.0 as f64 / 1e6);
        let more = rungs.len().saturating_sub(RUNGS);
        for (at, rung) in rungs.into_iter().take(RUNGS) {
            let _ = write!(text, "\n  {:9.3}  {rung}", (at.0 as f64 - begin.0 as f64) / 1e6);
        }
        if more > 0 {
            let _ = write!(text, "\n             and {more} more");
        }
        text
    }
}

fn rung(m: &Message) -> String {
    let arrow = if m.is_inward { "──►" } else { "◄──" };
    let tag = if m.to_tag.is_empty() { String::new() } else { format!("  to tag {}", m.to_tag) };
    format!("{} {arrow} VIP  {:<16} {}{tag}", m.phone, m.words(), m.branch)
}
