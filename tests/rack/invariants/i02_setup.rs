//! I2: each attempt ends in exactly one outcome, the same at both ends; one ring; no ringing after a CANCEL. Of any run, at
//! any moment of it, by the wire alone. (`i02_outcome`, `i02_ringing` and `i02_silence` ask the phones, when all is over.)

use super::wire::{Rung, Wire};
use common::time::{Duration, Time};

/// Nobody rings for so long after the CANCEL has come in.
const RINGS_ON: Duration = Duration::from_secs(2);

pub fn holds(wire: &Wire) -> Result<(), (String, String)> {
    each(wire, |rungs| one_outcome(rungs).and_then(|()| one_ring(rungs)))
}

/// `lost`: how many messages were lost between two moments, in the rack and out of it; each may cost an interval of the
/// timers that repeat.
pub fn is_silenced(wire: &Wire, now: Time, lost: impl Fn(Time, Time) -> usize) -> Result<(), (String, String)> {
    each(wire, |rungs| silence(rungs, now, &lost))
}

fn each(wire: &Wire, is_right: impl Fn(&[Rung]) -> Result<(), String>) -> Result<(), (String, String)> {
    let wrong = |(id, rungs): (&String, &Vec<Rung>)| Some((format!("I2: {}", is_right(rungs).err()?), id.clone()));
    wire.calls.iter().find_map(wrong).map_or(Ok(()), Err)
}

/// What a caller hears of one INVITE: 2xx, or one refusal. If it was answered, the caller is not told otherwise.
fn one_outcome(rungs: &[Rung]) -> Result<(), String> {
    for (at, refusal) in rungs.iter().enumerate() {
        let status = refusal.message.status();
        if !refusal.outwards || status < 300 || refusal.message.method() != "INVITE" {
            continue;
        }
        let same =
            |r: &&Rung| r.outwards && r.branch == refusal.branch && r.is_of(refusal) && r.message.status() >= 200;
        if let Some(other) = rungs[..at].iter().find(|r| same(r) && r.message.status() != status) {
            return Err(format!("the caller has heard {} and hears {status}", other.message.status()));
        }
        let answer = |r: &&Rung| !r.outwards && r.survived && r.is_ok("INVITE") && r.is_of(refusal);
        if let Some(answer) = rungs.iter().find(answer) {
            return Err(format!("{} has answered, and the caller hears {status}", answer.from));
        }
    }
    Ok(())
}

/// A leg's INVITE has one branch, whoever sends it.
fn one_ring(rungs: &[Rung]) -> Result<(), String> {
    let invites: Vec<&Rung> = rungs.iter().filter(|r| r.outwards && r.asks("INVITE")).collect();
    for (at, one) in invites.iter().enumerate() {
        let same = |r: &&&Rung| r.to == one.to && r.message.uri() == one.message.uri() && r.is_of(one);
        if let Some(other) = invites[..at].iter().find(|r| same(r) && r.branch != one.branch) {
            return Err(format!("{} was asked with the branches {} and {}", one.to, other.branch, one.branch));
        }
    }
    Ok(())
}

/// Who was asked, and has not ended it, hears of a CANCEL.
fn silence(rungs: &[Rung], now: Time, lost: &impl Fn(Time, Time) -> usize) -> Result<(), String> {
    let Some(cancel) = rungs.iter().find(|r| !r.outwards && r.survived && r.asks("CANCEL")) else { return Ok(()) };
    for rings in rungs.iter().filter(|r| r.outwards && r.survived && r.asks("INVITE") && r.is_of_cancelled(cancel)) {
        let of_it = |r: &&Rung| r.branch == rings.branch;
        let ends = |r: &&Rung| of_it(r) && (r.outwards && r.survived && r.asks("CANCEL") || r.ends("INVITE"));
        let end = rungs.iter().find(ends).map_or(now, |r| r.at);
        // Losses before it rang count too: they have lengthened the interval at which its INVITE comes again, and a
        // CANCEL waits for the provisional response to that.
        let lost = lost(Time(0), end).min(6) as u32;
        let bound = RINGS_ON + Duration::from_millis(500) * (2u32.pow(lost) - 1);
        let rang = end.since(cancel.at.max(rings.at));
        if rang > bound {
            let to = rings.to;
            return Err(format!("{to} rang for {rang:?} after the CANCEL, with {lost} losses at most {bound:?}"));
        }
    }
    Ok(())
}

impl Rung {
    fn is_of_cancelled(&self, cancel: &Rung) -> bool {
        self.message.cseq() == cancel.message.cseq() && self.message.from_tag() == cancel.message.from_tag()
    }
}
