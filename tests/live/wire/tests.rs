//! Made-up traces: a call as it should be, and each rule with a trace that breaks it.

use super::call::Phase;
use super::*;

const VIP: &str = "10.99.0.1:5060";
const ALICE: &str = "10.99.0.20:5080";
const BOB: &str = "10.99.0.20:5070";
const CAROL: &str = "10.99.0.20:5071";

fn places() -> Places {
    let node = |n: u8| [Ipv4Addr::new(10, 98, 1, 10 + n), Ipv4Addr::new(10, 98, 2, 10 + n)];
    Places {
        vip: VIP.parse().expect("an address"),
        load_manager: [Ipv4Addr::new(10, 98, 1, 1), Ipv4Addr::new(10, 98, 2, 1)],
        nodes: vec![node(1), node(2)],
        sip_port: 15200,
    }
}

/// One line a message: `ms from > to  start-line method cseq branch to-tag`, with `-` for an empty tag.
///
/// `0 alice > vip INVITE 1 a -` is a request, `1 vip > alice 180 INVITE 1 a b1` a response.
fn datagrams(trace: &str) -> Vec<(Time, SocketAddrV4, SocketAddrV4, String)> {
    let address = |name: &str| -> SocketAddrV4 {
        let text = match name {
            "alice" => ALICE,
            "bob" => BOB,
            "carol" => CAROL,
            _ => VIP,
        };
        text.parse().expect("an address")
    };
    let lines = trace.lines().map(str::trim).filter(|line| !line.is_empty());
    let read = lines.map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [ms, from, ">", to, rest @ ..] = &words[..] else { panic!("no message: {line}") };
        let (start, rest) = match rest {
            [status, method, ..] if status.chars().all(|c| c.is_ascii_digit()) => {
                (format!("SIP/2.0 {status} Words"), (*method, &rest[2..]))
            }
            [method, ..] => (format!("{method} sip:bob@rack.test SIP/2.0"), (*method, &rest[1..])),
            [] => panic!("no message: {line}"),
        };
        let (method, [cseq, branch, tag]) = rest else { panic!("not all of it: {line}") };
        let tag = if *tag == "-" { String::new() } else { format!(";tag={tag}") };
        let text = format!(
            "{start}\r\nVia: SIP/2.0/UDP h;branch={branch}\r\nFrom: <sip:alice@rack.test>;tag=a1\r\n\
             To: <sip:bob@rack.test>{tag}\r\nCall-ID: one\r\nCSeq: {cseq} {method}\r\n\r\n"
        );
        (Time(ms.parse::<u64>().expect("a moment") * 1000), address(from), address(to), text)
    });
    read.collect()
}

fn heard(trace: &str) -> Wire {
    let mut wire = Wire::new(places());
    hear(&mut wire, trace);
    wire
}

fn hear(wire: &mut Wire, trace: &str) {
    for (at, from, to, text) in datagrams(trace) {
        wire.outside(at, &Datagram { from, to, payload: text.as_bytes() });
    }
}

/// What the checker finds wrong with a trace.
fn wrong(trace: &str) -> Vec<String> {
    let mut wire = heard(trace);
    wire.finish();
    wire.tally().wrong.get("one").cloned().unwrap_or_default()
}

/// It is found out, in these words.
fn found(trace: &str, words: &str) {
    let wrong = wrong(trace);
    assert!(wrong.iter().any(|rule| rule.contains(words)), "no {words:?} in {wrong:?}");
}

/// A trace without the lines that contain this.
fn without(trace: &str, what: &str) -> String {
    assert!(trace.contains(what), "{what:?} is not in the trace");
    trace.lines().filter(|line| !line.contains(what)).map(|line| format!("{line}\n")).collect()
}

const SET_UP: &str = "0 alice > vip INVITE 1 a -
    1 vip > alice 100 INVITE 1 a -
    2 vip > bob INVITE 1 p1 -
    3 bob > vip 180 INVITE 1 p1 b1
    4 vip > alice 180 INVITE 1 a b1\n";
const ANSWERED: &str = "300 bob > vip 200 INVITE 1 p1 b1
    301 vip > alice 200 INVITE 1 a b1
    302 alice > vip ACK 1 a2 b1
    303 vip > bob ACK 1 p2 b1\n";
const CHANGED: &str = "5000 alice > vip INVITE 2 a3 b1
    5001 vip > bob INVITE 2 p3 b1
    5002 bob > vip 200 INVITE 2 p3 b1
    5003 vip > alice 200 INVITE 2 a3 b1
    5004 alice > vip ACK 2 a4 b1
    5005 vip > bob ACK 2 p4 b1\n";
const ENDED: &str = "9000 alice > vip BYE 3 a5 b1
    9001 vip > bob BYE 3 p5 b1
    9002 bob > vip 200 BYE 3 p5 b1
    9003 vip > alice 200 BYE 3 a5 b1\n";
const CANCELLED: &str = "2000 alice > vip CANCEL 1 a -
    2001 vip > alice 200 CANCEL 1 a t1
    2002 vip > bob CANCEL 1 p1 -
    2003 bob > vip 200 CANCEL 1 p1 b1
    2004 bob > vip 487 INVITE 1 p1 b1
    2005 vip > bob ACK 1 p1 b1
    2006 vip > alice 487 INVITE 1 a b1
    2007 alice > vip ACK 1 a b1\n";
const FORKED: &str = "0 alice > vip INVITE 1 a -
    1 vip > bob INVITE 1 p1 -
    1 vip > carol INVITE 1 q1 -
    2 bob > vip 180 INVITE 1 p1 b1
    3 vip > alice 180 INVITE 1 a b1
    4 carol > vip 180 INVITE 1 q1 c1
    300 bob > vip 200 INVITE 1 p1 b1
    301 vip > alice 200 INVITE 1 a b1
    302 vip > carol CANCEL 1 q1 -
    303 carol > vip 200 CANCEL 1 q1 c1
    304 carol > vip 487 INVITE 1 q1 c1
    305 vip > carol ACK 1 q1 c1
    306 alice > vip ACK 1 a2 b1
    307 vip > bob ACK 1 p2 b1\n";

fn whole() -> String {
    [SET_UP, ANSWERED, CHANGED, ENDED].concat()
}

#[test]
fn calls_as_they_should_be() {
    for trace in [whole(), [SET_UP, CANCELLED].concat(), [FORKED, ENDED].concat()] {
        assert_eq!(wrong(&trace), Vec::<String>::new(), "{trace}");
    }
    let mut wire = heard(&whole());
    wire.finish();
    assert_eq!((wire.tally().calls, wire.tally().answered.len()), (1, 1));
}

#[test]
fn repeats_break_nothing() {
    for trace in [whole(), [SET_UP, CANCELLED].concat(), [FORKED, ENDED].concat()] {
        let twice: String = trace.lines().map(|line| format!("{line}\n{line}\n")).collect();
        assert_eq!(wrong(&twice), Vec::<String>::new(), "{twice}");
    }
}

#[test]
fn an_answer_must_reach_both_ends() {
    found(&without(&[SET_UP, ANSWERED, ENDED].concat(), "303 vip > bob ACK"), "was never acknowledged");
    found(&without(&[SET_UP, ANSWERED, ENDED].concat(), "vip > alice 200 INVITE"), "the caller heard {}");
    found(&format!("{SET_UP}301 vip > alice 200 INVITE 1 a b9\n"), "which no callee sent");
}

#[test]
fn an_attempt_has_one_outcome() {
    found(SET_UP, "never heard how its INVITE ended");
    found(&format!("{SET_UP}400 vip > alice 503 INVITE 1 a t1\n"), "the rack itself refused the call with 503");
    found(&format!("{}304 vip > alice 487 INVITE 1 a t1\n", [SET_UP, ANSWERED].concat()), "several outcomes");
    let ghost = format!("{SET_UP}300 bob > vip 200 INVITE 1 p1 b1\n301 vip > alice 487 INVITE 1 a t1\n");
    found(&ghost, "a callee answered with 200");
    let busy = format!(
        "{SET_UP}300 bob > vip 486 INVITE 1 p1 b1\n301 vip > bob ACK 1 p1 b1\n302 vip > alice 486 INVITE 1 a b1\n"
    );
    assert_eq!(wrong(&busy), Vec::<String>::new(), "whose callee refuses is refused");
    found(&without(&busy, "ACK"), "the 486 of 10.99.0.20:5070 was never acknowledged");
}

#[test]
fn a_callee_rings_once() {
    found(&format!("{}10 vip > bob INVITE 1 p7 -\n", whole()), "was rung 2 times");
    found(&without(&[FORKED, ENDED].concat(), "487"), "10.99.0.20:5071 was left ringing");
    let again = format!("{}9000 vip > bob INVITE 1 p1 -\n", [SET_UP, CANCELLED].concat());
    found(&again, "got its INVITE again");
}

#[test]
fn nobody_rings_after_a_cancel() {
    found(&format!("{}4100 bob > vip 180 INVITE 1 p1 b1\n", [SET_UP, CANCELLED].concat()), "after the CANCEL");
    // A CANCEL that nobody heard is said again.
    let unheard = format!("1000 alice > vip CANCEL 1 a -\n{CANCELLED}").replace("2000 alice", "3500 alice");
    let unheard: String = unheard.lines().map(|line| line.replace(" 20", " 35") + "\n").collect();
    let late = unheard.replace("2001", "3501").replace("2002", "3502").replace("2003", "3503").replace("2004", "3504");
    let late = late.replace("2005", "3505").replace("2006", "3506").replace("2007", "3507");
    assert_eq!(wrong(&[SET_UP, &late].concat()), Vec::<String>::new());
    let unanswered = [SET_UP, "2000 alice > vip CANCEL 1 a -\n"].concat();
    found(&unanswered, "the CANCEL was never answered");
}

#[test]
fn what_comes_of_poison_is_counted_and_is_no_call() {
    let mut wire = Wire::new(places());
    wire.poison("one");
    hear(&mut wire, SET_UP);
    wire.finish();
    assert_eq!((wire.tally().calls, wire.tally().wrong.len()), (0, 0));
    assert_eq!([0, 1, 4].map(|ms| wire.poison_handled("one", Time(ms * 1000))), [3, 2, 0]);
}

#[test]
fn a_cancel_that_is_lost_within_the_rack_may_cost_its_repeats() {
    let later = |trace: String, line: &str| trace.replace(line, &line.replacen("20", "44", 1));
    let lines = ["2002 vip", "2003 bob", "2004 bob", "2005 vip", "2006 vip", "2007 alice"];
    let late = lines.into_iter().fold(CANCELLED.to_string(), later);
    for (losses, expected) in [(0, 1), (1, 0)] {
        let mut wire = heard(&[SET_UP, &late].concat());
        for _ in 0..losses {
            wire.lost_inside(&sealed("CANCEL", "10.98.1.11:15200", "10.98.1.1:15010").datagram());
        }
        // Towards a node it is the caller's, who says it again.
        wire.lost_inside(&sealed("CANCEL", "10.98.1.1:15010", "10.98.1.11:15200").datagram());
        wire.finish();
        assert_eq!(wire.tally().wrong.len(), expected, "{losses}: {:?}", wire.tally().wrong);
    }
}

#[test]
fn in_a_dialog_the_rack_only_passes_on() {
    for status in ["481", "408", "503"] {
        let refused = whole().replace("vip > alice 200 BYE", &format!("vip > alice {status} BYE"));
        found(&refused, &format!("the rack itself answered BYE with {status}"));
        let refused = whole().replace("vip > alice 200 INVITE 2", &format!("vip > alice {status} INVITE 2"));
        found(&refused, &format!("the rack itself answered INVITE with {status}"));
    }
    found(&[SET_UP, ANSWERED, "8000 vip > bob BYE 9 z b1\n"].concat(), "the rack itself sent a BYE");
}

#[test]
fn a_call_ends_by_a_bye_that_both_sides_know() {
    found(&[SET_UP, ANSWERED].concat(), "never ended");
    found(&without(&whole(), "vip > bob BYE"), "BYE 3 of 10.99.0.20:5080 never came to the other side");
    found(&without(&whole(), "bob > vip 200 BYE"), "was never answered by the other side");
    found(&without(&whole(), "vip > alice 200 BYE"), "BYE 3 of 10.99.0.20:5080 was answered by {}");
}

#[test]
fn a_change_reaches_the_other_side() {
    found(&without(&whole(), "vip > bob INVITE 2"), "INVITE 2 of 10.99.0.20:5080 never came");
    found(&without(&whole(), "vip > alice 200 INVITE 2"), "INVITE 2 of 10.99.0.20:5080 was answered by {}");
    found(&without(&whole(), "vip > bob ACK 2"), "the ACK to INVITE 2");
}

#[test]
fn a_registration_is_answered_by_200() {
    let asked = "0 alice > vip REGISTER 1 a -\n";
    assert_eq!(wrong(&format!("{asked}1 vip > alice 200 REGISTER 1 a t\n")), Vec::<String>::new());
    found(asked, "REGISTER 1 was answered by {}");
    found(&format!("{asked}1 vip > alice 503 REGISTER 1 a t\n"), "REGISTER 1 was answered by {503}");
}

#[test]
fn a_call_goes_through_its_phases() {
    let phases = |trace: &str, moments: &[u64]| -> Vec<Option<Phase>> {
        let wire = heard(trace);
        let call = wire.calls.get("one").expect("the call");
        moments.iter().map(|ms| call.phase_at(Time(ms * 1000))).collect()
    };
    use Phase::*;
    let told = phases(&whole(), &[0, 3, 4, 300, 302, 303, 4000, 5000, 5005, 9000, 9002, 9003]);
    let expected = [Calling, Calling, Ringing, Answering, Answering, Held, Held, Changing, Held, Ending, Ending];
    let expected: Vec<Option<Phase>> = expected.into_iter().map(Some).chain([None]).collect();
    assert_eq!(told, expected);
    assert_eq!(
        phases(&[SET_UP, CANCELLED].concat(), &[1999, 2000, 2006, 2007]),
        [Some(Ringing), Some(Cancelling), Some(Cancelling), None]
    );
    assert_eq!(phases(FORKED, &[2, 3, 305, 307]), [Some(Calling), Some(Forked), Some(Answering), Some(Held)]);
    assert_eq!(
        phases("5 alice > vip REGISTER 1 a -\n7 vip > alice 200 REGISTER 1 a t\n", &[5, 7]),
        [Some(Registering), None]
    );
}

/// A SIP message as it goes over the planes.
struct Sealed {
    from: SocketAddrV4,
    to: SocketAddrV4,
    payload: Vec<u8>,
}

impl Sealed {
    fn datagram(&self) -> Datagram<'_> {
        Datagram { from: self.from, to: self.to, payload: &self.payload }
    }
}

fn sealed(method: &str, from: &str, to: &str) -> Sealed {
    let text = format!(
        "{method} sip:b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=a\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>\r\nCall-ID: one\r\nCSeq: 1 {method}\r\n\r\n"
    );
    let payload = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x21, 0x12, 0, 0], text.as_bytes()].concat();
    Sealed { from: from.parse().expect("an address"), to: to.parse().expect("an address"), payload }
}

fn inside(wire: &mut Wire, ms: u64, from: &str, to: &str, method: &str) {
    wire.inside(Time(ms * 1000), &sealed(method, from, to).datagram());
}

#[test]
fn a_blow_hits_the_calls_of_its_node() {
    let mut wire = heard(&whole());
    inside(&mut wire, 0, "10.98.1.1:15010", "10.98.1.11:15200", "INVITE");
    inside(&mut wire, 1, "10.98.1.11:15200", "10.98.1.12:15200", "INVITE");
    inside(&mut wire, 6000, "10.98.2.12:15200", "10.98.2.1:15010", "INVITE");
    for (ms, node) in [(4000, Some(1)), (4000, Some(2)), (7000, Some(2)), (5000, None)] {
        wire.blow(Time(ms * 1000), "killed".to_string(), node);
    }
    wire.finish();
    let hit: Vec<Vec<Phase>> = wire.blows().iter().map(|b| b.hit.keys().copied().collect()).collect();
    assert_eq!(hit, [vec![Phase::Held], vec![], vec![Phase::Held], vec![Phase::Changing]]);
    let ladder = wire.ladder("one");
    assert!(ladder.contains("══════ killed") && ladder.contains("it is at node 2"), "{ladder}");
}

#[test]
fn what_comes_to_a_node_that_is_out_is_seen() {
    let mut wire = Wire::new(places());
    inside(&mut wire, 1000, "10.98.1.1:15010", "10.98.1.12:15200", "BYE");
    inside(&mut wire, 1400, "10.98.2.1:15010", "10.98.2.12:15200", "BYE");
    inside(&mut wire, 1400, "10.98.2.1:15010", "10.98.2.11:15200", "BYE");
    let came = |from: u64, until: u64| wire.came_to(2, Time(from * 1000), Time(until * 1000)).len();
    assert_eq!((came(1200, 2000), came(900, 2000), came(1500, 2000)), (1, 2, 0));
}

#[test]
fn the_longest_silence_of_the_vip_is_measured() {
    let wire =
        heard("100 vip > alice 100 INVITE 1 a -\n150 vip > alice 180 INVITE 1 a b\n900 vip > alice 200 INVITE 1 a b\n");
    let silence = |from: u64, until: u64| wire.silence(Time(from * 1000), Time(until * 1000)).as_millis();
    assert_eq!((silence(100, 1000), silence(120, 800), silence(0, 5000)), (750, 650, 4100));
}

#[test]
fn a_call_is_judged_when_it_has_been_silent_for_long() {
    let mut wire = heard(&whole());
    wire.settle(Time(60_000_000));
    assert_eq!(wire.tally().calls, 0);
    wire.settle(Time(9_003_000) + OVER_AFTER + Duration::from_millis(1));
    assert_eq!((wire.tally().calls, wire.calls.len()), (1, 0));
}
