//! Messages, and start records, that may not leave before their record is with a backup. The shipper says which backups could acknowledge a
//! record, and when one has; after 100 ms, or when none of them can any more, its messages leave unprotected.

use super::own::Backups;
use super::words::Post;
use crate::effect::{Effect, RecordNo};
use common::call_hash::CallHash;
use common::time::{Duration, Time};
use std::collections::{BTreeMap, BTreeSet};

/// Messages that may wait, and records that are not acknowledged; what is beyond leaves unprotected.
const HELD: usize = 65_536;
/// No message waits longer.
const PATIENCE: Duration = Duration::from_millis(100);

/// A record that no backup has acknowledged.
struct Waiting {
    hash: CallHash,
    since: Time,
    /// Who may still acknowledge it. Nobody: its messages have left, and further ones leave at once.
    owing: Backups,
    messages: Vec<Effect>,
}

#[derive(Default)]
pub struct Held {
    /// In the order in which they were written, which is that of their numbers.
    records: BTreeMap<RecordNo, Waiting>,
    by_call: BTreeSet<(CallHash, RecordNo)>,
    messages: usize,
    unprotected: u64,
    overfull: u64,
}

impl Held {
    pub fn forget(&mut self) {
        self.records.clear();
        self.by_call.clear();
        self.messages = 0;
    }

    /// A record of a call that has backups; `owing` are those that it is on its way to.
    pub fn written(&mut self, now: Time, no: RecordNo, hash: CallHash, owing: Backups) {
        if self.records.len() >= HELD {
            self.overfull += 1;
            return;
        }
        self.by_call.insert((hash, no));
        self.records.insert(no, Waiting { hash, since: now, owing, messages: Vec::new() });
    }

    /// A message that must wait stays; everything else goes on.
    pub fn take(&mut self, effect: Effect, released: &mut Vec<Effect>) {
        let waiting = match &effect {
            Effect::Send { after: Some(no), .. } | Effect::Started { after: no, .. } => self.records.get_mut(no),
            _ => None,
        };
        match waiting {
            Some(waiting) if waiting.owing.is_empty() => self.unprotected += messages(std::slice::from_ref(&effect)),
            Some(waiting) if self.messages < HELD => {
                waiting.messages.push(effect);
                self.messages += 1;
                return;
            }
            Some(_) => self.overfull += 1,
            None => {}
        }
        released.push(effect);
    }

    /// A backup holds all of a call up to this record.
    pub fn covered(&mut self, hash: CallHash, upto: RecordNo, released: &mut Vec<Effect>) {
        while let Some(&(hash, no)) = self.by_call.range((hash, RecordNo(0))..=(hash, upto)).next() {
            self.by_call.remove(&(hash, no));
            self.release(no, released);
        }
    }

    fn release(&mut self, no: RecordNo, released: &mut Vec<Effect>) {
        let Some(waiting) = self.records.remove(&no) else { return };
        self.by_call.remove(&(waiting.hash, no));
        self.messages -= waiting.messages.len();
        released.extend(waiting.messages);
    }

    /// Whether a record of the call is not acknowledged.
    pub fn waits(&self, hash: CallHash) -> bool {
        self.by_call.range((hash, RecordNo(0))..=(hash, RecordNo(u64::MAX))).next().is_some()
    }

    /// One more backup may acknowledge what waits of this call.
    pub fn owed(&mut self, hash: CallHash, by: Post) {
        for (_, no) in self.by_call.range((hash, RecordNo(0))..=(hash, RecordNo(u64::MAX))) {
            if let Some(waiting) = self.records.get_mut(no).filter(|waiting| !waiting.owing.contains(&by)) {
                waiting.owing.push(by);
            }
        }
    }

    /// The calls for which something waits that one of these may acknowledge.
    pub fn owed_by(&self, posts: &[Post]) -> Vec<CallHash> {
        let owe = |waiting: &&Waiting| waiting.owing.iter().any(|post| posts.contains(post));
        self.records.values().filter(owe).map(|waiting| waiting.hash).collect()
    }

    /// Nothing is to be expected of these any more: what waited for nobody else leaves.
    pub fn lost(&mut self, posts: &[Post], released: &mut Vec<Effect>) {
        for waiting in self.records.values_mut() {
            waiting.owing.retain(|post| !posts.contains(post));
            if waiting.owing.is_empty() {
                self.messages -= waiting.messages.len();
                self.unprotected += messages(&waiting.messages);
                released.append(&mut waiting.messages);
            }
        }
    }

    /// What has waited for too long leaves.
    pub fn expire(&mut self, now: Time, released: &mut Vec<Effect>) {
        while let Some((no, waiting)) = self.records.first_key_value() {
            if now.since(waiting.since) < PATIENCE {
                return;
            }
            self.unprotected += messages(&waiting.messages);
            let no = *no;
            self.release(no, released);
        }
    }

    pub fn next_due(&self) -> Option<Time> {
        self.oldest().map(|since| since + PATIENCE)
    }

    /// When the oldest record that is not acknowledged was written.
    pub fn oldest(&self) -> Option<Time> {
        self.records.values().next().map(|waiting| waiting.since)
    }

    /// Messages that wait.
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// Messages that left without a backup because no acknowledgement came in time, or none could.
    pub fn unprotected(&self) -> u64 {
        self.unprotected
    }

    /// Messages that left without a backup because too many waited.
    pub fn overfull(&self) -> u64 {
        self.overfull
    }
}

/// Those that somebody out there hears.
fn messages(effects: &[Effect]) -> u64 {
    effects.iter().filter(|effect| matches!(effect, Effect::Send { .. })).count() as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::effect::Start;
    use common::ids::{BootId, NodeId};

    fn begun() -> Start {
        serde_json::from_value(serde_json::json!({
            "id": "1", "method": "INVITE", "from_tag": "a", "to_tag": "b", "callid": "c", "sip_code": 200, "sip_reason": "OK",
            "created": "", "setup_time": 1.0, "start_time": "", "caller": "sip:a@rack.test", "callee": "sip:b@rack.test",
            "trunk_in": null, "trunk_out": null, "node": 1, "site": "rack",
        }))
        .unwrap()
    }

    #[test]
    fn a_start_waits_for_its_answer_as_the_200_does_and_is_no_message() {
        let post = Post { node: NodeId(2), boot: BootId(20), worker: 0 };
        let start = |after| Effect::Started { after: RecordNo(after), start: Box::new(begun()) };
        let (mut held, mut released) = (Held::default(), Vec::new());
        held.written(Time(0), RecordNo(1), CallHash(7), [post].into_iter().collect());
        held.take(start(1), &mut released);
        assert!(released.is_empty());
        held.covered(CallHash(7), RecordNo(1), &mut released);
        assert_eq!(std::mem::take(&mut released), [start(1)]);
        held.written(Time(0), RecordNo(2), CallHash(7), [post].into_iter().collect());
        held.take(start(2), &mut released);
        held.expire(Time(0) + PATIENCE, &mut released);
        assert_eq!((released.len(), held.unprotected(), held.messages()), (1, 0, 0));
    }
}
