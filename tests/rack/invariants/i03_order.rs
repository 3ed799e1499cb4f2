//! I3, the stronger half: the REGISTERs of an address of record are as of one register that took them one after the
//! other (they are linearisable). Each took effect at one moment between its arrival and its 200, and the 200 lists what
//! stood at that moment. One that was never answered may have taken effect at any later moment, or never; but not after
//! a later one of its Call-ID (RFC 3261 §10.3).
//!
//! The events of a history are gone through in time, with every state that the register may be in and, of each, the
//! REGISTERs under way that it has in it already. No state left that explains a 200: the history is nobody's.

use super::i03_registration::name;
use super::wire::{Rung, Wire};
use crate::hosts::actor::message::{Message, parameter};
use common::time::{Duration, Time};
use std::collections::{BTreeMap, BTreeSet};

/// States that are gone through at once. Each REGISTER that nobody answered can double them until its phone's next one.
const MOST: usize = 20_000;

/// Contacts, and until when each stands.
type Contacts = BTreeMap<String, Time>;

struct Registration {
    call_id: String,
    cseq: u32,
    sent: Time,
    change: Change,
    /// When its 200 left, and the Contacts that it lists; none: nobody knows what became of it.
    answer: Option<(Time, Contacts)>,
}

enum Change {
    /// These, each for so long; no time: removed. None of them: it only asks.
    Bind(Vec<(String, Duration)>),
    /// `Contact: *`
    RemoveAll,
}

/// One way in which it may have been so far.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Possible {
    stands: Contacts,
    /// REGISTERs that are not answered yet, and have taken effect.
    taken: BTreeSet<usize>,
    /// By Call-ID the newest CSeq that has taken effect.
    newest: BTreeMap<String, u32>,
}

pub fn holds(wire: &Wire) -> Result<(), (String, String)> {
    let mut histories: BTreeMap<String, Vec<Registration>> = BTreeMap::new();
    for (call_id, rungs) in &wire.calls {
        for (aor, registration) in registrations(call_id, rungs) {
            histories.entry(aor).or_default().push(registration);
        }
    }
    histories.iter().try_for_each(|(aor, history)| judge(aor, history))
}

/// Those that came to the rack under one Call-ID; refused ones change nothing.
fn registrations(call_id: &str, rungs: &[Rung]) -> Vec<(String, Registration)> {
    let asks = |r: &&Rung| !r.outwards && r.survived && r.asks("REGISTER");
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for asked in rungs.iter().filter(asks) {
        if !seen.insert((asked.message.cseq(), asked.message.from_tag())) {
            continue;
        }
        let said = rungs.iter().find(|r| r.outwards && r.ends("REGISTER") && r.is_of(asked));
        let status = said.map_or(0, |r| r.message.status());
        if (300..500).contains(&status) && status != 408 {
            continue;
        }
        let answer = said.filter(|_| status < 300).map(|ok| (ok.at, listed(ok)));
        let (cseq, sent, change) = (asked.message.cseq(), asked.at, change(&asked.message));
        let registration = Registration { call_id: call_id.to_string(), cseq, sent, change, answer };
        all.push((name(asked.message.header("To")), registration));
    }
    all
}

fn seconds(contact: &str, otherwise: Duration) -> Duration {
    parameter(contact, "expires").and_then(|s| s.parse().ok()).map_or(otherwise, Duration::from_secs)
}

fn listed(ok: &Rung) -> Contacts {
    let contacts = ok.message.values("Contact");
    contacts.iter().map(|contact| (name(contact), ok.at + seconds(contact, Duration::ZERO))).collect()
}

fn change(request: &Message) -> Change {
    let otherwise = request.header("Expires").parse().map_or(Duration::from_secs(3_600), Duration::from_secs);
    let contacts = request.values("Contact");
    match contacts.iter().any(|contact| contact.trim() == "*") {
        true => Change::RemoveAll,
        false => Change::Bind(contacts.iter().map(|c| (name(c), seconds(c, otherwise))).collect()),
    }
}

fn judge(aor: &str, history: &[Registration]) -> Result<(), (String, String)> {
    let sent = history.iter().enumerate().map(|(at, r)| (r.sent, false, at));
    let answered = history.iter().enumerate().filter_map(|(at, r)| Some((r.answer.as_ref()?.0, true, at)));
    let mut events: Vec<(Time, bool, usize)> = sent.chain(answered).collect();
    events.sort_unstable();
    let mut under_way: BTreeSet<usize> = BTreeSet::new();
    let mut possible = BTreeSet::from([Possible::default()]);
    for (_, is_answer, at) in events {
        if !is_answer {
            under_way.insert(at);
            continue;
        }
        let Some(explained) = explain(&possible, history, &under_way, at) else { return Ok(()) };
        if explained.is_empty() {
            let Some((when, listed)) = &history[at].answer else { return Ok(()) };
            let stood: Vec<_> = possible.iter().map(|p| p.stands.keys().collect::<Vec<_>>()).collect();
            let listed: Vec<_> = listed.keys().collect();
            let what = format!(
                "I3: the 200 to {aor} at {when:?} lists {listed:?}, which no order of its REGISTERs gives; before it one of {stood:?}"
            );
            return Err((what, history[at].call_id.clone()));
        }
        under_way.remove(&at);
        possible = explained;
    }
    Ok(())
}

/// Every way in which this REGISTER may have taken effect by now, others under way before it or not. None: too many.
fn explain(
    possible: &BTreeSet<Possible>,
    history: &[Registration],
    under_way: &BTreeSet<usize>,
    answered: usize,
) -> Option<BTreeSet<Possible>> {
    let mut explained = BTreeSet::new();
    let mut seen = possible.clone();
    let mut open: Vec<Possible> = possible.iter().cloned().collect();
    while let Some(mut one) = open.pop() {
        if one.taken.remove(&answered) {
            explained.insert(one);
            continue;
        }
        for at in under_way {
            let next = one.with(*at, &history[*at]).filter(|next| !seen.contains(next));
            if let Some(next) = next {
                seen.insert(next.clone());
                open.push(next);
            }
        }
        if seen.len() > MOST {
            return None;
        }
    }
    Some(explained)
}

impl Possible {
    /// As it is once this one has taken effect too, if it can and its answer says so.
    fn with(&self, at: usize, registration: &Registration) -> Option<Possible> {
        let newest = self.newest.get(&registration.call_id);
        if self.taken.contains(&at) || newest.is_some_and(|newest| *newest >= registration.cseq) {
            return None;
        }
        let mut next = self.clone();
        next.taken.insert(at);
        next.newest.insert(registration.call_id.clone(), registration.cseq);
        match &registration.change {
            Change::RemoveAll => next.stands.clear(),
            Change::Bind(contacts) => {
                for (contact, lasting) in contacts {
                    match lasting.is_zero() {
                        true => next.stands.remove(contact),
                        false => next.stands.insert(contact.clone(), registration.sent + *lasting),
                    };
                }
            }
        }
        let Some((when, listed)) = &registration.answer else { return Some(next) };
        let all_there = next.stands.iter().all(|(contact, until)| until <= when || listed.contains_key(contact));
        let all_known = listed.keys().all(|contact| next.stands.contains_key(contact));
        if !(all_there && all_known) {
            return None;
        }
        // What is granted may be less or more than was asked for.
        next.stands.extend(listed.iter().map(|(contact, until)| (contact.clone(), *until)));
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+a 1-2 = a b`: a bound, sent in the first second and answered in the second, when a and b stood. `-a`: removed;
    /// `*`: all removed; `?`: it only asks; `3-`: never answered. Each of its own phone, unless `@NAME` says whose.
    fn told(lines: &str) -> Result<(), String> {
        let mut history: Vec<Registration> = Vec::new();
        for (n, line) in lines.lines().map(str::trim).enumerate() {
            let (asked, listed) = line.split_once('=').unwrap_or((line, ""));
            let words: Vec<&str> = asked.split_whitespace().collect();
            let (from, to) = words[1].split_once('-').unwrap();
            let at = |s: &str| Time(s.parse::<u64>().unwrap() * 1_000_000);
            let long = Duration::from_secs(3_600);
            let change = match words[0].split_at(1) {
                ("+", contact) => Change::Bind(vec![(contact.to_string(), long)]),
                ("-", contact) => Change::Bind(vec![(contact.to_string(), Duration::ZERO)]),
                ("*", _) => Change::RemoveAll,
                _ => Change::Bind(Vec::new()),
            };
            let listed = |when: Time| listed.split_whitespace().map(|c| (c.to_string(), when + long)).collect();
            let answer = (!to.is_empty()).then(|| (at(to), listed(at(to))));
            let call_id = words.get(2).map_or(format!("phone {n}"), |name| name.to_string());
            history.push(Registration { call_id, cseq: n as u32, sent: at(from), change, answer });
        }
        judge("alice", &history).map_err(|(what, _)| what)
    }

    #[test]
    fn one_after_the_other_each_lists_what_stands() {
        told("+a 1-2 = a\n+b 3-4 = a b\n-a 5-6 = b\n? 7-8 = b\n* 9-10 =\n+a 11-12 = a").unwrap();
    }

    #[test]
    fn what_overlaps_may_come_in_either_order_and_only_in_one() {
        told("+a 1-5 = a\n+b 2-6 = a b").unwrap();
        told("+a 1-5 = a b\n+b 2-6 = b").unwrap();
        told("+a 1-5 = a b\n+b 2-6 = a b").unwrap_err();
        told("+a 1-5 = a\n+b 2-6 = b").unwrap_err();
    }

    #[test]
    fn an_acknowledged_one_is_not_lost_and_a_removed_one_does_not_return() {
        told("+a 1-2 = a\n? 3-4 =").unwrap_err();
        told("+a 1-2 = a\n-a 3-4 =\n? 5-6 = a").unwrap_err();
        told("? 1-2 =\n+a 3-4 = a\n? 5-6 = a\n? 7-8 =").unwrap_err();
    }

    #[test]
    fn one_that_nobody_answered_takes_effect_late_or_never_but_once() {
        told("+a 1- =\n? 2-3 =\n? 4-5 = a\n? 6-7 = a").unwrap();
        told("+a 1- =\n? 2-3 = a\n? 4-5 =").unwrap_err();
        told("+a 1- = \n-a 2-3 =\n? 4-5 = a").unwrap();
        // Its own phone has said otherwise since.
        told("+a 1- @a =\n-a 2-3 @a =\n? 4-5 = a").unwrap_err();
    }
}
