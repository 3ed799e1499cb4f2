//! The redirect server (RFC 3261 §8.3): a request that has targets is answered with them instead of being forwarded.
//! Called by `node` once `service` has found the targets; by domain or trunk (`mode`), or as the caller asks.

use crate::service::{Caller, Choice};
use crate::station::Station;
use common::config::Mode;
use common::sip::{HeaderId, SipMessage, Uri};

/// Whether this request is redirected. An ACK or CANCEL never comes here.
pub fn wanted(station: &Station, caller: &Caller, uri: &Uri<'_>, request: &SipMessage) -> bool {
    let rack = &*station.rack;
    let by_trunk = caller.trunk().and_then(|id| rack.trunk(id)).and_then(|trunk| trunk.mode);
    let by_domain = || {
        let host = uri.sip().and_then(|uri| rack.domain_of_host(uri.host, uri.port));
        host.or_else(|| rack.default_domain()).map(|domain| domain.mode)
    };
    match by_trunk.or_else(by_domain).unwrap_or_default() {
        Mode::Proxy => false,
        Mode::Redirect => true,
        Mode::Both => {
            request.words(HeaderId::RequestDisposition).any(|word| word.trim().eq_ignore_ascii_case("redirect"))
        }
    }
}

/// The answer: status, and a Contact for every target, best first. 302 where there is one, 300 where the caller has the
/// choice (§21.3). No Contact says how long it holds: it is good for this request (§8.3).
pub fn answer(choices: &[Choice]) -> (u16, Vec<(&'static str, String)>) {
    let last = choices.iter().map(|choice| choice.order).max().unwrap_or(0);
    let contact = |choice: &Choice| {
        let uri = &choice.uri;
        let value = match last {
            0 => format!("<{uri}>"),
            _ => format!("<{uri}>;q={}", q(choice.order, last)),
        };
        ("Contact", value)
    };
    let status = if choices.len() > 1 { 300 } else { 302 };
    (status, choices.iter().map(contact).collect())
}

/// Orders become q values that fall from 1 and stay above 0.
fn q(order: u16, last: u16) -> String {
    let thousandths = 1000 - u32::from(order) * 999 / u32::from(last.max(1));
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
        assert_eq!([q(0, 3), q(1, 3), q(2, 3), q(3, 3)], ["1", "0.667", "0.334", "0.001"]);
        assert_eq!(q(60, 60), "0.001");
    }
}
