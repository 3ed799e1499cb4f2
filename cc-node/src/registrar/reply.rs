//! What a REGISTER is answered: the set that the log says the address of record now has (RFC 3261 §10.3 step 8), or why not.
//! Called by [`super::Registrar`]; a 200 is only ever built from an [`Outcome`], so it means "durable".

use crate::effect::LocationFailure;
use common::location::{Binding, LogTime, Outcome, Refusal};

/// A final response in pieces; the server transaction makes the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterReply {
    pub status: u16,
    /// `None`: the usual phrase of the status.
    pub reason: Option<String>,
    pub headers: Vec<(&'static str, String)>,
}

impl RegisterReply {
    pub fn status(status: u16) -> RegisterReply {
        RegisterReply { status, reason: None, headers: Vec::new() }
    }

    pub fn because(status: u16, reason: impl Into<String>) -> RegisterReply {
        RegisterReply { reason: Some(reason.into()), ..RegisterReply::status(status) }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> RegisterReply {
        self.headers.push((name, value.into()));
        self
    }
}

/// Until a UA may try again when the location server gave no outcome.
pub const RETRY_AFTER_S: u32 = 5;

/// 200 with all of `bindings`, each with what is left of it at `time`.
pub fn listing<'b>(bindings: impl IntoIterator<Item = &'b Binding>, time: LogTime) -> RegisterReply {
    let mut reply = RegisterReply::status(200);
    for binding in bindings {
        let left_ms = binding.expires_at.0.saturating_sub(time.0);
        if left_ms > 0 {
            reply.headers.push(("Contact", contact(binding, left_ms)));
        }
    }
    reply
}

/// Seconds are rounded up: a UA that asked for 60 is told 60.
fn contact(binding: &Binding, left_ms: u64) -> String {
    let mut value = format!("<{}>;expires={}", binding.contact, left_ms.div_ceil(1000));
    match binding.q_thousandths {
        1000.. => {}
        q => value.push_str(&format!(";q=0.{}", format!("{q:03}").trim_end_matches('0'))),
    }
    if value.ends_with(";q=0.") {
        value.push('0');
    }
    if !binding.instance.is_empty() {
        value.push_str(&format!(";+sip.instance=\"{}\"", binding.instance));
    }
    value
}

pub fn of_outcome(outcome: &Result<Outcome, LocationFailure>) -> RegisterReply {
    match outcome {
        Ok(Outcome::Registered { time, bindings, .. }) => listing(bindings, *time),
        Ok(Outcome::Done { .. }) => RegisterReply::status(200),
        Ok(Outcome::Refused { refusal, .. }) => of_refusal(refusal),
        Err(_) => {
            let retry = RETRY_AFTER_S.to_string();
            RegisterReply::because(503, "Location Server Does Not Answer").with("Retry-After", retry)
        }
    }
}

fn of_refusal(refusal: &Refusal) -> RegisterReply {
    match refusal {
        Refusal::OutOfOrder => RegisterReply::because(500, "CSeq Is Not Higher Than Before"),
        Refusal::TooManyContacts { limit } => RegisterReply::because(403, format!("More Than {limit} Contacts")),
        Refusal::NoSuchSubscriber => RegisterReply::status(404),
        Refusal::Exists => RegisterReply::status(500),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::ids::{Level, ListenerId};

    fn binding(contact: &str, q: u16, expires_at: u64) -> Binding {
        Binding {
            contact: contact.into(),
            q_thousandths: q,
            expires_at: LogTime(expires_at),
            received: "192.0.2.1:5060".parse().unwrap(),
            listener: ListenerId(0),
            path: vec![],
            instance: String::new(),
            user_agent: String::new(),
            version: Level(1),
        }
    }

    #[test]
    fn the_whole_set_with_what_is_left() {
        let mut phone = binding("sip:1001@192.0.2.1;x=\"y\"", 1000, 61_000);
        phone.instance = "<urn:uuid:1>".into();
        let bindings =
            vec![phone, binding("sip:b", 500, 1001), binding("sip:gone", 1, 1000), binding("sip:c", 0, 5000)];
        let outcome = Ok(Outcome::Registered { level: Level(9), time: LogTime(1000), bindings });
        let reply = of_outcome(&outcome);
        let contacts: Vec<&str> = reply.headers.iter().map(|(_, v)| v.as_str()).collect();
        assert_eq!(reply.status, 200);
        assert_eq!(
            contacts,
            [
                "<sip:1001@192.0.2.1;x=\"y\">;expires=60;+sip.instance=\"<urn:uuid:1>\"",
                "<sip:b>;expires=1;q=0.5",
                "<sip:c>;expires=4;q=0.0"
            ]
        );
    }

    #[test]
    fn refusals_and_silence() {
        let refused = |refusal| of_outcome(&Ok(Outcome::Refused { level: Level(1), refusal })).status;
        assert_eq!(refused(Refusal::OutOfOrder), 500);
        assert_eq!(refused(Refusal::TooManyContacts { limit: 10 }), 403);
        assert_eq!(refused(Refusal::NoSuchSubscriber), 404);
        let silent = of_outcome(&Err(LocationFailure::Timeout));
        assert_eq!((silent.status, &silent.headers[..]), (503, &[("Retry-After", "5".to_owned())][..]));
    }
}
