//! What can be wrong with a message, and the status it becomes.

use super::HeaderId;

/// Why octets are not a SIP message, or why a header that was asked for cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("the message has {length} octets, the limit is {limit}")]
    TooLarge { length: usize, limit: usize },
    #[error("the first line is neither `METHOD URI SIP/2.0` nor `SIP/2.0 CODE REASON`")]
    StartLine,
    #[error("the line at octet {at} is not `Name: value`")]
    HeaderLine { at: usize },
    #[error("more than {limit} headers")]
    TooManyHeaders { limit: usize },
    #[error("a carriage return without line feed at octet {at}")]
    BareCarriageReturn { at: usize },
    #[error("no empty line ends the headers")]
    NoEndOfHeaders,
    #[error("no {} header", .0.name())]
    Missing(HeaderId),
    #[error("{}: {why}", .header.name())]
    Malformed { header: HeaderId, why: &'static str },
    #[error("{}: octets that are not UTF-8", .0.name())]
    NotText(HeaderId),
    #[error("URI: {0}")]
    Uri(&'static str),
}

/// Why a request is refused before anything is done for it (RFC 3261 §16.3 and §8.2), or why a response is dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status} {reason}")]
pub struct Invalid {
    /// 400, 414, 416 or 505.
    pub status: u16,
    /// Reason phrase that names what was wrong; printable ASCII.
    pub reason: String,
}
