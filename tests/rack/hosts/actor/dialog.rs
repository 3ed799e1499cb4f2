//! What an actor writes: dialogs (RFC 3261 §12), requests in and before them, and responses.

use super::Actor;
use super::message::{Message, address_of, host_port};
use bytes::Bytes;
use std::fmt::Write;
use std::net::SocketAddr;

/// One end of a dialog, early or confirmed, or of the attempt at one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialog {
    pub call_id: String,
    /// Whole From and To values of the own requests, tags included.
    pub local: String,
    pub remote: String,
    pub target: String,
    /// The route set, nearest first.
    pub routes: Vec<String>,
    /// Of the newest own request.
    pub cseq: u32,
}

/// A request before it is sent. Every field may be changed.
#[derive(Clone, Debug)]
pub struct Draft {
    pub method: String,
    pub uri: String,
    pub routes: Vec<String>,
    pub from: String,
    pub to: String,
    pub call_id: String,
    pub cseq: u32,
    /// Empty: a new one.
    pub branch: String,
    pub max_forwards: u32,
    /// Whole header lines.
    pub headers: Vec<String>,
    pub body: String,
    /// Instead of the first Route, the Request-URI or the outbound proxy.
    pub to_address: Option<SocketAddr>,
}

impl Dialog {
    /// The dialog that a response with a To tag makes for the caller (§12.1.2).
    pub fn of_response(&self, response: &Message) -> Dialog {
        let mut routes = response.values("Record-Route");
        routes.reverse();
        let contact = response.header("Contact");
        let target = if contact.is_empty() { self.target.clone() } else { address_of(contact) };
        Dialog { remote: response.header("To").to_string(), target, routes, ..self.clone() }
    }

    /// The dialog that an INVITE makes for the callee who answers with this tag (§12.1.1).
    pub fn of_request(request: &Message, tag: &str) -> Dialog {
        Dialog {
            call_id: request.call_id().to_string(),
            local: format!("{};tag={tag}", request.header("To")),
            remote: request.header("From").to_string(),
            target: address_of(request.header("Contact")),
            routes: request.values("Record-Route"),
            cseq: 0,
        }
    }

    /// The next request; ACK and CANCEL keep the number of their INVITE.
    pub fn request(&mut self, method: &str) -> Draft {
        if !matches!(method, "ACK" | "CANCEL") {
            self.cseq += 1;
        }
        let (mut uri, mut routes) = (self.target.clone(), self.routes.clone());
        if let Some(first) = routes.first().map(|r| address_of(r)).filter(|first| !first.contains(";lr")) {
            // A strict router is next (§12.2.1.1): it stands in the Request-URI, the target goes last.
            routes.remove(0);
            routes.push(format!("<{uri}>"));
            uri = first;
        }
        let to_address =
            host_port(&routes.first().filter(|_| uri == self.target).map_or(uri.clone(), |r| address_of(r)));
        Draft {
            method: method.to_string(),
            uri,
            routes,
            from: self.local.clone(),
            to: self.remote.clone(),
            call_id: self.call_id.clone(),
            cseq: self.cseq,
            branch: String::new(),
            max_forwards: 70,
            headers: Vec::new(),
            body: String::new(),
            to_address,
        }
    }
}

impl Draft {
    /// With one more header line.
    pub fn with(mut self, line: impl Into<String>) -> Draft {
        self.headers.push(line.into());
        self
    }

    pub fn body(mut self, body: impl Into<String>) -> Draft {
        self.body = body.into();
        self
    }

    pub(super) fn write(&self, actor: &Actor) -> Bytes {
        let mut text = format!("{} {} SIP/2.0\r\n", self.method, self.uri);
        let _ = write!(text, "Via: SIP/2.0/UDP {};branch={}\r\n", actor.address, self.branch);
        let _ = write!(text, "Max-Forwards: {}\r\n", self.max_forwards);
        for route in &self.routes {
            let _ = write!(text, "Route: {route}\r\n");
        }
        let _ = write!(text, "From: {}\r\nTo: {}\r\nCall-ID: {}\r\n", self.from, self.to, self.call_id);
        let _ = write!(text, "CSeq: {} {}\r\n", self.cseq, self.method);
        let own = self.headers.iter().any(|line| line.starts_with("Contact:"));
        if matches!(self.method.as_str(), "INVITE" | "UPDATE" | "SUBSCRIBE" | "REFER") && !own {
            let _ = write!(text, "Contact: <{}>\r\n", actor.contact());
        }
        for line in &self.headers {
            let _ = write!(text, "{line}\r\n");
        }
        if !self.body.is_empty() {
            text.push_str("Content-Type: application/sdp\r\n");
        }
        let _ = write!(text, "Content-Length: {}\r\n\r\n{}", self.body.len(), self.body);
        text.into()
    }
}

/// A response before it is sent.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    /// To tag; empty: none is added.
    pub tag: String,
    pub headers: Vec<String>,
    pub body: String,
}

impl Answer {
    pub fn new(status: u16, tag: &str) -> Answer {
        Answer { status, tag: tag.to_string(), ..Answer::default() }
    }

    pub fn with(mut self, line: impl Into<String>) -> Answer {
        self.headers.push(line.into());
        self
    }

    pub fn body(mut self, body: impl Into<String>) -> Answer {
        self.body = body.into();
        self
    }

    pub(super) fn write(&self, actor: &Actor, request: &Message) -> Bytes {
        let mut text = format!("SIP/2.0 {} {}\r\n", self.status, common::sip::reason_phrase(self.status));
        let copied = ["Via", "From", "To", "Call-ID", "CSeq"];
        for (name, value) in &request.headers {
            let dialog = name.eq_ignore_ascii_case("Record-Route") && (101..300).contains(&self.status);
            if !dialog && !copied.iter().any(|c| c.eq_ignore_ascii_case(name)) {
                continue;
            }
            let tag = name.eq_ignore_ascii_case("To") && request.to_tag().is_empty() && !self.tag.is_empty();
            let tag = if tag { format!(";tag={}", self.tag) } else { String::new() };
            let _ = write!(text, "{name}: {value}{tag}\r\n");
        }
        let own = self.headers.iter().any(|line| line.starts_with("Contact:"));
        if matches!(request.method(), "INVITE" | "UPDATE") && (101..300).contains(&self.status) && !own {
            let _ = write!(text, "Contact: <{}>\r\n", actor.contact());
        }
        for line in &self.headers {
            let _ = write!(text, "{line}\r\n");
        }
        if !self.body.is_empty() {
            text.push_str("Content-Type: application/sdp\r\n");
        }
        let _ = write!(text, "Content-Length: {}\r\n\r\n{}", self.body.len(), self.body);
        text.into()
    }
}
