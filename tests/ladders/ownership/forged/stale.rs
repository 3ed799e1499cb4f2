//! Too old: what a dead incarnation says, or had said; what quotes a beacon of long ago; what a dead load manager had
//! said; a message handed over by who is dead, was removed since, or too long ago. Here the tests hold the keys, so
//! every MAC is good.

use super::super::changes::{AT, Outcome, alice, bob, ms, stage};
use super::super::settles;
use super::ports::{Kind, PLANES, Ports};
use crate::must;
use crate::stage::holds;
use cc_node::stats::DropReason as NodeDrop;
use common::ids::{BootId, ListenerId, NodeId};
use common::sip::call_id;
use common::time::{Duration, Time};
use common::wire::frame::{self, Message};
use common::wire::heartbeat::{self, Heartbeat};
use common::wire::proxy::{self, Direction, FRESH, Inquiry, MAX, ProxyHeader, Sent};
use lm_server::forward::DropReason;
use lm_server::membership::Refusal;
use simulated_rack::chance::Chance;
use simulated_rack::network::{Conditions, Datagram};
use simulated_rack::simulation::Simulation;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

const BOB: &str = "sip:bob@rack.test";
/// Of the node at [`AT`].
const NODE: NodeId = NodeId(2);

/// All that went over the planes.
#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<Datagram>>>);

impl Ear {
    /// From now on.
    fn of(s: &mut Simulation) -> Ear {
        let ear = Ear::default();
        let kept = ear.clone();
        s.outsider(
            0,
            Box::new(move |_: &mut Chance, heard: &Datagram| {
                kept.0.lock().unwrap_or_else(|e| e.into_inner()).push(heard.clone());
                Vec::new()
            }),
        );
        ear
    }

    fn heard(&self, s: &Simulation, kind: Kind) -> Vec<Datagram> {
        let ports = Ports::of(s);
        let all = self.0.lock().unwrap_or_else(|e| e.into_inner());
        all.iter().filter(|heard| ports.kind(heard) == kind).cloned().collect()
    }

    /// The nonces of the beacons.
    fn nonces(&self, s: &Simulation) -> Vec<u64> {
        let nonce = |heard: &Datagram| match frame::decode(&heard.bytes, &s.keys().plane) {
            Ok(Message::Beacon(beacon)) => Some(beacon.nonce),
            _ => None,
        };
        self.heard(s, Kind::Beacon).iter().filter_map(nonce).collect()
    }

    /// The newest heartbeat of this node on the first plane.
    fn newest_beat(&self, s: &Simulation) -> Option<Heartbeat> {
        let from = s.nodes()[AT].control_address(PLANES[0]);
        let words = self.heard(s, Kind::Word);
        words.iter().rev().find(|heard| heard.from == from).and_then(|heard| read(s, heard))
    }
}

fn read(s: &Simulation, heard: &Datagram) -> Option<Heartbeat> {
    heartbeat::decode(&heard.bytes, &s.keys().plane, false).ok()
}

fn quiet(seed: u64) -> Result<(Simulation, Ear), String> {
    let mut s = stage(seed)?;
    s.set_conditions(Conditions::STRAIGHT);
    let ear = Ear::of(&mut s);
    Ok((s, ear))
}

fn refused(s: &Simulation, why: Refusal) -> u64 {
    let at = Refusal::ALL.into_iter().position(|each| each == why).unwrap_or_default();
    s.lm().status(s.now()).map_or(0, |status| status.refused[at])
}

/// It arrives, and what follows from it at once has followed.
fn arrives(s: &mut Simulation, from: SocketAddr, to: SocketAddr, bytes: impl Into<bytes::Bytes>) {
    s.slip_in(from, to, bytes);
    s.run_for(Duration::ZERO);
}

/// A heartbeat as this node writes them.
fn beats(s: &mut Simulation, beat: &Heartbeat) {
    let bytes = heartbeat::encode(beat, &s.keys().plane);
    let (from, to) = (s.nodes()[AT].control_address(PLANES[0]), s.lm().control_address(PLANES[0]));
    arrives(s, from, to, bytes);
}

fn is_out(s: &Simulation) -> bool {
    !s.lm().live().contains(&NODE)
}

/// As fresh as can be: it quotes the newest beacon, and is far ahead of all that the dead process has said.
fn as_if_it_lived(mut beat: Heartbeat, nonce: u64) -> Heartbeat {
    if let Some(v2) = &mut beat.v2 {
        v2.sequence += 1000;
        v2.progress += 1000;
        v2.beacon_nonce = nonce;
    }
    beat
}

#[test]
fn a_dead_incarnation_is_never_heard_again() {
    let run = || -> Outcome {
        let (mut s, ear) = quiet(1)?;
        ms(&mut s, 200);
        s.kill_node(AT, true);
        ms(&mut s, 100);
        let last = ear.newest_beat(&s).ok_or("it has beaten")?;
        for restarted in [false, true] {
            if restarted {
                s.start_node(AT);
                settles(&mut s)?;
            }
            let (before, epoch, live) = (refused(&s, Refusal::RetiredBoot), s.lm().epoch(), s.lm().live());
            let nonce = ear.nonces(&s).pop().unwrap_or_default();
            beats(&mut s, &as_if_it_lived(last.clone(), nonce));
            beats(&mut s, &last);
            holds("both are refused", refused(&s, Refusal::RetiredBoot) == before + 2)?;
            ms(&mut s, 200);
            holds("nothing has come of it", (s.lm().epoch(), s.lm().live()) == (epoch, live))?;
        }
        s.verdict()
    };
    run().unwrap_or_else(|why| panic!("{why}"));
}

/// A process of which nothing is left but its mouth: who quotes what it cannot have heard lately does not count. When
/// the node is taken for dead, and how often it was refused.
fn taken_for_dead(seed: u64, speaks: bool) -> Result<(Time, u64), String> {
    let (mut s, ear) = quiet(seed)?;
    // Between two of its heartbeats.
    ms(&mut s, 2020);
    let old = ear.nonces(&s).first().copied().ok_or("there are beacons")?;
    s.kill_node(AT, false);
    let mut beat = ear.newest_beat(&s).ok_or("it has beaten")?;
    let died = s.now();
    while !is_out(&s) && s.now().since(died) < Duration::from_secs(2) {
        if speaks {
            beat = as_if_it_lived(beat, old);
            beats(&mut s, &beat);
        }
        s.run_until(Duration::from_millis(10), is_out);
    }
    s.verdict()?;
    Ok((s.now(), refused(&s, Refusal::StaleNonce)))
}

#[test]
fn who_quotes_an_old_beacon_does_not_count_as_alive() {
    for seed in super::seeds() {
        let run = || {
            let ((silent, _), (spoke, refused)) = (taken_for_dead(seed, false)?, taken_for_dead(seed, true)?);
            holds("it is refused each time", refused >= 25)?;
            holds(&format!("taken for dead at {silent:?}, and at {spoke:?}"), silent == spoke)
        };
        run().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[test]
fn what_a_dead_load_manager_had_said_says_nothing() {
    let run = || -> Outcome {
        let (mut s, ear) = quiet(2)?;
        // It had held another placement, too.
        s.drain_node(3, true);
        ms(&mut s, 500);
        s.drain_node(3, false);
        ms(&mut s, 500);
        s.kill_lm();
        ms(&mut s, 50);
        let said = ear.heard(&s, Kind::Beacon);
        s.start_lm();
        settles(&mut s)?;
        ms(&mut s, 100);
        let stale = |s: &Simulation| s.nodes().iter().map(|node| node.beacons_in_vain().0).sum::<u64>();
        let epochs = |s: &Simulation| s.nodes().iter().map(|node| node.epoch()).collect::<Vec<_>>();
        let (counted, stood) = (stale(&s), epochs(&s));
        said.iter().for_each(|heard| s.slip_in(heard.from, heard.to, heard.bytes.clone()));
        s.run_for(Duration::ZERO);
        holds("there were many", said.len() > 100)?;
        holds("each is counted", stale(&s) == counted + said.len() as u64)?;
        ms(&mut s, 500);
        holds("all stand as they stood", epochs(&s) == stood && s.lm().live().len() == s.nodes().len())?;
        s.verdict()
    };
    run().unwrap_or_else(|why| panic!("{why}"));
}

/// Alice and Bob talk by this node; what it has handed over for the outside.
fn handed_over(s: &mut Simulation, ear: &Ear) -> Result<Datagram, String> {
    s.invite_at(alice(), BOB, NODE);
    let invite = s.expect(bob(), "INVITE")?;
    s.answer(bob(), &invite, 200, "b");
    s.expect(bob(), "ACK")?;
    let own = Ports::of(s).sip[AT];
    let sent = ear.heard(s, Kind::Outwards).into_iter().rev().find(|heard| own.contains(&heard.from));
    sent.ok_or_else(|| "it has sent nothing".to_string())
}

/// Why it does not leave now. It is tried, too.
fn does_not_leave(s: &mut Simulation, kept: &Datagram, why: DropReason) -> Outcome {
    let judged = s.lm().lets_out(s.now(), &kept.bytes);
    let left = s.wire().len();
    arrives(s, kept.from, kept.to, kept.bytes.clone());
    holds(&format!("{judged:?} is {why:?}"), judged == Some(Err(why)) && s.wire().len() == left)
}

#[test]
fn what_was_handed_over_by_the_dead_the_removed_or_long_ago_does_not_leave() {
    let run = || -> Outcome {
        let (mut s, ear) = quiet(3)?;
        let kept = handed_over(&mut s, &ear)?;
        s.stop_node(AT);
        must(&mut s, 1, "it is out", is_out)?;
        does_not_leave(&mut s, &kept, DropReason::SenderDead)?;
        s.resume_node(AT);
        settles(&mut s)?;
        // The same incarnation; but this is of before its removal.
        does_not_leave(&mut s, &kept, DropReason::SenderBehind)?;
        let kept = handed_over(&mut s, &ear)?;
        s.run_for(FRESH + Duration::from_millis(100));
        does_not_leave(&mut s, &kept, DropReason::ProxyStale)?;
        let kept = handed_over(&mut s, &ear)?;
        s.kill_node(AT, true);
        does_not_leave(&mut s, &kept, DropReason::SenderDead)?;
        s.start_node(AT);
        settles(&mut s)?;
        does_not_leave(&mut s, &kept, DropReason::SenderDead)?;
        s.verdict()
    };
    run().unwrap_or_else(|why| panic!("{why}"));
}

/// A node's answer to the first question of another, as this incarnation of it would write it.
fn not_mine(s: &Simulation, boot: BootId) -> Vec<u8> {
    let (message, vip, epoch) = (proxy::answer(b"some-call"), s.vip(), s.lm().epoch());
    let header = ProxyHeader {
        sender: NODE,
        direction: Direction::Inside,
        inquiry: Some((Inquiry::NotMine, 1)),
        ..ProxyHeader::ingress(vip, vip, ListenerId(0), boot, epoch, Sent::at(s.lm().own(s.now())))
    };
    let (id, key) = s.keys().plane.current();
    let mut head = [0; MAX];
    let length = header.write(key, id, call_id(&message).unwrap_or_default(), &mut head);
    [&head[..length], &message].concat()
}

#[test]
fn what_a_dead_incarnation_answers_is_nothing() {
    let run = || -> Outcome {
        let (mut s, _ear) = quiet(4)?;
        let dead = s.nodes()[AT].boot().ok_or("it runs")?;
        s.kill_node(AT, true);
        s.start_node(AT);
        settles(&mut s)?;
        let lives = s.nodes()[AT].boot().ok_or("it runs again")?;
        let (from, to) = (s.nodes()[AT].sip_address(PLANES[0]), s.nodes()[0].sip_address(PLANES[0]));
        let dropped = |s: &Simulation| {
            s.nodes()[0].engine().map_or(0, |engine| engine.stats().dropped[NodeDrop::Inside as usize])
        };
        let before = dropped(&s);
        let bytes = not_mine(&s, dead);
        arrives(&mut s, from, to, bytes);
        holds("it is dropped", dropped(&s) == before + 1)?;
        // Who lives may say so; nobody has asked.
        let bytes = not_mine(&s, lives);
        arrives(&mut s, from, to, bytes);
        holds("this one is not", dropped(&s) == before + 1)?;
        s.verdict()
    };
    run().unwrap_or_else(|why| panic!("{why}"));
}
