//! I2: every attempt ends in exactly one outcome, the same at both ends: the caller hears one refusal, or every 2xx that
//! was given; whoever was asked has answered, and every final answer was acknowledged.

use crate::hosts::actor::{Attempt, Invitation};
use crate::simulation::Simulation;

pub fn check(s: &Simulation) -> Result<(), String> {
    let wrong = |what: String| Err(format!("{what}\n{}", s.ladder()));
    let asked: Vec<Invitation> =
        s.actors.iter().filter(|a| !a.habits.silent).flat_map(|a| a.invitations().collect::<Vec<_>>()).collect();
    for actor in &s.actors {
        for attempt in actor.attempts() {
            let same = |i: &&Invitation| {
                i.call_id == attempt.call_id && i.from_tag == attempt.from_tag && i.cseq == attempt.cseq
            };
            let mine: Vec<&Invitation> = asked.iter().filter(same).collect();
            if let Err(what) = one_outcome(&attempt, &mine) {
                return wrong(format!("{}: {what}", actor.name));
            }
        }
    }
    match asked.iter().find(|i| i.status < 200 || !i.acked) {
        Some(left) => wrong(format!("left without an end or an ACK: {left:?}")),
        None => Ok(()),
    }
}

fn one_outcome(attempt: &Attempt, asked: &[&Invitation]) -> Result<(), String> {
    let refusals = attempt.finals.iter().filter(|(status, _)| *status >= 300).count();
    let answers = attempt.finals.len() - refusals;
    if refusals > 1 || (refusals == 1 && answers > 0) || attempt.finals.is_empty() {
        return Err(format!("{} {} ended in {:?}", attempt.call_id, attempt.cseq, attempt.finals));
    }
    let given: Vec<&&Invitation> = asked.iter().filter(|i| (200..300).contains(&i.status)).collect();
    for one in &given {
        if !attempt.finals.contains(&(one.status, one.tag.clone())) {
            return Err(format!("the answer {one:?} never came to the caller, who heard {:?}", attempt.finals));
        }
    }
    if answers != given.len() {
        return Err(format!("{answers} answers heard, {} given", given.len()));
    }
    Ok(())
}
