//! I2: nobody rings 2 s after the call was cancelled, answered elsewhere or declined; where the network lost messages,
//! each loss may cost one interval of the timers that repeat (0.5 s, doubling).

use crate::hosts::actor::Actor;
use crate::simulation::Simulation;
use common::time::{Duration, Time};

pub fn check(s: &Simulation) -> Result<(), String> {
    for callee in s.actors.iter().filter(|a| !a.habits.silent) {
        for one in callee.invitations().filter(|i| i.status == 487) {
            let stopped = callee.heard.iter().find(|h| h.message.is("CANCEL") && h.message.branch() == one.branch);
            let Some(stopped) = stopped else { continue };
            let Some(over) = over_since(s, callee, &one.call_id) else {
                return Err(format!("{} was cancelled without a reason\n{}", callee.name, s.ladder()));
            };
            // Losses before it rang count too: they have lengthened the interval at which its INVITE comes again, and a
            // CANCEL waits for the provisional response to that.
            let lost = s.losses(Time(0), stopped.at).min(6) as u32;
            let bound = Duration::from_secs(2) + Duration::from_millis(500) * (2u32.pow(lost) - 1);
            let rang = stopped.at.max(over).since(over);
            if rang > bound {
                let name = &callee.name;
                return Err(format!(
                    "{name} rang {rang:?} longer, with {lost} losses at most {bound:?}\n{}",
                    s.ladder()
                ));
            }
        }
    }
    Ok(())
}

/// When the rack first heard that this callee need not ring: the caller's CANCEL, or another's 2xx or 6xx.
fn over_since(s: &Simulation, callee: &Actor, call_id: &str) -> Option<Time> {
    let inwards = s.wire().iter().filter(|c| c.survived && s.is_vip(c.to) && c.from != callee.address);
    inwards.filter_map(|c| Some((c.at, crate::hosts::actor::message::Message::parse(&c.bytes)?))).find_map(|(at, m)| {
        let ends = m.is("CANCEL") || (m.method() == "INVITE" && matches!(m.status(), 200..=299 | 600..));
        (m.call_id() == call_id && ends).then_some(at)
    })
}
