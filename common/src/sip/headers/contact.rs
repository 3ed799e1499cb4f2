//! Contact (RFC 3261 §20.10): `*`, or an address with `q`, `expires`, `+sip.instance` and `reg-id` (RFC 5626).

use super::numbers;
use crate::sip::{HeaderId, NameAddr, ParseError, lex};
use std::borrow::Cow;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact<'a> {
    /// `Contact: *`: all bindings (REGISTER with `Expires: 0` only).
    Star,
    Addr(NameAddr<'a>),
}

impl<'a> Contact<'a> {
    pub fn parse(raw: &'a str) -> Result<Contact<'a>, ParseError> {
        match lex::trim_text(raw) {
            "*" => Ok(Contact::Star),
            value => NameAddr::parse(HeaderId::Contact, value).map(Contact::Addr),
        }
    }

    pub fn addr(self) -> Option<NameAddr<'a>> {
        match self {
            Contact::Star => None,
            Contact::Addr(addr) => Some(addr),
        }
    }
}

/// Parameters that only Contact has.
impl<'a> NameAddr<'a> {
    /// q in thousandths, 0 to 1000; `Ok(None)` without one.
    pub fn q_thousandths(&self) -> Result<Option<u16>, ParseError> {
        let wrong = ParseError::Malformed {
            header: HeaderId::Contact,
            why: "q is not a number from 0 to 1 with up to three decimals",
        };
        match self.params.get("q") {
            None => Ok(None),
            Some(value) => value.and_then(qvalue).map(Some).ok_or(wrong),
        }
    }

    /// `expires` in seconds; `None` if absent or malformed (then the Expires header or the default counts, RFC 3261 §10.2.1.1).
    pub fn expires_s(&self) -> Option<u32> {
        numbers::delta_seconds(self.params.value("expires")?.as_bytes())
    }

    /// `+sip.instance` without its quotes, angle brackets kept.
    pub fn instance(&self) -> Option<Cow<'a, str>> {
        self.params.value("+sip.instance").map(lex::unquoted)
    }

    pub fn reg_id(&self) -> Option<u32> {
        numbers::delta_seconds(self.params.value("reg-id")?.as_bytes())
    }
}

/// `( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`; a missing leading zero (`.5`) is borne.
fn qvalue(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) || (whole.is_empty() && decimals.is_empty())
    {
        return None;
    }
    let thousandths = decimals.bytes().chain("000".bytes()).take(3).fold(0u16, |n, d| n * 10 + u16::from(d - b'0'));
    match whole {
        "" | "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sip_contact_star_and_parameters() {
        assert_eq!(Contact::parse(" * "), Ok(Contact::Star));
        let text = "<sip:1001@10.0.0.1:5062;ob>;reg-id=1;+sip.instance=\"<urn:uuid:a;b>\";q=0.33;expires=60";
        let addr = Contact::parse(text).unwrap().addr().unwrap();
        assert_eq!((addr.q_thousandths(), addr.expires_s(), addr.reg_id()), (Ok(Some(330)), Some(60), Some(1)));
        assert_eq!(addr.instance().as_deref(), Some("<urn:uuid:a;b>"));
    }

    #[test]
    fn sip_contact_q() {
        for (text, value) in
            [("1", 1000), ("1.000", 1000), ("0", 0), ("0.5", 500), ("0.", 0), (".7", 700), ("0.001", 1)]
        {
            assert_eq!(qvalue(text), Some(value), "{text}");
        }
        for text in ["", ".", "1.1", "2", "-1", "0.1234", "0.x"] {
            assert_eq!(qvalue(text), None, "{text}");
        }
        let odd = Contact::parse("<sip:a@b>;q=high").unwrap().addr().unwrap();
        assert!(odd.q_thousandths().is_err());
    }
}
