//! Request-Line and Status-Line (RFC 3261 §7.1, §7.2). Tolerant: `validate` refuses what only looks like one.

use super::lex;
use std::ops::Range;

/// Offsets in the buffer that begins with the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StartLine {
    Request { method: Range<usize>, uri: Range<usize>, version: Range<usize> },
    Response { version: Range<usize>, status: u16, reason: Range<usize> },
}

/// `line` without its line end. `None` if it is neither kind.
pub(super) fn read(line: &[u8]) -> Option<StartLine> {
    let first = memchr::memchr(b' ', line)?;
    if is_version(&line[..first]) {
        return status_line(line, first);
    }
    // White space behind the version belongs to it here, so that `validate` sees it.
    let content = lex::trimmed(line, 0..line.len()).end;
    let last = memchr::memrchr(b' ', &line[..content])?;
    let method = 0..first;
    let version = last + 1..line.len();
    if last <= first || !lex::is_token(&line[method.clone()]) || !is_version(&line[version.clone()]) {
        return None;
    }
    Some(StartLine::Request { method, uri: first + 1..last, version })
}

fn status_line(line: &[u8], first: usize) -> Option<StartLine> {
    let code = line.get(first + 1..first + 4)?;
    let status = lex::digits(code).and_then(|n| u16::try_from(n).ok()).filter(|n| (100..700).contains(n))?;
    let rest = first + 4;
    let reason = match line.get(rest) {
        None => rest..rest,
        Some(b' ') => rest + 1..line.len(),
        Some(_) => return None,
    };
    Some(StartLine::Response { version: 0..first, status, reason })
}

fn is_version(text: &[u8]) -> bool {
    text.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"SIP/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sip_first_lines() {
        let line = b"INVITE sip:a@b SIP/2.0";
        assert_eq!(read(line), Some(StartLine::Request { method: 0..6, uri: 7..14, version: 15..22 }));
        assert_eq!(
            read(b"SIP/2.0 404 Not Found"),
            Some(StartLine::Response { version: 0..7, status: 404, reason: 12..21 })
        );
        assert_eq!(read(b"SIP/2.0 100 "), Some(StartLine::Response { version: 0..7, status: 100, reason: 12..12 }));
        assert_eq!(read(b"SIP/2.0 100"), Some(StartLine::Response { version: 0..7, status: 100, reason: 11..11 }));
        for bad in [
            "",
            "INVITE",
            "INVITE sip:a@b",
            "INVITE SIP/2.0",
            "SIP/2.0 4294967301 x",
            "SIP/2.0 99 x",
            "SIP/2.0 700 x",
            "GET / HTTP/1.1",
            " SIP/2.0 x SIP/2.0",
        ] {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
    }
}
