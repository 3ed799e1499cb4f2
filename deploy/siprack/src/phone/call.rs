//! The phone's calls from either side: dialogs (RFC 3261 §12), the ACK to a 2xx (§13.2.2.4), the end (§15).

use super::client::Purpose;
use super::compose::Request;
use super::{Effect, Event, PATIENCE, Phone, T1, T2};
use bytes::Bytes;
use common::sip::{HeaderId, SipMessage};
use common::time::{Duration, Time};
use std::net::SocketAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Caller: INVITE sent.
    Inviting,
    /// Either side: it rings.
    Ringing,
    /// Callee: 200 sent, no ACK yet.
    Answering,
    Established,
    /// Kept for repeats until `forget_at`.
    Over,
}

pub(super) struct Call {
    pub(super) state: State,
    /// Own From/To value with tag, and the far end's.
    pub(super) own: String,
    pub(super) remote: String,
    /// The To value of the first INVITE (no tag): what its CANCEL carries.
    pub(super) initial_to: String,
    pub(super) remote_target: String,
    pub(super) routes: Vec<String>,
    pub(super) cseq: u32,
    pub(super) invite_branch: String,
    /// Caller: the ACK to the last 2xx with its CSeq, to be repeated with it.
    pub(super) ack: Option<(u32, Bytes)>,
    /// Callee: the INVITE in hand.
    pub(super) incoming: Option<super::server::Incoming>,
    pub(super) answer_at: Option<Time>,
    pub(super) resend: Option<Resend>,
    pub(super) forget_at: Option<Time>,
}

/// A 2xx is repeated until its ACK comes (§13.3.1.4).
pub(super) struct Resend {
    pub(super) at: Time,
    pub(super) interval: Duration,
    pub(super) give_up_at: Time,
}

impl Call {
    pub(super) fn is_established(&self) -> bool {
        self.state == State::Established
    }

    pub(super) fn rings(&mut self) {
        if self.state == State::Inviting {
            self.state = State::Ringing;
        }
    }

    pub(super) fn due(&self) -> Option<Time> {
        [self.answer_at, self.resend.as_ref().map(|r| r.at), self.forget_at].into_iter().flatten().min()
    }

    /// The first route's address, else where everything goes.
    pub(super) fn next_hop(&self, proxy: SocketAddr) -> SocketAddr {
        self.routes.first().and_then(|r| host_port(&address(r))).unwrap_or(proxy)
    }
}

impl Phone {
    pub(super) fn call(&mut self, now: Time, to: &str, call_id: String, out: &mut Vec<Effect>) -> String {
        let uri = match to.contains(':') {
            true => to.to_string(),
            false => format!("sip:{to}@{}", self.settings.domain),
        };
        let tag = self.draw();
        let call = Call {
            state: State::Inviting,
            own: format!("<sip:{}@{}>;tag={tag}", self.settings.user, self.settings.domain),
            remote: format!("<{uri}>"),
            initial_to: format!("<{uri}>"),
            remote_target: uri,
            routes: Vec::new(),
            cseq: 0,
            invite_branch: String::new(),
            ack: None,
            incoming: None,
            answer_at: None,
            resend: None,
            forget_at: None,
        };
        self.calls.insert(call_id.clone(), call);
        self.send_in_call(now, Purpose::Invite { call_id: call_id.clone() }, None, None, out);
        call_id
    }

    pub(super) fn cancel(&mut self, now: Time, call_id: &str, out: &mut Vec<Effect>) -> Option<String> {
        let call = self.calls.get(call_id)?;
        if !matches!(call.state, State::Inviting | State::Ringing) {
            return None;
        }
        let branch = call.invite_branch.clone();
        self.send_in_call(now, Purpose::Cancel { call_id: call_id.to_string() }, Some(branch), None, out);
        Some(call_id.to_string())
    }

    pub(super) fn hangup(&mut self, now: Time, call_id: &str, out: &mut Vec<Effect>) -> Option<String> {
        self.calls.get(call_id).filter(|c| c.is_established())?;
        self.send_in_call(now, Purpose::Bye { call_id: call_id.to_string() }, None, None, out);
        Some(call_id.to_string())
    }

    pub(super) fn reinvite(&mut self, now: Time, call_id: &str, out: &mut Vec<Effect>) -> Option<String> {
        self.calls.get(call_id).filter(|c| c.is_established())?;
        self.send_in_call(now, Purpose::Reinvite { call_id: call_id.to_string() }, None, None, out);
        Some(call_id.to_string())
    }

    /// The 2xx to our INVITE: the dialog stands (§12.1.2) and the ACK goes out.
    pub(super) fn answered(&mut self, _now: Time, call_id: &str, message: &SipMessage, out: &mut Vec<Effect>) {
        let Some(call) = self.calls.get_mut(call_id) else { return };
        call.state = State::Established;
        call.remote = text(message.header(HeaderId::To));
        call.routes = route_set(message);
        call.routes.reverse();
        self.acknowledge(call_id, message, out);
        self.event(out, Event::Answered { call_id: call_id.to_string() });
    }

    /// ACK to a 2xx: a request of the dialog with the INVITE's CSeq number and a branch of its own.
    pub(super) fn acknowledge(&mut self, call_id: &str, message: &SipMessage, out: &mut Vec<Effect>) {
        let branch = format!("z9hG4bK{}", self.draw());
        let Some(call) = self.calls.get_mut(call_id) else { return };
        if let Some(contact) = message.header(HeaderId::Contact) {
            call.remote_target = address(&text(Some(contact)));
        }
        let cseq = message.cseq().map_or(call.cseq, |c| c.number);
        let bytes = Request {
            method: "ACK",
            uri: &call.remote_target,
            branch: &branch,
            from: &call.own,
            to: &call.remote,
            call_id,
            cseq,
            routes: &call.routes,
            extra: &[],
            contact: false,
            body: "",
        }
        .write(&self.settings);
        out.push(Effect::Send { to: call.next_hop(self.settings.proxy), bytes: bytes.clone() });
        call.ack = Some((cseq, bytes));
    }

    /// A 2xx to an INVITE whose transaction is done: a repeat is acknowledged again, another fork's is ended (§13.2.2.4).
    pub(super) fn repeated_answer(&mut self, now: Time, message: &SipMessage, out: &mut Vec<Effect>) {
        let call_id = text(Some(message.call_id()));
        let Some(call) = self.calls.get(&call_id) else { return };
        let same = message.to_tag().is_some_and(|tag| call.remote.contains(&format!("tag={tag}")));
        if same {
            if let Some((cseq, ack)) = &call.ack
                && message.cseq().is_ok_and(|c| c.number == *cseq)
            {
                out.push(Effect::Send { to: call.next_hop(self.settings.proxy), bytes: ack.clone() });
            }
            return;
        }
        self.end_other_fork(now, &call_id, message, out);
    }

    fn end_other_fork(&mut self, now: Time, call_id: &str, message: &SipMessage, out: &mut Vec<Effect>) {
        let Some(call) = self.calls.get_mut(call_id) else { return };
        let kept = (call.remote.clone(), call.routes.clone(), call.remote_target.clone(), call.ack.clone());
        call.remote = text(message.header(HeaderId::To));
        call.routes = route_set(message);
        call.routes.reverse();
        self.acknowledge(call_id, message, out);
        let branch = format!("z9hG4bK{}", self.draw());
        let Some(call) = self.calls.get_mut(call_id) else { return };
        let bye = Request {
            method: "BYE",
            uri: &call.remote_target,
            branch: &branch,
            from: &call.own,
            to: &call.remote,
            call_id,
            cseq: call.cseq + 1,
            routes: &call.routes,
            extra: &[],
            contact: false,
            body: "",
        }
        .write(&self.settings);
        let to = call.next_hop(self.settings.proxy);
        (call.remote, call.routes, call.remote_target, call.ack) = kept;
        self.start_client(now, branch, Purpose::OtherFork, to, bye, 0, out);
    }

    pub(super) fn call_over(&mut self, now: Time, call_id: &str) {
        if let Some(call) = self.calls.get_mut(call_id) {
            call.state = State::Over;
            call.answer_at = None;
            call.resend = None;
            call.forget_at = Some(now + PATIENCE);
        }
    }

    pub(super) fn tick_calls(&mut self, now: Time, out: &mut Vec<Effect>) {
        let due: Vec<String> =
            self.calls.iter().filter(|(_, c)| c.due().is_some_and(|at| at <= now)).map(|(k, _)| k.clone()).collect();
        for call_id in due {
            let Some(call) = self.calls.get_mut(&call_id) else { continue };
            if call.forget_at.is_some_and(|at| at <= now) {
                self.calls.remove(&call_id);
            } else if call.answer_at.is_some_and(|at| at <= now) {
                self.pick_up(now, &call_id, out);
            } else {
                self.repeat_answer(now, &call_id, out);
            }
        }
    }

    fn repeat_answer(&mut self, now: Time, call_id: &str, out: &mut Vec<Effect>) {
        let Some(call) = self.calls.get_mut(call_id) else { return };
        let (Some(resend), Some(incoming)) = (&mut call.resend, &call.incoming) else { return };
        if resend.give_up_at <= now {
            call.resend = None;
            self.event(out, Event::TimedOut { method: "ACK".to_string(), call_id: call_id.to_string() });
            return self.call_over(now, call_id);
        }
        out.push(Effect::Send { to: incoming.from, bytes: incoming.response.clone() });
        resend.interval = (resend.interval * 2).min(T2);
        resend.at = now + resend.interval;
    }
}

impl Resend {
    pub(super) fn from(now: Time) -> Resend {
        Resend { at: now + T1, interval: T1, give_up_at: now + PATIENCE }
    }
}

/// The Record-Route values in the order of the message.
pub(super) fn route_set(message: &SipMessage) -> Vec<String> {
    message.values(HeaderId::RecordRoute).map(|v| text(Some(v))).collect()
}

/// The URI of a name-addr or addr-spec value.
pub(super) fn address(value: &str) -> String {
    match (value.find('<'), value.find('>')) {
        (Some(start), Some(end)) if start < end => value[start + 1..end].to_string(),
        _ => value.split(';').next().unwrap_or_default().trim().to_string(),
    }
}

fn host_port(uri: &str) -> Option<SocketAddr> {
    let rest = uri.strip_prefix("sip:")?.split([';', '?']).next()?;
    let host = rest.rsplit('@').next()?;
    host.parse().ok().or_else(|| format!("{host}:5060").parse().ok())
}

pub(super) fn text(value: Option<&[u8]>) -> String {
    value.map(|v| String::from_utf8_lossy(v).into_owned()).unwrap_or_default()
}
