//! The smallest pieces of RFC 3261 §25: white space, tokens, header lines with folding, comma lists, quoted strings.
//! `scan` and `message` walk lines by the same function, so they cannot disagree on where a header ends.

use super::HeaderId;
use memchr::{memchr, memchr2, memchr3};
use std::borrow::Cow;
use std::ops::Range;

/// What an octet may be part of, one bit each: a look-up for every octet of every message.
const SPACE: u8 = 1;
const TOKEN: u8 = 2;
const HOST: u8 = 4;

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut at = 0;
    while at < 256 {
        let b = at as u8;
        let word = b.is_ascii_alphanumeric();
        if matches!(b, b' ' | b'\t' | b'\r' | b'\n') {
            classes[at] |= SPACE;
        }
        if word || matches!(b, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~') {
            classes[at] |= TOKEN;
        }
        if word || matches!(b, b'-' | b'.' | b'_') {
            classes[at] |= HOST;
        }
        at += 1;
    }
    classes
};

fn is(b: u8, class: u8) -> bool {
    CLASSES[usize::from(b)] & class != 0
}

/// Linear white space, folding included.
pub(crate) fn is_space(b: u8) -> bool {
    is(b, SPACE)
}

/// Without linear white space at both ends.
pub(crate) fn trim(v: &[u8]) -> &[u8] {
    let range = trimmed(v, 0..v.len());
    &v[range]
}

pub(crate) fn trim_text(v: &str) -> &str {
    let octets = v.as_bytes();
    // Mostly there is nothing to trim.
    match octets {
        [first, .., last] if !is_space(*first) && !is_space(*last) => v,
        _ => &v[trimmed(octets, 0..octets.len())],
    }
}

/// The part of `range` without white space at its ends; an empty range at its start if there is nothing else.
pub(crate) fn trimmed(v: &[u8], range: Range<usize>) -> Range<usize> {
    let (mut start, mut end) = (range.start, range.end);
    while start < end && is_space(v[start]) {
        start += 1;
    }
    if start == end {
        return range.start..range.start;
    }
    while is_space(v[end - 1]) {
        end -= 1;
    }
    start..end
}

/// Where a part stands that is borrowed from `whole`; an empty one may be borrowed from anywhere.
pub(crate) fn within(whole: &[u8], part: &[u8]) -> Range<u32> {
    if part.is_empty() {
        return 0..0;
    }
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start as u32..(start + part.len()) as u32
}

/// Both sides of the first such octet (ASCII).
pub(crate) fn split_at(text: &str, octet: u8) -> Option<(&str, &str)> {
    let at = memchr(octet, text.as_bytes())?;
    Some((&text[..at], &text[at + 1..]))
}

/// `token` of RFC 3261 §25.1.
pub(crate) fn is_token(v: &[u8]) -> bool {
    !v.is_empty() && v.iter().all(|b| is(*b, TOKEN))
}

/// Letters, digits, `-` and `.`; the underscore is no host name's, but names with it are in use.
pub(crate) fn is_host_name(v: &[u8]) -> bool {
    !v.is_empty() && v.iter().all(|b| is(*b, HOST))
}

/// Whether white space or a control character stands there. All octets are looked at without a way out, so that many are
/// looked at at once; so in the next one.
pub(crate) fn is_spaced(v: &[u8]) -> bool {
    v.iter().fold(false, |any, b| any | (*b <= b' ') | (*b == 0x7f))
}

/// Whether an octet stands there that no URI has: white space, a control character, a quote, an angle bracket.
pub(crate) fn is_outside_uri(v: &[u8]) -> bool {
    is_spaced(v) | v.iter().fold(false, |any, b| any | (*b == b'<') | (*b == b'>') | (*b == b'"'))
}

/// 1*DIGIT, saturating at `u64::MAX`; `None` for anything else (signs and spaces too).
pub(crate) fn digits(v: &[u8]) -> Option<u64> {
    if v.is_empty() || !v.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(v.iter().fold(0u64, |n, d| n.saturating_mul(10).saturating_add(u64::from(d - b'0'))))
}

/// What stands at an offset of the header part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A header with its continuation lines: octets without the last line end, and where the next line begins.
    Header { content: Range<usize>, next: usize },
    /// The empty line; the body begins at `body`.
    End { body: usize },
    /// The buffer ends first.
    Cut,
}

/// Lines end with CRLF, or with LF alone (which the standard does not have but old devices send).
pub(crate) fn line_at(buf: &[u8], at: usize) -> Line {
    match buf.get(at..) {
        Some([b'\r', b'\n', ..]) => return Line::End { body: at + 2 },
        Some([b'\n', ..]) => return Line::End { body: at + 1 },
        // A datagram whose last line is whole and that forgot the empty one (RFC 4475 has some): nothing is missing.
        Some([]) if at > 0 => return Line::End { body: at },
        None | Some([]) => return Line::Cut,
        _ => {}
    }
    let mut from = at;
    while let Some(found) = memchr(b'\n', &buf[from..]) {
        let feed = from + found;
        if matches!(buf.get(feed + 1), Some(b' ' | b'\t')) {
            from = feed + 1;
            continue;
        }
        return Line::Header { content: at..before_line_end(buf, at, feed), next: feed + 1 };
    }
    Line::Cut
}

/// First line: no folding.
pub(crate) fn first_line(buf: &[u8]) -> Option<(&[u8], usize)> {
    let feed = memchr(b'\n', buf)?;
    Some((&buf[..before_line_end(buf, 0, feed)], feed + 1))
}

fn before_line_end(buf: &[u8], start: usize, feed: usize) -> usize {
    if feed > start && buf[feed - 1] == b'\r' { feed - 1 } else { feed }
}

/// Splits `content` of a line at its colon: which header, where its name stands (white space before the colon cut), and
/// its trimmed value.
pub(crate) fn name_and_value(buf: &[u8], content: Range<usize>) -> Option<(HeaderId, Range<usize>, Range<usize>)> {
    let line = &buf[content.clone()];
    let colon = memchr(b':', line)?;
    let mut name = &line[..colon];
    while let [rest @ .., b' ' | b'\t'] = name {
        name = rest;
    }
    let id = HeaderId::of(name);
    // A name that is known is a token.
    if id == HeaderId::Other && !is_token(name) {
        return None;
    }
    let value = trimmed(buf, content.start + colon + 1..content.end);
    Some((id, content.start..content.start + name.len(), value))
}

/// The values of a comma list, as trimmed ranges; commas in quoted strings and within `<>` do not count, empty values
/// are left out.
#[derive(Clone)]
pub(crate) struct Values<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Values<'a> {
    pub(crate) fn of(text: &'a [u8]) -> Self {
        Values { text, at: 0 }
    }
}

impl Iterator for Values<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        while self.at < self.text.len() {
            let end = value_end(self.text, self.at);
            let span = trimmed(self.text, self.at..end);
            self.at = end + 1;
            if !span.is_empty() {
                return Some(span);
            }
        }
        None
    }
}

fn value_end(text: &[u8], from: usize) -> usize {
    // Most headers hold one value.
    if memchr(b',', &text[from..]).is_none() {
        return text.len();
    }
    let (mut quoted, mut angle, mut at) = (false, false, from);
    while at < text.len() {
        match text[at] {
            b'\\' if quoted => at += 1,
            b'"' if !angle => quoted = !quoted,
            b'<' if !quoted => angle = true,
            b'>' if !quoted => angle = false,
            b',' if !quoted && !angle => return at,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// The first `wanted` outside quoted strings, from `from` on; an error if a quoted string does not end.
pub(crate) fn find_unquoted(text: &[u8], from: usize, wanted: &[u8]) -> Result<Option<usize>, Unbalanced> {
    let mut at = from;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let found = match *wanted {
            [] => memchr(b'"', rest),
            [one] => memchr2(b'"', one, rest),
            [one, two] => memchr3(b'"', one, two, rest),
            _ => rest.iter().position(|b| *b == b'"' || wanted.contains(b)),
        };
        let Some(found) = found else { return Ok(None) };
        if text[at + found] != b'"' {
            return Ok(Some(at + found));
        }
        at = quote_end(text, at + found + 1).ok_or(Unbalanced)? + 1;
    }
}

/// Where the quoted string ends whose first octet stands at `from`.
fn quote_end(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// A quoted string that does not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unbalanced;

/// Whether the text is one whole quoted string.
pub(crate) fn is_quoted_string(text: &str) -> bool {
    let octets = text.as_bytes();
    if octets.len() < 2 || octets[0] != b'"' {
        return false;
    }
    let mut at = 1;
    while at < octets.len() {
        match octets[at] {
            b'\\' => at += 1,
            b'"' => return at == octets.len() - 1,
            _ => {}
        }
        at += 1;
    }
    false
}

/// The content of a quoted string with its escapes undone; other text as it is.
pub(crate) fn unquoted(text: &str) -> Cow<'_, str> {
    if !is_quoted_string(text) {
        return Cow::Borrowed(text);
    }
    let inner = &text[1..text.len() - 1];
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    Cow::Owned(out)
}

/// Text as a quoted string, escapes done, control characters left out (they could end the header).
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// Appends a header value that we write; a control octet becomes a space, so that no value can begin a new header.
pub(crate) fn push_value(out: &mut Vec<u8>, value: &[u8]) {
    let is_control = |b: &u8| *b < 0x20 || *b == 0x7f;
    // All octets are looked at without a way out, so that many are looked at at once; mostly there is none.
    match value.iter().fold(false, |any, b| any | is_control(b)) {
        false => out.extend_from_slice(value),
        true => out.extend(value.iter().map(|b| if is_control(b) { b' ' } else { *b })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<&str> {
        Values::of(text.as_bytes()).map(|r| &text[r]).collect()
    }

    #[test]
    fn sip_comma_lists_know_quotes_and_angle_brackets() {
        assert_eq!(values("<sip:a,b@c>, \"x, \\\"y,\" <sip:d> ,, e"), ["<sip:a,b@c>", "\"x, \\\"y,\" <sip:d>", "e"]);
        assert_eq!(values(" , ,"), Vec::<&str>::new());
        assert_eq!(values("\"open, string"), ["\"open, string"]);
    }

    #[test]
    fn sip_lines_fold() {
        let buf = b"Subject: a\r\n b\n\tc\r\nNext: x\r\n\r\nbody";
        let Line::Header { content, next } = line_at(buf, 0) else { panic!("a header") };
        assert_eq!(&buf[content.clone()], b"Subject: a\r\n b\n\tc");
        let (_, name, value) = name_and_value(buf, content).unwrap();
        assert_eq!((&buf[name], &buf[value]), (&b"Subject"[..], &b"a\r\n b\n\tc"[..]));
        let Line::Header { next, .. } = line_at(buf, next) else { panic!("a header") };
        assert_eq!(line_at(buf, next), Line::End { body: buf.len() - 4 });
        assert_eq!(line_at(b"Subject: x", 0), Line::Cut);
    }

    #[test]
    fn sip_quoted_strings_round_trip() {
        assert_eq!(unquoted(&quoted("a \"b\" \\ c\r\n")), "a \"b\" \\ c");
        assert!(!is_quoted_string("\"a\" b\""));
        assert!(!is_quoted_string("\"a\\\""));
        assert_eq!(unquoted("plain"), "plain");
    }

    #[test]
    fn sip_digits_saturate_and_take_no_sign() {
        assert_eq!(digits(b"0068"), Some(68));
        assert_eq!(digits(b"99999999999999999999999"), Some(u64::MAX));
        assert_eq!((digits(b"-1"), digits(b""), digits(b"1 ")), (None, None, None));
    }
}
