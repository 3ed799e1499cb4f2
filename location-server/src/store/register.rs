//! RFC 3261 §10.3 steps 6 and 7: what a REGISTER does to the bindings of its AOR, all of it or nothing.
//! Pure decision; the store carries it out.

use super::tombstones::Tombstone;
use common::ids::Level;
use common::location::command::RequestedContact;
use common::location::{Binding, LogTime, Refusal, RegisterCommand, RequestedBinding};
use common::sip::uri::SipUri;
use sha2::{Digest, Sha256};
use std::cmp::Ordering;

/// The REGISTER that wrote a binding: what a later one is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub call_id: String,
    pub cseq: u32,
    /// Digest of what was asked for (contacts, expires, q, instance), without the way it came.
    content: [u8; 16],
}

impl Ask {
    fn of(command: &RegisterCommand) -> Ask {
        // A command that came out of the log or a frame always encodes.
        let what = postcard::to_allocvec(&command.what).unwrap_or_default();
        let digest = Sha256::digest(&what);
        let mut content = [0; 16];
        content.copy_from_slice(&digest[..16]);
        Ask { call_id: command.call_id.clone(), cseq: command.cseq, content }
    }

    /// How `self`, new, stands to one that was done before.
    fn against(&self, done: &Ask) -> Standing {
        if self.call_id != done.call_id {
            return Standing::New;
        }
        match self.cseq.cmp(&done.cseq) {
            Ordering::Greater => Standing::New,
            Ordering::Equal if self.content == done.content => Standing::Repeat,
            _ => Standing::OutOfOrder,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    New,
    Repeat,
    OutOfOrder,
}

/// A binding with the REGISTER that wrote it. Replicas see the binding only.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub binding: Binding,
    pub ask: Ask,
}

pub(super) enum Verdict {
    /// Done before: answered from the bindings as they are.
    Repeat,
    Refused(Refusal),
    /// The whole resulting set, and what to remember of removed or overwritten contacts.
    Set {
        held: Vec<Held>,
        buried: Vec<(Option<String>, Ask)>,
    },
}

pub(super) fn decide(
    held: &[Held],
    tombstones: &[Tombstone],
    level: Level,
    time: LogTime,
    command: &RegisterCommand,
) -> Verdict {
    let ask = Ask::of(command);
    match &command.what {
        RequestedBinding::RemoveAll => remove_all(held, tombstones, ask),
        RequestedBinding::Contacts(contacts) if contacts.is_empty() => Verdict::Repeat,
        RequestedBinding::Contacts(contacts) => {
            set_contacts(held, tombstones, &last_of_each(contacts), ask, (level, time), command)
        }
    }
}

/// Step 6, `Contact: *`.
fn remove_all(held: &[Held], tombstones: &[Tombstone], ask: Ask) -> Verdict {
    let done = held.iter().map(|h| &h.ask);
    let removed = tombstones.iter().filter(|t| t.contact.is_none()).map(|t| &t.ask);
    match done.chain(removed).map(|d| ask.against(d)).max().unwrap_or(Standing::New) {
        Standing::OutOfOrder => Verdict::Refused(Refusal::OutOfOrder),
        Standing::Repeat => Verdict::Repeat,
        Standing::New => {
            let others = held.iter().filter(|h| h.ask.call_id != ask.call_id);
            let mut buried: Vec<_> = others.map(|h| (Some(h.binding.contact.clone()), h.ask.clone())).collect();
            buried.push((None, ask));
            Verdict::Set { held: Vec::new(), buried }
        }
    }
}

/// Step 7: every contact is checked before any is changed.
fn set_contacts(
    held: &[Held],
    tombstones: &[Tombstone],
    contacts: &[&RequestedContact],
    ask: Ask,
    at: (Level, LogTime),
    command: &RegisterCommand,
) -> Verdict {
    let standing = contacts.iter().map(|c| standing(held, tombstones, &c.contact, &ask)).max();
    match standing.unwrap_or(Standing::New) {
        Standing::OutOfOrder => return Verdict::Refused(Refusal::OutOfOrder),
        Standing::Repeat => return Verdict::Repeat,
        Standing::New => {}
    }
    let before = held.len();
    let mut held = held.to_vec();
    let mut buried = Vec::new();
    for contact in contacts {
        let place = held.iter().position(|h| same_contact(&h.binding.contact, &contact.contact));
        if let Some(old) = place.map(|p| &held[p]).filter(|h| h.ask.call_id != ask.call_id) {
            buried.push((Some(old.binding.contact.clone()), old.ask.clone()));
        }
        if contact.expires_s == 0 {
            place.map(|p| held.remove(p));
            buried.push((Some(contact.contact.clone()), ask.clone()));
            continue;
        }
        let new = Held { binding: binding(contact, at, command), ask: ask.clone() };
        match place {
            Some(p) => held[p] = new,
            None => held.push(new),
        }
    }
    if held.len() > usize::from(command.max_contacts) && held.len() > before {
        return Verdict::Refused(Refusal::TooManyContacts { limit: command.max_contacts });
    }
    Verdict::Set { held, buried }
}

fn standing(held: &[Held], tombstones: &[Tombstone], contact: &str, ask: &Ask) -> Standing {
    let bound = held.iter().filter(|h| same_contact(&h.binding.contact, contact)).map(|h| &h.ask);
    let covers = |t: &&Tombstone| t.contact.as_ref().is_none_or(|c| same_contact(c, contact));
    let removed = tombstones.iter().filter(covers).map(|t| &t.ask);
    bound.chain(removed).map(|done| ask.against(done)).max().unwrap_or(Standing::New)
}

/// A request that names one contact twice means its last word.
fn last_of_each(contacts: &[RequestedContact]) -> Vec<&RequestedContact> {
    let named_later =
        |i: usize, c: &RequestedContact| contacts[i + 1..].iter().any(|later| same_contact(&later.contact, &c.contact));
    contacts.iter().enumerate().filter(|(i, c)| !named_later(*i, c)).map(|(_, c)| c).collect()
}

fn binding(contact: &RequestedContact, (level, time): (Level, LogTime), command: &RegisterCommand) -> Binding {
    Binding {
        contact: contact.contact.clone(),
        q_thousandths: contact.q_thousandths,
        expires_at: LogTime(time.0.saturating_add(u64::from(contact.expires_s) * 1000)),
        received: command.received,
        listener: command.listener,
        path: command.path.clone(),
        instance: contact.instance.clone(),
        user_agent: command.user_agent.clone(),
        version: level,
    }
}

/// Equal octets, or equal by RFC 3261 §19.1.4.
fn same_contact(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    matches!((SipUri::parse(a), SipUri::parse(b)), (Ok(a), Ok(b)) if a.same_as(&b))
}
