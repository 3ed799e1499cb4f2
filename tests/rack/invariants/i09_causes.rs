//! I9: no message of ours without a cause. A response answers a request that came from there; a request goes on for one
//! that came in; a CANCEL follows an INVITE of ours, an ACK an ACK, or a refusal that came from there. Nothing but an OPTIONS to a
//! trunk is of our own making: no Via but ours stands in it.

use super::wire::{Rung, Wire};
use crate::simulation::Simulation;

pub fn check(s: &Simulation) -> Result<(), String> {
    holds(&Wire::read(s)).map_err(|(what, _)| format!("{what}\n{}", s.ladder()))
}

/// Of any run, at any moment of it.
pub fn holds(wire: &Wire) -> Result<(), (String, String)> {
    for (call_id, rungs) in &wire.calls {
        for (at, one) in rungs.iter().enumerate().filter(|(_, one)| one.outwards) {
            if !has_cause(one, &rungs[..at]) {
                return Err((format!("I9: no cause for {} {:?}", one.to, one.message), call_id.clone()));
            }
        }
    }
    Ok(())
}

fn has_cause(ours: &Rung, before: &[Rung]) -> bool {
    let (vip, far) = (ours.from, ours.to);
    let message = &ours.message;
    let came = |one: &&Rung| one.to == vip && one.survived;
    let mut heard = before.iter().filter(came);
    if !message.is_request() {
        // Its topmost Via is now that of the one who asked.
        return heard.any(|one| {
            one.message.is_request()
                && one.message.method() == message.method()
                && one.branch == ours.branch
                && one.message.cseq() == message.cseq()
        });
    }
    let went_on = |one: &Rung| {
        one.message.is_request() && one.message.method() == message.method() && one.message.cseq() == message.cseq()
    };
    match message.method() {
        "CANCEL" => before.iter().any(|one| {
            one.from == vip && one.to == far && one.branch == ours.branch && one.message.method() == "INVITE"
        }),
        "ACK" => heard
            .any(|one| went_on(one) || (one.from == far && one.message.status() >= 300 && one.branch == ours.branch)),
        "OPTIONS" if message.values("Via").len() == 1 => true,
        _ => heard.any(went_on),
    }
}
