//! A simulated name server: a zone, a delay, and what goes wrong. It answers each node's `Effect::Dns` as the shell
//! would, once; a dead one costs the shell's patience and comes to a timeout.

use cc_node::dns::{DnsAnswer, DnsAsk, DnsData, DnsFailure, DnsRecord, Kind, Question};
use common::ids::NodeId;
use common::time::{Duration, Time};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What a name server takes on a good day.
const DELAY: Duration = Duration::from_millis(3);
/// Two attempts of 1.5 s.
const PATIENCE: Duration = Duration::from_secs(3);
/// A negative answer counts this long.
const NEGATIVE_TTL_S: u32 = 60;
/// CNAMEs that are followed.
const CHAIN: usize = 8;

/// What happens to one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Silent,
    ServerFailure,
    NoSuchName,
    Slow(Duration),
}

pub struct DnsHost {
    zone: Vec<DnsRecord>,
    aliases: BTreeMap<String, String>,
    delay: Duration,
    dead: bool,
    faults: BTreeMap<(String, Kind), Fault>,
    /// On their way, in the order of arrival.
    answers: BTreeMap<(Time, u64), (NodeId, DnsAsk, DnsAnswer)>,
    sequence: u64,
    asked: Vec<(Time, NodeId, Question)>,
}

impl Default for DnsHost {
    fn default() -> Self {
        DnsHost::new()
    }
}

impl DnsHost {
    /// An empty zone: nothing exists.
    pub fn new() -> DnsHost {
        DnsHost {
            zone: Vec::new(),
            aliases: BTreeMap::new(),
            delay: DELAY,
            dead: false,
            faults: BTreeMap::new(),
            answers: BTreeMap::new(),
            sequence: 0,
            asked: Vec::new(),
        }
    }

    pub fn address(&mut self, name: &str, ttl_s: u32, ip: &str) {
        let data = match ip.parse() {
            Ok(IpAddr::V4(ip)) => DnsData::A(ip),
            Ok(IpAddr::V6(ip)) => DnsData::Aaaa(ip),
            Err(e) => panic!("{ip}: {e}"),
        };
        self.record(name, ttl_s, data);
    }

    pub fn srv(&mut self, name: &str, ttl_s: u32, (priority, weight): (u16, u16), port: u16, target: &str) {
        self.record(name, ttl_s, DnsData::Srv { priority, weight, port, target: target.into() });
    }

    pub fn naptr(
        &mut self,
        name: &str,
        ttl_s: u32,
        (order, preference): (u16, u16),
        services: &str,
        replacement: &str,
    ) {
        let (flags, services, regexp) = ("s".into(), services.into(), String::new());
        let replacement = replacement.into();
        self.record(name, ttl_s, DnsData::Naptr { order, preference, flags, services, regexp, replacement });
    }

    pub fn cname(&mut self, name: &str, target: &str) {
        self.aliases.insert(name.into(), target.into());
    }

    fn record(&mut self, name: &str, ttl_s: u32, data: DnsData) {
        self.zone.push(DnsRecord { name: name.into(), ttl_s, data });
    }

    /// Takes all records of a name out of the zone.
    pub fn remove(&mut self, name: &str) {
        self.zone.retain(|record| record.name != name);
        self.aliases.remove(name);
    }

    pub fn set_delay(&mut self, delay: Duration) {
        self.delay = delay;
    }

    /// A dead one answers nobody until it is alive again.
    pub fn set_dead(&mut self, dead: bool) {
        self.dead = dead;
    }

    /// `None` ends a fault.
    pub fn set_fault(&mut self, name: &str, kind: Kind, fault: Option<Fault>) {
        let key = (name.to_string(), kind);
        match fault {
            Some(fault) => self.faults.insert(key, fault),
            None => self.faults.remove(&key),
        };
    }

    /// Every question, in the order in which they came.
    pub fn asked(&self) -> &[(Time, NodeId, Question)] {
        &self.asked
    }

    /// A node's `Effect::Dns`.
    pub fn ask(&mut self, now: Time, node: NodeId, ask: DnsAsk, question: Question) {
        let fault = self.faults.get(&(question.name.to_string(), question.kind)).copied();
        let timeout = DnsAnswer::Failed(DnsFailure::Timeout);
        let (after, answer) = match fault {
            _ if self.dead => (PATIENCE, timeout),
            Some(Fault::Silent) => (PATIENCE, timeout),
            Some(Fault::Slow(delay)) if delay >= PATIENCE => (PATIENCE, timeout),
            Some(Fault::Slow(delay)) => (delay, self.look_up(&question)),
            Some(Fault::ServerFailure) => (self.delay, DnsAnswer::Failed(DnsFailure::ServerFailure)),
            Some(Fault::NoSuchName) => (self.delay, DnsAnswer::NoSuchName { ttl_s: Some(NEGATIVE_TTL_S) }),
            None => (self.delay, self.look_up(&question)),
        };
        self.sequence += 1;
        self.answers.insert((now + after, self.sequence), (node, ask, answer));
        self.asked.push((now, node, question));
    }

    /// The node's process has died: its shell went with it.
    pub fn forget(&mut self, node: NodeId) {
        self.answers.retain(|_, (asker, ..)| *asker != node);
    }

    /// Answers that have arrived by `now`.
    pub fn tick(&mut self, now: Time) -> Vec<(NodeId, DnsAsk, DnsAnswer)> {
        let mut arrived = Vec::new();
        while let Some(entry) = self.answers.first_entry().filter(|entry| entry.key().0 <= now) {
            arrived.push(entry.remove());
        }
        arrived
    }

    pub fn next_due(&self) -> Option<Time> {
        self.answers.first_key_value().map(|((at, _), _)| *at)
    }

    fn look_up(&self, question: &Question) -> DnsAnswer {
        let mut name: &str = &question.name;
        for _ in 0..CHAIN {
            let Some(target) = self.aliases.get(name) else { break };
            name = target;
        }
        let of_kind = |record: &&DnsRecord| match &record.data {
            DnsData::Naptr { .. } => question.kind == Kind::Naptr,
            DnsData::Srv { .. } => question.kind == Kind::Srv,
            DnsData::A(_) => question.kind == Kind::A,
            DnsData::Aaaa(_) => question.kind == Kind::Aaaa,
        };
        let of_name = || self.zone.iter().filter(|record| record.name == name);
        let answers: Vec<DnsRecord> = of_name().filter(of_kind).cloned().collect();
        let ttl_s = Some(NEGATIVE_TTL_S);
        match (answers.is_empty(), of_name().next()) {
            (false, _) => DnsAnswer::Records { answers, additional: Vec::new() },
            (true, Some(_)) => DnsAnswer::NoRecords { ttl_s },
            (true, None) => DnsAnswer::NoSuchName { ttl_s },
        }
    }
}
