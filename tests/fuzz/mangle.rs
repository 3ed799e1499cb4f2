//! From octets to an input that reaches behind the first line: a seed with a few changes such as attackers, broken
//! devices and bit errors make. Without this a plain run of random octets would only ever test the first check.

use super::choices::Choices;
use super::dictionary;
use std::borrow::Cow;

/// Nothing that is made here is longer: what a stream may carry, and a UDP datagram.
const MOST: usize = 65_535;

/// What a target of SIP text eats. Octets that begin with a capital letter or a line end are taken as they are, so that a
/// corpus file is a message that can be read; anything else is a program of changes to one of `seeds`.
pub fn text<'a>(octets: &'a [u8], seeds: &[&[u8]]) -> Cow<'a, [u8]> {
    match octets.first() {
        Some(b'A'..=b'Z' | b'\r') => Cow::Borrowed(octets),
        _ => Cow::Owned(changed(&mut Choices::new(octets), seeds)),
    }
}

/// One of the seeds with up to seven changes.
pub fn changed(choices: &mut Choices<'_>, seeds: &[&[u8]]) -> Vec<u8> {
    let mut text = choices.pick(seeds).to_vec();
    for _ in 0..choices.below(8) {
        change(choices, &mut text, seeds);
        text.truncate(MOST);
    }
    text
}

/// One change to the text. `others` are texts of the same kind, to take pieces from.
pub fn change(choices: &mut Choices<'_>, text: &mut Vec<u8>, others: &[&[u8]]) {
    let at = choices.below(text.len() + 1);
    match choices.below(13) {
        0 => replace_octet(text, at, choices.octet()),
        1 => insert(text, at, dictionary::word(choices)),
        2 => {
            let end = (at + 1 + choices.below(64)).min(text.len());
            text.drain(at.min(end)..end);
        }
        3 => with_lines(text, |lines, from| lines.insert(from, lines[from].clone()), at),
        4 => {
            let other = usize::from(choices.octet());
            with_lines(
                text,
                |lines, from| {
                    let count = lines.len();
                    lines.swap(from, other % count);
                },
                at,
            );
        }
        5 => text.truncate(at),
        6 => repeat(choices, text, at),
        7 => {
            let word = dictionary::word(choices).to_vec();
            with_lines(text, |lines, from| set_value(lines[from].to_mut(), &word), at);
        }
        8 => {
            let other = choices.pick(others);
            let from = choices.below(other.len() + 1);
            text.truncate(at);
            text.extend_from_slice(&other[from..]);
        }
        9 => {
            let octets = choices.some(32).to_vec();
            insert(text, at, &octets);
        }
        10 => {
            let other = choices.pick(others);
            let lines: Vec<&[u8]> = other.split_inclusive(|b| *b == b'\n').collect();
            if let Some(line) = (!lines.is_empty()).then(|| choices.pick(&lines)) {
                with_lines(text, |lines, at| lines.insert(at, Cow::Owned(line.to_vec())), at);
            }
        }
        11 => replace_octet(text, at, choices.pick(b"\r\n\0 \t\",;:<>@?=\\%()[]{}/&\x7f\x80\xff")),
        _ => with_lines(text, |lines, from| drop(lines.remove(from)), at),
    }
}

fn replace_octet(text: &mut [u8], at: usize, octet: u8) {
    if let Some(place) = text.get_mut(at) {
        *place = octet;
    }
}

fn insert(text: &mut Vec<u8>, at: usize, octets: &[u8]) {
    let at = at.min(text.len());
    text.splice(at..at, octets.iter().copied());
}

/// A piece many times over: thousands of Vias, values, parameters.
fn repeat(choices: &mut Choices<'_>, text: &mut Vec<u8>, at: usize) {
    let end = (at + 1 + choices.below(48)).min(text.len());
    let piece = text[at.min(end)..end].to_vec();
    let times = (1usize << choices.below(13)).min(MOST / piece.len().max(1));
    insert(text, at, &piece.repeat(times));
}

/// Splits into lines, gives them with the one that holds the octet `at`, and joins them again.
fn with_lines(text: &mut Vec<u8>, change: impl FnOnce(&mut Vec<Cow<'_, [u8]>>, usize), at: usize) {
    let mut lines: Vec<Cow<'_, [u8]>> = text.split_inclusive(|b| *b == b'\n').map(Cow::Borrowed).collect();
    if lines.is_empty() {
        return;
    }
    let feeds = text[..at.min(text.len())].iter().filter(|b| **b == b'\n').count();
    let line = feeds.min(lines.len() - 1);
    change(&mut lines, line);
    let changed = lines.concat();
    *text = changed;
}

fn set_value(line: &mut Vec<u8>, value: &[u8]) {
    let Some(colon) = line.iter().position(|b| *b == b':') else { return };
    line.truncate(colon + 1);
    line.push(b' ');
    line.extend_from_slice(value);
    line.extend_from_slice(b"\r\n");
}
