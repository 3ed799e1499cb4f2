//! The addresses of trunks that this worker probes, as the owner of their slots: an OPTIONS to each, in a client transaction
//! of its own (RFC 3261 §17.1.2), and what came of it. Who owns a slot next goes on from what all have been told.

use crate::probe::{Health, Outcome, Report, Target};
use crate::station::Station;
use crate::transaction::{Address, ClientKey, Due, LegRef, Outgoing, Owner, Subject, Table};
use crate::turn::Turn;
use bytes::Bytes;
use common::branch::{self, LoopPart, TransactionPart, Upstream};
use common::fields::Fields;
use common::ids::{NodeId, Transport};
use common::sip::{Method, MethodKind, SipMessage};
use common::time::{Duration, Time};

/// Whoever has come to probe an address begins so soon; they do not begin together.
const BEGIN: Duration = Duration::from_millis(200);
const SPREAD_MS: u64 = 800;
/// So many names are tried for one whose messages come to this worker and not to another of its node.
const NAMES: u64 = 4_096;

/// A probe under way.
struct Asked {
    call_id: String,
    at: Time,
}

struct Round {
    target: Target,
    /// When it is asked next; none: another worker does it.
    due: Option<Time>,
    asked: Option<Asked>,
}

pub struct Prober {
    rounds: Vec<Round>,
    /// Apart from the calls': what is due here is no context's.
    table: Table,
    /// Requests that this worker has originated.
    counter: u64,
    told: Vec<Report>,
}

impl Prober {
    pub fn new(station: &Station) -> Prober {
        let targets = Target::all(&station.rack, &station.keys.placement);
        let rounds = targets.into_iter().map(|target| Round { target, due: None, asked: None }).collect();
        Prober { rounds, table: Table::new(station.timing), counter: 0, told: Vec::new() }
    }

    /// What has come out since the last call, for all others.
    pub fn take_told(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.told)
    }

    pub fn next_due(&self) -> Option<Time> {
        self.rounds.iter().filter_map(|round| round.due).chain(self.table.next_due()).min()
    }

    /// Another placement stands: some are ours now, and some no longer.
    pub fn placed(&mut self, turn: &Turn<'_>, station: &Station) {
        let placement = &turn.view.placements().current;
        let workers = |node: NodeId| station.rack.node(node).map_or(1, |node| node.workers);
        let lives = placement.live(station.id) == Some(station.boot);
        for round in &mut self.rounds {
            let prober = round.target.prober(placement, workers);
            match (lives && prober == Some((station.id, station.worker)), round.due) {
                (true, None) => {
                    let spread = Duration::from_millis(round.target.hash.0 % SPREAD_MS);
                    round.due = Some(turn.now + BEGIN + spread);
                }
                (false, Some(_)) => {
                    round.due = None;
                    if let Some(asked) = round.asked.take() {
                        self.table.forget_call(station.call_hash(asked.call_id.as_bytes()));
                    }
                }
                _ => {}
            }
        }
    }

    pub fn tick(&mut self, turn: &mut Turn<'_>, station: &Station) {
        while let Some(due) = self.table.expire(turn) {
            if let Some(Due::ClientTimedOut(leg)) = due {
                self.came(turn, leg.leg, Outcome::Silent);
            }
        }
        for at in 0..self.rounds.len() {
            if self.rounds[at].due.is_some_and(|due| due <= turn.now) {
                // Its turn has come again, and the last one is not answered.
                if let Some(asked) = &self.rounds[at].asked {
                    self.table.forget_call(station.call_hash(asked.call_id.as_bytes()));
                    self.came(turn, at, Outcome::Silent);
                }
                self.ask(turn, station, at);
            }
        }
    }

    /// Whether it answers a probe of this worker.
    pub fn response(&mut self, turn: &mut Turn<'_>, station: &Station, response: &SipMessage) -> bool {
        if self.table.is_empty() || response.method().kind() != MethodKind::Options {
            return false;
        }
        let via = response.top_via().ok().filter(|via| station.vip.names_via(via));
        let key = via.and_then(|via| ClientKey::of(&station.keys.branch, &via, &response.method()));
        let Some(client) = key.and_then(|key| self.table.find_client(key)) else { return false };
        let (leg, status) = (self.table.leg(client), response.status());
        if self.table.response(turn, client, status, None)
            && status >= 200
            && let Some(leg) = leg
            && let Some(asked) = self.rounds.get(leg.leg).and_then(|round| round.asked.as_ref())
        {
            let after = turn.now.since(asked.at);
            self.came(turn, leg.leg, Outcome::Answered { status, after });
        }
        true
    }

    fn came(&mut self, turn: &Turn<'_>, at: usize, outcome: Outcome) {
        let Some(round) = self.rounds.get_mut(at) else { return };
        round.asked = None;
        let (trunk, address) = (round.target.trunk, round.target.flow.remote);
        let told = self.told.iter().rev().find(|report| (report.trunk, report.address) == (trunk, address)).cloned();
        let known = told.or_else(|| turn.view.trunk(turn.now, trunk, address));
        let (health, no) = known.map_or((Health::default(), 0), |known| (known.health, known.no));
        let epoch = turn.view.placements().current.epoch();
        let health = health.after(&round.target.rules, outcome);
        self.told.push(Report { trunk, address, epoch, no: no + 1, health });
    }

    fn ask(&mut self, turn: &mut Turn<'_>, station: &Station, at: usize) {
        let Some(call_id) = self.name(station) else { return };
        let round = &mut self.rounds[at];
        round.due = Some(turn.now + Duration::from_secs(u64::from(round.target.rules.every_s.max(1))));
        let options = Options { station, target: &round.target, call_id: &call_id, counter: self.counter };
        let (branch, bytes) = options.write();
        let key = ClientKey::new(&station.keys.branch, &branch, &Method::Options);
        let flow = round.target.flow;
        let address = Address { listener: flow.listener, to: flow.remote, transport: Transport::Udp };
        let subject = Subject { method: MethodKind::Options, address, call: station.call_hash(call_id.as_bytes()) };
        let leg = LegRef { owner: Owner(0), leg: at, upstream: None, call: None, session: None };
        round.asked = Some(Asked { call_id, at: turn.now });
        self.table.open_client(turn, key, subject, Outgoing::new(None, bytes), leg);
    }

    /// A Call-ID that is used once, by which its response finds this worker: the node it finds by the Via's token.
    fn name(&mut self, station: &Station) -> Option<String> {
        let workers = station.rack.node(station.id).map_or(1, |node| node.workers);
        for _ in 0..NAMES {
            self.counter += 1;
            let call_id = format!("{:032x}", self.hash(station, 4));
            if station.call_hash(call_id.as_bytes()).worker(workers) == station.worker {
                return Some(call_id);
            }
        }
        None
    }

    fn hash(&self, station: &Station, kind: u8) -> u128 {
        // The kinds of hash under the branch key are numbered in `common::branch`, `transaction::key` and `call::one`.
        let mut fields = Fields::new(kind);
        fields.raw(&station.id.0.to_be_bytes());
        fields.raw(&station.boot.0.to_be_bytes());
        fields.raw(&station.worker.to_be_bytes());
        fields.raw(&self.counter.to_be_bytes());
        fields.hash128(&station.keys.branch)
    }
}

struct Options<'a> {
    station: &'a Station,
    target: &'a Target,
    call_id: &'a str,
    counter: u64,
}

impl Options<'_> {
    /// Its branch, and the request.
    fn write(&self) -> (String, Bytes) {
        let Options { station, target, call_id, counter } = *self;
        let flow = target.flow;
        let (ours, theirs) = (station.sent_by(flow.listener), flow.remote);
        let (uri, tag) = (format!("sip:{theirs}"), call_id.get(..16).unwrap_or(call_id));
        let transaction = TransactionPart {
            call_id: call_id.as_bytes(),
            from_tag: tag.as_bytes(),
            cseq: 1,
            upstream: Upstream::Own { node: station.id, boot: station.boot, counter },
            uri: uri.as_bytes(),
            route: b"",
            next_hop: flow,
            attempt: 0,
        };
        let loops = LoopPart {
            uri: uri.as_bytes(),
            routes: b"",
            source: b"",
            call_id: call_id.as_bytes(),
            from_tag: tag.as_bytes(),
            to_tag: b"",
            cseq: 1,
        };
        let branch = branch::write(&station.keys.branch, &transaction, &loops);
        let token = station.via_token(call_id.as_bytes());
        let text = format!(
            "OPTIONS {uri} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {ours};branch={branch};sr={token};rport\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:{ours}>;tag={tag}\r\n\
             To: <{uri}>\r\n\
             Call-ID: {call_id}\r\n\
             CSeq: 1 OPTIONS\r\n\
             Contact: <sip:{ours}>\r\n\
             Accept: application/sdp\r\n\
             User-Agent: siprack\r\n\
             Content-Length: 0\r\n\r\n"
        );
        (branch, text.into())
    }
}
