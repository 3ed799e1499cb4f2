//! The SIP message: bytes in, views and edits out. Pure; every server uses it.
//!
//! Everything here reads hostile input: work is linear in the octets, nothing recurses, nothing panics, and what is
//! not understood passes through untouched. In the order of use:
//!
//! - `scan`: the load manager's one pass over a datagram: keep-alive, STUN or SIP; first line, token, Call-ID.
//! - `message`: one buffer and an index of offsets; `views` on it are read lazily, `validate` says what a proxy refuses.
//!   `limits`: what a message may measure; `remains`: enough of a broken request to answer it.
//! - `uri`, `headers`: typed views, one header a file, all borrowing from the buffer.
//! - `edit`: what a proxy changes, applied in one copy; `reply`: a response made from its request.
//! - `listeners`: which hosts and ports are this rack's own address.
//! - `lex`, `start_line`, `stun`: what the others are made of.

pub mod edit;
pub mod error;
pub mod header_id;
pub mod headers;
mod lex;
mod limits;
pub mod listeners;
pub mod message;
pub mod method;
pub mod params;
mod remains;
pub mod reply;
pub mod scan;
mod start_line;
pub mod stun;
pub mod uri;
mod validate;
mod views;

pub use edit::{Edit, HeaderName};
pub use error::{Fault, Invalid, ParseError};
pub use header_id::{HeaderId, HeaderSet};
pub use headers::auth::{Algorithm, Challenge, Credentials};
pub use headers::contact::Contact;
pub use headers::cseq::CSeq;
pub use headers::name_addr::NameAddr;
pub use headers::via::Via;
pub use limits::Limits;
pub use listeners::{ListenerName, Listeners};
pub use message::SipMessage;
pub use method::{Method, MethodKind};
pub use params::Params;
pub use reply::{Reply, reason_phrase};
pub use scan::{Gist, Scan, ScanError, Scanned, Start, call_id, gist, scan};
pub use uri::{Scheme, SipUri, TelUri, Uri};
