//! What may happen to the hosts of the first rack: they start, die, are stopped and go on, are cut off, are drained.

use crate::hosts::location::StreamEvent;
use crate::hosts::node::DISK;
use crate::network::{Cause, Cut};
use crate::plants::Plant;
use crate::simulation::Simulation;
use crate::site::from_lm;
use common::ids::Plane;
use common::keys::Use;

impl Simulation {
    pub fn start_node(&mut self, n: usize) {
        let (boot, now) = (self.boot(), self.now);
        self.sites[0].nodes[n].start(now, boot);
        self.note(format!("node {} starts", self.nodes()[n].id()));
    }

    /// kill -9, and its disk forgets what was not synced; the agent, if it is there, says `stopped` at once.
    pub fn kill_node(&mut self, n: usize, agent: bool) {
        let site = &mut self.sites[0];
        let id = site.nodes[n].id();
        let boot = site.nodes[n].boot();
        site.nodes[n].kill();
        self.cdrs.retain(|(at, node, _)| *node != id || *at + DISK <= self.now);
        site.dns.forget(id);
        site.location.disconnect(id);
        self.note(format!("node {id} is killed"));
        if let (true, Some(boot)) = (agent, boot) {
            let out = self.sites[0].lm.stopped(self.now, id, boot);
            self.carry_out(from_lm(out));
        }
    }

    /// SIGSTOP.
    pub fn stop_node(&mut self, n: usize) {
        self.sites[0].nodes[n].stop();
        self.note(format!("node {} is stopped", self.nodes()[n].id()));
    }

    /// SIGCONT.
    pub fn resume_node(&mut self, n: usize) {
        self.note(format!("node {} goes on", self.nodes()[n].id()));
        let (now, wall) = (self.now, self.wall());
        let out = self.sites[0].resume(now, wall, n);
        self.carry_out(out);
    }

    pub fn start_lm(&mut self) {
        let (boot, now, nonce) = (self.boot(), self.now, self.chance.number());
        self.sites[0].lm.start(now, boot, nonce);
        self.note("the load manager starts".to_string());
    }

    pub fn kill_lm(&mut self) {
        self.sites[0].lm.kill();
        self.note("the load manager is killed".to_string());
    }

    pub fn start_location(&mut self) {
        let (now, wall) = (self.now, self.wall());
        self.sites[0].location.start(now, wall);
        self.note("the location server starts".to_string());
    }

    pub fn kill_location(&mut self) {
        let (now, wall) = (self.now, self.wall());
        let nodes = self.sites[0].location.kill();
        self.note("the location server is killed".to_string());
        for node in nodes {
            let out = self.sites[0].stream(now, wall, node, StreamEvent::Broken);
            self.carry_out(out);
        }
    }

    /// Its worker stands still; its heart beats.
    pub fn stick_node(&mut self, n: usize) {
        self.sites[0].nodes[n].stick();
        self.note(format!("the worker of node {} stands still", self.nodes()[n].id()));
    }

    pub fn unstick_node(&mut self, n: usize) {
        self.note(format!("the worker of node {} goes on", self.nodes()[n].id()));
        let (now, wall) = (self.now, self.wall());
        let out = self.sites[0].unstick(now, wall, n);
        self.carry_out(out);
    }

    /// A bug in every host of the first rack.
    pub fn plant(&mut self, plant: Option<Plant>) {
        self.sites[0].nodes.iter_mut().for_each(|node| node.plant(plant));
        self.sites[0].lm.plant(plant);
    }

    /// SIGSTOP.
    pub fn stop_lm(&mut self) {
        self.sites[0].lm.stop();
        self.note("the load manager is stopped".to_string());
    }

    /// SIGCONT.
    pub fn resume_lm(&mut self) {
        self.note("the load manager goes on".to_string());
        let now = self.now;
        let out = self.sites[0].lm.resume(now);
        self.carry_out(from_lm(out));
    }

    /// The operator's word to a node.
    pub fn drain_node(&mut self, n: usize, draining: bool) {
        self.sites[0].nodes[n].drain(draining);
        let what = if draining { "is to be drained" } else { "takes new calls again" };
        self.note(format!("node {} {what}", self.nodes()[n].id()));
    }

    /// Another key writes; `old`: how many of those before it still verify.
    pub fn turn_key(&mut self, what: Use, old: u8) {
        let now = self.now;
        let sent = self.sites[0].lm.turn_key(now, what, old);
        self.carry_out(from_lm(sent));
        self.note(format!("the {} key turns", what.label()));
    }

    /// The load manager's file of keys is lost: its next process begins where a new rack does.
    pub fn lose_key_file(&mut self) {
        self.sites[0].lm.lose_file();
    }

    /// As if a node's workers could take only this share of the new calls.
    pub fn admit(&mut self, n: usize, admit: u16) {
        self.sites[0].nodes[n].admit(admit);
    }

    /// Nothing reaches this node (`inwards`) or nothing that it sends arrives, on any plane.
    pub fn cut_node(&mut self, n: usize, inwards: bool, outwards: bool) {
        let of = |ip| {
            let to = inwards.then_some(Cut { from: None, to: Some(ip), port: None });
            to.into_iter().chain(outwards.then_some(Cut { from: Some(ip), to: None, port: None }))
        };
        let cuts: Vec<Cut> = self.nodes()[n].addresses().flat_map(of).collect();
        self.network.cut(Cause::Node(n), cuts);
        self.note(format!("node {} is cut off (inwards {inwards}, outwards {outwards})", self.nodes()[n].id()));
    }

    pub fn mend_node(&mut self, n: usize) {
        self.network.mend(Cause::Node(n));
        self.note(format!("node {} is reached again", self.nodes()[n].id()));
    }

    /// On one plane nothing passes from the load manager to this node (`inwards`), or nothing the other way.
    pub fn cut_way(&mut self, n: usize, plane: Plane, inwards: bool) {
        let lm = self.lm().control_address(plane).ip();
        let node = self.nodes()[n].control_address(plane).ip();
        let (from, to) = if inwards { (lm, node) } else { (node, lm) };
        self.network.cut(Cause::Way(n, plane), [Cut { from: Some(from), to: Some(to), port: None }]);
        let towards = if inwards { "to" } else { "from" };
        self.note(format!("nothing passes {towards} node {} over plane {plane:?}", self.nodes()[n].id()));
    }

    pub fn mend_way(&mut self, n: usize, plane: Plane) {
        self.network.mend(Cause::Way(n, plane));
        self.note(format!("node {} has both ways over plane {plane:?} again", self.nodes()[n].id()));
    }

    /// These two nodes do not reach each other, or do again.
    pub fn part(&mut self, n: usize, m: usize, parted: bool) {
        let (a, b): (Vec<_>, Vec<_>) = (self.nodes()[n].addresses().collect(), self.nodes()[m].addresses().collect());
        let pairs = a.iter().flat_map(|from| b.iter().map(|to| (*from, *to)));
        let cuts = pairs.flat_map(|(a, b)| [(a, b), (b, a)]).map(|(from, to)| Cut {
            from: Some(from),
            to: Some(to),
            port: None,
        });
        match parted {
            true => self.network.cut(Cause::Parted(n, m), cuts),
            false => self.network.mend(Cause::Parted(n, m)),
        }
    }

    /// Another weight for a node in the rack file, which the load manager reads at its next start.
    pub fn reweigh(&mut self, n: usize, weight: u16) {
        let id = self.nodes()[n].id();
        self.sites[0].lm.reweigh(id, weight);
        self.note(format!("node {id} is to weigh {weight}"));
    }

    /// A switch is dead, or works again.
    pub fn plane(&mut self, plane: Plane, works: bool) {
        let lms = self.lm().planes().filter(|(p, _)| *p == plane).map(|(_, ip)| ip);
        let nodes = self.nodes().iter().map(|node| node.sip_address(plane).ip());
        let cuts: Vec<Cut> = lms.chain(nodes).map(|ip| Cut { from: Some(ip), to: None, port: None }).collect();
        match works {
            true => self.network.mend(Cause::Plane(plane)),
            false => self.network.cut(Cause::Plane(plane), cuts),
        }
        self.note(format!("plane {plane:?} {}", if works { "works" } else { "is dead" }));
    }

    /// On one plane so much of everything is lost.
    pub fn lossy_plane(&mut self, plane: Plane, loss: f64) {
        let lms = self.lm().planes().filter(|(p, _)| *p == plane).map(|(_, ip)| ip);
        let addresses = lms.chain(self.nodes().iter().map(|node| node.sip_address(plane).ip())).collect();
        self.network.set_lossy(addresses, loss);
        self.note(format!("plane {plane:?} loses {loss}"));
    }

    /// On every plane so much of everything is lost.
    pub fn lossy_planes(&mut self, loss: f64) {
        let lms = self.lm().planes().map(|(_, ip)| ip);
        let addresses = lms.chain(self.nodes().iter().flat_map(|node| node.addresses())).collect();
        self.network.set_lossy(addresses, loss);
        self.note(format!("the planes lose {loss}"));
    }

    /// Nothing but beacons for this node (`beacons`) or its heartbeats are lost, on every plane.
    pub fn mute(&mut self, n: usize, beacons: bool) {
        let of = |plane| {
            let (node, lm) = (self.nodes()[n].control_address(plane), self.lm().control_address(plane));
            let (from, to) = if beacons { (lm, node) } else { (node, lm) };
            Cut { from: Some(from.ip()), to: Some(to.ip()), port: Some(to.port()) }
        };
        let cuts = Plane::ALL.map(of);
        self.network.cut(Cause::Control(n), cuts);
        let what = if beacons { "hears no beacons" } else { "beats in vain" };
        self.note(format!("node {} {what}", self.nodes()[n].id()));
    }

    pub fn unmute(&mut self, n: usize) {
        self.network.mend(Cause::Control(n));
        self.note(format!("beacons and heartbeats of node {} arrive again", self.nodes()[n].id()));
    }

    /// The wall clock of a node (none: of every host) jumps; no other clock does.
    pub fn jump_wall(&mut self, node: Option<usize>, by_ms: i64) {
        match node {
            Some(n) => self.sites[0].nodes[n].jump_wall(by_ms),
            None => self.jumped_ms += by_ms,
        }
        let whose = node.map_or("every host".to_string(), |n| format!("node {}", self.nodes()[n].id()));
        self.note(format!("the wall clock of {whose} jumps by {by_ms} ms"));
    }
}
