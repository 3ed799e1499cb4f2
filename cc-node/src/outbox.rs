//! Holds what may not leave before its record is with a backup. The shell and the simulator push every effect of the
//! engine through it, in order.

use crate::effect::{Effect, RecordNo};
use std::collections::BTreeMap;

/// Messages that may wait; a further one leaves unprotected.
const HELD: usize = 65_536;

pub struct Outbox {
    /// Whether the placement names a backup that could acknowledge.
    protected: bool,
    /// Not acknowledged yet, with the messages that wait for each.
    waiting: BTreeMap<RecordNo, Vec<Effect>>,
    held: usize,
    unprotected: u64,
}

impl Outbox {
    /// No backup: every record counts as acknowledged when it is written.
    pub fn unprotected() -> Outbox {
        Outbox { protected: false, waiting: BTreeMap::new(), held: 0, unprotected: 0 }
    }

    /// Records wait for [`Outbox::acknowledge`].
    pub fn protected() -> Outbox {
        Outbox { protected: true, ..Outbox::unprotected() }
    }

    /// Takes one effect of the engine; what may be carried out now comes out at `released`.
    pub fn take(&mut self, effect: Effect, released: &mut Vec<Effect>) {
        match &effect {
            Effect::Journal(record) if self.protected => {
                self.waiting.insert(record.no, Vec::new());
                released.push(effect);
            }
            Effect::Send { after: Some(no), .. } => match self.waiting.get_mut(no) {
                Some(held) if self.held < HELD => {
                    held.push(effect);
                    self.held += 1;
                }
                Some(_) => {
                    self.unprotected += 1;
                    released.push(effect);
                }
                None => released.push(effect),
            },
            _ => released.push(effect),
        }
    }

    /// A backup holds this record, or nobody will in time.
    pub fn acknowledge(&mut self, no: RecordNo, released: &mut Vec<Effect>) {
        if let Some(held) = self.waiting.remove(&no) {
            self.held -= held.len();
            released.extend(held);
        }
    }

    /// Messages that wait.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Messages that left without a backup because too many waited.
    pub fn left_unprotected(&self) -> u64 {
        self.unprotected
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::record::{CallKey, Record, What};
    use common::ids::{ListenerId, Slot, Transport};
    use common::time::WallMillis;

    fn journal(number: u64) -> Effect {
        let call =
            CallKey { call_id: b"c"[..].into(), from_tag: "f".into(), upstream_branch: "b".into(), cseq: 1 }.into();
        Effect::Journal(Record { no: no(number), call, what: What::Ended { at: WallMillis(0) } })
    }

    fn no(number: u64) -> RecordNo {
        RecordNo { slot: Slot(7), number }
    }

    fn send(after: Option<u64>, text: &'static str) -> Effect {
        let to = "192.0.2.1:5060".parse().unwrap();
        Effect::Send {
            after: after.map(no),
            listener: ListenerId(0),
            to,
            transport: Transport::Udp,
            bytes: text.into(),
        }
    }

    fn through(outbox: &mut Outbox, effects: Vec<Effect>) -> Vec<Effect> {
        let mut released = Vec::new();
        effects.into_iter().for_each(|e| outbox.take(e, &mut released));
        released
    }

    #[test]
    fn without_a_backup_nothing_waits() {
        let effects = vec![journal(1), send(Some(1), "100"), send(None, "x")];
        assert_eq!(through(&mut Outbox::unprotected(), effects.clone()), effects);
    }

    #[test]
    fn a_message_waits_for_its_record_and_for_no_other() {
        let mut outbox = Outbox::protected();
        let effects = vec![
            journal(1),
            send(Some(1), "100"),
            send(Some(1), "INVITE"),
            send(None, "x"),
            journal(2),
            send(Some(2), "200"),
        ];
        assert_eq!(through(&mut outbox, effects), [journal(1), send(None, "x"), journal(2)]);
        let mut released = Vec::new();
        outbox.acknowledge(no(1), &mut released);
        assert_eq!(released, [send(Some(1), "100"), send(Some(1), "INVITE")]);
        assert_eq!(through(&mut outbox, vec![send(Some(1), "again")]).len(), 1, "acknowledged is acknowledged");
        assert_eq!(outbox.held(), 1);
    }
}
