//! What a proxy refuses before it does anything for a request (RFC 3261 §16.3, §8.1.1, §8.2), and which responses it drops.

use super::limits::Excess;
use super::{Fault, HeaderId, HeaderSet, Invalid, SipMessage, Uri, Via, lex};

fn bad(reason: impl Into<String>) -> Invalid {
    refused(400, reason)
}

fn refused(status: u16, reason: impl Into<String>) -> Invalid {
    Invalid { status, reason: reason.into(), fault: Fault::Syntax }
}

impl SipMessage {
    /// Checks what every message must have, and what a proxy reads of it: version (505), limits (414, 400), the
    /// mandatory headers, headers that stand twice, Content-Length, and of requests the Request-URI (400, 416) and the
    /// CSeq's method. A response that fails is dropped, whatever the status says.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.check_version()?;
        if let Some(excess) = self.excess {
            return Err(too_much(excess));
        }
        self.check_duplicates()?;
        if self.call_id().is_empty() {
            return Err(bad("Missing Call-ID"));
        }
        let cseq = self.cseq().map_err(Invalid::from)?;
        self.top_via().map_err(Invalid::from)?;
        let addresses = match self.facts.addresses_good {
            true => None,
            false => {
                let (from, to) = (self.from().map_err(Invalid::from)?, self.to().map_err(Invalid::from)?);
                Some([(HeaderId::From, from), (HeaderId::To, to)])
            }
        };
        self.check_body()?;
        if self.is_request() {
            self.max_forwards().map_err(Invalid::from)?;
            // RFC 3261 §25.1: `tag-param = "tag" EQUAL token`. An empty one is neither in a dialog nor outside of one.
            for (id, addr) in addresses.into_iter().flatten() {
                if addr.param("tag").is_some() && addr.tag().is_none() {
                    return Err(bad(format!("Empty Tag In {}", id.name())));
                }
            }
            if cseq.method != self.method() {
                return Err(bad("CSeq Method Differs From Request Method"));
            }
            self.check_request_uri()?;
            // Every Via of a request is one that a response must be able to follow.
            let mut below = self.values(HeaderId::Via).skip(1).map(|via| Via::parse(self.as_text(HeaderId::Via, via)?));
            below.try_for_each(|via| via.map(drop)).map_err(Invalid::from)?;
        }
        Ok(())
    }

    fn check_version(&self) -> Result<(), Invalid> {
        let version = self.version();
        if version.eq_ignore_ascii_case(b"SIP/2.0") {
            return Ok(());
        }
        match lex::trim(version).eq_ignore_ascii_case(b"SIP/2.0") {
            true => Err(bad("White Space Behind The SIP Version")),
            false => Err(refused(505, "Version Not Supported")),
        }
    }

    fn check_duplicates(&self) -> Result<(), Invalid> {
        if !self.facts.repeated.meets(HeaderSet::SINGLE) {
            return Ok(());
        }
        let mut seen = HeaderSet::NONE;
        for id in self.spans.iter().map(|span| span.id).filter(|id| id.is_single()) {
            if seen.contains(id) {
                return Err(bad(format!("More Than One {}", id.name())));
            }
            seen = seen.with(id);
        }
        Ok(())
    }

    fn check_body(&self) -> Result<(), Invalid> {
        match self.content_length().map_err(Invalid::from)? {
            Some(length) if length > self.body.len() => Err(bad("Content-Length Exceeds Body")),
            _ => Ok(()),
        }
    }

    fn check_request_uri(&self) -> Result<(), Invalid> {
        match self.uri() {
            Ok(Uri::Sip(uri)) if uri.headers.is_some() => Err(bad("Headers In Request-URI")),
            Ok(Uri::Sip(_) | Uri::Tel(_)) => Ok(()),
            Ok(Uri::Other { .. }) => Err(refused(416, "Unsupported URI Scheme")),
            Err(_) => Err(bad("Malformed Request-URI")),
        }
    }
}

fn too_much(Excess { fault, header }: Excess) -> Invalid {
    let place = match header {
        None => "Request-URI",
        Some(HeaderId::Other) => "Header",
        Some(id) => id.name(),
    };
    let (status, reason) = match fault {
        Fault::RequestUriSize => (414, "Request-URI Too Long".into()),
        Fault::Values => (400, format!("Too Many Values Of {place}")),
        Fault::UriSize => (400, format!("URI In {place} Too Long")),
        Fault::Params => (400, format!("Too Many Parameters In {place}")),
        Fault::ParamSize => (400, format!("Parameter In {place} Too Long")),
        Fault::DisplayNameSize => (400, format!("Display Name In {place} Too Long")),
        _ => (400, format!("{place} Too Long")),
    };
    Invalid { status, reason, fault }
}

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::*;

    fn verdict(text: &str) -> (u16, String) {
        let text = text.replace('\n', "\r\n");
        match SipMessage::parse(text.into_bytes().into(), &Limits::default()).unwrap().validate() {
            Ok(()) => (200, String::new()),
            Err(invalid) => (invalid.status, invalid.reason),
        }
    }

    const GOOD: &str = "OPTIONS sip:bob@rack.test SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\nFrom: <sip:a@b>;tag=1\nTo: <sip:bob@rack.test>\nCall-ID: c\nCSeq: 1 OPTIONS\nContent-Length: 0\n\n";

    #[test]
    fn sip_validate_accepts_and_names_what_is_wrong() {
        assert_eq!(verdict(GOOD).0, 200);
        for (old, new, status, reason) in [
            ("SIP/2.0\nVia", "SIP/7.0\nVia", 505, "Version Not Supported"),
            ("SIP/2.0\nVia", "SIP/2.0  \nVia", 400, "White Space Behind The SIP Version"),
            ("sip:bob@rack.test SIP", " sip:bob@rack.test  SIP", 400, "Malformed Request-URI"),
            ("sip:bob@rack.test SIP", "<sip:bob@rack.test> SIP", 400, "Malformed Request-URI"),
            ("sip:bob@rack.test SIP", "sip:bob@rack.test?Route=%3Csip:x%3E SIP", 400, "Headers In Request-URI"),
            ("sip:bob@rack.test SIP", "nobodyKnowsThisScheme:totallyopaquecontent SIP", 416, "Unsupported URI Scheme"),
            ("Call-ID: c\n", "", 400, "Missing Call-ID"),
            ("Call-ID: c", "Call-ID: c\nI: d", 400, "More Than One Call-ID"),
            ("From: <sip:a@b>;tag=1\n", "", 400, "Missing From"),
            ("<sip:a@b>", "\"open <sip:a@b>", 400, "Malformed From"),
            ("To: <sip:bob@rack.test>", "To: <sip:bob@rack.test>;tag=", 400, "Empty Tag In To"),
            (";tag=1", ";tag", 400, "Empty Tag In From"),
            ("1 OPTIONS", "1 INVITE", 400, "CSeq Method Differs From Request Method"),
            ("1 OPTIONS", "4294967296 OPTIONS", 400, "Malformed CSeq"),
            ("Length: 0", "Length: 9999", 400, "Content-Length Exceeds Body"),
            ("Length: 0", "Length: -999", 400, "Malformed Content-Length"),
            ("Content-Length: 0", "Max-Forwards: 300", 400, "Malformed Max-Forwards"),
            ("h;branch=z9hG4bKx", "192.0.2.15;;,;,,", 400, "Malformed Via"),
        ] {
            assert!(GOOD.contains(old), "{old}");
            assert_eq!(verdict(&GOOD.replacen(old, new, 1)), (status, reason.into()), "{new}");
        }
        assert_eq!(verdict(&GOOD.replacen("bob", &"b".repeat(2100), 1)).0, 414);
        assert_eq!(verdict(&GOOD.replacen("CSeq", &format!("X: {}\nCSeq", "b".repeat(9000)), 1)).0, 400);
    }
}
