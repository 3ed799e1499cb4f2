//! Request methods (RFC 3261 §7.1 and its extensions). Case-sensitive, as the RFC says.

use super::lex;
use std::fmt;

/// A method as a small number: what the load manager and metrics keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum MethodKind {
    Invite,
    Ack,
    Cancel,
    Bye,
    Register,
    Options,
    Info,
    Update,
    Prack,
    Subscribe,
    Notify,
    Publish,
    Message,
    Refer,
    Other,
}

impl MethodKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [MethodKind; 15] = [
        MethodKind::Invite,
        MethodKind::Ack,
        MethodKind::Cancel,
        MethodKind::Bye,
        MethodKind::Register,
        MethodKind::Options,
        MethodKind::Info,
        MethodKind::Update,
        MethodKind::Prack,
        MethodKind::Subscribe,
        MethodKind::Notify,
        MethodKind::Publish,
        MethodKind::Message,
        MethodKind::Refer,
        MethodKind::Other,
    ];

    pub fn of(method: &[u8]) -> MethodKind {
        match method {
            b"INVITE" => MethodKind::Invite,
            b"ACK" => MethodKind::Ack,
            b"CANCEL" => MethodKind::Cancel,
            b"BYE" => MethodKind::Bye,
            b"REGISTER" => MethodKind::Register,
            b"OPTIONS" => MethodKind::Options,
            b"INFO" => MethodKind::Info,
            b"UPDATE" => MethodKind::Update,
            b"PRACK" => MethodKind::Prack,
            b"SUBSCRIBE" => MethodKind::Subscribe,
            b"NOTIFY" => MethodKind::Notify,
            b"PUBLISH" => MethodKind::Publish,
            b"MESSAGE" => MethodKind::Message,
            b"REFER" => MethodKind::Refer,
            _ => MethodKind::Other,
        }
    }

    /// A closed set of metric labels; never text from the network.
    pub fn label(self) -> &'static str {
        match self {
            MethodKind::Invite => "INVITE",
            MethodKind::Ack => "ACK",
            MethodKind::Cancel => "CANCEL",
            MethodKind::Bye => "BYE",
            MethodKind::Register => "REGISTER",
            MethodKind::Options => "OPTIONS",
            MethodKind::Info => "INFO",
            MethodKind::Update => "UPDATE",
            MethodKind::Prack => "PRACK",
            MethodKind::Subscribe => "SUBSCRIBE",
            MethodKind::Notify => "NOTIFY",
            MethodKind::Publish => "PUBLISH",
            MethodKind::Message => "MESSAGE",
            MethodKind::Refer => "REFER",
            MethodKind::Other => "OTHER",
        }
    }

    /// INVITE, SUBSCRIBE and REFER make a dialog when they carry no To tag.
    pub fn creates_dialog(self) -> bool {
        matches!(self, MethodKind::Invite | MethodKind::Subscribe | MethodKind::Refer)
    }
}

/// A method with its text. Cloning allocates only for a method that we do not know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    Invite,
    Ack,
    Cancel,
    Bye,
    Register,
    Options,
    Info,
    Update,
    Prack,
    Subscribe,
    Notify,
    Publish,
    Message,
    Refer,
    /// Any other token.
    Other(Box<str>),
}

impl Method {
    /// `None` if the octets are no token (RFC 3261 §25.1).
    pub fn parse(octets: &[u8]) -> Option<Method> {
        Some(match MethodKind::of(octets) {
            MethodKind::Invite => Method::Invite,
            MethodKind::Ack => Method::Ack,
            MethodKind::Cancel => Method::Cancel,
            MethodKind::Bye => Method::Bye,
            MethodKind::Register => Method::Register,
            MethodKind::Options => Method::Options,
            MethodKind::Info => Method::Info,
            MethodKind::Update => Method::Update,
            MethodKind::Prack => Method::Prack,
            MethodKind::Subscribe => Method::Subscribe,
            MethodKind::Notify => Method::Notify,
            MethodKind::Publish => Method::Publish,
            MethodKind::Message => Method::Message,
            MethodKind::Refer => Method::Refer,
            MethodKind::Other => {
                if !lex::is_token(octets) {
                    return None;
                }
                Method::Other(std::str::from_utf8(octets).ok()?.into())
            }
        })
    }

    pub fn as_str(&self) -> &str {
        match self {
            Method::Other(name) => name,
            known => known.kind().label(),
        }
    }

    pub fn kind(&self) -> MethodKind {
        match self {
            Method::Invite => MethodKind::Invite,
            Method::Ack => MethodKind::Ack,
            Method::Cancel => MethodKind::Cancel,
            Method::Bye => MethodKind::Bye,
            Method::Register => MethodKind::Register,
            Method::Options => MethodKind::Options,
            Method::Info => MethodKind::Info,
            Method::Update => MethodKind::Update,
            Method::Prack => MethodKind::Prack,
            Method::Subscribe => MethodKind::Subscribe,
            Method::Notify => MethodKind::Notify,
            Method::Publish => MethodKind::Publish,
            Method::Message => MethodKind::Message,
            Method::Refer => MethodKind::Refer,
            Method::Other(_) => MethodKind::Other,
        }
    }

    /// Metric label: the method, or `OTHER`.
    pub fn label(&self) -> &'static str {
        self.kind().label()
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sip_methods_are_case_sensitive_and_labels_are_closed() {
        assert_eq!(Method::parse(b"INVITE"), Some(Method::Invite));
        assert_eq!(Method::parse(b"Invite").map(|m| m.label()), Some("OTHER"));
        assert_eq!(Method::parse(b"Invite").map(|m| m.to_string()), Some("Invite".into()));
        assert_eq!(Method::parse(b"IN VITE"), None);
        assert_eq!(Method::parse(b""), None);
        for kind in MethodKind::ALL {
            assert_eq!(kind, if kind == MethodKind::Other { kind } else { MethodKind::of(kind.label().as_bytes()) });
            assert_eq!(MethodKind::ALL[kind as usize], kind);
        }
    }
}
