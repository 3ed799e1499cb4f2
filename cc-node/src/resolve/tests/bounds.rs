//! Hostile answers, and limits.

use super::*;
use crate::dns::DnsFailure::{Full, ServerFailure, Timeout};

#[test]
fn a_target_that_names_itself_is_an_address_question_and_no_loop() {
    let name = "_sip._udp.loop.example";
    let zone = [srv(name, 0, 0, 5060, name), srv(name, 1, 0, 5060, "loop.example")];
    let mut rig = Rig::new(UDP);
    let error = rig.hops(&zone, "sip:loop.example;transport=udp", 1).unwrap_err();
    assert_eq!(error, Unresolved::NoAddress("loop.example".into()));
    let asked: u64 = rig.resolver.counters().questions.iter().flatten().sum();
    assert_eq!(asked, 3, "one SRV, two addresses");
    let zone = [naptr("loop.example", 1, 1, "SIP+D2U", "loop.example")];
    assert!(Rig::new(UDP).hops(&zone, "sip:loop.example", 1).is_err());
}

#[test]
fn a_thousand_records_are_cut() {
    let servers = (0..1000).map(|n| srv("_sip._udp.big.example", 0, n, 5060, &format!("t{n}.big.example")));
    let mut zone: Vec<DnsRecord> = servers.collect();
    for n in 0..1000 {
        zone.push(a(&format!("t{n}.big.example"), &format!("192.0.{}.{}", 2 + n / 250, 1 + n % 250)));
    }
    let mut rig = Rig::new(UDP);
    let hops = rig.hops(&zone, "sip:big.example;transport=udp", 1).unwrap();
    assert_eq!(hops.len(), 16);
    assert!(rig.resolver.counters().entries <= 17, "no more names are asked for than are tried");
    let many: Vec<DnsRecord> =
        (0..1000).map(|n| a("m.example", &format!("198.51.{}.{}", n / 250, 1 + n % 250))).collect();
    let hops = Rig::new(UDP).hops(&many, "sip:m.example:5060", 1).unwrap();
    assert_eq!(hops.len(), 8, "of one name no more");
}

#[test]
fn odd_names_wrong_kinds_and_addresses_of_nobody_are_left_out() {
    let answers = vec![
        srv("_sip._udp.odd.example", 0, 0, 5060, "b\u{fffd}d.example"),
        srv("_sip._udp.odd.example", 0, 0, 5060, &"x".repeat(64)),
        srv("_sip._udp.odd.example", 0, 0, 5060, "a b.example"),
        srv("_sip._udp.odd.example", 0, 0, 0, "port0.example"),
        a("_sip._udp.odd.example", "203.0.113.1"),
        srv("_sip._udp.odd.example", 9, 0, 5060, "good.example."),
    ];
    let mut rig = Rig::new(UDP);
    assert!(matches!(rig.locate("sip:odd.example;transport=udp"), Progress::Waiting(_)));
    rig.answer("srv _sip._udp.odd.example", records(answers));
    assert_eq!(rig.questions(), ["a good.example"]);
    let ips = ["0.0.0.0", "224.0.0.1", "255.255.255.255", "192.0.2.1", "2001:db8::1"];
    let located = rig.answer("a good.example", records(ips.iter().map(|ip| a("good.example", ip)).collect()));
    assert_eq!(hops_of(&located), ["udp 192.0.2.1:5060"]);
    for host in ["a_.example..b", &"long.".repeat(60), "-", "."] {
        let destination = Destination::host(host, None, None);
        let progress = rig.resolver.locate(rig.now, &destination, 1, &mut rig.out);
        let asked = !rig.out.is_empty();
        rig.out.clear();
        assert_eq!(asked, matches!(progress, Progress::Waiting(_)), "{host}");
        assert!(asked == (host == "-") && (asked || matches!(progress, Progress::Failed(Unresolved::NotAName(_)))));
    }
}

#[test]
fn ttls_are_cut_and_one_with_the_highest_bit_is_none() {
    for (ttl_s, lasts) in [(i32::MAX as u32, 86_400), (u32::MAX, 1), (0, 1), (30, 30)] {
        let mut rig = Rig::new(UDP);
        assert!(matches!(rig.locate("sip:t.example:5060"), Progress::Waiting(_)));
        rig.answer("a t.example", records(vec![DnsRecord { ttl_s, ..a("t.example", "192.0.2.1") }]));
        rig.passes(SECOND * lasts - Duration::from_millis(1));
        assert!(matches!(rig.locate("sip:t.example:5060"), Progress::Done(_)), "{ttl_s}");
        rig.passes(Duration::from_millis(1));
        assert!(matches!(rig.locate("sip:t.example:5060"), Progress::Waiting(_)), "{ttl_s}");
    }
}

#[test]
fn what_is_kept_and_what_waits_is_bounded() {
    let mut rig = Rig::with(Settings { entries: 20, open_questions: 10, lookups: 12, ..settings(UDP) });
    let mut refused = 0;
    for n in 0..30 {
        match rig.locate(&format!("sip:n{n}.example:5060")) {
            Progress::Waiting(_) => {}
            Progress::Failed(error) => {
                assert_eq!((error.status(), error.label()), (503, "too_busy"));
                refused += 1;
            }
            Progress::Done(_) => panic!(),
        }
    }
    assert_eq!((refused, rig.asked.len()), (20, 10), "ten questions are open");
    // Many look-ups of one question are bounded by themselves.
    let waiting = (0..30).filter(|_| matches!(rig.locate("sip:n1.example:5060"), Progress::Waiting(_))).count();
    assert_eq!(waiting, 2);
    rig.answer_all(&[]);
    for n in 100..200 {
        let name = format!("x{n}.example");
        rig.hops(&[a(&name, "192.0.2.1")], &format!("sip:{name}:5060"), 1).unwrap();
        assert!(rig.resolver.counters().entries <= 20);
    }
    assert!(matches!(rig.locate("sip:x199.example:5060"), Progress::Done(_)));
    assert!(matches!(rig.locate("sip:x150.example:5060"), Progress::Waiting(_)), "used longest ago, gone first");
    for n in 0..100u8 {
        let hop = Hop { address: SocketAddr::from(([192, 0, 2, n], 5060)), transport: Transport::Udp };
        rig.resolver.failed(rig.now + Duration::from_millis(n.into()), hop, None);
    }
    assert_eq!(rig.resolver.counters().unwell, 32);
}

fn any_record() -> impl Strategy<Value = DnsRecord> {
    let name = prop_oneof![
        Just("d.example".to_string()),
        Just("_sip._udp.d.example".to_string()),
        Just("_sip._tcp.d.example".to_string()),
        Just(".".to_string()),
        "[a-c]{1}\\.d\\.example",
        "\\PC{0,12}",
    ];
    let service = prop_oneof![Just("SIP+D2U"), Just("SIP+D2T"), Just("SIPS+D2T"), Just("E2U+sip"), Just("")];
    let naptr = (any::<(u8, u8)>(), service, prop_oneof![Just("s"), Just("S"), Just("a"), Just("")], name.clone());
    let data =
        prop_oneof![
            naptr.prop_map(|((order, preference), services, flags, replacement)| DnsData::Naptr {
                order: order.into(),
                preference: preference.into(),
                flags: flags.into(),
                services: services.into(),
                regexp: String::new(),
                replacement,
            }),
            (0..3u16, any::<u16>(), any::<u16>(), name.clone())
                .prop_map(|(priority, weight, port, target)| DnsData::Srv { priority, weight, port, target }),
            any::<[u8; 4]>().prop_map(|ip| DnsData::A(ip.into())),
            any::<[u8; 16]>().prop_map(|ip| DnsData::Aaaa(ip.into())),
        ];
    (name, any::<u32>(), data).prop_map(|(name, ttl_s, data)| DnsRecord { name, ttl_s, data })
}

fn any_answer() -> impl Strategy<Value = DnsAnswer> {
    let records = || proptest::collection::vec(any_record(), 0..40);
    prop_oneof![
        6 => (records(), records()).prop_map(|(answers, additional)| DnsAnswer::Records { answers, additional }),
        1 => any::<Option<u32>>().prop_map(|ttl_s| DnsAnswer::NoSuchName { ttl_s }),
        1 => any::<Option<u32>>().prop_map(|ttl_s| DnsAnswer::NoRecords { ttl_s }),
        1 => prop_oneof![Just(Timeout), Just(ServerFailure), Just(Full)].prop_map(DnsAnswer::Failed),
    ]
}

/// One run: what is asked is answered in turn, time passes; what came of each look-up.
fn run(uris: &[String], answers: &[DnsAnswer], seed: u64) -> (Vec<Located>, usize) {
    let mut rig = Rig::new(ALL);
    let (mut located, mut waiting, mut questions) = (Vec::new(), 0, 0);
    let mut answers = answers.iter().cycle();
    for uri in uris {
        if let Progress::Waiting(_) = rig.locate_seeded(uri, seed) {
            waiting += 1;
        }
        for _ in 0..3 {
            if let Some((ask, _)) = rig.asked.pop() {
                questions += 1;
                let answer = answers.next().unwrap().clone();
                located.extend(rig.resolver.answer(rig.now, ask, answer, &mut rig.out));
                rig.take();
            }
        }
        located.extend(rig.passes(Duration::from_millis(seed % 700)));
    }
    located.extend(rig.passes(SECOND * 60));
    assert_eq!(rig.resolver.counters().waiting, 0, "no look-up waits for ever");
    assert_eq!(located.len(), waiting, "each has one result");
    (located, questions)
}

proptest! {
    #[test]
    fn whatever_is_answered_hops_are_bounded_and_follow_from_the_seed(
        answers in proptest::collection::vec(any_answer(), 1..12),
        uris in proptest::collection::vec(
            prop_oneof![
                Just("sip:d.example".to_string()),
                Just("sips:d.example".to_string()),
                Just("sip:d.example;transport=tcp".to_string()),
                Just("sip:a.d.example:5080".to_string()),
            ],
            1..12,
        ),
        seed in any::<u64>(),
    ) {
        let (located, questions) = run(&uris, &answers, seed);
        for (_, result) in &located {
            match result {
                Ok(hops) => {
                    prop_assert!((1..=16).contains(&hops.len()));
                    let mut once = hops.clone();
                    once.sort();
                    once.dedup();
                    prop_assert_eq!(once.len(), hops.len(), "no hop twice");
                    prop_assert!(hops.iter().all(|hop| hop.address.is_ipv4() && hop.address.port() > 0));
                }
                Err(error) => prop_assert!([404, 503].contains(&error.status())),
            }
        }
        prop_assert!(questions <= 36);
        prop_assert_eq!(run(&uris, &answers, seed).0, located, "the same again");
    }
}
