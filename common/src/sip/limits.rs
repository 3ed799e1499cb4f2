//! What a message may measure. `message` calls [`excess`] once for every message that it indexes; `validate` refuses what
//! it found, with an answer. Work is one pass over the head for an ordinary message, and one more for an unusual one.

use super::message::Span;
use super::{Fault, HeaderId, lex};
use memchr::memchr;

/// Bounds of a message. Octets, except `headers`, `values` and `params`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub message: usize,
    /// Header lines.
    pub headers: usize,
    pub header_value: usize,
    /// Values of a header that is a list (Via, Route, Contact, Require …), over all its lines.
    pub values: usize,
    /// The Request-URI (a longer one is answered 414), and each URI in a header.
    pub uri: usize,
    /// Parameters of one value, and of one URI.
    pub params: usize,
    /// One parameter: name, value and what is between them.
    pub param: usize,
    /// What stands before the `<` of an address.
    pub display_name: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            message: 65_535,
            headers: 256,
            header_value: 8_192,
            values: 128,
            uri: 2_048,
            params: 64,
            param: 1_024,
            display_name: 512,
        }
    }
}

impl Limits {
    /// For messages of our own, and for proofs: whatever a buffer holds.
    pub const NONE: Limits = Limits {
        message: u32::MAX as usize,
        headers: usize::MAX,
        header_value: usize::MAX,
        values: usize::MAX,
        uri: usize::MAX,
        params: usize::MAX,
        param: usize::MAX,
        display_name: usize::MAX,
    };
}

/// What is beyond its limit, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Excess {
    pub fault: Fault,
    /// `None`: in the Request-URI.
    pub header: Option<HeaderId>,
}

/// The first thing that is too much in an indexed head: of the Request-URI, then in the order of the lines.
pub(super) fn excess(head: &[u8], request_uri: &[u8], spans: &[Span], limits: &Limits) -> Option<Excess> {
    if request_uri.len() > limits.uri {
        return Some(Excess { fault: Fault::RequestUriSize, header: None });
    }
    let longest = spans.iter().map(|span| span.value().len()).max().unwrap_or(0);
    let short = longest <= limits.header_value.min(limits.uri).min(limits.param).min(limits.display_name);
    // What has no more commas and semicolons in all has no more in one place.
    let all = marks(head);
    let few = spans.len() + all <= limits.values && all <= limits.params;
    if short && few && request_uri.len() <= limits.param {
        return None;
    }
    if let Some(fault) = of_uri(request_uri, limits) {
        return Some(Excess { fault, header: None });
    }
    let mut values = [0usize; HeaderId::KNOWN.len() + 1];
    spans.iter().find_map(|span| {
        let fault = of_line(&head[span.value()], span.id, &mut values[span.id as usize], limits)?;
        Some(Excess { fault, header: Some(span.id) })
    })
}

/// Commas and semicolons together. Counted by the octet, so that many are looked at at once.
fn marks(head: &[u8]) -> usize {
    let of = |octets: &[u8]| octets.iter().fold(0u8, |n, b| n.wrapping_add(u8::from(matches!(b, b',' | b';'))));
    head.chunks(usize::from(u8::MAX)).map(|octets| usize::from(of(octets))).sum()
}

/// `seen`: values of this header so far.
fn of_line(line: &[u8], id: HeaderId, seen: &mut usize, limits: &Limits) -> Option<Fault> {
    if line.len() > limits.header_value {
        return Some(Fault::HeaderSize);
    }
    // Text that nobody here takes apart may have any number of semicolons.
    if !(id.is_list() || id.is_single()) || id == HeaderId::CallId {
        return None;
    }
    if !id.is_list() {
        return of_value(line, limits);
    }
    lex::Values::of(line).find_map(|value| {
        *seen += 1;
        if *seen > limits.values { Some(Fault::Values) } else { of_value(&line[value], limits) }
    })
}

/// One value: `display <uri;params>;params`, or `word;params`, the word being a URI or shorter.
fn of_value(value: &[u8], limits: &Limits) -> Option<Fault> {
    // Behind a quote that does not end there is nothing to find: views refuse such a value, here it is one long word.
    let mark = lex::find_unquoted(value, 0, b"<;").ok().flatten().unwrap_or(value.len());
    let word = &value[..mark];
    if value.get(mark) != Some(&b'<') {
        return if word.len() > limits.uri { Some(Fault::UriSize) } else { of_params(&value[mark..], limits) };
    }
    if lex::trim(word).len() > limits.display_name {
        return Some(Fault::DisplayNameSize);
    }
    let close = memchr(b'>', &value[mark..]).map_or(value.len(), |at| mark + at);
    let uri = &value[mark + 1..close];
    if uri.len() > limits.uri {
        return Some(Fault::UriSize);
    }
    of_uri(uri, limits).or_else(|| of_params(&value[close..], limits))
}

/// Parameters of a URI: behind the user part, and before the headers.
fn of_uri(uri: &[u8], limits: &Limits) -> Option<Fault> {
    let host = memchr(b'@', uri).map_or(0, |at| at + 1);
    let end = memchr(b'?', &uri[host..]).map_or(uri.len(), |at| host + at);
    let tail = &uri[host..end];
    memchr(b';', tail).and_then(|at| of_params(&tail[at..], limits))
}

/// Of text from the first `;` on; what stands before it is none.
fn of_params(text: &[u8], limits: &Limits) -> Option<Fault> {
    let next = |from| lex::find_unquoted(text, from, b";").ok().flatten();
    let mut at = next(0)?;
    let mut seen = 0;
    loop {
        seen += 1;
        let end = next(at + 1);
        if seen > limits.params {
            return Some(Fault::Params);
        }
        if end.unwrap_or(text.len()) - at - 1 > limits.param {
            return Some(Fault::ParamSize);
        }
        at = end?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::SipMessage;
    use super::*;

    const LIMITS: Limits = Limits {
        message: 2000,
        headers: 20,
        header_value: 200,
        values: 3,
        uri: 60,
        params: 3,
        param: 20,
        display_name: 10,
    };

    fn verdict(uri: &str, line: &str) -> (u16, String, &'static str) {
        let text = format!(
            "OPTIONS {uri} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n\
             Call-ID: \"c;;;;;;;;;;\r\nCSeq: 1 OPTIONS\r\n{line}\r\n\r\n"
        );
        match SipMessage::parse(text.into(), &LIMITS).unwrap().validate() {
            Ok(()) => (200, String::new(), ""),
            Err(invalid) => (invalid.status, invalid.reason, invalid.fault.label()),
        }
    }

    #[test]
    fn sip_limits_are_met_from_both_sides() {
        let (x, four) = ("x".repeat(300), ";a;b;c;d");
        let uri = |octets: usize| format!("sip:{}", &x[..octets - 4]);
        let header = |line: &str| verdict("sip:a@b", line);
        let fine = (200, String::new(), "");
        for line in [
            format!("Contact: \"{}\" <{};a;b=\"\";{}>;a;b=\"1;2;3;4\";{}", &x[..8], &uri(16), &x[..20], &x[..20]),
            format!("Refer-To: <{}>", &uri(60)),
            "Refer-To: <sip:a;;;;;;@b;x?y;;;;;;>".into(),
            "Require: a,b\r\nRequire: ,c,,".into(),
            format!("Contact: {}", &uri(60)),
            // More than the quick count of an octet could hold, where it does not matter how many.
            format!("Subject: {0}\r\nX-Odd: {0}", ",;".repeat(100)),
            // Nobody takes these apart.
            format!("Subject: {}", ",;".repeat(100)),
            format!("X-Odd: {}", ";".repeat(200)),
        ] {
            assert_eq!(header(&line), fine, "{line}");
        }
        assert_eq!(verdict(&format!("{};a;b;c", uri(54)), "X-Odd: y"), fine);
        assert_eq!(verdict(&uri(61), "X-Odd: y"), (414, "Request-URI Too Long".into(), "request_uri_size"));
        let many = (400, "Too Many Parameters In Request-URI".into(), "params");
        assert_eq!(verdict(&format!("sip:a@b{four}"), "X-Odd: y"), many);
        for (line, reason, label) in [
            (format!("X-Odd: {}", &x[..201]), "Header Too Long", "header_size"),
            (format!("Contact: <{}>", uri(61)), "URI In Contact Too Long", "uri_size"),
            (format!("m: {};q=1", uri(61)), "URI In Contact Too Long", "uri_size"),
            (format!("Reply-To: <sip:a@b{four}>"), "Too Many Parameters In Reply-To", "params"),
            (format!("Reply-To: <sip:a@b>{four}"), "Too Many Parameters In Reply-To", "params"),
            (format!("Path: <sip:a@b>, <sip:a@b>{four}"), "Too Many Parameters In Path", "params"),
            (format!("Route: <sip:a;{}>", &x[..21]), "Parameter In Route Too Long", "param_size"),
            (format!("Route: <sip:a>;{}", &x[..21]), "Parameter In Route Too Long", "param_size"),
            (format!("Reply-To: {} <sip:a>", &x[..11]), "Display Name In Reply-To Too Long", "display_name_size"),
            ("Require: a,b\r\nRequire: c, d".into(), "Too Many Values Of Require", "values"),
            ("v: SIP/2.0/UDP a\r\nVia: SIP/2.0/UDP a,SIP/2.0/UDP b".into(), "Too Many Values Of Via", "values"),
            (format!("Reply-To: <{}", uri(61)), "URI In Reply-To Too Long", "uri_size"),
            (format!("Reply-To: \"{}", &x[..61]), "URI In Reply-To Too Long", "uri_size"),
        ] {
            assert_eq!(header(&line), (400, reason.into(), label), "{line}");
        }
    }
}
