//! How the rack behaves: registrar, heartbeat, timers, logs. Everything here has a default.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// Bounds on registrations (RFC 3261 §10.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Registrar {
    /// Shorter wishes are answered 423.
    pub expires_min_s: u32,
    /// Longer wishes are cut to this.
    pub expires_max_s: u32,
    /// For a REGISTER that names none.
    pub expires_default_s: u32,
    /// Bindings of one AOR.
    pub max_contacts: u16,
}

impl Default for Registrar {
    fn default() -> Self {
        Registrar { expires_min_s: 60, expires_max_s: 7200, expires_default_s: 3600, max_contacts: 10 }
    }
}

/// Liveness of the nodes as the load manager judges it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Heartbeat {
    pub period_ms: u32,
    /// A node is down this long after the receipt of its last echoed heartbeat.
    pub down_after_ms: u32,
    /// Shown only.
    pub suspect_after_ms: u32,
    /// Take the 16-byte heartbeats of foreign nodes (`nodes`) too. Nothing proves them.
    pub accept_v1: bool,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Heartbeat { period_ms: 50, down_after_ms: 350, suspect_after_ms: 300, accept_v1: false }
    }
}

/// How nodes reach the outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Egress {
    /// Through the load manager, from the VIP's own socket.
    #[default]
    ViaLm,
    /// From the node itself (the host must hold the VIP's address).
    Direct,
}

/// Timer values of RFC 3261 §17 (table 4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timers {
    pub t1_ms: u32,
    pub t2_ms: u32,
    pub t4_ms: u32,
    /// Timer C: how long an INVITE may ring; more than 180 s (RFC 3261 §16.6 step 11).
    pub timer_c_s: u32,
}

impl Default for Timers {
    fn default() -> Self {
        Timers { t1_ms: 500, t2_ms: 4000, t4_ms: 5000, timer_c_s: 181 }
    }
}

/// How names are looked up (RFC 3263) and how long answers count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    /// Name servers, `address:port`, asked in this order. Without any: those of each host's /etc/resolv.conf.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<SocketAddr>,
    /// How long a name server may take before the question is sent again, to the next one if there is one.
    pub timeout_ms: u32,
    /// How often a question is sent, 1 to 5.
    pub attempts: u8,
    /// No answer counts longer, whatever its TTL.
    pub ttl_max_s: u32,
    /// No "there is no such record" counts longer (RFC 2308).
    pub negative_ttl_max_s: u32,
    /// How long an expired answer is kept, for when no name server answers (RFC 8767); 0 keeps none.
    pub stale_s: u32,
}

impl Default for Dns {
    fn default() -> Self {
        Dns {
            servers: Vec::new(),
            timeout_ms: 1500,
            attempts: 2,
            ttl_max_s: 86_400,
            negative_ttl_max_s: 300,
            stale_s: 86_400,
        }
    }
}

impl Dns {
    pub fn is_default(&self) -> bool {
        *self == Dns::default()
    }

    /// What all attempts at one question may take.
    pub fn patience(&self) -> Duration {
        Duration::from_millis(u64::from(self.timeout_ms) * u64::from(self.attempts))
    }
}

/// Session timers (RFC 4028), in a proxy's role: sessions whose ends have died are noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SessionTimers {
    /// A shorter session interval is answered 422, or raised where the caller knows no timers; 90 or more (RFC 4028 §5).
    pub min_se_s: u32,
    /// The interval that is asked for where the caller names none; longer wishes are cut to it. Without it the proxy asks
    /// for none and cuts none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_s: Option<u32>,
}

impl Default for SessionTimers {
    fn default() -> Self {
        SessionTimers { min_se_s: 90, expires_s: None }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,cc_node=debug`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Log { format: LogFormat::Text, level: "info".into() }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}
