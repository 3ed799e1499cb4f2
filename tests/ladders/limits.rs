//! Limits of concurrent calls that the rack counts once: of an account, of a source, of a trunk; while whoever counts dies,
//! while a holder does, while words are lost, and while nobody answers.

use crate::ownership::changes::{BOB, Outcome, alice, bob, ms};
use crate::ownership::{FOUR, settles};
use crate::stage::{holds, is};
use crate::{call, hang_up, must, register, under_every_seed};
use cc_node::counted::Key;
use common::call_hash::CallHash;
use common::ids::NodeId;
use common::location::Aor;
use common::time::Duration;
use simulated_rack::hosts::actor::dialog::Dialog;
use simulated_rack::hosts::actor::message::Message;
use simulated_rack::invariants::i08_leftovers as leftovers;
use simulated_rack::simulation::{PhoneId, Simulation};
use siprack::phone::{Event, Order, Pickup};
use std::cell::Cell;
use std::sync::LazyLock;

/// An account with two calls at a time, in a rack of three nodes on two planes.
static RACK: LazyLock<String> = LazyLock::new(|| {
    let mut yaml = include_str!("../rack/rack.yaml").to_owned();
    for host in [1, 11, 12, 13, 21] {
        yaml = yaml.replace(&format!("a: 10.0.1.{host} }}"), &format!("a: 10.0.1.{host}, b: 10.0.2.{host} }}"));
    }
    yaml + "limits: { calls_per_account: 2 }\n"
});

/// Sources with eight calls at a time, in a rack of four nodes: two of them are each node's share.
static SOURCES: LazyLock<String> = LazyLock::new(|| format!("{FOUR}limits: {{ calls_per_source: 8 }}\n"));

/// The open rack, whose carrier has one line.
static ONE_LINE: LazyLock<String> =
    LazyLock::new(|| include_str!("../rack/open.yaml").replacen("name: carrier,", "name: carrier, max_calls: 1,", 1));

/// How long a dead node's call takes to be counted where it goes on, and a new owner to know all calls.
const RIGHT_AGAIN: Duration = Duration::from_secs(2);

struct Stage {
    s: Simulation,
    caller: PhoneId,
    callee: PhoneId,
}

impl Stage {
    fn new(seed: u64) -> Result<Stage, String> {
        let mut s = Simulation::of_rack(&RACK, seed);
        let caller = s.phone("1001", Pickup::Never);
        let callee = s.phone("1002", Pickup::After(Duration::from_millis(200)));
        register(&mut s, caller)?;
        register(&mut s, callee)?;
        // An owner that has just become one does not know all calls yet.
        s.run_for(Duration::from_secs(1));
        Ok(Stage { s, caller, callee })
    }

    fn call(&mut self) -> Result<String, String> {
        call(&mut self.s, self.caller, self.callee, "1002")
    }

    fn hang_up(&mut self, call_id: &str) -> Outcome {
        hang_up(&mut self.s, self.caller, self.callee, call_id)?;
        self.s.run_for(Duration::from_millis(20));
        Ok(())
    }

    /// What the caller hears who may have no more calls: false if it goes through.
    fn third_is_refused(&mut self) -> Result<bool, String> {
        let caller = self.caller;
        let id = self.s.order(caller, Order::Call { to: "1002".into() }).ok_or("no call")?;
        let ours = id.clone();
        must(&mut self.s, 40, "refused or answered", move |s| {
            s.established(caller).contains(&ours) || s.saw(caller, |e| is_refusal(e, &ours))
        })?;
        if self.s.saw(caller, |e| is_refusal(e, &id)) {
            return Ok(true);
        }
        let callee = self.callee;
        let ours = id.clone();
        must(&mut self.s, 40, "confirmed", move |s| s.established(callee).contains(&ours))?;
        self.hang_up(&id)?;
        Ok(false)
    }

    fn key(&self) -> Key {
        Key::account(&self.s.keys().placement, &Aor::new("1001", "rack.test"))
    }

    /// Who counts the account's calls.
    fn owner(&self) -> Result<usize, String> {
        self.node(self.key().0)
    }

    fn holder(&self, call_id: &str) -> Result<usize, String> {
        self.node(CallHash::of(&self.s.keys().placement, call_id.as_bytes()))
    }

    fn node(&self, hash: CallHash) -> Result<usize, String> {
        let owner = self.s.lm().owner(hash.slot()).ok_or("no owner")?;
        self.s.nodes().iter().position(|node| node.id() == owner).ok_or_else(|| "no such node".into())
    }

    fn counts(&self, calls: usize) -> Outcome {
        let counted = self.s.nodes()[self.owner()?].counted_under(self.key());
        match counted == calls {
            true => Ok(()),
            false => Err(format!("{counted} calls are counted, and there are {calls}\n{}", self.s.whole_trail())),
        }
    }

    /// Two calls are all that there may be; once one has ended there may be another.
    fn has_two(mut self, calls: &[String; 2]) -> Outcome {
        self.counts(2)?;
        holds("the third call is refused", self.third_is_refused()?)?;
        self.hang_up(&calls[0])?;
        let third = self.call()?;
        holds("a third at the same time is refused again", self.third_is_refused()?)?;
        self.hang_up(&third)?;
        self.hang_up(&calls[1])?;
        self.ends_well()
    }

    fn ends_well(mut self) -> Outcome {
        leftovers::check(&mut self.s)?;
        self.s.verdict()
    }
}

fn is_refusal(event: &Event, id: &str) -> bool {
    *event == Event::Refused { call_id: id.to_owned(), status: 403 }
}

#[test]
fn an_account_has_no_more_calls_than_it_may_have_in_the_whole_rack() {
    under_every_seed(|seed| {
        let mut stage = Stage::new(seed)?;
        let calls = [stage.call()?, stage.call()?];
        stage.has_two(&calls)
    });
}

#[test]
fn whoever_counts_dies_and_the_next_one_counts_the_same() {
    under_every_seed(|seed| {
        let mut stage = Stage::new(seed)?;
        let calls = [stage.call()?, stage.call()?];
        let owner = stage.owner()?;
        stage.s.kill_node(owner, seed % 2 == 0);
        stage.s.run_for(RIGHT_AGAIN);
        stage.has_two(&calls)
    });
}

#[test]
fn whoever_counts_dies_comes_back_and_counts_again() {
    under_every_seed(|seed| {
        let mut stage = Stage::new(seed)?;
        let calls = [stage.call()?, stage.call()?];
        let owner = stage.owner()?;
        stage.s.kill_node(owner, true);
        stage.s.run_for(Duration::from_millis(700));
        stage.s.start_node(owner);
        settles(&mut stage.s)?;
        stage.s.run_for(RIGHT_AGAIN);
        stage.has_two(&calls)
    });
}

#[test]
fn a_holder_dies_and_its_call_counts_where_it_goes_on() {
    under_every_seed(|seed| {
        let mut stage = Stage::new(seed)?;
        let calls = [stage.call()?, stage.call()?];
        let holder = stage.holder(&calls[0])?;
        stage.s.kill_node(holder, seed % 2 == 0);
        stage.s.run_for(Duration::from_millis(400));
        // Long before the 2 s: what is not heard of yet still counts.
        if stage.owner()? != holder && stage.holder(&calls[1])? != holder {
            stage.counts(2)?;
        }
        stage.s.run_for(RIGHT_AGAIN);
        stage.has_two(&calls)
    });
}

#[test]
fn planes_that_lose_leave_the_count_right() {
    let (tried, passed) = (Cell::new(0u32), Cell::new(0u32));
    under_every_seed(|seed| {
        let mut stage = Stage::new(seed)?;
        stage.s.lossy_planes(0.05);
        let calls = [stage.call()?, stage.call()?];
        // Whose question and its repeat are lost goes by its own count.
        tried.set(tried.get() + 1);
        passed.set(passed.get() + u32::from(!stage.third_is_refused()?));
        stage.s.run_for(RIGHT_AGAIN);
        stage.counts(2)?;
        stage.hang_up(&calls[0])?;
        // That it is over may have to be said more than once.
        stage.s.run_for(Duration::from_millis(500));
        let third = stage.call()?;
        stage.s.run_for(RIGHT_AGAIN);
        stage.counts(2)?;
        stage.hang_up(&third)?;
        stage.hang_up(&calls[1])?;
        stage.s.lossy_planes(0.0);
        stage.ends_well()
    });
    let (tried, passed) = (tried.get(), passed.get());
    assert!(passed * 20 <= tried + 20, "{passed} of {tried} calls passed the limit");
}

/// A caller whose calls are counted at the node with this number, and another node.
fn sources(seed: u64) -> Result<(Simulation, usize, usize), String> {
    let mut s = Simulation::of_rack(&SOURCES, seed);
    let bob = s.actor("bob", "rack.test");
    let contact = format!("<{}>", s.the(bob).contact());
    s.bind(bob, "bob@rack.test", &contact)?;
    let alice = s.actor("alice", "rack.test");
    s.run_for(Duration::from_secs(33));
    let key = Key::source(&s.keys().placement, s.the(alice).address.ip());
    let owner = s.lm().owner(key.0.slot()).ok_or("no owner")?;
    let at = s.nodes().iter().position(|node| node.id() == owner).ok_or("no such node")?;
    Ok((s, at, (at + 1) % 4))
}

fn id(node: usize) -> NodeId {
    NodeId(node as u16 + 1)
}

/// Alice calls Bob, at this node; none: it is refused.
fn rings(s: &mut Simulation, node: usize) -> Result<Option<(Dialog, Message)>, String> {
    let asked = |s: &Simulation| s.the(bob()).heard.iter().filter(|heard| heard.message.is("INVITE")).count();
    let before = asked(s);
    let attempt = s.invite_at(alice(), BOB, id(node));
    ms(s, 30);
    if asked(s) == before {
        let refused = s.expect(alice(), "403")?;
        is("it is refused", refused.first.as_str(), "SIP/2.0 403 Too Many Calls From This Source")?;
        return Ok(None);
    }
    let invite = s.expect(bob(), "INVITE")?;
    s.answer(bob(), &invite, 180, "b");
    s.expect(alice(), "180")?;
    Ok(Some((attempt, invite)))
}

#[test]
fn while_whoever_counts_is_silent_each_node_has_its_share() {
    under_every_seed(|seed| {
        let (mut s, owner, node) = sources(seed)?;
        let other = (owner + 2) % 4;
        let others = [1, 2, 3].map(|n| (owner + n) % 4);
        others.iter().for_each(|n| s.part(owner, *n, true));
        let mut calls = Vec::new();
        for at in [node, node, other, other] {
            calls.extend(rings(&mut s, at)?);
        }
        holds("each of two nodes has had its share of two", calls.len() == 4)?;
        holds("and no more", rings(&mut s, node)?.is_none() && rings(&mut s, other)?.is_none())?;
        others.iter().for_each(|n| s.part(owner, *n, false));
        s.run_for(RIGHT_AGAIN);
        for at in [node, owner, node, other] {
            calls.extend(rings(&mut s, at)?);
        }
        holds("all of them count when it hears again", calls.len() == 8)?;
        holds("and it knows that", rings(&mut s, node)?.is_none() && rings(&mut s, owner)?.is_none())?;
        for (attempt, _) in &calls {
            s.cancel(alice(), attempt);
            s.expect(bob(), "CANCEL")?;
            s.expect(alice(), "487")?;
        }
        leftovers::check(&mut s)?;
        s.verdict()
    });
}

#[test]
fn who_is_cancelled_while_there_is_no_answer_yet_rings_nowhere() {
    under_every_seed(|seed| {
        let (mut s, owner, node) = sources(seed)?;
        s.part(owner, node, true);
        let attempt = s.invite_at(alice(), BOB, id(node));
        s.run_for(Duration::from_micros(1_500));
        s.repeat(alice(), "INVITE");
        s.run_for(Duration::from_micros(1_500));
        s.cancel(alice(), &attempt);
        s.expect(alice(), "200 CANCEL")?;
        s.expect(alice(), "487")?;
        s.part(owner, node, false);
        s.run_for(RIGHT_AGAIN);
        holds("Bob has heard nothing", !s.has_heard(bob(), "INVITE"))?;
        holds("it is asked about once", s.nodes()[node].asked_about() == 1)?;
        leftovers::check(&mut s)?;
        s.verdict()
    });
}

/// Calls to the carrier and from it count together.
fn one_line(s: &mut Simulation) -> Outcome {
    let alice = s.actor("alice", "open.test");
    let contact = format!("<{}>", s.the(alice).contact());
    s.bind(alice, "alice@open.test", &contact)?;
    let carrier = s.actor_at("carrier", "carrier.test", "203.0.113.50:5060".parse().map_err(|_| "an address")?);
    s.run_for(Duration::from_secs(1));
    let first = s.invite(alice, "sip:00123@open.test");
    let invite = s.expect(carrier, "INVITE")?;
    s.answer(carrier, &invite, 180, "c");
    s.expect(alice, "180")?;
    s.invite(alice, "sip:00124@open.test");
    let refused = s.expect(alice, "503")?;
    is("a second call to it", refused.first.as_str(), "SIP/2.0 503 Too Many Calls To This Trunk")?;
    holds("it says when to try again", refused.header("Retry-After") == "5")?;
    s.invite(carrier, "sip:alice@open.test");
    let refused = s.expect(carrier, "503")?;
    is("a call from it", refused.first.as_str(), "SIP/2.0 503 Too Many Calls Of This Trunk")?;
    s.cancel(alice, &first);
    s.expect(carrier, "CANCEL")?;
    s.expect(alice, "487")?;
    s.run_for(Duration::from_millis(50));
    let second = s.invite(alice, "sip:00125@open.test");
    let invite = s.expect(carrier, "INVITE")?;
    s.answer(carrier, &invite, 180, "d");
    s.expect(alice, "180")?;
    s.cancel(alice, &second);
    s.expect(carrier, "CANCEL")?;
    s.expect(alice, "487")?;
    leftovers::check(s)
}

#[test]
fn a_trunk_that_is_full_is_answered_503_until_one_of_its_calls_is_over() {
    under_every_seed(|seed| {
        let mut s = Simulation::of_rack(&ONE_LINE, seed);
        one_line(&mut s).map_err(|why| format!("{why}\n{}", s.whole_trail()))?;
        s.verdict()
    });
}
