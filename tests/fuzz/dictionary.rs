//! The words of SIP, and what has broken parsers: `sip.dict` beside this file, in libFuzzer's and AFL's own format, so
//! that plain runs and coverage-guided ones use the same.

use super::choices::Choices;
use std::sync::LazyLock;

static WORDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| include_str!("sip.dict").lines().filter_map(entry).collect());

pub fn word(choices: &mut Choices<'_>) -> &'static [u8] {
    let at = choices.below(WORDS.len());
    &WORDS[at]
}

/// One line `"text"`, with `\\`, `\"` and `\xHH`. Comments and empty lines are `None`.
fn entry(line: &str) -> Option<Vec<u8>> {
    let text = line.trim().strip_prefix('"')?.strip_suffix('"')?;
    let (mut out, mut octets) = (Vec::new(), text.bytes());
    while let Some(octet) = octets.next() {
        match (octet, if octet == b'\\' { octets.next() } else { None }) {
            (b'\\', Some(b'x')) => {
                let digits = [octets.next()?, octets.next()?];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            }
            (b'\\', Some(escaped)) => out.push(escaped),
            (octet, _) => out.push(octet),
        }
    }
    Some(out)
}

#[test]
fn every_line_of_the_dictionary_is_a_word_or_a_comment() {
    let lines = include_str!("sip.dict").lines();
    let odd: Vec<&str> = lines.filter(|l| !l.is_empty() && !l.starts_with('#') && entry(l).is_none()).collect();
    assert_eq!(odd, Vec::<&str>::new());
    assert!(WORDS.len() > 150, "{} words", WORDS.len());
}
