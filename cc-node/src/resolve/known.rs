//! What is believed of an answer: only records of the kind that was asked, only as many as are of use, only names that
//! are names, in an order that does not depend on how the server turned them.

use super::name::name;
use crate::dns::{DnsAnswer, DnsData, DnsFailure, DnsRecord, Kind, Question};
use std::net::IpAddr;
use std::sync::Arc;

/// Records of one answer that are looked at; a longer answer is cut.
pub const RECORDS: usize = 64;

/// An answer as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// NAPTR rules that could be SIP's, by order and preference (RFC 3403 §4.1).
    Rules(Vec<Rule>),
    /// SRV, sorted; the draw among equals comes later.
    Servers {
        servers: Vec<Server>,
        hints: Vec<Hint>,
    },
    /// SRV with `.` as its only target.
    NoService,
    /// Sorted, each once.
    Addresses(Vec<IpAddr>),
    NoSuchName,
    NoRecords,
}

/// A NAPTR record that RFC 3263 §4.1 can use: flag `s`, an empty regexp.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    pub order: u16,
    pub preference: u16,
    /// Upper case, as in `SIP+D2U`.
    pub services: String,
    pub replacement: Arc<str>,
}

/// An SRV record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    pub priority: u16,
    pub weight: u16,
    pub target: Arc<str>,
    pub port: u16,
}

/// Addresses of a target that came along with the SRV records and count at least as long. They serve this answer's
/// readers only: what stands in an additional section must not answer anybody else's question (RFC 2181 §5.4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    pub target: Arc<str>,
    pub kind: Kind,
    pub addresses: Vec<IpAddr>,
}

/// What an answer says, and for how long (`None`: it does not say).
pub struct Judged {
    pub known: Known,
    pub ttl_s: Option<u32>,
}

/// Reads an answer to `question`.
pub fn judge(question: &Question, answer: DnsAnswer) -> Result<Judged, DnsFailure> {
    let (answers, additional) = match answer {
        DnsAnswer::Failed(failure) => return Err(failure),
        DnsAnswer::NoSuchName { ttl_s } => return Ok(Judged { known: Known::NoSuchName, ttl_s }),
        DnsAnswer::NoRecords { ttl_s } => return Ok(Judged { known: Known::NoRecords, ttl_s }),
        DnsAnswer::Records { answers, additional } => (answers, additional),
    };
    let of_kind: Vec<&DnsRecord> = answers.iter().filter(|r| kind(&r.data) == question.kind).take(RECORDS).collect();
    // A set has one TTL; where a server gives several, the shortest counts (RFC 2181 §5.2).
    let ttl_s = of_kind.iter().map(|r| seconds(r.ttl_s)).min();
    let known = match question.kind {
        Kind::Naptr => rules(&of_kind),
        Kind::Srv => servers(&of_kind, &additional, ttl_s.unwrap_or(0)),
        Kind::A | Kind::Aaaa => addresses(&of_kind),
    };
    Ok(Judged { known, ttl_s })
}

fn kind(data: &DnsData) -> Kind {
    match data {
        DnsData::Naptr { .. } => Kind::Naptr,
        DnsData::Srv { .. } => Kind::Srv,
        DnsData::A(_) => Kind::A,
        DnsData::Aaaa(_) => Kind::Aaaa,
    }
}

/// A TTL with the highest bit set counts as 0 (RFC 2181 §8).
fn seconds(ttl_s: u32) -> u32 {
    if ttl_s > i32::MAX as u32 { 0 } else { ttl_s }
}

fn rules(records: &[&DnsRecord]) -> Known {
    let rule = |r: &&DnsRecord| match &r.data {
        DnsData::Naptr { order, preference, flags, services, regexp, replacement }
            if flags.eq_ignore_ascii_case("s") && regexp.is_empty() =>
        {
            let (order, preference) = (*order, *preference);
            Some(Rule { order, preference, services: services.to_ascii_uppercase(), replacement: name(replacement)? })
        }
        _ => None,
    };
    let mut rules: Vec<Rule> = records.iter().filter_map(rule).filter(|r| r.services.starts_with("SIP")).collect();
    rules.sort();
    rules.dedup();
    if rules.is_empty() { Known::NoRecords } else { Known::Rules(rules) }
}

fn servers(records: &[&DnsRecord], additional: &[DnsRecord], ttl_s: u32) -> Known {
    let mut none = false;
    let mut servers = Vec::new();
    for record in records {
        let DnsData::Srv { priority, weight, port, target } = &record.data else { continue };
        none |= target == "." || target.is_empty();
        if let Some(target) = name(target).filter(|_| *port > 0) {
            servers.push(Server { priority: *priority, weight: *weight, target, port: *port });
        }
    }
    servers.sort();
    servers.dedup();
    match (servers.is_empty(), none) {
        (true, true) => Known::NoService,
        (true, false) => Known::NoRecords,
        (false, _) => {
            let hints = hints(&servers, additional, ttl_s);
            Known::Servers { servers, hints }
        }
    }
}

fn hints(servers: &[Server], additional: &[DnsRecord], srv_ttl_s: u32) -> Vec<Hint> {
    let mut hints: Vec<Hint> = Vec::new();
    let mut short_lived = Vec::new();
    for record in additional.iter().take(2 * RECORDS) {
        let Some(address) = address(&record.data) else { continue };
        let Some(owner) = name(&record.name).filter(|owner| servers.iter().any(|s| s.target == *owner)) else {
            continue;
        };
        let kind = kind(&record.data);
        if seconds(record.ttl_s) < srv_ttl_s {
            short_lived.push((owner.clone(), kind));
        }
        match hints.iter_mut().find(|h| h.target == owner && h.kind == kind) {
            Some(hint) => hint.addresses.push(address),
            None => hints.push(Hint { target: owner, kind, addresses: vec![address] }),
        }
    }
    hints.retain(|h| !short_lived.iter().any(|(target, kind)| h.target == *target && h.kind == *kind));
    for hint in &mut hints {
        hint.addresses.sort();
        hint.addresses.dedup();
    }
    hints
}

fn addresses(records: &[&DnsRecord]) -> Known {
    let mut found: Vec<IpAddr> = records.iter().filter_map(|r| address(&r.data)).collect();
    found.sort();
    found.dedup();
    if found.is_empty() { Known::NoRecords } else { Known::Addresses(found) }
}

/// Addresses that can be sent to: not those that mean nobody or many.
fn address(data: &DnsData) -> Option<IpAddr> {
    let ip = match data {
        DnsData::A(ip) => IpAddr::V4(*ip),
        DnsData::Aaaa(ip) => IpAddr::V6(*ip),
        _ => return None,
    };
    let broadcast = ip == IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
    (!ip.is_unspecified() && !ip.is_multicast() && !broadcast).then_some(ip)
}
