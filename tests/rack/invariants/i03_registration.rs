//! I3: a registration that was acknowledged is there, wherever it is asked for and whoever has died; one that was removed
//! never returns. A history of REGISTERs and of look-ups (the INVITEs of new calls), against a register for each AOR: a
//! look-up that begins once a REGISTER has been answered, and ends before the next one is sent, sees what that one left.

use super::wire::{Rung, Wire};
use crate::hosts::actor::message::address_of;
use common::time::{Duration, Time};
use std::collections::{BTreeMap, BTreeSet};

/// An acknowledged change is on every node so soon, though the location server die once meanwhile.
const EVERYWHERE: Duration = Duration::from_secs(1);

/// One REGISTER that was answered.
struct Change {
    sent: Time,
    answered: Time,
    /// All Contacts that stand afterwards, and until when the first of them does.
    contacts: BTreeSet<String>,
    until: Time,
}

pub fn holds(wire: &Wire) -> Result<(), (String, String)> {
    let mut registers: BTreeMap<String, Vec<Change>> = BTreeMap::new();
    for rungs in wire.calls.values() {
        for (aor, change) in changes(rungs) {
            registers.entry(aor).or_default().push(change);
        }
    }
    registers.values_mut().for_each(|changes| changes.sort_by_key(|change| change.answered));
    for (call_id, rungs) in &wire.calls {
        look_up(&registers, rungs).map_err(|why| (format!("I3: {why}"), call_id.clone()))?;
    }
    Ok(())
}

/// What a name-addr names, without parameters.
pub(super) fn name(value: &str) -> String {
    address_of(value).split(';').next().unwrap_or_default().to_string()
}

/// The REGISTERs under one Call-ID whose 200 has left.
fn changes(rungs: &[Rung]) -> impl Iterator<Item = (String, Change)> {
    // A repeat of an answer says nothing new.
    let is_new = |(at, ok): &(usize, &Rung)| !rungs[..*at].iter().any(|r| r.is_ok("REGISTER") && r.is_of(ok));
    let oks = rungs.iter().enumerate().filter(|(_, r)| r.outwards && r.is_ok("REGISTER")).filter(is_new);
    oks.collect::<Vec<_>>().into_iter().filter_map(|(_, ok)| {
        let sent = rungs.iter().find(|r| !r.outwards && r.asks("REGISTER") && r.is_of(ok))?.at;
        let left = |contact: &String| {
            let named = contact.rsplit_once('>').map_or("", |(_, behind)| behind);
            named.split(';').find_map(|p| p.trim().strip_prefix("expires=")?.parse::<u64>().ok()).unwrap_or(0)
        };
        let values = ok.message.values("Contact");
        let until = ok.at + Duration::from_secs(values.iter().map(left).min().unwrap_or(0));
        let contacts = values.iter().map(|contact| name(contact)).collect();
        Some((name(ok.message.header("To")), Change { sent, answered: ok.at, contacts, until }))
    })
}

/// The first INVITE of a call that begins here, against what stood then.
fn look_up(registers: &BTreeMap<String, Vec<Change>>, rungs: &[Rung]) -> Result<(), String> {
    let asks = |r: &&Rung| !r.outwards && r.survived && r.asks("INVITE") && r.message.to_tag().is_empty();
    let Some(invite) = rungs.iter().find(asks) else { return Ok(()) };
    let Some(changes) = registers.get(&name(invite.message.uri())) else { return Ok(()) };
    let Some(at) = changes.iter().rposition(|change| change.answered + EVERYWHERE < invite.at) else { return Ok(()) };
    let stands = &changes[at];
    let told = |r: &&Rung| r.outwards && r.is_of(invite) && (r.asks("INVITE") || r.ends("INVITE"));
    let Some(told) = rungs.iter().find(told) else { return Ok(()) };
    // Another REGISTER may have come first, answered or not.
    let changed = changes.iter().any(|change| change.answered > stands.answered && change.sent < told.at);
    // Which of two that overlap came last nobody knows.
    let overlap = |(n, c): (usize, &Change)| n != at && c.sent < stands.answered && c.answered > stands.sent;
    if changed || changes.iter().enumerate().any(overlap) || (!stands.contacts.is_empty() && stands.until < told.at) {
        return Ok(());
    }
    let uri = invite.message.uri();
    if told.asks("INVITE") && !stands.contacts.contains(&name(told.message.uri())) {
        return Err(format!("{uri} was forwarded to {}, and {:?} stood", told.message.uri(), stands.contacts));
    }
    if matches!(told.message.status(), 404 | 480) && !stands.contacts.is_empty() {
        return Err(format!("{uri} was not found, and {:?} stood since {:?}", stands.contacts, stands.answered));
    }
    Ok(())
}
