//! Random programs of edits on random messages, beside a model. The result parses; no header appears that no edit put
//! there; whatever no edit named keeps its octets.

use super::choices::Choices;
use super::scan::WIDE;
use super::{fuzz, mangle, seeds};
use common::sip::{Edit, HeaderId, HeaderName, SipMessage};
use std::collections::BTreeSet;

const NAMES: [&str; 14] = [
    "Via",
    "v",
    "Route",
    "Record-Route",
    "Contact",
    "P-Asserted-Identity",
    "Max-Forwards",
    "Subject",
    "To",
    "Path",
    "X-Unknown",
    "X-Odd",
    "Content-Length",
    "Proxy-Authorization",
];
const VALUES: [&str; 10] = [
    "",
    "70",
    "<sip:192.0.2.1;lr>",
    "a, b ,c",
    "SIP/2.0/UDP vip;branch=z9hG4bKx",
    "x\r\nInjected: yes",
    "\"open",
    "x\n\n\nINVITE sip:x SIP/2.0\n",
    " \t ",
    "é\u{7f}\0",
];
const IDS: [HeaderId; 6] =
    [HeaderId::Via, HeaderId::Route, HeaderId::Contact, HeaderId::To, HeaderId::RecordRoute, HeaderId::MaxForwards];

/// What the program did.
#[derive(Default)]
struct Done {
    named: Vec<&'static str>,
    written: Vec<&'static str>,
    /// Lines that came in at most.
    lines: usize,
    body: Option<Vec<u8>>,
}

impl Done {
    fn note(&mut self, name: &'static str, value: &'static str) {
        self.named.push(name);
        self.written.push(value);
        self.lines += 1;
    }

    fn names(&self, id: HeaderId, name: &[u8]) -> bool {
        self.named.iter().any(|n| match HeaderId::of(n.as_bytes()) {
            HeaderId::Other => name.eq_ignore_ascii_case(n.as_bytes()),
            known => known == id,
        })
    }
}

fn step(choices: &mut Choices<'_>, edit: &mut Edit<'_>, done: &mut Done) {
    let (name, value) = (choices.pick(&NAMES), choices.pick(&VALUES));
    let id = choices.pick(&IDS);
    match choices.below(9) {
        0 => drop(edit.push_front(name, value)),
        1 => drop(edit.append(name, value)),
        2 => drop(edit.set(name, value)),
        3 => {
            edit.remove_all(name);
            return done.named.push(name);
        }
        4 => {
            edit.remove_first_values(id, choices.below(5));
            return done.named.push(id.name());
        }
        5 => {
            edit.replace_first_value(id, value);
            return done.note(id.name(), value);
        }
        6 => {
            let body = choices.some(40);
            edit.set_body(Some(value), body);
            done.note("Content-Type", value);
            done.note("Content-Length", "");
            done.body = Some(body.to_vec());
            return;
        }
        7 => {
            edit.set_request_uri(value);
            return;
        }
        _ => drop(edit.push_front(HeaderName::Id(id), value)),
    }
    done.note(name, value);
    done.named.push(id.name());
}

/// As it comes out: no control characters, no white space at the ends.
fn neutral(value: &str) -> Vec<u8> {
    let octets: Vec<u8> = value.bytes().map(|b| if b < 0x20 || b == 0x7f { b' ' } else { b }).collect();
    octets.trim_ascii().to_vec()
}

fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let seeds = seeds::messages();
    let text = mangle::changed(&mut choices, &seeds);
    let Ok(message) = SipMessage::parse(text.into(), &WIDE) else { return };
    let mut edit = Edit::new(&message);
    let mut done = Done::default();
    for _ in 0..1 + choices.below(12) {
        step(&mut choices, &mut edit, &mut done);
    }
    let out = edit.finish();
    let shown = || String::from_utf8_lossy(&out).into_owned();
    let result = SipMessage::parse(out.clone(), &WIDE).unwrap_or_else(|e| panic!("{e} in\n{}", shown()));
    assert_eq!(result.is_request(), message.is_request());
    assert!(result.headers().count() <= message.headers().count() + done.lines, "{}", shown());
    untouched(&message, &result, &done, &shown);
    // A line that was named is made of ends of values that were given, and of the rest of an old one.
    let old: Vec<&[u8]> = message.headers().map(|(_, _, value)| value).collect();
    let given: Vec<Vec<u8>> = done.written.iter().map(|value| neutral(value)).collect();
    for (id, name, value) in result.headers().filter(|(id, name, _)| done.names(*id, name)) {
        let explained = is_made_of(values(value), &given, &old) || id == HeaderId::ContentLength;
        assert!(explained, "{}: {:?} in\n{}", name.escape_ascii(), value.escape_ascii().to_string(), shown());
    }
}

/// From the first value on: commas between which nothing stands are no values, and come and go.
fn values(list: &[u8]) -> &[u8] {
    let begin = list.iter().position(|b| !matches!(b, b',' | b' ' | b'\t' | b'\r' | b'\n'));
    &list[begin.unwrap_or(list.len())..]
}

/// Whether ends of given values, one behind the other, and then perhaps the end of an old value make up this one: a list
/// that stands in the place of a list's first value has a first value again.
fn is_made_of(value: &[u8], given: &[Vec<u8>], old: &[&[u8]]) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![value]);
    while let Some(rest) = open.pop() {
        if rest.is_empty() || old.iter().any(|v| v.ends_with(rest)) {
            return true;
        }
        for end in given.iter().flat_map(|given| (0..given.len()).map(move |from| values(&given[from..]))) {
            let behind = rest.strip_prefix(end).map(values).filter(|_| !end.is_empty());
            open.extend(behind.filter(|behind| seen.insert(behind.len())));
        }
    }
    false
}

/// Headers that no edit named, in their order and their octets; and the body.
fn untouched(message: &SipMessage, result: &SipMessage, done: &Done, shown: &impl Fn() -> String) {
    let kept = |m: &SipMessage| -> Vec<(Vec<u8>, Vec<u8>)> {
        let named = m.headers().filter(|(id, name, _)| !done.names(*id, name));
        named.map(|(_, name, value)| (name.to_vec(), value.to_vec())).collect()
    };
    assert_eq!(kept(result), kept(message), "{}", shown());
    let body = done.body.as_deref().unwrap_or(message.body());
    assert_eq!(&result.bytes()[head(result)..], body);
}

/// Where the body begins.
fn head(message: &SipMessage) -> usize {
    let body = message.body();
    body.as_ptr() as usize - message.bytes().as_ptr() as usize
}

#[test]
fn fuzz() {
    fuzz!("edit", 4000, check);
}
