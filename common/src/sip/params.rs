//! `;name=value` parameters of a header or of a URI (RFC 3261 §7.3.1, §19.1.1). Names are compared without case.

use super::lex;

/// Parameters as they stand in the buffer: the text behind the first `;`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a> {
    text: &'a str,
}

impl<'a> Params<'a> {
    /// `text` without the leading `;`.
    pub fn of(text: &'a str) -> Params<'a> {
        Params { text }
    }

    /// The text as received, without the leading `;`.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    pub fn is_empty(&self) -> bool {
        lex::trim_text(self.text).is_empty()
    }

    /// Name and value in order; quoted values keep their quotes. Empty parameters (`;;`) are left out.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        self.segments().map(|s| split(s)).filter(|(name, _)| !name.is_empty())
    }

    /// `None`: not there. `Some(None)`: there without a value.
    pub fn get(&self, name: &str) -> Option<Option<&'a str>> {
        let first = name.as_bytes().first()?.to_ascii_lowercase();
        // Most begin with another letter, and need not be taken apart.
        let may_be = |segment: &&str| match segment.as_bytes().first() {
            Some(b) => b.to_ascii_lowercase() == first || lex::is_space(*b),
            None => false,
        };
        self.segments().filter(may_be).map(split).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value, if the parameter is there and has one.
    pub fn value(&self, name: &str) -> Option<&'a str> {
        self.get(name).flatten()
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Every text between two `;`, empty ones too, white space kept.
    pub(crate) fn segments(&self) -> Segments<'a> {
        Segments { text: self.text, at: 0, over: self.text.is_empty() }
    }
}

/// Name and value of one segment, trimmed.
pub(crate) fn split(segment: &str) -> (&str, Option<&str>) {
    match lex::split_at(segment, b'=') {
        Some((name, value)) => (lex::trim_text(name), Some(lex::trim_text(value))),
        None => (lex::trim_text(segment), None),
    }
}

pub(crate) struct Segments<'a> {
    text: &'a str,
    at: usize,
    over: bool,
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.over {
            return None;
        }
        let end = match lex::find_unquoted(self.text.as_bytes(), self.at, b";") {
            Ok(Some(end)) => end,
            Ok(None) | Err(lex::Unbalanced) => {
                self.over = true;
                self.text.len()
            }
        };
        let segment = self.text.get(self.at..end).unwrap_or_default();
        self.at = end + 1;
        Some(segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sip_params_with_quotes_white_space_and_flags() {
        let params = Params::of(" lr ; Tag = 1 ;;x=\"a;b\\\";c\";rport");
        let all: Vec<_> = params.iter().collect();
        assert_eq!(all, [("lr", None), ("Tag", Some("1")), ("x", Some("\"a;b\\\";c\"")), ("rport", None)]);
        assert_eq!(params.value("tag"), Some("1"));
        assert_eq!(params.get("rport"), Some(None));
        assert_eq!(params.get("absent"), None);
        assert_eq!(Params::of("").iter().count(), 0);
    }
}
