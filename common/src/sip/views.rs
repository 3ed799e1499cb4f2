//! Typed views of a message's headers, read when they are asked for.

use super::headers::numbers;
use super::{CSeq, Contact, HeaderId, Method, NameAddr, ParseError, SipMessage, Uri, Via, lex};
use std::ops::Range;

impl SipMessage {
    /// The first value of that name as text.
    pub fn text(&self, id: HeaderId) -> Result<Option<&str>, ParseError> {
        self.header(id).map(|value| self.as_text(id, value)).transpose()
    }

    /// The value at this place, from 0, if it is text.
    pub fn text_at(&self, id: HeaderId, place: usize) -> Option<&str> {
        self.part_as_text(self.values(id).nth(place)?)
    }

    /// As [`SipMessage::values`]; those that are no text are left out, so places are not kept.
    pub fn texts(&self, id: HeaderId) -> impl Iterator<Item = &str> {
        self.values(id).filter_map(|value| self.part_as_text(value))
    }

    /// The option tags of Require or Proxy-Require that are not `understood` (one tag, or none), as Unsupported lists them.
    pub fn not_understood(&self, id: HeaderId, understood: &str) -> Option<String> {
        let unknown: Vec<&str> = self.texts(id).filter(|tag| !tag.eq_ignore_ascii_case(understood)).collect();
        (!unknown.is_empty()).then(|| unknown.join(", "))
    }

    pub fn uri(&self) -> Result<Uri<'_>, ParseError> {
        let text = self.part_as_text(self.request_uri_octets());
        Uri::parse(text.ok_or(ParseError::Uri("octets that are not UTF-8"))?)
    }

    pub fn cseq(&self) -> Result<CSeq, ParseError> {
        if let Some((number, method)) = &self.facts.cseq
            && let Some(method) = Method::parse(&self.buf[method.start as usize..method.end as usize])
        {
            return Ok(CSeq { number: *number, method });
        }
        CSeq::parse(self.header(HeaderId::CSeq).ok_or(ParseError::Missing(HeaderId::CSeq))?)
    }

    pub fn top_via(&self) -> Result<Via<'_>, ParseError> {
        let top = self.as_text(HeaderId::Via, self.top_via_octets().ok_or(ParseError::Missing(HeaderId::Via))?)?;
        match self.facts.via_parts.as_ref().and_then(|parts| parts.via(top)) {
            Some(via) => Ok(via),
            None => Via::parse(top),
        }
    }

    /// The whole topmost Via value as received.
    pub fn top_via_octets(&self) -> Option<&[u8]> {
        self.facts.top_via.as_ref().map(|via| &self.buf[via.start as usize..via.end as usize])
    }

    /// All Vias, topmost first; an error if one of them cannot be read.
    pub fn vias(&self) -> Result<Vec<Via<'_>>, ParseError> {
        self.values(HeaderId::Via).map(|value| Via::parse(self.as_text(HeaderId::Via, value)?)).collect()
    }

    pub fn from(&self) -> Result<NameAddr<'_>, ParseError> {
        self.single_addr(HeaderId::From)
    }

    pub fn to(&self) -> Result<NameAddr<'_>, ParseError> {
        self.single_addr(HeaderId::To)
    }

    /// `None` also where From cannot be read.
    pub fn from_tag(&self) -> Option<&str> {
        self.tag(&self.facts.from_tag)
    }

    /// `None` also where To cannot be read.
    pub fn to_tag(&self) -> Option<&str> {
        self.tag(&self.facts.to_tag)
    }

    fn tag(&self, tag: &Option<Range<u32>>) -> Option<&str> {
        let tag = tag.as_ref()?;
        self.part_as_text(&self.buf[tag.start as usize..tag.end as usize])
    }

    pub fn contacts(&self) -> Result<Vec<Contact<'_>>, ParseError> {
        self.values(HeaderId::Contact).map(|value| Contact::parse(self.as_text(HeaderId::Contact, value)?)).collect()
    }

    pub fn routes(&self) -> Result<Vec<NameAddr<'_>>, ParseError> {
        self.addrs(HeaderId::Route)
    }

    pub fn record_routes(&self) -> Result<Vec<NameAddr<'_>>, ParseError> {
        self.addrs(HeaderId::RecordRoute)
    }

    /// All values of a header that is a list of addresses: Route, Record-Route, Path, Service-Route, P-Asserted-Identity …
    pub fn addrs(&self, id: HeaderId) -> Result<Vec<NameAddr<'_>>, ParseError> {
        self.values(id).map(|value| NameAddr::parse(id, self.as_text(id, value)?)).collect()
    }

    fn single_addr(&self, id: HeaderId) -> Result<NameAddr<'_>, ParseError> {
        let value = self.header(id).ok_or(ParseError::Missing(id))?;
        NameAddr::parse(id, self.as_text(id, value)?)
    }

    /// `Ok(None)` where there is none (then 70 is assumed, RFC 3261 §16.6 step 3).
    pub fn max_forwards(&self) -> Result<Option<u8>, ParseError> {
        self.number(HeaderId::MaxForwards, numbers::max_forwards, "not a number from 0 to 255")
    }

    /// Seconds; `Ok(None)` where there is none.
    pub fn expires(&self) -> Result<Option<u32>, ParseError> {
        self.number(HeaderId::Expires, numbers::delta_seconds, "not a number of seconds")
    }

    /// Octets; `Ok(None)` where there is none.
    pub fn content_length(&self) -> Result<Option<usize>, ParseError> {
        self.number(HeaderId::ContentLength, numbers::content_length, "not a number of octets")
    }

    /// Seconds; `None` where there is none or it cannot be read.
    pub fn retry_after(&self) -> Option<u32> {
        self.header(HeaderId::RetryAfter).and_then(numbers::leading_seconds)
    }

    fn number<T>(
        &self,
        id: HeaderId,
        read: fn(&[u8]) -> Option<T>,
        why: &'static str,
    ) -> Result<Option<T>, ParseError> {
        self.header(id).map(|value| read(value).ok_or(ParseError::Malformed { header: id, why })).transpose()
    }

    pub(super) fn as_text<'m>(&'m self, id: HeaderId, value: &'m [u8]) -> Result<&'m str, ParseError> {
        self.part_as_text(value).map(lex::trim_text).ok_or(ParseError::NotText(id))
    }
}
