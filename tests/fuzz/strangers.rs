//! Nobody is known: every domain asks for a password, and no sender has one. Each datagram is answered by one
//! at most, to where it came from, of at most twice its octets; nothing is kept, nothing is repeated, nobody else hears.

use super::choices::{Choices, at_length};
use super::node::bench::{ALICE, BOB, Bench, STRANGER, bench, rack};
use super::{fuzz, mangle, seeds};
use common::config::Rack;
use common::sip::{Fault, Invalid, SipMessage};
use common::time::Duration;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

const CLOSED: &str = "name: test
listeners: [ { address: 192.0.2.1, port: 5060, transport: udp } ]
domains:
  - { name: safe.test, auth: digest, provisioning: closed }
  - { name: rack.test, auth: digest, provisioning: closed }
trunks: [ { id: 7, name: carrier, addresses: [\"10.9.0.1\"] } ]
routes: [ { domain: safe.test, prefix: \"00\", trunk: carrier } ]
limits: { transactions: 60, calls: 12 }
one_machine: { nodes: 1 }
";

/// The same rack, whose limits are so low that ordinary messages break them.
const NARROW: &str = "message_bytes: 1300, headers: 16, header_value_bytes: 256, header_values: 16, uri_bytes: 128, \
    params: 8, param_bytes: 128, display_name_bytes: 32";

/// What an answer has over the double today: a refusal of some 90 octets, or one challenge of some 200, answers a request
/// of half of that. 0 is right, and will be when such small requests are left without an answer.
const BESIDE: usize = 256;

static RACKS: LazyLock<[Arc<Rack>; 2]> = LazyLock::new(|| {
    let narrow = CLOSED.replace("calls: 12", &format!("calls: 12, {NARROW}"));
    [rack(CLOSED), rack(&narrow)]
});

/// What is wrong with the message under the limits of the rack.
fn fault(rack: &Rack, octets: &[u8]) -> Option<Fault> {
    match SipMessage::parse(octets.to_vec().into(), &rack.limits.of_messages()) {
        Err(e) => Some(Invalid::from(e).fault),
        Ok(m) => m.validate().err().map(|invalid| invalid.fault),
    }
}

fn hear(rack: &Rack, bench: &mut Bench, from: &str, octets: &[u8]) {
    let fault = fault(rack, octets);
    let unfit = |bench: &Bench| bench.node.stats().unfit.iter().flatten().sum::<u64>();
    let before = unfit(bench);
    bench.hear(from, octets);
    bench.watch.check(unfit(bench) == before + u64::from(fault.is_some()), "not counted, or twice");
    let source: SocketAddr = from.parse().unwrap();
    let said = bench.watch.take_said();
    bench.watch.check(said.len() <= 1, "more than one answer to a stranger");
    for (to, answer) in said {
        bench.watch.check(to.ip() == source.ip(), "an answer to somebody else");
        bench.watch.check(answer.starts_with(b"SIP/2.0 "), "a stranger's request was forwarded");
        let beyond = fault.is_some_and(|fault| fault != Fault::Syntax);
        bench.watch.check(!beyond || answer.len() <= octets.len(), "a longer answer than what is beyond a limit");
        let what = format!("an answer of {} octets to {}", answer.len(), octets.len());
        bench.watch.check(answer.len() <= 2 * octets.len() + BESIDE, &what);
    }
    let t = bench.node.stats().transactions;
    bench.watch.check(t == Default::default() && bench.node.calls().is_empty(), "something is kept of a stranger");
}

fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let rack = &RACKS[usize::from(choices.one_of_256(100))];
    let mut bench = bench(rack, "safe.test");
    let messages = seeds::messages();
    for _ in 0..12 {
        let from = choices.pick(&[STRANGER, ALICE, BOB]);
        hear(rack, &mut bench, from, &mangle::changed(&mut choices, &messages));
        if choices.are_over() {
            break;
        }
        bench.pass(Duration::from_millis(u64::from(choices.word())));
        let late = bench.watch.take_said();
        bench.watch.check(late.is_empty(), "something is said to a stranger again");
    }
    bench.comes_to_rest();
}

#[test]
fn fuzz() {
    for seed in seeds::messages() {
        RACKS.iter().for_each(|rack| hear(rack, &mut bench(rack, "safe.test"), STRANGER, seed));
    }
    fuzz!("strangers", 500, |octets: &[u8]| at_length(octets, 400, check));
}
