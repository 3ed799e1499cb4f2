//! An actor's transactions (RFC 3261 §17, §13.3.1.4): what it repeats, until when, and what it absorbs.

use super::message::{Message, parameter};
use bytes::Bytes;
use common::time::{Duration, Time};
use std::net::SocketAddr;

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
/// 64 × T1.
const WHOLE: Duration = Duration::from_secs(32);

/// Sends again at doubling intervals.
#[derive(Clone, Debug)]
pub struct Repeat {
    pub at: Time,
    interval: Duration,
    longest: Duration,
    until: Time,
}

impl Repeat {
    pub fn new(now: Time, longest: Duration) -> Repeat {
        Repeat { at: now + T1, interval: T1, longest, until: now + WHOLE }
    }

    /// Whether there is a next time.
    fn again(&mut self) -> bool {
        self.interval = (self.interval * 2).min(self.longest);
        self.at = self.at + self.interval;
        self.at <= self.until
    }
}

/// A request of the actor.
pub struct Client {
    /// Branch and method.
    pub key: (String, String),
    pub bytes: Bytes,
    pub to: SocketAddr,
    pub repeat: Option<Repeat>,
    /// Final responses that came: status and To tag.
    pub finals: Vec<(u16, String)>,
    /// What answers a repeated final response: the ACK, by To tag.
    pub acks: Vec<(String, SocketAddr, Bytes)>,
}

impl Client {
    pub fn new(now: Time, request: &Message, bytes: Bytes, to: SocketAddr) -> Client {
        let method = request.method().to_string();
        let longest = if method == "INVITE" { WHOLE } else { T2 };
        let repeat = (method != "ACK").then(|| Repeat::new(now, longest));
        Client { key: (request.branch(), method), bytes, to, repeat, finals: Vec::new(), acks: Vec::new() }
    }

    /// A response came: whether it is news.
    pub fn hear(&mut self, response: &Message) -> bool {
        let status = response.status();
        let invite = self.key.1 == "INVITE";
        if status >= 200 || invite {
            self.repeat = None;
        } else if let Some(repeat) = &mut self.repeat {
            repeat.interval = T2;
        }
        let heard = (status, response.to_tag());
        if status < 200 {
            return self.finals.is_empty();
        }
        // A 2xx of each callee is news, and the first refusal.
        let known = self.finals.contains(&heard) || (status >= 300 && !self.finals.is_empty());
        if !known {
            self.finals.push(heard);
        }
        !known
    }

    /// The ACK to a 3xx-6xx: the INVITE's Request-URI, Via, Routes, From, Call-ID (§17.1.1.3).
    pub fn ack_to_refusal(&self, response: &Message) -> Option<Bytes> {
        let invite = Message::parse(&self.bytes)?;
        let kept = ["Via", "Max-Forwards", "Route", "From", "Call-ID"];
        let mut headers: Vec<(String, String)> =
            invite.headers.iter().filter(|(n, _)| kept.contains(&n.as_str())).cloned().collect();
        headers.push(("To".to_string(), response.header("To").to_string()));
        headers.push(("CSeq".to_string(), format!("{} ACK", invite.cseq())));
        headers.push(("Content-Length".to_string(), "0".to_string()));
        let ack = Message { first: invite.first.replacen("INVITE", "ACK", 1), headers, body: String::new() };
        Some(ack.write())
    }
}

/// A request that came to the actor.
pub struct Server {
    pub key: (String, String),
    pub request: Message,
    /// Where responses go.
    pub back: SocketAddr,
    pub last: Option<(u16, String, Bytes)>,
    pub repeat: Option<Repeat>,
    pub acked: bool,
}

impl Server {
    pub fn new(request: Message, from: SocketAddr) -> Server {
        let key = (request.branch(), request.method().to_string());
        let via = request.values("Via").first().cloned().unwrap_or_default();
        let back = match parameter(&via, "rport") {
            Some(_) => from,
            None => super::message::response_address(&via).unwrap_or(from),
        };
        Server { key, request, back, last: None, repeat: None, acked: false }
    }

    pub fn is_final(&self) -> bool {
        self.last.as_ref().is_some_and(|(status, _, _)| *status >= 200)
    }

    pub fn respond(&mut self, now: Time, status: u16, tag: &str, bytes: Bytes) {
        self.last = Some((status, tag.to_string(), bytes));
        self.repeat = (status >= 200 && self.key.1 == "INVITE").then(|| Repeat::new(now, T2));
    }

    /// Whether this ACK is for this INVITE's final response.
    pub fn is_acked_by(&self, ack: &Message) -> bool {
        let Some((status, tag, _)) = &self.last else { return false };
        let same = self.request.call_id() == ack.call_id() && self.request.cseq() == ack.cseq();
        match status {
            200..=299 => same && (ack.to_tag() == *tag || ack.to_tag() == self.request.to_tag()),
            300.. => self.key.0 == ack.branch(),
            _ => false,
        }
    }
}

/// Sends what is due by `now` again.
pub fn again(repeat: &mut Option<Repeat>, now: Time) -> bool {
    let Some(one) = repeat.as_mut().filter(|r| r.at <= now) else { return false };
    if !one.again() {
        *repeat = None;
    }
    true
}
