//! Answers of the DNS, true, false and hostile, in any order, beside look-ups of any destination: each look-up has one
//! result, in bounded time; hops are few, each once, and none that an answer alone made reach nobody or everybody; nothing
//! grows beyond its bound; the same story ends the same way.

use super::choices::{Choices, at_length};
use super::{dictionary, fuzz};
use cc_node::dns::{DnsAnswer, DnsAsk, DnsData, DnsFailure, DnsRecord, Question};
use cc_node::effect::Effect;
use cc_node::resolve::{Destination, Hop, Located, LookupId, Progress, Resolver, Settings};
use common::config::Rack;
use common::ids::Transport;
use common::sip::SipUri;
use common::time::{Duration, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

const RACK: &str = "name: test
listeners:
  - { address: 192.0.2.1, port: 5060, transport: udp }
  - { address: \"2001:db8::1\", port: 5060, transport: udp }
domains: [ { name: rack.test } ]
one_machine: { nodes: 1 }
";
const ENTRIES: usize = 24;
const OPEN: usize = 10;
const LOOKUPS: usize = 12;
const UNWELL: usize = 8;

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    let rack = Rack::from_yaml("test.yaml", RACK).unwrap().expand();
    let bounds = Settings::of(&rack);
    Settings { entries: ENTRIES, open_questions: OPEN, lookups: LOOKUPS, unwell: UNWELL, ..bounds }
});

const URIS: [&str; 10] = [
    "sip:d.example",
    "sips:d.example",
    "sip:d.example;transport=tcp",
    "sip:d.example;transport=udp",
    "sip:d.example:5080",
    "sip:a.d.example",
    "sip:b.d.example:5060",
    "sip:192.0.2.7",
    "sip:[2001:db8::7]:5070",
    "sip:d.example;maddr=a.d.example",
];
const NAMES: [&str; 10] = [
    "d.example",
    "a.d.example",
    "b.d.example.",
    "_sip._udp.d.example",
    "_sip._tcp.d.example",
    "_sips._tcp.d.example",
    "D.EXAMPLE",
    ".",
    "",
    "a..b",
];

fn name(choices: &mut Choices<'_>) -> String {
    match choices.below(8) {
        0 => String::from_utf8_lossy(choices.some(70)).into_owned(),
        1 => String::from_utf8_lossy(dictionary::word(choices)).repeat(1 + choices.below(40)),
        _ => choices.pick(&NAMES).to_string(),
    }
}

fn record(choices: &mut Choices<'_>) -> DnsRecord {
    let word = |choices: &mut Choices<'_>, words: &[&str]| choices.pick(words).to_string();
    let data = match choices.below(8) {
        0 | 1 => DnsData::Naptr {
            order: choices.word() % 3,
            preference: choices.word() % 3,
            flags: word(choices, &["s", "S", "a", "u", "", "ss"]),
            services: word(choices, &["SIP+D2U", "sip+d2u", "SIP+D2T", "SIPS+D2T", "E2U+sip", ""]),
            regexp: word(choices, &["", "", "", "!^.*$!sip:x@y!"]),
            replacement: name(choices),
        },
        2..=4 => DnsData::Srv {
            priority: choices.word() % 3,
            weight: choices.word(),
            port: choices.pick(&[5060, 5060, 0, 65_535]),
            target: name(choices),
        },
        5 | 6 => DnsData::A(choices.pick(&[[192, 0, 2, 1], [192, 0, 2, 2], [0; 4], [224, 0, 0, 1], [255; 4]]).into()),
        _ => DnsData::Aaaa(choices.pick(&[1u128, 0, 0x2001_0db8 << 96 | 9, 0xff02 << 112 | 1]).into()),
    };
    DnsRecord { name: name(choices), ttl_s: choices.pick(&[0, 1, 30, 300, i32::MAX as u32, u32::MAX]), data }
}

fn answer(choices: &mut Choices<'_>) -> DnsAnswer {
    let ttl_s = choices.pick(&[None, Some(0), Some(5), Some(u32::MAX)]);
    match choices.below(12) {
        0 => DnsAnswer::NoSuchName { ttl_s },
        1 => DnsAnswer::NoRecords { ttl_s },
        2 => DnsAnswer::Failed(choices.pick(&[DnsFailure::Timeout, DnsFailure::ServerFailure, DnsFailure::Full])),
        _ => {
            let mut some = |most: usize| (0..choices.below(most)).map(|_| record(choices)).collect::<Vec<_>>();
            let (mut answers, additional) = (some(8), some(6));
            // More than anybody looks at.
            if choices.one_of_256(8)
                && let Some(first) = answers.first().cloned()
            {
                answers.extend(std::iter::repeat_n(first, 1000));
            }
            DnsAnswer::Records { answers, additional }
        }
    }
}

struct Play {
    resolver: Resolver,
    now: Time,
    out: Vec<Effect>,
    asked: Vec<(DnsAsk, Question)>,
    /// Look-ups that wait, with the port that was named.
    waiting: BTreeMap<LookupId, Option<u16>>,
    told: Vec<Located>,
    hops: Vec<Hop>,
}

impl Play {
    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(12) {
            0..=3 => self.locate(choices),
            4..=7 => self.answer(choices),
            8 => self.pass(choices.pick(&[1, 400, 600, 3_000, 40_000, 400_000])),
            9 => {
                let Some(hop) = self.hops.last().copied() else { return };
                let wait = choices.pick(&[None, Some(Duration::ZERO), Some(Duration::from_secs(1 << 31))]);
                self.resolver.failed(self.now, hop, wait);
            }
            10 => {
                let hops = std::mem::take(&mut self.hops);
                hops.iter().for_each(|hop| self.resolver.succeeded(hop));
            }
            _ => {
                if let Some((id, _)) = self.waiting.pop_first() {
                    self.resolver.forget(id);
                }
            }
        }
        self.bounded();
    }

    fn locate(&mut self, choices: &mut Choices<'_>) {
        let destination = match choices.below(6) {
            0 => Destination::host(&name(choices), choices.pick(&[None, Some(5070)]), None),
            _ => Destination::of(&SipUri::parse(choices.pick(&URIS)).unwrap()),
        };
        let seed = u64::from(choices.octet());
        match self.resolver.locate(self.now, &destination, seed, &mut self.out) {
            Progress::Waiting(id) => {
                assert!(self.waiting.insert(id, destination.port).is_none(), "a look-up's number came twice");
            }
            Progress::Done(hops) if destination.ip().is_none() => self.fit(&hops),
            Progress::Done(hops) => assert_eq!(hops.len(), 1),
            Progress::Failed(error) => assert!([404, 503].contains(&error.status())),
        }
        self.take();
    }

    fn answer(&mut self, choices: &mut Choices<'_>) {
        let ask = match self.asked.is_empty() || choices.one_of_256(10) {
            // Nobody asked for it, or not any more.
            true => DnsAsk(u64::from(choices.octet())),
            false => self.asked.swap_remove(choices.below(self.asked.len())).0,
        };
        let located = self.resolver.answer(self.now, ask, answer(choices), &mut self.out);
        self.tell(located);
    }

    fn pass(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        let mut turns = 0;
        while let Some(due) = self.resolver.next_due().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            let located = self.resolver.tick(self.now, &mut self.out);
            self.tell(located);
            turns += 1;
            assert!(turns < 10_000, "it is due again and again");
        }
        self.now = until;
    }

    fn tell(&mut self, located: Vec<Located>) {
        for (id, result) in &located {
            assert!(self.waiting.remove(id).is_some(), "a second result of one look-up, or of one that was forgotten");
            match result {
                Ok(hops) => self.fit(hops),
                Err(error) => assert!([404, 503].contains(&error.status())),
            }
        }
        self.told.extend(located);
        self.take();
    }

    fn fit(&mut self, hops: &[Hop]) {
        assert!((1..=SETTINGS.hops).contains(&hops.len()));
        assert_eq!(hops.iter().collect::<BTreeSet<_>>().len(), hops.len(), "a hop twice");
        for hop in hops {
            let ip = hop.address.ip();
            let everybody = matches!(ip, std::net::IpAddr::V4(ip) if ip.is_broadcast()) || ip.is_multicast();
            assert!(!ip.is_unspecified() && !everybody && hop.address.port() > 0, "{hop:?}");
            assert_eq!(hop.transport, Transport::Udp, "no listener of ours has it");
        }
        self.hops = hops.to_vec();
    }

    fn take(&mut self) {
        for effect in self.out.drain(..) {
            let Effect::Dns { ask, question } = effect else { panic!("a resolver only asks: {effect:?}") };
            let labels = question.name.split('.').all(|l| (1..=63).contains(&l.len()));
            assert!(labels && question.name.len() <= 253 && question.name.is_ascii(), "{question:?}");
            self.asked.push((ask, question));
        }
    }

    fn bounded(&self) {
        let c = self.resolver.counters();
        assert!(c.entries as usize <= ENTRIES && c.open as usize <= OPEN && c.unwell as usize <= UNWELL, "{c:?}");
        assert!(c.waiting as usize <= LOOKUPS && c.waiting as usize == self.waiting.len(), "{c:?}");
    }
}

fn play(octets: &[u8]) -> Vec<Located> {
    let mut choices = Choices::new(octets);
    let resolver = Resolver::new(SETTINGS.clone());
    let (now, out, asked, told) = (Time(1_000_000), vec![], vec![], vec![]);
    let mut play = Play { resolver, now, out, asked, waiting: BTreeMap::new(), told, hops: vec![] };
    for _ in 0..300 {
        if choices.are_over() {
            break;
        }
        play.step(&mut choices);
    }
    play.pass(60_000);
    assert!(play.waiting.is_empty(), "a look-up waits for ever");
    assert_eq!(play.resolver.counters().open, 0, "a question is open for ever");
    play.told
}

fn check(octets: &[u8]) {
    assert_eq!(play(octets), play(octets), "the same again");
}

#[test]
fn fuzz() {
    fuzz!("dns", 1000, |octets: &[u8]| at_length(octets, 2500, check));
}
