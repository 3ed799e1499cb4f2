//! Which names are asked for and believed: letters, digits, `-`, `_` and dots, of a length that the DNS can carry.

use std::sync::Arc;

/// Labels of 1 to 63 octets, 253 in all (RFC 1035 §2.3.4 as text). Lower case, without the trailing dot. `None` for
/// anything else: what stands in a URI or comes from the DNS may hold any octet.
pub fn name(text: &str) -> Option<Arc<str>> {
    let bare = text.strip_suffix('.').unwrap_or(text);
    let label = |l: &str| (1..=63).contains(&l.len());
    let octet = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let fits = bare.len() <= 253 && bare.bytes().all(octet) && bare.split('.').all(label);
    fits.then(|| bare.to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_odd_octets_or_lengths_are_none() {
        assert_eq!(name("_SIP._udp.Example.com.").as_deref(), Some("_sip._udp.example.com"));
        let long = format!("{}.example", "a".repeat(64));
        let longer = "a.".repeat(127) + "a";
        for bad in ["", ".", "a..b", "é.example", "a b", "a\0b", "*.example", &long, &longer, ".a"] {
            assert_eq!(name(bad), None, "{bad:?}");
        }
    }
}
