//! Route preprocessing (RFC 3261 §16.4): which Request-URI and Route a request really has once the values that name this
//! rack are off it, and which token they carried.

use super::checks::loop_hash;
use crate::station::Station;
use common::flow::Flow;
use common::sip::{HeaderId, NameAddr, ParseError, SipMessage, SipUri};

/// The request as the rest of the proxy goes by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routed {
    pub uri: String,
    /// Route values that remain, topmost first.
    pub routes: Vec<String>,
    /// The `sr` values of the leading Route values of ours (and of the Request-URI, behind a strict router), each once: one
    /// for every time that the dialog passes through this rack.
    pub tokens: Vec<String>,
    /// Whether anything was taken off.
    pub changed: bool,
    /// What our branches for this request end with; a Via of ours that ends so too is a loop (RFC 5393).
    pub loop_hash: String,
}

/// Times that one dialog may pass through this rack and still be known each time.
const MAX_PASSAGES: usize = 8;

pub fn preprocess(station: &Station, request: &SipMessage, source: &Flow) -> Result<Routed, ParseError> {
    let mut routed = Routed { uri: request.request_uri().to_owned(), ..Routed::default() };
    let routes = request.routes()?;
    let mut remaining = &routes[..];
    if let Some(ours) = own_route(station, &routed.uri) {
        // A strict router put our Record-Route value into the Request-URI; what it took out stands last.
        if let Some((last, rest)) = remaining.split_last() {
            let token = token(&ours);
            routed.add_token(token);
            routed.uri = match SipUri::parse(last.uri_text) {
                Ok(taken_out) => taken_out.without_headers().to_string(),
                Err(_) => last.uri_text.to_owned(),
            };
            routed.changed = true;
            remaining = rest;
        }
    }
    while let Some((first, rest)) = remaining.split_first() {
        let Some(uri) = SipUri::parse(first.uri_text).ok().filter(|uri| station.vip.names_uri(uri)) else { break };
        routed.add_token(token(&uri));
        routed.changed = true;
        remaining = rest;
    }
    routed.routes = remaining.iter().map(|route| route.raw.to_owned()).collect();
    routed.loop_hash = loop_hash(station, request, &routed, source);
    Ok(routed)
}

/// A Request-URI that is a Record-Route value of ours: it names the VIP and asks for loose routing.
fn own_route<'u>(station: &Station, uri: &'u str) -> Option<SipUri<'u>> {
    // Most have no parameter, so no `lr`.
    let with_parameters = Some(uri).filter(|uri| uri.contains(';'));
    SipUri::parse(with_parameters?).ok().filter(|uri| uri.is_loose() && station.vip.names_uri(uri))
}

fn token(uri: &SipUri<'_>) -> Option<String> {
    uri.params.value("sr").map(str::to_owned)
}

impl Routed {
    /// Two values with one token are the two listeners of one passage.
    fn add_token(&mut self, token: Option<String>) {
        let known = self.tokens.last() == token.as_ref() || self.tokens.len() == MAX_PASSAGES;
        self.tokens.extend(token.filter(|_| !known));
    }
}

/// The next hop's URI of a request with this Request-URI and these Route values (§16.6 step 6 and 7), and what both
/// become: behind a strict router its URI is the Request-URI and ours goes last.
pub fn next_hop(uri: String, mut routes: Vec<String>) -> Result<(String, String, Vec<String>), ParseError> {
    let Some(first) = routes.first() else { return Ok((uri.clone(), uri, routes)) };
    let first = NameAddr::parse(HeaderId::Route, first)?;
    let hop = SipUri::parse(first.uri_text)?;
    if hop.is_loose() {
        return Ok((first.uri_text.to_owned(), uri, routes));
    }
    let hop = hop.without_headers().to_string();
    routes.remove(0);
    routes.push(format!("<{uri}>"));
    Ok((hop.clone(), hop, routes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strict_router_becomes_the_request_uri_without_the_headers_of_its_route() {
        let next =
            |route: &str| next_hop("sip:bob@10.0.0.2".into(), vec![route.into(), "<sip:later;lr>".into()]).unwrap();
        let behind: Vec<String> = vec!["<sip:later;lr>".into(), "<sip:bob@10.0.0.2>".into()];
        for route in ["<sip:10.0.0.1:50>", "<sip:10.0.0.1:50?0;lr;sr=E>"] {
            assert_eq!(next(route), ("sip:10.0.0.1:50".into(), "sip:10.0.0.1:50".into(), behind.clone()));
        }
    }

    #[test]
    fn before_a_loose_router_all_stays_as_it_is() {
        let (hop, uri, routes) = next_hop("sip:bob@10.0.0.2".into(), vec!["<sip:10.0.0.1;lr>".into()]).unwrap();
        assert_eq!((&*hop, &*uri), ("sip:10.0.0.1;lr", "sip:bob@10.0.0.2"));
        assert_eq!(routes, ["<sip:10.0.0.1;lr>"]);
    }
}
