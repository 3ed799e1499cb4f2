//! A scripted endpoint: it says exactly what a ladder tells it to, when it tells it to, with the tags, routes and
//! headers it names; it keeps RFC 3261's timers for what must be repeated, and nothing else of its own.
//!
//! - [`message`]: how it reads; [`dialog`]: what it writes; `repeats`: its transactions.
//! - [`Habits`]: what it does by itself.

pub mod dialog;
pub mod message;
mod repeats;

use bytes::Bytes;
use common::time::Time;
use dialog::{Answer, Dialog, Draft};
use message::{Message, host_port};
use repeats::{Client, Server, again};
use std::collections::VecDeque;
use std::net::SocketAddr;

/// What an actor does without being told.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// 200 to a CANCEL, and 487 to its INVITE if that has no final answer yet (§9.2).
    pub stops_when_cancelled: bool,
    /// 200 to a BYE.
    pub answers_bye: bool,
    /// ACK to each 2xx (§13.2.2.4).
    pub acknowledges: bool,
    /// Repeats by the timers of §17 and §13.3.1.4, and answers repeats with what it said.
    pub repeats: bool,
    /// A dead machine: it hears nothing.
    pub silent: bool,
    /// With this, to an OPTIONS.
    pub answers_options: Option<u16>,
}

impl Default for Habits {
    fn default() -> Self {
        Habits {
            stops_when_cancelled: true,
            answers_bye: true,
            acknowledges: true,
            repeats: true,
            silent: false,
            answers_options: None,
        }
    }
}

/// An INVITE of this actor, and what came of it.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub call_id: String,
    pub from_tag: String,
    pub cseq: u32,
    /// Status and To tag of each final response, the first of each.
    pub finals: Vec<(u16, String)>,
}

/// An INVITE that came to this actor, and what it said to it.
#[derive(Clone, Debug)]
pub struct Invitation {
    pub call_id: String,
    pub from_tag: String,
    pub cseq: u32,
    pub branch: String,
    /// The newest status; 0 for none yet.
    pub status: u16,
    pub tag: String,
    pub acked: bool,
}

/// Something that reached the actor.
#[derive(Clone, Debug)]
pub struct Heard {
    pub at: Time,
    pub message: Message,
    /// It had heard this before: a repeat.
    pub repeat: bool,
}

pub struct Actor {
    /// Above its column, and the user part of its URIs.
    pub name: String,
    pub domain: String,
    pub address: SocketAddr,
    /// Where requests without a route go.
    pub proxy: SocketAddr,
    pub habits: Habits,
    /// What was not asked for yet.
    pub inbox: VecDeque<Message>,
    pub heard: Vec<Heard>,
    seed: u64,
    draws: u64,
    clients: Vec<Client>,
    servers: Vec<Server>,
    acks: Vec<String>,
}

pub type Sends = Vec<(SocketAddr, Bytes)>;

impl Actor {
    pub fn new(name: &str, domain: &str, address: SocketAddr, proxy: SocketAddr, seed: u64) -> Actor {
        Actor {
            name: name.to_string(),
            domain: domain.to_string(),
            address,
            proxy,
            habits: Habits::default(),
            inbox: VecDeque::new(),
            heard: Vec::new(),
            seed,
            draws: 0,
            clients: Vec::new(),
            servers: Vec::new(),
            acks: Vec::new(),
        }
    }

    pub fn contact(&self) -> String {
        format!("sip:{}@{}", self.name, self.address)
    }

    pub fn aor(&self) -> String {
        format!("sip:{}@{}", self.name, self.domain)
    }

    pub fn sdp(&self, version: u32) -> String {
        let ip = self.address.ip();
        format!(
            "v=0\r\no={} 1 {version} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 49172 RTP/AVP 0\r\n",
            self.name
        )
    }

    /// A word that no other actor of this run draws.
    pub fn draw(&mut self) -> String {
        self.draws += 1;
        let mut x = self.seed ^ self.draws.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        x = (x ^ (x >> 31)).wrapping_mul(0x94D0_49BB_1331_11EB);
        format!("{:x}{}", x ^ (x >> 29), self.draws)
    }

    /// A call to `uri` that nobody has answered yet.
    pub fn attempt(&mut self, uri: &str) -> Dialog {
        let (call_id, tag) = (self.draw(), self.draw());
        Dialog {
            call_id: format!("{call_id}@{}", self.address.ip()),
            local: format!("{} <{}>;tag={tag}", self.name, self.aor()),
            remote: format!("<{uri}>"),
            target: uri.to_string(),
            routes: Vec::new(),
            cseq: 0,
        }
    }

    /// Sends a request; its branch comes back.
    pub fn send(&mut self, now: Time, mut draft: Draft) -> (String, Sends) {
        if draft.branch.is_empty() {
            draft.branch = format!("z9hG4bK{}", self.draw());
        }
        let bytes = draft.write(self);
        let to = draft.to_address.unwrap_or(self.proxy);
        let branch = draft.branch.clone();
        if let Some(request) = Message::parse(&bytes).filter(|m| m.method() != "ACK") {
            let mut client = Client::new(now, &request, bytes.clone(), to);
            client.repeat = client.repeat.filter(|_| self.habits.repeats);
            self.clients.push(client);
        } else if draft.method == "ACK" {
            let tag = message::parameter(&draft.to, "tag").unwrap_or_default();
            if let Some(client) = self.invite_of(&draft.call_id, draft.cseq) {
                client.acks.push((tag, to, bytes.clone()));
            }
        }
        (branch, vec![(to, bytes)])
    }

    fn invite_of(&mut self, call_id: &str, cseq: u32) -> Option<&mut Client> {
        self.clients.iter_mut().find(|c| {
            c.key.1 == "INVITE" && Message::parse(&c.bytes).is_some_and(|m| m.call_id() == call_id && m.cseq() == cseq)
        })
    }

    /// The branch of the newest INVITE of this call, for its CANCEL.
    pub fn invite_branch(&self, call_id: &str) -> Option<String> {
        let named =
            |c: &&Client| c.key.1 == "INVITE" && Message::parse(&c.bytes).is_some_and(|m| m.call_id() == call_id);
        self.clients.iter().rev().find(named).map(|c| c.key.0.clone())
    }

    /// Answers a request that it has heard; one that it has given a final answer has that.
    pub fn answer(&mut self, now: Time, request: &Message, answer: &Answer) -> Sends {
        let bytes = answer.write(self, request);
        let key = (request.branch(), request.method().to_string());
        let repeats = self.habits.repeats;
        let Some(server) = self.servers.iter_mut().find(|s| s.key == key) else { return Vec::new() };
        if server.is_final() {
            return Vec::new();
        }
        server.respond(now, answer.status, &answer.tag, bytes.clone());
        server.repeat = server.repeat.take().filter(|_| repeats);
        vec![(server.back, bytes)]
    }

    /// Whether it has given this request a final answer.
    pub fn has_answered(&self, request: &Message) -> bool {
        self.servers.iter().any(|s| s.key.0 == request.branch() && s.key.1 == request.method() && s.is_final())
    }

    pub fn receive(&mut self, now: Time, from: SocketAddr, bytes: Bytes) -> Sends {
        let Some(message) = Message::parse(&bytes).filter(|_| !self.habits.silent) else { return Vec::new() };
        let (repeat, sends) =
            if message.is_request() { self.request(now, from, &message) } else { self.response(now, &message) };
        self.heard.push(Heard { at: now, message: message.clone(), repeat });
        if !repeat {
            self.inbox.push_back(message);
        }
        sends
    }

    fn request(&mut self, now: Time, from: SocketAddr, request: &Message) -> (bool, Sends) {
        if request.method() == "ACK" {
            for server in self.servers.iter_mut().filter(|s| s.is_acked_by(request)) {
                server.repeat = None;
                server.acked = true;
            }
            let known = self.acks.contains(&request.branch());
            self.acks.push(request.branch());
            return (known, Vec::new());
        }
        let key = (request.branch(), request.method().to_string());
        if let Some(server) = self.servers.iter().find(|s| s.key == key) {
            let last = server.last.as_ref().filter(|_| self.habits.repeats);
            return (true, last.map(|(_, _, bytes)| (server.back, bytes.clone())).into_iter().collect());
        }
        self.servers.push(Server::new(request.clone(), from));
        let sends = match request.method() {
            "CANCEL" if self.habits.stops_when_cancelled => self.cancelled(now, request),
            "BYE" if self.habits.answers_bye => self.answer(now, request, &Answer::new(200, "")),
            "OPTIONS" if self.habits.answers_options.is_some() => {
                let status = self.habits.answers_options.unwrap_or(200);
                self.answer(now, request, &Answer::new(status, "options"))
            }
            _ => Vec::new(),
        };
        (false, sends)
    }

    fn cancelled(&mut self, now: Time, cancel: &Message) -> Sends {
        let key = (cancel.branch(), "INVITE".to_string());
        let invite = self.servers.iter().find(|s| s.key == key);
        let Some((invite, rings)) = invite.map(|s| (s.request.clone(), !s.is_final())) else {
            return self.answer(now, cancel, &Answer::new(481, "unknown"));
        };
        let tag = self.tag_of(&invite);
        let mut sends = self.answer(now, cancel, &Answer::new(200, &tag));
        if rings {
            sends.extend(self.answer(now, &invite, &Answer::new(487, &tag)));
        }
        sends
    }

    /// The tag that it has answered this INVITE with, or one of its own.
    fn tag_of(&mut self, invite: &Message) -> String {
        let said = self.servers.iter().find(|s| s.key.0 == invite.branch() && s.key.1 == "INVITE");
        let said = said.and_then(|s| s.last.as_ref()).map(|(_, tag, _)| tag.clone()).filter(|tag| !tag.is_empty());
        said.unwrap_or_else(|| self.draw())
    }

    fn response(&mut self, now: Time, response: &Message) -> (bool, Sends) {
        let key = (response.branch(), response.method().to_string());
        let acknowledges = self.habits.acknowledges;
        let Some(at) = self.clients.iter().position(|c| c.key == key) else { return (false, Vec::new()) };
        let client = &mut self.clients[at];
        let news = client.hear(response);
        if key.1 != "INVITE" || response.status() < 200 {
            return (!news, Vec::new());
        }
        let tag = response.to_tag();
        if !news {
            let ack = client.acks.iter().find(|(t, _, _)| *t == tag).map(|(_, to, bytes)| (*to, bytes.clone()));
            let refused = || client.ack_to_refusal(response).filter(|_| response.status() >= 300);
            return (true, ack.or_else(|| Some((client.to, refused()?))).into_iter().collect());
        }
        if response.status() >= 300 {
            let Some(ack) = client.ack_to_refusal(response) else { return (false, Vec::new()) };
            let to = client.to;
            client.acks.push((tag, to, ack.clone()));
            return (false, vec![(to, ack)]);
        }
        if !acknowledges {
            return (false, Vec::new());
        }
        let (_, sends) = self.send(now, Dialog::answered(response).request("ACK"));
        (false, sends)
    }

    pub fn attempts(&self) -> impl Iterator<Item = Attempt> + '_ {
        let invites = self.clients.iter().filter(|c| c.key.1 == "INVITE");
        invites.filter_map(|client| {
            let invite = Message::parse(&client.bytes)?;
            let (call_id, cseq) = (invite.call_id().to_string(), invite.cseq());
            Some(Attempt { call_id, from_tag: invite.from_tag(), cseq, finals: client.finals.clone() })
        })
    }

    pub fn invitations(&self) -> impl Iterator<Item = Invitation> + '_ {
        self.servers.iter().filter(|s| s.key.1 == "INVITE").map(|server| {
            let (status, tag) = server.last.as_ref().map(|(s, t, _)| (*s, t.clone())).unwrap_or_default();
            let tag = if server.request.to_tag().is_empty() { tag } else { server.request.to_tag() };
            let (call_id, cseq) = (server.request.call_id().to_string(), server.request.cseq());
            let (branch, from_tag) = (server.key.0.clone(), server.request.from_tag());
            Invitation { call_id, from_tag, cseq, branch, status, tag, acked: server.acked }
        })
    }

    pub fn next_due(&self) -> Option<Time> {
        let clients = self.clients.iter().filter_map(|c| c.repeat.as_ref());
        clients.chain(self.servers.iter().filter_map(|s| s.repeat.as_ref())).map(|r| r.at).min()
    }

    pub fn tick(&mut self, now: Time) -> Sends {
        let mut sends = Vec::new();
        for client in &mut self.clients {
            if again(&mut client.repeat, now) {
                sends.push((client.to, client.bytes.clone()));
            }
        }
        for server in &mut self.servers {
            if let (true, Some((_, _, bytes))) = (again(&mut server.repeat, now), &server.last) {
                sends.push((server.back, bytes.clone()));
            }
        }
        sends
    }
}

impl Dialog {
    /// The caller's side as a 2xx alone tells it: From is the own value.
    pub fn answered(response: &Message) -> Dialog {
        let attempt = Dialog {
            call_id: response.call_id().to_string(),
            local: response.header("From").to_string(),
            remote: String::new(),
            target: String::new(),
            routes: Vec::new(),
            cseq: response.cseq(),
        };
        attempt.of_response(response)
    }

    /// Where the next request goes.
    pub fn next_hop(&self) -> Option<SocketAddr> {
        host_port(&self.routes.first().map_or(self.target.clone(), |r| message::address_of(r)))
    }
}
