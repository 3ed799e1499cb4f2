//! RFC 3263 section by section.

use super::*;

/// The zone of RFC 3263 §4.1, with the SRV records of §4.2.
fn example_com() -> Vec<DnsRecord> {
    vec![
        naptr("example.com", 50, 50, "SIPS+D2T", "_sips._tcp.example.com."),
        naptr("example.com", 90, 50, "SIP+D2T", "_sip._tcp.example.com"),
        naptr("example.com", 100, 50, "SIP+D2U", "_sip._udp.example.com."),
        srv("_sips._tcp.example.com", 0, 1, 5061, "server1.example.com"),
        srv("_sip._tcp.example.com", 0, 1, 5060, "server1.example.com"),
        srv("_sip._tcp.example.com", 1, 1, 5060, "server2.example.com"),
        srv("_sip._udp.example.com", 0, 1, 5062, "server2.example.com"),
        a("server1.example.com", "192.0.2.1"),
        a("server2.example.com", "192.0.2.2"),
        a("example.com", "192.0.2.80"),
    ]
}

#[test]
fn section_4_1_the_example_of_the_rfc_as_a_transcript() {
    // "If a client supports TCP and UDP, TCP is used": the record of order 90.
    let mut rig = Rig::new(UDP_TCP);
    let Progress::Waiting(id) = rig.locate("sip:user@example.com") else { panic!("nothing is known yet") };
    assert_eq!(rig.questions(), ["naptr example.com"]);
    let zone = example_com();
    assert_eq!(rig.answer("naptr example.com", records(zone[..3].to_vec())), []);
    assert_eq!(rig.questions(), ["srv _sip._tcp.example.com"], "the lowest order that fits, and no other");
    assert_eq!(rig.answer("srv _sip._tcp.example.com", records(zone[4..6].to_vec())), []);
    assert_eq!(rig.questions(), ["a server1.example.com", "a server2.example.com"], "both at once");
    assert_eq!(rig.answer("a server2.example.com", records(vec![zone[8].clone()])), []);
    let located = rig.answer("a server1.example.com", records(vec![zone[7].clone()]));
    assert_eq!(located[0].0, id);
    assert_eq!(hops_of(&located), ["tcp 192.0.2.1:5060", "tcp 192.0.2.2:5060"]);
    let Progress::Done(again) = rig.locate("sip:other@EXAMPLE.com") else { panic!("it is known now") };
    assert_eq!(shown(&again[0]), "tcp 192.0.2.1:5060");
    assert!(rig.asked.is_empty() && rig.resolver.next_due().is_none());
}

#[test]
fn section_4_1_naptr_chooses_among_what_is_served() {
    let zone = example_com();
    assert_eq!(Rig::new(UDP).hops(&zone, "sip:example.com", 1).unwrap(), ["udp 192.0.2.2:5062"]);
    assert_eq!(Rig::new(ALL).hops(&zone, "sip:example.com", 1).unwrap(), ["tls 192.0.2.1:5061"]);
    assert_eq!(Rig::new(ALL).hops(&zone, "sips:example.com", 1).unwrap(), ["tls 192.0.2.1:5061"]);
    let none = Rig::new(UDP_TCP).hops(&zone, "sips:example.com", 1);
    assert_eq!(none, Err(Unresolved::NoTransport("example.com".into())));
    let websocket = &[(Transport::Ws, false)][..];
    assert_eq!(
        Rig::new(websocket).hops(&zone, "sip:example.com", 1),
        Err(Unresolved::NoTransport("example.com".into())),
        "the domain says how it is reached, and it is none of our ways"
    );
    let zone = [
        naptr("w.example", 1, 1, "SIP+D2W", "_sip._ws.w.example"),
        srv("_sip._ws.w.example", 0, 0, 8080, "h.w.example"),
        a("h.w.example", "192.0.2.7"),
    ];
    assert_eq!(Rig::new(websocket).hops(&zone, "sip:w.example", 1).unwrap(), ["ws 192.0.2.7:8080"]);
}

#[test]
fn section_4_1_preference_within_an_order_and_records_that_are_not_sips() {
    let mut zone = vec![
        naptr("p.example", 10, 20, "SIP+D2U", "_sip._udp.p.example"),
        naptr("p.example", 10, 10, "sip+d2t", "_sip._tcp.p.example"),
        naptr("p.example", 1, 1, "E2U+sip", "wrong.p.example"),
        naptr("p.example", 1, 1, "SIP+D2S", "_sip._sctp.p.example"),
        srv("_sip._udp.p.example", 0, 0, 5060, "u.p.example"),
        srv("_sip._tcp.p.example", 0, 0, 5060, "t.p.example"),
        a("u.p.example", "192.0.2.1"),
        a("t.p.example", "192.0.2.2"),
    ];
    let hops = Rig::new(UDP_TCP).hops(&zone, "sip:p.example", 1).unwrap();
    assert_eq!(hops, ["tcp 192.0.2.2:5060", "udp 192.0.2.1:5060"], "the preferred one, then its equal in order");
    // A regexp, or another flag than `s`, is no mapping to an SRV name.
    for record in &mut zone[..2] {
        let DnsData::Naptr { regexp, .. } = &mut record.data else { panic!() };
        *regexp = "!.*!sip:x@evil.example!".into();
    }
    zone.push(a("p.example", "192.0.2.9"));
    zone.truncate(4);
    zone.push(a("p.example", "192.0.2.9"));
    let hops = Rig::new(UDP_TCP).hops(&zone, "sip:p.example", 1);
    assert_eq!(hops, Err(Unresolved::NoTransport("p.example".into())), "SCTP alone is left");
}

#[test]
fn section_4_1_without_naptr_the_srv_records_that_exist_tell_the_transports() {
    let zone = [
        srv("_sip._tcp.s.example", 0, 0, 5070, "t.s.example"),
        srv("_sips._tcp.s.example", 0, 0, 5071, "t.s.example"),
        a("t.s.example", "192.0.2.2"),
    ];
    let mut rig = Rig::new(ALL);
    assert!(matches!(rig.locate("sip:s.example"), Progress::Waiting(_)));
    rig.answer("naptr s.example", DnsAnswer::NoRecords { ttl_s: Some(9) });
    assert_eq!(
        rig.questions(),
        ["srv _sip._udp.s.example", "srv _sip._tcp.s.example", "srv _sips._tcp.s.example"],
        "all at once, for each transport that is served"
    );
    assert_eq!(hops_of(&rig.answer_all(&zone)), ["tcp 192.0.2.2:5070", "tls 192.0.2.2:5071"]);
    assert_eq!(Rig::new(ALL).hops(&zone, "sips:s.example", 1).unwrap(), ["tls 192.0.2.2:5071"]);
}

#[test]
fn section_4_1_without_any_of_them_udp_for_sip_and_tls_for_sips() {
    let zone = [a("plain.example", "192.0.2.3")];
    assert_eq!(Rig::new(ALL).hops(&zone, "sip:plain.example", 1).unwrap(), ["udp 192.0.2.3:5060"]);
    assert_eq!(Rig::new(ALL).hops(&zone, "sips:plain.example", 1).unwrap(), ["tls 192.0.2.3:5061"]);
    let tcp_only = &[(Transport::Tcp, false)][..];
    assert_eq!(Rig::new(tcp_only).hops(&zone, "sip:plain.example", 1).unwrap(), ["tcp 192.0.2.3:5060"]);
}

#[test]
fn section_4_1_a_transport_parameter_goes_before_the_dns() {
    let zone = example_com();
    let mut rig = Rig::new(ALL);
    assert!(matches!(rig.locate("sip:example.com;transport=udp"), Progress::Waiting(_)));
    assert_eq!(rig.questions(), ["srv _sip._udp.example.com"], "no NAPTR");
    assert_eq!(hops_of(&rig.answer_all(&zone)), ["udp 192.0.2.2:5062"]);
    assert_eq!(Rig::new(ALL).hops(&zone, "sip:example.com;transport=tls", 1).unwrap(), ["tls 192.0.2.1:5061"]);
    for refused in ["sip:example.com;transport=sctp", "sips:example.com;transport=udp"] {
        let error = Unresolved::NoTransport("example.com".into());
        assert_eq!(Rig::new(ALL).hops(&zone, refused, 1), Err(error), "{refused}");
    }
    let error = Rig::new(UDP).hops(&zone, "sip:example.com;transport=tcp", 1).unwrap_err();
    assert_eq!((error.status(), error.label()), (503, "no_transport"));
}

#[test]
fn section_4_2_an_address_needs_no_dns_and_a_port_no_srv() {
    let mut rig = Rig::new(ALL);
    for (uri, hop) in [
        ("sip:192.0.2.9", "udp 192.0.2.9:5060"),
        ("sips:192.0.2.9", "tls 192.0.2.9:5061"),
        ("sip:192.0.2.9:5099;transport=tcp", "tcp 192.0.2.9:5099"),
        ("sip:user@example.com;maddr=192.0.2.77", "udp 192.0.2.77:5060"),
    ] {
        assert_eq!(rig.hops(&[], uri, 1).unwrap(), [hop], "{uri}");
    }
    assert_eq!(rig.hops(&[], "sip:[2001:db8::1]", 1), Err(Unresolved::NoTransport("2001:db8::1".into())));
    let both = &[(Transport::Udp, false), (Transport::Udp, true)][..];
    assert_eq!(Rig::new(both).hops(&[], "sip:[2001:db8::1]", 1).unwrap(), ["udp [2001:db8::1]:5060"]);
    assert!(matches!(rig.locate("sip:example.com:5080"), Progress::Waiting(_)));
    assert_eq!(rig.questions(), ["a example.com"]);
    assert_eq!(hops_of(&rig.answer_all(&example_com())), ["udp 192.0.2.80:5080"]);
}

#[test]
fn section_4_2_both_families_are_asked_and_the_first_listeners_is_preferred() {
    let zone = [a("d.example", "192.0.2.4"), a("d.example", "2001:db8::4")];
    let v4_first = &[(Transport::Udp, false), (Transport::Udp, true)][..];
    let v6_first = &[(Transport::Udp, true), (Transport::Udp, false)][..];
    let (v4, v6) = ("udp 192.0.2.4:5060", "udp [2001:db8::4]:5060");
    assert_eq!(Rig::new(v4_first).hops(&zone, "sip:d.example", 1).unwrap(), [v4, v6]);
    assert_eq!(Rig::new(v6_first).hops(&zone, "sip:d.example", 1).unwrap(), [v6, v4]);
    assert_eq!(Rig::new(UDP).hops(&zone, "sip:d.example", 1).unwrap(), [v4], "no listener speaks IPv6");
    let only_v6 = &[(Transport::Udp, true)][..];
    let v4_only_host = Rig::new(only_v6).hops(&zone[..1], "sip:d.example:5060", 1);
    assert_eq!(v4_only_host, Err(Unresolved::NoAddress("d.example".into())));
}

#[test]
fn section_4_3_priorities_then_a_draw_that_follows_from_the_seed() {
    let zone = [
        srv("_sip._udp.c.example", 10, 70, 5060, "a.c.example"),
        srv("_sip._udp.c.example", 10, 30, 5060, "b.c.example"),
        srv("_sip._udp.c.example", 20, 0, 5060, "backup.c.example"),
        a("a.c.example", "192.0.2.1"),
        a("b.c.example", "192.0.2.2"),
        a("backup.c.example", "192.0.2.3"),
    ];
    let mut turned = zone.clone();
    turned.reverse();
    let (mut rig, mut other) = (Rig::new(UDP), Rig::new(UDP));
    let mut a_first = 0;
    for seed in 0..1000 {
        let hops = rig.hops(&zone, "sip:c.example", seed).unwrap();
        assert_eq!(hops.len(), 3);
        assert_eq!(hops[2], "udp 192.0.2.3:5060");
        assert_eq!(other.hops(&turned, "sip:c.example", seed).unwrap(), hops, "another node draws the same");
        a_first += u32::from(hops[0] == "udp 192.0.2.1:5060");
    }
    assert!((640..760).contains(&a_first), "{a_first} of 1000 for a weight of 70 %");
    assert!(rig.resolver.counters().hits > 4000);
}

#[test]
fn section_4_3_a_server_that_failed_goes_last_for_a_time() {
    let zone = [
        srv("_sip._udp.c.example", 10, 0, 5060, "a.c.example"),
        srv("_sip._udp.c.example", 20, 0, 5060, "b.c.example"),
        a("a.c.example", "192.0.2.1"),
        a("b.c.example", "192.0.2.2"),
    ];
    let mut rig = Rig::new(UDP);
    let (a, b) = ("udp 192.0.2.1:5060", "udp 192.0.2.2:5060");
    assert_eq!(rig.hops(&zone, "sip:c.example", 1).unwrap(), [a, b]);
    let hop = Hop { address: "192.0.2.1:5060".parse().unwrap(), transport: Transport::Udp };
    rig.resolver.failed(rig.now, hop, None);
    assert_eq!(rig.hops(&zone, "sip:c.example", 1).unwrap(), [b, a], "never left out: it may be the only one");
    rig.passes(SECOND * 31);
    assert_eq!(rig.hops(&zone, "sip:c.example", 1).unwrap(), [a, b]);
    rig.resolver.failed(rig.now, hop, None);
    rig.passes(SECOND * 31);
    assert!(rig.resolver.is_unwell(rig.now, &hop), "the second time it counts twice as long");
    rig.resolver.succeeded(&hop);
    assert_eq!(rig.hops(&zone, "sip:c.example", 1).unwrap(), [a, b]);
    // 503 with Retry-After: 100.
    rig.resolver.failed(rig.now, hop, Some(SECOND * 100));
    rig.passes(SECOND * 99);
    assert!(rig.resolver.is_unwell(rig.now, &hop));
    rig.passes(SECOND * 2);
    assert!(!rig.resolver.is_unwell(rig.now, &hop));
    rig.resolver.failed(rig.now, hop, Some(SECOND * 1_000_000));
    rig.passes(SECOND * 601);
    assert!(!rig.resolver.is_unwell(rig.now, &hop), "one wrong header does not last for a day");
}

#[test]
fn section_4_3_a_service_that_is_decidedly_not_there() {
    let zone = [srv("_sip._udp.n.example", 0, 0, 0, "."), a("n.example", "192.0.2.1")];
    let error = Rig::new(UDP).hops(&zone, "sip:n.example", 1).unwrap_err();
    assert_eq!((error.status(), &error), (404, &Unresolved::NoService("n.example".into())));
    assert_eq!(error.to_string(), "n.example says that it has no SIP service");
}

#[test]
fn addresses_that_came_along_need_not_be_asked_for() {
    let additional = vec![a("h.x.example", "192.0.2.6"), a("stranger.example", "192.0.2.66"), {
        DnsRecord { ttl_s: 5, ..a("short.x.example", "192.0.2.7") }
    }];
    let answers = vec![
        srv("_sip._udp.x.example", 1, 0, 5060, "h.x.example"),
        srv("_sip._udp.x.example", 2, 0, 5060, "short.x.example"),
    ];
    let mut rig = Rig::new(UDP);
    assert!(matches!(rig.locate("sip:x.example;transport=udp"), Progress::Waiting(_)));
    rig.answer("srv _sip._udp.x.example", DnsAnswer::Records { answers, additional });
    assert_eq!(rig.questions(), ["a short.x.example"], "the other came along and counts as long as the SRV records");
    let located = rig.answer("a short.x.example", records(vec![a("short.x.example", "192.0.2.7")]));
    assert_eq!(hops_of(&located), ["udp 192.0.2.6:5060", "udp 192.0.2.7:5060"]);
    assert!(matches!(rig.locate("sip:stranger.example:5060"), Progress::Waiting(_)));
    assert!(matches!(rig.locate("sip:h.x.example:5060"), Progress::Waiting(_)));
    assert_eq!(rig.questions(), ["a stranger.example", "a h.x.example"], "no additional record answers a question");
}
