//! Headers that are for the inside of the trust domain. A peer outside may neither bring them in nor see them, however it
//! writes their names: the parser has cut white space before the colon and knows names without case (CVE-2020-28361).

use super::Edge;
use super::privacy::Wishes;
use common::config::Rack;
use common::sip::{Edit, HeaderId, HeaderSet, SipMessage};

/// Private headers with the RFC that keeps them inside: charging, access network and visited network (RFC 7315), asserted
/// service (6050), served user (5502), user database (4457), profile key (5002), early media (5009), private network
/// (7316), charge info (8496), DCS (5503), and the cellular network's (7315's successor in 3GPP).
const PRIVATE: [&str; 18] = [
    "P-Access-Network-Info",
    "P-Asserted-Service",
    "P-Charge-Info",
    "P-Charging-Function-Addresses",
    "P-Charging-Vector",
    "P-DCS-Billing-Info",
    "P-DCS-LAES",
    "P-DCS-OSPS",
    "P-DCS-Redirect",
    "P-DCS-Trace-Party-ID",
    "P-Early-Media",
    "P-Private-Network-Indication",
    "P-Profile-Key",
    "P-Served-User",
    "P-User-Database",
    "P-Visited-Network-ID",
    "Cellular-Network-Info",
    "Relayed-Charge",
];

/// Not needed for a call, and telling (RFC 3323 §4.1).
const TELLING: HeaderSet = HeaderSet::NONE
    .with(HeaderId::Subject)
    .with(HeaderId::CallInfo)
    .with(HeaderId::Organization)
    .with(HeaderId::UserAgent)
    .with(HeaderId::ReplyTo)
    .with(HeaderId::InReplyTo);

/// All others of which one may have to go, besides what the rack's file lists.
const GUARDED: HeaderSet = HeaderSet::NONE
    .with(HeaderId::PAssertedIdentity)
    .with(HeaderId::PPreferredIdentity)
    .with(HeaderId::HistoryInfo)
    .with(HeaderId::Other);

/// What a header says of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Public,
    /// A hint for the first proxy; it goes no further (RFC 3325 §9.2, RFC 6050 §4.2).
    Preferred,
    /// An identity that only a trusted peer may assert. Remote-Party-ID is what came before P-Asserted-Identity; trunks
    /// still believe it.
    Asserted,
    Private,
    History,
    Telling,
}

impl Kind {
    fn of(rack: &Rack, id: HeaderId, name: &[u8]) -> Kind {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match id {
            HeaderId::PAssertedIdentity => Kind::Asserted,
            HeaderId::PPreferredIdentity => Kind::Preferred,
            HeaderId::HistoryInfo => Kind::History,
            _ if rack
                .private_headers
                .iter()
                .any(|own| HeaderId::of(own.as_bytes()) == id && (id != HeaderId::Other || is(own))) =>
            {
                Kind::Private
            }
            _ if TELLING.contains(id) => Kind::Telling,
            HeaderId::Other if is("Remote-Party-ID") => Kind::Asserted,
            HeaderId::Other if is("P-Preferred-Service") => Kind::Preferred,
            HeaderId::Other if PRIVATE.iter().any(|known| is(known)) => Kind::Private,
            _ => Kind::Public,
        }
    }

    fn goes(self, edge: Edge, wishes: &Wishes, user_level: bool) -> bool {
        match self {
            Kind::Public => false,
            Kind::Preferred => true,
            Kind::Asserted => !edge.from || (!edge.to && wishes.withhold_identity()),
            Kind::Private => !edge.from || !edge.to,
            Kind::History => !edge.to && wishes.withhold_history(),
            Kind::Telling => user_level,
        }
    }
}

/// Names of headers that may have to go.
fn suspects(rack: &Rack, user_level: bool) -> HeaderSet {
    let listed = rack.private_headers.iter().fold(GUARDED, |names, own| names.with(HeaderId::of(own.as_bytes())));
    if user_level { listed.or(TELLING) } else { listed }
}

/// Takes off what may not cross this edge. `user_level`: what `Privacy: user` asks for is done too. A message that has
/// no header of such a name, and none whose name has no number, is not looked through.
pub(super) fn strip(
    rack: &Rack,
    message: &SipMessage,
    edge: Edge,
    wishes: &Wishes,
    user_level: bool,
    edit: &mut Edit<'_>,
) {
    if !message.has_any(suspects(rack, user_level)) {
        return;
    }
    let goes = |id, name: &[u8]| Kind::of(rack, id, name).goes(edge, wishes, user_level);
    if message.headers().any(|(id, name, _)| goes(id, name)) {
        edit.remove_lines(|id, name, _| goes(id, name));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn whatever_may_have_to_go_is_looked_for() {
        let text = "name: t\nlisteners: [ { address: 192.0.2.1, port: 5060, transport: udp } ]\ndomains: [ { name: a.test } ]\n\
                    one_machine: { nodes: 1 }\nprivate_headers: [Diversion, X-Account]\n";
        let rack = Rack::from_yaml("t.yaml", text).unwrap();
        for id in HeaderId::KNOWN {
            let public = Kind::of(&rack, *id, id.name().as_bytes()) == Kind::Public;
            assert_eq!(suspects(&rack, true).contains(*id), !public, "{}", id.name());
        }
        assert!(
            suspects(&rack, false).contains(HeaderId::Diversion) && suspects(&rack, false).contains(HeaderId::Other)
        );
        assert!(!suspects(&rack, false).contains(HeaderId::Subject));
    }
}
