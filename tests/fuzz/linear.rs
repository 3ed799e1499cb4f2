//! Work is linear in the octets: of whatever pattern, 8 times as much takes less than 24 times as long. Time is measured,
//! as the least of several runs, and again where the machine was busy; work that grows with the square shows as 64, and
//! what no longer fits into the nearest cache as two to three times the octets' share.

use super::scan::{WIDE, vip};
use common::sip::{Credentials, Edit, HeaderId, Limits, NameAddr, Params, SipMessage, Uri, Via, scan};
use std::hint::black_box;
use std::time::{Duration, Instant};

const SMALL: usize = 8_000;
/// A datagram's worth.
const LARGE: usize = 8 * SMALL;
/// Attempts before the machine is no excuse any more.
const ATTEMPTS: usize = 25;
/// One reading of 64,000 octets, unoptimised and on a busy machine.
const BOUND: Duration = Duration::from_millis(500);

type Work = (&'static str, fn(&[u8]));

/// What is repeated; with them each pattern also stands between a beginning and an end of its own.
const PIECES: [&str; 20] = [
    ";",
    ",",
    "<",
    ">",
    "\"",
    "\\",
    "\\\"",
    "\"\\\"\"",
    "(",
    "((a) ",
    "=",
    ";a=b",
    ";a=\"b",
    "%",
    "%4",
    "@",
    ":",
    "[",
    "&a=b",
    ", <sip:a@b;lr>",
];
const AROUND: [(&str, &str); 6] = [
    ("", ""),
    ("sip:a@b", ""),
    ("<sip:a@b>", ""),
    ("\"", "\" <sip:a@b>"),
    ("SIP/2.0/UDP h", ";x=y"),
    ("Digest a=\"", "\""),
];

fn pattern(piece: &str, (before, behind): (&str, &str), size: usize) -> Vec<u8> {
    let times = size / piece.len();
    [before, &piece.repeat(times), behind].concat().into_bytes()
}

const VALUE: [Work; 5] = [
    ("uri", |v| {
        if let Ok(Ok(uri)) = std::str::from_utf8(v).map(Uri::parse) {
            black_box((uri.to_string(), uri.sip().map(|uri| (uri.same_as(&uri), uri.aor()))));
        }
    }),
    ("params", |v| {
        let params = Params::of(std::str::from_utf8(v).unwrap());
        black_box((params.iter().count(), params.has("absent")));
    }),
    ("via", |v| {
        if let Ok(via) = Via::parse(std::str::from_utf8(v).unwrap()) {
            black_box((via.with_source("10.0.0.1:1".parse().unwrap()), via.branch()));
        }
    }),
    ("address", |v| {
        if let Ok(addr) = NameAddr::parse(HeaderId::To, std::str::from_utf8(v).unwrap()) {
            black_box((addr.tag(), addr.display_name()));
        }
    }),
    ("credentials", |v| {
        black_box(Credentials::parse(HeaderId::Authorization, std::str::from_utf8(v).unwrap()).is_ok());
    }),
];

const MESSAGE: [Work; 5] = [
    ("scan", |octets| {
        black_box(scan(octets, &vip()));
    }),
    ("message", |octets| {
        let Ok(m) = SipMessage::parse(octets.to_vec().into(), &WIDE) else { return };
        let _ = black_box((m.validate(), m.vias().is_ok(), m.routes().is_ok(), m.contacts().is_ok(), m.token(&vip())));
        let _ = black_box((m.from_tag(), m.to_tag(), m.header_named("absent"), m.texts(HeaderId::Supported).count()));
    }),
    ("limits", |octets| {
        // One low limit, so that everything is measured; the rest is never met, so that nothing ends it.
        let lines = Limits { display_name: 16, ..Limits::NONE };
        black_box(SipMessage::parse(octets.to_vec().into(), &lines).is_ok_and(|m| m.validate().is_ok()));
    }),
    ("remains", |octets| {
        black_box(SipMessage::remains(octets.to_vec().into()).is_some());
    }),
    ("edit", |octets| {
        let Ok(m) = SipMessage::parse(octets.to_vec().into(), &WIDE) else { return };
        let mut edit = Edit::new(&m);
        edit.push_front(HeaderId::Via, "SIP/2.0/UDP h").set(HeaderId::MaxForwards, "69").remove_all(HeaderId::Contact);
        edit.replace_first_value(HeaderId::Route, "<sip:x>").remove_first_value(HeaderId::RecordRoute);
        black_box(edit.finish());
    }),
];

fn message(headers: &str) -> Vec<u8> {
    let head =
        "INVITE sip:bob@rack.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=1\r\n";
    [head, headers, "To: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n"].concat().into_bytes()
}

/// Lines of a message, each times over, or one value in one line.
fn messages(size: usize) -> Vec<(String, Vec<u8>)> {
    let lines = [
        "Via: SIP/2.0/UDP h;branch=z9hG4bKa\r\n",
        "Route: <sip:192.0.2.1;lr>\r\n",
        "Contact: *\r\n",
        "X: y\r\n",
        "a:\r\n",
        " \r\n",
        "Require: a,b,c\r\n",
    ];
    let repeated =
        lines.map(|line| (line.trim().to_owned(), message(&format!("Y: z\r\n{}", line.repeat(size / line.len())))));
    let values =
        ["Via: SIP/2.0/UDP h", "Route: <sip:192.0.2.1;lr>", "Contact: <sip:a@b>", "Record-Route: \"", "Supported: a"];
    let within = values.iter().flat_map(|head| {
        PIECES.map(|piece| {
            let value = String::from_utf8(pattern(piece, (head, "\r\n"), size)).unwrap();
            (format!("{head} and {piece:?} again and again"), message(&value))
        })
    });
    repeated.into_iter().chain(within).collect()
}

/// The least time of some runs, each long enough to be measured.
fn least(work: fn(&[u8]), octets: &[u8]) -> Duration {
    let once = Instant::now();
    work(octets);
    let times = (150_000 / (once.elapsed().as_nanos().max(1))).clamp(1, 200) as u32;
    let run = |_| {
        let start = Instant::now();
        (0..times).for_each(|_| work(black_box(octets)));
        start.elapsed() / times
    };
    (0..3).map(run).min().unwrap_or_default()
}

fn check((name, work): Work, what: &str, small: &[u8], large: &[u8]) {
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        let (little, much) = (least(work, small), least(work, large));
        // Less than this is noise whatever the ratio: 64,000 octets in 20 µs are read faster than one octet a cycle.
        if much <= 24 * little + Duration::from_micros(20) && much <= BOUND {
            return;
        }
        seen.push((little, much));
    }
    panic!("{name} of {what}: {} and {} octets took {seen:?}", small.len(), large.len());
}

#[test]
fn reading_a_value_is_linear_whatever_is_in_it() {
    for work in VALUE {
        for around in AROUND {
            for piece in PIECES {
                let (small, large) = (pattern(piece, around, SMALL), pattern(piece, around, LARGE));
                check(work, &format!("{around:?} with {piece:?} between"), &small, &large);
            }
        }
    }
}

#[test]
fn reading_and_editing_a_message_is_linear_whatever_is_in_it() {
    for ((what, small), (_, large)) in messages(SMALL).into_iter().zip(messages(LARGE)) {
        MESSAGE.into_iter().for_each(|work| check(work, &what, &small, &large));
    }
}

/// 10,000 of what a message has a few of: under the limits of a rack it is refused, and without them read in no time.
#[test]
fn ten_thousand_vias_and_routes_are_borne() {
    for line in ["Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa\r\n", "Route: <sip:192.0.2.1;lr>, <sip:10.0.0.1;lr>\r\n"] {
        let octets = message(&line.repeat(10_000));
        for (name, work) in MESSAGE {
            let took = (0..ATTEMPTS).map(|_| least(work, &octets)).find(|took| *took <= 4 * BOUND);
            assert!(took.is_some(), "{name} of 10,000 {line}");
        }
        assert!(SipMessage::parse(octets.into(), &Limits::default()).is_err());
    }
}
