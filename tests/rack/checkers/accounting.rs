//! I4: exactly one CDR an answered call, and none for any other.

use crate::hosts::actor::message::Message;
use crate::simulation::Simulation;
use std::collections::BTreeMap;

/// `answered`: the Call-IDs that were answered and have ended.
pub fn check(s: &Simulation, answered: &[String]) -> Result<(), String> {
    let mut lines: BTreeMap<&str, u32> = BTreeMap::new();
    for (_, _, cdr) in s.cdrs() {
        *lines.entry(&cdr.callid).or_default() += 1;
    }
    for call_id in answered {
        match lines.remove(call_id.as_str()) {
            Some(1) => {}
            other => return Err(format!("{call_id} has {} CDRs\n{}", other.unwrap_or(0), s.story())),
        }
    }
    match lines.keys().next() {
        Some(call_id) => Err(format!("a CDR for {call_id}, which was not answered\n{}", s.story())),
        None => Ok(()),
    }
}

/// Exactly one CDR for this call, and its length is that of the dialog with `callee_tag`, ± 1 s: it began between the
/// callee's first 2xx and the first that left for the caller, and ended between the first BYE and the first answer to it
/// that came through (what the network loses in between is not the rack's).
pub fn lasted(s: &Simulation, call_id: &str, callee_tag: &str) -> Result<(), String> {
    let records = s.cdrs().iter().filter(|(_, _, c)| c.callid == call_id).map(|(_, _, c)| c.ms_duration);
    let [charged] = records.collect::<Vec<u64>>()[..] else {
        return Err(format!("{call_id} has not exactly one CDR\n{}", s.ladder()));
    };
    let (mut answered, mut hung_up) = ([None; 2], [None; 2]);
    for carried in s.wire() {
        let Some(message) = Message::parse(&carried.bytes).filter(|m| m.call_id() == call_id) else { continue };
        if message.to_tag() != callee_tag && message.from_tag() != callee_tag {
            continue;
        }
        let outwards = usize::from(s.is_vip(carried.from));
        match (message.status(), message.method()) {
            (200..=299, "INVITE") => answered[outwards] = answered[outwards].or(Some(carried.at)),
            (0, "BYE") if outwards == 0 => hung_up[0] = hung_up[0].or(Some(carried.at)),
            (200.., "BYE") if outwards == 1 => hung_up[1] = hung_up[1].or(Some(carried.at)),
            _ => {}
        }
    }
    let ([Some(given), Some(passed)], [Some(asked), Some(done)]) = (answered, hung_up) else {
        return Err(format!("{call_id} with {callee_tag}: not answered and ended on the wire\n{}", s.ladder()));
    };
    let (least, most) = (asked.max(passed).since(passed).as_millis() as u64, done.since(given).as_millis() as u64);
    if charged + 1000 < least || charged > most + 1000 {
        return Err(format!("{call_id} lasted {least} to {most} ms and is charged {charged} ms\n{}", s.ladder()));
    }
    Ok(())
}
