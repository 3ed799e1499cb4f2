//! Names on the simulated name server: a trunk that is called by name stays reachable whatever the DNS does.

use super::under_every_seed;
use cc_node::dns::{DnsAnswer, DnsAsk, Kind};
use cc_node::effect::Effect;
use cc_node::resolve::{Destination, Hop, Located, Progress, Resolver, Settings, Unresolved};
use common::config::Rack;
use common::ids::NodeId;
use common::time::{Duration, Time};
use simulated_rack::chance::Chance;
use simulated_rack::hosts::dns::{DnsHost, Fault};

const NODE: NodeId = NodeId(1);

/// A node's resolver and the name server under one clock.
struct Names {
    now: Time,
    resolver: Resolver,
    dns: DnsHost,
}

impl Names {
    fn new() -> Names {
        let mut dns = DnsHost::new();
        dns.naptr("carrier.test", 600, (10, 10), "SIP+D2U", "_sip._udp.carrier.test");
        dns.srv("_sip._udp.carrier.test", 60, (1, 60), 5060, "a.carrier.test");
        dns.srv("_sip._udp.carrier.test", 60, (1, 40), 5060, "b.carrier.test");
        dns.srv("_sip._udp.carrier.test", 60, (2, 0), 5080, "backup.carrier.test");
        dns.address("a.carrier.test", 30, "198.51.100.1");
        dns.address("b.carrier.test", 30, "198.51.100.2");
        dns.cname("backup.carrier.test", "far.elsewhere.test");
        dns.address("far.elsewhere.test", 30, "203.0.113.9");
        let resolver = Resolver::new(Settings::of(&Rack::one_machine_default(1)));
        Names { now: Time(1_000_000), resolver, dns }
    }

    fn carry(&mut self, out: Vec<Effect>) {
        for effect in out {
            let Effect::Dns { ask, question } = effect else { panic!("a resolver only asks: {effect:?}") };
            self.dns.ask(self.now, NODE, ask, question);
        }
    }

    fn answer(&mut self, ask: DnsAsk, answer: DnsAnswer) -> Vec<Located> {
        let mut out = Vec::new();
        let located = self.resolver.answer(self.now, ask, answer, &mut out);
        self.carry(out);
        located
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end).is_some() {}
    }

    /// The next thing that is due by `end`; `None`: there is nothing, and it is `end`.
    fn step(&mut self, end: Time) -> Option<Vec<Located>> {
        let next = [self.resolver.next_due(), self.dns.next_due()].into_iter().flatten().min();
        let Some(next) = next.filter(|at| *at <= end) else {
            self.now = end;
            return None;
        };
        self.now = self.now.max(next);
        let mut located = Vec::new();
        for (_, ask, answer) in self.dns.tick(self.now) {
            located.extend(self.answer(ask, answer));
        }
        let mut out = Vec::new();
        located.extend(self.resolver.tick(self.now, &mut out));
        self.carry(out);
        Some(located)
    }

    /// A call to the carrier: its hops, and how long it took to find them.
    fn call(&mut self, seed: u64) -> (Result<Vec<Hop>, Unresolved>, Duration) {
        let (began, mut out) = (self.now, Vec::new());
        let progress = self.resolver.locate(self.now, &Destination::host("carrier.test", None, None), seed, &mut out);
        self.carry(out);
        let id = match progress {
            Progress::Done(hops) => return (Ok(hops), Duration::ZERO),
            Progress::Failed(error) => return (Err(error), Duration::ZERO),
            Progress::Waiting(id) => id,
        };
        loop {
            let located = self.step(began + Duration::from_secs(60)).expect("a look-up ends");
            if let Some((_, result)) = located.into_iter().find(|(located, _)| *located == id) {
                return (result, self.now.since(began));
            }
        }
    }
}

fn found(what: &str, call: (Result<Vec<Hop>, Unresolved>, Duration), within_ms: u64) -> Result<Vec<Hop>, String> {
    let (result, took) = call;
    let hops = result.map_err(|e| format!("{what}: {e}"))?;
    match took <= Duration::from_millis(within_ms) {
        true => Ok(hops),
        false => Err(format!("{what}: took {took:?}")),
    }
}

#[test]
fn calls_by_name_go_on_while_the_name_server_is_dead_for_a_day() {
    under_every_seed(|seed| {
        let (mut names, mut chance) = (Names::new(), Chance::new(seed));
        let first = found("the first call", names.call(seed), 15)?;
        names.dns.set_dead(true);
        for n in 0..40 {
            names.pass(Duration::from_secs(chance.between(0, 2000)));
            let hops = found(&format!("call {n}"), names.call(seed), 1600)?;
            if hops != first {
                return Err(format!("call {n} went to {hops:?}, the first one to {first:?}"));
            }
        }
        names.dns.set_dead(false);
        names.dns.remove("a.carrier.test");
        names.dns.address("a.carrier.test", 30, "198.51.100.77");
        names.pass(Duration::from_secs(60));
        let _ = names.call(seed);
        names.pass(Duration::from_secs(5));
        let hops = found("after it is back", names.call(seed), 1600)?;
        match hops.iter().any(|hop| hop.address.to_string() == "198.51.100.77:5060") {
            true => Ok(()),
            false => Err(format!("the new address is not known: {hops:?}")),
        }
    });
}

#[test]
fn whatever_one_question_meets_a_call_is_located_or_refused_in_time() {
    let names = ["carrier.test", "_sip._udp.carrier.test", "a.carrier.test", "backup.carrier.test", "b.carrier.test"];
    under_every_seed(|seed| {
        let (mut rig, mut chance) = (Names::new(), Chance::new(seed));
        for n in 0..30 {
            let name = names[chance.between(0, names.len() as u64 - 1) as usize];
            let kind = Kind::ALL[chance.between(0, 2) as usize];
            let slow = Fault::Slow(Duration::from_millis(chance.between(0, 4000)));
            let faults = [Some(Fault::Silent), Some(Fault::ServerFailure), Some(Fault::NoSuchName), Some(slow), None];
            rig.dns.set_fault(name, kind, faults[chance.between(0, 4) as usize]);
            rig.pass(Duration::from_millis(chance.between(0, 90_000)));
            let (result, took) = rig.call(seed + n);
            if took > Duration::from_secs(11) {
                return Err(format!("call {n} waited {took:?} for {result:?}"));
            }
            match result {
                Ok(hops) if hops.is_empty() || hops.len() > 3 => return Err(format!("call {n}: {hops:?}")),
                Err(error) if ![404, 503].contains(&error.status()) => return Err(format!("call {n}: {error}")),
                _ => {}
            }
        }
        Ok(())
    });
}

#[test]
fn two_nodes_draw_the_same_order_for_a_call() {
    under_every_seed(|seed| {
        let (mut one, mut other) = (Names::new(), Names::new());
        other.dns.set_delay(Duration::from_millis(40));
        match (one.call(seed).0, other.call(seed).0) {
            (Ok(a), Ok(b)) if a == b && a.len() == 3 => Ok(()),
            (a, b) => Err(format!("{a:?} and {b:?}")),
        }
    });
}
