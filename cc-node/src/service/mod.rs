//! Who is called, and how (the SLC): one pipeline, each step a function that says what it found. `node` runs it for every
//! request that belongs to no dialog.
//!
//! identify → admit → locate, else route → fork
//!
//! - [`identify`]: a trunk by its source address; else a user by digest; else, in a domain without authentication, anyone.
//! - [`limits`]: how many calls whoever calls, and a trunk, may have at a time in the rack.
//! - [`locate`]: bindings of the address of record, in the replica.
//! - [`route`]: longest prefix → trunk, number rewriting; foreign domains only by a route.
//! - [`decide`] puts them in order. What each step found stays with the call as [`Decision`]s and can be shown.

pub mod identify;
pub mod limits;
pub mod locate;
pub mod route;

pub use identify::{Caller, Identified, identify};

use crate::effect::View;
use crate::record::{Decision, Hunt};
use crate::resolve::Destination;
use crate::station::Station;
use crate::stats::Rejection;
use common::config::{Auth, Domain};
use common::flow::{Flow, Peer};
use common::ids::ListenerId;
use common::location::Aor;
use common::sip::{SipUri, Uri};
use common::time::Time;
use smallvec::SmallVec;
use std::borrow::Cow;

/// Targets of one request, whatever is registered or configured (RFC 5393 Max-Breadth).
pub const MAX_TARGETS: usize = 60;

/// Somewhere a request can go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The new Request-URI.
    pub uri: String,
    /// Route values for it, topmost first.
    pub route: Vec<String>,
    pub next_hop: NextHop,
    /// The side as a dialog token will say; `None`: the flow to the address that its name leads to.
    pub peer: Option<Peer>,
    /// Equal orders are tried together, lower ones first.
    pub order: u16,
    pub hunt: Hunt,
    /// Whether a 3xx of it is followed.
    pub recurse: bool,
}

/// Where a choice is: known, or by a name that is still to be looked up (RFC 3263).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextHop {
    At(Flow),
    /// Requests leave from `listener` if that speaks the address's IP version.
    Named {
        destination: Destination,
        listener: ListenerId,
    },
}

/// A request that goes nowhere, and the answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    /// `None`: the usual phrase.
    pub reason: Option<String>,
    pub headers: Vec<(&'static str, String)>,
    pub counted: Rejection,
}

impl Refusal {
    pub fn new(status: u16, counted: Rejection) -> Refusal {
        Refusal { status, reason: None, headers: Vec::new(), counted }
    }

    pub fn because(status: u16, counted: Rejection, reason: impl Into<String>) -> Refusal {
        Refusal { reason: Some(reason.into()), ..Refusal::new(status, counted) }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Refusal {
        self.headers.push((name, value.into()));
        self
    }

    /// Nobody takes new calls: all nodes are draining.
    pub fn draining() -> Refusal {
        Refusal::because(503, Rejection::Full, "All Nodes Are Draining").with("Retry-After", "30")
    }

    /// 503 with a Retry-After: what is full now may not be in a moment.
    pub fn full(what: &str) -> Refusal {
        Refusal::because(503, Rejection::Full, format!("Too Many {what}")).with("Retry-After", "5")
    }
}

/// What a Request-URI names.
pub enum Named<'r, 'u> {
    /// A user of a domain of ours.
    Local {
        domain: &'r Domain,
        user: Cow<'u, str>,
    },
    /// A domain of ours, no user.
    Ourselves,
    Foreign {
        user: Cow<'u, str>,
    },
}

/// The meaning of a Request-URI for this caller: the VIP's own address and `tel:` stand for the caller's trunk's domain,
/// else for the default domain.
pub fn named<'r, 'u>(station: &'r Station, uri: &Uri<'u>, caller: Option<&Caller>) -> Named<'r, 'u> {
    let rack = &*station.rack;
    let default = || {
        let trunk = caller.and_then(Caller::trunk).and_then(|id| rack.trunk(id));
        trunk.and_then(|trunk| rack.trunk_domain(trunk)).or_else(|| rack.default_domain())
    };
    match uri {
        Uri::Sip(uri) => {
            let domain = match rack.domain(uri.host) {
                Some(domain) => Some(domain),
                None => rack.domain_of_host(uri.host, uri.port).and_then(|_| default()),
            };
            match (domain, uri.user_of_record()) {
                (Some(domain), Some(user)) => Named::Local { domain, user },
                (Some(_), None) => Named::Ourselves,
                (None, user) => Named::Foreign { user: user.unwrap_or_default() },
            }
        }
        Uri::Tel(tel) => match default() {
            Some(domain) => Named::Local { domain, user: tel.digits().into() },
            None => Named::Foreign { user: tel.digits().into() },
        },
        Uri::Other { .. } => Named::Foreign { user: "".into() },
    }
}

/// Where a new request goes, and how that was found.
pub struct Plan {
    pub choices: Vec<Choice>,
    pub decisions: Vec<Decision>,
}

/// The pipeline behind identify. `decisions` so far come in, those of the steps here are added.
pub fn decide(
    station: &Station,
    view: &dyn View,
    now: Time,
    caller: &Caller,
    uri: &Uri<'_>,
    mut decisions: Vec<Decision>,
) -> Result<Plan, Refusal> {
    may_reach(station, caller, uri)?;
    let choices = match named(station, uri, Some(caller)) {
        Named::Ourselves => return Err(Refusal::because(404, Rejection::NotFound, "No User In Request-URI")),
        Named::Local { domain, user } => {
            let aor = Aor::new(&user, &domain.name);
            let located = locate::locate(station, view, now, &aor, domain.recursion);
            decisions.push(located.decision(&aor));
            match located.reachable() {
                Some(choices) => choices?,
                None => match route::local(station, &domain.name, &aor, uri) {
                    Some((words, choices)) => {
                        decisions.push(Decision::Routed(words));
                        route::serving(view, choices, &mut decisions)
                    }
                    None => {
                        decisions.push(Decision::NoRoute { aor: aor.clone() });
                        return Err(locate::nobody(view, &aor));
                    }
                },
            }
        }
        Named::Foreign { user } => match route::foreign(station, &user, uri) {
            Some((words, choices)) => {
                decisions.push(Decision::Routed(words));
                route::serving(view, choices, &mut decisions)
            }
            None => return Err(Refusal::because(403, Rejection::Relaying, "Relaying To This Domain Is Not Allowed")),
        },
    };
    let choices = fork(choices);
    decisions.push(Decision::Forked { targets: choices.len(), groups: groups(&choices) });
    Ok(Plan { choices, decisions })
}

/// Whoever came in by a domain without authentication reaches domains without it; foreign ones only where no domain
/// asks for it. Else one open domain would open all of them.
pub fn may_reach(station: &Station, caller: &Caller, uri: &Uri<'_>) -> Result<(), Refusal> {
    if *caller != Caller::Anyone {
        return Ok(());
    }
    let open = match named(station, uri, None) {
        Named::Local { domain, .. } => domain.auth == Auth::None,
        Named::Ourselves => true,
        Named::Foreign { .. } => asks_nobody(station),
    };
    match open {
        true => Ok(()),
        false => Err(Refusal::because(403, Rejection::Forbidden, "This Domain Asks For Authentication")),
    }
}

/// Whether no domain of this rack asks for authentication.
pub fn asks_nobody(station: &Station) -> bool {
    station.rack.domains.iter().all(|domain| domain.auth == Auth::None)
}

/// Each way once, and not too many (RFC 3261 §16.5: a target set has no duplicates).
fn fork(choices: Vec<Choice>) -> Vec<Choice> {
    let mut kept: Vec<Choice> = Vec::with_capacity(choices.len());
    for choice in choices {
        let twice = |other: &Choice| other.next_hop == choice.next_hop && same_uri(&other.uri, &choice.uri);
        if kept.len() < MAX_TARGETS && !kept.iter().any(twice) {
            kept.push(choice);
        }
    }
    kept
}

fn same_uri(a: &str, b: &str) -> bool {
    a == b || matches!((SipUri::parse(a), SipUri::parse(b)), (Ok(a), Ok(b)) if a.same_as(&b))
}

fn groups(choices: &[Choice]) -> usize {
    let mut orders: SmallVec<[u16; 8]> = choices.iter().map(|c| c.order).collect();
    orders.sort_unstable();
    orders.dedup();
    orders.len()
}

#[cfg(test)]
mod tests;
