//! Limits of concurrent calls: an INVITE waits until it is known whether there is room for its call.

use super::*;
use crate::counted::{CallNo, Key, Want};
use crate::stats::Rejection;
use common::ids::TrunkId;

const UNLIMITED: &str = "limits: { transactions: 100, calls: 20 }";
const LIMITED: &str = "limits: { transactions: 100, calls: 20, calls_per_source: 3, calls_per_account: 2 }";

fn limited(more: &[(&str, &str)]) -> Bench {
    let changes = [(UNLIMITED, LIMITED), ("name: carrier,", "name: carrier, max_calls: 4,")];
    bench_of(&changes.iter().chain(more).fold(RACK.to_owned(), |rack, (old, new)| rack.replace(old, new)))
}

fn placement_key() -> [u8; 16] {
    Keys::derive(&RackKey([5; 32])).placement
}

fn alices() -> Want {
    Want { key: Key::source(&placement_key(), [10, 0, 0, 1].into()), limit: 3 }
}

fn carriers() -> Want {
    Want { key: Key::trunk(&placement_key(), TrunkId(7)), limit: 4 }
}

fn to_carrier(call: &str) -> String {
    invite(call).replace("sip:bob@rack.test", "sip:00123@rack.test")
}

impl Bench {
    /// The only question that is open.
    fn asks_for_room(&mut self) -> (u64, CallNo, Vec<Want>) {
        match self.asks.pop() {
            Some(Effect::Admit { ask, call, wants }) if self.asks.is_empty() => (ask, call, wants.to_vec()),
            other => panic!("{other:?}, and before it {:?}", self.asks),
        }
    }

    fn has_room(&mut self, ask: u64, refused: &[Want]) -> Vec<Said> {
        self.input(Input::Admitted { ask, refused: refused.iter().map(|want| want.key).collect() })
    }

    fn says_over(&mut self, call: CallNo) {
        assert_eq!(std::mem::take(&mut self.asks), [Effect::CallOver { call }]);
    }
}

#[test]
fn a_call_waits_for_room_and_counts_until_it_is_over() {
    let mut b = limited(&[]);
    assert!(b.hear(ALICE, &invite("c")).is_empty());
    let (ask, call, wants) = b.asks_for_room();
    assert_eq!(wants, [alices()]);
    assert!(b.hear(ALICE, &invite("c")).is_empty() && b.asks.is_empty(), "its repeat asks nothing");
    let said = b.has_room(ask, &[]);
    assert_eq!(ladder(&said), ["100 → 10.0.0.1:5060", "INVITE → 10.0.0.2:5060"]);
    let ok = b.hear(BOB, &response(&said[1], "200 OK", "b", BOB_CONTACT));
    let again = in_dialog("INVITE", "c", 2, ok[0].route(), "sip:bob@10.0.0.2:5060");
    let again = b.hear(ALICE, &again);
    assert_eq!(again.last().unwrap().what(), "INVITE", "within the dialog nothing is asked");
    b.hear(BOB, &response(again.last().unwrap(), "200 OK", "b", BOB_CONTACT));
    assert!(b.asks.is_empty());
    let bye = b.hear(ALICE, &in_dialog("BYE", "c", 3, ok[0].route(), "sip:bob@10.0.0.2:5060"));
    b.hear(BOB, &response(bye.last().unwrap(), "200 OK", "b", ""));
    b.says_over(call);
}

#[test]
fn without_limits_nothing_is_asked() {
    let mut b = bench();
    let forwarded = b.hear(ALICE, &invite("c")).pop().unwrap();
    b.hear(BOB, &response(&forwarded, "486 Busy Here", "b", ""));
    assert!(b.asks.is_empty());
}

#[test]
fn who_has_all_his_calls_hears_403_until_he_acknowledges_it() {
    let mut b = limited(&[]);
    b.hear(ALICE, &invite("c"));
    let (ask, call, _) = b.asks_for_room();
    let refused = b.has_room(ask, &[alices()]);
    assert!(refused[0].text.starts_with("SIP/2.0 403 Too Many Calls From This Source\r\n"), "{}", refused[0].text);
    b.says_over(call);
    assert_eq!(ladder(&b.hear(ALICE, &invite("c"))), ["403 → 10.0.0.1:5060"], "its transaction repeats it");
    assert!(b.asks.is_empty());
    assert_eq!(b.node.stats().rejected[Rejection::SourceCalls as usize], 1);
    b.pass(Duration::from_secs(40));
    assert_eq!((b.records.len(), b.cdrs.len(), b.missed.len(), b.node.contexts()), (0, 0, 0, 0));
}

#[test]
fn a_cancelled_call_begins_no_more_when_there_is_room() {
    let mut b = limited(&[]);
    b.hear(ALICE, &invite("c"));
    let (ask, call, _) = b.asks_for_room();
    let cancel = request("CANCEL", "sip:bob@rack.test", "c", 1, "");
    let said = b.hear(ALICE, &cancel.replace("Contact: <sip:alice@10.0.0.1:5060>\n", ""));
    assert_eq!(ladder(&said), ["200 → 10.0.0.1:5060", "487 → 10.0.0.1:5060"]);
    b.says_over(call);
    assert!(b.has_room(ask, &[]).is_empty());
}

#[test]
fn a_full_trunk_is_503_for_calls_to_it_and_from_it() {
    let mut b = limited(&[]);
    b.hear(ALICE, &to_carrier("c"));
    let (ask, call, wants) = b.asks_for_room();
    assert_eq!(wants, [alices(), carriers()]);
    let refused = b.has_room(ask, &[carriers()]);
    assert!(refused[0].text.starts_with("SIP/2.0 503 Too Many Calls To This Trunk\r\n"), "{}", refused[0].text);
    assert_eq!(refused[0].header("Retry-After"), "5");
    b.says_over(call);
    b.hear(CARRIER, &invite("t").replace("10.0.0.1", "10.9.0.1"));
    let (ask, _, wants) = b.asks_for_room();
    assert_eq!(wants, [carriers()], "a trunk is no source");
    let refused = b.has_room(ask, &[carriers()]);
    assert!(refused[0].text.starts_with("SIP/2.0 503 Too Many Calls Of This Trunk\r\n"), "{}", refused[0].text);
    assert_eq!(b.node.stats().rejected[Rejection::TrunkCalls as usize], 2);
}

#[test]
fn whoever_goes_on_with_a_call_counts_it_under_the_same_keys() {
    let mut b = limited(&[]);
    b.hear(ALICE, &to_carrier("c"));
    let (ask, call, wants) = b.asks_for_room();
    let mut keys: Vec<Key> = wants.iter().map(|want| want.key).collect();
    keys.sort_unstable();
    let counts = |heir: &mut Bench| match &heir.asks[..] {
        [Effect::Counts { call, keys }] => (*call, keys.to_vec()),
        other => panic!("{other:?}"),
    };
    let said = b.has_room(ask, &[]);
    assert_eq!(counts(&mut b.heir().0), (call, keys.clone()), "while it rings");
    let ok = b.hear(CARRIER, &response(&said[1], "200 OK", "b", "Contact: <sip:c@10.9.0.1>\n"));
    b.pass(Duration::from_secs(40));
    let (mut heir, _) = b.heir();
    assert_eq!(counts(&mut heir), (call, keys), "when its INVITE is over");
    heir.asks.clear();
    let bye = heir.hear(ALICE, &in_dialog("BYE", "c", 3, ok[0].route(), "sip:c@10.9.0.1:5060"));
    heir.hear(CARRIER, &response(bye.last().unwrap(), "200 OK", "b", ""));
    heir.says_over(call);
}

#[test]
fn a_call_that_is_read_again_from_its_shadow_goes_on_counting() {
    let mut b = limited(&[]);
    b.hear(ALICE, &invite("c"));
    let (ask, call, wants) = b.asks_for_room();
    b.has_room(ask, &[]);
    let (hash, image) = b.images.pop_first().unwrap();
    let (mut out, wall) = (Vec::new(), WallMillis(1_800_000_000_000));
    b.node.reload(b.now, wall, &b.view, b"c@alice", (hash, Box::new(image)), &mut out);
    out.retain(|effect| matches!(effect, Effect::CallOver { .. } | Effect::Counts { .. }));
    let keys = [wants[0].key].into_iter().collect();
    assert_eq!(out, [Effect::CallOver { call }, Effect::Counts { call, keys }]);
}

#[test]
fn a_redirection_to_a_trunk_is_asked_about_before_it_is_followed() {
    for (room, heard) in [(true, "INVITE → 10.9.0.1:5060"), (false, "500 → 10.0.0.1:5060")] {
        let mut b = limited(&[("auth: none, provisioning: open", "auth: none, provisioning: open, recursion: true")]);
        b.hear(ALICE, &invite("c"));
        let (ask, call, _) = b.asks_for_room();
        let said = b.has_room(ask, &[]);
        let moved = "Contact: <sip:00123@rack.test>\n";
        assert_eq!(
            ladder(&b.hear(BOB, &response(&said[1], "302 Moved Temporarily", "b", moved))),
            ["ACK → 10.0.0.2:5060"]
        );
        let (ask, same, wants) = b.asks_for_room();
        assert_eq!((same, wants), (call, vec![carriers()]));
        let full = if room { vec![] } else { vec![carriers()] };
        assert_eq!(ladder(&b.has_room(ask, &full)), [heard]);
        if !room {
            b.says_over(call);
        }
    }
}
