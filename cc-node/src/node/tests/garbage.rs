//! Whatever comes, nothing panics and everything stays bounded.

use super::*;
use proptest::prelude::*;

/// Messages of a whole call, to be mangled.
fn seeds() -> Vec<(&'static str, String)> {
    let mut b = bench();
    let forwarded = b.hear(ALICE, &invite("c")).remove(1);
    let ok = response(&forwarded, "200 OK", "b", BOB_CONTACT);
    let up = b.hear(BOB, &ok).remove(0);
    let to_bob = "sip:bob@10.0.0.2:5060";
    vec![
        (ALICE, invite("c")),
        (ALICE, invite("d")),
        (BOB, response(&forwarded, "180 Ringing", "b", "")),
        (BOB, response(&forwarded, "486 Busy Here", "b", "")),
        (BOB, ok),
        (ALICE, invite("c").replace("INVITE", "CANCEL")),
        (ALICE, invite("c").replace("INVITE", "ACK")),
        (ALICE, in_dialog("ACK", "c", 1, up.route(), to_bob)),
        (ALICE, in_dialog("INVITE", "c", 2, up.route(), to_bob)),
        (ALICE, in_dialog("BYE", "c", 3, up.route(), to_bob)),
        (BOB, from_bob("BYE", "c", 1, up.route(), "sip:alice@10.0.0.1:5060")),
        (ALICE, request("REGISTER", "sip:rack.test", "r", 1, "")),
        (ALICE, request("OPTIONS", "sip:rack.test", "o", 1, "")),
        (CARRIER, request("INVITE", "sip:00441@rack.test", "t", 1, "")),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Send { seed: usize, cut: Option<usize>, octet: Option<(usize, u8)>, call: u16 },
    Noise(Vec<u8>),
    Wait(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let send = (
        0usize..14,
        proptest::option::weighted(0.1, 0usize..900),
        proptest::option::weighted(0.4, (0usize..900, any::<u8>())),
        0u16..60,
    );
    prop_oneof![
        12 => send.prop_map(|(seed, cut, octet, call)| Step::Send { seed, cut, octet, call }),
        1 => proptest::collection::vec(any::<u8>(), 0..200).prop_map(Step::Noise),
        3 => (0u32..40_000).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_of_mangled_datagrams_is_borne(steps in proptest::collection::vec(step(), 1..120)) {
        let seeds = seeds();
        let mut b = bench();
        b.lossy = true;
        for step in steps {
            let said = match step {
                Step::Noise(octets) => b.hear_bytes(ALICE, octets),
                Step::Wait(ms) => b.pass(Duration::from_millis(u64::from(ms))).len(),
                Step::Send { seed, cut, octet, call } => {
                    let (from, text) = &seeds[seed];
                    let text = text.replace("\r\n", "\n").replace('\n', "\r\n");
                    // Some of the calls keep their name, so that messages meet.
                    let text = if call < 40 { text } else { text.replace("@alice", &format!("{call}@alice")).replace("bKc", &format!("bK{call}")) };
                    let mut octets = text.into_bytes();
                    octets.truncate(cut.unwrap_or(usize::MAX));
                    if let Some((at, octet)) = octet && let Some(place) = octets.get_mut(at) {
                        *place = octet;
                    }
                    b.hear_bytes(from, octets)
                }
            };
            prop_assert!(said < 1000);
            let t = b.node.stats().transactions;
            prop_assert!(t.server + t.client + t.invite_server + t.invite_client <= 210, "{t:?}");
            prop_assert!(b.node.calls().len() <= 20);
        }
        // Everything but answered calls ends by itself.
        b.pass(Duration::from_secs(600));
        prop_assert_eq!(b.node.stats().transactions, Default::default());
        prop_assert_eq!(b.node.stats().calls_in_setup, 0);
    }
}
