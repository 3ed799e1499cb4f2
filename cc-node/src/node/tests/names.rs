//! Next hops by name (RFC 3263): looked up before the record is written, other addresses tried when one cannot serve, and a
//! dead resolver that holds up nobody else.

use super::*;
use crate::dns::{DnsAnswer, DnsData, DnsFailure, DnsRecord, Kind, Question};

const ONE: &str = "10.8.0.1:5060";
const TWO: &str = "10.8.0.2:5060";

fn named() -> Bench {
    changed_bench(
        "addresses: [\"10.9.0.1\", \"10.9.0.2\"]",
        "addresses: [\"10.9.0.1\"], destination: carrier.example:5060",
    )
}

fn call(name: &str) -> String {
    request("INVITE", "sip:0049301@rack.test", name, 1, "")
}

impl Bench {
    /// Answers every open question to the DNS.
    fn dns(&mut self, answer: impl Fn(&Question) -> DnsAnswer) -> Vec<Said> {
        let mut said = Vec::new();
        while let Some(at) = self.asks.iter().position(|ask| matches!(ask, Effect::Dns { .. })) {
            let Effect::Dns { ask, question } = self.asks.remove(at) else { unreachable!() };
            said.extend(self.input(Input::Dns { ask, answer: answer(&question) }));
        }
        said
    }
}

fn two_addresses(question: &Question) -> DnsAnswer {
    let record =
        |last| DnsRecord { name: question.name.to_string(), ttl_s: 300, data: DnsData::A([10, 8, 0, last].into()) };
    match question.kind {
        Kind::A => DnsAnswer::Records { answers: vec![record(1), record(2)], additional: vec![] },
        _ => DnsAnswer::NoRecords { ttl_s: Some(60) },
    }
}

#[test]
fn a_trunk_by_name_is_looked_up_first_and_then_known() {
    let mut b = named();
    assert!(b.hear(ALICE, &call("c")).is_empty(), "nothing leaves before the targets are known");
    let said = b.dns(two_addresses);
    assert_eq!(said[0].what(), "100");
    assert_eq!(said[1].uri(), "sip:+49301@carrier.example:5060");
    let What::Accepted(accepted) = b.record(said[1].after) else { panic!("{:?}", b.records) };
    assert_eq!((accepted.targets.len(), accepted.pending), (2, false), "both addresses are in the record");
    assert_ne!(accepted.targets[0].branch, accepted.targets[1].branch);
    assert_eq!(b.hear(ALICE, &call("d")).len(), 2, "the second call need not ask");
}

#[test]
fn the_next_address_is_tried_after_503_and_after_silence_and_not_after_busy() {
    let mut b = named();
    b.hear(ALICE, &call("c"));
    let first = b.dns(two_addresses).remove(1);
    let other = if first.to == ONE { TWO } else { ONE };
    let said = b.hear(&first.to.clone(), &response(&first, "503 Service Unavailable", "x", ""));
    assert_eq!(ladder(&said), [format!("ACK → {}", first.to), format!("INVITE → {other}")]);
    assert_ne!(said[1].branch(), first.branch(), "a new attempt is a new branch");
    let busy = b.hear(other, &response(&said[1], "486 Busy Here", "y", ""));
    assert_eq!(ladder(&busy), [format!("ACK → {other}"), "486 → 10.0.0.1:5060".into()]);

    let second = b.hear(ALICE, &call("d")).remove(1);
    assert_eq!(second.to, other, "the one that said 503 is tried last for a while");
    let said = b.pass(Duration::from_secs(32));
    let elsewhere = said.iter().find(|s| s.what() == "INVITE" && s.to != other).expect("another address");
    assert_eq!(elsewhere.to, first.to);
}

/// The address that was given up answers while the next one rings: it is that one's call, and the other is cancelled.
#[test]
fn a_200_of_the_address_before_cancels_the_one_that_rings() {
    let mut b = named();
    b.hear(ALICE, &call("c"));
    let first = b.dns(two_addresses).remove(1);
    let said = b.pass(Duration::from_secs(32));
    let second = said.iter().find(|s| s.what() == "INVITE" && s.to != first.to).expect("another address").clone();
    b.hear(&second.to, &response(&second, "180 Ringing", "two", ""));
    let said = b.hear(&first.to, &response(&first, "200 OK", "one", "Contact: <sip:gw@10.8.0.77:5060>\n"));
    assert_eq!(ladder(&said), ["200 → 10.0.0.1:5060".to_owned(), format!("CANCEL → {}", second.to)]);
    let What::Answered(answer) = b.record(said[0].after) else { panic!("{:?}", b.records) };
    assert_eq!(&*answer.branch, first.branch());
    let said = b.hear(&second.to, &response(&second, "487 Request Terminated", "two", ""));
    assert_eq!(ladder(&said), [format!("ACK → {}", second.to)]);
    b.pass(Duration::from_secs(200));
    assert_eq!(b.node.stats().transactions, Default::default(), "nothing is left of either");
}

#[test]
fn a_trunk_whose_own_name_does_not_exist_is_no_fault_of_the_caller() {
    let mut b = named();
    b.hear(ALICE, &call("c"));
    let said = b.dns(|_| DnsAnswer::NoSuchName { ttl_s: Some(60) });
    assert_eq!(ladder(&said), ["100 → 10.0.0.1:5060", "500 → 10.0.0.1:5060"]);
}

#[test]
fn while_names_take_their_time_the_caller_hears_100_and_may_cancel() {
    let mut b = named();
    let came = b.wall();
    b.hear(ALICE, &call("c"));
    assert!(b.pass(Duration::from_millis(99)).is_empty());
    let said = b.pass(Duration::from_millis(1));
    assert_eq!(ladder(&said), ["100 → 10.0.0.1:5060"]);
    assert!(matches!(b.record(said[0].after), What::Accepted(a) if a.pending && a.targets.is_empty() && a.at == came));
    let said = b.dns(two_addresses);
    assert_eq!(said[0].what(), "INVITE");
    assert!(matches!(b.record(said[0].after), What::Targets { targets, .. } if targets.len() == 2));

    let mut b = named();
    b.hear(ALICE, &call("c"));
    let said = b.hear(ALICE, &call("c").replace("INVITE", "CANCEL"));
    assert_eq!(ladder(&said), ["200 → 10.0.0.1:5060", "487 → 10.0.0.1:5060"]);
    assert!(b.dns(two_addresses).is_empty(), "too late to matter");
    b.pass(Duration::from_secs(64));
    assert_eq!(b.node.stats().transactions, Default::default());
}

#[test]
fn a_dead_resolver_stalls_nothing_but_the_calls_that_need_it() {
    let mut b = named();
    b.hear(ALICE, &call("c"));
    assert_eq!(b.hear(ALICE, &invite("d"))[1].what(), "INVITE", "by address");
    let said = b.dns(|_| DnsAnswer::Failed(DnsFailure::ServerFailure));
    let said = if said.is_empty() { b.pass(Duration::from_secs(30)) } else { said };
    assert!(ladder(&said).contains(&"500 → 10.0.0.1:5060".to_owned()), "{:?}", ladder(&said));
}

#[test]
fn a_foreign_domain_is_found_by_its_own_name() {
    let anywhere = "trunks: [ { id: 8, name: anywhere, destination: request-uri }, {";
    let rack =
        RACK.replace("trunks: [ {", anywhere).replace("\"through\", trunk: carrier", "\"through\", trunk: anywhere");
    let mut b = bench_of(&rack);
    let from_carrier = |call: &str| {
        let text = invite(call).replace("10.0.0.1", "10.9.0.1");
        text.replace("sip:bob@rack.test SIP", "sip:through@far.example:5060 SIP")
    };
    b.hear(CARRIER, &from_carrier("e"));
    let said = b.dns(two_addresses);
    assert_eq!((said[1].what(), said[1].uri()), ("INVITE", "sip:through@far.example:5060"));
    assert!(said[1].to.starts_with("10.8.0."));
    let ok = response(&said[1], "200 OK", "b", "Contact: <sip:b@10.8.0.9>\n");
    let ok = b.hear(&said[1].to.clone(), &ok).remove(0);
    let bye = in_dialog("BYE", "e", 2, ok.route(), "sip:b@10.8.0.9").replace("10.0.0.1", "10.9.0.1");
    assert_eq!(ladder(&b.hear(CARRIER, &bye)), [format!("BYE → {}", said[1].to)], "by the way that the call took");

    b.hear(CARRIER, &from_carrier("f").replace("far.example", "no.such.example"));
    let said = b.dns(|_| DnsAnswer::NoSuchName { ttl_s: Some(60) });
    assert_eq!(said[1].what(), "404");
}

#[test]
fn within_its_dialog_a_trunk_by_name_is_reached_from_a_node_that_knows_nothing() {
    let mut b = named();
    b.hear(ALICE, &call("c"));
    let invite = b.dns(two_addresses).remove(1);
    let ok =
        b.hear(&invite.to.clone(), &response(&invite, "200 OK", "b", "Contact: <sip:gw@10.8.0.77:5060>\n")).remove(0);
    let bye = in_dialog("BYE", "c", 2, ok.route(), "sip:gw@10.8.0.77:5060");
    let mut other = named();
    assert!(other.hear(ALICE, &in_dialog("ACK", "c", 1, ok.route(), "sip:gw@10.8.0.77:5060")).is_empty());
    other.dns(two_addresses);
    let ack = other.hear(ALICE, &in_dialog("ACK", "c", 1, ok.route(), "sip:gw@10.8.0.77:5060"));
    assert_eq!(ladder(&ack), [format!("ACK → {}", invite.to)], "the Call-ID draws the same order everywhere");
    assert_eq!(ladder(&other.hear(ALICE, &bye)), [format!("BYE → {}", invite.to)]);
    assert_eq!(ladder(&b.hear(ALICE, &bye)), ["BYE → 10.8.0.77:5060"], "the holder has seen the Contact");
}
