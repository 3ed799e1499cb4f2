//! What one worker of a node knows for good: who it is, the rack, the keys, and what follows from them.
//! Made once by `node::Node::new` and lent to every part of the engine.

use bytes::Bytes;
use common::call_hash::CallHash;
use common::config::Rack;
use common::flow::Flow;
use common::ids::{BootId, ListenerId, NodeId};
use common::keys::Keys;
use common::sip::{Limits, ListenerName, Listeners, Reply, SipMessage};
use common::tag;
use common::time::Duration;
use common::token;
use std::sync::Arc;

pub struct NodeSetup {
    pub id: NodeId,
    pub boot: BootId,
    pub worker: u16,
    pub rack: Arc<Rack>,
    pub keys: Arc<Keys>,
}

/// Timer values of RFC 3261 §17, table 4.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub t1: Duration,
    pub t2: Duration,
    pub t4: Duration,
    /// Timer C (§16.6 step 11).
    pub c: Duration,
}

impl Timing {
    /// After so long a client without an answer repeats its request each T2 (Timer E): 3.5 s.
    pub fn until_each_t2(&self) -> Duration {
        let mut doubled = std::iter::successors(Some(self.t1), |interval| Some(*interval * 2));
        doubled.by_ref().take_while(|interval| *interval < self.t2).sum()
    }

    /// 64 × T1: Timers B, F, H, J, L and M.
    pub fn whole(&self) -> Duration {
        self.t1 * 64
    }
}

pub struct Station {
    pub id: NodeId,
    pub boot: BootId,
    pub worker: u16,
    pub rack: Arc<Rack>,
    pub keys: Arc<Keys>,
    /// Every name of the VIP.
    pub vip: Listeners,
    pub limits: Limits,
    pub timing: Timing,
    /// `host:port` of each listener as it stands in Via and Record-Route.
    sent_by: Vec<String>,
}

impl Station {
    pub fn new(setup: NodeSetup) -> Station {
        let NodeSetup { id, boot, worker, rack, keys } = setup;
        let ms = |ms: u32| Duration::from_millis(u64::from(ms));
        let timers = &rack.timers;
        let timing = Timing {
            t1: ms(timers.t1_ms),
            t2: ms(timers.t2_ms),
            t4: ms(timers.t4_ms),
            c: Duration::from_secs(u64::from(timers.timer_c_s)),
        };
        let limits = rack.limits.of_messages();
        let sent_by = rack.listeners.iter().map(|l| format!("{}:{}", l.advertised_host(), l.port)).collect();
        Station { vip: names(&rack), id, boot, worker, rack, keys, limits, timing, sent_by }
    }

    /// `host:port` of a listener; of the first one where the number is none of ours.
    pub fn sent_by(&self, listener: ListenerId) -> &str {
        self.sent_by.get(usize::from(listener.0)).or(self.sent_by.first()).map_or("", String::as_str)
    }

    pub fn call_hash(&self, call_id: &[u8]) -> CallHash {
        CallHash::of(&self.keys.placement, call_id)
    }

    /// The To tag of our responses to `request` (RFC 3261 §8.2.6.2), the same for a repeat.
    pub fn to_tag(&self, request: &SipMessage) -> String {
        let from_tag = request.from_tag().unwrap_or_default();
        let cseq = request.cseq().map_or(0, |c| c.number);
        tag::write(
            &self.keys.tag,
            request.call_id(),
            from_tag.as_bytes(),
            cseq,
            request.top_via_octets().unwrap_or_default(),
        )
    }

    /// A response of ours, Via completed with the source.
    pub fn reply(
        &self,
        request: &SipMessage,
        source: &Flow,
        status: u16,
        reason: Option<String>,
        headers: Vec<(&'static str, String)>,
    ) -> Bytes {
        // A 100 has none of ours (RFC 3261 §8.2.6.2).
        let tag = (status > 100).then(|| self.to_tag(request));
        let mut reply = Reply::to(request, status, tag.as_deref()).source(source.remote);
        if let Some(reason) = reason {
            reply = reply.reason(reason);
        }
        headers.into_iter().fold(reply, |reply, (name, value)| reply.header(name, value)).finish()
    }

    /// The via token for this Call-ID: the value of `;sr=` in our Via.
    pub fn via_token(&self, call_id: &[u8]) -> String {
        let mut token = Vec::with_capacity(16);
        token::via::write(&self.keys.token, self.id, call_id, &mut token);
        String::from_utf8(token).unwrap_or_default()
    }
}

fn names(rack: &Rack) -> Listeners {
    let mut names = Vec::new();
    for listener in &rack.listeners {
        let name = |host: String| ListenerName { host, port: listener.port, transport: listener.transport };
        names.push(name(listener.address.to_string()));
        names.extend(listener.advertise.clone().map(name));
    }
    Listeners::new(&names)
}
