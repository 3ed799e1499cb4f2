//! I4: exactly one CDR an answered call and one start record under the same id, and none for any other. As a collector does,
//! each id is counted once: who takes over writes a CDR again of which nobody has told it that it is durable, and every start.

use super::wire::{Rung, Wire};
use crate::hosts::actor::message::Message;
use crate::hosts::node::DISK;
use crate::simulation::Simulation;
use common::time::{Duration, Time};
use std::collections::{BTreeMap, BTreeSet};

/// How wrong a duration may be: a takeover, and a second.
const WRONG: Duration = Duration::from_millis(1_650);
/// So long after its end a call is charged at the latest.
const CHARGED: Duration = Duration::from_secs(2);

/// `answered`: the Call-IDs that were answered and have ended.
pub fn check(s: &Simulation, answered: &[String]) -> Result<(), String> {
    let mut lines: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (_, _, cdr) in s.cdrs() {
        lines.entry(&cdr.callid).or_default().insert(&cdr.id);
    }
    for call_id in answered {
        match lines.remove(call_id.as_str()).map_or(0, |ids| ids.len()) {
            1 => {}
            other => return Err(format!("{call_id} has {other} CDRs\n{}", s.story())),
        }
    }
    match lines.keys().next() {
        Some(call_id) => Err(format!("a CDR for {call_id}, which was not answered\n{}", s.story())),
        None => begun(s, |_| true),
    }
}

/// Each of these calls that has ended began under the id that it ended by, and under no other.
pub fn begun(s: &Simulation, of: impl Fn(&str) -> bool) -> Result<(), String> {
    let ids = |call_id: &str| -> BTreeSet<&str> {
        s.starts().iter().filter(|start| start.callid == call_id).map(|start| start.id.as_str()).collect()
    };
    let mut ended: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    // A CDR is seen when it is handed out, a start when it is durable.
    let durable = |at: Time| at + DISK <= s.now();
    for (_, _, cdr) in s.cdrs().iter().filter(|(at, _, cdr)| durable(*at) && of(&cdr.callid)) {
        ended.entry(&cdr.callid).or_default().insert(&cdr.id);
    }
    match ended.iter().find(|(call_id, ended)| ids(call_id) != **ended) {
        Some((call_id, ended)) => {
            Err(format!("{call_id} began as {:?} and ended as {ended:?}\n{}", ids(call_id), s.story()))
        }
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

/// Of any run, at any moment of it: nobody is charged twice, nor for what was not answered, and as long as it was. `kept`:
/// whether the holder of this call has lived, so that its CDR must be there.
pub fn holds(s: &Simulation, wire: &Wire, kept: impl Fn(&str) -> bool + Copy) -> Result<(), (String, String)> {
    let mut written: BTreeMap<&str, BTreeSet<(&str, u64)>> = BTreeMap::new();
    for (_, _, cdr) in s.cdrs() {
        // Whoever takes over may write it again, under the same id: a collector counts each id once.
        written.entry(&cdr.callid).or_default().insert((&cdr.id, cdr.ms_duration));
    }
    for (call_id, written) in &written {
        let Some(rungs) = wire.calls.get(*call_id) else { continue };
        charged(rungs, written).map_err(|why| (format!("I4: {why}: {written:?}"), call_id.to_string()))?;
    }
    for (call_id, rungs) in wire.calls.iter().filter(|(call_id, _)| !written.contains_key(call_id.as_str())) {
        if let Some(end) = end(rungs)
            && s.now() > end + CHARGED
            && kept(call_id)
        {
            return Err((format!("I4: it ended at {end:?} and is not charged"), call_id.clone()));
        }
    }
    starts(s, wire, kept)
}

/// Likewise of the starts: none of what nobody has answered, none twice, and one of each call that has been answered.
fn starts(s: &Simulation, wire: &Wire, kept: impl Fn(&str) -> bool) -> Result<(), (String, String)> {
    let mut written: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    s.starts().iter().for_each(|start| {
        written.entry(&start.callid).or_default().insert(&start.id);
    });
    for (call_id, rungs) in &wire.calls {
        let wrong = |why: String| Err((format!("I4: {why}"), call_id.clone()));
        let begun = written.get(call_id.as_str()).map_or(0, BTreeSet::len);
        let attempts: BTreeSet<u32> = rungs.iter().filter(|r| begins(r)).map(|r| r.message.cseq()).collect();
        if begun > attempts.len() {
            return wrong(format!("{begun} starts of {} answered calls", attempts.len()));
        }
        let ([_, Some(passed)], _) = bounds(rungs) else { continue };
        if begun == 0 && s.now() > passed + CHARGED && kept(call_id) {
            return wrong(format!("it was answered at {passed:?}, and no start says so"));
        }
    }
    Ok(())
}

fn charged(rungs: &[Rung], written: &BTreeSet<(&str, u64)>) -> Result<(), String> {
    let tags: BTreeSet<String> =
        rungs.iter().filter(|r| !r.outwards && r.is_ok("INVITE")).map(|r| r.message.from_tag()).collect();
    let ids: BTreeSet<&str> = written.iter().map(|(id, _)| *id).collect();
    let attempts: BTreeSet<u32> = rungs.iter().filter(|r| begins(r)).map(|r| r.message.cseq()).collect();
    if tags.is_empty() {
        return Err("nobody has answered".to_string());
    }
    if ids.len() > attempts.len() {
        return Err(format!("{} CDRs", ids.len()));
    }
    let ([Some(given), Some(passed)], [Some(asked), Some(done)]) = bounds(rungs) else { return Ok(()) };
    let least = asked.since(passed).saturating_sub(WRONG);
    let most = done.since(given) + WRONG;
    let right = |ms: u64| (least..=most).contains(&Duration::from_millis(ms));
    match attempts.len() > 1 || written.iter().all(|(_, ms)| right(*ms)) {
        true => Ok(()),
        false => Err(format!("it lasted {least:?} to {most:?}")),
    }
}

/// An INVITE that begins a call, answered.
fn begins(rung: &Rung) -> bool {
    !rung.outwards && rung.is_ok("INVITE")
}

/// When it was first answered, inwards and outwards; when somebody first hung up, and was last told that it is over.
fn bounds(rungs: &[Rung]) -> ([Option<Time>; 2], [Option<Time>; 2]) {
    let first = |wanted: &dyn Fn(&Rung) -> bool| rungs.iter().find(|r| wanted(r)).map(|r| r.at);
    let last = rungs.iter().rev().find(|r| r.outwards && r.ends("BYE")).map(|r| r.at);
    let given = first(&|r| !r.outwards && r.is_ok("INVITE"));
    let passed = first(&|r| r.outwards && r.is_ok("INVITE"));
    ([given, passed], [first(&|r| !r.outwards && r.asks("BYE")), last])
}

/// When both sides knew of its end: the first 200 to a BYE that came through, of a call with one dialog.
fn end(rungs: &[Rung]) -> Option<Time> {
    let dialogs: BTreeSet<String> =
        rungs.iter().filter(|r| !r.outwards && r.is_ok("INVITE")).map(|r| r.message.to_tag()).collect();
    let told = rungs.iter().find(|r| r.outwards && r.survived && r.is_ok("BYE"))?;
    (dialogs.len() == 1 && rungs.iter().any(|r| r.outwards && r.is_ok("INVITE"))).then_some(told.at)
}
