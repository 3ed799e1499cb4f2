//! What a Request-URI names, for whom.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::station::NodeSetup;
use common::config::Rack;
use common::ids::{BootId, NodeId, TrunkId};
use common::keys::{Keys, RackKey};
use std::sync::Arc;

fn station() -> Station {
    let text = "name: t\nlisteners: [ { address: 192.0.2.1, port: 5060, transport: udp, advertise: sip.example } ]\n\
                domains: [ { name: a.test }, { name: b.test } ]\none_machine: { nodes: 1 }\n\
                trunks: [ { id: 3, name: t, domain: b.test, addresses: [\"10.9.0.1\"] } ]\n\
                routes: [ { domain: a.test, prefix: \"0\", trunk: t }, { domain: a.test, prefix: \"00\", trunk: t, strip: 2, add: \"+\" } ]\n";
    let rack = Rack::from_yaml("t.yaml", text).unwrap().expand();
    let keys = Arc::new(Keys::derive(&RackKey([1; 32])));
    Station::new(NodeSetup { id: NodeId(1), boot: BootId(1), worker: 0, rack: Arc::new(rack), keys })
}

fn name(uri: &str, caller: &Caller) -> String {
    match named(&station(), &Uri::parse(uri).unwrap(), Some(caller)) {
        Named::Local { domain, user } => Aor::new(&user, &domain.name).to_string(),
        Named::Ourselves => "us".into(),
        Named::Foreign { user } => format!("foreign {user}"),
    }
}

#[test]
fn a_request_uri_names_a_user_of_ours_or_of_somebody_else() {
    let trunk = Caller::Trunk(TrunkId(3));
    assert_eq!(name("sip:1@A.test", &Caller::Anyone), "1@a.test");
    assert_eq!(name("sip:1@192.0.2.1", &Caller::Anyone), "1@a.test");
    assert_eq!(name("sip:1@sip.example:5060", &Caller::Anyone), "1@a.test");
    assert_eq!(name("sip:1@192.0.2.1", &trunk), "1@b.test", "the VIP means the trunk's domain");
    assert_eq!(name("sip:1@a.test", &trunk), "1@a.test");
    assert_eq!(name("tel:+44-20-1234", &trunk), "+44201234@b.test");
    assert_eq!(name("sip:a.test", &trunk), "us");
    assert_eq!(name("sip:1@192.0.2.1:5099", &trunk), "foreign 1");
    assert_eq!(name("sip:1@c.test", &trunk), "foreign 1");
}

#[test]
fn the_longest_prefix_rewrites_the_number() {
    let station = station();
    let routed = |user: &str| {
        let aor = Aor::new(user, "a.test");
        let uri = format!("sip:{user}@a.test");
        route::local(&station, "a.test", &aor, &Uri::parse(&uri).unwrap()).map(|(_, choices)| choices[0].uri.clone())
    };
    assert_eq!(routed("0044").as_deref(), Some("sip:+44@10.9.0.1:5060"));
    assert_eq!(routed("044").as_deref(), Some("sip:044@10.9.0.1:5060"));
    assert_eq!(routed("144"), None);
}
