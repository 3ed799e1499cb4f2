//! The redirect server (RFC 3261 §8.3): a request that has targets is answered with them instead of being forwarded.
//! Called by `node` for a caller who is known; by domain or trunk (`mode`), or as the caller asks.

use crate::service::{self, Caller, Named, Refusal, locate};
use crate::station::Station;
use crate::turn::Turn;
use common::config::Mode;
use common::location::Aor;
use common::sip::{HeaderId, SipMessage, Uri};

/// Contacts of one answer.
const MAX_CONTACTS: usize = 60;

/// Whether this request is redirected. An ACK or CANCEL never comes here.
pub fn wanted(station: &Station, caller: &Caller, uri: &Uri<'_>, request: &SipMessage) -> bool {
    let rack = &*station.rack;
    let by_trunk = caller.trunk().and_then(|id| rack.trunk(id)).and_then(|trunk| trunk.mode);
    let by_domain = || {
        let host = uri.sip().and_then(|uri| rack.domain_of_host(uri.host, uri.port));
        host.or_else(|| rack.default_domain()).map(|domain| domain.mode)
    };
    let asks = || request.texts(HeaderId::RequestDisposition).any(|word| word.trim().eq_ignore_ascii_case("redirect"));
    match by_trunk.or_else(by_domain).unwrap_or_default() {
        Mode::Proxy => false,
        Mode::Redirect => true,
        Mode::Both => asks(),
    }
}

/// An answer that tells where to go.
pub struct Redirection {
    /// 300 or 302.
    pub status: u16,
    /// Contact header lines, best first.
    pub contacts: Vec<(&'static str, String)>,
}

/// The answer: status, and a Contact for every target, best first. 302 where there is one, 300 where the caller has the
/// choice (§21.3). A user's contacts are told as registered, those that we could not reach ourselves too; a number's are
/// the trunk's addresses. No Contact says how long it holds: it is good for this request (§8.3).
pub fn answer(station: &Station, turn: &Turn<'_>, caller: &Caller, uri: &Uri<'_>) -> Result<Redirection, Refusal> {
    service::may_reach(station, caller, uri)?;
    let bindings = match service::named(station, uri, Some(caller)) {
        Named::Local { domain, user } => locate::live(turn.view, turn.now, &Aor::new(&user, &domain.name)),
        _ => Vec::new(),
    };
    let mut targets: Vec<(String, u16)> = bindings.into_iter().map(|b| (b.contact, b.q_thousandths)).collect();
    if targets.is_empty() {
        let plan = service::decide(station, turn.view, turn.now, caller, uri, Vec::new())?;
        let last = plan.choices.iter().map(|choice| choice.order).max().unwrap_or(0);
        targets = plan.choices.into_iter().map(|choice| (choice.uri, q_of_order(choice.order, last))).collect();
    }
    targets.truncate(MAX_CONTACTS);
    let status = if targets.len() > 1 { 300 } else { 302 };
    let same = targets.iter().all(|(_, q)| *q == targets[0].1);
    let contact = |(uri, q): &(String, u16)| match same {
        true => ("Contact", format!("<{uri}>")),
        false => ("Contact", format!("<{uri}>;q={}", qvalue(*q))),
    };
    Ok(Redirection { status, contacts: targets.iter().map(contact).collect() })
}

/// Orders become q values that fall from 1 and stay above 0.
fn q_of_order(order: u16, last: u16) -> u16 {
    (1000 - u32::from(order) * 999 / u32::from(last.max(1))) as u16
}

fn qvalue(thousandths: u16) -> String {
    match thousandths {
        1000.. => "1".into(),
        less => format!("0.{less:03}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_become_falling_q_values() {
        let q = |order, last| qvalue(q_of_order(order, last));
        assert_eq!([q(0, 3), q(1, 3), q(2, 3), q(3, 3)], ["1", "0.667", "0.334", "0.001"]);
        assert_eq!(q(60, 60), "0.001");
    }
}
