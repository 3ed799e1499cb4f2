//! What a rack file may say, and what is answered to one that is wrong.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::ids::{ListenerId, NodeId, TrunkId};

const GOOD: &str = "\
name: test
listeners:
  - { address: 127.0.0.1, port: 5060, transport: udp }
domains:
  - { name: rack.test }
  - { name: other.test, auth: none, provisioning: open }
one_machine: { nodes: 3 }
trunks:
  - { id: 1, name: carrier, addresses: [\"192.0.2.10:5060\", \"192.0.2.11\"] }
  - { id: 2, name: abroad, addresses: [\"192.0.2.20\"] }
routes:
  - { domain: rack.test, prefix: \"+\", trunk: carrier }
  - { domain: rack.test, prefix: +44, trunk: abroad, strip: 1, add: \"00\" }
  - { domain: foreign, trunk: carrier }
";

/// What is said about GOOD with `from` replaced by `to`.
fn said(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from} is not in the text");
    Rack::from_yaml("siprack.yaml", &GOOD.replacen(from, to, 1)).unwrap_err().to_string()
}

#[test]
fn a_good_file_is_taken() {
    let rack = Rack::from_yaml("siprack.yaml", GOOD).unwrap();
    assert_eq!(rack.domains[0].auth, Auth::Digest);
    assert_eq!(rack.domains[1].provisioning, Provisioning::Open);
    assert_eq!(rack.listener(ListenerId(0)).unwrap().port, 5060);
}

#[test]
fn a_trunk_is_trusted_unless_it_is_said_that_it_is_not() {
    let rack = Rack::from_yaml("siprack.yaml", &GOOD.replace("{ id: 2,", "{ id: 2, trusted: false,")).unwrap();
    assert_eq!(rack.trunks.iter().map(|t| t.trusted).collect::<Vec<_>>(), [true, false]);
    assert_eq!(Rack::from_json(&rack.expand().to_json().unwrap()).unwrap(), rack.expand());
}

#[test]
fn a_trunk_is_probed_if_that_is_asked_for() {
    let with = |probe: &str| GOOD.replace("name: abroad,", &format!("name: abroad, probe: {probe},"));
    let rack = Rack::from_yaml("siprack.yaml", &with("{}")).unwrap();
    assert_eq!((&rack.trunks[0].probe, &rack.trunks[1].probe), (&None, &Some(Probe::default())));
    let rack = Rack::from_yaml("siprack.yaml", &with("{ every_s: 5, down_after: 1, alive: [200] }")).unwrap();
    let probe = Probe { every_s: 5, down_after: 1, up_after: 2, alive: vec![200] };
    assert_eq!(rack.trunks[1].probe, Some(probe));
    assert_eq!(Rack::from_json(&rack.expand().to_json().unwrap()).unwrap(), rack.expand());
    for (probe, why) in [
        ("{ every_s: 0 }", "0 is no interval"),
        ("{ up_after: 0 }", "0 probes decide nothing"),
        ("{ alive: [] }", "is empty"),
        ("{ alive: [200, 183] }", "183 is no final status code"),
        ("{ often: 1 }", "often"),
    ] {
        let said = Rack::from_yaml("siprack.yaml", &with(probe)).unwrap_err().to_string();
        assert!(said.contains(why), "{said}");
    }
    let said = said("addresses: [\"192.0.2.20\"] }", "destination: carrier.test, probe: {} }");
    assert!(said.contains("trunks.1.probe") && said.contains("is not probed"), "{said}");
}

#[test]
fn private_headers_are_names_that_a_message_can_go_without() {
    let rack = |list: &str| Rack::from_yaml("siprack.yaml", &format!("{GOOD}private_headers: [{list}]\n"));
    assert_eq!(rack("X-Account, Diversion").unwrap().private_headers, ["X-Account", "Diversion"]);
    for (list, why) in [
        ("v", "no message goes without `v`"),
        ("contact", "no message goes without `contact`"),
        ("\"X Account\"", "`X Account` is no header's name"),
        ("\"\"", "`` is no header's name"),
    ] {
        let said = rack(list).unwrap_err().to_string();
        assert!(said.contains("private_headers.0") && said.contains(why), "{said}");
    }
}

#[test]
fn one_machine_becomes_lists_with_the_documented_ports() {
    let rack = Rack::from_yaml("siprack.yaml", GOOD).unwrap().expand();
    assert_eq!(rack.load_managers[0].control_port, 15_001);
    assert_eq!(rack.load_managers[0].egress_port, 15_010);
    assert_eq!(rack.cc_nodes.len(), 3);
    let third = rack.node(NodeId(3)).unwrap();
    assert_eq!((third.control_port, third.sip_port, third.admin.port()), (15_023, 15_260, 15_113));
    assert_eq!(third.shadow_port, 15_270);
    assert_eq!(rack.location_servers[0].port, 15_002);
    assert_eq!(rack.problems(), []);
    assert_eq!(rack.expand(), rack, "expanding twice changes nothing");
}

#[test]
fn services_read_back_what_the_agent_writes() {
    let rack = Rack::one_machine_default(3).expand();
    assert_eq!(Rack::from_json(&rack.to_json().unwrap()).unwrap(), rack);
    assert_eq!(Rack::one_machine_default(3).problems(), []);
}

#[test]
fn the_longest_prefix_of_the_domain_wins() {
    let rack = Rack::from_yaml("siprack.yaml", GOOD).unwrap();
    let trunk = |domain, user| rack.route(domain, user).map(|(_, trunk)| trunk.name.as_str());
    assert_eq!(trunk(Some("RACK.test"), "+4420"), Some("abroad"));
    assert_eq!(trunk(Some("rack.test"), "+4920"), Some("carrier"));
    assert_eq!(trunk(Some("rack.test"), "1001"), None);
    assert_eq!(trunk(Some("other.test"), "+44"), None);
    assert_eq!(trunk(None, "1001"), Some("carrier"));
}

#[test]
fn a_trunk_is_known_by_its_source() {
    let rack = Rack::from_yaml("siprack.yaml", GOOD).unwrap();
    let trunk = |source: &str| rack.trunk_of_source(source.parse().unwrap()).map(|t| t.id);
    assert_eq!(trunk("192.0.2.10:5060"), Some(TrunkId(1)));
    assert_eq!(trunk("192.0.2.10:5061"), None, "with a port, the port must match");
    assert_eq!(trunk("192.0.2.11:40000"), Some(TrunkId(1)));
    assert_eq!(trunk("192.0.2.20:5060"), Some(TrunkId(2)));
}

#[test]
fn the_vips_own_address_means_the_default_domain() {
    let rack = Rack::from_yaml("siprack.yaml", GOOD).unwrap();
    let domain = |host, port| rack.domain_of_host(host, port).map(|d| d.name.as_str());
    assert_eq!(domain("127.0.0.1", None), Some("rack.test"));
    assert_eq!(domain("127.0.0.1", Some(5060)), Some("rack.test"));
    assert_eq!(domain("127.0.0.1", Some(5099)), None, "another service on the VIP's host");
    assert_eq!(domain("OTHER.test", None), Some("other.test"));
    assert_eq!(domain("example.com", None), None);
}

#[test]
fn wrong_types_name_the_line_the_key_and_the_cure() {
    assert_eq!(
        said("port: 5060", "port: sip"),
        "siprack.yaml:3:33: listeners.0.port: invalid type: string \"sip\", expected u16; write a whole number from 0 to 65535"
    );
    assert_eq!(
        said("port: 5060", "port: 70000"),
        "siprack.yaml:3:33: listeners.0.port: invalid value: integer `70000`, expected u16; write a whole number from 0 to 65535"
    );
    assert_eq!(
        said("127.0.0.1", "localhost"),
        "siprack.yaml:3:16: listeners.0.address: invalid IP address syntax; \
         write an IP address such as 127.0.0.1 or 2001:db8::1 (names are not looked up)"
    );
    assert_eq!(
        said("\"192.0.2.11\"", "gw.example.com"),
        "siprack.yaml:9:60: trunks.0.addresses.1: `gw.example.com` is not an address of a trunk; write an IP address \
         with or without a port, such as 192.0.2.10, 192.0.2.10:5060 or [2001:db8::1]:5060 (a name goes into `destination`)"
    );
}

#[test]
fn unknown_words_come_with_a_suggestion() {
    assert_eq!(
        said("port: 5060", "prot: 5060"),
        "siprack.yaml:3:27: listeners.0.prot: unknown key `prot`; did you mean `port`?"
    );
    assert_eq!(said("trunks:", "trunk:"), "siprack.yaml:8:1: trunk: unknown key `trunk`; did you mean `trunks`?");
    assert_eq!(
        said("auth: none", "auth: non"),
        "siprack.yaml:6:31: domains.1.auth: unknown value `non`; did you mean `none`?"
    );
    assert_eq!(said("name: test\n", ""), "siprack.yaml:1:1: name: is missing; add it");
}

#[test]
fn names_must_exist() {
    assert_eq!(
        said("trunk: carrier }", "trunk: carier }"),
        "siprack.yaml:12:46: routes.0.trunk: there is no trunk `carier`; did you mean `carrier`?"
    );
    assert_eq!(
        said("domain: rack.test, prefix: \"+\"", "domain: rack.tst, prefix: \"+\""),
        "siprack.yaml:12:15: routes.0.domain: `rack.tst` is not one of `domains`; did you mean `rack.test`?"
    );
}

#[test]
fn a_destination_leads_out_of_the_rack() {
    let carrier = "addresses: [\"192.0.2.20\"]";
    let rack = Rack::from_yaml("siprack.yaml", &GOOD.replacen(carrier, "destination: carrier.example", 1)).unwrap();
    let by_name: Vec<&str> = rack.trunks_by_name().map(|t| t.name.as_str()).collect();
    assert_eq!((rack.trunks[1].addresses.len(), by_name), (0, vec!["abroad"]));
    assert_eq!(
        said(carrier, "addresses: []"),
        "siprack.yaml:10:39: trunks.1.addresses: is empty, and there is no destination; \
         a trunk is known by its addresses, or called at its destination"
    );
    assert_eq!(
        said(carrier, "destination: \"1001@carrier.example\""),
        "siprack.yaml:10:41: trunks.1.destination: `1001@carrier.example` is no destination of a trunk (a user or headers \
         stand in it); write a host such as carrier.example, carrier.example:5080 or sip:carrier.example;transport=tcp, \
         or request-uri"
    );
    assert_eq!(
        said(carrier, "destination: \"carrier.example;transport=tcp\""),
        "siprack.yaml:10:41: trunks.1.destination: no listener serves `tcp`; \
         name another transport, or none: then the DNS chooses among those that are served"
    );
    assert_eq!(
        said(carrier, "destination: Rack.test"),
        "siprack.yaml:10:41: trunks.1.destination: `rack.test` is this rack itself; \
         calls would come back: write the carrier's host"
    );
    assert_eq!(
        said(carrier, "destination: request-uri"),
        "siprack.yaml:13:46: routes.1.trunk: `abroad` goes where the Request-URI says, and here that is this rack; \
         use it in a route of `domain: foreign`"
    );
}

#[test]
fn the_dns_is_asked_within_bounds() {
    let dns = |text: &str| said("name: test\n", &format!("name: test\ndns: {{ {text} }}\n"));
    assert_eq!(
        dns("timeout_ms: 5"),
        "siprack.yaml:2:20: dns.timeout_ms: 5 is out of range; use 50 to 10000 (1500 is usual)"
    );
    assert_eq!(dns("attempts: 0"), "siprack.yaml:2:18: dns.attempts: 0 is out of range; use 1 to 5 (2 is usual)");
    assert!(dns("servers: [\"192.0.2.53\"]").contains("write address:port"), "a port is needed");
    assert!(dns("servers: [\"0.0.0.0:53\"]").contains("0.0.0.0:53 is no name server"));
}

#[test]
fn numbers_must_differ_and_stay_in_range() {
    assert_eq!(
        said("id: 2", "id: 1"),
        "siprack.yaml:10:11: trunks.1.id: 1 is the id of trunks.0 already; give every trunk an id of its own"
    );
    assert_eq!(said("nodes: 3", "nodes: 0"), "siprack.yaml:7:23: one_machine.nodes: 0 nodes; use 1 to 64");
    assert_eq!(
        said("rack.test }", "\"sip:rack.test\" }"),
        "siprack.yaml:5:13: domains.0.name: `sip:rack.test` is no domain; \
         write a name such as example.com, without scheme, port or user\n\
         siprack.yaml:12:15: routes.0.domain: `rack.test` is not one of `domains`; did you mean `sip:rack.test`?\n\
         siprack.yaml:13:15: routes.1.domain: `rack.test` is not one of `domains`; did you mean `sip:rack.test`?"
    );
}

#[test]
fn ports_must_not_clash() {
    assert_eq!(
        said("nodes: 3 }", "nodes: 3, api: \"127.0.0.1:15101\" }"),
        "siprack.yaml:7:14: one_machine: tcp 127.0.0.1:15101 is taken by load_managers.0.admin; \
         give one of them another port"
    );
    assert_eq!(
        said(
            "- { address: 127.0.0.1, port: 5060, transport: udp }",
            "- { address: 127.0.0.1 }\n  - { address: 127.0.0.1, port: 5060 }"
        ),
        "siprack.yaml:4:33: listeners.1.port: udp 127.0.0.1:5060 is taken by listeners.0.port; give one of them another port"
    );
}

#[test]
fn the_demo_password_stays_on_loopback() {
    let demo = "one_machine: { nodes: 3 }\nsubscribers: [ { first: 1, last: 2, password: secret } ]";
    let text = GOOD.replacen("127.0.0.1", "192.0.2.1", 1).replacen("one_machine: { nodes: 3 }", demo, 1);
    assert_eq!(
        Rack::from_yaml("siprack.yaml", &text).unwrap_err().to_string(),
        "siprack.yaml:8:47: subscribers.0.password: the demo password on 192.0.2.1:5060, which others can reach; \
         listen on loopback, or give these phones another password"
    );
}

#[test]
fn two_load_managers_are_refused() {
    let lists = "\
load_managers:
  - { id: 1, planes: { a: 10.0.1.1 }, admin: \"10.0.1.1:15101\" }
  - { id: 2, planes: { a: 10.0.1.2 }, admin: \"10.0.1.2:15101\" }
cc_nodes: [ { id: 1, planes: { a: 10.0.1.3 }, admin: \"10.0.1.3:15111\", weight: 5000 } ]
location_servers: [ { id: 1, planes: { a: 10.0.1.4, b: 10.0.2.4 }, admin: \"10.0.1.4:15102\" } ]";
    assert_eq!(
        said("one_machine: { nodes: 3 }", lists),
        "siprack.yaml:8:3: load_managers: 2 load managers; this version runs exactly one: two would each decide alone who is alive\n\
         siprack.yaml:10:80: cc_nodes.0.weight: 5000 is out of range; use 1 to 1000 (100 is usual)\n\
         siprack.yaml:8:22: load_managers.0.planes: has no address on plane b, others have; give every server a `b`, or none\n\
         siprack.yaml:9:22: load_managers.1.planes: has no address on plane b, others have; give every server a `b`, or none\n\
         siprack.yaml:10:30: cc_nodes.0.planes: has no address on plane b, others have; give every server a `b`, or none"
    );
}

#[test]
fn what_is_not_yaml_is_said_with_its_place() {
    let text = said("name: test", "name: \"test");
    assert!(text.starts_with("siprack.yaml:9:42: this is not YAML: "), "{text}");
    assert!(Rack::from_yaml("siprack.yaml", "").is_err());
    assert!(Rack::from_yaml("siprack.yaml", "hello").is_err());
    assert!(Rack::from_yaml("siprack.yaml", "a: &a [*a, *a]").is_err());
}

#[test]
fn overrides_stand_above_the_file() {
    let set = |list: &[&str]| {
        let overrides: Vec<Override> = list.iter().map(|text| text.parse().unwrap()).collect();
        Rack::load("siprack.yaml", GOOD, &overrides)
    };
    let rack = set(&["routes.0.prefix=+49", "routes.1.add=0044"]).unwrap();
    assert_eq!((rack.routes[0].prefix.as_str(), rack.routes[1].add.as_str()), ("+49", "0044"));
    let rack = set(&["listeners.0.port=5070", "log.level=debug", "listeners.1.address=127.0.0.1"]).unwrap();
    assert_eq!((rack.listeners[0].port, rack.listeners[1].port, rack.log.level.as_str()), (5070, 5060, "debug"));
    let fails = |list: &[&str]| set(list).unwrap_err().to_string();
    assert_eq!(
        fails(&["listeners.0.prt=5070"]),
        "--set listeners.0.prt=5070: listeners.0.prt: unknown key `prt`; did you mean `port`?"
    );
    assert_eq!(
        fails(&["one_machine.nodes=x"]),
        "--set one_machine.nodes=x: one_machine.nodes: invalid type: string \"x\", expected u16; write a whole number from 0 to 65535"
    );
    assert_eq!(
        fails(&["listeners.7.port=1"]),
        "--set listeners.7.port=1: listeners.7.port: `7` is not a position in a list of 1; use a number from 0 to 1"
    );
    assert_eq!(
        fails(&["one_machine.nodes=99"]),
        "--set one_machine.nodes=99: one_machine.nodes: 99 nodes; use 1 to 64"
    );
    assert!("novalue".parse::<Override>().is_err());
}

#[test]
fn a_limit_that_would_refuse_ordinary_messages_is_refused_with_what_is_right() {
    for (limit, said_of_it) in [
        ("message_bytes: 1000", "limits.message_bytes: 1000 is out of range; use 1300 to 65535"),
        ("message_bytes: 65536", "limits.message_bytes: 65536 is out of range; use 1300 to 65535"),
        (
            "headers: 15",
            "limits.headers: 15 is out of range; use 16 or more (a request that has come over some hops has 20)",
        ),
        (
            "header_values: 8",
            "limits.header_values: 8 is out of range; use 16 or more (every hop adds a Via and often a Record-Route)",
        ),
        ("header_value_bytes: 0", "limits.header_value_bytes: 0 is out of range; use 256 or more"),
        ("uri_bytes: 64", "limits.uri_bytes: 64 is out of range; use 128 or more"),
        ("params: 7", "limits.params: 7 is out of range; use 8 or more"),
        ("param_bytes: 64", "limits.param_bytes: 64 is out of range; use 128 or more (our own tokens must fit)"),
        ("display_name_bytes: 1", "limits.display_name_bytes: 1 is out of range; use 32 or more"),
        (
            "trace_entries: 16777217",
            "limits.trace_entries: 16777217 is out of range; use 0 to 16777216 (64 octets each, of every worker)",
        ),
        (
            "transactions_per_source: 0",
            "limits.transactions_per_source: 0 is out of range; use 1 or more (0 would refuse everybody but trunks)",
        ),
        (
            "calls_per_account: 1000001",
            "limits.calls_per_account: 1000001 is out of range; use 0 to 1000000 (0: as many as there are)",
        ),
        (
            "calls_per_source: 4000000000",
            "limits.calls_per_source: 4000000000 is out of range; use 0 to 1000000 (0: as many as there are)",
        ),
    ] {
        let told = said("one_machine: { nodes: 3 }", &format!("one_machine: {{ nodes: 3 }}\nlimits: {{ {limit} }}"));
        assert_eq!(
            told.split_once(": "),
            Some((format!("siprack.yaml:8:{}", 13 + limit.find(':').unwrap()).as_str(), said_of_it))
        );
    }
    let told = said("one_machine: { nodes: 3 }", "one_machine: { nodes: 3 }\nlimits: { param: 9 }");
    assert_eq!(told, "siprack.yaml:8:11: limits.param: unknown key `param`; did you mean `params`?");
    let told = said("one_machine: { nodes: 3 }", "one_machine: { nodes: 3 }\nlimits: { params: 70000 }");
    assert_eq!(
        told,
        "siprack.yaml:8:19: limits.params: invalid value: integer `70000`, expected u16; write a whole number from 0 to 65535"
    );
}

/// GOOD with `heartbeat` on line 8 and these foreign nodes on line 9.
fn beside_foreign_nodes(accept_v1: bool, nodes: &str) -> Result<Rack, String> {
    let one = "one_machine: { nodes: 3 }";
    let more = format!("{one}\nheartbeat: {{ accept_v1: {accept_v1} }}\nnodes: [ {nodes} ]");
    Rack::from_yaml("siprack.yaml", &GOOD.replacen(one, &more, 1)).map_err(|e| e.to_string())
}

#[test]
fn foreign_nodes_stand_beside_the_racks_own() {
    let listed = "{ id: 101, address: 10.0.0.7 }, { id: 65535, address: \"2001:db8::7\" }";
    let rack = beside_foreign_nodes(true, listed).unwrap().expand();
    let nodes: Vec<_> = rack.nodes.iter().map(|node| format!("{} {}", node.id, node.address)).collect();
    assert_eq!(nodes, ["101 10.0.0.7", "65535 2001:db8::7"]);
    assert!(rack.cc_nodes.len() == 3 && rack.node(NodeId(101)).is_none(), "they are no cc-nodes");
    assert_eq!((rack.problems(), Rack::from_json(&rack.to_json().unwrap()).unwrap() == rack), (vec![], true));
}

#[test]
fn foreign_nodes_are_heard_or_not_listed() {
    assert_eq!(
        beside_foreign_nodes(false, "{ id: 101, address: 10.0.0.7 }").unwrap_err(),
        "siprack.yaml:9:8: nodes: are foreign nodes, and `heartbeat.accept_v1` is false: nobody would hear them; \
         set `heartbeat: { accept_v1: true }`, or remove the list"
    );
    assert_eq!(
        beside_foreign_nodes(true, "").unwrap_err(),
        "siprack.yaml:8:25: heartbeat.accept_v1: has nobody to accept: `nodes` is empty; \
         list the foreign nodes, such as `nodes: [ { id: 101, address: 10.0.0.7 } ]`, or leave it out"
    );
    assert!(beside_foreign_nodes(false, "").is_ok());
    let many: Vec<String> = (1..=251).map(|i| format!("{{ id: {}, address: 10.0.1.{i} }}", 100 + i)).collect();
    assert_eq!(
        beside_foreign_nodes(true, &many.join(", ")).unwrap_err(),
        "siprack.yaml:9:8: nodes: 251 foreign nodes; use at most 250"
    );
    assert!(beside_foreign_nodes(true, &many[1..].join(", ")).is_ok());
}

#[test]
fn a_foreign_node_has_an_id_and_a_host_of_its_own() {
    let first = "{ id: 101, address: 10.0.0.7 }";
    for (id, said_of_it) in [
        ("0", "0 means nobody; use 1 to 65535"),
        ("3", "3 is the id of a cc-node; use an id that no cc-node has"),
        ("101", "101 is the id of nodes.0 already; give every foreign node an id of its own"),
        ("70000", "invalid value: integer `70000`, expected u16; write a whole number from 0 to 65535"),
    ] {
        let told = beside_foreign_nodes(true, &format!("{first}, {{ id: {id}, address: 10.0.0.8 }}")).unwrap_err();
        assert_eq!(told, format!("siprack.yaml:9:48: nodes.1.id: {said_of_it}"));
    }
    for (address, said_of_it) in [
        ("0.0.0.0", "0.0.0.0 is no address of one host; write the address that its heartbeats come from"),
        ("224.0.0.1", "224.0.0.1 is no address of one host; write the address that its heartbeats come from"),
        ("127.0.0.1", "127.0.0.1 is the address of a load manager; a foreign node stands on a host of its own"),
        ("10.0.0.7", "10.0.0.7 is the address of nodes.0 already; give every foreign node an address of its own"),
    ] {
        let told = beside_foreign_nodes(true, &format!("{first}, {{ id: 102, address: {address} }}")).unwrap_err();
        assert_eq!(told, format!("siprack.yaml:9:62: nodes.1.address: {said_of_it}"));
    }
    let lists = "\
load_managers: [ { id: 1, planes: { a: 10.0.1.1, b: 10.0.2.1 }, admin: \"10.0.1.1:15101\" } ]
cc_nodes: [ { id: 7, planes: { a: 10.0.1.3, b: 10.0.2.3 }, admin: \"10.0.1.3:15111\" } ]
location_servers: [ { id: 1, planes: { a: 10.0.1.4, b: 10.0.2.4 }, admin: \"10.0.1.4:15102\" } ]
heartbeat: { accept_v1: true }
nodes: [ { id: 101, address: 10.0.2.3 } ]";
    assert_eq!(
        said("one_machine: { nodes: 3 }", lists),
        "siprack.yaml:11:30: nodes.0.address: 10.0.2.3 is the address of a cc-node; \
         a foreign node stands on a host of its own"
    );
}
