//! What workers of this rack may tell each other of calls, in any order and of any content: no word of another node makes a
//! worker panic or keep more than it may, and what it takes up from a dead one is taken up once.

use super::choices::{Choices, at_length};
use super::fuzz;
use bytes::Bytes;
use cc_node::admission::{self, Verdict};
use cc_node::core::Core;
use cc_node::counted::{CallNo, Key, Want};
use cc_node::effect::{Effect, Input, View};
use cc_node::image::Image;
use cc_node::probe::{Health, Report};
use cc_node::quarantine::{Fingerprint, MOST};
use cc_node::record::{Accepted, CallKey, Caller, Hunt, Opened, RecordNo, Redirected, Target, What};
use cc_node::shadow::words::{Body, Post, Word, encode};
use cc_node::station::NodeSetup;
use common::call_hash::CallHash;
use common::config::Rack;
use common::flow::{Flow, Peer};
use common::ids::{BootId, Epoch, ListenerId, NodeId, Transport, TrunkId};
use common::keys::{Keys, RackKey};
use common::location::{Aor, Bindings, LogTime, Subscriber};
use common::placement::{Inputs, Member, Placement, Placements, Policy};
use common::time::{Duration, Time, WallMillis};
use std::sync::Arc;

const US: Post = Post { node: NodeId(1), boot: BootId(1), worker: 0 };
const STEPS: usize = 120;
const INVITE: &str = "INVITE sip:b@rack.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\nMax-Forwards: 70\r\n\
    From: <sip:a@rack.test>;tag=a\r\nTo: <sip:b@rack.test>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContact: <sip:a@192.0.2.1>\r\n\
    Content-Length: 0\r\n\r\n";

struct Sight(Placements);

impl View for Sight {
    fn bindings(&self, _: &Aor) -> Option<Arc<Bindings>> {
        None
    }
    fn subscriber(&self, _: &Aor) -> Option<Arc<Subscriber>> {
        None
    }
    fn log_time(&self, now: Time) -> LogTime {
        LogTime(now.millis())
    }
    fn placements(&self) -> &Placements {
        &self.0
    }
}

fn placement(epoch: u64, choices: &mut Choices<'_>) -> Arc<Placement> {
    let member = |n: u16, boot: Option<u64>| Member::new(NodeId(n), boot.map(BootId));
    let live = |choices: &mut Choices<'_>| choices.pick(&[None, Some(1), Some(1), Some(2)]);
    let us = choices.pick(&[Some(1), Some(1), Some(1), None]);
    let members = vec![member(1, us), member(2, live(choices)), member(3, live(choices))];
    let inputs = Inputs { policy: Policy::Rendezvous, members, ..Inputs::default() };
    Arc::new(Placement::compute(&[5; 16], Epoch(epoch), inputs))
}

fn flow() -> Flow {
    Flow { listener: ListenerId(0), remote: "192.0.2.2:5060".parse().unwrap() }
}

fn branch(choices: &mut Choices<'_>) -> Box<str> {
    choices.pick(&["x", "y", "z"]).into()
}

fn target(choices: &mut Choices<'_>) -> Target {
    Target {
        uri: choices.pick(&["sip:b@192.0.2.2", "tel:1", "\u{0}"]).into(),
        route: vec![],
        next_hop: flow(),
        peer: Peer::Direct(flow()),
        order: choices.word(),
        attempt: choices.below(3) as u32,
        hunt: Hunt::IfUnavailable,
        recurse: true,
        branch: branch(choices).into(),
    }
}

fn targets(choices: &mut Choices<'_>) -> Vec<Target> {
    (0..choices.below(4)).map(|_| target(choices)).collect()
}

fn what(choices: &mut Choices<'_>) -> What {
    let tag: Box<str> = choices.pick(&["", "t", "u"]).into();
    let opened =
        Opened { caller: "a".into(), callee: "b".into(), peer: Peer::Flow(flow()), trunk_in: None, contact: None };
    match choices.below(12) {
        0..=2 => What::Accepted(Box::new(Accepted {
            request: choices.pick(&[INVITE, "", "INVITE x\r\n\r\n"]).into(),
            source: flow(),
            transport: Transport::Udp,
            at: WallMillis(choices.long()),
            caller: choices.pick(&[true, false]).then_some(Caller::Anyone),
            call: choices.pick(&[true, false]).then_some(opened),
            dialogs: vec![],
            decisions: vec![],
            pending: choices.one_of_256(80),
            targets: targets(choices),
        })),
        3 => What::Started { branches: (0..choices.below(3)).map(|_| branch(choices)).collect() },
        4 => What::BranchFailed {
            branch: branch(choices),
            status: choices.word(),
            response: Bytes::copy_from_slice(choices.some(20)),
        },
        5 => What::Early { branch: branch(choices), callee_tag: tag, contact: Some(flow().remote) },
        6 => What::Cancelled,
        7 => What::Refused { status: choices.word(), response: Bytes::copy_from_slice(choices.some(20)) },
        8 => What::Over,
        9 => What::Session { callee_tag: tag, expires_s: Some(choices.long() as u32) },
        10 => {
            let instead_of = Some(Redirected { branch: branch(choices), ranks: choices.word() });
            What::Targets { instead_of, targets: targets(choices) }
        }
        _ => What::DialogEnded { callee_tag: tag },
    }
}

fn key(choices: &mut Choices<'_>) -> Arc<CallKey> {
    let cseq = choices.below(3) as u32;
    Arc::new(CallKey { call_id: b"c"[..].into(), from_tag: "a".into(), upstream_branch: "z9hG4bKa".into(), cseq })
}

fn image(choices: &mut Choices<'_>) -> Box<Image> {
    let mut image = Image::default();
    for _ in 0..choices.below(6) {
        image.apply(Time(choices.long()), &key(choices), what(choices));
    }
    Box::new(image)
}

fn word(choices: &mut Choices<'_>) -> Word {
    let hash = CallHash(choices.pick(&[0, 1 << 48, 2 << 48, u64::MAX]));
    let no = RecordNo(choices.below(6) as u64);
    let question = choices.below(4) as u32;
    match choices.below(16) {
        0..=4 => {
            let body = match choices.below(6) {
                0..=2 => {
                    let previous = RecordNo(choices.below(6) as u64);
                    Body::Record { no, previous, hash, key: key(choices), what: what(choices) }
                }
                3 => Body::Whole { no, hash, clock: Time(choices.long()), image: image(choices) },
                4 => Body::Release { no, hash },
                _ => Body::Check { first: hash, last: CallHash(choices.long()), calls: vec![(hash, no)] },
            };
            let number = if choices.one_of_256(20) { choices.long() } else { choices.below(40) as u64 };
            Word::Letter { number, floor: choices.below(40) as u64, body }
        }
        5 | 6 => Word::Acks { numbers: (0..choices.below(8)).map(|_| choices.below(40) as u64).collect() },
        7 => Word::Want { hash },
        8 => Word::Which { question, dead: NodeId(choices.below(5) as u16), boot: BootId(choices.below(3) as u64) },
        9 => Word::These { question, part: choices.word(), parts: choices.word(), calls: vec![(hash, no)] },
        10 => Word::Fetch { question, hashes: vec![hash] },
        11 => {
            let message = |_| (Fingerprint(choices.below(9) as u64), choices.long() as u32);
            Word::Quarantine { messages: (0..3).map(message).collect() }
        }
        12 => {
            let health = Health { up: choices.one_of_256(128), since_ms: choices.long(), ..Health::default() };
            let address = ([192, 0, 2, choices.below(3) as u8], 5060).into();
            let (epoch, no) = (Epoch(choices.below(4) as u64), choices.long());
            Word::Trunks { reports: vec![Report { trunk: TrunkId(1), address, epoch, no, health }] }
        }
        13 => {
            let image = choices.pick(&[true, false]).then(|| image(choices));
            Word::Fetched { question, hash, no, clock: Time(choices.long()), image }
        }
        _ => Word::Admission(about_limits(choices)),
    }
}

fn about_limits(choices: &mut Choices<'_>) -> admission::Word {
    let n = choices.pick(&[0, 1, 2, 3, u64::MAX]);
    let item = |choices: &mut Choices<'_>| {
        let hash = choices.pick(&[0, 1 << 48, 2 << 48, u64::MAX]);
        (Key(CallHash(hash)), CallNo(choices.below(5) as u64))
    };
    let mut items = || (0..choices.below(4)).map(|_| item(choices)).collect::<Vec<_>>();
    let (mine, over) = (items(), items());
    let ends = (item(choices), item(choices));
    match choices.below(5) {
        0 => {
            let wants = mine.iter().map(|(key, _)| Want { key: *key, limit: choices.below(3) as u32 }).collect();
            admission::Word::May { n, call: ends.0.1, wants }
        }
        1 => {
            admission::Word::Says { n, verdicts: vec![choices.pick(&[Verdict::Room, Verdict::Full, Verdict::Unknown])] }
        }
        2 => admission::Word::Told { n, mine, over },
        3 => admission::Word::Noted { n: vec![n] },
        _ => admission::Word::Check { n, first: ends.0, last: ends.1, calls: mine },
    }
}

fn play(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let rack = Arc::new(Rack::one_machine_default(3).expand());
    let keys = Arc::new(Keys::derive(&RackKey([5; 32])));
    let mut core = Core::new(NodeSetup { id: US.node, boot: US.boot, worker: US.worker, rack, keys });
    let (mut now, mut sight, mut out) = (Time(1_000_000), Sight(Placements::none()), Vec::new());
    for step in 0..STEPS {
        if choices.are_over() {
            return;
        }
        match choices.below(10) {
            0 => {
                let former = sight.0.current.clone();
                sight.0 = Placements {
                    current: placement(step as u64 + 1, &mut choices),
                    former: vec![former],
                    holders: vec![],
                };
                core.handle(now, WallMillis(0), &sight, Input::Placement, &mut out);
            }
            1 | 2 => {
                now = now + Duration::from_millis(choices.pick(&[1, 5, 30, 200, 40_000]));
                core.tick(now, WallMillis(0), &sight, &mut out);
            }
            of => {
                let from =
                    Post { node: NodeId(2 + (of % 2) as u16), boot: BootId(choices.pick(&[1, 1, 2])), worker: 0 };
                let mut plain = [&[1, 0, 1, 0, 0][..], &US.boot.0.to_be_bytes()].concat();
                match choices.one_of_256(20) {
                    true => plain.extend_from_slice(choices.some(60)),
                    false => plain.extend((0..1 + choices.below(3)).flat_map(|_| encode(&word(&mut choices)))),
                }
                let _ = core.packet(now, from, &plain, &mut out);
            }
        }
        assert!(!out.iter().any(|effect| matches!(effect, Effect::Journal(_) | Effect::Inherited { .. })));
        out.clear();
        assert!(core.parcels().len() < 2_000);
        assert!(core.panics().quarantined <= MOST);
        assert!(core.shadows.shelf.status().images <= 4, "of four calls");
    }
}

#[test]
fn fuzz() {
    fuzz!("shadows", 400, |octets: &[u8]| at_length(octets, 4_000, play));
}
