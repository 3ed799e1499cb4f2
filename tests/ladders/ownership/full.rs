//! All nodes refuse new calls while some are being set up. Who was let in is not refused, whoever is given its INVITE's
//! repeats, and what belongs to a call passes; who was not let in hears 503.

use super::changes::{AT, BOB, OWNER, Outcome, Story, alice, bob, ms, play, repeated, ringing, talks};
use crate::must;
use crate::stage::holds;
use common::time::Duration;
use simulated_rack::hosts::actor::dialog::Dialog;
use simulated_rack::invariants::i04_accounting as accounting;
use simulated_rack::simulation::Simulation;

/// Retry-After of a node's 503 and of the load manager's.
const BY_A_NODE: &str = "5";
const BY_THE_LOAD_MANAGER: &str = "2";

const STORIES: [(&str, Story); 3] =
    [("by its holder", by_its_holder), ("by who refused it", by_who_refused_it), ("drained", drained)];

fn all_full(s: &mut Simulation) {
    (0..4).for_each(|n| s.admit(n, 0));
    ms(s, 700);
}

/// A new call; nobody rings.
fn is_refused(s: &mut Simulation, retry_after: &str) -> Outcome {
    holds("nobody was refused before", !s.the(alice()).inbox.iter().any(|m| m.is("503")))?;
    s.invite_at(alice(), BOB, OWNER);
    let refused = s.expect(alice(), "503")?;
    holds("it is told so by whom it should be", refused.header("Retry-After") == retry_after)?;
    ms(s, 500);
    holds("nobody rings", !s.the(bob()).inbox.iter().any(|m| m.is("INVITE")))
}

fn cancelled(s: &mut Simulation, attempt: &Dialog) -> Outcome {
    s.cancel(alice(), attempt);
    s.expect(bob(), "CANCEL")?;
    s.expect(alice(), "487").map(drop)
}

fn charged(s: &mut Simulation, attempt: &Dialog) -> Outcome {
    s.run_for(Duration::from_secs(6));
    accounting::check(s, std::slice::from_ref(&attempt.call_id))
}

/// ```text
/// caller             load manager    node 2 (holds c)     callee
///   |── INVITE c ──────►|── INVITE c ────►|── INVITE c ────►|
///   |          (lost) ◄─────────────── 100, 180 ◄───── 180 ─|
///   |                   |◄─ beat, 0 % ────|  all nodes say so
///   |── INVITE c ──────►|── INVITE c ────►|  2 took all a moment ago
///   |◄──────────────────────────── 180 ───|
///   |── INVITE d ──────►|── INVITE d ────►|  asked about: nobody has it
///   |◄──────────────────────────── 503 ───|
///   |── CANCEL, ACK, BYE, … ─────────────►|  as ever
///   |                   |  32 s later nothing of then is repeated any more
///   |── INVITE e ──────►|
///   |◄──────────── 503 ─|
/// ```
fn by_its_holder(s: &mut Simulation) -> Outcome {
    let (attempt, invite) = ringing(s)?;
    let (other, _) = ringing(s)?;
    all_full(s);
    repeated(s)?;
    is_refused(s, BY_A_NODE)?;
    cancelled(s, &other)?;
    talks(s, &attempt, &invite)?;
    s.run_for(Duration::from_secs(33));
    is_refused(s, BY_THE_LOAD_MANAGER)?;
    s.admit(AT, u16::MAX);
    ms(s, 200);
    let (again, _) = ringing(s)?;
    cancelled(s, &again)?;
    charged(s, &attempt)
}

/// It was diverted, and its repeat is given to the owner, who took all until it diverted it.
fn by_who_refused_it(s: &mut Simulation) -> Outcome {
    s.admit(AT, 0);
    ms(s, 200);
    let (attempt, invite) = ringing(s)?;
    all_full(s);
    repeated(s)?;
    is_refused(s, BY_A_NODE)?;
    talks(s, &attempt, &invite)?;
    charged(s, &attempt)
}

/// All others have been full for long, and its holder is drained: none that takes new calls has admitted it.
fn drained(s: &mut Simulation) -> Outcome {
    (0..4).filter(|n| *n != AT).for_each(|n| s.admit(n, 0));
    s.run_for(Duration::from_secs(33));
    let (attempt, invite) = ringing(s)?;
    let epoch = s.lm().epoch();
    s.drain_node(AT, true);
    must(s, 1, "an epoch", |s| s.lm().epoch() > epoch)?;
    ms(s, 100);
    repeated(s)?;
    is_refused(s, BY_A_NODE)?;
    talks(s, &attempt, &invite)?;
    charged(s, &attempt)
}

#[test]
fn who_was_let_in_is_never_refused_and_who_was_not_hears_503() {
    play(&STORIES);
}
