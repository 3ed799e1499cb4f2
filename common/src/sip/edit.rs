//! What a proxy changes in a message: a list of patches, applied in one copy by [`Edit::finish`]. Octets that no patch
//! names (case, compact names, folding, unknown headers, body) come out as they went in.

use super::message::Span;
use super::start_line::StartLine;
use super::{HeaderId, SipMessage, lex};
use bytes::Bytes;
use std::ops::Range;

/// A header by number or by text; a text that has a number means the same.
#[derive(Clone, Copy, Debug)]
pub enum HeaderName<'n> {
    Id(HeaderId),
    Text(&'n str),
}

impl<'n> From<HeaderId> for HeaderName<'n> {
    fn from(id: HeaderId) -> Self {
        HeaderName::Id(id)
    }
}

impl<'n> From<&'n str> for HeaderName<'n> {
    fn from(name: &'n str) -> Self {
        match HeaderId::of(name.as_bytes()) {
            HeaderId::Other => HeaderName::Text(name),
            id => HeaderName::Id(id),
        }
    }
}

impl HeaderName<'_> {
    fn id(&self) -> HeaderId {
        match self {
            HeaderName::Id(id) => *id,
            HeaderName::Text(_) => HeaderId::Other,
        }
    }
}

/// One header line of the result. Texts of ours are ranges of [`Edit::texts`].
#[derive(Clone)]
enum Line {
    /// As in the message: index of the span.
    Kept(usize),
    /// The name as in the message, then `first`, then the message's octets from `tail` to the end of the line.
    Cut { index: usize, first: Option<Range<usize>>, tail: usize },
    /// Ours.
    New { id: HeaderId, name: Name, value: Range<usize> },
}

/// A name of ours.
#[derive(Clone)]
enum Name {
    Known(&'static str),
    Text(Range<usize>),
}

/// Changes to one message. Header names and values given here lose control characters, so they cannot begin a header
/// of their own.
pub struct Edit<'m> {
    message: &'m SipMessage,
    uri: Option<Range<usize>>,
    lines: Vec<Line>,
    /// Every text of ours, one behind the other.
    texts: Vec<u8>,
    body: Option<Vec<u8>>,
}

impl<'m> Edit<'m> {
    pub fn new(message: &'m SipMessage) -> Edit<'m> {
        let mut lines = Vec::with_capacity(message.spans.len() + 4);
        lines.extend((0..message.spans.len()).map(Line::Kept));
        Edit { message, uri: None, lines, texts: Vec::with_capacity(512), body: None }
    }

    /// No effect on a response.
    pub fn set_request_uri(&mut self, uri: &str) -> &mut Self {
        let start = self.texts.len();
        match uri.bytes().any(|b| b <= b' ' || b >= 0x7f) {
            false => self.texts.extend_from_slice(uri.as_bytes()),
            true => uri.chars().filter(|c| !c.is_control() && *c != ' ').for_each(|c| {
                self.texts.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }),
        }
        self.uri = Some(start..self.texts.len());
        self
    }

    /// A new line before the first of that name. If there is none: Via first of all, Route, Record-Route and Path
    /// behind the Vias, anything else last.
    pub fn push_front<'n>(&mut self, name: impl Into<HeaderName<'n>>, value: &str) -> &mut Self {
        self.push_front_of(name, &[value])
    }

    /// The same, of a value in parts.
    pub fn push_front_of<'n>(&mut self, name: impl Into<HeaderName<'n>>, value: &[&str]) -> &mut Self {
        let name = name.into();
        let at = self.find(&name).unwrap_or_else(|| match name.id() {
            HeaderId::Via => 0,
            HeaderId::Route | HeaderId::RecordRoute | HeaderId::Path => {
                self.lines.iter().rposition(|line| self.line_id(line) == HeaderId::Via).map_or(0, |at| at + 1)
            }
            _ => self.lines.len(),
        });
        let line = self.new_line(&name, value);
        self.lines.insert(at, line);
        self
    }

    /// A new line behind all others.
    pub fn append<'n>(&mut self, name: impl Into<HeaderName<'n>>, value: &str) -> &mut Self {
        let line = self.new_line(&name.into(), &[value]);
        self.lines.push(line);
        self
    }

    /// One line with this value: the first of that name changed and the others removed, or a new one at the end.
    pub fn set<'n>(&mut self, name: impl Into<HeaderName<'n>>, value: &str) -> &mut Self {
        let name = name.into();
        let Some(at) = self.find(&name) else { return self.append(name, value) };
        self.lines[at] = match self.lines[at] {
            Line::Kept(index) | Line::Cut { index, .. } => {
                Line::Cut { index, first: Some(self.text(value)), tail: self.span(index).value().end }
            }
            Line::New { .. } => self.new_line(&name, &[value]),
        };
        self.remove_from(at + 1, &name);
        self
    }

    pub fn remove_all<'n>(&mut self, name: impl Into<HeaderName<'n>>) -> &mut Self {
        let name = name.into();
        self.remove_from(0, &name);
        self
    }

    /// Removes each line of the message of which `drop` says so: by number, name as written and whole value. Of headers
    /// that are no lists, such as Proxy-Authorization, that is one value. Lines that this edit has changed or added stay.
    pub fn remove_lines(&mut self, mut drop: impl FnMut(HeaderId, &[u8], &[u8]) -> bool) -> &mut Self {
        let message = self.message;
        self.lines.retain(|line| {
            let Line::Kept(index) = line else { return true };
            let span = &message.spans[*index];
            !drop(span.id, &message.buf[span.name()], &message.buf[span.value()])
        });
        self
    }

    /// Removes the topmost value: of a comma list the first one, of another header the line.
    pub fn remove_first_value(&mut self, id: HeaderId) -> &mut Self {
        self.remove_first_values(id, 1)
    }

    /// Removes the topmost `n` values over lines and comma lists; fewer if there are fewer.
    pub fn remove_first_values(&mut self, id: HeaderId, n: usize) -> &mut Self {
        for _ in 0..n {
            let Some((at, first)) = self.first_value(id) else { return self };
            match self.behind_first(at, id, first) {
                Some(line) => self.lines[at] = line,
                None => drop(self.lines.remove(at)),
            }
        }
        self
    }

    /// Puts `value` in the place of the topmost one; appended where there is none.
    pub fn replace_first_value(&mut self, id: HeaderId, value: &str) -> &mut Self {
        let Some((at, first)) = self.first_value(id) else { return self.append(id, value) };
        self.lines[at] = match self.lines[at].clone() {
            Line::Cut { index, first: Some(_), tail } => Line::Cut { index, first: Some(self.text(value)), tail },
            Line::Kept(index) | Line::Cut { index, .. } => {
                Line::Cut { index, first: Some(self.text(value)), tail: first.end }
            }
            Line::New { id, name, value: old } => {
                let start = self.texts.len();
                self.texts.extend_from_within(old.start..first.start);
                self.texts.extend_from_slice(value.as_bytes());
                self.texts.extend_from_within(first.end..old.end);
                Line::New { id, name, value: start..self.texts.len() }
            }
        };
        self
    }

    /// Another body; Content-Length follows, Content-Type too if one is given.
    pub fn set_body(&mut self, content_type: Option<&str>, body: &[u8]) -> &mut Self {
        if let Some(content_type) = content_type {
            self.set(HeaderId::ContentType, content_type);
        }
        self.set(HeaderId::ContentLength, &body.len().to_string());
        self.body = Some(body.to_vec());
        self
    }

    /// The changed message. Octets behind the body (RFC 3261 §18.3) are left out.
    pub fn finish(&self) -> Bytes {
        let message = self.message;
        let mut out = Copy { source: &message.buf, out: Vec::with_capacity(self.size()), run: 0..0 };
        match (&message.start, &self.uri) {
            (StartLine::Request { uri, .. }, Some(new)) => {
                out.keep(0..uri.start);
                out.put(&self.texts[new.clone()]);
                out.keep(uri.end..message.first_header);
            }
            _ => out.keep(0..message.first_header),
        }
        for line in &self.lines {
            match line {
                Line::Kept(index) => out.keep(self.span(*index).line()),
                Line::Cut { index, first, tail } => {
                    let span = self.span(*index);
                    out.keep(span.start as usize..span.value as usize);
                    out.put(&self.texts[first.clone().unwrap_or_default()]);
                    out.keep(*tail..span.next as usize);
                }
                Line::New { name, value, .. } => {
                    out.put(self.name(name));
                    out.put(b": ");
                    out.put(&self.texts[value.clone()]);
                    out.end_line();
                }
            }
        }
        match message.headers_end == message.body.start {
            // It came without the empty line; what leaves has one.
            true => {
                out.flush();
                out.end_line();
            }
            false => out.keep(message.headers_end..message.body.start),
        }
        match &self.body {
            None => out.keep(message.body.clone()),
            Some(body) => {
                out.flush();
                out.out.extend_from_slice(body);
            }
        }
        out.flush();
        out.out.into()
    }

    fn size(&self) -> usize {
        let ours: usize = self.lines.iter().map(|line| if let Line::New { .. } = line { 32 } else { 0 }).sum();
        self.message.body.end + self.texts.len() + ours + self.body.as_ref().map_or(0, Vec::len)
    }

    /// Keeps a text of ours.
    fn text(&mut self, text: &str) -> Range<usize> {
        let start = self.texts.len();
        self.texts.extend_from_slice(text.as_bytes());
        start..self.texts.len()
    }

    fn new_line(&mut self, name: &HeaderName<'_>, value: &[&str]) -> Line {
        let id = name.id();
        let name = match name {
            HeaderName::Id(id) => Name::Known(id.name()),
            HeaderName::Text(text) => Name::Text(self.text(text)),
        };
        let start = self.texts.len();
        value.iter().for_each(|part| self.texts.extend_from_slice(part.as_bytes()));
        Line::New { id, name, value: start..self.texts.len() }
    }

    fn name<'s>(&'s self, name: &'s Name) -> &'s [u8] {
        match name {
            Name::Known(name) => name.as_bytes(),
            Name::Text(range) => &self.texts[range.clone()],
        }
    }

    fn span(&self, index: usize) -> &'m Span {
        &self.message.spans[index]
    }

    fn line_id(&self, line: &Line) -> HeaderId {
        match line {
            Line::Kept(index) | Line::Cut { index, .. } => self.span(*index).id,
            Line::New { id, .. } => *id,
        }
    }

    fn line_is(&self, line: &Line, name: &HeaderName<'_>) -> bool {
        let text = match name {
            HeaderName::Id(id) => return self.line_id(line) == *id,
            HeaderName::Text(text) => text.as_bytes(),
        };
        match line {
            Line::Kept(index) | Line::Cut { index, .. } => {
                text.eq_ignore_ascii_case(&self.message.buf[self.span(*index).name()])
            }
            Line::New { name, .. } => text.eq_ignore_ascii_case(self.name(name)),
        }
    }

    fn find(&self, name: &HeaderName<'_>) -> Option<usize> {
        self.lines.iter().position(|line| self.line_is(line, name))
    }

    /// Removes lines of that name, from this one on: what stays moves up once, however many go.
    fn remove_from(&mut self, from: usize, name: &HeaderName<'_>) {
        let mut kept = from;
        for at in from..self.lines.len() {
            if !self.line_is(&self.lines[at], name) {
                if kept < at {
                    self.lines.swap(kept, at);
                }
                kept += 1;
            }
        }
        self.lines.truncate(kept);
    }

    /// The line with the topmost value and where that value stands: an offset of the message, of `texts` for a New line,
    /// or (0..0) for a replaced first value.
    fn first_value(&self, id: HeaderId) -> Option<(usize, Range<usize>)> {
        self.lines.iter().enumerate().filter(|(_, line)| self.line_id(line) == id).find_map(|(at, line)| {
            let value = match line {
                Line::Cut { first: Some(_), .. } => Some(0..0),
                Line::Kept(index) => first_of(&self.message.buf, self.span(*index).value(), id),
                Line::Cut { index, tail, .. } => first_of(&self.message.buf, *tail..self.span(*index).value().end, id),
                Line::New { value, .. } => first_of(&self.texts, value.clone(), id),
            };
            value.map(|value| (at, value))
        })
    }

    /// The line without its first value; `None` if that was all.
    fn behind_first(&self, at: usize, id: HeaderId, first: Range<usize>) -> Option<Line> {
        match &self.lines[at] {
            Line::Cut { index, tail, first: Some(_) } => self.cut_behind(*index, *tail, id),
            Line::Kept(index) | Line::Cut { index, .. } => self.cut_behind(*index, first.end, id),
            Line::New { name, value, .. } => {
                let rest = first_of(&self.texts, first.end..value.end, id)?;
                Some(Line::New { id, name: name.clone(), value: rest.start..value.end })
            }
        }
    }

    fn cut_behind(&self, index: usize, from: usize, id: HeaderId) -> Option<Line> {
        let next = first_of(&self.message.buf, from..self.span(index).value().end, id)?;
        Some(Line::Cut { index, first: None, tail: next.start })
    }
}

/// The first value within `range`, as a range of `text`.
fn first_of(text: &[u8], range: Range<usize>, id: HeaderId) -> Option<Range<usize>> {
    let part = &text[range.clone()];
    let found = match id.is_list() {
        true => lex::Values::of(part).next()?,
        false => Some(lex::trimmed(part, 0..part.len())).filter(|r| !r.is_empty())?,
    };
    Some(range.start + found.start..range.start + found.end)
}

/// The one copy: neighbouring octets of the source are taken in one piece.
struct Copy<'s> {
    source: &'s [u8],
    out: Vec<u8>,
    run: Range<usize>,
}

impl Copy<'_> {
    fn keep(&mut self, range: Range<usize>) {
        if range.start == self.run.end {
            self.run.end = range.end;
        } else {
            self.flush();
            self.run = range;
        }
    }

    fn flush(&mut self) {
        self.out.extend_from_slice(&self.source[self.run.clone()]);
        self.run = self.run.end..self.run.end;
    }

    fn put(&mut self, octets: &[u8]) {
        self.flush();
        lex::push_value(&mut self.out, octets);
    }

    fn end_line(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::*;

    const INVITE: &str = "INVITE sip:bob@rack.test SIP/2.0\r\nv:  SIP/2.0/UDP a;branch=1 ,\r\n SIP/2.0/UDP b;branch=2\r\n\
        ROUTE: <sip:r1;lr>,<sip:r2;lr>\r\nRoute: <sip:r3;lr>\r\nX-Odd :  kept \r\nCall-ID: c\r\nl: 4\r\n\r\nbodyTRAILING";

    fn edited(edit: impl for<'a, 'm> FnOnce(&'a mut Edit<'m>) -> &'a mut Edit<'m>) -> String {
        let message = SipMessage::parse(INVITE.as_bytes().into(), &Limits::default()).unwrap();
        let mut e = Edit::new(&message);
        edit(&mut e);
        String::from_utf8(e.finish().to_vec()).unwrap()
    }

    fn original() -> String {
        INVITE.replace("TRAILING", "")
    }

    #[test]
    fn sip_edit_without_patches_gives_the_same_octets() {
        assert_eq!(edited(|e| e), original());
    }

    #[test]
    fn sip_edit_what_a_proxy_does_to_a_request() {
        let out = edited(|e| {
            e.set_request_uri("sip:bob@10.0.0.9:5062")
                .replace_first_value(HeaderId::Via, "SIP/2.0/UDP a;branch=1;received=10.0.0.1")
                .push_front(HeaderId::Via, "SIP/2.0/UDP vip;branch=0")
                .push_front(HeaderId::RecordRoute, "<sip:vip;lr>")
                .remove_first_values(HeaderId::Route, 1)
                .set("Max-Forwards", "69")
        });
        let expected = original()
            .replace("bob@rack.test", "bob@10.0.0.9:5062")
            .replace(
                "v:  SIP/2.0/UDP a;branch=1 ",
                "Via: SIP/2.0/UDP vip;branch=0\r\nv:  SIP/2.0/UDP a;branch=1;received=10.0.0.1 ",
            )
            .replace("ROUTE: <sip:r1;lr>,", "Record-Route: <sip:vip;lr>\r\nROUTE: ")
            .replace("l: 4\r\n", "l: 4\r\nMax-Forwards: 69\r\n");
        assert_eq!(out, expected);
    }

    #[test]
    fn sip_edit_removes_lines_by_what_stands_in_them() {
        let third = edited(|e| e.remove_lines(|id, _, value| id == HeaderId::Route && value == b"<sip:r3;lr>"));
        assert_eq!(third, original().replace("Route: <sip:r3;lr>\r\n", ""));
        let odd = edited(|e| e.set("X-New", "1").remove_lines(|_, name, _| name.starts_with(b"X-")));
        assert_eq!(odd, original().replace("X-Odd :  kept \r\n", "").replace("l: 4\r\n", "l: 4\r\nX-New: 1\r\n"));
    }

    #[test]
    fn sip_edit_removes_values_over_lines() {
        for (n, left) in [
            (0, "ROUTE: <sip:r1;lr>,<sip:r2;lr>\r\nRoute: <sip:r3;lr>\r\n"),
            (2, "Route: <sip:r3;lr>\r\n"),
            (3, ""),
            (9, ""),
        ] {
            let out = edited(|e| e.remove_first_values(HeaderId::Route, n));
            assert_eq!(out, original().replace("ROUTE: <sip:r1;lr>,<sip:r2;lr>\r\nRoute: <sip:r3;lr>\r\n", left));
        }
        let out = edited(|e| e.remove_first_value(HeaderId::Via));
        assert_eq!(out, original().replace("SIP/2.0/UDP a;branch=1 ,\r\n ", ""));
        let out = edited(|e| {
            e.replace_first_value(HeaderId::Via, "new")
                .remove_first_value(HeaderId::Via)
                .push_front("via", "x, y")
                .remove_first_value(HeaderId::Via)
        });
        assert_eq!(out, original().replace("v:  SIP/2.0/UDP a;branch=1 ,\r\n ", "Via: y\r\nv:  "));
    }

    #[test]
    fn sip_edit_sets_removes_and_replaces_the_body() {
        let out = edited(|e| e.set("x-odd", "new").remove_all(HeaderId::Route).set_body(Some("text/plain"), b"hello"));
        let expected = original()
            .replace("X-Odd :  kept ", "X-Odd :  new ")
            .replace("ROUTE: <sip:r1;lr>,<sip:r2;lr>\r\nRoute: <sip:r3;lr>\r\n", "")
            .replace("l: 4\r\n\r\nbody", "l: 5\r\nContent-Type: text/plain\r\n\r\nhello");
        assert_eq!(out, expected);
        let out = edited(|e| e.set(HeaderId::Route, "<sip:only>"));
        assert_eq!(
            out,
            original().replace("ROUTE: <sip:r1;lr>,<sip:r2;lr>\r\nRoute: <sip:r3;lr>\r\n", "ROUTE: <sip:only>\r\n")
        );
    }

    #[test]
    fn sip_edit_lets_no_value_begin_a_header() {
        let out = edited(|e| e.append("X-New", "a\r\nRoute: <sip:evil>").set_request_uri("sip:a\r\n b@c"));
        assert!(out.contains("X-New: a  Route: <sip:evil>\r\n") && out.starts_with("INVITE sip:ab@c SIP/2.0\r\n"));
    }
}
