//! The load against a node of our own, under virtual time: every call ends well, also where datagrams get lost.

#![allow(clippy::unwrap_used)]

use super::plan::Pace;
use super::*;
use cc_node::effect::{Effect, Input};
use cc_node::node::{Node, NodeSetup, View};
use common::config::Rack;
use common::ids::{BootId, Epoch, Level, ListenerId, NodeId};
use common::keys::{Keys, RackKey};
use common::location::{Aor, Binding, Bindings, LogTime, Subscriber};
use common::placement::Placements;
use common::time::{Duration, Time, WallMillis};
use common::wire::proxy::{ProxyHeader, Sent};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

const VIP: &str = "192.0.2.1:5060";
const CALLER: &str = "192.0.2.9:5061";
const CALLEE: &str = "192.0.2.9:5062";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Everybody is at the callee's address.
struct Everybody(Placements);

impl View for Everybody {
    fn bindings(&self, aor: &Aor) -> Option<Arc<Bindings>> {
        let binding = Binding {
            contact: format!("sip:x@{CALLEE}"),
            q_thousandths: 1000,
            expires_at: LogTime(3_600_000_000),
            received: address(CALLEE),
            listener: ListenerId(0),
            path: vec![],
            instance: String::new(),
            user_agent: String::new(),
            version: Level(1),
        };
        Some(Arc::new(Bindings { aor: aor.clone(), bindings: vec![binding] }))
    }

    /// HA1 of user `u`, realm `rack.test`, password `secret`.
    fn subscriber(&self, aor: &Aor) -> Option<Arc<Subscriber>> {
        let ha1_md5 = [0x01, 0x7a, 0x58, 0xfa, 0x36, 0xdc, 0x7a, 0x9a, 0x89, 0x99, 0x4a, 0x1a, 0x85, 0xd7, 0xa8, 0x8e];
        Some(Arc::new(Subscriber { aor: aor.clone(), ha1_md5, ha1_sha256: [0; 32], ha1_sha512_256: None }))
    }

    fn log_time(&self, now: Time) -> LogTime {
        LogTime(now.millis())
    }

    fn placements(&self) -> &Placements {
        &self.0
    }
}

/// Datagrams in flight: who sent them from where to where.
#[derive(Default)]
struct Air {
    flying: VecDeque<(SocketAddr, SocketAddr, Vec<u8>)>,
    sent: u64,
    /// Every so many-th is lost; 0: none.
    lose: u64,
}

impl Air {
    fn push(&mut self, from: SocketAddr, to: SocketAddr, message: &[u8]) {
        self.sent += 1;
        if self.lose == 0 || !self.sent.is_multiple_of(self.lose) {
            self.flying.push_back((from, to, message.to_vec()));
        }
    }
}

impl Wire for Air {
    fn send(&mut self, from: Side, to: SocketAddr, message: &[u8]) {
        let from = address(if from == Side::Caller { CALLER } else { CALLEE });
        self.push(from, to, message);
    }
}

struct World {
    engine: Engine,
    node: Node,
    view: Everybody,
    air: Air,
    now: Time,
    /// First lines of what our sides said, in order.
    said: Vec<String>,
}

fn world(auth: &str, lose: u64, plan: Plan) -> World {
    let rack = format!(
        "name: test\nlisteners: [ {{ address: 192.0.2.1, port: 5060, transport: udp }} ]\n\
         domains: [ {{ name: rack.test, auth: {auth}, provisioning: closed }} ]\none_machine: {{ nodes: 1 }}\n"
    );
    let rack = Rack::from_yaml("test.yaml", &rack).unwrap().expand();
    let keys = Arc::new(Keys::derive(&RackKey([5; 32])));
    let setup = NodeSetup { id: NodeId(1), boot: BootId(1), worker: 0, rack: Arc::new(rack), keys };
    World {
        engine: Engine::new(plan),
        node: Node::new(setup),
        view: Everybody(Placements::none()),
        air: Air { lose, ..Air::default() },
        now: Time(1_000_000),
        said: Vec::new(),
    }
}

fn plan(pace: Pace) -> Plan {
    Plan {
        kind: Kind::Calls,
        target: address(VIP),
        domain: "rack.test".into(),
        users: Users::new("u", 1),
        password: None,
        caller: address(CALLER),
        callee: address(CALLEE),
        pace,
        ring: Duration::ZERO,
        hold: Duration::ZERO,
        run: 7,
    }
}

fn closed(count: u64, window: u64) -> Pace {
    Pace { rate: None, window, count: Some(count), duration: None }
}

impl World {
    /// Until the load is done and the air is empty.
    fn run(&mut self) -> &Tally {
        loop {
            self.engine.tick(self.now, &mut self.air);
            self.deliver();
            if self.engine.is_done(self.now) && self.air.flying.is_empty() {
                return self.engine.tally();
            }
            let due = [self.engine.next_due(self.now), self.node.next_due()].into_iter().flatten().min().unwrap();
            self.now = self.now.max(due);
            assert!(self.now < Time(600_000_000), "ten minutes and not done: {:?}", self.engine.tally());
            let mut out = Vec::new();
            self.node.tick(self.now, WallMillis(1_800_000_000_000), &self.view, &mut out);
            self.carry_out(out);
        }
    }

    fn deliver(&mut self) {
        while let Some((from, to, message)) = self.air.flying.pop_front() {
            let first = message.split(|b| *b == b'\r').next().unwrap();
            if to != address(VIP) {
                let side = if to == address(CALLER) { Side::Caller } else { Side::Callee };
                self.engine.handle(self.now, side, from, &message, &mut self.air);
                continue;
            }
            self.said.push(String::from_utf8_lossy(first).into_owned());
            let header = header(from);
            let mut out = Vec::new();
            let input = Input::Datagram { header, message: message.into() };
            self.node.handle(self.now, WallMillis(1_800_000_000_000), &self.view, input, &mut out);
            self.carry_out(out);
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if let Effect::Send { to, bytes, .. } = effect {
                self.air.push(address(VIP), to, &bytes);
            }
        }
    }
}

fn header(source: SocketAddr) -> ProxyHeader {
    ProxyHeader::ingress(source, address(VIP), ListenerId(0), BootId(1), Epoch(1), Sent::default())
}

#[test]
fn a_call_through_a_node_is_the_ladder_of_rfc_3665() {
    let mut world = world("none", 0, plan(closed(1, 1)));
    let tally = world.run();
    assert_eq!((tally.started, tally.finished, tally.failed(), tally.strays), (1, 1, 0, 0));
    assert_eq!((tally.answered, tally.unacknowledged, tally.repeats), (1, 0, 0));
    assert_eq!((tally.sent, tally.received), (6, 7), "INVITE 180 200 ACK BYE 200, and what the node made of them");
    let firsts: Vec<&str> = world.said.iter().map(|s| s.split("sip:").next().unwrap().trim()).collect();
    assert_eq!(firsts, ["INVITE", "SIP/2.0 180 Ringing", "SIP/2.0 200 OK", "ACK", "BYE", "SIP/2.0 200 OK"]);
    assert_eq!(world.engine.answering(), 0);
    assert_eq!(world.node.stats().calls_answered, 1);
    assert_eq!(world.node.stats().cdrs, 1, "the BYE went through the dialog's route set");
}

#[test]
fn a_window_of_calls_is_kept_full_and_never_more() {
    let mut world = world("none", 0, Plan { hold: Duration::from_secs(3), ..plan(closed(500, 50)) });
    world.engine.tick(world.now, &mut world.air);
    assert_eq!(world.engine.tally().open(), 50);
    let tally = world.run();
    assert_eq!((tally.finished, tally.failed()), (500, 0));
    assert_eq!(world.node.stats().calls_established, 0);
    assert!(world.now.since(Time(1_000_000)) >= Duration::from_secs(30), "ten windows of three seconds");
}

#[test]
fn a_rate_is_an_open_loop() {
    let pace = Pace { rate: Some(200.0), window: 100_000, count: None, duration: Some(Duration::from_secs(2)) };
    let mut world = world("none", 0, Plan { hold: Duration::from_secs(10), ..plan(pace) });
    let tally = world.run();
    assert!((398..=400).contains(&tally.started), "{} in two seconds at 200/s", tally.started);
    assert_eq!(tally.finished, tally.started);
}

#[test]
fn lost_datagrams_are_sent_again_and_no_call_is_lost() {
    for lose in [3, 5, 7, 11, 13, 29] {
        let mut world = world("none", lose, Plan { ring: Duration::from_millis(200), ..plan(closed(200, 20)) });
        let tally = world.run();
        assert_eq!((tally.finished, tally.failed()), (200, 0), "one in {lose} lost: {tally:?}");
        assert!(tally.repeats > 0);
        assert_eq!(tally.unacknowledged, 0, "one in {lose} lost");
    }
}

#[test]
fn a_refusal_is_acknowledged_and_counted_by_its_status() {
    let mut world = world("none", 0, Plan { domain: "elsewhere.test".into(), ..plan(closed(3, 1)) });
    let tally = world.run().clone();
    assert_eq!((tally.finished, tally.failed()), (0, 3));
    assert_eq!(tally.failures.get(&Failure::Refused { method: "INVITE", status: 403 }), Some(&3), "{tally:?}");
    assert_eq!(world.said.iter().filter(|s| s.starts_with("ACK ")).count(), 3);
}

#[test]
fn a_challenge_is_answered_once() {
    // A second challenge would say that the answer was wrong.
    let mut without = world("digest", 0, plan(closed(1, 1)));
    assert_eq!(without.run().failures.get(&Failure::Challenge { method: "INVITE" }), Some(&1));
    let mut wrong = world("digest", 0, Plan { password: Some("wrong".into()), ..plan(closed(1, 1)) });
    assert_eq!(wrong.run().failures.get(&Failure::Challenge { method: "INVITE" }), Some(&1));
    assert_eq!(wrong.said.iter().filter(|s| s.starts_with("INVITE ")).count(), 2);
    let mut right = world("digest", 0, Plan { password: Some("secret".into()), ..plan(closed(5, 1)) });
    let tally = right.run();
    assert_eq!((tally.finished, tally.failed()), (5, 0), "{:?}", tally.failures);
    assert_eq!(right.said.iter().filter(|s| s.starts_with("INVITE ")).count(), 10);
}

#[test]
fn a_server_that_says_nothing_is_silence_after_64_t1() {
    let mut world = world("none", 1, plan(closed(1, 1)));
    let tally = world.run();
    assert_eq!(tally.failures.get(&Failure::Silence { method: "INVITE" }), Some(&1));
    assert_eq!(tally.repeats, 6, "at 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s");
    assert_eq!(world.now.since(Time(1_000_000)), Duration::from_secs(32));
}
