//! What is to be located: the TARGET of RFC 3263 §4, with the port and the transport that a URI names.

use common::config::TrunkServer;
use common::ids::Transport;
use common::sip::{Scheme, SipUri};
use std::net::IpAddr;

/// A server to be located. Which it is, is the caller's question (topmost Route, Request-URI, a trunk's destination).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Destination {
    /// A name or an IP literal, without brackets, in lower case, without trailing dot.
    pub host: String,
    pub port: Option<u16>,
    /// As the URI asks for it; in a `sips` URI the secure one on top of it.
    pub transport: Asked,
    /// `sips`: nothing but TLS and WSS will do.
    pub secure: bool,
}

/// The transport parameter (RFC 3261 §19.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// No parameter: RFC 3263 §4.1 chooses.
    #[default]
    Any,
    This(Transport),
    /// SCTP, UDP in a `sips` URI (RFC 3261 §26.2.2), or a word that nobody knows.
    Unknown,
}

impl Destination {
    /// Host, port and transport of a URI. `maddr` stands in the host's place (RFC 3261 §19.1.1, RFC 3263 §4); an empty
    /// one is passed over.
    pub fn of(uri: &SipUri<'_>) -> Destination {
        let maddr = uri.params.value("maddr").filter(|maddr| !maddr.is_empty());
        let secure = uri.scheme == Scheme::Sips;
        let transport = match uri.params.value("transport") {
            None => Asked::Any,
            Some(name) => Asked::named(name, secure),
        };
        Destination { host: bare(maddr.unwrap_or(uri.host)), port: uri.port, transport, secure }
    }

    /// A host (name or IP literal) without URI around it, such as the sent-by of a Via (RFC 3263 §5).
    pub fn host(host: &str, port: Option<u16>, transport: Option<Transport>) -> Destination {
        Destination { host: bare(host), port, transport: transport.map_or(Asked::Any, Asked::This), secure: false }
    }

    /// The server that a trunk's `destination` names.
    pub fn trunk(server: &TrunkServer) -> Destination {
        Destination { secure: server.secure, ..Destination::host(&server.host, server.port, server.transport) }
    }

    /// The address, if the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl Asked {
    fn named(name: &str, secure: bool) -> Asked {
        let transport = match name.to_ascii_lowercase().as_str() {
            "udp" => Transport::Udp,
            "tcp" => Transport::Tcp,
            "tls" => Transport::Tls,
            "ws" => Transport::Ws,
            "wss" => Transport::Wss,
            _ => return Asked::Unknown,
        };
        match (transport, secure) {
            (Transport::Udp, true) => Asked::Unknown,
            (Transport::Tcp, true) => Asked::This(Transport::Tls),
            (Transport::Ws, true) => Asked::This(Transport::Wss),
            (transport, _) => Asked::This(transport),
        }
    }
}

fn bare(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::config::TrunkDestination;

    fn of(uri: &str) -> (String, Option<u16>, Asked, bool) {
        let d = Destination::of(&SipUri::parse(uri).unwrap());
        (d.host, d.port, d.transport, d.secure)
    }

    #[test]
    fn the_target_is_maddr_or_the_host() {
        assert_eq!(of("sip:a@Example.COM."), ("example.com".into(), None, Asked::Any, false));
        assert_eq!(of("sip:a@example.com:5070;maddr=192.0.2.9").0, "192.0.2.9");
        assert_eq!(of("sip:a@example.com;maddr=").0, "example.com");
        assert_eq!(of("sip:[2001:db8::1]:5080"), ("2001:db8::1".into(), Some(5080), Asked::Any, false));
    }

    #[test]
    fn a_trunk_is_located_as_its_uri_would_be() {
        for text in
            ["sips:carrier.example;transport=tcp", "sip:carrier.example:5080", "sip:[2001:db8::1];transport=udp"]
        {
            let Ok(TrunkDestination::Server(server)) = text.parse() else { panic!("{text}") };
            assert_eq!(Destination::trunk(&server), Destination::of(&SipUri::parse(text).unwrap()));
        }
    }

    #[test]
    fn sips_raises_the_transport_and_refuses_udp() {
        assert_eq!(of("sip:a@b;transport=TCP").2, Asked::This(Transport::Tcp));
        assert_eq!(of("sips:a@b;transport=tcp").2, Asked::This(Transport::Tls));
        assert_eq!(of("sips:a@b;transport=ws").2, Asked::This(Transport::Wss));
        assert_eq!(of("sips:a@b;transport=udp").2, Asked::Unknown);
        assert_eq!(of("sip:a@b;transport=sctp").2, Asked::Unknown);
        assert_eq!(of("sips:a@b"), ("b".into(), None, Asked::Any, true));
    }
}
