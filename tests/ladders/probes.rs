//! A trunk of two addresses that are probed each 2 s: calls pass by the one that is down, whoever has found that out, and as
//! soon as it is up again they do not.

use crate::ownership::FOUR;
use cc_node::probe::Target;
use common::config::Rack;
use common::time::Duration;
use simulated_rack::hosts::actor::message::Message;
use simulated_rack::script::ActorId;
use simulated_rack::simulation::{Carried, Simulation};
use std::collections::BTreeSet;
use std::net::SocketAddr;

const NUMBER: &str = "sip:00123@rack.test";
const TRUNK: &str = "trunks:
  - { id: 7, name: carrier, addresses: [\"203.0.113.61:5060\", \"203.0.113.62:5060\"], probe: { every_s: 2 } }
routes:
  - { domain: rack.test, prefix: \"00\", trunk: carrier }
";

type Outcome = Result<(), String>;

struct Stage {
    s: Simulation,
    alice: ActorId,
    /// The trunk's.
    addresses: [(ActorId, SocketAddr); 2],
}

fn stage(seed: u64) -> Stage {
    let mut s = Simulation::of_rack(&format!("{FOUR}{TRUNK}"), seed);
    let addresses = [61, 62].map(|last| {
        let address = SocketAddr::from(([203, 0, 113, last], 5060));
        let actor = s.actor_at(&address.to_string(), "carrier.test", address);
        s.habits(actor).answers_options = Some(404);
        (actor, address)
    });
    let alice = s.actor("alice", "rack.test");
    s.run_for(Duration::from_secs(5));
    Stage { s, alice, addresses }
}

impl Stage {
    /// Probes of an address so far, each once.
    fn probes(&self, which: usize) -> usize {
        let to = self.addresses[which].1;
        let branch = |carried: &Carried| {
            let message = Message::parse(&carried.bytes)?;
            (carried.to == to && message.is("OPTIONS")).then(|| message.branch())
        };
        self.s.wire().iter().filter_map(branch).collect::<BTreeSet<String>>().len()
    }

    /// A call goes to this address and to no other; it is refused there.
    fn goes_to(&mut self, which: usize) -> Outcome {
        let attempt = self.s.invite(self.alice, NUMBER);
        let invite = self.s.expect(self.addresses[which].0, "INVITE")?;
        self.s.answer(self.addresses[which].0, &invite, 486, "busy");
        self.s.expect(self.alice, "486")?;
        let (_, other) = self.addresses[1 - which];
        let asked = |carried: &Carried| {
            let message = Message::parse(&carried.bytes);
            carried.to == other && message.is_some_and(|m| m.is("INVITE") && m.call_id() == attempt.call_id)
        };
        match self.s.wire().iter().any(asked) {
            false => Ok(()),
            true => Err(format!("{other} was asked, too")),
        }
    }

    /// The node that probes an address.
    fn prober(&self, which: usize) -> Result<usize, String> {
        let rack = Rack::from_yaml("four.yaml", &format!("{FOUR}{TRUNK}")).map_err(|e| e.to_string())?;
        let target = &Target::all(&rack, &self.s.keys().placement)[which];
        let owner = self.s.lm().owner(target.hash.slot()).ok_or("nobody owns its slot")?;
        self.s.nodes().iter().position(|node| node.id() == owner).ok_or_else(|| "no such node".to_string())
    }
}

fn play(story: impl Fn(&mut Stage) -> Outcome) {
    for seed in 1..=3 {
        let mut stage = stage(seed);
        let run = story(&mut stage).and_then(|()| stage.s.verdict());
        if let Err(why) = run {
            panic!("seed {seed}: {why}\n{}", stage.s.story());
        }
    }
}

fn is_near(what: &str, count: usize, wanted: std::ops::RangeInclusive<usize>) -> Outcome {
    if wanted.contains(&count) { Ok(()) } else { Err(format!("{what}: {count}, not {wanted:?}")) }
}

#[test]
fn calls_pass_by_an_address_that_does_not_answer_until_it_does_again() {
    play(|stage| {
        is_near("probes in 5 s", stage.probes(0), 2..=3)?;
        stage.goes_to(0)?;
        stage.s.habits(stage.addresses[0].0).silent = true;
        // Three are asked for 2 s each, and the first of them within 2 s from now.
        stage.s.run_for(Duration::from_millis(8_300));
        stage.goes_to(1)?;
        let before = stage.probes(0);
        stage.s.run_for(Duration::from_secs(20));
        is_near("probes while it is down", stage.probes(0) - before, 9..=11)?;
        stage.goes_to(1)?;
        stage.s.habits(stage.addresses[0].0).silent = false;
        stage.s.run_for(Duration::from_millis(4_600));
        stage.goes_to(0)
    });
}

#[test]
fn one_probe_that_fails_and_an_answer_that_is_none_of_the_list() {
    play(|stage| {
        stage.s.habits(stage.addresses[0].0).answers_options = Some(503);
        stage.s.run_for(Duration::from_millis(2_200));
        stage.goes_to(0)?;
        stage.s.run_for(Duration::from_secs(5));
        stage.goes_to(1)
    });
}

#[test]
fn if_all_are_down_they_are_tried_in_their_order_all_the_same() {
    play(|stage| {
        for (actor, _) in stage.addresses {
            stage.s.habits(actor).answers_options = Some(503);
        }
        stage.s.run_for(Duration::from_secs(9));
        stage.goes_to(0)
    });
}

#[test]
fn the_prober_dies_and_another_goes_on_from_what_all_know() {
    play(|stage| {
        stage.s.habits(stage.addresses[0].0).answers_options = Some(503);
        stage.s.run_for(Duration::from_secs(9));
        stage.goes_to(1)?;
        for agent in [true, false] {
            let (prober, before) = (stage.prober(0)?, stage.probes(0));
            stage.s.kill_node(prober, agent);
            stage.s.run_for(Duration::from_millis(600));
            stage.goes_to(1)?;
            stage.s.run_for(Duration::from_millis(3_400));
            is_near("probes in 4 s around the death", stage.probes(0) - before, 1..=4)?;
            stage.goes_to(1)?;
            // It comes back, and is told what it has forgotten before it asks anybody.
            stage.s.start_node(prober);
            stage.s.run_for(Duration::from_secs(10));
            if stage.prober(0)? != prober {
                return Err("the slot has not come back".into());
            }
            stage.goes_to(1)?;
            let before = stage.probes(0);
            stage.s.run_for(Duration::from_secs(20));
            is_near("probes in 20 s", stage.probes(0) - before, 9..=11)?;
        }
        stage.s.habits(stage.addresses[0].0).answers_options = Some(200);
        stage.s.run_for(Duration::from_secs(5));
        stage.goes_to(0)
    });
}
