//! Transcripts against one worker's engine: datagrams in, datagrams out, with a fake replica and a clock of our own.
//! Alice is at 10.0.0.1, Bob at 10.0.0.2 and 10.0.0.3, a carrier at 10.9.0.1 and 10.9.0.2; the VIP is 192.0.2.1.

#![allow(clippy::unwrap_used)]

mod calls;
mod calls_at_a_time;
mod dialogs;
mod faults;
mod forks;
mod garbage;
mod identity;
mod inside;
mod late;
mod limits;
mod names;
mod probes;
mod redirections;
mod refusals;
mod session_timers;
mod surplus;
mod takeover;
mod torture;

use super::*;
use crate::effect::{Cdr, RecordNo, Start};
use crate::image::Image;
use crate::record::{Record, What};
use crate::stats::DropReason;
use common::call_hash::CallHash;
use common::config::Rack;
use common::ids::{BootId, Epoch, Level, ListenerId, NodeId, TrunkId};
use common::keys::{Keys, RackKey};
use common::location::{Aor, Binding, Bindings, LogTime, Subscriber};
use common::placement::Placements;
use common::time::Duration;
use common::wire::proxy::Sent;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

pub const VIP: &str = "192.0.2.1:5060";
pub const ALICE: &str = "10.0.0.1:5060";
pub const BOB: &str = "10.0.0.2:5060";
pub const BOB_TOO: &str = "10.0.0.3:5060";
pub const CARRIER: &str = "10.9.0.1:5060";
pub const CARRIER_TOO: &str = "10.9.0.2:5060";

pub const RACK: &str = "name: test
listeners: [ { address: 192.0.2.1, port: 5060, transport: udp } ]
domains:
  - { name: rack.test, auth: none, provisioning: open }
  - { name: safe.test, auth: digest, provisioning: closed }
trunks: [ { id: 7, name: carrier, addresses: [\"10.9.0.1\", \"10.9.0.2\"] } ]
routes:
  - { domain: rack.test, prefix: \"00\", trunk: carrier, strip: 2, add: \"+\" }
  - { domain: foreign, prefix: \"through\", trunk: carrier }
limits: { transactions: 100, calls: 20 }
one_machine: { nodes: 1 }
";

pub struct FakeView {
    bindings: BTreeMap<Aor, Arc<Bindings>>,
    subscribers: BTreeMap<Aor, Arc<Subscriber>>,
    placements: Placements,
    /// What is known of the addresses of trunks.
    trunks: BTreeMap<SocketAddr, Report>,
    /// Shares of new calls: the least that was taken of late, the most that the load manager may think is.
    least: u16,
    most: u16,
}

impl View for FakeView {
    fn bindings(&self, aor: &Aor) -> Option<Arc<Bindings>> {
        self.bindings.get(aor).cloned()
    }

    fn subscriber(&self, aor: &Aor) -> Option<Arc<Subscriber>> {
        self.subscribers.get(aor).cloned()
    }

    fn log_time(&self, now: Time) -> LogTime {
        LogTime(now.millis())
    }

    fn placements(&self) -> &Placements {
        &self.placements
    }

    fn trunk(&self, _: Time, _: TrunkId, address: SocketAddr) -> Option<Report> {
        self.trunks.get(&address).cloned()
    }

    fn trunk_is_up(&self, _: TrunkId, address: SocketAddr) -> bool {
        self.trunks.get(&address).is_none_or(|report| report.health.up)
    }

    fn least_admitted(&self) -> u16 {
        self.least
    }

    fn most_admitted(&self) -> u16 {
        self.most
    }
}

/// One datagram that left.
#[derive(Clone, Debug)]
pub struct Said {
    pub to: String,
    pub text: String,
    pub after: Option<RecordNo>,
    pub listener: ListenerId,
}

impl Said {
    /// Method or status.
    pub fn what(&self) -> &str {
        let mut words = self.text.split(' ');
        let first = words.next().unwrap();
        if first == "SIP/2.0" { words.next().unwrap() } else { first }
    }

    pub fn header<'s>(&'s self, name: &str) -> &'s str {
        self.all(name).next().unwrap_or_else(|| panic!("no {name} in\n{}", self.text))
    }

    pub fn all<'s>(&'s self, name: &str) -> impl Iterator<Item = &'s str> {
        let head = format!("{name}: ");
        self.text.split("\r\n").filter_map(move |line| line.strip_prefix(head.as_str()))
    }

    pub fn branch(&self) -> &str {
        let via = self.header("Via");
        via.split("branch=").nth(1).unwrap().split(';').next().unwrap()
    }

    pub fn uri(&self) -> &str {
        self.text.split(' ').nth(1).unwrap()
    }

    /// The token in the topmost Record-Route.
    pub fn route(&self) -> &str {
        self.header("Record-Route")
    }
}

pub struct Bench {
    pub node: Node,
    rack: Arc<Rack>,
    pub view: FakeView,
    pub now: Time,
    pub records: Vec<Record>,
    /// What a backup that has got all of them holds.
    pub images: BTreeMap<CallHash, Image>,
    pub cdrs: Vec<Cdr>,
    pub starts: Vec<Start>,
    pub missed: Vec<Cdr>,
    pub asks: Vec<Effect>,
    /// What the newest input made leave, as octets.
    pub newest: Vec<Bytes>,
    /// Records are not kept.
    pub lossy: bool,
}

pub fn bench() -> Bench {
    bench_of(RACK)
}

/// The same rack without the domain that asks for authentication.
pub fn open_bench() -> Bench {
    bench_of(&RACK.replace("  - { name: safe.test, auth: digest, provisioning: closed }\n", ""))
}

/// The usual rack with something else in it.
pub fn changed_bench(old: &str, new: &str) -> Bench {
    assert!(RACK.contains(old), "{old}");
    bench_of(&RACK.replace(old, new))
}

fn bench_of(rack: &str) -> Bench {
    let rack = Rack::from_yaml("test.yaml", rack).unwrap().expand();
    let keys = Keys::derive(&RackKey([5; 32]));
    let setup = NodeSetup { id: NodeId(1), boot: BootId(1), worker: 0, rack: Arc::new(rack), keys: Arc::new(keys) };
    let view = FakeView {
        bindings: BTreeMap::new(),
        subscribers: BTreeMap::new(),
        placements: Placements::none(),
        trunks: BTreeMap::new(),
        least: u16::MAX,
        most: u16::MAX,
    };
    let rack = setup.rack.clone();
    let mut bench = Bench {
        node: Node::new(setup),
        rack,
        view,
        now: Time(1),
        records: vec![],
        images: BTreeMap::new(),
        cdrs: vec![],
        starts: vec![],
        missed: vec![],
        asks: vec![],
        newest: vec![],
        lossy: false,
    };
    bench.register("bob@rack.test", &[("sip:bob@10.0.0.2:5060", BOB, 1000)]);
    bench
}

impl Bench {
    pub fn register(&mut self, aor: &str, contacts: &[(&str, &str, u16)]) {
        self.register_by(aor, contacts, &[]);
    }

    pub fn register_by(&mut self, aor: &str, contacts: &[(&str, &str, u16)], path: &[&str]) {
        let (user, domain) = aor.split_once('@').unwrap();
        let aor = Aor::new(user, domain);
        let binding = |(contact, received, q): &(&str, &str, u16)| Binding {
            contact: contact.to_string(),
            q_thousandths: *q,
            expires_at: LogTime(3_600_000),
            received: received.parse().unwrap(),
            listener: ListenerId(0),
            path: path.iter().map(|value| value.to_string()).collect(),
            instance: String::new(),
            user_agent: String::new(),
            version: Level(1),
        };
        let bindings = Bindings { aor: aor.clone(), bindings: contacts.iter().map(binding).collect() };
        self.view.bindings.insert(aor, Arc::new(bindings));
    }

    pub fn subscriber(&mut self, user: &str, domain: &str) {
        let aor = Aor::new(user, domain);
        let subscriber = Subscriber { aor: aor.clone(), ha1_md5: [1; 16], ha1_sha256: [1; 32], ha1_sha512_256: None };
        self.view.subscribers.insert(aor, Arc::new(subscriber));
    }

    /// As octets, for what is no text.
    pub fn octets(&self) -> &[Bytes] {
        &self.newest
    }

    /// A datagram from outside; what the engine says to it. Lines end with `\n` here.
    pub fn hear(&mut self, from: &str, text: &str) -> Vec<Said> {
        self.hear_raw(from, text.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes())
    }

    pub fn hear_raw(&mut self, from: &str, octets: Vec<u8>) -> Vec<Said> {
        let header = header(from.parse().unwrap());
        self.input(Input::Datagram { header, message: octets.into() })
    }

    pub fn wall(&self) -> WallMillis {
        WallMillis(1_800_000_000_000 + self.now.millis())
    }

    /// Octets that need not be text; how many datagrams came of them.
    pub fn hear_bytes(&mut self, from: &str, octets: Vec<u8>) -> usize {
        let mut out = Vec::new();
        let input = Input::Datagram { header: header(from.parse().unwrap()), message: octets.into() };
        self.node.handle(self.now, self.wall(), &self.view, input, &mut out);
        out.iter().filter(|e| matches!(e, Effect::Send { .. })).count()
    }

    /// Answers every open question to the DNS: each name has this one address.
    pub fn answer_dns(&mut self, address: std::net::Ipv4Addr) -> Vec<Said> {
        use crate::dns::{DnsAnswer, DnsData, DnsRecord, Kind};
        let mut said = Vec::new();
        while let Some(at) = self.asks.iter().position(|ask| matches!(ask, Effect::Dns { .. })) {
            let Effect::Dns { ask, question } = self.asks.remove(at) else { unreachable!() };
            let record = DnsRecord { name: question.name.to_string(), ttl_s: 300, data: DnsData::A(address) };
            let answer = match question.kind {
                Kind::A => DnsAnswer::Records { answers: vec![record], additional: vec![] },
                _ => DnsAnswer::NoRecords { ttl_s: Some(60) },
            };
            said.extend(self.input(Input::Dns { ask, answer }));
        }
        said
    }

    pub fn input(&mut self, input: Input) -> Vec<Said> {
        let mut out = Vec::new();
        self.node.handle(self.now, self.wall(), &self.view, input, &mut out);
        self.keep(out)
    }

    /// Time passes, timer by timer; everything that is said meanwhile.
    pub fn pass(&mut self, time: Duration) -> Vec<Said> {
        let until = self.now + time;
        let mut said = Vec::new();
        while let Some(due) = self.node.next_due().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            let mut out = Vec::new();
            self.node.tick(self.now, self.wall(), &self.view, &mut out);
            said.extend(self.keep(out));
        }
        self.now = until;
        said
    }

    /// Checks the order: a record stands before what names it, a CDR behind its record.
    fn keep(&mut self, out: Vec<Effect>) -> Vec<Said> {
        let mut said = Vec::new();
        self.newest.clear();
        for effect in out {
            match effect {
                Effect::Journal(record) => {
                    let image = self.images.entry(record.hash).or_default();
                    image.apply(self.now, &record.call, record.what.clone());
                    if image.is_empty() {
                        self.images.remove(&record.hash);
                    }
                    self.records.push(record);
                }
                Effect::Send { after, to, bytes, listener, .. } => {
                    let known = after.is_none_or(|no| self.records.iter().any(|record| record.no == no));
                    assert!(known || self.lossy, "a message names a record that is not out yet");
                    self.newest.push(bytes.clone());
                    said.push(Said {
                        to: to.to_string(),
                        text: String::from_utf8_lossy(&bytes).into_owned(),
                        after,
                        listener,
                    });
                }
                Effect::Forgotten => self.images.clear(),
                Effect::Inherited { hash, image, .. } => drop(self.images.insert(hash, *image)),
                Effect::Cdr { cdr, .. } => {
                    assert!(self.lossy || matches!(self.records.last().unwrap().what, What::Ended { .. }));
                    self.cdrs.push(*cdr);
                }
                Effect::Started { after, start } => {
                    assert!(self.lossy || self.records.iter().any(|record| record.no == after));
                    self.starts.push(*start);
                }
                Effect::Missed(cdr) => self.missed.push(*cdr),
                ask @ (Effect::Location { .. } | Effect::Dns { .. } | Effect::Inside { .. }) => self.asks.push(ask),
                ask @ (Effect::Admit { .. } | Effect::Counts { .. } | Effect::CallOver { .. }) => self.asks.push(ask),
            }
        }
        said
    }

    /// The record that a message waits for; where that only says which branches begin, the one that told of them.
    pub fn record(&self, no: Option<RecordNo>) -> &What {
        let at = self.records.iter().position(|record| Some(record.no) == no).expect("the message waits for a record");
        match &self.records[at].what {
            What::Started { .. } => &self.records[at - 1].what,
            what => what,
        }
    }
}

pub fn header(source: SocketAddr) -> ProxyHeader {
    ProxyHeader::ingress(source, VIP.parse().unwrap(), ListenerId(0), BootId(1), Epoch(1), Sent::default())
}

/// `what` and address of each, as `180 → 10.0.0.1:5060`.
pub fn ladder(said: &[Said]) -> Vec<String> {
    said.iter().map(|s| format!("{} → {}", s.what(), s.to)).collect()
}

/// A request of Alice's: Call-ID, From tag, CSeq and branch follow from `call` and `cseq`.
pub fn request(method: &str, uri: &str, call: &str, cseq: u32, more: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK{call}{cseq}\nMax-Forwards: 70\n\
         From: <sip:alice@rack.test>;tag=a{call}\nTo: <sip:bob@rack.test>\nCall-ID: {call}@alice\nCSeq: {cseq} {method}\n\
         Contact: <sip:alice@10.0.0.1:5060>\n{more}Content-Length: 0\n\n"
    )
}

pub fn invite(call: &str) -> String {
    request("INVITE", "sip:bob@rack.test", call, 1, "")
}

/// A response of the callee to what it got. `more` is further header lines, `\n` behind each.
pub fn response(to: &Said, status: &str, tag: &str, more: &str) -> String {
    let mut out = format!("SIP/2.0 {status}\r\n");
    for line in to.text.split("\r\n") {
        let name = line.split(':').next().unwrap();
        match name {
            "Via" | "From" | "Call-ID" | "CSeq" | "Record-Route" => out += &format!("{line}\r\n"),
            "To" if line.contains(";tag=") => out += &format!("{line}\r\n"),
            "To" => out += &format!("{line};tag={tag}\r\n"),
            _ => {}
        }
    }
    out + &more.replace('\n', "\r\n") + "Content-Length: 0\r\n\r\n"
}

pub const BOB_CONTACT: &str = "Contact: <sip:bob@10.0.0.2:5060>\n";

/// An answered call: the 200 that Alice got.
pub fn established(bench: &mut Bench, call: &str) -> Said {
    let forwarded = bench.hear(ALICE, &invite(call)).pop().unwrap();
    let ok = bench.hear(BOB, &response(&forwarded, "200 OK", "b", BOB_CONTACT)).pop().unwrap();
    assert_eq!(ok.what(), "200");
    bench.hear(ALICE, &in_dialog("ACK", call, 1, ok.route(), "sip:bob@10.0.0.2:5060"));
    ok
}

/// Alice's request within the dialog with the callee's tag `b`.
pub fn in_dialog(method: &str, call: &str, cseq: u32, route: &str, uri: &str) -> String {
    let branch_of = if method == "ACK" { "ack" } else { "" };
    request(method, uri, call, cseq, &format!("Route: {route}\n"))
        .replace("To: <sip:bob@rack.test>", "To: <sip:bob@rack.test>;tag=b")
        .replace(&format!("z9hG4bK{call}{cseq}"), &format!("z9hG4bK{call}{cseq}{branch_of}{method}"))
}

/// Bob's request within the dialog.
pub fn from_bob(method: &str, call: &str, cseq: u32, route: &str, uri: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bKbob{call}{cseq}\nMax-Forwards: 70\n\
         From: <sip:bob@rack.test>;tag=b\nTo: <sip:alice@rack.test>;tag=a{call}\nCall-ID: {call}@alice\nCSeq: {cseq} {method}\n\
         Contact: <sip:bob@10.0.0.2:5060>\nRoute: {route}\nContent-Length: 0\n\n"
    )
}
