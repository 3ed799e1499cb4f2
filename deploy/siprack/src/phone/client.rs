//! The phone's client transactions (RFC 3261 §17.1): repeats, patience, and the one answer to a digest challenge.

use super::compose::{Request, contact, sdp};
use super::{Effect, Event, PATIENCE, Phone, T1, T2, digest};
use bytes::Bytes;
use common::sip::{HeaderId, SipMessage};
use common::time::{Duration, Time};
use std::net::SocketAddr;

/// How long a call may ring before the phone forgets it (Timer C of the proxy ends it earlier).
const RINGING_PATIENCE: Duration = Duration::from_secs(300);

/// Why a request was sent; decides what its final response means.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    Register {
        expires_s: u32,
    },
    Options,
    Invite {
        call_id: String,
    },
    Reinvite {
        call_id: String,
    },
    Cancel {
        call_id: String,
    },
    Bye {
        call_id: String,
    },
    /// BYE to a second callee that answered the same INVITE.
    OtherFork,
}

impl Purpose {
    fn method(&self) -> &'static str {
        match self {
            Purpose::Register { .. } => "REGISTER",
            Purpose::Options => "OPTIONS",
            Purpose::Invite { .. } | Purpose::Reinvite { .. } => "INVITE",
            Purpose::Cancel { .. } => "CANCEL",
            Purpose::Bye { .. } | Purpose::OtherFork => "BYE",
        }
    }

    fn call_id(&self) -> &str {
        match self {
            Purpose::Register { .. } | Purpose::Options | Purpose::OtherFork => "",
            Purpose::Invite { call_id }
            | Purpose::Reinvite { call_id }
            | Purpose::Cancel { call_id }
            | Purpose::Bye { call_id } => call_id,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Calling,
    Proceeding,
    /// A final response came; repeats of it are answered with the same ACK.
    Completed,
}

/// Challenges of one request that are answered; those behind the first only if they say that the nonce was stale.
const CHALLENGES: u8 = 3;

/// The answer to a challenge, which one that is.
pub(super) struct Credentials {
    line: String,
    challenges: u8,
}

pub(super) struct Client {
    purpose: Purpose,
    bytes: Bytes,
    to: SocketAddr,
    state: State,
    resend_at: Time,
    interval: Duration,
    give_up_at: Time,
    /// How often it was challenged before.
    challenges: u8,
    ack: Option<Bytes>,
}

impl Client {
    pub(super) fn due(&self) -> Time {
        match self.state {
            State::Completed => self.give_up_at,
            State::Proceeding if self.is_invite() => self.give_up_at,
            _ => self.resend_at.min(self.give_up_at),
        }
    }

    fn is_invite(&self) -> bool {
        self.purpose.method() == "INVITE"
    }
}

impl Phone {
    pub(super) fn register(&mut self, now: Time, expires_s: u32, out: &mut Vec<Effect>) {
        self.register_cseq += 1;
        self.send_outside_dialog(now, Purpose::Register { expires_s }, None, out);
    }

    pub(super) fn options(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.register_cseq += 1;
        self.send_outside_dialog(now, Purpose::Options, None, out);
    }

    /// REGISTER and OPTIONS: the phone's own Call-ID for both, CSeq counted together.
    fn send_outside_dialog(
        &mut self,
        now: Time,
        purpose: Purpose,
        credentials: Option<Credentials>,
        out: &mut Vec<Effect>,
    ) {
        let branch = format!("z9hG4bK{}", self.draw());
        let aor = format!("<sip:{}@{}>", self.settings.user, self.settings.domain);
        let from = format!("{aor};tag={:x}", self.settings.seed);
        let (uri, to, mut extra) = match &purpose {
            Purpose::Register { expires_s } => (
                format!("sip:{}", self.settings.domain),
                aor,
                vec![format!("Contact: <{}>;expires={expires_s}", contact(&self.settings))],
            ),
            _ => {
                let uri = format!("sip:{}", self.settings.domain);
                (uri.clone(), format!("<{uri}>"), vec!["Accept: application/sdp".to_string()])
            }
        };
        let challenges = credentials.as_ref().map_or(0, |c| c.challenges);
        extra.extend(credentials.map(|c| c.line));
        let bytes = Request {
            method: purpose.method(),
            uri: &uri,
            branch: &branch,
            from: &from,
            to: &to,
            call_id: &self.register_call_id,
            cseq: self.register_cseq,
            routes: &[],
            extra: &extra,
            contact: false,
            body: "",
        }
        .write(&self.settings);
        let to = self.settings.proxy;
        self.start_client(now, branch, purpose, to, bytes, challenges, out);
    }

    /// A request of a call, in or before its dialog. `reuse` is a branch to keep (CANCEL keeps the INVITE's, §9.1).
    pub(super) fn send_in_call(
        &mut self,
        now: Time,
        purpose: Purpose,
        reuse: Option<String>,
        credentials: Option<Credentials>,
        out: &mut Vec<Effect>,
    ) {
        let branch = reuse.unwrap_or_else(|| format!("z9hG4bK{}", self.draw()));
        let Some(call) = self.calls.get_mut(purpose.call_id()) else { return };
        let cancels = matches!(purpose, Purpose::Cancel { .. });
        if !cancels {
            call.cseq += 1;
        }
        let challenges = credentials.as_ref().map_or(0, |c| c.challenges);
        let extra: Vec<String> = credentials.into_iter().map(|c| c.line).collect();
        let invites = purpose.method() == "INVITE";
        let body = if invites { sdp(&self.settings, call.cseq) } else { String::new() };
        let to_value = if cancels { call.initial_to.clone() } else { call.remote.clone() };
        let bytes = Request {
            method: purpose.method(),
            uri: &call.remote_target,
            branch: &branch,
            from: &call.own,
            to: &to_value,
            call_id: purpose.call_id(),
            cseq: call.cseq,
            routes: &call.routes,
            extra: &extra,
            contact: invites,
            body: &body,
        }
        .write(&self.settings);
        if invites {
            call.invite_branch = branch.clone();
        }
        let to = call.next_hop(self.settings.proxy);
        self.start_client(now, branch, purpose, to, bytes, challenges, out);
    }

    #[allow(clippy::too_many_arguments)] // each is a field of the new transaction
    pub(super) fn start_client(
        &mut self,
        now: Time,
        branch: String,
        purpose: Purpose,
        to: SocketAddr,
        bytes: Bytes,
        challenges: u8,
        out: &mut Vec<Effect>,
    ) {
        out.push(Effect::Send { to, bytes: bytes.clone() });
        let key = client_key(&branch, purpose.method());
        let client = Client {
            purpose,
            bytes,
            to,
            state: State::Calling,
            resend_at: now + T1,
            interval: T1,
            give_up_at: now + PATIENCE,
            challenges,
            ack: None,
        };
        self.clients.insert(key, client);
    }

    pub(super) fn response(&mut self, now: Time, message: &SipMessage, out: &mut Vec<Effect>) {
        let (Ok(via), Ok(cseq)) = (message.top_via(), message.cseq()) else {
            return self.event(out, Event::Garbage { why: "a response without Via or CSeq".to_string() });
        };
        let method = cseq.method.as_str();
        let key = client_key(via.branch().unwrap_or_default(), method);
        let status = message.status();
        let Some(client) = self.clients.get_mut(&key) else {
            if method == "INVITE" && (200..300).contains(&status) {
                self.repeated_answer(now, message, out);
            }
            return;
        };
        if client.state == State::Completed {
            if let Some(ack) = &client.ack {
                out.push(Effect::Send { to: client.to, bytes: ack.clone() });
            }
            return;
        }
        if status < 200 {
            client.state = State::Proceeding;
            if client.is_invite() {
                client.give_up_at = now + RINGING_PATIENCE;
            } else {
                client.interval = T2;
            }
            let purpose = client.purpose.clone();
            return self.provisional(message, &purpose, out);
        }
        self.final_response(now, &key, message, out);
    }

    fn provisional(&mut self, message: &SipMessage, purpose: &Purpose, out: &mut Vec<Effect>) {
        if let (Purpose::Invite { call_id }, 101..) = (purpose, message.status()) {
            let call_id = call_id.clone();
            if let Some(call) = self.calls.get_mut(&call_id) {
                call.rings();
            }
            self.event(out, Event::Ringing { call_id });
        }
    }

    fn final_response(&mut self, now: Time, key: &str, message: &SipMessage, out: &mut Vec<Effect>) {
        let Some(mut client) = self.clients.remove(key) else { return };
        let status = message.status();
        if client.is_invite() && status >= 300 {
            let ack = ack_for_refusal(&client.bytes, message);
            out.push(Effect::Send { to: client.to, bytes: ack.clone() });
            client.ack = Some(ack);
        }
        let purpose = client.purpose.clone();
        let challenges = client.challenges;
        if !(client.is_invite() && status < 300) {
            client.state = State::Completed;
            client.give_up_at = now + PATIENCE;
            self.clients.insert(key.to_string(), client);
        }
        // A nonce may have gone stale between two requests: its node has died (RFC 3261 §22.3, RFC 7616 §3.3).
        let again = challenges == 0 || challenges < CHALLENGES && digest::is_stale(message);
        if matches!(status, 401 | 407) && again && self.retry_with_credentials(now, &purpose, challenges, message, out)
        {
            return;
        }
        self.conclude(now, purpose, message, out);
    }

    fn conclude(&mut self, now: Time, purpose: Purpose, message: &SipMessage, out: &mut Vec<Effect>) {
        let status = message.status();
        match purpose {
            Purpose::Register { .. } if status < 300 => {
                let contacts = message.values(HeaderId::Contact).count();
                self.event(out, Event::Registered { contacts });
            }
            Purpose::Register { .. } => self.event(out, Event::RegisterRefused { status }),
            Purpose::Options => self.event(out, Event::OptionsAnswered { status }),
            Purpose::Invite { call_id } if status < 300 => self.answered(now, &call_id, message, out),
            Purpose::Invite { call_id } => {
                self.call_over(now, &call_id);
                self.event(out, Event::Refused { call_id, status });
            }
            Purpose::Reinvite { call_id } => {
                if status < 300 {
                    self.acknowledge(&call_id, message, out);
                }
                self.event(out, Event::Reinvited { call_id, status });
            }
            Purpose::Cancel { .. } | Purpose::OtherFork => {}
            Purpose::Bye { call_id } => {
                self.call_over(now, &call_id);
                self.event(out, Event::Ended { call_id, status });
            }
        }
    }

    /// Sends the request again with an answer to the challenge (RFC 3261 §22.2); false if it cannot be answered.
    fn retry_with_credentials(
        &mut self,
        now: Time,
        purpose: &Purpose,
        challenges: u8,
        message: &SipMessage,
        out: &mut Vec<Effect>,
    ) -> bool {
        let uri = match purpose {
            Purpose::Register { .. } | Purpose::Options => format!("sip:{}", self.settings.domain),
            _ => match self.calls.get(purpose.call_id()) {
                Some(call) => call.remote_target.clone(),
                None => return false,
            },
        };
        let cnonce = self.draw();
        let login = (self.settings.user.as_str(), self.settings.password.as_str());
        let Some(line) = digest::answer(login, message, purpose.method(), &uri, &cnonce) else { return false };
        let credentials = Some(Credentials { line, challenges: challenges + 1 });
        match purpose {
            Purpose::Register { .. } | Purpose::Options => {
                self.register_cseq += 1;
                self.send_outside_dialog(now, purpose.clone(), credentials, out);
            }
            Purpose::Cancel { .. } | Purpose::OtherFork => return false,
            _ => self.send_in_call(now, purpose.clone(), None, credentials, out),
        }
        true
    }

    pub(super) fn tick_clients(&mut self, now: Time, out: &mut Vec<Effect>) {
        let due: Vec<String> = self.clients.iter().filter(|(_, c)| c.due() <= now).map(|(k, _)| k.clone()).collect();
        for key in due {
            let Some(client) = self.clients.get_mut(&key) else { continue };
            if client.give_up_at <= now {
                let silent = client.state == State::Completed;
                let purpose = client.purpose.clone();
                self.clients.remove(&key);
                if !silent {
                    let call_id = purpose.call_id().to_string();
                    if !matches!(purpose, Purpose::Reinvite { .. } | Purpose::Cancel { .. }) {
                        self.call_over(now, &call_id);
                    }
                    self.event(out, Event::TimedOut { method: purpose.method().to_string(), call_id });
                }
                continue;
            }
            out.push(Effect::Send { to: client.to, bytes: client.bytes.clone() });
            let doubled = client.interval * 2;
            client.interval = if client.is_invite() { doubled } else { doubled.min(T2) };
            client.resend_at = now + client.interval;
        }
    }
}

fn client_key(branch: &str, method: &str) -> String {
    format!("{branch} {method}")
}

/// The ACK to a 3xx-6xx: Request-URI, top Via, From, Call-ID and Routes of the INVITE, To of the response (§17.1.1.3).
fn ack_for_refusal(invite: &Bytes, response: &SipMessage) -> Bytes {
    let invite = String::from_utf8_lossy(invite);
    let head = invite.split("\r\n\r\n").next().unwrap_or_default();
    let to = response.header(HeaderId::To).map(|v| String::from_utf8_lossy(v).into_owned()).unwrap_or_default();
    let mut lines = Vec::new();
    for line in head.split("\r\n") {
        let name = line.split(':').next().unwrap_or_default();
        match name {
            "To" => lines.push(format!("To: {to}")),
            "CSeq" => lines.push(line.replace("INVITE", "ACK")),
            "Via" | "Max-Forwards" | "Route" | "From" | "Call-ID" => lines.push(line.to_string()),
            _ if line.starts_with("INVITE ") => lines.push(line.replacen("INVITE", "ACK", 1)),
            _ => {}
        }
    }
    lines.push("Content-Length: 0".to_string());
    Bytes::from(lines.join("\r\n") + "\r\n\r\n")
}
