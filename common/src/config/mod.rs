//! The rack file: one typed description of a rack, of which each service takes its part. The agent reads it from YAML
//! ([`Rack::from_yaml`]), checks it ([`Rack::problems`]), writes the shorthand out ([`Rack::expand`]) and hands the
//! result to every service; services read that with [`Rack::from_json`] and never look at the YAML.
//!
//! Order of the files: `network`, `digest_offer`, `service` with `destination` and `probe`, `tuning`, `limits` (the parts) → `rack` (the whole, and look-ups in it) →
//! `expand` (one machine → lists) → `locate` and `load` (text → types, errors with line and column) → `problems`
//! (what types cannot say).

mod destination;
mod digest_offer;
mod expand;
mod limits;
mod load;
mod locate;
mod network;
mod probe;
mod problems;
mod rack;
mod service;
#[cfg(test)]
mod tests;
mod tuning;

pub use destination::{TrunkDestination, TrunkServer};
pub use digest_offer::DigestOffer;
pub use limits::Limits;
pub use load::{ConfigError, Override};
pub use network::{CcNode, ForeignNode, Listener, LoadManager, LocationServer, OneMachine, Planes};
pub use probe::Probe;
pub use problems::Problem;
pub use rack::Rack;
pub use service::{Auth, Domain, Mode, Provisioning, Route, RouteDomain, SubscriberRange, Trunk, TrunkAddress};
pub use tuning::{Dns, Egress, Heartbeat, Log, LogFormat, Registrar, SessionTimers, Timers};
