//! A message that makes a node panic: it is not handled twice, by nobody, and the rest goes on. The panic is planted where the
//! engine looks up the user `poison`.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::effect::Cdr;
use crate::node::tests::{
    ALICE, BOB, BOB_CONTACT, FakeView, RACK, Said, bench, header, in_dialog, invite, ladder, request, response,
};
use crate::shadow::words::Post;
use crate::station::NodeSetup;
use crate::stats::DropReason;
use common::config::Rack;
use common::ids::{BootId, Epoch, NodeId};
use common::keys::{Keys, RackKey};
use common::location::{Aor, Bindings, LogTime, Subscriber};
use common::placement::{Inputs, Member, Placement, Placements, Policy};
use common::time::Duration;
use std::sync::Arc;

const WALL: WallMillis = WallMillis(1_800_000_000_000);

struct Trap {
    view: FakeView,
    placements: Placements,
}

impl View for Trap {
    fn bindings(&self, aor: &Aor) -> Option<Arc<Bindings>> {
        assert_ne!(aor.user(), "poison", "planted");
        self.view.bindings(aor)
    }
    fn subscriber(&self, aor: &Aor) -> Option<Arc<Subscriber>> {
        self.view.subscriber(aor)
    }
    fn log_time(&self, now: Time) -> LogTime {
        self.view.log_time(now)
    }
    fn placements(&self) -> &Placements {
        &self.placements
    }
}

/// Nodes 1 and 2, and what they tell each other.
struct Two {
    trap: Trap,
    cores: Vec<Core>,
    now: Time,
    cdrs: Vec<Cdr>,
}

fn placement(boot: u64) -> Placements {
    let member = |node: u16, boot: u64| Member::new(NodeId(node), Some(BootId(boot)));
    let members = vec![member(1, boot), member(2, 1)];
    let inputs = Inputs { policy: Policy::Rendezvous, members, ..Inputs::default() };
    Placements::first(Arc::new(Placement::compute(&[5; 16], Epoch(boot), inputs)))
}

fn core(node: u16, boot: u64) -> Core {
    let rack = Arc::new(Rack::from_yaml("test.yaml", RACK).unwrap().expand());
    let keys = Arc::new(Keys::derive(&RackKey([5; 32])));
    Core::new(NodeSetup { id: NodeId(node), boot: BootId(boot), worker: 0, rack, keys })
}

fn two() -> Two {
    let trap = Trap { view: bench().view, placements: placement(1) };
    let mut two = Two { trap, cores: vec![core(1, 1), core(2, 1)], now: Time(1_000_000), cdrs: Vec::new() };
    for node in [1, 2] {
        two.contained(node, Input::Placement).unwrap();
    }
    two
}

/// One that is the first node's.
fn call(two: &Two, name: &str) -> String {
    let owner = |id: &String| {
        let hash = CallHash::of(&two.cores[0].keys.placement, format!("{id}@alice").as_bytes());
        two.trap.placements.current.owner(hash.slot())
    };
    (0..).map(|n| format!("{name}{n}")).find(|id| owner(id) == Some(NodeId(1))).unwrap()
}

fn poison(call: &str, cseq: u32) -> String {
    request("INVITE", "sip:poison@rack.test", call, cseq, "")
}

impl Two {
    fn contained(&mut self, node: usize, input: Input) -> Result<Vec<Said>, Panicked> {
        let mut out = Vec::new();
        let done = self.cores[node - 1].contained(self.now, WALL, &self.trap, input, &mut out);
        let others = self.words(node);
        let said = self.carry_out(out.into_iter().chain(others).collect());
        done.map(|()| said)
    }

    fn hear(&mut self, node: usize, from: &str, text: &str) -> Result<Vec<Said>, Panicked> {
        let message = text.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes().into();
        self.contained(node, Input::Datagram { header: header(from.parse().unwrap()), message })
    }

    /// Words go to and fro until nobody has any; what leaves node `of` then.
    fn words(&mut self, of: usize) -> Vec<Effect> {
        let mut left = Vec::new();
        loop {
            let parcels: Vec<_> =
                (0..2).flat_map(|at| self.cores[at].parcels().into_iter().map(move |p| (at, p))).collect();
            if parcels.is_empty() {
                return left;
            }
            for (at, parcel) in parcels {
                let (node, mut out) = (NodeId(at as u16 + 1), Vec::new());
                let boot = self.trap.placements.current.live(node).unwrap();
                let to = usize::from(parcel.to.node.0);
                let from = Post { node, boot, worker: 0 };
                let heard = self.cores[to - 1].packet(self.now, from, &parcel.plain, &mut out);
                assert_eq!(heard, Ok(()));
                left.extend(out.into_iter().filter(|_| to == of));
            }
        }
    }

    fn carry_out(&mut self, out: Vec<Effect>) -> Vec<Said> {
        let mut said = Vec::new();
        for effect in out {
            match effect {
                Effect::Send { after, to, bytes, listener, .. } => {
                    let text = String::from_utf8(bytes.to_vec()).unwrap();
                    said.push(Said { to: to.to_string(), text, after, listener });
                }
                Effect::Cdr { cdr, .. } => self.cdrs.push(*cdr),
                _ => {}
            }
        }
        said
    }

    /// Time passes at node 1.
    fn passes(&mut self, time: Duration) -> Vec<Said> {
        let (until, mut said) = (self.now + time, Vec::new());
        while let Some(due) = self.cores[0].next_due().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            let mut out = Vec::new();
            self.cores[0].tick(self.now, WALL, &self.trap, &mut out);
            out.extend(self.words(1));
            said.extend(self.carry_out(out));
        }
        self.now = until;
        said
    }

    fn dropped(&self, node: usize) -> u64 {
        self.cores[node - 1].node.stats().dropped[DropReason::Quarantined as usize]
    }
}

#[test]
fn its_repeat_is_dropped_here_and_at_the_other_node_and_other_calls_go_on() {
    let mut two = two();
    let (bad, good) = (call(&two, "bad"), call(&two, "good"));
    let text = poison(&bad, 1);
    let panicked = two.hear(1, ALICE, &text).unwrap_err();
    let octets = text.replace('\n', "\r\n");
    let fingerprint = two.cores[1].fingerprint(octets.as_bytes());
    let call_id: Box<[u8]> = format!("{bad}@alice").into_bytes().into();
    assert_eq!(panicked, Panicked { call_id: Some(call_id.clone()), fingerprint: Some(fingerprint), reloaded: false });
    for node in [1, 2] {
        for _ in 0..3 {
            assert_eq!(two.hear(node, ALICE, &text).map(|said| said.len()), Ok(0));
        }
        let met = [Met { call_id: Some(call_id.clone()), fingerprint }];
        assert_eq!((two.dropped(node), two.cores[node - 1].take_met()), (3, met.to_vec()), "said once");
    }
    let forwarded = two.hear(1, ALICE, &invite(&good)).unwrap();
    assert_eq!(ladder(&forwarded), ["100 → 10.0.0.1:5060", "INVITE → 10.0.0.2:5060"]);
    let ok = two.hear(1, BOB, &response(&forwarded[1], "200 OK", "b", BOB_CONTACT)).unwrap();
    assert_eq!(ladder(&ok), ["200 → 10.0.0.1:5060"]);
    assert_eq!(two.cores[0].panics(), Contained { quarantined: 1, reloaded: 0, lost: 0 });
    two.passes(STAYS);
    assert_eq!(two.cores[0].panics().quarantined, 0);
    assert!(two.hear(1, ALICE, &text).is_err(), "handled again, since its peer has given it up long ago");
}

#[test]
fn the_word_goes_out_before_any_other() {
    let mut two = two();
    let (bad, good) = (call(&two, "bad"), call(&two, "good"));
    let input = |text: String| {
        let message = text.replace('\n', "\r\n").into_bytes().into();
        Input::Datagram { header: header(ALICE.parse().unwrap()), message }
    };
    let (now, mut out) = (two.now, Vec::new());
    two.cores[0].contained(now, WALL, &two.trap, input(invite(&good)), &mut out).unwrap();
    two.cores[0].contained(now, WALL, &two.trap, input(poison(&bad, 1)), &mut out).unwrap_err();
    let parcels = two.cores[0].parcels();
    assert_eq!((parcels.len(), parcels[0].to.node), (2, NodeId(2)));
    let alone = parcels[0].plain.clone();
    two.cores[1].packet(now, Post { node: NodeId(1), boot: BootId(1), worker: 0 }, &alone, &mut Vec::new()).unwrap();
    assert_eq!(two.hear(2, ALICE, &poison(&bad, 1)).map(|said| said.len()), Ok(0));
}

#[test]
fn a_call_whose_message_panicked_goes_on_as_its_shadow_tells_it() {
    let mut two = two();
    let call = call(&two, "c");
    let forwarded = two.hear(1, ALICE, &invite(&call)).unwrap().pop().unwrap();
    two.hear(1, BOB, &response(&forwarded, "180 Ringing", "b", BOB_CONTACT)).unwrap();
    assert!(two.hear(1, ALICE, &poison(&call, 2)).unwrap_err().reloaded);
    let said = two.passes(Duration::from_millis(600));
    let again: Vec<_> = said.iter().filter(|said| said.what() == "INVITE").collect();
    assert!(!again.is_empty() && again.iter().all(|said| said.branch() == forwarded.branch()), "one ring");
    let ok = two.hear(1, BOB, &response(&forwarded, "200 OK", "b", BOB_CONTACT)).unwrap();
    assert_eq!(ladder(&ok), ["200 → 10.0.0.1:5060"]);
    two.hear(1, ALICE, &in_dialog("ACK", &call, 1, ok[0].route(), "sip:bob@10.0.0.2:5060")).unwrap();
    two.passes(Duration::from_secs(5));
    let bye = two.hear(1, ALICE, &in_dialog("BYE", &call, 3, ok[0].route(), "sip:bob@10.0.0.2:5060")).unwrap();
    two.hear(1, BOB, &response(bye.last().unwrap(), "200 OK", "b", "")).unwrap();
    assert_eq!(two.cdrs.iter().map(|cdr| cdr.duration).collect::<Vec<_>>(), [5]);
    assert_eq!(two.cores[0].panics(), Contained { quarantined: 1, reloaded: 1, lost: 0 });
    let stats = two.cores[0].node.stats();
    assert_eq!((stats.calls_answered, stats.calls_failed, stats.inherited), (1, 0, 0));
}

#[test]
fn a_call_that_panics_again_is_given_up_by_its_backup_too() {
    let mut two = two();
    let call = call(&two, "c");
    let hash = CallHash::of(&two.cores[0].keys.placement, format!("{call}@alice").as_bytes());
    two.hear(1, ALICE, &invite(&call)).unwrap();
    assert!(two.hear(1, ALICE, &poison(&call, 2)).unwrap_err().reloaded);
    assert!(two.cores[1].shadows.shelf.get(hash).is_some() && two.cores[0].node.contexts() == 1);
    assert!(!two.hear(1, ALICE, &poison(&call, 3)).unwrap_err().reloaded);
    two.passes(Duration::from_millis(50));
    assert_eq!((two.cores[1].shadows.shelf.get(hash), two.cores[0].shadows.shipper.image(hash)), (None, None));
    assert_eq!((two.cores[0].node.contexts(), two.cores[0].node.calls().len()), (0, 0));
    assert_eq!(two.cores[0].panics(), Contained { quarantined: 2, reloaded: 1, lost: 1 });
}

#[test]
fn who_comes_after_one_that_died_over_a_message_warns_the_others() {
    let mut two = two();
    let text = poison(&call(&two, "bad"), 1);
    // What it had in hand is all that it left.
    let fingerprint = two.cores[0].fingerprint(text.replace('\n', "\r\n").as_bytes());
    two.cores[0] = core(1, 2);
    let now = two.now;
    two.cores[0].shut_out(now, fingerprint);
    assert!(two.cores[0].parcels().is_empty(), "it knows nobody yet");
    two.trap.placements = placement(2);
    two.contained(1, Input::Placement).unwrap();
    for node in [1, 2] {
        assert_eq!(two.hear(node, ALICE, &text).map(|said| said.len()), Ok(0));
        assert_eq!(two.dropped(node), 1);
    }
}
