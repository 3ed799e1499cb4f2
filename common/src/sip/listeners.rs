//! Which host and port "name the VIP": the load manager and the nodes ask it of Request-URIs, Routes and Vias.

use super::uri::{self, SipUri};
use super::{HeaderId, NameAddr, Via, lex};
use crate::ids::Transport;
use std::net::IpAddr;

/// One name under which the rack's own address may be written: the listener's address, or what it advertises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerName {
    /// Host name or address, IPv6 with or without brackets.
    pub host: String,
    pub port: u16,
    pub transport: Transport,
}

/// All names of the VIP. Asked once or twice a message, so it is a short list and nothing is allocated.
#[derive(Clone, Debug, Default)]
pub struct Listeners {
    names: Vec<(ListenerName, Option<IpAddr>)>,
}

impl Listeners {
    pub fn new(names: &[ListenerName]) -> Listeners {
        Listeners { names: names.iter().map(|name| (name.clone(), uri::ip(&name.host))).collect() }
    }

    /// Whether `host` (IPv6 with or without brackets) and `port` are a listener of ours; no port means 5060.
    pub fn names(&self, host: &str, port: Option<u16>) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let port = port.unwrap_or(5060);
        let at_port = || self.names.iter().filter(|(name, _)| name.port == port);
        if at_port().any(|(name, _)| name.host.eq_ignore_ascii_case(host)) {
            return true;
        }
        // One address has many texts.
        at_port().next().is_some() && uri::ip(host).is_some_and(|ip| at_port().any(|(_, own)| *own == Some(ip)))
    }

    pub fn names_uri(&self, uri: &SipUri<'_>) -> bool {
        self.names(uri.host, Some(uri.port_or_default()))
    }

    pub fn names_via(&self, via: &Via<'_>) -> bool {
        self.names(via.host, Some(via.port_or_default()))
    }
}

/// Finds the value of `;sr=` that the load manager goes by: the first in a Request-URI that names the VIP, or among
/// the leading Route values that name it; in a response that of the top Via whose sent-by is ours.
/// The scan and the indexed message feed it the same octets.
pub(super) struct TokenSearch<'a, 'v> {
    vip: &'v Listeners,
    leading: bool,
    pub(super) token: Option<&'a [u8]>,
}

impl<'a, 'v> TokenSearch<'a, 'v> {
    pub(super) fn new(vip: &'v Listeners) -> Self {
        TokenSearch { vip, leading: true, token: None }
    }

    pub(super) fn request_uri(&mut self, octets: &'a [u8]) {
        if let Some(uri) = text(octets).and_then(|t| SipUri::parse(t).ok()).filter(|u| self.vip.names_uri(u)) {
            self.token = uri.params.value("sr").map(str::as_bytes);
        }
    }

    /// One Route header line; call it in the order of the message.
    pub(super) fn route(&mut self, value: &'a [u8]) {
        for span in lex::Values::of(value) {
            if !self.leading || self.token.is_some() {
                return;
            }
            let addr = text(&value[span]).and_then(|t| NameAddr::parse(HeaderId::Route, t).ok());
            match addr.and_then(|a| SipUri::parse(a.uri_text).ok()).filter(|u| self.vip.names_uri(u)) {
                Some(uri) => self.token = uri.params.value("sr").map(str::as_bytes),
                None => self.leading = false,
            }
        }
    }

    /// The first Via header line of a response.
    pub(super) fn top_via(&mut self, value: &'a [u8]) {
        let top = lex::Values::of(value).next().and_then(|span| text(&value[span]));
        if let Some(via) = top.and_then(|t| Via::parse(t).ok()).filter(|v| self.vip.names_via(v)) {
            self.token = via.params.value("sr").map(str::as_bytes);
        }
    }
}

fn text(octets: &[u8]) -> Option<&str> {
    std::str::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sip_listeners_are_known_by_address_and_name() {
        let name = |host: &str, port| ListenerName { host: host.into(), port, transport: Transport::Udp };
        let vip = Listeners::new(&[name("192.0.2.1", 5060), name("2001:db8::1", 5060), name("sip.rack.test", 5070)]);
        assert!(vip.names("192.0.2.1", None) && vip.names("192.0.2.1", Some(5060)));
        assert!(!vip.names("192.0.2.1", Some(5061)) && !vip.names("192.0.2.2", None));
        assert!(vip.names("[2001:DB8:0:0::1]", None) && vip.names("2001:db8::1", None));
        assert!(vip.names("SIP.Rack.Test", Some(5070)) && !vip.names("sip.rack.test", None));
    }
}
