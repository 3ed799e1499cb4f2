//! What must be true of every call, by its messages alone.

use super::call::Call;
use super::message::{Message, Start};
use common::time::{Duration, Time};
use std::collections::BTreeSet;
use std::net::SocketAddrV4;

/// After a CANCEL that was answered nobody rings for longer.
const SILENT_WITHIN: Duration = Duration::from_secs(2);
/// T1 and T2 of RFC 3261: a CANCEL that is lost is said again after T1, then twice that, to T2.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
/// For so long a phone knows an INVITE again whose refusal was acknowledged (RFC 3261 §17.2.1, timer I).
const KNOWN_AGAIN: Duration = Duration::from_secs(5);

/// What a call that has ended came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Its caller heard a 2xx.
    pub is_answered: bool,
    pub is_registration: bool,
    /// Which rules it breaks.
    pub wrong: Vec<String>,
    /// From a CANCEL to the last sign of ringing.
    pub rang_on: Option<Duration>,
}

pub fn judge(call: &Call) -> Judgement {
    let mut judgement = Judgement::default();
    if call.messages.iter().any(|m| &*m.method == "REGISTER") {
        judgement.is_registration = true;
        judgement.wrong = registration(call);
        return judgement;
    }
    let Some((caller, first)) = call.caller() else {
        judgement.wrong.push("messages of a call that nobody began".to_string());
        return judgement;
    };
    let story = Story { call, caller, first };
    story.outcome(&mut judgement);
    for callee in call.callees(first) {
        story.callee(callee, &mut judgement.wrong);
    }
    story.silence(&mut judgement);
    story.dialog(judgement.is_answered, &mut judgement.wrong);
    judgement
}

/// A broken rule without what differs from call to call.
pub fn kind(rule: &str) -> String {
    let rule = rule.split_once(": ").map_or(rule, |(rule, _)| rule);
    let differs = |word: &str| word.len() > 3 && word.contains(|c: char| c.is_ascii_digit());
    let words = rule.split(' ').filter(|word| !differs(word));
    words.collect::<Vec<_>>().join(" ")
}

fn registration(call: &Call) -> Vec<String> {
    let mut wrong = Vec::new();
    let sent: BTreeSet<u32> = call.messages.iter().filter(|m| m.is_inward).map(|m| m.cseq).collect();
    for cseq in sent {
        let finals: BTreeSet<u16> = call
            .messages
            .iter()
            .filter(|m| !m.is_inward && m.is_final_of("REGISTER", cseq))
            .filter_map(|m| m.status_of("REGISTER"))
            .collect();
        if finals.iter().ne([&200]) {
            wrong.push(format!("REGISTER {cseq} was answered by {finals:?}"));
        }
    }
    wrong
}

struct Story<'a> {
    call: &'a Call,
    caller: SocketAddrV4,
    /// CSeq of the INVITE.
    first: u32,
}

impl<'a> Story<'a> {
    fn inward(&self) -> impl Iterator<Item = &'a Message> {
        self.call.messages.iter().filter(|m| m.is_inward)
    }

    fn outward(&self) -> impl Iterator<Item = &'a Message> {
        self.call.messages.iter().filter(|m| !m.is_inward)
    }

    /// The finals of the INVITE that came from or went to somebody.
    fn finals(&self, phone: SocketAddrV4, is_inward: bool) -> BTreeSet<(u16, &'a str)> {
        let messages = self.call.messages.iter();
        let its = messages.filter(|m| m.phone == phone && m.is_inward == is_inward);
        its.filter(|m| m.is_final_of("INVITE", self.first))
            .filter_map(|m| Some((m.status_of("INVITE")?, &*m.to_tag)))
            .collect()
    }

    /// One outcome at the caller, and one that somebody has given.
    fn outcome(&self, judgement: &mut Judgement) {
        let heard = self.finals(self.caller, false);
        judgement.is_answered = heard.iter().any(|(status, _)| *status < 300);
        let wrong = &mut judgement.wrong;
        let given: BTreeSet<(u16, &str)> =
            self.call.callees(self.first).into_iter().flat_map(|callee| self.finals(callee, true)).collect();
        let is_cancelled = self.inward().any(|m| m.is_request("CANCEL"));
        match heard.iter().collect::<Vec<_>>()[..] {
            [] => wrong.push("the caller never heard how its INVITE ended".to_string()),
            [(status, tag)] if *status < 300 => {
                if !given.contains(&(*status, *tag)) {
                    wrong.push(format!("the caller heard {status} with tag {tag}, which no callee sent"));
                }
            }
            [(status, _)] => {
                let is_given = given.iter().any(|(one, _)| one == status);
                let is_cancelled = *status == 487 && is_cancelled;
                if !is_given && !is_cancelled {
                    wrong.push(format!("the rack itself refused the call with {status}"));
                }
            }
            _ => wrong.push(format!("the caller heard several outcomes: {heard:?}")),
        }
        for (status, tag) in given.iter().filter(|(status, _)| *status < 300) {
            if !heard.contains(&(*status, *tag)) {
                wrong.push(format!("a callee answered with {status} (tag {tag}), the caller heard {heard:?}"));
            }
        }
    }

    /// One ring, one end, acknowledged.
    fn callee(&self, callee: SocketAddrV4, wrong: &mut Vec<String>) {
        let invites: Vec<&Message> = self.outward().filter(|m| m.phone == callee && m.begins(self.first)).collect();
        let branches: BTreeSet<&str> = invites.iter().map(|m| &*m.branch).collect();
        if branches.len() > 1 {
            wrong.push(format!("{callee} was rung {} times: {branches:?}", branches.len()));
        }
        let finals = self.finals(callee, true);
        if finals.is_empty() {
            wrong.push(format!("{callee} was left ringing"));
        }
        for (status, tag) in finals {
            let fits =
                |m: &Message| m.phone == callee && m.is_request("ACK") && m.cseq == self.first && *m.to_tag == *tag;
            let Some(ack) = self.outward().find(|m| fits(m)) else {
                wrong.push(format!("the {status} of {callee} was never acknowledged"));
                continue;
            };
            let late = invites.iter().find(|m| status >= 300 && m.at > ack.at + KNOWN_AGAIN);
            if let Some(late) = late {
                let after = late.at.since(ack.at);
                wrong.push(format!("{callee} got its INVITE again {after:?} after the ACK to its {status}"));
            }
        }
    }

    /// No ringing after a CANCEL.
    fn silence(&self, judgement: &mut Judgement) {
        let Some(begun) = self.inward().find(|m| m.is_request("CANCEL")) else { return };
        let Some(answer) = self.outward().find(|m| m.status_of("CANCEL").is_some_and(|s| s >= 200)) else {
            // Who hears how its INVITE ended no longer asks.
            if self.finals(self.caller, false).is_empty() {
                judgement.wrong.push("the CANCEL was never answered".to_string());
            }
            return;
        };
        // One that nobody heard is said again: the one counts that was answered.
        let answered = self.inward().filter(|m| m.is_request("CANCEL") && m.at <= answer.at).last();
        let cancelled = answered.map_or(begun.at, |m| m.at);
        let mut last = Time(0);
        for callee in self.call.callees(self.first) {
            let its = || self.inward().filter(|m| m.phone == callee);
            let rings = its().filter(|m| m.status_of("INVITE").is_some_and(|s| s < 200)).last();
            // Who has answered the CANCEL has stopped, even if it takes its time for the 487.
            let stopped = |m: &Message| m.status_of("CANCEL").is_some() || m.is_final_of("INVITE", self.first);
            let end = its().find(|m| stopped(m));
            last = last.max(rings.map_or(Time(0), |m| m.at)).max(end.map_or(Time(0), |m| m.at));
        }
        judgement.rang_on = Some(last.since(begun.at));
        let repeats = (0..self.call.lost_cancels.min(16)).map(|n| T1.saturating_mul(1 << n).min(T2));
        if last.since(cancelled) > repeats.fold(SILENT_WITHIN, |sum, interval| sum + interval) {
            let on = last.since(cancelled);
            judgement.wrong.push(format!("it rang for {on:?} after the CANCEL"));
        }
    }

    /// In the dialog everything reaches the other side, who answers it.
    fn dialog(&self, is_answered: bool, wrong: &mut Vec<String>) {
        for refusal in self.outward() {
            let Start::Response(status) = refusal.start else { continue };
            let is_first = &*refusal.method == "INVITE" && refusal.cseq == self.first && refusal.phone == self.caller;
            let is_in_dialog = matches!(&*refusal.method, "INVITE" | "BYE") && !is_first;
            let sent = |m: &Message| m.start == refusal.start && m.cseq == refusal.cseq && m.method == refusal.method;
            if is_in_dialog && status >= 300 && !self.inward().any(sent) {
                let told = format!("the rack itself answered {} with {status}", refusal.method);
                if !wrong.contains(&told) {
                    wrong.push(told);
                }
            }
        }
        let requests = |method: &'static str| {
            let mut sent: Vec<(SocketAddrV4, u32)> = Vec::new();
            for m in self.inward().filter(|m| m.is_request(method) && !m.to_tag.is_empty()) {
                if !sent.contains(&(m.phone, m.cseq)) {
                    sent.push((m.phone, m.cseq));
                }
            }
            sent
        };
        let byes = requests("BYE");
        if byes.is_empty() {
            if self.outward().any(|m| m.is_request("BYE")) {
                wrong.push("the rack itself sent a BYE".to_string());
            } else if is_answered {
                wrong.push("it was answered and never ended".to_string());
            }
        }
        for (phone, cseq) in byes {
            self.reaches("BYE", phone, cseq, wrong);
        }
        for (phone, cseq) in requests("INVITE") {
            self.reaches("INVITE", phone, cseq, wrong);
            let passed = self.outward().any(|m| m.phone != phone && m.is_request("ACK") && m.cseq == cseq);
            if !passed {
                wrong.push(format!("the ACK to INVITE {cseq} of {phone} never came to the other side"));
            }
        }
    }

    /// A request within the dialog came to the other side, who answered 200, and that came back.
    fn reaches(&self, method: &str, phone: SocketAddrV4, cseq: u32, wrong: &mut Vec<String>) {
        if !self.outward().any(|m| m.phone != phone && m.is_request(method) && m.cseq == cseq) {
            wrong.push(format!("{method} {cseq} of {phone} never came to the other side"));
        } else if !self.inward().any(|m| m.phone != phone && m.is_final_of(method, cseq)) {
            wrong.push(format!("{method} {cseq} of {phone} was never answered by the other side"));
        }
        let heard: BTreeSet<u16> = self
            .outward()
            .filter(|m| m.phone == phone && m.is_final_of(method, cseq))
            .filter_map(|m| m.status_of(method))
            .collect();
        if heard.iter().ne([&200]) {
            wrong.push(format!("{method} {cseq} of {phone} was answered by {heard:?}"));
        }
    }
}
