//! Said again, word for word: from 1 ms to 30 s later, from where it came or from elsewhere, to whom it was said or to
//! others, on either plane.

use super::super::chaos::Storm;
use super::ports::{Kind, OUTSIDE, Ports, any_nodes, one_of};
use super::story::{Story, Told, a_death, a_restart, calls, ends_as_without, is_as_without, more_refused, tell_twice};
use crate::stage::holds;
use common::time::Duration;
use common::wire::proxy::FRESH;
use simulated_rack::chance::Chance;
use simulated_rack::network::Datagram;
use simulated_rack::outsider::{Craft, Forgery};
use simulated_rack::simulation::Simulation;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// How often he says each again.
const TIMES: usize = 2;
const EARLY: &str = "early";
/// A node is to refuse it as too old.
const LATE: &str = "late";
const OUT: &str = "outwards";

/// From 1 ms to 30 s, each doubling alike.
fn delay(dice: &mut Chance) -> Duration {
    let least = 1000u64 << dice.between(0, 14);
    Duration::from_micros((least + dice.between(0, least)).min(30_000_000))
}

fn again(kind: &'static str, after: Duration, (from, to): (SocketAddr, SocketAddr), heard: &Datagram) -> Forgery {
    Forgery { kind, after, datagram: Datagram { from, to, bytes: heard.bytes.clone() } }
}

/// All that is said between load manager and nodes; and messages, to whom they are not for or from whom they cannot be.
fn says_again(s: &Simulation) -> Craft {
    let ports = Ports::of(s);
    Box::new(move |dice: &mut Chance, heard: &Datagram| {
        let one = |_| {
            let way = in_vain(&ports, dice, heard);
            again("again", delay(dice), way, heard)
        };
        (0..TIMES).map(one).collect()
    })
}

/// From whom, and to whom.
fn in_vain(ports: &Ports, dice: &mut Chance, heard: &Datagram) -> (SocketAddr, SocketAddr) {
    let Ports { lm_control, lm_egress, control, sip, shadow } = ports;
    let (node_control, node_sip) = (any_nodes(dice, control), any_nodes(dice, sip));
    let node_shadow = any_nodes(dice, shadow);
    let (from, to) = (heard.from, heard.to);
    match ports.kind(heard) {
        Kind::Word => {
            let froms = [from, from, from, ports.across(from), node_control, OUTSIDE];
            let tos = [to, to, ports.across(to), ports.across(to), node_control, node_sip, lm_egress[0]];
            (one_of(dice, &froms), one_of(dice, &tos))
        }
        Kind::Beacon => {
            let tos = [to, to, ports.across(to), node_control, lm_control[0], lm_egress[1], node_sip];
            (one_of(dice, &[from, ports.across(from), OUTSIDE]), one_of(dice, &tos))
        }
        Kind::Shadow => {
            let tos = [to, to, to, ports.across(to), node_shadow, node_sip, node_control];
            (one_of(dice, &[from, from, from, ports.across(from), node_shadow, OUTSIDE]), one_of(dice, &tos))
        }
        Kind::Outwards => {
            let tos = [node_sip, node_sip, node_control, lm_control[1]];
            (one_of(dice, &[from, ports.across(from), OUTSIDE]), one_of(dice, &tos))
        }
        kind => {
            let other = if kind == Kind::Inwards { node_sip } else { lm_egress[0] };
            let to_it = (one_of(dice, &[other, OUTSIDE]), one_of(dice, &[to, ports.across(to)]));
            let elsewhere = (from, one_of(dice, &[lm_egress[0], lm_egress[1], lm_control[0], node_control]));
            one_of(dice, &[to_it, elsewhere])
        }
    }
}

/// Messages again to whom they were for, from whom they came; what is for the outside from anybody.
fn says_messages_again(s: &Simulation) -> Craft {
    let ports = Ports::of(s);
    Box::new(move |dice: &mut Chance, heard: &Datagram| {
        let kind = ports.kind(heard);
        if matches!(kind, Kind::Word | Kind::Beacon | Kind::Shadow) {
            return Vec::new();
        }
        let one = |_| {
            let mut after = delay(dice);
            // Not where a millisecond decides.
            if after.abs_diff(FRESH) < Duration::from_millis(100) {
                after += Duration::from_millis(300);
            }
            let mut from = one_of(dice, &[heard.from, ports.across(heard.from)]);
            let to = one_of(dice, &[heard.to, ports.across(heard.to)]);
            let is_late = after > FRESH;
            let kind = match kind {
                Kind::Outwards => {
                    from = one_of(dice, &[from, OUTSIDE]);
                    OUT
                }
                _ if is_late => LATE,
                _ => EARLY,
            };
            again(kind, after, (from, to), heard)
        };
        (0..TIMES).map(one).collect()
    })
}

/// Why a load manager refuses what these stories bring to its control port again.
const REASONS: [&str; 4] = ["old_sequence", "wrong_source", "other_load_manager", "malformed"];

/// Under every seed; how much was refused, by reason.
fn changes_nothing(story: Story) -> Result<BTreeMap<&'static str, u64>, String> {
    let mut refused: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in super::seeds() {
        let one = || {
            let (without, with) = tell_twice(seed, story, says_again)?;
            is_as_without(&without, &with)?;
            holds("he was heard", with.arrived.get("again").is_some_and(|count| *count > 300))?;
            let stale = |told: &Told| told.in_vain.iter().map(|(stale, _)| stale).sum::<u64>();
            holds("old beacons are counted", stale(&with) > stale(&without))?;
            Ok::<_, String>((without, with))
        };
        let (without, with) = one().map_err(|why| format!("seed {seed}: {why}"))?;
        for why in with.refused.keys().copied() {
            *refused.entry(why).or_default() += more_refused(&without, &with, why);
        }
    }
    Ok(refused)
}

#[test]
fn what_is_said_again_changes_nothing() {
    let refused = changes_nothing(a_death).unwrap_or_else(|why| panic!("{why}"));
    println!("refused: {refused:?}");
    for (why, count) in &refused {
        assert_eq!(REASONS.contains(why), *count > 0, "{why}: {count}");
    }
}

/// What the nodes had reported to the load manager that died, too, and what that one had said.
#[test]
fn what_is_said_again_to_another_load_manager_changes_nothing() {
    let refused = changes_nothing(a_restart).unwrap_or_else(|why| panic!("{why}"));
    println!("refused: {refused:?}");
    assert!(REASONS.iter().chain(&["stale_nonce"]).all(|why| refused.get(why).is_some_and(|count| *count > 0)));
}

/// While a message is fresh its repeat is one, as a network may make them: it is absorbed, or answered as the first
/// was, and tells nobody anything else. When it is not, it is refused and counted.
#[test]
fn a_message_that_was_kept_opens_nothing_and_reaches_nobody() {
    let run = |seed| {
        let (without, with) = tell_twice(seed, calls, says_messages_again)?;
        ends_as_without(&without, &with)?;
        let more: Vec<_> = with.sayings.difference(&without.sayings).collect();
        holds(&format!("nobody hears anything new, but {more:#?}"), more.is_empty())?;
        holds("nothing leaves for what is too old", with.late == 0 && without.late == 0)?;
        let arrived = |kind: &str| with.arrived.get(kind).copied().unwrap_or_default();
        let stale = |told: &Told| told.in_vain.iter().map(|(stale, _)| stale).sum::<u64>();
        let (late, counted) = (arrived(LATE), stale(&with) - stale(&without));
        holds(&format!("{late} came late, {counted} are counted"), late == counted)?;
        holds("some came early, and some outwards", arrived(EARLY) > 0 && arrived(OUT) > 0)
    };
    for seed in super::seeds() {
        run(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

/// Everything happens at once, and everything is said again.
#[test]
fn a_storm_in_which_everything_is_said_again_leaves_each_call_one_holder() {
    for seed in super::seeds() {
        let run = || {
            let mut storm = Storm::new(seed, None)?;
            let craft = says_again(&storm.s);
            storm.s.outsider(seed, craft);
            storm.play()?;
            storm.s.verdict()
        };
        run().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}
