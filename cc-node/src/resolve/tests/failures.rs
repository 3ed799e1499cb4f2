//! Name servers that are slow, wrong or dead.

use super::*;

const TRUNK: &str = "sip:trunk.example;transport=udp";

fn trunk_zone() -> Vec<DnsRecord> {
    vec![srv("_sip._udp.trunk.example", 0, 0, 5060, "gw.trunk.example"), a("gw.trunk.example", "192.0.2.1")]
}

#[test]
fn equal_questions_are_asked_once() {
    let mut rig = Rig::new(UDP);
    let ids: Vec<Progress> = (0..20).map(|seed| rig.locate_seeded(TRUNK, seed)).collect();
    assert!(ids.iter().all(|p| matches!(p, Progress::Waiting(_))));
    assert_eq!(rig.questions(), ["srv _sip._udp.trunk.example"]);
    assert_eq!(rig.answer("srv _sip._udp.trunk.example", records(vec![trunk_zone()[0].clone()])), []);
    assert_eq!(rig.questions(), ["a gw.trunk.example"]);
    let located = rig.answer("a gw.trunk.example", records(vec![trunk_zone()[1].clone()]));
    assert_eq!(located.len(), 20, "each look-up gets its own result");
    assert_eq!(rig.resolver.counters().coalesced, 38);
    assert_eq!(rig.resolver.counters().waiting, 0);
}

#[test]
fn what_is_not_there_is_remembered_as_long_as_the_soa_says() {
    let mut rig = Rig::new(UDP);
    let gone = |rig: &mut Rig| rig.hops(&[], "sip:gone.example", 1).unwrap_err();
    let error = gone(&mut rig);
    assert_eq!((error.status(), &error), (404, &Unresolved::NoSuchName("gone.example".into())));
    rig.passes(SECOND * 59);
    assert_eq!(rig.locate("sip:gone.example"), Progress::Failed(error.clone()), "without a question");
    rig.passes(SECOND * 2);
    assert!(matches!(rig.locate("sip:gone.example"), Progress::Waiting(_)), "the SOA said 60 s");
    rig.answer_all(&[]);
    // A SOA that says a week is cut, none at all means a few seconds.
    for (ttl_s, lasts) in [(Some(604_800), 300), (None, 5), (Some(0), 1)] {
        let mut rig = Rig::new(UDP);
        assert!(matches!(rig.locate("sip:gone.example:5060"), Progress::Waiting(_)));
        rig.answer("a gone.example", DnsAnswer::NoSuchName { ttl_s });
        rig.passes(SECOND * lasts - Duration::from_millis(1));
        assert!(matches!(rig.locate("sip:gone.example:5060"), Progress::Failed(_)), "{ttl_s:?}");
        rig.passes(Duration::from_millis(1));
        assert!(matches!(rig.locate("sip:gone.example:5060"), Progress::Waiting(_)), "{ttl_s:?}");
    }
}

#[test]
fn a_dead_name_server_fails_the_look_up_in_time_and_is_left_alone_for_longer_and_longer() {
    let mut rig = Rig::new(UDP);
    let Progress::Waiting(id) = rig.locate(TRUNK) else { panic!() };
    assert_eq!(rig.passes(Duration::from_millis(3400)), []);
    let located = rig.passes(Duration::from_millis(200));
    assert_eq!(located, [(id, Err(Unresolved::Timeout("trunk.example".into())))]);
    assert_eq!(located[0].1.as_ref().unwrap_err().status(), 503);
    rig.asked.clear();
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let began = rig.now;
        while let Progress::Failed(error) = rig.locate(TRUNK) {
            assert_eq!(error, Unresolved::Timeout("trunk.example".into()), "at once, without a question");
            rig.passes(Duration::from_millis(100));
        }
        pauses.push(rig.now.since(began).as_millis().div_ceil(1000));
        let (ask, _) = rig.asked.pop().unwrap();
        rig.resolver.answer(rig.now, ask, failed(DnsFailure::Timeout), &mut rig.out);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    // Another name is asked for all the same, and one answer makes all well.
    rig.passes(SECOND * 31);
    assert_eq!(rig.hops(&trunk_zone(), TRUNK, 1).unwrap(), ["udp 192.0.2.1:5060"]);
}

#[test]
fn an_expired_answer_serves_while_no_name_server_does() {
    let mut rig = Rig::new(UDP);
    let hops = ["udp 192.0.2.1:5060".to_string()];
    assert_eq!(rig.hops(&trunk_zone(), TRUNK, 1).unwrap(), hops);
    rig.passes(SECOND * 301);
    // The first call after the TTL waits half a second for the name server, and goes on with what it was.
    let Progress::Waiting(id) = rig.locate(TRUNK) else { panic!("it is asked again") };
    assert_eq!(rig.passes(Duration::from_millis(499)), []);
    let located = rig.passes(Duration::from_millis(2));
    assert_eq!((located[0].0, hops_of(&located)), (id, hops.to_vec()));
    rig.passes(SECOND * 4);
    for _ in 0..100 {
        assert!(
            matches!(rig.locate(TRUNK), Progress::Done(_)),
            "nobody waits for a name server that is known to be dead"
        );
        rig.passes(SECOND * 20);
    }
    assert!(rig.resolver.counters().stale > 150);
    rig.passes(SECOND * 86_400);
    rig.asked.clear();
    assert!(!matches!(rig.locate(TRUNK), Progress::Done(_)), "up to a bound");
    let mut rig = Rig::with(Settings { stale: Duration::ZERO, ..settings(UDP) });
    rig.hops(&trunk_zone(), TRUNK, 1).unwrap();
    rig.passes(SECOND * 301);
    let Progress::Waiting(_) = rig.locate(TRUNK) else { panic!() };
    assert!(rig.passes(SECOND * 4).iter().all(|(_, result)| result.is_err()), "0 keeps none");
}

#[test]
fn a_backup_whose_zone_is_dead_does_not_hold_the_call() {
    let zone = [
        srv("_sip._udp.m.example", 1, 0, 5060, "main.m.example"),
        srv("_sip._udp.m.example", 2, 0, 5060, "backup.elsewhere.example"),
    ];
    let mut rig = Rig::new(UDP);
    let Progress::Waiting(id) = rig.locate("sip:m.example;transport=udp") else { panic!() };
    rig.answer("srv _sip._udp.m.example", records(zone.to_vec()));
    assert_eq!(rig.answer("a main.m.example", records(vec![a("main.m.example", "192.0.2.1")])), []);
    let located = rig.passes(Duration::from_millis(500));
    assert_eq!((located[0].0, hops_of(&located)), (id, vec!["udp 192.0.2.1:5060".to_string()]));
    assert_eq!(rig.passes(SECOND * 20), [], "once");
}

#[test]
fn a_server_that_fails_for_naptr_is_asked_for_srv_and_no_guess_is_made_when_srv_fails() {
    let mut rig = Rig::new(UDP);
    assert!(matches!(rig.locate("sip:trunk.example"), Progress::Waiting(_)));
    rig.answer("naptr trunk.example", failed(DnsFailure::ServerFailure));
    assert_eq!(hops_of(&rig.answer_all(&trunk_zone())), ["udp 192.0.2.1:5060"]);
    let mut rig = Rig::new(UDP);
    assert!(matches!(rig.locate(TRUNK), Progress::Waiting(_)));
    let located = rig.answer("srv _sip._udp.trunk.example", failed(DnsFailure::ServerFailure));
    assert_eq!(located[0].1, Err(Unresolved::ServerFailure("trunk.example".into())));
    assert!(rig.asked.is_empty(), "its own address at 5060 would be a guess");
}

#[test]
fn an_answer_that_comes_late_twice_or_for_nobody_is_passed_over() {
    let mut rig = Rig::new(UDP);
    let Progress::Waiting(id) = rig.locate("sip:l.example:5060") else { panic!() };
    let (ask, _) = rig.asked[0];
    rig.resolver.forget(id);
    assert_eq!(rig.answer("a l.example", records(vec![a("l.example", "192.0.2.1")])), [], "nobody waits");
    assert!(matches!(rig.locate("sip:l.example:5060"), Progress::Done(_)), "but it is known now");
    let evil = records(vec![a("l.example", "203.0.113.66")]);
    assert_eq!(rig.resolver.answer(rig.now, ask, evil.clone(), &mut rig.out), []);
    assert_eq!(rig.resolver.answer(rig.now, DnsAsk(77), evil, &mut rig.out), []);
    assert_eq!(rig.hops(&[], "sip:l.example:5060", 1).unwrap(), ["udp 192.0.2.1:5060"]);
    assert_eq!(rig.resolver.next_due(), None, "nothing is left behind");
}
