//! A proxy of somebody else's: stateless (RFC 3261 §16.11), or a careless one that forks; a loose or a strict router.

use super::actor::Sends;
use super::actor::message::{Message, address_of, host_port, response_address};
use bytes::Bytes;
use std::net::SocketAddr;

pub struct Relay {
    pub name: String,
    pub address: SocketAddr,
    /// Where requests go that name no address.
    pub next: SocketAddr,
    /// It stays in the way of dialogs.
    pub records: bool,
    /// Its Record-Route has no `lr`: it routes as RFC 2543 did.
    pub strict: bool,
    /// It takes everything and says nothing.
    pub silent: bool,
    /// User part of a Request-URI → what it becomes; several for one user: a fork.
    pub rewrites: Vec<(String, String)>,
    /// How many requests it took.
    pub requests: usize,
}

impl Relay {
    pub fn new(name: &str, address: SocketAddr, next: SocketAddr) -> Relay {
        Relay {
            name: name.to_string(),
            address,
            next,
            records: false,
            strict: false,
            silent: false,
            rewrites: Vec::new(),
            requests: 0,
        }
    }

    fn is_own(&self, uri: &str) -> bool {
        host_port(uri) == Some(self.address)
    }

    pub fn receive(&mut self, from: SocketAddr, bytes: Bytes) -> Sends {
        let Some(message) = Message::parse(&bytes).filter(|_| !self.silent) else { return Vec::new() };
        if message.is_request() {
            self.requests += 1;
            return self.forward(from, message);
        }
        let mut response = message;
        let Some(top) = response.headers.iter().position(|(n, _)| n == "Via") else { return Vec::new() };
        response.headers.remove(top);
        let to = response.values("Via").first().and_then(|via| response_address(via));
        to.map(|to| vec![(to, response.write())]).unwrap_or_default()
    }

    fn forward(&self, from: SocketAddr, mut request: Message) -> Sends {
        let hops: u32 = request.header("Max-Forwards").parse().unwrap_or(70);
        if hops == 0 {
            return Vec::new();
        }
        set(&mut request, "Max-Forwards", &(hops - 1).to_string());
        if let Some(via) = request.headers.iter_mut().find(|(n, _)| n == "Via") {
            via.1 = format!("{};received={}", via.1, from.ip());
        }
        let mut routes = request.values("Route");
        let mut uri = request.uri().to_string();
        if self.is_own(&uri) && !routes.is_empty() {
            // The hop before took it for a strict router: the Request-URI is its own Record-Route value.
            uri = address_of(&routes.remove(0));
        } else if routes.first().is_some_and(|r| self.is_own(&address_of(r))) {
            routes.remove(0);
        }
        let user = uri.strip_prefix("sip:").and_then(|u| u.split('@').next()).unwrap_or_default().to_string();
        let targets: Vec<String> = self.rewrites.iter().filter(|(u, _)| *u == user).map(|(_, to)| to.clone()).collect();
        let targets = if targets.is_empty() { vec![uri] } else { targets };
        targets.iter().enumerate().map(|(fork, uri)| self.copy(&request, uri, &routes, fork)).collect()
    }

    fn copy(&self, request: &Message, uri: &str, routes: &[String], fork: usize) -> (SocketAddr, Bytes) {
        let mut copy = request.clone();
        copy.first = format!("{} {uri} SIP/2.0", request.method());
        copy.headers.retain(|(name, _)| name != "Route");
        let via = format!("SIP/2.0/UDP {};branch={}-{}{fork}", self.address, request.branch(), self.name);
        let mut front = vec![("Via".to_string(), via)];
        if self.records && request.method() == "INVITE" {
            let lr = if self.strict { "" } else { ";lr" };
            front.push(("Record-Route".to_string(), format!("<sip:{}{lr}>", self.address)));
        }
        let routed = routes.iter().map(|r| ("Route".to_string(), r.clone()));
        copy.headers = front.into_iter().chain(routed).chain(copy.headers).collect();
        // A strict router goes by the Request-URI alone.
        let route = routes.first().filter(|_| !self.strict);
        let named = route.map(|r| address_of(r)).or_else(|| Some(uri.to_string()));
        let to = named.and_then(|uri| host_port(&uri)).filter(|to| *to != self.address).unwrap_or(self.next);
        (to, copy.write())
    }
}

fn set(message: &mut Message, name: &str, value: &str) {
    match message.headers.iter_mut().find(|(n, _)| n == name) {
        Some(header) => header.1 = value.to_string(),
        None => message.headers.push((name.to_string(), value.to_string())),
    }
}
