//! One worker's engine with a replica that holds what such a rack holds, and a network of one cable: what is sent to the
//! VIP comes in again. Alice is at 10.0.0.1, Bob at 10.0.0.2 and 10.0.0.3, a carrier at 10.9.0.1, somebody unknown at
//! 10.0.0.66; the VIP is 192.0.2.1. Everything that the engine does passes by [`Watch`].

use super::watch::Watch;
use cc_node::effect::{AskId, Effect, Input, View};
use cc_node::node::{Node, NodeSetup};
use common::config::Rack;
use common::ids::{BootId, Epoch, Level, ListenerId, NodeId};
use common::keys::{Keys, RackKey};
use common::location::{Aor, Binding, Bindings, LogTime, Subscriber};
use common::placement::Placements;
use common::time::{Duration, Time, WallMillis};
use common::wire::proxy::{ProxyHeader, Sent};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

pub const VIP: &str = "192.0.2.1:5060";
pub const ALICE: &str = "10.0.0.1:5060";
pub const BOB: &str = "10.0.0.2:5060";
pub const BOB_TOO: &str = "10.0.0.3:5060";
pub const CARRIER: &str = "10.9.0.1:5060";
pub const STRANGER: &str = "10.0.0.66:5060";

/// Some domains ask for nothing, one for a password; the limits are low, so that they are met.
pub const OPEN: &str = "name: test
listeners: [ { address: 192.0.2.1, port: 5060, transport: udp } ]
domains:
  - { name: rack.test, auth: none, provisioning: open }
  - { name: safe.test, auth: digest, provisioning: closed }
trunks: [ { id: 7, name: carrier, addresses: [\"10.9.0.1\", \"10.9.0.2\"] } ]
routes:
  - { domain: rack.test, prefix: \"00\", trunk: carrier, strip: 2, add: \"+\" }
  - { domain: foreign, prefix: \"through\", trunk: carrier }
limits: { transactions: 60, calls: 12 }
one_machine: { nodes: 1 }
";

/// User, and each contact: URI, where it was registered from, q in thousandths.
type Registered = (&'static str, &'static [(&'static str, &'static str, u16)]);

/// One fork of two, one of two after another, one behind a NAT; and two who call each other in circles.
const REGISTERED: [Registered; 5] = [
    ("bob", &[("sip:bob@10.0.0.2:5060", BOB, 1000), ("sip:bob@10.0.0.3:5060", BOB_TOO, 1000)]),
    ("carol", &[("sip:carol@10.0.0.2:5060", BOB, 900), ("sip:carol@10.0.0.3:5060", BOB_TOO, 500)]),
    ("dave", &[("sip:dave@192.168.1.9:5060", BOB_TOO, 1000)]),
    ("tick", &[("sip:tock@192.0.2.1:5060", VIP, 1000), ("sip:tick@192.0.2.1:5060;x=1", VIP, 1000)]),
    ("tock", &[("sip:tick@192.0.2.1:5060;x=2", VIP, 1000), ("sip:tock@192.0.2.1:5060;x=3", VIP, 1000)]),
];

struct Replica {
    bindings: BTreeMap<Aor, Arc<Bindings>>,
    placements: Placements,
}

impl View for Replica {
    fn bindings(&self, aor: &Aor) -> Option<Arc<Bindings>> {
        self.bindings.get(aor).cloned()
    }

    fn subscriber(&self, aor: &Aor) -> Option<Arc<Subscriber>> {
        let known = aor.domain() == "safe.test" && aor.user().starts_with("100");
        known.then(|| {
            Arc::new(Subscriber { aor: aor.clone(), ha1_md5: [1; 16], ha1_sha256: [1; 32], ha1_sha512_256: None })
        })
    }

    fn log_time(&self, now: Time) -> LogTime {
        LogTime(now.millis())
    }

    fn placements(&self) -> &Placements {
        &self.placements
    }
}

fn replica(domain: &str) -> Replica {
    let binding = |(contact, received, q): &(&str, &str, u16)| Binding {
        contact: contact.to_string(),
        q_thousandths: *q,
        expires_at: LogTime(u64::MAX),
        received: received.parse().unwrap(),
        listener: ListenerId(0),
        path: vec![],
        instance: String::new(),
        user_agent: String::new(),
        version: Level(1),
    };
    let held = REGISTERED.map(|(user, contacts)| {
        let aor = Aor::new(user, domain);
        (aor.clone(), Arc::new(Bindings { aor, bindings: contacts.iter().map(binding).collect() }))
    });
    Replica { bindings: held.into_iter().collect(), placements: Placements::none() }
}

pub struct Bench {
    pub node: Node,
    view: Replica,
    pub now: Time,
    /// Questions to the location server that wait for an answer.
    pub asks: Vec<AskId>,
    pub watch: Watch,
}

/// A rack by its file.
pub fn rack(file: &str) -> Arc<Rack> {
    Arc::new(Rack::from_yaml("test.yaml", file).unwrap().expand())
}

static KEYS: LazyLock<Arc<Keys>> = LazyLock::new(|| Arc::new(Keys::derive(&RackKey([5; 32]))));

/// A new engine; the phones are registered in `domain`.
pub fn bench(rack: &Arc<Rack>, domain: &str) -> Bench {
    let watch = Watch::new(rack);
    let setup = NodeSetup { id: NodeId(1), boot: BootId(1), worker: 0, rack: rack.clone(), keys: KEYS.clone() };
    Bench { node: Node::new(setup), view: replica(domain), now: Time(1), asks: vec![], watch }
}

impl Bench {
    fn wall(&self) -> WallMillis {
        WallMillis(1_800_000_000_000 + self.now.millis())
    }

    /// One datagram from outside, and whatever of the answers goes to the VIP itself.
    pub fn hear(&mut self, from: &str, octets: &[u8]) {
        let mut waiting = VecDeque::from([(from.parse().unwrap(), octets.to_vec())]);
        self.watch.begins();
        while let Some((from, octets)) = waiting.pop_front() {
            self.watch.hears(from, &octets);
            let input = Input::Datagram { header: header(from), message: octets.into() };
            waiting.extend(self.input(input));
        }
    }

    /// Hands in one input; what comes back to the VIP.
    pub fn input(&mut self, input: Input) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut out = Vec::new();
        self.node.handle(self.now, self.wall(), &self.view, input, &mut out);
        self.take(out)
    }

    fn take(&mut self, out: Vec<Effect>) -> Vec<(SocketAddr, Vec<u8>)> {
        let vip: SocketAddr = VIP.parse().unwrap();
        let mut back = Vec::new();
        for effect in out {
            self.watch.sees(&effect);
            match effect {
                Effect::Location { ask, .. } => self.asks.push(ask),
                Effect::Send { to, bytes, .. } if to == vip => back.push((vip, bytes.to_vec())),
                _ => {}
            }
        }
        self.watch.after(self.node.stats(), self.node.calls().len());
        back
    }

    /// Time passes, timer by timer. Each time that the engine names as due must come to something: it never stands still.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut still = 0;
        while let Some(due) = self.node.next_due().filter(|due| *due <= until) {
            still = if due <= self.now { still + 1 } else { 0 };
            assert!(still < 1000, "the engine is due again and again at the same moment");
            self.now = self.now.max(due);
            self.watch.begins();
            let mut out = Vec::new();
            self.node.tick(self.now, self.wall(), &self.view, &mut out);
            let mut waiting: VecDeque<_> = self.take(out).into();
            while let Some((from, octets)) = waiting.pop_front() {
                self.watch.hears(from, &octets);
                waiting.extend(self.input(Input::Datagram { header: header(from), message: octets.into() }));
            }
        }
        self.now = until;
    }

    /// Whatever was left open ends by itself: within ten minutes all but answered calls, within 25 hours those too.
    pub fn comes_to_rest(&mut self) {
        self.pass(Duration::from_secs(600));
        assert_eq!(self.node.stats().transactions, Default::default(), "transactions are left");
        assert_eq!(self.node.stats().calls_in_setup, 0, "calls in set-up are left");
        self.pass(Duration::from_secs(25 * 3600));
        assert_eq!(self.node.calls().len(), 0, "calls are left");
        assert_eq!(self.node.next_due(), None, "a timer is left");
    }
}

fn header(source: SocketAddr) -> ProxyHeader {
    ProxyHeader::ingress(source, VIP.parse().unwrap(), ListenerId(0), BootId(1), Epoch(1), Sent::default())
}
