//! `name-addr` and `addr-spec` with header parameters (RFC 3261 §20.10): From, To, Route, Record-Route, Path, Refer-To.

use crate::sip::params::Params;
use crate::sip::{HeaderId, ParseError, Uri, lex};
use std::borrow::Cow;

/// `"Name" <uri>;params`, or `uri;params`: without angle brackets all parameters are the header's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The whole value as received.
    pub raw: &'a str,
    /// As written, quotes kept.
    pub display: Option<&'a str>,
    /// The URI's text; [`NameAddr::uri`] reads it.
    pub uri_text: &'a str,
    /// Parameters of the header, not of the URI.
    pub params: Params<'a>,
    /// Whether the URI stands in angle brackets.
    pub bracketed: bool,
}

impl<'a> NameAddr<'a> {
    /// One value of `header` (which only names the error), not a comma list.
    pub fn parse(header: HeaderId, raw: &'a str) -> Result<NameAddr<'a>, ParseError> {
        read(lex::trim_text(raw)).map_err(|why| ParseError::Malformed { header, why })
    }

    pub fn uri(&self) -> Result<Uri<'a>, ParseError> {
        Uri::parse(self.uri_text)
    }

    pub fn tag(&self) -> Option<&'a str> {
        self.params.value("tag").filter(|t| !t.is_empty())
    }

    /// `None`: not there. `Some(None)`: there without a value.
    pub fn param(&self, name: &str) -> Option<Option<&'a str>> {
        self.params.get(name)
    }

    /// The display name with quotes and escapes undone.
    pub fn display_name(&self) -> Option<Cow<'a, str>> {
        self.display.map(lex::unquoted)
    }
}

fn read(raw: &str) -> Result<NameAddr<'_>, &'static str> {
    let octets = raw.as_bytes();
    let mark = lex::find_unquoted(octets, 0, b"<;").map_err(|_| "a quoted string does not end")?;
    let Some(open) = mark.filter(|at| octets[*at] == b'<') else {
        return addr_spec(raw, mark);
    };
    let display = lex::trim_text(&raw[..open]);
    let stray = memchr::memchr2(b'"', b',', display.as_bytes()).is_some() && !lex::is_quoted_string(display);
    if stray {
        return Err("the display name is neither words nor one quoted string");
    }
    let close = open + memchr::memchr(b'>', &octets[open..]).ok_or("no > ends the URI")?;
    let uri_text = &raw[open + 1..close];
    check(uri_text)?;
    let rest = lex::trim_text(&raw[close + 1..]);
    let params = match rest.strip_prefix(';') {
        Some(params) => params,
        None if rest.is_empty() => "",
        None => return Err("something other than ;parameters behind the >"),
    };
    lex::find_unquoted(params.as_bytes(), 0, b"").map_err(|_| "a quoted string does not end")?;
    let display = (!display.is_empty()).then_some(display);
    Ok(NameAddr { raw, display, uri_text, params: Params::of(params), bracketed: true })
}

fn addr_spec(raw: &str, semicolon: Option<usize>) -> Result<NameAddr<'_>, &'static str> {
    let end = semicolon.unwrap_or(raw.len());
    let uri_text = lex::trim_text(&raw[..end]);
    check(uri_text)?;
    // RFC 3261 §20: a URI with a comma, a question mark or a semicolon must stand in angle brackets.
    if uri_text.contains([',', '?', '"', '>']) {
        return Err("a URI with a comma or question mark needs angle brackets");
    }
    let params = raw.get(end + 1..).unwrap_or_default();
    lex::find_unquoted(params.as_bytes(), 0, b"").map_err(|_| "a quoted string does not end")?;
    Ok(NameAddr { raw, display: None, uri_text, params: Params::of(params), bracketed: false })
}

fn check(uri_text: &str) -> Result<(), &'static str> {
    if uri_text.is_empty() {
        return Err("no URI");
    }
    if lex::is_spaced(uri_text.as_bytes()) {
        return Err("white space in the URI");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> NameAddr<'_> {
        NameAddr::parse(HeaderId::To, text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn sip_name_addr_in_all_its_shapes() {
        let a = read("\"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8");
        assert_eq!(
            (a.display_name().as_deref(), a.uri_text, a.tag()),
            (Some("J Rosenberg \\\""), "sip:jdrosen@example.com", Some("98asjd8"))
        );
        let a = read("sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n");
        assert_eq!(
            (a.uri_text, a.tag(), a.bracketed),
            ("sip:vivekg@chair-dnrc.example.com", Some("1918181833n"), false)
        );
        let a = read("caller<sip:caller@example.com;tag=inner>;tag=323");
        assert_eq!((a.display, a.tag()), (Some("caller"), Some("323")));
        assert_eq!(read("<sip:a@b;tag=inner>").tag(), None);
        assert_eq!(read("\"a <x>; tag=no\" <sip:a@[::1]:5060>;x=\"y;tag=2\"").tag(), None);
        assert_eq!(read("<sip:a@b>;tag").tag(), None);
    }

    #[test]
    fn sip_name_addr_malformed() {
        for bad in [
            "",
            "<>",
            ";tag=1",
            "\"Mr. J. User <sip:j.user@example.com>",
            "\"Watson, Thomas\" < sip:t.watson@example.org >",
            "Bell, Alexander <sip:a.g.bell@example.com>;tag=43",
            "<sip:a@b",
            "<sip:a@b> x",
            "sip:user@example.com?Route=%3Csip:sip.example.com%3E",
            "<sip:a@b>;x=\"open",
        ] {
            assert!(NameAddr::parse(HeaderId::To, bad).is_err(), "{bad}");
        }
    }
}
