//! What the phone answers (RFC 3261 §8.2, §9.2, §12.1.1, §15.1.2), repeats included.

use super::call::{Call, Resend, State, address, route_set, text};
use super::compose::{contact, sdp};
use super::{ANSWERS_KEPT, Effect, Event, Phone, Pickup};
use bytes::Bytes;
use common::sip::{HeaderId, Method, Reply, SipMessage};
use common::time::Time;
use std::net::SocketAddr;

/// An INVITE in hand and the newest response to it.
pub(super) struct Incoming {
    pub(super) message: SipMessage,
    pub(super) branch: String,
    pub(super) from: SocketAddr,
    pub(super) response: Bytes,
}

impl Phone {
    pub(super) fn request(&mut self, now: Time, from: SocketAddr, message: &SipMessage, out: &mut Vec<Effect>) {
        let key = format!("{} {}", branch_of(message), message.method().as_str());
        match message.method() {
            Method::Ack => return self.ack(now, message, out),
            Method::Invite => return self.invite(now, from, message, out),
            _ => {}
        }
        if let Some((_, answer)) = self.answers.iter().find(|(k, _)| *k == key) {
            return out.push(Effect::Send { to: from, bytes: answer.clone() });
        }
        let status = match message.method() {
            Method::Cancel => self.cancelled(now, message, out),
            Method::Bye => self.ended_by_peer(now, message, out),
            Method::Options | Method::Info | Method::Notify | Method::Message | Method::Update => 200,
            _ => 405,
        };
        let tag = self.local_tag(message);
        let mut reply = Reply::to(message, status, Some(&tag));
        if matches!(status, 200 | 405) && message.method() != Method::Cancel {
            reply = reply.header("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, NOTIFY, MESSAGE, UPDATE");
        }
        let bytes = reply.finish();
        self.answers.push_back((key, bytes.clone()));
        if self.answers.len() > ANSWERS_KEPT {
            self.answers.pop_front();
        }
        out.push(Effect::Send { to: from, bytes });
    }

    fn invite(&mut self, now: Time, from: SocketAddr, message: &SipMessage, out: &mut Vec<Effect>) {
        let call_id = text(Some(message.call_id()));
        let branch = branch_of(message);
        let in_dialog = message.to_tag().is_some();
        match self.calls.get(&call_id) {
            Some(call) if call.incoming.as_ref().is_some_and(|i| i.branch == branch) => {
                let Some(incoming) = &call.incoming else { return };
                out.push(Effect::Send { to: from, bytes: incoming.response.clone() });
                self.event(out, Event::IncomingRepeated { call_id });
            }
            Some(call) if in_dialog && call.state != State::Over => self.reinvited(now, from, message, call_id, out),
            Some(_) if !in_dialog => {
                let tag = self.local_tag(message);
                out.push(Effect::Send { to: from, bytes: Reply::to(message, 482, Some(&tag)).finish() });
                self.event(out, Event::RangTwice { call_id });
            }
            None if !in_dialog => self.called(now, from, message, call_id, out),
            _ => out.push(Effect::Send { to: from, bytes: Reply::to(message, 481, message.to_tag()).finish() }),
        }
    }

    fn called(&mut self, now: Time, from: SocketAddr, message: &SipMessage, call_id: String, out: &mut Vec<Effect>) {
        let tag = self.local_tag(message);
        let (status, answer_at) = match self.settings.pickup {
            Pickup::After(wait) => (180, Some(now + wait)),
            Pickup::Never => (180, None),
            Pickup::Refuse(status) => (status, None),
        };
        let response =
            Reply::to(message, status, Some(&tag)).header("Contact", format!("<{}>", contact(&self.settings))).finish();
        let caller = text(message.header(HeaderId::From));
        let call = Call {
            state: if status < 200 { State::Ringing } else { State::Over },
            own: format!("{};tag={tag}", text(message.header(HeaderId::To))),
            remote: caller.clone(),
            initial_to: caller.clone(),
            remote_target: address(&text(message.header(HeaderId::Contact))),
            routes: route_set(message),
            cseq: 0,
            invite_branch: String::new(),
            ack: None,
            incoming: Some(Incoming {
                message: message.clone(),
                branch: branch_of(message),
                from,
                response: response.clone(),
            }),
            answer_at,
            resend: None,
            forget_at: None,
        };
        self.calls.insert(call_id.clone(), call);
        out.push(Effect::Send { to: from, bytes: response });
        if status >= 200 {
            self.refused(now, &call_id);
        } else {
            self.event(out, Event::Incoming { call_id, from: caller });
        }
    }

    /// A 3xx-6xx is repeated until its ACK comes (§17.2.1, Timer G).
    fn refused(&mut self, now: Time, call_id: &str) {
        self.call_over(now, call_id);
        if let Some(call) = self.calls.get_mut(call_id) {
            call.resend = Some(Resend::from(now));
        }
    }

    pub(super) fn answer(&mut self, now: Time, call_id: &str, out: &mut Vec<Effect>) -> Option<String> {
        self.calls.get(call_id).filter(|c| c.state == State::Ringing && c.incoming.is_some())?;
        self.pick_up(now, call_id, out);
        Some(call_id.to_string())
    }

    /// Sends the 200 and repeats it until the ACK.
    pub(super) fn pick_up(&mut self, now: Time, call_id: &str, out: &mut Vec<Effect>) {
        let contact = format!("<{}>", contact(&self.settings));
        let body = sdp(&self.settings, 1);
        let Some(call) = self.calls.get_mut(call_id) else { return };
        call.answer_at = None;
        call.state = State::Answering;
        call.resend = Some(Resend::from(now));
        let Some(incoming) = &mut call.incoming else { return };
        let tag = call.own.rsplit_once("tag=").map(|(_, tag)| tag.to_string());
        let reply = Reply::to(&incoming.message, 200, tag.as_deref()).header("Contact", contact.as_str());
        incoming.response = reply.body("application/sdp", body).finish();
        out.push(Effect::Send { to: incoming.from, bytes: incoming.response.clone() });
    }

    fn reinvited(&mut self, now: Time, from: SocketAddr, message: &SipMessage, call_id: String, out: &mut Vec<Effect>) {
        let contact = format!("<{}>", contact(&self.settings));
        let body = sdp(&self.settings, number(message));
        let Some(call) = self.calls.get_mut(&call_id) else { return };
        if let Some(value) = message.header(HeaderId::Contact) {
            call.remote_target = address(&text(Some(value)));
        }
        let reply = Reply::to(message, 200, message.to_tag()).header("Contact", contact.as_str());
        let response = reply.body("application/sdp", body).finish();
        out.push(Effect::Send { to: from, bytes: response.clone() });
        call.incoming = Some(Incoming { message: message.clone(), branch: branch_of(message), from, response });
        call.resend = Some(Resend::from(now));
        self.event(out, Event::ReinvitedByPeer { call_id });
    }

    fn ack(&mut self, _now: Time, message: &SipMessage, out: &mut Vec<Effect>) {
        let call_id = text(Some(message.call_id()));
        let Some(call) = self.calls.get_mut(&call_id) else { return };
        let ours = call.incoming.as_ref().is_some_and(|i| number(&i.message) == number(message));
        if !ours {
            return;
        }
        call.resend = None;
        if call.state == State::Answering {
            call.state = State::Established;
            self.event(out, Event::Confirmed { call_id });
        }
    }

    fn cancelled(&mut self, now: Time, message: &SipMessage, out: &mut Vec<Effect>) -> u16 {
        let call_id = text(Some(message.call_id()));
        let Some(call) = self.calls.get_mut(&call_id) else { return 481 };
        let Some(incoming) = call.incoming.as_mut().filter(|i| i.branch == branch_of(message)) else { return 481 };
        if call.state != State::Ringing {
            return 200;
        }
        let tag = call.own.rsplit_once("tag=").map(|(_, tag)| tag.to_string());
        incoming.response = Reply::to(&incoming.message, 487, tag.as_deref()).finish();
        out.push(Effect::Send { to: incoming.from, bytes: incoming.response.clone() });
        self.refused(now, &call_id);
        self.event(out, Event::CancelledHere { call_id });
        200
    }

    fn ended_by_peer(&mut self, now: Time, message: &SipMessage, out: &mut Vec<Effect>) -> u16 {
        let call_id = text(Some(message.call_id()));
        let to_tag = message.to_tag().unwrap_or_default().to_string();
        match self.calls.get(&call_id) {
            Some(call) if call.state != State::Over && call.own.ends_with(&format!("tag={to_tag}")) => {}
            _ => return 481,
        }
        self.call_over(now, &call_id);
        self.event(out, Event::EndedByPeer { call_id });
        200
    }

    /// The request's To tag, else one that is the same for every repeat.
    fn local_tag(&self, message: &SipMessage) -> String {
        match message.to_tag() {
            Some(tag) => tag.to_string(),
            None => {
                let sum = message
                    .call_id()
                    .iter()
                    .fold(self.settings.seed, |h, b| h.wrapping_mul(0x100_0000_01B3) ^ u64::from(*b));
                format!("{sum:x}")
            }
        }
    }
}

fn branch_of(message: &SipMessage) -> String {
    message.top_via().ok().and_then(|v| v.branch().map(str::to_string)).unwrap_or_default()
}

fn number(message: &SipMessage) -> u32 {
    message.cseq().map_or(0, |cseq| cseq.number)
}
