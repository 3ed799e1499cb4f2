//! What is told with the outsider and without him, and what is looked at.

use super::super::changes::{Outcome, alice, bob, ms, stage};
use crate::must;
use common::ids::{Epoch, NodeId};
use common::time::{Duration, Time};
use lm_server::membership::Refusal;
use simulated_rack::chance::Chance;
use simulated_rack::hosts::actor::dialog::Dialog;
use simulated_rack::hosts::actor::message::Message;
use simulated_rack::network::Conditions;
use simulated_rack::outsider::Craft;
use simulated_rack::simulation::Simulation;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

const BOB: &str = "sip:bob@rack.test";
/// The node that dies, by its place.
pub const DIES: usize = 1;
/// All that the outsider sends has arrived.
const LATEST: Duration = Duration::from_secs(31);
/// What follows from a message is over: as long as one stays fresh, and somewhat.
const SETTLED: Duration = Duration::from_secs(6);

pub type Story = fn(&mut Simulation, &mut Chance, &mut Vec<Look>) -> Outcome;

/// The rack at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    what: &'static str,
    at: Time,
    epoch: Epoch,
    /// Of the array: which slot is whose.
    digest: Option<u64>,
    live: Vec<NodeId>,
    leases: Vec<Option<Time>>,
}

/// What a message outside says: to whom, its first line, Call-ID, CSeq, branch and To tag.
pub type Saying = (SocketAddr, String, String, String, String, String);

/// What became of a story.
pub struct Told {
    pub looks: Vec<Look>,
    pub rungs: Vec<String>,
    /// What left the rack, each saying once.
    pub sayings: BTreeSet<Saying>,
    /// How much left it long after everything was said.
    pub late: usize,
    /// How each attempt and each invitation ended.
    pub ends: Vec<String>,
    /// Call-ID and length of each.
    pub cdrs: Vec<(String, u64)>,
    /// At the load manager's control port, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Of each node: what was stale, and what was no beacon at its control port.
    pub in_vain: Vec<(u64, u64)>,
    /// Of each node: what said nothing of calls at its shadow port.
    pub unread: Vec<u64>,
    /// Of the outsider's, by kind.
    pub arrived: BTreeMap<&'static str, u64>,
}

/// Everything takes equally long, so that nothing that the outsider sends moves anything else.
pub fn tell(seed: u64, story: Story, craft: Option<fn(&Simulation) -> Craft>) -> Result<Told, String> {
    let mut s = stage(seed)?;
    s.set_conditions(Conditions::STRAIGHT);
    if let Some(craft) = craft {
        let craft = craft(&s);
        s.outsider(seed, craft);
    }
    let mut looks = Vec::new();
    story(&mut s, &mut Chance::new(seed), &mut looks).map_err(|why| format!("{why}\n{}", s.whole_trail()))?;
    s.outsider_leaves();
    s.run_for(SETTLED);
    let said = s.wire().len();
    s.run_for(LATEST);
    looks.push(look(&s, "long after"));
    s.verdict()?;
    let refused = s.lm().status(s.now()).map(|status| status.refused).unwrap_or_default();
    Ok(Told {
        rungs: s.rungs(),
        sayings: sayings(&s),
        late: s.wire().len() - said,
        ends: ends(&s),
        cdrs: s.cdrs().iter().map(|(_, _, cdr)| (cdr.callid.clone(), cdr.ms_duration)).collect(),
        refused: Refusal::ALL.into_iter().zip(refused).map(|(why, count)| (why.label(), count)).collect(),
        in_vain: s.nodes().iter().map(|node| node.beacons_in_vain()).collect(),
        unread: s.nodes().iter().map(|node| node.unread()).collect(),
        arrived: s.outsiders(),
        looks,
    })
}

/// Without him and with him.
pub fn tell_twice(seed: u64, story: Story, craft: fn(&Simulation) -> Craft) -> Result<(Told, Told), String> {
    Ok((tell(seed, story, None)?, tell(seed, story, Some(craft))?))
}

/// Whatever he did changed nothing: no epoch, no slot, no lease, no moment at which anybody was taken for dead, no
/// message.
pub fn is_as_without(without: &Told, with: &Told) -> Outcome {
    if let Some((before, after)) = without.looks.iter().zip(&with.looks).find(|(before, after)| before != after) {
        return Err(format!("without him: {before:#?}\nwith him: {after:#?}"));
    }
    if without.rungs != with.rungs {
        return Err(format!("without him: {:#?}\nwith him: {:#?}", without.rungs, with.rungs));
    }
    ends_as_without(without, with)
}

/// No call came to another end. Who hears something twice may go on a moment earlier.
pub fn ends_as_without(without: &Told, with: &Told) -> Outcome {
    let near = |((one, a), (other, b)): (&(String, u64), &(String, u64))| one == other && a.abs_diff(*b) < 100;
    let charged = without.cdrs.len() == with.cdrs.len() && without.cdrs.iter().zip(&with.cdrs).all(near);
    if charged && without.ends == with.ends {
        return Ok(());
    }
    let (ends, cdrs) = (&without.ends, &without.cdrs);
    Err(format!("without him: {ends:#?} {cdrs:#?}\nwith him: {:#?} {:#?}", with.ends, with.cdrs))
}

/// How many more were refused for this reason with him than without.
pub fn more_refused(without: &Told, with: &Told, why: &str) -> u64 {
    let count = |told: &Told| told.refused.get(why).copied().unwrap_or_default();
    count(with).saturating_sub(count(without))
}

fn look(s: &Simulation, what: &'static str) -> Look {
    let digest = s.lm().placement().map(|placement| placement.digest());
    let leases = s.nodes().iter().map(|node| node.lease()).collect();
    Look { what, at: s.now(), epoch: s.lm().epoch(), digest, live: s.lm().live(), leases }
}

fn sayings(s: &Simulation) -> BTreeSet<Saying> {
    let left = s.wire().iter().filter(|carried| s.is_vip(carried.from));
    let saying = |to, m: Message| {
        let (call_id, cseq) = (m.call_id().to_string(), m.header("CSeq").to_string());
        (to, m.first.clone(), call_id, cseq, m.branch(), m.to_tag())
    };
    left.filter_map(|carried| Some(saying(carried.to, Message::parse(&carried.bytes)?))).collect()
}

fn ends(s: &Simulation) -> Vec<String> {
    let attempts = s.the(alice()).attempts().map(|attempt| format!("{attempt:?}"));
    let invitations = s.the(bob()).invitations().map(|invitation| format!("{invitation:?}"));
    attempts.chain(invitations).collect()
}

/// Bob rings, at a node that owns the call's slot.
fn rings(s: &mut Simulation, node: u16) -> Result<(Dialog, Message), String> {
    let attempt = s.invite_at(alice(), BOB, NodeId(node));
    let invite = s.expect(bob(), "INVITE")?;
    s.answer(bob(), &invite, 180, "b");
    s.expect(alice(), "180")?;
    Ok((attempt, invite))
}

/// Alice and Bob talk, by the node that is to die.
fn talk(s: &mut Simulation) -> Result<Dialog, String> {
    let (attempt, invite) = rings(s, 2)?;
    s.answer(bob(), &invite, 200, "b");
    let ok = s.expect(alice(), "200 INVITE")?;
    s.expect(bob(), "ACK")?;
    Ok(attempt.of_response(&ok))
}

fn is_busy(s: &mut Simulation) -> Outcome {
    s.invite_at(alice(), BOB, NodeId(3));
    let invite = s.expect(bob(), "INVITE")?;
    s.answer(bob(), &invite, 486, "b");
    s.expect(alice(), "486")?;
    s.expect(bob(), "ACK").map(drop)
}

fn given_up(s: &mut Simulation, attempt: &Dialog) -> Outcome {
    s.cancel(alice(), attempt);
    s.expect(bob(), "CANCEL")?;
    s.expect(alice(), "487")?;
    s.expect(bob(), "ACK").map(drop)
}

fn hung_up(s: &mut Simulation, talk: &mut Dialog) -> Outcome {
    s.bye(alice(), talk);
    s.expect(bob(), "BYE")?;
    s.expect(alice(), "200 BYE").map(drop)
}

/// Nothing happens to anybody.
pub fn calls(s: &mut Simulation, dice: &mut Chance, looks: &mut Vec<Look>) -> Outcome {
    let mut talk = talk(s)?;
    is_busy(s)?;
    let (held, _) = rings(s, 1)?;
    ms(s, dice.between(20, 300));
    given_up(s, &held)?;
    hung_up(s, &mut talk)?;
    looks.push(look(s, "all is said"));
    Ok(())
}

/// A drain, and a node that dies unheard while a call of its own goes on and another rings elsewhere.
pub fn a_death(s: &mut Simulation, dice: &mut Chance, looks: &mut Vec<Look>) -> Outcome {
    around_a_death(s, dice, looks, |_, _| Ok(()))
}

/// The same, with a restart of the load manager before.
pub fn a_restart(s: &mut Simulation, dice: &mut Chance, looks: &mut Vec<Look>) -> Outcome {
    around_a_death(s, dice, looks, |s, looks| {
        let epoch = s.lm().epoch();
        s.kill_lm();
        ms(s, 200);
        looks.push(look(s, "no load manager"));
        s.start_lm();
        must(s, 1, "it has learned", |s| s.lm().epoch() > epoch)?;
        looks.push(look(s, "it has learned"));
        ms(s, 500);
        Ok(())
    })
}

fn around_a_death(
    s: &mut Simulation,
    dice: &mut Chance,
    looks: &mut Vec<Look>,
    before: fn(&mut Simulation, &mut Vec<Look>) -> Outcome,
) -> Outcome {
    let mut talk = talk(s)?;
    is_busy(s)?;
    let (held, _) = rings(s, 1)?;
    new_epoch(s, looks, "4 drains", |s| s.drain_node(3, true))?;
    new_epoch(s, looks, "4 takes new calls again", |s| s.drain_node(3, false))?;
    before(s, looks)?;
    // Anywhere between two of its heartbeats.
    ms(s, dice.between(0, 100));
    new_epoch(s, looks, "2 is out", |s| s.kill_node(DIES, false))?;
    hung_up(s, &mut talk)?;
    given_up(s, &held)?;
    looks.push(look(s, "all is said"));
    Ok(())
}

/// Looks at the moment at which the load manager has changed its mind, then waits until all have followed.
fn new_epoch(
    s: &mut Simulation,
    looks: &mut Vec<Look>,
    what: &'static str,
    change: impl FnOnce(&mut Simulation),
) -> Outcome {
    let epoch = s.lm().epoch();
    change(s);
    must(s, 1, what, |s| s.lm().epoch() > epoch)?;
    looks.push(look(s, what));
    ms(s, 300);
    Ok(())
}
