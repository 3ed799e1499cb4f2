//! Who is served: domains, first subscribers, trunks and routes.

use super::destination::TrunkDestination;
use super::digest_offer::DigestOffer;
use super::probe::Probe;
use crate::ids::{ListenerId, TrunkId};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// A SIP domain that this rack is responsible for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// Compared without regard to case.
    pub name: String,
    /// `digest`: users prove who they are (RFC 3261 §22, RFC 8760); `none`: everybody is believed.
    #[serde(default)]
    pub auth: Auth,
    /// Algorithms that a challenge offers; an answer with another one is challenged again.
    #[serde(default, skip_serializing_if = "DigestOffer::is_default")]
    pub digest: DigestOffer,
    /// `closed`: only subscribers may register; `open`: any AOR may.
    #[serde(default)]
    pub provisioning: Provisioning,
    /// The domain that the VIP's own address stands for; without a mark it is the first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// Whether requests for its users are forwarded, or their callers told where to go.
    #[serde(default, skip_serializing_if = "Mode::is_default")]
    pub mode: Mode,
    /// Follow a 3xx answer of its users' phones instead of passing it to the caller (RFC 3261 §16.7 step 4).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recursion: bool,
}

/// What becomes of a request that has targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Forwarded (RFC 3261 §16).
    #[default]
    Proxy,
    /// Answered 302 or 300 with the targets as Contacts (RFC 3261 §8.3).
    Redirect,
    /// As the caller asks by `Request-Disposition` (RFC 3841 §9.1); forwarded if it does not say.
    Both,
}

impl Mode {
    fn is_default(&self) -> bool {
        *self == Mode::default()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    #[default]
    Digest,
    None,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provisioning {
    #[default]
    Closed,
    Open,
}

/// Numbers `first` to `last`, all with one password; put once into an empty provisioning log (demo and test racks).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriberRange {
    pub first: u64,
    pub last: u64,
    /// Without it: the default domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    pub password: String,
}

impl fmt::Debug for SubscriberRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubscriberRange({}..={} @{:?}, password hidden)", self.first, self.last, self.domain)
    }
}

/// A peer that is known by its source address and asked for no digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trunk {
    /// Stands in tokens: it stays with the trunk.
    #[schemars(with = "u16")]
    pub id: TrunkId,
    pub name: String,
    /// Inside the trust domain of RFC 3325: what it asserts about callers is believed, it is told who our users are, and
    /// private headers pass. `false`: it is treated as a phone is.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub trusted: bool,
    /// Domain that calls from this trunk belong to; without it: the default domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// What calls from the trunk come from; calls to it go there too, one after another, unless it has a destination.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<TrunkAddress>,
    /// Where calls to the trunk go by RFC 3263: NAPTR, SRV and addresses are looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<TrunkDestination>,
    /// Position in `listeners` of the one that calls to this trunk leave from.
    #[serde(default)]
    #[schemars(with = "u8")]
    pub listener: ListenerId,
    /// For calls from this trunk, instead of the mode of the domain that is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Follow a 3xx answer of this trunk, by the caller's own rights and routes, instead of passing it on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recursion: bool,
    /// Calls at a time from it and to it in the whole rack; 0: as many as there are.
    #[serde(default, skip_serializing_if = "is_unlimited")]
    pub max_calls: u32,
    /// Ask each of its addresses now and then whether it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

fn is_unlimited(calls: &u32) -> bool {
    *calls == 0
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

impl Trunk {
    /// Whether `source` is this trunk: IP and port where an address has a port, else the IP.
    pub fn is_source(&self, source: SocketAddr) -> bool {
        self.addresses.iter().any(|address| address.is_source(source))
    }
}

/// `192.0.2.10`, `192.0.2.10:5060`, `2001:db8::1`, `[2001:db8::1]:5060`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrunkAddress {
    pub ip: IpAddr,
    /// With a port, a message must come from it; without, any port counts and calls go to 5060.
    pub port: Option<u16>,
}

impl TrunkAddress {
    pub fn is_source(&self, source: SocketAddr) -> bool {
        self.ip == source.ip() && self.port.is_none_or(|port| port == source.port())
    }

    /// Where calls to the trunk are sent.
    pub fn send_to(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or(5060))
    }
}

impl FromStr for TrunkAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(TrunkAddress { ip: address.ip(), port: Some(address.port()) });
        }
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        match bare.parse::<IpAddr>() {
            Ok(ip) => Ok(TrunkAddress { ip, port: None }),
            Err(_) => Err(format!(
                "`{text}` is not an address of a trunk; write an IP address with or without a port, \
                 such as 192.0.2.10, 192.0.2.10:5060 or [2001:db8::1]:5060 (a name goes into `destination`)"
            )),
        }
    }
}

impl fmt::Display for TrunkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

/// Where requests go that no binding answers: the longest matching prefix wins, then the first listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// One of `domains`, or `foreign`: any domain that is not one of them.
    pub domain: RouteDomain,
    /// Start of the user part; empty matches all.
    #[serde(default)]
    pub prefix: String,
    /// Name of a trunk.
    pub trunk: String,
    /// Characters taken from the front of the user part …
    #[serde(default)]
    pub strip: u8,
    /// … and what is put there instead.
    #[serde(default)]
    pub add: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteDomain {
    Local(String),
    Foreign,
}

impl FromStr for RouteDomain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("a route needs a domain: one of `domains`, or `foreign` for all others".into()),
            "foreign" | "*foreign*" => Ok(RouteDomain::Foreign),
            name => Ok(RouteDomain::Local(name.to_ascii_lowercase())),
        }
    }
}

impl fmt::Display for RouteDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RouteDomain::Local(name) => name,
            RouteDomain::Foreign => "foreign",
        })
    }
}

/// Reads a type that is one string in the file. A visitor, so that the parser knows the position of what is wrong.
pub(super) struct Text<T>(pub(super) PhantomData<T>);

impl<T: FromStr<Err = String>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// Types that are one string in the file.
macro_rules! as_text {
    ($type:ident, $name:literal, $description:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text(PhantomData))
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $description })
            }
        }
    };
}

as_text!(
    TrunkAddress,
    "TrunkAddress",
    "An IP address with or without a port: with one, a message must come from that port."
);
as_text!(RouteDomain, "RouteDomain", "One of `domains`, or `foreign` for every domain that is not one of them.");
