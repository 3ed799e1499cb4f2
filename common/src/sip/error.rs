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

/// What a message is refused for, as a closed set: a label for counters, never text from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Fault {
    /// More octets than `limits.message_bytes`, or than fit into one datagram inside the rack.
    MessageSize,
    /// More header lines than `limits.headers`.
    Headers,
    /// A header longer than `limits.header_value_bytes`.
    HeaderSize,
    /// A list of more values than `limits.header_values`.
    Values,
    /// A Request-URI longer than `limits.uri_bytes`.
    RequestUriSize,
    /// A URI in a header longer than `limits.uri_bytes`.
    UriSize,
    /// A value or URI with more parameters than `limits.params`.
    Params,
    /// A parameter longer than `limits.param_bytes`.
    ParamSize,
    /// A display name longer than `limits.display_name_bytes`.
    DisplayNameSize,
    /// The first line is none of SIP.
    StartLine,
    /// A line of the head is not `Name: value`.
    HeaderLine,
    /// A carriage return without line feed.
    CarriageReturn,
    /// The head does not end.
    CutOff,
    /// Readable and within the limits, but wrong: a header is missing, malformed or stands twice.
    Syntax,
}

impl Fault {
    pub const ALL: [Fault; 14] = [
        Fault::MessageSize,
        Fault::Headers,
        Fault::HeaderSize,
        Fault::Values,
        Fault::RequestUriSize,
        Fault::UriSize,
        Fault::Params,
        Fault::ParamSize,
        Fault::DisplayNameSize,
        Fault::StartLine,
        Fault::HeaderLine,
        Fault::CarriageReturn,
        Fault::CutOff,
        Fault::Syntax,
    ];

    /// Metric label.
    pub fn label(self) -> &'static str {
        match self {
            Fault::MessageSize => "message_size",
            Fault::Headers => "headers",
            Fault::HeaderSize => "header_size",
            Fault::Values => "values",
            Fault::RequestUriSize => "request_uri_size",
            Fault::UriSize => "uri_size",
            Fault::Params => "params",
            Fault::ParamSize => "param_size",
            Fault::DisplayNameSize => "display_name_size",
            Fault::StartLine => "start_line",
            Fault::HeaderLine => "header_line",
            Fault::CarriageReturn => "carriage_return",
            Fault::CutOff => "cut_off",
            Fault::Syntax => "syntax",
        }
    }
}

/// Why a request is refused before anything is done for it (RFC 3261 §16.3 and §8.2), or why a response is dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status} {reason}")]
pub struct Invalid {
    /// 400, 414, 416, 505 or 513.
    pub status: u16,
    /// Reason phrase that names what was wrong; printable ASCII.
    pub reason: String,
    pub fault: Fault,
}

impl From<ParseError> for Invalid {
    fn from(error: ParseError) -> Invalid {
        let bad = |fault, reason: &str| Invalid { status: 400, reason: reason.into(), fault };
        match error {
            ParseError::TooLarge { .. } => {
                Invalid { status: 513, reason: "Message Too Large".into(), fault: Fault::MessageSize }
            }
            ParseError::TooManyHeaders { .. } => bad(Fault::Headers, "Too Many Headers"),
            ParseError::StartLine => bad(Fault::StartLine, "Malformed First Line"),
            ParseError::HeaderLine { .. } => bad(Fault::HeaderLine, "A Line Of The Head Is No Header"),
            ParseError::BareCarriageReturn { .. } => bad(Fault::CarriageReturn, "Carriage Return Without Line Feed"),
            ParseError::NoEndOfHeaders => bad(Fault::CutOff, "The Head Does Not End"),
            ParseError::Missing(id) => bad(Fault::Syntax, &format!("Missing {}", id.name())),
            ParseError::Malformed { header, .. } | ParseError::NotText(header) => {
                bad(Fault::Syntax, &format!("Malformed {}", header.name()))
            }
            ParseError::Uri(_) => bad(Fault::Syntax, "Malformed Message"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sip_faults_stand_at_their_numbers() {
        assert!(Fault::ALL.iter().enumerate().all(|(at, fault)| *fault as usize == at));
    }
}
