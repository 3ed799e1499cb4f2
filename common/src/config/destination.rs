//! Where calls for a trunk go by name (RFC 3263): a server that is looked up, or the Request-URI's own host.

use super::service::Text;
use crate::ids::Transport;
use crate::sip::{Scheme, SipUri};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::str::FromStr;

/// `carrier.example`, `carrier.example:5080`, `sip:carrier.example;transport=tcp`, `sips:carrier.example`,
/// `[2001:db8::1]:5060`, or `request-uri`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrunkDestination {
    /// The host of each request's own Request-URI: for routes of foreign domains.
    RequestUri,
    Server(TrunkServer),
}

/// A server to be located.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkServer {
    /// A name or an IP literal, without brackets, in lower case.
    pub host: String,
    /// With a port only A and AAAA records are looked up.
    pub port: Option<u16>,
    /// Without one the DNS chooses.
    pub transport: Option<Transport>,
    /// `sips`: TLS all the way.
    pub secure: bool,
}

impl TrunkDestination {
    /// The name that must be looked up for it; `None` for an address.
    pub fn name(&self) -> Option<&str> {
        match self {
            TrunkDestination::RequestUri => Some("request-uri"),
            TrunkDestination::Server(server) => Some(server.host.as_str()).filter(|h| h.parse::<IpAddr>().is_err()),
        }
    }
}

impl FromStr for TrunkDestination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "request-uri" {
            return Ok(TrunkDestination::RequestUri);
        }
        let wrong = |why: &str| {
            format!(
                "`{text}` is no destination of a trunk ({why}); write a host such as carrier.example, \
                 carrier.example:5080 or sip:carrier.example;transport=tcp, or request-uri"
            )
        };
        let is_uri = ["sip:", "sips:"].iter().any(|s| text.get(..s.len()).is_some_and(|t| t.eq_ignore_ascii_case(s)));
        let uri_text = if is_uri { Cow::Borrowed(text) } else { Cow::Owned(format!("sip:{text}")) };
        let uri = SipUri::parse(&uri_text).map_err(|e| wrong(&e.to_string()))?;
        if uri.user.is_some() || uri.headers.is_some() {
            return Err(wrong("a user or headers stand in it"));
        }
        if uri.port == Some(0) {
            return Err(wrong("0 is no port"));
        }
        if let Some((name, _)) = uri.params.iter().find(|(name, _)| !name.eq_ignore_ascii_case("transport")) {
            return Err(wrong(&format!("only transport may stand there, not {name}")));
        }
        let secure = uri.scheme == Scheme::Sips;
        let transport = match uri.params.has("transport") {
            true => Some(transport(uri.params.value("transport").unwrap_or_default(), secure).map_err(wrong)?),
            false => None,
        };
        let bare = uri.host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(uri.host);
        let host = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
        Ok(TrunkDestination::Server(TrunkServer { host, port: uri.port, transport, secure }))
    }
}

fn transport(name: &str, secure: bool) -> Result<Transport, &'static str> {
    let transport = match name.to_ascii_lowercase().as_str() {
        "udp" if secure => return Err("sips does not go over udp"),
        "udp" => Transport::Udp,
        "tcp" => Transport::Tcp,
        "tls" => Transport::Tls,
        "ws" => Transport::Ws,
        "wss" => Transport::Wss,
        _ => return Err("transport is udp, tcp, tls, ws or wss"),
    };
    Ok(match (transport, secure) {
        (Transport::Tcp, true) => Transport::Tls,
        (Transport::Ws, true) => Transport::Wss,
        (transport, _) => transport,
    })
}

impl fmt::Display for TrunkDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TrunkDestination::Server(server) = self else { return f.write_str("request-uri") };
        f.write_str(if server.secure { "sips:" } else { "sip:" })?;
        match server.host.contains(':') {
            true => write!(f, "[{}]", server.host)?,
            false => f.write_str(&server.host)?,
        }
        if let Some(port) = server.port {
            write!(f, ":{port}")?;
        }
        match server.transport {
            Some(transport) => write!(f, ";transport={}", transport.via_name().to_ascii_lowercase()),
            None => Ok(()),
        }
    }
}

impl Serialize for TrunkDestination {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TrunkDestination {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text(PhantomData))
    }
}

impl JsonSchema for TrunkDestination {
    fn schema_name() -> Cow<'static, str> {
        "TrunkDestination".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A host, host:port or SIP URI that is looked up by RFC 3263, or `request-uri`: the Request-URI's own host."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_comes_back() {
        for (text, shown) in [
            ("carrier.example", "sip:carrier.example"),
            ("Carrier.Example.:5080", "sip:carrier.example:5080"),
            ("carrier.example;transport=TCP", "sip:carrier.example;transport=tcp"),
            ("SIPS:carrier.example;transport=tcp", "sips:carrier.example;transport=tls"),
            ("[2001:DB8::1]:5060", "sip:[2001:db8::1]:5060"),
            ("192.0.2.1", "sip:192.0.2.1"),
            ("request-uri", "request-uri"),
        ] {
            let destination: TrunkDestination = text.parse().unwrap();
            assert_eq!(destination.to_string(), shown);
            assert_eq!(shown.parse::<TrunkDestination>().unwrap(), destination, "{shown} is read back");
        }
    }

    #[test]
    fn what_is_no_place_is_refused_with_words() {
        for (text, why) in [
            ("sip:1001@carrier.example", "a user or headers stand in it"),
            ("carrier.example;lr", "only transport may stand there, not lr"),
            ("carrier.example;transport=sctp", "transport is udp, tcp, tls, ws or wss"),
            ("sips:carrier.example;transport=udp", "sips does not go over udp"),
            ("carrier.example:0", "0 is no port"),
            ("", "the host is neither a name nor an address"),
        ] {
            let said = text.parse::<TrunkDestination>().unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn an_address_needs_no_dns() {
        let name = |text: &str| text.parse::<TrunkDestination>().unwrap().name().map(str::to_owned);
        assert_eq!(name("192.0.2.1:5060"), None);
        assert_eq!(name("carrier.example"), Some("carrier.example".into()));
    }
}
