//! The players: one step of a sequence, taken from the octets.

use super::super::choices::Choices;
use super::super::scan::WIDE;
use super::super::{mangle, seeds};
use super::bench::{ALICE, BOB, BOB_TOO, Bench, CARRIER, STRANGER, VIP};
use cc_node::effect::{Input, LocationFailure};
use common::ids::Level;
use common::location::{LogTime, Outcome, Refusal};
use common::sip::{HeaderId, Reply, SipMessage};
use common::time::Duration;

const PLAYERS: [&str; 6] = [ALICE, BOB, BOB_TOO, CARRIER, STRANGER, VIP];
const METHODS: [&str; 18] = [
    "INVITE",
    "INVITE",
    "INVITE",
    "REGISTER",
    "OPTIONS",
    "BYE",
    "ACK",
    "CANCEL",
    "PRACK",
    "UPDATE",
    "INFO",
    "SUBSCRIBE",
    "NOTIFY",
    "REFER",
    "PUBLISH",
    "MESSAGE",
    "FROBNICATE",
    "invite",
];
const CALLED: [&str; 14] = [
    "sip:bob@rack.test",
    "sip:bob@rack.test",
    "sip:carol@rack.test",
    "sip:dave@rack.test",
    "sip:tick@rack.test",
    "sip:tock@192.0.2.1",
    "sip:00441@rack.test",
    "sip:nobody@rack.test",
    "sip:rack.test",
    "sip:192.0.2.1:5060",
    "sip:1001@safe.test",
    "sip:throughx@elsewhere.example",
    "tel:+44123",
    "sip:bob@10.0.0.2:5060",
];
const MORE: [&str; 16] = [
    "",
    "",
    "",
    "",
    "Max-Breadth: 1\r\n",
    "Max-Breadth: 0\r\n",
    "Max-Forwards: 0\r\n",
    "Max-Forwards: 1\r\n",
    "Proxy-Require: x\r\n",
    "Require: 100rel\r\n",
    "Route: <sip:192.0.2.1;lr>\r\n",
    "Route: <sip:192.0.2.1;lr;sr=EgEAAQ>, <sip:10.9.0.1;lr>\r\n",
    "Route: <sip:10.0.0.2>\r\n",
    "Contact: *\r\nExpires: 0\r\n",
    "Session-Expires: 90\r\nMin-SE: 90\r\n",
    "Record-Route: <sip:10.0.0.1;lr>\r\n",
];
const STATUSES: [u16; 26] = [
    100, 180, 180, 183, 199, 200, 200, 200, 200, 202, 204, 300, 302, 401, 404, 407, 408, 422, 480, 486, 487, 491, 500,
    503, 603, 699,
];
const MOMENTS_MS: [u64; 8] = [1, 100, 500, 4_000, 31_000, 64_000, 200_000, 3_600_000];
/// Of each kind this many are remembered; the oldest go.
const MEMORY: usize = 24;

pub struct Play {
    pub bench: Bench,
    /// Sent by players: by whom, and what.
    sent: Vec<(&'static str, Vec<u8>)>,
    /// Requests that arrived at players.
    requests: Vec<(String, SipMessage)>,
    /// Responses that arrived at players.
    responses: Vec<(String, SipMessage)>,
}

impl Play {
    pub fn new(bench: Bench) -> Play {
        Play { bench, sent: vec![], requests: vec![], responses: vec![] }
    }

    pub fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(16) {
            0..=2 => self.ask(choices),
            3..=6 => self.answer(choices),
            7 => self.follow(choices),
            8..=9 => self.ask_in_dialog(choices),
            10 => self.repeat(choices),
            11 => self.reflect(choices),
            12..=13 => self.bench.pass(Duration::from_millis(choices.pick(&MOMENTS_MS))),
            14 => self.locate(choices),
            _ => {
                let octets = mangle::changed(choices, &seeds::messages());
                self.say(choices.pick(&PLAYERS), octets);
            }
        }
        self.listen();
    }

    /// A request outside of any dialog. Call-IDs, tags and branches are few, so that they meet.
    fn ask(&mut self, choices: &mut Choices<'_>) {
        let (player, method, uri) = (choices.pick(&PLAYERS), choices.pick(&METHODS), choices.pick(&CALLED));
        let (call, tag, cseq, branch) = (choices.below(6), choices.below(3), 1 + choices.below(4), choices.below(8));
        let (more, to_tag) = (choices.pick(&MORE), if choices.one_of_256(20) { ";tag=b0" } else { "" });
        let host = player.split(':').next().unwrap_or_default();
        let from =
            choices.pick(&["sip:alice@rack.test", "sip:alice@rack.test", "sip:1001@safe.test", "sip:+44@carrier"]);
        let to = if method == "REGISTER" { from } else { uri };
        let magic = if choices.one_of_256(240) { "z9hG4bK" } else { "" };
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:5060;branch={magic}{call}{tag}{cseq}{branch};rport\r\n\
             From: <{from}>;tag=a{tag}\r\nTo: <{to}>{to_tag}\r\nCall-ID: call{call}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:alice@{host}:5060>\r\n{more}Content-Length: 0\r\n\r\n"
        );
        self.say_changed(choices, player, text.into_bytes());
    }

    /// A response to a request that arrived, from where it arrived or from elsewhere.
    fn answer(&mut self, choices: &mut Choices<'_>) {
        if self.requests.is_empty() {
            return;
        }
        let newest = self.requests.len() - 1;
        let (at, request) = &self.requests[newest - choices.below(newest + 1).min(newest)];
        let at = PLAYERS.iter().find(|p| *p == at).copied().unwrap_or(BOB);
        let tag = format!("b{}", choices.below(3));
        let mut reply = Reply::to(request, choices.pick(&STATUSES), Some(&tag));
        let host = at.split(':').next().unwrap_or_default();
        reply = reply.header("Contact", format!("<sip:bob@{host}:5060>"));
        if choices.one_of_256(30) {
            reply = reply.header("Require", "100rel").header("RSeq", "1");
        }
        let octets = reply.finish().to_vec();
        let player = if choices.one_of_256(16) { choices.pick(&PLAYERS) } else { at };
        self.say_changed(choices, player, octets);
    }

    /// ACK or CANCEL of an INVITE that a player sent, with the newest To of its responses.
    fn follow(&mut self, choices: &mut Choices<'_>) {
        if self.sent.is_empty() {
            return;
        }
        let (player, octets) = self.sent[choices.below(self.sent.len())].clone();
        let method = choices.pick(&["ACK", "CANCEL"]);
        let mut text = String::from_utf8_lossy(&octets).replace("INVITE", method);
        let call_id = SipMessage::parse(octets.into(), &WIDE).map(|m| m.call_id().to_vec()).unwrap_or_default();
        let to = self.responses.iter().rev().find(|(_, r)| r.call_id() == call_id).and_then(|(_, r)| r.to_tag());
        if let (Some(tag), "ACK") = (to, method) {
            let end = text.find("\r\nCall-ID").unwrap_or(0);
            if !text[..end].contains(";tag=b") {
                text.insert_str(end, &format!(";tag={tag}"));
            }
        }
        self.say_changed(choices, player, text.into_bytes());
    }

    /// A request in a dialog that a response has told of, by one of its sides; now and then with another's token, tags,
    /// Call-ID or number.
    fn ask_in_dialog(&mut self, choices: &mut Choices<'_>) {
        let known: Vec<&SipMessage> =
            self.responses.iter().map(|(_, r)| r).filter(|r| r.header(HeaderId::RecordRoute).is_some()).collect();
        if known.is_empty() {
            return;
        }
        let dialog = known[choices.below(known.len())];
        let other = known[choices.below(known.len())];
        let method = choices.pick(&METHODS);
        let by_caller = choices.one_of_256(160);
        let word = |m: &SipMessage, id| String::from_utf8_lossy(m.header(id).unwrap_or_default()).into_owned();
        let pick = |choices: &mut Choices<'_>| if choices.one_of_256(24) { other } else { dialog };
        let mut routes: Vec<String> =
            pick(choices).values(HeaderId::RecordRoute).map(|r| String::from_utf8_lossy(r).into_owned()).collect();
        let (from, to) = (word(pick(choices), HeaderId::From), word(pick(choices), HeaderId::To));
        let (from, to) = if by_caller { (from, to) } else { (to, from) };
        let call_id = word(pick(choices), HeaderId::CallId);
        let contact = dialog.contacts().ok().and_then(|c| Some(c.first()?.addr()?.uri_text.to_owned()));
        if by_caller {
            routes.reverse();
        }
        let player = if choices.one_of_256(200) { if by_caller { ALICE } else { BOB } } else { choices.pick(&PLAYERS) };
        let uri = match choices.below(8) {
            0 => choices.pick(&CALLED).to_owned(),
            _ if by_caller => contact.unwrap_or_else(|| "sip:bob@10.0.0.2:5060".into()),
            _ => "sip:alice@10.0.0.1:5060".into(),
        };
        let host = player.split(':').next().unwrap_or_default();
        let (cseq, branch, more) = (1 + choices.below(5), choices.octet(), choices.pick(&MORE));
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:5060;branch=z9hG4bKd{branch}\r\nMax-Forwards: 70\r\n\
             Route: {}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:x@{host}:5060>\r\n{}Content-Length: 0\r\n\r\n",
            routes.join(", "),
            if more.starts_with("Max-F") { "" } else { more },
        );
        self.say_changed(choices, player, text.into_bytes());
    }

    /// Word for word again, by the same player or by another.
    fn repeat(&mut self, choices: &mut Choices<'_>) {
        if !self.sent.is_empty() {
            let (player, octets) = self.sent[choices.below(self.sent.len())].clone();
            let player = if choices.one_of_256(40) { choices.pick(&PLAYERS) } else { player };
            self.say(player, octets);
        }
    }

    /// What the engine said comes back to it.
    fn reflect(&mut self, choices: &mut Choices<'_>) {
        let pool = if choices.one_of_256(128) { &self.requests } else { &self.responses };
        if !pool.is_empty() {
            let octets = pool[choices.below(pool.len())].1.bytes().to_vec();
            let player = choices.pick(&PLAYERS);
            self.say_changed(choices, player, octets);
        }
    }

    /// The location server answers a question, perhaps not the oldest, perhaps one that nobody asked.
    fn locate(&mut self, choices: &mut Choices<'_>) {
        let Some(ask) = (!self.bench.asks.is_empty()).then(|| choices.pick(&self.bench.asks)) else { return };
        let (level, time) = (Level(2), LogTime(self.bench.now.millis()));
        let outcome = match choices.below(6) {
            0 => Err(LocationFailure::Timeout),
            1 => Err(LocationFailure::Refused("disk\r\nfull".into())),
            2 => Ok(Outcome::Refused { level, refusal: Refusal::OutOfOrder }),
            3 => Ok(Outcome::Done { level }),
            4 => Err(LocationFailure::Full),
            _ => Ok(Outcome::Registered { level, time, bindings: vec![] }),
        };
        self.bench.watch.begins();
        self.bench.input(Input::Location { ask, outcome });
    }

    /// One in five has a field or an octet that is not as it should be.
    fn say_changed(&mut self, choices: &mut Choices<'_>, player: &'static str, mut octets: Vec<u8>) {
        if choices.one_of_256(50) {
            for _ in 0..1 + choices.below(3) {
                mangle::change(choices, &mut octets, &[seeds::INVITE, seeds::RINGING, seeds::BYE]);
            }
        }
        self.say(player, octets);
    }

    fn say(&mut self, player: &'static str, octets: Vec<u8>) {
        self.bench.hear(player, &octets);
        keep(&mut self.sent, (player, octets));
    }

    /// What arrived at the players.
    fn listen(&mut self) {
        for (to, octets) in self.bench.watch.take_said() {
            let Ok(message) = SipMessage::parse(octets.into(), &WIDE) else { continue };
            let heard = if message.is_request() { &mut self.requests } else { &mut self.responses };
            keep(heard, (to.to_string(), message));
        }
    }
}

fn keep<T>(memory: &mut Vec<T>, new: T) {
    if memory.len() == MEMORY {
        memory.remove(0);
    }
    memory.push(new);
}
