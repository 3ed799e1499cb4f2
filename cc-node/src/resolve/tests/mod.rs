//! Transcripts of look-ups: `?` is a question that goes out, the zone answers it by hand.

mod bounds;
mod failures;
mod sections;

use super::*;
use crate::dns::{DnsData, DnsRecord};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn settings(served: &[(Transport, bool)]) -> Settings {
    Settings {
        served: served.iter().map(|(transport, ipv6)| Served { transport: *transport, ipv6: *ipv6 }).collect(),
        ttl_max: Duration::from_secs(86_400),
        negative_ttl_max: Duration::from_secs(300),
        stale: Duration::from_secs(86_400),
        question_patience: Duration::from_millis(3500),
        impatient_after: Duration::from_millis(500),
        lookup_patience: Duration::from_secs(10),
        entries: 200,
        open_questions: 100,
        lookups: 50,
        targets: 16,
        addresses_a_name: 8,
        hops: 16,
        unwell: 32,
    }
}

const UDP: &[(Transport, bool)] = &[(Transport::Udp, false)];
const UDP_TCP: &[(Transport, bool)] = &[(Transport::Udp, false), (Transport::Tcp, false)];
const ALL: &[(Transport, bool)] = &[(Transport::Udp, false), (Transport::Tcp, false), (Transport::Tls, false)];

/// A resolver, a clock and the questions that are out.
struct Rig {
    resolver: Resolver,
    now: Time,
    out: Vec<Effect>,
    asked: Vec<(DnsAsk, Question)>,
}

impl Rig {
    fn new(served: &[(Transport, bool)]) -> Rig {
        Rig::with(settings(served))
    }

    fn with(settings: Settings) -> Rig {
        let resolver = Resolver::new(settings);
        Rig { resolver, now: Time(1_000_000), out: Vec::new(), asked: Vec::new() }
    }

    fn locate(&mut self, uri: &str) -> Progress {
        self.locate_seeded(uri, 1)
    }

    fn locate_seeded(&mut self, uri: &str, seed: u64) -> Progress {
        let destination = Destination::of(&common::sip::SipUri::parse(uri).unwrap());
        let progress = self.resolver.locate(self.now, &destination, seed, &mut self.out);
        self.take();
        progress
    }

    fn take(&mut self) {
        for effect in self.out.drain(..) {
            let Effect::Dns { ask, question } = effect else { panic!("a resolver only asks: {effect:?}") };
            self.asked.push((ask, question));
        }
    }

    /// The questions that are out, as `naptr example.com`.
    fn questions(&self) -> Vec<String> {
        self.asked.iter().map(|(_, q)| format!("{} {}", q.kind.label(), q.name)).collect()
    }

    /// Answers one open question; what that settled comes back.
    fn answer(&mut self, question: &str, answer: DnsAnswer) -> Vec<Located> {
        let at = self.questions().iter().position(|q| q == question);
        let at = at.unwrap_or_else(|| panic!("{question} was not asked, but {:?}", self.questions()));
        let (ask, _) = self.asked.remove(at);
        let located = self.resolver.answer(self.now, ask, answer, &mut self.out);
        self.take();
        located
    }

    /// Answers everything from the zone until nothing is open.
    fn answer_all(&mut self, zone: &[DnsRecord]) -> Vec<Located> {
        let mut located = Vec::new();
        while let Some((ask, question)) = self.asked.pop() {
            let answer = zone_answer(zone, &question);
            located.extend(self.resolver.answer(self.now, ask, answer, &mut self.out));
            self.take();
        }
        located
    }

    /// Locates with the whole zone at hand.
    fn hops(&mut self, zone: &[DnsRecord], uri: &str, seed: u64) -> Result<Vec<String>, Unresolved> {
        let result = match self.locate_seeded(uri, seed) {
            Progress::Done(hops) => Ok(hops),
            Progress::Failed(error) => Err(error),
            Progress::Waiting(id) => {
                let located = self.answer_all(zone);
                let mine: Vec<_> = located.into_iter().filter(|(l, _)| *l == id).collect();
                assert_eq!(mine.len(), 1, "{uri}: one result");
                mine.into_iter().next().unwrap().1
            }
        };
        result.map(|hops| hops.iter().map(shown).collect())
    }

    fn passes(&mut self, time: Duration) -> Vec<Located> {
        let end = self.now + time;
        let mut located = Vec::new();
        while let Some(due) = self.resolver.next_due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            located.extend(self.resolver.tick(self.now, &mut self.out));
            self.take();
        }
        self.now = end;
        located
    }
}

fn shown(hop: &Hop) -> String {
    format!("{} {}", hop.transport.via_name().to_ascii_lowercase(), hop.address)
}

fn zone_answer(zone: &[DnsRecord], question: &Question) -> DnsAnswer {
    let of_kind = |r: &&DnsRecord| match &r.data {
        DnsData::Naptr { .. } => question.kind == Kind::Naptr,
        DnsData::Srv { .. } => question.kind == Kind::Srv,
        DnsData::A(_) => question.kind == Kind::A,
        DnsData::Aaaa(_) => question.kind == Kind::Aaaa,
    };
    let of_name: Vec<&DnsRecord> = zone.iter().filter(|r| *r.name == *question.name).collect();
    let answers: Vec<DnsRecord> = of_name.iter().copied().filter(of_kind).cloned().collect();
    match (answers.is_empty(), of_name.is_empty()) {
        (false, _) => DnsAnswer::Records { answers, additional: Vec::new() },
        (true, false) => DnsAnswer::NoRecords { ttl_s: Some(60) },
        (true, true) => DnsAnswer::NoSuchName { ttl_s: Some(60) },
    }
}

fn record(name: &str, data: DnsData) -> DnsRecord {
    DnsRecord { name: name.into(), ttl_s: 300, data }
}

fn naptr(name: &str, order: u16, preference: u16, services: &str, replacement: &str) -> DnsRecord {
    let (flags, services, regexp) = ("s".into(), services.into(), String::new());
    record(name, DnsData::Naptr { order, preference, flags, services, regexp, replacement: replacement.into() })
}

fn srv(name: &str, priority: u16, weight: u16, port: u16, target: &str) -> DnsRecord {
    record(name, DnsData::Srv { priority, weight, port, target: target.into() })
}

fn a(name: &str, ip: &str) -> DnsRecord {
    match ip.parse().unwrap() {
        IpAddr::V4(ip) => record(name, DnsData::A(ip)),
        IpAddr::V6(ip) => record(name, DnsData::Aaaa(ip)),
    }
}

fn records(answers: Vec<DnsRecord>) -> DnsAnswer {
    DnsAnswer::Records { answers, additional: Vec::new() }
}

fn failed(failure: DnsFailure) -> DnsAnswer {
    DnsAnswer::Failed(failure)
}

fn hops_of(located: &[Located]) -> Vec<String> {
    match located {
        [(_, Ok(hops))] => hops.iter().map(shown).collect(),
        other => panic!("one look-up that leads somewhere: {other:?}"),
    }
}
