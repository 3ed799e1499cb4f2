//! One rack of a simulation: its load manager, its nodes and its location server, between its own networks.

use crate::hosts::dns::DnsHost;
use crate::hosts::load_manager::{LmOut, LoadManagerHost};
use crate::hosts::location::{LocationHost, StreamEvent};
use crate::hosts::node::{NodeHost, Out};
use crate::hosts::timed::Timed;
use crate::network::Datagram;
use crate::prepared::{self, Prepared};
use cc_node::effect::{Cdr, Start};
use common::config::Rack;
use common::ids::{HistoryId, NodeId};
use common::keys::Keys;
use common::location::{Aor, Command};
use common::placement::Placer;
use common::time::{Time, WallMillis};
use location_server::provisioning::digests::subscriber;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// What leaves a rack's hosts.
pub enum SiteOut {
    /// Between the VIP and the world. `of`: as a node handed it over.
    Outside {
        datagram: Datagram,
        of: Option<Datagram>,
    },
    /// On a plane; `sip`: a SIP message under its PROXY header, not control.
    Inside {
        datagram: Datagram,
        sip: bool,
    },
    Cdr(NodeId, Box<Cdr>),
    Start(Box<Start>),
}

pub struct Site {
    pub rack: Arc<Rack>,
    pub keys: Arc<Keys>,
    pub lm: Timed<LoadManagerHost>,
    pub nodes: Vec<Timed<NodeHost>>,
    pub location: Timed<LocationHost>,
    /// The name server that its nodes ask.
    pub dns: DnsHost,
}

impl Site {
    /// Nothing runs yet.
    pub fn new(rack: Arc<Rack>, keys: Arc<Keys>) -> Site {
        let placer = placer(&keys);
        let nodes: Vec<Timed<NodeHost>> = rack
            .cc_nodes
            .iter()
            .map(|c| Timed::new(NodeHost::new(rack.clone(), keys.clone(), placer.clone(), c.clone())))
            .collect();
        let ids = nodes.iter().map(|node| node.id()).collect();
        let lm = Timed::new(LoadManagerHost::new(rack.clone(), keys.clone(), placer));
        let location = Timed::new(LocationHost::new((*keys).clone(), ids, HistoryId(42)));
        Site { rack, keys, lm, nodes, location, dns: DnsHost::new() }
    }

    /// Every process runs and stands in the placement, and nobody beats: for ladders in which nobody dies.
    pub fn steady(prepared: &Prepared, now: Time, wall: WallMillis) -> Site {
        let mut site = Site::new(prepared.rack.clone(), prepared.keys.clone());
        site.start_location(now, wall);
        site.lm.start_steady(prepared.table.clone());
        for node in &mut site.nodes {
            let boot = prepared::boot(node.id());
            node.start_steady(now, boot, prepared.table.placement().clone());
        }
        site
    }

    /// The location server with the subscribers that the rack file names.
    pub fn start_location(&mut self, now: Time, wall: WallMillis) {
        self.location.start(now, wall);
        for range in &self.rack.subscribers {
            let own = self.rack.default_domain().map(|domain| domain.name.clone());
            let Some(domain) = range.domain.clone().or(own) else { continue };
            for user in range.first..=range.last {
                let subscriber = subscriber(Aor::new(&user.to_string(), &domain), &range.password);
                self.location.command(now, wall, Command::PutSubscriber { subscriber, only_new: true });
            }
        }
    }

    pub fn vip(&self) -> SocketAddr {
        self.rack.listeners[0].socket_address()
    }

    pub fn owns(&self, address: SocketAddr) -> bool {
        self.lm.is_address(address) || self.nodes.iter().any(|node| node.owns(address))
    }

    pub fn next_due(&self) -> Option<Time> {
        let nodes = self.nodes.iter().filter_map(Timed::next_due);
        let others = [self.lm.next_due(), self.location.next_due(), self.dns.next_due()];
        nodes.chain(others.into_iter().flatten()).min()
    }

    /// Everything that is due now, each host in its turn.
    pub fn turn(&mut self, now: Time, wall: WallMillis) -> Vec<SiteOut> {
        let mut out = Vec::new();
        for (node, event) in self.location.tick(now, wall) {
            out.extend(self.stream(now, wall, node, event));
        }
        for (node, ask, answer) in self.dns.tick(now) {
            if let Some(n) = self.nodes.iter().position(|host| host.id() == node) {
                let sent = self.nodes[n].dns(now, wall, ask, answer, &mut self.location);
                out.extend(self.of_node(now, n, sent));
            }
        }
        if self.lm.next_due().is_some_and(|at| at <= now) {
            out.extend(from_lm(self.lm.tick(now)));
        }
        for n in 0..self.nodes.len() {
            if self.nodes[n].next_due().is_some_and(|at| at <= now) {
                let sent = self.nodes[n].tick(now, wall, &mut self.location);
                out.extend(self.of_node(now, n, sent));
            }
        }
        out
    }

    /// A datagram arrived at an address of this rack.
    pub fn deliver(&mut self, now: Time, wall: WallMillis, datagram: &Datagram) -> Vec<SiteOut> {
        if self.lm.is_address(datagram.to) {
            return from_lm(self.lm.receive(now, datagram));
        }
        let Some(n) = self.nodes.iter().position(|node| node.owns(datagram.to)) else { return Vec::new() };
        let sent = self.nodes[n].receive(now, wall, datagram, &mut self.location);
        self.of_node(now, n, sent)
    }

    /// A node's worker goes on.
    pub fn unstick(&mut self, now: Time, wall: WallMillis, n: usize) -> Vec<SiteOut> {
        let sent = self.nodes[n].unstick(now, wall, &mut self.location);
        self.of_node(now, n, sent)
    }

    /// A stopped node goes on.
    pub fn resume(&mut self, now: Time, wall: WallMillis, n: usize) -> Vec<SiteOut> {
        let sent = self.nodes[n].resume(now, wall, &mut self.location);
        self.of_node(now, n, sent)
    }

    /// A frame of the location stream reached a node, or the stream broke.
    pub fn stream(&mut self, now: Time, wall: WallMillis, node: NodeId, event: StreamEvent) -> Vec<SiteOut> {
        let Some(n) = self.nodes.iter().position(|host| host.id() == node) else { return Vec::new() };
        let sent = self.nodes[n].stream(now, wall, event, &mut self.location);
        self.of_node(now, n, sent)
    }

    fn of_node(&mut self, now: Time, n: usize, sent: Vec<Out>) -> Vec<SiteOut> {
        let Site { nodes, lm, dns, .. } = self;
        let node = &nodes[n];
        let inside = |from, to, bytes, sip| Some(SiteOut::Inside { datagram: Datagram { from, to, bytes }, sip });
        let one = |out| match out {
            Out::Egress { plane, bytes } => inside(node.sip_address(plane), lm.egress_address(plane), bytes, true),
            Out::Control { plane, bytes } => {
                inside(node.control_address(plane), lm.control_address(plane), bytes, false)
            }
            Out::Shadow { plane, to, bytes } => inside(node.shadow_address(plane), to, bytes, false),
            Out::Inside { plane, to, bytes } => inside(node.sip_address(plane), to, bytes, true),
            Out::Cdr(cdr) => Some(SiteOut::Cdr(node.id(), cdr)),
            Out::Start(start) => Some(SiteOut::Start(start)),
            Out::Dns { ask, question } => {
                dns.ask(now, node.id(), ask, question);
                None
            }
        };
        sent.into_iter().filter_map(one).collect()
    }
}

/// One for all racks with these keys on this thread: what it remembers is a pure function's, and thousands of runs share it.
fn placer(keys: &Keys) -> Placer {
    thread_local! {
        static KNOWN: RefCell<BTreeMap<[u8; 16], Placer>> = const { RefCell::new(BTreeMap::new()) };
    }
    KNOWN.with_borrow_mut(|known| known.entry(keys.placement).or_insert_with(|| Placer::new(keys.placement)).clone())
}

/// As the load manager's effects leave the rack.
pub fn from_lm(sent: Vec<LmOut>) -> Vec<SiteOut> {
    let one = |out| match out {
        LmOut::Outside { from, to, bytes, of } => SiteOut::Outside { datagram: Datagram { from, to, bytes }, of },
        LmOut::Inside { from, to, bytes, sip } => SiteOut::Inside { datagram: Datagram { from, to, bytes }, sip },
    };
    sent.into_iter().map(one).collect()
}
