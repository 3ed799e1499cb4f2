//! Rack files: a text is a rack without a problem, or an error that says where and what. A rack survives being written
//! and read again.

use super::choices::Choices;
use super::{fuzz, mangle};
use common::config::{Override, Rack};

const FILES: [&[u8]; 3] = [
    include_bytes!("../../deploy/config/siprack.yaml"),
    include_bytes!("../../deploy/config/bench.yaml"),
    include_bytes!("../../deploy/config/conformance.yaml"),
];
const WHOLE: &[u8] = b"name: test
listeners:
  - { address: 192.0.2.1, port: 5060, transport: udp, advertise: sip.rack.test }
  - { address: \"2001:db8::1\", port: 5060, transport: udp }
domains:
  - { name: rack.test, auth: none, provisioning: open }
  - { name: safe.test, auth: digest, provisioning: closed }
trunks:
  - { id: 7, name: carrier, addresses: [\"10.9.0.1\", \"10.9.0.2:5070\"] }
routes:
  - { domain: rack.test, prefix: \"00\", trunk: carrier, strip: 2, add: \"+\" }
limits: { transactions: 100, calls: 20 }
timers: { t1_ms: 500 }
one_machine: { nodes: 3 }
a: &a [*a, *a]
";
const OVERRIDES: [&str; 8] = [
    "listeners.0.port=0",
    "name=",
    "domains.99.name=x",
    "a.b.c=[",
    "limits.calls=-1",
    "listeners=x",
    "one_machine.nodes=65535",
    "trunks.0.addresses.0=10.9.0.9",
];

fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let files: Vec<&[u8]> = FILES.into_iter().chain([WHOLE]).collect();
    let overrides: Vec<Override> = match choices.one_of_256(64) {
        true => vec![choices.pick(&OVERRIDES).parse().unwrap()],
        false => vec![],
    };
    let text = match choices.one_of_256(30) {
        true => choices.rest().to_vec(),
        false => mangle::changed(&mut choices, &files),
    };
    // A rack file is a page or two; what is longer proves nothing more here.
    let Some(Ok(text)) = text.get(..text.len().min(6000)).map(std::str::from_utf8) else { return };
    match Rack::load("rack.yaml", text, &overrides) {
        Err(e) => assert!(e.to_string().lines().count() > 0),
        Ok(rack) => {
            assert_eq!(rack.problems(), vec![]);
            let yaml = rack.to_yaml().unwrap();
            assert_eq!(Rack::from_yaml("again.yaml", &yaml), Ok(rack.clone()), "{yaml}");
            let whole = rack.expand();
            let json = whole.to_json().unwrap();
            assert_eq!(Rack::from_json(&json).unwrap(), whole);
        }
    }
}

#[test]
fn fuzz() {
    for file in FILES {
        let text = std::str::from_utf8(file).unwrap();
        Rack::from_yaml("rack.yaml", text).unwrap_or_else(|e| panic!("{e}"));
    }
    fuzz!("config", 1500, check);
}
