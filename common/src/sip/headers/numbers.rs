//! Headers that are one number: Expires, Min-Expires, Max-Forwards, Content-Length, Retry-After.

use crate::sip::lex;

/// Seconds (RFC 3261 §20.19); more than 32 bits count as 2^32-1. `None` if it is not a number.
pub fn delta_seconds(value: &[u8]) -> Option<u32> {
    lex::digits(lex::trim(value)).map(|n| u32::try_from(n).unwrap_or(u32::MAX))
}

/// Max-Forwards (RFC 3261 §20.22): 0 to 255.
pub fn max_forwards(value: &[u8]) -> Option<u8> {
    lex::digits(lex::trim(value)).and_then(|n| u8::try_from(n).ok())
}

/// Content-Length (RFC 3261 §20.14); what no buffer can hold saturates.
pub fn content_length(value: &[u8]) -> Option<usize> {
    lex::digits(lex::trim(value)).map(|n| usize::try_from(n).unwrap_or(usize::MAX))
}

/// The number in front of a comment or parameters: `Retry-After: 120 (busy);duration=60` (RFC 3261 §20.33).
pub fn leading_seconds(value: &[u8]) -> Option<u32> {
    let value = lex::trim(value);
    let end = value.iter().position(|b| !b.is_ascii_digit()).unwrap_or(value.len());
    match value.get(end) {
        None | Some(b' ' | b'\t' | b';' | b'(' | b'\r' | b'\n') => delta_seconds(&value[..end]),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sip_numbers() {
        assert_eq!(
            (delta_seconds(b" 3600 "), delta_seconds(b"99999999999"), delta_seconds(b"1h")),
            (Some(3600), Some(u32::MAX), None)
        );
        assert_eq!(
            (max_forwards(b"0068"), max_forwards(b"255"), max_forwards(b"300"), max_forwards(b"-1")),
            (Some(68), Some(255), None, None)
        );
        assert_eq!(
            (content_length(b"0"), content_length(b"-999"), content_length(b"18446744073709551616")),
            (Some(0), None, Some(usize::MAX))
        );
        assert_eq!(
            (leading_seconds(b"5 (busy)"), leading_seconds(b"120;duration=1"), leading_seconds(b"5x")),
            (Some(5), Some(120), None)
        );
    }
}
