//! The checker: it reads what the outside plane carries between the phones and the VIP, and what the inside planes carry
//! to and from nodes, and says of each call whether every promise was kept. It reads no log of ours.

mod call;
mod frame;
mod message;
mod rules;
#[cfg(test)]
mod tests;

pub use self::call::Phase;
pub use self::frame::{Datagram, datagram};
pub use self::message::behind_proxy_header;

use self::call::Call;
use self::message::{Message, Start, head};
use common::time::{Duration, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

/// A call of which nothing has been heard for so long is over: longer than a phone repeats itself, and than a held call is
/// silent here.
const OVER_AFTER: Duration = Duration::from_secs(75);
/// Ladders that are told of each rule that was broken.
const LADDERS: usize = 3;
/// Calls that have ended are kept for their ladders: what their CDRs lack is known at the end only.
const KEPT: usize = 20_000;

/// Where the rack is on the wire.
#[derive(Clone, Debug)]
pub struct Places {
    pub vip: SocketAddrV4,
    /// Of the load manager, on each plane.
    pub load_manager: [Ipv4Addr; 2],
    /// Of node 1, 2, …
    pub nodes: Vec<[Ipv4Addr; 2]>,
    /// Where nodes take SIP.
    pub sip_port: u16,
}

/// What befell the rack, and how many calls it hit in each phase.
#[derive(Clone, Debug)]
pub struct Blow {
    pub at: Time,
    pub words: String,
    /// Only calls at this node were hit; none: all.
    pub node: Option<u16>,
    pub hit: BTreeMap<Phase, u64>,
}

/// What all calls that have ended came to.
#[derive(Debug, Default)]
pub struct Tally {
    pub calls: u64,
    pub answered: BTreeSet<String>,
    pub registrations: u64,
    /// Calls that broke a rule, by their Call-IDs, with which.
    pub wrong: BTreeMap<String, Vec<String>>,
    /// How many broke which rule first, and the ladders of the first of them.
    pub kinds: BTreeMap<String, (u64, Vec<String>)>,
    /// The longest time from a CANCEL to the last sign of ringing.
    pub rang_on: Duration,
}

/// Everything heard so far.
pub struct Wire {
    places: Places,
    calls: BTreeMap<String, Call>,
    blows: Vec<Blow>,
    tally: Tally,
    /// When something left the VIP.
    spoke: Vec<Time>,
    /// When SIP came to which node.
    to_nodes: Vec<(Time, u16, String)>,
    ended: VecDeque<(String, Call)>,
    /// Call-IDs of messages that nobody is to handle, and when something came of them.
    poison: BTreeMap<String, Vec<Time>>,
}

impl Wire {
    pub fn new(places: Places) -> Wire {
        Wire {
            places,
            calls: BTreeMap::new(),
            blows: Vec::new(),
            tally: Tally::default(),
            spoke: Vec::new(),
            to_nodes: Vec::new(),
            ended: VecDeque::new(),
            poison: BTreeMap::new(),
        }
    }

    /// What comes under this Call-ID is to be handled by nobody, and is no call to be judged.
    pub fn poison(&mut self, call_id: &str) {
        self.poison.insert(call_id.to_string(), Vec::new());
    }

    /// How often something came of such a message behind this moment: an answer, or it went on.
    pub fn poison_handled(&self, call_id: &str, since: Time) -> usize {
        self.poison.get(call_id).into_iter().flatten().filter(|at| **at > since).count()
    }

    /// A datagram has arrived on the outside plane.
    pub fn outside(&mut self, at: Time, datagram: &Datagram<'_>) {
        let is_inward = datagram.to == self.places.vip;
        if !is_inward && datagram.from != self.places.vip {
            return;
        }
        let Some(head) = head(datagram.payload) else { return };
        if !is_inward {
            self.spoke.push(at);
        }
        if let Some(handled) = self.poison.get_mut(head.call_id) {
            handled.extend((!is_inward).then_some(at));
            return;
        }
        let message = Message {
            at,
            phone: if is_inward { datagram.from } else { datagram.to },
            is_inward,
            start: head.start,
            cseq: head.cseq,
            method: Arc::from(head.method),
            branch: Arc::from(head.branch),
            from_tag: Arc::from(head.from_tag),
            to_tag: Arc::from(head.to_tag),
        };
        self.calls.entry(head.call_id.to_string()).or_default().messages.push(message);
    }

    /// A datagram has arrived on an inside plane.
    pub fn inside(&mut self, at: Time, datagram: &Datagram<'_>) {
        let node = |address: &Ipv4Addr| {
            let place = self.places.nodes.iter().position(|planes| planes.contains(address))?;
            Some(place as u16 + 1)
        };
        let to = node(datagram.to.ip()).filter(|_| datagram.to.port() == self.places.sip_port);
        let from = node(datagram.from.ip()).filter(|_| self.places.load_manager.contains(datagram.to.ip()));
        let Some(acting) = to.or(from) else { return };
        let Some(head) = behind_proxy_header(datagram.payload).and_then(head) else { return };
        if to.is_some() {
            let what = format!("{} {} from {}", head.method, head.cseq, datagram.from);
            self.to_nodes.push((at, acting, what));
        }
        // Between nodes somebody is asked; who is asked has nothing yet.
        if from.is_none() && !self.places.load_manager.contains(datagram.from.ip()) {
            return;
        }
        let call = self.calls.entry(head.call_id.to_string()).or_default();
        if call.nodes.last().is_none_or(|(_, last)| *last != acting) {
            call.nodes.push((at, acting));
        }
    }

    /// A datagram was lost on an inside plane: who sent it says it again.
    pub fn lost_inside(&mut self, datagram: &Datagram<'_>) {
        let Some(head) = behind_proxy_header(datagram.payload).and_then(head) else { return };
        let is_cancel = head.start == Start::Request && head.method == "CANCEL";
        if is_cancel && self.places.load_manager.contains(datagram.to.ip()) {
            self.calls.entry(head.call_id.to_string()).or_default().lost_cancels += 1;
        }
    }

    /// Something befalls the rack.
    pub fn blow(&mut self, at: Time, words: String, node: Option<u16>) {
        self.blows.push(Blow { at, words, node, hit: BTreeMap::new() });
    }

    /// Judges the calls that are over by now, and forgets them.
    pub fn settle(&mut self, now: Time) {
        let over = |call: &Call| call.messages.is_empty() || now.since(call.last()) > OVER_AFTER;
        let ids: Vec<String> = self.calls.iter().filter(|(_, c)| over(c)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            if let Some(call) = self.calls.remove(&id).filter(|call| !call.messages.is_empty()) {
                self.settle_one(id, call);
            }
        }
        self.to_nodes.retain(|(at, ..)| now.since(*at) < OVER_AFTER);
    }

    /// Judges all, since nothing more will come.
    pub fn finish(&mut self) {
        for (id, call) in std::mem::take(&mut self.calls) {
            if !call.messages.is_empty() {
                self.settle_one(id, call);
            }
        }
    }

    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    pub fn blows(&self) -> &[Blow] {
        &self.blows
    }

    fn settle_one(&mut self, id: String, call: Call) {
        for blow in &mut self.blows {
            if blow.node.is_some() && call.node_at(blow.at) != blow.node {
                continue;
            }
            if let Some(phase) = call.phase_at(blow.at) {
                *blow.hit.entry(phase).or_default() += 1;
            }
        }
        let judgement = rules::judge(&call);
        if judgement.is_registration {
            self.tally.registrations += 1;
        } else {
            self.tally.calls += 1;
        }
        if judgement.is_answered {
            self.tally.answered.insert(id.clone());
        }
        self.tally.rang_on = self.tally.rang_on.max(judgement.rang_on.unwrap_or_default());
        if let Some(first) = judgement.wrong.first() {
            let (count, ladders) = self.tally.kinds.entry(rules::kind(first)).or_default();
            *count += 1;
            if ladders.len() < LADDERS {
                ladders.push(format!("{}: {}", judgement.wrong.join("; "), call.ladder(&id, &befell(&self.blows))));
            }
            self.tally.wrong.insert(id.clone(), judgement.wrong);
        }
        if self.ended.len() == KEPT {
            self.ended.pop_front();
        }
        self.ended.push_back((id, call));
    }

    /// Of a call that has ended, if it is still known.
    pub fn ladder(&self, id: &str) -> String {
        let call = self.ended.iter().find(|(one, _)| one == id);
        call.map_or(format!("{id}: too long ago"), |(_, call)| call.ladder(id, &befell(&self.blows)))
    }

    /// The longest time within `[from, until]` in which nothing left the VIP.
    pub fn silence(&self, from: Time, until: Time) -> Duration {
        let begin = self.spoke.partition_point(|at| *at < from);
        let end = self.spoke.partition_point(|at| *at <= until);
        let moments = [from].into_iter().chain(self.spoke[begin..end].iter().copied()).chain([until]);
        let moments: Vec<Time> = moments.collect();
        moments.windows(2).map(|pair| pair[1].since(pair[0])).max().unwrap_or_default()
    }

    /// SIP messages that came to a node within `[from, until]`.
    pub fn came_to(&self, node: u16, from: Time, until: Time) -> Vec<String> {
        let within = self.to_nodes.iter().filter(|(at, to, _)| *to == node && *at > from && *at < until);
        within.map(|(at, _, what)| format!("{what}, {:?} too late", at.since(from))).collect()
    }

    /// How many calls are under way, and how many of them are held.
    pub fn under_way(&self, now: Time) -> (usize, usize) {
        let phases: Vec<Phase> = self.calls.values().filter_map(|c| c.phase_at(now)).collect();
        (phases.len(), phases.iter().filter(|phase| **phase == Phase::Held).count())
    }
}

fn befell(blows: &[Blow]) -> Vec<(Time, String)> {
    blows.iter().map(|blow| (blow.at, blow.words.clone())).collect()
}
