//! The branch: one shape, the same for the same leg, another as soon as anything that makes a leg differs; and the To
//! tags that we write.

use super::choices::{Choices, secret};
use super::fuzz;
use common::branch::{LoopPart, TransactionPart, Upstream, is_ours, loop_hash, loop_part, write};
use common::flow::Flow;
use common::ids::ListenerId;
use common::tag;

const KEY: [u8; 16] = [3; 16];

/// The fields of a leg, in the order: Call-ID, From tag, Via, URI, route, routes, source, To tag.
fn branch_of(fields: &[Vec<u8>; 8], cseq: u32, attempt: u32) -> String {
    let [call_id, from_tag, via, uri, route, routes, source, to_tag] = fields;
    let next_hop = Flow { listener: ListenerId(0), remote: "192.0.2.9:5060".parse().unwrap() };
    let upstream = Upstream::Via(via);
    let transaction = TransactionPart { call_id, from_tag, cseq, upstream, uri, route, next_hop, attempt };
    write(&KEY, &transaction, &LoopPart { uri, routes, source, call_id, from_tag, to_tag, cseq })
}

fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let fields: [Vec<u8>; 8] = std::array::from_fn(|_| choices.some(20).to_vec());
    let (cseq, attempt) = (u32::from(choices.word()), u32::from(choices.octet()));
    let branch = branch_of(&fields, cseq, attempt);
    assert_eq!(branch, branch_of(&fields, cseq, attempt));
    assert!(is_ours(&branch) && branch.len() == 27 && branch.starts_with("z9hG4bK1"));
    assert_ne!(branch, branch_of(&fields, cseq, attempt + 1));
    assert_ne!(branch, branch_of(&fields, cseq + 1, attempt));
    let part = loop_part(&branch).unwrap().to_string();
    assert_eq!(loop_part(&branch_of(&fields, cseq, attempt + 1)), Some(part.as_str()));
    // An octet goes from one field to its neighbour: the same octets, another leg.
    let at = choices.below(7);
    let mut moved = fields.clone();
    match moved[at].pop() {
        Some(octet) => moved[at + 1].insert(0, octet),
        None => moved[at].push(choices.octet()),
    }
    assert_ne!(branch, branch_of(&moved, cseq, attempt));
    let [call_id, from_tag, _, uri, _, routes, source, to_tag] = &fields;
    let alone = LoopPart { uri, routes, source, call_id, from_tag, to_tag, cseq };
    assert_eq!(loop_hash(&KEY, &alone), part);
    tags(&secret(octets).tag, &fields, cseq, &mut choices);
    let text = String::from_utf8_lossy(choices.rest()).into_owned();
    assert_eq!(is_ours(&text), loop_part(&text).is_some());
}

fn tags(key: &[u8; 16], fields: &[Vec<u8>; 8], cseq: u32, choices: &mut Choices<'_>) {
    let mine = tag::write(key, &fields[0], &fields[1], cseq, &fields[2]);
    assert!(tag::is_ours(key, mine.as_bytes(), &fields[0]));
    assert!(!tag::is_ours(key, mine.as_bytes(), &[&fields[0][..], b"!"].concat()));
    let mut changed = mine.clone().into_bytes();
    let at = choices.below(changed.len());
    changed[at] = choices.octet();
    assert!(changed == mine.as_bytes() || !tag::is_ours(key, &changed, &fields[0]));
    assert!(!tag::is_ours(key, choices.some(20), &fields[0]));
}

#[test]
fn fuzz() {
    fuzz!("branch", 8000, check);
}
