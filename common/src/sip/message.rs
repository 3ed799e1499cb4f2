//! The message: one buffer and an index of offsets. Nothing is copied, nothing is judged; `views` reads typed headers,
//! `validate` says what a proxy refuses. Made by the node's shell for every datagram, and by the built-in phones.

use super::headers::{numbers, via};
use super::limits::Excess;
use super::listeners::{Listeners, TokenSearch};
use super::start_line::{self, StartLine};
use super::{CSeq, HeaderId, HeaderSet, Limits, Method, NameAddr, ParseError, Via, lex, limits};
use bytes::Bytes;
use bytestring::ByteString;
use std::ops::Range;

/// One header: where its name and value stand, and where the line ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub id: HeaderId,
    /// Where the line begins.
    pub start: u32,
    pub name_end: u32,
    pub value: u32,
    pub value_end: u32,
    /// Where the next line begins.
    pub next: u32,
}

impl Span {
    /// One line, its end left out; `None` if it is not `Name: value`.
    pub(super) fn read(buf: &[u8], content: Range<usize>, next: usize) -> Option<Span> {
        let (id, name, value) = lex::name_and_value(buf, content)?;
        Some(Span {
            id,
            start: name.start as u32,
            name_end: name.end as u32,
            value: value.start as u32,
            value_end: value.end as u32,
            next: next as u32,
        })
    }

    pub(super) fn name(&self) -> Range<usize> {
        self.start as usize..self.name_end as usize
    }

    pub(super) fn value(&self) -> Range<usize> {
        self.value as usize..self.value_end as usize
    }

    pub(super) fn line(&self) -> Range<usize> {
        self.start as usize..self.next as usize
    }
}

/// Where the first header of each name stands that is asked for again and again: those with the lowest numbers.
const HOT: usize = 12;
/// No such header.
const NONE: u16 = u16::MAX;

/// What every reader of a message asks several times, found once while it is indexed.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Span of the first one, by `HeaderId as usize`.
    first: [u16; HOT],
    /// Names that are there at all, and those on more than one line.
    present: HeaderSet,
    pub(super) repeated: HeaderSet,
    /// Octets of the tag; `None` also where the header cannot be read.
    pub(super) from_tag: Option<Range<u32>>,
    pub(super) to_tag: Option<Range<u32>>,
    /// Both From and To can be read, and neither has an empty tag.
    pub(super) addresses_good: bool,
    /// CSeq's number and where its method stands.
    pub(super) cseq: Option<(u32, Range<u32>)>,
    /// The topmost Via value, and where its parts stand in it if it can be read.
    pub(super) top_via: Option<Range<u32>>,
    pub(super) via_parts: Option<via::Parts>,
}

/// A parsed message. Cheap to clone relative to its size: the octets are shared.
#[derive(Clone, Debug)]
pub struct SipMessage {
    pub(super) buf: Bytes,
    /// Start line and headers, where all of them are text: looked through once, not for each part that is read.
    pub(super) text: Option<ByteString>,
    pub(super) start: StartLine,
    pub(super) spans: Vec<Span>,
    /// Where the first header line begins.
    pub(super) first_header: usize,
    /// Where the empty line begins.
    pub(super) headers_end: usize,
    pub(super) body: Range<usize>,
    /// What is too much in it; `validate` refuses it with an answer.
    pub(super) excess: Option<Excess>,
    pub(super) facts: Facts,
}

impl SipMessage {
    /// Indexes one datagram (or one message cut from a stream). Empty lines in front are left out (RFC 3261 §7.5).
    /// The body has as many octets as Content-Length says, if so many are there; else all the rest.
    pub fn parse(mut buf: Bytes, limits: &Limits) -> Result<SipMessage, ParseError> {
        let limit = limits.message.min(u32::MAX as usize);
        if buf.len() > limit {
            return Err(ParseError::TooLarge { length: buf.len(), limit });
        }
        let begin = buf.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(buf.len());
        if begin > 0 {
            buf = buf.slice(begin..);
        }
        let (line, first_header) = lex::first_line(&buf).ok_or(ParseError::StartLine)?;
        let start = start_line::read(line).ok_or(ParseError::StartLine)?;
        let mut spans = Vec::with_capacity(24);
        let mut facts = Facts::new();
        let mut at = first_header;
        let body = loop {
            match lex::line_at(&buf, at) {
                lex::Line::Cut => return Err(ParseError::NoEndOfHeaders),
                lex::Line::End { body } => break body,
                lex::Line::Header { content, next } => {
                    if spans.len() == limits.headers {
                        return Err(ParseError::TooManyHeaders { limit: limits.headers });
                    }
                    let span = Span::read(&buf, content, next).ok_or(ParseError::HeaderLine { at })?;
                    facts.note(span.id, spans.len());
                    spans.push(span);
                    at = next;
                }
            }
        };
        bare_carriage_return(&buf[..body])?;
        let request_uri = match &start {
            StartLine::Request { uri, .. } => &buf[uri.clone()],
            StartLine::Response { .. } => &[],
        };
        let excess = limits::excess(&buf[..body], request_uri, &spans, limits);
        let text = ByteString::try_from(buf.slice(..body)).ok();
        let (headers_end, body) = (at, body..buf.len());
        let mut message = SipMessage { buf, text, start, spans, first_header, headers_end, body, excess, facts };
        let length = message.header(HeaderId::ContentLength).and_then(numbers::content_length);
        if let Some(length) = length.filter(|l| *l < message.body.len()) {
            message.body.end = message.body.start + length;
        }
        Facts::read(&mut message);
        Ok(message)
    }

    /// The octets as received, without empty lines in front, with anything behind the body.
    pub fn bytes(&self) -> &Bytes {
        &self.buf
    }

    /// The octets up to the end of the body: what is forwarded when nothing is changed.
    pub fn trimmed_bytes(&self) -> Bytes {
        self.buf.slice(..self.body.end)
    }

    pub fn is_request(&self) -> bool {
        matches!(self.start, StartLine::Request { .. })
    }

    /// The Request-Line's method; of a response, the CSeq's (an empty `Other` if it cannot be read).
    pub fn method(&self) -> Method {
        let line = match &self.start {
            StartLine::Request { method, .. } => Method::parse(&self.buf[method.clone()]),
            StartLine::Response { .. } => self.cseq().ok().map(|c| c.method),
        };
        line.unwrap_or(Method::Other("".into()))
    }

    /// The Request-URI as written. Empty in a response, and where it is not UTF-8 (which `validate` refuses).
    pub fn request_uri(&self) -> &str {
        self.part_as_text(self.request_uri_octets()).unwrap_or_default()
    }

    pub fn request_uri_octets(&self) -> &[u8] {
        match &self.start {
            StartLine::Request { uri, .. } => &self.buf[uri.clone()],
            StartLine::Response { .. } => &[],
        }
    }

    /// The status code, 100 to 699; 0 of a request.
    pub fn status(&self) -> u16 {
        match self.start {
            StartLine::Response { status, .. } => status,
            StartLine::Request { .. } => 0,
        }
    }

    /// The reason phrase; empty of a request.
    pub fn reason(&self) -> &[u8] {
        match &self.start {
            StartLine::Response { reason, .. } => &self.buf[reason.clone()],
            StartLine::Request { .. } => &[],
        }
    }

    /// A part of the head that was borrowed from this message, as text.
    pub(super) fn part_as_text<'m>(&'m self, part: &'m [u8]) -> Option<&'m str> {
        debug_assert!(part.is_empty() || self.buf.as_ptr_range().contains(&part.as_ptr()), "of another message");
        match &self.text {
            Some(text) => {
                let Range { start, end } = lex::within(&self.buf, part);
                text.get(start as usize..end as usize)
            }
            None => std::str::from_utf8(part).ok(),
        }
    }

    pub(super) fn version(&self) -> &[u8] {
        match &self.start {
            StartLine::Request { version, .. } | StartLine::Response { version, .. } => &self.buf[version.clone()],
        }
    }

    /// Every header line in order: number, name as written, trimmed value.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderId, &[u8], &[u8])> {
        self.spans.iter().map(|s| (s.id, &self.buf[s.name()], &self.buf[s.value()]))
    }

    /// Whether there is a header of any of these names.
    pub fn has_any(&self, names: HeaderSet) -> bool {
        self.facts.present.meets(names)
    }

    /// The value of the first header line of that name.
    pub fn header(&self, id: HeaderId) -> Option<&[u8]> {
        self.spans_of(id).next().map(|s| &self.buf[s.value()])
    }

    /// The values of all header lines of that name, comma lists not split.
    pub fn all(&self, id: HeaderId) -> impl Iterator<Item = &[u8]> {
        self.spans_of(id).map(|s| &self.buf[s.value()])
    }

    pub(super) fn spans_of(&self, id: HeaderId) -> impl Iterator<Item = &Span> {
        let first = self.facts.first(id, self.spans.len());
        self.spans[first..].iter().filter(move |s| s.id == id)
    }

    /// The value of the first header with this name, for headers without a number; case does not matter.
    pub fn header_named(&self, name: &str) -> Option<&[u8]> {
        match HeaderId::of(name.as_bytes()) {
            HeaderId::Other => {
                let mut all = self.headers();
                all.find(|(_, n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, _, value)| value)
            }
            id => self.header(id),
        }
    }

    /// Every value of a header in order: lines, and within them comma lists where the header is one.
    pub fn values(&self, id: HeaderId) -> impl Iterator<Item = &[u8]> {
        let whole = !id.is_list();
        self.all(id).flat_map(move |line| {
            let list = (!whole).then(|| lex::Values::of(line).map(|span| &line[span]));
            list.into_iter().flatten().chain(whole.then_some(line))
        })
    }

    /// Empty if there is none (which `validate` refuses).
    pub fn call_id(&self) -> &[u8] {
        self.header(HeaderId::CallId).unwrap_or_default()
    }

    pub fn body(&self) -> &[u8] {
        &self.buf[self.body.clone()]
    }

    /// The value of `;sr=` that the load manager went by (see `scan`), unverified.
    pub fn token(&self, vip: &Listeners) -> Option<&[u8]> {
        let mut search = TokenSearch::new(vip);
        if self.is_request() {
            search.request_uri(self.request_uri_octets());
            self.all(HeaderId::Route).for_each(|value| search.route(value));
        } else if let Some(value) = self.header(HeaderId::Via) {
            search.top_via(value);
        }
        search.token
    }
}

impl Facts {
    pub(super) fn new() -> Facts {
        Facts {
            first: [NONE; HOT],
            present: HeaderSet::NONE,
            repeated: HeaderSet::NONE,
            from_tag: None,
            to_tag: None,
            addresses_good: false,
            cseq: None,
            top_via: None,
            via_parts: None,
        }
    }

    pub(super) fn note(&mut self, id: HeaderId, at: usize) {
        if self.present.contains(id) {
            self.repeated = self.repeated.with(id);
        }
        self.present = self.present.with(id);
        if let Some(first) = self.first.get_mut(id as usize).filter(|first| **first == NONE) {
            *first = u16::try_from(at).unwrap_or(NONE - 1);
        }
    }

    /// The span to begin with; `spans` where there is no such header.
    fn first(&self, id: HeaderId, spans: usize) -> usize {
        if !self.present.contains(id) {
            return spans;
        }
        self.first.get(id as usize).map_or(0, |first| usize::from(*first).min(spans))
    }

    /// What stands in the headers, once all are indexed.
    pub(super) fn read(message: &mut SipMessage) {
        let whole: &[u8] = &message.buf;
        let within = |part: &[u8]| lex::within(whole, part);
        // Whether it can be read, with a tag that is none or not empty; and that tag.
        let tag_of = |addr: Result<NameAddr<'_>, ParseError>| match addr.map(|addr| addr.param("tag")) {
            Err(_) => (false, None),
            Ok(None) => (true, None),
            Ok(Some(tag)) => {
                let tag = tag.filter(|tag| !tag.is_empty()).map(|tag| within(tag.as_bytes()));
                (tag.is_some(), tag)
            }
        };
        let ((from_good, from_tag), (to_good, to_tag)) = (tag_of(message.from()), tag_of(message.to()));
        let cseq = message.header(HeaderId::CSeq).and_then(CSeq::split);
        let cseq = cseq.map(|(number, method)| (number, within(method)));
        let top_via = message.values(HeaderId::Via).next();
        let read = top_via.and_then(|via| Via::parse(message.as_text(HeaderId::Via, via).ok()?).ok());
        let (top_via, via_parts) = (top_via.map(within), read.map(|via| via::Parts::of(&via)));
        let Facts { first, present, repeated, .. } = message.facts;
        let addresses_good = from_good && to_good;
        message.facts = Facts { first, present, repeated, from_tag, to_tag, addresses_good, cseq, top_via, via_parts };
    }
}

/// A carriage return that ends no line would be a line end to some other parser: what that one sees as a header we
/// would have passed as text.
fn bare_carriage_return(head: &[u8]) -> Result<(), ParseError> {
    // All octets are looked at without a way out, so that many are looked at at once; where it is, only then.
    let pairs = head.iter().zip(head.get(1..).unwrap_or_default());
    let bare = pairs.fold(false, |bare, (one, next)| bare | ((*one == b'\r') & (*next != b'\n')));
    match (bare || head.last() == Some(&b'\r')).then(|| find_bare_carriage_return(head)).flatten() {
        Some(at) => Err(ParseError::BareCarriageReturn { at }),
        None => Ok(()),
    }
}

pub(super) fn find_bare_carriage_return(head: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\r', head).find(|at| head.get(at + 1) != Some(&b'\n'))
}

#[cfg(test)]
mod tests;
