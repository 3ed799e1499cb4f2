//! The stateful proxy (RFC 3261 §16). `node` has checked who asks and where it goes; from there on a request is here.
//!
//! In the order of a request's way: [`preprocess`] (§16.4) → [`checks`] (§16.3) → [`engine`] opens a response context →
//! `targets` (§16.5) → [`forward`] (§16.6) → transactions → `responses` (§16.7), [`best`] → upstream. `recursion` follows a
//! 3xx, `limits` asks whether a call may begin, `legs` ends branches, [`session_timer`] is RFC 4028. [`derived`] makes CANCEL and ACK, [`stateless`] forwards what
//! has no transaction: the ACK to a 2xx, responses by their token.

pub mod best;
pub mod checks;
pub mod context;
pub mod derived;
pub mod engine;
pub mod forward;
mod handover;
pub mod inherit;
mod legs;
mod limits;
pub mod preprocess;
mod recursion;
mod responses;
pub mod session_timer;
pub mod stateless;
mod targets;

pub use engine::{Job, Proxy};
pub use forward::{Original, RecordRoute};
pub use preprocess::{Routed, preprocess};

use common::sip::{Contact, HeaderId, SipMessage, SipUri};
use std::net::SocketAddr;

/// The address that a message's first Contact names, if it is one.
pub fn contact_address(message: &SipMessage) -> Option<SocketAddr> {
    address_of(contact_uri(message)?)
}

fn address_of(uri: &str) -> Option<SocketAddr> {
    let uri = SipUri::parse(uri).ok()?;
    Some(SocketAddr::new(uri.host_ip()?, uri.port_or_default()))
}

/// The URI of a message's first Contact.
fn contact_uri(message: &SipMessage) -> Option<&str> {
    Some(Contact::parse(message.text_at(HeaderId::Contact, 0)?).ok()?.addr()?.uri_text)
}
